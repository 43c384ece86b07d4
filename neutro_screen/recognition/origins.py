"""What many laboratory rows have in common is settled once: test, unit, status and reference range as they were sent.

An extract of millions of rows holds a few hundred such *origins*. Each is resolved once and the rows carry its number.
"""

from typing import Final, NamedTuple

import polars as pl

from neutro_schemas import LabRow
from neutro_screen.recognition import values
from neutro_screen.recognition.readings import read_origins
from neutro_screen.reference import Reference
from neutro_screen.text import match_key
from neutro_screen.validate import dtypes

#: What says what a row measures, beside its values and limits. Few combinations, many rows.
KEYS: Final = ("code_system", "local_code", "loinc", "analyte_name", "specimen_type", "unit_text")
#: What is weighed as a whole: the rows of one test of one laboratory.
TEST: Final = ("lab", *KEYS)
#: The columns of ``LabRow`` that make up an origin.
COLUMNS: Final = (
    *KEYS,
    "is_unit_stated",
    "reference_low_text",
    "reference_high_text",
    "status_text",
    "lab",
    "source_file",
)
#: Of the analyte, as far as rows are judged by it.
_ANALYTE_COLUMNS: Final = ("canonical_unit", "highest_plausible", "usual_high", "typical_reference_high", "feeds_anc")


#: Haemoglobin, haematocrit, red cells, platelets: an order that has them is of blood, whatever its specimen is called.
_OF_BLOOD: Final = ("hgb", "hct", "rbc", "plt")


def no_origins() -> pl.DataFrame:
    """An empty table of origins: ``COLUMNS`` and ``origin_no``."""
    types = dtypes(LabRow)
    return pl.DataFrame(schema={name: types[name] for name in COLUMNS} | {"origin_no": pl.UInt64()})


