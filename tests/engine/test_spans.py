"""What OpenTelemetry is told of a job, from its enqueue to its last attempt."""

from __future__ import annotations

import ast
import asyncio
import contextvars
import itertools
import subprocess
import sys
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, StatusCode, TraceFlags

from tests.cli.support import environ
from tidemill import Fail, Settings, Skip, Snooze, Tidemill
from tidemill.blocking import Client
from tidemill.engine import Context, Engine, Kind, NewJob, Schedule, Schedules
from tidemill.engine.callers import enqueue_with_sync
from tidemill.engine.cancel import cancel_jobs
from tidemill.errors import LeaseLost
from tidemill.postgres import Database

from .api_app import SOON
from .support import PATIENCE, quiet, until, working
from .test_api_docs import blocks
from .test_api_jobs import results, running
from .traced_app import in_process, in_thread, whereabouts

tracer = trace.get_tracer("tests")


class Spans(InMemorySpanExporter):
    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.get_finished_spans() if span.name == name]

    def one(self, name: str) -> ReadableSpan:
        [span] = self.named(name)
        return span


@pytest.fixture(scope="module")
def exporter() -> Spans:
    exporter = Spans()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)  # for the life of the process, as in an application
    return exporter


@pytest.fixture
def spans(exporter: Spans) -> Iterator[Spans]:
    exporter.clear()
    yield exporter
    exporter.clear()


def attributes(span: ReadableSpan, prefix: str = "messaging.") -> dict[str, Any]:
    found = dict(span.attributes or {})
    return {name.removeprefix(prefix): value for name, value in found.items() if name.startswith(prefix)}


async def nothing(ctx: Context, args: dict[str, Any]) -> None: ...


MAIL = Kind("mail", nothing, queue="post")


async def test_a_run_is_a_child_of_the_enqueue_and_links_to_it(db: Database, spans: Spans) -> None:
    async with working(db, MAIL) as (engine, _):
        with tracer.start_as_current_span("request") as request:
            job = await engine.enqueue("mail")
        await quiet(db)
    sent, ran = spans.one("enqueue mail"), spans.one("run mail")
    assert sent.context is not None
    assert ran.context is not None
    assert (sent.kind, ran.kind) == (SpanKind.PRODUCER, SpanKind.CONSUMER)
    assert sent.parent == request.get_span_context()
    assert ran.parent is not None
    assert ran.parent.span_id == sent.context.span_id
    assert [link.context.span_id for link in ran.links] == [sent.context.span_id]
    assert {s.context.trace_id for s in spans.get_finished_spans() if s.context} == {ran.context.trace_id}
    told = {"system": "tidemill", "destination.name": "post", "message.id": str(job), "tidemill.kind": "mail"}
    assert attributes(sent) == {**told, "operation.name": "enqueue", "operation.type": "send"}
    assert attributes(ran) == {
        **told,
        "operation.name": "run",
        "operation.type": "process",
        "tidemill.attempt": 1,
        "tidemill.outcome": "done",
    }
    assert ran.status.status_code == StatusCode.UNSET


async def test_a_job_enqueued_outside_of_any_span_has_none_to_belong_to(db: Database, spans: Spans) -> None:
    async with working(db, MAIL) as (engine, _):
        await engine.enqueue("mail")
        await quiet(db)
    ran = spans.one("run mail")
    assert (ran.parent, list(ran.links)) == (None, [])
    assert spans.named("enqueue mail") == []


async def test_a_worker_started_inside_of_a_span_draws_no_job_into_it(db: Database, spans: Spans) -> None:
    with tracer.start_as_current_span("start"):
        async with working(db, MAIL) as (engine, _):
            await asyncio.create_task(engine.enqueue("mail"), context=contextvars.Context())
            await quiet(db)
    assert spans.one("run mail").parent is None


async def test_jobs_of_one_statement_share_one_span_and_keep_what_trace_they_bring(db: Database, spans: Spans) -> None:
    brought = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    async with working(db, MAIL, Kind("call", nothing)) as (engine, _):
        with tracer.start_as_current_span("request"):
            await engine.enqueue_many([NewJob(kind="mail"), NewJob(kind="call"), NewJob(kind="mail", trace=brought)])
        await quiet(db)
    sent = spans.one("enqueue")
    assert attributes(sent)["batch.message_count"] == 3
    assert sent.context is not None
    parents = sorted(s.parent.span_id for s in spans.get_finished_spans() if s.parent and s.name.startswith("run"))
    assert parents == sorted([sent.context.span_id, sent.context.span_id, 0xB7AD6B7169203331])


