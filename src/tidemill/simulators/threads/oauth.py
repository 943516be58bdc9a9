"""The token's life: code to short token, short to long, refresh, the app's own token, and `/debug_token`."""

from __future__ import annotations

from hmac import compare_digest

from tidemill.simulators.threads.errors import ExchangeError, GraphError, invalid
from tidemill.simulators.threads.params import allow
from tidemill.simulators.threads.state import Call, State
from tidemill.simulators.threads.tokens import SHORT_LIFE, Token


def exchange_code(state: State, call: Call) -> object:
    """`POST /oauth/access_token`: a code, once, for a short token. Its errors come in the flat envelope."""
    params = call.params
    for name in ("client_id", "client_secret", "grant_type", "redirect_uri", "code"):
        if not params.get(name):
            raise ExchangeError(f"Missing required parameter {name}")
    if params["grant_type"] != "authorization_code":
        raise ExchangeError("Invalid grant_type")
    if params["client_id"] != state.app_id or not _is_secret(state, params["client_secret"]):
        raise ExchangeError("Error validating client secret")
    code = state.tokens.code(params["code"])
    if code is None or code.used or call.now >= code.expires:
        raise ExchangeError("Matching code was not found or was already used")
    if params["redirect_uri"] != code.redirect_uri:
        raise ExchangeError("Error validating verification code: redirect_uri is not the one of the dialog")
    code.used = True
    token = state.tokens.issue(code.account, call.now, kind="short", scopes=code.scopes)
    user_id = int(code.account.id) if state.knobs.user_id_shape == "number" else code.account.id
    answer: dict[str, object] = {"access_token": token.text, "user_id": user_id}
    if state.knobs.exchange_expires_in:
        answer |= {"token_type": "bearer", "expires_in": SHORT_LIFE}
    return answer


def app_token(state: State, call: Call) -> object:
    """`GET /oauth/access_token?grant_type=client_credentials`."""
    params = call.params
    allow(params, ("grant_type", "client_id", "client_secret"))
    _grant(params.get("grant_type"), "client_credentials")
    if params.get("client_id") != state.app_id or not _is_secret(state, params.get("client_secret", "")):
        raise invalid("Error validating client secret.")
    return {"access_token": state.tokens.issue_app(call.now).text, "token_type": "bearer"}


def exchange_token(state: State, call: Call) -> object:
    """`GET /access_token?grant_type=th_exchange_token`: an unexpired short token for a long one."""
    allow(call.params, ("grant_type", "client_secret"))
    _grant(call.params.get("grant_type"), "th_exchange_token")
    if not _is_secret(state, call.params.get("client_secret", "")):
        raise invalid("Error validating client secret.")
    short = state.tokens.check(call.token, call.now)
    if short.kind != "short" or short.account is None:
        raise invalid("Only short-lived tokens can be exchanged")
    long = state.tokens.issue(short.account, call.now, scopes=short.scopes, granted=short.granted)
    return _bearer(long, call.now)


def refresh_token(state: State, call: Call) -> object:
    """`GET /refresh_access_token?grant_type=th_refresh_token`: 60 more days for a token 24 h old and not expired."""
    allow(call.params, ("grant_type",))
    _grant(call.params.get("grant_type"), "th_refresh_token")
    token = state.tokens.check(call.token, call.now)
    return _bearer(state.tokens.refresh(token, call.now, state.knobs), call.now)


def debug_token(state: State, call: Call) -> object:
    """`GET /debug_token?input_token=…&access_token=…`: what a token is, asked with a good one of the same app."""
    allow(call.params, ("input_token",))
    state.tokens.check(call.token, call.now)
    text = call.params.get("input_token")
    if not text:
        raise invalid("The parameter input_token is required")
    token = state.tokens.get(text)
    error: dict[str, object] | None = None
    try:
        state.tokens.check(token, call.now)
    except GraphError as refusal:
        error = {"code": refusal.code, "message": refusal.message, "subcode": refusal.subcode}
    data: dict[str, object] = {"is_valid": error is None}
    if token is not None:
        data |= {
            "type": "APP" if token.account is None else "USER",
            "application": "Tidemill simulator",
            "data_access_expires_at": token.granted + 90 * 86_400,
            "expires_at": token.expires,
            "issued_at": token.issued,
            "scopes": sorted(token.scopes),
        }
        if token.account is not None:
            data["user_id"] = token.account.id
    if error is not None:
        data["error"] = {name: value for name, value in error.items() if value is not None}
    return {"data": data}


def _grant(given: str | None, wanted: str) -> None:
    if given != wanted:
        raise invalid(f"Invalid grant_type, must be {wanted}")


def _is_secret(state: State, given: str) -> bool:
    return compare_digest(given.encode(), state.app_secret.encode())


def _bearer(token: Token, now: int) -> dict[str, object]:
    return {"access_token": token.text, "token_type": "bearer", "expires_in": token.expires - now}
