"""``tidemill simulator``: stand-ins for providers."""

from __future__ import annotations

import click

from tidemill.simulators import threads as threads_simulator


@click.group(epilog="Example: tidemill simulator threads --port 9100 --accounts 20")
def simulator() -> None:
    """Run a stand-in for a provider, for the demo and anyone's tests."""


@simulator.command(
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []},
    add_help_option=False,
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def threads(arguments: tuple[str, ...]) -> int:
    """A strict, scriptable stand-in for the Threads API; --help lists its options."""
    try:
        return threads_simulator.main(arguments)
    except SystemExit as e:  # argparse's way out of --help and wrong usage
        return e.code if isinstance(e.code, int) else 2
