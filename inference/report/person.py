"""What the log says of one person: what they were shown and by what, what they allowed, what was trained on their data.

It is for that person, and for whoever answers them. Their name is not opened: it stays sealed under their key. Of
somebody who has been erased nothing is told but that, and where the proof stands.
"""

from collections import Counter
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from typing import Any

from inference.inputs import SILENT_KINDS
from inference.report.catalogue import Catalogue
from inference.report.report import FORMAT
from inference.report.rollouts import Rollouts
from inference.report.scope import TOPICS, Scope, as_fields
from inference.report.story import ranges_fields
from inference.report.versions import Registry, Version
from inference.report.wording import count, listed, percent, places, when
from infra.kafka.partitioner import partition_of
from infra.kafka.ranges import ranges_now
from infra.kafka.records import Decoder
from infra.kafka.replay import recorded
from infra.settings import Settings
from schemas.contracts import contracts
from schemas.decisions import RecommendationServed
from schemas.envelope import Recorded
from schemas.errors import Gone, NotFound
from schemas.interactions import InteractionRecorded
from schemas.models import OffsetRange
from schemas.profiles import ConsentGiven, ConsentWithdrawn, PersonalDataDestroyed, UserErased

MOST_LISTED = 500
"""Newest answers that are listed; all are counted."""

ITEMS_LISTED = 10

OPEN = "not on record as complete: `retrace logs eraser` says what it waits for"

PURPOSES = ("personalisation", "training")

Json = dict[str, Any]


@dataclass
class Person:
    """The fold of one person's events.

    Attributes:
        consents: each word on a purpose: what, whether it was a yes, and its record.
        met: interactions that count: the position of each, those that say nothing for an item left out.
        answers: what they were shown.
    """

    user_id: str
    profile: list[tuple[str, Recorded]] = field(default_factory=list)
    consents: list[tuple[str, bool, Recorded]] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)
    met: list[tuple[int, int]] = field(default_factory=list)
    occurred: list[Any] = field(default_factory=list)
    answers: list[Recorded] = field(default_factory=list)
    shown: Counter[str] = field(default_factory=Counter)
    answered: int = 0
    _ids: set[Any] = field(default_factory=set)
    _decisions: set[str] = field(default_factory=set)

    def hear(self, one: Recorded, during: bool) -> None:
        """The next event of theirs; `during` the period or before it."""
        event = one.event
        if contracts()[event.AVRO].is_outcome:
            return
        match event:
            case InteractionRecorded():
                self._meet(one, event, during)
            case RecommendationServed():
                self._answer(one, event)
            case ConsentGiven(purpose=purpose) | ConsentWithdrawn(purpose=purpose):
                self.consents.append((purpose, isinstance(event, ConsentGiven), one))
            case _:
                self.profile.append((type(event).__name__, one))

    @property
    def is_known(self) -> bool:
        """Whether anything is on record."""
        return bool(self.profile or self.consents or self.met or self.kinds or self.answered)

    def _meet(self, one: Recorded, event: InteractionRecorded, during: bool) -> None:
        if one.meta.id in self._ids:
            return
        self._ids.add(one.meta.id)
        if during:
            self.kinds[event.kind] += 1
            self.occurred.append(event.occurred_at)
        if event.kind not in SILENT_KINDS:
            self.met.append((one.position.partition, one.position.offset))

    def _answer(self, one: Recorded, event: RecommendationServed) -> None:
        if event.decision_id in self._decisions:
            return
        self._decisions.add(event.decision_id)
        self.answered += 1
        self.shown.update([event.source])
        self.answers.append(one)
        if len(self.answers) > 2 * MOST_LISTED:
            self.answers = self.newest()

    def newest(self) -> list[Recorded]:
        """The newest answers, oldest first."""
        return sorted(self.answers, key=lambda one: (one.event.served_at, one.position))[-MOST_LISTED:]

    def consent(self, purpose: str, end: int | None = None) -> bool:
        """The last word on a purpose, of all or of those before an offset of profiles; yes when none was said."""
        words = [(given, one) for said, given, one in self.consents if said == purpose]
        return next((given for given, one in reversed(words) if end is None or one.position.offset < end), True)


