"""From a source's own table to the native layout: names, constants, wide columns."""

import tomllib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Final

import polars as pl

from neutro_screen.errors import RefusedInputError
from neutro_screen.ingest.agreement import disagreement, numbers_differ
from neutro_screen.ingest.frames import NATIVE_COLUMNS, REQUIRED_COLUMNS, Kind
from neutro_screen.ingest.header import columns_told
from neutro_screen.ingest.operators import (
    first_bound,
    operators_beside,
    operators_of,
    value_and_operator,
    with_operator,
)
from neutro_screen.ingest.profile import KindProfile, Profile, WideColumn
from neutro_screen.ingest.reshaped import dates_down, filled_down, with_units_below
from neutro_screen.ingest.unread_columns import doubtful_columns, feeds, is_result, unread_columns

#: In front of the names of measured columns, which may be those of native ones.
_WIDE: Final = "measured "
#: What a LOINC code looks like; for codes that come without the name of their system.
LOINC_NUMBER: Final = r"^\d{1,5}-\d$"


def columns_by_table(format_name: str) -> dict[str, tuple[tuple[str, ...], tuple[str, ...]]]:
    """The tables of a format (formats/source_tables.toml): required and optional columns."""
    tables = tomllib.loads((Path(__file__).parent / "formats" / "source_tables.toml").read_text("utf-8"))[format_name]
    return {name: (tuple(columns["required"]), tuple(columns["optional"])) for name, columns in tables.items()}


def kept_local_code(local: pl.Expr, profile: Profile) -> pl.Expr:
    """A source's own code beside a LOINC code (column ``loinc``): kept only if the profile maps it.

    A source's own code is preferred to LOINC; one that is not mapped carries less information than LOINC.
    """
    return pl.when(pl.col("loinc").is_null() | local.is_in(list(profile.analytes))).then(local)


def with_off_scale(value: pl.Expr, flag: pl.Expr) -> pl.Expr:
    """A bare number flagged ``<`` or ``>`` (off the instrument's scale) with the sign in front."""
    is_bare = value.str.contains(r"^\s*[\d.,]+\s*$")
    return pl.when(is_bare & flag.is_in(["<", ">"])).then(pl.concat_str(flag, value)).otherwise(value)


def source_columns(kind: Kind, layout: KindProfile) -> dict[str, tuple[str, ...]]:
    """Native column -> the source's own columns that it is read from."""
    named = {column: layout.columns.get(column, column) for column in NATIVE_COLUMNS[kind]}
    return {column: (own,) if isinstance(own, str) else own for column, own in named.items()}


def named_columns(kind: Kind, profile: Profile) -> set[str]:
    """The column names that a file of this kind is expected to have some of."""
    layout: KindProfile = getattr(profile, kind)
    owns = {own for names in source_columns(kind, layout).values() for own in names}
    return owns | set(layout.fallbacks.values()) | {wide.column for wide in layout.wide}


def has_required(names: Collection[str | None], kind: Kind, profile: Profile) -> bool:
    """Whether a header has what every file of this kind needs."""
    layout: KindProfile = getattr(profile, kind)
    owns = source_columns(kind, layout)
    is_wide = any(wide.column in names for wide in layout.wide)
    told = {column for column, own in owns.items() if set(own) & set(names)} | layout.constants.keys()
    told |= {"value", "unit", "analyte_name"} if is_wide else set()
    return all(told & set(group) for group in REQUIRED_COLUMNS[kind])


def own_layout(profile: Profile, kind: Kind) -> Profile:
    """The profile for a format that names its own columns: constants and times hold, column names do not."""
    return profile.model_copy(update={kind: KindProfile(constants=getattr(profile, kind).constants)})


