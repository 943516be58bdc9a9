"""One cluster: whose it is, where it lies, how it is made, started and stopped. Used by the keeper alone."""

from __future__ import annotations

import ctypes
import hashlib
import os
import pwd
import random
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tidemill.errors import DatabaseUnavailable
from tidemill.postgres.binaries import Binaries, find_binaries
from tidemill.postgres.home import Home, Record, tail

USER = "postgres"
_FALLBACKS = (Path("/var/lib"), Path("/var/tmp"))  # noqa: S108 - a folder of our own, owned by root, is made in it
_ACCOUNTS = ("postgres", "nobody")
_PORTS = range(20_000, 32_000)  # below the ranges from which systems take ports for outgoing connections
_INITDB_TIMEOUT_S = 120
_STOP_TIMEOUT_S = 30.0
_LOG_LIMIT = 10_000_000
_PR_SET_PDEATHSIG = 1
_NO_SUCH_PID = 999_999_999

_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",  # a socket's path may not be longer than some hundred bytes; a project's may
    "max_connections": "200",
    "wal_level": "logical",
    "jit": "off",
    "log_line_prefix": "%m [%p] ",
    "log_timezone": "UTC",
    "timezone": "UTC",
}
# Safe against any death of a process, not of the machine. Commits stay synchronous: those in the server's own buffers
# would not outlive it.
_NOT_DURABLE = {"fsync": "off", "full_page_writes": "off"}


@dataclass(frozen=True)
class Account:
    """The unprivileged account that a server started by root runs as."""

    uid: int
    gid: int
    name: str

    def can_enter(self, folder: Path) -> bool:
        """Whether the account can reach the folder, every folder above it included."""
        return self._succeeds("test", "-x", str(folder))

    def can_run(self, program: str) -> bool:
        """Whether the account can run the program."""
        return self._succeeds(program, "--version")

    def _succeeds(self, *command: str) -> bool:
        try:
            done = subprocess.run(
                command, user=self.uid, group=self.gid, extra_groups=[], cwd="/", capture_output=True, timeout=30
            )
        except (PermissionError, FileNotFoundError):
            return False
        return done.returncode == 0


