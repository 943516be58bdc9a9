"""The benchmarks run, at a small size: what they count holds, what they time is for a quiet machine to judge."""

from __future__ import annotations

import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections import Counter
from itertools import pairwise, permutations
from pathlib import Path

import pytest
from benchmarks.engine import order

ROOT = Path(__file__).parents[1]
BAR = re.compile(
    r"^ *(?P<figure>[\d.]+)  at (?:most|least) +(?P<bound>[\d.]+) +(?P<word>ok|MISSED) +(?P<name>.+)$", re.MULTILINE
)
SECONDS = 280
SVG = "{http://www.w3.org/2000/svg}"


def run(name: str, server_url: str, *options: str) -> dict[str, bool]:
    """The bars of a quick run, and whether each holds."""
    command = [sys.executable, "-m", f"benchmarks.{name}", "--quick", "--server", server_url, *options]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=SECONDS, check=False)
    bars = {bar["name"]: bar["word"] == "ok" for bar in BAR.finditer(ran.stdout)}
    assert bars, ran.stdout + ran.stderr
    assert ran.returncode == (0 if all(bars.values()) else 1), ran.stderr
    return bars


def counted(bars: dict[str, bool], *timed: str) -> list[bool]:
    """Bars that no noise can touch; each of the others is there by name."""
    others = [name for name in bars if name.startswith(timed)]
    assert {next(t for t in timed if name.startswith(t)) for name in others} == set(timed)
    return [ok for name, ok in bars.items() if name not in others]


def test_small_tenants_start_early_and_an_open_transaction_blocks_nobody(server_url: str) -> None:
    bars = run("fairness", server_url)
    assert counted(bars, "median claim", "the longest of them") == [True] * 4


def test_what_is_not_due_costs_a_claim_nothing(server_url: str) -> None:
    bars = run("not_due", server_url)
    assert counted(bars, "speed of a drain", "memory of a worker") == [True] * 7


def test_row_security_reads_by_the_tenants_index_and_asks_each_policy_function_once(server_url: str) -> None:
    bars = run("rls", server_url)
    assert counted(bars, "time of listing all", "time of the first 50", "time of counting") == [True] * 15


def test_the_soak_draws_what_it_saw(server_url: str, tmp_path: Path) -> None:
    picture = tmp_path / "soak.svg"
    bars = run("soak", server_url, "--picture", str(picture))
    assert counted(bars, "seconds from a release", "bytes of", "memory of", "jobs started") == []
    drawn = ET.parse(picture).getroot()
    assert len(drawn.findall(f"{SVG}path")) == 2 + 4 + 4 + 1
    assert len([r for r in drawn.findall(f"{SVG}rect") if r.get("class") == "held"]) == 3 * 4
    assert "prefers-color-scheme: dark" in picture.read_text()


@pytest.mark.parametrize("minutes", ["0", "nan"])
def test_a_soak_of_no_length_is_wrong_usage(minutes: str) -> None:
    command = [sys.executable, "-m", "benchmarks.soak", f"--minutes={minutes}"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 2
    assert "--minutes" in ran.stderr


@pytest.mark.parametrize("many", [1, 2, 9, 10])
def test_contenders_come_after_each_other_equally_often(many: int) -> None:
    rounds = [order(turn, many) for turn in range(2 * many)]
    assert all(sorted(places) == list(range(many)) for places in rounds)
    after = Counter(pair for places in rounds for pair in pairwise(places))
    assert after == dict.fromkeys(permutations(range(many), 2), 2)
