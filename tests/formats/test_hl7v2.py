"""HL7 v2 messages as laboratories really send them (FORMATS.md A.4)."""

import gzip
from pathlib import Path

import polars as pl
import pytest

from neutro_screen.errors import RefusedInputError, UnreadableInputError
from neutro_screen.ingest import Extract, ingest
from neutro_screen.ingest.formats.hl7v2 import recognises
from neutro_screen.ingest.formats.hl7v2.fields import hl7_time
from neutro_screen.ingest.profile import Profile

HEADER = r"MSH|^~\&|LIS|North|||20260110120000+0100||ORU^R01|1|P|2.5.1"
PATIENT = "PID|1||0042^^^H^MR||X^Y||19700102|F"
ORDER = "OBR|1|P-1|F-1|58410-2^CBC^LN|||20260110081500|||||||||||||||20260110100000|||F"
NEUTROPHILS = "OBX|1|NM|751-8^Neutrophils^LN||0.4|10*3/uL|1.5-8.0|LL|||F|||20260110080000"


def read(tmp_path: Path, content: str | bytes, profile: Profile | None = None) -> Extract:
    path = tmp_path / "messages.hl7"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return ingest({"lab": [str(path)]}, profile)


def message(*segments: str, header: str = HEADER, patient: str = PATIENT, end: str = "\r") -> str:
    return end.join((header, patient, *segments)) + end


def one(extract: Extract) -> dict[str, object]:
    assert extract.labs.height == 1
    return extract.labs.row(0, named=True)


def test_a_result_with_everything(tmp_path: Path) -> None:
    row = one(
        read(
            tmp_path,
            message(ORDER, f"{NEUTROPHILS}|||||20260110093000", "NTE|1||clumps seen", "SPM|1|P9^F9||BLD^Blood"),
        )
    )
    assert (row["patient_id"], row["specimen_id"], row["lab"]) == ("0042", "F9", "North")
    # The header's +0100 holds for the times without an offset.
    assert (str(row["collected_at"]), str(row["resulted_at"])) == ("2026-01-10 07:00:00", "2026-01-10 08:30:00")
    assert (row["loinc"], row["analyte_name"], row["value_text"], row["unit_text"]) == (
        "751-8",
        "Neutrophils",
        "0.4",
        "10*3/uL",
    )
    assert (row["reference_low_text"], row["reference_high_text"]) == ("1.5", "8.0")
    assert (row["status_text"], row["comment"], row["specimen_type"]) == ("F", "clumps seen", "Blood")
    assert row["source_row"] == 4


def test_the_ward_is_the_patients_and_the_requester_the_orders(tmp_path: Path) -> None:
    visit = "PV1|1|I|7B^12^2^North||||999^Attending^Ann"
    by_order = ORDER.replace(
        f"{'|' * 15}20260110100000", f"{'|' * 9}4711^Birch^Bea^^^Dr~2^Other{'|' * 6}20260110100000"
    )
    common = "ORC|RE|P-1|F-1|||||||||815^Ash"
    segments = (visit, common, ORDER, NEUTROPHILS, by_order, NEUTROPHILS, f"OBR|3|P-3|F-3{'|' * 13}4712", NEUTROPHILS)
    rows = read(tmp_path, message(*segments)).labs.select("ward", "requester").rows()
    assert rows == [("7B", "Ash"), ("7B", "Birch, Bea"), ("7B", "4712")]
    assert read(tmp_path, message(ORDER, NEUTROPHILS)).labs.select("ward", "requester").rows() == [(None, None)]


@pytest.mark.parametrize("end", ["\r", "\n", "\r\n"])
def test_every_line_end(tmp_path: Path, end: str) -> None:
    assert one(read(tmp_path, message(ORDER, NEUTROPHILS, end=end)))["value_text"] == "0.4"


def test_mllp_bytes_and_a_mark_are_stripped(tmp_path: Path) -> None:
    framed = "".join(f"\x0b{message(ORDER, NEUTROPHILS)}\x1c\r" for _ in range(2))
    assert read(tmp_path, "\ufeff" + framed).labs["value_text"].to_list() == ["0.4", "0.4"]


def test_a_line_feed_inside_a_field_does_not_end_the_segment(tmp_path: Path) -> None:
    text = message(ORDER, "OBX|1|TX|751-8^ANC^LN||TNP\nclotted, see note|10*3/uL||||F", NEUTROPHILS)
    assert read(tmp_path, text).labs["value_text"].to_list() == ["TNP\nclotted, see note", "0.4"]


