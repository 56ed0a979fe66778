"""JSON Web Tokens of one issuer: algorithm, issuer and audience are pinned by the settings, never read from the token.

Source: RFC 7519; RFC 8725 (best practices), sections 3.1, 3.8 and 3.9.
"""

import time
from collections import OrderedDict
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import jwt

from infra.access.identity import Identity
from infra.access.jwks import Jwks
from infra.health import Health
from infra.settings import JwtSettings
from schemas.errors import Forbidden, Problem, Unknown
from schemas.roles import known

REMEMBERED = 10_000
LONGEST_NAME = 200

FAULTS: Mapping[type[jwt.PyJWTError], tuple[str, str]] = {
    jwt.ExpiredSignatureError: ("expired_token", "this token has expired: sign in again"),
    jwt.ImmatureSignatureError: ("token_not_yet_valid", "this token is not valid yet: look at the clocks"),
    jwt.InvalidAudienceError: ("wrong_audience", "this token is for another audience: ask for one for '{audience}'"),
    jwt.InvalidIssuerError: ("wrong_issuer", "this token is of another issuer: those of {issuer} are taken"),
    jwt.InvalidAlgorithmError: ("wrong_algorithm", "this token is signed by another algorithm than {algorithm}"),
    jwt.InvalidSignatureError: ("bad_signature", "this token was not signed by the key that it names: sign in again"),
    jwt.MissingRequiredClaimError: ("claim_missing", "this token lacks one of exp, iss, aud and sub"),
}
"""Code and text by what PyJWT raises."""


class Tokens:
    """Whom tokens belong to; those that were verified are remembered by their digest.

    They are remembered until they expire, and no longer than the issuer's keys are.

    Args:
        tenant: of tokens that name none, where the settings name no claim for it.
    """

    def __init__(self, settings: JwtSettings, tenant: str, health: Health) -> None:
        self.jwks = Jwks(settings, health)
        self._settings = settings
        self._tenant = tenant
        self._known: OrderedDict[bytes, tuple[Identity, float]] = OrderedDict()

    async def identity(self, token: str) -> Identity:
        """Whom a token belongs to.

        Raises:
            Unknown: it does not open; the code tells why.
            Forbidden: it says nothing of a tenant.
            Unavailable: the issuer's keys cannot be had.
        """
        digest = sha256(token.encode()).digest()
        remembered = self._known.get(digest)
        if remembered is not None and remembered[1] > time.time():
            return remembered[0]
        claims = await self._claims(token)
        identity = self._of(claims)
        self._known[digest] = (identity, min(float(claims["exp"]), time.time() + self._settings.cache_s))
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return identity

    async def _claims(self, token: str) -> Mapping[str, Any]:
        settings = self._settings
        try:
            head = jwt.get_unverified_header(token)
            if head.get("alg") != settings.algorithm:
                raise jwt.InvalidAlgorithmError
            key = await self.jwks.key(str(head.get("kid", "")))
            claims: Mapping[str, Any] = jwt.decode(
                token,
                key,
                algorithms=[settings.algorithm],
                audience=settings.audience,
                issuer=settings.issuer,
                leeway=settings.leeway_s,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except jwt.PyJWTError as fault:
            raise self._problem(fault) from None
        return claims

    def _problem(self, fault: jwt.PyJWTError) -> Problem:
        for kind, (code, text) in FAULTS.items():
            if isinstance(fault, kind):
                return Unknown(text.format(**self._settings.model_dump()), code=code)
        return Unknown("this is neither an API key nor a token that can be read", code="malformed_token")

    def _of(self, claims: Mapping[str, Any]) -> Identity:
        subject, tenant = str(claims["sub"]), self._tenant
        if self._settings.tenant_claim is not None:
            tenant = _at(claims, self._settings.tenant_claim)
            if not isinstance(tenant, str) or not _is_name(tenant):
                raise Forbidden(
                    f"this token names no tenant in its claim '{self._settings.tenant_claim}'", code="tenant_missing"
                )
        if not _is_name(subject):
            raise Unknown("the subject of this token is no name for an actor", code="bad_subject")
        return Identity(subject, tenant, known(_words(_at(claims, self._settings.roles_claim))), "token")


def _at(claims: Mapping[str, Any], path: str) -> Any:
    """A claim by its name, else by a path with dots."""
    if path in claims:
        return claims[path]
    found: Any = claims
    for step in path.split("."):
        found = found.get(step) if isinstance(found, Mapping) else None
    return found


def _words(claim: Any) -> list[str]:
    if isinstance(claim, str):
        return claim.split()
    return [word for word in claim if isinstance(word, str)] if isinstance(claim, list) else []


def _is_name(text: str) -> bool:
    return 0 < len(text) <= LONGEST_NAME and text.isprintable()
