"""The panel of each patient: sentences for the template and, as JSON, what the charts and tables draw."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import date, datetime, timedelta
from functools import cache, lru_cache
from typing import Any, Final

import polars as pl

from neutro_schemas import ANC_METHODS
from neutro_screen.reference import load_reference
from neutro_screen.reference.causality import load_cause_reference
from neutro_screen.report.contents import OTHER_LINES, RunContents, zone_of
from neutro_screen.report.html.sparkline import sparkline
from neutro_screen.report.words import count, pace, prose, shown, source, spoken

Row = dict[str, Any]
#: How much of a long history a panel holds, newest first; what is left out is counted on the panel.
MOST_POINTS: Final = 150
MOST_LINE_POINTS: Final = 40
MOST_DRUGS: Final = 14
MOST_SPANS: Final = 24
MOST_LINES: Final = 16
MOST_SOURCE_ROWS: Final = 40
MOST_FALLS: Final = 4
MOST_MARKS: Final = 12
_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001  (times of the store are UTC without zone)
_PROJECTION: Final = ("days_to_severe", "days_to_severe_low", "days_to_severe_high")
_MINUTE: Final = timedelta(minutes=1)
_END: Final = 2**53
_LITERATURE: Final = "literature: "
_FALLS: Final = ("RPD-", "TRD-2")
_MOST_SEARCHED: Final = 700
#: What is drawn of every count; of the latest the panel says more.
_OF_EVERY_COUNT: Final = (
    *("patient_id", "specimen_id", "collected_at", "baseline_cells_per_ul", "notes"),
    *("anc_cells_per_ul", "anc_comparator", "anc_method", "severity", "severity_in_context"),
    *("ctcae_v5_grade", "ctcae_v6_grade", "daids_grade"),
)
_SENTENCES: Final = ("conclusion", "reasons", "reason", "finding")
#: Categories of suspects that the list names, and strengths of evidence for other causes, the strongest first.
_NAMED_CATEGORIES: Final = ("likely", "possible", "expected", "beyond_expected")
_STRENGTHS: Final = ("strong", "moderate")
#: Categories of evidence that say how urgent a count is, or are said as a suspect, and explain nothing by themselves.
_NO_CAUSES: Final = ("fever", "medication", "masking", "pitfall")
_SEEN_IN_THE_BAND: Final = ("SEV-1", "ANC-10")


def patient_panels(contents: RunContents) -> list[Row]:
    """One dictionary per row of ``contents.panels``, in that order, with ``payload`` for the script."""
    zone = zone_of(contents)
    by_patient = {
        table: _by_patient(getattr(contents, table), zone)
        for table in ("episode", "drug_suspect", "evidence", "workup_step", "medication", "patient", "temperature")
    }
    by_patient |= {"anc": _counts(contents.anc), "flag": _flags(contents)}
    labels, lines = dict(load_cause_reference().workup.select("step", "label").iter_rows()), _lines(contents.lines)
    panels = [
        _panel(
            number,
            _worded(row, zone),
            {table: found[row["patient_id"]] for table, found in by_patient.items()}
            | {"lines": lines[row["patient_id"]]},
            labels,
            zone,
        )
        for number, row in enumerate(contents.panels.iter_rows(named=True), start=1)
    ]
    _add_sources(panels, contents.feeding)
    return panels


def _counts(anc: pl.DataFrame) -> Mapping[str, list[Row]]:
    """The counts of each patient in order: of the latest every column, of the others what is drawn."""
    found = _by_patient(anc.select(_OF_EVERY_COUNT), "")
    for row in anc.group_by("patient_id", maintain_order=True).tail(1).iter_rows(named=True):
        found[row["patient_id"]][-1] = row
    return found


def _flags(contents: RunContents) -> Mapping[str, list[Row]]:
    """The flags of each patient shown, in order, their sentences as the store has them."""
    on_list = contents.panels.filter("is_on_list")["patient_id"]
    of_panels = contents.flag.filter(pl.col("patient_id").is_in(on_list.implode()))
    is_fall = pl.any_horizontal(pl.col("rule_id").str.starts_with(start) for start in _FALLS)
    found: defaultdict[str, list[Row]] = defaultdict(list)
    columns = ("patient_id", "rule_id", "raised_at", "reason", pl.when(is_fall).then("evidence").alias("evidence"))
    for row in of_panels.select(columns).iter_rows(named=True):
        found[row["patient_id"]].append(row)
    return found


def _worded(row: Row, zone: str) -> Row:
    """The row with its sentences as the page reads (``words.prose``)."""
    worded = {name: prose(row[name], zone) for name in _SENTENCES if name in row}
    return row | worded | ({"source": source(row["source"])} if "finding" in row else {})


def _by_patient(frame: pl.DataFrame, zone: str) -> Mapping[str, list[Row]]:
    found: defaultdict[str, list[Row]] = defaultdict(list)
    has_sentences = not set(_SENTENCES).isdisjoint(frame.columns)
    for row in frame.iter_rows(named=True):
        found[row["patient_id"]].append(_worded(row, zone) if has_sentences else row)
    return found


def _lines(results: pl.DataFrame) -> Mapping[str, list[Row]]:
    """Of each patient and other cell line (``analyte``) the newest minutes and values, each minute once, the last value."""
    minute = (pl.col("collected_at").dt.epoch("s") // 60).alias("minute")
    drawn = (
        results.group_by("patient_id", "analyte", minute, maintain_order=True)
        .agg(pl.col("value").last())
        .group_by("patient_id", "analyte", maintain_order=True)
        .agg(pl.col("minute", "value").tail(MOST_LINE_POINTS))
    )
    return _by_patient(drawn, "")


def _panel(number: int, row: Row, of: Mapping[str, list[Row]], labels: Mapping[str, str], zone: str) -> Row:
    anc, episodes = of["anc"], of["episode"]
    episode = next((one for one in episodes if one["episode_id"] == row["episode_id"]), None)
    episode_id = episode["episode_id"] if episode else None
    suspects = _once([one for one in of["drug_suspect"] if one["episode_id"] == episode_id])
    lines = [one for one in of["evidence"] if one["episode_id"] == episode_id]
    steps = [
        step | {"label": labels.get(step["step"], step["step"])}
        for step in of["workup_step"]
        if step["episode_id"] == episode_id
    ]
    places = {name: place for place, name in enumerate(labels)}
    steps.sort(key=lambda step: places.get(step["step"], len(places)))
    since = episode["last_normal_at"] or episode["started_at"] if episode else None
    flags = [one for one in of["flag"] if since is None or one["raised_at"] >= since] or of["flag"][-1:]
    unmapped = sorted(
        {shown(one["drug_name"] or one["atc_code"] or one["rxcui"]) for one in of["medication"] if one["is_unmapped"]}
    )
    falls = [(one, _evidence(one)) for one in flags if one["rule_id"].startswith(_FALLS)]
    person = _person(of["patient"])
    next_step = next((step for step in steps if step["step"] == row["next_step"]), None)
    return row | {
        "number": number,
        "key": key_of(row["patient_id"]),
        "group": group_of(row),
        "last": anc[-1] if anc else None,
        "person": person,
        "age": _age(person.get("birth_date"), row["last_collected_at"]),
        "temperature": of["temperature"][0] if of["temperature"] else None,
        "episode": episode,
        "episodes": len(episodes),
        "baseline": _latest(anc, "baseline_cells_per_ul"),
        "trend": anc[-1]["trend"] if anc else None,
        "pace": _pace(anc[-1]) if anc else None,
        "days_to_severe": anc[-1]["days_to_severe"] if anc else None,
        "reason_list": (row["reasons"] or "no reason on file").split("; "),
        "next_state": next_step["state"] if next_step else None,
        "explanations": _explanations(suspects, lines),
        "is_drug_suspected": any(one["category"] in ("likely", "possible") for one in suspects),
        "is_overdue": any(step["state"] == "overdue" for step in steps),
        "searched": _searched(row, suspects, lines, steps),
        "suspects": [
            one | {"reason": one["reason"].removeprefix(f"{one['ingredient']}: ")} for one in suspects[:MOST_LINES]
        ],
        "suspects_more": len(suspects[MOST_LINES:]),
        "evidence": [one for one in lines if not one["source"].startswith(_LITERATURE)][:MOST_LINES],
        "literature": [
            {
                "statement": one["finding"].removeprefix("literature, not this patient's risk: "),
                "source": one["source"].removeprefix(_LITERATURE),
            }
            for one in lines
            if one["source"].startswith(_LITERATURE)
        ],
        "steps": steps,
        "flags": [_worded(one, zone) for one in _flags_by_rule(flags)],
        "medications": len(of["medication"]),
        "unmapped_drugs": unmapped[:MOST_DRUGS],
        "unmapped_drugs_more": len(unmapped[MOST_DRUGS:]),
        "sparkline": sparkline(anc),
        "payload": _payload(anc, _marks(flags, zone), _falls(falls, zone), suspects, of, episode),
        "specimens": _argued_from(anc, falls, episode),
        "arithmetic": _arithmetic(anc[-1]) if anc else [],
    }


def key_of(patient_id: str) -> str:
    """The name of a patient in an address: the same in every report, and not the identifier in clear."""
    return hashlib.sha256(patient_id.encode("utf-8", "replace")).hexdigest()[:16]


def group_of(row: Row) -> str:
    """The group of the page that a row belongs to (``words.GROUPS``)."""
    return "recent" if row["is_recent"] and row["is_on_list"] else row["row_group"] or "open"


def _pace(last: Row) -> str | None:
    slope = last["slope_log2_per_week"]
    return None if slope is None else pace(slope, last["slope_low"], last["slope_high"])


def _explanations(suspects: list[Row], lines: list[Row]) -> list[tuple[str, str]]:
    """What may be behind the count, in two words each: the first drug, then other causes by the strength of their evidence."""
    drugs = [(one["ingredient"], spoken(one["category"])) for one in suspects if one["category"] in _NAMED_CATEGORIES]
    causes: dict[str, str] = {}
    for strength in _STRENGTHS:
        for line in lines:
            if line["strength"] == strength and line["category"] not in _NO_CAUSES:
                causes.setdefault(line["category"], f"{strength} evidence")
    return [*drugs[:1], *list(causes.items())[:2]]


def _searched(row: Row, suspects: list[Row], lines: list[Row], steps: list[Row]) -> str:
    """What the search of the list looks through, beside the text of the row."""
    findings = [line["finding"] for line in lines if not line["source"].startswith(_LITERATURE)]
    parts = [row["requester"], row["reasons"], row["conclusion"], row["review_note"], row["next_step"]]
    parts += [one["ingredient"] for one in suspects] + findings[:MOST_LINES]
    parts += [step["label"] for step in steps if step["state"] == "overdue"]
    return "; ".join(part for part in parts if part)[:_MOST_SEARCHED]


def _once(suspects: list[Row]) -> list[Row]:
    """Each drug once: beside the fall that leads to the episode's lowest count, else beside the first it may explain."""
    first = {one["ingredient"]: one for one in reversed(suspects)}
    return [one for one in suspects if first[one["ingredient"]] is one]


