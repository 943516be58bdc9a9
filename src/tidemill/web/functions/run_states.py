"""``GET /functions/v1/runs/{id}``: what became of a run."""

from __future__ import annotations

from aiohttp import web

from tidemill.postgres import Database, Statements, tenant_session
from tidemill.web.bearer import bearer_of, unauthorized
from tidemill.web.edge import note
from tidemill.web.functions.cron_auth import CronSecret
from tidemill.web.functions.inputs import uuid_of
from tidemill.web.functions.runs import Runs, state_body
from tidemill.web.jwt import Verifier
from tidemill.web.problems import Problem, json_response

__all__ = ["RunStates"]

_SQL = Statements("tidemill.web.functions.sql")


class RunStates:
    """Shows any run to the holder of the cron secret, and to a user the runs that he started himself."""

    def __init__(self, secret: CronSecret, db: Database, runs: Runs, verifier: Verifier | None) -> None:
        self._secret = secret
        self._db = db
        self._runs = runs
        self._verifier = verifier

    async def get(self, request: web.Request) -> web.Response:
        """The run's state; 404 for a run that is not there or not the caller's to see."""
        token = bearer_of(request)
        if self._secret.admits(token):
            run_id = uuid_of(request.match_info["id"], "id")
        elif self._verifier is not None:
            user = await self._verifier.user(token)
            run_id = uuid_of(request.match_info["id"], "id")
            async with tenant_session(self._db, user.claims) as conn:
                if not await conn.fetchval(_SQL.own_run, run_id):
                    raise _not_found()
        else:
            raise unauthorized()
        note(request, run_id=str(run_id))
        state = await self._runs.state(run_id)
        if state is None:
            raise _not_found()
        return json_response(state_body(state))


def _not_found() -> Problem:
    return Problem(404, "RUN_NOT_FOUND", "There is no such run.")
