"""What a client says of an upload beside its content: its name, where it goes on, whether it ends."""

import re
from collections.abc import Callable
from hashlib import sha1
from typing import NamedTuple

from starlette.datastructures import Headers

from commands.api.headers import idempotency_key
from commands.api.identity import LONGEST_KEY
from schemas.errors import Malformed
from schemas.identity import as_uuid5, derived_id

UPLOAD_ID = rf"^[A-Za-z0-9._~:-]{{1,{LONGEST_KEY}}}$"
OFFSET = r"^[0-9]{1,15}$"


class Named(NamedTuple):
    """An upload that can be resumed.

    Attributes:
        upload_id: chosen by the client.
        offset: byte of the content that the body begins with; None when it begins at the beginning, whatever is known.
        ends: whether the content ends with the body.
    """

    upload_id: str
    offset: int | None
    ends: bool


def named(headers: Headers) -> Named | None:
    """Read `Upload-Id` or else `Idempotency-Key`, `Upload-Offset` and `Upload-Complete`; None: it has no name.

    Source: draft-ietf-httpbis-resumable-upload, sections 4.1.1 and 4.1.2, for the meaning of the latter two.

    Raises:
        Malformed: one of them cannot be read, or there is no name to go with them.
    """
    upload_id = headers.get("upload-id") or idempotency_key(headers.get("idempotency-key"))
    offset, complete = headers.get("upload-offset"), headers.get("upload-complete", "?1")
    if upload_id is None:
        if offset or complete == "?0":
            raise Malformed("Upload-Offset and Upload-Complete go with an Upload-Id: name it", code="bad_upload_header")
        return None
    if "upload-id" in headers and not re.fullmatch(UPLOAD_ID, upload_id, re.ASCII):
        raise Malformed(f"an Upload-Id is 1 to {LONGEST_KEY} of A-Z a-z 0-9 . _ ~ : -", code="bad_upload_id")
    if complete not in ("?0", "?1") or (offset is not None and not re.fullmatch(OFFSET, offset, re.ASCII)):
        raise Malformed("Upload-Offset is a number of bytes, Upload-Complete ?1 or ?0", code="bad_upload_header")
    return Named(upload_id, None if offset is None else int(offset), complete == "?1")


def line_ids(tenant: str, upload_id: str) -> Callable[[int, bytes], str]:
    """Ids of lines that have none: they follow from upload, number and content.

    So the same line sent again counts once, and another line in its place is another fact: nothing is lost when a
    client changes what was not confirmed yet.
    """
    prefix = sha1(derived_id(tenant, f"\x1fupload\x1f{upload_id}").bytes, usedforsecurity=False)

    def derive(number: int, value: bytes) -> str:
        digest = prefix.copy()
        digest.update(b"%d\x1f" % number)
        digest.update(value)
        return as_uuid5(digest.hexdigest())

    return derive
