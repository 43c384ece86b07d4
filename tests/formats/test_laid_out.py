"""Exports that are laid out for the eye: `init` says how, and each is read rightly, or refused with what to do.

Units in a row of their own, no units at all, patients on the first row of a group only, dates across, several sheets, flat
JSON. Everything is invented.
"""

import json
import re
import zipfile
from datetime import datetime
from pathlib import Path

import pytest

from neutro_screen import Extract, Screening, read, screen
from neutro_screen.admin.propose import left_open, propose_profile
from neutro_screen.errors import RefusedInputError
from tests.formats.hospital_files import write_xlsx

AS_OF = "2026-11-21"
LONG = (
    ("MRN", "Collected", "Test", "Result", "Unit"),
    ("1", "2026-11-18 08:00", "WBC", "1.2", "10^9/L"),
    ("1", "2026-11-18 08:00", "Neutrophils", "0.3", "10^9/L"),
    ("2", "2026-11-18 09:00", "Neutrophils", "4.3", "10^9/L"),
)
WIDE = "MRN,Collected,WBC,ANC,Hb\n{units}1,2026-11-18 08:00,1.2,0.3,10.1\n2,2026-11-18 09:00,7.2,4.3,13.1\n"
GROUPED = (
    "Patient ID,Name,Collected,Test,Result,Unit\n"
    "1,Doe J,2026-11-17 08:00,WBC,3.2,10^9/L\n,,,Neutrophils,1.3,10^9/L\n"
    ",,2026-11-18 08:00,WBC,1.2,10^9/L\n,,,Neutrophils,0.3,10^9/L\n"
    "2,Roe K,2026-11-18 08:00,WBC,7.2,10^9/L\n,,,Neutrophils,4.3,10^9/L\n"
)
ACROSS = (
    "Patient;Untersuchung;Einheit;16.11.2026;17.11.2026;18.11.2026\n"
    "1;Leukozyten;Gpt/l;3,2;;1,2\n1;Neutrophile abs.;Gpt/l;1,9;;0,3\n2;Neutrophile abs.;Gpt/l;;4,3;\n"
)
RIGHT = {"1": 300, "2": 4300}


def proposed(export: Path) -> Path:
    """The profile that `init` writes for the export."""
    profile = export.with_name("profile.toml")
    profile.write_text(propose_profile(export), "utf-8")
    return profile


def written(text: str, folder: Path, name: str = "export.csv") -> Path:
    """An export."""
    export = folder / name
    export.write_text(text, "utf-8")
    return export


def counts(extract: Extract) -> dict[str, float | None]:
    """Each patient's last ANC in cells/uL."""
    found: Screening = screen(extract, as_of=AS_OF)
    return dict(found.patient_status.select("patient_id", "last_anc_cells_per_ul").iter_rows())


def write_sheets(path: Path, sheets: dict[str, list[list[object]]]) -> None:
    """A workbook of several sheets, put together from workbooks of one."""
    parts: dict[str, str] = {}
    for number, (name, rows) in enumerate(sheets.items(), start=1):
        write_xlsx(path, rows, [], sheet=name)
        with zipfile.ZipFile(path) as archive:
            one = {part: archive.read(part).decode() for part in archive.namelist()}
        parts |= {part: text for part, text in one.items() if part not in parts}
        parts[f"xl/worksheets/sheet{number}.xml"] = one["xl/worksheets/sheet1.xml"]
        if number > 1:
            for part, tag in (("xl/workbook.xml", "sheet"), ("xl/_rels/workbook.xml.rels", "Relationship")):
                own = re.findall(rf"<{tag} [^>]*/>", one[part])[0].replace("rId1", f"rId{number}")
                own = own.replace("sheet1.xml", f"sheet{number}.xml").replace('sheetId="1"', f'sheetId="{number}"')
                parts[part] = parts[part].replace(f"</{tag}s>", f"{own}</{tag}s>")
            listed = re.findall(r"<Override [^>]*sheet1[^>]*/>", one["[Content_Types].xml"])[0]
            types = parts["[Content_Types].xml"]
            parts["[Content_Types].xml"] = types.replace(
                "</Types>", f"{listed.replace('sheet1', f'sheet{number}')}</Types>"
            )
    with zipfile.ZipFile(path, "w") as archive:
        for part, text in parts.items():
            archive.writestr(part, text)


