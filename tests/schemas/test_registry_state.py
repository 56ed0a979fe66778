import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.compatibility import Level
from schemas.errors import Incompatible, Invalid, NotFound, Problem, Rejected
from schemas.registry import Record, Registry

Decide: TypeAlias = Callable[[Registry], Sequence[Record]]


def schema(name: str, *fields: str) -> str:
    return json.dumps(
        {"type": "record", "name": name, "fields": [{"name": f, "type": "int", "default": 0} for f in fields]}
    )


BREAKING = json.dumps({"type": "record", "name": "A", "fields": [{"name": "x", "type": "int"}]})


def fold(log: Sequence[Record]) -> Registry:
    registry = Registry()
    for record in log:
        registry.apply(record.key, record.value)
    return registry


def compacted(log: Sequence[Record]) -> list[Record]:
    """What Kafka keeps in the long run: the last record of each key, without tombstones."""
    last = {record.key: at for at, record in enumerate(log)}
    return [record for at, record in enumerate(log) if last[record.key] == at and record.value is not None]


def known(registry: Registry) -> object:
    """Everything that a client can find out."""
    subjects = registry.subjects(deleted=True)
    return (
        {s: registry.versions(s, deleted=True) for s in subjects},
        {v.id: registry.schema(v.id) for s in subjects for v in registry.versions(s, deleted=True)},
        {s: registry.level(s) for s in (None, *subjects)},
        registry.max_id,
    )


@dataclass
class Given:
    """A log, and what was asked of it one after the other."""

    log: list[Record] = field(default_factory=list)

    @property
    def registry(self) -> Registry:
        return fold(self.log)

    def when(self, decide: Decide) -> "Given":
        self.log += decide(self.registry)
        return self

    def registered(self, subject: str, text: str) -> "Given":
        return self.when(lambda r: r.register(subject, text))


def test_the_records_are_those_of_confluent() -> None:
    """Another registry can take over the topic only if every byte of a key is where it expects it."""
    log = Given().registered("users", schema("A")).log
    assert [record.key for record in log] == [
        b'{"keytype":"CONFIG","subject":null,"magic":0}',
        b'{"keytype":"SCHEMA","subject":"users","version":1,"magic":1}',
    ]
    assert log[0].value == b'{"compatibilityLevel":"FULL_TRANSITIVE"}'
    assert log[1].value == (
        rb'{"subject":"users","version":1,"id":1,'
        rb'"schema":"{\"type\":\"record\",\"name\":\"A\",\"fields\":[]}","deleted":false}'
    )


def test_a_log_that_confluent_wrote_is_understood() -> None:
    """The way back must be open too."""
    log = [
        Record(b'{"keytype":"NOOP","magic":0}', None),
        Record(b'{"keytype":"MODE","subject":null,"magic":0}', b'{"mode":"READWRITE"}'),
        Record(b'{"keytype":"CONFIG","subject":null,"magic":0}', b'{"compatibilityLevel":"BACKWARD"}'),
        Record(
            b'{"keytype":"SCHEMA","subject":"s","version":1,"magic":1}',
            b'{"subject":"s","version":1,"id":7,"md5":"x","schema":"\\"int\\"","deleted":false,"ts":1}',
        ),
        Record(b'{"keytype":"DELETE_SUBJECT","subject":"s","magic":0}', b'{"subject":"s","version":1}'),
    ]
    registry = fold(log)
    assert registry.level(None) is Level.BACKWARD
    assert registry.subjects() == []
    assert registry.schema(7) == '"int"'


def test_the_same_schema_is_registered_once_and_has_one_id_everywhere() -> None:
    """Each service registers its schemas at each start, and data names the schema by id alone."""
    given = (
        Given().registered("s", schema("A")).registered("s", schema("B").replace("B", "A")).registered("t", schema("A"))
    )
    assert [v.version for v in given.registry.versions("s")] == [1]
    assert given.registry.find("s", schema("A")).id == given.registry.find("t", schema("A")).id == 1


