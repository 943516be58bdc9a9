"""The functions server: the HTTP doors of the syncs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog
from aiohttp import web

from tidemill.errors import ConfigurationError
from tidemill.postgres import Database
from tidemill.settings import Settings
from tidemill.web.api import Api
from tidemill.web.cors import Cors
from tidemill.web.edge import edge, seal_headers
from tidemill.web.functions.cron_auth import CronSecret
from tidemill.web.functions.door import SyncDoor
from tidemill.web.functions.inputs import MAX_BODY
from tidemill.web.functions.manual import ENDPOINTS, ManualSync
from tidemill.web.functions.run_states import RunStates
from tidemill.web.functions.runs import Runs
from tidemill.web.functions.scheduled import ScheduledSync
from tidemill.web.health import Readiness, healthz
from tidemill.web.jwks import Jwks
from tidemill.web.jwt import SharedSecret, Verifier
from tidemill.web.metrics import FleetFigures, Metrics
from tidemill.web.serving import serving

__all__ = ["build_functions", "serve"]

log = structlog.get_logger()


def build_functions(settings: Settings, db: Database, sync: SyncDoor, api: Api | None = None) -> web.Application:
    """The application: scheduled and manual syncs below ``/functions/v1``, ``/healthz``, ``/readyz``, ``/metrics``.

    With ``api`` it serves that too, below ``/api/v1``, to users of the same tokens.

    Raises:
        ConfigurationError: CRON_SECRET is missing or too short, the keys for user tokens are unfit or given twice, or
            an origin is not one.
    """
    secret = CronSecret(settings)
    keys = _key_source(settings)
    verifier = Verifier(keys, settings.jwt_audience) if keys else None
    cors = Cors(settings.cors_origins)
    runs = Runs(sync)
    manual = ManualSync(db, sync, runs, verifier)

    app = web.Application(middlewares=[edge, cors.middleware()], client_max_size=MAX_BODY)
    app.router.add_post("/functions/v1/scheduled-sync", ScheduledSync(secret, sync, runs).post)
    for name in ENDPOINTS:
        app.router.add_post(f"/functions/v1/{name}", manual.endpoint(name))
    app.router.add_get("/functions/v1/runs/{id}", RunStates(secret, db, runs, verifier).get)
    if api is not None:
        api.mount(app, db, verifier)
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", Readiness(db, runs.stopping).readyz)
    app.router.add_get("/metrics", Metrics(FleetFigures(db).read, settings).get)

    app.on_response_prepare.extend([seal_headers, cors.seal])
    app.on_shutdown.append(runs.stop)
    if isinstance(keys, Jwks):
        app.cleanup_ctx.append(keys.lifetime)
    if verifier is None:
        log.info("manual syncs and the API are off: set TIDEMILL_JWT_SECRET or TIDEMILL_JWKS_URL to accept user tokens")
    return app


async def serve(
    settings: Settings,
    db: Database,
    sync: SyncDoor,
    *,
    stop: asyncio.Event,
    api: Api | None = None,
    host: str = "127.0.0.1",
    port: int = 8080,
    ready: Callable[[str], None] = lambda url: None,
) -> None:
    """Serve until ``stop`` is set; then take no new requests and give those in flight ten seconds to end.

    Args:
        settings: what :func:`build_functions` reads.
        db: an open database; it stays open.
        sync: the sync room's door.
        stop: set it to end.
        api: the tenants' API, if it is to be served.
        host: the address to listen on.
        port: the port; 0 chooses a free one.
        ready: called with the server's URL once it listens.

    Raises:
        ConfigurationError: as :func:`build_functions`, or the address cannot be listened on.
    """
    async with serving(build_functions(settings, db, sync, api), host=host, port=port) as url:
        ready(url)
        await stop.wait()


def _key_source(settings: Settings) -> SharedSecret | Jwks | None:
    if settings.jwt_secret and settings.jwks_url:
        raise ConfigurationError(
            "TIDEMILL_JWT_SECRET and TIDEMILL_JWKS_URL are both set; user tokens have one kind of key"
        )
    if settings.jwt_secret:
        return SharedSecret(settings.jwt_secret)
    return Jwks(settings.jwks_url) if settings.jwks_url else None
