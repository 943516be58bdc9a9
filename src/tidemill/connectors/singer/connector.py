"""The host of taps."""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import structlog

from tidemill.connectors.context import Context
from tidemill.connectors.errors import ErrorKind, ProviderError, TimeBudgetSpent
from tidemill.connectors.protocol import Batch, Spec, Stream, Window
from tidemill.connectors.redact import Redactor
from tidemill.connectors.singer.batcher import Batcher
from tidemill.connectors.singer.bounds import Bounds
from tidemill.connectors.singer.catalog import Catalog
from tidemill.connectors.singer.config import AllowList, SingerConfig
from tidemill.connectors.singer.folder import Folders, write_private
from tidemill.connectors.singer.listening import Listening
from tidemill.connectors.singer.process import started
from tidemill.connectors.singer.stderr import Stderr
from tidemill.errors import InvalidInput
from tidemill.settings import Settings

_CACHED_BYTES = 64 * 1024 * 1024


class _Known(NamedTuple):
    text: bytes
    until: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """A company's tap, ready to be run."""

    config: SingerConfig
    program: Path
    settings: bytes = field(repr=False)
    """The tap's configuration with its secrets."""
    redactor: Redactor
    deadline: float
    log: Any

    @property
    def identity(self) -> bytes:
        """What a catalogue holds for: tells nothing of the secrets."""
        return hashlib.sha256(bytes(self.program) + b"\0" + self.settings).digest()


class SingerConnector:
    """Runs taps, one process for each stream that is read.

    Args:
        taps: the programs that companies may choose from, by name.
        bounds: of each run.
        folder: where the runs' private folders are made; by default below the system's folder for temporary files.
    """

    def __init__(self, taps: Mapping[str, Path], *, bounds: Bounds | None = None, folder: Path | None = None) -> None:
        self._taps = AllowList(taps)
        self._bounds = bounds or Bounds()
        self._folders = Folders(folder)
        self._catalogs: OrderedDict[bytes, _Known] = OrderedDict()

    @classmethod
    def load(cls, settings: Settings) -> SingerConnector:
        """From the settings.

        Raises:
            ConfigurationError: ``TIDEMILL_SINGER_TAPS`` names a path that is not absolute.
        """
        return cls(settings.singer_taps or {})

    @property
    def spec(self) -> Spec:
        """Who it is. Which secrets there are, the tap knows."""
        return Spec(name="singer", title="Singer tap", config=SingerConfig, secrets=("*",), process=True)

    async def streams(self, ctx: Context) -> Sequence[Stream]:
        """What the tap discovers, as far as it was chosen."""
        job = self._job(ctx)
        return (await self._catalog(job)).streams(job.config)

    async def check(self, ctx: Context) -> None:
        """Discover anew: there is nothing cheaper that all taps can do."""
        job = self._job(ctx)
        (await self._catalog(job, anew=True)).streams(job.config)

    async def read(self, ctx: Context, stream: str, cursor: str | None, window: Window) -> AsyncGenerator[Batch]:
        """See :meth:`tidemill.connectors.protocol.Connector.read`.

        The cursor is the value of the tap's newest STATE, as JSON. When the time is nearly over the tap is asked to
        end, and what it then still says is good too: taps that can say how far they came do so then.
        """
        if window.since or window.until or window.entities:
            raise InvalidInput("window", "a tap cannot be asked about a part of a stream")
        state = _state(cursor)
        job = self._job(ctx)
        catalog = await self._catalog(job)
        chosen = catalog.stream(stream, job.config)
        batcher = Batcher(
            chosen,
            *catalog.names(stream),
            cursor=cursor,
            may_be_no_news=catalog.may_have_no_news(chosen, job.config),
            bounds=self._bounds,
            redactor=job.redactor,
            log=job.log,
        )
        with self._folders.made() as folder:
            selection = write_private(folder / "catalog.json", catalog.selecting(chosen, job.config))
            arguments = [f"--{job.config.catalog_option}", str(selection)]
            if state is not None:
                arguments += ["--state", str(write_private(folder / "state.json", state))]
            async with (
                self._listening(job, folder, arguments, ctx.deadline) as listening,
                aclosing(listening.cuts(batcher)) as cuts,
            ):
                async for cut in cuts:
                    yield Batch(
                        records=cut.records,
                        misses=cut.misses,
                        observed_at=await ctx.now(),
                        cursor_after=cut.cursor,
                        version=cut.version,
                        activate=cut.activate,
                        caught_up=cut.caught_up,
                    )
        if listening.failure is not None:
            raise listening.failure

    def _job(self, ctx: Context) -> _Job:
        config = SingerConfig.of(ctx.config)
        log = (ctx.log or structlog.get_logger()).bind(tap=config.executable)
        return _Job(
            config=config,
            program=self._taps.path_of(config.executable),
            settings=config.with_secrets(ctx.secrets),
            redactor=config.redactor(ctx),
            deadline=ctx.deadline,
            log=log,
        )

    async def _catalog(self, job: _Job, *, anew: bool = False) -> Catalog:
        """What the tap discovers, or discovered lately."""
        known = None if anew else self._catalogs.get(job.identity)
        if known is not None and time.monotonic() < known.until:
            return Catalog(known.text)
        deadline = min(job.deadline, time.monotonic() + self._bounds.discovery_s)
        with self._folders.made() as folder:
            async with self._listening(job, folder, ["--discover"], deadline) as listening:
                try:
                    text = await listening.output(self._bounds.catalog_bytes)
                except TimeBudgetSpent:
                    if deadline == job.deadline:
                        raise
                    message = f"the tap did not tell its streams within {self._bounds.discovery_s:g} s"
                    raise ProviderError(ErrorKind.TRANSIENT, message) from None
        catalog = Catalog(text)
        self._remember(job.identity, text)
        return catalog

    def _remember(self, identity: bytes, text: bytes) -> None:
        """Keep a catalogue for a while; the oldest go when there are too many."""
        self._catalogs.pop(identity, None)
        self._catalogs[identity] = _Known(text, time.monotonic() + self._bounds.catalog_ttl_s)
        while sum(len(known.text) for known in self._catalogs.values()) > _CACHED_BYTES:
            self._catalogs.popitem(last=False)

    @asynccontextmanager
    async def _listening(
        self, job: _Job, folder: Path, arguments: Sequence[str], deadline: float
    ) -> AsyncGenerator[Listening]:
        config = write_private(folder / "config.json", job.settings)
        stderr = Stderr(job.redactor, job.log)
        whole = ["--config", str(config), *arguments]
        async with started(job.program, whole, folder, stderr, self._bounds) as tap:
            yield Listening(tap, stderr, job.redactor, self._bounds, deadline)


def _state(cursor: str | None) -> bytes | None:
    """The STATE to go on from."""
    if cursor is None:
        return None
    try:
        msgspec.json.decode(cursor)
    except (msgspec.DecodeError, RecursionError):
        raise InvalidInput("cursor", "the cursor of a tap is its STATE, as JSON") from None
    return cursor.encode()
