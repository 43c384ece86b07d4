"""The library's own entry points: ``read``, ``screen`` and ``run``, for a notebook or another program."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import polars as pl

from neutro_schemas import LabResult, Patient, ScreenedResult
from neutro_screen import ingest as readers
from neutro_screen.errors import RefusedInputError
from neutro_screen.ingest import Extract, Kind, Profile, load_profile
from neutro_screen.ingest.layout import TYPED, native
from neutro_screen.pipeline.merges import survivors_said, with_survivor
from neutro_screen.pipeline.options import RunOptions, bytes_of, moment, now, utc
from neutro_screen.pipeline.rows import CHART
from neutro_screen.pipeline.run import run as run_pipeline
from neutro_screen.pipeline.screen import unusable_results
from neutro_screen.pipeline.summary import RunSummary
from neutro_screen.reference import Policy, load_policy, load_reference
from neutro_screen.rules.counts.results import judge_rows
from neutro_screen.rules.dates import DateLimits, date_limits, split_chart_dates
from neutro_screen.rules.protocol import ScreenResult
from neutro_screen.rules.protocol import screen as screen_history
from neutro_screen.validate import dtypes, in_shape, no_rows, split_valid

Paths = str | Path | Sequence[str | Path]


def read(path: Paths, format: str | None = None, profile: str | Path | None = None, *, kind: Kind = "lab") -> Extract:
    """Read files of one kind, or a folder format with all its kinds, into the canonical frames.

    Raises:
        NeutroScreenError: the input or the profile cannot be used.
    """
    return readers.ingest({kind: _words(path)}, load_profile(Path(profile) if profile is not None else None), format)


def screen(
    labs: pl.DataFrame,
    medications: pl.DataFrame | None = None,
    patients: pl.DataFrame | None = None,
    diagnoses: pl.DataFrame | None = None,
    events: pl.DataFrame | None = None,
    *,
    as_of: datetime | str,
    policy: Policy | str | Path | None = None,
) -> ScreenResult:
    """Screen frames; no files.

    ``labs`` are accepted results (``LabResult``), rows as ``read`` yields them (``LabRow``), or rows of the native
    layout (docs/formats.md), text or typed; the others have the columns of their models in ``neutro_schemas.chart``
    or the native layout. Rows that are refused make their patients *cannot assess*, as in a run. Records that
    ``patients`` merges (``replaced_by``) are one patient. A time without an offset is UTC.

    Raises:
        RefusedInputError: a frame has none of these shapes.
        ConfigurationError: the policy cannot be used.
    """
    index_time = moment(as_of) if isinstance(as_of, str) else utc(as_of)
    numbers = policy if isinstance(policy, Policy) else load_policy(Path(policy) if policy is not None else None)
    chart = {
        kind: _chart(kind, frame, date_limits(numbers, index_time))
        for kind, frame in zip(CHART, (medications, patients, diagnoses, events), strict=True)
    }
    unusable = None
    if set(dtypes(LabResult)) <= set(labs.columns):
        results = in_shape(labs, LabResult)
    else:
        judged = judge_rows(_lab_rows(labs), load_reference(), numbers, as_of=index_time, patients=chart["patient"])
        accepted, rejected = split_valid(judged.results, ScreenedResult)
        results = in_shape(accepted, LabResult)
        unusable = unusable_results(rejected, judged.no_results, index_time)
    survivors = survivors_said(no_rows(Patient) if chart["patient"] is None else chart["patient"])
    results = with_survivor(results, survivors)
    chart = {kind: None if rows is None else with_survivor(rows, survivors) for kind, rows in chart.items()}
    unusable = None if unusable is None else with_survivor(unusable, survivors)
    return screen_history(results, *chart.values(), as_of=index_time, policy=numbers, unusable=unusable)


def run(
    labs: Paths,
    store: str | Path,
    *,
    medications: Paths = (),
    patients: Paths = (),
    diagnoses: Paths = (),
    events: Paths = (),
    reports: str | Path | None = None,
    format: str | None = None,
    profile: str | Path | None = None,
    policy: str | Path | None = None,
    as_of: datetime | str | None = None,
    max_rejected: float = 0.2,
    strict: bool = False,
    rescreen_all: bool = False,
    pseudonymise: str | Path | None = None,
    memory: str = "4GB",
) -> RunSummary:
    """What ``neutro-screen run`` does, with its options.

    Raises:
        NeutroScreenError: one of its kinds, with the command's exit code; the previous results then stand.
    """
    settings = RunOptions(
        store=Path(store),
        as_of=now() if as_of is None else moment(as_of) if isinstance(as_of, str) else utc(as_of),
        labs=_words(labs),
        medications=_words(medications),
        patients=_words(patients),
        diagnoses=_words(diagnoses),
        events=_words(events),
        reports=_path(reports),
        format=format,
        profile=_path(profile),
        policy=_path(policy),
        max_rejected=max_rejected,
        strict=strict,
        rescreen_all=rescreen_all,
        pseudonymise=_path(pseudonymise),
        memory=bytes_of(memory),
    )
    return run_pipeline(settings)


def _lab_rows(labs: pl.DataFrame) -> pl.DataFrame:
    return labs if "value_text" in labs.columns else _from_native(labs, "lab")


def _chart(kind: Kind, frame: pl.DataFrame | None, limits: DateLimits) -> pl.DataFrame | None:
    if frame is None:
        return None
    shaped = frame if set(dtypes(CHART[kind])) <= set(frame.columns) else _from_native(frame, kind)
    return split_valid(split_chart_dates(in_shape(shaped, CHART[kind]), kind, limits).rows, CHART[kind]).accepted


def _from_native(frame: pl.DataFrame, kind: Kind) -> pl.DataFrame:
    texts = [
        pl.col(name).dt.to_string("iso:strict") if isinstance(dtype, pl.Datetime) else pl.col(name).cast(pl.String)
        for name, dtype in frame.schema.items()
        if name not in ("source_file", "source_row")
    ]
    rows = frame.select(*texts).with_row_index("source_row", offset=1).with_columns(pl.col("source_row").cast(pl.Int64))
    if not frame.width:
        raise RefusedInputError("a frame without columns", where=kind)
    return TYPED[kind](native(rows, kind, Profile(), f"{kind} frame")[0], Profile())


def _words(paths: Paths) -> tuple[str, ...]:
    return (str(paths),) if isinstance(paths, str | Path) else tuple(str(path) for path in paths)


def _path(path: str | Path | None) -> Path | None:
    return None if path is None else Path(path)
