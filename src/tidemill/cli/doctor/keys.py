"""Are the secrets there, and do they fit?"""

from __future__ import annotations

from tidemill.cli.doctor.finding import Finding, error, ok, warn
from tidemill.cli.doctor.statements import SQL
from tidemill.errors import ConfigurationError
from tidemill.postgres import Database
from tidemill.settings import Settings
from tidemill.sync.account import token_aad
from tidemill.vault import Keyring, Vault, VaultError
from tidemill.web.functions.cron_auth import CronSecret

_SECRET = "export CRON_SECRET=$(openssl rand -base64 32), here and in the scheduler"  # noqa: S105 - a recipe


def cron_secret(settings: Settings) -> list[Finding]:
    """The functions server has its secret."""
    if not settings.cron_secret:
        return [warn("cron secret", "CRON_SECRET is not set, so tidemill serve and up do not start", _SECRET)]
    try:
        CronSecret(settings)
    except ConfigurationError as e:
        return [error("cron secret", str(e), _SECRET)]
    return [ok("cron secret", "set")]


async def vault(db: Database, settings: Settings) -> list[Finding]:
    """There is a key, and it opens the tokens that are stored."""
    row = await db.fetchrow(SQL.newest_token)
    is_embedded = settings.database_url is None and not settings.vault_keys and settings.env != "production"
    if is_embedded and not (settings.data_dir / "vault.key").exists():
        if row is None:
            return [ok("vault", "no key yet; it is made when it is needed")]
        text = f"{settings.data_dir / 'vault.key'} is missing, but tokens are stored"
        return [error("vault", text, "bring the file back; without it every account must be connected again")]
    try:
        keyring = Keyring.load(settings)
        if row is not None:
            Vault(keyring).open(row["sealed"], token_aad(row["workspace_id"], row["id"]))
    except ConfigurationError as e:
        return [error("vault", str(e), "set TIDEMILL_VAULT_KEYS to the keys that the tokens were sealed with")]
    except VaultError as e:
        text = f"the newest token cannot be opened: {e}"
        return [error("vault", text, "add the key it was sealed with to TIDEMILL_VAULT_KEYS, behind the first")]
    return [ok("vault", f"key {keyring.ids[0]} seals" + (" and the newest token opens" if row else ""))]