@pytest.mark.parametrize(
    "text",
    [
        WIDE.format(units=",,10^9/L,10^9/L,g/dL\n"),
        WIDE.format(units="Unit,,[10^9/L],[10^9/L],[g/dL]\n"),
        WIDE.format(units="").replace("WBC,ANC,Hb", "WBC (10^9/L),Neutro_abs_G/L,Hb [g/dL]"),
        "IPP;Date de prélèvement;Leucocytes;PNN;Hémoglobine\nUnités;;G/L;G/L;g/dL\n"
        "1;18/11/2026 08:10;1,2;0,3;9,8\n2;18/11/2026 09:20;7,5;4,3;13,2\n",
        "Sample ID\tPatient ID\tTest time\tWBC\tNeu#\tNeu%\n\t\t\t10^9/L\t10^9/L\t%\n"
        "501\t1\t2026-11-18 08:10\t1.2\t0.3\t25.0\n502\t2\t2026-11-18 09:20\t7.5\t4.3\t57.3\n",
        "Αρ. Μητρώου;Ημερομηνία λήψης;Λευκά αιμοσφαίρια;Ουδετερόφιλα (αριθμός)\n;;10^3/μL;10^3/μL\n"
        "1;18/11/2026 08:10;1,2;0,3\n2;18/11/2026 09:20;7,5;4,3\n",
        "CNP,Data recoltarii,Leucocite (WBC) [10^3/uL],Neutrofile (NEUT#) [10^3/uL]\n"
        "1,18.11.2026 08:10,1.2,0.3\n2,18.11.2026 09:20,7.5,4.3\n",
        GROUPED,
        "Pat.-Nr.;Name;Entnahme;Analyse;Ergebnis;Einheit\n1;Muster A;18.11.2026 08:10;Leukozyten;1,2;G/l\n"
        ";;;Neutrophile abs.;0,3;G/l\n;;;Hämoglobin;9,8;g/dl\n"
        "2;Muster B;18.11.2026 09:20;Leukozyten;7,5;G/l\n;;;Neutrophile abs.;4,3;G/l\n",
        "Protokol No;Adı Soyadı;Numune Alım Tarihi;WBC (10^3/uL);Nötrofil # (10^3/uL)\n1;A B;17.11.2026 08:00;2,2;1,3\n"
        ";;18.11.2026 08:10;1,2;0,3\n2;C D;17.11.2026 08:00;7,1;4,1\n;;18.11.2026 09:20;7,5;4,3\n",
        ACROSS,
        "NHC;Determinación;Unidades;17/11/2026;18/11/2026\n1;Neutrófilos (abs);10^3/µL;1,3;0,3\n"
        "2;Neutrófilos (abs);10^3/µL;;4,3\n",
        "Potilastunnus;Näytteenottoaika;Tutkimus;Tulos;Yksikkö\n1;18.11.2026 08:10;B-Neut;0,3;E9/l\n"
        "Potilastunnus;Näytteenottoaika;Tutkimus;Tulos;Yksikkö\n2;18.11.2026 09:20;B-Neut;4,3;E9/l\n",
    ],
    ids=[
        "units below",
        "units below, in brackets",
        "units in the header",
        "units below in French",
        "units below of an analyser",
        "units below in Greek",
        "units in the header in Romanian",
        "patient once a group",
        "patient once a group in German",
        "patient once a group, wide, in Turkish",
        "dates across",
        "dates across in Spanish",
        "the header again, in Finnish",
    ],
)
def test_what_is_laid_out_for_the_eye_is_read_without_a_hand_edit(text: str, tmp_path: Path) -> None:
    export = written(text, tmp_path)
    extract = read(str(export), profile=str(proposed(export)))
    assert counts(extract) == RIGHT
    assert extract.refused["lab"] == []


