"""What was recognised, how and how surely, as a table; and what to write into a profile where it was not (REC-6)."""

from collections.abc import Mapping
from typing import Any, Final

import polars as pl

from neutro_schemas import NOT_UNDERSTOOD
from neutro_screen.recognition.evidence import Origin, Tables, name_of
from neutro_screen.recognition.names import read_name
from neutro_screen.recognition.origins import TEST
from neutro_screen.recognition.words import limits
from neutro_screen.reference import Reference, load_reference

#: What is counted of a test: rows, patients, and the rows that were not used for their unit or specimen.
COUNTED: Final = ("test_no", "rows", "patients", "unused")
#: Readings of a unit that refuse every row of a test.
_UNREAD_UNITS: Final = ("unread", "ambiguous", "refused", "other_property")
#: Reasons why the rows of a test that is known are not used.
_UNREAD: Final = ("unit_unknown", "unknown_specimen")
_READING: Final = (
    "analyte",
    "specimen_read",
    "certainty",
    "decided_by",
    "reading_reason",
    "unit_reading",
    "withheld",
    "not_screened",
    "is_specimen_open",
    "cell",
    "dimension",
    "feeds_anc",
)


def recognition(origins: pl.DataFrame, counts: pl.DataFrame, reference: Reference) -> pl.DataFrame:
    """Every test of every laboratory: columns of ``RecognitionTable`` without run_id, sorted.

    ``origins`` as ``origins.described`` gives them, ``counts``: ``COUNTED``. ``reason`` is why the rows are kept aside or
    their unit or specimen is not read, else what was noted; a specimen that the order settled is none. ``profile_line`` is one line of TOML for the top of a
    profile that settles it: a proposal, to be confirmed by the laboratory.
    """
    tests = origins.select("test_no", *TEST, *_READING).unique("test_no").join(counts, on="test_no").sort(TEST)
    tables = Tables(reference)
    lines = [_profile_line(row, tables) for row in tests.iter_rows(named=True)]
    is_known = pl.col("certainty") == "certain"
    is_without_unit = (pl.col("unit_reading") == "missing") & (pl.col("unused") > 0)
    is_unread = is_known & (pl.col("unit_reading").is_in(_UNREAD_UNITS) | is_without_unit)
    return tests.with_columns(profile_line=pl.Series(lines, dtype=pl.String)).select(
        "lab",
        code_system=pl.when(pl.col("local_code").is_not_null())
        .then("code_system")
        .when(pl.col("loinc").is_not_null())
        .then(pl.lit("loinc")),
        code=pl.coalesce("local_code", "loinc"),
        name="analyte_name",
        unit="unit_text",
        specimen="specimen_type",
        analyte="analyte",
        specimen_read="specimen_read",
        certainty="certainty",
        decided_by="decided_by",
        reason=pl.coalesce(
            "withheld",
            pl.when(is_unread).then(pl.lit("unit_unknown")),
            pl.when(pl.col("is_specimen_open") & (pl.col("unused") > 0)).then(pl.lit("unknown_specimen")),
            "not_screened",
            "reading_reason",
        ),
        rows="rows",
        patients="patients",
        profile_line="profile_line",
    )


def is_unused() -> pl.Expr:
    """Whether a judged row is not used because its unit or its specimen was not understood; a boolean."""
    return (pl.col("recognition_status") == "unknown_specimen") | pl.col("unit_status").is_in(["missing", "unknown"])


def understood(table: pl.DataFrame) -> pl.DataFrame:
    """The tests of a recognition table whose rows are used."""
    return table.filter(pl.col("certainty") == "certain", ~pl.col("reason").is_in(_UNREAD).fill_null(False))


