"""The pages about connectors say what is so; their configs, code and commands are run."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shlex
import shutil
import subprocess
import sysconfig
import venv
from pathlib import Path

import msgspec
import pytest
from aiohttp import web

from tests.connectors.rest_server import RestServer
from tests.connectors.test_http_json import context, drain
from tidemill.connectors import Batch, Context, Egress, ErrorKind, HttpClient, Spec, Stream, Window
from tidemill.connectors.http_json import HttpConfig, HttpJsonConnector
from tidemill.connectors.http_json.config import StreamConfig
from tidemill.connectors.registry import Connectors
from tidemill.postgres import Database, tenant_session
from tidemill.settings import Settings

ROOT = Path(__file__).parents[2]
REST = (ROOT / "docs/how-to/connect-a-rest-api.md").read_text()
WRITE = (ROOT / "docs/how-to/write-a-connector.md").read_text()
PROTOCOL = (ROOT / "docs/reference/connector-protocol.md").read_text()
TEMPLATE = ROOT / "examples/tidemill-postcards"


def blocks(page: str, kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", page, re.DOTALL | re.MULTILINE)


def rows(page: str, after: str) -> dict[str, list[str]]:
    """The table that follows a text, by its first column."""
    lines = iter(page[page.index(after) + len(after) :].splitlines())
    table: dict[str, list[str]] = {}
    for line in lines:
        if line.startswith("| `"):
            first, *rest = (cell.strip() for cell in line.split("|")[1:-1])
            table[first.strip("`")] = rest
        elif table:
            break
    return table


@pytest.mark.parametrize("text", blocks(REST, "json"), ids=["notes", "orders"])
async def test_the_described_apis_are_read(text: str) -> None:
    async with RestServer() as server, await HttpClient.open() as http:

        async def answer(request: web.Request) -> web.Response:
            if request.path.endswith("/orders"):
                return web.json_response([{"id": 7}])
            times = {"updated_at": "2026-01-02T00:00:00Z", "deleted_at": None}
            gone = {"id": 2, **times, "deleted_at": "2026-01-02T00:00:00Z"}
            items = [{"id": 1, **times}, gone] if request.query["page"] == "1" else []
            return web.json_response({"data": {"items": items}})

        server.script = answer
        config = json.loads(text)
        Connectors.load(Settings()).check_config("http", config)
        config["base_url"] = config["base_url"].replace("https://api.example.com", server.url)
        ctx = context(http, config)
        connector = HttpJsonConnector(Egress.of(["127.0.0.1"]))
        [stream] = await connector.streams(ctx)
        batches, error = await drain(connector.read(ctx, stream.name, None, Window()))
        assert error is None
        [record] = [record for batch in batches for record in batch.records]
        if stream.name == "notes":
            assert (record["id"], batches[0].deletes) == (1, ["[2]"])
            assert batches[-1].cursor_after == "2026-01-02T00:00:00Z"
        else:
            assert record == {"id": 7}


def test_each_kind_of_paging_on_the_page_is_one() -> None:
    kinds = [msgspec.json.decode(kind) for kind in rows(REST, "| `paging` | The next page is |")]
    assert {kind["kind"] for kind in kinds} == {"none", "page", "cursor", "link"}
    for kind in kinds:
        stream = {"name": "a", "path": "a", "paging": kind}
        Connectors.load(Settings()).check_config("http", {"base_url": "https://x.example", "streams": [stream]})


@pytest.mark.parametrize(("kind", "heading"), [(HttpConfig, "Of the API:"), (StreamConfig, "Of a stream:")])
def test_the_page_lists_every_field_of_the_config_with_its_default(kind: type[msgspec.Struct], heading: str) -> None:
    documented = {name: cells[0].strip("`") for name, cells in rows(REST, heading).items()}
    for field in msgspec.structs.fields(kind):
        shown = documented.pop(field.name)
        if field.required:
            assert shown == "", field.name
            continue
        default = field.default_factory() if field.default is msgspec.NODEFAULT else field.default
        assert msgspec.convert(msgspec.json.decode(shown), field.type) == default, field.name
    assert documented == {}


async def test_the_connector_is_defined_by_the_pages_statement(db: Database) -> None:
    [statement] = blocks(REST, "sql")
    company = await db.fetchval("insert into companies (code, name) values ('ada', 'Ada') returning id")
    claims = {"company_id": str(company), "role": "authenticated", "app_metadata": {"role_keys": ["Vibot.admin"]}}
    async with tenant_session(db, claims) as conn:
        await conn.execute(statement, json.loads(blocks(REST, "json")[0]))
    assert await db.fetchval("select config ->> 'base_url' from integration_connectors") == "https://api.example.com/v1"


def test_the_setting_on_the_page_is_taken() -> None:
    [line] = blocks(REST, "sh")
    name, _, value = line.removeprefix("export ").strip().partition("=")
    assert Egress.load(Settings.load(environ={name: value})).hosts == {"api.internal"}


def test_the_code_on_the_page_is_the_templates() -> None:
    files = [_bare(path.read_text()) for path in [*TEMPLATE.rglob("*.py"), TEMPLATE / "pyproject.toml"]]
    for block in blocks(WRITE, "python") + blocks(WRITE, "toml"):
        assert any(_bare(block) in text for text in files), block


def _bare(code: str) -> str:
    """Without its layout, which the formatter sets anew on a page."""
    return re.sub(r"\s+", "", code)


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """An environment of its own that sees this one's packages, without a registry."""
    venv.create(tmp_path / "venv", with_pip=False)
    here = sysconfig.get_path("purelib")
    there = sysconfig.get_path("purelib", vars={"base": str(tmp_path / "venv")})
    Path(there, "here.pth").write_text(f"{here}\n{ROOT / 'src'}\n")
    environ = {
        name: value for name, value in os.environ.items() if not name.startswith(("TIDEMILL_", "PYTEST_", "PIP_"))
    }
    environ["PATH"] = f"{tmp_path / 'venv' / 'bin'}:{environ['PATH']}"
    # pip reads the variable of this flag the other way round: 0 is what --no-build-isolation says.
    return {**environ, "PIP_NO_INDEX": "1", "PIP_NO_BUILD_ISOLATION": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}


def test_the_pages_commands_install_the_template_and_run_its_tests(environment: dict[str, str], tmp_path: Path) -> None:
    shutil.copytree(TEMPLATE, tmp_path / "copy", ignore=shutil.ignore_patterns("__pycache__", ".pytest_cache"))
    [block] = blocks(WRITE, "console")
    commands = [line.removeprefix("$ ") for line in block.splitlines()]
    assert len(commands) == 2
    for command in commands:
        ran = subprocess.run(
            ["bash", "-euc", f"{command} {'-p no:asyncio -p no:anyio' if 'pytest' in shlex.split(command) else ''}"],
            cwd=tmp_path / "copy",
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=240,
        )
        assert ran.returncode == 0, f"$ {command}\n{ran.stdout}\n{ran.stderr}"
    assert re.search(r"24 passed, 1 skipped", ran.stdout), ran.stdout


@pytest.mark.parametrize("kind", [Spec, Stream, Context, Batch, Window], ids=lambda kind: kind.__name__)
def test_the_reference_lists_every_field(kind: type) -> None:
    assert list(rows(PROTOCOL, f"## `{kind.__name__}`")) == [field.name for field in dataclasses.fields(kind)]


def test_the_reference_lists_every_kind_of_error() -> None:
    assert list(rows(PROTOCOL, "## `ProviderError` and its kinds")) == [kind.value for kind in ErrorKind]
