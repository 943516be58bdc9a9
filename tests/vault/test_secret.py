from __future__ import annotations

import copy
import logging
import pickle

import msgspec
import pytest

from tidemill.vault import Secret

TOKEN = Secret("THQVJX-very-secret")


def test_a_secret_never_shows_itself(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        logging.getLogger("test").info("token %s %r", TOKEN, {"token": TOKEN})
    shown = [str(TOKEN), repr(TOKEN), f"{TOKEN} {TOKEN!r} {TOKEN:>40}", "%s" % TOKEN, repr([TOKEN]), caplog.text]  # noqa: UP031
    assert not [text for text in shown if "THQ" in text]


def test_a_secret_cannot_be_written_out_by_accident() -> None:
    with pytest.raises(TypeError):
        pickle.dumps(TOKEN)
    with pytest.raises(TypeError):
        copy.deepcopy(TOKEN)
    with pytest.raises(TypeError):
        msgspec.json.encode({"token": TOKEN})


def test_secrets_are_equal_when_their_texts_are() -> None:
    assert Secret("THQVJX-very-secret") == TOKEN
    assert Secret("other") != TOKEN
    assert TOKEN != "THQVJX-very-secret"
    assert len({TOKEN, Secret("THQVJX-very-secret")}) == 1
    assert TOKEN.reveal() == "THQVJX-very-secret"
    assert not Secret("")
