"""The worklist of the store from night to night: silence, withdrawal, death, overdue clozapine counts (EPI-6, SEV-4, ANC-9b)."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

from neutro_screen.pipeline import worklist
from neutro_screen.pipeline.options import RunOptions
from neutro_screen.pipeline.replay import rebuild
from neutro_screen.pipeline.run import run
from neutro_screen.rules.worklist.order import worklist_rows
from neutro_screen.store.retention import remove
from neutro_screen.store.review import record_review

DAY_0 = datetime(2026, 2, 1, 8)
LABS = "patient_id,specimen_id,collected_at,resulted_at,loinc,analyte_name,value,unit,status"
PATIENTS = "patient_id,birth_date,death_date"
MEDICATIONS = "patient_id,drug_name,start_date,end_date"


class Hospital:
    """A store, and nights in which rows come in."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.store = folder, folder / "s.duckdb"

    def night(self, day: float, labs: tuple[str, ...] = (), **chart: tuple[str, ...]) -> None:
        """A run at the index time of a day; ``labs`` as patient, day, value, status."""
        rows = [
            f"{patient},{patient}-{taken},{DAY_0 + timedelta(days=float(taken)):%Y-%m-%dT%H:%M:%S},,751-8,ANC,{value},10*9/L,{status}"
            for patient, taken, value, status in (row.split() for row in (*labs, f"other {day} 4.0 F"))
        ]
        files = {"labs": self._file(f"labs{day}.csv", LABS, rows)}
        for kind, header in (("patients", PATIENTS), ("medications", MEDICATIONS)):
            if kind in chart:
                files[kind] = self._file(f"{kind}{day}.csv", header, chart[kind])
        as_of = DAY_0 + timedelta(days=day, hours=4)
        run(RunOptions(store=self.store, as_of=as_of, **{kind: (str(path),) for kind, path in files.items()}))  # type: ignore[arg-type]

    def _file(self, name: str, header: str, rows: list[str] | tuple[str, ...]) -> Path:
        path = self.folder / name
        path.write_text("\n".join([header, *rows]) + "\n", "utf-8")
        return path

    def rows(self, query: str) -> list[tuple[object, ...]]:
        """The rows of a query of the store."""
        with duckdb.connect(str(self.store), read_only=True) as connection:
            return connection.execute(query).fetchall()

    def latest(self, patient: str) -> tuple[object, ...] | None:
        """Group, change and priority of a patient in the latest run."""
        found = self.rows(
            "SELECT row_group, change, priority::VARCHAR FROM worklist_row WHERE run_id = "
            f"(SELECT max(run_id) FROM run) AND patient_id = '{patient}'"
        )
        return found[0] if found else None


@pytest.fixture
def hospital(tmp_path: Path) -> Hospital:
    """An empty store."""
    return Hospital(tmp_path)


def test_silent_nights_a_cancelled_count_and_a_death_end_as_the_rules_say(hospital: Hospital) -> None:
    patients = ("silent", "cancelled", "dead", "recovered")
    hospital.night(0, tuple(f"{name} 0 0.9 F" for name in patients))
    assert {hospital.latest(name) for name in patients} == {("open", "new", "medium")}
    hospital.night(5, ("cancelled 0 0.9 X", "recovered 5 3.0 F"), patients=("dead,1950-01-01,2026-02-04",))
    assert hospital.latest("silent") == ("open", "unchanged", "medium")
    assert hospital.latest("cancelled") == ("withdrawn", "withdrawn", "medium")
    assert hospital.latest("dead") == ("died", "died", "medium")
    assert hospital.latest("recovered") == ("recovered", "resolved", "low")
    hospital.night(200)
    assert hospital.latest("silent") == ("lost_to_follow_up", "lost", "medium")
    assert [hospital.latest(name) for name in ("cancelled", "dead", "recovered")] == [None, None, None]
    assert hospital.rows("SELECT patient_id, row_group, is_urgent, priority_rank FROM worklist") == [
        ("silent", "lost_to_follow_up", False, 2)
    ]
    burden = hospital.rows("SELECT alerts, medium, new, new_urgent FROM alert_burden ORDER BY as_of")
    assert burden == [(4, 4, 4, 0), (1, 1, 0, 0), (1, 1, 0, 0)]


LISTED = "SELECT * FROM worklist_row ORDER BY run_id, patient_id"
#: A rapid decline while not yet low, which no count has settled.
FALL = ("{0} -60 4.0 F", "{0} -40 4.1 F", "{0} -20 4.0 F", "{0} -11 3.9 F", "{0} 0 1.6 F")


