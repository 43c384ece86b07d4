"""The same small hospital, written in every format, is one and the same table once it is read and judged."""

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from neutro_screen.ingest import Extract, ingest
from neutro_screen.reference import load_policy, load_reference
from neutro_screen.rules.counts.results import judge_rows
from neutro_simulator import Hospital
from tests.formats import hospital_files as files

#: What every format can say of a result.
COMMON = (
    "patient_id",
    "collected_at",
    "analyte",
    "method",
    "value",
    "comparator",
    "unit",
    "unit_status",
    "value_status",
    "reference_low",
    "reference_high",
    "no_result",
    "not_screened",
)
WHOLE = (*COMMON, "specimen_id", "resulted_at", "status", "lab", "loinc")
Writer = Callable[[Hospital, Path], dict[str, list[str]]]

#: format, writer, columns it can say, whether it knows the status of a result
FORMATS: list[tuple[str, Writer, tuple[str, ...], bool]] = [
    ("parquet", files.write_parquet, WHOLE, True),
    ("excel", files.write_excel, WHOLE, True),
    ("hl7v2", files.write_hl7, WHOLE, True),
    ("fhir", files.write_fhir, WHOLE, True),
    ("mimic", files.write_mimic4, (*COMMON, "specimen_id", "resulted_at", "loinc"), False),
    ("omop", files.write_omop_folder, COMMON, False),
    ("omop", files.write_omop_database, COMMON, False),
    ("cdisc", files.write_xpt, (*COMMON, "specimen_id", "lab"), False),
    ("cdisc", files.write_dataset_json, (*COMMON, "specimen_id", "lab"), False),
]


def judged(extract: Extract, columns: tuple[str, ...]) -> pl.DataFrame:
    """Every laboratory row with its verdict, in one order."""
    parts = judge_rows(extract.labs, load_reference(), load_policy(), as_of=files.AS_OF, patients=extract.patients)
    frames = [
        frame.select(*(pl.col(name) if name in frame.columns else pl.lit(None).alias(name) for name in columns))
        for frame in (parts.results, parts.no_results, parts.not_screened)
    ]
    whole = pl.concat(frames, how="vertical_relaxed")
    # Units of rows without a value are no part of the verdict, and not every format sends them.
    has_no_value = pl.col("no_result").is_not_null() | pl.col("not_screened").is_not_null()
    verdict = [
        name
        for name in ("unit", "unit_status", "value_status", "reference_low", "reference_high", "value")
        if name in columns
    ]
    return whole.with_columns(pl.when(~has_no_value).then(name).alias(name) for name in verdict).sort(columns)


def chart(extract: Extract) -> dict[str, pl.DataFrame]:
    """Drugs, people and diagnoses, without what only some formats say."""
    return {
        "medication": extract.medications.select(
            "patient_id", pl.col("drug_name").str.to_uppercase(), "start_date", "end_date", "route"
        ).sort(pl.all()),
        "patient": extract.patients.select(
            "patient_id", pl.col("birth_date").dt.year(), pl.col("sex").str.slice(0, 1).str.to_uppercase()
        )
        .sort("patient_id")
        .unique(maintain_order=True),
        "diagnosis": extract.diagnoses.select("patient_id", "code", "system", "date").sort(pl.all()),
    }


@pytest.mark.parametrize(
    ("name", "write", "columns", "has_status"), FORMATS, ids=[write.__name__ for _, write, _, _ in FORMATS]
)
def test_the_same_hospital_in_another_format(
    tmp_path: Path, name: str, write: Writer, columns: tuple[str, ...], has_status: bool
) -> None:
    of = files.hospital(finals_only=not has_status)
    (tmp_path / "native").mkdir()
    (tmp_path / "other").mkdir()
    native = ingest(files.write_native(of, tmp_path / "native"))
    other = ingest(write(of, tmp_path / "other"))

    assert name in {file.format for file in other.files}
    assert not any(other.refused.values())
    assert other.labs.height == of.labs.height
    assert_frame_equal(judged(other, columns), judged(native, columns))
    expected, found = chart(native), chart(other)
    for kind in expected:
        assert_frame_equal(found[kind], expected[kind])
