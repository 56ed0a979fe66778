"""From a section to its figures, and what happens when one cannot be measured."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest
from rich.console import Console

from console.bench.bench import Bench, Section, Sizes
from console.bench.command import NO_LIBRARY, measure, provide
from console.bench.figure import OURS, Figure, Sample
from console.bench.sections import audit, explain, processor, replay
from infra.settings import Settings
from infra.stack.stack import Stack
from schemas.errors import Invalid

pytestmark = pytest.mark.long

TINY = Sizes(runs=2, load_s=0.2, closed_s=0.2, ingest=500, log=1_200, few=300, ratings=500, fresh=1)


def bench(settings: Settings, *, has_eventsourcing: bool = True) -> Bench:
    return Bench(Stack(settings), TINY, Console(quiet=True), has_eventsourcing)


def nothing(_bench: Bench, _needs: Sequence[str]) -> None:
    """The servers of the tests run already, and are not the benchmark's to stop."""


def failing(_bench: Bench) -> "asyncio.Future[list[Figure]]":
    raise ValueError("the cause\nand much more")


async def test_everybody_runs_once_before_anybody_runs_again(settings: Settings) -> None:
    """Alternating: a busy minute of the machine hits all alike."""
    order: list[str] = []

    def measured(who: str) -> Sample:
        order.append(who)
        return {"n": len(order)}

    async def ours() -> Sample:
        return measured("ours")

    async def peer() -> Sample:
        return measured("peer")

    samples = await bench(settings).alternate("any", {OURS: ours, "peer": peer}, warm_up=True)
    assert order == ["ours", "peer"] * 3
    assert samples == {OURS: [{"n": 3}, {"n": 5}], "peer": [{"n": 4}, {"n": 6}]}


def test_a_stack_of_somebody_else_is_left_alone(settings: Settings) -> None:
    """A section stops the services that it does not need; those of a running system must not be among them."""
    with pytest.raises(Invalid, match="left alone"):
        provide(bench(settings), ["kafka"])


async def test_explanations_are_measured_on_decisions_that_are_identical(settings: Settings) -> None:
    """By the index and by kept counts; a decision that is not made again would be no measurement."""
    work = bench(settings)
    work.sizes = replace(work.sizes, runs=1, rebuild=9_000)
    figures = await explain.run(work)
    assert {figure.name.split(" ")[0] for figure in figures} == {"model", "popular", "co_occurrence", "counter"}
    assert all(figure.reached.median > 0 for figure in figures)


async def test_a_section_gives_figures_beside_its_peers(settings: Settings) -> None:
    """The whole way on real servers, with everybody who takes part."""
    figures = {figure.name: figure for figure in await replay.run(bench(settings))}
    for name in ("log to Arrow", "log to Parquet"):
        figure = figures[name]
        assert set(figure.peers) == {"plain aiokafka", "eventsourcing"}
        assert [len(runs) for runs in (figure.runs, *figure.peers.values())] == [2, 2, 2]
        assert figure.reached.least > 0


async def test_the_processor_is_measured_from_topic_to_topic(settings: Settings) -> None:
    """Decisions that are not on record would be no figure."""
    decided, from_log, from_snapshot = await processor.run(bench(settings))
    assert [set(figure.peers) for figure in (decided, from_log, from_snapshot)] == [
        {"eventsourcing"},
        {"eventsourcing"},
        set(),
    ]
    assert all(figure.reached.least > 0 for figure in (decided, from_log, from_snapshot))


async def test_the_notary_is_measured_over_records_that_verify(settings: Settings) -> None:
    """Signatures over something else than the log would be fast."""
    figures = {figure.name: figure for figure in await audit.run(bench(settings))}
    assert set(figures) == set(audit.UNITS)
    assert all(figure.reached.least > 0 for figure in figures.values())


def test_without_the_library_the_reader_is_told(settings: Settings) -> None:
    """A comparison that is silently missing would look like one that was never meant."""
    work = bench(settings, has_eventsourcing=False)
    measure(work, [], nothing)
    assert work.notes == [NO_LIBRARY]


def test_a_section_that_fails_does_not_lose_the_others(settings: Settings) -> None:
    """Ten minutes of figures are worth keeping; the cause stands in one line under them."""
    work = bench(settings)

    async def fine(_bench: Bench) -> list[Figure]:
        return [Figure(section="fine", name="n", unit="s", better="lower", runs=[1.0])]

    sections = [Section("broken", 1, (), failing), Section("fine", 2, (), fine)]  # type: ignore[arg-type]
    figures, whole = measure(work, sections, nothing)
    assert [figure.section for figure in figures] == ["fine"]
    assert work.notes == ["broken could not be measured: ValueError: the cause"]
    assert not whole
