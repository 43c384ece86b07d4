"""Who a patient is stays where it belongs: pseudonyms, removal that can be proven, an audit trail, no left-overs."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import duckdb
import pytest

from neutro_screen.errors import ConfigurationError, StoreError
from neutro_screen.pipeline.options import moment
from neutro_screen.pipeline.pseudonyms import load_pseudonyms
from neutro_screen.pipeline.replay import rebuild
from neutro_screen.private import removed_if_killed
from neutro_screen.store.file import reading
from neutro_screen.store.retention import remove
from neutro_screen.store.review import record_review
from neutro_screen.store.schema import SCREENED, TABLES, columns_of
from tests.nights import KINDS, NIGHT, SAMPLE, night, screened_sample, table, tables, wait_until_free

NEXT = "2026-11-23T02:00:00"
#: The command in a process that waits at a step for its end: on a busy machine it would be over before it is killed.
_HELD = """
import sys, time
import {module} as module
module.{function} = lambda *_, **__: time.sleep(600)
from neutro_screen.cli.app import main
main()
"""
_BEFORE_PUBLISHING = _HELD.format(module="neutro_screen.pipeline.run", function="publish_step")
_IN_PUBLISHING = _HELD.format(module="neutro_screen.store.file", function="_synchronise")
AT = moment("2026-11-24T09:00:00")


def key(folder: Path, content: bytes = b"k" * 32, mode: int = 0o600) -> Path:
    """A key file."""
    path = folder / f"key{content[0]}{len(content)}"
    path.write_bytes(content)
    path.chmod(mode)
    return path


def everything(*folders: Path) -> bytes:
    """All bytes, and all names, of what is in some folders."""
    found = []
    for folder in folders:
        for path in folder.rglob("*"):
            found.append(str(path.relative_to(folder)).encode())
            if path.is_file():
                found.append(path.read_bytes())
    return b"\n".join(found)


# --- pseudonyms


def test_store_and_reports_hold_pseudonyms_only_and_the_same_conclusions(tmp_path: Path) -> None:
    screened_sample(tmp_path / "plain.duckdb")
    own = tmp_path / "own"
    labs = tmp_path / "labs-of-P-001.csv"
    labs.write_text((SAMPLE / "labs.csv").read_text("utf-8") + "P-001,only half a line\nP-001,S-777,x\n", "utf-8")
    night(own / "s.duckdb", labs=labs, reports=own / "reports", pseudonymise=key(tmp_path))
    kept = everything(own)
    with reading(tmp_path / "plain.duckdb") as connection:
        ids = connection.execute(
            "SELECT DISTINCT patient_id FROM lab_result UNION SELECT DISTINCT specimen_id FROM lab_result"
        ).fetchall()
        counted = connection.execute("SELECT severity::VARCHAR, count(*) FROM anc GROUP BY ALL ORDER BY ALL").fetchall()
    assert len(ids) > 100
    assert [text for (text,) in ids if text and text.encode() in kept] == []
    with reading(own / "s.duckdb") as connection:
        assert (
            connection.execute("SELECT severity::VARCHAR, count(*) FROM anc GROUP BY ALL ORDER BY ALL").fetchall()
            == counted
        )
        pseudonyms = load_pseudonyms(key(tmp_path))
        assert pseudonyms is not None
        hidden = pseudonyms.of("patient", "P-001")
        assert connection.execute("SELECT count(*) FROM patient_summary WHERE patient_id = ?", [hidden]).fetchall() == [
            (1,)
        ]


def test_another_night_under_the_same_key_finds_the_same_patients(tmp_path: Path) -> None:
    store = tmp_path / "s.duckdb"
    night(store, pseudonymise=key(tmp_path))
    assert night(store, as_of=NEXT, pseudonymise=key(tmp_path)).account.accepted == 0


@pytest.mark.parametrize(
    ("first", "then", "message"),
    [
        (b"k" * 32, b"x" * 32, "holds pseudonyms of another key"),
        (b"k" * 32, None, "holds pseudonyms"),
        (None, b"k" * 32, "holds identifiers"),
    ],
)
def test_a_store_keeps_to_its_key(tmp_path: Path, first: bytes | None, then: bytes | None, message: str) -> None:
    store = tmp_path / "s.duckdb"
    night(store, pseudonymise=key(tmp_path, first) if first else None)
    before = store.read_bytes()
    with pytest.raises(StoreError, match=message):
        night(store, as_of=NEXT, pseudonymise=key(tmp_path, then) if then else None)
    assert store.read_bytes() == before


@pytest.mark.parametrize(
    ("content", "mode", "message"),
    [(b"k" * 31, 0o600, "shorter than 32 bytes"), (b"k" * 32, 0o640, "others may read"), (b"", None, "cannot be read")],
)
def test_a_key_that_is_no_secret_is_refused(tmp_path: Path, content: bytes, mode: int | None, message: str) -> None:
    path = tmp_path / "none" if mode is None else key(tmp_path, content, mode)
    with pytest.raises(ConfigurationError, match=message):
        night(tmp_path / "s.duckdb", pseudonymise=path)
    assert not (tmp_path / "s.duckdb").exists()


FREE_TEXT = ("SENTINEL-DETAIL", "SENTINEL-COMMENT", "SENTINEL-RESULT", "SENTINEL-LINE", "SENTINEL-FILE", "SENTINEL-MRN")


@pytest.mark.parametrize("killed", [False, True])
def test_no_free_text_is_left_anywhere_under_pseudonyms(tmp_path: Path, killed: bool) -> None:
    """Store, reports and work folder, every byte; also after a kill while the rows wait."""
    own, labs, events = tmp_path / "own", tmp_path / "SENTINEL-FILE.csv", tmp_path / "events.csv"
    header, *lines = (SAMPLE / "labs.csv").read_text("utf-8").splitlines()
    added = [f"{line},SENTINEL-COMMENT phoned,SENTINEL-RESULT" for line in lines]
    added[3] = added[3].replace(lines[3].split(",")[0], "SENTINEL-MRN")
    labs.write_text("\n".join([f"{header},comment,result_id", *added, "SENTINEL-LINE,x"]) + "\n", "utf-16")
    told = [f"P-001,{kind},2026-11-20,SENTINEL-DETAIL 38.9" for kind in ("travel", "temperature", "smear_review", "")]
    events.write_text("patient_id,event,date,detail\n" + "\n".join(told) + "\n", "utf-8")
    words = ["run", "--labs", str(labs), "--events", str(events), "--store", str(own / "s.duckdb"), "--as-of", NIGHT]
    words += ["--reports", str(own / "reports"), "--pseudonymise", str(key(tmp_path))]
    program = ["-c", _BEFORE_PUBLISHING] if killed else ["-m", "neutro_screen.cli.app"]
    process = subprocess.Popen([sys.executable, *program, *words], stderr=subprocess.PIPE)
    if killed:
        _wait_for(own / ".s.duckdb.work", process)
        time.sleep(0.2)
        process.kill()
    message = process.communicate(timeout=200)[1]
    assert process.returncode == (-signal.SIGKILL if killed else 0), message
    _wait_until_emptied(own / ".s.duckdb.work")
    left = everything(own)
    assert [text for text in FREE_TEXT if text.encode() in left or text.encode("utf-16-le") in left] == []
    if not killed:
        details = [
            row[0]
            for row in duckdb.connect(str(own / "s.duckdb"), read_only=True)
            .execute("SELECT detail FROM event WHERE event = 'temperature'")
            .fetchall()
        ]
        assert details == ["38.9"]


# --- retention


def test_a_patient_is_removed_from_every_table_and_every_byte(tmp_path: Path) -> None:
    own, patient = tmp_path / "own", "P-001"
    store = own / "s.duckdb"
    labs = tmp_path / "labs.csv"
    labs.write_text((SAMPLE / "labs.csv").read_text("utf-8") + f"{patient},S-777,x\n", "utf-8")
    night(store, labs=labs, as_of="2026-11-21T02:00:00")
    night(store, labs=labs)
    record_review(store, patient, "acknowledged", until=None, note=f"{patient} called", by="reviewer", at=AT)
    (own / "s.v1.backup.duckdb").write_bytes(store.read_bytes())
    others = {name: len(rows) for name, rows in tables(store, TABLES).items()}
    removed = remove(store, before=None, patient_id=patient, by="officer", at=AT)
    assert patient.encode() not in everything(own)
    assert removed.backups == ["s.v1.backup.duckdb"]
    left = {name: len(rows) for name, rows in tables(store, TABLES).items()}
    assert left == removed.after | {"audit": removed.after["audit"] + 1}
    assert removed.before["lab_result"] > removed.after["lab_result"] > 0.8 * others["lab_result"]
    assert any(line.startswith("lab_result: ") for line in removed.lines())
    with reading(store) as connection:
        trail = connection.execute('SELECT action, "by", subject_sha256, counts FROM audit ORDER BY rowid').fetchall()
        comments = connection.execute("SELECT count(*) FROM duckdb_columns() WHERE comment IS NOT NULL").fetchall()
    assert [action for action, *_ in trail] == ["run", "run", "review", "retention"]
    digest = hashlib.sha256(patient.encode()).hexdigest()
    assert [subject for _, _, subject, _ in trail] == [None, None, digest, digest]
    assert trail[3][1] == "officer"
    assert json.loads(trail[3][3])["review"] == 1
    assert comments[0][0] > 100
    with pytest.raises(ConfigurationError, match="no row of such a patient"):
        remove(store, before=None, patient_id=patient, by=None, at=AT)


def test_nothing_that_only_a_removed_patient_had_is_left_in_any_table_or_byte(tmp_path: Path) -> None:
    """Every text of every kind of row of the patient: drugs, doses, event details, codes, comments, review notes."""
    store, headers, marks = tmp_path / "own" / "s.duckdb", {}, []
    chart = {}
    for kind in KINDS:
        text = (SAMPLE / f"{kind}.csv").read_text("utf-8")
        headers[kind] = text.splitlines()[0].split(",")
        cells = {name: f"SENTINEL-{kind}-{name}" for name in headers[kind]} | {"patient_id": "SENTINEL-PATIENT"}
        cells |= {name: "2026-11-20" for name in headers[kind] if "date" in name}
        cells |= {"event": "travel", "system": "icd10", "sex": "F", "duffy_null": "false"}
        marks += [cells[name] for name in headers[kind] if cells[name].startswith("SENTINEL")]
        chart[kind] = (str(tmp_path / f"{kind}.csv"),)
        row = ",".join(cells[name] for name in headers[kind])
        Path(chart[kind][0]).write_text(f"{text.rstrip()}\n{row}\n", "utf-8")
    night(store, sentinel_labs(tmp_path), **chart)
    record_review(store, "SENTINEL-PATIENT", "acknowledged", until=None, note="SENTINEL-NOTE", by="me", at=AT)
    held = everything(store.parent)
    kept = [mark for mark in [*marks, "SENTINEL-NOTE", "7.77123"] if mark.encode() in held]
    assert {"SENTINEL-PATIENT", "SENTINEL-NOTE", "SENTINEL-medications-drug_name", "SENTINEL-events-detail"} <= set(
        kept
    )
    assert any("SENTINEL" in str(row) for row in table(store, "drug_match"))
    others = len(table(store, "drug_match"))
    remove(store, before=None, patient_id="SENTINEL-PATIENT", by="officer", at=AT)
    left = everything(store.parent)
    assert [mark for mark in kept if mark.encode() in left] == []
    assert b"SENTINEL" not in left
    assert len(table(store, "drug_match")) == others - 1


def test_what_old_runs_left_is_removed_and_the_latest_run_stays(tmp_path: Path) -> None:
    store = tmp_path / "s.duckdb"
    for as_of in ("2026-11-20T02:00:00", "2026-11-21T02:00:00", NIGHT):
        night(store, as_of=as_of)
    before = tables(store, (*SCREENED, "lab_result"))
    remove(store, before=moment("2027-01-01"), patient_id=None, by=None, at=AT)
    with reading(store) as connection:
        assert connection.execute("SELECT DISTINCT run_id[:10] FROM worklist_row").fetchall() == [("2026-11-22",)]
        assert connection.execute("SELECT status, count(*) FROM run GROUP BY ALL ORDER BY ALL").fetchall() == [
            ("done", 1),
            ("reduced", 2),
        ]
        assert connection.execute("SELECT count(*) FROM worklist").fetchall()[0][0] > 0
    assert tables(store, (*SCREENED, "lab_result")) == before
    with pytest.raises(ConfigurationError, match="removed by retention"):
        rebuild(store, moment("2026-11-21T02:00:00"), tmp_path / "past.duckdb")


def test_every_table_with_a_patient_is_one_that_retention_knows() -> None:
    named = {column for name in TABLES for column in columns_of(name) if "patient" in column or "survivor" in column}
    assert named <= {"patient_id", "survivor_id", "patients_touched", "patients"}  # the last two are numbers


# --- left-overs

SENTINELS = (b"SENTINEL-PATIENT", b"SENTINEL-SPECIMEN", b"SENTINEL-COMMENT", b"7.77123")


def sentinel_labs(folder: Path) -> Path:
    """A night with a patient that is easily found again, in UTF-16 so that the reader makes a copy."""
    header, *lines = (SAMPLE / "labs.csv").read_text("utf-8").splitlines()
    columns = header.split(",")
    row = dict(zip(columns, lines[0].split(","), strict=False)) | {
        "patient_id": "SENTINEL-PATIENT",
        "specimen_id": "SENTINEL-SPECIMEN",
        "value": "7.77123",
    }
    text = [f"{header},comment", *(f"{line}," for line in lines)]
    text += [",".join([*(row[column] for column in columns), "SENTINEL-COMMENT"])] * 3
    path = folder / "labs.csv"
    path.write_text("\n".join(text) + "\n", "utf-16")
    return path


@pytest.mark.parametrize("ending", ["done", "refused", "killed early", "killed late"])
def test_nothing_of_a_patient_is_left_outside_store_reports_and_the_private_folder(tmp_path: Path, ending: str) -> None:
    """However the run ends: working folder, temporary folder, home and what it said hold no trace."""
    extracts, kept = tmp_path / "extracts", tmp_path / "kept"
    places = [tmp_path / name for name in ("cwd", "tmp", "home")]
    for folder in (extracts, *places):
        folder.mkdir()
    labs = sentinel_labs(extracts)
    chart = [word for kind in KINDS for word in (f"--{kind}", str(SAMPLE / f"{kind}.csv"))]
    words = ["run", "--labs", str(labs), *chart, "--store", str(kept / "s.duckdb"), "--as-of", NIGHT]
    words += ["--reports", str(kept / "reports"), *(["--max-rejected", "0"] if ending == "refused" else [])]
    environment = os.environ | {"TMPDIR": str(places[1]), "HOME": str(places[2]), "POLARS_TEMP_DIR": str(places[1])}
    held = {"killed early": _BEFORE_PUBLISHING, "killed late": _IN_PUBLISHING}
    program = ["-c", held[ending]] if ending in held else ["-m", "neutro_screen.cli.app"]
    process = subprocess.Popen(
        [sys.executable, *program, *words],
        cwd=places[0],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    if ending.startswith("killed"):
        _wait_for(kept / ".s.duckdb.work" if ending == "killed early" else kept / ".s.duckdb.next", process)
        process.send_signal(signal.SIGKILL)
    said = b"".join(process.communicate(timeout=120))
    codes = {"done": 0, "refused": 12, "killed early": -signal.SIGKILL, "killed late": -signal.SIGKILL}
    assert process.returncode == codes[ending], said
    left = everything(*places) + said
    assert [mark for mark in SENTINELS if mark in left or mark.decode().encode("utf-16-le") in left] == []
    assert all(path.stat().st_mode & 0o077 == 0 for path in kept.rglob("*"))
    if ending.startswith("killed"):
        for name in (".s.duckdb.work", ".s.duckdb.next"):
            _wait_until_emptied(kept / name)
        assert SENTINELS[0] not in everything(kept), "nothing waits for the next run"
        wait_until_free(kept / "s.duckdb")
        night(kept / "s.duckdb")
        assert [
            path.name for path in kept.iterdir() if path.name not in ("s.duckdb", "reports", ".s.duckdb.lock")
        ] == []


def _wait_until_emptied(path: Path) -> None:
    """The watcher of a killed run leaves the empty folder: by its name it could be that of the next run."""
    for _ in range(12_000):
        if not path.exists() or (path.is_dir() and not any(path.iterdir())):
            return
        time.sleep(0.01)
    raise AssertionError(f"{path.name} still holds something")


def _wait_for(path: Path, process: subprocess.Popen[bytes]) -> None:
    for _ in range(6_000):
        if path.exists() or process.poll() is not None:
            return
        time.sleep(0.01)


def test_an_older_file_is_not_left_under_another_name(tmp_path: Path) -> None:
    screened_sample(tmp_path / "s.duckdb")
    with duckdb.connect(str(tmp_path / "s.duckdb"), read_only=True):
        night(tmp_path / "s.duckdb", as_of=NEXT)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".s.duckdb.lock", "s.duckdb"]


def test_a_watcher_that_begins_late_removes_nothing_of_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run is killed as it begins, and the next one makes its folder before the busy machine starts the shell."""
    folder, begun = tmp_path / "work", subprocess.Popen
    folder.mkdir()
    (folder / "of the killed run").touch()

    def late(*words: Any, **more: Any) -> Any:
        folder.rename(tmp_path / "before")
        folder.mkdir()
        (folder / "of the next run").touch()
        return begun(*words, **more)

    monkeypatch.setattr(subprocess, "Popen", late)
    with removed_if_killed(folder):
        pass  # the end of the pipe is all that the shell sees of a killed process
    assert [path.name for path in folder.iterdir()] == ["of the next run"]
    assert list((tmp_path / "before").iterdir()) == []