def test_many_blank_lines_take_no_time(tmp_path: Path) -> None:
    assert one(read(tmp_path, message(ORDER, NEUTROPHILS) + "\n" * 300_000))["value_text"] == "0.4"


@pytest.mark.parametrize(
    ("kind", "sent", "value"),
    [
        ("NM", "0.4", "0.4"),
        ("NM", "<0.1", "<0.1"),
        ("SN", "<^0.1", "<0.1"),
        ("SN", "^0.4", "0.4"),
        ("SN", "^2^-^5", "2-5"),
        ("SN", ">=^20", ">=20"),
        ("ST", "TNP\\.br\\clotted", "TNP\nclotted"),
        ("TX", "first~second", "first\nsecond"),
        ("ST", "3.2 \\T\\ 3.4", "3.2 & 3.4"),
        ("ST", "a\\E\\T\\E\\", "a\\T\\"),
        ("CE", "260415000^not detected^SCT", "not detected"),
        ("CWE", "^^^^^^^^in words", "in words"),
        ("NM", '""', None),
        ("ED", "^application^pdf^Base64^JVBERi0x", None),
    ],
)
def test_values_by_their_type(tmp_path: Path, kind: str, sent: str, value: str | None) -> None:
    assert one(read(tmp_path, message(ORDER, f"OBX|1|{kind}|751-8^ANC^LN||{sent}|10*3/uL||||F")))["value_text"] == value


@pytest.mark.parametrize(
    ("flag", "sent", "value"),
    [("<", "0.1", "<0.1"), (">", "99", ">99"), ("<", "<0.1", "<0.1"), ("LL", "0.1", "0.1"), ("<", "TNP", "TNP")],
)
def test_off_scale_flag_is_a_comparator(tmp_path: Path, flag: str, sent: str, value: str) -> None:
    assert (
        one(read(tmp_path, message(ORDER, f"OBX|1|NM|751-8^ANC^LN||{sent}|10*3/uL||{flag}|||F")))["value_text"] == value
    )


@pytest.mark.parametrize(
    ("sent", "unit"),
    [
        ("10\\S\\3/uL", "10^3/uL"),
        ("10^3/uL", "10^3/uL"),
        ("x10^9/L", "x10^9/L"),
        ("10*3/uL^thousand per microliter^UCUM", "10*3/uL"),
        ("^K/uL", "K/uL"),
        ("%^percent", "%"),
    ],
)
def test_units(tmp_path: Path, sent: str, unit: str) -> None:
    assert one(read(tmp_path, message(ORDER, f"OBX|1|NM|751-8^ANC^LN||4|{sent}||||F")))["unit_text"] == unit


@pytest.mark.parametrize(
    ("sent", "low", "high"),
    [
        ("1.5-8.0", "1.5", "8.0"),
        ("4300 to 10800", "4300", "10800"),
        ("<5", None, "5"),
        (">=1.0", "1.0", None),
        ("see text", None, None),
    ],
)
def test_reference_ranges(tmp_path: Path, sent: str, low: str | None, high: str | None) -> None:
    row = one(read(tmp_path, message(ORDER, f"OBX|1|NM|751-8^ANC^LN||4|K/uL|{sent}|||F")))
    assert (row["reference_low_text"], row["reference_high_text"]) == (low, high)


def test_loinc_in_the_alternate_triplet_and_local_codes(tmp_path: Path) -> None:
    codes = ["NEUT#^Neutro abs^L^751-8^Neutrophils^LN", "751-8^Neutrophils", "NEUT#^Neutro abs^L"]
    rows = read(tmp_path, message(ORDER, *(f"OBX|{n}|NM|{code}||1|K/uL||||F" for n, code in enumerate(codes)))).labs
    assert rows["loinc"].to_list() == ["751-8", "751-8", None]
    assert rows["local_code"].to_list() == [None, None, "NEUT#"]
    mapped = Profile(analytes={"NEUT#": "neut_abs"})
    assert read(tmp_path, message(ORDER, f"OBX|1|NM|{codes[0]}||1|K/uL||||F"), mapped).labs["local_code"].to_list() == [
        "NEUT#"
    ]


