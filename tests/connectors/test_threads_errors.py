"""The provider's error table, each row with each way of using the HTTP status."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from tests.connectors.support import APP, context, everything_said, failing, insights, post_ids
from tidemill.connectors import ErrorKind, HttpClient, ProviderError, Redactor
from tidemill.connectors.threads.errors import ThreadsDialect
from tidemill.simulators.threads import Fault, ThreadsSimulator

K = ErrorKind
FATAL_ROWS = [
    (190, None, K.TOKEN_INVALID, None),
    (102, None, K.TOKEN_INVALID, None),
    (190, 463, K.TOKEN_INVALID, None),
    (190, 467, K.TOKEN_INVALID, None),
    (190, 458, K.TOKEN_INVALID, None),
    (190, 460, K.TOKEN_INVALID, None),
    (190, 492, K.TOKEN_INVALID, None),
    (190, 459, K.USER_ACTION, None),
    (190, 464, K.USER_ACTION, None),
    (10, None, K.PERMISSION, None),
    (3, None, K.PERMISSION, None),
    (200, None, K.PERMISSION, None),
    (299, None, K.PERMISSION, None),
    (4, None, K.RATE_LIMITED, "app"),
    (341, None, K.RATE_LIMITED, "app"),
    (17, None, K.RATE_LIMITED, "account"),
    (32, None, K.RATE_LIMITED, "account"),
    (613, None, K.RATE_LIMITED, "account"),
    (80000, None, K.RATE_LIMITED, "account"),
    (80002, None, K.RATE_LIMITED, "account"),
    (80014, None, K.RATE_LIMITED, "account"),
]
POST_ROWS = [
    (1, None, K.PERMANENT),
    (2, None, K.TRANSIENT),
    (24, None, K.INVALID_REQUEST),
    (24, 4279009, K.INVALID_REQUEST),
    (100, None, K.INVALID_REQUEST),
    (100, 33, K.GONE),
    (368, None, K.PERMANENT),
    (506, None, K.PERMANENT),
]
STATUSES = ["documented", "all_400", "all_403", "all_429", "all_500"]


@pytest.mark.parametrize("status", STATUSES)
async def test_an_error_of_the_account_ends_the_stream_with_its_kind(
    sim: ThreadsSimulator, http: HttpClient, status: str
) -> None:
    sim.turn(status=status)
    ids = post_ids(sim, 4)
    for account, (code, subcode, kind, scope) in enumerate(FATAL_ROWS):
        for transient in (None, False) if kind is not K.RATE_LIMITED else (None, False, True):
            sim.faults.clear()
            sim.faults.add([failing(code, subcode, post=ids[2], is_transient=transient)])
            ctx = context(sim, http)
            gate_name = (
                f"{code}.{subcode}.{account}.{transient}"  # a scope of its own, so that no pause outlives its row
            )
            ctx = replace(ctx, scopes=ctx.scopes._replace(app=f"app {gate_name}", account=f"account {gate_name}"))
            batches, error = await insights(sim, ctx, ids, calls_per_account=1)
            assert isinstance(error, ProviderError)
            assert (error.kind, error.code, error.subcode, error.scope) == (kind, code, subcode, scope), code
            assert [record.post_id for batch in batches for record in batch.records] == ids[:2]
            assert (error.retry_after is not None) == (kind is K.RATE_LIMITED)
            assert ctx.token.reveal() not in everything_said(error)


@pytest.mark.parametrize("status", STATUSES)
async def test_an_error_of_one_post_is_a_miss_and_the_others_are_read(
    sim: ThreadsSimulator, http: HttpClient, status: str
) -> None:
    sim.turn(status=status)
    ids = post_ids(sim, 5)
    for code, subcode, kind in POST_ROWS:
        if kind is K.PERMANENT and code in (368, 506) and status == "all_500":
            kind = K.TRANSIENT  # of a code without a meaning of its own, the status is all that is known
        sim.faults.clear()
        sim.faults.add([failing(code, subcode, post=ids[2])])
        batches, error = await insights(sim, context(sim, http), ids)
        assert error is None
        [batch] = batches
        assert {record.post_id for record in batch.records} == {*ids} - {ids[2]}
        assert [(miss.entity, miss.error.kind, miss.error.code) for miss in batch.misses] == [(ids[2], kind, code)]
        assert list(batch.deletes) == ([ids[2]] if kind is K.GONE else [])


async def test_is_transient_makes_any_other_error_transient(sim: ThreadsSimulator, http: HttpClient) -> None:
    [post] = post_ids(sim, 1)
    for code in (1, 100, 190, 10, 999):
        sim.faults.clear()
        sim.faults.add([failing(code, post=post, is_transient=True)])
        batches, error = await insights(sim, context(sim, http), [post])
        assert error is None
        assert batches[0].misses[0].error.kind is K.TRANSIENT
        assert sim.faults.report()[0]["fired"] == 3


async def test_an_error_that_passes_is_never_seen(sim: ThreadsSimulator, http: HttpClient) -> None:
    ids = post_ids(sim, 3)
    sim.faults.add(
        [failing(1, post=ids[0], times=2), Fault(endpoint="post_insights", post=ids[1], kind="reset", times=1)]
    )
    ctx = context(sim, http)
    batches, error = await insights(sim, ctx, ids)
    assert error is None
    assert len(batches[0].records) == 3
    assert not batches[0].misses
    assert ctx.tally.retries >= 2


async def test_a_bad_request_is_not_tried_again(sim: ThreadsSimulator, http: HttpClient) -> None:
    [post] = post_ids(sim, 1)
    sim.faults.add([failing(100, post=post)])
    await insights(sim, context(sim, http), [post])
    assert sim.faults.report()[0]["fired"] == 1


@pytest.mark.parametrize(("code", "others_stop"), [(17, False), (4, True)])
async def test_a_throttled_account_stops_alone_and_a_throttled_app_stops_all(
    sim: ThreadsSimulator, http: HttpClient, code: int, others_stop: bool
) -> None:
    sim.faults.add([failing(code, user=sim.accounts[0].id)])
    await insights(sim, context(sim, http), post_ids(sim, 1))
    before = sim.calls.of("post_insights")
    _, again = await insights(sim, context(sim, http), post_ids(sim, 1))
    assert isinstance(again, ProviderError)
    assert (again.kind, again.status) == (K.RATE_LIMITED, None)
    assert again.retry_after is not None
    assert sim.calls.of("post_insights") == before
    _, other = await insights(sim, context(sim, http, account=1), post_ids(sim, 1, account=1))
    assert (other is not None) == others_stop


def classify(body: object, status: int = 400) -> ProviderError:
    raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
    return ThreadsDialect().failure(status, raw, Redactor())


@pytest.mark.parametrize("status", [200, 400, 401, 403, 500])
def test_the_flat_envelope_holds_a_status_and_no_code(status: int) -> None:
    flat = {"error_type": "OAuthException", "code": 400, "error_message": "Matching code was not found"}
    error = classify(flat, status)
    assert (error.kind, error.code) == (K.INVALID_REQUEST, None)
    assert classify({**flat, "code": 503}, status).kind is K.TRANSIENT
    assert classify({**flat, "code": 190}, status).kind is not K.TOKEN_INVALID


def test_an_oauth_exception_without_a_code_is_about_the_token() -> None:
    assert classify({"error": {"type": "OAuthException", "message": "m"}}).kind is K.TOKEN_INVALID


def test_codes_may_come_as_text_and_an_error_may_come_with_status_200() -> None:
    error = classify({"error": {"code": "190", "error_subcode": "463"}}, 200)
    assert (error.kind, error.code, error.subcode) == (K.TOKEN_INVALID, 190, 463)


@pytest.mark.parametrize(
    ("body", "status", "kind"),
    [
        (b"<html>", 502, K.TRANSIENT),
        (b"<html>", 403, K.TRANSIENT),
        (b"", 200, K.TRANSIENT),
        (b'{"data":[', 200, K.TRANSIENT),
        (b'"\xff"', 200, K.TRANSIENT),
        (b"slow down", 429, K.RATE_LIMITED),
        (b"[]", 200, K.TRANSIENT),
        (b"[]", 404, K.PERMANENT),
        (b'{"error":null}', 500, K.TRANSIENT),
        (b'{"error":"text"}', 400, K.PERMANENT),
        (b'{"error":{"code":{},"message":[1]}}', 400, K.PERMANENT),
        (b'{"error":{"code":1e400}}', 400, K.TRANSIENT),
        (b'{"error":{"code":true}}', 503, K.TRANSIENT),
        (b"null", 302, K.TRANSIENT),
    ],
)
def test_where_the_body_says_nothing_the_status_decides(body: bytes, status: int, kind: ErrorKind) -> None:
    assert classify(body, status).kind is kind


def test_what_is_kept_of_an_answer_is_small_and_says_no_secret() -> None:
    token = "THQVJX" + "x" * 60
    body = {
        "error": {"code": 190, "message": f"Malformed access token {token}", "error_user_msg": "y" * 9000},
        "paging": {"next": f"https://host/?access_token={token}"},
        "debug": [{"access_token": token, "url": f"https://host/a?x=1&access_token={token}&y=2"}] * 50,
    }
    error = classify(body)
    assert token not in everything_said(error)
    assert len(msgspec.json.encode(error.response)) <= 2048
    assert error.code == 190


async def test_usage_headers_slow_an_account_down_and_pause_it_when_full(
    sim: ThreadsSimulator, http: HttpClient
) -> None:
    for header in ("app", "business", "both"):
        sim.turn(usage_header=header, usage_header_from=50, budget=1000)
        name = f"account {header}"
        ctx = context(sim, http)
        ctx = replace(ctx, scopes=ctx.scopes._replace(account=name))
        sim.state.limits.set_used(sim.accounts[0].id, sim.clock.now(), 949)
        await insights(sim, ctx, post_ids(sim, 1))
        assert await http.gate.before_call(ctx.scopes) == pytest.approx(0.75, abs=0.06)
        sim.state.limits.set_used(sim.accounts[0].id, sim.clock.now(), 1000)
        _, error = await insights(sim, ctx, post_ids(sim, 1))
        assert isinstance(error, ProviderError)
        assert error.kind is K.RATE_LIMITED
        with pytest.raises(ProviderError):
            await http.gate.before_call(ctx.scopes)
        other = context(sim, http, account=1)
        assert await http.gate.before_call(other.scopes) == 0
        assert other.scopes.app == f"threads:app:{APP}"


@pytest.mark.parametrize(
    "text", ["", "garbage", "[]", "{}", '{"1":[]}', '{"call_count":"x"}', '{"a":[{"b":1}, 3]}', "\xff"]
)
def test_a_usage_header_that_cannot_be_read_is_no_hint(text: str) -> None:
    assert ThreadsDialect().usage({"X-App-Usage": text}) is None
