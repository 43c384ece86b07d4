"""The library's own entry points: ``read``, ``screen`` and ``run``, for a notebook or another program."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final, Protocol, runtime_checkable

import polars as pl

from neutro_schemas import WITHHELD, LabResult, Patient, ScreenedResult
from neutro_screen import ingest as readers
from neutro_screen.admin.notify import notifying
from neutro_screen.errors import ConfigurationError, RefusedInputError
from neutro_screen.ingest import Extract, Kind, Profile, load_profile
from neutro_screen.ingest.layout import native
from neutro_screen.ingest.typed_rows import TYPED
from neutro_screen.pipeline.merges import survivors_said, with_survivor
from neutro_screen.pipeline.options import RunOptions, bytes_of, moment, now, utc
from neutro_screen.pipeline.rows import CHART
from neutro_screen.pipeline.run import run as run_pipeline
from neutro_screen.pipeline.screen import unusable_results
from neutro_screen.pipeline.summary import RunSummary
from neutro_screen.recognition.table import is_unused, recognition, unrecognised
from neutro_screen.reference import Policy, Reference, load_policy, load_reference
from neutro_screen.rules.counts.results import JudgedRows, judge_rows
from neutro_screen.rules.dates import DateLimits, date_limits, split_chart_dates
from neutro_screen.rules.protocol import ScreenResult
from neutro_screen.rules.protocol import screen as screen_history
from neutro_screen.validate import dtypes, in_shape, no_rows, split_valid

__all__ = ["Extract", "Profile", "RunSummary", "ScreenResult", "Screening", "read", "run", "screen"]


@runtime_checkable
class ArrowStream(Protocol):
    """A table of another library that polars takes without a copy (the Arrow PyCapsule interface)."""

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """The table as an Arrow stream."""


Paths = str | Path | Sequence[str | Path]
#: A polars frame, or an Arrow table or pandas frame: whatever gives an Arrow stream.
Frame = pl.DataFrame | pl.LazyFrame | ArrowStream


def read(
    path: Paths = (),
    format: str | None = None,
    profile: str | Path | Profile | None = None,
    *,
    kind: Kind = "lab",
    medications: Paths = (),
    patients: Paths = (),
    diagnoses: Paths = (),
    events: Paths = (),
) -> Extract:
    """Read files of every kind, or a folder format with all its kinds, into the canonical frames.

    ``path`` are laboratory files, or files of ``kind``. The extract carries its profile.

    Raises:
        NeutroScreenError: the input or the profile cannot be used.
    """
    if kind not in readers.KINDS:
        raise ConfigurationError(f"no kind of file {kind!r}", remedy=f"Known: {', '.join(readers.KINDS)}.")
    others: dict[Kind, Paths] = {
        "medication": medications,
        "patient": patients,
        "diagnosis": diagnoses,
        "event": events,
    }
    paths = {name: _words(given) for name, given in others.items()}
    paths[kind] = (*_words(path), *paths.get(kind, ()))
    told = profile if isinstance(profile, Profile) else load_profile(_path(profile))
    return readers.ingest(paths, told, format)


@dataclass(frozen=True)
class Screening(ScreenResult):
    """What the screen concludes, and what it could not use: never an empty table that looks like health.

    ``rejected``: refused laboratory rows with ``reason``; ``recognition``: every test and what it was read as
    (``RecognitionTable`` without run_id); ``unrecognised``: those of them that may feed the ANC and were not understood;
    ``unmapped``: those that are no business of the screen. All four are empty where results were given that had been
    accepted before (``LabResult``).
    """

    rejected: pl.DataFrame
    recognition: pl.DataFrame
    unrecognised: pl.DataFrame
    unmapped: pl.DataFrame


def screen(
    labs: Frame | Extract,
    medications: Frame | None = None,
    patients: Frame | None = None,
    diagnoses: Frame | None = None,
    events: Frame | None = None,
    *,
    as_of: datetime | str,
    policy: Policy | str | Path | None = None,
) -> Screening:
    """Screen an extract of ``read``, or frames; no files.

    An extract brings its profile and all its kinds. Frames are polars (lazy too), Arrow tables or pandas frames.

    ``labs`` are accepted results (``LabResult``), rows as ``read`` yields them (``LabRow``), or rows of the native
    layout (docs/formats.md), text or typed; the others have the columns of their models in ``neutro_schemas.chart``
    or the native layout. Rows that are refused make their patients *cannot assess*, as in a run. Records that
    ``patients`` merges (``replaced_by``) are one patient. A time without an offset is UTC.

    Raises:
        RefusedInputError: a frame has none of these shapes.
        ConfigurationError: the policy cannot be used.
    """
    profile = Profile()
    if isinstance(labs, Extract):
        profile, held = labs.profile, labs
        medications = held.medications if medications is None else medications
        patients = held.patients if patients is None else patients
        diagnoses = held.diagnoses if diagnoses is None else diagnoses
        events = held.events if events is None else events
        labs = held.labs
    labs = _frame(labs, "labs")
    index_time = moment(as_of) if isinstance(as_of, str) else utc(as_of)
    numbers = policy if isinstance(policy, Policy) else load_policy(Path(policy) if policy is not None else None)
    chart = {
        kind: _chart(kind, frame, date_limits(numbers, index_time))
        for kind, frame in zip(CHART, (medications, patients, diagnoses, events), strict=True)
    }
    unusable = None
    unused = {name: pl.DataFrame() for name in ("rejected", "recognition", "unrecognised", "unmapped")}
    if set(dtypes(LabResult)) <= set(labs.columns):
        results = in_shape(labs, LabResult)
    else:
        reference = load_reference().extended_by(
            profile.named_analytes, profile.statuses, profile.units, profile.specimens
        )
        judged = judge_rows(
            _lab_rows(labs),
            reference,
            numbers,
            as_of=index_time,
            patients=chart["patient"],
            decimal_mark=profile.decimal_mark,
        )
        accepted, rejected = split_valid(judged.results, ScreenedResult)
        results = in_shape(accepted, LabResult)
        unusable = unusable_results(rejected, judged.no_results, index_time)
        unused = _unused(judged, rejected, reference)
    survivors = survivors_said(no_rows(Patient) if chart["patient"] is None else chart["patient"])
    results = with_survivor(results, survivors)
    chart = {kind: None if rows is None else with_survivor(rows, survivors) for kind, rows in chart.items()}
    unusable = None if unusable is None else with_survivor(unusable, survivors)
    others = unused["rejected"].select("patient_id") if unused["rejected"].width else None
    concluded = screen_history(
        results, *chart.values(), as_of=index_time, policy=numbers, unusable=unusable, others=others
    )
    return Screening(**vars(concluded), **unused)


def run(
    labs: Paths,
    store: str | Path,
    *,
    medications: Paths = (),
    patients: Paths = (),
    diagnoses: Paths = (),
    events: Paths = (),
    reports: str | Path | None = None,
    reviews: str | Path | None = None,
    format: str | None = None,
    profile: str | Path | None = None,
    policy: str | Path | None = None,
    as_of: datetime | str | None = None,
    max_rejected: float = 0.2,
    strict: bool = False,
    rescreen_all: bool = False,
    new_store: bool = False,
    notify: str | Path | None = None,
    pseudonymise: str | Path | None = None,
    csv_bom: bool = False,
    memory: str = "4GB",
) -> RunSummary:
    """What ``neutro-screen run`` does, with its options. A notification that cannot be sent is a Python warning.

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
        reviews=_path(reviews),
        format=format,
        profile=_path(profile),
        policy=_path(policy),
        max_rejected=max_rejected,
        strict=strict,
        rescreen_all=rescreen_all,
        new_store=new_store,
        notify=_path(notify),
        pseudonymise=_path(pseudonymise),
        csv_bom=csv_bom,
        memory=bytes_of(memory),
    )
    with notifying(settings, lambda text: warnings.warn(text, stacklevel=2)) as night:
        summary = run_pipeline(settings, published=night.published)
        night.ended(summary)
    return summary


