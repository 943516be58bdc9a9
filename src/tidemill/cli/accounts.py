"""``tidemill accounts``: who is connected, and whether that still works."""

from __future__ import annotations

import click

from tidemill.cli.console import json_option, plain, print_json, print_rows, say
from tidemill.cli.exits import Exit, NotFound
from tidemill.cli.options import Options, open_database, pass_options
from tidemill.cli.running import run_async
from tidemill.cli.statements import SQL
from tidemill.settings import Settings


@click.command(epilog="Example: tidemill accounts --workspace 'Acme Media'")
@click.option("--workspace", metavar="X", help="Only this workspace's, by its name or id.")
@click.option("-n", "most", type=click.IntRange(1, 100_000), default=200, show_default=True, help="Lines at most.")
@json_option
@pass_options
def accounts(options: Options, workspace: str | None, most: int, as_json: bool) -> int:
    """Connected accounts: token health, last sync, followers, posts. Times are UTC."""
    return run_async(_accounts(options.reading(), workspace, most, as_json))


async def _accounts(settings: Settings, workspace: str | None, most: int, as_json: bool) -> int:
    async with open_database(settings) as db:
        if workspace and not await db.fetchval(SQL.workspace_exists, workspace):
            raise NotFound(f"There is no workspace {workspace!r}.")
        rows = await db.fetch(SQL.accounts, workspace, most)
    if as_json:
        print_json({"accounts": [plain(row) for row in rows]})
    elif not rows:
        say("No accounts are connected yet. See what it looks like with: tidemill demo")
    else:
        print_rows(
            ("account", "workspace", "active", "token", "expires", "last slot", "followers", "posts", "off"),
            (
                (
                    row["username"],
                    row["workspace"],
                    row["is_active"],
                    row["token_status"],
                    row["token_expires_at"],
                    row["last_sync_batch_at"],
                    row["followers"],
                    row["posts"],
                    ", ".join(row["disabled_steps"]) or None,
                )
                for row in rows
            ),
            right=("followers", "posts"),
            whole=True,
        )
        if len(rows) == most:
            click.echo(f"The first {most} are shown; -n shows more.", err=True)
    return Exit.OK
