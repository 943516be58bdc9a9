"""`/{user}/threads` and `/{post}`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from urllib.parse import urlencode

from tidemill.simulators.threads.clock import stamp
from tidemill.simulators.threads.data import Account, Post
from tidemill.simulators.threads.errors import invalid, missing_object
from tidemill.simulators.threads.metrics import post_metrics
from tidemill.simulators.threads.params import allow, parse_fields, parse_instant_param
from tidemill.simulators.threads.profile import own
from tidemill.simulators.threads.state import Call, State, authorize

EARLIEST = 1_688_540_400
_MOST = 100


def posts(state: State, call: Call) -> object:
    """`GET /{user}/threads`: the account's own posts, one page."""
    account = own(authorize(state, call, "threads_basic"), call.node)
    params, knobs = call.params, state.knobs
    allow(params, ("fields", "since", "until", "limit", "before", "after"))
    fields = parse_fields(params.get("fields"), POST_FIELDS)
    limit = _limit(params, clamp=knobs.limit_over_max == "clamp")
    if "before" in params and "after" in params:
        raise invalid("Cannot specify both before and after")
    numbers = _window(account, params, call.now)
    newest_first = knobs.order == "newest"
    binding = _binding(call)

    # `numbers` rises with time; a page is a slice of it, turned round where the newest come first.
    empty_page = False
    forward = newest_first
    start, stop = numbers.start, numbers.stop
    for name in ("after", "before"):
        if name in params:
            number, empty_page = state.cursors.open(params[name], binding, call.now, knobs.cursor_ttl)
            forward = newest_first == (name == "after")
            if forward:
                stop = min(stop, number)
            else:
                start = max(start, number + 1)
            if empty_page:
                cursor = state.cursors.make(binding, number, call.now)
                paging: dict[str, object] = {"cursors": {"before": cursor, "after": cursor}}
                if knobs.paging_next != "never":
                    paging["next"] = _next(state, call, cursor)
                return {"data": [], "paging": paging}
    page = range(max(start, stop - limit), stop) if forward else range(start, min(stop, start + limit))
    if not page:
        return {"data": []}

    ordered = list(reversed(page)) if newest_first else list(page)
    last = ordered[-1] == (numbers.start if newest_first else numbers.stop - 1)
    empty_next = knobs.empty_page and "after" not in params and "before" not in params and not last
    after = state.cursors.make(binding, ordered[-1], call.now, empty_page=empty_next)
    cursors = {"before": state.cursors.make(binding, ordered[0], call.now)}
    if not last or knobs.last_page_cursor:
        cursors["after"] = after
    paging = {"cursors": cursors}
    if knobs.paging_next == "always" or (knobs.paging_next == "all_but_last" and not last):
        paging["next"] = _next(state, call, after)
    data = [describe(account, account.post(number), fields, call.now) for number in ordered]
    return {"data": data, "paging": paging}


def post(state: State, call: Call) -> object:
    """`GET /{post}?fields=`."""
    account = authorize(state, call, "threads_basic")
    allow(call.params, ("fields",))
    found = account.find(call.node, call.now)
    if found is None:
        raise missing_object(call.node)
    return describe(account, found, parse_fields(call.params.get("fields"), POST_FIELDS), call.now)


def describe(
    account: Account, post: Post, fields: tuple[tuple[str, tuple[str, ...]], ...], now: int
) -> dict[str, object]:
    """The post's fields; what is not set is left out."""
    values: dict[str, object] = {}
    for name, inner in fields:
        value = _children(post, inner) if name == "children" else _FIELDS[name](account, post, now)
        if value is not None:
            values[name] = value
    return values


def _limit(params: Mapping[str, str], *, clamp: bool) -> int:
    text = params.get("limit", "25")
    if not (text.isascii() and text.isdecimal()) or int(text[:9]) < 1:
        raise invalid("Param limit must be a positive number")
    limit = int(text[:9])
    if limit > _MOST and not clamp:
        raise invalid(f"Param limit must be at most {_MOST}")
    return min(limit, _MOST)


