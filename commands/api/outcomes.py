"""What became of commands, as the decided topics tell it: the last ones, and who waits for one."""

import asyncio
import contextlib
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal
from uuid import UUID

from infra.kafka.records import Raw
from schemas.contracts import contracts
from schemas.errors import Problem
from schemas.outcomes import CommandRejected, CommandRepeated

REMEMBERED = 100_000
OUTCOME_TYPES = frozenset(contract.full_name for contract in contracts().values() if contract.is_outcome)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The answer to one command.

    Attributes:
        tenant: whose command it was.
        aggregate_id: key of the aggregate it was about.
        outcome: accepted or rejected; of a repeated command that of the first time.
        version: version of the aggregate afterwards.
        events: names of the events it led to; none when it changed nothing or was refused.
        positions: where the answer stands.
        status: HTTP status.
        fingerprint: hash of what the command said.
        repeated: whether this answers a repetition.
        same_body: whether the repetition said the same as the first.
    """

    command_id: UUID
    tenant: str
    aggregate_id: str
    outcome: Literal["accepted", "rejected"]
    version: int
    events: tuple[str, ...]
    positions: tuple[str, ...]
    status: int = 200
    code: str | None = None
    detail: str | None = None
    fingerprint: str | None = None
    repeated: bool = False
    same_body: bool = True

    def document(self) -> dict[str, Any]:
        """As JSON, for people and programs."""
        refusal = {"code": self.code, "detail": self.detail} if self.outcome == "rejected" else {}
        return {
            "command_id": str(self.command_id),
            "aggregate_id": self.aggregate_id,
            "outcome": self.outcome,
            "status": self.status,
            "version": self.version,
            "events": list(self.events),
            "position": self.positions[-1],
            "positions": list(self.positions),
            **refusal,
        }

    def problem(self) -> Problem:
        """The refusal as an error."""
        extra = {"command_id": str(self.command_id), "version": self.version, "position": self.positions[-1]}
        problem = Problem(self.detail or "", code=self.code, extra=extra)
        problem.status = self.status
        return problem


class Outcomes:
    """The last answers, and who waits for one; every counted record of the decided topics goes through `take`."""

    def __init__(self, remembered: int = REMEMBERED) -> None:
        self._limit = remembered
        self._known: OrderedDict[UUID, Outcome] = OrderedDict()
        self._sent: OrderedDict[UUID, float] = OrderedDict()
        self._waiting: dict[UUID, list[tuple[str | None, asyncio.Future[Outcome]]]] = {}

    def known(self, command_id: UUID) -> Outcome | None:
        """The first answer to a command, when it is recent."""
        return self._known.get(command_id)

    def awaited_s(self, command_id: UUID) -> float:
        """How long ago a command was sent from here that has not been answered, in seconds; infinite of any other."""
        sent_at = self._sent.get(command_id)
        return float("inf") if sent_at is None else time.monotonic() - sent_at

    def wait_for(self, command_id: UUID, fingerprint: str) -> "asyncio.Future[Outcome]":
        """The answer to come; has to be asked for before the command is sent."""
        self._sent[command_id] = time.monotonic()
        if len(self._sent) > self._limit:
            self._sent.popitem(last=False)
        return self._wait(command_id, fingerprint)

    def in_flight(self, command_id: UUID) -> str | None:
        """Fingerprint of the command with this id that a request is waiting for right now; None when there is none."""
        return next((said for said, _ in self._waiting.get(command_id, ()) if said is not None), None)

    async def settled(self, command_id: UUID, wait_s: float) -> Outcome | None:
        """The first answer to a command, when it comes in time.

        Args:
            wait_s: how long to wait, in seconds.
        """
        if (known := self._known.get(command_id)) is not None or not wait_s:
            return known
        with contextlib.suppress(TimeoutError):
            return await asyncio.wait_for(self._wait(command_id, None), wait_s)
        return None

    def _wait(self, command_id: UUID, fingerprint: str | None) -> "asyncio.Future[Outcome]":
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(command_id, []).append((fingerprint, future))
        future.add_done_callback(lambda _: self._forget(command_id, future))
        return future

    def take(self, page: Sequence[tuple[Raw, Any]]) -> None:
        """Counted records of one partition, in order; the events of one command are always in one page.

        Args:
            page: each with its outcome event, or None when it is an ordinary event.
        """
        answers: dict[tuple[UUID, str], Outcome] = {}
        for raw, event in page:
            headers = {name: value.decode() for name, value in raw.headers}
            command = (UUID(headers["causationid"]), headers.get("commandoffset", ""))
            before = answers.get(command)
            answers[command] = (
                _outcome(command[0], raw, headers, event) if before is None else _more(before, raw, headers)
            )
        for outcome in answers.values():
            self._settle(outcome)

    def _settle(self, outcome: Outcome) -> None:
        self._sent.pop(outcome.command_id, None)
        first = self._known.get(outcome.command_id)
        if not outcome.repeated:
            self._remember(outcome)
        elif first is not None:
            outcome = replace(first, repeated=True, same_body=outcome.same_body, fingerprint=outcome.fingerprint)
        for fingerprint, future in tuple(self._waiting.get(outcome.command_id, ())):
            if not future.done() and (not outcome.repeated or fingerprint in (None, outcome.fingerprint)):
                future.set_result(outcome)

    def _remember(self, outcome: Outcome) -> None:
        self._known[outcome.command_id] = outcome
        if len(self._known) > self._limit:
            self._known.popitem(last=False)

    def _forget(self, command_id: UUID, future: "asyncio.Future[Outcome]") -> None:
        left = [waiter for waiter in self._waiting.get(command_id, ()) if waiter[1] is not future]
        if left:
            self._waiting[command_id] = left
        else:
            self._waiting.pop(command_id, None)


def _outcome(command_id: UUID, raw: Raw, headers: Mapping[str, str], event: Any) -> Outcome:
    named = headers["ce_type"]
    base = Outcome(
        command_id=command_id,
        tenant=headers.get("tenant", "default"),
        aggregate_id=headers["ce_subject"],
        outcome="accepted",
        version=int(headers.get("aggregateversion", 0)),
        events=() if named in OUTCOME_TYPES else (_short(named),),
        positions=(str(raw.position),),
        fingerprint=headers.get("fingerprint"),
    )
    match event:
        case CommandRejected(status=status, code=code, detail=detail):
            return replace(base, outcome="rejected", status=status, code=code, detail=detail)
        case CommandRepeated(first_offset=offset, version=version, same_body=same, status=status, code=code):
            return replace(
                base,
                outcome="accepted" if code is None else "rejected",
                version=version,
                positions=(f"{raw.topic.name}/{raw.partition}/{offset}",),
                status=status,
                code=code,
                detail=event.detail,
                repeated=True,
                same_body=same,
            )
        case _:
            return base


def _more(before: Outcome, raw: Raw, headers: Mapping[str, str]) -> Outcome:
    return replace(
        before,
        version=int(headers.get("aggregateversion", 0)),
        events=(*before.events, _short(headers["ce_type"])),
        positions=(*before.positions, str(raw.position)),
    )


def _short(full_name: str) -> str:
    return full_name.rpartition(".")[2]
