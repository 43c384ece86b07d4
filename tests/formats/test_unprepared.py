"""Exports that nobody prepared for: `init` finds the patient, the test, the unit and the time, or it says what is missing.

Each case is a kind of fault of the front door: a header or a value that led to the wrong patient, to a refused file or to
an alarm from another specimen. Everything is invented.
"""

from dataclasses import dataclass, field
from pathlib import Path

import polars as pl
import pytest

from neutro_screen import Extract, Screening, read, screen
from neutro_screen.admin.propose import propose_profile
from neutro_screen.cli import app as cli
from neutro_screen.errors import RefusedInputError

AS_OF = "2026-11-21"


@dataclass(frozen=True)
class Export:
    """The lines of a file; what each patient's last count must be (cells/uL), and who cannot be assessed."""

    name: str
    text: str
    counts: dict[str, float]
    cannot: frozenset[str] = frozenset()
    encoding: str = "utf-8"
    lines: tuple[str, ...] = field(default=())


def extract(text: str, folder: Path, encoding: str = "utf-8", name: str = "export.csv") -> Extract:
    """The export through a proposed profile; nothing in it is edited."""
    export, profile = folder / name, folder / "profile.toml"
    export.write_bytes(text.encode(encoding))
    profile.write_text(propose_profile(export), "utf-8")
    return read(str(export), profile=str(profile))


def screened(text: str, folder: Path, encoding: str = "utf-8") -> Screening:
    """What is concluded of such an export."""
    return screen(extract(text, folder, encoding), as_of=AS_OF)


