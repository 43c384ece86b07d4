"""The MIMIC-III demo: 100 real, de-identified patients nobody of this project chose (shared/data/README.md)."""

from pathlib import Path

import duckdb
import pytest

from neutro_screen.pipeline.options import RunOptions, moment
from neutro_screen.pipeline.run import run
from neutro_screen.pipeline.summary import RunSummary

DEMO = Path(__file__).parents[3] / "shared" / "data" / "mimic3_demo"
pytestmark = pytest.mark.skipif(not DEMO.is_dir(), reason="the MIMIC-III demo is not here: shared/data/mimic3_demo")


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RunSummary]:
    """The demo screened as of the 23rd century, where its dates lie."""
    store = tmp_path_factory.mktemp("mimic") / "s.duckdb"
    return store, run(RunOptions(store=store, labs=(str(DEMO),), as_of=moment("2203-01-01")))


def told(store: Path, query: str) -> list[tuple[object, ...]]:
    with duckdb.connect(str(store), read_only=True) as connection:
        return connection.execute(query).fetchall()


def test_every_row_of_the_demo_is_accounted_for(demo: tuple[Path, RunSummary]) -> None:
    account = demo[1].account
    assert account.rows_in == 76_074
    assert account.accepted + account.rejected + account.no_result + account.duplicate + account.not_screened == 76_074


def test_546_specimens_of_89_patients_are_counted_from_white_cells_and_differential(
    demo: tuple[Path, RunSummary],
) -> None:
    query = "SELECT count(*), count(DISTINCT patient_id) FROM anc WHERE anc_method = 'wbc_percent'"
    assert told(demo[0], query) == [(546, 89)]


def test_the_seven_low_patients_have_their_known_minima(demo: tuple[Path, RunSummary]) -> None:
    query = (
        "SELECT patient_id, round(nadir_cells_per_ul) FROM patient_status WHERE worst_severity > 'normal'::severity "
        "ORDER BY nadir_cells_per_ul"
    )
    assert told(demo[0], query) == [
        ("40310", 0),
        ("40687", 50),
        ("10117", 100),
        ("10102", 108),
        ("43881", 330),
        ("43879", 630),
        ("10032", 1230),
    ]


def test_urine_and_spinal_fluid_are_not_screened(demo: tuple[Path, RunSummary]) -> None:
    query = "SELECT DISTINCT reason FROM data_quality WHERE disposition = 'not_screened' AND reason LIKE 'not_blood%'"
    assert {reason for (reason,) in told(demo[0], query)} >= {"not_blood: CSF", "not_blood: Plr fld"}
    assert told(demo[0], "SELECT count(*) FROM lab_result WHERE unit_text IN ('#/hpf', '#/lpf')") == [(0,)]


def test_patient_40310_was_profound_and_has_recovered(demo: tuple[Path, RunSummary]) -> None:
    """A recovered episode is at most low (RULES.md section 7, version 2); what it was at its worst stays on record."""
    query = "SELECT priority::VARCHAR, worst_severity::VARCHAR, current_severity::VARCHAR FROM patient_status"
    assert told(demo[0], f"{query} WHERE patient_id = '40310'") == [("low", "profound", "normal")]
