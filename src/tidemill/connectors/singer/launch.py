"""Becomes a tap: ``python -I -S launch.py PARENT PROGRAM ARGUMENT…``. Imports nothing but the standard library.

A program of its own, not a function between fork and exec: the worker has threads, and in its forked child Python code
could wait for ever for a lock that one of them held.
"""

import ctypes
import os
import resource
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Make sure that the tap dies with the worker, then run it in this process."""
    parent, *command = sys.argv[1:]
    if sys.platform.startswith("linux"):
        # It follows the thread that started this process: the event loop's. SIGKILL, because nobody would be left to
        # send it to a tap that took no notice of another signal.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != int(parent):  # it died in between
        raise SystemExit(1)
    # Elsewhere than on Linux this ends the tap: its output has no reader any more. Python had switched it off.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core would hold the secrets
    os.umask(0o077)
    try:
        os.execv(command[0], command)  # noqa: S606 - the operator's allow-list names it
    except OSError as e:
        raise SystemExit(f"{command[0]} cannot be run: {e.strerror}") from None


if __name__ == "__main__":
    main()
