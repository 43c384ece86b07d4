"""Small versions of the campaigns under benchmarks/, whose full figures are in docs/operations.md."""

from pathlib import Path

from benchmarks.kills import HARM, campaign
from benchmarks.mishaps import MISHAPS
from benchmarks.readers_at_night import watched
from benchmarks.sixty_nights import compare


def test_nights_with_late_corrected_cancelled_repeated_and_merged_rows_equal_one_run(tmp_path: Path) -> None:
    told = compare(tmp_path, nights=3, patients=60, seed=2)
    assert min(told[name] for name in ("late", "corrected", "cancelled", "repeated", "merges")) > 0
    assert (told["different"], told["not whole"], told["failed nights"]) == ([], [], 0)


def test_readers_that_never_pause_meet_no_error_and_no_mixed_run(tmp_path: Path) -> None:
    told = watched(tmp_path / "store" / "s.duckdb", nights=1, readers=2)
    assert told["looks"] > 2
    assert (told["reader errors"], told["mixed runs"], told["failed nights"]) == (0, 0, 0)


def test_killed_nights_whose_reports_and_notifications_fail_lose_no_row_and_no_news(tmp_path: Path) -> None:
    told = campaign(tmp_path, kills=2, seed=102)
    assert sum(told[name] for name in MISHAPS[2:]) > 0
    assert told["of these listed before"] > 0
    assert {name: told[name] for name in HARM} == dict.fromkeys(HARM, 0)