async def person_report(settings: Settings, decoder: Decoder, scope: Scope, user_id: str) -> Json:
    """The report about one person.

    Raises:
        Gone: they have been erased, in the period or since.
        NotFound: the log knows nothing of them.
        Invalid, Incompatible, Unavailable: as `infra.kafka.replay`.
    """
    await _refuse_erased(settings, decoder, user_id)
    person = await _person(settings, decoder, scope, user_id)
    if not person.is_known:
        raise NotFound(
            f"nothing is on record about '{user_id}' until {when(scope.until)} UTC: look for the right id with "
            "GET /events/search?user_id=..., or ask for a later period",
            code="unknown_user",
        )
    rollouts, registry = Rollouts(), Registry()
    async for one in recorded(settings, decoder, scope.up_to("deployments")):
        rollouts.hear(one)
    async for one in recorded(settings, decoder, scope.up_to("models")):
        registry.hear(one)
    catalogue = await Catalogue().hear_all(_shown_items(settings, decoder, scope, person))
    return _document(scope, person, rollouts, registry, catalogue)


async def _refuse_erased(settings: Settings, decoder: Decoder, user_id: str) -> None:
    """Whatever the period: once somebody is erased, nothing is told of before either."""
    own = _own(await ranges_now(settings, ["profiles"]), user_id)
    asked = done = ""
    async for one in recorded(settings, decoder, own, keys=[user_id]):
        if isinstance(one.event, UserErased):
            asked = asked or f"at {when(one.meta.time)} UTC ({one.position})"
        if isinstance(one.event, PersonalDataDestroyed):
            done = f"complete at {when(one.meta.time)} UTC ({one.position})"
    if asked:
        raise Gone(
            f"user '{user_id}' has been erased for good, and nothing is told about them any more: the erasure was "
            f"asked for {asked} and is {done or OPEN}",
            code="erased_user",
        )


def _own(ranges: Iterable[OffsetRange], user_id: str) -> list[OffsetRange]:
    """The partitions in which a person's events stand."""
    held = list(ranges)
    number = partition_of(user_id, len({part.partition for part in held}))
    return [part for part in held if part.partition == number]


async def _person(settings: Settings, decoder: Decoder, scope: Scope, user_id: str) -> Person:
    person = Person(user_id)
    for topic in ("profiles", "interactions"):  # states, and what was trained on, begin with the log
        ranges = _own(scope.up_to(topic), user_id)
        async for one in recorded(settings, decoder, ranges, keys=[user_id]):
            person.hear(one, one.position.offset >= scope.span(topic, one.position.partition)[0])
    async for one in recorded(settings, decoder, _own(scope.during("decisions"), user_id), keys=[user_id]):
        person.hear(one, during=True)
    return person


def _shown_items(settings: Settings, decoder: Decoder, scope: Scope, person: Person) -> AsyncIterator[Recorded]:
    items = {item.item_id for one in person.newest() for item in one.event.items}
    return recorded(settings, decoder, scope.up_to("catalog"), keys=sorted(items))


def _document(scope: Scope, person: Person, rollouts: Rollouts, registry: Registry, catalogue: Catalogue) -> Json:
    home = partition_of(person.user_id, len(scope.during("profiles")))
    versions = (_used(person, one, rollouts, home) for one in registry.versions.values())
    trained = [one for one in versions if one["interactions"]]
    read = [place for topic in TOPICS for place in places(_own_if_keyed(scope, topic, person.user_id))]
    return {
        "format": FORMAT,
        "kind": "user",
        "title": f"Report on one person, until {when(scope.until)} UTC",
        "asked": {"user": person.user_id},
        "speaks_for": as_fields(scope),
        "read": read,
        "summary": _summary(scope, person, trained),
        "erased": False,
        "consent": {purpose: person.consent(purpose) for purpose in PURPOSES},
        "events": [*map(_event, person.profile), *(_word(*word) for word in person.consents)],
        "interactions": {
            "total": person.kinds.total(),
            "by_kind": dict(sorted(person.kinds.items())),
            "first": min(person.occurred).isoformat() if person.occurred else None,
            "last": max(person.occurred).isoformat() if person.occurred else None,
        },
        "answers": {
            "total": person.answered,
            "by_source": dict(sorted(person.shown.items())),
            "listed": [_answer(one, registry, catalogue) for one in person.newest()],
        },
        "trained": trained,
    }


