"""budgets: what is set, paused and dropped is what is listed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.cli.conftest import Run


@pytest.fixture
def tidemill(database_url: str, run: Run) -> Run:
    def command(*arguments: str) -> tuple[int, str, str]:
        return run("--database-url", database_url, *arguments)

    return command


def listed(tidemill: Run) -> dict[str, Any]:
    return {line["scope"]: line for line in json.loads(tidemill("budgets", "list", "--json")[1])["budgets"]}


def test_budgets_are_set_listed_replaced_and_dropped(tidemill: Run) -> None:
    assert "There are no budgets" in tidemill("budgets", "list")[1]
    assert "100 a minute" in tidemill("budgets", "set", "stripe", "100/m", "--by", "ops")[1]
    assert tidemill("budgets", "set", "shop:*", "--by", "ops")[0] == 0
    assert tidemill("budgets", "set", "stripe", "50/s", "--by", "night shift")[0] == 0
    found = listed(tidemill)
    assert [(line["most"], line["per_s"], line["set_by"]) for line in found.values()] == [
        (None, None, "ops"),
        (50, 1.0, "night shift"),
    ]
    assert "50 a second" in tidemill("budgets", "list")[1]
    assert tidemill("budgets", "drop", "stripe")[0] == 0
    assert listed(tidemill).keys() == {"shop:*"}


def test_a_scope_is_paused_shown_and_resumed(tidemill: Run) -> None:
    assert tidemill("budgets", "set", "shop:*", "5/s")[0] == 0
    assert tidemill("budgets", "pause", "shop:eu", "--for", "15m", "--reason", "asked to")[0] == 0
    assert (listed(tidemill)["shop:eu"]["reason"], listed(tidemill)["shop:eu"]["set_by"]) == ("asked to", None)
    status = tidemill("status")[1]
    assert "Blocked scopes" in status
    assert "shop:eu" in status
    assert tidemill("budgets", "resume", "shop:eu")[0] == 0
    assert listed(tidemill).keys() == {"shop:*"}
    assert "paused by me" in tidemill("budgets", "pause", "shop:*", "--by", "me")[1] + str(listed(tidemill))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        pytest.param(("set", "a*", "5/s"), "scope: 'a*' is no scope", id="no-scope"),
        pytest.param(("set", "stripe", "fast"), "rate: 'fast' is not like '100/s'", id="no-rate"),
        pytest.param(("drop", "stripe"), "there is no budget 'stripe'", id="no-budget"),
        pytest.param(("pause", "strype"), "no budget is declared for 'strype'", id="nobody-spends-it"),
        pytest.param(("pause", "stripe", "--for", "long"), "--for: 'long' is not a duration", id="no-duration"),
        pytest.param(("resume", "stripe"), "'stripe' is neither paused nor slowed", id="not-paused"),
    ],
)
def test_what_cannot_be_set_or_paused_is_refused_with_the_reason(
    tidemill: Run, arguments: tuple[str, ...], told: str
) -> None:
    code, _, err = tidemill("budgets", *arguments)
    assert (code, told in err) == (2, True), err
