"""The restore of docs/operations.md: a copy of the file put back, and the nights since then run again."""

import shutil
from datetime import datetime
from pathlib import Path

import polars as pl
import pytest

from neutro_screen.errors import StoreError
from neutro_screen.pipeline.options import RunOptions
from neutro_screen.pipeline.run import run
from tests.nights import SAMPLE
from tests.store.test_backfill import tables


def test_a_copy_put_back_and_the_lost_nights_run_again_give_what_was_lost(tmp_path: Path) -> None:
    labs = pl.read_csv(SAMPLE / "labs.csv", infer_schema=False)
    is_late = pl.col("resulted_at").fill_null("") >= "2026-11"
    for name, rows in (("early", labs.filter(~is_late)), ("late", labs.filter(is_late))):
        assert rows.height > 50
        rows.write_csv(tmp_path / f"{name}.csv")
    store, backup = tmp_path / "s" / "s.duckdb", tmp_path / "backup.duckdb"

    def night(pattern: str, day: int) -> None:
        run(RunOptions(store=store, as_of=datetime(2026, 11, day, 2), labs=(str(tmp_path / pattern),), max_rejected=1))

    night("early.csv", 21)
    shutil.copyfile(store, backup)
    night("late.csv", 22)
    before = tables(store)
    assert before["worklist"].height

    store.write_bytes(store.read_bytes()[:4096] + b"\0" * 4096)
    with pytest.raises(StoreError):
        night("late.csv", 22)
    backup.replace(store)
    night("*.csv", 22)  # everything since ever: what the copy holds counts as duplicate
    after = tables(store)
    for name, frame in before.items():
        assert after[name].equals(frame), name
