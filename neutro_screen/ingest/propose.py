"""A first profile for a source, from a sample of it: what could be told, and what could not."""

import csv
import json
import re
import unicodedata
from itertools import islice
from pathlib import Path
from typing import Final

import polars as pl

from neutro_screen.errors import RefusedInputError, UnreadableInputError
from neutro_screen.ingest.files import encoding_by_mark, head_of, refusing, transcoded, unpacked
from neutro_screen.ingest.formats.excel import HEADER_WITHIN, sheets_of
from neutro_screen.ingest.formats.excel import recognises as is_excel
from neutro_screen.ingest.frames import KINDS, REQUIRED_COLUMNS, Kind
from neutro_screen.ingest.times import parse_times
from neutro_screen.private import private_folder
from neutro_screen.reference import Reference, load_reference
from neutro_screen.text import match_key

_SAMPLE: Final = 5_000
_LONGEST_SAMPLE: Final = 8 << 20
_MOST_LISTED: Final = 40
_TIME_FORMATS: Final = (
    "%d.%m.%Y %H:%M",
    "%d.%m.%Y %H:%M:%S",
    "%d.%m.%Y",
    "%Y%m%d%H%M%S",
    "%Y%m%d%H%M",
    "%Y%m%d",
    "%Y/%m/%d %H:%M",
    "%Y/%m/%d",
    "%d-%b-%Y %H:%M",
    "%d-%b-%Y",
    "%d/%m/%Y %H:%M:%S",
    "%d/%m/%Y %H:%M",
    "%d/%m/%Y",
    "%m/%d/%Y %H:%M:%S",
    "%m/%d/%Y %H:%M",
    "%m/%d/%Y",
    "%m/%d/%Y %I:%M:%S %p",
    "%m/%d/%Y %I:%M %p",
)
#: Numbers that systems write where there is none (FORMATS.md D.19); proposed only where the sample has them.
_SENTINELS: Final = ("9999999", "999999", "99999", "-999")
_ABSOLUTE: Final = r"(?i)[\s,]+abs(?:olut\w*)?\.?\s*$"
#: A number, a date or a time: no column is called so.
_NO_NAME: Final = r"\s*[<>]?\d+([.,]\d+)*\s*$|\s*\d{4}-\d\d-\d\d|\s*\d{1,2}[./]\d{1,2}[./]\d{2,4}\b|\s*\d{8,}"
_UNIT_IN_HEADER: Final = r"[\[(]([^\])]*)[\])]\s*$"


def propose_profile(path: Path) -> str:
    """A profile in TOML for a delimited, Excel or Parquet file, with comments on everything that was not mapped.

    Columns are found by their names (column_names.csv), the measured columns of a wide file by the names of analytes,
    formats of times and the decimal mark by the values. Nothing is guessed that the sample leaves open: it is listed
    instead. No value of a patient is quoted, only names of columns, tests and units.

    Raises:
        UnreadableInputError: the file cannot be read as a table.
        RefusedInputError: its first lines have no header.
    """
    sample, details = _sample(path)
    if len(sample.columns) < 2:
        raise RefusedInputError("no header with several columns was found", where=path.name)
    # A profile quotes the header: of a file without one that would be its first patient.
    if any(re.match(_NO_NAME, name) for name in sample.columns):
        raise RefusedInputError(
            "the first line seems to be a row, not a header",
            where=path.name,
            remedy="Export the file with column names.",
        )
    reference = load_reference()
    kind, columns = _best_kind(sample.columns)
    wide = _wide_columns(sample.columns, set(columns.values()), reference) if kind == "lab" else {}
    if len(wide) < 2 or "value" in columns:
        wide = {}
    lines = [
        "# Proposed from a sample: read it, correct it, and run `neutro-screen check` with it.",
        f"name = {_quoted(path.name.split('.')[0])}",
        'time_zone = "UTC"  # times without an offset are in this zone: set it',
        *details,
        *_times(sample, kind, columns),
    ]
    if kind == "lab":
        lines += _values(sample, columns, wide)
    lines += ["", f"[{kind}.columns]"]
    lines += [f"{column} = {_quoted(name)}" for column, name in columns.items() if column != name]
    for name, (analyte, unit) in wide.items():
        lines += ["", f"[[{kind}.wide]]", f"column = {_quoted(name)}", f"analyte = {_quoted(analyte)}"]
        lines += [f"unit = {_quoted(unit)}" if unit else 'unit = ""  # not in the header: state it']
    lines += ["", *_open_questions(sample, kind, columns, wide, reference)]
    return "\n".join(lines) + "\n"


