"""The sample hospital: the teaching cases as extracts, with their truth and a page that says what to expect."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from neutro_simulator.cast import WHOLE_SPECIMEN, Case, Edit, teaching_cases, usual_person
from neutro_simulator.hospital import DATE_FORMAT, TIME_FORMAT, Hospital, index_day, marker_units
from neutro_simulator.laboratories import LAB_COLUMNS, reported
from neutro_simulator.parameters import FloatArray
from neutro_simulator.scenario import grid
from neutro_simulator.truth import moment, rapid_decline_day, shown_by_sampling

MORNING = 8.0 / 24.0
RESULT_AFTER = 2.0 / 24.0
DAYS_PER_YEAR = 365.25
LINES = ("lymphocytes", "monocytes", "eosinophils", "basophils", "blasts", "haemoglobin", "platelets", "mcv")


def sample_hospital(as_of: datetime) -> Hospital:
    """Forty patients, each a teaching case with a stable id; no noise, the same for the same index time.

    Counts are exactly those of the case (laboratory rounding apart). Columns as in Hospital; a time without a zone is
    UTC. Counts of the day before the index date are the latest.
    """
    now = as_of.astimezone(UTC).replace(tzinfo=None) if as_of.tzinfo else as_of
    midnight, until_day = index_day(now)
    taken = pl.concat([_specimens(position, case, midnight) for position, case in enumerate(teaching_cases())])
    days = grid()
    course = np.vstack([_course(case, days) for case in teaching_cases()])
    labs = pl.concat(
        [
            _edited(reported(of_case, np.random.Generator(np.random.PCG64(0)), is_exact=True), case, midnight)
            for case, (_, of_case) in zip(teaching_cases(), taken.group_by("patient", maintain_order=True), strict=True)
        ]
        + [_markers(case, midnight) for case in teaching_cases()]
    )
    return Hospital(
        labs=labs.sort("patient_id", "collected_at", "specimen_id", maintain_order=True).select(LAB_COLUMNS),
        medications=_medications(midnight),
        patients=_patients(midnight),
        diagnoses=_listed(
            [
                (case.patient_id, found.code, "ICD-10", _date(found.day, midnight))
                for case in teaching_cases()
                for found in case.diagnoses
            ],
            ("patient_id", "code", "system", "date"),
        ),
        events=_listed(
            [
                (case.patient_id, event.event, _time(event.day, midnight), event.detail)
                for case in teaching_cases()
                for event in case.events
            ],
            ("patient_id", "event", "date", "detail"),
        ),
        true_course=_true_course(course, days, midnight, until_day),
        truth=_truth(course, days, taken, midnight, until_day),
        specimen_truth=taken.select(
            "patient_id", "specimen_id", moment(pl.col("day"), midnight).alias("collected_at"), "true_anc", "lab"
        ),
        dirt_log=_dirt_log(midnight),
    )


def sample_expectations() -> pl.DataFrame:
    """What the screen should say of each patient now: patient_id, title, severity (null: cannot be assessed),
    priority (null: not on the worklist), reason.
    """
    return pl.DataFrame(
        {
            "patient_id": [case.patient_id for case in teaching_cases()],
            "title": [case.title for case in teaching_cases()],
            "severity": [case.expected.severity for case in teaching_cases()],
            "priority": [case.expected.priority for case in teaching_cases()],
            "reason": [case.reason for case in teaching_cases()],
        }
    )


def sample_readme(as_of: datetime) -> str:
    """The page beside the sample data, in Markdown: who is in it and what the screen should say of each."""
    rows = "\n".join(
        f"| {row['patient_id']} | {row['title']} | {row['severity'] or 'cannot assess'} | {row['priority'] or '–'} "
        f"| {row['reason']} |"
        for row in sample_expectations().iter_rows(named=True)
    )
    return f"""# Sample hospital

Synthetic patients: nobody in here exists. Written by `neutro_simulator.sample_hospital` for the index time
{as_of:%Y-%m-%d %H:%M} UTC; screen it with `--as-of {as_of:%Y-%m-%dT%H:%M}` to see what the table says.
Four laboratories report in four ways: A in 10*3/uL with a full differential, B as WBC and percentages, C as a manual
differential of 100 cells under local names, D in cells per microlitre. `truth/` holds the noise-free courses.

