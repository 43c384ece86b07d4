"""The files behind public bug reports (shared cases/reports), from the file to the lists of the report."""

from pathlib import Path

import duckdb
import pytest

import neutro_screen
from neutro_screen.ingest import Extract, ingest
from neutro_screen.ingest.profile import Profile

CASES = Path(__file__).parents[3] / "shared" / "cases"
REPORTS = CASES / "reports"
pytestmark = pytest.mark.skipif(not CASES.exists(), reason="the shared cases are not beside the project")


class Screened:
    """What one run over one file made of its patients."""

    def __init__(self, labs: Path, folder: Path, profile: str = "") -> None:
        own = folder / "profile.toml"
        own.write_text(profile, "utf-8")
        store = folder / "screen.duckdb"
        self.summary = neutro_screen.run(
            str(labs), str(store), profile=str(own) if profile else None, as_of="2026-11-21T06:00:00", max_rejected=1.0
        )
        with duckdb.connect(str(store), read_only=True) as connection:
            self.counts = dict(
                connection.execute("SELECT patient_id, anc_cells_per_ul FROM anc ORDER BY collected_at").fetchall()
            )
            self.unknown = dict(connection.execute("SELECT patient_id, reason FROM cannot_assess").fetchall())
            self.patients = {row[0] for row in connection.execute("SELECT patient_id FROM patient_status").fetchall()}
            self.refused = {
                (row[0], row[1]): row[2]
                for row in connection.execute("SELECT source_row, reason, patient_id FROM rejected_row").fetchall()
            }

    @property
    def listed(self) -> set[str]:
        """Everybody who is in some list."""
        return {*self.counts, *self.unknown, *self.patients}


def test_quotes_that_are_escaped_by_a_backslash(tmp_path: Path) -> None:
    screened = Screened(REPORTS / "backslash_quotes.csv", tmp_path)
    assert screened.counts == {"a1": 400, "a2": 400, "a3": 400}
    assert screened.refused == {}


@pytest.mark.parametrize(
    ("file", "line", "patient", "others"),
    [
        ("reports/lone_carriage_return.csv", 3, "a2", {"a1": 400, "a3": 400}),
        ("operations/bare_carriage_return.csv", 7, "PX", dict.fromkeys(("P1", "P2", "P3", "P4", "P5"), 50)),
    ],
)
def test_a_line_with_a_lone_carriage_return_is_refused_by_its_number_and_its_patient_is_unknown(
    tmp_path: Path, file: str, line: int, patient: str, others: dict[str, int]
) -> None:
    screened = Screened(CASES / file, tmp_path)
    assert screened.counts == others
    assert screened.refused == {(line, "lone_carriage_return"): patient}
    assert screened.unknown == {patient: "broken_line"}
    assert screened.summary.account.rows_in == len(others) + 1


def test_message_offsets(tmp_path: Path) -> None:
    labs = ingest({"lab": [str(REPORTS / "message_offset.hl7")]}).labs
    collected = {patient: str(time) for patient, time in labs.select("patient_id", "collected_at").iter_rows()}
    assert collected == {
        "t1": "2026-11-20 12:00:00",
        "t2": "2026-11-20 12:00:00",
        "t3": "2026-11-20 21:00:00",
        "t4": "2026-11-20 00:00:00",
        "t5": "2026-11-01 06:30:00",
    }


def test_forms_of_results(tmp_path: Path) -> None:
    screened = Screened(REPORTS / "obx_forms.hl7", tmp_path)
    numbers = {patient.split("_")[0]: count for patient, count in screened.counts.items()}
    expected = dict.fromkeys(
        ("a", "c", "f", "h", "i", "j", "m", "o", "p", "q", "r", "w", "y", "z", "za", "zd", "ze"), 400
    ) | dict.fromkeys(("b", "k", "l", "n", "x"), 100)
    assert numbers == expected | {"zb": 900, "zc": 500}
    unknown = {patient.split("_")[0]: reason for patient, reason in screened.unknown.items()}
    no_result = dict.fromkeys(("s", "t", "u"), "null_word") | {"v": "blank"}
    not_done = dict.fromkeys(("zf", "zg", "zh", "zi", "zj"), "not_performed")
    # A value that is not equal, two values, and a range leave the number open: they are refused.
    refused = dict.fromkeys(("d", "e", "g"), "unparseable_value")
    assert {name: unknown[name] for name in no_result} == no_result
    assert {name: unknown[name] for name in not_done} == not_done
    assert {name: unknown[name] for name in refused} == refused
    assert len(screened.listed) == 36


