"""Faults of real extracts (FORMATS.md section D), put into clean lab rows and logged.

Each fault is one entry of FAULTS: where it can occur, how it changes the row, and what row it adds.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
import polars as pl

CBC = pl.col("quantity") != "marker"
IS_NUMBER = pl.col("value").str.contains(r"^\d+(\.\d+)?$")
COUNTS = pl.col("quantity").is_in(["wbc", "anc"])
PERCENTAGES = pl.col("unit") == "%"
PLAIN = CBC & IS_NUMBER
NO_TEXT = pl.lit(None, dtype=pl.String)


@dataclass(frozen=True)
class Fault:
    """A kind of dirt.

    where: rows it can occur in. becomes: new values of the row's columns. adds: values of an extra row, a copy of the
    clean row else. whole_specimen: `becomes` holds for every CBC row of the specimen.
    """

    kind: str
    where: pl.Expr
    becomes: Mapping[str, pl.Expr] = field(default_factory=dict)
    adds: Mapping[str, pl.Expr] | None = None
    whole_specimen: bool = False


def _times(column: str, minutes: int) -> pl.Expr:
    moved = pl.col(column).str.to_datetime("%Y-%m-%dT%H:%M:%S") + pl.duration(minutes=minutes)
    return moved.dt.to_string("%Y-%m-%dT%H:%M:%S")


def _number(expression: pl.Expr) -> pl.Expr:
    return expression.round(2).cast(pl.String)


VALUE = pl.col("value").cast(pl.Float64, strict=False)
# 10*9/L; laboratories leave the differential out where there is little to count.
LOW_WBC = 3.0
NOT_CODED = {"loinc": NO_TEXT}
OTHER_FLUID = {"value": pl.lit("2"), "unit": pl.lit("/uL")}
EARLIER = {"resulted_at": _times("resulted_at", minutes=-20)}

FAULTS: tuple[Fault, ...] = (
    Fault("below_detection", PLAIN & (pl.col("quantity") == "basophils") & (VALUE < 0.1), {"value": pl.lit("<0.1")}),
    Fault("above_range", PLAIN & (pl.col("quantity") == "platelets") & (VALUE > 300), {"value": pl.lit(">300")}),
    Fault("tnp", pl.col("quantity") == "wbc", {"value": pl.lit("TNP")}, whole_specimen=True),
    Fault("clotted", pl.col("quantity") == "wbc", {"value": pl.lit("CLOTTED")}, whole_specimen=True),
    Fault("hemolyzed", pl.col("quantity") == "wbc", {"value": pl.lit("HEMOLYZED")}, whole_specimen=True),
    Fault("see_comment", PLAIN, {"value": pl.lit("SEE COMMENT")}),
    Fault("pending", PLAIN, {"value": pl.lit("PENDING"), "status": pl.lit("I")}),
    Fault(
        "decimal_comma",
        PLAIN & pl.col("value").str.contains(r"^\d+\.\d{1,2}$"),
        {"value": pl.col("value").str.replace(".", ",", literal=True)},
    ),
    Fault(
        "thousands_mark",
        PLAIN & pl.col("value").str.contains(r"^\d{4}$"),
        {"value": pl.col("value").str.replace(r"^(\d)(\d{3})$", "${1},${2}")},
    ),
    Fault("flag_in_value", PLAIN, {"value": pl.col("value") + " L"}),
    Fault("spaces", PLAIN, {"value": " " + pl.col("value") + " "}),
    Fault("identical_duplicate", CBC, adds={}),
    Fault("preliminary_then_final", PLAIN, adds=EARLIER | {"status": pl.lit("P"), "value": _number(VALUE * 1.05)}),
    Fault(
        "corrected",
        PLAIN,
        {"status": pl.lit("C"), "resulted_at": _times("resulted_at", minutes=90)},
        adds={"value": _number(VALUE * 1.4), "status": pl.lit("F")},
    ),
    # The retracted row comes first, the right result after it: however the status is read, the result remains.
    Fault("cancelled", CBC, adds=EARLIER | {"status": pl.lit("X"), "value": NO_TEXT}),
    Fault(
        "entered_in_error", PLAIN, adds=EARLIER | {"status": pl.lit("entered-in-error"), "value": _number(VALUE * 0.2)}
    ),
    Fault("wrong_patient", PLAIN, adds=EARLIER | {"status": pl.lit("W"), "value": _number(VALUE * 0.3)}),
    Fault("conflicting_final", PLAIN, adds={"value": _number(VALUE * 1.1)}),
    Fault("missing_unit", PLAIN, {"unit": NO_TEXT}),
    Fault("unknown_unit", PLAIN, {"unit": pl.lit("arb.U")}),
    Fault("micro_sign", PLAIN & (pl.col("unit") == "10*3/uL"), {"unit": pl.lit("10^3/µL")}),
    Fault("missing_collected_time", CBC, {"collected_at": NO_TEXT}, whole_specimen=True),
    Fault("missing_both_times", PLAIN, {"collected_at": NO_TEXT, "resulted_at": NO_TEXT}),
    Fault("future_time", pl.col("quantity") == "wbc", {"collected_at": pl.lit("")}, whole_specimen=True),
    Fault(
        "date_only",
        pl.col("quantity") == "wbc",
        {"collected_at": pl.col("collected_at").str.head(10)},
        whole_specimen=True,
    ),
    Fault("percent_over_100", PLAIN & PERCENTAGES, {"value": pl.lit("148")}),
    Fault("negative", PLAIN & (VALUE > 0), {"value": "-" + pl.col("value")}),
    Fault("not_a_number", PLAIN, {"value": pl.lit("NaN")}),
    Fault("sentinel", PLAIN, {"value": pl.lit("9999999")}),
    Fault("missing_patient_id", CBC, {"patient_id": NO_TEXT}),
    Fault(
        "csf_wbc",
        PLAIN & (pl.col("quantity") == "wbc") & pl.col("loinc").is_not_null(),
        adds=OTHER_FLUID | {"loinc": pl.lit("806-0"), "analyte_name": pl.lit("WBC, CSF")},
    ),
    Fault(
        "urine_wbc",
        PLAIN & (pl.col("quantity") == "wbc"),
        adds=OTHER_FLUID | {"loinc": pl.lit("20408-1"), "analyte_name": pl.lit("Urine WBC")},
    ),
    Fault("unmapped_analyte", CBC, adds=NOT_CODED | {"analyte_name": pl.lit("HLH-INDEX"), "unit": pl.lit("U")}),
    Fault(
        "differential_not_done",
        (pl.col("quantity") == "wbc") & pl.col("lab").is_in(["B", "C"]) & (VALUE < LOW_WBC),
        {"value": pl.when(PERCENTAGES).then(pl.lit("Not done")).otherwise("value")},
        whole_specimen=True,
    ),
    Fault(
        "all_zero_differential",
        pl.col("quantity") == "anc_percent",
        {"value": pl.when(PERCENTAGES).then(pl.lit("0")).otherwise("value")},
        whole_specimen=True,
    ),
)
MISLABELLED = "unit_mislabelled"
LOG = {"kind": pl.String, "patient_id": pl.String, "specimen_id": pl.String, "quantity": pl.String}


def with_faults(
    labs: pl.DataFrame, rng: np.random.Generator, now: datetime, share: float, mislabelled_batches: int
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The lab rows with faults on about this share of them, and the log of the faults.

    `labs` is text in the native layout with the column quantity. A row carries at most one fault. Extra rows follow
    the row they belong to.
    """
    clean = labs.with_row_index("place")
    assigned = _assigned(clean, rng, share)
    logs = [assigned.select(pl.col("kind"), "patient_id", "specimen_id", "quantity")]
    dirty, extra = clean.join(assigned.select("place", "kind"), on="place", how="left", maintain_order="left"), []
    for fault in FAULTS:
        this = pl.col("kind") == fault.kind
        if fault.adds is not None:
            extra.append(dirty.filter(this).with_columns(**fault.adds))
        becomes = dict(fault.becomes)
        if fault.kind == "future_time":
            becomes["collected_at"] = pl.lit(now.replace(year=now.year + 1).strftime("%Y-%m-%dT%H:%M:%S"))
        if becomes:
            dirty = dirty.with_columns(
                pl.when(this).then(expression).otherwise(pl.col(column)).alias(column)
                for column, expression in becomes.items()
            )
    dirty = pl.concat([dirty, *extra]).sort("place", maintain_order=True)
    if mislabelled_batches:
        dirty, log = _mislabelled(dirty, rng, mislabelled_batches)
        logs.append(log)
    whole = [fault.kind for fault in FAULTS if fault.whole_specimen]
    log = pl.concat(logs).with_columns(
        pl.when(pl.col("kind").is_in(whole)).then(NO_TEXT).otherwise("quantity").alias("quantity")
    )
    return dirty, log.unique().sort("patient_id", "specimen_id", "kind", "quantity")


