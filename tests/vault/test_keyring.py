from __future__ import annotations

import base64
import multiprocessing
import os
from pathlib import Path

import pytest

from tidemill.errors import ConfigurationError
from tidemill.settings import Settings
from tidemill.vault import Keyring
from tidemill.vault.keyfile import read_or_make

KEY = bytes(range(224, 256))
TEXT = base64.b64encode(KEY).decode()
URL_SAFE = base64.urlsafe_b64encode(KEY).rstrip(b"=").decode()


def test_keys_are_read_in_their_order() -> None:
    ring = Keyring.parse(f"new:{TEXT}, old:{URL_SAFE},")
    assert ring.ids == ("new", "old")
    assert ring.first() == ("new", KEY)
    assert ring.get("old") == KEY
    assert ring.get("other") is None
    assert repr(ring) == "Keyring(new, old)"


@pytest.mark.parametrize(
    "text",
    [
        "",
        ",",
        TEXT,
        f":{TEXT}",
        f"k:{TEXT[:-8]}",
        f"k:{TEXT}AAAA",
        "k:not base64!",
        f"k k:{TEXT}",
        f"k:{TEXT},k:{TEXT}",
    ],
)
def test_a_bad_keyring_is_refused_without_showing_a_key(text: str) -> None:
    with pytest.raises(ConfigurationError, match="vault keys") as caught:
        Keyring.parse(text)
    assert TEXT[:12] not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_the_setting_wins_and_makes_no_file(tmp_path: Path) -> None:
    assert Keyring.load(Settings(vault_keys=f"k1:{TEXT}", data_dir=tmp_path)).ids == ("k1",)
    assert not list(tmp_path.iterdir())


def test_the_embedded_default_makes_its_key_once(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data")
    first = Keyring.load(settings)
    assert Keyring.load(settings).first() == first.first()
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["vault.key"]
    assert (tmp_path / "data" / "vault.key").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("settings", [{"env": "production"}, {"database_url": "postgresql://somewhere/db"}])
def test_elsewhere_a_key_must_be_given(tmp_path: Path, settings: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match="TIDEMILL_VAULT_KEYS is not set"):
        Keyring.load(Settings(data_dir=tmp_path, **settings))  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    Keyring.load(Settings(data_dir=tmp_path))
    (tmp_path / "vault.key").chmod(0o640)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        Keyring.load(Settings(data_dir=tmp_path))


def test_a_link_in_place_of_the_key_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text(f"k:{TEXT}")
    (tmp_path / "vault.key").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigurationError, match=r"vault\.key"):
        Keyring.load(Settings(data_dir=tmp_path))


def test_a_damaged_key_file_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "vault.key").touch(mode=0o600)
    with pytest.raises(ConfigurationError):
        Keyring.load(Settings(data_dir=tmp_path))
    assert (tmp_path / "vault.key").read_text() == ""


def _make(path: str, barrier: object, results: object) -> None:
    barrier.wait(60)  # type: ignore[attr-defined]
    results.put(read_or_make(Path(path)))  # type: ignore[attr-defined]


def test_processes_that_start_together_get_the_same_key(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    barrier, results = spawn.Barrier(4), spawn.Queue()
    processes = [spawn.Process(target=_make, args=(str(tmp_path / "vault.key"), barrier, results)) for _ in range(4)]
    for process in processes:
        process.start()
    keys = {results.get(timeout=120) for _ in processes}
    for process in processes:
        process.join(60)
    assert len(keys) == 1
    assert os.listdir(tmp_path) == ["vault.key"]  # noqa: PTH208