def test_epi_6_a_row_that_stands_is_kept_once_and_shown_as_it_would_be_made_anew(
    hospital: Hospital, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Silent patients, one more urgent before, who come again, die or fall, two with a fall while not low; then the same
    nights with every row made anew.
    """
    lost = ("silent", "held", "returns", "dead", "falls")
    fell = [row.format(name) for name in ("fell", "settled") for row in FALL]
    hospital.night(0, (*(f"{name} 0 0.9 F" for name in lost), *fell), patients=("dead,1950-01-01,",))
    with duckdb.connect(str(hospital.store)) as connection:
        connection.execute("UPDATE worklist_entry SET priority = 'critical' WHERE patient_id = 'held'")
    hospital.night(200)
    assert {hospital.latest(name) for name in (*lost, "fell", "settled")} == {
        ("lost_to_follow_up", "lost", "medium"),
        ("lost_to_follow_up", "lost", "critical"),
        ("open", "unchanged", "medium"),
    }
    before = hospital.store.read_bytes()
    counted = "SELECT counts FROM run ORDER BY run_id"
    views = [
        f"SELECT * FROM {view} ORDER BY ALL" for view in ("worklist", "run_trend", "alert_burden", "worklist_change")
    ]
    nights, made = [], list[int]()

    def counting(cases: pl.LazyFrame, *others: Any) -> pl.LazyFrame:
        made.append(cases.collect().height)
        return worklist_rows(cases, *others)

    monkeypatch.setattr(worklist, "worklist_rows", counting)
    for query in (worklist._CARRIES, f"SELECT * FROM ({worklist._CARRIES}) WHERE false"):
        hospital.store.write_bytes(before)
        monkeypatch.setattr(worklist, "_CARRIES", query)
        hospital.night(201, ("returns 201 3.0 F", "falls 201 0.2 F"), patients=("dead,1950-01-01,2026-08-01",))
        hospital.night(202)
        hospital.night(203, ("settled 203 4.0 F",))
        nights.append([hospital.rows(query) for query in (LISTED, counted, *views)])
    assert nights[0] == nights[1]
    assert made == [2, 1, 1, 6, 5, 4]
    assert [hospital.latest(name) for name in ("silent", "held", "falls", "fell", "settled")] == [
        ("lost_to_follow_up", "unchanged", "medium"),
        ("lost_to_follow_up", "unchanged", "critical"),
        ("open", "unchanged", "critical"),
        ("open", "unchanged", "medium"),
        ("recovered", "resolved", "medium"),
    ]


def test_a_row_that_stands_stays_with_the_runs_that_retention_and_a_rebuild_keep(
    hospital: Hospital, tmp_path: Path
) -> None:
    hospital.night(0, ("silent 0 0.9 F", "returns 0 0.9 F"))
    for day in (200, 201, 202):
        hospital.night(day)
    hospital.night(203, ("returns 203 0.9 F",))
    listed = hospital.rows(LISTED)
    kept_once = [("returns", 1), ("silent", 1)]
    standing = (
        "SELECT patient_id, count(*) FROM worklist_entry WHERE row_group = 'lost_to_follow_up' GROUP BY 1 ORDER BY 1"
    )
    assert hospital.rows(standing) == kept_once
    night = DAY_0 + timedelta(days=201, hours=4)
    rebuild(hospital.store, night, tmp_path / "past.duckdb")
    past = Hospital(tmp_path)
    past.store = tmp_path / "past.duckdb"
    until = [row for row in listed if str(row[0]) <= f"{night:%Y-%m-%dT%H:%M:%SZ}"]
    assert past.rows(LISTED) == until
    remove(hospital.store, before=night, patient_id=None, by=None, at=night)
    assert hospital.rows(LISTED) == [row for row in listed if str(row[0]) >= f"{night:%Y-%m-%dT%H:%M:%SZ}"]
    assert hospital.rows(standing) == kept_once
    hospital.night(204)
    assert hospital.latest("silent") == ("lost_to_follow_up", "unchanged", "medium")


def test_a_patient_on_clozapine_with_a_normal_count_is_listed_when_the_next_is_overdue(hospital: Hospital) -> None:
    hospital.night(0, ("C 0 4.0 F",), medications=("C,clozapine,2026-01-20,",))
    assert hospital.latest("C") is None
    assert hospital.rows("SELECT is_overdue, days_overdue, clozapine_step FROM clozapine_monitoring") == [
        (False, 0, "normal")
    ]
    hospital.night(8)
    assert hospital.latest("C") == ("open", "new", "medium")
    hospital.night(150)
    assert hospital.latest("C") == ("open", "unchanged", "medium")
    assert hospital.rows("SELECT is_overdue, days_overdue FROM clozapine_monitoring") == [(True, 143)]
    hospital.night(151, ("C 151 4.2 F",))
    assert hospital.latest("C") == ("recovered", "resolved", "medium")


def test_cannot_assess_is_ranked_by_risk_takes_decisions_and_moves_to_lost_to_follow_up(hospital: Hospital) -> None:
    hospital.night(
        0,
        ("mild -5 1.2 F", "mild 0 TNP F", "severe -5 0.3 F", "severe 0 TNP F", "drug 0 TNP F", "never 0 TNP F"),
        medications=("drug,carbimazole,2026-01-01,",),
    )
    listed = "SELECT patient_id, row_group FROM cannot_assess ORDER BY risk_rank"
    assert hospital.rows(listed) == [(name, "open") for name in ("severe", "drug", "mild", "never")]
    at = DAY_0 + timedelta(days=1)
    record_review(hospital.store, "never", "dismissed", until=None, note="known", by="R", at=at)
    assert ("never", "open") not in hospital.rows(listed)
    hospital.night(92)
    assert hospital.rows(listed) == [("drug", "open"), ("severe", "lost_to_follow_up"), ("mild", "lost_to_follow_up")]


def test_every_column_of_every_view_has_a_comment(hospital: Hospital) -> None:
    hospital.night(0)
    without = (
        "SELECT c.table_name, c.column_name FROM duckdb_columns() c JOIN duckdb_views() v ON v.view_name = c.table_name "
        "WHERE NOT v.internal AND c.comment IS NULL"
    )
    assert hospital.rows(without) == []
