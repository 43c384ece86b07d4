"""The sample hospital, screened on the user's machine: its known answers, its tables, and the same in every format."""

import csv
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, NamedTuple

import polars as pl

from neutro_screen.admin.doctor import Finding
from neutro_screen.errors import NeutroScreenError, extra
from neutro_screen.pipeline.options import RunOptions
from neutro_screen.pipeline.run import run
from neutro_screen.store.file import reading
from neutro_screen.store.rows import read_table
from neutro_screen.store.schema import SCREENED

#: Hashes of the tables of the sample hospital; written by ``python -m tests.golden.self_test``.
EXPECTED: Final = Path(__file__).with_name("expected_tables.csv")
#: Paths by kind of file.
Paths = Mapping[str, Sequence[str]]
_OPTIONS: Final = {
    "lab": "labs",
    "medication": "medications",
    "patient": "patients",
    "diagnosis": "diagnoses",
    "event": "events",
}
#: What every format can say: no specimen ids, laboratories, times of results, LOINC codes or doses.
_COMMON: Final = {
    "anc": "SELECT patient_id, collected_at, anc_cells_per_ul, anc_comparator, anc_method, severity, severity_in_context, "
    "ctcae_v5_grade, ctcae_v6_grade, daids_grade, baseline_cells_per_ul, trend, rapid_decline FROM anc",
    "episode": "SELECT patient_id, started_at, ended_at, nadir_cells_per_ul, nadir_at, worst_severity, n_results, "
    "is_persistent, is_cyclic, status, priority, reasons FROM episode",
    "drug_suspect": "SELECT patient_id, ingredient, category, score, rank FROM drug_suspect",
    "worklist": "SELECT patient_id, priority, change, row_group, reasons FROM worklist_row",
}
#: Severity at the index time, and the priority on the worklist of the one run.
_JUDGED: Final = (
    "SELECT s.patient_id, s.current_severity, w.priority AS found_priority "
    "FROM patient_summary s LEFT JOIN worklist_row w USING (patient_id)"
)
_DIGITS: Final = 9
_OTHER_PROGRAM: Final = "The program or a library differs from what was released: look at the checks above."


class SampleForm(NamedTuple):
    """The sample hospital in one format: ``write`` puts its files into a folder and gives their paths by kind."""

    name: str
    write: Callable[[Path], Paths]
    #: module of an extra of the package without which the format cannot be read
    needs: str | None = None


@dataclass(frozen=True)
class SampleHospital:
    """What the self-test screens; all forms but ``whole`` hold the same rows, those that every format can hold."""

    as_of: datetime
    whole: SampleForm
    forms: Sequence[SampleForm]
    #: patient_id, severity (null: cannot be assessed), priority (null: not on the worklist)
    answers: pl.DataFrame

    def written(self, form: SampleForm, folder: Path) -> dict[str, Any]:
        """The files of a form in a folder of their own, as the options of a run name them."""
        place = folder / form.name.replace(" ", "-")
        place.mkdir(mode=0o700)
        return {_OPTIONS[kind]: tuple(paths) for kind, paths in form.write(place).items()}

    def screened(self, form: SampleForm, folder: Path) -> Path:
        """The store of a run over the hospital in one form."""
        paths = self.written(form, folder)
        store = folder / f"{form.name.replace(' ', '-')}.duckdb"
        run(RunOptions(store=store, as_of=self.as_of, **paths))
        return store


def sample_answers(hospital: SampleHospital, folder: Path) -> list[Finding]:
    """Severity and priority of every teaching case, and the result tables against their released hashes."""
    store = hospital.screened(hospital.whole, folder)
    with reading(store) as connection:
        status = read_table(connection, _JUDGED)
    judged = hospital.answers.join(status, on="patient_id", how="left", maintain_order="left")
    wrong = judged.filter(
        pl.col("severity").ne_missing(pl.col("current_severity").cast(pl.String))
        | pl.col("priority").ne_missing(pl.col("found_priority").cast(pl.String))
    )["patient_id"].to_list()
    answers = Finding("sample hospital, answers", "ok", f"{judged.height} teaching cases as they should be")
    if wrong:
        told = f"{len(wrong)} of {judged.height} teaching cases are judged otherwise: {', '.join(wrong[:5])}"
        answers = Finding(answers.check, "failed", told, _OTHER_PROGRAM)
    return [answers, *_against_record("sample hospital, tables", "whole", result_digests(store))]


def sample_forms(hospital: SampleHospital, folder: Path) -> list[Finding]:
    """One finding a format: the tables of its run are those of every other format, and those that were released."""
    return [_form(hospital, form, folder) for form in hospital.forms]


def _form(hospital: SampleHospital, form: SampleForm, folder: Path) -> Finding:
    check = f"format {form.name}"
    if form.needs is not None and find_spec(form.needs) is None:
        return Finding(
            check,
            "skipped",
            f"{form.needs} is not installed: the format cannot be read here",
            extra(_EXTRAS[form.needs]),
        )
    try:
        store = hospital.screened(form, folder)
    except NeutroScreenError as error:
        return Finding(check, "failed", str(error))
    return _against_record(check, "every format", common_digests(store))[0]


_EXTRAS: Final = {"python_calamine": "excel", "pyreadstat": "cdisc"}


def result_digests(store: Path) -> dict[str, str]:
    """Hash of every result table of a store."""
    return {name: digest(store, f'SELECT * FROM "{name}"') for name in SCREENED}


def common_digests(store: Path) -> dict[str, str]:
    """Hash of what every format can say of each table of a store."""
    return {name: digest(store, query) for name, query in _COMMON.items()}


def digest(store: Path, query: str) -> str:
    """SHA-256 of the rows of a query in one order, as text; numbers to nine digits, as far as machines agree."""
    with reading(store) as connection:
        rows = read_table(connection, query)
    rows = rows.drop("run_id", "source_file", "source_row", strict=False)
    rounded = rows.with_columns(pl.col(pl.Float64).round_sig_figs(_DIGITS))
    text = rounded.cast(pl.String).select(pl.concat_str(pl.all().fill_null("\\N"), separator="\t").sort()).to_series()
    return hashlib.sha256("\n".join([*rows.columns, *text]).encode()).hexdigest()


def _against_record(check: str, source: str, found: Mapping[str, str]) -> list[Finding]:
    with EXPECTED.open(encoding="utf-8", newline="") as rows:
        expected = {row["table"]: row["sha256"] for row in csv.DictReader(rows) if row["source"] == source}
    wrong = [name for name in expected if expected[name] != found.get(name)]
    if wrong or expected.keys() != found.keys():
        told = f"other rows than released in: {', '.join(wrong or sorted(found.keys() ^ expected.keys()))}"
        return [Finding(check, "failed", told, _OTHER_PROGRAM)]
    return [Finding(check, "ok", f"{len(found)} result tables as released")]
