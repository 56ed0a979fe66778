"""A report as one page that needs nothing else: no script, no font, no address; light and dark, on paper too.

Everything that comes from the log is escaped by the templates; a content security policy forbids what should get
through all the same.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from inference.report import chart
from inference.report.drift import LEAST, MARKED, SLIGHT
from inference.report.figures import BURST_LEAST, BURST_SHARE
from inference.report.glossary import GLOSSARY, MEASURES, REASONS, SOURCES
from inference.report.wording import count, duration, percent, when

Json = Mapping[str, Any]

KINDS = {"period": "report.html", "model": "report.html", "user": "user.html", "model-card": "card.html"}

RULE = {
    "slight": SLIGHT,
    "marked": MARKED,
    "least": LEAST,
    "burst_least": BURST_LEAST,
    "burst_share": BURST_SHARE,
}
COLOURED = ("model", "last_good", "co_occurrence", "popular_in_category", "popular", "none")
"""Sources with a colour of their own."""

MOST_BINS = 12


def page(document: Json) -> str:
    """The HTML of a report or a model card."""
    environment = _environment()
    until = datetime.fromisoformat(document["speaks_for"]["until"])
    environment.globals["timeline"] = lambda model: _timeline(model, document, until)
    template = environment.get_template(KINDS[document["kind"]])
    return template.render(r=document) + "\n"


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("inference.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "when": when,
        "figure": figure,
        "share": percent,
        "duration": duration,
        "count": count,
        "length_of": lambda step_s: chart.length(step_s).removeprefix("a ").removeprefix("an "),
        "places": _places,
        "capital": lambda words: words[:1].upper() + words[1:],
        "measure": _measure,
        "reason": lambda name: REASONS.get(name, ""),
        "source": lambda name: SOURCES.get(name, name),
        "event": lambda name: EVENTS.get(name, name),
        "change": _change,
        "bins": _bins,
        "baseline": lambda name: "training data" if name == "interests" else "the first quarter",
        "later": lambda name: "since then" if name == "interests" else "the rest",
    }
    environment.globals |= {
        "style": Markup(_style()),
        "glossary": GLOSSARY,
        "rule": RULE,
        "volumes": _volumes,
        "latencies": _latencies,
        "sources": _sources,
    }
    return environment


EVENTS = {
    "UserRegistered": "became known",
    "PreferencesChanged": "changed preferences",
    "ConsentGiven": "gave consent",
    "ConsentWithdrawn": "withdrew consent",
}
"""What happened to a profile, in words."""


@cache
def _style() -> str:
    """The style sheet, which is ours and needs no escaping."""
    loader = PackageLoader("inference.report")
    return loader.get_source(Environment(autoescape=True), "style.css")[0]


def figure(value: float | None) -> str:
    """A measured value with as many digits as tell something."""
    if value is None:
        return "–"
    if isinstance(value, int) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.3f}" if abs(value) < 1 else f"{value:.2f}"


def _measure(name: str) -> str:
    """`ndcg@10` in words."""
    measure, _, places = name.partition("@")
    return MEASURES.get(measure, measure) + (f" (first {places})" if places else "")


def _places(ranges: Iterable[Json]) -> list[str]:
    return [f"{r['topic']}/{r['partition']}/{r['first']}..{r['end']}" for r in ranges if r["end"] > r["first"]]


def _change(row: Json, segment: str) -> Markup:
    """The difference to the version before, as a signed figure."""
    difference = row["values"][segment] - row["before"][segment]
    kind = "up" if difference > 0 else "down" if difference < 0 else "dim"
    sign = "+" if difference >= 0 else "−"
    return Markup('<span class="{}">({}{})</span>').format(kind, sign, figure(abs(difference)))


def _timeline(model: Json, document: Json, until: datetime) -> Markup:
    asked = document["speaks_for"]["since"]
    servings = [{**one, "model": model["model"]} for one in model["serving"]]
    first = datetime.fromisoformat(asked or servings[0]["from"])
    return chart.timeline(servings, first, until)


def _volumes(model: Json) -> Markup:
    kinds = [(name, colour) for name, colour, _ in _sources(model)]
    marks = [(datetime.fromisoformat(one["from"]), f"v{one['version']}") for one in model["serving"]]
    name = f"Recommendations of {model['model']}"
    return chart.stacked(model["answers"]["course"], kinds, name, "recommendations", marks)


def _latencies(model: Json) -> Markup:
    series = [(name, name, name) for name in ("p50", "p95", "p99")]
    return chart.lines(model["answers"]["course"], series, f"Time to answer of {model['model']}")


def _sources(model: Json) -> list[tuple[str, str, str]]:
    """What made answers: name, colour and words, in a fixed order."""
    there = model["answers"]["by_source"]
    order = [*COLOURED, *(name for name in there if name not in COLOURED)]
    return [(n, n if n in COLOURED else "other", SOURCES.get(n, n)) for n in order if n in there]


def _bins(shift: Json) -> list[dict[str, Any]]:
    """Rows of a comparison: shares before and since, drawn to the longest; of many bins those that moved most."""
    before, rest = max(1, shift["baseline"]), max(1, shift["rest"])
    rows = [(b["bin"], b["baseline"] / before, b["rest"] / rest) for b in shift["bins"]]
    if len(rows) > MOST_BINS:
        rows = sorted(rows, key=lambda row: (-abs(row[1] - row[2]), row[0]))[:MOST_BINS]
    longest = max(max(row[1], row[2]) for row in rows)
    named = SOURCES if shift["name"] == "sources" else {}
    return [
        {
            "label": _bin_label(shift["name"], named.get(label, label)),
            "before": percent(was, 1),
            "rest": percent(now, 1),
            "before_width": round(100 * was / longest, 1),
            "rest_width": round(100 * now / longest, 1),
        }
        for label, was, now in rows
    ]


def _bin_label(name: str, label: str) -> str:
    return f"{label} items" if name == "history" else label
