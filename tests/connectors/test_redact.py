from __future__ import annotations

from urllib.parse import quote, quote_plus

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.connectors import Redactor
from tidemill.connectors.redact import MAX_RESPONSE_BYTES, MAX_TEXT
from tidemill.vault import Secret

ANY = Redactor()
words = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
secrets = st.text("ghjkqvwxyz/+=&% é\"'", min_size=6, max_size=200).filter(lambda text: len(set(text)) > 3)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | words,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(words, inner, max_size=5),
    max_leaves=30,
)


@given(secrets, words, words, st.sampled_from([str, quote_plus, lambda text: quote(text, safe="")]))
def test_a_known_secret_is_never_kept(secret: str, before: str, after: str, spelling: object) -> None:
    spelled: str = spelling(secret)  # type: ignore[operator]
    redactor = Redactor([Secret(secret)])
    assert spelled not in redactor.text(f"{before}{spelled}{after}")
    kept = redactor.response({before: [f"{before} {spelled}"], spelled: after, "error": {"message": spelled * 40}})
    assert spelled not in msgspec.json.encode(kept).decode()


@given(values)
def test_an_answer_is_kept_small_whatever_it_is(value: object) -> None:
    kept = ANY.response({"error": {"message": "m" * 5000}, "more": [value] * 30})
    assert len(msgspec.json.encode(kept)) <= MAX_RESPONSE_BYTES
    assert len(msgspec.json.encode(ANY.response(value))) <= MAX_RESPONSE_BYTES


@pytest.mark.parametrize(
    "text",
    [
        "https://h/a?access_token=s3cr3tvalue&x=1",
        "https://h/a?x=1&client_secret=s3cr3tvalue",
        "https://h/cb?code=s3cr3tvalue#_",
        "https://h/a%3Faccess_token%3Ds3cr3tvalue",
        "input_token=s3cr3tvalue",
        "refresh_token: see refresh_token=s3cr3tvalue",
        '{"access_token":"s3cr3tvalue"}',
        '{"access_token": "s3cr3tvalue',
        '"{\\"access_token\\":\\"s3cr3tvalue\\"}"',
        "Authorization: Bearer s3cr3tvalue",
        "bearer s3cr3tvalue, and so on",
        "https://user:s3cr3tvalue@host/",
    ],
)
def test_a_secret_is_known_by_where_it_stands(text: str) -> None:
    assert "s3cr3t" not in ANY.text(text)


def test_keys_that_name_secrets_hide_their_values_and_paging_is_dropped() -> None:
    kept = ANY.response(
        {
            "access_token": "abc",
            "Client_Secret": ["abc"],
            "code": "AQDx",
            "paging": {"next": "abc"},
            "error": {"code": 190},
        }
    )
    assert "abc" not in repr(kept)
    assert "AQDx" not in repr(kept)
    assert kept["error"] == {"code": 190}
    assert "paging" not in kept


def test_words_that_are_no_secret_stay() -> None:
    text = "Error validating access token: Session has expired (code 190)"
    assert ANY.text(text) == text
    assert ANY.response({"error": {"code": "190", "message": text}}) == {"error": {"code": "190", "message": text}}


def test_a_secret_at_the_cut_is_not_half_kept() -> None:
    token = "q" + "w7x" * 60
    kept = Redactor([Secret(token)]).text("." * (MAX_TEXT - 50) + token)
    assert "w7x" not in kept
    assert len(kept) <= MAX_TEXT
    assert "w7x" not in Redactor([Secret(token)]).text((token + " ") * 1000)
