from __future__ import annotations

import itertools
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.simulators.conftest import START, Client, Reply
from tidemill.simulators.threads.data import DAY

FIELDS = "id,timestamp"


async def walk(client: Client, token: str, **params: object) -> tuple[list[str], list[Reply]]:
    """Page by cursors with the one rule that is safe whatever the knobs say."""
    ids: list[str] = []
    pages: list[Reply] = []
    seen: set[str] = set()
    while len(pages) < 100:
        page = await client.get("/v1.0/me/threads", token, fields=FIELDS, **params)
        pages.append(page)
        ids += [post["id"] for post in page.json["data"]]
        paging = page.json.get("paging", {})
        after = paging.get("cursors", {}).get("after")
        if after is None or after in seen or not ("next" in paging or page.json["data"]):
            return ids, pages
        seen.add(after)
        params["after"] = after
    raise AssertionError("paging never ends")


def all_ids(client: Client) -> list[str]:
    account = client.sim.accounts[0]
    return [account.post(number).id for number in reversed(range(account.count(client.sim.clock.now())))]


@pytest.mark.parametrize(
    ("paging_next", "last_page_cursor", "empty_page", "order", "limit"),
    [
        *itertools.product(("all_but_last", "always"), (True, False), (True, False), ("newest", "oldest"), (7, 100)),
        *itertools.product(("never",), (True, False), (False,), ("newest", "oldest"), (7, 100)),
    ],
)
async def test_every_post_comes_once_whatever_the_knobs(
    client: Client, token: str, paging_next: str, last_page_cursor: bool, empty_page: bool, order: str, limit: int
) -> None:
    client.sim.turn(paging_next=paging_next, last_page_cursor=last_page_cursor, empty_page=empty_page, order=order)
    ids, pages = await walk(client, token, limit=limit)
    assert ids == (all_ids(client) if order == "newest" else all_ids(client)[::-1])
    assert any(not page.json["data"] for page in pages[:-1]) == (empty_page and limit == 7)


async def test_next_stands_on_all_pages_but_the_last_and_carries_the_token(client: Client, token: str) -> None:
    _, pages = await walk(client, token, limit=25)
    nexts = [page.json.get("paging", {}).get("next") for page in pages]
    assert [bool(url) for url in nexts] == [True, True, False, False]
    query = parse_qs(urlsplit(nexts[0]).query)
    assert query["access_token"] == [token]
    followed = await client.get(nexts[0])
    assert followed.json["data"] == pages[1].json["data"]


async def test_before_goes_back_to_the_page_one_came_from(client: Client, token: str) -> None:
    _, pages = await walk(client, token, limit=7)
    before = pages[3].json["paging"]["cursors"]["before"]
    back = await client.get("/v1.0/me/threads", token, fields=FIELDS, limit=7, before=before)
    assert back.json["data"] == pages[2].json["data"]


async def test_the_default_page_has_25_posts_with_ids_alone(client: Client, token: str) -> None:
    posts = (await client.get("/v1.0/me/threads", token)).json["data"]
    assert len(posts) == 25
    assert all(set(post) == {"id"} for post in posts)


async def test_new_posts_do_not_shift_the_pages(client: Client, token: str) -> None:
    before = all_ids(client)
    first = await client.get("/v1.0/me/threads", token, fields=FIELDS, limit=10)
    client.sim.turn(cursor_ttl=30 * DAY)
    client.sim.clock.advance(10 * DAY)
    rest, _ = await walk(client, token, limit=10, after=first.json["paging"]["cursors"]["after"])
    assert [post["id"] for post in first.json["data"]] + rest == before


async def test_a_cursor_is_good_only_for_its_token_its_query_and_a_while(client: Client, token: str) -> None:
    first = await client.get("/v1.0/me/threads", token, fields=FIELDS)
    after = first.json["paging"]["cursors"]["after"]
    sibling = client.sim.issue_token(client.sim.accounts[0]).text
    assert (await client.get("/v1.0/me/threads", token, fields=FIELDS, after=after)).status == 200
    assert (await client.get("/v1.0/me/threads", sibling, fields=FIELDS, after=after)).code == (100, None)
    assert (await client.get("/v1.0/me/threads", token, fields="id", after=after)).code == (100, None)
    forged = after[:8] + ("A" if after[8] != "A" else "B") + after[9:]
    assert (await client.get("/v1.0/me/threads", token, fields=FIELDS, after=forged)).code == (100, None)
    client.sim.clock.advance(3601)
    assert (await client.get("/v1.0/me/threads", token, fields=FIELDS, after=after)).code == (100, None)


async def test_since_and_until_bound_the_posts(client: Client, token: str) -> None:
    since, until = int(START.timestamp()) - 60 * DAY, int(START.timestamp()) - 2 * DAY
    account = client.sim.accounts[0]
    wanted = [p.id for p in map(account.post, reversed(range(60))) if since <= p.published <= until]
    ids, _ = await walk(client, token, limit=5, since=since, until=until)
    assert ids == wanted
    assert 0 < len(wanted) < 60
    by_date, _ = await walk(client, token, since="2026-09-21T12:00:00+00:00", until="2026-11-18T12:00:00+00:00")
    assert by_date == wanted


async def test_an_account_without_posts_has_an_empty_page(client: Client, token: str) -> None:
    reply = await client.get("/v1.0/me/threads", token, until=1_700_000_000)
    assert reply.json == {"data": []}