def test_another_schema_gets_the_next_id_and_version() -> None:
    """Versions count per subject, ids over all of them."""
    registry = (
        Given().registered("s", schema("A")).registered("t", schema("B")).registered("s", schema("A", "x")).registry
    )
    assert [(v.version, v.id) for v in registry.versions("s")] == [(1, 1), (2, 3)]


def test_a_breaking_schema_is_refused_with_every_reason() -> None:
    """The level protects the readers; the reasons save the author a search."""
    with pytest.raises(Rejected, match="field 'x' has no default") as raised:
        Given().registered("s", schema("A")).registered("s", BREAKING)
    assert raised.value.code == "incompatible_schema"


def test_a_subject_may_have_a_level_of_its_own() -> None:
    """One topic in flux must not loosen the promise of the others."""
    given = Given().registered("s", schema("A")).when(lambda r: r.set_level("s", Level.NONE)).registered("s", BREAKING)
    assert [v.version for v in given.registry.versions("s")] == [1, 2]
    assert given.registry.level("t") is Level.FULL_TRANSITIVE
    assert given.when(lambda r: r.clear_level("s")).registry.level("s") is Level.FULL_TRANSITIVE


def test_a_deleted_version_is_hidden_but_its_id_still_reads_data() -> None:
    """Data outlives the decision not to offer a schema any more."""
    given = Given().registered("s", schema("A")).when(lambda r: r.delete_version("s", 1, permanent=False))
    assert given.registry.subjects() == []
    assert given.registry.schema(1)
    given.registered("s", schema("A"))
    assert [(v.version, v.id) for v in given.registry.versions("s")] == [(2, 1)]


def test_an_id_is_never_given_twice_even_after_compaction() -> None:
    """Old bytes with a reused id would be read with the wrong schema, silently."""
    given = Given().registered("s", schema("A")).registered("t", schema("B"))
    given.when(lambda r: r.delete_subject("t", permanent=False)).when(lambda r: r.delete_subject("t", permanent=True))
    after = Given(compacted(given.log)).registered("u", schema("C"))
    assert after.registry.find("u", schema("C")).id == 3
    with pytest.raises(NotFound):
        after.registry.schema(2)


@pytest.mark.parametrize(
    ("decide", "code"),
    [
        (lambda r: r.delete_subject("none", permanent=False), "subject_not_found"),
        (lambda r: r.delete_subject("s", permanent=True), "subject_not_deleted"),
        (lambda r: r.delete_subject("gone", permanent=False), "subject_deleted"),
        (lambda r: r.delete_version("s", 9, permanent=False), "version_not_found"),
        (lambda r: r.delete_version("s", 1, permanent=True), "version_not_deleted"),
        (lambda r: r.delete_version("gone", 1, permanent=False), "version_deleted"),
        (lambda r: r.register("s", "{"), "invalid_schema"),
        (lambda r: r.register("", '"int"'), "invalid_subject"),
        (lambda r: r.register("a\nb", '"int"'), "invalid_subject"),
    ],
)
def test_a_refusal_has_a_code_and_writes_nothing(decide: Decide, code: str) -> None:
    """Clients act on the code."""
    given = Given().registered("s", schema("A")).registered("gone", schema("B"))
    given.when(lambda r: r.delete_subject("gone", permanent=False))
    with pytest.raises(Problem) as raised:
        given.when(decide)
    assert raised.value.code == code


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (b"no json", None),
        (b"null", b"{}"),
        (b'{"keytype":"SURPRISE"}', b"{}"),
        (b'{"keytype":"SCHEMA","subject":"s","version":1}', b'{"subject":"s"}'),
        (
            b'{"keytype":"SCHEMA","subject":"s","version":1}',
            b'{"subject":"s","version":1,"id":1,"schemaType":"JSON","schema":"{}"}',
        ),
    ],
)
def test_a_foreign_record_stops_the_fold(key: bytes, value: bytes | None) -> None:
    """A registry that skips what it does not understand gives answers that are wrong."""
    with pytest.raises(Incompatible, match="no record of a schema registry"):
        Registry().apply(key, value)


