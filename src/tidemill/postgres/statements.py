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
        self._texts = {
            file.name.removesuffix(".sql"): _without_header(file.read_text("utf-8"))
            for file in resources.files(package).iterdir()
            if file.name.endswith(".sql")
        }

    def __getattr__(self, name: str) -> str:
        try:
            return self._texts[name]
        except KeyError:
            raise AttributeError(f"{self._package} has no {name}.sql") from None

    def __dir__(self) -> list[str]:
        return sorted(self._texts)


def _without_header(text: str) -> str:
    lines = text.splitlines()
    while lines and (not lines[0].strip() or lines[0].lstrip().startswith("--")):
        lines.pop(0)
    return "\n".join(lines).strip()
