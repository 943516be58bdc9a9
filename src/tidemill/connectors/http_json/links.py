"""The ``Link`` header (RFC 8288), as far as the next page goes."""

from __future__ import annotations

import re

_RELATION = re.compile(r';\s*rel\s*=\s*(?:"([^"]*)"|([^\s;,"]+))', re.IGNORECASE)


def next_link(header: str) -> str | None:
    """The first target whose relation is ``next``; None when there is none. Not yet resolved or checked."""
    for value in header.split("<")[1:]:
        target, closed, parameters = value.partition(">")
        relation = _RELATION.search(parameters)
        if closed and relation and "next" in (relation[1] or relation[2] or "").lower().split():
            return target.strip()
    return None
