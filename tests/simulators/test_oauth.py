from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest

from tests.simulators.conftest import Client, Reply
from tidemill.simulators.threads.data import DAY, HOUR

BACK = "https://app.example.com/callback"
SCOPE = "threads_basic,threads_manage_insights"


async def dialog(client: Client, **changes: object) -> Reply:
    query = {
        "client_id": client.sim.app_id,
        "redirect_uri": BACK,
        "scope": SCOPE,
        "response_type": "code",
        "state": "s t&te",
        "login_hint": client.sim.accounts[1].username,
    } | changes
    return await client.get("/oauth/authorize", **{name: value for name, value in query.items() if value is not None})


async def new_code(client: Client, **changes: object) -> str:
    location = (await dialog(client, **changes)).headers["Location"]
    return parse_qs(urlsplit(location).query)["code"][0]


async def exchange(client: Client, code: str, path: str = "/oauth/access_token", **changes: object) -> Reply:
    form = {
        "client_id": client.sim.app_id,
        "client_secret": client.sim.app_secret,
        "grant_type": "authorization_code",
        "redirect_uri": BACK,
        "code": code,
    } | changes
    return await client.post(path, **form)


async def lengthen(client: Client, short: str, prefix: str = "", **changes: object) -> Reply:
    query = {"grant_type": "th_exchange_token", "client_secret": client.sim.app_secret, "access_token": short}
    return await client.get(f"{prefix}/access_token", **(query | changes))


async def refresh(client: Client, token: str, prefix: str = "") -> Reply:
    return await client.get(f"{prefix}/refresh_access_token", grant_type="th_refresh_token", access_token=token)


@pytest.mark.parametrize("prefix", ["", "/v1.0"])
async def test_the_whole_way_from_consent_to_a_refreshed_token(client: Client, prefix: str) -> None:
    account = client.sim.accounts[1]
    reply = await dialog(client)
    assert reply.status == 302
    assert reply.headers["Location"].startswith(BACK + "?")
    assert reply.headers["Location"].endswith("#_")
    assert parse_qs(urlsplit(reply.headers["Location"]).query)["state"] == ["s t&te"]

    short = await exchange(client, await new_code(client), f"{prefix}/oauth/access_token")
    assert short.json == {"access_token": short.json["access_token"], "user_id": int(account.id)}
    long = await lengthen(client, short.json["access_token"], prefix)
    assert long.json == {"access_token": long.json["access_token"], "token_type": "bearer", "expires_in": 60 * DAY}
    assert long.json["access_token"].startswith("THSIM")
    assert (await client.get("/v1.0/me", long.json["access_token"])).json == {"id": account.id}

    client.sim.clock.advance(DAY)
    fresh = await refresh(client, long.json["access_token"], prefix)
    assert fresh.json["expires_in"] == 60 * DAY
    assert fresh.json["access_token"] != long.json["access_token"]


async def test_a_code_is_good_once_for_an_hour_and_without_the_fragment(client: Client) -> None:
    code = await new_code(client)
    assert (await exchange(client, code + "#_")).status == 400
    assert (await exchange(client, code)).status == 200
    again = await exchange(client, code)
    assert (again.status, again.json) == (
        400,
        {
            "error_type": "OAuthException",
            "code": 400,
            "error_message": "Matching code was not found or was already used",
        },
    )
    late = await new_code(client)
    client.sim.clock.advance(HOUR)
    assert (await exchange(client, late)).status == 400


@pytest.mark.parametrize(
    "changes",
    [
        {"client_id": "1"},
        {"client_secret": "guess"},
        {"grant_type": "password"},
        {"redirect_uri": BACK + "/elsewhere"},
        {"client_secret": ""},
    ],
)
async def test_a_wrong_exchange_fails_in_the_flat_envelope_and_leaves_the_code_good(
    client: Client, changes: dict[str, str]
) -> None:
    code = await new_code(client)
    reply = await exchange(client, code, **changes)
    assert reply.status == 400
    assert set(reply.json) == {"error_type", "code", "error_message"}
    assert (await exchange(client, code)).status == 200


async def test_the_shape_of_the_exchange_is_a_knob(client: Client) -> None:
    client.sim.turn(user_id_shape="string", exchange_expires_in=True)
    reply = await exchange(client, await new_code(client))
    assert reply.json["user_id"] == client.sim.accounts[1].id
    assert reply.json["expires_in"] == HOUR


@pytest.mark.parametrize(
    "changes",
    [
        {"client_id": "1"},
        {"response_type": "token"},
        {"scope": "threads_manage_insights"},
        {"scope": "threads_basic,everything"},
        {"redirect_uri": "javascript:alert(1)"},
        {"redirect_uri": None},
        {"login_hint": "nobody"},
        {"prompt": "none"},
    ],
)
async def test_a_wrong_dialog_does_not_redirect(client: Client, changes: dict[str, object]) -> None:
    reply = await dialog(client, **changes)
    assert reply.status == 400
    assert "Location" not in reply.headers


async def test_a_person_sees_a_page_and_a_script_may_let_it_choose(client: Client) -> None:
    page = await dialog(client, login_hint=None)
    assert page.status == 200
    assert page.headers["Content-Type"].startswith("text/html")
    assert client.sim.accounts[2].username in page.body.decode()
    assert (await dialog(client, login_hint=None, auto=1)).status == 302