def _person(rows: Iterable[Row]) -> Row:
    """What is on file of a person: of each column the first value that is known."""
    person: Row = {}
    for row in rows:
        for name, value in row.items():
            if person.get(name) is None:
                person[name] = value
    return person


def _age(born: date | None, at: datetime | None) -> int | None:
    if born is None or at is None:
        return None
    return at.year - born.year - ((at.month, at.day) < (born.month, born.day))


def _latest(anc: list[Row], column: str) -> Any:
    return next((row[column] for row in reversed(anc) if row[column] is not None), None)


def _payload(
    anc: list[Row],
    marks: list[list[Any]],
    falls: list[Row],
    suspects: list[Row],
    of: Mapping[str, list[Row]],
    episode: Row | None,
) -> Row:
    """What the script draws. Times are minutes since 1970, UTC."""
    kept = anc[-MOST_POINTS:]
    points = [
        [
            minutes(one["collected_at"]),
            _short(one["anc_cells_per_ul"]),
            one["anc_comparator"] or "",
            ANC_METHODS.index(one["anc_method"]),
            _severity(one),
            one["ctcae_v5_grade"],
            one["ctcae_v6_grade"],
            one["daids_grade"],
            shown(one["notes"]) or "",
        ]
        for one in kept
    ]
    lanes, more = _lanes(suspects, of["medication"])
    return {
        "points": points,
        "older": len(anc) - len(kept),
        "from": minutes(episode["last_normal_at"] or episode["started_at"]) if episode else None,
        "baseline": _short(_latest(anc, "baseline_cells_per_ul")),
        "falls": falls,
        "marks": marks,
        "projection": [anc[-1][name] for name in _PROJECTION]
        if anc and anc[-1]["days_to_severe"] is not None
        else None,
        "lanes": lanes,
        "more_lanes": more,
        "lines": {name: flat for name in OTHER_LINES if (flat := _line(of["lines"], name))},
    }


