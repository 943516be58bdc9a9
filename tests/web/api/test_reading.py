"""Runs, records, notifications, providers, schedules: what is only looked at, and pages of it."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import pytest

from tests.web.api.world import MEMBER, T0, Client, Company, encoded, minutes
from tidemill.postgres import Database


async def all_of(client: Client, path: str, limit: int) -> list[list[dict[str, Any]]]:
    """Every page, by the Link header; the body's next names the same one."""
    pages: list[list[dict[str, Any]]] = []
    url = f"{path}{'&' if '?' in path else '?'}limit={limit}"
    while True:
        reply = await client("GET", url)
        assert reply.status == 200, reply.body
        pages.append(reply.body["items"])
        assert len(pages) < 100
        if reply.body["next"] is None:
            assert "Link" not in reply.headers
            return pages
        link, _, relation = reply.headers["Link"].partition(">; ")
        assert relation == 'rel="next"'
        url = link.removeprefix("</api/v1")
        assert f"after={reply.body['next']}" in url
        assert f"limit={limit}" in url


async def test_pages_together_are_the_list(admin: Client, company: Company, db: Database) -> None:
    await db.execute(
        "insert into public.sync_run_logs (company_id, job_id, connector_id, job_type, trigger, status, reason, "
        "started_at, finished_at) select $1, $2, $3, 'sync', 'schedule', 'skipped', 'overlap', "
        "$4::timestamptz + (n / 3) * interval '1 hour', $4 from generate_series(1, 20) as n",
        company.id,
        company.job,
        company.connector,
        T0,
    )
    for n in range(6):
        await admin("POST", "/connectors", {"provider": "shop", "name": str(n), "config": {"shop": "a"}})
    await company.add_records(db, 25, stream="many")
    records = f"/records?connector_id={company.connector}&stream=many"
    for path, count in (("/runs", 21), ("/connectors", 7), (records, 25), ("/notifications", 1), ("/sync-jobs", 1)):
        whole = (await admin("GET", path + ("&" if "?" in path else "?") + "limit=200")).body["items"]
        assert len(whole) == count
        for limit in (1, 7, 100):
            pages = await all_of(admin, path, limit)
            assert [item for page in pages for item in page] == whole
            assert all(len(page) == limit for page in pages[:-1])
    runs = [(run["started_at"], run["id"]) for run in (await admin("GET", "/runs?limit=200")).body["items"]]
    assert runs == sorted(runs, reverse=True)


async def test_what_comes_between_two_pages_is_neither_doubled_nor_shifts_the_rest(
    admin: Client, company: Company, db: Database
) -> None:
    await company.add_records(db, 10, stream="s")
    path = f"/records?connector_id={company.connector}&stream=s&limit=4"
    first = (await admin("GET", path)).body
    await db.execute(
        "delete from public.synced_records where company_id = $1 and stream = 's' and key = '[2]'", company.id
    )
    await db.execute(
        "update public.synced_records set changed_at = $1 where stream = 's' and key = '[6]'", T0 + minutes(60)
    )
    second = (await admin("GET", f"{path}&after={first['next']}")).body
    third = (await admin("GET", f"{path}&after={second['next']}")).body
    assert [r["key"] for r in first["items"]] == ["[1]", "[2]", "[3]", "[4]"]
    assert [r["key"] for r in second["items"]] == ["[5]", "[7]", "[8]", "[9]"]
    assert [r["key"] for r in third["items"]] == ["[10]", "[6]"]


@pytest.mark.parametrize(
    "after", ["x", "", "%00", "AAAA", encoded("[]"), encoded("[7]"), encoded('["2026-01-01T00:00:00","x"]'), "=" * 9]
)
async def test_an_after_that_no_page_gave_is_refused(admin: Client, company: Company, after: str) -> None:
    records = f"/records?connector_id={company.connector}&stream=orders&"
    for path in ("/runs?", "/connectors?", "/sync-jobs?", "/notifications?", records):
        reply = await admin("GET", f"{path}after={after}")
        assert (reply.code, reply.fields) == ("INVALID_FIELD", ["after"])


