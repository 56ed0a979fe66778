"""JSON Web Tokens of a local issuer: what opens, what does not and why, and what the issuer is asked."""

import asyncio
import base64
import hmac
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import jwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from infra.access.token import Tokens
from infra.health import Health
from infra.settings import JwtSettings
from schemas.errors import Problem

from ...eventually import eventually

ISSUER, AUDIENCE = "https://issuer.example", "retrace"
ALGORITHMS: dict[str, Any] = {
    "RS256": jwt.algorithms.RSAAlgorithm,
    "ES256": jwt.algorithms.ECAlgorithm,
    "EdDSA": jwt.algorithms.OKPAlgorithm,
}
HEALTH = Health("test")
RSA = rsa.generate_private_key(65537, 2048)
OTHER_RSA = rsa.generate_private_key(65537, 2048)
PRIVATE: dict[str, Any] = {
    "RS256": RSA,
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}


def jwk(kid: str, private: Any, algorithm: str = "RS256") -> dict[str, Any]:
    public = json.loads(ALGORITHMS[algorithm].to_jwk(private.public_key()))
    return {**public, "kid": kid, "use": "sig", "alg": algorithm}


@dataclass
class Issuer:
    """A JWKS endpoint that counts."""

    url: str = ""
    keys: list[dict[str, Any]] = field(default_factory=list)
    asked: int = 0
    away: bool = False

    async def answer(self, _: web.Request) -> web.Response:
        self.asked += 1
        await asyncio.sleep(0.02)
        return web.Response(status=500) if self.away else web.json_response({"keys": self.keys})


