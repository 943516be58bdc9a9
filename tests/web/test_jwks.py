from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import aiohttp
import jwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from tests.web.support import UntouchableDatabase, bearer, claims_of, error_of, finished_door, functions, settings_of
from tidemill.errors import ConfigurationError
from tidemill.web.jwks import FRESH_S, REFETCH_S, STALE_S, Jwks
from tidemill.web.jwt import User, Verifier
from tidemill.web.problems import Problem
from tidemill.web.serving import serving

USER = uuid4()
EC = ec.generate_private_key(ec.SECP256R1())
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER = ec.generate_private_key(ec.SECP256R1())
P384 = ec.generate_private_key(ec.SECP384R1())


def _jwk(key: Any, kid: str, /, **changed: Any) -> dict[str, Any]:
    algorithm = RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else ECAlgorithm
    entry: dict[str, Any] = algorithm.to_jwk(key.public_key(), as_dict=True) | {"kid": kid, "use": "sig"} | changed
    return {name: value for name, value in entry.items() if value is not None}


def _pem(key: Any) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def _token(key: Any, algorithm: str, kid: str | None, **claims: Any) -> str:
    return jwt.encode(claims_of(USER, **claims), key, algorithm=algorithm, headers={"kid": kid} if kid else None)


@dataclass
class Issuer:
    """A JWKS endpoint whose answer the test chooses."""

    keys: list[dict[str, Any]] = field(
        default_factory=lambda: [_jwk(EC, "ec", alg="ES256"), _jwk(RSA, "rsa", alg="RS256")]
    )
    body: bytes | None = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    calls: int = 0
    hold: asyncio.Event | None = None
    called: asyncio.Event = field(default_factory=asyncio.Event)
    url: str = ""

    async def answer(self, request: web.Request) -> web.Response:
        self.calls += 1
        self.called.set()
        if self.hold:
            await self.hold.wait()
        body = json.dumps({"keys": self.keys}).encode() if self.body is None else self.body
        return web.Response(body=body, status=self.status, headers=self.headers)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    made = Issuer()
    app = web.Application()
    app.router.add_get("/jwks", made.answer)
    app.router.add_get("/elsewhere", Issuer().answer)  # where a redirect would find the right keys
    async with serving(app, host="127.0.0.1", port=0) as url:
        made.url = f"{url}/jwks"
        yield made


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def verifier(issuer: Issuer, clock: Clock) -> AsyncIterator[Verifier]:
    jwks = Jwks(issuer.url, now=clock)
    lifetime = jwks.lifetime(web.Application())
    await anext(lifetime)
    yield Verifier(jwks, "authenticated")
    assert await anext(lifetime, None) is None


async def _status(work: Any) -> int:
    try:
        assert isinstance(await work, User)
    except Problem as problem:
        return problem.status
    return 200


@pytest.mark.parametrize(("key", "algorithm", "kid"), [(EC, "ES256", "ec"), (RSA, "RS256", "rsa")])
async def test_tokens_of_both_kinds_of_key_are_taken_and_the_keys_fetched_once(
    issuer: Issuer, verifier: Verifier, key: Any, algorithm: str, kid: str
) -> None:
    for _ in range(3):
        assert (await verifier.user(_token(key, algorithm, kid))).id == USER
    assert issuer.calls == 1


async def test_the_whole_server_takes_a_token_of_the_issuer(issuer: Issuer) -> None:
    settings = settings_of(jwt_secret=None, jwks_url=issuer.url)
    async with functions(UntouchableDatabase(), finished_door(), settings) as client:
        # 400: past the token, at the body.
        async with client.post(
            "/functions/v1/sync-posts", json={}, headers=bearer(_token(EC, "ES256", "ec"))
        ) as response:
            assert response.status == 400
        async with client.post(
            "/functions/v1/sync-posts", json={}, headers=bearer(_token(OTHER, "ES256", "ec"))
        ) as response:
            assert response.status == 401
            assert await error_of(response) == "UNAUTHORIZED"