@pytest.mark.parametrize("by_knob", [True, False])
async def test_a_denial_is_told_with_the_state(client: Client, by_knob: bool) -> None:
    if by_knob:
        client.sim.turn(consent="deny")
    reply = await dialog(client, **({} if by_knob else {"deny": 1}))
    query = parse_qs(urlsplit(reply.headers["Location"]).query)
    assert query["error"] == ["access_denied"]
    assert query["error_reason"] == ["user_denied"]
    assert query["state"] == ["s t&te"]
    assert "code" not in query


async def test_granted_scopes_are_kept_through_every_exchange(client: Client) -> None:
    short = (await exchange(client, await new_code(client, scope="threads_basic"))).json["access_token"]
    long = (await lengthen(client, short)).json["access_token"]
    client.sim.clock.advance(DAY)
    fresh = (await refresh(client, long)).json["access_token"]
    assert (await client.get("/v1.0/me", fresh)).status == 200
    assert (await client.get("/v1.0/me/threads_insights", fresh, metric="views")).code == (10, None)


async def test_short_tokens_live_an_hour_and_only_they_are_exchanged(client: Client, token: str) -> None:
    short = (await exchange(client, await new_code(client))).json["access_token"]
    assert (await lengthen(client, short, client_secret="guess")).code == (100, None)
    assert (await lengthen(client, token)).code == (100, None)
    assert (await refresh(client, short)).code == (190, None)
    client.sim.clock.advance(HOUR)
    assert (await lengthen(client, short)).code == (190, 463)
    assert (await client.get("/v1.0/me", short)).code == (190, 463)


async def test_a_token_is_refreshed_from_24_hours_to_60_days(client: Client) -> None:
    account = client.sim.accounts[0]
    young = client.sim.issue_token(account).text
    client.sim.clock.advance(DAY - 1)
    assert (await refresh(client, young)).code == (100, None)
    client.sim.turn(too_young_code=190)
    assert (await refresh(client, young)).code == (190, None)
    assert (await client.get("/v1.0/me", young)).status == 200
    client.sim.clock.advance(59 * DAY)
    assert (await refresh(client, young)).status == 200
    client.sim.clock.advance(1)
    assert (await refresh(client, young)).code == (190, 463)


async def test_refreshing_needs_the_basic_scope(client: Client) -> None:
    token = client.sim.issue_token(client.sim.accounts[0], scopes=["threads_manage_insights"], age=2 * DAY).text
    assert (await refresh(client, token)).code == (10, None)


@pytest.mark.parametrize("survives", [True, False])
async def test_whether_the_old_token_survives_a_refresh_is_a_knob(client: Client, token: str, survives: bool) -> None:
    client.sim.turn(old_token_survives_refresh=survives)
    fresh = (await refresh(client, token)).json["access_token"]
    assert (await client.get("/v1.0/me", fresh)).status == 200
    old = await client.get("/v1.0/me", token)
    assert old.status == 200 if survives else old.code == (190, 467)


async def test_a_refresh_may_answer_the_same_token(client: Client, token: str) -> None:
    client.sim.turn(refresh_rotates=False, old_token_survives_refresh=False)
    assert (await refresh(client, token)).json["access_token"] == token
    client.sim.clock.advance(59 * DAY)
    assert (await client.get("/v1.0/me", token)).status == 200


async def test_app_tokens_are_for_the_app_alone(client: Client) -> None:
    query = {"grant_type": "client_credentials", "client_id": client.sim.app_id}
    reply = await client.get("/oauth/access_token", client_secret=client.sim.app_secret, **query)
    assert reply.json["access_token"].startswith(f"THSIM|{client.sim.app_id}|")
    assert (await client.get("/v1.0/me", reply.json["access_token"])).code == (190, None)
    assert (await client.get("/oauth/access_token", client_secret="guess", **query)).code == (100, None)


async def test_debug_token_tells_what_a_token_is(client: Client, token: str) -> None:
    now = client.sim.clock.now()
    data = (await client.get("/v1.0/debug_token", token, input_token=token)).json["data"]
    assert data["is_valid"] is True
    assert data["type"] == "USER"
    assert data["user_id"] == client.sim.accounts[0].id
    assert data["issued_at"] == now - 2 * DAY
    assert data["expires_at"] == data["issued_at"] + 60 * DAY
    assert data["data_access_expires_at"] == data["issued_at"] + 90 * DAY
    assert "threads_basic" in data["scopes"]
    expired = client.sim.issue_token(client.sim.accounts[1], expires_in=-1).text
    data = (await client.get("/v1.0/debug_token", token, input_token=expired)).json["data"]
    assert data["is_valid"] is False
    assert data["error"]["subcode"] == 463
    assert (await client.get("/v1.0/debug_token", expired, input_token=token)).code == (190, 463)


@pytest.mark.parametrize("subcode", [458, 459, 460, 463, 464, 467, 492])
async def test_tokens_are_revoked_with_a_chosen_subcode(client: Client, token: str, subcode: int) -> None:
    await client.control("POST", "revoke", {"token": token, "subcode": subcode})
    reply = await client.get("/v1.0/me", token)
    assert (reply.status, reply.code) == (400, (190, subcode))
    await client.control("POST", "revoke", {"user": client.sim.accounts[0].username, "subcode": 0})
    assert (await client.get("/v1.0/me", token)).status == 200
