"""The list of all verbs comes without importing them, and says what they say."""

import inspect
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from console.__main__ import VERBS, app_for
from console.summary import summary


@pytest.mark.parametrize("verb", VERBS)
def test_the_list_says_of_a_verb_what_it_says_itself(verb: str) -> None:
    """A second copy of its help would be wrong some day."""
    module, _, name = VERBS[verb].partition(":")
    found = getattr(import_module(module), name)
    said = found.info.help if isinstance(found, typer.Typer) else inspect.getdoc(found)
    assert summary(VERBS[verb]) == said


def test_what_says_nothing_of_itself_is_not_listed() -> None:
    """Whoever adds a verb without a word about it learns so at the first test."""
    for place in ("console.nowhere:verb", "console.train:nothing", "console.summary:Path"):
        with pytest.raises((LookupError, ModuleNotFoundError)):
            summary(place)


def test_all_verbs_are_listed_and_none_is_imported() -> None:
    """What everybody types first should not make them wait for libraries of models and columns."""
    asked = "import sys; from console.__main__ import main\ntry: main()\nfinally: print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", asked, "--help"], capture_output=True, text=True, check=True)
    assert all(f" {verb} " in done.stdout for verb in VERBS)
    assert not {"polars", "pyarrow", "aiokafka", "fastapi"} & set(done.stdout.split())


def test_an_unknown_verb_is_said_with_what_is_like_it() -> None:
    """A typing error costs one look."""
    result = CliRunner().invoke(app_for(["audt"]), ["audt"])
    assert result.exit_code == 2
    assert "audit" in result.output
    assert app_for(["audit"]).registered_groups


def test_a_shell_completes_the_options_of_a_verb() -> None:
    """The shell asks in its environment, not with arguments."""
    asked = {"_RETRACE_COMPLETE": "complete_bash", "COMP_WORDS": "retrace audit ver", "COMP_CWORD": "2"}
    retrace = Path(sys.executable).with_name("retrace")
    done = subprocess.run([retrace], capture_output=True, text=True, check=False, env=os.environ | asked)
    assert done.stdout.split() == ["verify"]
