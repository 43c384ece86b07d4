"""The report's own words: labels of the store's codes, and times and counts as they are read."""

import math
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from functools import cache, lru_cache
from typing import Any, Final, TypeVar
from zoneinfo import ZoneInfo

from neutro_schemas.reference import RefusalWord
from neutro_screen.errors import visible
from neutro_screen.reference import load_reference, reference_table
from neutro_screen.rules.worklist.next_step import load_next_steps

#: Shape and word of a priority; never colour alone.
PRIORITY_SHAPES: Final[Mapping[str, str]] = {"critical": "◆", "high": "▲", "medium": "●", "low": "○", "info": "□"}
METHODS: Final[Mapping[str, str]] = {
    "reported": "reported",
    "reported_manual": "reported, manual differential",
    "segs_and_bands": "segmented + bands",
    "segs_and_bands_manual": "segmented + bands, manual differential",
    "wbc_percent": "white cells × percent",
    "wbc_percent_manual": "white cells × percent, manual differential",
    "granulocyte_upper_bound": "upper bound: granulocytes",
    "granulocyte_percent_upper_bound": "upper bound: white cells × percent of granulocytes",
    "differential_upper_bound": "upper bound: white cells that the other classes leave",
    "wbc_upper_bound": "upper bound: white cells, no differential",
}
DISPOSITIONS: Final[Mapping[str, str]] = {
    "accepted": "accepted",
    "rejected": "refused",
    "no_result": "no result",
    "duplicate": "already there",
    "not_screened": "not screened",
}
#: What can be odd about a collection time.
TIME_ODDITIES: Final[Mapping[str, str]] = {
    "collected_after_resulted": "after the result",
    "collected_from_result_time": "result time only",
    "date_only": "day only",
    "midnight": "at midnight",
    "time_skipped_by_clock": "in an hour that the clock skipped",
    "time_shown_twice_by_clock": "in an hour that the clock showed twice",
}
#: The steps of the work-up as something to do.
NEXT_STEPS: Final[Mapping[str, str]] = dict(load_next_steps().select("code", "label").iter_rows())
CYTOPENIAS: Final[Mapping[str, str]] = {
    "isolated": "Other cell lines not low",
    "bicytopenia": "Bicytopenia",
    "pancytopenia": "Pancytopenia",
    "unknown": "Other cell lines unknown",
}
#: Families of rules as RULES.md orders them.
RULE_FAMILIES: Final[Mapping[str, str]] = {
    "ANC": "choice of the neutrophil count",
    "SEV": "severity and grades",
    "EPI": "episodes and their course",
    "TRD": "baseline, trend and projection",
    "RPD": "rapid decline",
    "DRG": "drugs",
    "MAL": "haematologic malignancy",
    "INF": "infection",
    "BMP": "marrow production",
    "PER": "peripheral destruction",
    "CYC": "cyclic pattern",
    "CTX": "benign context",
    "FEV": "fever",
    "MASK": "masking",
    "WRK": "work-up",
    "PIT": "pitfalls",
}
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
LONGEST: Final = 240
LONGEST_SENTENCE: Final = 800
#: Groups of the page in its order (RULES.md section 7); "recent" are those of ``open`` that are new or changed.
GROUPS: Final[Mapping[str, str]] = {
    "recent": "New and changed",
    "open": "Open",
    "recovered": "Recovered",
    "withdrawn": "Withdrawn",
    "lost_to_follow_up": "Lost to follow-up",
}
Moment = TypeVar("Moment", date, date | None, datetime, datetime | None)


def shown(value: object) -> Any:
    """A text as the page shows it: nothing unseen that turns the direction of reading, and no longer than a line or two.

    The whole text is in the CSV and in the store. Anything but a plain ``str`` is returned as it is.
    """
    if type(value) is not str:
        return value
    seen = visible(value)
    return seen if len(seen) <= LONGEST else f"{seen[:LONGEST]}… ({len(seen):,} characters)"


class Sentence(str):
    """A sentence that is shown whole (``sentence``): what to do first stands at its end."""

    __slots__ = ()


def sentence(text: str | None) -> Sentence:
    """A conclusion as the page shows it: nothing unseen, up to ``LONGEST_SENTENCE`` characters."""
    seen = visible(text or "")
    return Sentence(seen if len(seen) <= LONGEST_SENTENCE else f"{seen[:LONGEST_SENTENCE]}… ({len(seen):,} characters)")


def spoken(code: str | None) -> str:
    """A code of the store in words: ``not_applicable`` is read ``not applicable``."""
    return (code or "").replace("_", " ")


def refused(reason: str | None) -> str:
    """Why a row is not used, in plain words (refusal_words.csv), else the reason itself."""
    return _refusal_words().get(reason or "", spoken(reason))


@cache
def _refusal_words() -> dict[str, str]:
    return dict(reference_table("refusal_words.csv", RefusalWord).select("reason", "words").iter_rows())


def day(moment: date | None) -> str:
    """``21 Nov 2026``, or a dash."""
    return f"{moment.day} {_MONTHS[moment.month - 1]} {moment.year}" if moment else "–"


def minute(moment: datetime | None) -> str:
    """``21 Nov 2026 06:10``, or a dash. All times are UTC."""
    return f"{day(moment)} {moment.hour:02}:{moment.minute:02}" if moment else "–"


def near(moment: datetime | None, now: datetime) -> str:
    """``21 Nov 06:10``; of another year the day alone: ``21 Nov 2025``; or a dash."""
    if moment is None:
        return "–"
    if moment.year != now.year:
        return day(moment)
    return f"{moment.day} {_MONTHS[moment.month - 1]} {moment.hour:02}:{moment.minute:02}"


