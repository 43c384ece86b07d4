"""A synthetic hospital with known truth."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from neutro_simulator.causes import CAUSES
from neutro_simulator.dirt import with_faults
from neutro_simulator.laboratories import LAB_COLUMNS, laboratories, reported
from neutro_simulator.parameters import all_parameters, draw, number, numbers, texts
from neutro_simulator.retractions import retracted_rows
from neutro_simulator.scenario import MEDICATION, Drug, Group, Scenario, grid, medications_until
from neutro_simulator.specimens import specimens
from neutro_simulator.truth import moment, true_course, truth

TIME_FORMAT = "%Y-%m-%dT%H:%M:%S"
DATE_FORMAT = "%Y-%m-%d"
DAYS_PER_YEAR = 365.25


@dataclass(frozen=True)
class Hospital:
    """Extracts in the native delimited layout, every column text, and the truth behind them.

    labs, medications, patients, diagnoses, events: columns of CONTRACT's native layout; times without a zone are UTC.
    true_course: patient_id, at, anc_cells_per_ul (noise-free).
    truth: patient_id, cause, causal_ingredient (null if none), onset_at, true_nadir_cells_per_ul, true_nadir_at,
        is_cyclic, cycle_days, has_true_rapid_decline, rapid_decline_at, sampling_could_show_it.
    specimen_truth: patient_id, specimen_id, collected_at, true_anc (cells/µL, noise-free), lab.
    dirt_log: kind, patient_id, specimen_id, quantity (null where the whole specimen is meant).
    Times of the truth are naive UTC datetimes.
    """

    labs: pl.DataFrame
    medications: pl.DataFrame
    patients: pl.DataFrame
    diagnoses: pl.DataFrame
    events: pl.DataFrame
    true_course: pl.DataFrame
    truth: pl.DataFrame
    specimen_truth: pl.DataFrame
    dirt_log: pl.DataFrame


EXTRACTS = ("labs", "medications", "patients", "diagnoses", "events")


def simulate_hospital(
    patients: int,
    seed: int,
    *,
    as_of: datetime,
    mix: Mapping[str, float] | None = None,
    dirt: float = 0.02,
    mislabelled_batches: int = 0,
) -> Hospital:
    """A hospital of so many patients as the extract of `as_of` would show it, the same for the same arguments.

    as_of: index time; a time without a zone is UTC. Nothing is collected, given or diagnosed after it.
    mix: share of each cause (any weights; causes left out are absent); default: [mix] of simulation.toml.
    dirt: share of lab rows that carry one of the faults of FORMATS.md section D; dirt never changes the truth.
    mislabelled_batches: so many days of laboratory D on which cells/uL values are labelled K/uL.

    Raises ValueError for an unknown cause, weights that sum to nothing, or a share of dirt outside 0 to 1.
    """
    if not 0.0 <= dirt <= 1.0:
        raise ValueError("dirt is a share from 0 to 1")
    now = as_of.astimezone(UTC).replace(tzinfo=None) if as_of.tzinfo else as_of
    rng = np.random.Generator(np.random.PCG64(seed))
    sizes = group_sizes(patients, mix)
    ids = patient_ids(rng, patients)
    days = grid()
    extracts: list[GroupExtract] = []
    first = 0
    for cause, size in sizes.items():
        if size:
            group = Group(cause, size, rng, days)
            extracts.append(group_extract(CAUSES[cause](group), group, ids[first : first + size], now))
            first += size
    return assembled(extracts, rng, now, dirt, mislabelled_batches)


@dataclass(frozen=True)
class GroupExtract:
    """The extracts and truth of one cause before dirt: as in Hospital; labs have row_of and quantity as well."""

    labs: pl.DataFrame
    medications: pl.DataFrame
    patients: pl.DataFrame
    diagnoses: pl.DataFrame
    events: pl.DataFrame
    true_course: pl.DataFrame
    truth: pl.DataFrame
    specimen_truth: pl.DataFrame


def group_sizes(patients: int, mix: Mapping[str, float] | None, section: str = "mix") -> dict[str, int]:
    """How many patients each cause gets: shares rounded down, what is left to the largest remainders.

    section: where the shares are read from when no mix is given.
    """
    weights = dict(mix) if mix is not None else {cause: number(section, cause) for cause in all_parameters()[section]}
    if unknown := sorted(set(weights) - set(CAUSES)):
        raise ValueError(f"unknown cause {', '.join(unknown)}; known: {', '.join(CAUSES)}")
    total = sum(weights.values())
    if total <= 0 or min(weights.values()) < 0:
        raise ValueError("the shares of the mix must not be negative and must sum to more than nothing")
    exact = {cause: patients * weights.get(cause, 0.0) / total for cause in CAUSES}
    sizes = {cause: int(share) for cause, share in exact.items()}
    by_remainder = sorted(CAUSES, key=lambda cause: sizes[cause] - exact[cause])
    for cause in by_remainder[: patients - sum(sizes.values())]:
        sizes[cause] += 1
    return sizes


def patient_ids(rng: np.random.Generator, patients: int, first: int = 1) -> pl.Series:
    """Ids in random order, so that an id does not show the cause."""
    return pl.Series("patient_id", [f"P-{serial:06d}" for serial in rng.permutation(patients) + first], dtype=pl.String)


def group_extract(scenario: Scenario, group: Group, ids: pl.Series, now: datetime) -> GroupExtract:
    """The rows of a group of patients in each extract, and its truth."""
    taken = collected(scenario, group, ids, now)
    midnight, until_day = index_day(now)
    return GroupExtract(
        labs=lab_rows(scenario, group, taken, now),
        **charts(scenario, group, ids, now),
        true_course=true_course(scenario, group.days, ids, midnight, until_day),
        truth=truth(group.cause, scenario, group.days, ids, midnight, until_day, taken.specimens),
        specimen_truth=taken.specimens.select(
            "patient_id",
            "specimen_id",
            pl.col("collected_moment").alias("collected_at"),
            pl.col("true_anc").round(1),
            "lab",
        ),
    )


def charts(scenario: Scenario, group: Group, ids: pl.Series, now: datetime) -> dict[str, pl.DataFrame]:
    """The group's rows beside its laboratory results, by kind of extract."""
    return {
        "medications": _medications(scenario, group, ids, now),
        "patients": _patients(scenario, group, ids, now),
        "diagnoses": _dated(scenario.diagnoses, ids, now, DATE_FORMAT).select(
            "patient_id", "code", pl.lit("ICD-10").alias("system"), "date"
        ),
        "events": _dated(scenario.events, ids, now, TIME_FORMAT).select("patient_id", "event", "date", "detail"),
    }


