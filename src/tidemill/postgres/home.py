"""The files of an embedded server that its owner and its clients share: locks, the record, the running state.

Below ``.tidemill``::

    keeper.lock    held (exclusive) by the one process that owns the server, for as long as it lives
    clients.lock   held (shared) by every process that uses the server; the kernel drops it with the process
    attach.lock    held for the moment in which a client looks for a keeper and, if there is none, starts one
    postgres.json  the record: place, port and password of the cluster; written once, mode 0600
    running.json   who keeps the server now and how far it is; gone when nobody does
    keeper.log     what the keeper says
"""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from typing import Literal, Self, TypeVar

import msgspec

from tidemill.errors import ConfigurationError, DatabaseUnavailable

_POLL_S = 0.02
_LOG_LINES = 12

T = TypeVar("T")


class Record(msgspec.Struct, frozen=True):
    """What a cluster keeps over restarts. ``place`` is the folder with its data and its log."""

    place: str
    port: int
    password: str


class Running(msgspec.Struct, frozen=True):
    """What the keeper tells its clients."""

    state: Literal["ready", "failed"]
    keeper: int
    port: int = 0
    version: str = ""
    error: str = ""


class FileLock:
    """A lock on a file that ends, whatever happens, with the last process that holds it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = -1

    def take(self, *, shared: bool = False, within: float = 0.0) -> bool:
        """Try to get the lock for ``within`` seconds (0: once); whether it is held now."""
        if self._fd < 0:
            self._fd = _open_private(self._path, os.O_RDWR | os.O_CREAT)  # close-on-exec, as Python opens everything
        give_up = time.monotonic() + within
        while True:
            try:
                fcntl.flock(self._fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= give_up:
                    return False
                time.sleep(_POLL_S)
            else:
                return True

    def yield_(self) -> None:
        """Give the lock up but keep the file open, to try again."""
        fcntl.flock(self._fd, fcntl.LOCK_UN)

    def release(self) -> None:
        """Give the lock up."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def is_of_this_path(self) -> bool:
        """Whether the file locked is still the one that the path names."""
        try:
            return os.path.samestat(os.fstat(self._fd), self._path.stat())
        except FileNotFoundError:
            return False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


class Home:
    """One ``.tidemill`` folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()

    @classmethod
    def make(cls, folder: Path) -> Home:
        """The folder, created if it is missing. No folder above it is touched.

        Raises:
            ConfigurationError: when it cannot be created or written.
        """
        home = cls(folder)
        try:
            if not home.folder.exists():
                home.folder.mkdir(parents=True)
                # Whoever runs the server must pass through it; what is secret in it is 0600 by itself.
                home.folder.chmod(0o711 if os.geteuid() == 0 else 0o700)
        except OSError as e:
            raise ConfigurationError(f"TIDEMILL_DATA_DIR: {home.folder} cannot be made: {e.strerror}") from e
        if not os.access(home.folder, os.W_OK | os.X_OK):
            raise ConfigurationError(f"TIDEMILL_DATA_DIR: {home.folder} cannot be written by this user")
        return home

    @property
    def log(self) -> Path:
        """The keeper's own log."""
        return self.folder / "keeper.log"

    def lock(self, name: Literal["keeper", "clients", "attach"]) -> FileLock:
        """One of the three locks, not yet taken."""
        return FileLock(self.folder / f"{name}.lock")

    def is_kept(self) -> bool:
        """Whether a keeper is alive."""
        if not (self.folder / "keeper.lock").exists():
            return False
        with self.lock("keeper") as lock:
            return not lock.take()

    def read_record(self) -> Record | None:
        """The cluster's record, or None before there is a cluster."""
        return _read(self.folder / "postgres.json", Record)

    def write_record(self, record: Record) -> None:
        """Replace the record."""
        _write(self.folder / "postgres.json", record)

    def read_running(self) -> Running | None:
        """What the keeper said last, or None if it said nothing yet."""
        return _read(self.folder / "running.json", Running)

    def write_running(self, running: Running | None) -> None:
        """Tell the clients; None takes the last word back."""
        if running is None:
            (self.folder / "running.json").unlink(missing_ok=True)
        else:
            _write(self.folder / "running.json", running)

    def last_words(self) -> str:
        """The end of the logs, for an error message."""
        record = self.read_record()
        logs = [self.log] + ([Path(record.place) / "postgres.log"] if record else [])
        return "\n".join(text for log in logs if (text := tail(log)))


def tail(log: Path) -> str:
    """The last lines of a log; empty when there is none."""
    if not log.exists():
        return ""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 8192))
        return "\n".join(file.read().decode("utf-8", "replace").splitlines()[-_LOG_LINES:])


def _open_private(path: Path, flags: int) -> int:
    try:
        fd = os.open(path, flags, 0o600)
    except PermissionError as e:
        raise ConfigurationError(f"TIDEMILL_DATA_DIR: {path} belongs to another user") from e
    except OSError as e:
        raise DatabaseUnavailable(f"the embedded server's files cannot be used: {e}") from e
    if os.geteuid() == 0:  # root works in somebody's project: leave him what he needs to go on without root
        owner = path.parent.stat()
        os.fchown(fd, owner.st_uid, owner.st_gid)
    return fd


def _read(path: Path, kind: type[T]) -> T | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        return None
    except PermissionError as e:
        raise ConfigurationError(f"TIDEMILL_DATA_DIR: {path} belongs to another user") from e
    except msgspec.MsgspecError as e:
        raise ConfigurationError(f"{path} is damaged: {e}") from e


def _write(path: Path, value: msgspec.Struct) -> None:
    scratch = path.with_suffix(f".{os.getpid()}")
    fd = _open_private(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    with os.fdopen(fd, "wb") as file:
        file.write(msgspec.json.encode(value) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(path)