def local(moment: Moment, zone: str) -> Moment:
    """A time of the store (UTC without zone) as a clock in a time zone shows it; a day stays the day it is."""
    if not isinstance(moment, datetime):
        return moment
    return _on_the_clock(moment, zone)


@lru_cache(maxsize=1 << 14)
def _on_the_clock(moment: datetime, zone: str) -> datetime:
    return moment.replace(tzinfo=UTC).astimezone(ZoneInfo(zone)).replace(tzinfo=None)


def count(cells_per_ul: float | None, comparator: str | None = None) -> str:
    """A count as it is read, in whole cells/uL: ``1,230``, ``< 100``, or a dash.

    One just below a limit of severity is not rounded up to it: 499.6 is read ``499``, for it is severe.
    """
    if cells_per_ul is None:
        return "–"
    whole = round(cells_per_ul)
    number = f"{whole - (whole > cells_per_ul and whole in _limits()):,}"
    return f"{_SIGNS.get(comparator, comparator)} {number}" if comparator else number


_SIGNS: Final[Mapping[str, str]] = {"<=": "≤", ">=": "≥"}


@lru_cache(maxsize=1 << 14)
def prose(text: str | None, zone: str) -> str | None:
    """A sentence of the store as the page reads: counts in whole cells/µL, days and local times as everywhere else."""
    if text is None:
        return None
    if "cells/uL" in text:
        text = _COUNTS.sub(lambda found: count(float(found[0])), text).replace("cells/uL", "cells/µL")
    text = text.replace("<= ", "≤ ").replace(">= ", "≥ ").replace(" degrees Celsius", " °C")
    return _DATES.sub(lambda found: _dated(found[0], zone), text) if "-" in text else text


#: Counts in sentences of the store, and ISO days and times (UTC).
_COUNTS: Final = re.compile(r"\b\d+(?:\.\d+)?(?= cells/uL|(?: \(mean of \d+\))? to (?:[<>]=? )?[\d.]+ cells/uL)")
_DATES: Final = re.compile(r"\b\d{4}-[01]\d-[0-3]\d(?: [0-2]\d:[0-5]\d)?\b")


def _dated(iso: str, zone: str) -> str:
    try:
        moment = datetime.fromisoformat(iso)
    except ValueError:
        return iso
    return minute(local(moment, zone)) if " " in iso else day(moment)


@lru_cache(maxsize=1 << 14)
def source(text: str) -> str:
    """The source of a finding without the places in this program's own rules: ``laboratory``."""
    return _OWN_RULES.sub("", text).strip(" ;") or "rules of this program"


_OWN_RULES: Final = re.compile(r"\s*\(RULES\.md[^)]*\)|[;,]?\s*RULES\.md[^;,)]*")


@cache
def _limits() -> frozenset[float]:
    """Counts (cells/uL) at which the severity changes."""
    return frozenset(load_reference().anc_bands["upper"].drop_nulls())


def percent(share: float | None) -> str:
    """A percentage as it is read: ``55 %``, halves upwards as the rules' own sentences have it, or a dash."""
    return "–" if share is None else f"{math.floor(share + 0.5)} %"


def pace(log2_per_week: float, low: float | None = None, high: float | None = None) -> str:
    """How fast a count changes: ``halves in 11 days (9 to 14)``, ``doubles in 20 days``, ``steady``.

    ``low`` and ``high`` are the interval of the slope; where it reaches the other direction, its far end is open.
    """
    days = _days_to_twofold(log2_per_week)
    if days is None:
        return "steady"
    word = "halves" if log2_per_week < 0 else "doubles"
    ends = [end for end in (low, high) if end is not None]
    if len(ends) < 2:
        return f"{word} in {days} days"
    fast = max(ends, key=lambda end: end if log2_per_week > 0 else -end)
    slow = ends[0] if fast is ends[1] else ends[1]
    least = _days_to_twofold(fast)
    most = _days_to_twofold(slow) if slow * log2_per_week > 0 else None
    interval = f"{least} to {most}" if most else f"{least} or more"
    return f"{word} in {days} days ({interval})"


def _days_to_twofold(log2_per_week: float) -> int | None:
    """Days to half or twice the count; None where that takes longer than a year."""
    return round(7 / abs(log2_per_week)) if abs(log2_per_week) * 365 > 7 else None


def duration(span: timedelta) -> str:
    """A span in its two leading words: ``4 h``, ``3 days``."""
    hours = abs(span) / timedelta(hours=1)
    if hours < 1:
        return f"{hours * 60:.0f} min"
    return f"{hours:.0f} h" if hours < 48 else f"{hours / 24:.0f} days"


def hours(number: float | None) -> str:
    """Hours as they are read: ``45 min``, ``5.5 h``, ``3 days``, or a dash."""
    if number is None:
        return "–"
    return duration(timedelta(hours=number)) if number < 1 or number >= 48 else f"{number:.1f} h"


#: Kinds of warning whose sentence names the laboratory or file itself.
_NAMED_IN_DETAIL: Final = (
    "unrecognised",
    "refused_file",
    "unreadable_file",
    "unreadable_dates",
    "patient_identifier",
    "refused_decision",
)


def warning_text(warning: Mapping[str, str | None]) -> str:
    """One line of a run's warnings: ``LATE FEED: newest result 60 h old; expected within 48 h``."""
    name = (warning["kind"] or "").replace("_", " ").upper()
    if warning["kind"] in _NAMED_IN_DETAIL:
        return f"{name} {warning['detail']}"
    where = f" {warning['lab']}" if warning["lab"] else ""
    since = f" (last {warning['since']} UTC)" if warning["since"] else ""
    return f"{name}{where}: {warning['detail']}{since}"