Severity is that of the latest result (rule ids: docs/rules.md). Not on the worklist: –.

| patient | who | severity | priority | what the screen should say |
|---|---|---|---|---|
{rows}
"""


def _specimens(position: int, case: Case, midnight: datetime) -> pl.DataFrame:
    day = np.array([day for day, _ in case.counts]) + MORNING
    false = dict(case.measured_falsely)
    seen = np.array([false.get(day, anc) for day, anc in case.counts], dtype=np.float64)
    onset = case.truth.onset_day
    # Other lines and blasts are those of the illness: a count from before it shows the usual values.
    ill = np.array([onset is None or day >= onset for day, _ in case.counts])
    own, usual = case.person, usual_person()
    return pl.DataFrame(
        {
            "patient": np.full(len(day), position),
            "patient_id": [case.patient_id] * len(day),
            "specimen_id": [f"S-{case.patient_id[2:]}-{serial + 1:02d}" for serial in range(len(day))],
            "day": day,
            "true_anc": np.array([anc for _, anc in case.counts], dtype=np.float64),
            "anc": seen,
            "bands": seen * own.bands_fraction,
            "lab": [case.lab] * len(day),
        }
        | {line: np.where(ill, getattr(own, line), getattr(usual, line)) for line in LINES}
    ).with_columns(
        moment(pl.col("day"), midnight).dt.to_string(TIME_FORMAT).alias("collected_at"),
        moment(pl.col("day") + RESULT_AFTER, midnight).dt.to_string(TIME_FORMAT).alias("resulted_at"),
    )


def _course(case: Case, days: FloatArray) -> FloatArray:
    """The true course: straight on the log scale between the counts and the points nobody measured."""
    points = sorted((*case.counts, *case.hidden))
    at = np.array([day for day, _ in points]) + MORNING
    log_anc: FloatArray = np.interp(days, at, np.log(np.array([anc for _, anc in points])))
    return np.asarray(np.exp(log_anc), dtype=np.float64)


def _edited(labs: pl.DataFrame, case: Case, midnight: datetime) -> pl.DataFrame:
    for edit in case.edits:
        of_edit = pl.col("collected_at") == _time(edit.day + MORNING, midnight)
        if edit.quantity != WHOLE_SPECIMEN:
            of_edit &= pl.col("quantity") == edit.quantity
        changed = labs.with_columns(_becomes(edit)).filter(of_edit)
        labs = pl.concat([labs if edit.is_extra else labs.filter(~of_edit), changed])
    return labs.sort("row_of", maintain_order=True)


def _becomes(edit: Edit) -> list[pl.Expr]:
    """New column values; a time written as +90 or -40 is so many minutes from the row's own."""
    return [
        _moved(column, int(value))
        if column == "resulted_at" and value
        else pl.lit(value, dtype=pl.String).alias(column)
        for column, value in edit.becomes.items()
    ]


def _moved(column: str, minutes: int) -> pl.Expr:
    at = pl.col(column).str.to_datetime(TIME_FORMAT) + pl.duration(minutes=minutes)
    return at.dt.to_string(TIME_FORMAT).alias(column)


def _markers(case: Case, midnight: datetime) -> pl.DataFrame:
    units, _ = marker_units()
    rows = [
        {
            "row_of": None,
            "patient_id": case.patient_id,
            "specimen_id": f"M-{case.patient_id[2:]}-{marker.loinc}",
            "collected_at": _time(marker.day + MORNING, midnight),
            "resulted_at": _time(marker.day + MORNING + RESULT_AFTER, midnight),
            "loinc": marker.loinc,
            "analyte_name": marker.name,
            "value": marker.value,
            "unit": units.get(marker.loinc),
            "reference_low": None,
            "reference_high": None,
            "status": "F",
            "lab": case.lab,
            "quantity": "marker",
        }
        for marker in case.markers
    ]
    return pl.DataFrame(rows, schema={"row_of": pl.UInt32, **dict.fromkeys((*LAB_COLUMNS, "quantity"), pl.String)})