def _hs256_signed_with(public: bytes, kid: str) -> str:
    """The classic confusion: the public key's bytes taken for an HMAC secret (written by hand, no library would)."""
    head, claims, _ = jwt.encode(claims_of(USER), "x" * 32, algorithm="HS256", headers={"kid": kid}).split(".")
    hmac = jwt.get_algorithm_by_name("HS256")
    signature = hmac.sign(f"{head}.{claims}".encode(), public)
    return f"{head}.{claims}.{jwt.utils.base64url_encode(signature).decode()}"


ATTACKS = {
    "HS256 signed with the public key": _hs256_signed_with(_pem(EC), "ec"),
    "HS256 signed with the RSA public key": _hs256_signed_with(_pem(RSA), "rsa"),
    "HS256 signed with the JWK's text": _hs256_signed_with(json.dumps(_jwk(RSA, "rsa", alg="RS256")).encode(), "rsa"),
    "another key": _token(OTHER, "ES256", "ec"),
    "another key of the set": _token(EC, "ES256", "rsa"),
    "RSA key, other algorithm": _token(RSA, "PS256", "rsa"),
    "RSA key, other hash": _token(RSA, "RS512", "rsa"),
    "no kid": _token(EC, "ES256", None),
    "kid unknown": _token(EC, "ES256", "other"),
    "kid a path": _token(EC, "ES256", "../../dev/null"),
    "alg none": jwt.encode(claims_of(USER), None, algorithm="none", headers={"kid": "ec"}),
    "key in the header": jwt.encode(claims_of(USER), OTHER, algorithm="ES256", headers={"jwk": _jwk(OTHER, "ec")}),
    "expired": _token(EC, "ES256", "ec", exp=1),
    "wrong aud": _token(EC, "ES256", "ec", aud="x"),
}


@pytest.mark.parametrize("token", ATTACKS.values(), ids=ATTACKS.keys())
async def test_a_token_not_signed_by_the_named_key_is_refused(verifier: Verifier, token: str) -> None:
    assert await _status(verifier.user(token)) == 401


async def test_a_jku_in_the_header_is_never_asked(issuer: Issuer, verifier: Verifier) -> None:
    evil = Issuer(keys=[_jwk(OTHER, "evil", alg="ES256")])
    app = web.Application()
    app.router.add_get("/jwks", evil.answer)
    async with serving(app, host="127.0.0.1", port=0) as url:
        headers = {"kid": "evil", "jku": f"{url}/jwks", "x5u": f"{url}/jwks"}
        token = jwt.encode(claims_of(USER), OTHER, algorithm="ES256", headers=headers)
        assert await _status(verifier.user(token)) == 401
    assert evil.calls == 0


async def test_unknown_kids_cause_one_fetch_a_minute(issuer: Issuer, verifier: Verifier, clock: Clock) -> None:
    assert await _status(verifier.user(_token(EC, "ES256", "ec"))) == 200
    for n in range(20):
        assert await _status(verifier.user(_token(OTHER, "ES256", f"unknown-{n}"))) == 401
    assert issuer.calls == 1
    clock.now += REFETCH_S
    for n in range(20):
        assert await _status(verifier.user(_token(OTHER, "ES256", f"unknown-{n}"))) == 401
    assert issuer.calls == 2
    assert await _status(verifier.user(_token(EC, "ES256", "ec"))) == 200


async def test_a_new_key_is_found_by_its_kid_and_a_withdrawn_one_forgotten(
    issuer: Issuer, verifier: Verifier, clock: Clock
) -> None:
    assert await _status(verifier.user(_token(EC, "ES256", "ec"))) == 200
    issuer.keys = [_jwk(OTHER, "new", alg="ES256")]
    clock.now += REFETCH_S
    assert await _status(verifier.user(_token(OTHER, "ES256", "new"))) == 200
    assert await _status(verifier.user(_token(EC, "ES256", "ec"))) == 401


async def test_a_withdrawn_key_is_honoured_no_longer_than_the_cache_is_fresh(
    issuer: Issuer, verifier: Verifier, clock: Clock
) -> None:
    assert await _status(verifier.user(_token(EC, "ES256", "ec"))) == 200
    issuer.keys = [_jwk(OTHER, "new", alg="ES256")]
    clock.now += FRESH_S
    assert await _status(verifier.user(_token(EC, "ES256", "ec"))) == 401


