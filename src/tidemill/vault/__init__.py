"""Sealed secrets: tokens and credentials are encrypted for the one row and field that keeps them."""

from __future__ import annotations

from tidemill.vault.keyring import Keyring
from tidemill.vault.seal import Aad, Vault, VaultError
from tidemill.vault.secret import Secret

__all__ = ["Aad", "Keyring", "Secret", "Vault", "VaultError"]
