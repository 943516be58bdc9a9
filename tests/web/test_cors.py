from __future__ import annotations

import pytest

from tests.web.support import BEARER, UntouchableDatabase, finished_door, functions, settings_of
from tidemill.errors import ConfigurationError
from tidemill.settings import Settings
from tidemill.web.cors import Cors

ALLOWED = "https://app.example.com"
SETTINGS = settings_of(cors_origins=(ALLOWED, "http://localhost:3000"))
URL = "/functions/v1/sync-posts"
PREFLIGHT = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}


def _allows(headers: object) -> list[str]:
    return [name for name in headers if name.lower().startswith("access-control-allow")]  # type: ignore[attr-defined]


@pytest.mark.parametrize("origin", SETTINGS.cors_origins)
async def test_a_listed_origin_may_preflight_and_call(origin: str) -> None:
    async with functions(UntouchableDatabase(), finished_door(), SETTINGS) as client:
        async with client.options(URL, headers={"Origin": origin, **PREFLIGHT}) as response:
            assert response.status == 204
            assert response.headers["Access-Control-Allow-Origin"] == origin
            assert "POST" in response.headers["Access-Control-Allow-Methods"]
            assert "authorization" in response.headers["Access-Control-Allow-Headers"].lower()
            assert response.headers["Vary"] == "Origin"
        # Errors too, or the page could not read why.
        async with client.post(URL, headers={"Origin": origin}) as response:
            assert response.status == 401
            assert response.headers["Access-Control-Allow-Origin"] == origin
            assert "X-Request-Id" in response.headers["Access-Control-Expose-Headers"]
        async with client.get("/nowhere", headers={"Origin": origin}) as response:
            assert response.status == 404
            assert response.headers["Access-Control-Allow-Origin"] == origin


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example.com",
        "http://app.example.com",
        "https://app.example.com.evil.com",
        "https://app.example.com:8443",
        "https://app.example.com/",
        "https://APP.example.com",
        "https://xapp.example.com",
        f"{ALLOWED} {ALLOWED}",
        "null",
        "*",
        "",
    ],
)
@pytest.mark.parametrize("settings", [SETTINGS, settings_of()], ids=["a list", "no list"])
async def test_any_other_origin_is_allowed_nothing(origin: str, settings: Settings) -> None:
    async with functions(UntouchableDatabase(), finished_door(), settings) as client:
        async with client.options(URL, headers={"Origin": origin, **PREFLIGHT}) as response:
            assert response.status == 403
            assert not _allows(response.headers)
            assert response.headers["Vary"] == "Origin"
        async with client.post("/functions/v1/scheduled-sync", headers={"Origin": origin, **BEARER}) as response:
            assert response.status == 200
            assert not _allows(response.headers)
            assert response.headers["Vary"] == "Origin"


async def test_by_default_no_origin_is_allowed() -> None:
    async with (
        functions(UntouchableDatabase(), finished_door()) as client,
        client.options(URL, headers={"Origin": ALLOWED, **PREFLIGHT}) as response,
    ):
        assert response.status == 403


async def test_options_without_a_preflights_headers_is_just_a_wrong_method() -> None:
    async with (
        functions(UntouchableDatabase(), finished_door(), SETTINGS) as client,
        client.options(URL, headers={"Origin": ALLOWED}) as response,
    ):
        assert response.status == 405


@pytest.mark.parametrize(
    "origin",
    [
        "*",
        "null",
        "https://*",
        "https://*.example.com",
        "app.example.com",
        "https://app.example.com/",
        "https://a b",
        "",
    ],
)
def test_a_list_with_something_that_is_no_origin_is_refused_by_name(origin: str) -> None:
    with pytest.raises(ConfigurationError, match="TIDEMILL_CORS_ORIGINS"):
        Cors([ALLOWED, origin])


def test_origins_as_browsers_write_them_are_taken() -> None:
    Cors(
        [
            "https://a.example",
            "http://localhost:5173",
            "http://127.0.0.1:3000",
            "http://[::1]:3000",
            "capacitor://localhost",
        ]
    )