def test_times_fall_back(tmp_path: Path) -> None:
    bare = NEUTROPHILS.rsplit("|", maxsplit=1)[0]
    with_specimen = message(ORDER, bare, "SPM|1|^S||BLD|||||||||||||20260110070000")
    assert str(one(read(tmp_path, with_specimen))["collected_at"]) == "2026-01-10 06:00:00"
    row = one(read(tmp_path, message(ORDER, bare)))
    assert (str(row["collected_at"]), str(row["resulted_at"])) == ("2026-01-10 07:15:00", "2026-01-10 09:00:00")
    row = one(read(tmp_path, message("OBR|1||F-1|CBC", bare)))
    assert row["collected_at"] is None
    assert str(row["resulted_at"]) == "2026-01-10 11:00:00"  # MSH-7, 12:00 at +01:00


@pytest.mark.parametrize(
    ("sent", "iso"),
    [
        ("20260110", "2026-01-10"),
        ("202601", "2026-01"),
        ("2026", "2026"),
        ("2026011008", "2026-01-10T08:00:00"),
        ("202601100815", "2026-01-10T08:15:00"),
        ("20260110081530", "2026-01-10T08:15:30"),
        ("20260110081530.1234-0500", "2026-01-10T08:15:30.1234-05:00"),
        ("20260110+0100", "2026-01-10"),
        ("10 Jan", "10 Jan"),
    ],
)
def test_hl7_times(sent: str, iso: str) -> None:
    assert pl.select(hl7_time(pl.lit(sent))).item() == iso


def test_orders_drawn_together_are_one_specimen(tmp_path: Path) -> None:
    def order(number: str, drawn: str) -> str:
        return f"OBR|1||{number}|x|||{drawn}"

    wbc, percent = "OBX|1|NM|6690-2^WBC^LN||2|K/uL||||F", "OBX|1|NM|770-8^Neut^LN||10|%||||F"
    together = message(order("A", "20260110080000"), wbc, order("B", "20260110080000"), percent)
    assert read(tmp_path, together).labs["specimen_id"].to_list() == ["A", "A"]
    apart = message(order("A", "20260110080000"), wbc, order("B", "20260111080000"), percent)
    assert read(tmp_path, apart).labs["specimen_id"].to_list() == ["A", "B"]
    undated = message(order("A", ""), wbc, order("B", ""), percent)
    assert read(tmp_path, undated).labs["specimen_id"].to_list() == ["A", "B"]


def test_a_patient_or_order_does_not_leak_into_the_next_message(tmp_path: Path) -> None:
    second = "\r".join([HEADER, NEUTROPHILS]) + "\r"
    rows = read(tmp_path, message(ORDER, NEUTROPHILS) + second).labs
    assert rows["patient_id"].to_list() == ["0042", None]
    assert rows["specimen_id"].to_list() == ["F-1", None]


def test_several_patients_in_one_message(tmp_path: Path) -> None:
    text = message(ORDER, NEUTROPHILS, "PID|2||0043^^^H^MR", "OBR|2||F-2|CBC", NEUTROPHILS)
    assert read(tmp_path, text).labs.select("patient_id", "specimen_id").rows() == [("0042", "F-1"), ("0043", "F-2")]


@pytest.mark.parametrize(
    ("listed", "authority", "chosen"),
    [
        ("9^^^NHS^NH~0042^^^H^MR~7^^^H^PI", None, "0042"),
        ("9^^^NHS^NH~7^^^H^PI", None, "7"),
        ("9^^^NHS^NH~8", None, "9"),
        ("9^^^NHS^NH~0042^^^H^MR", "NHS", "9"),
        ("0042^^^H&1.2.3&ISO^MR", "H", "0042"),
        ("0042^^^H^MR", "NHS", None),
        ("", None, None),
    ],
)
def test_the_identifier_that_counts(tmp_path: Path, listed: str, authority: str | None, chosen: str | None) -> None:
    text = message(ORDER, NEUTROPHILS, patient=f"PID|1||{listed}")
    assert one(read(tmp_path, text, Profile(patient_authority=authority)))["patient_id"] == chosen


def test_status_falls_back_on_the_order(tmp_path: Path) -> None:
    blank = NEUTROPHILS.replace("|||F|||", "||||||")
    assert one(read(tmp_path, message(ORDER, blank)))["status_text"] == "F"
    # OBR-25 "A" (some results available) is no correction (OBX-11 "A").
    assert one(read(tmp_path, message(ORDER[:-1] + "A", blank)))["status_text"] is None


