"""A checkpoint as it is signed: a few lines of text that anybody can write down again from its fields."""

from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from infra.audit.keys import Signer
from schemas.audit import LogCheckpointed

TITLE = "retrace checkpoint 1"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def statement(checkpoint: LogCheckpointed) -> bytes:
    """What is signed: every field but the signature, one a line."""
    signed_us = (checkpoint.signed_at - EPOCH) // (datetime.resolution)
    lines = (
        TITLE,
        checkpoint.origin,
        checkpoint.log,
        checkpoint.number,
        checkpoint.first,
        checkpoint.end,
        checkpoint.records,
        checkpoint.root,
        checkpoint.leaves_sha256,
        checkpoint.previous,
        signed_us,
        checkpoint.key_id,
    )
    return "".join(f"{line}\n" for line in lines).encode()


def digest(checkpoint: LogCheckpointed) -> str:
    """The checkpoint's hash, which the next one of its partition names."""
    return sha256(statement(checkpoint)).hexdigest()


def signed(checkpoint: LogCheckpointed, signer: Signer) -> LogCheckpointed:
    """The checkpoint under this key's name and signature."""
    named = replace(checkpoint, key_id=signer.key_id, signature="")
    return replace(named, signature=signer.sign(statement(named)).hex())


def is_signed_by(checkpoint: LogCheckpointed, key: Ed25519PublicKey) -> bool:
    """Whether the signature is this key's, over exactly these fields."""
    try:
        key.verify(bytes.fromhex(checkpoint.signature), statement(checkpoint))
    except (InvalidSignature, ValueError):
        return False
    return True
