"""A catalogue is asked for once in a while; a run reads one stream of it, in the way that was chosen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.connectors.singer.support import SAY_SCHEMA, SCHEMA, Fake, context, fake, record, state
from tidemill.connectors import Stream, Window
from tidemill.connectors.singer import SingerConfig
from tidemill.connectors.singer.catalog import Catalog
from tidemill.errors import InvalidInput


def entry(name: str, *, root: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    fields = [{"breadcrumb": ["properties", field], "metadata": {"inclusion": "available"}} for field in ("id", "name")]
    metadata = [{"breadcrumb": [], "metadata": root or {}}, *fields]
    return {"tap_stream_id": name, "stream": name, "schema": SCHEMA, "metadata": metadata, **more}


THREE = {
    "streams": [
        entry("items", root={"table-key-properties": ["id"]}),
        entry("notes", root={"forced-replication-method": "FULL_TABLE"}),
        entry("events", root={"replication-method": "INCREMENTAL", "valid-replication-keys": ["id"]}),
    ]
}


def streams(config: dict[str, Any], catalog: Any = THREE) -> list[Stream]:
    whole = SingerConfig.of({"executable": "tap-fake", **config})
    return Catalog(json.dumps(catalog).encode()).streams(whole)


def selected(config: dict[str, Any], name: str, catalog: Any = THREE) -> dict[str, Any]:
    """The stream's entry in the catalogue of a run that reads it; no other is selected."""
    whole = SingerConfig.of({"executable": "tap-fake", **config})
    found = Catalog(json.dumps(catalog).encode())
    written = json.loads(found.selecting(found.stream(name, whole), whole))
    chosen = [each for each in written["streams"] if each["metadata"][0]["metadata"]["selected"]]
    assert [each["tap_stream_id"] for each in chosen] == [name]
    assert len(written["streams"]) == len(catalog["streams"])
    return chosen[0]


def test_all_streams_are_read_unless_some_are_chosen() -> None:
    assert [stream.name for stream in streams({})] == ["items", "notes", "events"]
    assert [stream.name for stream in streams({"streams": ["notes"]})] == ["notes"]
    assert [stream.name for stream in streams({"streams": {"events": {}, "items": {}}})] == ["events", "items"]


def test_key_and_cursor_are_the_taps_own_unless_others_are_chosen() -> None:
    assert [(stream.key, stream.cursor) for stream in streams({})] == [(("id",), None), ((), None), ((), "id")]
    chosen = {
        "notes": {"key_properties": ["id", "name"]},
        "items": {"replication_method": "INCREMENTAL", "replication_key": "id"},
    }
    assert [(stream.key, stream.cursor) for stream in streams({"streams": chosen})] == [
        (("id", "name"), None),
        (("id",), "id"),
    ]


def test_a_read_without_records_is_suspicious_unless_the_company_says_otherwise() -> None:
    assert {stream.never_empty for stream in streams({})} == {True}
    assert {stream.never_empty for stream in streams({"may_be_empty": True})} == {False}


def test_a_stream_read_by_what_is_new_may_have_no_news_if_its_source_is_there() -> None:
    whole = SingerConfig.of({"executable": "tap-fake", "streams": {"items": {"replication_method": "LOG_BASED"}}})
    blind = {"streams": [{**each, "schema": {"properties": {"_sdc": {}}}} for each in THREE["streams"]]}
    all_of_it = SingerConfig(executable="tap-fake")
    catalogs = {at: Catalog(json.dumps(said).encode()) for at, said in (("seen", THREE), ("blind", blind))}
    found = {
        (name, at): catalog.may_have_no_news(catalog.stream(name, config), config)
        for at, catalog in catalogs.items()
        for name, config in (("items", whole), ("notes", all_of_it), ("events", all_of_it))
    }
    assert {key for key, news in found.items() if news} == {("items", "seen"), ("events", "seen"), ("events", "blind")}


def test_a_run_selects_its_stream_and_the_fields_of_it() -> None:
    config = {"streams": {"items": {"replication_method": "INCREMENTAL", "replication_key": "id"}}}
    chosen = selected(config, "items")
    root, *fields = chosen["metadata"]
    assert root["metadata"] == {
        "selected": True,
        "replication-method": "INCREMENTAL",
        "replication-key": "id",
        "table-key-properties": ["id"],
    }
    assert [field["metadata"]["selected"] for field in fields] == [True, True]
    assert (chosen["replication_method"], chosen["replication_key"]) == ("INCREMENTAL", "id")
    assert "selected" not in chosen["schema"]


