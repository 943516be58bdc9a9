"""`/oauth/authorize`: the page on which a person lets the app in, or a script does it for them."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from urllib.parse import urlencode, urlsplit

from aiohttp import web

from tidemill.simulators.threads.data import Account
from tidemill.simulators.threads.errors import invalid
from tidemill.simulators.threads.params import allow
from tidemill.simulators.threads.state import Call, State
from tidemill.simulators.threads.tokens import SCOPES

_SHOWN = 100
_PARAMS = ("client_id", "redirect_uri", "scope", "response_type", "state", "login_hint", "auto", "deny")


def consent(state: State, call: Call) -> web.Response:
    """Redirect back with a code (or a denial), or show the page of accounts to choose from.

    `login_hint=<username>` consents as that account, `auto=1` as the first; `deny=1` and the knob `consent` refuse.
    """
    params = call.params
    allow(params, _PARAMS)
    redirect_uri, scopes = _checked(state, params)
    account = hinted(state, params)
    if account is None:
        return web.Response(text=_page(state, params), content_type="text/html")
    if params.get("deny") == "1" or state.knobs.consent == "deny":
        back = {
            "error": "access_denied",
            "error_reason": "user_denied",
            "error_description": "The user denied your request",
        }
    else:
        back = {"code": state.tokens.issue_code(account, redirect_uri, scopes, call.now)}
    if "state" in params:
        back["state"] = params["state"]
    joint = "&" if urlsplit(redirect_uri).query else "?"
    return web.Response(status=302, headers={"Location": f"{redirect_uri}{joint}{urlencode(back)}#_"})


def hinted(state: State, params: Mapping[str, str]) -> Account | None:
    """The account a request consents as, None if the person still has to choose."""
    hint = params.get("login_hint")
    if hint:
        account = state.world.account(hint)
        if account is None:
            raise invalid("login_hint names no account")
        return account
    return state.world.accounts[0] if params.get("auto") == "1" or params.get("deny") == "1" else None


def _checked(state: State, params: Mapping[str, str]) -> tuple[str, list[str]]:
    if params.get("client_id") != state.app_id:
        raise invalid("Invalid client_id")
    if params.get("response_type") != "code":
        raise invalid("response_type must be code")
    redirect_uri = params.get("redirect_uri", "")
    parts = urlsplit(redirect_uri)
    if parts.scheme not in ("http", "https") or not parts.netloc or parts.fragment:
        raise invalid("redirect_uri must be an absolute URL without a fragment")
    scopes = params.get("scope", "").replace(",", " ").split()
    unknown = next((scope for scope in scopes if scope not in SCOPES), None)
    if unknown is not None or "threads_basic" not in scopes:
        raise invalid(f"Invalid scope: {unknown or 'threads_basic is always needed'}")
    return redirect_uri, scopes


def _page(state: State, params: Mapping[str, str]) -> str:
    def link(**more: str) -> str:
        return escape(f"/oauth/authorize?{urlencode({**params, **more})}")

    rows = "".join(
        f'<li><a href="{link(login_hint=account.username)}">Continue as @{escape(account.username)}</a></li>'
        for account in state.world.accounts[:_SHOWN]
    )
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><title>Threads simulator</title>"
        "<style>body{font:16px/1.5 system-ui;max-width:34rem;margin:3rem auto;padding:0 1rem}li{margin:.3rem 0}</style>"
        "<h1>Threads simulator</h1><p>An app asks to read "
        f"<b>{escape(params.get('scope', ''))}</b>. Whose account is it?</p><ul>{rows}</ul>"
        f'<p><a href="{link(deny="1")}">Not now</a></p></html>'
    )