PATIENTS = (
    Export(
        "limits of reference are no patients, also where no header is known",
        "HOSPNO,PTNAME,ACCNO,COLLDT,TESTCODE,TESTNAME,RESULT,UNITS,REFLO,REFHI,FLAG,RSTAT\n"
        "4501,Doe^J,M2201,202611180630,ANEU,Abs Neutrophils,400,/uL,1800,7800,LP,F\n"
        "4501,Doe^J,M2201,202611180630,WBC,WBC,1.5,Th/uL,4,11,L,F\n"
        "4502,Doe^K,M2202,202611180630,ANEU,Abs Neutrophils,4400,/uL,1800,7700,,F\n"
        "4502,Doe^K,M2202,202611180630,WBC,WBC,7.5,Th/uL,4,11,,F\n",
        {"4501": 400, "4502": 4400},
    ),
    Export(
        "the number of the record, not whether the form is complete",
        "record_id,redcap_event_name,lab_date,wbc_k_ul,neut_pct,anc_k_ul,labs_complete\n"
        "101,cycle_0,2026-10-01,6.5,60,3.9,2\n101,cycle_1,2026-11-18,1.0,30,0.3,2\n"
        "102,cycle_0,2026-10-02,7.5,60,4.5,2\n102,cycle_1,2026-11-18,6.0,55,3.3,0\n",
        {"101": 300, "102": 3300},
    ),
    Export(
        "a count in another specimen is no patient",
        "Hosp No,Collected,Blood WBC (x10^9/L),Blood Neutrophils (x10^9/L),CSF WBC (/uL),CSF Neutrophils (%)\n"
        "501,2026-11-18 09:00,1.0,0.2,,\n502,2026-11-18 09:00,7.0,4.2,1,2\n503,2026-11-18 09:00,,,3,2\n",
        {"501": 200, "502": 4200},
    ),
    Export(
        "a Nordic personal number looks like a range of numbers",
        "Personnummer;RID;Provtagningstid;Analys;Svar;Enhet\n"
        "19600101-0001;1;2026-11-18 07:15;B-Neutrofila granulocyter;0,3;10E9/L\n"
        "19700101-9802;2;2026-11-18 07:15;B-Neutrofila granulocyter;3,3;10E9/L\n",
        {"19600101-0001": 300, "19700101-9802": 3300},
    ),
    Export(
        "a code of a test is no patient",
        "CPR;Prøvetagningstidspunkt;NPU-kode;Analysenavn;Svar;Enhed\n"
        "010160-0001;18-11-2026 07:15;NPU02902;Neutrofilocytter;0,21;x 10^9/L\n"
        "010160-0001;18-11-2026 07:15;NPU02593;Leukocytter;1,21;x 10^9/L\n"
        "010170-4321;18-11-2026 07:15;NPU02902;Neutrofilocytter;4,21;x 10^9/L\n",
        {"010160-0001": 210, "010170-4321": 4210},
    ),
    Export(
        "the chart number, not the visit or the tube",
        "No RM,No Lab,Tgl Ambil Sampel,Pemeriksaan,Hasil,Satuan,Nilai Rujukan,Bahan\n"
        "311,71,18-11-2026 08:00,Leukosit,1.100,/µL,4.000-10.000,Darah EDTA\n"
        "311,71,18-11-2026 08:00,Neutrofil Segmen,30,%,50-70,Darah EDTA\n"
        "312,72,18-11-2026 08:00,Leukosit,7.100,/µL,4.000-10.000,Darah EDTA\n"
        "312,72,18-11-2026 08:00,Neutrofil Segmen,60,%,50-70,Darah EDTA\n"
        "313,73,18-11-2026 08:00,Leukosit,3,/LPB,0-5,Urine\n",
        {"311": 330, "312": 4260},
    ),
)
PATIENTS += (
    Export(
        "numbers of patients that look like a specimen (UA: urinalysis)",
        "\u2116 \u043a\u0430\u0440\u0442\u043a\u0438;\u0414\u0430\u0442\u0430 \u0437\u0430\u0431\u043e\u0440\u0443;\u041f\u043e\u043a\u0430\u0437\u043d\u0438\u043a;\u0420\u0435\u0437\u0443\u043b\u044c\u0442\u0430\u0442;\u041e\u0434\u0438\u043d\u0438\u0446\u0456\n"
        "UA1;18.11.2026 08:00;NEUT#;0,24;10^9/L\nUA1;18.11.2026 08:00;WBC;1,2;10^9/L\nUA2;18.11.2026 08:00;NEUT#;3,9;10^9/L\n",
        {"UA1": 240, "UA2": 3900},
    ),
    Export(
        "one row a patient under a header that says nothing",
        "Q7,Sampled,NEUT# (10^9/L),HGB (g/dL)\nTR1,2026-11-18 08:10,0.25,8.1\nTR2,2026-11-18 08:15,4.25,13.1\n",
        {"TR1": 250, "TR2": 4250},
    ),
    Export(
        "a column of patients that names control material, too",
        "SampleID,PatientID,CollectedDate,TestCode,Result,Units\nS1,P1,2026-11-18 08:00,NEUT#,0.3,10^3/uL\n"
        "S2,P2,2026-11-18 08:00,NEUT#,4.3,10^3/uL\nS6,Lyphochek Low,2026-11-18 06:00,XQ1,0.8,10^3/uL\n"
        "S7,BACKGROUND,2026-11-18 06:00,XQ1,0.7,10^3/uL\n",
        {"P1": 300, "P2": 4300},
        frozenset({"Lyphochek Low", "BACKGROUND"}),
    ),
)
COLUMNS = (
    Export(
        "Unit # is the number of a patient and Units are the units",
        "Unit #\tAcct #\tSpec #\tColl Date\tColl Time\tTest Name\tResult\tUnits\tNormals\n"
        "M000451\tV0091\t1118:H00012\t11/18/26\t0540\tNEUTROPHILS (ABSOLUTE)\t0.3\tK/mm3\t(1.9-8.0)\n"
        "M000452\tV0092\t1118:H00013\t11/18/26\t0550\tNEUTROPHILS (ABSOLUTE)\t3.9\tK/mm3\t(1.9-8.0)\n",
        {"M000451": 300, "M000452": 3900},
    ),
    Export(
        "the long text of a test is read where its short name is not",
        "Patientennr.;Abnahmezeitpunkt;Parameter;Langtext;Ergebnis;Einheit\n"
        "4711001;18.11.2026 07:30;LK01;Leukozyten;1,1;Gpt/l\n4711001;18.11.2026 07:30;SX17;Segmentkernige;18;%\n"
        "4711001;18.11.2026 07:30;ST17;Stabkernige;4;%\n4711001;18.11.2026 07:30;LY17;Lymphozyten;78;%\n"
        "4711002;18.11.2026 07:30;NE01;Neutrophile absolut;3,97;Gpt/l\n",
        {"4711001": 242, "4711002": 3970},
    ),
    Export(
        "a column called Specimen that holds materials",
        "URN,Test Item,Collection Date,Result,Units,Specimen\n"
        "AU1,Neutrophils,18/11/2026,0.2,x10*9/L,EDTA Blood\nAU2,Neutrophils,18/11/2026,5.2,x10*9/L,EDTA Blood\n"
        "AU3,Polymorphs,18/11/2026,3,%,Ascitic Fluid\nAU4,Leucocytes,18/11/2026,7,x10*6/L,Urine - MSU\n",
        {"AU1": 200, "AU2": 5200},
    ),
    Export(
        "an analyser counts body fluids in a mode of its own",
        "Sample ID,Patient ID,Test time,Mode,WBC(10^9/L),Neu#(10^9/L),Neu%(%)\n"
        "1,MR1,2026-11-18 08:22:01,WB-CBC+DIFF,1.91,0.44,23.0\n2,MR2,2026-11-18 08:23:01,WB-CBC+DIFF,6.91,4.44,64.3\n"
        "3,MR3,2026-11-18 08:24:01,BF,0.005,0.002,40\n",
        {"MR1": 440, "MR2": 4440},
    ),
    Export(
        "a table with an index has one name less than its rows have fields",
        ',patient_id,charttime,label,valuenum,valueuom\n0,900001,2026-11-18 08:00:00,"Neutrophils, absolute",0.14,K/uL\n'
        "1,900002,2026-11-18 08:00:00,Absolute Neutrophil Count,5.14,K/uL\n",
        {"900001": 140, "900002": 5140},
    ),
    Export(
        "codes of LOINC in a table of facts",
        "ENCOUNTER_NUM|PATIENT_NUM|CONCEPT_CD|PROVIDER_ID|START_DATE|VALTYPE_CD|TVAL_CHAR|NVAL_NUM|UNITS_CD|END_DATE\n"
        "1|5001|LOINC:751-8|@|2026-11-18 08:00:00|N|E|0.31|10*3/uL|2026-11-18 08:00:00\n"
        "2|5002|LOINC:751-8|@|2026-11-18 08:00:00|N|E|4.31|10*3/uL|2026-11-18 08:00:00\n",
        {"5001": 310, "5002": 4310},
    ),
    Export(
        "codes of LOINC under the names of a network",
        "patient_id,encounter_id,code_system,code,date,lab_result_num_val,lab_result_text_val,units_of_measure\n"
        "tn1,e1,LOINC,751-8,20261118,0.22,,10*3/uL\ntn2,e2,LOINC,751-8,20261118,4.22,,10*3/uL\n",
        {"tn1": 220, "tn2": 4220},
    ),
    Export(
        "unit and flag in the cell of the value, and no column of units",
        "MRN,Collected,Test,Result,Reference\n"
        "71,2026-11-18 08:00,Neutrophils Absolute,0.3 K/uL (L),1.8 - 7.7 K/uL\n"
        "72,2026-11-18 08:00,Neutrophils Absolute,4.3 K/uL,1.8 - 7.7 K/uL\n"
        "73,2026-11-18 08:00,Neutrophils Absolute,L 0.2 K/uL,1.8 - 7.7 K/uL\n"
        "74,2026-11-18 08:00,Neutrophils Absolute,*0.4* K/uL,1.8 - 7.7 K/uL\n",
        {"71": 300, "72": 4300, "73": 200, "74": 400},
    ),
    Export(
        "thousands with a point, as a table without any decimals writes them",
        "Prontuário;Data Coleta;Analito;Resultado;Unidade;Referência\n"
        "BR1;18/11/2026;Leucócitos;1.100;/mm³;4.000 a 11.000\nBR1;18/11/2026;Neutrófilos;220;/mm³;1.700 a 8.000\n"
        "BR2;18/11/2026;Leucócitos;7.100;/mm³;4.000 a 11.000\nBR2;18/11/2026;Neutrófilos;4.220;/mm³;1.700 a 8.000\n",
        {"BR1": 220, "BR2": 4220},
    ),
)
TEST = ("Neutrophils", "0.3", "K/uL")


