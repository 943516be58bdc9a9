"""``/notifications``: what a company should know without having to look."""

from __future__ import annotations

from datetime import datetime
from typing import Literal
from uuid import UUID

from tidemill.postgres import Connection, Statements
from tidemill.web.api.call import Answer, Call
from tidemill.web.api.models import Notification, Page
from tidemill.web.api.paging import paged, read_after
from tidemill.web.api.queries import NotificationQuery
from tidemill.web.api.refusals import forbidden, not_found
from tidemill.web.api.route import Route
from tidemill.web.api.rows import struct_of

__all__ = ["NotificationRoutes"]

_SQL = Statements("tidemill.web.api.sql")
_BY_TIME = tuple[Literal["notifications"], datetime, UUID]


class NotificationRoutes:
    """Notifications of the caller's company."""

    async def list(self, conn: Connection, call: Call) -> Answer:
        """Newest first."""
        query: NotificationQuery = call.query
        _, *after = read_after(query.after, _BY_TIME) or (None, None, None)
        rows = await conn.fetch(_SQL.notification_list, query.unread, *after, query.limit + 1)
        items = [struct_of(Notification, row) for row in rows]
        return paged(items, query.limit, lambda item: ("notifications", item.created_at, item.id))

    async def tick_off(self, conn: Connection, call: Call) -> Answer:
        """Read, from the first time on."""
        row = await conn.fetchrow(_SQL.notification_read, call.id)
        if row is None:
            raise not_found() if await conn.fetchrow(_SQL.notification_get, call.id) is None else forbidden()
        return Answer(struct_of(Notification, row))

    def routes(self) -> list[Route]:
        """Its part of the table."""
        return [
            Route(
                method="GET",
                path="/notifications",
                name="listNotifications",
                summary="Notifications, newest first",
                handler=self.list,
                query=NotificationQuery,
                gives=Page[Notification],
            ),
            Route(
                method="PUT",
                path="/notifications/{id}/read",
                name="tickOffNotification",
                summary="Tick a notification off (admins)",
                handler=self.tick_off,
                gives=Notification,
                codes=("FORBIDDEN",),
            ),
        ]
