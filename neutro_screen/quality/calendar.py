"""When a source that comes less often than every week is due again: by the month, or by a number of days."""

from calendar import monthrange
from collections.abc import Collection, Sequence
from datetime import date, timedelta
from itertools import pairwise
from typing import Final

from neutro_screen.reference.policy_sections import SilenceRule

_WEEK: Final = 7
_MONTHS: Final = 12


def next_due(arrivals: Sequence[date], quiet: Collection[int], rule: SilenceRule) -> date | None:
    """The day on which the next arrival is due at the latest, after ``arrivals`` in order; None where no calendar is known.

    A calendar that fits all of the last arrivals exactly (a day of the month, the last day, the second Tuesday, the last
    Friday, every 28 days) names the day; of several the latest. A day on a ``quiet`` weekday (Monday = 0) is put off. Else
    the scatter of the arrivals is allowed once more, ``calendar_slack_d`` at least. Sources that come within a week are
    not judged here.
    """
    last = list(arrivals)[-rule.calendar_arrivals_n :]
    gaps = [(after - before).days for before, after in pairwise(last)]
    if len(last) < rule.minimum_nights_n or min(gaps) <= _WEEK:
        return None
    is_monthly = all(_month(after) - _month(before) == 1 for before, after in pairwise(last))
    fitting = _monthly_days(last) if is_monthly else []
    if len(set(gaps)) == 1:
        fitting.append(last[-1] + timedelta(days=gaps[0]))
    if fitting:
        return _put_off(max(fitting), quiet)
    if is_monthly:
        days = [day.day for day in last]
        latest = max(days) + max(max(days) - min(days), rule.calendar_slack_d)
        return _first_of_next_month(last[-1]) + timedelta(days=latest - 1)
    return last[-1] + timedelta(days=max(gaps) + max(max(gaps) - min(gaps), rule.calendar_slack_d))


def _monthly_days(last: Sequence[date]) -> list[date]:
    """The days of the next month by every calendar of months that fits."""
    first = _first_of_next_month(last[-1])
    length = _length(first)
    found = []
    if len({day.day for day in last}) == 1:
        found.append(first.replace(day=min(last[0].day, length)))
    if len({_from_end(day) for day in last}) == 1:
        found.append(first.replace(day=max(1, length - _from_end(last[0]))))
    if len({day.weekday() for day in last}) == 1:
        of_weekday = [day for day in range(1, length + 1) if first.replace(day=day).weekday() == last[0].weekday()]
        if len({(day.day - 1) // _WEEK for day in last}) == 1:
            found.append(first.replace(day=of_weekday[min((last[0].day - 1) // _WEEK, len(of_weekday) - 1)]))
        if len({_from_end(day) // _WEEK for day in last}) == 1:
            found.append(first.replace(day=of_weekday[max(-1 - _from_end(last[0]) // _WEEK, -len(of_weekday))]))
    return found


def _put_off(day: date, quiet: Collection[int]) -> date:
    while day.weekday() in quiet:
        day += timedelta(days=1)
    return day


def _month(day: date) -> int:
    return day.year * _MONTHS + day.month


def _first_of_next_month(day: date) -> date:
    return (day.replace(day=1) + timedelta(days=31)).replace(day=1)


def _length(day: date) -> int:
    return monthrange(day.year, day.month)[1]


def _from_end(day: date) -> int:
    """Days from a day to the end of its month."""
    return _length(day) - day.day
