"""Free text that names a drug: words, misspellings, regimens, and the words that change what a line means.

A name is looked up as whole words, longest name first, never as part of a word; a word that no table knows may be a
misspelt name if it is long and only one known drug is near.
"""

from functools import cache, reduce
from typing import Final, NamedTuple

import pandera.polars as pa
import polars as pl
from rapidfuzz.distance import OSA
from rapidfuzz.process import cdist

from neutro_screen.reference import reference_table
from neutro_screen.reference.drugs import DrugTables

_EXPOSURES: Final = ("not_given", "unknown", "ended", "given")
_EXPOSURE_OF_RULE: Final = {"not_an_exposure": 0, "unknown_exposure": 1, "ended": 2}
_WORD_AND_GAP = r"[a-z0-9]+[^a-z0-9]*"
_CLAUSE_END = r"[()\[\];:\n]|,\s|\s[-–—]\s"
_DRUG_END = r"[;\n]|\s\+\s"
# A short name with a separator in it is only that name where the separator is there: S-1 is a drug, "S 1" is not.
_SHORT_NAME_LETTERS = 6
_PARALLEL_WORDS = 4000
# One drug is spelt alike across languages once these are made equal: cyclophosphamide, ciclofosfamida.
_SPELLINGS: Final = (
    ("ph", "f"),
    ("th", "t"),
    ("ae", "e"),
    ("oe", "e"),
    ("y", "i"),
    ("k", "c"),
    ("cc", "c"),
    ("ff", "f"),
    ("ll", "l"),
    ("mm", "m"),
    ("nn", "n"),
    ("pp", "p"),
    ("rr", "r"),
    ("ss", "s"),
    ("tt", "t"),
    (r"(?:um|[aeo])$", ""),
)


class Reading(NamedTuple):
    """What the texts say: their drugs; where no drug was given, why; the form or route that stands in them."""

    drugs: pl.DataFrame
    silent: pl.DataFrame
    forms: pl.DataFrame


def read_texts(texts: pl.DataFrame, tables: DrugTables) -> Reading:
    """Read the names of ``text_id, drug_name``.

    ``drugs``: one row per text and drug that was given, ``text_id, ingredient (null: known, no cause), matched_by,
    matched_text, match_score, text_route, exposure, is_reviewed``; of a drug named twice the mention with a systemic
    route, then the one with a route, tells the route, and given outweighs ended. ``silent``: one row per text without
    one, where a phrase (not_an_exposure) or a risky name (unmatched) is the reason. ``forms``: ``text_id, text_route``.
    """
    words = split_words(texts, "drug_name")
    names = _names(tables)
    rules = phrase_rows(tables.text_rules, "phrase")
    route_words = phrase_rows(tables.routes.filter(pl.col("kind") == "words"), "text")
    spoken = known_phrases(words, pl.concat([names["words"], rules["words"], route_words["words"]]).unique())
    told = _rules_told(spoken, rules, words)

    chemotherapy = told.filter(pl.col("rule") == "risky_needs")["text_id"].unique()
    found = (
        spoken.join(names, on="words")
        .filter(~pl.col("is_strict") | (pl.col("spelled") == pl.col("plain")))
        .with_columns(
            counts=~pl.col("risky") | ((pl.col("kind") == "regimen") & pl.col("text_id").is_in(chemotherapy.to_list()))
        )
    )
    exact = _longest(found.filter("counts"))
    risky = found.filter(~pl.col("counts"), pl.col("ingredient").is_not_null())
    other_words = pl.concat([rules["words"], route_words["words"], risky["words"]])
    misspelt = _misspelt(words, exact, names, other_words, tables)

    placed = words.select("text_id", "clause", "segment", "has_dose", start="position")
    forms = spoken.join(route_words, on="words").join(placed, on=["text_id", "start"])
    forms = forms.sort("text_id", "priority", "start", "route")
    drugs = pl.concat([exact, misspelt], how="diagonal").join(placed, on=["text_id", "start"])
    mentioned = pl.concat(
        [drugs.select("text_id", "clause"), risky.join(placed, on=["text_id", "start"])["text_id", "clause"]]
    )
    states = told.filter(pl.col("rule").is_in(list(_EXPOSURE_OF_RULE)))
    drugs = _with_exposure(_with_text_route(drugs, forms), states, mentioned.unique())
    systemic = tables.routes.filter("is_systemic")["route"].unique().to_list()
    mention = pl.struct(-pl.col("match_score"), "matched_text", "start")
    taken = (
        drugs.filter(pl.col("exposure").is_in(["given", "ended"]))
        .group_by("text_id", "ingredient")
        .agg(
            pl.col("matched_by", "matched_text", "match_score").sort_by(mention).first(),
            pl.col("text_route")
            .sort_by(pl.col("text_route").is_in(systemic), "text_route", descending=[True, False], nulls_last=True)
            .first(),
            exposure=pl.when((pl.col("exposure") == "given").any()).then(pl.lit("given")).otherwise(pl.lit("ended")),
            is_reviewed=(pl.col("kind") != "other_drug").any(),
        )
        .sort("text_id", "ingredient", nulls_last=True)
    )
    return Reading(
        drugs=taken,
        silent=_silent(texts.join(taken, on="text_id", how="anti"), states, risky),
        forms=forms.group_by("text_id", maintain_order=True).agg(text_route=pl.col("route").first()),
    )