def _medications(midnight: datetime) -> pl.DataFrame:
    return _listed(
        [
            (
                case.patient_id,
                drug.name,
                drug.atc,
                _date(drug.start_day, midnight),
                None if drug.end_day is None else _date(drug.end_day, midnight),
                drug.route,
                None,
            )
            for case in teaching_cases()
            for drug in case.medications
        ],
        ("patient_id", "drug_name", "atc_code", "start_date", "end_date", "route", "dose"),
    )


def _patients(midnight: datetime) -> pl.DataFrame:
    return _listed(
        [
            (case.patient_id, _date(-who.age_years * DAYS_PER_YEAR, midnight), who.sex, who.duffy_null, None)
            for case in teaching_cases()
            for who in (case.person,)
        ],
        ("patient_id", "birth_date", "sex", "duffy_null", "ethnicity"),
    )


def _true_course(course: FloatArray, days: FloatArray, midnight: datetime, until_day: float) -> pl.DataFrame:
    known = days <= until_day
    patient = np.repeat(np.arange(len(teaching_cases())), known.sum())
    return pl.DataFrame(
        {
            "patient_id": [teaching_cases()[index].patient_id for index in patient],
            "day": np.tile(days[known], len(teaching_cases())),
            "anc_cells_per_ul": course[:, known].ravel().round(1),
        }
    ).select("patient_id", moment(pl.col("day"), midnight).alias("at"), "anc_cells_per_ul")


def _truth(
    course: FloatArray, days: FloatArray, taken: pl.DataFrame, midnight: datetime, until_day: float
) -> pl.DataFrame:
    known = days <= until_day
    decline = rapid_decline_day(course[:, known], days[known])
    return (
        pl.DataFrame(
            {
                "patient": np.arange(len(teaching_cases())),
                "patient_id": [case.patient_id for case in teaching_cases()],
                "cause": [case.truth.cause for case in teaching_cases()],
                "causal_ingredient": [case.truth.ingredient for case in teaching_cases()],
                "onset_day": [case.truth.onset_day for case in teaching_cases()],
                "true_nadir_cells_per_ul": course[:, known].min(axis=1).round(1),
                "nadir_day": days[known][course[:, known].argmin(axis=1)],
                "cycle_days": [case.truth.cycle_days for case in teaching_cases()],
                "decline_day": decline,
            }
        )
        .with_columns(pl.col("decline_day").fill_nan(None))
        .join(shown_by_sampling(taken), on="patient", how="left", maintain_order="left")
        .select(
            "patient_id",
            "cause",
            "causal_ingredient",
            moment(pl.col("onset_day"), midnight).alias("onset_at"),
            "true_nadir_cells_per_ul",
            moment(pl.col("nadir_day"), midnight).alias("true_nadir_at"),
            pl.col("cycle_days").is_not_null().alias("is_cyclic"),
            "cycle_days",
            pl.col("decline_day").is_not_null().alias("has_true_rapid_decline"),
            moment(pl.col("decline_day"), midnight).alias("rapid_decline_at"),
            pl.col("sampling_could_show_it") & pl.col("decline_day").is_not_null(),
        )
    )


def _dirt_log(midnight: datetime) -> pl.DataFrame:
    rows = []
    for case in teaching_cases():
        serial = {day: number + 1 for number, (day, _) in enumerate(case.counts)}
        rows += [
            ("edited", case.patient_id, f"S-{case.patient_id[2:]}-{serial[edit.day]:02d}", edit.quantity)
            for edit in case.edits
        ]
    return _listed(rows, ("kind", "patient_id", "specimen_id", "quantity")).unique().sort("patient_id", "quantity")


def _listed(rows: Sequence[tuple[str | None, ...]], columns: tuple[str, ...]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=dict.fromkeys(columns, pl.String), orient="row")


def _date(day: float, midnight: datetime) -> str:
    return (midnight + timedelta(days=day)).strftime(DATE_FORMAT)


def _time(day: float, midnight: datetime) -> str:
    at = midnight + timedelta(days=day, seconds=1)
    return at.replace(second=0, microsecond=0).strftime(TIME_FORMAT)
