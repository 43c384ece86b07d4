"""Why a drug is suspected, or not, in one sentence: a function a clause (DRG-1 ... DRG-7)."""

from typing import Final

import polars as pl

from neutro_screen.reference.causality import CauseRules
from neutro_screen.rules.causes.lines import DAY
from neutro_screen.rules.course.given import is_undated, may_have_ended
from neutro_screen.rules.words import count_text, number

_LOW_BEFORE: Final = "the count was low before it"
_RECOVERED_WHILE_GIVEN: Final = "recovered while it was given"
_NOT_RECOVERED: Final = "no recovery after stopping"
_TOLERATED: Final = "tolerated when given again"
_OUTSIDE: Final = "outside its window"
_OUTSIDE_NADIR: Final = "outside its nadir window"
_NO_COUNT_BEFORE: Final = "no count before"
_FOR_FIRST_SYMPTOMS: Final = "may have been begun for the first symptoms of the fall"
_UNDATED: Final = "taken now by the drug list, since when is not known"
_UNDATED_ENDED: Final = "since when it was given is not known"
_START_UNREAD: Final = " (its start date could not be read)"
_END_UNREAD: Final = "its end date could not be read, so whether it was still given is not known"
_NO_START: Final = "its window cannot be judged without a start date"
_EXPECTED: Final = "expected effect; "
_BEYOND: Final = "beyond what is expected"
_RECURRED: Final = "an earlier episode on the same drug"
_MISSED_WINDOW: Final = rf"(?:{_OUTSIDE}|{_OUTSIDE_NADIR}) \([^)]*\)"
#: Clauses that argue against a drug, as a pattern.
_AGAINST: Final = "|".join(
    [
        _LOW_BEFORE,
        _RECOVERED_WHILE_GIVEN,
        _NOT_RECOVERED,
        _TOLERATED,
        _MISSED_WINDOW,
        _NO_COUNT_BEFORE,
        _FOR_FIRST_SYMPTOMS,
    ]
)
#: Clauses that say what of it cannot be judged.
_NOT_JUDGED: Final = f"{_NO_START}|{_END_UNREAD}"
#: Clauses that argue for it beside time and window.
_FOR: Final = rf"recovered \d+ days? after stopping(?:, which something else may explain)?|{_RECURRED}"
_IS_COURSE: Final = pl.col("anchor") == "first_exposure"
#: A later fall of an episode, named by where it led from and to.
_IS_LATER: Final = pl.col("kind").is_in(["deeper", "halving"])
#: The partner of an interaction, where the pair is more than common.
_PARTNER: Final = pl.when(pl.col("partner_evidence") != "possible").then("partner")


def reason(rules: CauseRules) -> pl.Expr:
    """The sentence of a suspect: its time, its fit, what stopping and giving it again showed, and what competes."""
    expected = pl.when("is_in_time").then(pl.lit(_EXPECTED))
    facts = pl.concat_str(_together(), _began(), _nadir(), _fit(), _given(), separator=", ", ignore_nulls=True)
    details = pl.concat_str(
        _beyond(rules),
        _withdrawn(),
        _again(),
        pl.when(_PARTNER.is_null()).then(pl.format("given together with {}", "partner")),
        pl.format("one exposure with {}", "parts"),
        _baseline(),
        pl.when("is_protopathic").then(pl.lit(_FOR_FIRST_SYMPTOMS)),
        pl.when("is_class").then(pl.lit("known by its class only")),
        _competing(),
        separator="; ",
        ignore_nulls=True,
    )
    sentence = pl.concat_str(facts, details.replace("", None), separator="; ", ignore_nulls=True)
    name = pl.concat_str("ingredient", _PARTNER, separator=" with ", ignore_nulls=True)
    return pl.concat_str(name, pl.lit(": "), expected.fill_null(""), sentence)


def name_in(sentence: pl.Expr) -> pl.Expr:
    """The drug that a sentence of ``reason`` is about, with the partner of its pair."""
    return sentence.str.split(": ").list.first()


def case_for(sentence: pl.Expr) -> pl.Expr:
    """What a sentence of ``reason`` says for its drug: how its course went beyond what is expected, else its time, its
    window, and whether it is still given; and what stopping it and giving it again showed."""
    facts = sentence.str.strip_prefix(pl.concat_str(name_in(sentence), pl.lit(": "))).str.strip_prefix(_EXPECTED)
    in_time = (
        facts.str.split("; ")
        .list.first()
        .str.replace_all(f", (?:{_MISSED_WINDOW}|{_NO_COUNT_BEFORE}|{_NOT_JUDGED})", "")
    )
    time = pl.coalesce(sentence.str.extract(f"{_BEYOND}: ([^;]+)"), in_time)
    return pl.concat_str(time, _clauses(sentence, _FOR), separator=", ", ignore_nulls=True)


