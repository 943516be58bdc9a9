"""The control door `/_sim/…`: what a test says to the simulator itself. It is not part of the provider's API.

=======  ================  ==========================================================================================
method   path              body or query, and answer
=======  ================  ==========================================================================================
GET      /_sim/clock       {"now", "frozen"}
POST     /_sim/clock       {"set": ISO} or {"advance_s": seconds}, and/or {"freeze": true|false}
GET      /_sim/accounts    every account: id, username, posts (as of now), small (under 100 followers)
GET      /_sim/posts       ?user=ID: the user's posts, newest first: id, published, media_type
POST     /_sim/token       {"user", "expires_in"?, "scopes"?, "kind"?, "issued_ago"?}: a token without the dialog
POST     /_sim/revoke      {"token"} or {"user"}, and {"subcode"} (default 467): refused from now on; 0 restores
GET      /_sim/faults      the rules in force with `met` and `fired`
POST     /_sim/faults      one rule or a list (see Fault): put behind those in force
DELETE   /_sim/faults      no rules any more
GET      /_sim/knobs       all knobs
POST     /_sim/knobs       {"name": value, …}: the others stay
POST     /_sim/usage       {"user", "used"}: as if the user had made so many calls just now, and none before
GET      /_sim/calls       counters: total, by_endpoint, by_user, most_in_flight
POST     /_sim/reset       everything as at the start: clock, faults, knobs, counters, budgets; tokens are gone
=======  ================  ==========================================================================================
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import asdict, replace
from typing import Any, Literal

import msgspec
from aiohttp import web

from tidemill.simulators.threads.clock import parse_instant, stamp
from tidemill.simulators.threads.data import Account
from tidemill.simulators.threads.faults import read_faults
from tidemill.simulators.threads.knobs import Knobs
from tidemill.simulators.threads.state import State
from tidemill.simulators.threads.tokens import SCOPES


class _ClockOrder(msgspec.Struct, forbid_unknown_fields=True):
    set: str | None = None
    advance_s: float | None = None
    freeze: bool | None = None


class _TokenOrder(msgspec.Struct, forbid_unknown_fields=True):
    user: str
    expires_in: int | None = None
    scopes: list[str] | None = None
    kind: Literal["short", "long"] = "long"
    issued_ago: int = 0


class _RevokeOrder(msgspec.Struct, forbid_unknown_fields=True):
    token: str | None = None
    user: str | None = None
    subcode: int = 467


class _UsageOrder(msgspec.Struct, forbid_unknown_fields=True):
    user: str
    used: int


async def control(state: State, reset: Callable[[], None], request: web.BaseRequest) -> web.Response:
    """Answer a request to the control door; 400 with {"error"} when it makes no sense, 404 for an unknown path."""
    path = request.path.removeprefix("/_sim/")
    if (request.method, path) == ("POST", "reset"):
        reset()
        return _json({"ok": True})
    handler = _HANDLERS.get((request.method, path))
    if handler is None:
        return _json({"error": f"no {request.method} /_sim/{path}"}, status=404)
    try:
        return _json(await handler(state, request))
    except (ValueError, OverflowError) as error:  # msgspec's errors are ValueErrors
        return _json({"error": str(error)}, status=400)


async def _get_clock(state: State, request: web.BaseRequest) -> object:
    return {"now": stamp(state.clock.now()), "frozen": state.clock.frozen}


async def _set_clock(state: State, request: web.BaseRequest) -> object:
    order = msgspec.json.decode(await request.read(), type=_ClockOrder)
    if order.set is not None:
        state.clock.set(parse_instant(order.set))
    if order.advance_s is not None:
        state.clock.advance(order.advance_s)
    if order.freeze is not None:
        state.clock.freeze(order.freeze)
    return await _get_clock(state, request)


async def _accounts(state: State, request: web.BaseRequest) -> object:
    now = state.clock.now()
    return [
        {"id": account.id, "username": account.username, "posts": account.count(now), "small": account.small}
        for account in state.world.accounts
    ]


async def _posts(state: State, request: web.BaseRequest) -> object:
    account = _account(state, request.query.get("user", ""))
    numbers = reversed(range(account.count(state.clock.now())))
    return [
        {"id": post.id, "published": stamp(post.published), "media_type": post.media_type}
        for post in map(account.post, numbers)
    ]


async def _issue(state: State, request: web.BaseRequest) -> object:
    order = msgspec.json.decode(await request.read(), type=_TokenOrder)
    account = _account(state, order.user)
    token = state.tokens.issue(
        account,
        state.clock.now() - order.issued_ago,
        kind=order.kind,
        scopes=SCOPES if order.scopes is None else order.scopes,
        expires_in=None if order.expires_in is None else order.expires_in + order.issued_ago,
    )
    return {
        "access_token": token.text,
        "token_type": "bearer",
        "expires_in": token.expires - state.clock.now(),
        "user_id": account.id,
    }


async def _revoke(state: State, request: web.BaseRequest) -> object:
    order = msgspec.json.decode(await request.read(), type=_RevokeOrder)
    if (order.token is None) == (order.user is None):
        raise ValueError("name either a token or a user")
    if order.token is not None:
        token = state.tokens.get(order.token)
        if token is None:
            raise ValueError("no such token")
        tokens = [token]
    else:
        tokens = state.tokens.of(_account(state, order.user or ""))
    for token in tokens:
        token.revoked = order.subcode
    return {"revoked": len(tokens)}


async def _get_faults(state: State, request: web.BaseRequest) -> object:
    return state.faults.report()


async def _add_faults(state: State, request: web.BaseRequest) -> object:
    state.faults.add(read_faults(msgspec.json.decode(await request.read())))
    return {"rules": len(state.faults)}


async def _clear_faults(state: State, request: web.BaseRequest) -> object:
    state.faults.clear()
    return {"rules": 0}


async def _get_knobs(state: State, request: web.BaseRequest) -> object:
    return asdict(state.knobs)


async def _set_knobs(state: State, request: web.BaseRequest) -> object:
    state.knobs = turned(state.knobs, msgspec.json.decode(await request.read(), type=dict[str, Any]))
    return asdict(state.knobs)


async def _set_usage(state: State, request: web.BaseRequest) -> object:
    order = msgspec.json.decode(await request.read(), type=_UsageOrder)
    account = _account(state, order.user)
    state.limits.set_used(account.id, state.clock.now(), order.used)
    return {"used": order.used, "budget": state.knobs.budget}


async def _calls(state: State, request: web.BaseRequest) -> object:
    return state.calls.report()


def turned(knobs: Knobs, changes: dict[str, Any]) -> Knobs:
    """The knobs with some turned. Raises ValueError for an unknown name or a value the knob does not have."""
    current = asdict(knobs)
    unknown = next((name for name in changes if name not in current), None)
    if unknown is not None:
        raise ValueError(f"no knob {unknown!r}")
    return replace(knobs, **asdict(msgspec.convert({**current, **changes}, Knobs, str_keys=True)))


def _account(state: State, name: str) -> Account:
    account = state.world.account(name)
    if account is None:
        raise ValueError(f"no account {name!r}")
    return account


def _json(value: object, *, status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), status=status, content_type="application/json")


_HANDLERS: dict[tuple[str, str], Callable[[State, web.BaseRequest], Awaitable[object]]] = {
    ("GET", "clock"): _get_clock,
    ("POST", "clock"): _set_clock,
    ("GET", "accounts"): _accounts,
    ("GET", "posts"): _posts,
    ("POST", "token"): _issue,
    ("POST", "revoke"): _revoke,
    ("GET", "faults"): _get_faults,
    ("POST", "faults"): _add_faults,
    ("DELETE", "faults"): _clear_faults,
    ("GET", "knobs"): _get_knobs,
    ("POST", "knobs"): _set_knobs,
    ("POST", "usage"): _set_usage,
    ("GET", "calls"): _calls,
}