def _unused(judged: JudgedRows, rejected: pl.DataFrame, reference: Reference) -> dict[str, pl.DataFrame]:
    parts = [judged.results, judged.no_results.drop("kind"), judged.not_screened]
    every = pl.concat(parts, how="diagonal")
    counts = every.group_by("test_no").agg(
        rows=pl.len().cast(pl.Int64),
        patients=pl.col("patient_id").drop_nulls().n_unique().cast(pl.Int64),
        unused=is_unused().sum().cast(pl.Int64),
    )
    table = recognition(judged.origins, counts, reference)
    left_out = table.filter((pl.col("certainty") != "certain") & ~pl.col("reason").is_in(WITHHELD).fill_null(False))
    return {
        "rejected": rejected.select(
            "patient_id", "specimen_id", "collected_at", "analyte", "reason", "column", *_AS_SENT, "source_row"
        ),
        "recognition": table,
        "unrecognised": unrecognised(table),
        "unmapped": left_out,
    }


_AS_SENT: Final = ("analyte_name", "value_text", "unit_text")


def _frame(given: object, name: str) -> pl.DataFrame:
    """A frame of any library that polars takes, collected.

    Raises:
        RefusedInputError: it is none.
    """
    if isinstance(given, pl.DataFrame):
        return given
    if isinstance(given, pl.LazyFrame):
        return given.collect()
    if isinstance(given, ArrowStream):
        return pl.DataFrame(given)
    raise RefusedInputError(
        f"{name} is a {type(given).__name__}; a polars DataFrame or LazyFrame, an Arrow table or a pandas frame was expected",
        where="neutro_screen.screen",
        remedy="neutro_screen.read(path) gives an extract that can be screened as it is.",
    )


def _lab_rows(labs: pl.DataFrame) -> pl.DataFrame:
    return labs if "value_text" in labs.columns else _from_native(labs, "lab")


def _chart(kind: Kind, given: Frame | None, limits: DateLimits) -> pl.DataFrame | None:
    if given is None:
        return None
    frame = _frame(given, f"the {kind} frame")
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