def unrecognised(table: pl.DataFrame) -> pl.DataFrame:
    """The tests of a recognition table that may feed the ANC and were not understood, or their unit or specimen was not;
    most rows first.

    A unit or specimen, or no unit, in few rows of a count that the laboratory otherwise sends well is a stray: it is refused
    with its reason, its patients are on cannot-assess, and nobody is called for it.
    """
    feeding = load_reference().analytes.filter("feeds_anc")["analyte"]
    used = understood(table).group_by("lab", "analyte").agg(rows_used=pl.col("rows").sum())
    is_unread = pl.col("reason").is_in(_UNREAD) & pl.col("analyte").is_in(feeding.implode())
    is_stray = pl.col("rows") < limits()["stray_share"] * (pl.col("rows") + pl.col("rows_used"))
    is_told = is_unread & (pl.col("rows_used").is_null() | ~is_stray)
    found = (
        table.join(used, on=["lab", "analyte"], how="left", nulls_equal=True)
        .filter(pl.col("reason").is_in(NOT_UNDERSTOOD) | is_told)
        .drop("rows_used")
    )
    return found.sort("rows", "lab", "name", "code", "unit", descending=[True, False, False, False, False])


def in_words(row: Mapping[str, Any]) -> str:
    """One unrecognised test: ``3,141 rows "WBC COUNT" (/mm3) of MANUAL: probably wbc``."""
    name = row["name"] or row["code"] or "without a name"
    unit = f" ({row['unit']})" if row["unit"] else ""
    where = f" of {row['lab']}" if row["lab"] else ""
    code = f", code {row['code']}" if row["reason"] == "code_name_conflict" and row["code"] else ""
    within = f' in "{row["specimen"]}"' if row["reason"] == "unknown_specimen" else ""
    of_a_count = ", the unit is that of a count" if row["certainty"] == "unknown" else ""
    rest = f"probably {row['analyte']}" if row["analyte"] else f"not understood{of_a_count}"
    what = {
        "code_name_conflict": "code and name contradict each other",
        "specimen_conflict": "name and specimen contradict each other",
        "unknown_specimen": "specimen not understood",
        "unit_unknown": "unit not understood" if row["unit"] else "no unit",
    }.get(row["reason"], rest)
    rows = "1 row" if row["rows"] == 1 else f"{row['rows']:,} rows"
    return f'{rows} "{name}"{code}{unit}{within}{where}: {what}'


def _profile_line(test: Mapping[str, Any], tables: Tables) -> str | None:
    """The line that settles a test, a unit or a specimen that was not understood; null where nothing is open."""
    if test["withheld"]:
        key = test["analyte_name"] or test["local_code"] or test["loinc"]
        proposed = _proposed(test, tables)
        return f"analytes.{_quoted(key)} = {_quoted(proposed)}" if key and proposed else None
    if test["certainty"] != "certain":
        return None
    meant = {"count": "10*9/L", "percent": "%", "mass": "g/dL"}.get(test["dimension"] or "")
    if test["unit_reading"] in _UNREAD_UNITS or (test["unit_reading"] == "missing" and test["unused"]):
        of = test["unit_text"] or test["analyte_name"] or test["local_code"] or test["loinc"]
        return f"units.{_quoted(of)} = {_quoted(meant)}" if meant and of else None
    is_open = test["is_specimen_open"] and test["unused"]
    return f'specimens.{_quoted(test["specimen_type"])} = "blood"' if is_open else None


def _proposed(test: Mapping[str, Any], tables: Tables) -> str | None:
    """The analyte that the name says, else what the reading would be; ``?``, which no profile accepts, where none is."""
    if test["certainty"] == "probable" and test["analyte"]:
        return str(test["analyte"])
    name = read_name(name_of(Origin(**{key: test[key] for key in ("code_system", "local_code", "analyte_name")})))
    prop = "percent" if name.property == "percent" else "count"
    found = tables.analytes.get((name.cell or "", prop)) or tables.analytes.get((test["cell"] or "", prop))
    return str(found["analyte"]) if found else "?"


def _quoted(text: str) -> str:
    """A TOML basic string."""
    escaped = "".join(
        f"\\u{ord(letter):04x}" if ord(letter) < 32 or ord(letter) == 127 else letter
        for letter in text.replace("\\", "\\\\").replace('"', '\\"')
    )
    return f'"{escaped}"'
