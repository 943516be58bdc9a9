"""The page about taps, done as it is written, in another place."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.connectors.singer import real
from tests.connectors.singer.support import context
from tidemill.connectors import Window
from tidemill.connectors.singer import SingerConfig, SingerConnector
from tidemill.postgres import Database
from tidemill.settings import Settings

PAGE = (Path(__file__).parents[3] / "docs/how-to/run-a-singer-tap.md").read_text()
COMPANY = "11111111-1111-4111-8111-111111111111"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


@pytest.mark.timeout(1200)
async def test_the_page_leads_to_records(db: Database, tmp_path: Path) -> None:
    program = real.program("tap-spreadsheets", "tap-spreadsheets")
    [commands] = blocks("console")
    made, installed = (shlex.split(line.removeprefix("$ ")) for line in commands.splitlines())
    command = [*made[:-1], "--without-pip", str(tmp_path / "made")]
    await asyncio.to_thread(subprocess.run, command, check=True, timeout=300)
    assert (tmp_path / "made" / "bin" / "python").exists()
    assert installed[0] == f"{made[-1]}/bin/python"
    assert installed[1:] == ["-m", "pip", "install", "tap-spreadsheets"]

    [export, script] = blocks("sh")
    name, _, value = export.strip().removeprefix("export ").partition("=")
    by_environment = Settings.load(environ={name: value}).singer_taps
    (tmp_path / "tidemill.toml").write_text(blocks("toml")[0])
    assert by_environment == Settings.load(environ={}, file=tmp_path / "tidemill.toml").singer_taps
    assert by_environment is not None
    [(allowed, path)] = by_environment.items()
    assert str(path) == f"{made[-1]}/bin/tap-spreadsheets"

    await db.execute("insert into companies (id, code, name) values ($1, 'ada', 'Ada')", COMPANY)
    [statement] = blocks("sql")
    await db.execute(statement)
    [row] = await db.fetch("select provider, config from integration_connectors where company_id = $1", COMPANY)
    assert row["provider"] == SingerConnector({}).spec.name
    config = row["config"] if isinstance(row["config"], dict) else json.loads(row["config"])
    file = tmp_path / "weather.csv"
    shutil.copy(real.weather(), file)
    config["config"]["files"][0]["path"] = str(file)

    wrapper = tmp_path / "wrapper"
    wrapper.write_text(script.replace(str(path), str(program)))
    wrapper.chmod(0o700)
    for runs in (program, wrapper):
        connector = SingerConnector({allowed: runs}, folder=tmp_path / "private")
        [stream] = await connector.streams(context(config))
        assert stream.key == ("origin", "time_hour")
    batches = connector.read(context(config), stream.name, None, Window())
    first = await anext(batches)
    assert len(first.records) == 5000
    await batches.aclose()


def test_the_streams_of_the_page_are_understood() -> None:
    [streams] = blocks("json")
    read = SingerConfig.of({"executable": "tap", "streams": json.loads(streams)})
    assert read.choices is not None
    assert read.choices["orders"].replication_key == "updated_at"


def test_the_fields_of_the_page_are_those_there_are() -> None:
    rows = re.findall(r"^\| `(\w+)` \| ", PAGE, re.MULTILINE)
    assert tuple(rows) == SingerConfig.__struct_fields__
