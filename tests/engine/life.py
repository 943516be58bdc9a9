"""The state machine: steps in the life of jobs, taken by the product's own functions on a real database."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable
from datetime import timedelta
from typing import Any, TypeVar
from uuid import UUID

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec.structs import replace

from tests.engine.against_model import compare, content_of
from tests.engine.by_hand import claim, engine_of, idle_kind, let_die, new_node
from tests.engine.model import Group, Life, Model
from tidemill.engine import Context, Job, NewJob, close_batch, seal_batch
from tidemill.engine.cancel import cancel_jobs, cancel_matching, heed_cancels
from tidemill.engine.dead import discard_dead, retry_dead
from tidemill.engine.finish import End, Ending, finish_all, finish_done, is_plain
from tidemill.engine.housekeeping import keep_house
from tidemill.engine.look import JobFilter
from tidemill.engine.node import Node
from tidemill.engine.queues import pause_kind, pause_queue, resume_kind, resume_queue
from tidemill.engine.rescue import end_overdue_batch, rescue_orphans
from tidemill.errors import LeaseLost
from tidemill.postgres import Database

T = TypeVar("T")

TENANTS = [None, UUID(int=1), UUID(int=2)]
KINDS = {"mail": "default", "bill": "money", "close": "default"}
MAX_ATTEMPTS = 3
UNIT_S = 10_000.0
"""Of the virtual clock. Delays are odd halves of it and it moves on by whole ones, so real seconds change nothing."""
OUTCOMES = ["done", "partial", "skipped", "cancelled", "failed", "retry", "snooze", "release"]
TABLES = "job_ready, job_delayed, job_lease, job_dead, job_run, job_cancel, unique_key, batch, node"

picks = st.integers(0, 10**6)
queues = st.sampled_from(["default", "money"])
keys = st.sampled_from([None, None, "a", "b"])
delays = st.sampled_from([None, None, 0.5 * UNIT_S, 1.5 * UNIT_S])
new_jobs = st.tuples(st.sampled_from(["mail", "bill"]), keys, delays, st.sampled_from(TENANTS), st.integers(-3, 3))


class JobLife(RuleBasedStateMachine):
    """Drives the product's own functions; :class:`Model` says what each must come to."""

    def __init__(self, db: Database, runner: asyncio.Runner, met: set[str]) -> None:
        super().__init__()
        self.met = met
        self.db = db
        self.runner = runner
        self.model = Model()
        self.engine = engine_of(db, *(idle_kind(name, queue=q, max_attempts=MAX_ATTEMPTS) for name, q in KINDS.items()))
        self.nodes: dict[int, Node] = {}
        self.former: list[Job] = []
        """Leases that are over: whoever still believes in one must write nothing."""
        self.ranks: dict[int, int] = {}
        self.run(self._begin())

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    async def _begin(self) -> None:
        await self.db.execute(f"truncate {', '.join('tidemill.' + t for t in TABLES.split(', '))}")
        await self.db.execute("update tidemill.queue set paused_at = null; update tidemill.kind set paused_at = null")
        await self.db.execute("select tidemill.reset_clock()")
        await self.engine.names.learn(self.db, KINDS, set(KINDS.values()))

    # Enqueueing ------------------------------------------------------------------------------------------------------

    @initialize(jobs=st.lists(new_jobs, min_size=2, max_size=6))
    def open_shop(self, jobs: list[Any]) -> None:
        self.join()
        self.join()
        self.open_batch(None)
        self.enqueue(jobs, 0, True)

    @precondition(lambda self: len(self.model.of("ready", "delayed")) < 8)
    @rule(jobs=st.lists(new_jobs, min_size=1, max_size=4), pick=picks, grouped=st.booleans())
    def enqueue(self, jobs: list[Any], pick: int, grouped: bool) -> None:
        batches = [b.id for b in self.model.batches.values() if b.state == "open"]
        batch = batches[pick % len(batches)] if grouped and batches else None
        new = [
            NewJob(kind=kind, key=key, delay=delay, tenant=tenant, priority=priority, batch=batch)
            for kind, key, delay, tenant, priority in jobs
        ]
        ids = self.run(self.engine.enqueue_many(new))
        for job, job_id in zip(new, ids, strict=True):
            held = self.model.holder_of(job.kind, job.key)
            assert (job_id is None) == (held is not None)
            if job_id is not None:
                life = Life(job_id, job.kind, KINDS[job.kind], job.key, job.tenant, batch, MAX_ATTEMPTS)
                self.model.add(life, due_s=None if job.delay is None else self.model.now_s + job.delay)

    def open_batch(self, units: int | None) -> None:
        # No two deadlines are the same: the one that passes first is ended first.
        within = None if units is None else (units - 0.5) * UNIT_S + len(self.model.batches)

        async def work() -> UUID:
            async with self.db.transaction() as conn:
                now = await conn.fetchval("select tidemill.now()")
                deadline = None if within is None else now + timedelta(seconds=within)
                return await self.engine.open_batch(conn, on_close="close", args={}, deadline=deadline)

        batch = self.run(work())
        self.model.batches[batch] = Group(batch, None if within is None else self.model.now_s + within)

    def seal(self, pick: int) -> None:
        groups = [b for b in self.model.batches.values() if b.total]
        group = groups[pick % len(groups)]

        async def work() -> bool:
            async with self.db.transaction() as conn:
                return await seal_batch(conn, group.id)

        assert self.run(work()) == (group.state == "open")
        self.model.seal(group.id)

    # Nodes -----------------------------------------------------------------------------------------------------------

    def join(self) -> None:
        node = self.run(new_node(self.db))
        self.nodes[node.id] = node
        self.model.alive.add(node.id)

    @precondition(lambda self: self.model.of("lease"))
    @rule(pick=picks)
    def die(self, pick: int) -> None:
        """The holder of a job dies; most often that is noticed at once."""
        job = self._pick(pick, "lease")
        assert job.lease is not None
        self.run(let_die(self.db, job.lease.node))
        self.model.alive.discard(job.lease.node)
        if pick % 4:
            self.rescue()

    def leave(self, pick: int) -> None:
        node = self.nodes[sorted(self.model.alive)[pick % len(self.model.alive)]]
        self.run(node.leave())
        if not any(j.lease and j.lease.node == node.id for j in self.model.of("lease")):
            self.model.alive.discard(node.id)
            del self.nodes[node.id]

    def beat(self, pick: int) -> None:
        node = self._node(pick)
        orphans, asked = bool(self.model.orphans()), bool(self.model.asked)
        beat = self.run(node.beat())
        node.close()
        assert beat.alive == (node.id in self.model.alive)
        assert (beat.orphans, beat.cancels) == (orphans, asked)
        assert beat.promoted == self.model.promote()

    def rescue(self) -> None:
        self._forget_leases(self.model.orphans())
        assert self.run(rescue_orphans(self.engine, self.db)) == self.model.rescue()

    def keep_house(self) -> None:
        self.run(keep_house(self.db))
        leased = {j.lease.node for j in self.model.of("lease") if j.lease}
        self.nodes = {i: node for i, node in self.nodes.items() if i in self.model.alive or i in leased}

    def let_time_pass(self, units: int) -> None:
        self.run(self.db.execute("select tidemill.advance_clock(make_interval(secs => $1))", units * UNIT_S))
        self.model.now_s += units * UNIT_S

    # Attempts --------------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.nodes and self.model.of("ready"))
    @rule(pick=picks, queue=queues, most=st.sampled_from([1, 2, 500, 500]))
    def claim(self, pick: int, queue: str, most: int) -> None:
        node = self._node(pick)
        free = self.model.claimable(queue) if node.id in self.model.alive else []
        got = self.run(claim(self.engine, node.id, queue, most=most))
        assert len(got) <= most
        assert {job.id for job in got} <= {job.id for job in free}
        if most == 500:
            assert len(got) == len(free)
        for lane in TENANTS:
            inside = sorted((self.ranks[j.id], j.id) for j in free if j.tenant == lane)
            taken = {job.id for job in got} & {i for _, i in inside}
            assert taken == {i for _, i in inside[: len(taken)]}, "a lane was not taken in order"
        self.model.claim(got)

    @precondition(lambda self: self.model.of("lease"))
    @rule(pick=picks, outcome=st.sampled_from(OUTCOMES), result=st.booleans())
    def finish(self, pick: int, outcome: End, result: bool) -> None:
        job = self._pick(pick, "lease")
        assert job.lease is not None
        if outcome == "retry" and job.attempt >= MAX_ATTEMPTS:
            outcome = "dead"
        if job.closes is not None and pick % 3:
            outcome = "done"
        if job.closes is not None and outcome == "done" and job.lease.node in self.model.alive:
            assert self.run(self._close(job)) == (self.model.batches[job.closes].state == "closing")
            self.model.batches[job.closes].state = "closed"
        ending = Ending(job.lease, outcome, result={"n": 1} if result else None, delay=0.5 * UNIT_S)
        assert self.run(self._write(ending)) == {job.id}
        self._forget_leases([job])
        self.model.end(job, outcome, delay_s=0.5 * UNIT_S)

    async def _write(self, ending: Ending) -> set[int]:
        if is_plain(ending):
            return await finish_done(self.db, [ending])
        return await finish_all(self.db, self.engine.registry, [ending])

    async def _close(self, job: Life) -> bool:
        assert job.lease is not None
        assert job.closes is not None
        async with Context(job.lease, self.engine, deadline=0).transaction() as conn:
            return await close_batch(conn, job.closes) is not None

    @precondition(lambda self: self.model.alive and self.model.of("ready"))
    @rule(
        pick=picks,
        outcomes=st.lists(st.sampled_from([*OUTCOMES, "retry", "die", "die", "die"]), min_size=1, max_size=3),
    )
    def work(self, pick: int, outcomes: list[Any]) -> None:
        """A node claims what there is and gets through some of it."""
        for queue in ("default", "money"):
            self.claim(pick, queue, 500)
        for outcome in outcomes:
            if not self.model.of("lease"):
                return
            if outcome == "die":
                self.die(pick | 1)
            else:
                self.finish(pick, outcome, bool(pick % 2))

    @precondition(lambda self: self.model.alive and self.model.of("ready"))
    @rule(pick=picks, whole_queue=st.booleans())
    def claim_beside_a_pause(self, pick: int, whole_queue: bool) -> None:
        job = self._pick(pick, "ready")
        name = f"queue:{job.queue}" if whole_queue else f"kind:{job.kind}"
        self.pause_or_resume(name, pause=True)
        self.claim(pick, job.queue, 500)
        self.pause_or_resume(name, pause=False)

    @precondition(lambda self: self.former or self.model.of("lease"))
    @rule(pick=picks, outcome=st.sampled_from(OUTCOMES), forged=st.sampled_from(["token", "node", "over"]))
    def finish_what_is_not_ours(self, pick: int, outcome: End, forged: str) -> None:
        leases = [j.lease for j in self.model.of("lease") if j.lease]
        if forged == "over" or not leases:
            leases, forged = self.former, "over"
        if not leases:
            return
        lease = leases[pick % len(leases)]
        if forged == "token":
            lease = replace(lease, token=lease.token - 1)
        elif forged == "node":
            lease = replace(lease, node=lease.node + 1)
        assert self.run(self._write(Ending(lease, outcome))) == set()
        with pytest.raises(LeaseLost):
            self.run(self._fenced(lease))

    def write_for_a_run(self, pick: int) -> None:
        job = self._pick(pick, "lease")
        assert job.lease is not None
        if job.lease.node in self.model.alive:
            self.run(self._fenced(job.lease))
        else:
            with pytest.raises(LeaseLost):
                self.run(self._fenced(job.lease))

    async def _fenced(self, lease: Job) -> None:
        async with Context(lease, self.engine, deadline=0).transaction():
            pass

    def end_overdue(self, pick: int) -> None:
        node = self._node(pick)
        leases = {j.id: j.lease for j in self.model.of("lease")}
        assert self.run(end_overdue_batch(self.engine, self.db, node.id)) == self.model.end_overdue()
        self.former += [lease for i, lease in leases.items() if self.model.jobs[i].state == "ended"]

    # Operators -------------------------------------------------------------------------------------------------------

    def cancel(self, chosen: list[int]) -> None:
        jobs = {j.id: j for j in (self._pick(pick) for pick in chosen)}
        answers = self.run(cancel_jobs(self.engine, list(jobs), by="ops"))
        assert {i: (a.answer, a.outcome) for i, a in answers.items()} == self.model.cancel(jobs.values())

    def cancel_kind(self, kind: str) -> None:
        done = self.run(cancel_matching(self.engine, JobFilter(kind=kind), by="ops"))
        live = [job for job in self.model.jobs.values() if job.kind == kind and job.lives]
        told = Counter(answer for answer, _ in self.model.cancel(live).values())
        assert (done.cancelled, done.asked) == (told["cancelled"], told["asked"])

    def heed(self, pick: int) -> None:
        node = self._node(pick)
        stops = self.run(heed_cancels(self.engine, self.db, node.id))
        self.model.heed()
        held = [j for j in self.model.of("lease") if j.id in self.model.asked and j.lease and j.lease.node == node.id]
        assert {(s.job, s.token) for s in stops} == {(j.id, j.lease.token) for j in held if j.lease}

    def retry(self, chosen: list[int], dead: bool) -> None:
        states = ("job_dead",) if dead else ()
        jobs = {j.id: j for j in (self._pick(pick, *states) for pick in chosen)}
        answers = self.run(retry_dead(self.db, list(jobs)))
        assert answers == {i: self.model.retry(job) for i, job in sorted(jobs.items())}

    def discard(self, pick: int) -> None:
        job = self._pick(pick, "job_dead")
        assert self.run(discard_dead(self.db, [job.id])) == {job.id}
        job.state = "ended"

    def pause_or_resume(self, name: str, *, pause: bool) -> None:
        name = name.rpartition(":")[2]
        is_kind = name in KINDS
        if pause:
            self.run((pause_kind if is_kind else pause_queue)(self.db, name, by="ops"))
        else:
            self.run((resume_kind if is_kind else resume_queue)(self.db, name))
        mark = f"{'kind' if is_kind else 'queue'}:{name}"
        (self.model.paused.add if pause else self.model.paused.discard)(mark)

    # What holds ------------------------------------------------------------------------------------------------------

    @invariant()
    def the_database_is_as_the_model_says(self) -> None:
        self.run(self._compare())

    async def _compare(self) -> None:
        content = await content_of(self.db)
        self._meet_closing_jobs(content)
        await compare(self.db, self.model, content)
        assert {r["id"] for r in await self.db.fetch("select id from tidemill.node")} == set(self.nodes)
        self.ranks = {r["id"]: r["rank"] for r in content}
        self.met |= {outcome for job in self.model.jobs.values() for _, _, outcome in job.history}
        self.met |= {"poison" for job in self.model.of("job_dead") if job.crashes}
        self.met |= {batch.state for batch in self.model.batches.values()}

    def _meet_closing_jobs(self, content: list[Any]) -> None:
        for row in content:
            if row["id"] not in self.model.jobs:
                batch = UUID(row["args"]["batch"])
                assert self.model.batches[batch].state == "closing"
                self.model.jobs[row["id"]] = Life(row["id"], "close", "default", None, None, None, 100, closes=batch)

    # Rarer steps, in groups, so that a run of steps does not lose itself in them -------------------------------------

    @rule(pick=picks)
    def of_nodes(self, pick: int) -> None:
        self._one_of(
            pick,
            (len(self.model.alive) < 2, self.join),
            (len(self.model.alive) > 1, lambda: self.leave(pick)),
            (bool(self.model.orphans()), self.rescue),
            (len(self.nodes) > len(self.model.alive), self.keep_house),
            (bool(self.nodes and self.model.asked), lambda: self.heed(pick)),
            (bool(self.model.of("lease")), lambda: self.write_for_a_run(pick)),
        )

    @rule(pick=picks)
    def of_time(self, pick: int) -> None:
        self.let_time_pass(1 + pick % 2)
        if self.nodes:
            self.beat(pick)
            self._one_of(pick, (True, lambda: self.end_overdue(pick)), (True, lambda: None))

    @rule(pick=picks)
    def of_batches(self, pick: int) -> None:
        groups = self.model.batches.values()
        self._one_of(
            pick,
            (sum(b.state == "open" for b in groups) < 2, lambda: self.open_batch((None, 1, 2)[pick % 3])),
            (any(b.state == "open" and b.total for b in groups), lambda: self.seal(pick)),
        )

    @rule(pick=picks, chosen=st.lists(picks, min_size=1, max_size=3))
    def of_operators(self, pick: int, chosen: list[int]) -> None:
        name = ("default", "money", "mail", "bill")[pick % 4]
        self._one_of(
            pick,
            (len(self.model.of("ready", "delayed", "lease")) > 1, lambda: self.cancel(chosen)),
            (len(self.model.of("ready", "delayed", "lease")) > 4, lambda: self.cancel_kind(("mail", "bill")[pick % 2])),
            (bool(self.model.of("job_dead")), lambda: self.retry(chosen, dead=True)),
            (bool(self.model.of("job_dead")), lambda: self.retry(chosen, dead=False)),
            (bool(self.model.of("job_dead")), lambda: self.discard(pick)),
            (not self.model.paused, lambda: self.pause_or_resume(name, pause=True)),
            (bool(self.model.paused), lambda: self.pause_or_resume(sorted(self.model.paused)[0], pause=False)),
        )

    def _one_of(self, pick: int, *steps: tuple[bool, Callable[[], object]]) -> None:
        """Take one of those steps that can be taken now."""
        if possible := [step for can, step in steps if can]:
            possible[pick // 7 % len(possible)]()

    # Choosing --------------------------------------------------------------------------------------------------------

    def _node(self, pick: int) -> Node:
        return list(self.nodes.values())[pick % len(self.nodes)]

    def _pick(self, pick: int, *states: str) -> Life:
        jobs = self.model.of(*states) if states else list(self.model.jobs.values())
        return jobs[pick % len(jobs)]

    def _forget_leases(self, jobs: Iterable[Life]) -> None:
        self.former += [job.lease for job in jobs if job.lease]
