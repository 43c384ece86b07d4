"""The ladder of clozapine monitoring, when the next count is due, and who is overdue (SEV-4)."""

from datetime import datetime
from functools import cache
from typing import Final

import pandera.polars as pa
import polars as pl

from neutro_schemas import ClozapineCourse, Flag
from neutro_screen.reference import Policy, reference_table
from neutro_screen.rules.counts.specimens import SPECIMEN, TIME_ORDER
from neutro_screen.rules.course.given import is_given, is_undated, known_day
from neutro_screen.rules.course.rapid_decline import has_rapid_decline
from neutro_screen.validate import dtypes

_END_UNREAD: Final = " (its end date could not be read: it counts as given)"


class ClozapineStep(pa.DataFrameModel):
    """One step of one schedule for one stretch of treatment, with the time within which the next count is due."""

    schedule: str = pa.Field(isin=("us", "eu"), description="Whose schedule.")
    population: str = pa.Field(isin=("general", "duffy_null"), description="Duffy-null only where recorded.")
    step: str = pa.Field(isin=("normal", "mild", "moderate", "severe"), description="Step of the ladder.")
    lower_cells_per_ul: float = pa.Field(ge=0, description="Lowest ANC of the step, included.")
    upper_cells_per_ul: float = pa.Field(nullable=True, description="ANC at which the next step begins; null = none.")
    from_day: int = pa.Field(ge=0, description="First day of treatment it applies to, counted from 0.")
    to_day: int = pa.Field(nullable=True, description="Day on which it no longer applies; null = without end.")
    history: str = pa.Field(
        isin=("any", "never_neutropenic", "ever_neutropenic"), description="What has happened on treatment."
    )
    next_anc_within: int = pa.Field(gt=0, description="The next count is due within so long.")
    unit: str = pa.Field(isin=("h",), description="Unit of next_anc_within.")
    source: str = pa.Field(str_length={"min_value": 1}, description="Source of the row.")

    class Config:
        strict = True


@cache
def load_clozapine_steps() -> pl.DataFrame:
    """Read and check ``clozapine.csv``.

    Raises:
        ReferenceDataError: the table does not fit its contract.
    """
    return reference_table("clozapine.csv", ClozapineStep)


def with_clozapine_ladder(
    anc: pl.LazyFrame, exposures: pl.LazyFrame, patients: pl.LazyFrame, policy: Policy
) -> pl.LazyFrame:
    """Add ``clozapine_step`` (normal, mild, moderate, severe) and ``next_anc_due`` (UTC), null off clozapine.

    ``exposures`` (patient_id, first_exposure, first_exposure_latest, last_exposure; Date, null = still given) are those to clozapine; a
    course is current from its first to its last day. ``patients`` has patient_id and ``duffy_null``. The policy says
    whose schedule applies; the first low count after none or a normal one is repeated within a day. A bound that
    leaves the step open (``<`` above the step's lower limit) counts as the step just below the bound. After a rapid
    decline the next count is due as WRK-2 says where that is sooner: one date everywhere. The
    schedule counts from the latest day on which it may have begun: of a start in "2026" the last of that year, and where
    since when it is given is not known, the schedule of the first weeks holds for good. Normal counts on file prove
    nothing of the start, and a line that was on an earlier list does not prove that it was given ever since.
    """
    on_drug = _on_clozapine(anc, exposures, patients)
    steps = load_clozapine_steps().lazy().filter(pl.col("schedule") == policy.clozapine.schedule)
    due = on_drug.join(steps, on="population").filter(_in_step() & _in_time()).pipe(_with_history)
    return anc.join(
        due.select(*SPECIMEN, clozapine_step="step", next_anc_due=_due(policy)),
        on=SPECIMEN,
        how="left",
        maintain_order="left",
    )


def _on_clozapine(anc: pl.LazyFrame, exposures: pl.LazyFrame, patients: pl.LazyFrame) -> pl.LazyFrame:
    recorded = patients.group_by("patient_id").agg(is_duffy_null=pl.col("duffy_null").any())
    day = pl.col("collected_at").dt.date()
    current = (
        anc.filter(pl.col("severity").is_not_null())
        .select(*TIME_ORDER, "anc_cells_per_ul", "anc_comparator", fell=has_rapid_decline())
        .join(
            exposures.select("patient_id", "first_exposure", "first_exposure_latest", "last_exposure"), on="patient_id"
        )
        .filter(is_given(day))
    )
    # Overlapping courses are one treatment: the earliest start counts.
    return (
        current.group_by(TIME_ORDER)
        .agg(
            pl.col("first_exposure", "first_exposure_latest").min(),
            pl.col("anc_cells_per_ul", "anc_comparator", "fell").first(),
        )
        .join(recorded, on="patient_id", how="left")
        .with_columns(
            treatment_day=(day - pl.col("first_exposure_latest")).dt.total_days().clip(lower_bound=0),
            population=pl.when(pl.col("is_duffy_null").fill_null(False))
            .then(pl.lit("duffy_null"))
            .otherwise(pl.lit("general")),
        )
    )


def _in_step() -> pl.Expr:
    count, lower, upper = (pl.col(name) for name in ("anc_cells_per_ul", "lower_cells_per_ul", "upper_cells_per_ul"))
    exact = (count >= lower) & (count < upper).fill_null(True)
    below = (count > lower) & (count <= upper).fill_null(True)
    is_zero = (count == 0) & (lower == 0)
    return pl.when(pl.col("anc_comparator") == "<").then(below | is_zero).otherwise(exact)


