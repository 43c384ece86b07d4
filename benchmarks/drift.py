"""How often drift is found, and how often it is reported on a quiet night. `python -m benchmarks.drift [nights]`.

Nights of a simulated hospital with its ordinary dirt; on one of them a laboratory does something.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl

from neutro_schemas import LabResult, ScreenedResult
from neutro_screen.ingest.layout import native
from neutro_screen.ingest.profile import Profile
from neutro_screen.ingest.typed_rows import lab_rows
from neutro_screen.quality import measures as quality
from neutro_screen.quality.drift import quality_drift
from neutro_screen.reference import load_policy, load_reference
from neutro_screen.rules.counts.anc import count_neutrophils
from neutro_screen.rules.counts.results import judge_rows
from neutro_screen.validate import in_shape, split_valid
from neutro_simulator.parameters import text
from neutro_simulator.scale import simulate_labs_at_scale

NIGHT = datetime.fromisoformat("2026-03-01T02:00:00")
_CAST = pl.col("value").cast(pl.Float64, strict=False)
_VALUE = pl.when(_CAST.is_finite()).then(_CAST)
_COUNTS = pl.col("unit").is_in(["10*3/uL", "10*9/L", "x10^9/L"]) & pl.col("analyte_name").str.contains(
    "(?i)wbc|neutro|leuko"
)
_NEUTROPHILS = pl.col("analyte_name").str.contains("(?i)^neutro")


@dataclass(frozen=True)
class Fault:
    """A change that a laboratory makes overnight, and the ``what`` of the drift table that should name it."""

    does: str
    lab: str
    caught_as: str
    change: Callable[[pl.DataFrame], pl.DataFrame]


def _set(where: pl.Expr, **columns: pl.Expr) -> Callable[[pl.DataFrame], pl.DataFrame]:
    return lambda rows: rows.with_columns(
        pl.when(where).then(new).otherwise(pl.col(name)).alias(name) for name, new in columns.items()
    )


def _moved(hours: int) -> pl.Expr:
    at = pl.col("collected_at").str.to_datetime("%Y-%m-%dT%H:%M:%S", strict=False)
    return pl.coalesce((at + pl.duration(hours=hours)).dt.to_string("%Y-%m-%dT%H:%M:%S"), "collected_at")


_TIMES_1000 = (_VALUE * 1000).round(0).cast(pl.Int64).cast(pl.String)
_ANY = pl.lit(True)
_EVERY_THIRD = pl.int_range(pl.len()) % 3 == 0
FAULTS: tuple[Fault, ...] = (
    Fault(
        "K/uL become cells/uL, labelled rightly",
        "A",
        "unit",
        _set(
            _COUNTS,
            value=pl.coalesce(_TIMES_1000, "value"),
            unit=pl.lit("cells/uL"),
            reference_low=pl.lit("1800"),
            reference_high=pl.lit("7700"),
        ),
    ),
    Fault(
        "K/uL become cells/uL, still labelled K/uL",
        "A",
        "rejected",
        _set(_COUNTS, value=pl.coalesce(_TIMES_1000, "value")),
    ),
    Fault(
        "cells/uL labelled K/uL", "D", "unit", _set(pl.col("unit").str.contains("^(cells)?/uL$"), unit=pl.lit("K/uL"))
    ),
    Fault("units left out", "B", "unit", _set(_ANY, unit=pl.lit(None, pl.String))),
    Fault(
        "per cent become fractions",
        "B",
        "median",
        _set(pl.col("unit") == "%", value=pl.coalesce((_VALUE / 100).round(4).cast(pl.String), "value")),
    ),
    Fault("a third of the tubes clot", "A", "no_result", _set(_EVERY_THIRD, value=pl.lit("CLOTTED"))),
    Fault(
        "tests renamed, codes dropped",
        "A",
        "wbc_without_differential",
        _set(_NEUTROPHILS, analyte_name=pl.lit("XN-7"), loinc=pl.lit(None, pl.String)),
    ),
    Fault("no differential any more", "B", "wbc_without_differential", lambda rows: rows.filter(~_NEUTROPHILS)),
    Fault("a fifth of the rows", "A", "volume", lambda rows: rows.filter(pl.int_range(pl.len()) % 5 == 0)),
    Fault("sends under another name", "B", "new_laboratory", _set(_ANY, lab=pl.lit("B-NEW"))),
    Fault("collection times five hours later", "A", "hour_of_day", _set(_ANY, collected_at=_moved(5))),
    Fault(
        "collection times without a clock",
        "A",
        "date_only",
        _set(_ANY, collected_at=pl.col("collected_at").str.head(10)),
    ),
    Fault(
        "MCV reads 10 % high",
        "A",
        "median",
        _set(pl.col("analyte_name") == "MCV", value=pl.coalesce((_VALUE * 1.1).round(1).cast(pl.String), "value")),
    ),
)


def nights(count: int, rows: int, seed: int) -> list[pl.DataFrame]:
    """The last days of a simulated hospital with so many rows in all, each day as a night's native laboratory rows."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "labs.parquet"
        simulate_labs_at_scale(rows, seed, path, dirt=0.02)
        labs = pl.read_parquet(path).with_columns(day=pl.coalesce("collected_at", "resulted_at").str.head(10))
    # What was sent after the index time is dirt; the days before it are whole.
    per_day = labs.filter(pl.col("day") < text("scale", "index_time")).partition_by("day", as_dict=True)
    return [per_day[day].drop("day") for day in sorted(per_day)[-count:]]