class Transliteration(pa.DataFrameModel):
    """One letter of another alphabet, as the aliases of drugs spell it in Latin letters."""

    letter: str = pa.Field(
        unique=True, str_length={"min_value": 1, "max_value": 1}, description="Lower case, without accent."
    )
    latin: str = pa.Field(nullable=True, str_matches=r"^[a-z]+$", description="In Latin letters; null: nothing.")
    source: str = pa.Field(str_length={"min_value": 1}, description="Source of the row.")

    class Config:
        strict = True


@cache
def load_transliteration() -> pl.DataFrame:
    """Read and check ``drug_transliteration.csv``.

    Raises:
        ReferenceDataError: the table does not fit its contract.
    """
    return reference_table("drug_transliteration.csv", Transliteration)


def plain_text(text: pl.Expr) -> pl.Expr:
    """Lower case, in Latin letters without accents and trade marks; a number glued to a name of four letters or more is
    set apart.
    """
    letters = load_transliteration()
    return (
        text.str.replace_all(r"[®™©]", " ")
        .str.normalize("NFKD")
        .str.replace_all(r"\p{M}", "")
        .str.to_lowercase()
        .str.replace_all("ß", "ss")
        .str.replace_many(letters["letter"].to_list(), letters["latin"].fill_null("").to_list())
        .str.replace_all(r"([a-z]{4})(\d)", "$1 $2")
        .str.replace_all(r"\s+", " ")
        .str.strip_chars()
    )


def split_words(texts: pl.DataFrame, column: str) -> pl.DataFrame:
    """The words of each text with the gap that follows, the clause they stand in and the segment of one drug."""
    words = (
        texts.select(
            "text_id", word=plain_text(pl.col(column).str.replace_all("\n", ";")).str.extract_all(_WORD_AND_GAP)
        )
        .explode("word", empty_as_null=False, keep_nulls=False)
        .select(
            "text_id",
            position=pl.int_range(pl.len()).over("text_id"),
            word=pl.col("word").str.extract(r"^([a-z0-9]+)"),
            gap=pl.col("word").str.extract(r"^[a-z0-9]+(.*)$"),
        )
    )
    ended_before = {
        name: pl.col("gap").str.contains(end).shift(1, fill_value=False).cum_sum().over("text_id", order_by="position")
        for name, end in (("clause", _CLAUSE_END), ("segment", _DRUG_END))
    }
    # "20 mg tablet + eye drops": a drug with its own dose does not take the form of its neighbour; a per cent has none.
    has_dose = pl.col("word").str.contains(r"^\d").any() & ~pl.col("gap").str.contains("%", literal=True).any()
    return words.with_columns(**ended_before).with_columns(has_dose=has_dose.over("text_id", "segment"))


