"""Which of the product's SQL files write."""

from __future__ import annotations

import re
from pathlib import Path

import tidemill
from tidemill.postgres import Database

SOURCE = Path(tidemill.__file__).parent
_WRITES = re.compile(
    r"(?<!\bfor )(?<!\bkey )(?<!\bdo )\b(insert\s+into|update|delete\s+from|merge\s+into|truncate)\s+\w"
)
_COMMENT = re.compile(r"--[^\n]*")
_FUNCTIONS = """
select p.oid::regproc::text as name, p.prosrc as body from pg_proc p
where p.pronamespace in ('tidemill'::regnamespace, 'public'::regnamespace)
"""


def sql_files() -> dict[str, str]:
    """Every statement that is shipped, migrations left out, without its comments: path → text."""
    return {
        str(path.relative_to(SOURCE)): _bare(path.read_text())
        for path in sorted(SOURCE.rglob("*.sql"))
        if path.parent.name != "migrations"
    }


async def files_that_write(db: Database) -> set[str]:
    """Those that insert, update or delete, themselves or by a function of ours that does."""
    bodies = {row["name"]: _bare(row["body"]) for row in await db.fetch(_FUNCTIONS)}
    writing = {name for name, body in bodies.items() if _WRITES.search(body)}
    while more := {n for n, body in bodies.items() if n not in writing and _calls(body, writing)}:
        writing |= more
    return {path for path, text in sql_files().items() if _WRITES.search(text) or _calls(text, writing)}


def _bare(text: str) -> str:
    return " ".join(_COMMENT.sub("", text).lower().split())


def _calls(text: str, names: set[str]) -> bool:
    return any(re.search(rf"\b{re.escape(name)}\(", text) for name in names)
