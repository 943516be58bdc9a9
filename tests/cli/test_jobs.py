"""jobs and queues: what they print of a database, and what they do to it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.cli.conftest import Run
from tests.cli.support import query

JOB = """\
with job as (
  insert into tidemill.job_{state} (id, queue, rank, kind, max_attempts, tenant, key, enqueued_at, args {columns})
  select nextval('tidemill.job_id'), tidemill.intern_queue($1), (extract(epoch from at) * 1000)::bigint,
    tidemill.intern_kind($2), 5, $3, $4, at, $5 {values}
  from tidemill.now() as at
  returning id, kind, key)
, held as (insert into tidemill.unique_key (kind, key, job) select kind, key, id from job where key is not null)
select id from job
"""
DEAD = """\
insert into tidemill.job_dead
  (id, queue, kind, priority, attempt, crashes, max_attempts, tenant, key, args, reason, died_at)
values (nextval('tidemill.job_id'), tidemill.intern_queue('default'), tidemill.intern_kind('mail'), 0, 5, 0, 5, $1, $2,
  '{"to": "a"}', $3, '2026-03-01 12:00Z')
returning id
"""
ENDED = """\
insert into tidemill.job_run (id, queue, kind, attempt, crashes, outcome, reason, node, started_at, finished_at)
values ($1, tidemill.intern_queue('default'), tidemill.intern_kind('mail'), $2::smallint, 0, $3, $4, 1,
  '2026-03-01 12:00Z', '2026-03-01 12:00:02Z'::timestamptz + make_interval(secs => $2::smallint))
