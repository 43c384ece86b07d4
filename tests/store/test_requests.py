"""Ward and requester: shown to whoever decides, judged by no rule, and in no log."""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import pytest

import neutro_screen
from neutro_screen.pipeline.options import moment
from neutro_screen.store.file import reading
from neutro_screen.store.rows import read_table
from tests.nights import assert_same, command, table

NIGHT = moment("2026-11-20T02:00")
HEADER = "patient_id,specimen_id,collected_at,analyte_name,value,unit,ward,requester"
#: patient, days before the night, count in 10*9/L, ward, requester
Count = tuple[str, float, str, str, str]


def screen(folder: Path, counts: Sequence[Count], night: int = 0, **more: object) -> Path:
    """One night over neutrophil counts; its store."""
    as_of = NIGHT + timedelta(days=night)
    rows = [
        f"{who},{who}-{n}-{night},{as_of - timedelta(days=ago):%Y-%m-%dT%H:%M},Neutrophils,{value},10*9/L,{ward},{asker}"
        for n, (who, ago, value, ward, asker) in enumerate(counts)
    ]
    (folder / f"labs-{night}.csv").write_text("\n".join([HEADER, *rows]) + "\n", "utf-8")
    store = folder / "s.duckdb"
    neutro_screen.run(folder / f"labs-{night}.csv", store, as_of=as_of, reports=folder / "reports", **more)  # type: ignore[arg-type]
    return store


def asked(store: Path, view: str = "worklist") -> dict[str, tuple[object, object]]:
    """Patient -> ward and requester of a view."""
    with reading(store) as connection:
        rows = read_table(connection, f"SELECT patient_id, ward, requester FROM {view}").rows()
    return {patient: (ward, requester) for patient, ward, requester in rows}


def test_the_ward_is_that_of_the_newest_count(tmp_path: Path) -> None:
    store = screen(
        tmp_path,
        [
            ("MOVED", 3, "0.9", "7B", "Alder"),
            ("MOVED", 1, "0.4", "ICU", ""),
            ("OLD", 3, "0.9", "7B", "Alder"),
            ("OLD", 1, "0.4", "", ""),
            ("NONE", 1, "0.4", "", ""),
        ],
    )
    # A requester or a ward of before the newest count is not that of the newest count: unknown.
    assert asked(store) == {"MOVED": ("ICU", None), "OLD": (None, None), "NONE": (None, None)}
    assert asked(store, "patient_request") == {"MOVED": ("ICU", "Alder"), "OLD": ("7B", "Alder")}


def test_who_cannot_be_assessed_is_looked_for_on_the_ward_of_the_unusable_specimen(tmp_path: Path) -> None:
    store = screen(tmp_path, [("CLOT", 5, "4.0", "7B", "Alder"), ("CLOT", 1, "clotted", "ICU", "Birch")])
    assert asked(store, "cannot_assess") == {"CLOT": ("ICU", "Birch")}
    page = (tmp_path / "reports" / "report.html").read_text("utf-8")
    assert "<bdi>ICU</bdi>" in page and "<bdi>Birch</bdi>" in page


def test_the_same_rows_again_and_a_later_night(tmp_path: Path) -> None:
    first = [("A", 1.0, "0.4", "7B", "Alder")]
    store = screen(tmp_path, first)
    before = table(store, "request")
    screen(tmp_path, [], night=1)
    neutro_screen.run(tmp_path / "labs-0.csv", store, as_of=NIGHT + timedelta(days=1))
    assert table(store, "request") == before
    screen(tmp_path, [("A", 1, "0.3", "ICU", "Birch")], night=2)
    assert asked(store) == {"A": ("ICU", "Birch")}


def test_a_merged_record_has_the_ward_of_whichever_was_seen_last(tmp_path: Path) -> None:
    (tmp_path / "people.csv").write_text("patient_id,replaced_by\nOLD,NEW\n", "utf-8")
    counts = [("OLD", 1, "0.4", "ICU", "Birch"), ("NEW", 3, "0.9", "7B", "Alder")]
    assert asked(screen(tmp_path, counts, patients=tmp_path / "people.csv")) == {"NEW": ("ICU", "Birch")}


def test_no_rule_looks_at_them_and_an_extract_without_them_has_none(tmp_path: Path) -> None:
    for folder, ward, asker in ((tmp_path / "with", "7B", "Alder"), (tmp_path / "without", "", "")):
        folder.mkdir()
        screen(folder, [("A", 3, "4.0", ward, asker), ("A", 1, "0.4", ward, asker)])
    stores = [tmp_path / name / "s.duckdb" for name in ("with", "without")]
    assert_same(stores[0], stores[1], ("anc", "episode", "flag", "worklist_row", "patient_summary"))
    assert [len(table(store, "request")) for store in stores] == [2, 0]
    page = (tmp_path / "without" / "reports" / "report.html").read_text("utf-8")
    assert 'id="ward"' not in page and "requested by" not in page


def test_a_page_says_so_where_it_knows_the_ward_of_some(tmp_path: Path) -> None:
    screen(tmp_path, [("A", 1, "0.4", "<b>7&B", "O'Neill"), ("B", 1, "0.4", "", "")])
    page = (tmp_path / "reports" / "report.html").read_text("utf-8")
    assert 'data-ward="&lt;b&gt;7&amp;B"' in page and "<b>7&" not in page
    assert "ward unknown" in page and "Ward unknown · requested by unknown" in page
    assert "requested by <bdi>O&#39;Neill</bdi>" in page


def test_the_list_of_patients_for_spreadsheets_names_them_and_runs_no_formula(tmp_path: Path) -> None:
    screen(tmp_path, [("A", 1, "0.4", "=cmd()", "@sum")])
    header, row = (tmp_path / "reports" / "flagged.csv").read_text("utf-8").splitlines()
    assert header.endswith(",ward,requester") and row.endswith(",'=cmd(),'@sum")


def test_the_terminal_names_the_ward_and_never_the_requester(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    store = screen(tmp_path, [("A", 1, "0.4", "7B", "Alderson")])
    said = capfd.readouterr()
    listed = command("worklist", "--store", store).stdout
    assert "ward 7B" in listed and "Alderson" not in listed + said.out + said.err


def test_under_pseudonyms_neither_ward_nor_requester_is_kept_in_clear(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_bytes(bytes(range(32)))
    key.chmod(0o600)
    store = screen(
        tmp_path, [("A", 1, "0.4", "7B-Alderson", "Alderson"), ("B", 1, "0.4", "7B-Alderson", "")], pseudonymise=key
    )
    wards = {ward for ward, _ in asked(store).values()}
    assert len(wards) == 1 and "Alderson" not in str(table(store, "request"))
    for file in (tmp_path / "reports").iterdir():
        assert b"Alderson" not in file.read_bytes()