def _in_time() -> pl.Expr:
    day = pl.col("treatment_day")
    return (day >= pl.col("from_day")) & (day < pl.col("to_day")).fill_null(True)


def _with_history(due: pl.LazyFrame) -> pl.LazyFrame:
    """Keep the row that fits what happened on this treatment; add ``is_first_low``."""
    course = ["patient_id", "first_exposure"]
    is_low = pl.col("step") != "normal"
    so_far = is_low.cum_max().over(course, order_by=TIME_ORDER[1:])
    before = is_low.shift(1).over(course, order_by=TIME_ORDER[1:])
    fits = pl.col("history").is_in(["any"]) | (
        pl.col("history")
        == pl.when(pl.col("was_low")).then(pl.lit("ever_neutropenic")).otherwise(pl.lit("never_neutropenic"))
    )
    return due.with_columns(was_low=so_far, is_first_low=is_low & ~before.fill_null(False)).filter(fits)


def _due(policy: Policy) -> pl.Expr:
    first_low = pl.when("is_first_low").then(policy.clozapine.first_low_repeat_h)
    fallen = pl.when("fell").then(policy.worklist.repeat_rapid_decline_h)
    return pl.col("collected_at") + pl.duration(hours=pl.min_horizontal("next_anc_within", first_low, fallen))


def clozapine_courses_now(anc: pl.LazyFrame, exposures: pl.LazyFrame, policy: Policy, as_of: datetime) -> pl.LazyFrame:
    """One row per patient on clozapine at the index time, with the columns of ``ClozapineCourse``.

    ``anc`` comes from ``with_clozapine_ladder``; ``exposures`` as there. Without any count on the course
    the first is due within the first interval of the schedule, counted from the first day; where that is not known, it is
    due already.
    """
    today = pl.lit(as_of).dt.date()
    current = (
        exposures.filter(is_given(today))
        .group_by("patient_id")
        .agg(
            pl.col("first_exposure").min(),
            last_exposure=pl.when(pl.col("last_exposure").null_count() == 0).then(pl.col("last_exposure").max()),
            is_end_unread=pl.col("is_end_unread").all(),
        )
    )
    counted = (
        anc.filter(pl.col("next_anc_due").is_not_null())
        .join(current.select("patient_id", "first_exposure"), on="patient_id")
        .filter(pl.col("collected_at").dt.date() >= pl.col("first_exposure"))
        .sort(TIME_ORDER)
        .unique("patient_id", keep="last", maintain_order=True)
        .select(
            "patient_id",
            "clozapine_step",
            "next_anc_due",
            last_anc_cells_per_ul="anc_cells_per_ul",
            last_anc_comparator="anc_comparator",
            last_collected_at="collected_at",
        )
    )
    first_h = load_clozapine_steps().filter(
        (pl.col("schedule") == policy.clozapine.schedule) & (pl.col("step") == "normal") & (pl.col("from_day") == 0)
    )["next_anc_within"]
    begun = pl.col("first_exposure").cast(pl.Datetime("us")) + pl.duration(hours=int(first_h[0]))
    first_due = pl.when(~is_undated()).then(begun).otherwise(pl.lit(as_of).dt.truncate("1d").dt.offset_by("-1d"))
    return (
        current.join(counted, on="patient_id", how="left")
        .with_columns(known_day("first_exposure"), next_anc_due=pl.coalesce("next_anc_due", first_due))
        .select(list(dtypes(ClozapineCourse)))
        .sort("patient_id")
    )


def clozapine_flags(courses: pl.LazyFrame, as_of: datetime) -> pl.LazyFrame:
    """SEV-4: the ANC of a current course is overdue, with the columns of ``Flag``; raised when it became so.

    ``courses`` comes from ``clozapine_courses_now``.
    """
    overdue = courses.filter(pl.lit(as_of) > pl.col("next_anc_due"))
    counted = pl.concat_str(pl.lit("the last count was on "), pl.col("last_collected_at").dt.strftime("%Y-%m-%d"))
    return overdue.select(
        "patient_id",
        specimen_id=pl.lit(None, pl.String),
        episode_id=pl.lit(None, pl.String),
        rule_id=pl.lit("SEV-4"),
        raised_at="next_anc_due",
        reason=pl.format(
            "clozapine {}{} and the ANC overdue since {}; {}",
            pl.coalesce(
                pl.format("since {}", pl.col("first_exposure").dt.strftime("%Y-%m-%d")),
                pl.lit("now, since when is not known (the schedule of the first weeks holds),"),
            ),
            pl.when("is_end_unread").then(pl.lit(_END_UNREAD)).otherwise(pl.lit("")),
            pl.col("next_anc_due").dt.strftime("%Y-%m-%d %H:%M"),
            pl.coalesce(counted, pl.lit("no count on this course")),
        ),
        evidence=pl.struct(
            first_exposure=pl.col("first_exposure").dt.strftime("%Y-%m-%d"),
            next_anc_due=pl.col("next_anc_due").dt.strftime("%Y-%m-%dT%H:%M:%S"),
            last_anc_cells_per_ul="last_anc_cells_per_ul",
        ).struct.json_encode(),
    ).select(list(dtypes(Flag)))
