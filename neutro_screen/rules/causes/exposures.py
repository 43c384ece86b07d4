"""From the lines of a medication list to courses of each drug (DRG-1).

A course is the time without a pause longer than the drug still acts. Where the window of a drug counts from a dose
(cytotoxics) or from the last dose (CD20 antibodies), every dose or cycle is a course of its own, and a line without an
end is one dose, not a treatment that goes on.
"""

import re
from datetime import date
from typing import Final

import polars as pl

from neutro_screen.reference import Policy
from neutro_screen.reference.causality import CauseRules
from neutro_screen.reference.drugs import DrugTables
from neutro_screen.rules.course.given import UNDATED
from neutro_screen.text import match_key

KEYS: Final = ("patient_id", "ingredient")
_PROFILE: Final = ("ingredient", "use")
_OPEN: Final = date.max
_NOT_GIVEN: Final = ("not_given", "unknown")


def drug_profiles(tables: DrugTables, policy: Policy, rules: CauseRules) -> pl.DataFrame:
    """One row per ingredient and use that causes neutropenia or raises the ANC, and per ATC class to fall back on.

    Columns: ingredient (the class's name for a class), use (null = any but those of ``drug_uses.csv``), is_class, is_cause,
    is_confounder, drug_class, mechanism, evidence, onset_from_d, onset_to_d, is_window_open (the window has no end while
    it is given; DRG-7), nadir_from_d, nadir_to_d, recovery_d, lag_d (days after the last dose for which a new fall may
    come, at least the policy's), anchor (first_exposure, each_dose, last_dose), is_expected, effect, mask_d (days after
    the last dose in which it still raises the ANC).
    """
    named = _causes(tables).join(
        tables.confounders.select("ingredient", "effect", is_confounder=pl.lit(True), mask_d="confounding_window_days"),
        on="ingredient",
        how="full",
        coalesce=True,
    )
    classes = _classes(tables, rules).join(named, on="ingredient", how="anti")
    return (
        pl.concat([named, classes], how="diagonal_relaxed")
        .with_columns(
            pl.col("is_class", "is_cause", "is_confounder", "is_expected", "is_window_open").fill_null(False),
            pl.col("anchor").fill_null("first_exposure"),
            lag_d=pl.max_horizontal(pl.col("lag_d"), pl.lit(policy.drug.lag_d, pl.Int64)),
        )
        .sort(_PROFILE)
    )


_WINDOWS: Final = {
    "onset_from_d": "typical_onset_days_min",
    "onset_to_d": "typical_onset_days_max",
    "is_window_open": "window_open",
    "nadir_from_d": "nadir_days_min",
    "nadir_to_d": "nadir_days_max",
    "recovery_d": "recovery_days_typical",
    "lag_d": "max_lag_after_last_dose_days",
    "anchor": "window_anchor",
    "is_expected": "expected_effect",
}


def _causes(tables: DrugTables) -> pl.DataFrame:
    """The rows of ``drug_causes.csv``, and those of ``drug_uses.csv`` with the windows of that use."""
    own = ("ingredient", "drug_class", "mechanism", "evidence")
    flags = {"is_class": pl.lit(False), "is_cause": pl.lit(True)}
    causes = tables.causes.select(*own, use=pl.lit(None, pl.String), **flags, **_WINDOWS)
    uses = tables.uses.join(tables.causes.select(own), on="ingredient", validate="m:1")
    return pl.concat([causes, uses.select(*own, "use", **flags, **_WINDOWS)])


def _classes(tables: DrugTables, rules: CauseRules) -> pl.DataFrame:
    """The classes of ``atc_prefix_causes.csv``, for lines that name no listed ingredient."""
    exposure = rules.exposure
    from_d, to_d = exposure.class_onset_days
    protects = pl.col("default_class") == "none_protective"
    return (
        tables.atc_prefixes.filter(pl.col("default_class") != "not_systemic")
        .sort("atc_prefix")
        .unique("drug_class_name", keep="first", maintain_order=True)
        .select(
            "mechanism",
            "evidence",
            ingredient="drug_class_name",
            drug_class="default_class",
            is_class=pl.lit(True),
            is_cause=~protects,
            is_confounder=protects,
            onset_from_d=pl.lit(from_d, pl.Int64),
            onset_to_d=pl.lit(to_d, pl.Int64),
            nadir_from_d="nadir_days_min",
            nadir_to_d="nadir_days_max",
            recovery_d="recovery_days",
            lag_d=pl.lit(exposure.class_lag_d, pl.Int64),
            anchor=pl.col("window_anchor").fill_null("first_exposure"),
            is_expected="expected_effect",
            effect=pl.when(protects).then(pl.lit("raises_anc")),
            mask_d=pl.when(protects).then(pl.lit(exposure.class_mask_d, pl.Int64)),
        )
    )


