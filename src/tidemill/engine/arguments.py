"""What a job may be given: checked when it is enqueued, and again when it runs."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import re
from collections.abc import Mapping
from typing import Any, cast, get_origin, is_typeddict

import msgspec

from tidemill.errors import ConfigurationError, InvalidInput

LARGEST_BYTES = 1_048_576
"""JSON that one job may carry, and one attempt may leave as its result. Larger things belong into a table."""
DEEPEST = 100
"""Objects and lists within each other. Where a worker cannot read one job, it cannot read those it claimed with it."""
ADDED = frozenset({"fire_at", "batch", "reason"})
"""What the engine adds to the arguments of a schedule's or a batch's job; a type may take or leave it."""

_PLAIN = (Any, dict, dict[str, Any], dict[str, object], Mapping, Mapping[str, Any], Mapping[str, object])
_AT = re.compile(r"^(?P<what>.*?)(?: - at `(?P<path>.*)`)?$", re.DOTALL)
_FIELD_OF = re.compile(r"(?:required field|unknown field) `(?P<name>[^`]+)`")
_ENCODING = (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError)


class RefusedArguments(InvalidInput):
    """A job was stored with arguments that its kind does not take: SQL enqueues unchecked, and types change."""


class Arguments:
    """The type of a job's arguments: ``dict``, a msgspec ``Struct``, dataclass or TypedDict, or a pydantic model.

    Raises:
        ConfigurationError: when the type is none of these.
    """

    def __init__(self, kind: Any = dict) -> None:
        self._type = kind
        self._plain = kind in _PLAIN
        self._model = hasattr(kind, "model_validate") and hasattr(kind, "model_dump")
        self._decode = None if self._plain or self._model else msgspec.json.Decoder(kind).decode
        self._known = _model_fields(kind) if self._model else None if self._plain else _fields(kind)
        if not (self._plain or self._model):
            _must_convert(kind)

    @property
    def names(self) -> frozenset[str] | None:
        """The names that it takes; None when it takes any, or cannot tell."""
        return self._known

    def pack(self, value: Any) -> dict[str, Any]:
        """The JSON object to store for ``value``, an instance of the type or a mapping.

        Raises:
            InvalidInput: naming the argument, ``args.…``, that cannot be taken.
        """
        raw = _jsonable("args", {} if value is None else self._dumped(value))
        if not isinstance(raw, dict):
            raise InvalidInput("args", f"takes an object with named fields, not {type(value).__name__}")
        raw = cast("dict[str, Any]", raw)
        if self._plain:
            return raw
        # A model says itself what it makes of names that it does not know.
        if self._known is not None and not self._model and (unknown := sorted(raw.keys() - self._known - ADDED)):
            known = ", ".join(sorted(self._known)) or "none"
            raise InvalidInput(f"args.{unknown[0]}", f"is not an argument of this job; it takes: {known}")
        packed = _jsonable("args", self._dumped(self.read(raw)))
        return {name: raw[name] for name in ADDED & raw.keys()} | packed

    def pack_instance(self, value: Any) -> bytes | None:
        """What :meth:`pack` makes of an instance of the type, as JSON text, at a fifth of the cost.

        None where the arguments have to be looked at more closely: then :meth:`pack` says what is wrong, if anything.
        """
        if type(value) is not self._type or self._decode is None:
            return None
        try:
            text = msgspec.json.encode(value)
            self._decode(text)  # its own constructor does not look at types
        except _ENCODING:
            return None
        if b"null" in text or b"\\u0000" in text:
            return None
        if len(text) > DEEPEST and (len(text) > LARGEST_BYTES or _brackets(text) > DEEPEST):
            return None
        return text

    def read(self, raw: dict[str, Any]) -> Any:
        """A value of the type, from stored JSON.

        Raises:
            InvalidInput: naming the argument that is wrong.
        """
        if self._plain:
            return raw
        if self._model or get_origin(self._type) is dict:
            # These would take what the engine adds for their own.
            known = self._known or frozenset()
            raw = {name: value for name, value in raw.items() if name in known or name not in ADDED}
        if self._model:
            try:
                return self._type.model_validate(raw)
            except ValueError as e:
                raise _told_by_model(e) from None
        try:
            return msgspec.convert(raw, self._type)
        except msgspec.ValidationError as e:
            raise _told(e) from None

    def may_hold(self, name: str) -> bool:
        """Whether stored arguments may have the top-level field ``name``."""
        return self._known is None or name in self._known

    def read_stored(self, raw: dict[str, Any]) -> Any:
        """:meth:`read`, for a job that runs.

        Raises:
            RefusedArguments: naming the argument that is wrong.
        """
        try:
            return self.read(raw)
        except InvalidInput as e:
            raise RefusedArguments(e.field, str(e).removeprefix(f"{e.field}: ")) from None

    def digest(self, packed: Mapping[str, Any]) -> str:
        """A short key for equal arguments, whatever their order; what the engine adds does not count."""
        own = {name: value for name, value in packed.items() if name not in ADDED}
        return hashlib.sha256(msgspec.json.encode(own, order="deterministic")).hexdigest()[:32]

    def _dumped(self, value: Any) -> Any:
        if self._model and isinstance(value, self._type):
            return value.model_dump(mode="json", by_alias=True)
        return value


def as_json(field: str, value: Any) -> Any:
    """``value`` as JSON types that Postgres can store; dataclasses, Structs, dates, UUIDs and the like are turned.

    Raises:
        InvalidInput: naming ``field``, when there is no JSON for it.
    """
    if value is None or value is True or value is False:
        return value
    if hasattr(value, "model_dump"):
        value = value.model_dump(mode="json")
    return _jsonable(field, value)


def _jsonable(field: str, value: Any) -> Any:
    try:
        plain = msgspec.to_builtins(value, str_keys=True)
        text = msgspec.json.encode(plain)
    except _ENCODING as e:
        raise InvalidInput(field, f"cannot be stored as JSON: {e}") from None
    if len(text) > LARGEST_BYTES:
        raise InvalidInput(field, f"is {len(text)} bytes of JSON, more than {LARGEST_BYTES}; store it and pass its key")
    if _brackets(text) > DEEPEST and _depth(plain) > DEEPEST:
        raise InvalidInput(field, f"is nested more than {DEEPEST} deep; store it and pass its key")
    if b"\\u0000" in text and _holds(plain, _is_nul):
        raise InvalidInput(field, "holds a NUL character, which Postgres cannot store")
    if b"null" in text and _holds(plain, _is_no_number):
        raise InvalidInput(field, "holds a NaN or an infinity, which JSON cannot; use None")
    return plain


def _brackets(text: bytes) -> int:
    return text.count(b"{") + text.count(b"[")


def _depth(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max(map(_depth, cast("dict[Any, Any]", value).values()), default=0)
    if isinstance(value, (list, tuple)):
        return 1 + max(map(_depth, cast("list[Any]", value)), default=0)
    return 0


def _holds(value: Any, wrong: Any) -> bool:
    if isinstance(value, dict):
        return any(_holds(k, wrong) or _holds(v, wrong) for k, v in cast("dict[Any, Any]", value).items())
    if isinstance(value, (list, tuple)):
        return any(_holds(v, wrong) for v in cast("list[Any]", value))
    return wrong(value)


def _is_nul(value: Any) -> bool:
    return isinstance(value, str) and "\0" in value


def _is_no_number(value: Any) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def _fields(kind: Any) -> frozenset[str] | None:
    """The names that the type takes; None where msgspec alone can say."""
    names: tuple[str, ...]
    if is_typeddict(kind):
        names = tuple(kind.__annotations__)
    elif dataclasses.is_dataclass(kind):
        names = tuple(f.name for f in dataclasses.fields(kind) if f.init)
    elif hasattr(kind, "__struct_encode_fields__"):
        tag: str | None = kind.__struct_config__.tag_field
        names = (*kind.__struct_encode_fields__, *((tag,) if tag else ()))
    else:
        return None
    return frozenset(names)


def _must_convert(kind: Any) -> None:
    why = "it is no object with named fields"
    try:
        msgspec.convert({}, kind)
    except msgspec.ValidationError as e:
        if "got `object`" not in str(e):
            return
    except (TypeError, NameError) as e:
        why = str(e)
    else:
        return
    raise ConfigurationError(f"a job cannot take arguments of type {kind!r}: {why}")


def _model_fields(model: Any) -> frozenset[str]:
    fields: Mapping[str, Any] = model.model_fields
    return frozenset(fields.keys() | {f.alias for f in fields.values() if f.alias})


def _told(e: msgspec.ValidationError) -> InvalidInput:
    found = _AT.match(str(e))
    what = found["what"] if found else str(e)
    path = ((found["path"] if found else None) or "$").removeprefix("$")
    if missing := _FIELD_OF.search(what):
        path += f".{missing['name']}"
    return InvalidInput(f"args{path}", what[:1].lower() + what[1:])


def _told_by_model(e: ValueError) -> InvalidInput:
    listed = getattr(e, "errors", None)
    if listed is None:
        return InvalidInput("args", str(e))
    first: dict[str, Any] = listed()[0]
    return InvalidInput(".".join(["args", *(str(part) for part in first["loc"])]), str(first["msg"]))