def index_day(now: datetime) -> tuple[datetime, float]:
    """The midnight that begins the index date, and how much of that day has passed."""
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight, (now - midnight) / timedelta(days=1)


@dataclass(frozen=True)
class Collected:
    """A group's specimens with ids and times; the id and the laboratory of each patient."""

    specimens: pl.DataFrame
    ids: pl.Series
    labs: pl.Series


def collected(scenario: Scenario, group: Group, ids: pl.Series, now: datetime) -> Collected:
    """The blood taken up to the index time, each patient's always sent to the same laboratory."""
    midnight, until_day = index_day(now)
    taken = specimens(scenario, group, until_day)
    shares = numbers("laboratories", group.laboratory_shares)
    names = list(laboratories())[: len(shares)]
    labs = pl.Series("lab", group.rng.choice(names, group.size, p=shares).tolist(), dtype=pl.String)
    patient_id = ids.gather(taken["patient"])
    serial = taken["number"].cast(pl.String).str.zfill(3)
    named = taken.with_columns(
        patient_id.alias("patient_id"),
        ("S-" + patient_id.str.slice(2) + "-" + serial).alias("specimen_id"),
        moment(pl.col("day"), midnight).alias("collected_moment"),
        moment(pl.col("day"), midnight).dt.to_string(TIME_FORMAT).alias("collected_at"),
        moment(pl.col("resulted_day"), midnight).dt.to_string(TIME_FORMAT).alias("resulted_at"),
        labs.gather(taken["patient"]).alias("lab"),
    )
    return Collected(named, ids, labs)


