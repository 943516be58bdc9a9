"""Seal and open: AES-256-GCM, bound to the place where the secret is kept."""

from __future__ import annotations

import base64
import binascii
import contextlib
import os
import struct
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tidemill.errors import TidemillError
from tidemill.vault.keyring import Keyring

_VERSION = 1
_NONCE_BYTES = 12
_TAG_BYTES = 16


class VaultError(TidemillError):
    """A secret could not be sealed or opened. The message holds neither key nor text."""


class Aad(NamedTuple):
    """Where a sealed text belongs. A blob copied to any other tenant, table, row or field does not open there."""

    tenant: str
    table: str
    row: str
    field: str


class Vault:
    """Seals with the keyring's first key and opens with any.

    A blob is base64url without padding of: version (1 byte), length of the key id (1), key id, nonce (12 random
    bytes), ciphertext and tag. Random nonces are safe for far more than the 2³² texts a key will ever seal here.
    """

    def __init__(self, keyring: Keyring) -> None:
        self._first = keyring.first()[0]
        self._ciphers = {key_id: AESGCM(key) for key_id in keyring.ids if (key := keyring.get(key_id))}

    def seal(self, text: str, aad: Aad) -> str:
        """Seal ``text`` for the place that ``aad`` names.

        Raises:
            VaultError: when text or aad is not valid Unicode.
        """
        key_id = self._first
        nonce = os.urandom(_NONCE_BYTES)
        sealed = self._ciphers[key_id].encrypt(nonce, _utf8(text), _bind(key_id, aad))
        head = bytes((_VERSION, len(key_id))) + key_id.encode()
        return _encode(head + nonce + sealed)

    def open(self, sealed: str, aad: Aad) -> str:
        """The text that was sealed for the place that ``aad`` names.

        Raises:
            VaultError: when the blob is damaged, belongs elsewhere, or its key is not on the ring.
        """
        key_id, nonce, body = _split(_decode(sealed))
        cipher = self._ciphers.get(key_id)
        if cipher is None:
            raise VaultError(f"sealed with key {key_id!r}, which is not on the keyring; add it to TIDEMILL_VAULT_KEYS")
        try:
            return cipher.decrypt(nonce, body, _bind(key_id, aad)).decode()
        except InvalidTag:
            raise VaultError("the sealed text is damaged, or was sealed for another place") from None

    @property
    def sealing_key(self) -> str:
        """The id of the key that seals."""
        return self._first

    def key_of(self, sealed: str) -> str:
        """The id of the key that sealed this blob (to find what a rotation has still to seal anew).

        Raises:
            VaultError: when this is no blob of the vault.
        """
        return _split(_decode(sealed))[0]


def _bind(key_id: str, aad: Aad) -> bytes:
    """Every part with its length before it, so that no two different places give the same bytes."""
    parts = [_utf8(part) for part in (key_id, *aad)]
    return bytes((_VERSION,)) + b"".join(struct.pack(">I", len(part)) + part for part in parts)


def _utf8(text: str) -> bytes:
    encoded = (
        None  # judged outside the handler: the original error, which carries the whole text, must not travel along
    )
    with contextlib.suppress(UnicodeEncodeError):
        encoded = text.encode()
    if encoded is None:
        raise VaultError("not valid Unicode: it holds half of a surrogate pair")
    return encoded


def _encode(blob: bytes) -> str:
    return base64.urlsafe_b64encode(blob).rstrip(b"=").decode()


def _decode(sealed: str) -> bytes:
    try:
        blob = base64.b64decode(sealed + "=" * (-len(sealed) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise VaultError("this is not a sealed text") from None
    if _encode(blob) != sealed:  # the last letter has spare bits; a second spelling of a blob is not a blob
        raise VaultError("this is not a sealed text")
    return blob


def _split(blob: bytes) -> tuple[str, bytes, bytes]:
    if len(blob) < 2 or blob[0] != _VERSION:
        raise VaultError("this is not a sealed text, or one of a newer version")
    start = 2 + blob[1]
    key_id, nonce, body = blob[2:start], blob[start : start + _NONCE_BYTES], blob[start + _NONCE_BYTES :]
    if not key_id.isascii() or not key_id or len(body) < _TAG_BYTES:
        raise VaultError("this is not a sealed text")
    return key_id.decode("ascii"), nonce, body
