"""The Supabase command line, installed once below the virtual environment, and a server that looks like Supabase's."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest

PACKAGE = "supabase@3.1.0"
PLACE = Path(sys.prefix) / "npm" / PACKAGE
INSTALL_S, RUN_S = 300, 120

PLATFORM = """
create role anon nologin;
create role authenticated nologin;
create role service_role nologin bypassrls;
create role {role} login createrole createdb bypassrls password '{password}';
grant anon, authenticated, service_role to {role};
"""
"""Roles as the platform has them. Its administrator, who runs migrations, is no superuser."""

PROJECT = """
grant usage on schema public to anon, authenticated, service_role;
alter default privileges for role {role} in schema public grant all on tables to anon, authenticated, service_role;
alter default privileges for role {role} in schema public grant all on functions to anon, authenticated, service_role;
alter default privileges for role {role} in schema public grant all on sequences to anon, authenticated, service_role;
alter schema public owner to {role};
create publication supabase_realtime;
alter publication supabase_realtime owner to {role};
"""
"""A database as the platform makes it: what is new in schema public is everybody's."""


def need(program: str) -> str:
    """The program's path; where it is missing the test is skipped, with CI=true it fails."""
    found = shutil.which(program)
    if found is None:
        give_up(f"there is no {program} on this machine")
    return found


def give_up(reason: str) -> None:
    """Fail with CI=true, else skip."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def installed() -> Path:
    """The command line's program; installs it when it is not there yet."""
    npm = need("npm")
    program = PLACE / "node_modules" / ".bin" / "supabase"
    done = PLACE / ".installed"
    if not done.exists():
        shutil.rmtree(PLACE, ignore_errors=True)
        PLACE.mkdir(parents=True)
        try:
            # Without a prefix npm looks for a project in the folders above.
            subprocess.run(
                [npm, "install", "--prefix", ".", "--no-audit", "--no-fund", PACKAGE],
                cwd=PLACE,
                check=True,
                capture_output=True,
                text=True,
                timeout=INSTALL_S,
            )
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as e:
            give_up(f"npm could not install {PACKAGE}: {e.stderr}")
        done.touch()
    return program


def administrator(url: str) -> tuple[str, str, str]:
    """The role, the statements that make it on a superuser's server, and the server's URL as that role."""
    role, password = "platform_admin", secrets.token_hex(8)
    parts = urlsplit(url)
    as_role = urlunsplit(parts._replace(netloc=f"{role}:{password}@{parts.netloc.rpartition('@')[2]}"))
    return role, PLATFORM.format(role=role, password=password), as_role


class Cli:
    """The command line in a project folder of its own, with a home of its own."""

    def __init__(self, folder: Path) -> None:
        self._program = installed()
        self.project = folder / "project"
        self.project.mkdir()
        self._environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith("SUPABASE_")},
            "HOME": str(folder),
            "DO_NOT_TRACK": "1",
            "SUPABASE_TELEMETRY_DISABLED": "1",
        }

    def run(self, *arguments: str) -> str:
        """Its standard output; fails the test with all it said where it fails."""
        ran = subprocess.run(
            [self._program, *arguments],
            cwd=self.project,
            env=self._environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=RUN_S,
            check=False,
        )
        assert ran.returncode == 0, f"supabase {' '.join(arguments[:2])}\n{ran.stdout}\n{ran.stderr}"
        return ran.stdout

    def findings(self, url: str) -> list[dict[str, Any]]:
        """What the platform's advisors say of the database."""
        said = self.run("db", "advisors", f"--remote={url}", "--level", "info", "--output-format", "json")
        return json.loads(said)["results"]
