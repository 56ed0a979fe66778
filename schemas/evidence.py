"""What an approver is shown, as one hash: whoever quotes it has seen this, to the letter, and nothing else."""

import json
from collections.abc import Mapping
from hashlib import sha256


def evidence_sha256(evidence: Mapping[str, Mapping[str, str]]) -> str:
    """SHA-256 of evidence by step, as canonical JSON: names sorted, no spaces, UTF-8.

    The same as `jq -cjS .evidence | sha256sum` of what the query API answers.

    Source: RFC 8785 (JSON Canonicalization Scheme), of which objects of texts need no more than this.
    """
    plain = {step: dict(found) for step, found in evidence.items()}
    return sha256(json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()).hexdigest()
