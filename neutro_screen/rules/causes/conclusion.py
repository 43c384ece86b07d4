"""One sentence per episode: the leading explanation, what argues for and against it, the first thing to do (WRK-4)."""

from typing import Final

import polars as pl

from neutro_screen.reference import Policy
from neutro_screen.reference.causality import CauseReference
from neutro_screen.rules.causes.duffy import DUFFY_GROUP
from neutro_screen.rules.causes.leading import LEADING
from neutro_screen.rules.causes.lines import DAY
from neutro_screen.rules.causes.masking import RAISES
from neutro_screen.rules.causes.pattern_evidence import ISOLATED
from neutro_screen.rules.causes.reasons import case_against, case_for, name_in, not_judged
from neutro_screen.rules.causes.telling import telling_tests
from neutro_screen.rules.words import count_text, number

_DRUG: Final = "medication"
_SURELY: Final = "most likely"
#: Drugs of one regimen are one explanation.
_OF_A_REGIMEN: Final = ("expected", "beyond_expected")
#: The rule whose pattern is named alone, and how many findings stand for another explanation.
_PATTERN: Final = "MAL-2"
_SHOWN_N: Final = 2
_EXPLANATION: Final = (
    "episode_id",
    "category",
    "weight",
    "is_drug",
    "place",
    "words",
    "case_for",
    "case_against",
    "not_judged",
)


def conclusions(
    episodes: pl.LazyFrame,
    falls: pl.LazyFrame,
    suspects: pl.LazyFrame,
    evidence: pl.LazyFrame,
    next_steps: pl.LazyFrame,
    done: pl.LazyFrame,
    policy: Policy,
    reference: CauseReference,
) -> pl.LazyFrame:
    """``episode_id, conclusion, telling_test``: one row per episode, sorted.

    ``falls`` is ``Fall``, ``suspects`` ``DrugSuspect``, ``evidence`` ``Evidence``. ``next_steps`` (patient_id, label,
    due_on, then_label) is what is to be done first for a patient, and after it where it is urgent too; it stands in the
    sentence of an open episode. ``done`` comes from ``telling.tests_done``. ``telling_test`` is the test that would best
    tell two explanations apart that lead with the same weight and that was not done; null where one leads. A persistent
    mild count without an explanation is told from a benign one by the Duffy phenotype.
    """
    ranked = _ranked_explanations(episodes, suspects, evidence, policy, reference).collect(engine="in-memory").lazy()
    first = ranked.filter(pl.col("rank") == 1).drop("rank")
    second = ranked.filter(pl.col("rank") == 2).select(
        "episode_id", second="words", second_category="category", second_weight="weight"
    )
    later = falls.filter(pl.col("leads_to_nadir") & pl.col("kind").is_in(["deeper", "halving"])).select(
        "episode_id", fell_from="from_cells_per_ul"
    )
    pair = (pl.col("category"), pl.col("second_category"))
    told = (
        episodes.join(later, on="episode_id", how="left", validate="1:1")
        .join(first, on="episode_id", how="left", validate="1:1")
        .join(second, on="episode_id", how="left", validate="1:1")
        .join(_hints(evidence, reference), on="episode_id", how="left", validate="1:1")
        .join(_of_earlier_falls(suspects), on="episode_id", how="left", validate="1:1")
        .join(_benign(evidence), on="episode_id", how="left", validate="1:1")
        .join(_masked(evidence), on="episode_id", how="left", validate="1:1")
        .join(next_steps, on="patient_id", how="left", validate="m:1")
    )
    leading = told.filter(pl.col("weight") == pl.col("second_weight")).select(
        "episode_id", first=pl.min_horizontal(*pair), second=pl.max_horizontal(*pair)
    )
    tests = telling_tests(leading, done, reference)
    return (
        told.join(tests, on="episode_id", how="left", validate="1:1")
        .join(_typed(done), on="episode_id", how="left", validate="1:1")
        .with_columns(telling_test=pl.when(_may_be_benign()).then(pl.lit(_DUFFY_TEST)).otherwise("telling_test"))
        .select("episode_id", "telling_test", conclusion=_sentence(policy))
        .sort("episode_id")
    )


#: What tells a lifelong low count from a disease (SEV-3), as ``telling_tests.csv`` names it.
_DUFFY_TEST: Final = "Duffy phenotype"


def _typed(done: pl.LazyFrame) -> pl.LazyFrame:
    return done.filter(pl.col("done") == DUFFY_GROUP).select("episode_id", is_typed=pl.lit(True)).unique()


def _may_be_benign() -> pl.Expr:
    """Nothing explains a persistent mild count, and the Duffy phenotype is not known."""
    is_mild = pl.col("worst_severity") == pl.lit("mild")
    return pl.col("words").is_null() & pl.col("is_persistent") & is_mild & pl.col("is_typed").is_null()