def case_against(sentence: pl.Expr) -> pl.Expr:
    """The clauses of a sentence of ``reason`` that argue against its drug; null where none does."""
    return _clauses(sentence, _AGAINST)


def not_judged(sentence: pl.Expr) -> pl.Expr:
    """The clauses of a sentence of ``reason`` that say what cannot be judged, for want of a date; null where none does."""
    return _clauses(sentence, _NOT_JUDGED)


def _clauses(sentence: pl.Expr, wanted: str) -> pl.Expr:
    """The clauses that a pattern finds, null where there is none."""
    return sentence.str.extract_all(wanted).list.join(", ").replace("", None)


def reason_of_exclusion() -> pl.Expr:
    """The sentence of a drug that began too late to have begun any fall of the episode."""
    after_d = (pl.col("first_exposure") - pl.col("onset_day")).dt.total_days()
    begun = (
        pl.when(after_d == 0)
        .then(pl.format("started on the day of {}", _what_fell()))
        .otherwise(pl.format("started {} after {}", _days(after_d), _what_fell()))
    )
    deepened = (
        pl.when(pl.col("first_exposure") < pl.col("nadir_day"))
        .then(pl.lit("; given before the lowest count, may have deepened it"))
        .otherwise(pl.lit(""))
    )
    return pl.concat_str("ingredient", pl.lit(": "), begun, pl.lit(", cannot have begun the fall"), deepened)


def _what_fell() -> pl.Expr:
    """The fall in words: the first low count, or from where to where a later one led."""
    fell = pl.format(
        "the fall from {} to {} cells/uL",
        count_text(pl.col("from_cells_per_ul"), pl.lit(None, pl.String)),
        count_text(pl.col("to_cells_per_ul"), pl.lit(None, pl.String)),
    )
    return pl.when(_IS_LATER).then(fell).otherwise(pl.lit("the first low count"))


def _days(count: pl.Expr) -> pl.Expr:
    return pl.format("{} {}", count, pl.when(count == 1).then(pl.lit("day")).otherwise(pl.lit("days")))


def _together() -> pl.Expr:
    """How long both drugs of a pair were taken before the fall, and how the partner acts."""
    fit = pl.when("is_reopened").then(pl.lit(", which re-opens its window")).otherwise(pl.lit(""))
    how = pl.when("is_condition").then(pl.lit("beside it for")).otherwise(pl.lit("taken together for"))
    most = pl.when(is_undated()).then(pl.lit(" at most")).otherwise(pl.lit(""))
    return pl.when(_PARTNER.is_not_null()).then(
        pl.format(
            "{}{} {} before {} ({}){}",
            how,
            most,
            _days(pl.col("days_together")),
            _what_fell(),
            pl.col("partner_mechanism").str.replace_all("; ", ", ", literal=True),
            fit,
        )
    )


def _last_dose() -> pl.Expr:
    """The last dose of the cycle before the fall."""
    return pl.min_horizontal(pl.col("last_exposure").fill_null(pl.col("onset_day")), "onset_day")


def _began() -> pl.Expr:
    """How long before the fall it was begun or given, by what its window counts from."""
    before, from_dose = _days(pl.col("days_to_low")), (pl.col("onset_day") - _last_dose()).dt.total_days()
    is_one_day = _last_dose() == pl.col("first_exposure")
    dose = pl.format(
        "{} {} after the {} of {}",
        _what_fell().str.strip_prefix("the "),
        _days(from_dose),
        pl.when(is_one_day).then(pl.lit("dose")).otherwise(pl.lit("last dose")),
        _last_dose().dt.strftime(DAY),
    )
    is_current = pl.col("stopped_on").is_null() & ~pl.col("is_end_unread")
    not_known = pl.when(is_current).then(pl.lit(_UNDATED)).otherwise(pl.lit(_UNDATED_ENDED))
    why = pl.when("is_start_unread").then(pl.lit(_START_UNREAD)).otherwise(pl.lit(""))
    return (
        pl.when(is_undated())
        .then(pl.concat_str(not_known, why))
        .when(pl.col("anchor") == "last_dose")
        .then(pl.format("last dose {} before {}", before, _what_fell()))
        .when(pl.col("anchor") == "each_dose")
        .then(dose)
        .when(pl.col("is_start_certain"))
        .then(pl.format("started {} before {}", before, _what_fell()))
        .otherwise(pl.format("started at most {} before {}", before, _what_fell()))
    )


