"""``GET /metrics``: figures in the format that the scraper asks for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

from aiohttp import web
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from tidemill.settings import Settings
from tidemill.web.bearer import BearerSecret

__all__ = ["Metrics"]

Source = Callable[[], Awaitable[Iterable[Metric]]]


class Metrics:
    """Answers with what ``source`` gives; where ``TIDEMILL_METRICS_TOKEN`` is set, only to those who show it."""

    def __init__(self, source: Source, settings: Settings) -> None:
        self._source = source
        self._secret = BearerSecret(settings.metrics_token) if settings.metrics_token else None

    async def get(self, request: web.Request) -> web.Response:
        """The figures; 401 without the token, 503 while the database they are read from is away."""
        if self._secret is not None:
            self._secret.require(request)
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        body = encode(_Collected(await self._source()))
        return web.Response(body=body, headers={"Content-Type": content_type})


class _Collected(Collector):
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families
