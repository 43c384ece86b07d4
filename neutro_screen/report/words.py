"""The report's own words: labels of the store's codes, and times and counts as they are read."""

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Any, Final

from neutro_screen.errors import visible
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
LONGEST: Final = 240


def shown(value: Any) -> Any:
    """A text as the page shows it: nothing unseen that turns the direction of reading, and no longer than a line or two.

    The whole text is in the CSV and in the store. Anything but a plain ``str`` is returned as it is.
    """
    if type(value) is not str:
        return value
    seen = visible(value)
    return seen if len(seen) <= LONGEST else f"{seen[:LONGEST]}… ({len(seen):,} characters)"


def spoken(code: str | None) -> str:
    """A code of the store in words: ``not_applicable`` is read ``not applicable``."""
    return (code or "").replace("_", " ")


def day(moment: date | None) -> str:
    """``21 Nov 2026``, or a dash."""
    return f"{moment.day} {moment:%b %Y}" if moment else "–"


def minute(moment: datetime | None) -> str:
    """``21 Nov 2026 06:10``, or a dash. All times are UTC."""
    return f"{day(moment)} {moment:%H:%M}" if moment else "–"


def near(moment: datetime | None, now: datetime) -> str:
    """``21 Nov 06:10``, with its year only where it is not this one; or a dash."""
    if moment is None:
        return "–"
    return f"{moment.day} {moment:%b %H:%M}" if moment.year == now.year else minute(moment)


def count(cells_per_ul: float | None, comparator: str | None = None) -> str:
    """A count in cells/uL as it is read: ``1,230``, ``< 100``, or a dash."""
    if cells_per_ul is None:
        return "–"
    number = f"{cells_per_ul:,.1f}".removesuffix(".0")
    return f"{_SIGNS.get(comparator, comparator)} {number}" if comparator else number


_SIGNS: Final[Mapping[str, str]] = {"<=": "≤", ">=": "≥"}


def signed(number: float) -> str:
    """A number with its sign, and a minus that is as wide as a plus: ``−0.64``."""
    return f"{number:+.2f}".replace("-", "−")


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
_NAMED_IN_DETAIL: Final = ("unrecognised", "refused_file", "unreadable_file")


def warning_text(warning: Mapping[str, str | None]) -> str:
    """One line of a run's warnings: ``LATE FEED: newest result 60 h old; expected within 48 h``."""
    name = (warning["kind"] or "").replace("_", " ").upper()
    if warning["kind"] in _NAMED_IN_DETAIL:
        return f"{name} {warning['detail']}"
    where = f" {warning['lab']}" if warning["lab"] else ""
    since = f" (last {warning['since']} UTC)" if warning["since"] else ""
    return f"{name}{where}: {warning['detail']}{since}"
