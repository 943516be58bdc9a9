"""`/{post}/insights` and `/{user}/threads_insights`."""

from __future__ import annotations

from datetime import date
from urllib.parse import urlencode

from tidemill.simulators.threads import metrics
from tidemill.simulators.threads.clock import stamp
from tidemill.simulators.threads.data import DAY, Account
from tidemill.simulators.threads.errors import GraphError, invalid, missing_object
from tidemill.simulators.threads.metrics import POST_METRICS
from tidemill.simulators.threads.params import allow, parse_instant_param, parse_names
from tidemill.simulators.threads.profile import own
from tidemill.simulators.threads.state import Call, State, authorize

ACCOUNT_METRICS = ("views", *metrics.ACCOUNT_TOTALS, "clicks", "followers_count", "follower_demographics")
EARLIEST = 1_712_991_600
BREAKDOWNS = ("country", "city", "age", "gender")


def _template(name: str) -> bytes:
    # The provider's own examples call the id of `replies` by another name: clients must go by `name`.
    in_id = "thread_replies" if name == "replies" else name
    head = f'{{"name":"{name}","period":"lifetime","values":[{{"value":%d}}],"title":"{name.title()}",'
    return f'{head}"description":"The number of {name} of the post.","id":"%b/insights/{in_id}/lifetime"}}'.encode()


_ORDINALS = {name: ordinal for ordinal, name in enumerate(POST_METRICS)}
_TEMPLATES = tuple(_template(name) for name in POST_METRICS)


def post_insights(state: State, call: Call) -> bytes:
    """`GET /{post}/insights?metric=`. Written as bytes: it is nine calls of ten."""
    account = authorize(state, call, "threads_manage_insights")
    names = _metric_names(state, call, POST_METRICS, ())
    post = account.find(call.node, call.now)
    if post is None:
        raise missing_object(call.node)
    if post.media_type == "REPOST_FACADE":
        return b'{"data":[]}'
    values = metrics.post_metrics(account, post, call.now)
    media_id = post.id.encode()
    lines: list[bytes] = []
    for name in names:
        ordinal = _ORDINALS[name]
        value = values[ordinal]
        if value is not None:
            lines.append(_TEMPLATES[ordinal] % (value, media_id))
    return b'{"data":[%b]}' % b",".join(lines)


def account_insights(state: State, call: Call) -> object:
    """`GET /{user}/threads_insights?metric=[&since&until][&breakdown]`."""
    account = own(authorize(state, call, "threads_manage_insights"), call.node)
    names = _metric_names(state, call, ACCOUNT_METRICS, ("since", "until", "breakdown"))
    since, until = _window(state, call)
    windowed = "since" in call.params or "until" in call.params
    if "breakdown" in call.params and "follower_demographics" not in names:
        raise invalid("Param breakdown is only for follower_demographics")
    if windowed and "follower_demographics" in names:
        raise invalid("follower_demographics does not support since and until")
    if windowed and "followers_count" in names and state.knobs.followers_window == "reject":
        raise invalid("followers_count does not support since and until")
    window = list(metrics.days(since, until))
    data = [_account_metric(state, call, account, name, window) for name in names]
    span = until - since
    paging = {
        "previous": _page_url(state, call, since - span, since),
        "next": _page_url(state, call, until, until + span),
    }
    return {"data": data, "paging": paging}


def _metric_names(state: State, call: Call, known: tuple[str, ...], extra: tuple[str, ...]) -> tuple[str, ...]:
    also = ("fields",) if state.knobs.fields_on_insights == "ignore" else ()
    allow(call.params, ("metric", *extra, *also))
    text = call.params.get("metric")
    if not text:
        raise invalid("The parameter metric is required")
    names = parse_names(text, known)
    if isinstance(names, tuple):
        return names
    if state.knobs.unknown_metric_code == 1:
        raise GraphError(1, "An unknown error has occurred.")
    raise invalid(f"metric[0] must be one of the following values: {', '.join(known)}; not {names[:40]}")


def _window(state: State, call: Call) -> tuple[int, int]:
    """The window asked for, in seconds; without since and until, yesterday and today."""
    now = call.now
    since = parse_instant_param(call.params, "since", now)
    until = parse_instant_param(call.params, "until", now)
    if until is None:
        until = now
    if until > now + DAY:
        raise invalid("Param until must not lie in the future")
    if since is None:
        since = metrics.bounds(next(metrics.days(until - DAY, until - DAY)))[0]
    if since < EARLIEST:
        raise invalid(f"Param since must be at least {EARLIEST}")
    if since >= until:
        raise invalid("Param since must be before until")
    most = state.knobs.max_insights_days
    if most is not None and until - since > most * DAY:
        raise invalid(f"There cannot be more than {most} days between since and until")
    return since, until


def _account_metric(state: State, call: Call, account: Account, name: str, window: list[date]) -> dict[str, object]:
    now = call.now
    line: dict[str, object] = {"name": name, "period": "day"}
    if name == "views":
        line["values"] = _day_values(state, account, window, now)
    elif name == "clicks":
        clicks = metrics.link_clicks(account, window, now)
        line["link_total_values"] = [{"value": value, "link_url": url} for url, value in clicks]
    elif name == "followers_count":
        line["total_value"] = {"value": metrics.followers(account, now)}
    elif name == "follower_demographics":
        line["total_value"] = {"breakdowns": [_breakdown(call, account, now)]}
    else:
        line["total_value"] = {"value": metrics.window_total(account, name, window, now)}
    line |= {"title": name, "description": f"The account's {name}.", "id": f"{account.id}/insights/{name}/day"}
    return line


def _day_values(state: State, account: Account, window: list[date], now: int) -> list[dict[str, object]]:
    side = 1 if state.knobs.day_stamp == "end" else 0
    values: list[dict[str, object]] = []
    for day in window:
        views = metrics.day_views(account, day, now)
        if views is not None:
            values.append({"value": views, "end_time": stamp(metrics.bounds(day)[side])})
    return values


def _breakdown(call: Call, account: Account, now: int) -> dict[str, object]:
    breakdown = call.params.get("breakdown")
    if breakdown not in BREAKDOWNS:
        raise invalid(f"Param breakdown must be one of {', '.join(BREAKDOWNS)}")
    if metrics.followers(account, now) < 100:
        raise invalid("follower_demographics needs at least 100 followers")
    results = [{"dimension_values": [n], "value": v} for n, v in metrics.demographics(account, breakdown, now)]
    return {"dimension_keys": [breakdown], "results": results}


def _page_url(state: State, call: Call, since: int, until: int) -> str:
    kept = {name: value for name, value in call.params.items() if name in ("metric", "breakdown")}
    query = urlencode({"access_token": call.token_text or "", **kept, "since": since, "until": until})
    return f"{state.url}/v1.0/{call.node}/threads_insights?{query}"
