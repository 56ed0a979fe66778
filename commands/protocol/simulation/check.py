"""What must hold in the end, whatever happened: judged from the log alone, without the writers' word for it."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import groupby

from commands.protocol.group import Group
from commands.protocol.simulation.material import AGGREGATE, CODECS, DECODERS, Version
from commands.protocol.state import PartitionState, is_outcome
from infra.kafka.records import Raw
from schemas.envelope import EXPECTED_OFFSET, Meta


class Violation(AssertionError):
    """Something was lost, came twice, was decided on a wrong state, or never ended."""


def check(
    commands: Sequence[Raw],
    counted: Sequence[Raw],
    written_by: Callable[[int], Version],
    acknowledged: Mapping[int, int],
    snapshots: Iterable[PartitionState],
) -> None:
    """Hold a log to the promises.

    Args:
        commands: every command, by its offset.
        counted: what a reader takes for events.
        written_by: version of the code that wrote the record at an offset.
        acknowledged: answers that a caller was given: command offset to where the answer stands.
        snapshots: states of today's code on the way, each a fold of the beginning of the log.

    Raises:
        Violation: a promise was broken.
    """
    _each_is_answered_once(commands, counted)
    _versions_have_no_gaps(counted)
    _answers_stand_where_they_were_said_to(counted, acknowledged)
    state = _each_was_decided_on_what_stands_below(commands, counted, written_by)
    for snapshot in snapshots:
        began = snapshot.next_offset
        ended = fold(snapshot, [raw for raw in counted if raw.offset >= began])
        if replace(ended, next_offset=state.next_offset) != state:  # void records at the end move nothing but this
            raise Violation(f"a reader that begins at {began} with a snapshot ends with another state")


def fold(state: PartitionState, records: Iterable[Raw]) -> PartitionState:
    """Take counted records in, as today's code reads them."""
    for raw in records:
        recorded = DECODERS["new"].decode(raw)
        if recorded is not None:
            state.fold(AGGREGATE, recorded)
    return state


def _each_is_answered_once(commands: Sequence[Raw], counted: Sequence[Raw]) -> None:
    """No command is lost, none is answered twice, and the answers stand in the order of the commands."""
    answered = [offset for offset, _ in groupby(counted, command_offset)]
    if answered != list(range(len(commands))):
        twice = [offset for offset, times in Counter(answered).items() if times > 1]
        lost = sorted(set(range(len(commands))) - set(answered))
        raise Violation(f"lost commands {lost}, commands answered twice {twice}, in the order {answered}")


def _versions_have_no_gaps(counted: Sequence[Raw]) -> None:
    versions: Counter[str] = Counter()
    for raw in counted:
        meta = Meta.of(raw.headers)
        versions[meta.subject] += not is_outcome(meta.type)
        if meta.version != versions[meta.subject]:
            raise Violation(f"{raw.position} says version {meta.version}, and is {versions[meta.subject]}")


def _answers_stand_where_they_were_said_to(counted: Sequence[Raw], acknowledged: Mapping[int, int]) -> None:
    standing = {command_offset(raw): raw.offset for raw in reversed(counted)}
    for command, offset in acknowledged.items():
        if standing.get(command) != offset:
            raise Violation(f"command {command} was acknowledged at {offset}, and stands at {standing.get(command)}")


def _each_was_decided_on_what_stands_below(
    commands: Sequence[Raw], counted: Sequence[Raw], written_by: Callable[[int], Version]
) -> PartitionState:
    """Decide every command again, with the code that did, on the fold of what stands below its answer."""
    state = PartitionState()
    for offset, answer in groupby(counted, command_offset):
        records = list(answer)
        codec = CODECS[written_by(records[0].offset)]
        group = Group(AGGREGATE, codec, state).take([commands[offset]])
        said = [(raw.key.encode(), raw.value, _without_place(raw.headers)) for raw in records]
        if said != [(entry.key, entry.value, _without_place(entry.headers)) for entry in group.entries]:
            raise Violation(f"command {offset} was not decided on the state below {records[0].position}")
        fold(state, records)
    return state


def command_offset(raw: Raw) -> int:
    """Which command a record answers."""
    return Meta.of(raw.headers).command_offset or 0


def _without_place(headers: Sequence[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    return [header for header in headers if header[0] != EXPECTED_OFFSET]