def _assigned(clean: pl.DataFrame, rng: np.random.Generator, share: float) -> pl.DataFrame:
    """Which rows get which fault: place, kind and the row's own ids. Kinds share the rows evenly."""
    taken = np.zeros(len(clean), dtype=np.bool_)
    specimen = clean["specimen_id"].rank("dense").to_numpy()
    chosen: list[tuple[str, np.ndarray[tuple[int], np.dtype[np.intp]]]] = []
    wanted = share * len(clean) / len(FAULTS)
    for fault in FAULTS:
        possible = np.flatnonzero(clean.select(fault.where.fill_null(value=False)).to_series().to_numpy() & ~taken)
        rows_each = len(clean) / max(len(np.unique(specimen)), 1) if fault.whole_specimen else 1.0
        count = min(len(possible), int(rng.poisson(wanted / rows_each)))
        places = np.sort(rng.choice(possible, count, replace=False)) if count else np.empty(0, dtype=np.intp)
        if fault.whole_specimen:
            of_specimen = np.isin(specimen, specimen[places]) & ~taken
            cbc = clean.select(CBC).to_series().to_numpy()
            places = np.flatnonzero(of_specimen & cbc)
        taken[places] = True
        chosen.append((fault.kind, places))
    places = np.concatenate([found for _, found in chosen])
    kinds = np.repeat([kind for kind, _ in chosen], [len(found) for _, found in chosen])
    return pl.DataFrame({"place": places, "kind": kinds.tolist()}, schema={"place": pl.UInt32, "kind": pl.String}).join(
        clean.select("place", "patient_id", "specimen_id", "quantity"), on="place", maintain_order="left"
    )


def _mislabelled(labs: pl.DataFrame, rng: np.random.Generator, batches: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """So many days of laboratory D on which counts in cells/µL are labelled K/uL: 50 reads as a plausible 50."""
    day = pl.col("collected_at").str.head(10)
    counts = (pl.col("lab") == "D") & pl.col("quantity").is_in(["wbc", "anc"]) & pl.col("kind").is_null()
    per_day = labs.filter(counts).group_by(day.alias("day")).len().drop_nulls("day").sort("len", "day", descending=True)
    busiest = per_day.head(max(10 * batches, batches))["day"].to_list()
    picked = sorted(rng.choice(busiest, min(batches, len(busiest)), replace=False).tolist())
    batch = counts & day.is_in(picked)
    log = labs.filter(batch).select(pl.lit(MISLABELLED).alias("kind"), "patient_id", "specimen_id", "quantity")
    return labs.with_columns(pl.when(batch).then(pl.lit("K/uL")).otherwise("unit").alias("unit")), log
