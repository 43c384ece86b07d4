"""A policy is data that cannot lie: units, ranges, order, types and names are enforced, and a rule that is off is named."""

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from neutro_screen.errors import ConfigurationError
from neutro_screen.reference import load_policy, policy_of_run
from neutro_screen.reference.policy import policy_entries, policy_faults
from neutro_screen.reference.policy_checks import Entry, check_values, own_value
from tests.nights import night, table

STARTER = Path(__file__).parents[2] / "neutro_screen" / "admin" / "starter" / "policy.toml"


def policy(folder: Path, text: str) -> Path:
    """A policy file of a user."""
    path = folder / "own.toml"
    path.write_text(text, "utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "entry", "value"),
    [
        ('[rpd_1]\nbelow_cells_per_ul = {value = 2, unit = "10*9/L"}', "rpd_1.below_cells_per_ul", 2000),
        ('[rpd_1]\nbelow_cells_per_ul = {value = 1.5, unit = "K/uL"}', "rpd_1.below_cells_per_ul", 1500),
        ('[rpd_1]\nbelow_cells_per_ul = {value = 1800, unit = "cells/uL"}', "rpd_1.below_cells_per_ul", 1800),
        ("[rpd_1]\nbelow_cells_per_ul = 1800", "rpd_1.below_cells_per_ul", 1800),
        ('[rpd_1]\nwindow_d = {value = 2, unit = "wk"}', "rpd_1.window_d", 14),
        ('[rpd_1]\nhighest_fraction = {value = 40, unit = "%"}', "rpd_1.highest_fraction", 0.4),
        (
            '[cytopenia]\nhaemoglobin_below_g_per_dl = {value = 100, unit = "g/L"}',
            "cytopenia.haemoglobin_below_g_per_dl",
            10,
        ),
        ('[worklist]\nrepeat_severe_h = {value = 1, unit = "d"}', "worklist.repeat_severe_h", 24),
        ("[silence.laboratory_h]\nNORTH = 72", "silence.laboratory_h", {"NORTH": 72}),
        ('[silence]\nlaboratory_h = {value = {NORTH = 3}, unit = "d"}', "silence.laboratory_h", {"NORTH": 72}),
    ],
)
def test_a_unit_is_converted_into_that_of_the_entry(tmp_path: Path, text: str, entry: str, value: Any) -> None:
    section, name = entry.split(".")
    assert getattr(getattr(load_policy(policy(tmp_path, text)), section), name) == pytest.approx(value)