def _ranked_explanations(
    episodes: pl.LazyFrame, suspects: pl.LazyFrame, evidence: pl.LazyFrame, policy: Policy, reference: CauseReference
) -> pl.LazyFrame:
    """The explanations of each episode, ranked by weight; of equal ones a drug first, since it can be stopped."""
    both = pl.concat([_drugs(suspects, reference), _other_causes(episodes, evidence, policy, reference)])
    return both.sort(
        "episode_id", "weight", "is_drug", "place", "words", descending=[False, True, True, False, False]
    ).with_columns(rank=pl.int_range(1, pl.len() + 1).over("episode_id"))


def _drugs(suspects: pl.LazyFrame, reference: CauseReference) -> pl.LazyFrame:
    """The drugs that explain the episode's lowest count, at least as possible ones.

    The drugs of a regimen are one explanation, and so is a pair: its partner is none of its own beside it.
    """
    category = pl.col("category")
    named = suspects.filter(category.is_in(LEADING) & pl.col("leads_to_nadir")).with_columns(
        name=name_in(pl.col("reason"))
    )
    # Two drugs may each name the other: the one that ranks first stays.
    partners = (
        named.select("episode_id", ingredient=pl.col("name").str.extract(" with (.+)$"), named_at="rank")
        .drop_nulls()
        .join(named.select("episode_id", "ingredient", "rank"), on=["episode_id", "ingredient"])
        .filter(pl.col("rank") > pl.col("named_at"))
        .select("episode_id", "ingredient")
        .unique()
    )
    weights = {name: getattr(reference.rules.conclusion, name) for name in LEADING}
    return (
        named.join(partners, on=["episode_id", "ingredient"], how="anti")
        .with_columns(regimen=pl.when(category.is_in(_OF_A_REGIMEN)).then("category").otherwise("ingredient"))
        .sort("episode_id", "rank", "ingredient")
        .group_by("episode_id", "category", "regimen", maintain_order=True)
        .agg(
            name=pl.col("name").str.join(" and "),
            place=pl.col("rank").first().cast(pl.Int64),
            case_for=case_for(pl.col("reason")).first(),
            case_against=case_against(pl.col("reason")).first(),
            not_judged=not_judged(pl.col("reason")).first(),
        )
        .select(
            "episode_id",
            category=pl.lit(_DRUG),
            weight=category.replace_strict(weights, return_dtype=pl.Int64),
            is_drug=pl.lit(True),
            place="place",
            words=_drug_words(),
            case_for="case_for",
            case_against="case_against",
            not_judged="not_judged",
        )
        .select(_EXPLANATION)
    )


def _drug_words() -> pl.Expr:
    """How surely a drug (``name``) explains a fall, by its category."""
    words = {
        "likely": pl.format("{} {}", pl.lit(_SURELY), "name"),
        "beyond_expected": pl.format("longer than expected of {}", "name"),
        "expected": pl.format("expected after {}", "name"),
        "possible": pl.format("possibly {}", "name"),
    }
    return pl.coalesce(pl.when(pl.col("category") == kind).then(text) for kind, text in words.items())


def _of_earlier_falls(suspects: pl.LazyFrame) -> pl.LazyFrame:
    """``episode_id, earlier``: the first drug that explains another fall of the episode than that to its lowest count."""
    return (
        suspects.filter(pl.col("category").is_in(LEADING) & ~pl.col("leads_to_nadir"))
        .with_columns(name=name_in(pl.col("reason")))
        .sort("episode_id", "fall_id", "rank", "ingredient", descending=[False, True, False, False])
        .unique("episode_id", keep="first", maintain_order=True)
        .select("episode_id", earlier=_drug_words())
    )


def _hints(evidence: pl.LazyFrame, reference: CauseReference) -> pl.LazyFrame:
    """``episode_id, hints``: weak findings of other causes, those of a differential pattern first (MAL-2)."""
    return (
        evidence.filter(
            pl.col("rule_id").is_in(reference.rules.category.competing_rules) & (pl.col("strength") == "weak")
        )
        .sort("episode_id", pl.col("rule_id") != _PATTERN, "rule_id", "finding")
        .group_by("episode_id", maintain_order=True)
        .agg(hints=pl.col("finding").head(_SHOWN_N).str.join(" and "))
    )


