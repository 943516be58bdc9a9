"""`/me`, `/{user}` and `/{user}/threads_publishing_limit`."""

from __future__ import annotations

from tidemill.simulators.threads.data import Account
from tidemill.simulators.threads.dice import roll
from tidemill.simulators.threads.errors import missing_object
from tidemill.simulators.threads.params import allow, parse_fields
from tidemill.simulators.threads.state import Call, State, authorize

PROFILE_FIELDS = frozenset(
    {
        "id",
        "username",
        "name",
        "threads_profile_picture_url",
        "threads_biography",
        "is_verified",
        "recently_searched_keywords",
        "is_eligible_for_geo_gating",
    }
)
_QUOTAS = {"": 250, "reply_": 1000, "delete_": 100, "keyword_search_": 2200, "location_search_": 500}
_LIMIT_FIELDS = frozenset({f"{p}quota_usage" for p in _QUOTAS} | {f"{p}config" for p in _QUOTAS} | {"id"})


def own(account: Account, node: str) -> Account:
    """The account if the path names it. Raises 100/33 for anybody else."""
    if node not in ("me", account.id):
        raise missing_object(node)
    return account


def profile(state: State, call: Call) -> object:
    """`GET /me?fields=` or `GET /{user}?fields=`."""
    account = own(authorize(state, call, "threads_basic"), call.node)
    allow(call.params, ("fields",))
    values: dict[str, object] = {
        "id": account.id,
        "username": account.username,
        "name": account.name,
        "threads_profile_picture_url": f"https://pictures.example.com/{account.username}.jpg",
        "threads_biography": account.biography,
        "is_verified": account.is_verified,
        "recently_searched_keywords": [],
        "is_eligible_for_geo_gating": False,
    }
    asked = {name: values[name] for name, _ in parse_fields(call.params.get("fields"), PROFILE_FIELDS)}
    if state.knobs.unset_profile_fields == "null":
        return asked
    return {name: value for name, value in asked.items() if value is not None}


def publishing_limit(state: State, call: Call) -> object:
    """`GET /{user}/threads_publishing_limit?fields=`."""
    account = own(authorize(state, call, "threads_content_publish"), call.node)
    allow(call.params, ("fields",))
    values: dict[str, object] = {}
    for ordinal, (prefix, total) in enumerate(_QUOTAS.items()):
        values[f"{prefix}quota_usage"] = roll(account.seed, 40, ordinal, call.now // 86_400) % 8
        values[f"{prefix}config"] = {"quota_total": total, "quota_duration": 86_400}
    asked = [name for name, _ in parse_fields(call.params.get("fields"), _LIMIT_FIELDS) if name != "id"]
    return {"data": [{name: values[name] for name in asked or ("quota_usage", "config")}]}
