"""Leniency in a stand-in hides bugs in what is tested against it: everything not documented is refused."""

from __future__ import annotations

import pytest

from tests.simulators.conftest import START, Client
from tidemill.simulators.threads import ThreadsSimulator


def own_post(sim: ThreadsSimulator, media_type: str = "TEXT_POST") -> str:
    account = sim.accounts[0]
    posts = map(account.post, range(account.count(sim.clock.now())))
    return next(post.id for post in posts if post.media_type == media_type)


@pytest.mark.parametrize(
    ("path", "params"),
    [
        ("/v1.0/me", {"fields": "id,followers"}),
        ("/v1.0/me", {"fields": "id;username"}),
        ("/v1.0/me", {"limit": 5}),
        ("/v1.0/me/threads", {"fields": "id,like_count"}),
        ("/v1.0/me/threads", {"fields": "children{id,likes}", "limit": 100}),
        ("/v1.0/me/threads", {"limit": 101}),
        ("/v1.0/me/threads", {"limit": 0}),
        ("/v1.0/me/threads", {"limit": "many"}),
        ("/v1.0/me/threads", {"offset": 3}),
        ("/v1.0/me/threads", {"after": "x", "before": "y"}),
        ("/v1.0/me/threads", {"after": "bm90IGEgY3Vyc29y"}),
        ("/v1.0/me/threads", {"since": 1_688_540_399}),
        ("/v1.0/me/threads", {"since": "last tuesday"}),
        ("/v1.0/me/threads", {"until": int(START.timestamp()) + 1}),
        ("/v1.0/me/threads", {"since": 1_760_000_001, "until": 1_760_000_001}),
        ("/v1.0/me/threads_insights", {}),
        ("/v1.0/me/threads_insights", {"metric": ""}),
        ("/v1.0/me/threads_insights", {"metric": "views", "fields": "values"}),
        ("/v1.0/me/threads_insights", {"metric": "views", "breakdown": "age"}),
        ("/v1.0/me/threads_insights", {"metric": "views", "since": 1_712_991_599}),
        ("/v1.0/me/threads_insights", {"metric": "views", "until": 99_999_999_999}),
        ("/v1.0/me/threads_insights", {"metric": "views", "since": 1_760_000_000, "until": 1_760_000_000}),
        ("/v1.0/me/threads_insights", {"metric": "followers_count", "since": 1_760_000_000}),
        ("/v1.0/me/threads_insights", {"metric": "follower_demographics"}),
        ("/v1.0/me/threads_insights", {"metric": "follower_demographics", "breakdown": "shoe_size"}),
        ("/v1.0/me/threads_insights", {"metric": "follower_demographics", "breakdown": "age", "since": 1_760_000_000}),
        ("/v1.0/me/threads_publishing_limit", {"fields": "everything"}),
    ],
)
async def test_wrong_parameters_are_refused_with_code_100(
    client: Client, token: str, path: str, params: dict[str, object]
) -> None:
    reply = await client.get(path, token, **params)
    assert (reply.status, reply.code) == (400, (100, None))


async def test_a_parameter_given_twice_is_refused(client: Client, token: str) -> None:
    reply = await client.get("/v1.0/me/threads?limit=5&limit=6", token)
    assert reply.code == (100, None)


async def test_metric_of_post_insights_is_required_and_must_be_known(client: Client, token: str) -> None:
    path = f"/v1.0/{own_post(client.sim)}/insights"
    assert (await client.get(path, token)).code == (100, None)
    unknown = await client.get(path, token, metric="views,clicks")
    assert (unknown.status, unknown.code) == (500, (1, None))
    client.sim.turn(unknown_metric_code=100)
    assert (await client.get(path, token, metric="views,clicks")).code == (100, None)


async def test_fields_on_insights_are_refused_or_ignored_by_knob(client: Client, token: str) -> None:
    path = f"/v1.0/{own_post(client.sim)}/insights"
    assert (await client.get(path, token, metric="likes", fields="name")).code == (100, None)
    client.sim.turn(fields_on_insights="ignore")
    assert (await client.get(path, token, metric="likes", fields="name")).status == 200


@pytest.mark.parametrize("edge", ["", "/threads", "/threads_insights", "/threads_publishing_limit"])
async def test_another_users_account_does_not_exist_for_a_token(client: Client, token: str, edge: str) -> None:
    other = client.sim.accounts[1].id
    reply = await client.get(f"/v1.0/{other}{edge}", token, **({"metric": "views"} if "insights" in edge else {}))
    assert reply.code == (100, 33)
    assert reply.error["type"] == "GraphMethodException"


@pytest.mark.parametrize("edge", ["", "/insights"])
async def test_foreign_unknown_and_future_posts_do_not_exist(client: Client, token: str, edge: str) -> None:
    mine, other = client.sim.accounts[0], client.sim.accounts[1]
    for post in (other.post(3).id, "18999999999999999", mine.post(mine.count(client.sim.clock.now())).id, "18"):
        reply = await client.get(f"/v1.0/{post}{edge}", token, **({"metric": "likes"} if edge else {}))
        assert reply.code == (100, 33), post