def test_dates_and_percentages_of_a_workbook(tmp_path: Path) -> None:
    profile = """
        name = "labor"
        datetime_formats = ["%d.%m.%Y %H:%M"]
        [lab.columns]
        patient_id = "Patient"
        specimen_id = "Auftrag"
        collected_at = "Entnahme"
        analyte_name = "Analyt"
        value = "Ergebnis"
        unit = "Einheit"
    """
    screened = Screened(REPORTS / "excel_dates_percent.xlsx", tmp_path, profile)
    assert screened.unknown["X3"] == "unparseable_value"  # a 1.5 that became the first of May
    assert screened.counts["X12"] == 400  # 20 % of 2.0, in a cell that holds 0.2
    assert {screened.counts[name] for name in ("X1", "X2", "X5", "X14", "00123", "123")} == {400}
    assert screened.unknown["X10"] == "unparseable_value"
    assert len(screened.listed) == 14


def omop(name: str) -> Extract:
    return ingest({"lab": [str(REPORTS / name)]})


def test_omop_fields_against_their_source_fields(tmp_path: Path) -> None:
    screened = Screened(REPORTS / "omop_fields", tmp_path)
    assert screened.counts == {
        **dict.fromkeys(("5", "6", "7", "8", "9", "10", "13", "14", "16", "18"), 400),
        **{"1": 100, "2": 20000, "3": 100},
    }
    assert screened.unknown == {
        "4": "unit_unknown",  # kelvin per microliter, and no source unit that settles it
        "11": "unit_unknown",
        "12": "fields_disagree",  # > 0.1 in the operator, <0.1 in the source value
        "15": "fields_disagree",  # cells/uL in the concept, K/uL in the source unit
        "17": "unit_unknown",
    }


def test_omop_unit_and_test_concepts(tmp_path: Path) -> None:
    screened = Screened(REPORTS / "omop_units", tmp_path)
    assert {patient: count for patient, count in screened.counts.items() if patient != "6"} == dict.fromkeys(
        ("1", "2", "3", "4", "5"), 400
    )
    assert screened.counts["6"] == 1200  # white cells without a differential are an upper bound


def test_one_patient_under_the_identifier_that_the_profile_names(tmp_path: Path) -> None:
    screened = Screened(REPORTS / "patient_id_places.hl7", tmp_path, 'patient_identifier = "PID-2"')
    assert screened.patients == {"124830"}
    notes = [file.notes for file in ingest({"lab": [str(REPORTS / "patient_id_places.hl7")]}).files]
    assert any("patient_identifier_suspect" in note for listed in notes for note in listed)
    with_setting = ingest({"lab": [str(REPORTS / "patient_id_places.hl7")]}, Profile(patient_identifier="PID-2")).files
    assert not any("patient_identifier_suspect" in note for file in with_setting for note in file.notes)
    (tmp_path / "without").mkdir()
    without = Screened(REPORTS / "patient_id_places.hl7", tmp_path / "without").summary
    assert "patient_identifier" in {warning["kind"] for warning in without.warnings}
    assert "patient_identifier" not in {warning["kind"] for warning in screened.summary.warnings}


def test_a_code_of_one_cell_under_the_name_of_another_is_used_as_neither(tmp_path: Path) -> None:
    screened = Screened(REPORTS / "code_name_conflict.csv", tmp_path)
    assert screened.counts == {}
    assert screened.unknown == dict.fromkeys(("Y1", "Y2", "Y3", "Y4", "Y5"), "code_name_conflict")


def test_granulocytes_under_the_code_of_another_cell_bound_the_count_from_above(tmp_path: Path) -> None:
    screened = Screened(REPORTS / "code_name_conflict.hl7", tmp_path)
    assert screened.counts == {"X1": 400, "X2": 3600}  # 4.00 under 751-8 are the lymphocytes, 1.80 likewise
    assert screened.unknown == {"X2": "indeterminate"}
    assert {reason for _, reason in screened.refused} == {"code_name_conflict"}


def test_unit_errors_in_both_directions_are_refused(tmp_path: Path) -> None:
    screened = Screened(REPORTS / "unit_both_ways.csv", tmp_path)
    assert screened.counts == {"T2": 360}
    assert screened.unknown == {
        **dict.fromkeys(("T1", "T3", "T4", "T5", "T6"), "unit_suspect"),
        "T7": "unit_unknown",  # 4,000 without quotes moved its unit one column on
        **dict.fromkeys(("T8", "T9"), "no_differential"),
    }


def test_a_specimen_of_zeros_alone_is_missing_and_a_zero_beside_its_reference_range_is_one(tmp_path: Path) -> None:
    screened = Screened(REPORTS / "all_zero_specimen.csv", tmp_path)
    assert screened.counts["Z2"] == 0
    assert screened.counts["Z3"] == 0  # beside white cells of 6.2
    assert screened.unknown == {"Z5": "specimen_all_zero"}


def test_words_beside_blood_do_not_make_it_another_specimen(tmp_path: Path) -> None:
    screened = Screened(REPORTS / "blood_words.csv", tmp_path)
    assert screened.counts == dict.fromkeys((f"b{number}" for number in range(7)), 400)
    assert screened.unknown == {}