def test_fields_that_the_tap_leaves_out_stay_out() -> None:
    quiet = entry("items")
    quiet["metadata"][1]["metadata"] = {"inclusion": "available", "selected-by-default": False}
    quiet["metadata"][2]["metadata"] = {"inclusion": "unsupported"}
    fields = selected({}, "items", {"streams": [quiet]})["metadata"][1:]
    assert ["selected" in field["metadata"] for field in fields] == [False, False]


def test_a_tap_without_metadata_and_one_of_the_old_kind_are_told_in_their_way() -> None:
    bare = {"streams": [{"stream": "items", "tap_stream_id": "items", "schema": SCHEMA}]}
    chosen = selected({"catalog_option": "properties"}, "items", bare)
    assert chosen["selected"] is True
    assert chosen["schema"]["selected"] is True
    assert [field["selected"] for field in chosen["schema"]["properties"].values()] == [True, True]


async def test_a_tap_of_the_old_kind_is_given_properties(tap: Fake, tmp_path: Path) -> None:
    told = tmp_path / "told"
    got = await tap.drain(SAY_SCHEMA, {"tell": str(told)}, record(1), catalog_option="properties")
    assert got.failure is None
    assert "--properties" in json.loads(told.read_text())["arguments"]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "config: Object missing required field `executable`"),
        ({"executable": "tap-fake", "stream": []}, "config: Object contains unknown field `stream`"),
        ({"executable": "tap-fake", "streams": {"items": {"replication_method": "SOMETIMES"}}}, "config: Invalid enum"),
        ({"executable": "tap-fake", "streams": ["none"]}, "config.streams.none: the tap has no such stream; known: ev"),
        (
            {"executable": "tap-fake", "streams": {"items": {"replication_method": "INCREMENTAL"}}},
            "config.streams.items.replication_key: INCREMENTAL needs the field",
        ),
        (
            {"executable": "tap-fake", "streams": {"items": {"replication_key": "at"}}},
            "config.streams.items.replication_key: the stream has no field 'at'",
        ),
        (
            {"executable": "tap-fake", "streams": {"notes": {"replication_method": "LOG_BASED"}}},
            "config.streams.notes.replication_method: the tap reads this stream by FULL_TABLE alone",
        ),
    ],
    ids=["no-tap", "misspelt", "method", "stream", "no-field", "field", "forced"],
)
def test_a_configuration_that_cannot_be_is_refused_by_name(config: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        Catalog(json.dumps(THREE).encode()).streams(SingerConfig.of(config))
    assert str(refused.value).startswith(message)


async def test_a_stream_that_was_not_chosen_and_a_window_and_an_odd_cursor_are_refused(tap: Fake) -> None:
    ctx = context(tap.config(catalog=THREE, streams=["items"]))
    for stream, cursor, window, field in (
        ("notes", None, Window(), "stream"),
        ("items", None, Window(entities=["1"]), "window"),
        ("items", "yesterday", Window(), "cursor"),
    ):
        with pytest.raises(InvalidInput) as refused:
            await anext(tap.connector.read(ctx, stream, cursor, window))
        assert refused.value.field == field


async def test_a_catalogue_is_asked_for_once_for_a_while_and_anew_by_a_check(tap: Fake, tmp_path: Path) -> None:
    asked = tmp_path / "asked"
    config = tap.config(SAY_SCHEMA, record(1), tap={"discovering": [{"touch": str(asked)}]})
    for seen, look in (
        (True, tap.connector.streams),
        (False, tap.connector.streams),
        (True, tap.connector.check),
    ):
        asked.unlink(missing_ok=True)
        await look(context(config))
        assert asked.exists() is seen
    asked.unlink()
    await tap.connector.streams(context(config, secrets={"token": "another"}))
    assert asked.exists()


async def test_a_catalogue_is_not_used_for_ever(tmp_path: Path) -> None:
    host = fake(tmp_path / "host", catalog_ttl_s=0.0)
    asked = tmp_path / "asked"
    for _ in range(2):
        asked.unlink(missing_ok=True)
        await host.connector.streams(context(host.config(tap={"discovering": [{"touch": str(asked)}]})))
        assert asked.exists()


async def test_a_run_goes_on_from_its_cursor(tap: Fake) -> None:
    first = await tap.drain(SAY_SCHEMA, {"rows": 5, "state_every": 2})
    assert (first.ids, first.cursor) == ([1, 2, 3, 4, 5], {"id": 4})
    second = await tap.drain(SAY_SCHEMA, {"rows": 7, "state_every": 2}, cursor=first.batches[0].cursor_after)
    assert second.ids[0] == first.cursor["id"] + 1
    unchanged = await tap.drain(SAY_SCHEMA, state({"id": 7}), cursor='{"id": 7}')
    assert unchanged.batches == []