def test_units_below_the_header_that_change_are_refused(tmp_path: Path) -> None:
    profile = proposed(written(WIDE.format(units=",,10^9/L,10^9/L,g/dL\n"), tmp_path))
    later = written(WIDE.format(units=",,10^9/L,/uL,g/dL\n"), tmp_path, "later.csv")
    with pytest.raises(RefusedInputError, match="another unit below column 'ANC'"):
        read(str(later), profile=str(profile))


def test_a_wide_file_without_units_asks_for_them_and_uses_nothing(tmp_path: Path) -> None:
    export = written(WIDE.format(units=""), tmp_path)
    profile = propose_profile(export)
    said = [line for line in left_open(profile) if "ANC" in line]
    assert said and 'would fit unit = "10*9/L"' in said[0] and "Ask the laboratory" in said[0]
    assert 'column = "ANC"\nanalyte = "neut_abs"\nunit = ""' in profile
    assert counts(read(str(export), profile=str(proposed(export)))) == {"1": None, "2": None}
    stated = tmp_path / "profile.toml"
    stated.write_text(profile.replace('unit = ""', 'unit = "10*9/L"'), "utf-8")
    assert counts(read(str(export), profile=str(stated))) == RIGHT


def test_patients_once_a_group_are_told(tmp_path: Path) -> None:
    said = left_open(propose_profile(written(GROUPED, tmp_path)))
    assert any("patient_id, collected_at stand on the first row of a group only" in line for line in said)


def test_nothing_is_filled_down_across_a_refused_line(tmp_path: Path) -> None:
    profile = proposed(written(GROUPED, tmp_path))
    broken = written(GROUPED.replace("2,Roe K,2026-11-18 08:00,", "2,Roe K,2026-11-18 08:00,,,,,"), tmp_path, "b.csv")
    extract = read(str(broken), profile=str(profile))
    assert extract.labs.filter(patient_id="1").height == 4
    assert extract.labs["patient_id"].null_count() == 1
    assert [each.patient_id for each in extract.refused["lab"]] == ["2"]


def test_a_list_in_which_some_patients_are_missing_is_not_filled_down(tmp_path: Path) -> None:
    rows = [",".join(row) for row in LONG]
    export = written("\n".join([*rows[:3], ",2026-11-18 09:30,Neutrophils,0.1,10^9/L", rows[3]]), tmp_path)
    profile = propose_profile(export)
    assert "\nfill_down" not in profile
    assert any("some rows have no patient and will be refused" in line for line in left_open(profile))
    assert counts(read(str(export), profile=str(proposed(export)))) == RIGHT


def test_a_column_that_may_be_a_date_and_cannot_be_read_is_refused(tmp_path: Path) -> None:
    profile = proposed(written(ACROSS, tmp_path))
    later = written(ACROSS.replace("18.11.2026", "18.11."), tmp_path, "later.csv")
    with pytest.raises(RefusedInputError, match="columns 6 have no date that can be read"):
        read(str(later), profile=str(profile))


def test_a_file_without_a_header_is_not_taken_for_dates_across(tmp_path: Path) -> None:
    rows = "H47;Doe;12.03.1960;18.11.2026;Neutrophile;0,3\nH48;Roe;12.03.1961;18.11.2026;Neutrophile;4,3\n"
    with pytest.raises(RefusedInputError, match="seems to be a row"):
        propose_profile(written(rows, tmp_path))


def test_every_sheet_with_results_is_read(tmp_path: Path) -> None:
    export = tmp_path / "export.xlsx"
    blank: list[object] = [None] * 5
    title: list[object] = ["Haematology", *blank[1:]]
    sheets = {
        "Notes": [["Read me first", "of two wards"]],
        "Ward 1": [blank, title, list(LONG[0]), *map(list, LONG[1:3])],
        "Ward 2": [list(LONG[0]), list(LONG[3])],
    }
    write_sheets(export, sheets)
    extract = read(str(export), profile=str(proposed(export)))
    assert counts(extract) == RIGHT
    assert "other_sheets:1" in extract.files[0].notes


