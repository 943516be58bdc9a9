from __future__ import annotations

import time

from tidemill.connectors import Context, HttpClient, Limits, Scopes, Tally, Window
from tidemill.connectors.threads import ThreadsConnector
from tidemill.simulators.threads import ThreadsSimulator
from tidemill.vault import Secret


async def test_a_call_whose_connection_breaks_is_repeated_by_us_alone_and_every_arrival_is_counted() -> None:
    broken = {"endpoint": "post_insights", "call": [3, 4], "kind": "reset"}
    async with (
        ThreadsSimulator(seed=1, accounts=1, posts=8, faults=[broken]) as sim,
        await HttpClient.open(limits=Limits(backoff_s=0.005)) as http,
    ):
        [account] = sim.accounts
        tally, connector = Tally(), ThreadsConnector(sim.url, calls_per_account=1)
        now = sim.clock.now()
        ctx = Context(
            http=http,
            token=Secret(sim.issue_token(account).text),
            scopes=Scopes.of("threads", sim.app_id, account.id),
            clock=lambda: now,
            deadline=time.monotonic() + 60,
            log=None,
            tally=tally,
        )
        posts = [post.id async for batch in connector.read(ctx, "posts", None, Window()) for post in batch.records]
        read = [r async for b in connector.read(ctx, "post_insights", None, Window(entities=posts)) for r in b.records]
        assert len(read) == len(posts)
        assert tally.retries == 2
        assert sim.calls.of("post_insights") == len(posts) + 2
        assert sim.calls.of("posts") + sim.calls.of("post_insights") == tally.calls
