"""The `retrace` command."""

import os
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module

import typer

from console.summary import summary
from schemas.errors import Problem

VERBS: Mapping[str, str] = {
    "demo": "console.demo:demo",
    "up": "console.stack:up",
    "status": "console.stack:status",
    "down": "console.stack:down",
    "logs": "console.stack:logs",
    "train": "console.train:train",
    "runs": "console.runs:app",
    "lineage": "console.lineage:lineage",
    "deploy": "console.deploy:deploy",
    "approvals": "console.approvals:app",
    "models": "console.deploy:models",
    "recommend": "console.deploy:recommend",
    "explain": "console.explain:explain",
    "replay": "console.replay:replay",
    "archive": "console.archive:app",
    "report": "console.report:report",
    "model-card": "console.report:model_card",
    "audit": "console.audit:app",
    "dataset": "console.dataset:app",
    "projections": "console.projections:app",
    "dead-letters": "console.dead_letters:app",
    "schemas": "console.schemas:schemas",
    "keys": "console.keys:app",
    "quality": "console.quality:quality",
    "simulate": "console.simulate:simulate",
    "faults": "console.faults.command:app",
    "bench": "console.bench.command:bench",
    "serve": "console.serve:serve",
}
"""Where each verb is. Only the one that is called is imported: a service would carry the libraries of all others."""


def app_for(arguments: Sequence[str]) -> typer.Typer:
    """The command line, with the verb that the arguments begin with; or with the names of all."""
    app = typer.Typer(
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        help="Machine-learning services whose every decision can be retraced.",
    )
    app.callback()(_root)
    named = arguments[0] if arguments else ""
    if named not in VERBS:
        for verb, place in VERBS.items():
            app.command(verb, help=summary(place))(_named)
        return app
    module, _, name = VERBS[named].partition(":")
    found = getattr(import_module(module), name)
    if isinstance(found, typer.Typer):
        app.add_typer(found, name=named)
    else:
        app.command(named)(found)
    return app


def _root() -> None:
    """Machine-learning services whose every decision can be retraced."""


def _named() -> None:
    """Stands for a verb where only its name and help are shown."""


def _arguments() -> Sequence[str]:
    """What was given, or what a shell wants to have completed."""
    typed = os.environ.get("_TYPER_COMPLETE_ARGS") or os.environ.get("COMP_WORDS")
    return sys.argv[1:] if typed is None else typed.split()[1:]


def main() -> None:
    """Run the command line; a fault raised on purpose is told in its own words, without a traceback."""
    try:
        app_for(_arguments())()
    except Problem as problem:
        sys.stderr.write(f"retrace: {problem}\n")
        sys.exit(1)


if __name__ == "__main__":
    main()
