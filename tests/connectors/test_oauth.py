from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import aiohttp.test_utils
import aiohttp.web
import pytest

from tests.connectors.support import everything_said, failing
from tidemill.connectors import ErrorKind, HttpClient, ProviderError
from tidemill.connectors.threads import ThreadsOAuth
from tidemill.errors import ConfigurationError
from tidemill.settings import Settings
from tidemill.simulators.threads import Fault, ThreadsSimulator
from tidemill.vault import Secret

REDIRECT = "http://127.0.0.1/callback"


def oauth(sim: ThreadsSimulator, http: HttpClient, **more: Any) -> ThreadsOAuth:
    secret = Secret(more.pop("app_secret", sim.app_secret))
    return ThreadsOAuth(http, base=sim.url, app_id=sim.app_id, app_secret=secret, redirect_uri=REDIRECT, **more)


async def consent(sim: ThreadsSimulator, app: ThreadsOAuth, account: int = 0) -> dict[str, list[str]]:
    url = f"{app.authorize_url('the state')}&auto=1&login_hint={sim.accounts[account].username}"
    async with aiohttp.ClientSession() as browser, browser.get(url, allow_redirects=False) as answer:
        assert answer.status == 302, await answer.text()
        location = answer.headers["Location"]
    assert location.startswith(REDIRECT)
    return parse_qs(urlsplit(location).query)


@pytest.mark.parametrize("shape", ["number", "string"])
async def test_a_consent_becomes_a_long_token_that_renews_itself(
    sim: ThreadsSimulator, http: HttpClient, shape: str
) -> None:
    sim.turn(user_id_shape=shape)
    app = oauth(sim, http)
    back = await consent(sim, app)
    assert back["state"] == ["the state"]
    short = await app.exchange_code(Secret(back["code"][0] + "#_"))
    assert short.user_id == sim.accounts[0].id
    assert int(short.user_id) > 2**53
    long = await app.exchange_long(short.token)
    assert long.expires_in > 59 * 24 * 3600
    sim.clock.advance(25 * 3600)
    assert (await app.refresh(long.token)).expires_in > 59 * 24 * 3600


async def test_a_code_works_once(sim: ThreadsSimulator, http: HttpClient) -> None:
    app = oauth(sim, http)
    code = Secret((await consent(sim, app))["code"][0])
    await app.exchange_code(code)
    with pytest.raises(ProviderError) as caught:
        await app.exchange_code(code)
    assert (caught.value.kind, caught.value.code) == (ErrorKind.INVALID_REQUEST, None)
    assert code.reveal() not in everything_said(caught.value)


async def test_a_token_too_young_or_too_old_is_not_renewed(sim: ThreadsSimulator, http: HttpClient) -> None:
    app = oauth(sim, http)
    token = Secret(sim.issue_token(sim.accounts[0]).text)
    for too_young, kind in ((100, ErrorKind.INVALID_REQUEST), (190, ErrorKind.TOKEN_INVALID)):
        sim.turn(too_young_code=too_young)
        with pytest.raises(ProviderError) as caught:
            await app.refresh(token)
        assert caught.value.kind is kind
    sim.clock.advance(61 * 24 * 3600)
    with pytest.raises(ProviderError) as caught:
        await app.refresh(token)
    assert caught.value.kind is ErrorKind.TOKEN_INVALID


@pytest.mark.parametrize("kind", ["html_502", "truncated_json", "reset", "redirect", "not_json"])
async def test_no_secret_is_in_any_error_of_the_exchange(sim: ThreadsSimulator, http: HttpClient, kind: Any) -> None:
    sim.faults.add([Fault(endpoint="token", kind=kind)])
    app = oauth(sim, http, app_secret="very secret & odd/ =?")
    token = Secret(sim.issue_token(sim.accounts[0]).text)
    for call in (app.exchange_code, app.exchange_long, app.refresh):
        with pytest.raises(ProviderError) as caught:
            await call(token)
        said = everything_said(caught.value)
        assert caught.value.kind is ErrorKind.TRANSIENT
        assert token.reveal() not in said
        assert "very secret" not in said
        assert "very+secret" not in said


async def test_a_provider_that_repeats_the_secret_does_not_spread_it(sim: ThreadsSimulator, http: HttpClient) -> None:
    app = oauth(sim, http, app_secret="wrong-secret-0123")
    sim.faults.add([failing(100, endpoint="token", message="bad client_secret wrong-secret-0123 for it")])
    with pytest.raises(ProviderError) as caught:
        await app.exchange_long(Secret("THABC"))
    assert "wrong-secret" not in everything_said(caught.value)


async def test_a_long_token_without_its_life_is_no_answer(http: HttpClient) -> None:
    async def answer(request: aiohttp.web.BaseRequest) -> aiohttp.web.Response:
        return aiohttp.web.json_response({"access_token": "THXYZ", "token_type": "bearer"})

    server = aiohttp.test_utils.RawTestServer(answer)
    async with server:
        base = str(server.make_url("/"))
        app = ThreadsOAuth(http, base=base, app_id="1", app_secret=Secret("s" * 8), redirect_uri=REDIRECT)
        with pytest.raises(ProviderError) as caught:
            await app.refresh(Secret("THABC"))
    assert caught.value.kind is ErrorKind.TRANSIENT
    assert "THXYZ" not in everything_said(caught.value)


async def test_consent_is_asked_on_the_site_and_not_on_its_api(http: HttpClient) -> None:
    settings = Settings(threads_app_id="1", threads_app_secret="s", threads_redirect_uri=REDIRECT)
    url = urlsplit(ThreadsOAuth.load(http, settings).authorize_url("a&b"))
    assert (url.scheme, url.netloc, url.path) == ("https", "threads.net", "/oauth/authorize")
    assert parse_qs(url.query) == {
        "client_id": ["1"],
        "redirect_uri": [REDIRECT],
        "scope": ["threads_basic,threads_manage_insights"],
        "response_type": ["code"],
        "state": ["a&b"],
    }
    with pytest.raises(ConfigurationError, match="TIDEMILL_THREADS_APP_SECRET"):
        ThreadsOAuth.load(http, Settings(threads_app_id="1", threads_redirect_uri=REDIRECT))