def test_a_workbook_with_days_across_and_one_with_merged_patients(tmp_path: Path) -> None:
    across = tmp_path / "across.xlsx"
    days = [datetime(2026, 11, day) for day in (17, 18)]
    header: list[object] = ["Hospital No", "Investigation", "Units", *days]
    rows: list[list[object]] = [
        ["Cumulative report"],
        header,
        ["1", "Neutrophils", "10*9/L", 1.3, 0.3],
        ["2", "Neutrophils", "10*9/L", None, 4.3],
    ]
    write_xlsx(across, rows, [])
    assert counts(read(str(across), profile=str(proposed(across)))) == RIGHT
    merged = tmp_path / "merged.xlsx"
    write_xlsx(merged, [*map(list, LONG[:2]), [None, None, *LONG[2][2:]], list(LONG[3])], ["A2:A3", "B2:B3"])
    assert counts(read(str(merged), profile=str(proposed(merged)))) == RIGHT


def test_a_list_with_the_patient_in_lines_of_headings_is_refused(tmp_path: Path) -> None:
    export = written("Date,Test,Result,Units\nPatient 1,,,\n2026-11-18,Neutrophils,0.3,10^9/L\n", tmp_path)
    assert any("MISSING: no column was found for patient_id" in line for line in left_open(propose_profile(export)))
    with pytest.raises(RefusedInputError, match="required lab column missing: patient_id"):
        read(str(export), profile=str(proposed(export)))


JSON = [dict(zip(LONG[0], row, strict=True)) for row in LONG[1:]]


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(JSON),
        json.dumps({"exported": "2026-11-20", "results": JSON}),
        "\n".join(json.dumps(row | {"Result": float(row["Result"])}) for row in JSON),
    ],
    ids=["array", "array in an object", "lines with numbers"],
)
def test_flat_json_is_read_as_a_table(text: str, tmp_path: Path) -> None:
    export = written(text, tmp_path, "export.json")
    assert counts(read(str(export), profile=str(proposed(export)))) == RIGHT


def test_nested_json_is_refused_with_what_to_do(tmp_path: Path) -> None:
    export = written(json.dumps([{"patient": {"id": "1"}, "wbc": "1.2"}]), tmp_path, "export.json")
    with pytest.raises(RefusedInputError, match="members hold objects or lists"):
        propose_profile(export)


def test_a_broken_line_of_json_is_a_refused_row(tmp_path: Path) -> None:
    lines = [json.dumps(row) for row in JSON]
    export = written("\n".join([*lines, '{"MRN": "3", "Coll']), tmp_path, "export.ndjson")
    extract = read(str(export), profile=str(proposed(export)))
    assert [(each.source_row, each.reason) for each in extract.refused["lab"]] == [(4, "broken_json")]


def test_letters_that_cannot_be_read_do_not_make_one_patient_of_two(tmp_path: Path) -> None:
    """Replaced by one and the same sign, two patients' numbers would be one."""
    others = [json.dumps(JSON[0] | {"MRN": name}, ensure_ascii=False) for name in ("M\u00fcl", "M\u00f6l")]
    export = tmp_path / "export.ndjson"
    export.write_bytes("\n".join([*map(json.dumps, JSON), *others]).encode("latin-1"))
    profile = str(proposed(written("\n".join(map(json.dumps, JSON)), tmp_path, "sample.ndjson")))
    extract = read(str(export), profile=profile)
    assert [(each.source_row, each.reason) for each in extract.refused["lab"]] == [
        (row, "undecodable_text") for row in (len(JSON) + 1, len(JSON) + 2)
    ]
    assert extract.labs["patient_id"].n_unique() == len({row["MRN"] for row in JSON})