def known_phrases(words: pl.DataFrame, vocabulary: pl.Series) -> pl.DataFrame:
    """Runs of words that the vocabulary knows: ``text_id, start, end, words`` and ``spelled`` with the true gaps."""
    known = vocabulary.to_frame("words").with_columns(n=pl.col("words").str.count_matches(" ", literal=True) + 1)
    words = words.sort("text_id", "position")
    runs = []
    for (n,), phrases in known.group_by("n"):
        length = int(str(n))
        following = [pl.col("word").shift(-k) for k in range(length)]
        gaps = [pl.col("gap").shift(-k) for k in range(length - 1)]
        spelled = [part for pair in zip(following, gaps, strict=False) for part in pair] + [following[-1]]
        runs.append(
            words.select(
                "text_id",
                start="position",
                end=pl.col("position") + length - 1,
                words=pl.concat_str(following, separator=" "),
                spelled=pl.concat_str(spelled),
                last_text=pl.col("text_id").shift(1 - length),
            )
            .filter(pl.col("text_id") == pl.col("last_text"))
            .drop("last_text")
            .join(phrases.select("words"), on="words", how="semi")
        )
    return pl.concat(runs)


def phrase_rows(table: pl.DataFrame, column: str) -> pl.DataFrame:
    """The table with ``plain`` and ``words``, the text of a column as the words of a text are written."""
    return table.with_columns(plain=plain_text(pl.col(column))).with_columns(
        words=pl.col("plain").str.extract_all(r"[a-z0-9]+").list.join(" ")
    )


def _names(tables: DrugTables) -> pl.DataFrame:
    """Every name: synonyms, and each ingredient under its own. ``ingredient`` is null for a known drug, no cause."""
    own = pl.concat([tables.causes.select("ingredient"), tables.confounders.select("ingredient")]).unique()
    named = pl.concat(
        [
            own.select(alias="ingredient", ingredient="ingredient", kind=pl.lit("spelling"), risky=pl.lit(value=False)),
            tables.synonyms.select("alias", "ingredient", "kind", "risky", "implied_route"),
        ],
        how="diagonal",
    )
    letters = pl.col("words").str.replace_all(" ", "").str.len_chars()
    return (
        phrase_rows(named, "alias")
        .with_columns(
            ingredient=pl.when(pl.col("ingredient") != "none").then("ingredient"),
            is_strict=pl.col("words").str.contains(" ", literal=True)
            & ((letters <= _SHORT_NAME_LETTERS) | pl.col("words").str.contains(r"(^| )[a-z]( |$)")),
        )
        .sort("words", "plain", "ingredient", nulls_last=True)
    )


def _longest(found: pl.DataFrame) -> pl.DataFrame:
    """Of names that share a word, the longest (then the first) stays."""
    spans = found.select("text_id", "start", "end").unique()
    winners = (
        spans.with_columns(
            position=pl.int_ranges("start", pl.col("end") + 1), length=pl.col("end") - pl.col("start") + 1
        )
        .explode("position", empty_as_null=False, keep_nulls=False)
        .sort("text_id", "position", -pl.col("length"), "start")
        .with_columns(wins=pl.int_range(pl.len()).over("text_id", "position") == 0)
        .group_by("text_id", "start", "end")
        .agg(pl.col("wins").all())
        .filter("wins")
    )
    return found.join(winners.drop("wins"), on=["text_id", "start", "end"]).with_columns(
        matched_by=pl.when(pl.col("kind") == "regimen").then(pl.lit("regimen")).otherwise(pl.lit("name")),
        matched_text="plain",
        match_score=pl.lit(100.0),
    )