def _sample(path: Path) -> tuple[pl.DataFrame, list[str]]:
    if is_excel(path):
        return _first_table(sheets_of(path), path.name), []
    if path.suffix == ".parquet":
        with refusing("is not a readable Parquet file", path, pl.exceptions.PolarsError, OSError):
            frame = pl.scan_parquet(path.absolute(), glob=False).head(_SAMPLE).collect()
            return frame.select(pl.col(name).cast(pl.String, strict=False) for name in frame.columns), []
    with private_folder() as folder:
        text = unpacked(path, folder)
        encoding = encoding_by_mark(head_of(text))
        if encoding not in (None, "utf-8-sig"):
            text = transcoded(text, str(encoding), folder)
        try:
            with text.open("rb") as file:
                raw = file.read(_LONGEST_SAMPLE)
        except OSError:
            raise UnreadableInputError("cannot be read", where=path.name) from None
    try:
        sampled, details = raw.decode("utf-8-sig"), []
    except UnicodeDecodeError:
        sampled, details = raw.decode("cp1252", errors="replace"), ['encoding = "cp1252"']
    lines = sampled.splitlines()[: _SAMPLE + 1]
    if not lines or "\0" in lines[0]:
        raise UnreadableInputError("is empty or no text", where=path.name)
    delimiter = max(",;\t|", key=lines[0].count)
    if not lines[0].count(delimiter):
        delimited = [number for number, line in enumerate(lines[:HEADER_WITHIN], start=1) if _has_several(line)]
        if delimited:
            raise RefusedInputError(
                f"the header seems to be line {delimited[0]}, under a title",
                where=path.name,
                remedy="Take the lines above it away, here and in every night's file.",
            )
    return _table(list(islice(csv.reader(lines, delimiter=delimiter), _SAMPLE))), details


def _has_several(line: str) -> bool:
    """Whether a line has as many columns as the smallest extract."""
    return max(map(line.count, ",;\t|")) >= 3


def _first_table(sheets: list[list[list[str | None]]], name: str) -> pl.DataFrame:
    """The sheet and line with the most names in it."""
    headers = [
        (sum(cell is not None for cell in row), -line, sheet)
        for sheet, rows in enumerate(sheets)
        for line, row in enumerate(rows[:HEADER_WITHIN])
    ]
    if not headers:
        raise RefusedInputError("the workbook is empty", where=name)
    _, line, sheet = max(headers)
    return _table([[cell or "" for cell in row] for row in sheets[sheet][-line : -line + _SAMPLE]])


def _table(rows: list[list[str]]) -> pl.DataFrame:
    header = [name.strip() for name in rows[0]]
    kept = [position for position, name in enumerate(header) if name and header.index(name) == position]
    body = [[row[position].strip() or None for position in kept] for row in rows[1:] if len(row) == len(header)]
    return pl.DataFrame(body, schema=dict.fromkeys((header[position] for position in kept), pl.String), orient="row")