@pytest.mark.parametrize(
    ("path", "scope", "params"),
    [
        ("/v1.0/me/threads_insights", "threads_manage_insights", {"metric": "views"}),
        ("/v1.0/{post}/insights", "threads_manage_insights", {"metric": "views"}),
        ("/v1.0/me/threads_publishing_limit", "threads_content_publish", {}),
        ("/v1.0/me/threads", "threads_basic", {}),
        ("/v1.0/me", "threads_basic", {}),
    ],
)
async def test_a_scope_not_granted_is_code_10(client: Client, path: str, scope: str, params: dict[str, str]) -> None:
    scopes = {"threads_basic", "threads_manage_insights", "threads_content_publish"} - {scope}
    token = client.sim.issue_token(client.sim.accounts[0], scopes=scopes).text
    reply = await client.get(path.replace("{post}", own_post(client.sim)), token, **params)
    assert (reply.status, reply.code) == (403, (10, None))
    assert scope in reply.error["message"]


async def test_tokens_missing_or_invented_are_refused(client: Client) -> None:
    assert (await client.get("/v1.0/me")).code == (104, None)
    assert (await client.get("/v1.0/me", "THSIMinvented")).code == (190, None)
    async with client.session.get(client.sim.url + "/v1.0/me", headers={"Authorization": "Basic eDp5"}) as response:
        assert response.status == 400


async def test_the_token_may_come_in_the_query_too(client: Client, token: str) -> None:
    reply = await client.get("/v1.0/me", access_token=token)
    assert reply.json == {"id": client.sim.accounts[0].id}


@pytest.mark.parametrize("path", ["/", "/me", "/v2.0/me", "/v1.0/me/replies", "/v1.0/nobody", "/v1.0/me/threads/x"])
async def test_unknown_paths_are_refused(client: Client, token: str, path: str) -> None:
    reply = await client.get(path, token)
    assert (reply.status, reply.error["code"]) == (400, 2500)


async def test_reading_endpoints_take_no_post(client: Client, token: str) -> None:
    assert (await client.post("/v1.0/me", access_token=token)).code == (100, None)


async def test_small_accounts_have_no_demographics_and_others_do(client: Client) -> None:
    small = next(account for account in client.sim.accounts if account.small)
    query = {"metric": "follower_demographics", "breakdown": "age"}
    reply = await client.get("/v1.0/me/threads_insights", client.sim.issue_token(small).text, **query)
    assert reply.code == (100, None)
    big = client.sim.issue_token(client.sim.accounts[0]).text
    [line] = (await client.get("/v1.0/me/threads_insights", big, **query)).json["data"]
    [breakdown] = line["total_value"]["breakdowns"]
    assert breakdown["dimension_keys"] == ["age"]
    assert {"dimension_values", "value"} == set(breakdown["results"][0])


async def test_limit_over_the_maximum_is_clamped_by_knob(client: Client, token: str) -> None:
    client.sim.turn(limit_over_max="clamp")
    assert len((await client.get("/v1.0/me/threads", token, limit=5000)).json["data"]) == 60


async def test_followers_ignore_a_window_by_knob(client: Client, token: str) -> None:
    client.sim.turn(followers_window="ignore")
    reply = await client.get("/v1.0/me/threads_insights", token, metric="followers_count", since=1_760_000_000)
    assert isinstance(reply.json["data"][0]["total_value"]["value"], int)


async def test_the_longest_window_is_a_knob(client: Client, token: str) -> None:
    query = {"metric": "likes", "since": int(START.timestamp()) - 31 * 86_400}
    assert (await client.get("/v1.0/me/threads_insights", token, **query)).status == 200
    client.sim.turn(max_insights_days=30)
    assert (await client.get("/v1.0/me/threads_insights", token, **query)).code == (100, None)


async def test_unset_profile_fields_are_left_out_or_null_by_knob(client: Client) -> None:
    bare = next(account for account in client.sim.accounts if account.biography is None or account.name is None)
    token = client.sim.issue_token(bare).text
    fields = "id,username,name,threads_biography"
    assert len((await client.get("/v1.0/me", token, fields=fields)).json) < 4
    client.sim.turn(unset_profile_fields="null")
    assert None in (await client.get("/v1.0/me", token, fields=fields)).json.values()


async def test_the_publishing_limit_has_the_documented_shape(client: Client, token: str) -> None:
    [line] = (await client.get("/v1.0/me/threads_publishing_limit", token)).json["data"]
    assert line["config"] == {"quota_total": 250, "quota_duration": 86_400}
    query = {"fields": "reply_quota_usage,reply_config"}
    [line] = (await client.get("/v1.0/me/threads_publishing_limit", token, **query)).json["data"]
    assert line["reply_config"]["quota_total"] == 1000
