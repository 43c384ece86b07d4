"""A first profile for a source, from a sample of it: what could be told, and what could not."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path
from typing import Final

import polars as pl

from neutro_screen.admin.columns import FOR_THE_EYES, is_time_alone, lab_columns, roles_of
from neutro_screen.admin.laid_out import fill_down_lines, missing_unit, with_days_down
from neutro_screen.admin.moments import is_day, time_lines
from neutro_screen.admin.samples import NO_NAME, sample_of
from neutro_screen.admin.wide import are_wide, marker_columns, measured_columns, wide_columns
from neutro_screen.errors import RefusedInputError
from neutro_screen.ingest import standard_of
from neutro_screen.ingest.frames import KINDS, REQUIRED_COLUMNS, Kind
from neutro_screen.ingest.profile import WideColumn
from neutro_screen.ingest.reshaped import units_below
from neutro_screen.ingest.typed_rows import with_unit
from neutro_screen.recognition.evidence import Origin, Tables
from neutro_screen.recognition.readings import weigh
from neutro_screen.recognition.units import read_unit
from neutro_screen.recognition.words import folded, unaccented
from neutro_screen.reference import load_reference
from neutro_screen.text import match_key

_MOST_LISTED: Final = 40
#: Numbers that systems write where there is none (FORMATS.md D.19); proposed only where the sample has them.
_SENTINELS: Final = ("9999999", "999999", "99999", "-999")


@dataclass(frozen=True)
class _File:
    """One sample: its kind, its columns (native -> own, in order) and the measured columns of a wide file."""

    name: str
    sample: pl.DataFrame
    details: Sequence[str]
    kind: Kind
    columns: dict[str, tuple[str, ...]]
    fallbacks: dict[str, str]
    wide: dict[str, tuple[str, str]]
    #: entries of the profile that say how the table is laid out
    laid_out: Sequence[str] = ()

    def texts(self, column: str) -> pl.Series:
        """The values of a native column, several joined as a reader joins them."""
        names = self.columns[column]
        return self.sample.select(pl.concat_str(names, separator=" ").alias(names[0])).to_series()


def propose_profile(*paths: Path) -> str:
    """A profile in TOML for delimited, Excel or Parquet files of one source, with comments on what was not mapped.

    The kind of each file is found, its columns by their names (column_names.csv) and by what their values look like, the
    measured columns of a wide file and the tests by the words of their names, formats of times and the decimal mark by the
    values. Nothing is guessed that the samples leave open: it is listed instead. No value of a patient is quoted, only
    names of columns, tests and units. Files of a standard that names its own fields (HL7 v2, FHIR, CDISC) need no columns
    of a profile: a line says so.

    Raises:
        UnreadableInputError: a file cannot be read as a table.
        RefusedInputError: its first lines have no header.
    """
    standards = {path: said for path in paths if (said := standard_of(path)) is not None}
    files = [_described(path) for path in paths if path not in standards]
    labs = [file for file in files if file.kind == "lab"]
    lines = [
        "# Proposed from samples: read it, correct it, and run `neutro-screen check` with it.",
        "# Lines that `check` prints belong here, above the first table in brackets.",
        f"name = {_quoted(paths[0].name.split('.')[0])}",
        'time_zone = "UTC"  # times without an offset are in this zone: set it',
        *dict.fromkeys(detail for file in files for detail in file.details),
        *_times(files),
        *_values(labs),
        *(line for file in labs for line in _tests(file)),
        *(f"# {path.name} needs no columns here: it is read as {said}." for path, said in standards.items()),
    ]
    for kind in KINDS:
        of_kind = [file for file in files if file.kind == kind]
        if not of_kind:
            continue
        lines += ["", f"# {', '.join(file.name for file in of_kind)}"]
        if laid_out := dict.fromkeys(line for file in of_kind for line in file.laid_out):
            lines += [f"[{kind}]", *laid_out, ""]
        lines += [f"[{kind}.columns]", *_column_lines(of_kind)]
        if kind == "lab" and any(_has_units_in_values(file) for file in of_kind):
            lines += ["", "[lab.constants]", 'unit = ""  # it stands behind each value']
        fallbacks = {column: own for file in of_kind for column, own in file.fallbacks.items()}
        if fallbacks:
            lines += ["", f"[{kind}.fallbacks]", *(f"{column} = {_quoted(own)}" for column, own in fallbacks.items())]
        for name, (analyte, unit) in {name: of for file in of_kind for name, of in file.wide.items()}.items():
            lines += ["", f"[[{kind}.wide]]", f"column = {_quoted(name)}", f"analyte = {_quoted(analyte)}"]
            lines += [f"unit = {_quoted(unit)}" if unit else 'unit = ""  # not in the header: state it, if it has one']
            lines += (
                []
                if unit
                else missing_unit([file.sample for file in of_kind], WideColumn(column=name, analyte=analyte, unit=""))
            )
        for file in of_kind:
            lines += ["", *_open_questions(file)]
    return "\n".join(lines) + "\n"


def left_open(profile: str) -> list[str]:
    """What a proposed profile says that it could not find, or that has to be looked at, without the sign of a comment."""
    marks = (
        "# MISSING",
        "# LOOK",
        "# No known format",
        "# The column",
        "# Some values have",
        "# Units that",
        "# Tests that",
    )
    return [line.removeprefix("# ") for line in profile.splitlines() if line.startswith(marks)]


def _described(path: Path) -> _File:
    sample, details = sample_of(path)
    if len(sample.columns) < 2:
        raise RefusedInputError("no header with several columns was found", where=path.name)
    laid_out: list[str] = []
    if (long := with_days_down(sample)) is not None:
        sample, laid_out = long, ["dates_across = true  # columns that are named by days"]
    # A profile quotes the header: of a file without one that would be its first patient.
    if any(re.match(NO_NAME, name) for name in sample.columns):
        raise RefusedInputError(
            "the first line seems to be a row, not a header",
            where=path.name,
            remedy="Export the file with column names.",
        )
    kind, columns = _best_kind(sample.columns)
    if kind != "lab" and (found := _as_lab(sample)) is not None:
        kind, columns = "lab", found
    below = units_below(sample.row(0, named=True)) if sample.height else {}
    sample = sample.slice(1) if below else sample
    wide: dict[str, tuple[str, str]] = {}
    fallbacks: dict[str, str] = {}
    if kind == "lab":
        columns, fallbacks, wide = _lab_layout(sample, columns, below)
    joined = {
        column: _with_other_half(sample, column, own, {*columns.values(), *wide}) for column, own in columns.items()
    }
    if kind == "lab":
        results = [name for column in ("value", "analyte_name", "loinc") for name in joined.get(column, ())]
        laid_out += fill_down_lines(sample, joined, results or list(wide))
    return _File(path.name, sample, details, kind, joined, fallbacks, wide, laid_out)


def _lab_layout(
    sample: pl.DataFrame, named: dict[str, str], below: Mapping[str, str]
) -> tuple[dict[str, str], dict[str, str], dict[str, tuple[str, str]]]:
    """Columns, fall-backs and measured columns of a laboratory file: one row a result, or one a blood count."""
    counted = measured_columns(sample, below)
    wide = counted | marker_columns(sample.columns)
    beside = {column: own for column, own in named.items() if own not in wide}
    columns, fallbacks = lab_columns(sample.drop(wide), beside)
    if not are_wide(counted) or {"value", "analyte_name"} <= columns.keys():
        return *lab_columns(sample, named), {}
    measured = ("value", "unit", "analyte_name", "reference_low", "reference_high", "reference_range")
    return {column: own for column, own in columns.items() if column not in measured}, fallbacks, wide


def _as_lab(sample: pl.DataFrame) -> dict[str, str] | None:
    """The columns of a file that its header does not call laboratory results and whose values are; null where they are not."""
    columns, _ = lab_columns(sample, {})
    is_met = all(any(column in columns for column in group) for group in REQUIRED_COLUMNS["lab"])
    is_lab = "value" in columns and not {"analyte_name", "loinc"}.isdisjoint(columns)
    return columns if is_met and is_lab else None


def _column_lines(files: Sequence[_File]) -> list[str]:
    """The columns of all files of a kind; names that differ between files stand beside each other."""
    owns: dict[str, list[str]] = {}
    for file in files:
        for column, names in file.columns.items():
            known = owns.setdefault(column, [])
            known += [name for name in names if name not in known]
    return [
        f"{column} = {_quoted(names[0]) if len(names) == 1 else json.dumps(names, ensure_ascii=False)}"
        for column, names in owns.items()
        if names != [column]
    ]


_TIMED: Final = ("collected_at", "resulted_at", "start_date", "end_date", "birth_date", "date")


def _with_other_half(sample: pl.DataFrame, column: str, own: str, taken: set[str]) -> tuple[str, ...]:
    """A time of day with the date that stands in a column of its own, or the date with its time of day."""
    if column not in ("collected_at", "resulted_at"):
        return (own,)
    free = [name for name in sample.columns if name not in taken and not re.search(r"(?i)birth|geb|dob|naiss", name)]
    is_time = is_time_alone(sample[own])
    if not is_time and not _all_match(sample[own], r"^[^:]+$"):
        return (own,)
    halves = [name for name in free if (is_day(sample[name].drop_nulls()) if is_time else is_time_alone(sample[name]))]
    if not halves:
        return (own,)
    nearest = max(halves, key=lambda name: SequenceMatcher(None, _key(name), _key(own)).ratio())
    return (nearest, own) if is_time else (own, nearest)


def _all_match(values: pl.Series, pattern: str) -> bool:
    texts = values.drop_nulls()
    return texts.len() > 0 and bool(texts.str.contains(pattern).all())


def _tests(file: _File) -> list[str]:
    """Tests that may feed the ANC and are not recognised, and units that are not read, as lines to take the sign from."""
    if file.wide or "analyte_name" not in file.columns:
        return []
    tables = Tables(load_reference())
    tests, units = dict[str, str](), dict[str, str]()
    named = [column for column in ("analyte_name", "unit", "loinc", "specimen_type") if column in file.columns]
    distinct = file.sample.select(file.texts(column).alias(column) for column in named).unique().sort(named)
    for row in distinct.head(_MOST_TESTS).drop_nulls("analyte_name").iter_rows(named=True):
        reading = weigh(
            Origin(
                analyte_name=row["analyte_name"],
                unit_text=row.get("unit"),
                loinc=row.get("loinc"),
                specimen_type=row.get("specimen_type"),
            ),
            tables,
        )
        if reading.certainty in ("probable", "conflict") and reading.may_feed_anc:
            tests.setdefault(row["analyte_name"], reading.analyte or "?")
        if reading.cell is not None and row.get("unit") and not read_unit(row["unit"]).options:
            units.setdefault(row["unit"], _USUAL_UNITS.get(reading.property or "", "?"))
    return [
        *_to_settle("Tests that are not known by name", "analytes", tests),
        *_to_settle("Units that are not known", "units", units),
    ]


def _to_settle(title: str, table: str, proposed: Mapping[str, str]) -> list[str]:
    """Texts that were not understood, each with a line that settles it once its sign of a comment is taken away."""
    if not proposed:
        return []
    shown = dict(list(proposed.items())[:_MOST_LISTED])
    lines = [f"#{table}.{_quoted(text)} = {_quoted(meaning)}" for text, meaning in shown.items()]
    return [f"# {title}: {_listed(list(proposed))}", *lines]


_MOST_TESTS: Final = 2_000
_USUAL_UNITS: Final = {"count": "10*9/L", "percent": "%", "mass": "g/dL"}


def _column_names() -> pl.DataFrame:
    return pl.read_csv(Path(__file__).parent / "column_names.csv", infer_schema=False)


def _known_names(kind: Kind, column: str) -> set[str]:
    """The keys of the names that a native column is known by."""
    listed = _column_names().filter(kind=kind, column=column)["names"].str.split("|").explode()
    return {_key(name) for name in listed}


def _best_kind(names: list[str]) -> tuple[Kind, dict[str, str]]:
    """The kind whose columns are found best (required ones first), and its native column -> the file's."""
    known = _column_names()
    keys = {_key(name): name for name in reversed(names)}
    found: dict[Kind, dict[str, str]] = {kind: {} for kind in KINDS}
    for kind, column, listed in known.iter_rows():
        for name in listed.split("|"):
            if (own := keys.get(_key(name))) is not None and own not in found[kind].values():
                found[kind][column] = own
                break

    def fit(kind: Kind) -> tuple[int, int, int]:
        # A drug list may come without dates; what tells it from other files is that most have them.
        groups = REQUIRED_COLUMNS[kind] + ((("start_date",),) if kind == "medication" else ())
        met = all(any(column in found[kind] for column in group) for group in groups)
        return (met, len(found[kind].keys() - {*FOR_THE_EYES}), -KINDS.index(kind))

    best = max(KINDS, key=fit)
    # A patient's columns are in every file; what else is there tells the kinds apart.
    if best == "patient" and len(found["patient"]) < 2:
        best = "lab"
    if not fit(best)[0] or best == "patient":
        if "value" in found["lab"] or are_wide(wide_columns(names)):
            best = "lab"
        elif not fit(best)[0]:
            best = max(
                KINDS, key=lambda kind: (len(found[kind].keys() - {"patient_id", *FOR_THE_EYES}), -KINDS.index(kind))
            )
    return best, found[best]


