"""A run's private folder: configuration, catalogue and state, which nobody else reads and which do not stay."""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from tidemill.errors import ConfigurationError

_LOCK = ".lock"


class Folders:
    """Makes the folders of this account's runs, all below one.

    A run's process holds a lock on its folder, which the system takes back however the process ends: a folder whose
    lock is free is left over and is swept by the next process that starts a run.
    """

    def __init__(self, base: Path | None = None) -> None:
        self._base = base or Path(tempfile.gettempdir()) / f"tidemill-singer-{os.geteuid()}"
        self._swept = False

    @contextmanager
    def made(self) -> Generator[Path]:
        """A folder (0700) for one run, removed afterwards.

        Raises:
            ConfigurationError: the place for it is not ours alone.
        """
        self._own_base()
        with (self._base / _LOCK).open("ab") as base:
            fcntl.flock(base, fcntl.LOCK_EX)  # so that none is swept between its making and its locking
            if not self._swept:
                self._sweep()
                self._swept = True
            folder = Path(tempfile.mkdtemp(prefix="run-", dir=self._base))
            held = _lock(folder)
        with held:
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)  # what resists is swept later

    def _own_base(self) -> None:
        self._base.mkdir(mode=0o700, exist_ok=True)
        status = self._base.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o077:
            raise ConfigurationError(f"{self._base} must be a folder of this account's that nobody else may enter")

    def _sweep(self) -> None:
        for folder in self._base.glob("run-*"):
            # Another process's run goes on, or has just removed its folder itself.
            with suppress(BlockingIOError, FileNotFoundError), _lock(folder):
                shutil.rmtree(folder, ignore_errors=True)


def write_private(path: Path, content: bytes) -> Path:
    """Make a file (0600) that was not there before."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
    return path


def _lock(folder: Path) -> IO[bytes]:
    """Take the folder's lock, until it is closed.

    Raises:
        BlockingIOError: it is another's.
    """
    file = (folder / _LOCK).open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise
    return file