def _best_kind(names: list[str]) -> tuple[Kind, dict[str, str]]:
    """The kind whose columns are found best (required ones first), and its native column -> the file's."""
    known = pl.read_csv(Path(__file__).parent / "column_names.csv", infer_schema=False)
    keys = {_key(name): name for name in reversed(names)}
    found: dict[Kind, dict[str, str]] = {kind: {} for kind in KINDS}
    for kind, column, listed in known.iter_rows():
        for name in listed.split("|"):
            if (own := keys.get(_key(name))) is not None and own not in found[kind].values():
                found[kind][column] = own
                break

    def fit(kind: Kind) -> tuple[int, int, int]:
        met = sum(any(column in found[kind] for column in group) for group in REQUIRED_COLUMNS[kind])
        return (met == len(REQUIRED_COLUMNS[kind]), len(found[kind]), -KINDS.index(kind))

    best = max(KINDS, key=fit)
    # A patient's columns are in every file; what else is there tells the kinds apart.
    if best == "patient" and len(found["patient"]) < 2:
        best = "lab"
    if not fit(best)[0] or best == "patient":
        measured = _wide_columns(names, set(found["lab"].values()), load_reference())
        if "value" in found["lab"] or len(measured) > 1:
            best = "lab"
        elif not fit(best)[0]:
            best = max(KINDS, key=lambda kind: (len(found[kind].keys() - {"patient_id"}), -KINDS.index(kind)))
    return best, found[best]


def _wide_columns(names: list[str], taken: set[str], reference: Reference) -> dict[str, tuple[str, str]]:
    """Measured columns: name -> analyte and the unit in its brackets."""
    codes = reference.lab_codes.filter((pl.col("system") == "local_name") & pl.col("cell").is_not_null())
    codes = codes.join(reference.analytes.select("cell", "dimension", "analyte"), on="cell", how="left", suffix="_of")
    sized = codes.filter(pl.col("dimension").is_null() | (pl.col("dimension") == pl.col("dimension_of")))
    percents = set(reference.unit_factors.filter(pl.col("dimension") == "percent")["match_key"])
    wide = {}
    for name in names:
        if name in taken:
            continue
        unit = (re.search(_UNIT_IN_HEADER, name) or [None, ""])[1] or ("%" if "%" in name else "")
        bare = re.sub(_UNIT_IN_HEADER, "", name)
        # "Neutrophile abs." is a name with its dimension; the unit says the same.
        plain = re.sub(_ABSOLUTE, "", bare) if unit else bare
        named, bare_key, plain_key, key_of_unit = pl.select(
            name=match_key(pl.lit(name)),
            bare=match_key(pl.lit(bare)),
            plain=match_key(pl.lit(plain)),
            unit=match_key(pl.lit(unit)),
        ).row(0)
        matches = sized.filter(pl.col("code").is_in([key for key in (named, bare_key, plain_key) if key]))
        if unit and matches["analyte"].n_unique() > 1:
            dimension = "percent" if key_of_unit in percents else "count"
            matches = matches.filter(pl.col("dimension_of") == dimension)
        if matches["analyte"].n_unique() == 1:
            wide[name] = (matches["analyte"][0], unit)
    return wide


def _times(sample: pl.DataFrame, kind: Kind, columns: dict[str, str]) -> list[str]:
    timed = [
        columns[name]
        for name in ("collected_at", "resulted_at", "start_date", "end_date", "birth_date", "date")
        if name in columns
    ]
    texts = [sample[name].drop_nulls() for name in timed]
    formats: list[str] = []
    notes: list[str] = []
    for name, values in zip(timed, texts, strict=True):
        if not values.len() or parse_times(values, "UTC").utc.null_count() == 0:
            continue
        reading = [each for each in _TIME_FORMATS if parse_times(values, "UTC", (each,)).utc.null_count() == 0]
        orders = {re.sub(r"[^dmY]", "", each)[:2] for each in reading if "/" in each}
        if not reading:
            notes.append(f"# No known format fits all times of the column {name!r}: add it to datetime_formats.")
        elif len(orders) > 1:
            notes.append(f"# The column {name!r} fits day/month and month/day alike: keep the right one of {reading}.")
        else:
            formats += [reading[0]] if reading[0] not in formats else []
    return notes + ([f"datetime_formats = {json.dumps(formats)}"] if formats else [])