@pytest.mark.parametrize("export", [*PATIENTS, *COLUMNS], ids=lambda export: export.name)
def test_every_count_reaches_its_patient(export: Export, tmp_path: Path) -> None:
    result = screened(export.text, tmp_path, export.encoding)
    last = result.patient_status.filter(pl.col("last_anc_cells_per_ul").is_not_null())
    found = dict(last.select("patient_id", "last_anc_cells_per_ul").rows())
    assert found == pytest.approx(export.counts)
    assert set(result.cannot_assess["patient_id"]) == export.cannot


#: One moment as twenty systems write it.
TIMES = (
    "11/18/26 05:40",
    "18NOV2026:05:40:00",
    "18NOV2026:05:40:00.000",
    "18-NOV-26 05:40:00",
    "18-NOV-26 05.40.00.000000 AM",
    "18-NOV-2026 05:40",
    "18/11/2026 05h40",
    "2026.11.18. 05:40",
    "18.11.2026. 05:40",
    "18. 11. 2026 05:40",
    "2026-11-18T05:40:00.000+0000",
    "2026-11-18 05:40:00+00",
    "Nov 18 2026  5:40AM",
    "Nov 18, 2026 05:40",
    "18 November 2026 05:40",
    "2026/11/18 05:40:00.000",
    "2026年11月18日 05:40",
    "18/11/2569 05:40",
    "46344.236111",
    "20261118 0540",
)


