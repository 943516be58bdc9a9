"""A STATE is handed on with the records before it, never sooner; batches are bounded; versions are kept apart."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from tests.connectors.singer.support import CATALOG, SAY_SCHEMA, SCHEMA, Fake, record, state
from tidemill.connectors import Redactor, Stream
from tidemill.connectors.singer import Bounds
from tidemill.connectors.singer.batcher import Batcher, Cut
from tidemill.connectors.singer.bookmark import has_bookmark

ITEMS = Stream(name="items", key=("id",), never_empty=True)
STREAM = {"stream": "items"}


def cuts(messages: list[dict[str, Any]], *, stream: Stream = ITEMS, good: bool = True, **bounds: Any) -> list[Cut]:
    """What these messages make, the tap having ended well or not."""
    batcher = _batcher(stream, **bounds)
    return [*batcher.take(_lines(messages)), *(batcher.end() if good else batcher.flush())]


def _batcher(stream: Stream = ITEMS, cursor: str | None = None, **bounds: Any) -> Batcher:
    return Batcher(
        stream,
        frozenset({"items"}),
        frozenset({"others"}),
        cursor=cursor,
        may_be_no_news=True,
        bounds=Bounds(**bounds),
        redactor=Redactor(),
        log=structlog.get_logger(),
    )


def _lines(messages: list[dict[str, Any]]) -> Iterator[bytes]:
    schema = {"type": "SCHEMA", **STREAM, "schema": SCHEMA, "key_properties": ["id"]}
    return (json.dumps(message).encode() for message in [schema, *messages])


def row(number: int, **more: Any) -> dict[str, Any]:
    return {"type": "RECORD", **STREAM, "record": {"id": number}, **more}


def told(value: object) -> dict[str, Any]:
    return {"type": "STATE", "value": value}


def activate(version: int) -> dict[str, Any]:
    return {"type": "ACTIVATE_VERSION", **STREAM, "version": version}


async def test_a_state_comes_with_the_records_before_it_and_the_rest_comes_without(tap: Fake) -> None:
    got = await tap.drain(SAY_SCHEMA, {"rows": 2500, "state_every": 1000})
    assert [(len(batch.records), batch.cursor_after) for batch in got.batches] == [
        (1000, '{"id": 1000}'),
        (1000, '{"id": 2000}'),
        (500, None),
    ]
    assert got.failure is None
    assert got.ids == list(range(1, 2501))


async def test_a_batch_holds_5000_records_at_most_and_the_state_after_the_last_of_them_closes_it(tap: Fake) -> None:
    got = await tap.drain(SAY_SCHEMA, {"rows": 12_000, "state_every": 10_000})
    assert [(len(batch.records), batch.cursor_after) for batch in got.batches] == [
        (5000, None),
        (5000, '{"id": 10000}'),
        (2000, None),
    ]


def test_a_batch_of_large_records_ends_by_its_size() -> None:
    large = [{**row(number), "record": {"id": number, "name": "x" * 1000}} for number in range(10)]
    assert [len(cut.records) for cut in cuts(large, batch_bytes=3000)] == [3, 3, 3, 1]


async def test_a_state_after_each_record_does_not_make_a_batch_of_each(tap: Fake) -> None:
    got = await tap.drain(SAY_SCHEMA, {"rows": 2000, "state_every": 1})
    assert got.ids == list(range(1, 2001))
    assert got.cursor == {"id": 2000}
    assert len(got.batches) < 200


async def test_a_lone_state_is_handed_on_soon_though_the_tap_goes_on(tap: Fake) -> None:
    async for batch in tap.read(SAY_SCHEMA, record(1), state({"id": 1}), {"hang": True}):
        assert (len(batch.records), batch.cursor_after) == (1, '{"id": 1}')
        break


@given(
    st.lists(st.one_of(st.just("row"), st.just("state"), st.integers(1, 2)), max_size=60),
    st.integers(1, 7),
    st.booleans(),
)
def test_whatever_comes_nothing_is_lost_and_each_cursor_covers_what_was_handed_on_with_it(
    script: list[str | int], size: int, good: bool
) -> None:
    """An integer is a record of that version."""
    messages: list[dict[str, Any]] = []
    wanted: list[tuple[int, int | None]] = []
    for step in script:
        if step == "state":
            messages.append(told({"rows": len(wanted)}))
            continue
        version = step if isinstance(step, int) else None
        wanted.append((len(wanted), version))
        messages.append(row(len(wanted) - 1, **({} if version is None else {"version": version})))
    made = cuts(messages, good=good, records=size)
    assert [(row["id"], cut.version) for cut in made for row in cut.records] == wanted
    handed_on = 0
    for cut in made:
        handed_on += len(cut.records)
        assert len(cut.records) <= size
        if cut.cursor is not None:
            assert json.loads(cut.cursor) == {"rows": handed_on}
    if "state" in script:
        last = max(at for at, step in enumerate(script) if step == "state")
        covered = sum(step != "state" for step in script[:last])
        assert [cut.cursor for cut in made if cut.cursor][-1:] == [json.dumps({"rows": covered})]


def test_a_full_load_is_activated_after_its_records() -> None:
    made = cuts([row(1, version=7), activate(7), told({"done": True})])
    assert [(len(cut.records), cut.version, cut.activate, cut.cursor) for cut in made] == [
        (1, 7, None, None),
        (0, 7, 7, None),
        (0, 7, None, '{"done": true}'),
    ]


def test_an_activation_before_the_records_waits_for_the_good_end() -> None:
    messages = [activate(7), row(1, version=7), row(2, version=7)]
    assert [cut.activate for cut in cuts(messages)] == [None, 7]
    assert [cut.activate for cut in cuts(messages, good=False)] == [None]


def test_a_full_load_that_brought_nothing_deletes_nothing_unless_the_stream_may_be_empty() -> None:
    assert [cut.activate for cut in cuts([activate(7)])] == []
    allowed = Stream(name="items", key=("id",), never_empty=False)
    assert [cut.activate for cut in cuts([activate(7)], stream=allowed)] == [7]


PARTS = [{"context": {"of": 1}}, {"context": {"of": 2}}]
PLACES: dict[str, tuple[Any, bool]] = {
    "SDK": ({"bookmarks": {"items": {"replication_key": "id", "replication_key_value": 7}}}, True),
    "SDK, in parts": ({"bookmarks": {"items": {"partitions": [*PARTS, {"replication_key_value": 7}]}}}, True),
    "SDK, in parts not read": ({"bookmarks": {"items": {"partitions": PARTS}}}, False),
    "without bookmarks": ({"items": "2026-01-01"}, True),
    "another stream's": ({"bookmarks": {"others": {"id": 7}}}, False),
    "lost": ({"bookmarks": {"items": {"id": None}}}, False),
    "a read cut off": ({"bookmarks": {"items": {"replication_key_signpost": "x", "progress_markers": {}}}}, False),
    "empty": ({}, False),
    "no object": ([1], False),
}


@pytest.mark.parametrize("name", PLACES)
def test_a_run_that_brings_nothing_is_caught_up_where_the_state_has_a_place_in_the_stream(name: str) -> None:
    place, is_one = PLACES[name]

    def run(cursor: Any, *messages: dict[str, Any], good: bool = True) -> list[bool]:
        batcher = _batcher(cursor=None if cursor is None else json.dumps(cursor))
        made = [*batcher.take(_lines(list(messages))), *(batcher.end() if good else batcher.flush())]
        return [cut.caught_up for cut in made]

    assert run(place) == [True] * is_one
    assert run(place, told(place)) == [True] * is_one
    assert run(None, told(place)) == [False]  # it began at the beginning
    assert run({"items": 7}, told(place))[-1] is is_one  # it had one, and may have lost it
    assert run(place, row(1)) == [False]
    assert run(place, good=False) == []


def test_a_state_too_deep_to_be_looked_through_has_no_place() -> None:
    depth = 5000
    assert not has_bookmark('{"bookmarks": {"items": ' + "[" * depth + "7" + "]" * depth + "}}", ["items"])


def test_a_full_load_of_which_a_record_was_refused_deletes_nothing() -> None:
    made = cuts([row(1, version=7), {**row(2, version=7), "record": {"name": "no id"}}, activate(7)])
    assert [(len(cut.records), len(cut.misses), cut.activate) for cut in made] == [(1, 1, None)]


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        ([1, 2], "a record is not a JSON object"),
        ({"name": "x"}, "the key field 'id' is missing"),
        ({"id": None}, "the key field 'id' is missing"),
        ({"id": "1"}, "the field 'id' is of another type than its schema says"),
        ({"id": True}, "the field 'id' is of another type than its schema says"),
        ({"id": 1.5}, "the field 'id' is of another type than its schema says"),
        ({"id": 1, "name": 5}, "the field 'name' is of another type than its schema says"),
        ({"id": 1, "name": float("nan")}, "a value is not JSON (NaN, Infinity or half a character)"),
        ({"id": 1, "name": "\ud800"}, "a value is not JSON (NaN, Infinity or half a character)"),
    ],
    ids=lambda value: value if isinstance(value, str) else "row",
)
def test_a_bad_record_is_missed_and_the_others_come(bad: object, why: str) -> None:
    made = cuts([row(1), {"type": "RECORD", **STREAM, "record": bad}, row(3), told({"id": 3})])
    assert [miss.error.message for cut in made for miss in cut.misses] == [why]
    assert [row["id"] for cut in made for row in cut.records] == [1, 3]
    assert made[-1].cursor == '{"id": 3}'


def test_what_a_schema_does_not_say_or_says_in_other_words_is_not_refused() -> None:
    properties = {
        "id": {"type": ["integer", "null"]},
        "any": {},
        "either": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "money": {"type": "number"},
        "new": {"type": "decimal128"},
    }
    schema = {"type": "SCHEMA", **STREAM, "schema": {"properties": properties}, "key_properties": ["id"]}
    good = {"id": 2.0, "any": [], "either": None, "money": 1, "new": {}, "unheard of": True}
    made = cuts([schema, {"type": "RECORD", **STREAM, "record": good}])
    assert [cut.records for cut in made] == [[good]]


async def test_messages_of_unknown_types_and_of_other_streams_are_ignored_and_told_once(tap: Fake) -> None:
    with structlog.testing.capture_logs() as logs:
        got = await tap.drain(
            SAY_SCHEMA,
            {"say": {"type": "GREETING"}},
            {"say": {"type": "GREETING"}},
            {"rows": 3, "stream": "others"},
            record(9),
            log=structlog.get_logger(),
        )
    assert (got.ids, got.failure) == ([9], None)
    told = [(entry["event"], entry["what"]) for entry in logs if entry["log_level"] == "warning"]
    assert told == [
        ("tap_message_ignored", "message of type 'GREETING'"),
        ("tap_message_ignored", "records of the stream 'others'"),
    ]


async def test_a_tap_that_calls_its_stream_otherwise_than_its_catalogue_is_understood(tap: Fake) -> None:
    schema = {"say": {**SAY_SCHEMA["say"], "stream": "public-items"}}
    got = await tap.drain(schema, {"rows": 2, "stream": "public-items"})
    assert got.ids == [1, 2]


async def test_a_stream_without_a_key_is_cut_at_its_states_alike(tap: Fake) -> None:
    catalog = {"streams": [{**CATALOG["streams"][0], "key_properties": []}]}
    schema = {"say": {**SAY_SCHEMA["say"], "key_properties": []}}
    got = await tap.drain(schema, {"rows": 3, "state_every": 2}, catalog=catalog)
    assert [[row["id"] for row in batch.records] for batch in got.batches] == [[1, 2], [3]]
    assert [batch.cursor_after for batch in got.batches] == ['{"id": 2}', None]


async def test_keys_that_differ_between_catalogue_and_schema_are_refused_with_the_remedy(tap: Fake) -> None:
    catalog = {"streams": [{**CATALOG["streams"][0], "key_properties": []}]}
    got = await tap.drain(SAY_SCHEMA, record(1), catalog=catalog)
    assert "set key_properties of config.streams.items" in str(got.failure)
    mended = await tap.drain(SAY_SCHEMA, record(1), catalog=catalog, streams={"items": {"key_properties": ["id"]}})
    assert (mended.ids, mended.failure) == ([1], None)
