"""What a company says of its tap, and what the operator allows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, cast

import msgspec

from tidemill.connectors.context import Context
from tidemill.connectors.redact import Redactor
from tidemill.errors import ConfigurationError, InvalidInput
from tidemill.vault import Secret

Method = Literal["FULL_TABLE", "INCREMENTAL", "LOG_BASED"]

_SECRET_NAME = re.compile(r"password|passwd|secret|token|credential|private|(?:^|[_-])key$|api[_-]?key", re.IGNORECASE)


class StreamChoice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How one stream is read; what is left out is the tap's choice."""

    replication_method: Method | None = None
    replication_key: str | None = None
    """The field that ``INCREMENTAL`` goes by."""
    key_properties: list[str] | None = None
    """The fields that name a record, for a tap that does not know."""


class SingerConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A company's tap."""

    executable: str
    """Which tap, by its name in the operator's allow-list (``TIDEMILL_SINGER_TAPS``)."""
    config: dict[str, Any] = {}
    """The tap's own configuration, without its secrets."""
    streams: list[str] | dict[str, StreamChoice] | None = None
    """Which streams; all where it is left out."""
    may_be_empty: bool = False
    """Whether a read without a record is nothing to worry about."""
    catalog_option: Literal["catalog", "properties"] = "catalog"
    """``properties`` for a tap of the old kind that takes ``--properties``."""

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> SingerConfig:
        """Read a connector's configuration.

        Raises:
            InvalidInput: naming the field.
        """
        try:
            return msgspec.convert(dict(config), cls)
        except msgspec.ValidationError as e:
            raise InvalidInput("config", str(e)) from None

    @property
    def choices(self) -> dict[str, StreamChoice] | None:
        """The streams chosen; None means all."""
        if isinstance(self.streams, list):
            return dict.fromkeys(self.streams, StreamChoice())
        return self.streams

    def with_secrets(self, secrets: Mapping[str, Secret]) -> bytes:
        """The tap's configuration as JSON, its secrets in their places.

        A secret stands under its name; ``auth.password`` is ``password`` below ``auth``.

        Raises:
            InvalidInput: a secret's place is within something that is not an object.
        """
        whole = cast("dict[str, Any]", msgspec.json.decode(msgspec.json.encode(self.config)))
        for name, secret in secrets.items():
            *above, last = [name] if name in whole else name.split(".")
            place = whole
            for part in above:
                deeper = place.setdefault(part, {})
                if not isinstance(deeper, dict):
                    raise InvalidInput(f"secrets.{name}", f"{part} in the tap's configuration is not an object")
                place = cast("dict[str, Any]", deeper)
            place[last] = secret.reveal()
        return msgspec.json.encode(whole)

    def redactor(self, ctx: Context) -> Redactor:
        """Hides the company's secrets, those too that somebody wrote into the plain configuration."""
        return Redactor([ctx.token, *ctx.secrets.values(), *map(Secret, _looks_secret(self.config))])


def _looks_secret(value: object, name: str = "") -> Iterable[str]:
    if isinstance(value, dict):
        for key, item in cast("dict[str, Any]", value).items():
            yield from _looks_secret(item, key if _SECRET_NAME.search(key) else name)
    elif isinstance(value, list):
        for item in cast("list[Any]", value):
            yield from _looks_secret(item, name)
    elif isinstance(value, str) and name:
        yield value


class AllowList:
    """The taps that the operator lets companies run.

    Raises:
        ConfigurationError: a path is not absolute.
    """

    def __init__(self, taps: Mapping[str, Path]) -> None:
        for name, path in taps.items():
            if not path.is_absolute():
                raise ConfigurationError(f"TIDEMILL_SINGER_TAPS: {name}: {str(path)!r} is not an absolute path")
        self._taps = dict(taps)

    def path_of(self, name: str) -> Path:
        """The program of that name.

        Raises:
            InvalidInput: it is not on the list.
        """
        try:
            return self._taps[name]
        except KeyError:
            known = f"known: {', '.join(sorted(self._taps))}" if self._taps else "none is"
            raise InvalidInput(
                "config.executable", f"no tap {name[:100]!r} is allowed here (TIDEMILL_SINGER_TAPS); {known}"
            ) from None
