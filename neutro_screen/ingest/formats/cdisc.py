"""CDISC SDTM: LB, CM, EX and DM as SAS transport files (XPT) or Dataset-JSON 1.1, plain or as NDJSON.

XPT is read by pyreadstat, the extra ``cdisc``.
"""

import csv
import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Final, cast

import numpy as np
import polars as pl

from neutro_screen.errors import ConfigurationError, RefusedInputError, UnreadableInputError, extra
from neutro_screen.ingest.agreement import are_different, disagreement, number_in, numbers_differ, unit_facts
from neutro_screen.ingest.batches import ROWS_A_BATCH, Block, RawBatch, RawBatches, blocks
from neutro_screen.ingest.broken_lines import BrokenLine
from neutro_screen.ingest.distinct import made_once
from neutro_screen.ingest.files import head_of, unpacked
from neutro_screen.ingest.formats.even_json import Marks, even_arrays, marks_of, numbers_of, utf8
from neutro_screen.ingest.frames import Kind
from neutro_screen.ingest.layout import columns_by_table, kept_local_code
from neutro_screen.ingest.operators import sign_before
from neutro_screen.ingest.profile import Profile
from neutro_screen.private import private_folder

_LARGEST_DOCUMENT: Final = 512 << 20
_BLOCK_BYTES: Final = 16 << 20
_LINE_END: Final = re.compile(rb"\n")
_LARGEST_HEADER: Final = 16 << 20
_XPT_HEADER: Final = b"HEADER RECORD*******LIB"
_JSON_MARK: Final = b'"datasetJSONVersion"'
#: Of each domain: the columns that must be there, and those that are read where they are.
DOMAINS: Final = columns_by_table("cdisc")
#: Where a refused line names its patient, specimen and time.
_NAMES: Final = {"patient_id": ("USUBJID",), "specimen_id": ("LBREFID",), "collected_at": ("LBDTC",)}
#: A cell whose number is its text.
_WHOLE_NUMBER: Final = r"^(0|-?[1-9][0-9]{0,17})$"
#: What tells whether original and standardised result are the same.
_COMPARED: Final = ("LBORRES", "LBORRESU", "LBSTRESN", "LBSTRESC", "LBSTRESU")
_KINDS: Final[dict[str, Kind]] = {"LB": "lab", "CM": "medication", "EX": "medication", "DM": "patient"}


def recognises(path: Path) -> bool:
    """A SAS transport file or Dataset-JSON, or a folder with an LB dataset of either kind."""
    if path.is_dir():
        return any(_domain_by_name(file) == "LB" and recognises(file) for file in _files(path))
    head = head_of(path)
    return head.startswith(_XPT_HEADER) or _JSON_MARK in head


def read_cdisc(path: Path, kind: Kind, profile: Profile) -> RawBatches:
    """Read one dataset, or the datasets LB, CM, EX and DM of a folder, in the native layout and in batches.

    The original result and unit (LBORRES) go before the standardised one. LBSTAT "NOT DONE" stands for the value.
    With ``lab`` it brings every kind that is there, else only the one asked for.

    Raises:
        ConfigurationError: an XPT file and pyreadstat is not installed.
        UnreadableInputError: damaged, or a Dataset-JSON document of more than 512 MB.
        RefusedInputError: the dataset is none of the four domains, or lacks required columns.
    """
    files = _files(path) if path.is_dir() else [path]
    is_there = False
    for file in files:
        name = _domain_by_name(file)
        if path.is_dir() and (name not in DOMAINS or not recognises(file)):
            continue
        for domain, table in _read(file):
            if kind in ("lab", _KINDS[domain]):
                is_there = True
                refused = [line.named(_NAMES) for line in table.refused]
                yield _KINDS[domain], table._replace(rows=_ROWS[domain](table.rows, profile), refused=refused)
    if not is_there:
        raise UnreadableInputError(f"holds no SDTM dataset of the kind {kind}", where=path.name)


def _files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.is_file())


def _domain_by_name(file: Path) -> str:
    return file.name.split(".")[0].upper()[:2]


def _read(file: Path) -> Iterator[tuple[str, RawBatch]]:
    """Batches of a dataset with its domain; a dataset without rows is one batch."""
    with private_folder() as folder:
        text = unpacked(file, folder)
        is_transport = head_of(text).startswith(_XPT_HEADER)
        for table in _read_xpt(file, text) if is_transport else _read_json(file, text):
            yield _in_domain(file, table)