@pytest.fixture(scope="module")
def by_form(tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    """Every form in a file of its own, read through its own profile; the rows of all are screened together, as patients apart."""
    folder, rows = tmp_path_factory.mktemp("times"), []
    test, value, unit = TEST
    for number, written in enumerate(TIMES):
        lines = "".join(f"{patient}\t{written}\t{test}\t{value}\t{unit}\n" for patient in ("81", "82"))
        read_rows = extract("MRN\tCollected\tTest\tResult\tUnits\n" + lines, folder, name=f"export{number}.csv").labs
        rows.append(read_rows.with_columns(patient_id=pl.format("{} of {}", pl.lit(written), "patient_id")))
    return screen(pl.concat(rows), as_of=AS_OF).anc


@pytest.mark.parametrize("written", TIMES)
def test_times_as_systems_write_them(written: str, by_form: pl.DataFrame) -> None:
    own = by_form.filter(pl.col("patient_id").is_in([f"{written} of 81", f"{written} of 82"]))
    assert own["collected_at"].dt.strftime("%Y-%m-%d %H:%M").to_list() == ["2026-11-18 05:40"] * 2


@pytest.mark.parametrize(
    ("written", "count"),
    [
        ("L* 0.4", 400),
        ("CRIT 0.4", 400),
        ("0.2 Repeated and verified", 200),
        ("0.30 (confirmed)", 300),
        ("0.3 L, rechecked", 300),
        ("٠٫٣", 300),
        ("۰٫۳", 300),
        ("०.३", 300),
    ],
)
def test_numbers_with_remarks_and_in_other_digits(written: str, count: float, tmp_path: Path) -> None:
    rows = "".join(f"{patient}\t2026-11-18\tNeutrophils\t{written}\tK/uL\n" for patient in ("81", "82"))
    result = screened("MRN\tCollected\tTest\tResult\tUnits\n" + rows, tmp_path)
    assert set(result.anc["anc_cells_per_ul"]) == {count}


def test_a_remark_that_takes_the_number_back_is_no_confirmation(tmp_path: Path) -> None:
    """ANC-9: what is not understood behind a number refuses it."""
    rows = "".join(f"{patient}\t2026-11-18\tNeutrophils\t0.3 not verified\tK/uL\n" for patient in ("81", "82"))
    result = screened("MRN\tCollected\tTest\tResult\tUnits\n" + rows, tmp_path)
    assert result.anc.is_empty()
    assert set(result.cannot_assess["patient_id"]) == {"81", "82"}


def test_json_of_no_standard_is_no_table_and_nothing_of_a_patient_reaches_a_profile(tmp_path: Path) -> None:
    """A profile quotes the names of columns: of a file that has none it would quote its patients."""
    path = tmp_path / "export.txt"
    path.write_text('[{"patientId": "Jemima-77", "testName": "Neutrophils", "value": 0.3, "unit": "10^9/L"}]', "utf-8")
    with pytest.raises(RefusedInputError, match="no table of columns") as refused:
        propose_profile(path)
    assert "Jemima" not in str(refused.value)
    assert "neutro-screen check" in str(refused.value)


MESSAGE = (
    "MSH|^~\\&|LAB|HOSP|||20261118||ORU^R01|1|P|2.5\rPID|||Jemima-77^^^H||Hollowmere^Gideon\r"
    "OBR|1||S1||||202611180800\rOBX|1|NM|751-8^Neutrophils^LN||0.3|10*3/uL|||||F\r"
)
BUNDLE = '{"resourceType": "Bundle", "type": "collection", "entry": [{"resource": {"resourceType": "Patient", "id": "Jemima-77"}}]}'


@pytest.mark.parametrize(("name", "text"), [("lab.hl7", MESSAGE), ("export.txt", MESSAGE), ("lab.json", BUNDLE)])
def test_a_file_of_a_standard_needs_no_columns_of_a_profile_and_init_says_so(
    name: str, text: str, tmp_path: Path
) -> None:
    """Alone, and beside a table of the same source; the profile reads both."""
    path, table = tmp_path / name, tmp_path / "medications.csv"
    path.write_text(text, "utf-8")
    table.write_text("MRN,Drug,Start\nJemima-77,Clozapine,2026-09-01\n", "utf-8")
    alone, both = propose_profile(path), propose_profile(path, table)
    for profile in (alone, both):
        assert f"# {name} needs no columns here: it is read as " in profile
        assert "Jemima" not in profile and "Gideon" not in profile
    assert "[lab" not in alone and "[medication.columns]" in both
    (tmp_path / "profile.toml").write_text(both, "utf-8")
    extract = read(str(path), medications=str(table), profile=str(tmp_path / "profile.toml"))
    assert screen(extract, as_of=AS_OF).anc.height == (text == MESSAGE)


def test_a_patient_told_by_values_alone_is_to_be_looked_at(tmp_path: Path) -> None:
    export = tmp_path / "columns.csv"
    export.write_text("Q7,Sampled,Test,Result,Unit\n77,2026-11-18,WBC,1.1,K/uL\n78,2026-11-18,ANC,0.1,K/uL\n", "utf-8")
    told = [line for line in propose_profile(export).splitlines() if line.startswith("# LOOK")]
    assert told == ['# LOOK: the header "Q7" does not say that it is the patient; its values look so. Is it?']


def test_init_says_on_the_terminal_what_it_could_not_find(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    export = tmp_path / "columns.csv"
    export.write_text("MRN,Sampled,Test,Result\n77,2026-11-18,WBC,1.1\n78,2026-11-18,ANC,0.1\n", "utf-8")
    monkeypatch.setattr("sys.argv", ["neutro-screen", "init", str(tmp_path / "settings"), "--from", str(export)])
    with pytest.raises(SystemExit):
        cli.main()
    assert "MISSING: no column was found for unit" in capsys.readouterr().out
