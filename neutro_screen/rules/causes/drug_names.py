"""Which drug a line of a medication list names: ATC code, RxNorm ingredient, then free text (DRUGS.md section 7).

Distinct lines are resolved once and joined back. A name is looked up as whole words, longest name first, never as part
of a word; a word that no table knows may be a misspelt name if it is long and only one known drug is near. All names,
routes, phrases and limits are rows of the drug tables (``neutro_schemas.drug_reference``).
"""

from typing import Final

import polars as pl

from neutro_screen.reference.drugs import DrugTables, split_list
from neutro_screen.rules.causes.drug_text import (
    Reading,
    known_phrases,
    phrase_rows,
    plain_text,
    read_texts,
    split_words,
)

KEYS: Final = ("drug_name", "atc_code", "rxcui", "route")
RESOLVED: Final[dict[str, pl.DataType]] = {
    **dict.fromkeys(KEYS, pl.String()),
    "ingredient": pl.String(),
    "drug_class": pl.String(),
    "matched_by": pl.String(),
    "matched_text": pl.String(),
    "match_score": pl.Float64(),
    "administered_by": pl.String(),
    "is_systemic": pl.Boolean(),
    "is_cause": pl.Boolean(),
    "is_confounder": pl.Boolean(),
    "effect": pl.String(),
    "exposure": pl.String(),
    "conflict": pl.Boolean(),
}


def resolve_drug_names(distinct: pl.DataFrame, tables: DrugTables) -> pl.DataFrame:
    """Say which ingredients each distinct line of a medication list names.

    Args:
        distinct: ``drug_name``, ``atc_code``, ``rxcui``, ``route`` (String, any may be null or absent, as sent).
        tables: The drug tables.

    Returns:
        One row per distinct line and ingredient, sorted: the four columns and

        - ``ingredient``: as in drug_causes or drug_confounders; null where unmatched, no cause, or only a class;
        - ``drug_class``: of the ingredient, or of the ATC class the code falls back to;
        - ``matched_by``: atc, rxcui, name, regimen, fuzzy, atc_prefix (only where nothing names an ingredient),
          known_not_a_cause, not_an_exposure, unmatched;
        - ``matched_text``: the code, name or phrase that decided; for unmatched the name left for review, if any;
        - ``match_score``: 100 for an exact match or another language's spelling, less by edits per letter for fuzzy,
          null where nothing matched;
        - ``administered_by``: route in the words of drug_routes; null where neither name nor route field tells it;
        - ``is_systemic``: the route acts on the body as a whole, or this drug's row says that it counts; an unknown
          route counts (the safe side);
        - ``is_cause``, ``is_confounder``, ``effect``: listed as a cause; raises or masks the ANC, and how;
        - ``exposure``: given, ended (the text says stopped), unknown (blinded), not_given (allergy, history ...);
        - ``conflict``: code and name resolve to different drugs; the code is used (ATC before RxNorm before name).
    """
    lines = (
        distinct.with_columns(pl.lit(None, pl.String).alias(key) for key in KEYS if key not in distinct.columns)
        .select(KEYS)
        .unique()
        .sort(KEYS, nulls_last=True)
        .with_row_index("line_id")
    )
    texts = lines.select("drug_name").drop_nulls().unique().sort("drug_name").with_row_index("text_id")
    reading = read_texts(texts, tables)
    lines = lines.join(texts, on="drug_name", how="left").join(_field_routes(lines, tables), on="route", how="left")
    named = _with_route(_named(lines, reading, tables), tables)
    rest = lines.join(named, on="line_id", how="anti")
    return (
        pl.concat([named, _without_ingredient(rest, reading, tables)], how="diagonal")
        .join(lines.select("line_id", *KEYS), on="line_id")
        .select(*RESOLVED)
        .sort(*KEYS, "ingredient", nulls_last=True)
    )


def match_medications(medications: pl.LazyFrame, resolved: pl.DataFrame) -> pl.LazyFrame:
    """Join the resolved drugs to the medication lines; a line with several ingredients becomes several rows.

    Every line stays: what is unmatched keeps one row with a null ingredient. Null keys match null keys.
    ``resolved`` must come from :func:`resolve_drug_names` over the same lines.
    """
    return medications.join(resolved.lazy(), on=list(KEYS), how="left", nulls_equal=True, maintain_order="left")


def unmatched_names(matched: pl.LazyFrame) -> pl.LazyFrame:
    """Names that no table knows, for the data-quality view: ``drug_name``, ``matched_text``, ``n_lines``, most first.

    ``matched_text`` is the name the tables hold as risky (AZT, pen), null where nothing was recognised at all.
    """
    return (
        matched.filter(pl.col("matched_by") == "unmatched")
        .group_by("drug_name", "matched_text")
        .agg(n_lines=pl.len())
        .sort("n_lines", "drug_name", "matched_text", descending=[True, False, False], nulls_last=True)
    )