def _in_domain(file: Path, table: RawBatch) -> tuple[str, RawBatch]:
    rows = table.rows.rename({column: column.upper() for column in table.rows.columns if column != "source_row"})
    domain = next(
        (name for name, (required, _) in DOMAINS.items() if set(required) <= set(rows.columns)), _domain_by_name(file)
    )
    if domain not in DOMAINS:
        raise RefusedInputError("is none of the SDTM domains LB, CM, EX, DM", where=file.name)
    required, optional = DOMAINS[domain]
    if missing := [column for column in required if column not in rows.columns]:
        raise RefusedInputError(f"columns of SDTM {domain} missing: {', '.join(missing)}", where=file.name)
    named = (*required, *optional)
    texts = [
        pl.col(column).str.strip_chars() if column in rows.columns else pl.lit(None, pl.String).alias(column)
        for column in named
    ]
    stripped = rows.select(*texts, "source_row")
    return domain, table._replace(rows=stripped.with_columns(pl.when(pl.col(named) != "").then(pl.col(named))))


def _read_xpt(file: Path, text: Path) -> Iterator[RawBatch]:
    try:
        import pyreadstat
    except ImportError:
        raise ConfigurationError("SAS transport files need pyreadstat", remedy=extra("cdisc")) from None
    done, more = 0, True
    while more:
        try:
            columns, _ = pyreadstat.read_xport(
                text, output_format="dict", disable_datetime_conversion=True, row_offset=done, row_limit=ROWS_A_BATCH
            )
        except (
            Exception
        ):  # pyreadstat raises its own error, OSError, ValueError or UnicodeDecodeError: all mean the same
            raise UnreadableInputError("is not a readable SAS transport file", where=file.name) from None
        if not isinstance(columns, dict):
            raise TypeError("pyreadstat did not give a dict")
        texts = {str(name): _texts(values) for name, values in columns.items()}
        frame = pl.DataFrame(texts, schema=dict.fromkeys(texts, pl.String))
        more = frame.height == ROWS_A_BATCH
        if frame.height or not done:
            yield _table(file, frame, range(done + 1, done + frame.height + 1))
        done += frame.height


def _read_json(file: Path, text: Path) -> Iterator[RawBatch]:
    """Dataset-JSON: one document with columns and rows, or NDJSON whose first line has the columns."""
    try:
        # One damaged cell does not stop the others: bytes that are no text are replaced, control characters are let in.
        with text.open(encoding="utf-8-sig", errors="replace", newline="\n") as lines:
            first = lines.readline(_LARGEST_HEADER)
            try:
                document = json.loads(first, strict=False)
            except ValueError:
                if text.stat().st_size > _LARGEST_DOCUMENT:
                    raise UnreadableInputError(
                        "a Dataset-JSON document of more than 512 MB", where=file.name, remedy="Use its NDJSON form."
                    ) from None
                document = json.loads(first + lines.read(), strict=False)
            names = [column["name"] for column in document["columns"]]
            if not all(isinstance(name, str) for name in names) or len(set(names)) < len(names):
                raise RefusedInputError("column names are missing or stand twice", where=file.name)
        if "rows" in document:
            rows = ((number, "", row) for number, row in enumerate(document["rows"], start=1))
            batch, is_first = list(islice(rows, ROWS_A_BATCH)), True
            while batch or is_first:
                yield _json_table(file, names, batch)
                batch, is_first = list(islice(rows, ROWS_A_BATCH)), False
        else:
            first_line = 1
            for block in blocks(text, _BLOCK_BYTES, _LINE_END, _LARGEST_DOCUMENT):
                yield _lines_table(file, names, block, first_line)
                first_line += 1 if block.is_too_long else block.content.count(b"\n")
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise UnreadableInputError("is not readable Dataset-JSON", where=file.name) from None


def _lines_table(file: Path, names: list[str], block: Block, first_line: int) -> RawBatch:
    """Lines of NDJSON: even arrays column by column, the other lines one by one."""
    if block.is_too_long:
        return _json_table(file, names, [(first_line, block.content.decode("utf-8", errors="replace"), None)])
    text = utf8(block.content)
    even = even_arrays(text, len(names))
    columns = [_cells(cells, even.is_text[:, at], b"\\" in text) for at, cells in enumerate(even.cells)]
    is_read = np.logical_and.reduce([is_read for _, is_read in columns])
    rows = pl.DataFrame({name: texts for name, (texts, _) in zip(names, columns, strict=True)})
    numbers = numbers_of(even.places + first_line).alias("source_row")
    plain = RawBatch(file, rows.with_columns(numbers))
    is_left = np.ones(even.line_ends.size, np.bool_)
    is_left[even.places[is_read]] = False
    if first_line == 1:  # it has the columns
        is_left[0] = False
    starts = np.concatenate([[0], even.line_ends])
    left = ((place + first_line, text[starts[place] : starts[place + 1]].decode()) for place in np.flatnonzero(is_left))
    sent = [(int(number), line, _json(line)) for number, line in left if line.strip()]
    if not sent:
        return plain
    others = _json_table(file, names, sent)
    return others._replace(rows=pl.concat([plain.rows.filter(marks_of(is_read)), others.rows]).sort("source_row"))