def lab_rows(scenario: Scenario, group: Group, taken: Collected, now: datetime) -> pl.DataFrame:
    """The clean lab rows of a group: blood counts and markers, with the columns row_of and quantity."""
    rows = [reported(taken.specimens, group.rng), _markers(scenario, taken, now)]
    if any(scenario.retraction):
        rows.append(retracted_rows(rows[0], taken.specimens, scenario, group, now))
    return pl.concat(rows)


def assembled(
    extracts: list[GroupExtract], rng: np.random.Generator, now: datetime, dirt: float, mislabelled_batches: int
) -> Hospital:
    """One hospital of all groups, with dirt, sorted so that the position of a row does not show its cause."""

    def together(name: str, *by: str) -> pl.DataFrame:
        parts: list[pl.DataFrame] = [getattr(part, name) for part in extracts]
        return pl.concat(parts).sort(by, maintain_order=True)

    labs = together("labs", "patient_id", "collected_at", "specimen_id")
    dirty_labs, dirt_log = with_faults(labs, rng, now, dirt, mislabelled_batches)
    return Hospital(
        labs=dirty_labs.select(LAB_COLUMNS),
        medications=together("medications", "patient_id", "start_date", "drug_name"),
        patients=together("patients", "patient_id"),
        diagnoses=together("diagnoses", "patient_id", "date", "code"),
        events=together("events", "patient_id", "date", "event"),
        true_course=together("true_course", "patient_id", "at"),
        truth=together("truth", "patient_id"),
        specimen_truth=together("specimen_truth", "patient_id", "collected_at", "specimen_id"),
        dirt_log=dirt_log,
    )


def write_native(hospital: Hospital, folder: Path, *, with_course: bool = True) -> None:
    """Writes labs.csv, medications.csv, patients.csv, diagnoses.csv, events.csv and the truth under truth/.

    The noise-free course on its fine grid is by far the largest part; ``with_course=False`` leaves it out.
    """
    (folder / "truth").mkdir(parents=True, exist_ok=True)
    for part in fields(hospital):
        if part.name == "true_course" and not with_course:
            continue
        place = folder if part.name in EXTRACTS else folder / "truth"
        getattr(hospital, part.name).write_csv(place / f"{part.name}.csv", datetime_format=TIME_FORMAT)


def marker_units() -> tuple[dict[str, str], dict[str, str]]:
    """Unit and lower reference limit of each quantitative marker, by LOINC code."""
    rows = [written.split("|") for written in texts("bystanders", "marker_units")]
    return {loinc: unit for loinc, unit, _ in rows}, {loinc: low for loinc, _, low in rows if low}


def _markers(scenario: Scenario, taken: Collected, now: datetime) -> pl.DataFrame:
    """Tests beside the CBC: infection markers, vitamins, antibodies; with LOINC codes in every laboratory."""
    midnight, until_day = index_day(now)
    markers = scenario.markers.filter(pl.col("day") + 1.0 < until_day)
    at = moment(pl.col("day").floor() + 0.4, midnight)
    units, lows = marker_units()
    unit, low = (pl.col("loinc").replace_strict(of_code, default=None) for of_code in (units, lows))
    return markers.with_columns(
        taken.ids.gather(markers["patient"]).alias("patient_id"), taken.labs.gather(markers["patient"]).alias("lab")
    ).select(
        pl.lit(None, dtype=pl.UInt32).alias("row_of"),
        "patient_id",
        ("M-" + pl.col("patient_id").str.slice(2) + "-" + pl.col("loinc") + at.dt.to_string("-%y%m%d")).alias(
            "specimen_id"
        ),
        at.dt.to_string(TIME_FORMAT).alias("collected_at"),
        (at + pl.duration(hours=6)).dt.to_string(TIME_FORMAT).alias("resulted_at"),
        "loinc",
        "analyte_name",
        "value",
        unit.cast(pl.String).alias("unit"),
        low.cast(pl.String).alias("reference_low"),
        pl.lit(None, dtype=pl.String).alias("reference_high"),
        pl.lit("F").alias("status"),
        "lab",
        pl.lit("marker").alias("quantity"),
    )