def _times(files: Sequence[_File]) -> list[str]:
    """The formats of times, one order of day and month for all files."""
    columns = {
        " + ".join(file.columns[column]): file.texts(column).drop_nulls()
        for file in files
        for column in _TIMED
        if column in file.columns
    }
    return time_lines(columns)


def _has_units_in_values(file: _File) -> bool:
    """Whether no column holds units and values have theirs in the same cell."""
    if "unit" in file.columns or "value" not in file.columns:
        return False
    return bool(file.texts("value").str.contains(with_unit()).any())


def _values(labs: Sequence[_File]) -> list[str]:
    series = [
        file.sample[name].drop_nulls().rename("value")
        for file in labs
        for name in file.columns.get("value", tuple(file.wide))
    ]
    values = pl.concat(series) if series else pl.Series([], dtype=pl.String)
    lines = []
    has_decimal_comma = values.str.contains(r"^[<>]?\s*\d+,\d{1,2}$").any()
    has_decimal_point = values.str.contains(r"^[<>]?\s*\d+\.\d{1,2}$").any()
    if (has_decimal_comma or any(map(_groups_by_point, labs))) and not has_decimal_point:
        lines.append('decimal_mark = ","')
    elif has_decimal_comma:
        lines.append("# Some values have a decimal comma, some a decimal point: the decimal mark is left open.")
    if sentinels := [each for each in _SENTINELS if (values == each).any()]:
        lines.append(f"sentinels = {json.dumps(sentinels)}  # numbers that stand for none? they are in the sample")
    return lines


