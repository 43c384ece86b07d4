"""Laboratories count the same blood and report it each in its own way (laboratories.csv); the hospital has the first four.

A  ANC and full CBC in 10*3/uL, LOINC codes
B  WBC and percentages, 10*9/L, LOINC codes: the ANC must be computed
C  WBC and a manual differential of 100 cells, segs and bands apart, local names, no LOINC
D  ANC and WBC in cells/uL, LOINC codes
E  ANC and full CBC in G/l under German names, no LOINC
F  WBC per mm3 and percentages under French names, LOINC codes: the ANC must be computed
G  ANC in cells/uL beside its percentage and a WBC in thousands, names with commas, LOINC codes
"""

import csv
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
import polars as pl

from neutro_simulator.parameters import FloatArray, number

GIGA = 0.001
PERCENT = 100.0
LAB_COLUMNS = (
    "patient_id",
    "specimen_id",
    "collected_at",
    "resulted_at",
    "loinc",
    "analyte_name",
    "value",
    "unit",
    "reference_low",
    "reference_high",
    "status",
    "lab",
)


@dataclass(frozen=True)
class Printed:
    """How a laboratory prints one analyte. `scale` turns cells/µL into its unit; percent rows are a part of the WBC."""

    quantity: str
    loinc: str
    name: str
    unit: str
    low: str
    high: str
    decimals: int
    scale: float


@cache
def laboratories() -> dict[str, tuple[Printed, ...]]:
    """What each laboratory prints, in its order: laboratories.csv, a row an analyte."""
    by_name: dict[str, list[Printed]] = {}
    with (files("neutro_simulator") / "laboratories.csv").open(encoding="utf-8") as source:
        for row in csv.DictReader(source):
            analyte = Printed(
                **{name: row[name] for name in ("quantity", "loinc", "name", "unit", "low", "high")},
                decimals=int(row["decimals"]),
                scale=float(row["scale"]),
            )
            by_name.setdefault(row["lab"], []).append(analyte)
    return {lab: tuple(printed) for lab, printed in by_name.items()}


CELLS = ("anc", "lymphocytes", "monocytes", "eosinophils", "basophils", "blasts")
MANUAL = ("segs", "bands", "lymphocytes", "monocytes", "eosinophils", "basophils", "blasts")


def reported(specimens: pl.DataFrame, rng: np.random.Generator, *, is_exact: bool = False) -> pl.DataFrame:
    """The laboratories' rows, all text, in the native layout, with two columns more: row_of (the specimen's row in
    `specimens`) and quantity (what was counted).

    is_exact leaves the analytic noise and the chance of the manual count out.
    `specimens` has the columns of `specimens.specimens` and patient_id, specimen_id, collected_at, resulted_at, lab.
    """
    numbered = specimens.with_row_index("row_of")
    parts = [
        part
        for lab, printed in laboratories().items()
        if len(of_lab := numbered.filter(pl.col("lab") == lab))
        for part in _rows(_counted(of_lab, rng, is_exact), printed)
    ]
    if not parts:
        return pl.DataFrame(schema=dict.fromkeys(LAB_COLUMNS, pl.String))
    return pl.concat(parts).sort("row_of", maintain_order=True)


def _counted(specimens: pl.DataFrame, rng: np.random.Generator, is_exact: bool) -> pl.DataFrame:
    """What the analyser and the microscope find, with analytic noise; percentages of a specimen sum to about 100."""
    size = len(specimens)
    spread = 0.0 if is_exact else number("noise", "cv_analytic")
    spread_of_parts = 0.0 if is_exact else number("noise", "cv_analytic_percent")
    true_cells = specimens.select(CELLS).to_numpy()
    total = true_cells.sum(axis=1)
    wbc = total * np.exp(rng.normal(0.0, spread, size))
    parts = true_cells * np.exp(rng.normal(0.0, spread_of_parts, true_cells.shape))
    parts = parts / parts.sum(axis=1, keepdims=True)
    counted = parts * wbc[:, None]
    cells = int(number("noise", "manual_cells"))
    shares = _manual_classes(specimens) / total[:, None]
    manual = _rounded_shares(shares, cells) if is_exact else _counted_one_by_one(rng, shares, cells)
    columns: dict[str, FloatArray] = {"wbc": wbc}
    columns |= {name: counted[:, index] for index, name in enumerate(CELLS)}
    columns |= {f"{name}_percent": parts[:, index] * PERCENT for index, name in enumerate(CELLS)}
    columns["blast_percent"] = columns.pop("blasts_percent")
    columns |= {f"{name}_counted": manual[:, index] * PERCENT / cells for index, name in enumerate(MANUAL)}
    return specimens.with_columns(pl.Series(name, values) for name, values in columns.items())


def _manual_classes(specimens: pl.DataFrame) -> FloatArray:
    return specimens.select(
        (pl.col("anc") - pl.col("bands")).alias("segs"), *(name for name in MANUAL if name != "segs")
    ).to_numpy()


def _counted_one_by_one(rng: np.random.Generator, shares: FloatArray, cells: int) -> FloatArray:
    """The cells of a manual differential drawn by chance: most of the error of laboratory C."""
    return rng.multinomial(cells, shares / shares.sum(axis=1, keepdims=True)).astype(np.float64)


def _rounded_shares(shares: FloatArray, cells: int) -> FloatArray:
    """Whole cells of each class that sum to the cells counted: the commonest class takes what rounding leaves."""
    counted = np.round(shares * cells)
    row = np.arange(len(shares))
    counted[row, shares.argmax(axis=1)] += cells - counted.sum(axis=1)
    return counted


def _rows(counted: pl.DataFrame, printed: tuple[Printed, ...]) -> list[pl.DataFrame]:
    floor = number("laboratories", "print_floor")
    wbc = pl.col("wbc") * GIGA
    rows = []
    for analyte in printed:
        quantity = pl.col(analyte.quantity) * analyte.scale
        rounded = quantity.round(analyte.decimals)
        shown = rounded.cast(pl.Int64).cast(pl.String) if analyte.decimals == 0 else rounded.cast(pl.String)
        if analyte.quantity == "wbc":
            shown = pl.when(wbc < floor).then(pl.lit(_floor_text(floor, analyte))).otherwise(shown)
        elif analyte.unit == "%":
            shown = pl.when(wbc < floor).then(pl.lit("Not done")).otherwise(shown)
        # A laboratory prints blasts only where it has seen some.
        source = counted.filter(rounded > 0) if analyte.quantity.startswith("blast") else counted
        rows.append(
            source.select(
                "row_of",
                "patient_id",
                "specimen_id",
                "collected_at",
                "resulted_at",
                pl.lit(analyte.loinc or None, dtype=pl.String).alias("loinc"),
                pl.lit(analyte.name).alias("analyte_name"),
                shown.alias("value"),
                pl.lit(analyte.unit).alias("unit"),
                pl.lit(analyte.low).alias("reference_low"),
                pl.lit(analyte.high).alias("reference_high"),
                pl.lit("F").alias("status"),
                "lab",
                pl.lit(analyte.quantity).alias("quantity"),
            )
        )
    return rows


def _floor_text(floor: float, analyte: Printed) -> str:
    in_unit = floor if analyte.scale == GIGA else floor / GIGA
    return f"<{in_unit:g}"
