"""The grades that known counts get: every ladder, on both sides of every limit, through a whole run.

The expected answers (``grade_vectors.csv``, ``clozapine_vectors.csv``) were written from the published tables, not by the
program; so a limit that was moved in a reference table shows as wrong grades.
"""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import polars as pl

from neutro_screen.admin.doctor import Finding
from neutro_screen.pipeline.options import RunOptions
from neutro_screen.pipeline.run import run
from neutro_screen.private import private_file
from neutro_screen.store.file import reading
from neutro_screen.store.rows import read_table

GRADES: Final = Path(__file__).with_name("grade_vectors.csv")
CLOZAPINE: Final = Path(__file__).with_name("clozapine_vectors.csv")
#: The ladders of ``grade_vectors.csv``: its column, the published column.
LADDERS: Final = {
    "severity": "severity",
    "ctcae_v4": "ctcae_v4_grade",
    "ctcae_v5": "ctcae_v5_grade",
    "ctcae_v6": "ctcae_v6_grade",
    "daids": "daids_grade",
}
_TAKEN: Final = datetime.fromisoformat("2026-02-28T08:00")
_AS_OF: Final = datetime.fromisoformat("2026-03-01T02:00")
_G_PER_L: Final = 1000


def grades(folder: Path) -> list[Finding]:
    """One finding a ladder: the vectors whose grade is another one than published are named."""
    vectors = pl.read_csv(GRADES, schema_overrides=dict.fromkeys(LADDERS, pl.String))
    born = (pl.lit(_TAKEN.date()) - pl.duration(days="age_days")).dt.to_string("%Y-%m-%d")
    labs = _lab_rows(vectors, comparator=pl.col("comparator").fill_null(""), low=pl.col("lower_limit_of_normal"))
    place = _folder(folder, "grades")
    paths = _written(place, labs=labs, patients=vectors.select(patient_id="vector", birth_date=born))
    found = _counts(place, RunOptions(store=place / "s.duckdb", as_of=_AS_OF, **paths))
    judged = vectors.join(found, left_on="vector", right_on="patient_id", how="left", maintain_order="left")
    return [_compared(f"grades {ladder}", judged, ladder, column) for ladder, column in LADDERS.items()]


def clozapine_steps(folder: Path) -> list[Finding]:
    """One finding a schedule of clozapine monitoring: the step of each vector, and when its next count is due."""
    vectors = pl.read_csv(CLOZAPINE)
    findings = []
    for (schedule,), rows in vectors.group_by("schedule", maintain_order=True):
        begun = (pl.lit(_TAKEN.date()) - pl.duration(days="treatment_day")).dt.to_string("%Y-%m-%d")
        place = _folder(folder, f"clozapine-{schedule}")
        policy = place / "policy.toml"
        with private_file(policy, "w") as file:
            file.write(f'[clozapine]\nschedule = "{schedule}"\n')
        paths = _written(
            place,
            labs=_lab_rows(rows, comparator=pl.lit(""), low=pl.lit(1800)),
            medications=rows.select(patient_id="vector", drug_name=pl.lit("clozapine"), start_date=begun),
            patients=rows.select(patient_id="vector", duffy_null=pl.col("population") == "duffy_null"),
        )
        found = _counts(place, RunOptions(store=place / "s.duckdb", as_of=_AS_OF, policy=policy, **paths))
        judged = rows.join(found, left_on="vector", right_on="patient_id", how="left", maintain_order="left")
        due = pl.concat_str("step", pl.col("next_anc_within_h").cast(pl.String), separator=" ")
        hours = (pl.col("next_anc_due") - _TAKEN).dt.total_hours().cast(pl.String)
        judged = judged.with_columns(wanted=due, got=pl.concat_str("clozapine_step", hours, separator=" "))
        findings.append(_compared(f"clozapine schedule {schedule}", judged, "wanted", "got"))
    return findings


def _folder(folder: Path, name: str) -> Path:
    place = folder / name
    place.mkdir(mode=0o700)
    return place


def _lab_rows(vectors: pl.DataFrame, comparator: pl.Expr, low: pl.Expr) -> pl.DataFrame:
    return vectors.select(
        patient_id="vector",
        specimen_id="vector",
        collected_at=pl.lit(_TAKEN.isoformat()),
        resulted_at=pl.lit((_TAKEN + timedelta(hours=2)).isoformat()),
        loinc=pl.lit("751-8"),
        analyte_name=pl.lit("Neutrophils"),
        value=pl.concat_str(comparator, (pl.col("anc_cells_per_ul") / _G_PER_L).cast(pl.String)),
        unit=pl.lit("10*9/L"),
        reference_low=low / _G_PER_L,
        status=pl.lit("F"),
    )


def _written(place: Path, **frames: pl.DataFrame) -> dict[str, Any]:
    paths = {}
    for kind, frame in frames.items():
        frame.write_csv(place / f"{kind}.csv")
        paths[kind] = (str(place / f"{kind}.csv"),)
    return paths


def _counts(place: Path, settings: RunOptions) -> pl.DataFrame:
    run(settings)
    with reading(place / "s.duckdb") as connection:
        return read_table(connection, "SELECT * FROM anc")


def _compared(check: str, judged: pl.DataFrame, wanted: str, got: str) -> Finding:
    """Null equals null: not graded where the published table gives no grade."""
    wrong = judged.filter(pl.col(wanted).ne_missing(pl.col(got).cast(pl.String)))
    if not wrong.height:
        return Finding(check, "ok", f"{judged.height} known counts")
    first = wrong.row(0, named=True)
    return Finding(
        check,
        "failed",
        f"{wrong.height} of {judged.height} known counts are graded otherwise; {first['vector']} "
        f"({first['anc_cells_per_ul']} cells/µL) is {first[got]}, published is {first[wanted]}",
        "A reference table or the program differs from what was released: install the released wheel again.",
    )