def _named(lines: pl.DataFrame, reading: Reading, tables: DrugTables) -> pl.DataFrame:
    """One row per line and listed ingredient: by ATC code, else by RxNorm number, and by the name.

    Where code and name agree in a drug, what only one of them names is kept too; where they share none, the code is
    used and ``conflict`` is true. A phrase that speaks against an exposure speaks against the code as well.
    """
    atc, rxnorm = _codes(tables)
    not_given = reading.silent.filter(pl.col("matched_by") == "not_an_exposure")
    coded_lines = lines.join(not_given, on="text_id", how="anti").join(reading.forms, on="text_id", how="left")
    by_atc = coded_lines.join(atc, left_on=_code("atc_code"), right_on="code").with_columns(matched_by=pl.lit("atc"))
    by_number = coded_lines.join(rxnorm, left_on=_code("rxcui"), right_on="code").with_columns(
        matched_by=pl.lit("rxcui")
    )
    coded = pl.concat([by_atc, by_number.join(by_atc, on="line_id", how="anti")], how="diagonal")
    drugs = lines.select("line_id", "text_id").join(reading.drugs, on="text_id")
    listed = drugs.filter(pl.col("ingredient").is_not_null())

    spoken_of = drugs.select("line_id").unique()
    agreed = coded.join(listed, on=["line_id", "ingredient"], how="semi").select("line_id").unique()
    conflict = coded.select("line_id").unique().join(spoken_of, on="line_id", how="semi")
    conflict = conflict.join(agreed, on="line_id", how="anti").with_columns(conflict=pl.lit(value=True))
    ended = drugs.group_by("line_id").agg(exposure=pl.when((pl.col("exposure") == "ended").any()).then(pl.lit("ended")))
    own_route = listed.select("line_id", "ingredient", own_route="text_route")
    coded = (
        coded.join(ended, on="line_id", how="left")
        .join(own_route, on=["line_id", "ingredient"], how="left")
        .select(
            "line_id",
            "ingredient",
            "matched_by",
            "is_local_code",
            text_route=pl.coalesce("own_route", "text_route"),
            matched_text=pl.when(pl.col("matched_by") == "atc").then(_code("atc_code")).otherwise(_code("rxcui")),
            match_score=pl.lit(100.0),
            exposure=pl.col("exposure").fill_null("given"),
        )
    )
    said = listed.join(conflict, on="line_id", how="anti").join(coded, on=["line_id", "ingredient"], how="anti")
    return (
        pl.concat([coded, said.drop("text_id")], how="diagonal")
        .join(conflict, on="line_id", how="left")
        .with_columns(pl.col("is_local_code", "conflict").fill_null(value=False))
        .join(lines.select("line_id", "field_route", code=_code("atc_code")), on="line_id")
    )


def _with_route(named: pl.DataFrame, tables: DrugTables) -> pl.DataFrame:
    """Add what the tables say of each ingredient, and ``administered_by`` and ``is_systemic``."""
    local_class = _class_of_code(named.select("code").unique(), tables).filter(
        pl.col("default_class") == "not_systemic"
    )
    systemic_codes = _codes(tables)[0].filter(~pl.col("is_local_code")).select("code").unique()
    local = local_class.join(systemic_codes, on="code", how="anti")["code"].to_list()
    systemic = tables.routes.filter("is_systemic")["route"].unique().to_list()

    def counts(route: str) -> pl.Expr:
        also, never = (pl.col(f"routes_that_{name}").str.split(";") for name in ("also_count", "do_not_count"))
        is_listed = also.list.contains(pl.col(route)).fill_null(value=False)
        is_excluded = never.list.contains(pl.col(route)).fill_null(value=False)
        return pl.col(route).is_null() | ((pl.col(route).is_in(systemic) | is_listed) & ~is_excluded)

    by_text, by_field = counts("text_route"), counts("field_route")
    is_local_code = pl.col("is_local_code") | pl.col("code").is_in(local).fill_null(value=False)
    return named.join(_ingredients(tables), on="ingredient", how="left").with_columns(
        is_systemic=by_text & by_field & ~is_local_code,
        administered_by=pl.when(by_text & ~by_field)
        .then("field_route")
        .otherwise(pl.coalesce("text_route", "field_route")),
    )