@pytest.mark.parametrize(
    ("text", "entry"),
    [
        ('[rpd_1]\nbelow_cells_per_ul = {value = 2, unit = "d"}', "rpd_1.below_cells_per_ul"),
        ('[rpd_1]\nbelow_cells_per_ul = {value = 2, unit = "furlongs"}', "rpd_1.below_cells_per_ul"),
        ("[rpd_1]\nbelow_cells_per_ul = {value = 2, unit = 7}", "rpd_1.below_cells_per_ul"),
        ("[rpd_1]\nbelow_cells_per_ul = {value = 2, unti = 'cells/uL'}", "rpd_1.below_cells_per_ul"),
        ("[rpd_1]\nbelow_cells_per_ul = {unit = 'cells/uL'}", "rpd_1.below_cells_per_ul"),
        ("[rpd_1]\nbelow_cels_per_ul = 2000", "rpd_1.below_cells_per_ul"),
        ("[rpd_9]\nwindow_d = 14", "rpd_9"),
        ("rpd_1 = 3", "rpd_1"),
        ("version = 2", "version"),
        ("[rpd_1]\nwindow_d = '14'", "rpd_1.window_d"),
        ("[rpd_1]\nwindow_d = true", "rpd_1.window_d"),
        ("[rpd_1]\nwindow_d = 14.5", "rpd_1.window_d"),
        ("[rpd_1]\nwindow_d = [14]", "rpd_1.window_d"),
        ("[rpd_1]\nwindow_d = 0", "rpd_1.window_d"),
        ("[rpd_1]\nwindow_d = -14", "rpd_1.window_d"),
        ("[rpd_1]\nwindow_d = 1" + "0" * 30, "rpd_1.window_d"),
        ("[rpd_1]\nwindow_d = {value = 1" + "0" * 400 + ", unit = 'h'}", "rpd_1.window_d"),
        ("[rpd_1]\nbelow_cells_per_ul = 1e308", "rpd_1.below_cells_per_ul"),
        ("[rpd_1]\nbelow_cells_per_ul = {value = 1e308, unit = '10*9/L'}", "rpd_1.below_cells_per_ul"),
        ("[rpd_1]\nbelow_cells_per_ul = inf", "rpd_1.below_cells_per_ul"),
        ("[rpd_1]\nbelow_cells_per_ul = nan", "rpd_1.below_cells_per_ul"),
        ("[rpd_1]\nhighest_fraction = 50", "rpd_1.highest_fraction"),
        ("[anc]\nconfidence = 2", "anc.confidence"),
        ("[anc]\nconfidence = 1", "anc.confidence"),
        ("[anc]\nsignificant_digits = 1000000", "anc.significant_digits"),
        ("[anc]\nmanual_cells_counted = 1000000000000", "anc.manual_cells_counted"),
        ("[anc]\ndifferential_sum_low_pct = 103\ndifferential_sum_high_pct = 97", "differential_sum"),
        ("[unit_check]\nbatch_median_low = 50\nbatch_median_high = 0.2", "batch_median"),
        ("[cyclic]\nperiod_from_d = 36\nperiod_to_d = 14", "cyclic.period_from_d"),
        ("[trend]\nbaseline_from_d = 10", "trend.baseline_to_d"),
        ("[worklist]\nrepeat_mild_h = 24", "worklist.repeat_moderate_h"),
        ("[worklist]\nsettled_d = 30", "worklist.settled_d"),
        ("[silence]\nlaboratory_h = 4", "silence.laboratory_h"),
        ("[silence.laboratory_h]\nNORTH = 'daily'", "silence.laboratory_h"),
        ("[silence.laboratory_h]\nNORTH = 1e30", "silence.laboratory_h"),
        ("[clozapine]\nschedule = 'uk'", "clozapine.schedule"),
    ],
)
def test_an_entry_that_cannot_be_is_refused_by_name(tmp_path: Path, text: str, entry: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        load_policy(policy(tmp_path, text))
    assert refused.value.exit_code == 10
    assert refused.value.where == "own.toml"
    assert entry in refused.value.what
    assert refused.value.remedy
    assert len(str(refused.value)) < 600


@pytest.mark.parametrize("content", [b"\xff\xfe", b"[rpd_1", b"a = " + b"[" * 100_000])
def test_a_file_that_is_no_policy_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "own.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match="policy cannot be read"):
        load_policy(path)


def test_the_built_in_policy_is_within_its_own_limits_and_switches_nothing_off() -> None:
    assert policy_faults(load_policy()) == []
    for line in STARTER.read_text("utf-8").splitlines():
        if " = {" in line:
            assert {"value", "unit", "source"} == set(next(iter(tomllib.loads(line.removeprefix("# ")).values())))


def test_every_unit_of_the_built_in_policy_has_a_range_and_every_row_an_entry() -> None:
    entries = policy_entries()
    known = {f"{section}.{name}" for section, name, *_ in entries}
    folder = STARTER.parents[2] / "reference"

    def rows(name: str) -> list[list[str]]:
        return [line.split(",") for line in (folder / name).read_text("utf-8").splitlines()[1:]]

    units = {row[0] for row in rows("policy_units.csv")}
    assert {unit for _, _, value, unit, _ in entries if isinstance(value, int | float)} <= units
    named = [f"{row[0]}.{row[1]}" for name in ("policy_limits.csv", "policy_reach.csv") for row in rows(name)]
    named += [name for row in rows("policy_order.csv") for name in row[:2]]
    assert [name for name in named if name not in known] == []


def test_a_rule_that_cannot_fire_is_named_whatever_entry_does_it(tmp_path: Path) -> None:
    texts = {
        "[rpd_1]\nbelow_cells_per_ul = 2": "RPD-1",
        "[rpd_2]\nwindow_d = 1": "RPD-2",
        "[rpd_3]\nnoise_ratio = 50.0": "RPD-3",
        "[episode]\npersistent_minimum_n = 5000": "EPI-2",
        "[cytopenia]\nplatelets_below_1e9_per_l = 0.1": "SEV-5",
        "[silence]\nnewest_result_h = 5000": "late feed",
        "[drug]\nrecovery_d = 1": "drug.recovery_d",
    }
    for number, (text, rule) in enumerate(texts.items()):
        folder = tmp_path / str(number)
        folder.mkdir()
        (told,) = policy_faults(load_policy(policy(folder, text)))
        assert rule in told
        assert text.split("\n")[1].split(" ")[0] in told
    assert policy_faults(load_policy(policy(tmp_path, "[rpd_1]\nbelow_cells_per_ul = 1800"))) == []


def test_every_number_tenfold_is_refused_or_told(tmp_path: Path) -> None:
    """No entry can be moved far without a refusal or a word, also one that is added tomorrow."""
    known = {f"{section}.{name}": Entry(value, unit) for section, name, value, unit, _ in policy_entries()}
    for section, name, value, _, _ in policy_entries():
        if not isinstance(value, int | float):
            continue
        for moved in (value * 1_000_000, value / 1_000_000):
            number = moved if isinstance(value, float) else max(1, int(moved))
            if value / 10 <= number <= value * 10:
                continue
            text = f"[{section}]\n{name} = {number}"
            folder = tmp_path / f"{section}.{name}.{moved > value}"
            folder.mkdir()
            try:
                chosen = load_policy(policy(folder, text))
            except ConfigurationError:
                continue
            assert policy_faults(chosen), text
    assert own_value("rpd_1.window_d", 14, known) == 14
    check_values({where: entry.value for where, entry in known.items()}, known)


def test_a_run_says_in_summary_and_report_what_its_policy_switches_off(tmp_path: Path) -> None:
    own = policy(tmp_path, "[rpd_1]\nbelow_cells_per_ul = 2")
    summary = night(tmp_path / "s.duckdb", policy=own, reports=tmp_path / "reports")
    told = [warning["detail"] for warning in summary.warnings if warning["kind"] == "policy"]
    assert len(told) == 1
    assert "RPD-1 can hardly fire: rpd_1.below_cells_per_ul is 2 cells/uL, built in 2000 cells/uL" in str(told[0])
    assert "RPD-1 can hardly fire" in (tmp_path / "reports" / "report.html").read_text("utf-8")
    assert [kind for _, kind, *_ in table(tmp_path / "s.duckdb", "run_warning")].count("policy") == 1


def test_the_policy_of_a_past_run_is_read_whatever_version_wrote_it() -> None:
    kept = load_policy().model_dump()
    kept["rpd_1"]["below_cells_per_ul"] = 1800.0
    kept["rpd_1"]["no_rule_reads_this_any_more"] = 1
    kept["a_section_of_old"] = {"number": 1}
    del kept["backtest"]
    del kept["rpd_3"]["around_n"]
    read = policy_of_run(json.dumps(kept))
    assert read.rpd_1.below_cells_per_ul == 1800
    assert (read.backtest, read.rpd_3.around_n) == (load_policy().backtest, load_policy().rpd_3.around_n)
    assert policy_of_run(None) == load_policy()
    assert policy_of_run(load_policy().model_dump_json()) == load_policy()