class Cluster:
    """The data folder of one project and the server on it."""

    def __init__(self, home: Home, *, durable: bool) -> None:
        """Choose account, place and binaries; makes the cluster if there is none.

        Raises:
            DatabaseUnavailable: with what ``initdb`` said, or when the recorded data is gone.
        """
        self._durable = durable
        record = home.read_record()
        known = Path(record.place) if record else None
        if known is not None and not (known / "data").exists():
            raise DatabaseUnavailable(
                f"the data of this project was in {known} and is gone; remove {home.folder}/postgres.json to start anew"
            )
        self._account = _account(known / "data" if known else None)
        self.place = known or self._choose_place(home)
        self.data = self.place / "data"
        self.log = self.place / "postgres.log"
        self._binaries = self._reachable(find_binaries(_major(self.data)))
        if record is None:
            self.record = Record(place=str(self.place), port=_free_port(), password=secrets.token_urlsafe(24))
            self._initialise()
        else:
            self.stop_orphan()
            port = record.port if _is_free(record.port) else _free_port()
            self.record = Record(place=record.place, port=port, password=record.password)
        if self.record != record:
            home.write_record(self.record)

    @property
    def version(self) -> str:
        """The server's major version."""
        return str(self._binaries.major)

    def start(self) -> subprocess.Popen[bytes]:
        """Start the server; it is not ready yet. It must be called from the keeper's main thread (see `_dies_with`)."""
        if self.log.exists() and self.log.stat().st_size > _LOG_LIMIT:
            self.log.replace(self.log.with_suffix(".log.1"))
        settings = {**_SETTINGS, **({} if self._durable else _NOT_DURABLE), "port": str(self.record.port)}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with self.log.open("ab") as log:
            return self._spawn([self._binaries.program("postgres"), "-D", str(self.data), *options], log, signal.SIGINT)

    def is_ready(self, server: subprocess.Popen[bytes]) -> bool:
        """Whether this server says in its pid file that it takes connections."""
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) > 7 and lines[0] == str(server.pid) and lines[7].strip() == "ready"

    def stop(self, server: subprocess.Popen[bytes]) -> None:
        """Stop fast: open transactions are rolled back, everything committed is on disk. Harder if that takes long."""
        for request in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
            if server.poll() is not None:
                return
            server.send_signal(request)
            try:
                server.wait(_STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                continue

    def stop_orphan(self) -> None:
        """Stop a server that a keeper left on this data, and make a pid file of a dead one harmless.

        Raises:
            DatabaseUnavailable: when it does not stop.
        """
        pid_file = self.data / "postmaster.pid"
        try:
            lines = pid_file.read_text().splitlines()
            pid = int(lines[0])
        except (FileNotFoundError, IndexError, ValueError):
            return  # an empty pid file is Postgres's own affair
        for request in (signal.SIGINT, signal.SIGQUIT):
            if not _is_server(pid, self.data):
                break
            os.kill(pid, request)
            give_up = time.monotonic() + _STOP_TIMEOUT_S
            while _is_server(pid, self.data) and time.monotonic() < give_up:
                time.sleep(0.02)
        else:
            raise DatabaseUnavailable(f"an old server (pid {pid}) on {self.data} does not stop")
        if pid_file.exists():
            # The number may meanwhile be another process's, and Postgres would take that for a running server. The rest
            # of the file stays: by it Postgres makes sure that no old backend still uses the shared memory.
            lines[0] = str(_NO_SUCH_PID)
            with pid_file.open("r+") as file:
                file.write("\n".join(lines) + "\n")
                file.truncate()

    def _choose_place(self, home: Home) -> Path:
        """The project's folder, or where the server's account cannot reach it a folder that only root can write.

        ``/var/lib`` comes first because systems empty their temporary folders by age.
        """
        if self._account is None or self._account.can_enter(home.folder):
            return home.folder
        name = f"{home.folder.parent.name}-{hashlib.sha256(str(home.folder).encode()).hexdigest()[:12]}"
        place = _fallback(self._account) / name
        place.mkdir(exist_ok=True)
        place.chmod(0o711)
        return place

    def _reachable(self, binaries: Binaries) -> Binaries:
        if self._account is None or self._account.can_run(binaries.program("postgres")):
            return binaries
        copied = binaries.copied_to(_fallback(self._account))
        if not self._account.can_run(copied.program("postgres")):
            raise DatabaseUnavailable(f"the account {self._account.name} cannot run {copied.program('postgres')}")
        return copied

    def _initialise(self) -> None:
        """Make the cluster beside its final name, so that one cut short is never taken for whole."""
        scratch = self.place / "data.new"
        password = self.place / "password.new"
        shutil.rmtree(scratch, ignore_errors=True)
        password.unlink(missing_ok=True)
        log = self.place / "initdb.log"
        command = [self._binaries.program("initdb"), "-D", str(scratch), "-U", USER, "-E", "UTF8", "--locale=C"]
        command += ["-A", "scram-sha-256", f"--pwfile={password}"]
        command += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"] if self._binaries.major >= 17 else []
        command += [] if self._durable else ["--no-sync"]
        try:
            scratch.mkdir(mode=0o700)
            password.touch(mode=0o600)
            password.write_text(self.record.password)
            if self._account is not None:
                os.chown(scratch, self._account.uid, self._account.gid)
                os.chown(password, self._account.uid, self._account.gid)
            with log.open("wb") as output, self._spawn(command, output, signal.SIGTERM) as initdb:
                try:
                    initdb.wait(_INITDB_TIMEOUT_S)
                finally:
                    initdb.kill()  # does nothing to one that has ended
            if initdb.returncode:
                raise DatabaseUnavailable(f"initdb failed in {self.place}:\n{tail(log)}")
            if self.data.exists():  # data without a record, so without its password: it was given up
                self.data.rename(self.data.with_name(f"data.{int(time.time())}.old"))
            scratch.rename(self.data)
        except (OSError, subprocess.TimeoutExpired) as e:
            raise DatabaseUnavailable(f"the embedded server's data cannot be made in {self.place}: {e}") from e
        finally:
            password.unlink(missing_ok=True)
            shutil.rmtree(scratch, ignore_errors=True)
        log.unlink()

    def _spawn(
        self, command: list[str], output: IO[bytes], at_keepers_death: signal.Signals
    ) -> subprocess.Popen[bytes]:
        account = self._account
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PG")} | {"LC_ALL": "C"}
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=self.place,
            env=environment,
            umask=0o077,
            preexec_fn=_dies_with_its_parent(at_keepers_death),
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
        )