def _misspelt(
    words: pl.DataFrame, exact: pl.DataFrame, names: pl.DataFrame, other_words: pl.Series, tables: DrugTables
) -> pl.DataFrame:
    """Words no table knows that one known drug, and only one, is near to.

    The limits are rows of the text rules: letters of the word, edits (optimal string alignment, after the spelling is
    folded), and how much further away the next known drug must be. The first letter must agree. A short name is never
    found this way, but it is a rival: quinine keeps "quinidne" from being quinidine.
    """
    limits = tables.text_rules.filter(pl.col("rule") == "fuzzy_limit").select("min_letters", "max_distance")
    margin = int(tables.text_rules.filter(pl.col("rule") == "fuzzy_margin")["max_distance"][0])
    fewest = int(str(limits["min_letters"].min()))
    is_long = pl.col("word").str.len_chars() >= fewest
    is_word = pl.col("word").str.contains(r"^[a-z]+$")
    covered = exact.select("text_id", position=pl.int_ranges("start", pl.col("end") + 1)).explode(
        "position", empty_as_null=False, keep_nulls=False
    )
    known_words = other_words.str.split(" ").explode(empty_as_null=False, keep_nulls=False).unique()
    loose = words.join(covered, on=["text_id", "position"], how="anti").filter(
        is_long & is_word & ~pl.col("word").is_in(known_words.to_list())
    )
    asked = loose.select("word").unique().sort("word").with_columns(folded=_folded(pl.col("word")))
    drug = pl.col("ingredient").fill_null(pl.concat_str(pl.lit("none "), "plain"))
    targets = (
        names.filter(~pl.col("risky"), pl.col("kind") != "regimen")
        .rename({"words": "target"})
        .filter(pl.col("target").str.contains(r"^[a-z]{5,}$"))
        .group_by("target", "plain")
        .agg(drug=drug.unique().sort().str.join(";"))
        .sort("target")
        .with_columns(folded=_folded(pl.col("target")))
    )
    near = _near(asked, targets, int(str(limits["max_distance"].max())) + margin)
    allowed = limits.sort("min_letters").select(letters="min_letters", allowed="max_distance")
    best = (
        near.group_by("word", "drug")
        .agg(pl.col("distance").min(), pl.col("target").sort_by("distance", "target").first())
        .sort("word", "distance", "drug")
        .group_by("word", maintain_order=True)
        .agg(pl.col("drug", "target", "distance").first(), next_distance=pl.col("distance").get(1, null_on_oob=True))
        .with_columns(letters=pl.col("word").str.len_chars().cast(pl.Int64))
        .sort("letters")
        .join_asof(allowed, on="letters")
        .filter(
            pl.col("distance") <= pl.col("allowed"),
            pl.col("next_distance").is_null() | (pl.col("next_distance") > pl.col("distance") + margin),
            ~pl.col("drug").str.starts_with("none "),
            pl.col("target").str.len_chars() >= fewest,
        )
    )
    spelt = names.filter(pl.col("kind") != "regimen").select("ingredient", "implied_route", "kind", target="words")
    return (
        loose.select("text_id", "word", start="position", end="position")
        .join(best, on="word")
        .join(spelt, on="target")
        .with_columns(
            matched_by=pl.lit("fuzzy"),
            matched_text="target",
            match_score=(100 * (1 - pl.col("distance") / pl.col("letters"))).round(1),
        )
    )


def _folded(word: pl.Expr) -> pl.Expr:
    return reduce(lambda text, spelling: text.str.replace_all(*spelling), _SPELLINGS, word)


def _near(asked: pl.DataFrame, targets: pl.DataFrame, furthest: int) -> pl.DataFrame:
    """Pairs ``word, target, drug, distance`` up to a distance, of words and targets with the same first letter."""
    pairs = [pl.DataFrame(schema={"word": pl.String, "target": pl.String, "drug": pl.String, "distance": pl.Int64})]
    for first in asked["folded"].str.head(1).unique().sort():
        like = targets.filter(pl.col("folded").str.starts_with(first))
        if like.is_empty():
            continue
        for words in asked.filter(pl.col("folded").str.starts_with(first)).iter_slices(_PARALLEL_WORDS):
            distances = cdist(
                words["folded"].to_list(), like["folded"].to_list(), scorer=OSA.distance, score_cutoff=furthest
            )
            row, column = (distances <= furthest).nonzero()
            pairs.append(
                pl.DataFrame(
                    {
                        "word": words["word"].gather(row.tolist()),
                        "target": like["target"].gather(column.tolist()),
                        "drug": like["drug"].gather(column.tolist()),
                        "distance": pl.Series(distances[row, column].tolist(), dtype=pl.Int64),
                    }
                )
            )
    return pl.concat(pairs)


