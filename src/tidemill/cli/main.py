"""The command tree, and its edge: failures become one line and an exit code here and nowhere else."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Sequence
from importlib import import_module, metadata
from pathlib import Path
from typing import cast

import click

from tidemill.cli.exits import Exit, exit_code
from tidemill.cli.options import Options
from tidemill.cli.tether import tether
from tidemill.errors import DatabaseUnavailable, TidemillError
from tidemill.logging import redact

COMMANDS = (
    "accounts",
    "budgets",
    "companies",
    "connectors",
    "cron",
    "demo",
    "doctor",
    "jobs",
    "limits",
    "logs",
    "migrate",
    "queues",
    "repair",
    "replay",
    "run",
    "schedules",
    "serve",
    "simulator",
    "status",
    "sync-jobs",
    "up",
    "worker",
)


class _Tree(click.Group):
    """Each command is imported when it is asked for: the server's rooms need a second that ``--version`` does not."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        name = cmd_name.replace("-", "_")
        return getattr(import_module(f"tidemill.cli.{name}"), name)


@click.group(
    name="tidemill",
    cls=_Tree,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Start here: tidemill demo",
)
@click.version_option(metadata.version("tidemill"), "-V", "--version", message="tidemill %(version)s")
@click.option("--database-url", metavar="URL", help="Postgres to use, instead of TIDEMILL_DATABASE_URL.")
@click.option(
    "--data-dir",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Use the embedded Postgres of this folder, whatever the environment says. [default: .tidemill]",
)
@click.option(
    "--config",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Settings file. [default: tidemill.toml, if there is one]",
)
@click.option("--tethered", is_flag=True, hidden=True, help="Stop when standard input ends: the parent is gone.")
@click.pass_context
def tidemill(
    ctx: click.Context, database_url: str | None, data_dir: Path | None, config: Path | None, tethered: bool
) -> None:
    """Scheduled syncs for multi-tenant products, inside your own Postgres.

    Settings are read from options, then the environment (TIDEMILL_...), then tidemill.toml.
    """
    if tethered:
        tether()
    ctx.obj = Options(database_url, data_dir, config)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line, ``sys.argv`` by default; the exit code."""
    return guarded(lambda: tidemill.main(args=argv, prog_name="tidemill", standalone_mode=False))


def guarded(command: Callable[[], object]) -> int:
    """Run ``command``; the exit code it ends with. No failure passes as a traceback unless TIDEMILL_DEBUG is set."""
    try:
        code = command()
    except click.exceptions.Exit as e:
        return e.exit_code
    except click.ClickException as e:
        e.show()
        return Exit.USAGE if isinstance(e, click.UsageError) else Exit.NOT_WELL
    except (KeyboardInterrupt, click.Abort):
        return Exit.INTERRUPTED
    except BaseExceptionGroup as e:
        return _told(_first(e), e)
    except Exception as e:  # noqa: BLE001 - the edge of the program
        return _told(e, e)
    return int(code) if isinstance(code, int) else Exit.OK


def _told(error: BaseException, raised: BaseException) -> int:
    if os.environ.get("TIDEMILL_DEBUG") == "1":
        traceback.print_exception(raised)
    if isinstance(error, KeyboardInterrupt):
        return Exit.INTERRUPTED
    if isinstance(error, TidemillError):
        if text := str(error):
            _say(f"{text.rstrip('.')}. Is it running?" if isinstance(error, DatabaseUnavailable) else text)
        return exit_code(error)
    _say(f"unexpected {type(error).__name__}: {error} (TIDEMILL_DEBUG=1 shows where)")
    return Exit.NOT_WELL


def _say(text: str) -> None:
    click.echo(f"tidemill: {' '.join(str(redact(text)).split())}", err=True)


_Group = BaseExceptionGroup[BaseException]


def _first(group: _Group) -> BaseException:
    """The failure to speak of: one of ours before any other."""
    leaves = list(_leaves(group))
    return next((e for e in leaves if isinstance(e, TidemillError)), leaves[0])


def _leaves(group: _Group) -> Sequence[BaseException]:
    found: list[BaseException] = []
    for error in group.exceptions:
        found.extend(_leaves(cast(_Group, error)) if isinstance(error, BaseExceptionGroup) else [error])
    return found
