"""The simulator as a process of its own."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tidemill.simulators.threads.clock import parse_instant
from tidemill.simulators.threads.control import turned
from tidemill.simulators.threads.faults import Fault, read_faults
from tidemill.simulators.threads.knobs import Knobs
from tidemill.simulators.threads.server import ThreadsSimulator


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; prints one line of JSON with the `url` once it answers. Returns the exit code."""
    parser = _parser()
    options = parser.parse_args(argv)
    try:
        simulator = _simulator(options)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(_serve(simulator))
    except OSError as error:
        sys.stderr.write(f"cannot listen on {options.host}:{options.port}: {error.strerror}\n")
        return 1
    return 0


async def _serve(simulator: ThreadsSimulator) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with simulator as sim:
        ready = {
            "url": sim.url,
            "app_id": sim.app_id,
            "app_secret": sim.app_secret,
            "accounts": len(sim.accounts),
            "seed": sim.state.seed,
        }
        sys.stdout.write(json.dumps(ready) + "\n")
        sys.stdout.flush()
        await stop.wait()


def _simulator(options: argparse.Namespace) -> ThreadsSimulator:
    start = None if options.clock == "real" else parse_instant(options.clock)
    return ThreadsSimulator(
        seed=options.seed,
        accounts=options.accounts,
        posts=options.posts_per_account,
        start=start,
        running=True if options.running else None,
        anchor=parse_instant(options.anchor) if options.anchor else None,
        young_share=options.young_share,
        new_post_every=options.new_post_every,
        faults=_faults(options.faults) if options.faults else (),
        knobs=_knobs(options.knob),
        app_id=options.app_id,
        app_secret=options.app_secret,
        latency_ms=options.latency_ms,
        host=options.host,
        port=options.port,
    )


def _faults(path: Path) -> list[Fault]:
    try:
        return read_faults(json.loads(path.read_text(encoding="utf-8")))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _knobs(settings: list[str]) -> Knobs:
    changes: dict[str, Any] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals:
            raise ValueError(f"--knob wants NAME=VALUE, not {setting!r}")
        changes[name] = text
        with contextlib.suppress(ValueError):
            changes[name] = json.loads(text)
    return turned(Knobs(), changes)


def _loop_factory() -> Any:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tidemill simulator threads",
        description="A strict, scriptable, deterministic stand-in for the Threads API.",
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    add("--port", type=int, default=0, help="port (default: any free one)")
    add("--seed", type=int, default=1, help="the same seed is the same world")
    add("--accounts", type=int, default=3)
    add("--posts-per-account", type=int, default=40, metavar="N", help="posts that exist at the start")
    add("--young-share", type=float, default=0.3, metavar="X", help="share of them that is at most 72 h old")
    add("--new-post-every", type=float, default=43_200, metavar="S", help="mean seconds between new posts; 0: none")
    add("--clock", default="real", metavar="ISO|real", help="the machine's clock, or a clock standing at an instant")
    add("--running", action="store_true", help="a clock set to an instant runs on from there")
    add(
        "--anchor", metavar="ISO", help="instant the ages of posts are counted from (default: the clock's, or midnight)"
    )
    add("--faults", type=Path, metavar="FILE", help="JSON list of fault rules")
    add("--knob", action="append", default=[], metavar="NAME=VALUE", help="turn a knob; may be repeated")
    add("--app-id", default="1000200030004000")
    add("--app-secret", default="simulated-app-secret")
    add("--latency-ms", type=float, default=0, metavar="N", help="delay of every answer of the provider")
    return parser