def _severity(count: Row) -> str:
    """The context-free severity, and beside it the one in the patient's context where they differ (SEV-1, SEV-3)."""
    severity, in_context = count["severity"] or "cannot tell", count["severity_in_context"]
    return severity if in_context in (None, severity) else f"{severity} ({in_context.replace('_', ' ')})"


def _flags_by_rule(flags: list[Row]) -> list[Row]:
    """Of each rule the latest flag, since when it has fired and how often; the latest first."""
    latest: dict[str, Row] = {}
    for flag in flags:
        earlier = latest.pop(flag["rule_id"], {"first": flag["raised_at"], "times": 0})
        latest[flag["rule_id"]] = flag | {"first": earlier["first"], "times": earlier["times"] + 1}
    return list(latest.values())[::-1]


def _marks(flags: list[Row], zone: str) -> list[list[Any]]:
    """Flags for the upper edge of the chart: time and what was raised then; a low count alone is seen in its band."""
    at: dict[datetime, list[Row]] = {}
    for flag in flags:
        if flag["rule_id"] not in _SEEN_IN_THE_BAND:
            at.setdefault(flag["raised_at"], []).append(flag)
    return [
        [minutes(moment), "\n".join(f"{flag['rule_id']}: {shown(prose(flag['reason'], zone))}" for flag in raised)]
        for moment, raised in list(at.items())[-MOST_MARKS:]
    ]


