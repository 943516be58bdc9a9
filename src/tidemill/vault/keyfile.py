"""The key that the embedded default makes for itself, once."""

from __future__ import annotations

import base64
import os
import secrets
from pathlib import Path

from tidemill.errors import ConfigurationError

_MAX_BYTES = 4096


def read_or_make(path: Path) -> str:
    """The text of the key file, in the form of ``TIDEMILL_VAULT_KEYS``; made with mode 0600 if it is not there.

    Processes that start at the same moment all get the same key: each writes a file of its own and links it to
    ``path``, which only the first can do, and nobody ever sees a half-written file.

    Raises:
        ConfigurationError: when others may read the file, or it cannot be read or made.
    """
    try:
        try:
            return _read(path)
        except FileNotFoundError:
            _make(path)
            return _read(path)
    except OSError as e:
        raise ConfigurationError(f"{path}: the vault's key file cannot be used: {e.strerror}") from e


def _read(path: Path) -> str:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        mode = os.fstat(descriptor).st_mode & 0o777
        if mode & 0o077:
            raise ConfigurationError(
                f"{path}: others may read the vault's key (mode {mode:04o}); run: chmod 600 {path}"
            )
        raw = file.read(_MAX_BYTES + 1)
    if len(raw) > _MAX_BYTES or not raw.isascii():
        raise ConfigurationError(f"{path}: this is not a key file of the vault")
    return raw.decode("ascii").strip()


def _make(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    key_id = f"local-{secrets.token_hex(4)}"
    text = f"{key_id}:{base64.b64encode(secrets.token_bytes(32)).decode()}\n"
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(text.encode())
            file.flush()
            os.fsync(descriptor)
        try:
            path.hardlink_to(draft)
        except FileExistsError:
            return  # another process was first; its key is the key
        _sync_directory(path.parent)
    finally:
        draft.unlink()


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
