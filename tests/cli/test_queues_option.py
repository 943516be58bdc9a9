"""How many jobs of which queue: one option, two spellings."""

from __future__ import annotations

import click
import pytest

from tidemill.cli.application import read_queues
from tidemill.cli.worker import worker


@pytest.mark.parametrize(
    "options",
    [
        ["--queues", "mail=50,default=10"],
        ["--queue", "mail=50", "--queue", "default=10"],
        ["--queues=mail=50", "--queue=default=10"],
        ["--queues", "mail=50, default=10"],
    ],
    ids=" ".join,
)
def test_queues_are_given_in_one_list_or_one_by_one(options: list[str]) -> None:
    given = worker.make_context("worker", options).params["queues"]
    assert read_queues(given) == {"mail": 50, "default": 10}


def test_without_the_option_every_queue_is_meant() -> None:
    assert read_queues(worker.make_context("worker", []).params["queues"]) == {}


@pytest.mark.parametrize("part", ["default", "default=", "=5", "default=0", "default=1001", "default=٣", "", "a=-1"])
def test_what_cannot_be_read_is_named(part: str) -> None:
    with pytest.raises(click.BadParameter, match=f"^{part!r} is not NAME=N with N from 1 to 1000$"):
        read_queues([f"mail=5,{part}"])


def test_a_queue_is_named_once() -> None:
    with pytest.raises(click.BadParameter, match="'mail=6' names 'mail' a second time"):
        read_queues(["mail=5", "mail=6"])