def _cells(cells: pl.Series, is_text: Marks, may_hold_escapes: bool) -> tuple[pl.Series, Marks]:
    """The cells of a column as text, and whether each could be read; most mean what stands there."""
    every = np.ones_like(is_text)
    if is_text.all() and not may_hold_escapes:
        return cells, every
    quoted = marks_of(is_text)
    has_escapes = cells.str.contains("\\", literal=True)
    is_plain = (quoted & ~has_escapes) | (~quoted & cells.str.contains(_WHOLE_NUMBER))
    if is_plain.all():
        return cells, every
    quote = pl.when(quoted).then(pl.lit('"')).otherwise(pl.lit(""))
    unread = pl.select(pl.when(~is_plain).then(pl.concat_str(quote, cells, quote))).to_series()
    meanings = {}
    for cell in unread.drop_nulls().unique():
        with suppress(ValueError, RecursionError):
            meanings[cell] = _text(json.loads(cell))
    read = unread.replace_strict(meanings, default=None, return_dtype=pl.String)
    is_read = (is_plain | unread.is_in(list(meanings))).to_numpy()
    return cells.zip_with(is_plain, read), is_read


def _json_table(file: Path, names: list[str], sent: list[tuple[int, str, object]]) -> RawBatch:
    """Rows with their numbers and lines; what is no list of the right length becomes refused."""
    fitting = [isinstance(row, list) and len(row) == len(names) for _, _, row in sent]
    rows = [row for (_, _, row), fits in zip(sent, fitting, strict=True) if fits]
    columns = zip(*rows, strict=True) if rows else ((),) * len(names)
    texts = {name: _texts(column) for name, column in zip(names, columns, strict=True)}
    frame = pl.DataFrame(texts, schema=dict.fromkeys(names, pl.String))
    refused = [
        BrokenLine(number, "ragged_line", line or repr(row), _readable(names, line, row))
        for (number, line, row), fits in zip(sent, fitting, strict=True)
        if not fits
    ]
    numbers = [number for (number, _, _), fits in zip(sent, fitting, strict=True) if fits]
    return _table(file, frame, numbers)._replace(refused=refused)


def _readable(names: list[str], line: str, row: object) -> dict[str, str]:
    """The columns of a refused row that can be read: those before its break."""
    values = row if isinstance(row, list) else _split(line.strip().lstrip("["))
    return {name: text for name, value in zip(names, values[:-1], strict=False) if (text := _text(value))}


def _split(line: str) -> list[str]:
    try:
        return next(csv.reader([line], skipinitialspace=True), [])
    except csv.Error:  # a carriage return between the cells
        return [cell.strip(' "') for cell in line.split(",")]


def _json(line: str) -> object:
    try:
        return json.loads(line, strict=False)
    except (ValueError, RecursionError):
        return None


def _texts(values: Sequence[object]) -> Sequence[str | None]:
    """A column as text; one that is text already stays as it is."""
    if set(map(type, values)) <= {str, type(None)}:
        texts = cast("Sequence[str | None]", values)
        with suppress(UnicodeEncodeError):
            "".join(filter(None, texts)).encode()
            return texts
    return [_text(value) for value in values]


def _text(value: object) -> str | None:
    if value is None or isinstance(value, list | dict):
        return None
    return f"{value:.15g}" if isinstance(value, float) else _encodable(str(value))


