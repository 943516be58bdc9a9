"""From one page to the next."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from yarl import URL

from tidemill.connectors.errors import ErrorKind, ProviderError
from tidemill.connectors.http_json.config import CursorPaging, LinkPaging, NoPaging, PagePaging, StreamConfig
from tidemill.connectors.http_json.links import next_link

_MAX_CURSOR = 4096


class Walk:
    """The pages of one read, and where the walk has been: a provider that leads in circles is told apart.

    Args:
        base: what every page's URL must be below.
        stream: how its pages follow each other.
        start: the first page, without its paging parameters.
    """

    def __init__(self, base: URL, stream: StreamConfig, start: URL) -> None:
        self._base = base
        self._paging = paging = stream.paging
        self._seen: set[int] = set()  # hashes: cursors may be long, and pages many
        self._position = 0
        self._previous: list[Any] | None = None
        parameters: dict[str, str] = {}
        if not isinstance(paging, NoPaging) and paging.size_parameter is not None:
            parameters[paging.size_parameter] = str(paging.size)
        if isinstance(paging, PagePaging):
            self._position = paging.first
            parameters[paging.parameter] = str(paging.first)
        self.first = start.update_query(parameters)

    def after(self, url: URL, answer: object, records: list[Any], headers: Mapping[str, str]) -> URL | None:
        """The page after ``url``, which gave ``answer`` with ``records``; None when it was the last.

        Raises:
            ProviderError: ``PERMANENT``, the provider leads in circles or to where it must not.
        """
        paging = self._paging
        if isinstance(paging, PagePaging):
            return self._counted(paging, url, records)
        if isinstance(paging, CursorPaging):
            return self._by_cursor(paging, url, answer)
        if isinstance(paging, LinkPaging):
            return self._by_link(url, headers)
        return None

    def _counted(self, paging: PagePaging, url: URL, records: list[Any]) -> URL | None:
        if not records or (paging.end == "short" and len(records) < paging.size):
            return None
        if records == self._previous:
            raise _lost(f"the same page came twice in a row, though {paging.parameter} had moved on")
        self._previous = records
        self._position += len(records) if paging.counts == "records" else 1
        return url.update_query({paging.parameter: str(self._position)})

    def _by_cursor(self, paging: CursorPaging, url: URL, answer: object) -> URL | None:
        cursor = at(answer, paging.path)
        if cursor is None or cursor is False or cursor == "":
            return None
        if isinstance(cursor, bool) or not isinstance(cursor, str | int) or len(str(cursor)) > _MAX_CURSOR:
            raise _lost(f"{paging.path or 'the answer'} holds no cursor of a next page, but {type(cursor).__name__}")
        self._visit(str(cursor), "cursor")
        return url.update_query({paging.parameter: str(cursor)})

    def _by_link(self, url: URL, headers: Mapping[str, str]) -> URL | None:
        target = next_link(headers.get("Link", ""))
        if target is None:
            return None
        try:
            following = url.join(URL(target)).with_fragment(None)
        except ValueError:
            raise _lost("the link to the next page is no URL") from None
        if not _is_below(self._base, following):
            raise _lost("the link to the next page leads away from base_url; it is not followed")
        self._visit(str(following), "link")
        return following

    def _visit(self, place: str, what: str) -> None:
        if (mark := hash(place)) in self._seen:
            raise _lost(f"the same {what} of a next page came twice")
        self._seen.add(mark)


def at(answer: object, path: str) -> object:
    """What stands at ``path`` in a decoded answer; None when nothing does."""
    for name in path.split(".") if path else ():
        if not isinstance(answer, dict):
            return None
        answer = cast(dict[str, Any], answer).get(name)
    return answer


def below(base: URL, path: str) -> URL:
    """``path`` below ``base``; both come from a checked config."""
    return base.with_path(f"{base.raw_path.rstrip('/')}/{path.lstrip('/')}".rstrip("/") or "/", encoded=True)


def _is_below(base: URL, url: URL) -> bool:
    if not (url.scheme and url.host) or url.user is not None or url.password is not None:
        return False
    if url.origin() != base.origin():
        return False
    root = base.path.rstrip("/")
    return (url.path == root or url.path.startswith(f"{root}/")) and ".." not in url.path.replace("\\", "/").split("/")


def _lost(what: str) -> ProviderError:
    return ProviderError(ErrorKind.PERMANENT, f"the paging cannot be followed: {what}")