async def test_callers_at_once_share_one_fetch(issuer: Issuer, verifier: Verifier) -> None:
    issuer.hold = asyncio.Event()
    callers = [asyncio.create_task(_status(verifier.user(_token(EC, "ES256", "ec")))) for _ in range(20)]
    await asyncio.wait_for(issuer.called.wait(), 30)
    issuer.hold.set()
    assert await asyncio.gather(*callers) == [200] * 20
    assert issuer.calls == 1


BROKEN = {
    "5xx": {"status": 500},
    "redirect": {"status": 302, "headers": {"Location": "/elsewhere"}},
    "not JSON": {"body": b"<html>"},
    "a list": {"body": b"[]"},
    "no keys": {"body": b"{}"},
    "keys no list": {"body": b'{"keys": {}}'},
    "empty list": {"keys": []},
    "nested without end": {"body": b'{"keys":' + b"[" * 100_000},
    "too large": {"body": b" " * 300_000},
    "too large once unpacked": {
        "body": gzip.compress(b" " * 5_000_000),
        "headers": {"Content-Encoding": "gzip"},
    },
    "only strange keys": {
        "keys": [
            1,
            {},
            {"kid": "ec"},
            {"kty": "oct", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LTEyMw", "kid": "ec", "alg": "HS256"},
            {"kty": "EC", "kid": "ec", "crv": "P-256", "x": "AA", "y": "AA"},
            {"kty": "RSA", "kid": "rsa", "n": "!", "e": 3},
            _jwk(EC, "ec", use="enc"),
            _jwk(EC, "ec", kid=None),
            _jwk(EC, "ec", kid=7),
            _jwk(P384, "ec"),
            _jwk(RSA, "ec", alg="RS512"),
        ]
    },
}


@pytest.mark.parametrize("answer", BROKEN.values(), ids=BROKEN.keys())
async def test_an_issuer_without_a_usable_answer_is_503_and_not_401_or_500(
    issuer: Issuer, verifier: Verifier, answer: dict[str, Any]
) -> None:
    for name, value in answer.items():
        setattr(issuer, name, value)
    assert await _status(verifier.user(_token(EC, "ES256", "ec"))) == 503
    assert await _status(verifier.user(_token(EC, "ES256", "ec"))) == 503
    assert issuer.calls == 1


async def test_known_keys_outlive_an_outage_of_the_issuer_for_an_hour(
    issuer: Issuer, verifier: Verifier, clock: Clock
) -> None:
    assert await _status(verifier.user(_token(EC, "ES256", "ec"))) == 200
    issuer.status = 503
    clock.now += FRESH_S
    assert await _status(verifier.user(_token(EC, "ES256", "ec"))) == 200
    clock.now += STALE_S - FRESH_S
    assert await _status(verifier.user(_token(EC, "ES256", "ec"))) == 503
    issuer.status = 200
    clock.now += REFETCH_S
    assert await _status(verifier.user(_token(EC, "ES256", "ec"))) == 200


async def test_an_issuer_that_does_not_answer_is_given_up(
    issuer: Issuer, verifier: Verifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    issuer.hold = asyncio.Event()
    jwks = Jwks(issuer.url)
    monkeypatch.setattr("tidemill.web.jwks._TIMEOUT", aiohttp.ClientTimeout(total=0.2))
    lifetime = jwks.lifetime(web.Application())
    await anext(lifetime)
    assert await asyncio.wait_for(_status(Verifier(jwks, "authenticated").user(_token(EC, "ES256", "ec"))), 30) == 503
    issuer.hold.set()
    assert await anext(lifetime, None) is None


@pytest.mark.parametrize("url", ["", "jwks.json", "/jwks", "file:///etc/passwd", "ftp://x/jwks", "https:///jwks"])
def test_a_url_that_is_none_is_refused_by_name(url: str) -> None:
    with pytest.raises(ConfigurationError, match="TIDEMILL_JWKS_URL"):
        Jwks(url)