async def test_the_next_of_one_list_is_none_of_another(admin: Client, company: Company) -> None:
    await admin("POST", "/connectors", {"provider": "shop", "config": {"shop": "a"}})
    of_connectors = (await admin("GET", "/connectors?limit=1")).body["next"]
    for path in ("/runs?", "/sync-jobs?", "/notifications?", f"/records?connector_id={company.connector}&stream=s&"):
        assert (await admin("GET", f"{path}after={of_connectors}")).fields == ["after"]
    assert (await admin("GET", f"/connectors?after={of_connectors}")).status == 200
    of_notifications = encoded(f'["notifications","2026-01-02T03:15:00Z","{company.run}"]')
    assert (await admin("GET", f"/notifications?after={of_notifications}")).status == 200
    assert (await admin("GET", f"/runs?after={of_notifications}")).fields == ["after"]


async def test_runs_are_listed_by_job_connector_and_status(admin: Client, company: Company) -> None:
    asked = (await admin("POST", f"/sync-jobs/{company.job}/run")).body["run_id"]
    done = str(company.run)

    async def listed(query: str) -> list[str]:
        return [run["id"] for run in (await admin("GET", f"/runs?{query}")).body["items"]]

    assert await listed("") == [asked, done]
    assert await listed(f"job_id={company.job}") == [asked, done]
    assert await listed(f"connector_id={company.connector}&status=completed") == [done]
    assert await listed("status=pending") == [asked]
    assert await listed(f"job_id={uuid4()}") == []
    run = (await admin("GET", f"/runs/{done}")).body
    assert (run["metrics"], run["applied_actions"], run["finished_at"]) == ({}, [], "2026-01-02T03:15:00Z")


async def test_a_word_that_is_none_of_a_few_is_told_which_there_are(admin: Client, company: Company) -> None:
    for reply, words in (
        (await admin("GET", "/runs?status=done"), "pending, running, completed, partial, failed, skipped"),
        (await admin("POST", "/connectors", {"provider": "shop", "status": "off"}), "active, inactive"),
    ):
        assert reply.body["errors"] == [{"field": "status", "message": f"must be one of {words}"}]