def exposures_per_patient(matched: pl.LazyFrame, tables: DrugTables, policy: Policy, rules: CauseRules) -> pl.LazyFrame:
    """One row per patient, drug and course.

    ``matched`` comes from ``drug_names.match_medications`` over ``Medication``. Lines that were not taken (their
    status or their text says so) or whose route does not act on the body make no course; ``n_not_given`` counts them
    beside the courses of the same drug. An end before the start counts as the day of the start. No end is open (null), except for a line that its status or text calls ended and for doses (see the
    module): known for the first day only.

    A line without a first day (a list of current drugs) is a course of its own, from ``given.UNDATED``, to its last day or
    open; one that has ended without a last day tells nothing, and one beside a dated line that is open nothing new. So is
    one whose first day cannot be read.

    A last day that cannot be read says that there was, or is to be, an end, and not which: the course stays open, since a
    drug would be lost by any day that is guessed, and is marked, so that nothing is concluded from its going on.

    A line belongs to a use of its drug (``drug_uses.csv``) by its ATC code or its name; a course takes that of its first line.

    Columns: patient_id, ingredient, the columns of ``drug_profiles``, course (1 = first), first_exposure (earliest
    day its first line allows), first_exposure_latest (latest such day), last_exposure (null = open), is_start_unread (its first
    day was sent and could not be read), is_end_unread (every line that leaves it open has a last day that could not be
    read), last_start (start of its latest line), n_orders, n_not_given, part_of (the drug of the same days with which it counts as one
    exposure, ``drug_combinations.csv``), parts (the other way round: names, joined). Sorted.
    """
    profiles = drug_profiles(tables, policy, rules)
    lines = _with_drug(matched, tables).join(
        profiles.lazy(), on=list(_PROFILE), how="inner", nulls_equal=True, validate="m:1"
    )
    # Lines and courses are each looked at several times below; polars would work them out anew every time.
    judged = lines.with_columns(is_given=is_given(rules)).pipe(_with_undated, rules).collect().lazy()
    is_dose = pl.col("anchor") != "first_exposure"
    end_unknown = pl.col("end_date").is_null() & (is_dose | has_ended(rules)) & ~pl.col("is_undated")
    gap = (
        pl.when(is_dose)
        .then(pl.lit(rules.exposure.each_dose_gap_d, pl.Int64))
        .otherwise(pl.max_horizontal(pl.col("lag_d"), pl.lit(rules.exposure.shortest_gap_d, pl.Int64)))
    )
    given = (
        judged.filter("is_given")
        .with_columns(
            end=pl.when(end_unknown)
            .then("start_date")
            .otherwise(pl.max_horizontal("start_date", pl.col("end_date").fill_null(_OPEN))),
            gap=gap,
        )
        .sort(*KEYS, "start_date", "end", "start_date_latest")
        .with_columns(
            covered_to=pl.col("end").cum_max().shift(1).over(*KEYS, "is_undated", order_by=["start_date", "end"])
        )
        .with_columns(
            pause=pl.when(pl.col("covered_to") == _OPEN)
            .then(-1)
            .otherwise((pl.col("start_date") - pl.col("covered_to")).dt.total_days())
        )
        .with_columns(
            course=(pl.col("pause").is_null() | (pl.col("pause") > pl.col("gap")))
            .cum_sum()
            .over(KEYS, order_by=["start_date", "end"])
            .cast(pl.Int64)
        )
    )
    is_open = pl.col("end") == _OPEN
    courses = (
        given.group_by(*KEYS, "course")
        .agg(
            first_exposure=pl.col("start_date").min(),
            first_exposure_latest=pl.col("start_date_latest").sort_by("start_date", "start_date_latest").first(),
            last_exposure=pl.col("end").max().replace(_OPEN, None),
            is_start_unread=pl.col("start_as_sent").is_not_null().any(),
            is_end_unread=is_open.any() & (pl.col("end_as_sent").is_not_null() | ~is_open).all(),
            last_start=pl.col("start_date").max(),
            n_orders=pl.len().cast(pl.Int64),
            use=pl.col("use").sort_by("start_date", "end", "use").first(),
        )
        .collect()
        .lazy()
    )
    not_given = judged.filter(~pl.col("is_given")).group_by(KEYS).agg(n_not_given=pl.len().cast(pl.Int64))
    return (
        _with_combinations(courses, tables)
        .join(not_given, on=KEYS, how="left")
        .with_columns(pl.col("n_not_given").fill_null(0))
        .join(profiles.lazy(), on=list(_PROFILE), how="left", nulls_equal=True, validate="m:1")
        .sort(*KEYS, "course")
    )


