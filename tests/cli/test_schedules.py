"""tidemill schedules: the next fires of an expression, and the schedules declared in code."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.cli.conftest import Run
from tests.cli.support import query

DECLARED = """\
insert into tidemill.schedule (name, kind, spec, next_at, error)
values ('tides', 'scheduled_sync', '{"cron": "0 9 * * mon-fri", "timezone": "Asia/Taipei"}', '2099-01-01 12:00Z', null),
  ('a bad one', 'scheduled_sync', '{"cron": "x"}', '2099-01-01 12:00Z', 'cron: is bad'),
  ('by hand', 'scheduled_sync', '{}', null, null)
"""


@pytest.fixture
def at(database_url: str) -> tuple[str, str]:
    return "--database-url", database_url


@pytest.fixture
def declared(database_url: str) -> None:
    query(database_url, DECLARED)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            ("30 2 * * *", "--zone", "America/New_York", "--after", "2026-03-07T12:00", "--count", "2"),
            ["at 02:30 every day, America/New_York time", "2026-03-08T03:00:00-04:00", "2026-03-09T02:30:00-04:00"],
        ),
        (
            ("--every", "90m", "--after", "2026-05-04T01:00Z", "--zone", "Asia/Kathmandu", "--count", "1"),
            ["every 1 hour 30 minutes", "2026-05-04T07:15:00+05:45"],
        ),
        (
            ("--rrule", "FREQ=MONTHLY;BYDAY=-1FR", "--start", "2026-01-01T17:00", "--after", "2026-05-04T00:00Z"),
            [
                "every month on the last Friday at 17:00, UTC time",
                "2026-05-29T17:00:00+00:00",
                "2026-06-26T17:00:00+00:00",
                "2026-07-31T17:00:00+00:00",
                "2026-08-28T17:00:00+00:00",
                "2026-09-25T17:00:00+00:00",
            ],
        ),
    ],
)
def test_next_prints_the_words_and_the_fires_with_the_zones_offset(
    arguments: tuple[str, ...], expected: list[str], run: Run
) -> None:
    code, out, err = run("schedules", "next", *arguments)
    assert (code, out.splitlines(), err) == (0, expected, "")


def test_next_as_json_needs_no_database(run: Run) -> None:
    code, out, _ = run(
        "--database-url", "postgresql://127.0.0.1:1/none",
        *("schedules", "next", "*/10 * * * * *", "--after", "2026-05-04T00:00:55Z", "--count", "2", "--json"),
    )  # fmt: skip
    assert code == 0
    assert json.loads(out) == {
        "words": "every 10 seconds, UTC time",
        "zone": "UTC",
        "fires": ["2026-05-04T00:01:00+00:00", "2026-05-04T00:01:10+00:00"],
    }


def test_next_says_so_when_no_more_fires_follow(run: Run) -> None:
    rule = ("--rrule", "FREQ=DAILY;COUNT=2", "--start", "2026-05-04T08:00", "--after", "2026-05-04T09:00Z")
    code, out, err = run("schedules", "next", *rule)
    assert (code, len(out.splitlines()), err) == (0, 2, "No more follow.\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "Give a cron expression"),
        (("60 * * * *",), "minute: "),
        (("0 0 30 2 *",), "day of month: "),
        (("* * * * *", "--zone", "Mars/Olympus"), "timezone: "),
        (("* * * * *", "--after", "yesterday"), "after: "),
        (("* * * * *", "--after", "2026-05-04"), "after: "),
        (("* * * * *", "--count", "0"), "--count"),
        (("* * * * *", "--every", "1h"), "every: "),
        (("* * * * *", "--start", "2026-05-04T09:00"), "start: "),
        (("--every", "1 hour"), "every: "),
        (("--every", "0s"), "every: "),
        (("--rrule", "FREQ=SECONDLY"), "FREQ: "),
        (("--rrule", "FREQ=DAILY;BYEASTER=1"), "rrule: "),
        (("--rrule", "FREQ=DAILY;COUNT=3"), "COUNT: "),
    ],
    ids=" ".join,
)
def test_what_next_refuses_ends_with_2_and_names_what_is_wrong(
    arguments: tuple[str, ...], message: str, run: Run
) -> None:
    code, out, err = run("schedules", "next", *arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert "Traceback" not in err


def test_no_schedules_yet_says_what_to_do(at: tuple[str, str], run: Run) -> None:
    assert "tidemill up" in run(*at, "schedules", "list")[1]
    assert json.loads(run(*at, "schedules", "list", "--json")[1]) == {"schedules": []}


@pytest.mark.usefixtures("declared")
def test_list_shows_each_schedule_in_words_and_a_bad_one_by_its_error(at: tuple[str, str], run: Run) -> None:
    code, out, _ = run(*at, "schedules", "list", "--json")
    rows = {row["name"]: row for row in json.loads(out)["schedules"]}
    assert code == 0
    assert rows["tides"]["words"] == "at 09:00 on Monday to Friday, Asia/Taipei time"
    assert rows["tides"]["spec"] == {"cron": "0 9 * * mon-fri", "timezone": "Asia/Taipei"}
    assert rows["by hand"] | {"words": "only when it is run by hand", "next_at": None} == rows["by hand"]
    assert (rows["a bad one"]["words"], rows["a bad one"]["error"]) == (None, "cron: is bad")
    assert "2099-01-01 12:00:00Z" in run(*at, "schedules", "list")[1]


@pytest.mark.usefixtures("declared")
def test_pause_and_resume_say_who_had_paused_it(at: tuple[str, str], run: Run, database_url: str) -> None:
    def paused_by() -> Any:
        return query(database_url, "select paused_by from tidemill.schedule where name = 'tides'")[0]["paused_by"]

    assert "paused by me" in run(*at, "schedules", "pause", "tides", "--by", "me")[1]
    assert json.loads(run(*at, "schedules", "pause", "tides", "--json")[1]) == {"schedule": "tides", "paused_by": "me"}
    assert paused_by() == "me"
    assert "it was paused by me" in run(*at, "schedules", "resume", "tides")[1]
    assert json.loads(run(*at, "schedules", "resume", "tides", "--json")[1])["was_paused_by"] is None
    assert paused_by() is None


@pytest.mark.usefixtures("declared")
def test_run_enqueues_one_job_and_ends_with_1_while_it_has_not_ended(
    at: tuple[str, str], run: Run, database_url: str
) -> None:
    code, out, _ = run(*at, "schedules", "run", "by hand", "--json")
    jobs = query(database_url, "select id, args from tidemill.job_ready")
    assert (code, json.loads(out)) == (0, {"schedule": "by hand", "job": jobs[0]["id"]})
    assert list(jobs[0]["args"]) == ["fire_at"]
    code, out, _ = run(*at, "schedules", "run", "by hand")
    assert (code, "has not ended" in out) == (1, True)
    assert len(query(database_url, "select id from tidemill.job_ready")) == 1


@pytest.mark.parametrize("verb", ["run", "pause", "resume"])
@pytest.mark.usefixtures("declared")
def test_a_schedule_that_does_not_exist_ends_with_3_and_names_those_that_do(
    verb: str, at: tuple[str, str], run: Run
) -> None:
    code, out, err = run(*at, "schedules", verb, "moon")
    assert (code, out) == (3, "")
    assert "by hand, tides" in err
