"""Refused rows that come again every night are stored once, whether they name a patient or not."""

from pathlib import Path

from tests.nights import NIGHT, SAMPLE, night, table

NEXT = "2026-11-23T02:00:00"
#: Without patient, without any field, with a year that cannot be, no row at all; of every kind of file.
LABS = """\
,S-901,2026-11-21T06:00:00,2026-11-21T07:00:00,751-8,Neutrophils,1.2,10*9/L
,,,,,,,
P-901,S-902,0001-01-01T06:00:00,,751-8,Neutrophils,1.2,10*9/L
,S-903,0001-01-01T06:00:00,,751-8,Neutrophils,haemolysed,10*9/L
not a row at all
P-902,S-904,2026-11-21T06:00:00,,751-8,Neutrophils,many,10*9/L
"""


def extract(folder: Path) -> tuple[Path, dict[str, tuple[str, ...]]]:
    """The sample hospital with refused rows in its laboratory, drug and event files."""
    header = (SAMPLE / "labs.csv").read_text("utf-8").splitlines()[0]
    names = ["patient_id", "specimen_id", "collected_at", "resulted_at", "loinc", "analyte_name", "value", "unit"]
    rows = [dict(zip(names, line.split(","), strict=False)) for line in LABS.splitlines()]
    text = [",".join(row.get(name, "") for name in header.split(",")) if len(row) > 1 else "not a row" for row in rows]
    labs = folder / "labs.csv"
    labs.write_text((SAMPLE / "labs.csv").read_text("utf-8") + "\n".join(text) + "\n", "utf-8")
    chart = {}
    for kind in ("medications", "events"):
        path = folder / f"{kind}.csv"
        columns = (SAMPLE / f"{kind}.csv").read_text("utf-8").splitlines()[0].split(",")
        path.write_text((SAMPLE / f"{kind}.csv").read_text("utf-8") + "," * (len(columns) - 1) + "\n", "utf-8")
        chart[kind] = (str(path),)
    return labs, chart


def test_the_second_and_third_night_store_no_refused_row_again(tmp_path: Path) -> None:
    labs, chart = extract(tmp_path)
    store = tmp_path / "s.duckdb"
    first = night(store, labs=labs, as_of=NIGHT, **chart)
    refused = {name: len(table(store, name)) for name in ("rejected_row", "no_result")}
    nameless = [row for row in table(store, "rejected_row", "run_id") if None in row[:1] or "P-901" not in str(row)]
    assert len(nameless) > 5
    for as_of in (NEXT, "2026-11-24T02:00:00"):
        again = night(store, labs=labs, as_of=as_of, **chart)
        assert {name: len(table(store, name)) for name in ("rejected_row", "no_result")} == refused
        assert again.account.rejected == first.account.rejected, "each night says what it refused"
    labs.write_text(labs.read_text("utf-8") + "another line that is no row\n", "utf-8")
    night(store, labs=labs, as_of="2026-11-25T02:00:00", **chart)
    assert len(table(store, "rejected_row")) == refused["rejected_row"] + 1
