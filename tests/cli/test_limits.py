"""limits, and queues scale: what they set is what they list."""

from __future__ import annotations

import json

import pytest

from tests.cli.conftest import Run
from tests.cli.support import query

TENANT = "0b7c9d2e-6f1a-4c55-9a3e-2d1f0e8b7a66"


@pytest.fixture
def tidemill(database_url: str, run: Run) -> Run:
    query(database_url, "select tidemill.intern_queue('mail'), tidemill.intern_kind('send')")

    def command(*arguments: str) -> tuple[int, str, str]:
        return run("--database-url", database_url, *arguments)

    return command


def test_limits_are_set_listed_replaced_and_dropped(tidemill: Run) -> None:
    assert "There are no limits" in tidemill("limits", "list")[1]
    assert tidemill("limits", "set", "20", "--queue", "mail", "--by", "ops")[0] == 0
    assert tidemill("limits", "set", "100/m", "--kind", "send", "--per", "args.to")[0] == 0
    assert tidemill("limits", "set", "3", "--tenant", TENANT)[0] == 0
    assert tidemill("limits", "set", "5", "--queue", "mail", "--by", "night shift")[0] == 0
    listed = json.loads(tidemill("limits", "list", "--json")[1])["limits"]
    said = [(each["queue"], each["kind"], each["tenant"], each["per"], each["most"], each["per_s"]) for each in listed]
    assert said == [
        ("mail", None, None, "all", 5, None),
        (None, "send", None, "args.to", 100, 60.0),
        (None, None, TENANT, "all", 3, None),
    ]
    assert listed[0]["set_by"] == "night shift"
    table = tidemill("limits", "list")[1]
    assert "5 at a time" in table
    assert "100 a minute" in table
    assert tidemill("limits", "drop", str(listed[1]["id"]))[0] == 0
    assert len(json.loads(tidemill("limits", "list", "--json")[1])["limits"]) == 2


def test_weights_and_scales_are_set_listed_and_taken_back(tidemill: Run) -> None:
    assert tidemill("limits", "weight", TENANT, "4", "--by", "ops")[0] == 0
    assert f"Tenant {TENANT} gets 4 shares, says ops." in tidemill("limits", "list")[1]
    assert tidemill("limits", "weight", TENANT, "1")[0] == 0
    assert json.loads(tidemill("limits", "list", "--json")[1])["weights"] == []
    assert tidemill("queues", "scale", "mail", "50")[0] == 0
    assert json.loads(tidemill("queues", "list", "--json")[1])["queues"][0]["per_process"] == 50
    assert tidemill("queues", "scale", "mail", "reset")[0] == 0
    assert json.loads(tidemill("queues", "list", "--json")[1])["queues"][0]["per_process"] is None


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        pytest.param(("limits", "set", "many", "--queue", "mail"), "'many' is not like '100/s'", id="no-number"),
        pytest.param(("limits", "set", "5"), "at least one of queue, kind and tenant", id="for-nothing"),
        pytest.param(("limits", "set", "5", "--queue", "nope"), "there is no queue 'nope'", id="no-such-queue"),
        pytest.param(("limits", "set", "5", "--kind", "send", "--per", "you"), "counts by 'you'", id="no-such-per"),
        pytest.param(("limits", "drop", "99"), "there is no limit 99", id="no-such-limit"),
        pytest.param(("limits", "weight", TENANT, "0"), "weight: 0", id="weightless"),
        pytest.param(("queues", "scale", "mail", "lots"), "neither a number nor reset", id="scale-of-nonsense"),
    ],
)
def test_what_cannot_be_set_is_refused_with_the_reason(tidemill: Run, arguments: tuple[str, ...], told: str) -> None:
    code, _, err = tidemill(*arguments)
    assert (code, told in err) == (2, True), err