def _falls(flags: list[tuple[Row, list[Row]]], zone: str) -> list[Row]:
    """The latest falls that flags were raised from: rule, reason, and the count before and after."""
    between = [(flag, (results[0], results[-1])) for flag, results in flags if len(results) > 1]
    return [
        {
            "rule": flag["rule_id"],
            "reason": shown(prose(flag["reason"], zone)),
            "t": [minutes(datetime.fromisoformat(one["collected_at"])) for one in ends],
            "v": [_short(one["anc_cells_per_ul"]) for one in ends],
        }
        for flag, ends in between[-MOST_FALLS:]
    ]


def _evidence(flag: Row) -> list[Row]:
    results = json.loads(flag["evidence"])
    return (
        [one for one in results if isinstance(one, dict) and one.get("collected_at")]
        if isinstance(results, list)
        else []
    )


def _lanes(suspects: list[Row], medications: list[Row]) -> tuple[list[list[Any]], int]:
    """Exposures for the chart: name, category, spans (first and last day in turns, null = open, "" = unread); suspects first.

    A line of the medication list that names a suspect (``drug_match``) belongs to that suspect's lane.
    """
    spans: dict[tuple[str, str], list[int | str | None]] = {
        (shown(one["ingredient"]), one["category"]): [] for one in suspects
    }
    for line in medications:
        name = shown(line["drug_name"] or line["atc_code"] or line["rxcui"] or "not named")
        suspect = next((one for one in suspects if one["ingredient"] in (line["ingredients"] or ())), None)
        lane = (shown(suspect["ingredient"]), suspect["category"]) if suspect else (name.strip(), "listed")
        end = "" if line["end_as_sent"] else minutes(line["end_date"])
        spans.setdefault(lane, []).extend((minutes(line["start_date"]), end))
    for one in suspects:
        lane = (shown(one["ingredient"]), one["category"])
        spans[lane] = spans[lane] or [minutes(one["first_exposure"]), minutes(one["last_exposure"])]
    lanes = [[name, category, periods[-2 * MOST_SPANS :]] for (name, category), periods in spans.items()]
    lanes.sort(
        key=lambda lane: (lane[1] == "listed", max(end if isinstance(end, int) else _END for end in lane[2][1::2]) * -1)
    )
    return lanes[:MOST_DRUGS], len(lanes[MOST_DRUGS:])


