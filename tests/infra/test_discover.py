"""Declarations are found, each once."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

from infra.discover import discover


@dataclass(frozen=True)
class Dish:
    name: str


Kitchen = Callable[..., ModuleType]


@pytest.fixture
def kitchen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kitchen:
    """Makes a package out of modules' texts."""

    def make(**modules: str) -> ModuleType:
        folder = tmp_path / f"kitchen_{tmp_path.name}"
        folder.mkdir()
        (folder / "__init__.py").write_text("")
        for name, text in modules.items():
            (folder / f"{name}.py").write_text(text)
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.setitem(sys.modules, "dishes", ModuleType("dishes"))
        sys.modules["dishes"].Dish = Dish  # type: ignore[attr-defined]
        return import_module(folder.name)

    return make


def test_every_declaration_is_found_by_its_name(kitchen: Kitchen) -> None:
    """A new one is one new file."""
    package = kitchen(
        soup="from dishes import Dish\nDISH = Dish('soup')",
        pie="from dishes import Dish\nDISH = Dish('pie')\nother = 1",
    )
    assert discover(package, Dish) == {"soup": Dish("soup"), "pie": Dish("pie")}


def test_a_declaration_imported_elsewhere_is_one(kitchen: Kitchen) -> None:
    """A module may use another's declaration."""
    package = kitchen(soup="from dishes import Dish\nDISH = Dish('soup')")
    folder = Path(str(package.__file__)).parent
    (folder / "menu.py").write_text(f"from {package.__name__}.soup import DISH")
    assert list(discover(package, Dish)) == ["soup"]


def test_two_of_one_name_are_refused(kitchen: Kitchen) -> None:
    """One would silently replace the other."""
    package = kitchen(
        a="from dishes import Dish\nDISH = Dish('soup')", b="from dishes import Dish\nDISH = Dish('soup')"
    )
    with pytest.raises(ValueError, match="soup"):
        discover(package, Dish)


def test_a_broken_module_is_not_skipped(kitchen: Kitchen) -> None:
    """A view that does not load must stop the start, not be missing afterwards."""
    with pytest.raises(ZeroDivisionError):
        discover(kitchen(soup="1 / 0"), Dish)
