"""Past nights replayed: what they show equals the truth of the simulator, the store's own nights, and itself in chunks."""

import json
import sys
from datetime import date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from neutro_screen.cli.app import main
from neutro_screen.errors import ConfigurationError
from neutro_screen.pipeline.backtest import Backtest, backtest
from neutro_screen.pipeline.options import RunOptions
from neutro_screen.pipeline.run import run
from neutro_screen.store.file import reading
from neutro_screen.store.rows import read_table
from neutro_simulator import simulate_hospital
from tests.nights import table

LAST = datetime(2026, 6, 15, 2)
#: The night before the first that is counted: some weeks of the simulator's year.
FIRST = LAST - timedelta(days=31)
#: A policy under which severity alone puts a patient on the list: no fall is rapid enough for any other rule.
SEVERITY_ONLY = """
[rpd_1]
highest_fraction = 0.001
[rpd_2]
highest_fraction = 0.001
[rpd_3]
noise_ratio = 1000.0
suspected_noise_ratio = 1000.0
suspected_fraction = 0.001
[rpd_4]
high_risk_fraction = 0.001
"""
#: The same rules, of which nothing counts as an alert: the nights of both are replayed once.
NOTHING = SEVERITY_ONLY + "[backtest]\nalert_priorities = []\n"
CONSERVATIVE = "[rpd_1]\nhighest_fraction = 0.4\n[rpd_2]\nhighest_fraction = 0.4\n"


