"""``tidemill limits``: how many jobs run at a time or begin in a span of time, over all workers; tenants' weights."""

from __future__ import annotations

from uuid import UUID

import click

from tidemill.cli.console import json_option, print_json, print_rows, say
from tidemill.cli.exits import Exit
from tidemill.cli.options import Options, by_option, open_database, pass_options, who
from tidemill.cli.running import run_async
from tidemill.engine.limits import (
    Limit,
    LimitLine,
    Weight,
    drop_limit,
    in_words,
    list_limits,
    list_weights,
    read_limits,
    set_limit,
    set_weight,
)
from tidemill.settings import Settings


@click.group(epilog="Example: tidemill limits set 20 --queue default")
def limits() -> None:
    """Limits that hold over all workers, changed while they run."""


@limits.command("list", epilog="Example: tidemill limits list --json")
@json_option
@pass_options
def list_(options: Options, as_json: bool) -> int:
    """All limits, and the tenants whose share is larger than one."""
    found, weights = run_async(_list(options.reading()))
    if as_json:
        print_json({"limits": found, "weights": weights})
        return Exit.OK
    if not found and not weights:
        say("There are no limits. Set one with: tidemill limits set 20 --queue default")
    if found:
        print_rows(
            ("id", "limit", "queue", "kind", "tenant", "per", "set by"),
            (
                (limit.id, _said(limit), limit.queue, limit.kind, limit.tenant, limit.per, limit.set_by)
                for limit in found
            ),
            right=("id",),
            whole=True,
        )
    for weight in weights:
        say(f"Tenant {weight.tenant} gets {weight.weight} shares, says {weight.set_by}.")
    return Exit.OK


async def _list(settings: Settings) -> tuple[list[LimitLine], list[Weight]]:
    async with open_database(settings) as db:
        return await list_limits(db), await list_weights(db)


def _said(limit: LimitLine) -> str:
    return f"{limit.most} at a time" if limit.per_s is None else in_words(limit.most, limit.per_s)


@limits.command("set", epilog="Example: tidemill limits set 100/m --kind mail --per tenant")
@click.argument("most", metavar="N or N/s|m|h|d")
@click.option("--queue", help="Only jobs of this queue.")
@click.option("--kind", help="Only jobs of this kind.")
@click.option("--tenant", type=click.UUID, help="Only jobs of this tenant.")
@click.option("--per", default="all", show_default=True, help="all, tenant or args.NAME: what is counted together.")
@by_option
@json_option
@pass_options
def set_(
    options: Options,
    most: str,
    queue: str | None,
    kind: str | None,
    tenant: UUID | None,
    per: str,
    by: str | None,
    as_json: bool,
) -> int:
    """Allow N jobs at a time, or N beginnings a second, minute, hour or day. 0 stops them.

    It replaces a limit that counts the same. What runs already is counted, and goes on.
    """
    [limit] = read_limits(concurrency={per: int(most)}) if most.isdecimal() else read_limits(rate={per: most})
    limit_id = run_async(_set(options.existing(), limit, queue, kind, tenant, who(by)))
    if as_json:
        print_json({"id": limit_id})
    else:
        say(f"Limit {limit_id} holds. Take it away with: tidemill limits drop {limit_id}")
    return Exit.OK


async def _set(
    settings: Settings, limit: Limit, queue: str | None, kind: str | None, tenant: UUID | None, by: str
) -> int:
    async with open_database(settings) as db:
        return await set_limit(db, limit, queue=queue, kind=kind, tenant=tenant, by=by)


@limits.command(epilog="Example: tidemill limits drop 3")
@click.argument("limit_id", metavar="ID", type=int)
@json_option
@pass_options
def drop(options: Options, limit_id: int, as_json: bool) -> int:
    """Take a limit away. One that stands in code comes back when a worker starts."""
    run_async(_drop(options.existing(), limit_id))
    if as_json:
        print_json({"id": limit_id, "dropped": True})
    else:
        say(f"Limit {limit_id} is gone.")
    return Exit.OK


async def _drop(settings: Settings, limit_id: int) -> None:
    async with open_database(settings) as db:
        await drop_limit(db, limit_id)


@limits.command(epilog="Example: tidemill limits weight 11111111-1111-4111-8111-111111111111 4")
@click.argument("tenant", type=click.UUID)
@click.argument("weight", type=int)
@by_option
@json_option
@pass_options
def weight(options: Options, tenant: UUID, weight: int, by: str | None, as_json: bool) -> int:
    """Give a tenant WEIGHT shares where others get one, while both have work waiting."""
    run_async(_weigh(options.existing(), tenant, weight, who(by)))
    if as_json:
        print_json({"tenant": tenant, "weight": weight})
    else:
        say(
            f"Tenant {tenant} gets {weight} shares." if weight > 1 else f"Tenant {tenant} gets one share, as others do."
        )
    return Exit.OK


async def _weigh(settings: Settings, tenant: UUID, weight: int, by: str) -> None:
    async with open_database(settings) as db:
        await set_weight(db, tenant, weight, by=by)
