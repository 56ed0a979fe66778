"""Every error raised on purpose.

Problem
├── Rejected       the domain said no                   409
│   └── Conflict   the aggregate moved meanwhile        412, retriable
├── NotFound       no such thing                        404
├── Gone           it was, and is not any more          410
├── Unknown        nobody knows who is asking           401
├── Forbidden      known, and not allowed to            403
├── Malformed      the body is not what it says it is   400
├── Unsupported    a body of a kind nobody takes        415
├── Invalid        the request makes no sense           422
├── Unconditional  a condition is missing               428
├── TooLarge       the body is over the limit           413
├── Incompatible   bytes and schema disagree            500, stops the reader
├── TimedOut       the answer did not come in time      504, retriable
└── Unavailable    a broker, store or server is away    503, retriable

HTTP answers, dead letters, retries and alerts read `code`, `status` and `retriable`; nobody matches on text.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar


class Problem(Exception):
    """What went wrong, said so that the reader knows what to do.

    Args:
        detail: one or two sentences that name the remedy.
        code: stable, snake_case; tells this fault from others of its class.
        errors: faults of single fields, each `{"pointer": "/field", "detail": "..."}`.
        extra: further members of the problem document.
    """

    code: str = "problem"
    status: int = 500
    retriable: ClassVar[bool] = False

    def __init__(
        self,
        detail: str,
        *,
        code: str | None = None,
        errors: Sequence[Mapping[str, str]] = (),
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.code = code or type(self).code
        self.errors = tuple(errors)
        self.extra = dict(extra or {})


class Rejected(Problem):
    """The domain said no."""

    code = "rejected"
    status = 409


class Conflict(Rejected):
    """The aggregate has moved on from the version the caller expected."""

    code = "version_conflict"
    status = 412
    retriable = True


class NotFound(Problem):
    """No such thing."""

    code = "not_found"
    status = 404


class Gone(Problem):
    """It was there, and was removed for good."""

    code = "gone"
    status = 410


class Unknown(Problem):
    """It is not known who is asking: no key, or one that does not open."""

    code = "unknown_caller"
    status = 401


class Forbidden(Problem):
    """Whoever is asking is known, and not allowed to."""

    code = "forbidden"
    status = 403


class Malformed(Problem):
    """The body is not what it says it is."""

    code = "malformed_json"
    status = 400


class Unsupported(Problem):
    """The body is of a kind that this operation does not take."""

    code = "unsupported_media_type"
    status = 415


class Invalid(Problem):
    """The request makes no sense."""

    code = "invalid"
    status = 422


class Unconditional(Problem):
    """The operation is only done on a condition, and none was given."""

    code = "precondition_required"
    status = 428


class TooLarge(Problem):
    """The body is over the limit."""

    code = "body_too_large"
    status = 413


class Incompatible(Problem):
    """Bytes and schema disagree."""

    code = "incompatible"
    status = 500


class TimedOut(Problem):
    """The answer did not come in time; it may still come."""

    code = "timed_out"
    status = 504
    retriable = True


class Unavailable(Problem):
    """A broker, store or server is away."""

    code = "unavailable"
    status = 503
    retriable = True
