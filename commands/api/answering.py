"""From a validated command to its HTTP answer."""

import asyncio
from typing import Any
from uuid import UUID

import orjson
from fastapi import Request, Response

from commands.api.admission import Admission
from commands.api.carried import check_carried
from commands.api.outcomes import Outcome, Outcomes
from commands.api.personal import People
from commands.api.repeats import REPLAYED, in_progress, reused
from commands.api.request import Intent
from commands.api.sender import CommandSender
from commands.api.validation import Fields, generated, validator
from infra.access.route import identity_of
from infra.http import problem_response
from schemas.codec import Record, from_fields
from schemas.contracts import Contract
from schemas.envelope import Meta
from schemas.errors import TimedOut


class Answering:
    """Sends commands and answers with what became of them."""

    def __init__(self, sender: CommandSender, outcomes: Outcomes, admission: Admission, people: People) -> None:
        self._admission = admission
        self._sender = sender
        self._outcomes = outcomes
        self._people = people

    async def answer(self, request: Request, contract: Contract, given: Any, intent: Intent) -> Response:
        """Validate, send, wait.

        Raises:
            Invalid: a field is wrong, or the Idempotency-Key has been used for something else.
            Forbidden: a command to be sent later is one that the caller may not send.
            Rejected: a request with the same Idempotency-Key is being worked on.
            Gone: it describes somebody who was erased.
            Unavailable: Kafka or the keys for personal data are away or too slow; nothing was accepted silently.
            TimedOut: no decision came in time; it may still come.
        """
        fields = filled(contract, validator(contract.full_name)(given), intent.command_id)
        check_carried(contract, fields, identity_of(request))
        fields, fingerprint = await self._people.sealed(contract, fields, intent.tenant)
        known = self._outcomes.known(intent.command_id)
        if known is not None:
            return _answered(request, _checked(known, fingerprint), replayed=True)
        self._refuse_second(intent.command_id, fingerprint)
        meta = intent.meta(contract.full_name, fields[contract.key or ""], fingerprint)
        outcome = await self._outcome(from_fields(contract.full_name, fields), meta, fingerprint, intent)
        if outcome is None:
            return _accepted(intent.command_id)
        return _answered(request, outcome, replayed=outcome.repeated)

    def _refuse_second(self, command_id: UUID, fingerprint: str) -> None:
        """Two requests with one key at the same time: the second would only learn what the first one does."""
        working_on = self._outcomes.in_flight(command_id)
        if working_on is None:
            return
        if working_on != fingerprint:
            raise reused(command_id)
        raise in_progress(command_id, status_url=f"/commands/{command_id}")

    async def _outcome(self, command: Record, meta: Meta, fingerprint: str, intent: Intent) -> Outcome | None:
        """Send and wait; None when it takes longer than the caller wants to wait.

        The waiting begins before the sending, so that no answer slips by.
        """
        answer = self._outcomes.wait_for(meta.id, fingerprint)
        try:
            with self._admission.decision():
                with self._admission.append():
                    await self._sender.send(command, meta)
                return _checked(await asyncio.wait_for(answer, intent.wait_s), fingerprint) if intent.wait_s else None
        except TimeoutError:
            if intent.prefer.respond_async:
                return None
            raise TimedOut(
                f"the command is on record and not decided yet: ask /commands/{meta.id} what became of it",
                extra={"command_id": str(meta.id), "status_url": f"/commands/{meta.id}"},
            ) from None
        finally:
            answer.cancel()


def filled(contract: Contract, fields: Fields, command_id: UUID) -> Fields:
    """The fields, with those that the caller left to us."""
    return fields | {name: str(command_id) for name in generated(contract) if name not in fields}


def _checked(outcome: Outcome, fingerprint: str) -> Outcome:
    if outcome.fingerprint != fingerprint or not outcome.same_body:
        raise reused(outcome.command_id)
    return outcome


def _accepted(command_id: UUID) -> Response:
    body = {"command_id": str(command_id), "outcome": "pending", "status_url": f"/commands/{command_id}"}
    headers = {"location": f"/commands/{command_id}", "preference-applied": "respond-async"}
    return Response(orjson.dumps(body), 202, headers, "application/json")


def _answered(request: Request, outcome: Outcome, *, replayed: bool) -> Response:
    headers = {"etag": f'"{outcome.version}"', "x-position": outcome.positions[-1]}
    if replayed:
        headers[REPLAYED] = "true"
    if outcome.outcome == "rejected":
        return problem_response(outcome.problem(), request.url.path, headers)
    return Response(orjson.dumps(outcome.document()), outcome.status, headers, "application/json")
