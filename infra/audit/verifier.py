"""Checks that a decision stands on a log: `python verifier.py proof.json public.pem`.

A third party needs this file, the proof, the public key and Python 3.9 or later; nothing else is asked or trusted.
Exit status 0 only when all of it holds. Sources: RFC 9162 section 2.1 (tree), RFC 8032 section 5.1 (Ed25519).
"""

import base64
import json
import sys
from hashlib import sha256, sha512
from pathlib import Path
from typing import Any

TYPE = "retrace.decisions.RecommendationServed"
PROOF = {"format": str, "decision": str, "record": dict, "index": int, "path": list, "checkpoint": dict}
RECORD = {"offset": int, "timestamp_ms": int, "key": str, "value": str, "headers": list}
CHECKPOINT = {"origin": str, "log": str, "number": int, "first": int, "end": int, "records": int, "root": str}
CHECKPOINT.update(leaves_sha256=str, previous=str, signed_at_us=int, key_id=str)
P, L = 2**255 - 19, 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
Point = tuple[int, int, int, int]


def check(proof: Any, pem: str) -> dict[str, Any]:
    """What the proof shows. Any exception is a refusal; a ValueError says why."""
    signed, record = dict(proof["checkpoint"]), proof["record"]
    signature = _bytes(signed.pop("signature"))
    for held, fields in ((proof, PROOF), (record, RECORD), (signed, CHECKPOINT)):
        _shape(held, fields)
    _need(proof["format"] == "retrace proof 1", "this is no proof that this verifier knows")
    der = base64.b64decode("".join(pem.strip().splitlines()[1:-1]))
    _need(der[:-32].hex() == "302a300506032b6570032100", "the public key is no Ed25519 key in PEM")
    key_id = sha256(der[-32:]).hexdigest()[:16]
    _need(signed["key_id"] == key_id, f"the proof is signed under key {signed['key_id']}, and this is {key_id}")
    statement = "".join(f"{line}\n" for line in ["retrace checkpoint 1", *map(signed.get, CHECKPOINT)]).encode()
    _need(_verifies(signature, statement, der[-32:]), "the signature is not that of this key")
    _need(signed["first"] <= record["offset"] < signed["end"], "the record is outside the signed range")
    key, value = _bytes(record["key"]), _bytes(record["value"])
    headers = [(name, _bytes(held)) for name, held in record["headers"]]
    place = record["offset"].to_bytes(8, "big") + record["timestamp_ms"].to_bytes(8, "big")
    named = b"".join(_text(name.encode()) + _text(held) for name, held in headers)
    leaf = sha256(b"\0" + place + _text(key) + _text(value) + _varint(len(headers)) + named).digest()
    root = _root(leaf, proof["index"], signed["records"], [_bytes(step) for step in proof["path"]])
    _need(root == _bytes(signed["root"]), "the record is not the one that was signed")
    user, rest = _first_string(value[5:])  # behind the schema's id
    _need(dict(headers).get("ce_type") == TYPE.encode(), "the record is no decision")
    _need(_first_string(rest)[0] == proof["decision"] and user.encode() == key, "the record is another decision")
    return {
        "decision": proof["decision"],
        "user": user,
        "position": f"{signed['log']}/{record['offset']}",
        "recorded_at_ms": record["timestamp_ms"],
        "signed_at_us": signed["signed_at_us"],
        "origin": signed["origin"],
        "checkpoint": signed["number"],
        "checkpoint_sha256": sha256(statement).hexdigest(),
        "key_id": key_id,
    }


def _need(holds: object, why: str) -> None:
    if not holds:
        raise ValueError(why)


def _shape(held: Any, fields: dict[str, type]) -> None:
    """Exactly these fields, each of exactly its type: what nobody signed has no place in a proof."""
    _need(set(held) == set(fields), f"the proof is cut short or padded: it has {sorted(held)}, not {sorted(fields)}")
    for name, kind in fields.items():
        _need(type(held[name]) is kind, f"{name} is no {kind.__name__}")


def _bytes(text: str) -> bytes:
    data = bytes.fromhex(text)
    _need(data.hex() == text, "bytes are not written as lower-case hex")
    return data


def _varint(number: int) -> bytes:
    number, out = number << 1, b""  # zigzag of what is never negative here
    while number > 0x7F:
        number, out = number >> 7, out + bytes([number & 0x7F | 0x80])
    return out + bytes([number])


def _text(data: bytes) -> bytes:
    return _varint(len(data)) + data


def _first_string(data: bytes) -> tuple[str, bytes]:
    """The first string of Avro's binary encoding, and what follows it."""
    size, at = data[0] & 0x7F, 1
    while data[at - 1] & 0x80:
        size, at = size | (data[at] & 0x7F) << 7 * at, at + 1
    return data[at : at + size // 2].decode(), data[at + size // 2 :]


def _root(node: bytes, index: int, size: int, path: list[bytes]) -> bytes:
    _need(0 <= index < size, "the index is outside the tree")
    last = size - 1
    for step in path:
        _need(len(step) == 32 and last > 0, "the path is too long")
        if index & 1 or index == last:
            node = sha256(b"\1" + step + node).digest()
            while not index & 1 and index:
                index, last = index >> 1, last >> 1
        else:
            node = sha256(b"\1" + node + step).digest()
        index, last = index >> 1, last >> 1
    _need(last == 0, "the path is cut short")
    return node


def _verifies(signature: bytes, message: bytes, public: bytes) -> bool:
    number = int.from_bytes(signature[32:], "little")
    _need(len(signature) == 64 and number < L, "the signature is none")
    hashed = int.from_bytes(sha512(signature[:32] + public + message).digest(), "little") % L
    one = _times(number, _point(bytes.fromhex("58" + "66" * 31)))
    two = _add(_point(signature[:32]), _times(hashed, _point(public)))
    return (one[0] * two[2] - two[0] * one[2]) % P == 0 == (one[1] * two[2] - two[1] * one[2]) % P


def _point(data: bytes) -> Point:
    y, sign = int.from_bytes(data, "little") & ~(1 << 255), data[31] >> 7
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    x = x if (x * x - square) % P == 0 else x * pow(2, (P - 1) // 4, P) % P
    _need(y < P and (x * x - square) % P == 0 and (x or not sign), "the key or the signature is no point of the curve")
    x = x if x & 1 == sign else P - x
    return x, y, 1, x * y % P


def _add(p: Point, q: Point) -> Point:
    a, b = (p[1] - p[0]) * (q[1] - q[0]) % P, (p[1] + p[0]) * (q[1] + q[0]) % P
    c, d = 2 * p[3] * q[3] * D % P, 2 * p[2] * q[2] % P
    return (b - a) * (d - c) % P, (d + c) * (b + a) % P, (d - c) * (d + c) % P, (b - a) * (b + a) % P


def _times(number: int, point: Point) -> Point:
    half = _times(number >> 1, _add(point, point)) if number else (0, 1, 1, 0)
    return _add(half, point) if number & 1 else half


if __name__ == "__main__":
    try:
        shown = check(json.loads(Path(sys.argv[1]).read_text("utf-8")), Path(sys.argv[2]).read_text("utf-8"))
    except Exception as fault:
        sys.exit(f"REFUSED: {fault if isinstance(fault, ValueError) else repr(fault)}")
    sys.stdout.write(json.dumps(shown, indent=2) + "\n")