@pytest.fixture(scope="module")
def year(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store that holds a year and more of simulated patients, loaded in one run, and policies.

    The counts are the noise-free truth at the times at which blood was taken, each known two hours later.
    """
    folder = tmp_path_factory.mktemp("year")
    hospital = simulate_hospital(200, 5, as_of=LAST, dirt=0.0)
    truth = hospital.specimen_truth.filter(pl.col("collected_at") <= LAST - timedelta(hours=3))
    truth.write_parquet(folder / "truth.parquet")
    truth.select(
        "patient_id",
        "specimen_id",
        collected_at=pl.col("collected_at").dt.to_string("%Y-%m-%dT%H:%M:%S"),
        resulted_at=(pl.col("collected_at") + pl.duration(hours=2)).dt.to_string("%Y-%m-%dT%H:%M:%S"),
        loinc=pl.lit("751-8"),
        analyte_name=pl.lit("Neutrophils"),
        value=(pl.col("true_anc") / 1000).round(4).cast(pl.String),
        unit=pl.lit("10*9/L"),
    ).write_csv(folder / "labs.csv")
    run(RunOptions(store=folder / "s.duckdb", as_of=LAST, labs=(str(folder / "labs.csv"),)))
    for name, text in (("severity_only", SEVERITY_ONLY), ("nothing", NOTHING), ("conservative", CONSERVATIVE)):
        (folder / f"{name}.toml").write_text(text, "utf-8")
    return folder


@pytest.fixture(scope="module")
def replayed(year: Path) -> Backtest:
    """The year under three policies."""
    before = (year / "s.duckdb").read_bytes()
    policies = [year / f"{name}.toml" for name in ("severity_only", "nothing")]
    found = backtest(year / "s.duckdb", (FIRST + timedelta(days=1)).date(), LAST.date(), policies)
    assert (year / "s.duckdb").read_bytes() == before, "the store was written to"
    assert sorted(path.name for path in year.glob(".*")) == [".s.duckdb.lock"]
    return found


def true_falls(truth: pl.DataFrame) -> dict[tuple[str, datetime], float | None]:
    """Patient and time of the first true count < 500 of each episode -> hours of warning, None without any.

    By the truth alone: a patient is on the list from the first night after a known count < 1500 to the first night after a
    known count >= 1500; the warning is from the first of these nights to the taking of the blood.
    """
    found = {}
    for (patient,), rows in truth.sort("collected_at").group_by("patient_id", maintain_order=True):
        counts = [(at, round(anc / 1000, 4) * 1000) for at, anc in rows.select("collected_at", "true_anc").rows()]
        first_low, is_found = None, False
        for at, anc in counts:
            if anc >= 1500:
                first_low, is_found = None, False
                continue
            first_low = first_low or at
            if anc < 500 and not is_found:
                is_found = True
                shown = max(night_after(first_low + timedelta(hours=2)), FIRST)
                if FIRST < at <= LAST:
                    found[str(patient), at] = (at - shown) / timedelta(hours=1) if shown < at else None
    return found


def night_after(known: datetime) -> datetime:
    """The first night on which a result is known."""
    night = known.replace(hour=2, minute=0, second=0)
    return night if night >= known else night + timedelta(days=1)


def test_lead_time_and_share_of_falls_seen_equal_the_truth(year: Path, replayed: Backtest) -> None:
    expected = true_falls(pl.read_parquet(year / "truth.parquet"))
    of = replayed.burdens[0]
    found = {
        (row["patient_id"], row["reached_at"]): row["lead_h"] if row["seen_before"] else None
        for row in of.falls.iter_rows(named=True)
    }
    assert len(expected) > 5
    assert len({lead is None for lead in expected.values()}) == 2
    assert found.keys() == expected.keys()
    assert {key: lead and round(lead, 6) for key, lead in found.items()} == {
        key: lead and round(lead, 6) for key, lead in expected.items()
    }
    leads = sorted(lead for lead in expected.values() if lead is not None)
    summary = of.summary()
    assert summary["share_seen_before"] == len(leads) / len(expected)
    assert summary["lead_days_median"] == round(pl.Series(leads).median() / 24, 2)  # type: ignore[operator]


def test_a_policy_that_flags_nothing_shows_nothing(replayed: Backtest) -> None:
    severity_only, nothing = replayed.burdens
    assert [nothing.policy, severity_only.policy] == ["nothing", "severity_only"]
    assert nothing.nights.select(pl.sum("alerts", "new", "to_read", "critical", "low")).row(0) == (0, 0, 0, 0, 0)
    assert nothing.nights.height == severity_only.nights.height == 31
    assert nothing.falls.height == severity_only.falls.height
    summary = nothing.summary()
    assert (summary["falls_seen_before"], summary["share_seen_before"], summary["lead_days_median"]) == (0, 0.0, None)
    assert severity_only.nights["alerts"].sum() > 0


def test_the_result_is_the_same_in_chunks_of_patients(year: Path) -> None:
    days = (LAST - timedelta(days=2)).date(), LAST.date()
    whole, parts = (
        backtest(year / "s.duckdb", *days, rows_at_once=rows, policies=[year / "conservative.toml"])
        for rows in (10_000_000, 3_000)
    )
    assert [burden.policy for burden in whole.burdens] == ["present policy", "conservative"]
    for one, other in zip(whole.burdens, parts.burdens, strict=True):
        assert one.nights.equals(other.nights)
        assert one.falls.equals(other.falls)
        assert one.summary() == other.summary()
    assert whole.burdens[0].nights["alerts"].sum() > 0


def test_a_later_first_night_changes_nothing_of_the_nights_after_it(year: Path, replayed: Backtest) -> None:
    first = (LAST - timedelta(days=7)).date()
    shorter = backtest(year / "s.duckdb", first, LAST.date(), [year / "severity_only.toml", year / "nothing.toml"])
    counts = ["as_of", "alerts", "critical", "high", "medium", "low", "info", "new", "new_urgent", "to_read"]
    whole = replayed.burdens[0].nights.filter(pl.col("as_of") >= shorter.nights[0])
    assert shorter.burdens[0].nights.select(counts).equals(whole.select(counts))


@pytest.fixture(scope="module")
def nightly(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that was run on seven nights, each with the rows of its day: late ones, a correction and a cancellation."""
    folder = tmp_path_factory.mktemp("nightly")
    hospital = simulate_hospital(60, 3, as_of=LAST, dirt=0.02)
    due = pl.coalesce("resulted_at", "collected_at").str.to_datetime("%Y-%m-%dT%H:%M:%S", time_unit="us")
    late = pl.duration(days=pl.col("specimen_id").hash(7) % 3)
    labs = hospital.labs.with_columns(came=due + late)
    early = labs.filter(pl.col("came").is_between(LAST - timedelta(days=5), LAST - timedelta(days=3)))
    counts = early.filter(pl.col("loinc") == "751-8", pl.col("value").str.contains(r"^\d")).head(2)
    assert counts.height == 2
    taken_back = counts.with_columns(
        status=pl.Series(["C", "X"]),
        value=pl.Series(["0.30", None]),
        resulted_at=pl.lit("2026-06-13T20:00:00"),
        came=pl.lit(datetime(2026, 6, 13, 21)),
    )
    labs = pl.concat([labs, taken_back.select(labs.columns)])
    for number in range(7):
        night = LAST - timedelta(days=6 - number)
        since = night - timedelta(days=1) if number else datetime(1990, 1, 1)
        rows = labs.filter(pl.col("came") > since, pl.col("came") <= night).drop("came")
        files = {"labs": rows, "patients": hospital.patients, "medications": hospital.medications}
        paths = {}
        for kind, frame in files.items():
            if number and kind != "labs":
                continue
            path = folder / f"{kind}{number}.csv"
            frame.write_csv(path)
            paths[kind] = (str(path),)
        run(RunOptions(store=folder / "s.duckdb", as_of=night, **paths))  # type: ignore[arg-type]
    return folder / "s.duckdb"


def test_the_replayed_nights_are_those_that_the_store_had(nightly: Path) -> None:
    with reading(nightly) as connection:
        had = read_table(connection, "SELECT * FROM alert_burden ORDER BY as_of")
    found = backtest(nightly, (LAST - timedelta(days=4)).date(), LAST.date(), received="run").burdens[0].nights
    counts = ["as_of", "alerts", "critical", "high", "medium", "low", "info", "new", "new_urgent"]
    assert found.select(counts).rows() == had.tail(5).select(counts).rows()
    assert had.tail(5)["new"].sum() > 0
    by_result = backtest(nightly, (LAST - timedelta(days=4)).date(), LAST.date()).burdens[0].nights
    assert by_result.select(counts).rows() != found.select(counts).rows(), (
        "late rows are known earlier by their own time"
    )


def command(*words: object) -> int:
    """The command in this process; its exit code."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["neutro-screen", "backtest", *map(str, words)])
        try:
            main()
        except SystemExit as ended:
            return int(ended.code or 0)
    return 0


def test_the_command_writes_private_files_and_leaves_the_store_alone(
    nightly: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, audit = nightly.read_bytes(), table(nightly, "audit")
    days = ("--from", "2026-06-13", "--to", "2026-06-15")
    assert command("--store", nightly, *days, "--out", tmp_path / "out", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert [policy["policy"] for policy in told["policies"]] == ["present policy"]
    assert (nightly.read_bytes(), table(nightly, "audit")) == (before, audit)
    names = ["backtest.html", "backtest_falls.csv", "backtest_nights.csv", "backtest_summary.csv"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "out").iterdir()} == {0o600}
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o700
    nights = pl.read_csv(tmp_path / "out" / "backtest_nights.csv")
    assert nights.height == 3
    assert (
        nights["alerts"].to_list()
        == nights.select(pl.sum_horizontal("critical", "high", "medium", "low", "info")).to_series().to_list()
    )


def test_what_cannot_be_replayed_is_said(nightly: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("--store", nightly, "--from", "2026-06-15", "--to", "2026-06-10", "--out", tmp_path / "o") == 10
    assert "is before the first" in capsys.readouterr().err
    assert command("--store", nightly, "--from", "June", "--to", "2026-06-10", "--out", tmp_path / "o") == 10
    assert "is not an ISO 8601 time" in capsys.readouterr().err
    with pytest.raises(ConfigurationError, match="no result had been received"):
        backtest(nightly, date(1980, 1, 1), date(1980, 1, 2))
    assert not (tmp_path / "o").exists()