async def test_records_are_read_since_a_change(admin: Client, company: Company) -> None:
    path = f"/records?connector_id={company.connector}&stream=orders"
    since = quote((T0 + minutes(2)).isoformat())
    assert [r["key"] for r in (await admin("GET", f"{path}&changed_since={since}")).body["items"]] == ["[2]", "[3]"]
    record = (await admin("GET", path)).body["items"][0]
    assert (record["data"], record["deleted_at"]) == ({"id": 1, "pad": ""}, None)
    for wrong in ("yesterday", "2026-01-01T00:00:00", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"):
        reply = await admin("GET", f"{path}&changed_since={wrong}")
        assert (reply.code, reply.fields) == ("INVALID_FIELD", ["changed_since"])
    assert (await admin("GET", "/records?stream=orders")).fields == ["connector_id"]
    assert (await admin("GET", f"/records?connector_id={company.connector}")).fields == ["stream"]
    assert (await admin("GET", f"/records?connector_id={uuid4()}&stream=orders")).code == "NOT_FOUND"


async def test_a_page_of_large_records_ends_early_and_goes_on(admin: Client, company: Company, db: Database) -> None:
    await company.add_records(db, 12, stream="large", size=1_000_000)
    pages = await all_of(admin, f"/records?connector_id={company.connector}&stream=large", 200)
    assert [record["data"]["id"] for page in pages for record in page] == list(range(1, 13))
    assert [len(page) for page in pages] == [5, 5, 2]


async def test_a_member_reads_notifications_and_an_admin_ticks_them_off(admin: Client, company: Company) -> None:
    member = admin.as_(company.token(MEMBER))
    [told] = (await member("GET", "/notifications?unread=true")).body["items"]
    path = f"/notifications/{company.notification}/read"
    assert (await member("PUT", path)).code == "FORBIDDEN"
    ticked = await admin("PUT", path)
    assert (ticked.status, ticked.body["id"], told["read_at"]) == (200, str(company.notification), None)
    assert (await admin("PUT", path)).body == ticked.body
    assert (await member("GET", "/notifications?unread=true")).body["items"] == []
    assert (await member("GET", "/notifications")).body["items"] == [ticked.body]
    assert (await admin("PUT", f"/notifications/{uuid4()}/read")).code == "NOT_FOUND"


async def test_a_schedule_is_told_in_words_with_its_next_fires(admin: Client) -> None:
    reply = await admin(
        "POST",
        "/schedules/preview",
        {"schedule": {"cron": "0 9 * * *", "timezone": "Europe/Berlin"}, "count": 2, "after": "2026-10-24T08:00:00Z"},
    )
    assert reply.body == {
        "words": "at 09:00 every day, Europe/Berlin time",
        "timezone": "Europe/Berlin",
        "fires": ["2026-10-25T09:00:00+01:00", "2026-10-26T09:00:00+01:00"],
    }


async def test_a_schedule_without_a_zone_is_in_the_companys(admin: Client, neighbour: Company, db: Database) -> None:
    body = {"schedule": {"cron": "0 9 * * *"}, "count": 1}
    assert (await admin("POST", "/schedules/preview", body)).body["timezone"] == "Asia/Taipei"
    assert (await admin("POST", "/schedules/preview", {**body, "timezone": "UTC"})).body["timezone"] == "UTC"
    await db.execute("update public.companies set timezone = null where id = $1", neighbour.id)
    other = admin.as_(neighbour.token())
    assert (await other("POST", "/schedules/preview", body)).body["timezone"] == "UTC"
    await db.execute("select tidemill.set_clock('2031-05-06 00:00:00Z')")
    try:
        [fire] = (await other("POST", "/schedules/preview", body)).body["fires"]
    finally:
        await db.execute("select tidemill.reset_clock()")
    assert datetime.fromisoformat(fire) == datetime.fromisoformat("2031-05-06T09:00:00+00:00")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"schedule": {"cron": "0 25 * * *"}}, "schedule.cron"),
        ({"schedule": {"rrule": "FREQ=DAILY;COUNT=3"}}, "schedule.rrule"),
        ({"schedule": {"at": "tomorrow"}}, "schedule.at"),
        ({"schedule": {"cron": "* * * * *", "jitter": "2d"}}, "schedule.jitter"),
        ({"schedule": {}, "timezone": "Nowhere"}, "timezone"),
        ({"schedule": {}, "count": 101}, "count"),
        ({"schedule": {}, "after": "2026-01-01T00:00:00"}, "after"),
        ({}, "schedule"),
    ],
)
async def test_a_schedule_that_cannot_be_read_is_told_by_field(admin: Client, body: dict[str, Any], field: str) -> None:
    reply = await admin("POST", "/schedules/preview", body)
    assert (reply.status, reply.code, reply.fields) == (422, "INVALID_FIELD", [field])


async def test_providers_tell_their_config_and_the_names_of_their_secrets(admin: Client) -> None:
    [shop] = (await admin("GET", "/providers")).body
    assert (shop["name"], shop["title"], shop["secrets"]) == ("shop", "A shop", ["token", "refresh"])
    assert shop["config"]["$defs"]["ShopConfig"]["properties"]["region"]["pattern"] == "^[a-z]{2}$"


async def test_what_sql_wrote_is_shown_however_odd(admin: Client, company: Company, db: Database) -> None:
    await db.execute(
        'update public.sync_jobs set payload = \'{"n": 1e300, "m": -123456789012345678901234567890.5}\' where id = $1',
        company.job,
    )
    await db.execute("update public.sync_jobs set schedule = '[1, null]' where id = $1", company.job)
    async with admin.session.get(
        f"/api/v1/sync-jobs/{company.job}", headers={"Authorization": f"Bearer {admin.token}"}
    ) as response:
        text = await response.text()
    assert response.status == 200
    assert f'"n": 1{"0" * 300}' in text
    assert '"schedule":[1, null]' in text
    reply = await admin("PATCH", f"/sync-jobs/{company.job}", {"name": "n"}, headers={"If-Match": "*"})
    assert reply.status == 200
    await db.execute("update public.sync_jobs set payload = '[7]' where id = $1", company.job)
    reply = await admin("PATCH", f"/sync-jobs/{company.job}", {"job_type": "counting"}, headers={"If-Match": "*"})
    assert (reply.code, reply.fields) == ("INVALID_FIELD", ["payload"])
    anew = {"job_type": "counting", "payload": {"upto": 3}}
    assert (await admin("PATCH", f"/sync-jobs/{company.job}", anew, headers={"If-Match": "*"})).status == 200