def native(
    rows: pl.DataFrame, kind: Kind, profile: Profile, source_file: str, broken: Sequence[int] = ()
) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """Bring a source's table into the native layout: text columns, blank = null, all native columns present.

    ``broken`` are the numbers of the refused lines among the rows.

    A blank cell of a wide file is a test that was not asked for, and no row. Returns the frame and notes
    (``ignored_columns:3``).

    Raises:
        RefusedInputError: a required column is missing, or the table is not laid out as the profile says.
    """
    layout: KindProfile = getattr(profile, kind)
    wide = [each for each in layout.wide if each.column in rows.columns]
    rows, wide, laid_out = _reshaped(rows, kind, profile, source_file, wide, broken)
    texts, ignored = _named_texts(rows, kind, profile, source_file, wide)
    notes: tuple[str, ...] = (*laid_out, f"ignored_columns:{len(ignored)}") if ignored else laid_out
    if wide:
        operators = operators_beside((each.column for each in wide), ignored)
        of_another = {name for names in operators.values() for name in names}
        unmapped = [name for name in ignored if name not in profile.analytes and name not in of_another]
        unread = unread_columns(unmapped, wide)
        frame, n_untested = _unpivoted(rows, texts, wide, unread, doubtful_columns(unmapped), operators)
        notes += (f"unread_columns:{len(unread)}",) if unread else ()
        notes += (f"untested_rows:{n_untested}",) if n_untested else ()
    else:
        frame = rows.select("source_row", **texts)
    frame = frame.with_columns(
        *(pl.lit(None, pl.String).alias(column) for column in NATIVE_COLUMNS[kind] if column not in frame.columns)
    )
    blanks = pl.col(NATIVE_COLUMNS[kind])
    frame = frame.with_columns(blanks.replace("", None)).with_columns(
        pl.col(column).str.strip_chars().replace(words) for column, words in layout.values.items() if column in frame
    )
    return frame.select(*NATIVE_COLUMNS[kind], source_file=pl.lit(source_file), source_row="source_row"), notes


def _reshaped(
    rows: pl.DataFrame, kind: Kind, profile: Profile, source_file: str, wide: list[WideColumn], broken: Sequence[int]
) -> tuple[pl.DataFrame, list[WideColumn], tuple[str, ...]]:
    """The rows laid out as others are (reshaped.py), the measured columns with their units, and notes."""
    layout: KindProfile = getattr(profile, kind)
    owns = source_columns(kind, layout)
    if wide:
        rows, wide = with_units_below(rows, wide, source_file)
    if layout.fill_down:
        own = [[name for name in owns[column] if name in rows.columns] for column in layout.fill_down]
        of_result = [name for column in _OF_A_RESULT for name in owns[column] if name in rows.columns]
        results = of_result + [each.column for each in wide]
        rows = filled_down(rows, [names for names in own if names], results, broken) if results else rows
    if not layout.dates_across:
        return rows, wide, ()
    rows, n_untested = dates_down(rows, {name for names in owns.values() for name in names}, profile, source_file)
    return rows, wide, (f"untested_rows:{n_untested}",) if n_untested else ()


#: Columns of which one makes a row that of a result.
_OF_A_RESULT: Final = ("value", "analyte_name", "local_code", "loinc")


def _named_texts(
    rows: pl.DataFrame, kind: Kind, profile: Profile, source_file: str, wide: list[WideColumn]
) -> tuple[dict[str, pl.Expr], list[str]]:
    """Native column -> its text in the source's table, constants included; and the columns that are ignored."""
    layout: KindProfile = getattr(profile, kind)
    owns = source_columns(kind, layout)
    present = {column: [name for name in names if name in rows.columns] for column, names in owns.items()}
    texts = {column: _joined(names) for column, names in present.items() if names}
    fallbacks = {column: name for column, name in layout.fallbacks.items() if name in rows.columns}
    used = {name for names in present.values() for name in names} | {*fallbacks.values(), "source_row"}
    ignored = sorted(set(rows.columns) - used - {each.column for each in wide})
    if kind == "lab":
        second_value = [fallbacks["value"]] if "value" in fallbacks else []
        texts |= _operated(rows, present, second_value, [] if wide else ignored)
    for column, name in fallbacks.items():
        second = _joined([name])
        if column == "value":
            second = pl.when(~second.is_in(profile.sentinels)).then(second)
            texts["fields_disagree"] = disagreement(numbers_differ(texts.get("value", pl.lit(None, pl.String)), second))
        texts[column] = pl.coalesce(_unless_blank(texts[column]), second) if column in texts else second
    constants = {column: pl.lit(value) for column, value in layout.constants.items() if column not in texts}
    measured = {"value", "unit", "analyte_name"} if wide else set()
    _check_required(rows, kind, {*texts, *constants, *measured}, owns, source_file)
    return {column: text for column, text in (texts | constants).items() if column not in measured}, ignored