def _with_undated(lines: pl.LazyFrame, rules: CauseRules) -> pl.LazyFrame:
    """Lines without a first day, ``is_undated``, begin on ``UNDATED``; those that tell nothing are no exposures."""
    is_undated, is_open = pl.col("start_date").is_null(), pl.col("end_date").is_null()
    goes_on = is_open & pl.col("end_as_sent").is_null() & ~has_ended(rules)
    is_dated_open = ~is_undated & goes_on & (pl.col("anchor") == "first_exposure")
    tells = ~is_undated | ~(has_ended(rules) & is_open | is_dated_open.any().over(KEYS))
    return lines.with_columns(
        is_undated=is_undated,
        is_given=pl.col("is_given") & tells,
        start_date=pl.col("start_date").fill_null(UNDATED),
        start_date_latest=pl.col("start_date_latest").fill_null(date.max),
    )


def _with_combinations(courses: pl.LazyFrame, tables: DrugTables) -> pl.LazyFrame:
    """Add ``part_of`` and ``parts``: courses of the two drugs of a combination that begin and end on the same days."""
    days = ["patient_id", "first_exposure", "last_exposure"]
    parts = courses.select(*days, "course", part="ingredient").join(tables.combinations.lazy(), on="part")
    mains = courses.select(*days, "course", main="ingredient")
    pairs = parts.join(mains, on=[*days, "main"], nulls_equal=True, suffix="_of_main")
    part_of = pairs.group_by("patient_id", "part", "course").agg(part_of=pl.col("main").min())
    named = pairs.group_by("patient_id", "main", course="course_of_main").agg(
        parts=pl.col("part").unique().sort().str.join(" and ")
    )
    course = ["patient_id", "ingredient", "course"]
    return courses.join(part_of.rename({"part": "ingredient"}), on=course, how="left", validate="1:1").join(
        named.rename({"main": "ingredient"}), on=course, how="left", validate="1:1"
    )


def is_given(rules: CauseRules) -> pl.Expr:
    """A matched line that is an exposure: neither status nor text denies it, and the route acts on the body."""
    denied = _status_is(rules.exposure.not_given_words) | pl.col("exposure").is_in(_NOT_GIVEN).fill_null(False)
    return ~denied & pl.col("is_systemic").fill_null(True)


def has_ended(rules: CauseRules) -> pl.Expr:
    """Status or text of a line say that the drug is no longer given."""
    return _status_is(rules.exposure.ended_words) | (pl.col("exposure") == "ended").fill_null(False)


def _status_is(words: tuple[str, ...]) -> pl.Expr:
    return match_key(pl.col("status")).is_in(words).fill_null(False)


def _with_drug(matched: pl.LazyFrame, tables: DrugTables) -> pl.LazyFrame:
    """The lines that name a drug of the tables, with its use; where only the class is known the class is named."""
    classes = tables.atc_prefixes.lazy().select(matched_text="atc_prefix", class_name="drug_class_name")
    dates = ("start_date", "start_date_latest", "end_date", "start_as_sent", "end_as_sent")
    own = ("patient_id", *dates, "status", "is_systemic", "exposure")
    by_class = pl.when(pl.col("matched_by") == "atc_prefix").then("class_name")
    return (
        matched.join(classes, on="matched_text", how="left", validate="m:1")
        .with_columns(ingredient=pl.coalesce("ingredient", by_class))
        .filter(pl.col("ingredient").is_not_null())
        .select(*own, "ingredient", use=_use(tables))
    )


def _use(tables: DrugTables) -> pl.Expr:
    """The use of a line's drug, by its ATC code, else by its name; null where neither tells one."""
    code, name = pl.col("atc_code").str.strip_chars().str.to_uppercase(), pl.col("drug_name").str.to_lowercase()
    uses = tables.uses.sort("ingredient", "use").to_dicts()
    by_code = [
        pl.when(is_drug & code.is_in(use["atc_codes"].split(";"))).then(pl.lit(use["use"]))
        for use, is_drug in ((use, pl.col("ingredient") == use["ingredient"]) for use in uses)
    ]
    by_name = [
        pl.when((pl.col("ingredient") == use["ingredient"]) & name.str.contains(_whole_words(use["names"]))).then(
            pl.lit(use["use"])
        )
        for use in uses
        if use["names"]
    ]
    return pl.coalesce(*by_code, *by_name, pl.lit(None, pl.String))


def _whole_words(names: str) -> str:
    """A regular expression that finds any of the names as whole words."""
    return rf"\b(?:{'|'.join(re.escape(name) for name in names.split(';'))})\b"
