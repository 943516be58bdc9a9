from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from tests.engine.support import IMPATIENT
from tidemill.engine import NewJob
from tidemill.engine.callers import EnqueueBlocked, enqueue_with_sync
from tidemill.errors import InvalidInput

from .support import CALLERS, INSERT, look, prepare_apart, registry_of

REGISTRY = registry_of("mail")
COUNTS = {
    table: f"select count(*) from {table}"
    for table in ("tidemill.job_ready", "tidemill.job_delayed", "tidemill.unique_key", "public.orders")
}

every_caller = pytest.mark.parametrize("opened", CALLERS.values(), ids=CALLERS.keys())


@every_caller
def test_a_job_is_there_once_the_callers_data_is_committed(database_url: str, opened: Callable[[str], Any]) -> None:
    prepare_apart(database_url, REGISTRY)
    at = datetime(2040, 1, 2, 3, 4, 5, 678901, UTC)
    with opened(database_url) as caller:
        caller.run(INSERT)
        jobs = [NewJob(kind="mail", args={"100%": ":p1 $1 %s"}), NewJob(kind="mail", at=at)]
        [job_id, later] = enqueue_with_sync(caller.conn, jobs, REGISTRY)
        assert look(database_url, COUNTS["tidemill.job_ready"]) == 0
        caller.commit()
    assert look(database_url, "select id from tidemill.job_ready") == job_id
    assert look(database_url, "select args from tidemill.job_ready") == {"100%": ":p1 $1 %s"}
    assert look(database_url, "select id from tidemill.job_delayed") == later
    assert look(database_url, "select run_at from tidemill.job_delayed") - at == timedelta(0)
    assert look(database_url, COUNTS["public.orders"]) == 1


@every_caller
def test_nothing_is_left_when_the_caller_rolls_back(database_url: str, opened: Callable[[str], Any]) -> None:
    prepare_apart(database_url, REGISTRY)
    with opened(database_url) as caller:
        caller.run(INSERT)
        enqueue_with_sync(caller.conn, [NewJob(kind="mail", key="k"), NewJob(kind="mail", delay=60.0)], REGISTRY)
        caller.rollback()
    assert {table: look(database_url, sql) for table, sql in COUNTS.items()} == dict.fromkeys(COUNTS, 0)


@every_caller
def test_several_jobs_get_their_ids_in_order_and_a_held_key_none(
    database_url: str, opened: Callable[[str], Any]
) -> None:
    prepare_apart(database_url, REGISTRY)
    with opened(database_url) as caller:
        jobs = [NewJob(kind="mail", key=key) for key in ["a", "b", "a", None]]
        ids = enqueue_with_sync(caller.conn, jobs, REGISTRY)
        caller.commit()
    assert [n is None for n in ids] == [False, False, True, False]
    assert look(database_url, "select array_agg(id order by id) from tidemill.job_ready") == [n for n in ids if n]


@every_caller
def test_what_only_the_database_can_tell_is_named_through_every_library(
    database_url: str, opened: Callable[[str], Any]
) -> None:
    with opened(database_url) as caller:
        with pytest.raises(InvalidInput, match=r"no application has declared.*'mail'.*start a worker") as refused:
            enqueue_with_sync(caller.conn, [NewJob(kind="mail")], REGISTRY)
        assert refused.value.field == "kind"
        caller.rollback()


@every_caller
def test_the_wait_for_a_key_that_another_transaction_is_taking_has_an_end(
    database_url: str, opened: Callable[[str], Any]
) -> None:
    prepare_apart(database_url, REGISTRY)
    job = NewJob(kind="mail", key="k")
    with psycopg.connect(database_url, autocommit=True) as first:
        first.execute(IMPATIENT)
        with first.transaction(), opened(database_url) as second:
            enqueue_with_sync(first, [job], REGISTRY)
            with pytest.raises(EnqueueBlocked):
                enqueue_with_sync(second.conn, [job], REGISTRY)
            second.rollback()


def test_a_savepoint_that_is_rolled_back_takes_its_jobs_along(database_url: str) -> None:
    prepare_apart(database_url, REGISTRY)
    with psycopg.connect(database_url) as conn:
        with conn.transaction(force_rollback=True):
            enqueue_with_sync(conn, [NewJob(kind="mail", key="k")], REGISTRY)
        [kept] = enqueue_with_sync(conn, [NewJob(kind="mail", key="k")], REGISTRY)
    assert look(database_url, "select id from tidemill.job_ready") == kept