def test_an_id_given_twice_by_a_foreign_writer_stays_with_the_first() -> None:
    """Every reader of the log must decide this alike, and be able to say that it happened."""
    one, other = (
        Given().registered(subject, text).log[1] for subject, text in (("s", schema("A")), ("t", schema("B")))
    )
    registry = fold([one, other])
    assert registry.schema(1) == registry.version("s", 1).schema
    assert registry.subjects() == ["s"]
    assert registry.conflicts == ["id 1 is taken: version 1 of t is void"]


SUBJECTS = st.sampled_from(["s", "t"])
TEXTS = st.sampled_from([schema("A"), schema("A", "x"), schema("A", "y"), schema("B"), BREAKING])
DECISIONS: st.SearchStrategy[Decide] = st.one_of(
    st.builds(lambda s, x: lambda r: r.register(s, x), SUBJECTS, TEXTS),
    st.builds(lambda s, p: lambda r: r.delete_subject(s, permanent=p), SUBJECTS, st.booleans()),
    st.builds(
        lambda s, v, p: lambda r: r.delete_version(s, v, permanent=p), SUBJECTS, st.integers(1, 3), st.booleans()
    ),
    st.builds(lambda s, level: lambda r: r.set_level(s, level), SUBJECTS, st.sampled_from(list(Level))),
    st.builds(lambda s: lambda r: r.clear_level(s), SUBJECTS),
)


@dataclass
class Writer:
    """A replica: what it has read, and whether it may write."""

    registry: Registry = field(default_factory=Registry)
    read: int = 0
    epoch: int = -1

    def catch_up(self, log: Sequence[Record]) -> None:
        for record in log[self.read :]:
            self.registry.apply(record.key, record.value)
        self.read = len(log)


STEPS = st.lists(
    st.tuples(st.integers(0, 1), st.one_of(st.just("fence"), st.just("read"), DECISIONS)), min_size=1, max_size=25
)


@given(STEPS)
def test_two_writers_in_any_order_agree_with_every_reader(steps: Sequence[tuple[int, str | Decide]]) -> None:
    """Ids and versions that were answered once stay true, for readers of the whole and of the compacted log."""
    log: list[Record] = []
    epoch = 0
    writers = (Writer(), Writer())
    given: dict[int, str] = {}
    for who, step in steps:
        writer = writers[who]
        if step == "fence":
            epoch += 1
            writer.epoch = epoch
            writer.catch_up(log)
        elif step == "read":
            writer.catch_up(log)
        elif callable(step):
            records = _decided(step, writer.registry)
            if writer.epoch != epoch:
                continue  # the broker refuses the batch of a fenced writer
            log += records
            writer.catch_up(log)
        for subject in fold(log).subjects(deleted=True):
            for version in fold(log).versions(subject, deleted=True):
                assert given.setdefault(version.id, version.schema) == version.schema
    for writer in writers:
        writer.catch_up(log)
        assert known(writer.registry) == known(fold(log)) == known(fold(compacted(log)))
    assert fold(log).conflicts == []


def _decided(decide: Decide, registry: Registry) -> Sequence[Record]:
    try:
        return decide(registry)
    except Problem:
        return ()


@given(st.lists(DECISIONS, max_size=12), st.integers(0, 40))
def test_taking_in_a_record_twice_does_no_harm(decisions: Sequence[Decide], at: int) -> None:
    """A replica that loses its connection may see the end of the log again."""
    given = Given()
    for decide in decisions:
        given.log += _decided(decide, given.registry)
    assert known(fold([*given.log[:at], *given.log[at : at + 1], *given.log[at:]])) == known(given.registry)


def test_text_that_is_no_schema_is_not_looked_up() -> None:
    """Nonsense is told from something that is merely unknown."""
    with pytest.raises(Invalid):
        Given().registered("s", schema("A")).registry.find("s", "{")
