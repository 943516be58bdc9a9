"""Opaque paging cursors, good only for the token and query they were made for."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from hashlib import blake2b
from struct import Struct

from tidemill.simulators.threads.errors import GraphError, invalid

_LAYOUT = Struct(">3sIqB")
_MARK = b"A\x05\x7e"
_SEAL = 8


class Cursors:
    """Makes and opens cursors. A cursor stands on a post, so that newer posts do not shift the pages."""

    def __init__(self, seed: int) -> None:
        self._key = f"cursor:{seed}".encode()

    def make(self, binding: str, number: int, now: int, *, empty_page: bool = False) -> str:
        """A cursor on a post; with `empty_page` the page it leads to is an empty one before the next real one."""
        payload = _LAYOUT.pack(_MARK, number, now, empty_page)
        return urlsafe_b64encode(payload + self._seal(payload, binding)).decode()

    def open(self, cursor: str, binding: str, now: int, life: int) -> tuple[int, bool]:
        """The post's number and whether an empty page comes. Raises code 100 for a foreign or an expired cursor."""
        try:
            raw = urlsafe_b64decode(cursor)
        except (Base64Error, ValueError):
            raw = b""
        payload, seal = raw[: _LAYOUT.size], raw[_LAYOUT.size :]
        if len(payload) != _LAYOUT.size or seal != self._seal(payload, binding):
            raise invalid("Invalid cursors values")
        _, number, made, empty_page = _LAYOUT.unpack(payload)
        if now - made > life:
            raise GraphError(100, "(#100) The cursor has expired")
        return number, bool(empty_page)

    def _seal(self, payload: bytes, binding: str) -> bytes:
        return blake2b(payload + binding.encode(), key=self._key, digest_size=_SEAL).digest()