def _dies_with_its_parent(request: signal.Signals) -> Callable[[], None] | None:
    """What a child runs before its program, so that it gets ``request`` when the keeper dies, even by SIGKILL.

    Linux only; elsewhere the next keeper stops an orphan. The signal follows the *thread* that started the child,
    hence the main thread. It is forgotten at a change of user, and this runs after that change.
    """
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None, use_errno=True)
    parent = os.getpid()

    def ask() -> None:
        library.prctl(_PR_SET_PDEATHSIG, int(request), 0, 0, 0)
        if os.getppid() != parent:  # it died in between
            os._exit(1)

    return ask


def _account(data: Path | None) -> Account | None:
    """Who runs the server: the data's owner, else an existing account; None when that is us."""
    if os.geteuid() != 0:
        return None
    if data is not None:
        owner = pwd.getpwuid(data.stat().st_uid)
        return Account(owner.pw_uid, owner.pw_gid, owner.pw_name)
    for name in _ACCOUNTS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_uid, entry.pw_gid, name)
    raise DatabaseUnavailable(
        f"Postgres refuses to run as root, and there is no account {' or '.join(_ACCOUNTS)}; "
        "run as an ordinary user or set TIDEMILL_DATABASE_URL"
    )


def _fallback(account: Account) -> Path:
    """A folder for what the account must reach, in which only root can write."""
    for base in _FALLBACKS:
        folder = base / "tidemill"
        try:
            folder.mkdir()
            folder.chmod(0o711)
        except FileExistsError:
            pass
        except OSError:
            continue
        status = folder.lstat()
        is_ours = stat.S_ISDIR(status.st_mode) and status.st_uid == 0 and not status.st_mode & 0o022
        if is_ours and account.can_enter(folder):
            return folder
    raise DatabaseUnavailable(
        f"the account {account.name}, which the embedded server runs as, can reach neither the project's "
        f"folder nor one of {', '.join(map(str, _FALLBACKS))}; set TIDEMILL_DATA_DIR to a folder that it can reach"
    )


def _major(data: Path) -> int | None:
    try:
        return int((data / "PG_VERSION").read_text())
    except FileNotFoundError:
        return None


def _is_server(pid: int, data: Path) -> bool:
    """Whether that process is a Postgres server on that data."""
    if sys.platform.startswith("linux"):
        try:
            arguments = Path(f"/proc/{pid}/cmdline").read_bytes().decode("utf-8", "replace").split("\0")
        except (FileNotFoundError, ProcessLookupError):
            return False
    else:
        listing = subprocess.run(["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, timeout=30)
        arguments = listing.stdout.split()
    return str(data) in arguments


def _free_port() -> int:
    for port in random.sample(_PORTS, 200):
        if _is_free(port):
            return port
    raise DatabaseUnavailable(f"no free port found on 127.0.0.1 between {_PORTS.start} and {_PORTS.stop}")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as Postgres does: a closed server's port is free
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
