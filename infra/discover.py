"""Finding declarations: no decorator, no list, nothing happens at import."""

from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType
from typing import TypeVar

T = TypeVar("T")


def discover(package: ModuleType, kind: type[T]) -> dict[str, T]:
    """Every module-level `kind` in the modules of `package`, by its `name`.

    Raises:
        ValueError: two declarations share a name.
    """
    found: dict[str, T] = {}
    for module in iter_modules(package.__path__, f"{package.__name__}."):
        for declaration in vars(import_module(module.name)).values():
            if isinstance(declaration, kind):
                name: str = declaration.name  # type: ignore[attr-defined]
                if found.setdefault(name, declaration) is not declaration:
                    raise ValueError(f"two declarations in {package.__name__} are called {name}")
    return found
