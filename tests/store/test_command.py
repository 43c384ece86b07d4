"""The command line as a user meets it: exit codes, one clear message, nothing lost, nothing told."""

import json
import re
from pathlib import Path

import pytest

from neutro_screen.cli.app import app
from tests.nights import SAMPLE, command


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample hospital, screened by the command."""
    path = tmp_path_factory.mktemp("command") / "screen.duckdb"
    done = command("run", "--labs", SAMPLE / "labs.csv", "--store", path, "--as-of", "2026-11-22T02:00")
    assert done.returncode == 0, done.stderr
    assert "rows in 1665 = accepted 1639 + rejected 10 + no result 14 + duplicate 1 + not screened 1" in done.stdout
    return path


HEADER = "patient_id,specimen_id,collected_at,resulted_at,loinc,analyte_name,value,unit"
ROW = "SECRET-ID,S1,2026-02-01 08:00,,751-8,,2.0,10*9/L"


@pytest.mark.parametrize(
    ("name", "content", "code", "message"),
    [
        ("empty.csv", "", 11, "the file is empty"),
        ("header.csv", ROW + "\n", 12, "none of the expected columns"),
        ("unitless.csv", HEADER.replace(",unit", "") + "\n", 12, "required lab column missing: unit"),
        ("refused.csv", f"{HEADER}\n{ROW.replace('10*9/L', 'furlongs')}\n", 12, "1 of 1 screened laboratory rows"),
        ("labs.docx", "PK", 11, "of no known format"),
        ("bad.parquet", "PAR0", 11, "not a readable Parquet file"),
        ("bad.csv.gz", "no gzip", 11, "not a readable gzip archive"),
    ],
)
def test_bad_input_ends_in_its_exit_code_with_one_message_and_no_store(
    tmp_path: Path, name: str, content: str, code: int, message: str
) -> None:
    (tmp_path / name).write_text(content, "utf-8")
    done = command("run", "--labs", tmp_path / name, "--store", tmp_path / "s.duckdb", "--as-of", "2026-03-01")
    assert (done.returncode, done.stdout) == (code, "")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr
    assert "SECRET-ID" not in done.stderr
    assert not (tmp_path / "s.duckdb").exists()


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("run", "--labs", "nowhere.csv", "--store", "s.duckdb"), 11, "no such file"),
        (("run", "--labs", SAMPLE / "labs.csv", "--store", "s.duckdb", "--format", "hl8"), 10, "no format 'hl8'"),
        (
            ("run", "--labs", SAMPLE / "labs.csv", "--store", "s.duckdb", "--as-of", "tonight"),
            10,
            "not an ISO 8601 time",
        ),
        (
            ("run", "--labs", SAMPLE / "labs.csv", "--store", "s.duckdb", "--profile", "none.toml"),
            10,
            "profile cannot be read",
        ),
        (("worklist", "--store", "nowhere.duckdb"), 14, "no such store"),
        (("simulate", "--out", "x"), 10, "either --patients N or --teaching"),
        (("review", "P-001", "--store", "s.duckdb", "--status", "snoozed"), 10, "--until goes with"),
    ],
)
def test_wrong_words_end_in_their_exit_code(tmp_path: Path, words: tuple[object, ...], code: int, message: str) -> None:
    done = command(*words, cwd=tmp_path)
    assert (done.returncode, message in done.stderr) == (code, True), done.stderr


def test_a_failed_run_leaves_the_previous_results(store: Path, tmp_path: Path) -> None:
    kept = tmp_path / "s.duckdb"
    kept.write_bytes(store.read_bytes())
    (tmp_path / "empty.csv").write_text("", "utf-8")
    assert command("run", "--labs", tmp_path / "empty.csv", "--store", kept).returncode == 11
    assert kept.read_bytes() == store.read_bytes()


def test_a_changed_policy_screens_everybody_again_and_says_so(store: Path, tmp_path: Path) -> None:
    own = tmp_path / "s.duckdb"
    own.write_bytes(store.read_bytes())
    policy = tmp_path / "policy.toml"
    policy.write_text("[rpd_1]\nhighest_fraction = 0.4\n", "utf-8")
    words = ("run", "--labs", SAMPLE / "labs.csv", "--store", own, "--policy", policy, "--as-of", "2026-11-23")
    done = command(*words)
    assert done.returncode == 0, done.stderr
    assert "everybody was screened again: the policy changed" in done.stdout
    policy.write_text("[rpd_1]\nhighest_fracton = 0.4\n", "utf-8")
    wrong = command(*words)
    assert (wrong.returncode, "rpd_1.highest_fracton" in wrong.stderr) == (10, True)


def test_a_patient_without_a_medication_list_is_not_said_to_have_no_suspect(store: Path) -> None:
    assert "SUSPECTS: no medication list in this extract" in command("explain", "P-001", "--store", store).stdout


def test_a_folder_without_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "night").mkdir()
    done = command("run", "--labs", tmp_path / "night", "--store", tmp_path / "s.duckdb")
    assert (done.returncode, "the folder holds no files" in done.stderr) == (11, True)


def test_several_files_may_follow_one_option(tmp_path: Path) -> None:
    for name, patient in (("a.csv", "A"), ("b.csv", "B")):
        (tmp_path / name).write_text(f"{HEADER}\n{ROW.replace('SECRET-ID', patient)}\n", "utf-8")
    words = (
        "run",
        "--labs",
        tmp_path / "a.csv",
        tmp_path / "b.csv",
        "--store",
        tmp_path / "s.duckdb",
        "--as-of",
        "2026-03-01",
        "--json",
    )
    done = command(*words)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["account"]["accepted"] == 2


def test_a_run_without_any_result_says_that_this_is_not_health(tmp_path: Path) -> None:
    (tmp_path / "labs.csv").write_text(HEADER + "\n", "utf-8")
    done = command("run", "--labs", tmp_path / "labs.csv", "--store", tmp_path / "s.duckdb")
    assert done.returncode == 0
    assert "NO DATA" in done.stdout


def test_check_writes_nothing_and_shows_the_reasons(tmp_path: Path) -> None:
    (tmp_path / "labs.csv").write_text(f"{HEADER}\n{ROW}\n{ROW.replace('10*9/L', 'furlongs')}\n", "utf-8")
    done = command("check", "--labs", tmp_path / "labs.csv", "--as-of", "2026-03-01", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "unit_unknown" in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["labs.csv"]


def test_worklist_explain_and_review_work_on_the_store(store: Path, tmp_path: Path) -> None:
    own = tmp_path / "s.duckdb"
    own.write_bytes(store.read_bytes())
    listed = json.loads(command("worklist", "--store", own, "--priority", "critical", "--json").stdout)
    assert {row["priority"] for row in listed} == {"critical"}
    patient = listed[0]["patient_id"]
    told = json.loads(command("explain", patient, "--store", own, "--json").stdout)
    assert told["source_rows"] and told["anc"] and told["flags"]
    words = ("review", patient, "--store", own, "--status", "dismissed", "--note", "known", "--by", "reviewer")
    assert command(*words).returncode == 0
    after = json.loads(command("worklist", "--store", own, "--json").stdout)
    assert patient not in {row["patient_id"] for row in after}
    missing = command("explain", "P-999", "--store", own)
    assert (missing.returncode, "no row of such a patient" in missing.stderr) == (10, True)


@pytest.mark.parametrize("name", [name for name in app if not name.startswith("-")])
def test_every_command_shows_its_examples_as_they_can_be_pasted(name: str) -> None:
    """A star of a glob or of a cron time is no markup."""
    shown = " ".join(command(name, "--help").stdout.split())
    examples = re.findall(r"Example: ``(.*)``", app[name].default_command.__doc__ or "")
    assert examples
    for example in examples:
        assert example.startswith(f"neutro-screen {name}")
        assert f"Example: {example}" in shown


def test_a_slip_of_the_pen_is_named_but_never_another_patient(store: Path, tmp_path: Path) -> None:
    own = tmp_path / "screen.duckdb"
    own.write_bytes(store.read_bytes())
    assert "Did you mean 'screen.duckdb'?" in command("worklist", "--store", tmp_path / "scren.duckdb").stderr
    words = ("run", "--labs", SAMPLE / "labs.csv", "--store", own, "--format", "delimted")
    assert "Did you mean 'delimited'?" in command(*words).stderr
    wrong = command("worklst", "--store", own)
    assert (wrong.returncode, 'Did you mean "worklist"?' in " ".join(wrong.stdout.split() + wrong.stderr.split())) == (
        2,
        True,
    )
    for name in ("explain", "review"):
        status = ("--status", "dismissed") if name == "review" else ()
        missing = command(name, "P-01", "--store", own, *status)
        assert missing.returncode == 10
        assert "P-0" not in missing.stderr


def test_what_a_terminal_shows_fits_eighty_columns(store: Path) -> None:
    shown = command("worklist", "--store", store).stdout + command("explain", "P-001", "--store", store).stdout
    assert "◆ critical" in shown
    assert [line for line in shown.splitlines() if len(line) > 80] == []


def test_every_command_with_a_result_tells_it_as_json_or_not_at_all(store: Path, tmp_path: Path) -> None:
    own = tmp_path / "s.duckdb"
    own.write_bytes(store.read_bytes())
    words = {
        "review": ("P-001", "--store", own, "--status", "acknowledged", "--note", "seen"),
        "report": ("--store", own, "--reports", tmp_path / "reports"),
        "init": (tmp_path / "settings",),
    }
    told = {name: json.loads(command(name, *rest, "--json").stdout) for name, rest in words.items()}
    assert told["review"] == {"status": "acknowledged", "until": None, "note": "seen", "by": None}
    assert Path(told["report"]["report"]).is_file()
    assert len(told["init"]["written"]) >= 2
    assert command("review", *words["review"], "--quiet").stdout == ""
    assert command("report", *words["report"], "--quiet").stdout == ""
