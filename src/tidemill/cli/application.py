"""``--app module:name``: the jobs of somebody's own, beside the built-in ones."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

import click

from tidemill.app import Tidemill
from tidemill.cli.options import Options
from tidemill.settings import Settings

app_option = click.option(
    "--app",
    "app_name",
    metavar="MODULE:NAME",
    help="Your application's Tidemill, e.g. shop.jobs:app; runs its jobs too.",
)
queue_option = click.option(
    "--queues",
    "--queue",
    "queues",
    metavar="NAME=N,…",
    multiple=True,
    help="Run N jobs of a queue side by side, and no queue that is not named; may be repeated. "
    "[default: 10 of each, syncs by --concurrency]",
)


def load_app(name: str | None, options: Options) -> tuple[Tidemill, Settings]:
    """The application of ``--app``, or one with nothing of its own; and the settings it is opened with.

    What it was given in code holds, unless the command line says otherwise.

    Raises:
        BadParameter: there is no such application.
        ConfigurationError: naming the setting that is wrong.
    """
    app = Tidemill() if name is None else _imported(name)
    if app.settings is None or options != Options():
        app.settings = options.settings()
    return app, app.settings


def read_queues(given: Sequence[str]) -> dict[str, int]:
    """Queue → jobs side by side, of ``NAME=N`` or several of these with commas between, each.

    Raises:
        BadParameter: naming the part that cannot be read.
    """
    queues: dict[str, int] = {}
    for part in ",".join(given).split(",") if given else []:
        name, _, count = part.strip().rpartition("=")
        if not name or not count.isascii() or not count.isdigit() or not 1 <= int(count) <= 1000:
            raise click.BadParameter(f"{part!r} is not NAME=N with N from 1 to 1000", param_hint="--queues")
        if name in queues:
            raise click.BadParameter(f"{part!r} names {name!r} a second time", param_hint="--queues")
        queues[name] = int(count)
    return queues


def _imported(name: str) -> Tidemill:
    module, _, attribute = name.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        found: object = getattr(import_module(module), attribute or "app")
    except ModuleNotFoundError as e:
        if e.name is None or not f"{module}.".startswith(f"{e.name}."):
            raise  # it is there, but lacks something itself
        raise click.BadParameter(f"there is no module {e.name!r} here", param_hint="--app") from None
    except (ValueError, AttributeError):
        raise click.BadParameter(f"{name!r} names nothing; write it as module:name", param_hint="--app") from None
    if not isinstance(found, Tidemill):
        raise click.BadParameter(f"{name!r} is a {type(found).__name__}, not a Tidemill", param_hint="--app")
    return found
