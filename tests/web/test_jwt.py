from __future__ import annotations

import base64
import json
import time
from typing import Any
from uuid import uuid4

import jwt
import pytest

from tests.web.support import (
    JWT_SECRET,
    StandInDoor,
    UntouchableDatabase,
    bearer,
    claims_of,
    error_of,
    finished_door,
    functions,
    settings_of,
    token_of,
)
from tidemill.errors import ConfigurationError
from tidemill.web.functions import build_functions
from tidemill.web.jwt import SharedSecret, Verifier
from tidemill.web.problems import Problem

USER = uuid4()


def _part(value: object) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _unsigned(header: object, claims: object | None = None, signature: str = "") -> str:
    return f"{_part(header)}.{_part(claims_of(USER) if claims is None else claims)}.{signature}"


def _signed_raw(claims: bytes, header: dict[str, Any] | None = None) -> str:
    """A token whose signature is right, over bytes that no library would write."""
    head = _part(header or {"alg": "HS256", "typ": "JWT"})
    signing_input = f"{head}.{_part(claims)}"
    algorithm = jwt.get_algorithm_by_name("HS256")
    signature = algorithm.sign(signing_input.encode(), algorithm.prepare_key(JWT_SECRET))
    return f"{signing_input}.{_part(signature)}"


NOW = int(time.time())
GOOD = token_of(USER)

ATTACKS = {
    "empty": "",
    "not a token": "hello",
    "two parts": ".".join(GOOD.split(".")[:2]),
    "four parts": f"{GOOD}.x",
    "no signature": ".".join(GOOD.split(".")[:2]) + ".",
    "signature cut": GOOD[:-4],
    "claims changed": ".".join([GOOD.split(".")[0], _part(claims_of(uuid4())), GOOD.split(".")[2]]),
    "alg none": _unsigned({"alg": "none", "typ": "JWT"}),
    "alg None with a signature": _unsigned({"alg": "None"}, signature="AAAA"),
    "alg none with a signature": _unsigned({"alg": "none"}, signature="AAAA"),
    "alg missing": _unsigned({"typ": "JWT"}, signature="AAAA"),
    "alg a list": _unsigned({"alg": ["HS256"]}, signature="AAAA"),
    "alg lower-case": _unsigned({"alg": "hs256"}, signature=GOOD.split(".")[2]),
    "another HMAC": jwt.encode(claims_of(USER), JWT_SECRET.ljust(64, "x"), algorithm="HS512"),
    "same secret, other HMAC": _unsigned({"alg": "HS384"}, signature=GOOD.split(".")[2]),
    "another secret": jwt.encode(claims_of(USER), "x" * 48, algorithm="HS256"),
    "empty secret": jwt.encode(claims_of(USER), b"\0" * 32, algorithm="HS256"),
    "wrong aud": token_of(USER, aud="anon"),
    "aud like ours": token_of(USER, aud="authenticated2"),
    "no aud": token_of(USER, aud=None),
    "expired beyond the leeway": token_of(USER, exp=NOW - 120),
    "no exp": token_of(USER, exp=None),
    "exp no number": _signed_raw(json.dumps(claims_of(USER) | {"exp": "soon"}).encode()),
    "exp infinite": _signed_raw(
        json.dumps(claims_of(USER) | {"exp": 0}).encode().replace(b'"exp": 0', b'"exp": 1e999')
    ),
    "exp NaN": _signed_raw(json.dumps(claims_of(USER) | {"exp": float("nan")}).encode()),
    "nbf in the future": token_of(USER, nbf=NOW + 86_400),
    "iat in the future": token_of(USER, iat=NOW + 86_400),
    "no sub": token_of(USER, sub=None),
    "sub no uuid": token_of(USER, sub="admin"),
    "sub a number": _signed_raw(json.dumps(claims_of(USER) | {"sub": 7}).encode()),
    "sub a list": _signed_raw(json.dumps(claims_of(USER) | {"sub": [str(USER)]}).encode()),
    "claims a list": _signed_raw(b"[]"),
    "claims no JSON": _signed_raw(b"x"),
    "claims nested without end": _signed_raw(b'{"a":' * 900),
    "header nested without end": f"{_part(b'[' * 5000)}.e30.AAAA",
    "header no object": f"{_part([])}.e30.AAAA",
    "header not base64": "é.e30.AAAA",
    "unknown crit": _signed_raw(json.dumps(claims_of(USER)).encode(), {"alg": "HS256", "crit": ["x"], "x": 1}),
    "the project's anon key": jwt.encode({"role": "anon", "iss": "supabase", "exp": NOW + 86_400}, JWT_SECRET),
    "the project's service key": token_of(USER, role="service_role"),
}


@pytest.mark.parametrize("token", ATTACKS.values(), ids=ATTACKS.keys())
async def test_a_token_that_is_not_right_in_every_way_gets_401_without_a_reason(token: str) -> None:
    db, door = UntouchableDatabase(), finished_door()
    async with (
        functions(db, door) as client,
        client.post("/functions/v1/sync-posts", json={}, headers=bearer(token)) as response,
    ):
        assert response.status == 401
        assert response.headers["WWW-Authenticate"] == "Bearer"
        assert await error_of(response) == (
            "JWT_EXPIRED" if token == ATTACKS["expired beyond the leeway"] else "UNAUTHORIZED"
        )
    assert not db.touched


@pytest.mark.parametrize(
    "header",
    [
        f"bearer {GOOD}",
        f"Bearer  {GOOD}",
        GOOD,
        f"Token {GOOD}",
        f"Bearer {GOOD} x",
        f"Bearer {GOOD},",
        f'Bearer "{GOOD}"',
    ],
)
async def test_the_header_around_a_good_token_must_be_right_too(header: str) -> None:
    async with (
        functions(UntouchableDatabase(), finished_door()) as client,
        client.post("/functions/v1/sync-posts", json={}, headers={"Authorization": header}) as response,
    ):
        assert response.status == 401


@pytest.mark.parametrize(
    "claims",
    [
        {},
        {"aud": ["other", "authenticated"]},
        {"exp": NOW - 3},
        {"nbf": NOW + 3},
        {"role": None},
        {"iat": None},
    ],
    ids=["plain", "aud a list", "expired within the leeway", "nbf within the leeway", "no role", "no iat"],
)
async def test_a_good_token_names_its_user_and_hands_on_its_claims(claims: dict[str, Any]) -> None:
    # The short leeways hold for this test as the tokens are made afresh.
    fresh = {
        name: int(time.time()) + value - NOW if name in ("exp", "nbf") else value for name, value in claims.items()
    }
    user = await Verifier(SharedSecret(JWT_SECRET), "authenticated").user(token_of(USER, **fresh))
    assert user.id == USER
    assert user.claims["sub"] == str(USER)


async def test_the_audience_is_a_setting() -> None:
    verifier = Verifier(SharedSecret(JWT_SECRET), "other")
    assert (await verifier.user(token_of(USER, aud="other"))).id == USER
    with pytest.raises(Problem):
        await verifier.user(GOOD)


def test_a_short_secret_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="TIDEMILL_JWT_SECRET"):
        SharedSecret("x" * 31)


def test_two_kinds_of_key_at_once_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="TIDEMILL_JWKS_URL"):
        build_functions(settings_of(jwks_url="https://x/jwks"), UntouchableDatabase(), StandInDoor())  # type: ignore[arg-type]