"""
TENANT = "0b7c9d2e-6f1a-4c55-9a3e-2d1f0e8b7a66"


class Shop:
    """Jobs in a database, put there by hand, and the command line on it."""

    def __init__(self, url: str, run: Run) -> None:
        self._url = url
        self._run = run

    def __call__(self, *arguments: str) -> tuple[int, str, str]:
        return self._run("--database-url", self._url, *arguments)

    def json(self, *arguments: str) -> Any:
        code, out, _ = self(*arguments, "--json")
        assert code == 0, arguments
        return json.loads(out)

    def query(self, sql: str, *args: Any) -> list[dict[str, Any]]:
        return query(self._url, sql, *args)

    def put(
        self, state: str = "ready", *, kind: str = "mail", key: str | None = None, args: Any = None, **more: Any
    ) -> int:
        columns, values = {
            "ready": ("", ""),
            "delayed": (", run_at", ", at + interval '1 hour'"),
            "lease": (", token, node, claimed_at, attempt", ", 7, 1, clock_timestamp(), 1"),
        }[state]
        sql = JOB.format(state=state, columns=columns, values=values)
        return self.query(sql, more.get("queue", "default"), kind, more.get("tenant"), key, args or {})[0]["id"]

    def bury(self, *, tenant: str | None = None, key: str | None = None, reason: str = "ValueError: no") -> int:
        return self.query(DEAD, tenant, key, reason)[0]["id"]

    def count(self, table: str) -> int:
        return self.query(f"select count(*) from tidemill.{table}")[0]["count"]


@pytest.fixture
def shop(database_url: str, run: Run) -> Shop:
    return Shop(database_url, run)


def test_a_running_job_tells_how_far_it_has_got(shop: Shop) -> None:
    job, silent = shop.put("lease"), shop.put("lease")
    shop.query("insert into tidemill.job_progress (job, token, done, total, note) values ($1, 7, 3, 8, 'of May')", job)
    shop.query("insert into tidemill.job_progress (job, token, done) values ($1, 6, 5)", silent)
    _, out, _ = shop("jobs", "list", "--state", "running")
    told = [line.split("\t")[-1] for line in out.splitlines()]
    assert told == ["progress", "3 of 8 (37 %): of May", "-"]
    assert "progress: 3 of 8 (37 %): of May, said 2" in shop("jobs", "show", str(job))[1]
    assert "progress" not in shop("jobs", "show", str(silent))[1]
    shown = shop.json("jobs", "show", str(job))["progress"]
    assert {"done": 3, "total": 8, "note": "of May"}.items() <= shown.items()


def test_empty_states_say_so(shop: Shop) -> None:
    assert shop("jobs", "list")[:2] == (0, "There are no ready jobs.\n")
    assert shop("jobs", "list", "--state", "dead", "--reason", "x")[1] == "There are no dead jobs that match.\n"
    assert shop.json("jobs", "list") == {"jobs": [], "next": None}
    assert "no queues yet" in shop("queues", "list")[1]
    assert shop.json("queues", "list") == {"queues": [], "paused_kinds": []}


@pytest.mark.parametrize("state", ["ready", "delayed", "running", "dead", "ended"])
def test_a_list_is_paged_so_that_every_job_of_the_state_is_shown_once(shop: Shop, state: str) -> None:
    put: dict[str, Callable[[], int]] = {"running": lambda: shop.put("lease"), "dead": shop.bury}
    jobs = [(put.get(state) or (lambda: shop.put("delayed" if state == "delayed" else "ready")))() for _ in range(5)]
    if state == "ended":
        for job in jobs:
            shop.query(ENDED, job, 1, "retry", "no")
            shop.query(ENDED, job, 2, "done", None)
    pages: list[list[int]] = []
    after: list[str] = []
    while True:
        page = shop.json("jobs", "list", "--state", state, "-n", "2", *after)
        pages.append([job["id"] for job in page["jobs"]])
        if page["next"] is None:
            break
        after = ["--after", page["next"]]
    assert [len(page) for page in pages] == [2, 2, 1]
    latest_first = state in ("dead", "ended")
    assert [job for page in pages for job in page] == sorted(jobs, reverse=latest_first)


def test_a_list_can_be_narrowed_to_a_kind_a_queue_a_tenant_and_a_time(shop: Shop) -> None:
    mail = shop.put()
    sync = shop.put(kind="sync", queue="syncs", tenant=TENANT)

    def listed(*options: str) -> list[int]:
        return [job["id"] for job in shop.json("jobs", "list", *options)["jobs"]]

    assert sorted(listed()) == [mail, sync]
    assert listed("--kind", "sync") == listed("--queue", "syncs") == listed("--tenant", TENANT) == [sync]
    assert listed("--since", "2000-01-01T00:00Z", "--kind", "mail") == [mail]
    assert listed("--since", "2999-01-01T00:00Z") == []


def test_a_list_is_tabbed_lines_when_piped_and_says_how_to_go_on(shop: Shop) -> None:
    for _ in range(2):
        shop.bury(reason="ValueError: password=hunter2")
    code, out, err = shop("jobs", "list", "--state", "dead", "-n", "1")
    heading, line = (text.split("\t") for text in out.splitlines())
    shown = dict(zip(heading, line, strict=True))
    assert (code, shown["kind"], shown["died"], shown["outcome"]) == (0, "mail", "2026-03-01 12:00:00Z", "dead")
    assert shown["reason"] == "ValueError: password=[redacted]"
    assert "--after dead:" in err


def test_show_tells_where_a_live_job_is_with_its_secrets_taken_out(shop: Shop) -> None:
    job = shop.put("delayed", key="k", args={"to": "a", "access_token": "hunter2"})
    shop.query(ENDED, job, 1, "retry", "ValueError: api_key=hunter2")
    view = shop.json("jobs", "show", str(job))
    assert (view["state"], view["kind"], view["key"], view["outcome"]) == ("delayed", "mail", "k", None)
    assert view["args"] == {"to": "a", "access_token": "[redacted]"}
    assert [(a["attempt"], a["outcome"], a["reason"]) for a in view["attempts"]] == [
        (1, "retry", "ValueError: api_key=[redacted]")
    ]
    code, out, _ = shop("jobs", "show", str(job))
    assert code == 0
    assert out.startswith(f"Job {job}: delayed, due ")
    assert "hunter2" not in out


def test_show_tells_how_an_ended_job_ended(shop: Shop) -> None:
    shop.query(ENDED, 41, 1, "retry", "no")
    shop.query(ENDED, 41, 2, "done", None)
    view = shop.json("jobs", "show", "41")
    assert (view["state"], view["outcome"], view["attempt"], view["args"]) == ("ended", "done", 2, None)
    assert [a["outcome"] for a in view["attempts"]] == ["retry", "done"]
    assert shop("jobs", "show", "41")[1].startswith("Job 41: ended (done), ended 2026-03-01 12:00:04Z")


def test_cancel_answers_for_each_id_and_exits_with_what_the_worst_of_them_asks_for(shop: Shop) -> None:
    ready, running, dead = shop.put(key="k"), shop.put("lease"), shop.bury()
    answers = shop.json("jobs", "cancel", "--by", "ops", str(ready), str(running))
    assert answers == {
        "jobs": [
            {"id": ready, "answer": "cancelled", "outcome": "cancelled"},
            {"id": running, "answer": "asked", "outcome": None},
        ]
    }
    assert shop.count("job_ready") == shop.count("unique_key") == 0
    assert shop.json("jobs", "show", str(running))["cancel_asked_by"] == "ops"
    assert shop.query("select outcome, reason from tidemill.job_run") == [
        {"outcome": "cancelled", "reason": "cancelled by ops"}
    ]
    assert shop("jobs", "cancel", str(dead))[:2] == (1, f"Job {dead}: had ended already: dead.\n")
    assert shop("jobs", "cancel", str(ready), "999")[:2] == (
        3,
        f"Job {ready}: had ended already: cancelled.\nJob 999: not found.\n",
    )


def test_cancel_by_a_filter_counts(shop: Shop) -> None:
    for state in ("ready", "ready", "delayed", "lease"):
        shop.put(state)
    shop.put(kind="sync")
    assert shop.json("jobs", "cancel", "--kind", "mail") == {"cancelled": 3, "asked": 1}
    assert shop.count("job_ready") == 1
    assert shop("jobs", "cancel", "--all", "--no-syncs")[1].startswith("1 jobs that waited are cancelled; 1 that run")


def test_retry_makes_dead_jobs_ready_unless_their_key_is_held(shop: Shop) -> None:
    free, held = shop.bury(), shop.bury(key="k")
    shop.put(key="k")
    assert shop("jobs", "retry", str(free), str(held))[:2] == (
        1,
        f"Job {free}: ready again.\nJob {held}: stays dead: a live job holds its unique key.\n",
    )
    assert shop("jobs", "retry", str(free))[0] == 3
    shop.query("delete from tidemill.unique_key")
    assert shop.json("jobs", "retry", "--reason", "valueerror") == {"retried": 1, "key_held": 0}
    assert shop.count("job_ready") == 3


def test_discard_throws_dead_jobs_away(shop: Shop) -> None:
    first, _, _ = shop.bury(), shop.bury(tenant=TENANT), shop.bury()
    assert shop("jobs", "discard", str(first), "999")[0] == 3
    assert shop.json("jobs", "discard", "--tenant", TENANT) == {"discarded": 1}
    assert shop("jobs", "discard", "--all")[:2] == (0, "1 dead jobs are discarded.\n")
    assert shop.count("job_dead") == 0


@pytest.mark.parametrize("verb", ["cancel", "retry", "discard"])
def test_nothing_is_done_to_many_jobs_unless_that_was_said(shop: Shop, verb: str) -> None:
    shop.put()
    shop.bury()
    for arguments in ((), ("1", "--all"), ("1", "--kind", "mail"), ("0",), ("x",), ("--tenant", "x"), ("--since", "x")):
        assert shop("jobs", verb, *arguments)[0] == 2, arguments
    assert (shop.count("job_ready"), shop.count("job_dead")) == (1, 1)


def test_what_cannot_be_taken_exits_with_2_and_says_what_to_do(shop: Shop) -> None:
    shop.put()
    for arguments, told in (
        (("jobs", "list", "--kind", "nope"), "known: mail"),
        (("jobs", "list", "--queue", "nope"), "known: default"),
        (("jobs", "list", "--reason", "x"), "ready jobs have none"),
        (("jobs", "list", "--after", "x"), "take `next`"),
        (("jobs", "list", "--after", "dead:1:2"), "take `next`"),
        (("jobs", "list", "--since", "2026-11-22"), "time zone"),
        (("jobs", "retry", "--kind", "nope"), "known: mail"),
        (("queues", "pause", "nope"), "known: default"),
        (("queues", "resume", "nope", "--kind"), "known: mail"),
    ):
        code, out, err = shop(*arguments)
        assert (code, out) == (2, ""), arguments
        assert told in err, arguments


def test_a_job_that_is_not_there_exits_with_3(shop: Shop) -> None:
    code, out, err = shop("jobs", "show", "999")
    assert (code, out) == (3, "")
    assert "There is no job 999" in err


def test_queues_and_kinds_are_paused_resumed_and_listed(shop: Shop) -> None:
    shop.put()
    shop.put("lease", queue="syncs")
    assert shop("queues", "pause", "default", "--by", "ops")[1] == (
        "Queue default is paused by ops. Resume it with: tidemill queues resume default\n"
    )
    assert shop.json("queues", "pause", "mail", "--kind", "--by", "ops") == {"name": "mail", "paused_by": "ops"}
    heading, default, syncs, kind = shop("queues", "list")[1].splitlines()
    shown = dict(zip(heading.split("\t"), default.split("\t"), strict=True))
    assert (shown["queue"], shown["ready"], shown["running"], shown["paused by"]) == ("default", "1", "0", "ops")
    assert syncs.split("\t")[:3] == ["syncs", "0", "-"]
    assert kind.startswith("Kind mail is paused by ops since ")
    assert shop("queues", "resume", "default")[:2] == (0, "Queue default is open.\n")
    assert shop.json("queues", "resume", "mail", "--kind") == {"name": "mail", "paused_by": None}
    listed = shop.json("queues", "list")
    assert [q["paused_by"] for q in listed["queues"]] == [None, None]
    assert listed["paused_kinds"] == []