def _operated(
    rows: pl.DataFrame, present: Mapping[str, list[str]], second_value: list[str], ignored: list[str]
) -> dict[str, pl.Expr]:
    """The value without operators and the operator, where a column that is mapped or says so holds operators."""
    names = present["value"] + second_value
    values, operators = value_and_operator(rows, names, ignored)
    stated = [operators_of(rows, name, "operator") for name in present["comparator"]]
    operators = [operator for operator in stated if operator is not None] + operators
    texts = {"comparator": first_bound(operators)} if operators else {}
    own = [text for name, text in zip(names, values, strict=True) if name in present["value"]]
    return texts | ({"value": _joined_texts(own)} if own else {})


def _joined(names: Sequence[str]) -> pl.Expr:
    return _joined_texts([pl.col(name).cast(pl.String) for name in names])


def _joined_texts(texts: Sequence[pl.Expr]) -> pl.Expr:
    if len(texts) == 1:
        return texts[0]
    parts = [text.str.strip_chars() for text in texts]
    return pl.concat_str(parts, separator=" ", ignore_nulls=True).str.strip_chars()


def _unless_blank(text: pl.Expr) -> pl.Expr:
    """Null where nothing stands, or only underscores in the place of text that was removed."""
    return pl.when(~text.str.contains(r"^[\s_]*$")).then(text)


def _check_required(
    rows: pl.DataFrame, kind: Kind, available: set[str], owns: Mapping[str, Sequence[str]], source_file: str
) -> None:
    for group in REQUIRED_COLUMNS[kind]:
        if not available & set(group):
            expected = " or ".join(name for column in group for name in owns[column])
            known = {name for names in owns.values() for name in names}
            its_own = [name for name in rows.columns if name != "source_row"]
            raise RefusedInputError(
                f"required {kind} column missing: {expected}",
                where=source_file,
                remedy=f"{columns_told(its_own, known)} Map names with --profile.",
            )


def _unpivoted(
    rows: pl.DataFrame,
    texts: dict[str, pl.Expr],
    mapped: list[WideColumn],
    unread: list[WideColumn],
    doubtful: list[WideColumn],
    operators: Mapping[str, Sequence[str]],
) -> tuple[pl.DataFrame, int]:
    """One row per cell that is filled, and the number of rows with a time and no filled cell.

    ``operators`` are the columns of operators beside a measured one. A row with neither stays as one without test and
    value: a title or footer, which is refused.
    """
    wide = [*mapped, *unread, *doubtful]
    units = {_measured(each): each.unit for each in wide}
    filled = {
        _measured(each): _unless_blank(_bounded(rows, each.column, operators.get(each.column, ()))) for each in wide
    }
    told = [filled[_measured(each)].is_not_null() for each in mapped if feeds(each)]
    is_told = pl.any_horizontal(told) if told else pl.lit(False)
    results = {
        name: pl.when(is_result(filled[name], is_told, is_named=each in unread)).then(filled[name])
        for each in (*unread, *doubtful)
        for name in (_measured(each),)
    }
    cells = rows.select("source_row", **texts, **(filled | results))
    times = [pl.col(name).is_not_null() for name in ("collected_at", "resulted_at") if name in cells.columns]
    cells = cells.with_columns(
        is_untested=pl.all_horizontal(pl.col(list(units)).is_null()), is_timed=pl.any_horizontal(times)
    )
    n_untested = cells.filter("is_untested", "is_timed").height
    is_first = pl.col("measured") == next(iter(units))
    long = (
        cells.filter(~(pl.col("is_untested") & pl.col("is_timed")))
        .unpivot(list(units), index=["source_row", "is_untested", *texts], variable_name="measured", value_name="value")
        .filter(pl.col("value").is_not_null() | (pl.col("is_untested") & is_first))
        .with_columns(
            analyte_name=pl.when(~pl.col("is_untested")).then(pl.col("measured").str.strip_prefix(_WIDE)),
            unit=pl.when(~pl.col("is_untested")).then(pl.col("measured").replace_strict(units)),
        )
    )
    return long.drop("measured", "is_untested"), n_untested


def _bounded(rows: pl.DataFrame, column: str, operators: Sequence[str]) -> pl.Expr:
    values, found = value_and_operator(rows, [column], operators)
    return with_operator(values[0], first_bound(found)) if found else values[0]


def _measured(column: WideColumn) -> str:
    return f"{_WIDE}{column.column}"
