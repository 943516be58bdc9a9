from __future__ import annotations

import base64
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.vault import Aad, Keyring, Vault, VaultError

OLD, NEW = os.urandom(32), os.urandom(32)
VAULT = Vault(Keyring([("k1", OLD)]))
HERE = Aad("tenant", "tokens", "7", "access_token")
texts = st.text(st.characters(exclude_categories=["Cs"]))
places = st.builds(Aad, texts, texts, texts, texts)


@given(texts, places)
def test_what_is_sealed_opens_in_its_place(text: str, aad: Aad) -> None:
    assert VAULT.open(VAULT.seal(text, aad), aad) == text


@given(texts, places, places)
def test_nothing_opens_in_another_place(text: str, aad: Aad, other: Aad) -> None:
    if aad != other:
        with pytest.raises(VaultError):
            VAULT.open(VAULT.seal(text, aad), other)


def test_places_that_only_join_to_the_same_text_are_different() -> None:
    sealed = VAULT.seal("text", Aad("a", "b|c", "d", "e"))
    with pytest.raises(VaultError):
        VAULT.open(sealed, Aad("a|b", "c", "d", "e"))


@given(st.data(), texts)
def test_no_byte_of_a_blob_can_be_changed(data: st.DataObject, text: str) -> None:
    sealed = VAULT.seal(text, HERE)
    blob = bytearray(base64.urlsafe_b64decode(sealed + "=" * (-len(sealed) % 4)))
    at = data.draw(st.integers(0, len(blob) - 1))
    blob[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(VaultError):
        VAULT.open(base64.urlsafe_b64encode(bytes(blob)).rstrip(b"=").decode(), HERE)


@given(st.data())
def test_no_letter_of_a_blob_can_be_changed(data: st.DataObject) -> None:
    sealed = VAULT.seal("some token", HERE)
    at = data.draw(st.integers(0, len(sealed) - 1))
    letter = data.draw(st.characters())
    if letter != sealed[at]:
        with pytest.raises(VaultError):
            VAULT.open(sealed[:at] + letter + sealed[at + 1 :], HERE)


@given(st.text() | st.binary().map(lambda raw: base64.urlsafe_b64encode(raw).rstrip(b"=").decode()))
def test_what_was_never_sealed_is_refused(text: str) -> None:
    with pytest.raises(VaultError):
        VAULT.open(text, HERE)


@given(st.integers(0))
def test_a_blob_cut_short_is_refused(length: int) -> None:
    sealed = VAULT.seal("x", HERE)
    with pytest.raises(VaultError):
        VAULT.open(sealed[: length % len(sealed)], HERE)


def test_the_first_key_seals_and_any_opens() -> None:
    sealed = VAULT.seal("token", HERE)
    rotated = Vault(Keyring([("k2", NEW), ("k1", OLD)]))
    assert rotated.open(sealed, HERE) == "token"
    assert rotated.key_of(sealed) == "k1"
    assert rotated.key_of(rotated.seal("token", HERE)) == "k2"


def test_a_key_that_is_not_on_the_ring_is_named() -> None:
    with pytest.raises(VaultError, match="'k1', which is not on the keyring"):
        Vault(Keyring([("k2", NEW)])).open(VAULT.seal("token", HERE), HERE)


def test_another_key_of_the_same_id_does_not_open() -> None:
    with pytest.raises(VaultError):
        Vault(Keyring([("k1", NEW)])).open(VAULT.seal("token", HERE), HERE)


def test_equal_texts_are_sealed_differently() -> None:
    assert VAULT.seal("token", HERE) != VAULT.seal("token", HERE)


def test_a_text_that_cannot_be_sealed_is_not_in_the_error() -> None:
    with pytest.raises(VaultError) as caught:
        VAULT.seal("token\ud800", HERE)
    assert "token" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
