"""``tidemill replay``: bring back a window of the past of a connector's streams."""

from __future__ import annotations

from typing import Any

import click

from tidemill.cli.console import json_option
from tidemill.cli.following import run_by_hand, wait_option
from tidemill.cli.options import Options, pass_options
from tidemill.cli.running import run_async
from tidemill.cli.tenants import company_option
from tidemill.engine.recurrence import read_instant, read_zone
from tidemill.errors import InvalidInput

_MODES = ("fill", "overwrite", "dry_run")


@click.command(
    epilog="Example: tidemill replay shop --company acme --since 2026-11-01T00:00 --until 2026-11-08T00:00 --mode fill"
)
@click.argument("connector")
@company_option
@click.option("--since", metavar="T", required=True, help="ISO 8601; UTC without an offset.")
@click.option("--until", metavar="T", required=True, help="ISO 8601; UTC without an offset.")
@click.option(
    "--mode",
    type=click.Choice(_MODES),
    required=True,
    help="fill inserts what is missing, overwrite replaces, dry_run only tells what would change.",
)
@click.option("--stream", "streams", multiple=True, help="Only this stream; may be repeated. [default: all]")
@wait_option(300.0)
@json_option
@pass_options
def replay(
    options: Options,
    connector: str,
    company: str | None,
    since: str,
    until: str,
    mode: str,
    streams: tuple[str, ...],
    wait_s: float,
    as_json: bool,
) -> int:
    """Read a window of the past again. The cursor of the ordinary sync stays where it is.

    It is a sync job by hand, made or used again. Workers do the work. Exit 0 when it completed, 1 for any other
    outcome.
    """
    utc = read_zone("UTC")
    begin, end = read_instant("--since", since, utc), read_instant("--until", until, utc)
    if end <= begin:
        raise InvalidInput("--until", "must come after --since")
    payload: dict[str, Any] = {
        "window": {"since": begin.isoformat(), "until": end.isoformat()},
        "mode": mode,
    }
    if streams:
        payload["streams"] = sorted(set(streams))
    return run_async(run_by_hand(options.existing(), connector, company, "replay", payload, wait_s, as_json))
