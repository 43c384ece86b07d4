"""From rows as read to judged results: analyte, value, unit, time and status of every laboratory row (ANC-1, ANC-9).

Nothing is dropped here: every row comes out as a result to be validated, a non-result or a row that is not screened.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

import polars as pl

from neutro_schemas import DAMAGED_NUMBER, RETRACTED_STATUSES
from neutro_screen.recognition import origins, values
from neutro_screen.reference import Policy, Reference
from neutro_screen.rules import dates

#: Words of a comment that say that the count may be wrong.
CLUMPING: Final = r"(?i)clump|agglutin|citrate"


#: How an origin was read: told of the origin (``pipeline.recognised``), not of its rows.
_OF_THE_READING: Final = (
    "certainty",
    "cell",
    "specimen_read",
    "unit_source",
    "decided_by",
    "reading_reason",
    "may_feed_anc",
    "bound_analyte",
    "feeds_anc",
    "has_value",
)
#: The texts of an origin that only a refused row shows again (``with_texts_as_sent``).
_AS_SENT: Final = (
    "code_system",
    "analyte_name",
    "specimen_type",
    "reference_low_text",
    "reference_high_text",
    "status_text",
)
#: What a row is judged by and nobody asks for afterwards.
_ONLY_TO_JUDGE: Final = (
    "number",
    "dimension",
    "factor",
    "offset",
    "unit_decision",
    "smallest_raw_value",
    "unit_reading",
    "withheld",
    "not_screened",
    "is_specimen_open",
    "is_of_blood",
    "canonical_unit",
    "usual_high",
    "typical_reference_high",
    "is_small_unit",
    "unit_key",
    "batch_is_suspect",
    "belies_range",
    "specimen_belies",
    "birth_date",
)


@dataclass(frozen=True)
class JudgedRows:
    """All rows of an extract, each in exactly one frame.

    ``results``: the columns of ``LabResult`` and the verdicts of ``ScreenedResult``; ``no_results``: with ``kind``;
    ``not_screened``: with ``not_screened``, why. The three keep the columns of ``LabRow`` and ``origin_no``.
    ``origins``: what is known of each (``judged_origins``).
    """

    results: pl.DataFrame
    no_results: pl.DataFrame
    not_screened: pl.DataFrame
    origins: pl.DataFrame


def judge_rows(
    rows: pl.DataFrame,
    reference: Reference,
    policy: Policy,
    *,
    as_of: datetime,
    patients: pl.DataFrame | None = None,
    decimal_mark: str | None = None,
) -> JudgedRows:
    """Judge the rows of an extract (``LabRow``).

    ``patients`` (patient_id, birth_date) lets results from before birth be found. ``as_of`` bounds the future.
    ``decimal_mark`` is what the profile states.
    """
    numbered, sent = origins.number_origins(rows, origins.no_origins())
    texts = origins.TextCounts()
    texts.add(numbered)
    known = judged_origins(sent, texts.counted, reference, policy, decimal_mark)
    judged = judge_part(numbered, known, reference, policy, as_of=as_of, patients=patients, decimal_mark=decimal_mark)
    return replace(
        judged,
        results=with_texts_as_sent(judged.results, known),
        no_results=with_texts_as_sent(judged.no_results, known),
    )


def judged_origins(
    sent: pl.DataFrame, texts: pl.DataFrame, reference: Reference, policy: Policy, decimal_mark: str | None = None
) -> pl.DataFrame:
    """What the whole extract says of its origins: ``origins.described`` and three verdicts.

    ``decimal_mark`` of the laboratory's analyte where its other values tell it, ``batch_is_suspect``, and ``has_value``
    where any text could be read in a known unit. ``texts`` are the ``TextCounts`` of the extract: the verdicts are those
    of the whole of it, however many parts its rows are judged in.
    """
    described = origins.described(sent, texts, reference)
    is_used = pl.col("not_screened").is_null() & pl.col("withheld").is_null()
    counted = texts.join(described.filter(is_used), on="origin_no")
    marks = values.decimal_marks(counted, policy)
    described, counted = (
        frame.join(marks, on=["lab", "analyte"], how="left", nulls_equal=True, maintain_order="left")
        for frame in (described, counted)
    )
    counted = counted.pipe(with_value, reference, decimal_mark).pipe(with_unit, policy)
    is_value = (pl.col("value_status") == "ok") & (pl.col("unit_status") == "ok") & pl.col("no_result").is_null()
    readable = counted.filter(is_value)["origin_no"].unique()
    return described.join(
        suspect_batches(counted, policy), on=_BATCH, how="left", nulls_equal=True, maintain_order="left"
    ).with_columns(has_value=pl.col("origin_no").is_in(readable.implode()))


def judge_part(
    numbered: pl.DataFrame,
    known: pl.DataFrame,
    reference: Reference,
    policy: Policy,
    *,
    as_of: datetime,
    patients: pl.DataFrame | None = None,
    decimal_mark: str | None = None,
) -> JudgedRows:
    """Judge rows with ``origin_no`` by the ``judged_origins`` of their extract; see ``judge_rows``.

    The texts of the origin that nothing is judged by are left out of ``results`` and ``no_results``: every further column of
    all rows costs (``with_texts_as_sent`` adds them).
    """
    is_screened = pl.col("not_screened").is_null()
    screened = (
        numbered.join(known.filter(is_screened).drop(*_OF_THE_READING, *_AS_SENT), on="origin_no", validate="m:1")
        .pipe(with_value, reference, decimal_mark)
        .pipe(with_unit, policy)
        .pipe(with_time, policy, as_of, patients)
        .pipe(with_unit_suspicion, policy)
        .pipe(with_recognition, _orders_of_blood(numbered, known, policy, as_of))
        # Every column that is left is copied once more below.
        .drop(_ONLY_TO_JUDGE)
    )
    is_retraction = pl.col("status").is_in(RETRACTED_STATUSES) | (
        # A correction that says "no result" takes the earlier value back.
        pl.col("no_result").is_not_null() & (pl.col("status") == "corrected")
    )
    screened = screened.with_columns(is_retraction=is_retraction)
    # A row with a time that cannot be is refused, whatever it says.
    is_no_result = (
        ~pl.col("is_retraction")
        & pl.col("no_result").is_not_null()
        & (pl.col("time_status") != "impossible")
        & (pl.col("recognition_status") == "ok")
    )
    return JudgedRows(
        results=screened.filter(~is_no_result).pipe(_with_retractions),
        no_results=screened.filter(is_no_result).with_columns(kind="no_result"),
        not_screened=numbered.join(known.filter(~is_screened).drop(_OF_THE_READING), on="origin_no", validate="m:1"),
        origins=known,
    )


def with_texts_as_sent(rows: pl.DataFrame, known: pl.DataFrame) -> pl.DataFrame:
    """Judged rows (``origin_no``) with the texts of their origin that ``judge_part`` leaves out."""
    return _with_found(rows, known.select("origin_no", *_AS_SENT), ["origin_no"])


def _with_found(rows: pl.DataFrame, table: pl.DataFrame, on: list[str], *, nulls_equal: bool = False) -> pl.DataFrame:
    """The rows with the other columns of the row of ``table`` that has their keys; null = none has.

    Only the keys pass through the join, which copies what it is given.
    """
    found = rows.select(on).join(
        table, on=on, how="left", nulls_equal=nulls_equal, maintain_order="left", validate="m:1"
    )
    return rows.with_columns(found.drop(on).get_columns())


def with_value(rows: pl.DataFrame, reference: Reference, stated_mark: str | None) -> pl.DataFrame:
    """Add ``number``, ``comparator``, ``value_status`` and ``no_result``; only texts that are no numbers are parsed.

    ``stated_mark`` is the decimal mark of the source's profile; without it that of the batch counts (``decimal_mark``).
    """
    rows = rows.with_columns(number=values.number(pl.col("value_text")))
    is_plain = pl.col("number").is_not_null() & ~values.is_ambiguous(pl.col("value_text"), pl.col("is_small_unit"))
    keys = list(values.KEYS)
    odd = values.read_texts(rows.filter(~is_plain).select(keys).unique().sort(keys), reference, stated_mark)
    pending = pl.col("status") == "pending"
    return (
        _with_found(rows, odd.rename({"number": "number_read"}), keys, nulls_equal=True)
        .with_columns(
            number=pl.when(is_plain).then("number").otherwise("number_read"),
            value_status=pl.when(is_plain).then(pl.lit("ok")).otherwise("value_status"),
            no_result=pl.when(pending).then(pl.lit("pending")).otherwise("no_result"),
        )
        # What a marker says is read by the rule that knows it; its text is never a refusal.
        .with_columns(
            value_status=pl.when(pl.col("dimension") == "marker").then(pl.lit("ok")).otherwise("value_status")
        )
        .drop("number_read", "decimal_mark")
    )


def with_unit(rows: pl.DataFrame, policy: Policy) -> pl.DataFrame:
    """Add ``value`` in the canonical unit, ``unit`` and ``unit_status`` (ok, missing, unknown, suspect).

    Rounded to 15 significant digits against floating-point noise and no further (ANC-7).
    """
    factor, raw = pl.col("factor"), pl.col("number")
    is_marker = pl.col("dimension") == "marker"
    known = factor.is_not_null() & (pl.col("unit_reading") == "accepted")
    canonical = ((raw - pl.col("offset")) * factor).round_sig_figs(policy.anc.significant_digits)
    return rows.with_columns(
        value=pl.when(known).then(canonical).when(is_marker).then(raw),
        unit=pl.when(known).then("canonical_unit").when(is_marker).then("unit_text"),
        unit_status=pl.when(is_marker)
        .then(pl.lit("ok"))
        .when(pl.col("unit_reading") == "missing")
        .then(pl.lit("missing"))
        .when(~known.fill_null(False))
        .then(pl.lit("unknown"))
        .when((pl.col("unit_decision") == "accept_fraction") & (raw > 1))
        .then(pl.lit("suspect"))
        .when(_is_part_of_a_cell(policy))
        .then(pl.lit("suspect"))
        .when(raw.abs() < pl.col("smallest_raw_value"))
        .then(pl.lit("suspect"))
        .otherwise(pl.lit("ok")),
    )


def _is_part_of_a_cell(policy: Policy) -> pl.Expr:
    """A white cell or neutrophil count in cells that is no whole number and as small as one in 10*9/L (ANC-9)."""
    raw = pl.col("number")
    is_in_cells = (
        (pl.col("dimension") == "count") & (pl.col("factor") < 1) & pl.col("typical_reference_high").is_not_null()
    )
    return is_in_cells & (raw > 0) & (raw < policy.unit_check.cells_fraction_below) & (raw != raw.floor())


def with_time(rows: pl.DataFrame, policy: Policy, as_of: datetime, patients: pl.DataFrame | None) -> pl.DataFrame:
    """Settle ``collected_at`` and ``specimen_id`` (ANC-1), add ``time_status`` and the times' notes.

    Times that cannot be are null afterwards (``dates.with_impossible_times``).
    """
    rows = dates.with_impossible_times(rows, dates.date_limits(policy, as_of))
    is_impossible = pl.any_horizontal(pl.col(name).is_not_null() for name in dates.LAB_TIMES.values())
    latest = as_of + timedelta(hours=policy.specimen.future_tolerance_h)
    if patients is not None and patients.height:
        born = patients.group_by("patient_id").agg(pl.col("birth_date").min()).sort("patient_id")
        rows = _with_found(rows, born, ["patient_id"])
    else:
        rows = rows.with_columns(birth_date=pl.lit(None, pl.Date))
    counted = pl.coalesce("collected_at", "resulted_at")
    # A spreadsheet shortens long numbers to 2.02E+11: many specimens would become one.
    is_damaged = pl.col("specimen_id").str.contains(DAMAGED_NUMBER).fill_null(False)
    own_number = pl.when(~is_damaged).then("specimen_id")
    # Few have no number; to write the time of every row costs as much as all else here.
    time_of_the_others = pl.when(own_number.is_null()).then(counted)
    # Birth dates are local days, times UTC: the day of birth may begin up to a day earlier in UTC.
    first_day = pl.col("birth_date").dt.offset_by("-1d")
    return rows.with_columns(
        collected_at=counted,
        specimen_id=pl.coalesce(own_number, time_of_the_others.dt.strftime("@%Y-%m-%dT%H:%M:%S")),
        time_status=pl.when(is_impossible)
        .then(pl.lit("impossible"))
        .when(counted.is_null() & pl.col("has_unreadable_time"))
        .then(pl.lit("unreadable"))
        .when(counted.is_null())
        .then(pl.lit("missing"))
        .when(counted > latest)
        .then(pl.lit("future"))
        .when(counted.dt.date() < first_day)
        .then(pl.lit("before_birth"))
        .otherwise(pl.lit("ok")),
        time_note=pl.when(pl.col("collected_at").is_null() & pl.col("resulted_at").is_not_null()).then(
            pl.lit("collected_from_result_time")
        ),
        order_note=pl.when(pl.col("collected_at") > pl.col("resulted_at")).then(pl.lit("collected_after_resulted")),
        specimen_note=pl.when(is_damaged).then(pl.lit("specimen_id_damaged")),
    )


def with_recognition(rows: pl.DataFrame, of_blood: pl.DataFrame) -> pl.DataFrame:
    """Add ``recognition_status``: ok, or why the row is kept aside (REC-2 to REC-4).

    Where the words for the specimen were not understood, it is blood if the same order (``of_blood``: patient_id,
    specimen_id) carries haemoglobin, haematocrit, red cells or platelets.
    """
    known = _with_found(rows, of_blood.with_columns(is_blood=pl.lit(True)), of_blood.columns)
    is_unknown = pl.col("is_specimen_open") & pl.col("is_blood").is_null()
    return known.with_columns(
        recognition_status=pl.coalesce("withheld", pl.when(is_unknown).then(pl.lit("unknown_specimen")), pl.lit("ok"))
    ).drop("is_blood")


def _orders_of_blood(numbered: pl.DataFrame, known: pl.DataFrame, policy: Policy, as_of: datetime) -> pl.DataFrame:
    """The orders (patient_id, specimen_id) that a cell of blood was counted in; none where no specimen is open."""
    order = ["patient_id", "specimen_id"]
    if not numbered["origin_no"].is_in(known.filter("is_specimen_open")["origin_no"].implode()).any():
        return numbered.select(order).clear()
    of_blood = numbered.join(known.filter("is_of_blood"), on="origin_no", how="semi")
    return of_blood.pipe(with_time, policy, as_of, None).select(order).unique()


#: A laboratory's results of one test in one unit.
_BATCH: Final = list(origins.TEST)


def suspect_batches(counted: pl.DataFrame, policy: Policy) -> pl.DataFrame:
    """The batches whose median no ward could have: ``_BATCH`` and ``batch_is_suspect`` (true).

    ``counted`` holds distinct values with their number ``n``: their median is that of the single results.
    """
    check = policy.unit_check
    medians = (
        counted.filter(_is_checked() & pl.col("value").is_not_null())
        .group_by(*_BATCH, "value")
        .agg(pl.col("n").sum())
        .sort("value")
        .with_columns(last=pl.col("n").cum_sum().over(_BATCH), total=pl.col("n").sum().over(_BATCH))
        .group_by(_BATCH)
        .agg(
            pl.col("total").first(),
            lower=pl.col("value").filter(2 * pl.col("last") >= pl.col("total")).min(),
            upper=pl.col("value").filter(2 * pl.col("last") > pl.col("total")).min(),
        )
        .filter(pl.col("total") >= check.batch_minimum_n)
    )
    median = (pl.col("lower") + pl.col("upper")) / 2
    beyond = medians.filter(~median.is_between(check.batch_median_low, check.batch_median_high)).select(_BATCH)
    return pl.concat([beyond, _fraction_columns(counted, policy)]).unique().with_columns(batch_is_suspect=pl.lit(True))


def _fraction_columns(counted: pl.DataFrame, policy: Policy) -> pl.DataFrame:
    """The batches (``_BATCH``) of percentages whose values all lie in 0 to 1, most of them between: fractions (ANC-9)."""
    values, n = pl.col("value"), pl.col("n")
    is_between = (values > 0) & (values < 1)
    is_large_class = pl.col("analyte").is_in(policy.unit_check.fraction_analytes)
    return (
        counted.filter(is_large_class & (pl.col("unit_status") == "ok") & values.is_not_null())
        .group_by(_BATCH)
        .agg(highest=values.max(), total=n.sum(), between=n.filter(is_between).sum())
        .filter(
            (pl.col("highest") <= 1)
            & (pl.col("total") >= policy.unit_check.fraction_minimum_n)
            & (2 * pl.col("between") > pl.col("total"))
        )
        .select(_BATCH)
    )


def _is_checked() -> pl.Expr:
    return pl.col("typical_reference_high").is_not_null() & (pl.col("unit_status") == "ok")


def _is_percentage() -> pl.Expr:
    return (pl.col("dimension") == "percent") & (pl.col("unit_status") == "ok")


def with_unit_suspicion(rows: pl.DataFrame, policy: Policy) -> pl.DataFrame:
    """Mark values whose unit is the likely culprit, in the order of ANC-9.

    First the median of the batch per laboratory, code and unit; then the row's own reference range; last the value's
    limit. (The reported count against WBC x percent needs the whole specimen: see ``rules.specimens``.)
    """
    check = policy.unit_check
    range_ratio = pl.col("reference_high") / pl.col("typical_reference_high")
    belies_range = _is_checked() & (
        (range_ratio >= check.range_ratio) | ((range_ratio <= 1 / check.range_ratio) & (range_ratio > 0))
    ).fill_null(False)
    rows = rows.with_columns(belies_range=belies_range)
    # The white cells' own range speaks for the whole specimen: 50 beside WBC 60 [4000-11000] is 50 cells.
    specimen = ("patient_id", "specimen_id", "unit_key")
    belied = rows.filter("belies_range").select(specimen).unique().with_columns(specimen_belies=pl.lit(True))
    if belied.height:
        rows = _with_found(rows, belied, list(specimen))
    else:
        rows = rows.with_columns(specimen_belies=pl.lit(None, pl.Boolean))
    return rows.with_columns(
        unit_status=pl.when(
            (_is_percentage() & pl.col("batch_is_suspect").fill_null(False))
            | _is_checked()
            & (
                pl.col("batch_is_suspect").fill_null(False)
                | pl.col("belies_range")
                | pl.col("specimen_belies").fill_null(False)
                | (pl.col("value") >= 10 * pl.col("usual_high")).fill_null(False)
            )
        )
        .then(pl.lit("suspect"))
        .otherwise("unit_status")
    )


def _with_retractions(results: pl.DataFrame) -> pl.DataFrame:
    """A retraction needs no value: what it takes back is found by specimen and analyte."""
    takes_back = pl.col("is_retraction")
    without_value = takes_back & (pl.col("value").is_null() | pl.col("no_result").is_not_null())
    return results.with_columns(
        status=pl.when(takes_back & ~pl.col("status").is_in(RETRACTED_STATUSES))
        .then(pl.lit("cancelled"))
        .otherwise("status"),
        value=pl.when(~without_value).then("value"),
        comparator=pl.when(~without_value).then("comparator"),
        value_status=pl.when(takes_back).then(pl.lit("ok")).otherwise("value_status"),
        unit_status=pl.when(takes_back).then(pl.lit("ok")).otherwise("unit_status"),
        notes=pl.concat_str(
            pl.when("is_unit_stated").then(pl.lit("unit_from_profile")),
            "code_note",
            "status_note",
            "time_note",
            "time_oddity",
            "order_note",
            "specimen_note",
            pl.when(pl.col("comment").str.contains(CLUMPING)).then(pl.lit("possible_pseudoneutropenia")),
            separator=", ",
            ignore_nulls=True,
        ).replace("", None),
    )
