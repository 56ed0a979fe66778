"""What a schema registry knows, as a fold of its log, and what each request would add to that log.

The records are Confluent's (topic `_schemas`): `apply` takes them in the order of the log, the deciding methods return
those to append. Nothing here reads a clock or a socket, so every replica that has read the same log gives the same
answer, and so does one that reads the log after compaction.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

from schemas.canonical import canonical
from schemas.compatibility import Level, faults
from schemas.errors import Incompatible, Invalid, NotFound, Rejected

DEFAULT_LEVEL = Level.FULL_TRANSITIVE
MAX_SUBJECT_LENGTH = 255
_NOOP = {"keytype": "NOOP", "magic": 0}

Json: TypeAlias = Any


@dataclass(frozen=True)
class Record:
    """One record of the log; without a value it takes back the earlier ones of its key."""

    key: bytes
    value: bytes | None

    @classmethod
    def of(cls, key: Json, value: Json) -> "Record":
        """Written as Confluent writes it: compaction compares keys byte by byte."""
        return cls(_dump(key), None if value is None else _dump(value))


@dataclass(frozen=True)
class Version:
    """One version of a subject."""

    subject: str
    version: int
    id: int
    schema: str
    deleted: bool = False

    def record(self) -> Record:
        """How the log says it."""
        return Record.of(
            _schema_key(self.subject, self.version),
            {
                "subject": self.subject,
                "version": self.version,
                "id": self.id,
                "schema": self.schema,
                "deleted": self.deleted,
            },
        )


class Registry:
    """Subjects, their versions, the ids of schemas and the levels, as of some position of the log.

    Attributes:
        conflicts: records that gave an id in use to another schema, in words. They do not count. Our own writers
            cannot produce one; a second, unfenced writer on the topic can.
    """

    def __init__(self) -> None:
        self.conflicts: list[str] = []
        self._subjects: dict[str, dict[int, Version]] = {}
        self._schemas: dict[int, str] = {}
        self._ids: dict[str, int] = {}
        self._uses: dict[int, set[tuple[str, int]]] = {}
        self._levels: dict[str | None, Level] = {}
        self._max_id = 0

    # the fold

    def apply(self, key: bytes, value: bytes | None) -> None:
        """Take in the next record of the log.

        Raises:
            Incompatible: the record is not one that a registry for Avro writes.
        """
        try:
            self._apply(json.loads(key), None if value is None else json.loads(value))
        except (AttributeError, KeyError, TypeError, ValueError, Invalid) as error:
            raise Incompatible(
                f"no record of a schema registry for Avro: key {key[:200]!r} ({error}). "
                "Point the registry at a topic of its own, or remove that record."
            ) from error

    def _apply(self, key: Json, value: Json) -> None:
        match key["keytype"]:
            case "SCHEMA" if value is None:
                self._forget(key["subject"], key["version"])
            case "SCHEMA":
                self._put(_version(value))
            case "DELETE_SUBJECT" if value is not None:
                for version in self.versions(key["subject"], deleted=True):
                    if version.version <= value["version"]:
                        self._put(replace(version, deleted=True))
            case "CONFIG" if value is None:
                self._levels.pop(key["subject"], None)
            case "CONFIG":
                self._levels[key["subject"]] = Level(value["compatibilityLevel"])
            case "NOOP":
                self._max_id = max(self._max_id, (value or {}).get("maxId", 0))
            case "DELETE_SUBJECT" | "MODE" | "CONTEXT":
                pass  # a taken-back deletion; what we do not offer but a Confluent registry may have left
            case unknown:
                raise ValueError(f"unknown keytype {unknown}")

    def _put(self, version: Version) -> None:
        if self._schemas.get(version.id, version.schema) != version.schema:
            self.conflicts.append(f"id {version.id} is taken: version {version.version} of {version.subject} is void")
            return
        self._forget(version.subject, version.version)
        self._subjects.setdefault(version.subject, {})[version.version] = version
        self._schemas[version.id] = version.schema
        self._ids.setdefault(version.schema, version.id)
        self._uses.setdefault(version.id, set()).add((version.subject, version.version))
        self._max_id = max(self._max_id, version.id)

    def _forget(self, subject: str, number: int) -> None:
        old = self._subjects.get(subject, {}).pop(number, None)
        if old is None:
            return
        if not self._subjects[subject]:
            del self._subjects[subject]
        self._uses[old.id].discard((subject, number))
        if not self._uses[old.id]:
            del self._uses[old.id], self._schemas[old.id]
            if self._ids.get(old.schema) == old.id:
                del self._ids[old.schema]

    # what it knows

    @property
    def max_id(self) -> int:
        """The highest id ever given, also to schemas that are gone."""
        return self._max_id

    def subjects(self, prefix: str = "", *, deleted: bool = False) -> list[str]:
        """Names of the subjects that have a version; with `deleted` also those that have only deleted ones."""
        return sorted(s for s in self._subjects if s.startswith(prefix) and self.versions(s, deleted=deleted))

    def versions(self, subject: str, *, deleted: bool = False) -> list[Version]:
        """Versions of a subject, oldest first; none when it is unknown."""
        known = self._subjects.get(subject, {})
        return [known[number] for number in sorted(known) if deleted or not known[number].deleted]

    def version(self, subject: str, number: int | None, *, deleted: bool = False) -> Version:
        """One version, the latest for None.

        Raises:
            NotFound: `subject_not_found` or `version_not_found`.
        """
        known = self._known(subject, deleted=deleted)
        if number is None:
            return known[-1]
        for version in known:
            if version.version == number:
                return version
        raise NotFound(f"Subject '{subject}' has no version {number}.", code="version_not_found")

    def schema(self, schema_id: int) -> str:
        """The schema with an id, deleted or not.

        Raises:
            NotFound: `schema_not_found`.
        """
        if schema_id not in self._schemas:
            raise NotFound(f"No schema has the id {schema_id}.", code="schema_not_found")
        return self._schemas[schema_id]

    def uses(self, schema_id: int, *, deleted: bool = False) -> list[Version]:
        """Every version that has this schema.

        Raises:
            NotFound: `schema_not_found`.
        """
        self.schema(schema_id)
        found = [self._subjects[subject][number] for subject, number in sorted(self._uses[schema_id])]
        return [version for version in found if deleted or not version.deleted]

    def find(self, subject: str, schema: str, *, normalize: bool = False, deleted: bool = False) -> Version:
        """The newest version of a subject that is this schema.

        Args:
            subject: where to look.
            schema: as JSON.
            normalize: take no notice of the order of attributes that Avro does not define.
            deleted: look at deleted versions too.

        Raises:
            Invalid: the text is no Avro schema.
            NotFound: `subject_not_found` or `schema_not_found`.
        """
        text = canonical(schema, sort_own=normalize)
        for version in reversed(self._known(subject, deleted=deleted)):
            if text == (canonical(version.schema, sort_own=True) if normalize else version.schema):
                return version
        raise NotFound(f"Subject '{subject}' has no version with this schema.", code="schema_not_found")

    def level(self, subject: str | None) -> Level:
        """The level that applies to a subject: its own, else the global one."""
        return self._levels.get(subject) or self._levels.get(None) or DEFAULT_LEVEL

    def own_level(self, subject: str) -> Level:
        """The level set for this very subject.

        Raises:
            NotFound: `level_not_found`.
        """
        if subject not in self._levels:
            raise NotFound(f"Subject '{subject}' has no compatibility level of its own.", code="level_not_found")
        return self._levels[subject]

    def faults(self, subject: str, schema: str, against: int | Literal["latest", "all"] = "all") -> list[str]:
        """Why a schema may not become the next version; empty when it may.

        Args:
            subject: where it would go; one without versions takes anything.
            schema: as JSON.
            against: the version to compare with; `all` compares with those that the level asks for.

        Raises:
            Invalid: the text is no Avro schema.
            NotFound: `subject_not_found` or `version_not_found`.
        """
        earlier = self.versions(subject)
        if isinstance(against, int):
            earlier = [self.version(subject, against)]
        elif against == "latest":
            earlier = earlier[-1:]
        canonical(schema)
        return faults(schema, [(f"version {v.version}", v.schema) for v in earlier], self.level(subject))

    # what a request adds

    def register(self, subject: str, schema: str, *, normalize: bool = False) -> Sequence[Record]:
        """Make a schema the next version of a subject; nothing when it is a version already.

        The same schema has the same id under every subject. The default level goes to the log with the first
        schema, so that another registry on the topic keeps it.

        Raises:
            Invalid: the text is no Avro schema, or the subject no name.
            Rejected: `incompatible_schema`; the message has one line per fault.
        """
        text = canonical(schema, sort_own=normalize)
        if not subject or len(subject) > MAX_SUBJECT_LENGTH or not subject.isprintable():
            raise Invalid("A subject is 1 to 255 printable characters.", code="invalid_subject")
        if self._has(subject, schema, normalize):
            return []
        if found := self.faults(subject, text):
            raise Rejected("\n".join(found), code="incompatible_schema", extra={"faults": found})
        number = max((v.version for v in self.versions(subject, deleted=True)), default=0) + 1
        schema_id = self._ids.get(text, self._max_id + 1)
        level = [] if None in self._levels else list(self.set_level(None, DEFAULT_LEVEL))
        return [*level, Version(subject, number, schema_id, text).record()]

    def delete_version(self, subject: str, number: int | None, *, permanent: bool) -> Sequence[Record]:
        """Hide a version from listings and checks, or take a hidden one out of the log.

        Raises:
            NotFound: no such version, or not in the state this asks for (`version_deleted`, `version_not_deleted`).
        """
        version = self.version(subject, number, deleted=True)
        if permanent and not version.deleted:
            raise NotFound(f"Delete version {version.version} of '{subject}' first.", code="version_not_deleted")
        if permanent:
            return [self._memory(), Record.of(_schema_key(subject, version.version), None)]
        if version.deleted:
            raise NotFound(
                f"Version {version.version} of '{subject}' is deleted; permanent=true removes it.",
                code="version_deleted",
            )
        return [replace(version, deleted=True).record()]

    def delete_subject(self, subject: str, *, permanent: bool) -> Sequence[Record]:
        """Hide all versions of a subject and drop its level, or take a hidden subject out of the log.

        Raises:
            NotFound: no such subject, or not in the state this asks for (`subject_deleted`, `subject_not_deleted`).
        """
        known = self._known(subject, deleted=True)
        living = self.versions(subject)
        if permanent and living:
            raise NotFound(f"Delete subject '{subject}' first.", code="subject_not_deleted")
        if permanent:
            return [self._memory(), *(Record.of(_schema_key(subject, v.version), None) for v in known)]
        if not living:
            raise NotFound(f"Subject '{subject}' is deleted; permanent=true removes it.", code="subject_deleted")
        key = {"keytype": "DELETE_SUBJECT", "subject": subject, "magic": 0}
        deletion = Record.of(key, {"subject": subject, "version": living[-1].version})
        return [deletion, *(self.clear_level(subject) if subject in self._levels else [])]

    def set_level(self, subject: str | None, level: Level) -> Sequence[Record]:
        """Set the level of a subject, for None the global one."""
        return [Record.of(_config_key(subject), {"compatibilityLevel": level.value})]

    def clear_level(self, subject: str | None) -> Sequence[Record]:
        """Back to the global level; the global one back to the default."""
        return [Record.of(_config_key(subject), None)]

    def _memory(self) -> Record:
        """Ids in data outlive their schemas: after compaction only this tells that they were given."""
        return Record.of(_NOOP, {"maxId": self._max_id})

    def _has(self, subject: str, schema: str, normalize: bool) -> bool:
        try:
            self.find(subject, schema, normalize=normalize)
        except NotFound:
            return False
        return True

    def _known(self, subject: str, *, deleted: bool) -> list[Version]:
        known = self.versions(subject, deleted=deleted)
        if not known:
            raise NotFound(f"Subject '{subject}' not found.", code="subject_not_found")
        return known


def _version(value: Json) -> Version:
    if value.get("schemaType", "AVRO") != "AVRO" or value.get("references"):
        raise ValueError("only Avro schemas without references are supported")
    text = canonical(value["schema"])
    return Version(value["subject"], value["version"], value["id"], text, value.get("deleted", False))


def _schema_key(subject: str, version: int) -> Json:
    return {"keytype": "SCHEMA", "subject": subject, "version": version, "magic": 1}


def _config_key(subject: str | None) -> Json:
    return {"keytype": "CONFIG", "subject": subject, "magic": 0}


def _dump(value: Json) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