def _own_if_keyed(scope: Scope, topic: str, user_id: str) -> list[OffsetRange]:
    if topic == "dead-letters":
        return []
    if topic == "decisions":
        return _own(scope.during(topic), user_id)
    return _own(scope.up_to(topic), user_id) if topic in ("profiles", "interactions") else scope.up_to(topic)


def _event(named: tuple[str, Recorded]) -> Json:
    name, one = named
    return {"event": name, "at": one.meta.time.isoformat(), "evidence": [str(one.position)]}


def _word(purpose: str, given: bool, one: Recorded) -> Json:
    name = "ConsentGiven" if given else "ConsentWithdrawn"
    return {"event": name, "purpose": purpose, "at": one.meta.time.isoformat(), "evidence": [str(one.position)]}


def _answer(one: Recorded, registry: Registry, catalogue: Catalogue) -> Json:
    served: RecommendationServed = one.event
    version = registry.versions.get((served.model, served.version or 0))
    return {
        "decision_id": served.decision_id,
        "at": served.served_at.isoformat(),
        "model": served.model,
        "version": served.version,
        "algorithm": version.algorithm if version else None,
        "source": served.source,
        "fallback_reason": served.fallback_reason,
        "history_length": served.history_length,
        "items": [
            {"item_id": item.item_id, "title": catalogue.titles.get(item.item_id), "score": item.score}
            for item in served.items[:ITEMS_LISTED]
        ],
        "items_total": len(served.items),
        "evidence": [str(one.position)],
    }


def _used(person: Person, version: Version, rollouts: Rollouts, home: int) -> Json:
    """How many of the person's interactions a version was trained on: consent counts where its profiles end."""
    ends = [part.end for part in version.run.ranges if (part.topic, part.partition) == ("profiles", home)]
    end = max(ends, default=0)
    parts = [part for part in version.run.ranges if part.topic == "interactions"]
    allowed = person.consent("training", end)
    used = [place for place in person.met if any(_holds(part, place) for part in parts)] if allowed else []
    promoted = [d for d in rollouts.of(version.model) if d.version == version.version and d.step("promoted")]
    return {
        "model": version.model,
        "version": version.version,
        "algorithm": version.algorithm,
        "run_id": version.run.run_id,
        "dataset_sha256": version.dataset_sha256,
        "interactions": len(used),
        "was_in_production": bool(promoted),
        "ranges": ranges_fields(version.run.ranges),
        "evidence": [version.registered.position],
    }


def _holds(part: OffsetRange, place: tuple[int, int]) -> bool:
    return part.partition == place[0] and part.first <= place[1] < part.end


def _summary(scope: Scope, person: Person, trained: list[Json]) -> list[Json]:
    by_model = person.shown["model"]
    answers = f"{count(person.answered, 'recommendation')} on record"
    if person.answered:
        answers += f", {percent(by_model, person.answered)} of them made by a model from the person's own history"
    used = [f"version {one['version']} of {one['model']}" for one in trained]
    on = _own(scope.up_to("profiles"), person.user_id)
    refused = [purpose for purpose in PURPOSES if not person.consent(purpose)]
    return [
        _sentence(f"{answers[0].upper()}{answers[1:]}.", places(_own(scope.during("decisions"), person.user_id))),
        _sentence(
            f"The person does not consent to {listed(refused)}."
            if refused
            else "The person consents to personalisation and to training, or has said nothing against them.",
            places(on),
        ),
        _sentence(
            f"Their data were used to train {listed(used)}."
            if used
            else "No registered version was trained on their data.",
            [place for one in trained for place in one["evidence"]],
        ),
        _sentence("No erasure of this person is on record.", places(on)),
    ]


def _sentence(text: str, evidence: list[str]) -> Json:
    return {"tone": "plain", "text": text, "evidence": evidence}