def test_control_material_is_skipped_and_counted(tmp_path: Path) -> None:
    control = message(ORDER, NEUTROPHILS, NEUTROPHILS, "SPM|1|^QC1||BLD|||||||Q")
    extract = read(tmp_path, control + message(ORDER, NEUTROPHILS, "SPM|1|^S1||BLD|||||||P"))
    assert extract.labs["specimen_id"].to_list() == ["S1"]
    assert "qc_rows_skipped:2" in extract.files[0].notes


def test_results_come_from_result_messages_only(tmp_path: Path) -> None:
    order = message(ORDER, NEUTROPHILS, header=HEADER.replace("ORU^R01", "OML^O21"))
    extract = read(tmp_path, order + message(ORDER, NEUTROPHILS))
    assert extract.labs.height == 1
    assert extract.files[0].notes == ("other_messages:1",)


def batch(*messages: str, announced: int, batches: str = "1") -> str:
    return f"FHS|^~\\&\rBHS|^~\\&\r{''.join(messages)}BTS|{announced}\rFTS|{batches}\r"


def test_batch_counts_are_checked(tmp_path: Path) -> None:
    text = message(ORDER, NEUTROPHILS)
    assert read(tmp_path, batch(text, text, announced=2)).labs.height == 2
    with pytest.raises(RefusedInputError, match="BTS-1 announces 3 messages, 2 are there"):
        read(tmp_path, batch(text, text, announced=3))
    with pytest.raises(RefusedInputError, match="FTS-1 announces 2 batches, 1 are there"):
        read(tmp_path, batch(text, announced=1, batches="2"))
    with pytest.raises(RefusedInputError, match="header and no trailer"):
        read(tmp_path, batch(text, announced=1).split("BTS")[0])
    assert read(tmp_path, f"BHS|^~\\&\r{text}BTS\r").labs.height == 1


def test_other_separators(tmp_path: Path) -> None:
    text = message(ORDER, "OBX|1|SN|751-8^ANC^LN||<^0.1|10*3/uL||||F").replace("|", "#").replace("^", "$")
    text = text.replace("MSH#$~\\&", "MSH#$~\\&")
    assert one(read(tmp_path, text))["value_text"] == "<0.1"


def test_a_header_that_is_cut_short(tmp_path: Path) -> None:
    extract = read(tmp_path, f"MSH|^~\r{PATIENT}\r{ORDER}\r{NEUTROPHILS}\r")
    assert one(extract)["patient_id"] == "0042"


def test_too_many_kinds_of_separators(tmp_path: Path) -> None:
    with pytest.raises(UnreadableInputError, match="differ in their separators"):
        read(tmp_path, "".join(f"MSH|^~\\{chr(65 + number)}\r{NEUTROPHILS}\r" for number in range(20)))


@pytest.mark.parametrize(
    ("declared", "encoding"),
    [("8859/1", "latin-1"), ("UNICODE UTF-8", "utf-8"), ("8859/2", "iso8859-2"), ("GB 18030-2000", "gb18030")],
)
def test_declared_character_set(tmp_path: Path, declared: str, encoding: str) -> None:
    name = {"8859/2": "Łódź", "GB 18030-2000": "中性粒"}.get(declared, "Größe")
    text = message(ORDER, NEUTROPHILS.replace("Neutrophils", name), header=f"{HEADER}||||||{declared}")
    extract = read(tmp_path, text.encode(encoding))
    assert one(extract)["analyte_name"] == name
    assert extract.files[0].notes == ()


def test_undeclared_character_set_is_guessed_and_counted(tmp_path: Path) -> None:
    extract = read(tmp_path, message(ORDER, NEUTROPHILS.replace("10*3/uL", "Tsd/µl")).encode("cp1252"))
    assert one(extract)["unit_text"] == "Tsd/µl"
    assert extract.files[0].notes == ("messages_decoded_as_cp1252:1",)


def test_utf_16(tmp_path: Path) -> None:
    assert one(read(tmp_path, message(ORDER, NEUTROPHILS).encode("utf-16")))["value_text"] == "0.4"


def test_gzip(tmp_path: Path) -> None:
    path = tmp_path / "messages.hl7.gz"
    path.write_bytes(gzip.compress(message(ORDER, NEUTROPHILS).encode()))
    assert recognises(path)
    assert ingest({"lab": [str(path)]}).labs.height == 1