def number_origins(rows: pl.DataFrame, origins: pl.DataFrame, first: int = 0) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rows (``LabRow``) with ``origin_no`` in place of ``COLUMNS``, and the origins with those that are new.

    Numbers begin with ``first``: shares of an extract that are numbered by themselves keep apart.
    """
    columns = list(COLUMNS)
    distinct = rows.select(columns).unique().sort(columns)
    new = distinct.join(origins, on=columns, how="anti", nulls_equal=True, maintain_order="left")
    first += origins.height
    numbers = pl.int_range(first, first + new.height, dtype=pl.UInt64, eager=True).alias("origin_no")
    origins = pl.concat([origins, new.with_columns(numbers)])
    return rows.join(origins, on=columns, how="left", nulls_equal=True).drop(columns), origins


class OneNumberEach(NamedTuple):
    """``origins`` that differ in what they are, and for every number that rows carry (``origin_no``) the one of its
    origin there (``first``): two shares of an extract may both have numbered the same."""

    origins: pl.DataFrame
    numbers: pl.DataFrame

    def counted(self, texts: pl.DataFrame) -> pl.DataFrame:
        """Counts of texts (``TextCounts``) by the numbers of ``origins``."""
        numbered = texts.join(self.numbers, on="origin_no").drop("origin_no")
        return numbered.group_by(origin_no="first", value_text="value_text").agg(pl.col("n").sum())

    def of_all(self, known: pl.DataFrame) -> pl.DataFrame:
        """What is known of ``origins``, for every number that rows carry."""
        return self.numbers.join(known, left_on="first", right_on="origin_no", maintain_order="left").drop("first")


def one_number_each(origins: pl.DataFrame) -> OneNumberEach:
    """The origins (``COLUMNS`` and ``origin_no``) of all shares of an extract, each once."""
    numbered = origins.with_columns(first=pl.col("origin_no").min().over(list(COLUMNS)))
    return OneNumberEach(
        numbered.filter(pl.col("origin_no") == pl.col("first")).drop("first"), numbered.select("origin_no", "first")
    )


def described(origins: pl.DataFrame, texts: pl.DataFrame, reference: Reference) -> pl.DataFrame:
    """Origins with what they were read as (``readings.Reading``), their status and their reference range.

    ``texts`` are the ``TextCounts`` of the extract. Adds the columns of ``Reading`` (``property`` as ``dimension``,
    ``unit_status`` as ``unit_reading``, ``specimen`` as ``specimen_read``, ``reason`` as ``reading_reason``), those of
    the analyte, and

    - ``test_no``: one number for all origins of a test of a laboratory, in the order of ``TEST``;
    - ``not_screened``: why a row is no business of the screen; null = screened;
    - ``withheld``: why its rows are kept aside and not used though they may feed the ANC (REC-2, REC-3);
    - ``is_of_blood``: a cell that only blood has: it tells the specimen of its order (REC-4);
    - ``is_specimen_open``: the specimen is stated and not understood: the rest of the order decides (REC-4);
    - ``code_note``: a code that the unit contradicts, or granulocytes under the code of another cell.
    """
    tests = _tests(origins, texts, reference)
    analytes = reference.analytes.select("analyte", *_ANALYTE_COLUMNS)
    return (
        origins.join(tests, on=list(TEST), how="left", nulls_equal=True, maintain_order="left")
        .join(analytes, on="analyte", how="left", maintain_order="left")
        .with_columns(is_small_unit=(pl.col("factor") < 1).fill_null(False), unit_key=match_key(pl.col("unit_text")))
        .pipe(with_status, reference)
        .pipe(with_reference_range)
    )


def _tests(origins: pl.DataFrame, texts: pl.DataFrame, reference: Reference) -> pl.DataFrame:
    """Each test of each laboratory once (``TEST``), read and numbered.

    The values are looked at only where something is left open without them.
    """
    keys = list(TEST)
    distinct = origins.select(keys).unique().sort(keys).with_row_index("test_no")
    first = _read(distinct, reference)
    is_open = (pl.col("reason") == "no_property") | (pl.col("unit_status") == "ambiguous")
    left_open = first.filter(is_open.fill_null(False)).select(distinct.columns)
    if left_open.height:
        second = _read(_with_values(left_open, origins, texts), reference).select(first.columns)
        first = pl.concat([first.join(second, on="test_no", how="anti"), second]).sort("test_no")
    return first.pipe(_with_verdicts).rename(
        {
            "property": "dimension",
            "unit_status": "unit_reading",
            "specimen": "specimen_read",
            "reason": "reading_reason",
        }
    )


def _read(tests: pl.DataFrame, reference: Reference) -> pl.DataFrame:
    """The tests read under the unit and specimen that the profile says are meant; both texts stay as sent."""
    specimens = {text: _SPECIMENS[meant] for text, meant in reference.specimen_words.items()}
    meant = tests.with_columns(
        pl.col("unit_text").replace(dict(reference.unit_spellings)), pl.col("specimen_type").replace(specimens)
    )
    return read_origins(meant, reference).with_columns(tests["unit_text"], tests["specimen_type"])


#: What a profile says of a specimen, as a text that is read so.
_SPECIMENS: Final = {"blood": "Blood", "other": "Fluid"}


def _with_values(tests: pl.DataFrame, origins: pl.DataFrame, texts: pl.DataFrame) -> pl.DataFrame:
    """Add a summary of the values of a test, and the middle of its upper reference limits, as numbers as sent."""
    numbered = origins.join(tests, on=list(TEST), how="inner", nulls_equal=True).select(
        "origin_no", "test_no", reference_high=_plain_number(pl.col("reference_high_text"))
    )
    sent = texts.join(numbered, on="origin_no").with_columns(number=_plain_number(pl.col("value_text")))
    by_test = (
        sent.filter(pl.col("number").is_not_null())
        .group_by("test_no")
        .agg(
            n_values=pl.col("n").sum(),
            value_low=pl.col("number").min(),
            value_median=_middle("number", "n"),
            value_high=pl.col("number").max(),
        )
    )
    limits = numbered.group_by("test_no").agg(pl.col("reference_high").median())
    return (
        tests.join(by_test, on="test_no", how="left", maintain_order="left")
        .join(limits, on="test_no", how="left", maintain_order="left")
        .with_columns(pl.col("n_values").fill_null(0))
    )


def _plain_number(text: pl.Expr) -> pl.Expr:
    """A number for comparisons of size only: a comparator is passed over, a comma is a decimal mark."""
    bare = text.str.strip_chars(" <>=\u2264\u2265")
    return pl.coalesce(values.number(bare), values.number(bare.str.replace(",", ".", literal=True)))


def _middle(value: str, n: str) -> pl.Expr:
    """The lower median of values given with how often they occur; an aggregation."""
    upto = pl.col(n).sort_by(value).cum_sum()
    return pl.col(value).sort_by(value).filter(2 * upto >= pl.col(n).sum()).first()


def _with_verdicts(tests: pl.DataFrame) -> pl.DataFrame:
    """What follows from a reading: used, kept aside, or no business of the screen."""
    is_certain, is_conflict = pl.col("certainty") == "certain", pl.col("certainty") == "conflict"
    is_bound = is_conflict & pl.col("bound_analyte").is_not_null()
    is_used = (is_certain & pl.col("analyte").is_not_null()) | is_bound
    withheld = (
        pl.when(~is_used & (pl.col("may_feed_anc") | is_conflict))
        .then(pl.when(is_conflict).then("reason").otherwise(pl.lit("unrecognised_test")))
        .otherwise(pl.lit(None, pl.String))
    )
    excluded = pl.col("reason").str.strip_prefix("excluded: ")
    not_screened = (
        pl.when(is_used | is_conflict | pl.col("may_feed_anc"))
        .then(pl.lit(None, pl.String))
        .when(pl.col("reason").is_in(["other_specimen", "control_material"]))
        .then("reason")
        .when((pl.col("certainty") == "other_test") & (pl.col("decided_by") == "code"))
        .then(excluded)
        .otherwise(pl.lit("unmapped"))
    )
    note = (
        pl.when(is_bound | (is_certain & (pl.col("reason") == "code_contradicts_unit")))
        .then("reason")
        .otherwise(pl.lit(None, pl.String))
    )
    return tests.with_columns(
        withheld=withheld,
        not_screened=not_screened,
        code_note=note,
        is_specimen_open=is_used
        & (pl.col("specimen") == "unknown").fill_null(False)
        & (pl.col("property") != "marker"),
        analyte=pl.coalesce("bound_analyte", "analyte"),
        is_of_blood=pl.col("cell").is_in(_OF_BLOOD)
        & pl.col("certainty").is_in(["certain", "other_test"])
        & (pl.col("reason").fill_null("other_cell") == "other_cell"),
    )


def with_status(origins: pl.DataFrame, reference: Reference) -> pl.DataFrame:
    """Add ``status`` from the source's word; an unknown word counts as preliminary and is noted."""
    known = dict(reference.status_words.select("match_key", "status").iter_rows())
    words = origins.select("status_text").unique().with_columns(key=match_key(pl.col("status_text")))
    words = words.select(
        "status_text",
        status=pl.col("key").replace_strict(known, default="preliminary", return_dtype=pl.String),
        status_note=pl.when(~pl.col("key").is_in(list(known), nulls_equal=True)).then(pl.lit("status_unknown")),
    )
    return origins.join(words, on="status_text", how="left", nulls_equal=True, maintain_order="left")


