"""Generated from schemas/avro/uploads; change those files and run `python -m schemas.generate`."""

from dataclasses import dataclass
from typing import ClassVar, TypeAlias


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadBegan:
    """A client sends an upload that it has named, for the first time or again; from here on only this attempt counts.

    Attributes:
        upload_id: Name that the client gave to the upload.
        attempt: This attempt; what an earlier one says afterwards is void.
        media_type: Form of the content, without its compression.
    """

    AVRO: ClassVar[str] = "retrace.uploads.UploadBegan"

    upload_id: str
    attempt: str
    media_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadConfirmed:
    """Everything of an upload up to a place is durable, or refused and told.

    Attributes:
        upload_id: Name that the client gave to the upload.
        attempt: Attempt that confirms; void when another has begun.
        size_bytes: The place: bytes of the content, no longer compressed.
        lines: The place: lines of text, or records of an Avro file.
        digest: BLAKE2b of the bytes since the place before, keyed with the digest of that place, in hexadecimal.
        preamble: Header of a CSV or Avro file, on the first event of an upload: whoever goes on later sends none.
        accepted: Lines on record, from the beginning of the upload.
        refused: Lines refused, from the beginning of the upload.
        problems: What is wrong with refused lines since the place before, as JSON; the first 100 of an upload.
        positions: Last position in each partition written to since the place confirmed before.
        complete: Whether this is the end of the upload.
    """

    AVRO: ClassVar[str] = "retrace.uploads.UploadConfirmed"

    upload_id: str
    attempt: str
    size_bytes: int
    lines: int
    digest: str
    preamble: bytes
    accepted: int
    refused: int
    problems: tuple[str, ...]
    positions: tuple[str, ...]
    complete: bool


UploadsEvent: TypeAlias = UploadBegan | UploadConfirmed
