"""A report or model card as Markdown, for a repository, a wiki or a review."""

from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from inference.report.glossary import MEASURES
from inference.report.wording import count, percent, when

Json = Mapping[str, Any]

SPECIAL = str.maketrans({c: f"\\{c}" for c in "\\`*_{}[]<>#+-!|~"} | {"\n": " ", "\r": " "})


def paper(document: Json) -> str:
    """The Markdown of a document; what comes from the log is escaped, so that it stays text."""
    environment = Environment(
        loader=PackageLoader("inference.report"),
        finalize=_plain,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,
    )
    environment.filters |= {"when": when, "count": count, "share": percent, "t": text}
    environment.globals["measures"] = MEASURES
    name = "card.md" if document["kind"] == "model-card" else "report.md"
    return environment.get_template(name).render(r=document)


def _plain(value: Any) -> Any:
    return "–" if value is None else value


def text(value: Any) -> str:
    """Words of the log as Markdown that says just these words."""
    return "–" if value is None else str(value).translate(SPECIAL)