@asynccontextmanager
async def issuing(*keys: dict[str, Any]) -> AsyncIterator[Issuer]:
    issuer = Issuer(keys=list(keys))
    app = web.Application()
    app.router.add_get("/jwks", issuer.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    issuer.url = f"http://127.0.0.1:{runner.addresses[0][1]}/jwks"
    try:
        yield issuer
    finally:
        await runner.cleanup()


def tokens(issuer: Issuer, **options: Any) -> Tokens:
    settings = {"issuer": ISSUER, "audience": AUDIENCE, "jwks_url": issuer.url, "leeway_s": 0, **options}
    return Tokens(JwtSettings(**settings), "default", HEALTH)


def token(kid: str = "a", *, private: Any = RSA, algorithm: str = "RS256", **claims: Any) -> str:
    said = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ana", "exp": time.time() + 60, "roles": ["auditor"], **claims}
    said = {name: value for name, value in said.items() if value is not None}
    return jwt.encode(said, private, algorithm, {"kid": kid})


def by_hand(head: dict[str, Any], claims: dict[str, Any], secret: bytes) -> str:
    """A token that a library refuses to make."""
    body = b".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (head, claims))
    signature = base64.urlsafe_b64encode(hmac.digest(secret, body, "sha256")).rstrip(b"=")
    return b".".join([body, signature]).decode()


async def refused(verifier: Tokens, text: str) -> str:
    with pytest.raises(Problem) as fault:
        await verifier.identity(text)
    assert text not in fault.value.detail
    return fault.value.code


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
async def test_a_token_tells_who_it_is(algorithm: str) -> None:
    """People sign in where they do anyway; no key has to be handed out."""
    private = PRIVATE[algorithm]
    async with issuing(jwk("a", private, algorithm)) as issuer:
        verifier = tokens(issuer, algorithm=algorithm)
        identity = await verifier.identity(token(private=private, algorithm=algorithm))
        assert (identity.actor, identity.tenant, identity.roles) == ("ana", "default", frozenset({"auditor"}))


async def test_what_does_not_open_and_why() -> None:
    """Each fault has its own code, for each has its own remedy."""
    async with issuing(jwk("a", RSA)) as issuer:
        verifier = tokens(issuer, refresh_s=0.01)
        for text, code in (
            (token(exp=time.time() - 5), "expired_token"),
            (token(nbf=time.time() + 60), "token_not_yet_valid"),
            (token(aud="elsewhere"), "wrong_audience"),
            (token(iss="https://other.example"), "wrong_issuer"),
            (token(private=OTHER_RSA), "bad_signature"),
            (token("b"), "unknown_token_key"),
            (token(private=PRIVATE["ES256"], algorithm="ES256"), "wrong_algorithm"),
            (token(sub=None), "claim_missing"),
            (token(exp=None), "claim_missing"),
            (token(sub="a\nb"), "bad_subject"),
            ("nonsense", "malformed_token"),
            ("a.b.c", "malformed_token"),
        ):
            assert await refused(verifier, text) == code, text


async def test_the_token_does_not_choose_the_algorithm() -> None:
    """`none`, and a public key taken for a shared secret, are the two classic ways in."""
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ana", "exp": time.time() + 60, "roles": ["admin"]}
    unsigned = jwt.encode(claims, None, "none", {"kid": "a"})  # type: ignore[arg-type]
    shared = by_hand({"alg": "HS256", "typ": "JWT", "kid": "a"}, claims, json.dumps(jwk("a", RSA)).encode())
    async with issuing(jwk("a", RSA)) as issuer:
        verifier = tokens(issuer)
        assert await refused(verifier, unsigned) == "wrong_algorithm"
        assert await refused(verifier, shared) == "wrong_algorithm"


async def test_a_little_difference_of_clocks_is_forgiven() -> None:
    """Two machines never agree to the second."""
    async with issuing(jwk("a", RSA)) as issuer:
        assert (await tokens(issuer, leeway_s=30).identity(token(exp=time.time() - 5))).actor == "ana"


async def test_the_issuer_may_change_its_keys() -> None:
    """A new key is fetched when it is first met, and one that was withdrawn opens no more."""
    async with issuing(jwk("a", RSA)) as issuer:
        verifier = tokens(issuer, refresh_s=0.01)
        await verifier.identity(token())
        issuer.keys = [jwk("b", OTHER_RSA)]
        await asyncio.sleep(0.02)
        assert (await verifier.identity(token("b", private=OTHER_RSA))).actor == "ana"
        await asyncio.sleep(0.02)
        assert await refused(verifier, token("a", sub="ben")) == "unknown_token_key"


async def test_many_unknown_keys_do_not_storm_the_issuer() -> None:
    """Anybody can send tokens that name keys; the issuer must not pay for it."""
    async with issuing(jwk("a", RSA)) as issuer:
        verifier = tokens(issuer, refresh_s=60)
        await asyncio.gather(*(verifier.identity(token(sub=f"u{n}")) for n in range(30)))
        assert issuer.asked == 1
        codes = await asyncio.gather(*(refused(verifier, token(f"k{n}")) for n in range(30)))
        assert set(codes) == {"unknown_token_key"}
        assert issuer.asked == 1


async def test_known_keys_open_while_the_issuer_is_away() -> None:
    """Its outage is not ours; and afterwards its keys are fetched again."""
    async with issuing(jwk("a", RSA)) as issuer:
        verifier = tokens(issuer, cache_s=0.01, refresh_s=0.01)
        await verifier.identity(token())
        issuer.away = True

        async def told() -> bool:
            assert (await verifier.identity(token())).actor == "ana"
            return "known keys stay valid" in HEALTH.components["jwks"].cause

        await eventually(told)
        await verifier.jwks.close()
        assert issuer.asked > 1
        assert HEALTH.ready
        assert await refused(verifier, token("b")) == "jwks_away"


async def test_before_the_issuer_has_answered_nobody_is_called_unknown() -> None:
    """503 lets a client try again; 401 makes it throw away a good token."""
    async with issuing() as issuer:
        issuer.away = True
        assert await refused(tokens(issuer), token()) == "jwks_away"


@pytest.mark.parametrize(
    ("options", "claims", "roles"),
    [
        ({}, {"roles": "auditor engineer"}, {"auditor", "engineer"}),
        ({}, {"roles": ["auditor", "baker", 7]}, {"auditor"}),
        ({}, {"roles": None}, set()),
        ({"roles_claim": "realm_access.roles"}, {"realm_access": {"roles": ["approver"]}}, {"approver"}),
        ({"roles_claim": "https://x/roles"}, {"https://x/roles": ["product"]}, {"product"}),
    ],
)
async def test_roles_are_found_where_the_issuer_puts_them(options: Any, claims: Any, roles: set[str]) -> None:
    """Every issuer has its own place; a role that we do not know gives nothing."""
    async with issuing(jwk("a", RSA)) as issuer:
        assert (await tokens(issuer, **options).identity(token(**claims))).roles == roles


async def test_a_token_of_a_tenant_is_of_that_tenant() -> None:
    """With a claim for it, silence is no answer: it would open the default tenant's data."""
    async with issuing(jwk("a", RSA)) as issuer:
        verifier = tokens(issuer, tenant_claim="org")
        assert (await verifier.identity(token(org="b"))).tenant == "b"
        assert await refused(verifier, token()) == "tenant_missing"


async def test_a_token_is_verified_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The signature costs more than the rest of the request's front; a remembered token still expires."""
    async with issuing(jwk("a", RSA)) as issuer:
        verifier, text = tokens(issuer), token()
        await verifier.identity(text)
        with monkeypatch.context() as patch:
            patch.setattr(jwt, "decode", None)
            assert (await verifier.identity(text)).actor == "ana"
        with monkeypatch.context() as patch:
            patch.setattr("infra.access.token.time", SimpleNamespace(time=lambda: time.time() + 61))
            patch.setattr(jwt, "decode", expired)
            assert await refused(verifier, text) == "expired_token"


def expired(*_: object, **__: object) -> None:
    raise jwt.ExpiredSignatureError