def test_what_stands_outside_a_message_is_refused(tmp_path: Path) -> None:
    extract = read(tmp_path, f"FHS|^~\\&\r{NEUTROPHILS}\r{message(ORDER, NEUTROPHILS)}FTS|0\r")
    assert [(line.source_row, line.reason) for line in extract.refused["lab"]] == [(2, "outside_message")]
    assert extract.labs.height == 1


def test_no_message(tmp_path: Path) -> None:
    with pytest.raises(UnreadableInputError, match="holds no HL7 message"):
        read(tmp_path, "FHS|^~\\&\rFTS|0\r")


def test_pharmacy_messages(tmp_path: Path) -> None:
    header = HEADER.replace("ORU^R01", "RDE^O11")
    order = message(
        "ORC|NW|||||||||||||||20260101",
        "TQ1|1||||||20260102|20260109",
        "RXE|1|N05AH02^clozapine^ATC^2626^clozapine^RXNORM|25||mg^milligram",
        "RXR|PO^oral",
        header=header,
    )
    stopped = message("ORC|DC||||||||20260105", "RXE|1^^^20260103|^metamizole", header=header)
    given = message(
        "ORC|RE",
        "RXA|0|1|20260107080000|20260107090000|^cefazolin|2|g^gram|||||||||||||RE",
        header=HEADER.replace("ORU^R01", "RAS^O17"),
    )
    dispensed = message(
        "ORC|RE", "RXD|1|4179^etoposide^RXNORM|20260108|5|TAB", header=HEADER.replace("ORU^R01", "RDS^O13")
    )
    rows = read(tmp_path, order + stopped + given + dispensed).medications
    assert rows["drug_name"].to_list() == ["clozapine", "metamizole", "cefazolin", "etoposide"]
    assert rows["atc_code"].to_list() == ["N05AH02", None, None, None]
    assert rows["rxcui"].to_list() == ["2626", None, None, "4179"]
    assert [str(day) for day in rows["start_date"]] == ["2026-01-02", "2026-01-03", "2026-01-07", "2026-01-08"]
    assert [str(day) for day in rows["end_date"]] == ["2026-01-09", "2026-01-05", "2026-01-07", "None"]
    assert rows["status"].to_list() == [None, "discontinued", "refused", None]
    assert rows["dose"].to_list() == ["25", None, "2", "5"]


def test_a_death_is_read_from_the_patient_segment(tmp_path: Path) -> None:
    died = message(ORDER, NEUTROPHILS, patient=f"{PATIENT}{'|' * 21}20260204|Y")
    assert str(read(tmp_path, died).patients["death_date"][0]) == "2026-02-04"


def test_people_are_one_row_with_the_latest_word(tmp_path: Path) -> None:
    known = message(ORDER, NEUTROPHILS)
    bare = message(ORDER, NEUTROPHILS, patient="PID|1||0042^^^H^MR")
    people = read(tmp_path, known + bare).patients
    assert people.select("patient_id", "sex").rows() == [("0042", "F")]
    assert str(people["birth_date"][0]) == "1970-01-02"


@pytest.mark.parametrize("event", ["A18", "A34", "A36", "A40"])
def test_a_merge_names_the_surviving_record(tmp_path: Path, event: str) -> None:
    merge = message(
        "MRG|X9^^^H^AN~0007^^^H^MR",
        "PV1|1",
        "PID|1||0043^^^H^MR",
        "MRG|0008^^^H^MR",
        header=rf"MSH|^~\&|ADT|H|||20260111||ADT^{event}|1|P|2.5.1",
    )
    patients = read(tmp_path, message(ORDER, NEUTROPHILS) + merge).patients
    merged = patients.filter(pl.col("replaced_by").is_not_null())
    assert merged.select("patient_id", "replaced_by").rows() == [("0007", "0042"), ("0008", "0043")]


def test_a_merge_of_accounts_is_none_of_patients(tmp_path: Path) -> None:
    header = r"MSH|^~\&|ADT|H|||20260111||ADT^A41|1|P|2.5.1"
    patients = read(tmp_path, message("MRG|0007^^^H^MR||12", header=header)).patients
    assert patients.select("patient_id", "replaced_by").rows() == [("0042", None)]


def test_a_record_merged_into_itself_says_nothing(tmp_path: Path) -> None:
    header = r"MSH|^~\&|ADT|H|||20260111||ADT^A40|1|P|2.5.1"
    assert read(tmp_path, message("MRG|0042^^^H^MR", header=header)).patients["replaced_by"].to_list() == [None]