def _medications(scenario: Scenario, group: Group, ids: pl.Series, now: datetime) -> pl.DataFrame:
    midnight, until_day = index_day(now)
    rows = pl.concat([scenario.medications, _long_term(group)]).filter(pl.col("start_day") <= until_day)
    if scenario.seen_until is not None:
        rows = medications_until(rows, scenario.seen_until)
    start, end = (moment(pl.col(f"{edge}_day"), midnight).dt.to_string(DATE_FORMAT) for edge in ("start", "end"))
    known_end = pl.col("end_day") <= until_day
    return rows.with_columns(ids.gather(rows["patient"]).alias("patient_id")).select(
        "patient_id",
        "drug_name",
        pl.when(pl.col("atc_code") != "").then("atc_code").alias("atc_code"),
        start.alias("start_date"),
        pl.when(known_end).then(end).alias("end_date"),
        "route",
        "dose",
    )


def _long_term(group: Group) -> pl.DataFrame:
    """Common drugs begun any time in the history: most people who are counted take something."""
    rng = group.rng
    choices = [Drug.parse(written) for written in texts("bystanders", "long_term")]
    count = rng.poisson(number("bystanders", "long_term_count"), group.size)
    patient = np.repeat(np.arange(group.size), count)
    drug = rng.integers(0, len(choices), len(patient))
    start = rng.uniform(-number("grid", "history_days"), -1.0, len(patient))
    is_stopped = rng.random(len(patient)) < number("bystanders", "long_term_stopped_share")
    length = draw(rng, "bystanders", "long_term_stopped_days", len(patient))
    stopped = np.where(is_stopped, start + length, np.nan)
    return (
        pl.DataFrame(
            {
                "patient": patient,
                "drug_name": [choices[index].name for index in drug],
                "atc_code": [choices[index].atc for index in drug],
                "start_day": start,
                "end_day": stopped,
                "route": ["oral"] * len(patient),
                "dose": [""] * len(patient),
            },
            schema=MEDICATION,
        )
        .with_columns(pl.col("end_day").fill_nan(None))
        .unique(["patient", "drug_name"], keep="first", maintain_order=True)
    )


def _patients(scenario: Scenario, group: Group, ids: pl.Series, now: datetime) -> pl.DataFrame:
    midnight, _ = index_day(now)
    born = pl.Series("born", -scenario.age_years * DAYS_PER_YEAR)
    return pl.DataFrame({"patient_id": ids, "born": born}).select(
        "patient_id",
        moment(pl.col("born"), midnight).dt.to_string(DATE_FORMAT).alias("birth_date"),
        pl.Series("sex", group.rng.choice(["F", "M"], group.size).tolist(), dtype=pl.String),
        pl.Series("duffy_null", [known or None for known in scenario.duffy_null], dtype=pl.String),
        pl.lit(None, dtype=pl.String).alias("ethnicity"),
    )


def _dated(rows: pl.DataFrame, ids: pl.Series, now: datetime, written: str) -> pl.DataFrame:
    """Days as dates or times; nothing after the index time."""
    midnight, until_day = index_day(now)
    known = rows.filter(pl.col("day") <= until_day)
    return known.with_columns(
        ids.gather(known["patient"]).alias("patient_id"),
        moment(pl.col("day"), midnight).dt.to_string(written).alias("date"),
    )
