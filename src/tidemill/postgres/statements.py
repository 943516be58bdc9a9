"""SQL files as attributes."""

from __future__ import annotations

from importlib import resources


class Statements:
    """The ``*.sql`` files of a package: ``Statements("tidemill.sync.sql").claim`` is the text of ``claim.sql``.

    A file holds one statement below a header of ``--`` lines, which say who calls it, which index it must use and
    what fences it. The header is for readers and is not sent to the server.

    Raises:
        AttributeError: for a name without a file.
    """

    def __init__(self, package: str) -> None:
        self._package = package
        for file in resources.files(package).iterdir():
            if file.name.endswith(".sql"):
                setattr(self, file.name.removesuffix(".sql"), _without_header(file.read_text("utf-8")))

    def __getattr__(self, name: str) -> str:
        raise AttributeError(f"{self._package} has no {name}.sql")

    def __dir__(self) -> list[str]:
        return sorted(name for name in vars(self) if not name.startswith("_"))


def _without_header(text: str) -> str:
    lines = text.splitlines()
    while lines and (not lines[0].strip() or lines[0].lstrip().startswith("--")):
        lines.pop(0)
    return "\n".join(lines).strip()
