"""The drug tables: causes, uses, interactions, names, classes, confounders, routes and words that change a meaning."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final

import pandera.polars as pa
import polars as pl

from neutro_schemas import drug_reference as contract
from neutro_screen.errors import ReferenceDataError
from neutro_screen.reference.tables import reference_table

_MODELS: Final[dict[str, tuple[str, type[pa.DataFrameModel]]]] = {
    "causes": ("drug_causes.csv", contract.DrugCause),
    "uses": ("drug_uses.csv", contract.DrugUse),
    "combinations": ("drug_combinations.csv", contract.DrugCombination),
    "interactions": ("drug_interactions.csv", contract.DrugInteraction),
    "synonyms": ("drug_synonyms.csv", contract.DrugSynonym),
    "atc_prefixes": ("atc_prefix_causes.csv", contract.AtcPrefixCause),
    "confounders": ("drug_confounders.csv", contract.DrugConfounder),
    "routes": ("drug_routes.csv", contract.DrugRoute),
    "text_rules": ("drug_text_rules.csv", contract.DrugTextRule),
}
#: The effect of an interaction whose partner is a condition of the patient (renal failure).
CONDITION: Final = "condition_raises_level"


@dataclass(frozen=True)
class DrugTables:
    """The drug tables, each as described by its model in ``neutro_schemas.drug_reference``."""

    causes: pl.DataFrame
    uses: pl.DataFrame
    combinations: pl.DataFrame
    interactions: pl.DataFrame
    synonyms: pl.DataFrame
    atc_prefixes: pl.DataFrame
    confounders: pl.DataFrame
    routes: pl.DataFrame
    text_rules: pl.DataFrame


def read_drug_tables(folder: Path) -> DrugTables:
    """Read and check the drug tables of a folder.

    Raises:
        ReferenceDataError: a table does not fit its model, a name stands for an ingredient no table has, a name is
            both a drug and ``none``, an ATC code belongs to two ingredients as a single substance, a route is both
            systemic and not, or a use, a combination or an interaction names a drug, a code or a name that the tables do not have.
    """
    tables = DrugTables(**{field.name: reference_table(*_MODELS[field.name], folder) for field in fields(DrugTables)})
    listed = pl.concat([tables.causes["ingredient"], tables.confounders["ingredient"]])
    unknown = tables.synonyms.filter(~pl.col("ingredient").is_in([*listed, "none"]))["ingredient"]
    if unknown.len():
        raise ReferenceDataError(f"names of unlisted ingredients: {sorted(set(unknown))}", where="drug_synonyms.csv")
    also_none = tables.synonyms.group_by("alias").agg(
        both=(pl.col("ingredient") == "none").any() & (pl.col("ingredient") != "none").any()
    )
    contradicting = also_none.filter("both")["alias"].sort().to_list()
    taken = tables.synonyms.filter(pl.col("alias").is_in(listed.to_list()), pl.col("alias") != pl.col("ingredient"))
    if contradicting or taken.height:
        both = [*contradicting, *taken["alias"].sort()]
        raise ReferenceDataError(f"names that contradict the tables: {both}", where="drug_synonyms.csv")
    shared = split_list(tables.causes, "atc_codes").group_by("atc_codes").len().filter(pl.col("len") > 1)
    if shared.height:
        codes = shared["atc_codes"].sort().to_list()
        raise ReferenceDataError(f"ATC codes of two ingredients: {codes}", where="drug_causes.csv")
    unsettled = tables.routes.group_by("route").agg(pl.col("is_systemic").n_unique()).filter(pl.col("is_systemic") > 1)
    if unsettled.height:
        routes = unsettled["route"].sort().to_list()
        raise ReferenceDataError(f"routes both systemic and not: {routes}", where="drug_routes.csv")
    _check_uses(tables)
    _check_listed(
        tables, "drug_combinations.csv", "combinations", [tables.combinations[name] for name in ("part", "main")]
    )
    drugs = tables.interactions.filter(pl.col("effect") != CONDITION)["partner"]
    _check_listed(tables, "drug_interactions.csv", "interactions", [tables.interactions["ingredient"], drugs])
    return tables


def _check_uses(tables: DrugTables) -> None:
    codes = pl.concat(
        split_list(tables.causes, column).select("ingredient", item=column)
        for column in ("atc_codes", "atc_codes_former")
    )
    names = tables.synonyms.select("ingredient", item="alias")
    for column, known in (("atc_codes", codes), ("names", names)):
        used = split_list(tables.uses, column).select("ingredient", item=column)
        strange = used.join(known, on=["ingredient", "item"], how="anti")["item"].sort().to_list()
        twice = used.filter(used.is_duplicated())["item"].unique().sort().to_list()
        if strange or twice:
            raise ReferenceDataError(
                f"{column} of another drug or of two uses: {strange + twice}", where="drug_uses.csv"
            )


def _check_listed(tables: DrugTables, file: str, what: str, drugs: list[pl.Series]) -> None:
    named = pl.concat(drugs).unique().sort()
    unlisted = named.filter(~named.is_in(tables.causes["ingredient"].to_list())).to_list()
    if unlisted:
        raise ReferenceDataError(f"{what} of unlisted ingredients: {unlisted}", where=file)


def split_list(table: pl.DataFrame, column: str) -> pl.DataFrame:
    """``ingredient, <column>``: one row per entry of a semicolon-separated column."""
    return (
        table.select("ingredient", pl.col(column).str.split(";"))
        .explode(column, empty_as_null=False, keep_nulls=False)
        .drop_nulls()
    )