def _values(sample: pl.DataFrame, columns: dict[str, str], wide: dict[str, tuple[str, str]]) -> list[str]:
    names = [columns["value"]] if "value" in columns else list(wide)
    values = (
        pl.concat([sample[name].drop_nulls().rename("value") for name in names])
        if names
        else pl.Series([], dtype=pl.String)
    )
    lines = []
    has_decimal_comma = values.str.contains(r"^[<>]?\s*\d+,\d{1,2}$").any()
    has_decimal_point = values.str.contains(r"^[<>]?\s*\d+\.\d{1,2}$").any()
    if has_decimal_comma and not has_decimal_point:
        lines.append('decimal_mark = ","')
    elif has_decimal_comma:
        lines.append("# Some values have a decimal comma, some a decimal point: the decimal mark is left open.")
    if sentinels := [each for each in _SENTINELS if (values == each).any()]:
        lines.append(f"sentinels = {json.dumps(sentinels)}  # numbers that stand for none? they are in the sample")
    return lines


def _open_questions(
    sample: pl.DataFrame, kind: Kind, columns: dict[str, str], wide: dict[str, tuple[str, str]], reference: Reference
) -> list[str]:
    lines = []
    available = {*columns, *(("value", "unit", "analyte_name") if wide else ())}
    for group in REQUIRED_COLUMNS[kind]:
        if not available & set(group):
            lines.append(f"# MISSING: no column was found for {' or '.join(group)}, which {kind} files need.")
    if unused := [name for name in sample.columns if name not in {*columns.values(), *wide}]:
        lines.append(f"# Columns that are not used: {_listed(unused)}")
    if kind == "lab" and "analyte_name" in columns and not wide:
        known = set(reference.lab_codes.filter(pl.col("system") == "local_name")["code"])
        tests = sample.select(name=columns["analyte_name"], key=match_key(pl.col(columns["analyte_name"])))
        if "loinc" in columns:
            coded = reference.lab_codes.filter(pl.col("system") == "loinc")["code"]
            tests = tests.filter(~sample[columns["loinc"]].is_in(coded.implode()).fill_null(False))
        if unmapped := _by_count(tests.filter(~pl.col("key").is_in(known))["name"]):
            lines += [
                f"# Tests that are not known by name: {_listed(unmapped)}",
                '# Map those that matter in a table [analytes], for example: "NEUT ABS" = "neut_abs"',
            ]
    if kind == "lab" and "status" in columns:
        words = sample.select(word=columns["status"], key=match_key(pl.col(columns["status"])))
        if unmapped := _by_count(
            words.filter(~pl.col("key").is_in(reference.status_words["match_key"].implode()))["word"]
        ):
            lines += [
                f"# Status words that are not known, and would count as preliminary: {_listed(unmapped)}",
                '# Map them in a table [statuses], for example: "validated" = "final"',
            ]
    units = [pl.Series([unit for _, unit in wide.values() if unit], dtype=pl.String)] if wide else []
    units += [sample[columns["unit"]]] if kind == "lab" and "unit" in columns else []
    if units:
        named = pl.concat([unit.rename("unit") for unit in units]).drop_nulls().to_frame()
        accepted = set(reference.unit_factors.filter(pl.col("decision") != "refuse")["match_key"].drop_nulls())
        if unmapped := _by_count(named.filter(~match_key(pl.col("unit")).is_in(accepted))["unit"]):
            lines.append(f"# Units that are not known: {_listed(unmapped)}")
    return lines


def _by_count(names: pl.Series) -> list[str]:
    counted = names.drop_nulls().value_counts().sort("count", names.name, descending=[True, False])
    return counted[names.name].to_list()


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _MOST_LISTED} more" if len(names) > _MOST_LISTED else ""
    return ", ".join(json.dumps(name, ensure_ascii=False) for name in names[:_MOST_LISTED]) + more


def _key(name: str) -> str:
    """Letters and digits of a column's name, without accents; ß as ss, umlauts as they are typed without a keyboard for them."""
    spelled = name.lower().translate({ord("ä"): "ae", ord("ö"): "oe", ord("ü"): "ue", ord("ß"): "ss"})
    plain = unicodedata.normalize("NFKD", spelled).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "", plain)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
