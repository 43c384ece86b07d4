"""What the tests of the worklist speak: night after night of the same patients, each against the night before."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import polars as pl

from neutro_schemas import Patient
from neutro_schemas.store import WorklistRow
from neutro_screen.reference import load_policy, load_reference
from neutro_screen.rules.protocol import ScreenResult
from neutro_screen.rules.worklist.order import open_cases, worklist_rows
from neutro_screen.validate import dtypes, no_rows


@dataclass
class Nights:
    """A series of nights: what each screening publishes as the worklist, as the store would."""

    previous: pl.DataFrame = field(default_factory=lambda: no_rows(WorklistRow))
    seen: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema={"episode_id": pl.String}))

    def after(self, result: ScreenResult, as_of: datetime) -> pl.DataFrame:
        """The worklist (``WorklistRow``) of a screening at its index time; it is the previous one of the next night."""
        reference, status = load_reference(), result.patient_status.lazy()
        cases = open_cases(result.episode.lazy(), result.flag.lazy(), status, self.seen.lazy(), reference)
        rows = worklist_rows(
            cases, status, self.previous.lazy(), result.episode.lazy(), reference, load_policy(), as_of, "R"
        ).collect()
        self.previous = rows
        self.seen = result.episode.filter(pl.col("ended_at").is_not_null()).select("episode_id")
        return rows


def of(rows: pl.DataFrame, patient: str = "1") -> dict[str, Any] | None:
    """The row of a patient, if there is one."""
    found = rows.filter(pl.col("patient_id") == patient).to_dicts()
    return found[0] if found else None


def person(**known: Any) -> pl.DataFrame:
    """A row of ``Patient``, of patient 1 where not named."""
    row = {"patient_id": "1", "source_file": "f", "source_row": 1} | known
    return pl.DataFrame([row], schema=dtypes(Patient))
