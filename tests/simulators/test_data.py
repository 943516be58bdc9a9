"""The world is a function of seed and clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.simulators.conftest import METRICS, START, Client
from tidemill.simulators.threads import ThreadsSimulator
from tidemill.simulators.threads.data import DAY, YOUNG, World
from tidemill.simulators.threads.dice import roll
from tidemill.simulators.threads.metrics import POST_METRICS, day_views, post_metrics

ALL_POST_FIELDS = (
    "id,media_product_type,media_type,media_url,permalink,owner,username,text,timestamp,shortcode,thumbnail_url,"
    "children{id,media_type,media_url},is_quote_post,has_replies,topic_tag,alt_text,is_reply"
)


async def everything(session: aiohttp.ClientSession, **world: object) -> list[bytes]:
    async with ThreadsSimulator(**({"start": START, "posts": 20, "port": 0} | world)) as sim:  # type: ignore[arg-type]
        client, bodies = Client(sim, session), []
        for account in sim.accounts:
            token = sim.issue_token(account).text
            bodies.append(token.encode())
            bodies.append((await client.get("/v1.0/me", token, fields="id,username,name,threads_biography")).body)
            posts = await client.get("/v1.0/me/threads", token, fields=ALL_POST_FIELDS, limit=100)
            bodies.append(posts.body.replace(sim.url.encode(), b""))
            paths = [f"/v1.0/{post['id']}/insights" for post in posts.json["data"]]
            bodies += [(await client.get(path, token, metric=METRICS)).body for path in paths]
            query = {"metric": "views,likes,clicks", "since": int(START.timestamp()) - 9 * DAY}
            insights = await client.get("/v1.0/me/threads_insights", token, **query)
            bodies.append(insights.body.replace(sim.url.encode(), b""))
            bodies.append((await client.get("/v1.0/me", "no such token")).body)
        return bodies


async def test_the_same_seed_and_clock_give_the_same_bytes(session: aiohttp.ClientSession) -> None:
    first = await everything(session, seed=3)
    assert first == await everything(session, seed=3)
    assert first != await everything(session, seed=4)


async def test_what_was_asked_before_changes_nothing(client: Client, token: str) -> None:
    before = await client.get("/v1.0/me/threads", token, fields=ALL_POST_FIELDS)
    client.sim.clock.advance(40 * DAY)
    await client.get("/v1.0/me/threads", token)
    client.sim.clock.set(START)
    assert (await client.get("/v1.0/me/threads", token, fields=ALL_POST_FIELDS)).body == before.body


def test_dice_are_the_same_on_every_machine() -> None:
    assert [roll(), roll(0), roll(1, 2)] == [roll(), roll(0), roll(1, 2)]
    assert roll(1, 2) == GOLDEN


GOLDEN = 0x5FCF54EAFF47DBED


async def test_ids_are_digit_strings_beyond_the_floats(client: Client, token: str) -> None:
    posts = (await client.get("/v1.0/me/threads", token, limit=100)).json["data"]
    ids = [account.id for account in client.sim.accounts] + [post["id"] for post in posts]
    assert len(set(ids)) == len(ids)
    assert all(isinstance(i, str) and len(i) == 17 and int(i) > 2**53 for i in ids)


def world(**more: float) -> World:
    shape = {"seed": 5, "accounts": 4, "posts": 200, "young_share": 0.3, "new_post_every": 6 * 3600} | more
    return World(anchor=START, **shape)  # type: ignore[arg-type]


def test_ages_are_spread_over_four_hundred_days_with_a_share_young() -> None:
    for account in world().accounts:
        ages = [START.timestamp() - account.published(number) for number in range(200)]
        assert ages == sorted(ages, reverse=True)
        assert 0 < min(ages) < DAY
        assert 350 * DAY < max(ages) <= 400 * DAY
        assert sum(age <= YOUNG for age in ages) == pytest.approx(60, abs=1)


def test_every_post_is_young_when_all_shall_be() -> None:
    for account in world(young_share=1).accounts:
        assert all(START.timestamp() - account.published(number) <= YOUNG for number in range(200))


@given(st.integers(-500 * DAY, 500 * DAY), st.integers(0, 3), st.integers(0, 300))
def test_counting_posts_agrees_with_their_times(offset: int, index: int, posts: int) -> None:
    account = world(posts=posts).accounts[index]
    now = int(START.timestamp()) + offset
    count = account.count(now)
    assert all(account.published(number) <= now for number in range(max(0, count - 3), count))
    assert posts == 0 or offset >= 0 or count <= posts
    assert account.published(count) > now or (offset < 0 and count == posts)


async def test_new_posts_appear_as_the_clock_moves(client: Client, token: str) -> None:
    before = (await client.get("/v1.0/me/threads", token, limit=100)).json["data"]
    client.sim.clock.advance(5 * DAY)
    after = (await client.get("/v1.0/me/threads", token, limit=100)).json["data"]
    assert len(after) > len(before)
    assert after[-len(before) :] == before


def test_metrics_mostly_rise_sometimes_fall_and_are_sometimes_missing() -> None:
    account = world().accounts[0]
    rises = falls = 0
    missing = dict.fromkeys(POST_METRICS, 0)
    for number in range(150, 200):
        post = account.post(number)
        assert post_metrics(account, post, post.published + 600)[0] in (0, None)
        last: tuple[int | None, ...] = ()
        for step in range(1, 100):
            values = post_metrics(account, post, post.published + step * 900)
            assert all(value is None or value >= 0 for value in values)
            for name, value in zip(POST_METRICS, values, strict=True):
                missing[name] += value is None
            if last:
                likes, before = values[1], last[1]
                assert likes is not None
                assert before is not None
                rises += likes > before
                falls += likes < before
            views = [v for v in (last[0] if last else None, values[0]) if v is not None]
            assert views == sorted(views)
            last = values
    assert rises > falls > 0
    assert missing["views"] > 0
    assert missing["shares"] > 0
    assert sum(missing.values()) == missing["views"] + missing["shares"]


async def test_post_insights_have_the_documented_shape(client: Client, token: str) -> None:
    account = client.sim.accounts[0]
    post = next(p for p in map(account.post, range(60)) if p.media_type == "IMAGE")
    lines = (await client.get(f"/v1.0/{post.id}/insights", token, metric="likes,replies,likes")).json["data"]
    assert [line["name"] for line in lines] == ["likes", "replies"]
    assert [line["id"] for line in lines] == [
        f"{post.id}/insights/likes/lifetime",
        f"{post.id}/insights/thread_replies/lifetime",
    ]
    assert all(line["period"] == "lifetime" and isinstance(line["values"][0]["value"], int) for line in lines)


async def test_a_repost_has_no_insights_and_no_text(client: Client, token: str) -> None:
    account = client.sim.accounts[0]
    post = next(p for p in map(account.post, range(60)) if p.media_type == "REPOST_FACADE")
    reply = await client.get(f"/v1.0/{post.id}/insights", token, metric=METRICS)
    assert (reply.status, reply.json) == (200, {"data": []})
    assert "text" not in (await client.get(f"/v1.0/{post.id}", token, fields="id,text")).json


async def test_the_media_types_of_the_documentation_all_occur(client: Client, token: str) -> None:
    posts = (await client.get("/v1.0/me/threads", token, fields=ALL_POST_FIELDS, limit=100)).json["data"]
    by_type = {post["media_type"]: post for post in posts}
    assert set(by_type) == {"TEXT_POST", "IMAGE", "VIDEO", "CAROUSEL_ALBUM", "REPOST_FACADE"}
    assert len(by_type["CAROUSEL_ALBUM"]["children"]["data"]) >= 2
    assert by_type["VIDEO"]["thumbnail_url"]
    assert by_type["TEXT_POST"]["timestamp"].endswith("+0000")


async def day_ends(client: Client, token: str, since: datetime, until: datetime) -> list[str]:
    query = {"metric": "views", "since": int(since.timestamp()), "until": int(until.timestamp())}
    [line] = (await client.get("/v1.0/me/threads_insights", token, **query)).json["data"]
    assert line["period"] == "day"
    return [value["end_time"] for value in line["values"]]


async def test_days_end_at_midnight_in_california_which_shifts_with_daylight_saving(client: Client, token: str) -> None:
    autumn = await day_ends(client, token, datetime(2026, 10, 28, 12, tzinfo=UTC), datetime(2026, 11, 6, tzinfo=UTC))
    assert {end[11:] for end in autumn if end < "2026-11-02"} == {"07:00:00+0000"}
    assert {end[11:] for end in autumn if end >= "2026-11-02"} == {"08:00:00+0000"}
    client.sim.turn(day_stamp="start")
    spring = await day_ends(client, token, datetime(2026, 3, 4, 12, tzinfo=UTC), datetime(2026, 3, 13, tzinfo=UTC))
    assert {end[11:] for end in spring if end < "2026-03-09"} == {"08:00:00+0000"}
    assert {end[11:] for end in spring if end >= "2026-03-09"} == {"07:00:00+0000"}


async def test_some_days_are_missing(client: Client, token: str) -> None:
    ends = await day_ends(client, token, START - timedelta(days=100), START)
    assert 80 < len(ends) < 101
    assert ends == sorted(ends)


async def test_today_grows_until_the_day_is_over_and_then_stays() -> None:
    account = world().accounts[0]
    day = next(d for n in range(20) if (d := START.date() + timedelta(days=n)) and day_views(account, d, 10**10))
    noon = int(datetime(day.year, day.month, day.day, 20, tzinfo=UTC).timestamp())
    readings = [day_views(account, day, noon + hours * 3600) for hours in range(24)]
    assert readings == sorted(readings, key=lambda value: value or 0)
    assert readings[0] is not None
    assert readings[-1] is not None
    assert readings[0] < readings[-1] == day_views(account, day, noon + 5 * DAY)


async def test_without_a_window_user_insights_mean_yesterday_and_today(client: Client, token: str) -> None:
    reply = await client.get("/v1.0/me/threads_insights", token, metric="views,likes,clicks,followers_count")
    lines = {line["name"]: line for line in reply.json["data"]}
    ends = [value["end_time"] for value in lines["views"]["values"]]
    assert set(ends) <= {"2026-11-20T08:00:00+0000", "2026-11-21T08:00:00+0000"}
    assert isinstance(lines["likes"]["total_value"]["value"], int)
    assert isinstance(lines["clicks"]["link_total_values"], list)
    assert "total_value" not in lines["clicks"]
    assert lines["followers_count"]["total_value"]["value"] > 100
    assert "since=" in reply.json["paging"]["previous"]
    assert token in reply.json["paging"]["next"]