def _groups_by_point(file: _File) -> bool:
    """Whether whole numbers of cells per microlitre are written 1.100: the file's only points, and no count begins with 0."""
    if not {"value", "unit"} <= file.columns.keys():
        return False
    pointed = pl.DataFrame({"value": file.texts("value"), "unit": file.texts("unit")}).filter(
        pl.col("value").str.contains(".", literal=True)
    )
    counts = [read_unit(unit).of("count") for unit in pointed["unit"].unique()]
    return pointed.height > 0 and all(
        [count is not None and count.factor == _PER_MICROLITRE for count in counts]
        + [bool(pointed["value"].str.contains(r"^[1-9]\d{0,2}(\.\d{3})+$").all())]
    )


#: One cell per microlitre in 10*9/L.
_PER_MICROLITRE: Final = 0.001


def _open_questions(file: _File) -> list[str]:
    lines = []
    available = {*file.columns, *(("value", "unit", "analyte_name") if file.wide else ())}
    available |= {"unit"} if _has_units_in_values(file) else set()
    for group in REQUIRED_COLUMNS[file.kind]:
        if not available & set(group):
            lines.append(f"# MISSING: no column was found for {' or '.join(group)}, which {file.kind} files need.")
    own = file.columns.get("patient_id", ("patient",))[0]
    if "patient" not in roles_of(own) and _key(own) not in _known_names(file.kind, "patient_id"):
        lines.append(
            f"# LOOK: the header {_quoted(own)} does not say that it is the patient; its values look so. Is it?"
        )
    used = {name for names in file.columns.values() for name in names} | {*file.fallbacks.values()}
    if unused := [name for name in file.sample.columns if name not in {*used, *file.wide}]:
        lines.append(f"# Columns that are not used: {_listed(unused)}")
    if file.kind == "lab" and "status" in file.columns:
        known = load_reference().status_words["match_key"]
        words = file.texts("status").alias("word").to_frame()
        unknown = _by_count(words.filter(~match_key(pl.col("word")).is_in(known.implode()))["word"])
        if unknown and len(unknown) <= _MOST_LISTED:
            lines += [
                f"# Status words that are not known, and would count as preliminary: {_listed(unknown)}",
                '# Above the first table in brackets, for example: statuses."validated" = "final"',
            ]
    return lines


def _by_count(names: pl.Series) -> list[str]:
    counted = names.drop_nulls().value_counts().sort("count", names.name, descending=[True, False])
    return counted[names.name].to_list()


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _MOST_LISTED} more" if len(names) > _MOST_LISTED else ""
    return ", ".join(json.dumps(name, ensure_ascii=False) for name in names[:_MOST_LISTED]) + more


def _key(name: str) -> str:
    """Letters and digits of a column's name, without accents; umlauts as they are typed without a keyboard for them."""
    spelled = name.lower().translate({ord("ä"): "ae", ord("ö"): "oe", ord("ü"): "ue"})
    return "".join(filter(str.isalnum, unaccented(folded(spelled))))


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
