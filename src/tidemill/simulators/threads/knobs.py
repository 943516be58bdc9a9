"""What the provider leaves open, as switches: a client should pass with each of them in every position."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Knobs:
    """Behaviour of the Threads API that its documentation does not settle, and limits worth shrinking in a test.

    Certainty: `doc` the documentation says so; `seen` observed by third parties; `open` nobody outside knows.

    ==========================  =============  =========  ==========================================================
    knob                        default        certainty  meaning
    ==========================  =============  =========  ==========================================================
    status                      documented     open       HTTP status of errors: by code, or the same for all
    status_by_code              {}             open       HTTP status of single error codes; wins over `status`
    throttle_code               17             seen       4, 341 app; 17 user; 32 page; 613 custom; 80002 use case
    throttle_transient          True           seen       throttles say `is_transient: true`
    retry_after                 False          open       throttles carry a Retry-After header, in seconds
    usage_header                both           open       which usage header is sent: app, business, both, none
    usage_header_from           50             open       per cent of the budget from which usage headers are sent
    budget                      48000          doc        calls a user has in 24 hours, rolling (4800 x 10 impressions)
    too_young_code              100            open       error of refreshing a token younger than 24 h: 100 or 190
    old_token_survives_refresh  True           open       the token that was refreshed keeps working
    refresh_rotates             True           open       a refresh answers a new token, not the same one
    exchange_expires_in         False          seen       the code exchange answers `expires_in` too
    user_id_shape               number         doc, seen  `user_id` of the code exchange: number (doc) or string
    consent                     allow          -          what the person at the consent page does
    paging_next                 all_but_last   open       pages that carry `paging.next`: all_but_last, never, always
    last_page_cursor            True           open       the last page has a `cursors.after`
    empty_page                  False          seen       an empty page, with cursors, stands between pages one and two
    cursor_ttl                  3600           open       seconds a cursor is good for
    order                       newest         open       posts come newest or oldest first
    limit_over_max              reject         open       a `limit` over 100 is an error (reject) or means 100 (clamp)
    unknown_metric_code         1              seen       error for a metric the endpoint does not know: 1 or 100
    fields_on_insights          reject         open       `fields=` on the insights edges: reject or ignore
    followers_window            reject         open       followers_count with since/until: reject or ignore
    max_insights_days           None           open       longest since..until of user insights, in days
    day_stamp                   end            open       a day's `end_time` is its end, or (start) its beginning
    unset_profile_fields        omit           open       a name or biography not set is left out, or null
    ==========================  =============  =========  ==========================================================
    """

    status: Literal["documented", "all_400", "all_403", "all_429", "all_500"] = "documented"
    status_by_code: dict[int, int] = field(default_factory=dict[int, int])
    throttle_code: Literal[4, 17, 32, 341, 613, 80002] = 17
    throttle_transient: bool = True
    retry_after: bool = False
    usage_header: Literal["app", "business", "both", "none"] = "both"
    usage_header_from: int = 50
    budget: int = 48_000
    too_young_code: Literal[100, 190] = 100
    old_token_survives_refresh: bool = True
    refresh_rotates: bool = True
    exchange_expires_in: bool = False
    user_id_shape: Literal["number", "string"] = "number"
    consent: Literal["allow", "deny"] = "allow"
    paging_next: Literal["all_but_last", "never", "always"] = "all_but_last"
    last_page_cursor: bool = True
    empty_page: bool = False
    cursor_ttl: int = 3600
    order: Literal["newest", "oldest"] = "newest"
    limit_over_max: Literal["reject", "clamp"] = "reject"
    unknown_metric_code: Literal[1, 100] = 1
    fields_on_insights: Literal["reject", "ignore"] = "reject"
    followers_window: Literal["reject", "ignore"] = "reject"
    max_insights_days: int | None = None
    day_stamp: Literal["end", "start"] = "end"
    unset_profile_fields: Literal["omit", "null"] = "omit"
