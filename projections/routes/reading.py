"""Reading the parameters of a request by the signature of its endpoint.

FastAPI reads the signature once, for the OpenAPI document and for us; what it does for every request (dependency graph,
exit stacks, a model of the answer) costs more than a query. Here the same fields are read from the same places by a
plan made at start. What a request may hold is what the document says: anything else is refused by name.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from inspect import iscoroutinefunction
from typing import Any, TypeAlias
from urllib.parse import parse_qsl

from fastapi._compat import field_annotation_is_sequence
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError

from schemas.errors import Invalid

Given: TypeAlias = Mapping[str, Sequence[str]]
Scope: TypeAlias = Mapping[str, Any]

NONE: Given = {}


class Source:
    """One parameter: where it comes from and what it has to be.

    Args:
        field: FastAPI's field of the signature.
        place: `path`, `query` or `header`.
    """

    def __init__(self, field: Any, place: str) -> None:
        self.argument = field.name
        self.name = field.alias.replace("_", "-").lower() if place == "header" else field.alias
        self.is_many = field_annotation_is_sequence(field.field_info.annotation)
        self.is_required = field.field_info.is_required()
        self._default = field.get_default()
        self._field = field
        self._loc = (place, self.name)

    def read(self, given: Given, values: dict[str, Any], faults: list[Any]) -> None:
        """Put the value among `values`, or what is wrong with it among `faults`."""
        texts = given.get(self.name)
        if texts is None and not self.is_required:
            values[self.argument] = self._default
            return
        if texts is None:
            faults.append({"type": "missing", "loc": self._loc, "msg": "is missing"})
            return
        value, wrong = self._field.validate(list(texts) if self.is_many else texts[-1], loc=self._loc)
        values[self.argument] = value
        faults += wrong or ()


class Plan:
    """How the arguments of an endpoint are read.

    Args:
        dependant: FastAPI's reading of its signature.
        route: how people call the route, for problems.
    """

    def __init__(self, dependant: Dependant, route: str) -> None:
        self._route = route
        self._path = [Source(field, "path") for field in dependant.path_params]
        self._query = [Source(field, "query") for field in dependant.query_params]
        self._headers = [Source(field, "header") for field in dependant.header_params]
        self._inner = [(str(inner.name), inner.call, Plan(inner, route)) for inner in dependant.dependencies]
        self.known = {source.name: source.is_many for source in self._query}
        for _, _, plan in self._inner:
            self.known |= plan.known
        self._header_names = frozenset(source.name.encode() for source in self._all_headers())

    def arguments(self, scope: Scope) -> dict[str, Any]:
        """The arguments that a request gives.

        Raises:
            Invalid: a query parameter is not known, or was given twice.
            RequestValidationError: a value is not what its parameter takes.
        """
        query = self.query_of(scope)
        path = {name: (text,) for name, text in scope["path_params"].items()}
        headers = _headers(scope["headers"], self._header_names) if self._header_names else NONE
        faults: list[Any] = []
        values = self._read(path, query, headers, faults)
        if faults:
            raise RequestValidationError(faults)
        return values

    def query_of(self, scope: Scope) -> Given:
        """The query parameters.

        Raises:
            Invalid: one is not known here, or was given twice and is taken once.
        """
        if not scope["query_string"]:
            return NONE
        given: dict[str, list[str]] = {}
        for name, text in parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True):
            given.setdefault(name, []).append(text)
        if unknown := [name for name in given if name not in self.known]:
            raise self._unknown(unknown)
        if repeated := [name for name, texts in given.items() if len(texts) > 1 and not self.known[name]]:
            errors = [{"pointer": f"/{name}", "detail": "is given more than once"} for name in repeated]
            raise Invalid(f"give '{repeated[0]}' once: it has one value", code="repeated_parameter", errors=errors)
        return given

    def _read(self, path: Given, query: Given, headers: Given, faults: list[Any]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for sources, given in ((self._path, path), (self._query, query), (self._headers, headers)):
            for source in sources:
                source.read(given, values, faults)
        for name, call, plan in self._inner:
            inner = plan._read(path, query, headers, faults)
            if not faults and call is not None:
                values[name] = call(**inner)
        return values

    def _unknown(self, names: Sequence[str]) -> Invalid:
        known = ", ".join(sorted(self.known)) or "none"
        near = get_close_matches(names[0], self.known, n=1)
        hint = f"did you mean '{near[0]}'? " if near else ""
        return Invalid(
            f"'{names[0][:60]}' is no parameter of {self._route}: {hint}known are {known}",
            code="unknown_parameter",
            errors=[{"pointer": f"/{name}", "detail": "is not known here"} for name in names],
        )

    def _all_headers(self) -> Iterable[Source]:
        yield from self._headers
        for _, _, plan in self._inner:
            yield from plan._all_headers()


def can_plan(dependant: Dependant) -> bool:
    """Whether a request is read by nothing but its path, query and headers, and by plain functions of them."""
    if dependant.body_params or dependant.cookie_params:
        return False
    return all(_is_plain(inner) and can_plan(inner) for inner in dependant.dependencies)


def _is_plain(dependant: Dependant) -> bool:
    call: Callable[..., Any] | None = dependant.call
    asks = (
        dependant.request_param_name,
        dependant.http_connection_param_name,
        dependant.response_param_name,
        dependant.background_tasks_param_name,
    )
    return call is not None and not iscoroutinefunction(call) and not any(asks)


def _headers(headers: Iterable[tuple[bytes, bytes]], wanted: frozenset[bytes]) -> Given:
    found: dict[str, list[str]] = {}
    for name, value in headers:
        if name in wanted:
            found.setdefault(name.decode(), []).append(value.decode("latin-1"))
    return found
