"""The library from a notebook: read, screen, run."""

from dataclasses import fields
from datetime import UTC, datetime
from inspect import signature
from pathlib import Path

import polars as pl
import pytest

import neutro_screen
from neutro_screen.errors import RefusedInputError, StoreError
from neutro_screen.pipeline.options import RunOptions
from neutro_screen.store.file import reading
from neutro_screen.store.review import current_worklist

SAMPLE = Path(__file__).parents[2] / "sample_data"
KINDS = {"medications": "medication", "patients": "patient", "diagnoses": "diagnosis", "events": "event"}
NIGHT = datetime(2026, 11, 22, 2, tzinfo=UTC)


@pytest.fixture(scope="module")
def by_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample hospital screened into a store by the library's run."""
    store = tmp_path_factory.mktemp("api") / "s.duckdb"
    chart = {name: SAMPLE / f"{name}.csv" for name in KINDS}
    summary = neutro_screen.run(SAMPLE / "labs.csv", store, as_of=NIGHT, **chart)
    assert summary.account.rows_in == 1665
    return store


@pytest.mark.parametrize("shape", ["as read", "native text"])
def test_screen_on_frames_says_what_a_run_says(by_run: Path, shape: str) -> None:
    if shape == "as read":
        labs = neutro_screen.read(SAMPLE / "labs.csv").labs
        chart = {
            name: getattr(neutro_screen.read(SAMPLE / f"{name}.csv", kind=kind), name)  # type: ignore[arg-type]
            for name, kind in KINDS.items()
        }
    else:
        labs = pl.read_csv(SAMPLE / "labs.csv", infer_schema=False)
        chart = {name: pl.read_csv(SAMPLE / f"{name}.csv", infer_schema=False) for name in KINDS}
    result = neutro_screen.screen(labs, **chart, as_of=NIGHT)
    with reading(by_run) as connection:
        listed = current_worklist(connection)
        unknown = connection.sql("SELECT patient_id, reason FROM cannot_assess ORDER BY ALL").pl()
    shown = ["patient_id", "priority", "reasons", "top_suspect", "last_anc_cells_per_ul", "next_step_due"]
    assert result.worklist.select(shown).rows() == listed.select(shown).rows()
    assert result.cannot_assess.select("patient_id", "reason").sort("patient_id", "reason").rows() == unknown.rows()


def test_a_hand_made_frame_is_enough() -> None:
    labs = pl.DataFrame(
        {
            "patient_id": ["a", "a"],
            "collected_at": [datetime(2026, 1, 1), datetime(2026, 1, 8)],
            "loinc": ["751-8"] * 2,
            "value": [4.0, 0.4],
            "unit": ["10*9/L"] * 2,
        }
    )
    result = neutro_screen.screen(labs, as_of="2026-01-09")
    assert result.anc["severity"].to_list() == ["normal", "severe"]
    assert result.patient_status["has_rapid_decline"].to_list() == [True]
    assert result.worklist["priority"].to_list() == ["critical"]


def test_a_frame_of_another_shape_is_refused() -> None:
    with pytest.raises(RefusedInputError, match="required lab column missing"):
        neutro_screen.screen(pl.DataFrame({"patient_id": ["a"], "haemoglobin": [1.0]}), as_of="2026-01-09")


def test_run_takes_every_option_of_the_command(tmp_path: Path) -> None:
    """A missing store beside earlier reports is refused, ``new_store`` means it, and ``notify`` is told."""
    labs, told = tmp_path / "labs.csv", tmp_path / "told"
    labs.write_text(
        "patient_id,specimen_id,collected_at,loinc,value,unit\nA,S,2026-11-21 08:00,751-8,0.05,10*9/L\n", "utf-8"
    )
    (tmp_path / "notify.toml").write_text(f'command = ["tee", "{told}"]\n', "utf-8")
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / "flagged.csv").touch()
    options = {"reports": tmp_path / "reports", "as_of": NIGHT, "notify": tmp_path / "notify.toml"}
    with pytest.raises(StoreError, match="earlier runs left flagged"):
        neutro_screen.run(labs, tmp_path / "s.duckdb", **options)
    assert "FAILED: StoreError" in told.read_text("utf-8")
    neutro_screen.run(labs, tmp_path / "s.duckdb", **options, new_store=True, csv_bom=True)
    assert "critical patients tonight: 1" in told.read_text("utf-8")
    assert (tmp_path / "reports" / "flagged.csv").read_bytes().startswith(b"\xef\xbb\xbf")
    asked = set(signature(neutro_screen.run).parameters)
    assert {field.name for field in fields(RunOptions)} == asked
