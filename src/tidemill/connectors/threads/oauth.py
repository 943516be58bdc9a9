"""Threads' OAuth: consent → code → short token → long token → refreshed, as long as it is never let expire.

All of these take their secrets in the query or the form, as documented; none is ever logged or put into an error.
"""

from __future__ import annotations

import time
from urllib.parse import urlencode

from yarl import URL

from tidemill.connectors.gate import Scopes
from tidemill.connectors.http import Caller, HttpClient, base_url
from tidemill.connectors.threads import answers
from tidemill.connectors.threads.errors import ThreadsDialect
from tidemill.connectors.threads.models import LongToken, ShortToken
from tidemill.errors import ConfigurationError
from tidemill.settings import Settings
from tidemill.vault import Secret

PERMISSIONS = ("threads_basic", "threads_manage_insights")
_CALL_S = 30.0


class ThreadsOAuth:
    """The app's side of the consent.

    ``base`` is the API's host. The consent page is on the same host without ``graph.`` (``https://threads.net`` for
    ``https://graph.threads.net``), so a stand-in serves both.
    """

    def __init__(
        self,
        http: HttpClient,
        *,
        base: str,
        app_id: str,
        app_secret: Secret,
        redirect_uri: str,
        permissions: tuple[str, ...] = PERMISSIONS,
    ) -> None:
        self._http = http
        self._base = base_url(base, "TIDEMILL_THREADS_BASE_URL")
        self._app_id = app_id
        self._app_secret = app_secret
        self._redirect_uri = redirect_uri
        self._permissions = permissions

    @classmethod
    def load(cls, http: HttpClient, settings: Settings) -> ThreadsOAuth:
        """From the settings.

        Raises:
            ConfigurationError: naming the one that is missing.
        """
        app_id, secret, redirect = settings.threads_app_id, settings.threads_app_secret, settings.threads_redirect_uri
        if not app_id or not secret or not redirect:
            missing = "APP_ID" if not app_id else "APP_SECRET" if not secret else "REDIRECT_URI"
            raise ConfigurationError(f"TIDEMILL_THREADS_{missing} is not set: connecting accounts needs it")
        return cls(
            http, base=settings.threads_base_url, app_id=app_id, app_secret=Secret(secret), redirect_uri=redirect
        )

    def authorize_url(self, state: str) -> str:
        """Where to send the account's owner. ``state`` comes back with the code and must be checked there."""
        query = {
            "client_id": self._app_id,
            "redirect_uri": self._redirect_uri,
            "scope": ",".join(self._permissions),
            "response_type": "code",
            "state": state,
        }
        host = self._base.replace("://graph.", "://", 1)
        return f"{host}/oauth/authorize?{urlencode(query)}"

    async def exchange_code(self, code: Secret, *, deadline: float | None = None) -> ShortToken:
        """Exchange the code of the redirect, which works once and for an hour. A trailing ``#_`` is not part of it.

        Raises:
            ProviderError: ``INVALID_REQUEST`` when the code is wrong, used or too old: consent has to be given anew.
        """
        code = Secret(code.reveal().removesuffix("#_"))
        form = {
            "client_id": self._app_id,
            "client_secret": self._app_secret.reveal(),
            "grant_type": "authorization_code",
            "redirect_uri": self._redirect_uri,
            "code": code.reveal(),
        }
        # A repetition does no harm: if the lost answer had spent the code, it says so, and consent is due anyway.
        url = URL(f"{self._base}/oauth/access_token", encoded=True)
        return await self._caller(deadline, self._app_secret, code).post_form(url, form, answers.read_short_token)

    async def exchange_long(self, short: Secret, *, deadline: float | None = None) -> LongToken:
        """Exchange a short token, while it lives, for one of about 60 days."""
        query = {
            "grant_type": "th_exchange_token",
            "client_secret": self._app_secret.reveal(),
            "access_token": short.reveal(),
        }
        url = self._url("access_token", query)
        return await self._caller(deadline, self._app_secret, short).get(url, answers.read_long_token)

    async def refresh(self, token: Secret, *, deadline: float | None = None) -> LongToken:
        """Renew a long token that is at least 24 hours old and not expired. The new one may or may not replace it.

        Whether the provider lets the old one live on is not documented: keep the new one before anything else.
        """
        url = self._url("refresh_access_token", {"grant_type": "th_refresh_token", "access_token": token.reveal()})
        return await self._caller(deadline, token).get(url, answers.read_long_token)

    def _url(self, path: str, query: dict[str, str]) -> URL:
        return URL(f"{self._base}/{path}?{urlencode(query)}", encoded=True)

    def _caller(self, deadline: float | None, *secrets: Secret) -> Caller:
        return self._http.caller(
            ThreadsDialect(),
            scopes=Scopes.of("threads", self._app_id),
            deadline=time.monotonic() + _CALL_S if deadline is None else deadline,
            secrets=secrets,
        )
