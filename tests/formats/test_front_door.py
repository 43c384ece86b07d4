"""Three hospital exports of the same ten people go from `init` to the right worklist without a hand edit."""

from pathlib import Path

import polars as pl
import pytest

from neutro_screen.cli import app as cli
from neutro_screen.store.file import reading
from neutro_screen.store.rows import read_table

CASES = Path(__file__).parents[3] / "shared" / "cases" / "front_door"
pytestmark = pytest.mark.skipif(not CASES.exists(), reason="the cases are not beside the project")

#: Latest count, comparator and severity of persons 1 to 10 (cases/README.md); the fifth is clotted.
EXPECTED = [
    (400.0, None, "severe"),
    (240.0, None, "severe"),
    (4650.0, None, "normal"),
    (100.0, "<", "profound"),
    (None, None, None),
    (900.0, None, "moderate"),
    (1200.0, None, "mild"),
    (10000.0, None, "normal"),
    (2500.0, None, "normal"),
    (300.0, None, "severe"),
]
NAMES = ("surname", "given", "nachname", "vorname")


@pytest.mark.parametrize(
    ("labs", "medications"),
    [("epic_like.csv", "medication_orders.csv"), ("cerner_like.psv", None), ("german_lis.csv", None)],
)
def test_from_init_to_the_right_worklist(
    labs: str,
    medications: str | None,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def command(*words: str) -> None:
        monkeypatch.setattr("sys.argv", ["neutro-screen", *words])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert ended.value.code == 0

    samples = [str(CASES / name) for name in (labs, medications) if name]
    command("init", str(tmp_path / "settings"), "--from", *samples)
    profile, store = tmp_path / "settings" / "profile.toml", tmp_path / "s.duckdb"
    asked = ["run", "--labs", str(CASES / labs), "--store", str(store), "--profile", str(profile)]
    asked += ["--medications", str(CASES / medications)] if medications else []
    command(*asked, "--as-of", "2026-11-21")
    printed = capsys.readouterr()
    told = profile.read_text("utf-8").lower() + printed.out.lower() + printed.err.lower()
    assert not any(name in told for name in NAMES)
    with reading(store) as connection:
        status = read_table(connection, "SELECT * FROM patient_status ORDER BY patient_id")
        cannot = read_table(connection, "SELECT * FROM cannot_assess")
        drugs = read_table(connection, "SELECT * FROM medication")
    found = status.select("last_anc_cells_per_ul", "last_anc_comparator", pl.col("current_severity").cast(pl.String))
    assert found.rows() == EXPECTED
    assert status["has_rapid_decline"][0]
    assert cannot["patient_id"].to_list() == [status["patient_id"][4]]
    assert drugs.height == (14 if medications else 0)
