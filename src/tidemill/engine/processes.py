"""CPU work as jobs: functions that run in child processes, one job at a time in each."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import pickle
import signal
import threading
import traceback
from collections.abc import Callable
from importlib import import_module
from multiprocessing.connection import Connection
from typing import Any, Self

from tidemill.engine import tracing
from tidemill.engine.progress import EVERY_S, Said
from tidemill.engine.threads import Ask, PlainContext, Threads
from tidemill.errors import ConfigurationError, LeaseLost

_ENDING_S = 2.0
"""What an idle child gets to end by itself."""


class ChildDied(Exception):
    """The child process ended without an answer: killed, out of memory, or crashed."""


class Processes:
    """Child processes, made when first needed and used again.

    A child has one job at a time, so that a crash costs no other; one whose job is cancelled is killed. Children are
    spawned, never forked: this process has threads and connections. They end with this process.
    """

    def __init__(self, most: int | None = None) -> None:
        self._most = most or os.cpu_count() or 1
        self._free = asyncio.Semaphore(self._most)
        self._waits = Threads(self._most)
        self._idle: list[_Child] = []

    async def run(self, function: Callable[..., Any], ctx: PlainContext, *args: Any) -> Any:
        """Call in a child with a context like ``ctx``; ``args`` and the result are pickled.

        Raises:
            ChildDied: when the child ended without an answer.
        """
        place = function.__module__, function.__qualname__
        request = pickle.dumps((place, ctx.job, ctx.deadline, args, tracing.current()))
        async with self._free:
            child = self._idle.pop() if self._idle else await asyncio.to_thread(_Child)
            try:
                value, error, trace = await self._waits.run(lambda: child.ask(request, ctx))
            except BaseException:
                child.kill()
                raise
            self._idle.append(child)
        if error is not None:
            error.add_note(trace)
            raise error
        return value

    async def close(self) -> None:
        """End the children."""
        while self._idle:
            await asyncio.to_thread(self._idle.pop().close)


class _Child:
    def __init__(self) -> None:
        spawn = multiprocessing.get_context("spawn")
        self._ours, theirs = spawn.Pipe()
        self._process = spawn.Process(target=_serve, args=(theirs,), name="tidemill job", daemon=True)
        self._process.start()
        theirs.close()

    def ask(self, request: bytes, ctx: PlainContext) -> tuple[Any, Exception | None, str]:
        try:
            self._ours.send_bytes(request)
            while True:
                match pickle.loads(self._ours.recv_bytes()):  # noqa: S301 - from our own child
                    case Said() as said:
                        ctx.say(said)
                    case Ask() as asked:
                        self._ours.send_bytes(pickle.dumps(_outcome_of(ctx, asked)))
                    case answer:
                        return answer
        except (EOFError, OSError):
            self._process.join(_ENDING_S)
            raise ChildDied(f"the child process ended with code {self._process.exitcode} before it answered") from None

    def kill(self) -> None:
        self._process.kill()

    def close(self) -> None:
        self._ours.close()
        self._process.join(_ENDING_S)
        self._process.kill()


def _outcome_of(ctx: PlainContext, asked: Ask) -> Exception | None:
    """Do what the child's function asks for; what it is to raise."""
    try:
        ctx.ask(asked)
    except Exception as e:  # noqa: BLE001 - raised again in the child
        return _picklable(e)
    return None


def _picklable(error: Exception) -> Exception:
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 - some errors can be pickled but not made again
    except Exception:  # noqa: BLE001
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def check_importable(function: Callable[..., Any]) -> None:
    """Make sure that a child can find ``function``.

    Raises:
        ConfigurationError: when it is not a module's own.
    """
    if "<" in function.__qualname__:
        raise ConfigurationError(f"{function.__qualname__}: a job with processes=True must be a function of a module")


def _serve(requests: Connection) -> None:
    """The child: answer requests until the parent has gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the whole group; the parent stops gracefully
    while True:
        try:
            request = requests.recv_bytes()
        except (EOFError, OSError):
            return
        with _Relay(requests) as relay:
            answer = _answer(request, relay)
        requests.send_bytes(answer)


class _Relay:
    """The function's way to the parent. What it says of its progress is told once a second: a pipe is slow. What it
    asks for is done before it goes on.
    """

    def __init__(self, parent: Connection) -> None:
        self._parent = parent
        self._latest: Said | None = None
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self._asking = threading.Lock()
        self._sending = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._asking:
            self._over.set()
        if self._thread is not None:
            self._thread.join()  # the answer follows on the same pipe

    def say(self, said: Said) -> None:
        self._latest = said
        if self._thread is None:
            self._thread = threading.Thread(target=self._tell, name="tidemill progress", daemon=True)
            self._thread.start()

    def ask(self, wanted: Ask) -> None:
        with self._asking:
            if self._over.is_set():
                raise LeaseLost("the function has returned, and with it its attempt has ended")
            self._send(wanted)
            error: Exception | None = pickle.loads(self._parent.recv_bytes())  # noqa: S301 - from our own parent
        if error is not None:
            raise error

    def _tell(self) -> None:
        told = None
        while True:
            if (latest := self._latest) != told:
                told = latest
                try:
                    self._send(latest)
                except OSError:
                    return  # the parent has gone
            if self._over.wait(EVERY_S):
                return

    def _send(self, what: object) -> None:
        with self._sending:
            self._parent.send_bytes(pickle.dumps(what))


def _answer(request: bytes, relay: _Relay) -> bytes:
    try:
        (module, name), job, deadline, args, trace = pickle.loads(request)  # noqa: S301 - from our own parent
        function: Any = import_module(module)
        for part in name.split("."):
            function = getattr(function, part)
        with tracing.within(trace):
            value = function(PlainContext(job, deadline, relay.say, relay.ask), *args)
        return pickle.dumps((value, None, ""))
    except Exception as e:  # noqa: BLE001 - raised again in the parent
        return pickle.dumps((None, _picklable(e), traceback.format_exc()))