async def test_every_attempt_is_told_in_the_trace_and_errors_without_their_secrets(db: Database, spans: Spans) -> None:
    async def failing(ctx: Context, args: dict[str, Any]) -> None:
        raise ValueError("GET https://api.example/me?access_token=EAAhush said no")

    kind = Kind("failing", failing, max_attempts=2, backoff=SOON)
    async with working(db, kind) as (engine, _):
        with tracer.start_as_current_span("request") as request:
            await engine.enqueue("failing")
        await quiet(db)
    first, second = spans.named("run failing")
    assert [attributes(s)["tidemill.outcome"] for s in (first, second)] == ["retry", "dead"]
    assert [attributes(s)["tidemill.attempt"] for s in (first, second)] == [1, 2]
    assert first.parent == second.parent
    for span in first, second:
        assert span.context is not None
        assert span.context.trace_id == request.get_span_context().trace_id
        assert span.status.status_code == StatusCode.ERROR
        assert (span.attributes or {})["error.type"] == "ValueError"
        [event] = span.events
        assert event.name == "exception"
        told = dict(event.attributes or {})
        assert told["exception.type"] == "ValueError"
        assert "in failing" in str(told["exception.stacktrace"])
        assert "EAAhush" not in span.to_json()
        assert "said no" in str(span.status.description)


async def _times_out(ctx: Context, args: dict[str, Any]) -> None:
    await asyncio.Event().wait()


async def _loses(ctx: Context, args: dict[str, Any]) -> None:
    raise LeaseLost("somebody else has it")


async def _skips(ctx: Context, args: dict[str, Any]) -> Skip:
    return Skip("nothing to do")


async def _fails(ctx: Context, args: dict[str, Any]) -> Fail:
    return Fail("never will")


async def _snoozes(ctx: Context, args: dict[str, Any]) -> Snooze:
    return Snooze(3600)


@pytest.mark.parametrize(
    ("handler", "outcome", "error"),
    [
        (_skips, "skipped", None),
        (_snoozes, "snooze", None),
        (_fails, "failed", "failed"),
        (_times_out, "dead", "TimeoutError"),
        (_loses, "lease_lost", "LeaseLost"),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)).strip("_"),
)
async def test_a_span_says_how_the_run_ended_and_is_an_error_only_for_failures(
    db: Database, spans: Spans, handler: Any, outcome: str, error: str | None
) -> None:
    async with working(db, Kind("k", handler, max_attempts=1, timeout=0.2)) as (engine, _):
        await engine.enqueue("k")

        async def told() -> bool:
            return bool(spans.named("run k"))

        await until(told, what="a span")
        ran = spans.one("run k")
        await db.execute("delete from tidemill.job_lease")
    assert attributes(ran)["tidemill.outcome"] == outcome
    assert (ran.attributes or {}).get("error.type") == error
    assert ran.status.status_code == (StatusCode.UNSET if error is None else StatusCode.ERROR)


async def test_a_run_that_is_cancelled_is_told_as_stopped(db: Database, spans: Spans) -> None:
    began = asyncio.Event()

    async def long(ctx: Context, args: dict[str, Any]) -> None:
        began.set()
        await asyncio.Event().wait()

    async with working(db, Kind("long", long)) as (engine, _):
        job = await engine.enqueue("long")
        async with asyncio.timeout(PATIENCE):
            await began.wait()
        await cancel_jobs(engine, [job], by="ops")
        await quiet(db)
    ran = spans.one("run long")
    assert attributes(ran)["tidemill.outcome"] == "stopped"
    assert ran.status.status_code == StatusCode.UNSET


async def test_the_closing_job_of_a_batch_and_the_steps_of_a_chain_belong_to_the_request(
    database_url: str, db: Database, spans: Spans
) -> None:
    app = Tidemill(Settings(database_url=database_url, env="test"))
    app.job(name="step")(nothing)
    async with running(app):
        with tracer.start_as_current_span("request") as request:
            await app.chain(app.prepare("step"), app.prepare("step"))
            async with app.batch(on_done="step") as batch:
                batch.add("step")
        await quiet(db)
    ran = [span for span in spans.get_finished_spans() if span.name.startswith("run")]
    assert sorted(span.name for span in ran) == ["run step"] * 4 + ["run tidemill.batch"] * 2
    assert {span.context.trace_id for span in ran if span.context} == {request.get_span_context().trace_id}


async def test_every_fire_of_a_schedule_begins_a_trace_that_its_attempts_share(db: Database, spans: Spans) -> None:
    async def once_more(ctx: Context, args: dict[str, Any]) -> None:
        if ctx.job.attempt == 1:
            raise ValueError("not yet")

    async with working(db, Kind("tidy", once_more, backoff=SOON)) as (engine, _):
        schedules = Schedules(db, engine)
        await schedules.declare(Schedule(name="a", kind="tidy", cron="0 0 1 1 *"))
        await schedules.declare(Schedule(name="b", kind="tidy", cron="0 0 1 1 *"))
        await db.execute("select tidemill.advance_clock(interval '366 days')")
        with tracer.start_as_current_span("whoever ticks"):
            await schedules.tick()
        await quiet(db)
    traces: dict[int, list[str]] = {}
    for span in spans.get_finished_spans():
        assert span.context is not None
        traces.setdefault(span.context.trace_id, []).append(span.name)
    assert sorted(sorted(names) for names in traces.values()) == [
        ["enqueue tidy", "run tidy", "run tidy"],
        ["enqueue tidy", "run tidy", "run tidy"],
        ["whoever ticks"],
    ]


