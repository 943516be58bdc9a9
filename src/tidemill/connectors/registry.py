"""Which connectors this process has, and what each takes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any, cast

import msgspec

from tidemill.connectors.config import read_config
from tidemill.connectors.http_json import HttpJsonConnector
from tidemill.connectors.protocol import Connector
from tidemill.connectors.singer import SingerConnector
from tidemill.connectors.threads import ThreadsConnector
from tidemill.errors import ConfigurationError, InvalidInput, TidemillError
from tidemill.settings import Settings

GROUP = "tidemill.connectors"
"""Entry points: each names a factory ``(Settings) -> Connector`` and has the name of the connector's spec."""

_BUILT_IN: tuple[Callable[[Settings], Connector], ...] = (
    ThreadsConnector.load,
    HttpJsonConnector.load,
    SingerConnector.load,
)


class Connectors(Mapping[str, Connector]):
    """Provider → connector. Asking for one that is not there raises :class:`InvalidInput`, which names those that are.

    Raises:
        ConfigurationError: a connector stands under another name than its own, or its config takes unknown fields.
    """

    def __init__(self, connectors: Mapping[str, Connector]) -> None:
        for name, connector in connectors.items():
            _check_spec(name, connector)
        self._connectors = dict(connectors)

    @classmethod
    def load(cls, settings: Settings) -> Connectors:
        """The built-in ones, and those that installed packages bring.

        Raises:
            ConfigurationError: a package's connector cannot be made, or has a name that is taken.
        """
        connectors = {connector.spec.name: connector for connector in (make(settings) for make in _BUILT_IN)}
        for entry in entry_points(group=GROUP):
            if entry.name in connectors:
                raise ConfigurationError(f"{_origin(entry)}: there is a connector named {entry.name!r} already")
            connectors[entry.name] = _made(entry, settings)
        return cls(connectors)

    def __getitem__(self, provider: str) -> Connector:
        try:
            return self._connectors[provider]
        except KeyError:
            known = ", ".join(sorted(self._connectors)) or "none"
            raise InvalidInput("provider", f"there is no connector {provider!r} here; known: {known}") from None

    def __contains__(self, provider: object) -> bool:
        return provider in self._connectors

    def __iter__(self) -> Iterator[str]:
        return iter(self._connectors)

    def __len__(self) -> int:
        return len(self._connectors)

    def check_config(self, provider: str, config: Mapping[str, Any]) -> None:
        """Whether ``provider`` can be told this. Without I/O.

        Raises:
            InvalidInput: no such provider, or the field (``config.…``) that it does not take.
        """
        spec = self[provider].spec
        if spec.config is not None:
            read_config(spec.config, config)
        elif config:
            raise InvalidInput(f"config.{next(iter(config))}", f"{provider} has nothing to configure")

    def check_secrets(self, provider: str, names: Iterable[str]) -> None:
        """Whether ``provider`` takes secrets of these names.

        Raises:
            InvalidInput: no such provider, or the secret (``secrets.…``) that it does not take.
        """
        taken = self[provider].spec.secrets
        for name in names:
            if name not in taken and "*" not in taken:
                known = f"takes {', '.join(taken)}" if taken else "takes none"
                raise InvalidInput(f"secrets.{name}", f"{provider} takes no such secret; it {known}")

    def schema(self, provider: str) -> dict[str, Any]:
        """JSON Schema (2020-12) of ``provider``'s config.

        Raises:
            InvalidInput: no such provider.
        """
        config = self[provider].spec.config
        if config is None:
            return {"type": "object", "properties": {}, "additionalProperties": False}
        return msgspec.json.schema(config)


def _check_spec(name: str, connector: Connector) -> None:
    spec = connector.spec
    if spec.name != name:
        raise ConfigurationError(f"connector {name!r}: its spec names it {spec.name!r}; the two must be the same")
    if spec.config is not None and not spec.config.__struct_config__.forbid_unknown_fields:
        raise ConfigurationError(
            f"connector {name!r}: {spec.config.__name__} must forbid unknown fields, so that a misspelt one is told"
        )


def _made(entry: EntryPoint, settings: Settings) -> Connector:
    try:
        make = cast(Callable[[Settings], Connector], entry.load())
        return make(settings)
    except TidemillError:
        raise
    except Exception as e:
        raise ConfigurationError(f"{_origin(entry)} cannot be made: {type(e).__name__}: {e}") from e


def _origin(entry: EntryPoint) -> str:
    package = f" of {entry.dist.name}" if entry.dist else ""
    return f"connector {entry.name!r}{package}"
