"""The command line with a transaction pooler's URL, and with a direct one beside it."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.support import environ, tidemill
from tests.pooler.conftest import Door


def test_migrations_go_over_the_direct_url_and_doctor_finds_nothing_wrong(
    door: Door, empty_database_url: str, tmp_path: Path
) -> None:
    pooled = environ(TIDEMILL_DATABASE_URL=door(empty_database_url, 3), TIDEMILL_POOLED="true")
    both = {**pooled, "TIDEMILL_LISTEN_URL": empty_database_url}
    assert tidemill("migrate", "--check", folder=tmp_path, env=pooled).returncode == 5
    refused = tidemill("migrate", folder=tmp_path, env=pooled)
    assert refused.returncode != 0
    assert "TIDEMILL_LISTEN_URL" in refused.stderr
    done = tidemill("migrate", folder=tmp_path, env=both)
    assert done.returncode == 0, done.stderr
    assert tidemill("migrate", "--check", folder=tmp_path, env=pooled).returncode == 0

    levels = {}
    for name, env in (("pooled", pooled), ("both", both)):
        said = tidemill("doctor", "--json", folder=tmp_path, env=env)
        levels[name] = {f["check"]: f["level"] for f in json.loads(said.stdout)["findings"]}
    assert (levels["pooled"]["listener"], levels["both"]["listener"]) == ("warn", "ok")
    assert levels["pooled"]["schema"] == levels["both"]["schema"] == "ok", levels


def test_doctor_proves_a_transaction_pooler_that_it_was_not_told_of(
    door: Door, database_url: str, tmp_path: Path
) -> None:
    def said(**settings: str) -> dict[str, dict[str, str]]:
        env = environ(TIDEMILL_DATABASE_URL=pooler, **settings)
        findings = json.loads(tidemill("doctor", "--json", folder=tmp_path, env=env).stdout)["findings"]
        return {finding["check"]: finding for finding in findings}

    pooler = door(database_url, 3)
    untold = said()["pooler"]
    assert (untold["level"], "TIDEMILL_POOLED=true" in untold["fix"]) == ("error", True)
    assert said(TIDEMILL_POOLED="true")["pooler"]["level"] == "ok"
