"""The course over time once more, in plain Python: the rules must agree with it on any cohort (RULES.md sections 1-4)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from neutro_schemas import SEVERITIES, LabResult
from neutro_screen.reference import load_policy, load_reference
from neutro_screen.rules.counts.anc import count_neutrophils
from neutro_screen.rules.counts.severity import severity
from neutro_screen.rules.course.episodes import episodes_per_patient, with_episode_numbers
from neutro_screen.rules.course.rapid_decline import with_decline_verdict, with_rapid_decline
from neutro_screen.validate import dtypes, in_shape
from tests.clinic import judged as judged_rows

POLICY, REFERENCE = load_policy(), load_reference()
DAY_0, DAY = datetime.fromisoformat("2026-01-01T00:00:00"), timedelta(days=1)
NO_DRUG = pl.LazyFrame(
    schema={
        "patient_id": pl.String,
        "ingredient": pl.String,
        "first_exposure": pl.Date,
        "first_exposure_latest": pl.Date,
        "last_exposure": pl.Date,
    }
)


@dataclass(frozen=True)
class Specimen:
    """What a laboratory found, in 10*9/L and percent; None = not reported. The comparator belongs to the ANC."""

    patient: str
    hour: int
    reported: float | None
    comparator: str | None
    wbc: float | None
    percent: float | None
    segs: float | None
    bands: float | None


@dataclass(frozen=True)
class Count:
    """One ANC in cells/uL."""

    patient: str
    specimen: str
    at: datetime
    anc: float
    comparator: str | None
    severity: str | None


# ---- the oracle ------------------------------------------------------------------------------------------------------


def oracle_refuted(found: Specimen) -> bool:
    """Whether the specimen itself refutes the reported count."""
    if found.reported is None or found.comparator is not None:
        return False
    computed = None
    if found.wbc is not None and found.percent is not None:
        computed = found.wbc * found.percent / 100
    elif found.segs is not None:
        computed = found.segs + (found.bands or 0)
    return (found.wbc is not None and found.reported > found.wbc * 1.05) or (
        bool(computed) and found.reported > 0 and not 1 / 300 < found.reported / computed < 300
    )


def oracle_beyond_history(found: Specimen, cohort: Sequence[Specimen]) -> bool:
    """Whether the count is 300 times the lowest of the week before, which counts as 30 cells/uL at least."""
    if found.reported is None or found.comparator is not None:
        return False
    week_before = [
        s.reported
        for s in cohort
        if s.patient == found.patient
        and found.hour - 168 <= s.hour < found.hour
        and s.reported is not None
        and s.comparator not in (">", ">=")
        and not oracle_refuted(s)
    ]
    return bool(week_before) and clean(found.reported * 1000) >= max(clean(min(week_before) * 1000), 30) * 300


def oracle_anc(found: Specimen, cohort: Sequence[Specimen]) -> tuple[float, str | None] | None:
    """Reported before segmented + bands before WBC x percent; else a low WBC as upper bound."""
    cells: float
    if found.reported is not None and not oracle_refuted(found) and not oracle_beyond_history(found, cohort):
        return clean(found.reported * 1000), found.comparator
    if found.segs is not None:
        cells = clean(found.segs * 1000) + clean((found.bands or 0) * 1000)
        return clean(cells), None
    if found.wbc is not None and found.percent is not None:
        return clean(clean(found.wbc * 1000) * found.percent / 100), None
    if found.wbc is not None and clean(found.wbc * 1000) < 1500:
        return clean(found.wbc * 1000), "<="
    return None


def clean(value: float) -> float:
    """15 significant digits."""
    return float(f"{value:.15g}")


def oracle_severity(anc: float, comparator: str | None) -> str | None:
    below = [anc < limit or (comparator == "<" and anc == limit) for limit in (1500, 1000, 500, 100)]
    if comparator in ("<", "<=") and not below[0]:
        return None
    return SEVERITIES[sum(below)]


def oracle_episodes(counts: Sequence[Count]) -> list[tuple[object, ...]]:
    """patient, start, end, nadir, worst severity, number of low results."""
    episodes: list[tuple[object, ...]] = []
    for patient in sorted({count.patient for count in counts}):
        low: list[Count] = []
        for count in [*(c for c in counts if c.patient == patient and c.severity), None]:
            if count is not None and count.severity != "normal":
                low.append(count)
            elif low:
                worst = max(low, key=lambda c: SEVERITIES.index(c.severity or "normal"))
                end = count.at if count else None
                episodes.append((patient, low[0].at, end, min(c.anc for c in low), worst.severity, len(low)))
                low = []
    return episodes


def oracle_decline(now: Count, counts: Sequence[Count], window: int, fraction: float, below: float) -> bool:
    """RPD-1 and RPD-2 with the carried value, and RPD-4 on neutrophilia."""
    heights = [
        c
        for c in counts
        if c.patient == now.patient
        and c.at <= now.at
        and c.comparator not in ("<", "<=")
        and not (now.anc >= 1500 and c.anc > 7500)
    ]
    opens = now.at - window * DAY
    inside = [c.anc for c in heights if c.at >= opens]
    before = [(c.at, c.anc) for c in heights if opens - 21 * DAY <= c.at < opens]
    highest = max(inside + ([max(anc for at, anc in before if at == max(before)[0])] if before else []), default=None)
    if highest is None or now.comparator in (">", ">="):
        return False
    return now.anc <= clean(highest * fraction) and now.anc < below


# ---- cohorts ---------------------------------------------------------------------------------------------------------

# Round values and whole days, so that halves, three fifths and the ends of windows are met and not only neared.
ROUND = (0.0, 0.099, 0.1, 0.499, 0.5, 0.6, 0.9, 0.999, 1.0, 1.2, 1.499, 1.5, 1.8, 1.999, 2.0, 2.4, 3.0, 3.6, 7.5, 7.6)


def random_cohort(seed: int) -> list[Specimen]:
    """Some hundred specimens of twelve patients over two months; hypothesis draws the seed."""
    chance = Random(seed)  # noqa: S311 - nothing secret

    def count() -> float:
        return chance.choice([chance.choice(ROUND), chance.choice(ROUND), chance.randint(0, 20000) / 1000])

    found = {}
    for _ in range(300):
        way = chance.choice(["reported", "reported", "reported", "censored", "percent", "classes", "wbc", "all"])
        hour = 24 * chance.randint(0, 60) if chance.random() < 0.7 else chance.randint(0, 24 * 60)
        patient = chance.choice("ABCDEFGHIJKL")
        found[patient, hour] = Specimen(
            patient=patient,
            hour=hour,
            reported=count() if way in ("reported", "censored", "all") else None,
            comparator=chance.choice(["<", "<=", ">", ">="]) if way == "censored" else None,
            wbc=chance.randint(0, 25000) / 1000 if way in ("percent", "wbc", "all") else None,
            percent=float(chance.randint(1, 99)) if way in ("percent", "all") else None,
            segs=count() if way == "classes" else None,
            bands=chance.choice([None, chance.randint(0, 900) / 1000]) if way == "classes" else None,
        )
    return list(found.values())


cohorts = st.integers(0, 2**32).map(random_cohort)


def results(cohort: Sequence[Specimen]) -> pl.DataFrame:
    """The specimens as accepted results."""
    rows = [
        {
            "patient_id": found.patient,
            "specimen_id": f"{found.patient}{found.hour:05d}",
            "analyte": analyte,
            "collected_at": DAY_0 + timedelta(hours=found.hour),
            "value": value,
            "comparator": found.comparator if analyte == "neut_abs" else None,
        }
        for found in cohort
        for analyte, value in (
            ("neut_abs", found.reported),
            ("wbc", found.wbc),
            ("neut_pct", found.percent),
            ("seg_abs", found.segs),
            ("band_abs", found.bands),
        )
        if value is not None
    ]
    usual = {
        "method": pl.lit("auto"),
        "status": pl.lit("final"),
        "source_file": pl.lit("a.csv"),
        "unit": pl.when(pl.col("analyte").str.ends_with("_pct")).then(pl.lit("%")).otherwise(pl.lit("10*9/L")),
        "source_row": pl.int_range(pl.len()) + 1,
        "resulted_at": pl.col("collected_at"),
    }
    named = pl.DataFrame(rows, schema_overrides={"comparator": pl.String, "value": pl.Float64})
    return named.with_columns(**usual).select(
        (pl.col(name) if name in (*named.columns, *usual) else pl.lit(None)).cast(dtype).alias(name)
        for name, dtype in dtypes(LabResult).items()
    )


def judged(rows: pl.DataFrame) -> pl.DataFrame:
    anc = count_neutrophils(rows.lazy(), REFERENCE, POLICY).anc.with_columns(
        severity=severity(pl.col("anc_cells_per_ul"), pl.col("anc_comparator"), REFERENCE.anc_bands)
    )
    return anc.lazy().pipe(with_rapid_decline, POLICY).pipe(with_decline_verdict, POLICY, NO_DRUG).collect()


# ---- agreement -------------------------------------------------------------------------------------------------------


@settings(max_examples=6, deadline=None)
@given(cohorts)
def test_the_rules_agree_with_the_oracle(cohort: list[Specimen]) -> None:
    expected = [
        Count(s.patient, f"{s.patient}{s.hour:05d}", DAY_0 + timedelta(hours=s.hour), *told, oracle_severity(*told))
        for s in sorted(cohort, key=lambda s: (s.patient, s.hour))
        if (told := oracle_anc(s, cohort))
    ]
    found = judged(results(cohort)).sort("patient_id", "collected_at")
    assert found.select(
        "patient_id",
        "specimen_id",
        "collected_at",
        "anc_cells_per_ul",
        "anc_comparator",
        pl.col("severity").cast(pl.String),
    ).rows() == [(c.patient, c.specimen, c.at, c.anc, c.comparator, c.severity) for c in expected]
    assert found["rpd_1"].to_list() == [oracle_decline(c, expected, 14, 0.5, 2000) for c in expected]
    assert found["rpd_2"].to_list() == [oracle_decline(c, expected, 7, 0.6, 1500) for c in expected]
    episodes = episodes_per_patient(with_episode_numbers(found.lazy()), POLICY, DAY_0 + 200 * DAY).collect()
    assert episodes.sort("patient_id", "started_at").select(
        "patient_id",
        "started_at",
        "ended_at",
        "nadir_cells_per_ul",
        pl.col("worst_severity").cast(pl.String),
        "n_results",
    ).rows() == oracle_episodes(expected)


@settings(max_examples=50, deadline=None)
@given(st.floats(0, 20000), st.floats(0, 20000), st.sampled_from([None, "<", "<=", ">", ">="]))
def test_a_lower_count_is_never_less_severe(one: float, other: float, comparator: str | None) -> None:
    graded = pl.DataFrame(
        {"anc": sorted([one, other]), "comparator": pl.Series([comparator] * 2, dtype=pl.String)}
    ).select(severity(pl.col("anc"), pl.col("comparator"), REFERENCE.anc_bands).cast(pl.String))
    lower, higher = graded.to_series().to_list()
    if higher is not None:
        assert SEVERITIES.index(lower) >= SEVERITIES.index(higher)


@settings(max_examples=2, deadline=None)
@given(cohorts, st.randoms(use_true_random=False))
def test_row_order_and_repeated_rows_change_nothing(cohort: list[Specimen], chance: object) -> None:
    rows = results(cohort)
    order = list(range(rows.height)) + list(range(rows.height // 2))
    chance.shuffle(order)  # type: ignore[attr-defined]
    assert_frame_equal(judged(rows), judged(rows[order]), check_row_order=False, check_exact=True)


@settings(max_examples=3, deadline=None)
@given(
    st.lists(st.integers(10, 9999), min_size=1, max_size=6),
    st.sampled_from(["cells/uL", "/mm3", "K/uL", "10*3/uL", "G/L"]),
)
def test_units_change_nothing(counts: list[int], unit: str) -> None:
    """The same counts in another unit, with a white cell count beside them that says which it is."""

    def table(scale: int, written: str) -> str:
        rows = [
            f"S{day} | 2026-02-{day + 1:02d} 08:00 | {name} | {cells * factor / scale:g} | {written}"
            for day, cells in enumerate(counts)
            for name, factor in (("Neutrophils Absolute", 1), ("WBC", 2))
        ]
        return "\n".join(["specimen | collected | name | value | unit", *rows])

    def found(scale: int, written: str) -> pl.DataFrame:
        accepted = judged_rows(table(scale, written))[1].accepted
        return judged(in_shape(accepted, LabResult)).select(
            "specimen_id", "anc_cells_per_ul", "severity", "rpd_1", "rpd_2"
        )

    assert_frame_equal(found(1 if unit in ("cells/uL", "/mm3") else 1000, unit), found(1000, "10*9/L"))
