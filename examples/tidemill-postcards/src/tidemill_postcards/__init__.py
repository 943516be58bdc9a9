"""Postcards as a connector of Tidemill.

The API gives the postcards of an album in the order in which they were last changed: each change gets the next number
of the album's sequence. A deleted postcard stays as a row that is marked.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Sequence
from typing import Annotated

import msgspec
from yarl import URL

from tidemill.connectors import (
    Batch,
    Context,
    ErrorKind,
    Miss,
    ProviderError,
    Spec,
    StatusDialect,
    Stream,
    Window,
    read_config,
    record_key,
)
from tidemill.errors import InvalidInput
from tidemill.settings import Settings

PAGE = 100
MAX_PAGES = 10_000
STREAM = Stream(name="postcards", key=("id",), cursor="sequence")


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a company says of its connector."""

    album: Annotated[str, msgspec.Meta(pattern="^[a-z0-9-]{1,40}$")]


class Place(msgspec.Struct):
    """Where a row stands in the sequence; that much must be known even of a bad one, to get past it."""

    sequence: int


class Postcard(Place):
    """A row of the API, as far as it is used."""

    id: int
    text: str
    deleted: bool = False


class Page(msgspec.Struct):
    """An answer of the API. Its rows are read one by one, so that a bad one spoils no other."""

    postcards: list[msgspec.Raw]
    more: bool


read_page = msgspec.json.Decoder(Page).decode
read_place = msgspec.json.Decoder(Place).decode
read_postcard = msgspec.json.Decoder(Postcard).decode


def make(settings: Settings) -> PostcardsConnector:
    """The entry point. The operator chooses the address, so calls need no guard."""
    return PostcardsConnector(os.environ.get("POSTCARDS_URL", "https://api.postcards.example"))


class PostcardsConnector:
    """Reads albums. One object serves all companies, so it keeps nothing of any."""

    def __init__(self, base: str) -> None:
        self._base = URL(base)

    @property
    def spec(self) -> Spec:
        """Who it is."""
        return Spec(name="postcards", title="Postcards", config=Config, secrets=("token",))

    async def streams(self, ctx: Context) -> Sequence[Stream]:
        """One: the postcards of the album."""
        return (STREAM,)

    async def check(self, ctx: Context) -> None:
        """Ask for a single postcard."""
        await self._page(ctx, after=0, limit=1)

    def read(self, ctx: Context, stream: str, cursor: str | None, window: Window) -> AsyncGenerator[Batch]:
        """A batch a page; the cursor is the highest sequence number seen."""
        if stream != STREAM.name:
            raise InvalidInput("stream", f"postcards has no stream {stream!r}")
        if window.since or window.until or window.entities:
            raise InvalidInput("window", "postcards can only be read onwards, not in parts")
        if cursor is not None and not cursor.isdecimal():
            raise InvalidInput("cursor", "the cursor of postcards is a number")
        return self._read(ctx, int(cursor or 0))

    async def _read(self, ctx: Context, after: int) -> AsyncGenerator[Batch]:
        for _ in range(MAX_PAGES):
            page = await self._page(ctx, after, PAGE)
            batch, newest = await _batch(ctx, page, after)
            yield batch
            if not page.more:
                return
            if newest <= after:
                raise ProviderError(ErrorKind.PERMANENT, "the API promises more, and gives nothing newer")
            after = newest
        raise ProviderError(ErrorKind.PERMANENT, f"more than {MAX_PAGES} pages; the rest was not read")

    async def _page(self, ctx: Context, after: int, limit: int) -> Page:
        caller = ctx.http.caller(
            StatusDialect(), scopes=ctx.scopes, deadline=ctx.deadline, token=ctx.token, tally=ctx.tally
        )
        album = read_config(Config, ctx.config).album
        url = self._base / "albums" / album / "postcards" % {"after": after, "limit": limit}
        return await caller.get(url, read_page)


async def _batch(ctx: Context, page: Page, after: int) -> tuple[Batch, int]:
    """A page as a batch, and its highest sequence number."""
    records: list[dict[str, object]] = []
    deletes: list[str] = []
    misses: list[Miss] = []
    for number, raw in enumerate(page.postcards, 1):
        try:
            after = max(after, read_place(raw).sequence)
            postcard = read_postcard(raw)
        except (msgspec.DecodeError, UnicodeDecodeError) as e:
            misses.append(Miss(f"row {number}", ProviderError(ErrorKind.PERMANENT, f"no postcard: {e}")))
            continue
        record = {"id": postcard.id, "sequence": postcard.sequence, "text": postcard.text}
        if postcard.deleted:
            deletes.append(record_key(record, STREAM.key) or "")
        else:
            records.append(record)
    batch = Batch(
        records=records,
        deletes=deletes,
        misses=misses,
        observed_at=await ctx.now(),
        cursor_after=str(after),
    )
    return batch, after
