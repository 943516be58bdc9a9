"""Recurrences in plain English. Weekdays are numbered from Sunday = 0."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta

_WEEKDAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
_MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
_MOST_TIMES = 6
"""Times of day that are listed one by one."""


def sentence(*parts: str) -> str:
    """The parts that say something, after one another; a bare time of day is said to be every day's."""
    first, days, months = parts
    if first.startswith("at ") and ":" in first and not days:
        days = "every day"
    return " ".join(part for part in (first, days, months) if part)


def times_of_day(hours: Sequence[int], minutes: Sequence[int], seconds: Sequence[int]) -> str:
    """``at 09:00 and 17:30``, ``every 15 minutes in hours 9 to 17``."""
    if len(hours) < 24 and len(hours) * len(minutes) * len(seconds) <= _MOST_TIMES:
        return "at " + listed([clock(h, m, s) for h in hours for m in minutes for s in seconds])
    parts = [(seconds, 60, "second"), (minutes, 60, "minute"), (hours, 24, "hour")]
    while len(parts) > 1 and tuple(parts[0][0]) == (0,):
        del parts[0]
    (values, size, unit), *coarser = parts
    step = _step(values, size)
    text = f"every {_some(step, unit)}" if step else f"at {_numbered(values, unit)}"
    regular = step is not None
    for values, size, unit in coarser:
        step = _step(values, size)
        if step is None:
            text += f" in {_numbered(values, unit)}"
        elif step > 1:
            text += f" in every {ordinal(step)} {unit}"
        elif not regular:
            text += f" of every {unit}"
        regular = True
    return text


def month_days(days: Sequence[int]) -> str:
    """``the 1st and the last day``; counted from the end when negative; nothing for every day."""
    if len([day for day in days if day > 0]) == 31:
        return ""
    ahead = spans(sorted(day for day in days if day > 0), lambda day: f"the {ordinal(day)}")
    return listed([*ahead, *(f"the {ordinal(day)} day" for day in sorted(days) if day < 0)])


def weekdays(every: Sequence[int], nth: Iterable[tuple[int, int]] = (), last: Iterable[int] = ()) -> str:
    """``Monday to Friday``, ``the 2nd Monday``; nothing for every day. ``nth`` has the weekday and which of them."""
    if len(every) == 7:
        return ""
    european = sorted((day - 1) % 7 for day in every)
    plain = spans(european, lambda day: _WEEKDAYS[(day + 1) % 7])
    counted = [f"the {ordinal(n)} {_WEEKDAYS[day]}" for day, n in (*nth, *((day, -1) for day in last))]
    return listed([*plain, *counted])


def months(values: Sequence[int]) -> str:
    """``in March to May``; nothing for every month."""
    return "" if len(values) == 12 else "in " + listed(spans(values, lambda month: _MONTHS[month - 1]))


def length(span: timedelta) -> str:
    """``1 hour 30 minutes``."""
    left = int(span.total_seconds())
    parts: list[str] = []
    for size, unit in ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second")):
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count} {unit}{'s' if count > 1 else ''}")
    return " ".join(parts) or "0 seconds"


def clock(hour: int, minute: int, second: int) -> str:
    """``09:00``, ``09:00:30``."""
    return f"{hour:02d}:{minute:02d}" + (f":{second:02d}" if second else "")


def ordinal(n: int) -> str:
    """``1st``, ``last``, ``2nd last``."""
    if n < 0:
        return "last" if n == -1 else f"{ordinal(-n)} last"
    ending = "th" if n % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th")
    return f"{n}{ending}"


def listed(items: Sequence[str]) -> str:
    """``a, b and c``."""
    return " and ".join(part for part in (", ".join(items[:-1]), *items[-1:]) if part)


def spans(values: Sequence[int], show: Callable[[int], str]) -> list[str]:
    """Ascending values as text, three and more in a row as ``first to last``."""
    found: list[list[int]] = []
    for value in values:
        if found and value == found[-1][-1] + 1:
            found[-1].append(value)
        else:
            found.append([value])
    texts: list[str] = []
    for run in found:
        texts += [f"{show(run[0])} to {show(run[-1])}"] if len(run) > 2 else [show(value) for value in run]
    return texts


def _step(values: Sequence[int], size: int) -> int | None:
    """n if the values are every nth of all there are."""
    if len(values) > 1 and size % (step := values[1] - values[0]) == 0 and [*values] == [*range(0, size, step)]:
        return step
    return None


def _some(count: int, unit: str) -> str:
    return unit if count == 1 else f"{count} {unit}s"


def _numbered(values: Sequence[int], unit: str) -> str:
    return f"{unit}{'s' if len(values) > 1 else ''} {listed(spans(values, str))}"


def every(count: int, unit: str) -> str:
    """``every week``, ``every 2 weeks``."""
    return f"every {_some(count, unit)}"