def _line(results: list[Row], analyte: str) -> list[Any]:
    """Times and values of one cell line in turns."""
    return [
        part
        for one in results
        if one["analyte"] == analyte
        for minute, value in zip(one["minute"], one["value"], strict=True)
        for part in (minute, _short(value))
    ]


def _argued_from(anc: list[Row], falls: list[tuple[Row, list[Row]]], episode: Row | None) -> set[str]:
    """The specimens that the panel argues from: latest, nadir, and those of a fall."""
    specimens = {anc[-1]["specimen_id"]} if anc else set()
    specimens |= {one["specimen_id"] for one in anc if episode and one["collected_at"] == episode["nadir_at"]}
    return specimens | {one["specimen_id"] for _, results in falls for one in results[-4:]}


def _add_sources(panels: list[Row], feeding: pl.DataFrame) -> None:
    """Add to each panel ``sources``: the rows of its ``specimens`` as they were read."""
    wanted = pl.DataFrame(
        [(panel["patient_id"], specimen) for panel in panels for specimen in panel["specimens"]],
        schema={"patient_id": pl.String, "specimen_id": pl.String},
        orient="row",
    )
    of_specimens = feeding.join(wanted, on=wanted.columns, how="semi", nulls_equal=True, maintain_order="left")
    results = _by_patient(of_specimens, "")
    for panel in panels:
        panel["sources"] = _source_rows(results[panel["patient_id"]])


def _source_rows(results: list[Row]) -> list[list[Any]]:
    labels = _analyte_labels()
    return [
        [
            minutes(one["collected_at"]),
            shown(one["specimen_id"]),
            labels.get(one["analyte"], one["analyte"]),
            shown(one["value_text"]),
            shown(one["unit_text"]),
            _measured(one),
            one["status"],
            shown(one["source_file"]),
            one["source_row"],
        ]
        for one in results[: -MOST_SOURCE_ROWS - 1 : -1]
    ]


@cache
def _analyte_labels() -> Mapping[str, str]:
    return dict(load_reference().analytes.select("analyte", "label").iter_rows())


def _measured(result: Row) -> str:
    if result["value"] is None:
        return "–"
    return f"{result['comparator'] or ''}{result['value']:g} {result['unit'] or ''}".strip()


def _arithmetic(last: Row) -> list[str]:
    """Every route by which the latest count could be had, in words (ANC-3)."""
    routes = (
        ("reported", last["anc_reported"]),
        ("segmented + bands", last["anc_segs_and_bands"]),
        ("white cells × percent", last["anc_from_percent"]),
        ("manual differential", last["anc_manual"]),
        ("white cells", last["wbc_cells_per_ul"]),
    )
    return [f"{name} {count(value)}" for name, value in routes if value is not None]


def minutes(moment: date | None) -> int | None:
    """Whole minutes since 1970, UTC: times as the script reads them."""
    if moment is None:
        return None
    at = moment if isinstance(moment, datetime) else datetime(moment.year, moment.month, moment.day)  # noqa: DTZ001
    return (at - _EPOCH) // _MINUTE


@lru_cache(maxsize=1 << 14)
def _short(value: float | None) -> float | int | None:
    """A number with as few characters as say the same on a chart (five digits)."""
    if value is None:
        return None
    rounded = float(f"{value:.5g}")
    return int(rounded) if rounded.is_integer() else rounded
