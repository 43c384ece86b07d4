"""A past night can be made again, and the past is never published over the present."""

from pathlib import Path

import pytest

from neutro_screen.errors import ConfigurationError, StoreError
from neutro_screen.pipeline.options import moment
from neutro_screen.pipeline.replay import rebuild
from neutro_screen.store.schema import TABLES
from tests.nights import SAMPLE, assert_same, night
from tests.store.test_merges import NEW, OLD, patients, split

NIGHTS = [f"2026-11-{day}T02:00:00" for day in (19, 20, 21, 22)]


@pytest.fixture(scope="module")
def nights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four nights with late arrivals, a correction, a cancellation, a merge and another policy; each night kept."""
    folder = tmp_path_factory.mktemp("nights")
    store, policy = folder / "s.duckdb", folder / "policy.toml"
    policy.write_text("[rpd_1]\nhighest_fraction = 0.4\n", "utf-8")
    parts = split(folder, 5, 4)
    header, *lines = (SAMPLE / "labs.csv").read_text("utf-8").splitlines()
    status = header.split(",").index("status")
    values = [line.split(",") for line in lines if line.count(",") == header.count(",")]
    taken_back = [
        ",".join([*cells[:status], word, *cells[status + 1 :]])
        for cells, word in ((values[40], "cancelled"), (values[90], "corrected"))
    ]
    parts[3].write_text(parts[3].read_text("utf-8") + "\n".join(taken_back) + "\n", "utf-8")
    for number, (labs, as_of) in enumerate(zip(parts, NIGHTS, strict=True)):
        merged = [f"{OLD}>{NEW}"] if number == 2 else []
        more = {"policy": policy} if number == 3 else {}
        night(store, labs=labs, as_of=as_of, patients=(patients(folder, *merged),), **more)
        (folder / f"kept{number}.duckdb").write_bytes(store.read_bytes())
    return store


@pytest.mark.parametrize("number", range(4))
def test_a_rebuilt_night_equals_what_it_published_table_by_table(nights: Path, tmp_path: Path, number: int) -> None:
    before = nights.read_bytes()
    run_id, notes = rebuild(nights, moment(NIGHTS[number]), tmp_path / "past.duckdb", reports=tmp_path / "reports")
    assert (run_id[:10], notes) == (NIGHTS[number][:10], [])
    assert_same(tmp_path / "past.duckdb", nights.with_name(f"kept{number}.duckdb"), TABLES)
    assert nights.read_bytes() == before
    assert (tmp_path / "reports" / "report.html").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["past.duckdb", "reports"]


def test_a_time_between_two_nights_is_the_earlier_one_and_one_before_all_is_refused(
    nights: Path, tmp_path: Path
) -> None:
    run_id, _ = rebuild(nights, moment("2026-11-20T23:00"), tmp_path / "past.duckdb")
    assert run_id.startswith("2026-11-20")
    with pytest.raises(ConfigurationError, match="no run is as old"):
        rebuild(nights, moment("2026-11-01"), tmp_path / "other.duckdb")
    with pytest.raises(ConfigurationError, match="exists already"):
        rebuild(nights, moment("2026-11-20"), tmp_path / "past.duckdb")


def test_a_clock_that_goes_back_never_publishes_the_past_over_the_present(nights: Path) -> None:
    before = nights.read_bytes()
    with pytest.raises(StoreError, match=r"holds a later run .*neutro-screen rebuild"):
        night(nights, as_of="2026-11-21T02:00:00")
    assert nights.read_bytes() == before
