"""What comes in is text and stays text: an identifier made of SQL is a patient like any other."""

from datetime import datetime
from pathlib import Path

import duckdb

from neutro_screen.pipeline.options import RunOptions
from neutro_screen.pipeline.run import run
from neutro_screen.store.explain import explain_patient
from neutro_screen.store.file import reading
from neutro_screen.store.review import current_worklist, record_review

_HOSTILE = """x'); DROP TABLE run; ATTACH 'y.duckdb'; -- "quoted" """.strip()


def test_an_identifier_made_of_sql_is_screened_explained_and_reviewed(tmp_path: Path) -> None:
    store, labs = tmp_path / "s" / "s.duckdb", tmp_path / "labs.csv"
    quoted = '"' + _HOSTILE.replace('"', '""') + '"'
    labs.write_text(
        f"patient_id,specimen_id,collected_at,loinc,value,unit\n{quoted},{quoted},2026-11-21,751-8,0.3,10*9/L\n",
        "utf-8",
    )
    run(RunOptions(store=store, as_of=datetime(2026, 11, 22, 2), labs=(str(labs),)))
    record_review(store, _HOSTILE, "acknowledged", until=None, note=_HOSTILE, by=_HOSTILE, at=datetime(2026, 11, 22, 8))
    with reading(store) as connection:
        assert explain_patient(connection, _HOSTILE)["anc"][0]["anc_cells_per_ul"] == 300
        assert current_worklist(connection)["patient_id"].to_list() == [_HOSTILE]
    with duckdb.connect(str(store), read_only=True) as connection:
        assert connection.execute("SELECT patient_id, note FROM review").fetchall() == [(_HOSTILE, _HOSTILE)]
        assert connection.execute("SELECT count(*) FROM run").fetchall() == [(1,)]
    assert not list(tmp_path.rglob("y.duckdb"))
