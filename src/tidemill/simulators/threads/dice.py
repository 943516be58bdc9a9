"""Repeatable chance: the same numbers in, the same number out, on every machine and in every process."""

from __future__ import annotations

_MASK = (1 << 64) - 1


def roll(*parts: int) -> int:
    """Mix whole numbers into 64 well-spread bits (the finisher of splitmix64 over each part)."""
    mixed = 0x9E3779B97F4A7C15
    for part in parts:
        mixed = ((mixed ^ part) * 0xBF58476D1CE4E5B9) & _MASK
        mixed ^= mixed >> 29
        mixed = (mixed * 0x94D049BB133111EB) & _MASK
        mixed ^= mixed >> 32
    return mixed


def fraction(*parts: int) -> float:
    """Mix whole numbers into a number of [0, 1), exact in a float."""
    return (roll(*parts) >> 11) / (1 << 53)
