"""What every command is told before its own options, and how that becomes settings."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import click

from tidemill.cli.exits import NotFound
from tidemill.errors import SchemaOutOfDate
from tidemill.postgres import Database, check, database_url
from tidemill.settings import Settings

DEMO = "demo"
"""The demo's folder below the data folder."""


@dataclass(frozen=True, slots=True)
class Options:
    """The global options, as given."""

    database_url: str | None = None
    data_dir: Path | None = None
    config: Path | None = None

    def settings(self) -> Settings:
        """The settings of this command.

        A data folder named on the command line means its embedded server and key, whatever the environment names.

        Raises:
            ConfigurationError: naming the setting that is wrong.
        """
        settings = Settings.load(file=self.config, database_url=self.database_url, data_dir=self.data_dir)
        if self.data_dir is not None and self.database_url is None:
            settings = dataclasses.replace(settings, database_url=None, listen_url=None, pooled=False)
            settings = _with_own_keys(settings)
        return settings

    def for_child(self) -> tuple[list[str], dict[str, str]]:
        """The same options for a child: arguments and environment. A URL may hold a password, so it is no argument."""
        given = {"--config": self.config}
        if self.database_url is None:
            given["--data-dir"] = self.data_dir
        arguments = [text for name, value in given.items() if value is not None for text in (name, str(value))]
        environ = dict(os.environ)
        if self.database_url is not None:
            environ["TIDEMILL_DATABASE_URL"] = self.database_url
            if self.data_dir is not None:
                environ["TIDEMILL_DATA_DIR"] = str(self.data_dir)
        return arguments, environ

    def reading(self) -> Settings:
        """The settings of a command that only looks.

        Where there is neither a database of one's own nor an embedded one, but a demo has been run, its data is looked
        at; a line on standard error says so.

        Raises:
            NotFound: there is no database here yet. Looking does not make one.
        """
        settings = self.settings()
        if settings.database_url or has_cluster(settings.data_dir):
            return settings
        demo = settings.data_dir / DEMO
        if self.data_dir is None and has_cluster(demo):
            click.echo(f"No database of your own here yet; showing the demo's ({demo}).", err=True)
            return _with_own_keys(dataclasses.replace(settings, data_dir=demo))
        return self.existing()

    def existing(self) -> Settings:
        """The settings of a command that must not make a database.

        Raises:
            NotFound: there is none here yet.
        """
        settings = self.settings()
        if settings.database_url or has_cluster(settings.data_dir):
            return settings
        raise NotFound(
            f"There is no database in {settings.data_dir} yet. Run: tidemill demo, "
            "or set TIDEMILL_DATABASE_URL to a database of yours."
        )


pass_options = click.make_pass_decorator(Options)
by_option = click.option("--by", metavar="NAME", help="Who says so; shown in the list. [default: the user]")


def who(by: str | None) -> str:
    """Whose word a change is: what ``--by`` gave, or the user."""
    return by or os.environ.get("USER") or "an operator"


def _with_own_keys(settings: Settings) -> Settings:
    """The folder's tokens are sealed with the key that lies beside them, where one does."""
    if (settings.data_dir / "vault.key").exists():
        return dataclasses.replace(settings, vault_keys=None)
    return settings


def has_cluster(data_dir: Path) -> bool:
    """Whether an embedded server was ever made in this folder."""
    return (data_dir / "postgres.json").is_file()


@asynccontextmanager
async def open_database(settings: Settings, *, name: str = "tidemill cli") -> AsyncGenerator[Database]:
    """The database, open, with its schema known to be current; nothing is changed.

    Raises:
        DatabaseUnavailable: it cannot be reached.
        SchemaOutOfDate: ``tidemill migrate`` has to be run first.
    """
    async with database_url(settings) as url:
        state = await check(settings.listen_url or url)
        if state.pending:
            raise SchemaOutOfDate(f"the database lacks {len(state.pending)} migrations; run: tidemill migrate")
        async with await Database.open(url, max_size=4, name=name, pooled=settings.pooled) as db:
            yield db
