"""Connectors by name: built in or brought by a package, with what each takes."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

import msgspec
import pytest

from tidemill.connectors import Batch, Context, Spec, Stream, Window
from tidemill.connectors.registry import Connectors
from tidemill.errors import ConfigurationError, InvalidInput
from tidemill.settings import Settings


class Shelf(msgspec.Struct, forbid_unknown_fields=True):
    room: str
    height: int = 1


class Lax(msgspec.Struct):
    room: str


class Fake:
    def __init__(self, **spec: object) -> None:
        self._spec = Spec(**{"name": "fake", "title": "Fake", **spec})  # type: ignore[arg-type]

    @property
    def spec(self) -> Spec:
        return self._spec

    async def streams(self, ctx: Context) -> Sequence[Stream]:
        return ()

    async def check(self, ctx: Context) -> None:
        return None

    async def read(self, ctx: Context, stream: str, cursor: str | None, window: Window) -> AsyncGenerator[Batch]:
        for batch in ():
            yield batch


def test_the_built_in_ones_are_there() -> None:
    connectors = Connectors.load(Settings())
    assert {"threads", "http"} <= set(connectors)
    assert connectors["http"].spec.secrets == ("token",)


def test_an_unknown_provider_is_told_with_those_that_are_known() -> None:
    connectors = Connectors({"fake": Fake()})
    assert "fake" in connectors
    assert "other" not in connectors
    with pytest.raises(InvalidInput, match="provider: there is no connector 'other' here; known: fake"):
        connectors["other"]
    with pytest.raises(InvalidInput):
        connectors.check_config("other", {})


def test_a_config_is_checked_by_the_connectors_own_struct() -> None:
    connectors = Connectors({"fake": Fake(config=Shelf), "bare": Fake(name="bare")})
    connectors.check_config("fake", {"room": "a", "height": 2})
    for config, message in (
        ({}, "config.room: is required"),
        ({"room": 1}, "config.room: Expected `str`, got `int`"),
        ({"room": "a", "hieght": 1}, "config.hieght: there is no such field"),
    ):
        with pytest.raises(InvalidInput) as caught:
            connectors.check_config("fake", config)
        assert str(caught.value) == message
    connectors.check_config("bare", {})
    with pytest.raises(InvalidInput, match=r"config\.a: bare has nothing to configure"):
        connectors.check_config("bare", {"a": 1})


def test_secrets_are_known_by_name() -> None:
    connectors = Connectors(
        {"fake": Fake(secrets=("token",)), "bare": Fake(name="bare"), "any": Fake(name="any", secrets=("*",))}
    )
    connectors.check_secrets("fake", ["token"])
    connectors.check_secrets("any", ["whatever"])
    with pytest.raises(InvalidInput, match=r"secrets\.tokn: fake takes no such secret; it takes token"):
        connectors.check_secrets("fake", ["tokn"])
    with pytest.raises(InvalidInput, match="takes none"):
        connectors.check_secrets("bare", ["token"])


def test_the_schema_of_a_config_is_json_schema() -> None:
    connectors = Connectors({"fake": Fake(config=Shelf), "bare": Fake(name="bare")})
    shelf = connectors.schema("fake")["$defs"]["Shelf"]
    assert (shelf["required"], shelf["additionalProperties"]) == (["room"], False)
    assert connectors.schema("bare")["additionalProperties"] is False
    assert msgspec.json.encode(Connectors.load(Settings()).schema("http"))


def test_a_connector_under_another_name_or_with_a_lax_config_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="its spec names it 'fake'"):
        Connectors({"other": Fake()})
    with pytest.raises(ConfigurationError, match="Lax must forbid unknown fields"):
        Connectors({"fake": Fake(config=Lax)})


MODULE = """\
from tests.connectors.test_registry import Fake

def shelf(settings):
    assert settings.env
    return Fake(name="shelf")

def broken(settings):
    raise RuntimeError("no shelf today")
"""


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ("shelf = brought_shelf:shelf", None),
        ("shelf = brought_shelf:broken", "connector 'shelf' of brought-shelf cannot be made: RuntimeError: no shelf"),
        ("shelf = brought_shelf:missing", "connector 'shelf' of brought-shelf cannot be made: AttributeError"),
        ("rack = brought_shelf:shelf", "its spec names it 'shelf'"),
        ("http = brought_shelf:shelf", "there is a connector named 'http' already"),
    ],
)
def test_an_installed_package_brings_its_own(
    entry: str, told: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "brought_shelf.py").write_text(MODULE)
    info = tmp_path / "brought_shelf-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: brought-shelf\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[tidemill.connectors]\n{entry}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "brought_shelf", raising=False)
    if told is None:
        assert Connectors.load(Settings())["shelf"].spec.name == "shelf"
        return
    with pytest.raises(ConfigurationError, match=told):
        Connectors.load(Settings())
