"""A tap that does what it is told: its configuration holds a script, a list of steps (:func:`perform`).

``rows`` are the stream's records ``id`` 1 to N in order, from the ``id`` after the STATE's on, a STATE after each
``state_every``; ``slow`` seconds lie between two of them.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

DEADLINE_S = 60.0
"""After so long a fake gives up, whatever it was told."""


def say(message: object) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def rows(step: dict[str, Any], state: dict[str, Any]) -> None:
    every = step.get("state_every", 0)
    more = {"version": step["version"]} if "version" in step else {}
    stream = step.get("stream", "items")
    out = sys.stdout.buffer
    for number in range(state.get("id", 0) + 1, step["rows"] + 1):
        record = {"id": number, "name": f"item {number}"}
        out.write(json.dumps({"type": "RECORD", "stream": stream, "record": record, **more}).encode() + b"\n")
        state["id"] = number
        if every and number % every == 0:
            out.write(json.dumps({"type": "STATE", "value": state}).encode() + b"\n")
            out.flush()
        if asked_to_end:
            out.flush()
            last_words(words or state)
        if step.get("slow"):
            out.flush()
            time.sleep(step["slow"])
    out.flush()


def quick_rows(step: dict[str, Any]) -> None:
    """As many as fast as can be."""
    out = sys.stdout.buffer
    for start in range(1, step["quick_rows"] + 1, 10_000):
        end = min(start + 10_000, step["quick_rows"] + 1)
        line = b'{"type":"RECORD","stream":"items","record":{"id":%d,"name":"an item of some length, as they are"}}\n'
        out.write(b"".join(line % number for number in range(start, end)))
        out.write(b'{"type":"STATE","value":{"id":%d}}\n' % (end - 1))
    out.flush()


asked_to_end: list[int] = []
words: dict[str, Any] = {}


def last_words(state: dict[str, Any]) -> None:
    """What a tap of Meltano's SDK does on SIGTERM, but between two lines."""
    say({"type": "STATE", "value": state})
    sys.stderr.write('INFO METRIC: {"type": "timer", "metric": "sync_duration", "tags": {"status": "failed"}}\n')
    sys.exit(0)


def perform(step: dict[str, Any], state: dict[str, Any], given: dict[str, Any]) -> None:
    match step:
        case {"say": message}:
            say(message)
        case {"raw": text}:
            sys.stdout.write(text)
            sys.stdout.flush()
        case {"rows": _}:
            rows(step, state)
        case {"quick_rows": _}:
            quick_rows(step)
        case {"stderr": text}:
            sys.stderr.write(text + "\n")
            sys.stderr.flush()
        case {"flood": size}:
            line = ("blah " * 30 + "\n").encode()
            for _ in range(size // len(line)):
                os.write(2, line)
        case {"long": size}:
            for _ in range(size // 65536):
                os.write(1, b"x" * 65536)
        case {"touch": file}:
            Path(file).touch()
        case {"wait": file}:
            while not Path(file).exists():
                time.sleep(0.005)
        case {"tell": file}:  # what this process was given
            partial = Path(f"{file}.part")
            partial.write_text(json.dumps(given))
            partial.rename(file)
        case {"ignore": name}:
            signal.signal(signal.Signals[name], signal.SIG_IGN)
        case {"last_words": last}:
            words.update(last)
            signal.signal(signal.SIGTERM, lambda number, _: asked_to_end.append(number))
        case {"hang": _}:
            give_up = time.monotonic() + DEADLINE_S
            while time.monotonic() < give_up and not asked_to_end:
                time.sleep(0.01)
            last_words(words or state)
        case {"hold": file}:  # leave a child behind
            import subprocess

            child = subprocess.Popen([sys.executable, "-c", f"import time; time.sleep({DEADLINE_S})"])
            Path(file).write_text(str(child.pid))
        case {"kill": name}:
            os.kill(os.getpid(), signal.Signals[name])
        case {"exit": code}:
            os._exit(code)
        case _:
            raise SystemExit(f"no such step: {step}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", required=True)
    parser.add_argument("--discover", action="store_true")
    for option in ("--catalog", "--properties", "--state"):
        parser.add_argument(option)
    chosen = parser.parse_args()
    signal.alarm(int(DEADLINE_S) + 10)
    config = json.loads(Path(chosen.config).read_text())
    if chosen.discover:
        for step in config.get("discovering", []):
            perform(step, {}, {})
        json.dump(config["catalog"], sys.stdout)
        return
    state = json.loads(Path(chosen.state).read_text()) if chosen.state else {}
    folder = Path(chosen.config).parent
    given = {
        "arguments": sys.argv[1:],
        "pid": os.getpid(),
        "environment": dict(os.environ),
        "config": config,
        "state": state,
        "catalog": json.loads(Path(chosen.catalog or chosen.properties).read_text()),
        "modes": {str(path): path.stat().st_mode for path in (folder, *folder.iterdir())},
        "folder": str(folder),
        "cwd": str(Path.cwd()),
    }
    with contextlib.suppress(BrokenPipeError):
        for step in config["script"]:
            perform(step, state, given)


if __name__ == "__main__":
    main()
