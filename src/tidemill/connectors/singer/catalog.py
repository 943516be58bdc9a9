"""A tap's catalogue: what it can read, and the choice of one stream of it."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, cast

import msgspec

from tidemill.connectors.errors import ErrorKind, ProviderError
from tidemill.connectors.protocol import Stream
from tidemill.connectors.singer.config import SingerConfig, StreamChoice
from tidemill.errors import InvalidInput

Entry = dict[str, Any]


class Catalog:
    """What ``--discover`` wrote.

    Raises:
        ProviderError: ``PERMANENT`` where it is not a catalogue.
    """

    def __init__(self, text: bytes) -> None:
        try:
            self._whole: dict[str, Any] = msgspec.json.decode(text, type=dict[str, Any])
            entries = msgspec.convert(self._whole.get("streams"), list[dict[str, Any]])
        except (msgspec.DecodeError, RecursionError) as e:
            raise ProviderError(ErrorKind.PERMANENT, f"what the tap discovered is no catalogue: {e}") from None
        self._entries = {_id(entry): entry for entry in entries if _id(entry)}

    def streams(self, config: SingerConfig) -> list[Stream]:
        """The streams that were chosen.

        Raises:
            InvalidInput: one of them is not there, or cannot be read in that way.
        """
        choices = config.choices
        if choices is None:
            choices = dict.fromkeys(self._entries, StreamChoice())
        return [self._stream(name, choice, config) for name, choice in choices.items()]

    def stream(self, name: str, config: SingerConfig) -> Stream:
        """One of them, likewise."""
        choices = config.choices
        if choices is not None and name not in choices:
            raise InvalidInput("stream", f"{name[:200]!r} is not among the streams of this connector")
        return self._stream(name, (choices or {}).get(name, StreamChoice()), config)

    def names(self, stream: str) -> tuple[frozenset[str], frozenset[str]]:
        """By which names messages may tell of ``stream``, and by which of the others."""
        own = _names(self._entries[stream])
        others = [_names(entry) for name, entry in self._entries.items() if name != stream]
        return own, frozenset[str]().union(*others) - own

    def may_have_no_news(self, stream: Stream, config: SingerConfig) -> bool:
        """Whether the tap reads only what is new of the stream, and has found its source.

        Taps that do not find it may tell of the stream all the same, but then without the fields that they learn there.
        """
        entry = self._entries[stream.name]
        choice = (config.choices or {}).get(stream.name, StreamChoice())
        method = choice.replication_method or _method(entry, _root(entry))
        return method != "FULL_TABLE" and set(stream.key) <= set(_properties(entry))

    def selecting(self, stream: Stream, config: SingerConfig) -> bytes:
        """The catalogue for a run that reads this stream and no other."""
        whole = copy.deepcopy(self._whole)
        choice = (config.choices or {}).get(stream.name, StreamChoice())
        for entry in cast("list[Entry]", whole["streams"]):
            chosen = _id(entry) == stream.name
            root = _root(entry)
            root["selected"] = entry["selected"] = chosen
            if config.catalog_option == "properties":
                _mark_schema(entry, chosen)
            if chosen:
                _choose(entry, root, stream, choice)
        return msgspec.json.encode(whole)

    def _stream(self, name: str, choice: StreamChoice, config: SingerConfig) -> Stream:
        entry = self._entries.get(name)
        if entry is None:
            known = ", ".join(sorted(self._entries)[:20]) or "none"
            raise InvalidInput(f"config.streams.{name[:200]}", f"the tap has no such stream; known: {known}")
        field = f"config.streams.{name}"
        properties = _properties(entry)
        for said, names in (
            ("replication_key", [choice.replication_key] if choice.replication_key else []),
            ("key_properties", choice.key_properties or []),
        ):
            if properties and (unknown := [name for name in names if name not in properties]):
                raise InvalidInput(f"{field}.{said}", f"the stream has no field {unknown[0][:200]!r}")
        root = _root(entry)
        forced = root.get("forced-replication-method")
        if forced and choice.replication_method and choice.replication_method != forced:
            raise InvalidInput(f"{field}.replication_method", f"the tap reads this stream by {forced} alone")
        method = choice.replication_method or _method(entry, root)
        by = choice.replication_key or _replication_key(entry, root)
        if choice.replication_method == "INCREMENTAL" and by is None:
            raise InvalidInput(f"{field}.replication_key", "INCREMENTAL needs the field that it goes by")
        return Stream(
            name=name,
            key=tuple(choice.key_properties if choice.key_properties is not None else _key(entry, root)),
            cursor=by if method != "FULL_TABLE" else None,
            schema=cast("Mapping[str, Any] | None", entry.get("schema")),
            never_empty=not config.may_be_empty,
        )


def _choose(entry: Entry, root: dict[str, Any], stream: Stream, choice: StreamChoice) -> None:
    said = {"replication-method": choice.replication_method, "replication-key": choice.replication_key}
    for name, value in said.items():
        if value is not None:
            root[name] = entry[name.replace("-", "_")] = value
    if choice.key_properties is not None:
        root["table-key-properties"] = entry["key_properties"] = list(stream.key)
    # Taps leave out fields that are merely available, unless somebody wants them.
    for item in _objects(entry["metadata"]):
        field = _object(item.get("metadata"))
        wanted = field.get("inclusion") != "unsupported" and field.get("selected-by-default") is not False
        if item.get("breadcrumb") and wanted:
            field.setdefault("selected", True)


def _mark_schema(entry: Entry, chosen: bool) -> None:
    """Select as taps expect it that are older than metadata: in the schema itself."""
    for schema in (entry.get("schema"), *(_properties(entry).values() if chosen else ())):
        _object(schema)["selected"] = chosen


def _id(entry: Entry) -> str:
    name = entry.get("tap_stream_id") or entry.get("stream")
    return name if isinstance(name, str) else ""


def _names(entry: Entry) -> frozenset[str]:
    names = (entry.get(field) for field in ("tap_stream_id", "stream", "stream_alias", "table_name"))
    return frozenset(name for name in names if isinstance(name, str) and name)


def _root(entry: Entry) -> dict[str, Any]:
    """The metadata of the stream as a whole; made where there is none."""
    items = _objects(entry.get("metadata"))
    for item in items:
        if not item.get("breadcrumb") and isinstance(item.get("metadata"), dict):
            return cast("dict[str, Any]", item["metadata"])
    root: dict[str, Any] = {}
    entry["metadata"] = [{"breadcrumb": [], "metadata": root}, *items]
    return root


def _properties(entry: Entry) -> dict[str, Any]:
    return _object(_object(entry.get("schema")).get("properties"))


def _object(value: object) -> dict[str, Any]:
    """``value``, or an empty object for what is none."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _objects(value: object) -> list[dict[str, Any]]:
    items = cast("list[object]", value) if isinstance(value, list) else []
    return [cast("dict[str, Any]", item) for item in items if isinstance(item, dict)]


def _method(entry: Entry, root: dict[str, Any]) -> str:
    said = root.get("forced-replication-method") or root.get("replication-method") or entry.get("replication_method")
    return said if isinstance(said, str) else "FULL_TABLE"


def _replication_key(entry: Entry, root: dict[str, Any]) -> str | None:
    said = root.get("replication-key") or entry.get("replication_key")
    if not said and (valid := _strings(root.get("valid-replication-keys"))):
        said = valid[0]
    return said if isinstance(said, str) and said else None


def _key(entry: Entry, root: dict[str, Any]) -> list[str]:
    return (
        _strings(entry.get("key_properties"))
        or _strings(root.get("table-key-properties"))
        or _strings(root.get("view-key-properties"))
    )


def _strings(value: object) -> list[str]:
    items = cast("Sequence[object]", value) if isinstance(value, list) else ()
    return [item for item in items if isinstance(item, str)]
