"""What steps make of an account and accounts of a run, over every combination there is."""

from __future__ import annotations

from itertools import product

import pytest

from tidemill.sync.outcomes import account_status, run_status

STATUSES = ("completed", "partial", "failed", "skipped")


@pytest.mark.parametrize("steps", list(product(STATUSES, repeat=3)), ids="-".join)
def test_an_account_is_what_its_steps_are(steps: tuple[str, ...]) -> None:
    good, partial = steps.count("completed"), steps.count("partial")
    if good == 3:
        expected = "completed"
    elif steps.count("skipped") == 3:
        expected = "skipped"
    elif good or partial:
        expected = "partial"
    else:
        expected = "failed"
    assert account_status(steps) == expected


@pytest.mark.parametrize("counts", list(product((0, 1, 3), repeat=4)), ids=str)
def test_a_run_is_what_its_accounts_are(counts: tuple[int, int, int, int]) -> None:
    completed, partial, failed, skipped = counts
    errors = partial + failed
    if sum(counts) == 0 or (completed and not errors):
        expected = "completed"
    elif skipped == sum(counts):
        expected = "skipped"
    elif not completed and not partial:
        expected = "failed"
    else:
        expected = "partial"
    assert run_status(completed=completed, partial=partial, failed=failed, skipped=skipped) == expected