def test_a_prior_record_of_another_authority_is_not_merged(tmp_path: Path) -> None:
    header = r"MSH|^~\&|ADT|H|||20260111||ADT^A40|1|P|2.5.1"
    text = message("MRG|0007^^^OTHER^MR", header=header)
    assert read(tmp_path, text, Profile(patient_authority="H")).patients["replaced_by"].to_list() == [None]


@pytest.mark.parametrize(
    ("message_time", "order_time", "utc"),
    [
        ("20261120153200+0300", "20261120150000", "2026-11-20 12:00:00"),
        ("20261120153200", "20261120150000+0300", "2026-11-20 12:00:00"),
        ("20261120153200-0600", "20261120150000-0600", "2026-11-20 21:00:00"),
        ("20261120153200+0300", "20261120150000-0600", "2026-11-20 21:00:00"),
        ("20261120153200+0300", "20261120", "2026-11-20 00:00:00"),
        ("20261101013000-0500", "20261101013000", "2026-11-01 06:30:00"),
        ("20261101013000.25-0500", "202611010130", "2026-11-01 06:30:00"),
    ],
)
def test_the_offset_of_the_message_holds_for_its_times(
    tmp_path: Path, message_time: str, order_time: str, utc: str
) -> None:
    header = rf"MSH|^~\&|LIS|North|||{message_time}||ORU^R01|1|P|2.5.1"
    order = f"OBR|1||F-1|CBC|||{order_time}|||||||||||||||{order_time}|||F"
    bare = "OBX|1|NM|751-8^Neutrophils^LN||0.4|10*3/uL||||F"
    row = one(read(tmp_path, message(order, f"{bare}|||{order_time}", header=header), Profile(time_zone="Asia/Tokyo")))
    assert (str(row["collected_at"]), str(row["resulted_at"])) == (utc, utc)
    from_order = message(order, f"{bare}|||||{order_time}", header=header)
    assert str(one(read(tmp_path, from_order, Profile(time_zone="UTC")))["collected_at"]) == utc


def test_one_message_with_an_offset_gives_none_to_the_others(tmp_path: Path) -> None:
    plain = message(ORDER, NEUTROPHILS, header=HEADER.replace("+0100", ""))
    collected = read(tmp_path, message(ORDER, NEUTROPHILS) + plain).labs["collected_at"]
    assert [str(time) for time in collected] == ["2026-01-10 07:00:00", "2026-01-10 08:00:00"]


def identified(accession: str, day: str) -> str:
    return message(
        f"OBR|1|1|{accession}|CBC|||202611{day}080000",
        "OBX|1|NM|751-8^ANC^LN||1900|cells/uL||||F",
        header=r"MSH|^~\&|LAB|REF|||20261120||ORU^R01|1|P|2.3.1",
        patient=f"PID|1|124830|{accession}|1248309|TEST^T||19800101|M",
    )


@pytest.mark.parametrize(
    ("place", "patients", "specimens"),
    [
        (None, ["A1", "A2", "A3"], ["A1", "A2", "A3"]),
        ("PID-2", ["124830"] * 3, ["A1", "A2", "A3"]),
        ("PID-3", ["A1", "A2", "A3"], ["A1", "A2", "A3"]),
        ("PID-4", ["1248309"] * 3, ["A1", "A2", "A3"]),
        ("OBR-3", ["A1", "A2", "A3"], ["1", "1", "1"]),
    ],
)
def test_the_field_that_identifies_the_patient(
    tmp_path: Path, place: str | None, patients: list[str], specimens: list[str]
) -> None:
    text = identified("A1", "10") + identified("A2", "15") + identified("A3", "20")
    extract = read(tmp_path, text, Profile.model_validate({"patient_identifier": place}))
    assert extract.labs["patient_id"].to_list() == patients
    assert extract.labs["specimen_id"].to_list() == specimens
    assert extract.patients["patient_id"].to_list() == list(dict.fromkeys(patients))


def test_the_shared_case_of_two_identifiers_is_one_patient() -> None:
    path = Path(__file__).parents[3] / "shared" / "cases" / "reports" / "patient_id_places.hl7"
    labs = ingest({"lab": [str(path)]}, Profile(patient_identifier="PID-2")).labs
    assert labs.select("patient_id", "value_text").rows() == [
        ("124830", "4100"),
        ("124830", "1900"),
        ("124830", "1550"),
    ]
