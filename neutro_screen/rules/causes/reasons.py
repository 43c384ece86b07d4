"""Why a drug is suspected, or not, in one sentence: a function a clause (DRG-1 ... DRG-4)."""

from typing import Final

import polars as pl

from neutro_screen.rules.causes.lines import DAY

_FITS: Final = {
    "inside": "inside its window",
    "overlaps": "the fall may lie inside its window",
    "unknown": "inside its window but without a normal count before",
    "outside": "outside its window",
}
_IS_COURSE: Final = pl.col("anchor") == "first_exposure"


def reason() -> pl.Expr:
    """The sentence of a suspect: its time, its fit, what stopping and giving it again showed, and what competes."""
    expected = pl.when("is_expected").then(pl.lit("expected effect; "))
    facts = pl.concat_str(_began(), _fit(), _given(), separator=", ", ignore_nulls=True)
    details = pl.concat_str(
        _nadir(),
        _withdrawn(),
        _again(),
        pl.format("together with {}", "partner"),
        pl.when(pl.col("baseline") == "low").then(pl.lit("the count was low before it")),
        pl.when("is_protopathic").then(pl.lit("may have been begun for the first symptoms of the fall")),
        pl.when("is_class").then(pl.lit("known by its class only")),
        _competing(),
        separator="; ",
        ignore_nulls=True,
    )
    sentence = pl.concat_str(facts, details.replace("", None), separator="; ", ignore_nulls=True)
    return pl.concat_str(pl.col("ingredient"), pl.lit(": "), expected.fill_null(""), sentence)


def reason_of_exclusion() -> pl.Expr:
    """The sentence of a drug that began too late to have begun the fall."""
    after_d = (pl.col("first_exposure") - pl.col("onset_day")).dt.total_days()
    begun = (
        pl.when(after_d == 0)
        .then(pl.lit("started on the day of the first low count"))
        .otherwise(pl.format("started {} after the first low count", _days(after_d)))
    )
    deepened = (
        pl.when(pl.col("first_exposure") < pl.col("nadir_day"))
        .then(pl.lit("; given before the lowest count, may have deepened it"))
        .otherwise(pl.lit(""))
    )
    return pl.concat_str("ingredient", pl.lit(": "), begun, pl.lit(", cannot have begun the fall"), deepened)


def _days(count: pl.Expr) -> pl.Expr:
    return pl.format("{} {}", count, pl.when(count == 1).then(pl.lit("day")).otherwise(pl.lit("days")))


def _began() -> pl.Expr:
    """How long before the first low count it was begun or given, by what its window counts from."""
    before = _days(pl.col("days_to_low"))
    dose = pl.format("first low count {} after the dose of {}", before, pl.col("anchor_day").dt.strftime(DAY))
    return (
        pl.when(pl.col("anchor") == "last_dose")
        .then(pl.format("last dose {} before the first low count", before))
        .when(pl.col("anchor") == "each_dose")
        .then(dose)
        .when(pl.col("is_start_certain"))
        .then(pl.format("started {} before the first low count", before))
        .otherwise(pl.format("started at most {} before the first low count", before))
    )


def _fit() -> pl.Expr:
    fit = pl.col("onset").replace_strict(_FITS)
    return pl.concat_str(fit, pl.format("({}-{} d)", "onset_from_d", "onset_to_d"), separator=" ")


def _given() -> pl.Expr:
    """Whether it was still given at the first low count, and when it was stopped; null where doses count."""
    to_low_d = (pl.col("stopped_on") - pl.col("onset_day")).dt.total_days()
    return (
        pl.when(~_IS_COURSE)
        .then(None)
        .when(pl.col("stopped_on").is_null())
        .then(pl.lit("still given"))
        .when(to_low_d < 0)
        .then(pl.format("stopped {} before it", _days(-to_low_d)))
        .when(to_low_d == 0)
        .then(pl.lit("stopped on that day"))
        .otherwise(pl.format("stopped {} after it", _days(to_low_d)))
    )


def _nadir() -> pl.Expr:
    """Of an expected effect: the day of the lowest count after the dose, and whether that is usual."""
    is_usual = pl.col("days_to_nadir").is_between("nadir_from_d", "nadir_to_d")
    fit = pl.when(is_usual).then(pl.lit("inside its nadir window")).otherwise(pl.lit("outside its nadir window"))
    has_window = (pl.col("anchor") == "each_dose") & pl.col("nadir_from_d").is_not_null()
    return pl.when(pl.col("is_expected") & has_window).then(
        pl.format("lowest count on day {} after it, {} ({}-{} d)", "days_to_nadir", fit, "nadir_from_d", "nadir_to_d")
    )


def _withdrawn() -> pl.Expr:
    """What stopping it showed; null where doses count."""
    took, dechallenge = _days(pl.col("recovery_took_d")), pl.col("dechallenge")
    return (
        pl.when(~_IS_COURSE)
        .then(None)
        .when(dechallenge == "recovered")
        .then(pl.format("recovered {} after stopping", took))
        .when(dechallenge == "recovered_confounded")
        .then(pl.format("recovered {} after stopping, which something else may explain", took))
        .when(dechallenge == "recovered_while_given")
        .then(pl.lit("recovered while it was given"))
        .when(dechallenge == "not_recovered")
        .then(pl.lit("no recovery after stopping"))
        .when("is_single")
        .then(pl.lit("one low value only, so no dechallenge"))
        .when(pl.col("stopped_on").is_null())
        .then(pl.lit("dechallenge not yet possible"))
        .otherwise(pl.lit("recovery not yet known"))
    )


def _again() -> pl.Expr:
    """What giving it again showed."""
    return (
        pl.when("has_recurred")
        .then(pl.lit("an earlier episode on the same drug"))
        .when("was_tolerated")
        .then(pl.lit("tolerated when given again"))
    )


def _competing() -> pl.Expr:
    cytotoxic = pl.when(~pl.col("is_expected")).then(pl.format("expected effect of {}", "expected_drugs"))
    causes = pl.concat_str("alternatives", cytotoxic, separator=", ", ignore_nulls=True).replace("", None)
    return pl.format("competing: {}", causes)