def _window(account: Account, params: Mapping[str, str], now: int) -> range:
    since = parse_instant_param(params, "since", now)
    until = parse_instant_param(params, "until", now)
    if since is not None and since < EARLIEST:
        raise invalid(f"Param since must be at least {EARLIEST}")
    if until is not None and until > now:
        raise invalid("Param until must not lie in the future")
    if since is not None and since >= (now if until is None else until):
        raise invalid("Param since must be before until")
    return account.between(since, now if until is None else until)


def _binding(call: Call) -> str:
    query = [(name, call.params[name]) for name in ("fields", "since", "until") if name in call.params]
    return f"{call.token_text} {call.node} {query}"


def _next(state: State, call: Call, cursor: str) -> str:
    kept = {name: value for name, value in call.params.items() if name not in ("after", "before", "access_token")}
    query = urlencode({"access_token": call.token_text or "", **kept, "after": cursor})
    return f"{state.url}/v1.0/{call.node}/threads?{query}"


def _children(post: Post, inner: tuple[str, ...]) -> object:
    if post.media_type != "CAROUSEL_ALBUM":
        return None
    children: list[dict[str, str]] = []
    for ordinal in range(2 + post.chance % 3):
        child = f"19{post.id[2:-1]}{ordinal}"
        all_of_it = {"id": child, "media_type": "IMAGE", "media_url": f"https://media.example.com/{child}.jpg"}
        unknown = next((name for name in inner if name not in all_of_it), None)
        if unknown is not None:
            raise invalid(f"Tried accessing nonexisting field ({unknown})")
        children.append({name: all_of_it[name] for name in ("id", *inner)})
    return {"data": children}


def _media_url(account: Account, post: Post, now: int) -> object:
    kind = {"IMAGE": "jpg", "CAROUSEL_ALBUM": "jpg", "VIDEO": "mp4"}.get(post.media_type)
    return f"https://media.example.com/{post.id}.{kind}" if kind else None


def _permalink(account: Account, post: Post, now: int) -> object:
    flagged = post.media_type == "VIDEO" and post.chance >> 40 & 31 == 0
    return None if flagged else f"https://www.threads.com/@{account.username}/post/{post.shortcode}"


_Field = Callable[[Account, Post, int], object]


def _unset(account: Account, post: Post, now: int) -> None:
    return None


_FIELDS: dict[str, _Field] = {
    "id": lambda account, post, now: post.id,
    "media_product_type": lambda account, post, now: "THREADS",
    "media_type": lambda account, post, now: post.media_type,
    "media_url": _media_url,
    "permalink": _permalink,
    "owner": lambda account, post, now: {"id": account.id},
    "username": lambda account, post, now: account.username,
    "text": lambda account, post, now: post.text or None,
    "timestamp": lambda account, post, now: stamp(post.published),
    "shortcode": lambda account, post, now: post.shortcode,
    "thumbnail_url": lambda account, post, now: (
        f"https://media.example.com/{post.id}-thumb.jpg" if post.media_type == "VIDEO" else None
    ),
    "children": _unset,
    "is_quote_post": lambda account, post, now: post.chance >> 48 & 31 == 0,
    "has_replies": lambda account, post, now: bool(post_metrics(account, post, now)[2]),
    "topic_tag": lambda account, post, now: "tides" if post.chance >> 52 & 7 == 0 else None,
    "is_verified": lambda account, post, now: account.is_verified,
    "profile_picture_url": lambda account, post, now: f"https://pictures.example.com/{account.username}.jpg",
    "is_spoiler_media": lambda account, post, now: False,
    "ghost_post_status": _unset,
    "is_reply": lambda account, post, now: False,
    **dict.fromkeys(
        (
            *("alt_text", "gif_url", "quoted_post", "reposted_post", "link_attachment_url", "poll_attachment"),
            *("location_id", "text_entities", "is_reply_owned_by_me", "root_post", "replied_to", "hide_status"),
            "reply_audience",
        ),
        _unset,
    ),
}
POST_FIELDS = frozenset(_FIELDS)
