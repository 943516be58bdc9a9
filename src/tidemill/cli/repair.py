"""``tidemill repair``: find what is wrong with a connector's records, and mend it."""

from __future__ import annotations

from typing import Any

import click

from tidemill.cli.console import json_option
from tidemill.cli.following import run_by_hand, wait_option
from tidemill.cli.options import Options, pass_options
from tidemill.cli.running import run_async
from tidemill.cli.tenants import company_option


@click.command(epilog="Example: tidemill repair shop --company acme --dry-run")
@click.argument("connector")
@company_option
@click.option("--dry-run", is_flag=True, help="Only tell what is wrong and what would be done.")
@click.option("--stream", "streams", multiple=True, help="Only this stream; may be repeated. [default: all]")
@wait_option(300.0)
@json_option
@pass_options
def repair(
    options: Options,
    connector: str,
    company: str | None,
    dry_run: bool,
    streams: tuple[str, ...],
    wait_s: float,
    as_json: bool,
) -> int:
    """Find what is wrong with a connector's records and cursors, and mend what can be mended.

    It is a sync job by hand, made or used again. Workers do the work. Exit 0 when it completed, 1 for any other
    outcome.
    """
    payload: dict[str, Any] = {"dry_run": dry_run}
    if streams:
        payload["streams"] = sorted(set(streams))
    return run_async(run_by_hand(options.existing(), connector, company, "repair", payload, wait_s, as_json))