def _without_ingredient(rest: pl.DataFrame, reading: Reading, tables: DrugTables) -> pl.DataFrame:
    """One row per line that names no listed ingredient: no exposure, a known drug, an ATC class, or unmatched."""
    known = reading.drugs.select(
        "text_id", "is_reviewed", known_text="matched_text", known_score="match_score", known_route="text_route"
    )
    reasons = reading.silent.select("text_id", "matched_by", reason="matched_text", silent_exposure="exposure")
    joined = (
        rest.with_columns(code=_code("atc_code"))
        .join(
            known.group_by("text_id").agg(
                pl.col("is_reviewed").any(), pl.exclude("is_reviewed").sort_by("known_text").first()
            ),
            on="text_id",
            how="left",
        )
        .join(reasons, on="text_id", how="left")
        .join(reading.forms, on="text_id", how="left")
        .join(_class_of_code(rest.select(code=_code("atc_code")).unique(), tables), on="code", how="left")
    )
    systemic = tables.routes.filter("is_systemic")["route"].unique().to_list()
    is_silent = pl.col("matched_by") == "not_an_exposure"
    # A drug that the tables merely know by name says nothing against its class; one reviewed as no cause does.
    has_class = pl.col("default_class").is_not_null()
    is_known = pl.col("known_text").is_not_null() & is_silent.is_null() & (pl.col("is_reviewed") | ~has_class)
    is_class = has_class & ~is_known & (is_silent.is_null() | ~is_silent)
    route = pl.coalesce("known_route", "text_route")
    protects = is_class & (pl.col("default_class") == "none_protective")
    is_local_class = is_class & (pl.col("default_class") == "not_systemic")
    return joined.select(
        "line_id",
        matched_by=pl.when(is_silent)
        .then("matched_by")
        .when(is_known)
        .then(pl.lit("known_not_a_cause"))
        .when(is_class)
        .then(pl.lit("atc_prefix"))
        .otherwise(pl.lit("unmatched")),
        matched_text=pl.when(is_silent)
        .then("reason")
        .when(is_known)
        .then("known_text")
        .when(is_class)
        .then("atc_prefix")
        .otherwise("reason"),
        match_score=pl.when(is_known).then("known_score").when(is_silent | is_class).then(pl.lit(100.0)),
        drug_class=pl.when(is_class).then("default_class"),
        administered_by=pl.coalesce(pl.when(~route.is_in(systemic)).then(route), "field_route", route),
        is_systemic=(route.is_null() | route.is_in(systemic))
        & (pl.col("field_route").is_null() | pl.col("field_route").is_in(systemic))
        & ~is_local_class,
        is_cause=is_class & ~protects & ~is_local_class,
        is_confounder=protects,
        effect=pl.when(protects).then(pl.lit("raises_anc")),
        exposure=pl.when(is_silent).then("silent_exposure").otherwise(pl.lit("given")),
        conflict=pl.lit(value=False),
    )


def _field_routes(lines: pl.DataFrame, tables: DrugTables) -> pl.DataFrame:
    """``route, field_route`` of each distinct route field: a whole code, else the words in it."""
    sent = lines.select("route").drop_nulls().unique().sort("route").with_row_index("text_id")
    codes = tables.routes.filter(pl.col("kind") == "route_code").select(code="text", by_code="route")
    route_words = phrase_rows(tables.routes.filter(pl.col("kind") == "words"), "text")
    by_words = (
        known_phrases(split_words(sent, "route"), route_words["words"].unique())
        .join(route_words, on="words")
        .sort("text_id", "priority", "start", "route")
        .group_by("text_id", maintain_order=True)
        .agg(by_words=pl.col("route").first())
    )
    return (
        sent.with_columns(code=plain_text(pl.col("route")))
        .join(codes, on="code", how="left")
        .join(by_words, on="text_id", how="left")
        .select("route", field_route=pl.coalesce("by_code", "by_words"))
    )


def _code(column: str) -> pl.Expr:
    return pl.col(column).str.strip_chars().str.to_uppercase()


def _codes(tables: DrugTables) -> tuple[pl.DataFrame, pl.DataFrame]:
    """``code, ingredient`` by ATC, with ``is_local_code``, and by RxNorm number."""
    drugs = pl.concat([tables.causes, tables.confounders], how="diagonal")
    atc = pl.concat(
        split_list(drugs, column).select("ingredient", code=column, is_local_code=pl.lit(value=is_local))
        for column, is_local in (
            ("atc_codes", False),
            ("atc_codes_combination", False),
            ("atc_codes_former", False),
            ("atc_codes_nonsystemic", True),
        )
    )
    atc = atc.group_by("code", "ingredient").agg(pl.col("is_local_code").all())
    return atc, split_list(drugs, "rxcui_ingredient").select("ingredient", code="rxcui_ingredient").unique()


def _class_of_code(codes: pl.DataFrame, tables: DrugTables) -> pl.DataFrame:
    """``code, atc_prefix, default_class`` by the longest class that the code belongs to."""
    classes = tables.atc_prefixes.select("atc_prefix", "default_class")
    return (
        codes.drop_nulls()
        .join(classes, how="cross")
        .filter(pl.col("code").str.starts_with(pl.col("atc_prefix")))
        .sort("code", pl.col("atc_prefix").str.len_chars(), descending=[False, True])
        .group_by("code", maintain_order=True)
        .first()
    )


def _ingredients(tables: DrugTables) -> pl.DataFrame:
    """What the tables say of each ingredient; one that is both a cause and a confounder has one row."""
    routes = ("routes_that_also_count", "routes_that_do_not_count")
    causes = tables.causes.select("ingredient", "drug_class", *routes, is_cause=pl.lit(value=True))
    masks = tables.confounders.select("ingredient", "effect", *routes, is_confounder=pl.lit(value=True))
    return (
        causes.join(masks, on="ingredient", how="full", coalesce=True, suffix="_of_mask")
        .with_columns(
            *(pl.coalesce(route, f"{route}_of_mask") for route in routes),
            pl.col("is_cause", "is_confounder").fill_null(value=False),
        )
        .drop(f"{route}_of_mask" for route in routes)
    )
