"""``doctor --self-test`` says which part of an installation is not what was released.

The whole test of a sound one is taken where it is installed: tests/wheel.
"""

import json
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import duckdb
import polars as pl
import pytest

from neutro_screen.admin.doctor import Finding
from neutro_screen.admin.self_test import hospital as screened
from neutro_screen.admin.self_test import installed, promises
from neutro_screen.admin.self_test import known_counts as graded
from neutro_screen.cli.app import main
from neutro_screen.cli.self_test import sample
from neutro_screen.reference import FOLDER, load_reference
from neutro_screen.rules import protocol


def failed(findings: list[Finding]) -> list[str]:
    """The names of the checks that failed."""
    return [finding.check for finding in findings if finding.state == "failed"]


def self_test(*words: object) -> int:
    """The command in this process; its exit code."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["neutro-screen", "doctor", "--self-test", *map(str, words)])
        try:
            main()
        except SystemExit as ended:
            return int(ended.code or 0)
    return 0


def test_a_changed_a_missing_and_a_foreign_reference_table_are_named(tmp_path: Path) -> None:
    folder = shutil.copytree(FOLDER, tmp_path / "reference")
    assert failed(installed.reference_files(folder)) == []
    bands = folder / "anc_bands.csv"
    bands.write_text(bands.read_text("utf-8").replace("500", "600"), "utf-8")
    assert failed(installed.reference_files(folder)) == ["reference table anc_bands.csv"]
    (folder / "markers.csv").unlink()
    (folder / "own.csv").write_text("a\n1\n", "utf-8")
    told = {finding.check: finding.found for finding in installed.reference_files(folder)}
    assert told["reference table markers.csv"] == "is missing"
    assert told["reference table own.csv"] == "was not released with the program"


def test_a_moved_limit_is_named_by_its_ladder_with_the_first_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reference = load_reference()
    moved = pl.when(pl.col("system") == "daids", pl.col("upper") == 400).then(450.0).otherwise("upper")
    broken = replace(reference, grade_bands=reference.grade_bands.with_columns(upper=moved))
    monkeypatch.setattr(protocol, "load_reference", lambda: broken)
    findings = graded.grades(tmp_path)
    assert failed(findings) == ["grades daids"]
    (wrong,) = [finding.found for finding in findings if finding.state == "failed"]
    assert "(400 cells/µL) is 4, published is 3" in wrong


def test_the_known_counts_lie_on_both_sides_of_every_limit() -> None:
    reference = load_reference()
    vectors = pl.read_csv(graded.GRADES).filter(pl.col("comparator").is_null())
    limits = {("severity", None, None): set(reference.anc_bands["upper"].drop_nulls())}
    for (system, first, last), rows in reference.grade_bands.group_by("system", "age_from_days", "age_to_days"):
        limits[str(system), first, last] = set(rows["upper"].drop_nulls())  # type: ignore[index]
    for (system, first, last), wanted in limits.items():
        of_age = vectors if first is None else vectors.filter(pl.col("age_days").is_between(first, last or 99_999))
        counts = set(of_age["anc_cells_per_ul"])
        for limit in wanted:
            assert limit in counts, (system, first, limit)
            assert {limit - 1, limit + 1} & counts, (system, first, limit)
            assert len(set(of_age.filter((pl.col("anc_cells_per_ul") - limit).abs() <= 1)[system])) > 1, (system, limit)


def test_a_library_of_another_version_and_a_missing_one_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    present = installed.version
    monkeypatch.setattr(installed, "version", lambda name: "0.0.1" if name == "polars" else present(name))
    (finding,) = installed.library_versions()
    assert (finding.check, finding.state) == ("library polars", "failed")
    assert finding.found.startswith("version 0.0.1; tried was ")

    def missing(name: str) -> str:
        if name == "duckdb":
            raise installed.PackageNotFoundError(name)
        return present(name)

    monkeypatch.setattr(installed, "version", missing)
    assert failed(installed.library_versions()) == ["library duckdb"]


def test_a_read_only_folder_is_named_and_the_exit_code_is_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "closed"
    folder.mkdir()
    folder.chmod(0o500)
    assert self_test("--store", folder / "screen.duckdb") == 1
    told = capsys.readouterr().out
    assert "FAILED: store folder" in told
    assert f"is read-only (0500): {folder}" in told
    missing = promises.folder_takes_files(tmp_path / "nowhere")
    assert (missing.state, missing.found) == ("failed", f"is no folder: {tmp_path / 'nowhere'}")


def test_another_result_of_the_sample_and_of_a_format_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hospital = sample()
    forms = [form for form in hospital.forms if form.name == "parquet"]
    other = replace(hospital, forms=forms, answers=hospital.answers.with_columns(severity=pl.lit("mild")))
    answers, tables = screened.sample_answers(other, tmp_path)
    assert (answers.state, tables.state) == ("failed", "ok")
    assert "teaching cases are judged otherwise: " in answers.found
    changed = tmp_path / "expected.csv"
    monkeypatch.setattr(screened, "EXPECTED", changed)
    released = Path(screened.__file__).with_name("expected_tables.csv").read_text("utf-8")
    changed.write_text(released.replace("every format,episode,", "every format,episode,0"), "utf-8")
    (form,) = screened.sample_forms(other, tmp_path)
    assert (form.check, form.state) == ("format parquet", "failed")
    assert form.found == "other rows than released in: episode"


def test_a_store_that_is_changed_in_place_breaks_its_promise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hospital = sample()
    store = hospital.screened(hospital.whole, tmp_path)
    assert promises._broken_off(store).state == "ok"

    @contextmanager
    def in_place(store: Path) -> Iterator[duckdb.DuckDBPyConnection]:
        with duckdb.connect(str(store)) as connection:
            yield connection

    monkeypatch.setattr(promises, "publishing", in_place)
    broken = promises._broken_off(store)
    assert (broken.check, broken.state) == ("store: a run that fails", "failed")
    store.chmod(0o644)
    (tmp_path / "reports").mkdir(mode=0o700)
    private = promises._private(store, tmp_path / "reports")
    assert (private.state, private.found) == ("failed", "others may open: whole.duckdb (0644)")


def test_the_record_in_one_form_and_options_that_need_the_test(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    assert self_test("--store", closed / "s.duckdb", "--out", tmp_path / "record.txt", "--json") == 1
    assert json.loads(capsys.readouterr().out)["passed"] is False
    assert "FAILED: store folder" in (tmp_path / "record.txt").read_text("utf-8")
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as ended:
        patch.setattr(sys, "argv", ["neutro-screen", "doctor", "--out", str(tmp_path / "x")])
        main()
    assert ended.value.code == 10
    assert "go with --self-test" in capsys.readouterr().err