def _encodable(text: str) -> str:
    """The text with half characters (lone surrogates, which JSON can spell) replaced."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _table(file: Path, frame: pl.DataFrame, numbers: Sequence[int]) -> RawBatch:
    return RawBatch(file, frame.with_columns(pl.Series("source_row", numbers, dtype=pl.Int64)))


def _lab_rows(rows: pl.DataFrame, profile: Profile) -> pl.DataFrame:
    is_original = pl.col("LBORRES").is_not_null()
    is_not_done = pl.col("LBSTAT").str.to_uppercase() == "NOT DONE"

    def result(original: str, *standard: str) -> pl.Expr:
        return pl.when(is_original).then(original).otherwise(pl.coalesce(*standard))

    local = kept_local_code(pl.col("LBTESTCD").str.to_lowercase(), profile)
    return (
        rows.hstack(made_once(rows.select(pl.when(_may_differ()).then(name) for name in _COMPARED), _disagreements))
        .with_columns(loinc="LBLOINC")
        .select(
            "source_row",
            patient_id="USUBJID",
            specimen_id="LBREFID",
            collected_at="LBDTC",
            loinc="loinc",
            analyte_name="LBTEST",
            code_system=pl.when(local.is_not_null()).then(pl.lit("cdisc_lbtestcd")),
            local_code=local,
            value=pl.coalesce(result("LBORRES", "LBSTRESC", "LBSTRESN"), pl.when(is_not_done).then(pl.lit("NOT DONE"))),
            comparator=sign_before(pl.when(is_original).then("LBSTRESC")),
            unit=result("LBORRESU", "LBSTRESU"),
            reference_low=result("LBORNRLO", "LBSTNRLO"),
            reference_high=result("LBORNRHI", "LBSTNRHI"),
            specimen_type="LBSPEC",
            lab="LBNAM",
            comment=pl.concat_str("LBREASND", "LBSPCCND", separator="\n", ignore_nulls=True).replace("", None),
            fields_disagree="fields_disagree",
        )
    )


def _may_differ() -> pl.Expr:
    """Whether a row has both an original and a standardised result."""
    return pl.col("LBORRES").is_not_null() & pl.coalesce("LBSTRESN", "LBSTRESC").is_not_null()


def _disagreements(rows: pl.DataFrame) -> pl.DataFrame:
    if rows["LBORRES"].null_count() == rows.height:  # the units, which take 20 ms to load, need not be known
        return rows.select(fields_disagree=pl.lit(None, pl.String))
    facts = {"facts": unit_facts(rows["LBORRESU"]), "standard_facts": unit_facts(rows["LBSTRESU"])}
    return rows.with_columns(**facts).select(fields_disagree=disagreement(_results_differ()))


def _results_differ() -> pl.Expr:
    """Whether original and standardised result differ, where the same unit or two units of counts let them be compared."""
    original, standard = pl.col("LBORRES"), pl.coalesce("LBSTRESN", "LBSTRESC")
    factor, standard_factor = (pl.col(name).struct.field("factor") for name in ("facts", "standard_facts"))
    same_unit = pl.col("LBORRESU").eq_missing(pl.col("LBSTRESU"))
    original_number, standard_number = (number_in(pl.when(~same_unit).then(text)) for text in (original, standard))
    converted = are_different(original_number * factor, standard_number * standard_factor)
    return pl.when(same_unit).then(numbers_differ(original, standard)).otherwise(converted)


def _medication_rows(rows: pl.DataFrame, profile: Profile) -> pl.DataFrame:
    """CMOCCUR "N" and CMSTAT "NOT DONE" mean that it was not taken; CMDECOD goes before the verbatim CMTRT."""
    return rows.select(
        "source_row",
        patient_id="USUBJID",
        drug_name=pl.coalesce("CMDECOD", "CMTRT"),
        atc_code="CMCLASCD",
        start_date="CMSTDTC",
        end_date="CMENDTC",
        route="CMROUTE",
        dose=pl.coalesce("CMDOSE", "CMDOSTXT"),
        dose_unit="CMDOSU",
        status=pl.when(pl.col("CMOCCUR").str.to_uppercase() == "N")
        .then(pl.lit("not taken"))
        .when(pl.col("CMSTAT").str.to_uppercase() == "NOT DONE")
        .then(pl.lit("not done")),
    )


def _exposure_rows(rows: pl.DataFrame, profile: Profile) -> pl.DataFrame:
    return rows.select(
        "source_row",
        patient_id="USUBJID",
        drug_name="EXTRT",
        start_date="EXSTDTC",
        end_date=pl.coalesce("EXENDTC", "EXSTDTC"),
        route="EXROUTE",
        dose="EXDOSE",
        dose_unit="EXDOSU",
    )


def _patient_rows(rows: pl.DataFrame, profile: Profile) -> pl.DataFrame:
    return rows.select(
        "source_row", patient_id="USUBJID", birth_date="BRTHDTC", death_date="DTHDTC", sex="SEX", ethnicity="ETHNIC"
    )


_ROWS: Final[dict[str, Callable[[pl.DataFrame, Profile], pl.DataFrame]]] = {
    "LB": _lab_rows,
    "CM": _medication_rows,
    "EX": _exposure_rows,
    "DM": _patient_rows,
}
