"""The keys of the vault: the first seals, any opens."""

from __future__ import annotations

import base64
import binascii
import contextlib
import re
from collections.abc import Iterable

from tidemill.errors import ConfigurationError
from tidemill.settings import Settings
from tidemill.vault.keyfile import read_or_make

KEY_BYTES = 32
_KEY_ID = re.compile(r"[A-Za-z0-9_.-]{1,32}")
_HELP = "it takes id:base64 of 32 random bytes, several joined by commas (make one with: openssl rand -base64 32)"


class Keyring:
    """Ordered AES-256 keys by id. To rotate, put the new key first and keep the old ones until all is sealed anew."""

    def __init__(self, keys: Iterable[tuple[str, bytes]]) -> None:
        self._keys: dict[str, bytes] = {}
        for key_id, key in keys:
            if not _KEY_ID.fullmatch(key_id):
                raise ConfigurationError(f"vault keys: an id has 1 to 32 of A-Z a-z 0-9 _ . -; {_HELP}")
            if len(key) != KEY_BYTES:
                raise ConfigurationError(f"vault keys: key {key_id!r} has {len(key)} bytes, not {KEY_BYTES}; {_HELP}")
            if key_id in self._keys:
                raise ConfigurationError(f"vault keys: the id {key_id!r} stands there twice")
            self._keys[key_id] = key
        if not self._keys:
            raise ConfigurationError(f"vault keys: there is none; {_HELP}")

    @classmethod
    def parse(cls, text: str) -> Keyring:
        """Read ``id:base64key[,id:base64key…]``; plain and URL-safe base64 are taken, with or without padding.

        Raises:
            ConfigurationError: naming the id, never the key.
        """
        return cls(_entry(part.strip()) for part in text.split(",") if part.strip())

    @classmethod
    def load(cls, settings: Settings) -> Keyring:
        """The keys of ``TIDEMILL_VAULT_KEYS``, else one made once in ``data_dir/vault.key`` for the embedded server.

        Beside a database of your own no key is made up: a container that loses its disk, or a second host,
        would then find tokens that nobody can open.

        Raises:
            ConfigurationError: when there is no key, or the key file is unsafe or damaged.
        """
        if settings.vault_keys:
            return cls.parse(settings.vault_keys)
        if settings.env == "production" or settings.database_url is not None:
            raise ConfigurationError(f"TIDEMILL_VAULT_KEYS is not set: {_HELP}")
        return cls.parse(read_or_make(settings.data_dir / "vault.key"))

    @property
    def ids(self) -> tuple[str, ...]:
        """The key ids, the sealing one first."""
        return tuple(self._keys)

    def first(self) -> tuple[str, bytes]:
        """The id and key that seal."""
        return next(iter(self._keys.items()))

    def get(self, key_id: str) -> bytes | None:
        """The key of that id, or None."""
        return self._keys.get(key_id)

    def __repr__(self) -> str:
        return f"Keyring({', '.join(self._keys)})"


def _entry(part: str) -> tuple[str, bytes]:
    key_id, colon, encoded = part.partition(":")
    if not colon:
        raise ConfigurationError(f"vault keys: an entry has no ':'; {_HELP}")
    plain = encoded.strip().rstrip("=").replace("-", "+").replace("_", "/")
    key = None  # judged outside the handler: the original error, which knows the key, must not travel along
    with contextlib.suppress(binascii.Error, ValueError):
        key = base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    if key is None:
        raise ConfigurationError(f"vault keys: the key of an entry is not base64; {_HELP}")
    return key_id.strip(), key