def _rules_told(spoken: pl.DataFrame, rules: pl.DataFrame, words: pl.DataFrame) -> pl.DataFrame:
    """Text rules whose phrase is in a text and whose exceptions are not: ``text_id, clause, rule, scope, told``."""
    unless = rules.select("rule", "phrase", exception=pl.col("unless").str.split(";")).explode(
        "exception", empty_as_null=False, keep_nulls=False
    )
    exceptions = phrase_rows(unless, "exception")
    lifted = (
        known_phrases(words, exceptions["words"].unique())
        .join(exceptions.select("rule", "phrase", "words"), on="words")
        .select("text_id", "rule", "phrase")
        .unique()
    )
    return (
        spoken.join(rules.select("rule", "phrase", "scope", "words"), on="words")
        .join(lifted, on=["text_id", "rule", "phrase"], how="anti")
        .join(words.select("text_id", "clause", start="position"), on=["text_id", "start"])
        .select("text_id", "clause", "rule", "scope", told="phrase")
        .sort("text_id", "clause", "rule", "told")
    )


def _with_text_route(drugs: pl.DataFrame, forms: pl.DataFrame) -> pl.DataFrame:
    """Add ``text_route``: what the brand implies, else the route or form named beside the drug."""
    beside = forms.group_by("text_id", "segment", maintain_order=True).agg(route_beside=pl.col("route").first())
    anywhere = forms.group_by("text_id", maintain_order=True).agg(route_anywhere=pl.col("route").first())
    return (
        drugs.join(beside, on=["text_id", "segment"], how="left")
        .join(anywhere, on="text_id", how="left")
        .with_columns(
            text_route=pl.coalesce("implied_route", "route_beside", pl.when(~pl.col("has_dose")).then("route_anywhere"))
        )
    )


def _with_exposure(drugs: pl.DataFrame, states: pl.DataFrame, mentioned: pl.DataFrame) -> pl.DataFrame:
    """Add ``exposure``: a phrase speaks of the drugs of its clause, or of all drugs if its clause mentions none."""
    rank = pl.col("rule").replace_strict(_EXPOSURE_OF_RULE, return_dtype=pl.Int32).min()
    here = states.join(mentioned, on=["text_id", "clause"], how="semi")
    of_all = states.join(mentioned, on=["text_id", "clause"], how="anti").filter(pl.col("scope") == "text")
    return (
        drugs.join(here.group_by("text_id", "clause").agg(here=rank), on=["text_id", "clause"], how="left")
        .join(of_all.group_by("text_id").agg(of_all=rank), on="text_id", how="left")
        .with_columns(
            exposure=pl.min_horizontal("here", "of_all")
            .fill_null(len(_EXPOSURES) - 1)
            .replace_strict(dict(enumerate(_EXPOSURES)), return_dtype=pl.String)
        )
    )


def _silent(texts: pl.DataFrame, states: pl.DataFrame, risky: pl.DataFrame) -> pl.DataFrame:
    """Why texts name no drug that was given: the phrase that says so, or else a risky name, left for review."""
    phrases = (
        texts.select("text_id")
        .join(states.filter(pl.col("rule") != "ended"), on="text_id")
        .with_columns(rank=pl.col("rule").replace_strict(_EXPOSURE_OF_RULE, return_dtype=pl.Int32))
        .sort("text_id", "rank", "told")
        .group_by("text_id", maintain_order=True)
        .agg(matched_text=pl.col("told").first(), rank=pl.col("rank").first())
        .select(
            "text_id",
            "matched_text",
            matched_by=pl.lit("not_an_exposure"),
            exposure=pl.col("rank").replace_strict(dict(enumerate(_EXPOSURES)), return_dtype=pl.String),
        )
    )
    review = (
        texts.select("text_id")
        .join(phrases, on="text_id", how="anti")
        .join(risky, on="text_id")
        .group_by("text_id")
        .agg(matched_text=pl.col("plain").min())
        .with_columns(matched_by=pl.lit("unmatched"), exposure=pl.lit("given"))
    )
    return pl.concat([phrases, review], how="diagonal")