async def test_functions_in_threads_and_child_processes_run_inside_the_span(
    database_url: str, db: Database, spans: Spans
) -> None:
    async def in_loop(ctx: Context) -> dict[str, str]:
        return whereabouts()

    app = Tidemill(Settings(database_url=database_url, env="test"))
    app.job(name="thread")(in_thread)
    app.job(name="process", processes=True)(in_process)
    app.job(name="loop")(in_loop)
    async with running(app):
        names = {await app.enqueue(name): name for name in ("thread", "process", "loop")}
        await quiet(db)
        got = await results(db)
    for job, name in names.items():
        context = spans.one(f"run {name}").context
        assert context is not None
        assert got[job] == {"trace": f"{context.trace_id:032x}", "span": f"{context.span_id:016x}"}


async def test_plain_code_and_foreign_connections_hand_on_the_trace(
    database_url: str, db: Database, spans: Spans
) -> None:
    app = Tidemill(Settings(database_url=database_url, env="test"))
    app.job(name="step")(nothing)

    def enqueue(engine: Engine) -> int:
        with tracer.start_as_current_span("view") as view, Client(app) as client:
            client.enqueue("step")
            with psycopg.connect(database_url) as conn:
                enqueue_with_sync(conn, [NewJob(kind="step")], engine.registry)
        return view.get_span_context().trace_id

    async with running(app):
        traced = await asyncio.to_thread(enqueue, app.rooms.engine)
        await quiet(db)
    assert len(spans.named("enqueue step")) == 2
    assert [s.context.trace_id for s in spans.named("run step") if s.context] == [traced, traced]


async def test_a_trace_that_is_not_sampled_is_not_sampled_in_the_run_either(db: Database, spans: Spans) -> None:
    unsampled = SpanContext(7, 7, is_remote=True, trace_flags=TraceFlags(0))
    async with working(db, MAIL) as (engine, _):
        with trace.use_span(NonRecordingSpan(unsampled)):
            await engine.enqueue("mail")
        await quiet(db)
    assert spans.get_finished_spans() == ()


async def test_an_enqueue_that_is_refused_by_the_database_is_an_error(db: Database, spans: Spans) -> None:
    async with working(db, MAIL) as (engine, _):
        await db.execute("alter table tidemill.job_ready add constraint not_now check (max_attempts <> 7)")
        with tracer.start_as_current_span("request"), pytest.raises(Exception, match="not_now"):
            await engine.enqueue_many([NewJob(kind="mail", max_attempts=7)])
    sent = spans.one("enqueue mail")
    assert sent.status.status_code == StatusCode.ERROR
    assert [event.name for event in sent.events] == ["exception"]


@pytest.mark.parametrize("allowed", [True, False], ids=["allowed", "not allowed"])
async def test_the_tenant_is_told_only_where_that_is_allowed(
    database_url: str, db: Database, spans: Spans, allowed: bool
) -> None:
    tenant = uuid4()
    app = Tidemill(Settings(database_url=database_url, env="test", trace_tenants=allowed))
    app.job(name="step")(nothing)
    async with running(app):
        with tracer.start_as_current_span("request"):
            await app.enqueue("step", tenant=tenant)
        await quiet(db)
    told = str(tenant) in "".join(span.to_json() for span in spans.get_finished_spans())
    assert told == allowed


async def test_the_pages_code_runs_and_shows_what_it_says(database_url: str, db: Database, spans: Spans) -> None:
    declared, enqueueing = blocks("how-to/trace-with-opentelemetry.md")
    names: dict[str, Any] = {"__name__": "shop"}
    exec(declared, names)  # its provider comes second, and is not taken
    names["provider"].shutdown()
    names["app"].settings = Settings(database_url=database_url, env="test")
    await eval(compile(enqueueing, "page", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), names)
    async with running(names["app"]):
        await quiet(db)
    path = ["POST /orders", "enqueue shop.confirm", "run shop.confirm", "render mail"]
    for parent, child in itertools.pairwise(path):
        above, below = spans.one(parent).context, spans.one(child).parent
        assert above is not None
        assert below is not None
        assert (below.trace_id, below.span_id) == (above.trace_id, above.span_id)


UNTRACED = """\
import asyncio, sys
sys.modules["opentelemetry"] = None  # as if it were not installed
from tidemill import Context, Tidemill

app, ran = Tidemill(), asyncio.Event()

@app.job
async def greet(ctx: Context) -> None:
    ran.set()

async def main() -> None:
    async with app, asyncio.timeout(60):
        worker = asyncio.create_task(app.run_worker())
        await app.enqueue(greet)
        await ran.wait()
        worker.cancel()
        await asyncio.wait([worker])

asyncio.run(main())
print(sorted(name for name in sys.modules if name.startswith("opentelemetry.")))
"""


def test_without_opentelemetry_jobs_run_and_nothing_of_it_is_imported(database_url: str) -> None:
    env = environ(TIDEMILL_DATABASE_URL=database_url)
    ran = subprocess.run([sys.executable, "-c", UNTRACED], env=env, check=True, capture_output=True, timeout=120)
    assert ran.stdout.decode().strip() == "[]"