def _fit() -> pl.Expr:
    """How the fall lies to the drug's own window; a re-opened one and a nadir window are named by themselves."""
    window = pl.format("({}-{} d)", "onset_from_d", "onset_to_d")
    words = {
        "inside": pl.format("inside its window {}", window),
        "overlaps": pl.format("the fall may lie inside its window {}", window),
        "late": pl.format("later than typical {}, but reactions come at any time on it", window),
        "unknown": pl.format("inside its window {}, {}", window, pl.lit(_NO_COUNT_BEFORE)),
        "outside": pl.format("{} {}", pl.lit(_OUTSIDE), window),
    }
    judged = pl.coalesce(pl.when(pl.col("onset") == onset).then(text) for onset, text in words.items())
    by_onset = pl.when(is_undated()).then(pl.lit(_NO_START)).otherwise(judged)
    return pl.when(~pl.col("is_reopened") & ~_has_nadir_window()).then(by_onset)


def _given() -> pl.Expr:
    """Whether it was still given at the first low count, and when it was stopped; null where doses count."""
    to_low_d = (pl.col("stopped_on") - pl.col("onset_day")).dt.total_days()
    return (
        pl.when(_IS_COURSE & pl.col("is_end_unread") & pl.col("stopped_on").is_null())
        .then(pl.lit(_END_UNREAD))
        .when(~_IS_COURSE | may_have_ended())
        .then(None)
        .when(pl.col("stopped_on").is_null())
        .then(pl.lit("still given"))
        .when(to_low_d < 0)
        .then(pl.format("stopped {} before it", _days(-to_low_d)))
        .when(to_low_d == 0)
        .then(pl.lit("stopped on that day"))
        .otherwise(pl.format("stopped {} after it", _days(to_low_d)))
    )


def _has_nadir_window() -> pl.Expr:
    """An expected effect is held against the nadir window of the dose instead of the window of a reaction."""
    return pl.col("is_in_time") & (pl.col("anchor") == "each_dose") & pl.col("nadir_from_d").is_not_null()


def _nadir() -> pl.Expr:
    """Of an expected effect: the day of the lowest count after the last dose, and whether a dose of the cycle explains it."""
    from_last = (pl.col("nadir_day") - _last_dose()).dt.total_days()
    is_usual = (pl.col("days_to_nadir") >= pl.col("nadir_from_d")) & (from_last <= pl.col("nadir_to_d"))
    fit = pl.when(is_usual).then(pl.lit("inside its nadir window")).otherwise(pl.lit(_OUTSIDE_NADIR))
    return pl.when(_has_nadir_window()).then(
        pl.format("lowest count on day {} after it, {} ({}-{} d)", from_last, fit, "nadir_from_d", "nadir_to_d")
    )


def _beyond(rules: CauseRules) -> pl.Expr:
    """In which way the course went on beyond the expected time (DRG-5)."""
    rule, day = rules.expected, pl.col("beyond_at").dt.strftime(DAY)
    limit = (
        f"below {number(rule.severe_below_cells_per_ul)} cells/uL for more than {rule.severe_d} days after its window"
    )
    return (
        pl.when(pl.col("beyond") == "severe")
        .then(pl.format("{}: still {} on {}", pl.lit(_BEYOND), pl.lit(limit), day))
        .when(pl.col("beyond") == "unrecovered")
        .then(pl.format("{}: still low on {}, after recovery was due", pl.lit(_BEYOND), day))
    )


def _baseline() -> pl.Expr:
    """What the count was before the drug, where that was low."""
    stable = pl.format(
        "a low count before it ({} cells/uL) was {}",
        count_text(pl.col("baseline_cells_per_ul"), pl.lit(None, pl.String)),
        pl.when(_IS_LATER).then(pl.lit("stable until this fall")).otherwise(pl.lit("far above this one")),
    )
    return (
        pl.when(pl.col("baseline") == "low").then(pl.lit(_LOW_BEFORE)).when(pl.col("baseline") == "stable").then(stable)
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
        .then(pl.lit(_RECOVERED_WHILE_GIVEN))
        .when(dechallenge == "not_recovered")
        .then(pl.lit(_NOT_RECOVERED))
        .when("is_single")
        .then(pl.lit("one low value only, so no dechallenge"))
        .when(pl.col("is_end_unread") & pl.col("stopped_on").is_null())
        .then(None)
        .when(pl.col("stopped_on").is_null())
        .then(pl.lit("dechallenge not yet possible"))
        .otherwise(pl.lit("recovery not yet known"))
    )


def _again() -> pl.Expr:
    """What giving it again showed."""
    return pl.when("has_recurred").then(pl.lit(_RECURRED)).when("was_tolerated").then(pl.lit(_TOLERATED))


def _competing() -> pl.Expr:
    cytotoxic = pl.when(~pl.col("is_in_time")).then(pl.format("expected effect of {}", "expected_drugs"))
    causes = pl.concat_str("alternatives", cytotoxic, separator=", ", ignore_nulls=True).replace("", None)
    return pl.format("competing: {}", causes)