def with_fault(night: pl.DataFrame, fault: Fault) -> pl.DataFrame:
    """The night with the change of that laboratory."""
    own = pl.col("lab") == fault.lab
    return pl.concat([night.filter(~own.fill_null(False)), fault.change(night.filter(own))])


def measures(night: pl.DataFrame, run_id: str) -> pl.DataFrame:
    """The quality measures of one night's native rows."""
    rows = night.with_row_index("source_row", offset=1).with_columns(pl.col("source_row").cast(pl.Int64))
    profile = Profile()
    typed = lab_rows(native(rows, "lab", profile, "labs.csv")[0], profile)
    judged = judge_rows(typed, load_reference(), load_policy(), as_of=NIGHT)
    accepted, rejected = split_valid(judged.results, ScreenedResult)
    results = in_shape(accepted, LabResult)
    counted = count_neutrophils(results.lazy(), load_reference(), load_policy())
    keyed = results.with_columns(is_manual=pl.col("method") == "manual")
    refuted = keyed.join(counted.contradicted, on=["patient_id", "specimen_id", "analyte", "is_manual"])
    # The columns of a screen's ANC table that are compared; the rest of a screen concludes nothing for them.
    anc = counted.anc.with_columns(
        anc_reported=pl.coalesce("neut_abs", "neut_abs_manual"),
        anc_segs_and_bands=pl.coalesce("segs_and_bands", "segs_and_bands_manual"),
        anc_from_percent=pl.coalesce("from_percent", "from_percent_manual"),
    )
    parts = [
        quality.row_counts(accepted, rejected, judged.no_results, judged.not_screened),
        quality.specimen_counts(results, anc, refuted),
    ]
    return quality.quality_measures(quality.merged(parts), run_id)


def findings(tonight: pl.DataFrame, before: list[pl.DataFrame], run_id: str) -> pl.DataFrame:
    """The drift of one night against those before it."""
    return quality_drift(tonight, pl.concat(before), run_id, load_policy())


def main() -> None:
    """Print how many quiet nights have a finding, and how many of the faults are found and named."""
    window, quiet = 30, int(sys.argv[1]) if len(sys.argv) > 1 else 60
    raw = nights(window + quiet, 1_000_000, seed=1)
    measured = [measures(night, f"{number:04d}") for number, night in enumerate(raw)]
    rows = [night.height for night in raw]
    print(f"{len(raw)} nights of {min(rows)} to {max(rows)} rows, 4 laboratories")
    reported = [
        findings(measured[night], measured[night - window : night], f"{night:04d}") for night in range(window, len(raw))
    ]
    alarms = pl.concat(reported)
    print(f"quiet nights: {quiet}; nights with a finding: {alarms['run_id'].n_unique()}; findings: {alarms.height}")
    for words in alarms["words"]:
        print("  ", words)
    tried = range(window, len(raw), max(1, quiet // 10))
    for fault in FAULTS:
        caught, more = 0, 0
        for night in tried:
            found = findings(
                measures(with_fault(raw[night], fault), "tonight"), measured[night - window : night], "tonight"
            )
            caught += (
                found.filter(
                    pl.col("what") == fault.caught_as, pl.col("lab").is_in([fault.lab, f"{fault.lab}-NEW"])
                ).height
                > 0
            )
            more += found.filter(~pl.col("lab").is_in([fault.lab, f"{fault.lab}-NEW"])).height
        example = found["words"].to_list()[:1]
        print(
            f"{fault.lab}: {fault.does}: found {caught} of {len(tried)}, other laboratories named {more}; e.g. {example}"
        )


if __name__ == "__main__":
    main()