def _other_causes(
    episodes: pl.LazyFrame, evidence: pl.LazyFrame, policy: Policy, reference: CauseReference
) -> pl.LazyFrame:
    """The categories of evidence that are at least moderate, each by its strongest lines.

    A differential pattern says more than the low lines that it contains (MAL-2).

    A benign context explains no count below the limit of the personal range (SEV-3); a single low value may be an artefact
    however low it is (EPI-4).
    """
    rule = reference.rules
    weights = {"strong": rule.conclusion.strong, "moderate": rule.conclusion.moderate}
    names = reference.explanations.lazy().select("category", name="words")
    depths = episodes.select("episode_id", "nadir_cells_per_ul")
    how = pl.when(pl.col("strength") == "strong").then(pl.lit(_SURELY)).otherwise(pl.lit("possibly"))
    return (
        evidence.filter(
            pl.col("rule_id").is_in(rule.category.competing_rules) & pl.col("strength").is_in(list(weights))
        )
        .join(depths, on="episode_id", validate="m:1")
        .filter((pl.col("rule_id") != "CTX-1") | _is_isolated() | ~_is_too_deep(policy))
        .with_columns(weight=pl.col("strength").replace_strict(weights, return_dtype=pl.Int64))
        .filter(pl.col("weight") == pl.col("weight").max().over("episode_id", "category"))
        .with_columns(is_pattern=pl.col("rule_id") == _PATTERN)
        .sort(
            "episode_id", "category", "is_pattern", "rule_id", "finding", descending=[False, False, True, False, False]
        )
        .group_by("episode_id", "category", "weight", maintain_order=True)
        .agg(
            pl.col("strength").first(),
            finding=pl.when(pl.col("is_pattern").first())
            .then(pl.col("finding").first())
            .otherwise(pl.col("finding").head(_SHOWN_N).str.join(" and ")),
        )
        .join(names, on="category", how="left", validate="m:1")
        .select(
            "episode_id",
            "category",
            "weight",
            is_drug=pl.lit(False),
            place=pl.lit(0, pl.Int64),
            words=pl.format("{} {}", how, "name"),
            case_for="finding",
            case_against=pl.lit(None, pl.String),
            not_judged=pl.lit(None, pl.String),
        )
        .select(_EXPLANATION)
    )


def _is_isolated() -> pl.Expr:
    return pl.col("finding").str.starts_with(ISOLATED)


def _is_too_deep(policy: Policy) -> pl.Expr:
    return pl.col("nadir_cells_per_ul") < policy.context.personal_from_cells_per_ul


def _benign(evidence: pl.LazyFrame) -> pl.LazyFrame:
    """Episodes with a benign context (CTX-1) on file."""
    return evidence.filter(pl.col("rule_id") == "CTX-1").select("episode_id", is_benign=pl.lit(True)).unique()


def _masked(evidence: pl.LazyFrame) -> pl.LazyFrame:
    """Drugs that raise the count (MASK-1), as their line says when they were given."""
    given = pl.col("finding").str.extract(f"^(.*?): {RAISES}")
    return (
        evidence.filter(pl.col("rule_id") == "MASK-1")
        .with_columns(masked_by=given)
        .drop_nulls("masked_by")
        .sort("episode_id", "masked_by")
        .group_by("episode_id", maintain_order=True)
        .agg(pl.col("masked_by").str.join(" and "))
    )


def _sentence(policy: Policy) -> pl.Expr:
    """What it is, what leads, what argues for and against it, what tells two apart, and what to do first."""
    limit = number(policy.context.personal_from_cells_per_ul)
    is_unexplained = pl.col("words").is_null()
    no_excuse = pl.when(is_unexplained & pl.col("is_benign").fill_null(False) & _is_too_deep(policy)).then(
        pl.lit(f"below {limit} cells/uL the benign context explains nothing")
    )
    is_open, label = pl.col("ended_at").is_null(), pl.col("label")
    # What is due since the count itself needs no date.
    due = pl.when(pl.col("due_on") > pl.col("last_low_at")).then(pl.col("due_on").dt.strftime("%Y-%m-%d %H:%M"))
    leads = pl.concat_str(
        pl.coalesce("words", pl.lit("no explanation in these data")),
        no_excuse,
        pl.when(is_unexplained).then(pl.format("an earlier fall: {}", "earlier")),
        pl.when(is_unexplained).then(pl.format("hints: {}", "hints")),
        pl.format("for it: {}", "case_for"),
        pl.format("against it: {}", "case_against"),
        pl.format("not judged: {}", "not_judged"),
        pl.format("besides: {}", "second"),
        pl.format(
            "to tell {}: {}",
            pl.when(_may_be_benign()).then(pl.lit("a benign count")).otherwise(pl.lit("them apart")),
            "telling_test",
        ),
        pl.when(is_open).then(pl.concat_str(pl.lit("first: "), label, pl.format(" (due {})", due).fill_null(""))),
        pl.when(is_open).then(pl.format("then: {}", "then_label")),
        pl.when(~is_open).then(pl.format("over since {}", pl.col("ended_at").dt.strftime(DAY))),
        pl.when(~is_open).then(pl.format("the normal count may be masked: {}", "masked_by")),
        separator="; ",
        ignore_nulls=True,
    )
    return pl.format("{}: {}.", _head(), leads)


def _head() -> pl.Expr:
    """Severity and lowest count, and where a later fall of the episode led from."""
    severity = pl.col("worst_severity").cast(pl.String)
    lowest = count_text(pl.col("nadir_cells_per_ul"), pl.col("nadir_comparator"))
    level = count_text(pl.col("fell_from"), pl.lit(None, pl.String))
    fallen = pl.when(pl.col("fell_from").is_not_null()).then(pl.format("fallen from {} to", level))
    return pl.format(
        "{}{} neutropenia, {} {} cells/uL on {}",
        severity.str.slice(0, 1).str.to_uppercase(),
        severity.str.slice(1),
        pl.coalesce(fallen, pl.lit("lowest")),
        lowest,
        pl.col("nadir_at").dt.strftime(DAY),
    )
