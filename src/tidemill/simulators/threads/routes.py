"""From a request's path to the endpoint it means."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from tidemill.simulators.threads import consent, insights, oauth, posts, profile
from tidemill.simulators.threads.errors import GraphError, unknown_path
from tidemill.simulators.threads.state import Call, State

Answer = Callable[[State, Call], object]
"""An endpoint: returns what is to be JSON, JSON already encoded as bytes, or a finished response."""


class Route(NamedTuple):
    """An endpoint by the name faults and counters know it by. `metered` calls count against the user's budget."""

    name: str
    answer: Answer
    metered: bool = True


_EDGES = {
    "insights": Route("post_insights", insights.post_insights),
    "threads": Route("posts", posts.posts),
    "threads_insights": Route("account_insights", insights.account_insights),
    "threads_publishing_limit": Route("publishing_limit", profile.publishing_limit),
}
_PROFILE = Route("me", profile.profile)
_POST = Route("post", posts.post)
_TOKENS = {
    ("GET", "/oauth/authorize"): Route("authorize", consent.consent, metered=False),
    ("POST", "/oauth/access_token"): Route("token.code", oauth.exchange_code, metered=False),
    ("GET", "/oauth/access_token"): Route("token.app", oauth.app_token, metered=False),
    ("GET", "/access_token"): Route("token.exchange", oauth.exchange_token, metered=False),
    ("GET", "/refresh_access_token"): Route("token.refresh", oauth.refresh_token, metered=False),
}
_DEBUG = Route("debug_token", oauth.debug_token, metered=False)


def route(method: str, path: str) -> tuple[Route, str]:
    """The endpoint and the node the path names. Raises GraphError for a path or method the provider does not have."""
    versioned = path.startswith("/v1.0/")
    if versioned and method == "GET":
        node, _, edge = path[6:].partition("/")
        if node == "me" or (node.isascii() and node.isdecimal()):
            found = _EDGES.get(edge) if edge else _PROFILE if node == "me" or node.startswith("17841") else _POST
            if found is None:
                raise unknown_path()
            return found, node
        if path == "/v1.0/debug_token":
            return _DEBUG, ""
    # The provider documents these without a version; clients call them both ways.
    found = _TOKENS.get((method, path[5:] if versioned else path))
    if found is None:
        raise unknown_path() if method == "GET" else GraphError(100, f"Unsupported {method.lower()} request.")
    return found, ""


def understand(state: State, found: Route, node: str, params: Mapping[str, str], bearer: str | None) -> Call:
    """What is known of a call before its endpoint sees it."""
    text = params.get("access_token") or bearer
    token = state.tokens.get(text) if text else None
    account = token.account if token else None
    if found.name == "token.code":
        code = state.tokens.code(params.get("code", ""))
        account = code.account if code else None
    elif found.name == "authorize" and "login_hint" in params:
        account = state.world.account(params["login_hint"])
    return Call(found.name, node, params, text, token, account, state.clock.now())