def with_reference_range(origins: pl.DataFrame) -> pl.DataFrame:
    """Add ``reference_low`` and ``reference_high`` in the canonical unit, by the row's own factor; unreadable = null."""
    is_marker = pl.col("dimension") == "marker"
    factor = pl.when(is_marker).then(1.0).otherwise("factor")
    offset = pl.when(is_marker).then(0.0).otherwise("offset")
    return origins.with_columns(
        ((values.number(pl.col(f"reference_{end}_text")) - offset) * factor)
        .round_sig_figs(15)
        .alias(f"reference_{end}")
        for end in ("low", "high")
    )


class TextCounts:
    """How often each text was sent under each origin, counted one portion of an extract after the other."""

    def __init__(self) -> None:
        self._counts = [pl.DataFrame(schema={"origin_no": pl.UInt64, "value_text": pl.String, "n": pl.Int64})]

    def add(self, rows: pl.DataFrame) -> None:
        """Count some rows with ``origin_no``."""
        self._counts.append(rows.group_by("origin_no", "value_text").agg(n=pl.len().cast(pl.Int64)))
        if len(self._counts) > _PORTIONS_HELD:
            self._counts = [self.counted]

    @property
    def counted(self) -> pl.DataFrame:
        """``origin_no``, ``value_text`` and their number ``n``."""
        return pl.concat(self._counts).group_by("origin_no", "value_text").agg(pl.col("n").sum())


_PORTIONS_HELD: Final = 16
