"""Six workspaces with their people, and sixty accounts that come in the way every account does: through OAuth."""

from __future__ import annotations

import asyncio
import secrets
import time
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit
from uuid import UUID

import aiohttp

from tidemill.cli.demo.cast import PARTS, Cast, Part, script
from tidemill.cli.demo.narrator import Narrator
from tidemill.cli.demo.stage import Stage
from tidemill.cli.demo.statements import SQL
from tidemill.cli.exits import NotWell
from tidemill.connectors import Scopes
from tidemill.connectors.threads import LongToken, Profile, ThreadsClient, ThreadsOAuth
from tidemill.connectors.threads.errors import ThreadsDialect
from tidemill.sync import connect_account
from tidemill.vault import Secret

NAME, CODE = "Harbor Social", "harbor"
"""The company that the workspaces belong to."""
WORKSPACES = ("Amber Media", "Birch & Co", "Cedar House", "Delta Press", "Ember Studio", "Fjord Agency")
ROLES = ("owner", "editor", "viewer")
SIDE_BY_SIDE = 8
_CALL_S = 30.0


async def connect_accounts(stage: Stage, narrator: Narrator) -> Cast:
    """Make the tenants, connect every account, and script the troubles of a few."""
    began = time.monotonic()
    accounts = await stage.simulator.accounts()
    tenants = await _make_tenants(stage)
    cast = Cast([account["username"] for account in accounts])
    cast.parts = {accounts[part.index]["username"]: part for part in PARTS}
    oauth = ThreadsOAuth.load(stage.app.http, stage.app.settings)
    turn = asyncio.Semaphore(SIDE_BY_SIDE)
    done = 0
    with narrator.progress("connecting") as report:

        async def connect(index: int, account: dict[str, Any]) -> None:
            nonlocal done
            workspace, owner = tenants[index % len(tenants)]
            async with turn:
                await _connect(stage, oauth, account, cast.parts.get(account["username"]), workspace, owner)
            done += 1
            report(done, len(accounts))

        async with asyncio.TaskGroup() as group:
            for index, account in enumerate(accounts):
                group.create_task(connect(index, account))
    await script(stage.simulator, accounts)
    narrator.done(
        "accounts",
        f"{len(accounts)} in {len(tenants)} workspaces, connected through OAuth in {time.monotonic() - began:.1f} s",
    )
    return cast


async def _make_tenants(stage: Stage) -> list[tuple[UUID, UUID]]:
    """Each workspace's id with its owner's."""
    emails = [
        f"{role}@{name.split()[0].lower()}.demo.example"  # .example belongs to nobody
        for name in WORKSPACES
        for role in ROLES
    ]
    names = [name for name in WORKSPACES for _ in ROLES]
    people = (emails, names, list(ROLES) * len(WORKSPACES))
    rows = await stage.app.db.fetch(SQL.make_tenants, CODE, NAME, list(WORKSPACES), *people)
    return [(row["workspace"], row["owner"]) for row in rows]


async def _connect(
    stage: Stage, oauth: ThreadsOAuth, account: dict[str, Any], part: Part | None, workspace: UUID, owner: UUID
) -> None:
    code = await _consent(stage, oauth, account["username"])
    short = await oauth.exchange_code(code)
    token = await oauth.exchange_long(short.token)
    profile = await _profile(stage, token)
    if part is not None and part.token_life_s is not None:
        # The provider's own tokens live for 60 days; the demo has not got that long.
        text = await stage.simulator.token(profile.id, part.token_life_s)
        token = LongToken(token=Secret(text), expires_in=part.token_life_s)
    await connect_account(stage.app.db, stage.app.vault, workspace=workspace, user=owner, profile=profile, token=token)


async def _consent(stage: Stage, oauth: ThreadsOAuth, username: str) -> Secret:
    """Go to the consent page as the account's owner, agree, and take the code from the redirect."""
    state = secrets.token_urlsafe(16)
    url = f"{oauth.authorize_url(state)}&{urlencode({'login_hint': username})}"
    async with stage.simulator.http.get(
        url, allow_redirects=False, timeout=aiohttp.ClientTimeout(total=_CALL_S)
    ) as response:
        back = parse_qs(urlsplit(response.headers.get("Location", "")).query)
    if back.get("state") != [state] or "code" not in back:
        raise NotWell(f"the simulator's consent page answers {response.status} without a code")
    return Secret(back["code"][0])


async def _profile(stage: Stage, token: LongToken) -> Profile:
    settings = stage.app.settings
    caller = stage.app.http.caller(
        ThreadsDialect(),
        scopes=Scopes.of("threads", settings.threads_app_id or ""),
        deadline=time.monotonic() + _CALL_S,
        token=token.token,
    )
    return await ThreadsClient(caller, settings.threads_base_url).profile()
