"""Readers: one per format, found in ``READERS``. They yield the canonical frames and apply no clinical rule."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import MAXYEAR, MINYEAR
from itertools import chain, islice
from pathlib import Path
from typing import Final, Literal, NamedTuple

import polars as pl

from neutro_screen.errors import (
    ConfigurationError,
    NeutroScreenError,
    RefusedInputError,
    UnreadableInputError,
    did_you_mean,
)
from neutro_screen.ingest.batches import RawBatch, RawBatches
from neutro_screen.ingest.broken_lines import refused_lines
from neutro_screen.ingest.chart import usable_rows
from neutro_screen.ingest.control import check_rows, check_sha256, is_control_file, stated_totals
from neutro_screen.ingest.extract import Extract
from neutro_screen.ingest.files import files_in, found_paths, sha256_of, size_of, unchanged
from neutro_screen.ingest.formats import cdisc, delimited, excel, fhir, flat_json, hl7v2, mimic, omop, parquet
from neutro_screen.ingest.formats.postgres import local_copies
from neutro_screen.ingest.frames import KINDS, NATIVE_COLUMNS, Kind, Refused, SourceFile
from neutro_screen.ingest.identifiers import identifier_notes
from neutro_screen.ingest.layout import native, own_layout, source_columns
from neutro_screen.ingest.profile import KindProfile, Profile, load_profile
from neutro_screen.ingest.remote import is_address, near_copies
from neutro_screen.ingest.shares import Input, Share, shared_out
from neutro_screen.ingest.typed_rows import TYPED

__all__ = [
    "KINDS",
    "KNOWN",
    "READERS",
    "UNREADABLE",
    "Batch",
    "Extract",
    "Input",
    "Kind",
    "KnownFiles",
    "Opened",
    "Profile",
    "Refused",
    "Share",
    "SourceFile",
    "find_inputs",
    "ingest",
    "load_profile",
    "no_rows",
    "read_batches",
    "read_share",
    "shared_out",
    "standard_of",
    "together",
]


class Reader(NamedTuple):
    """One format. ``read`` takes a file or a folder and yields what it holds in batches, by kind."""

    description: str
    recognises: Callable[[Path], bool]
    read: Callable[[Path, Kind, Profile], RawBatches]
    #: what ``recognises`` and ``read`` may be given
    takes: Literal["file", "folder", "both"] = "file"
    #: the format itself names its columns; a profile's column names are for other files of the source
    has_own_layout: bool = True


def _one_kind(read: Callable[[Path, Kind, Profile], Iterable[RawBatch]]) -> Callable[[Path, Kind, Profile], RawBatches]:
    return lambda path, kind, profile: ((kind, batch) for batch in read(path, kind, profile))


READERS: dict[str, Reader] = {
    "mimic": Reader(
        "MIMIC-III folder, or hosp folder of MIMIC-IV, of CSV files", mimic.recognises, mimic.read_mimic, takes="folder"
    ),
    "omop": Reader(
        "OMOP CDM 5.4, a folder of CSV or Parquet files, a DuckDB file or a PostgreSQL address",
        omop.recognises,
        omop.read_omop,
        takes="both",
    ),
    "fhir": Reader(
        "FHIR R4 NDJSON, Bundle or resource, or a folder of them", fhir.recognises, fhir.read_fhir, takes="both"
    ),
    "cdisc": Reader(
        "CDISC SDTM LB, CM, EX and DM as XPT or Dataset-JSON, or a folder of them",
        cdisc.recognises,
        cdisc.read_cdisc,
        takes="both",
    ),
    "hl7v2": Reader("HL7 v2 messages, single, batch or MLLP", hl7v2.recognises, hl7v2.read_hl7),
    "excel": Reader(
        "Excel workbook (.xlsx, .xlsm), long or wide",
        excel.recognises,
        _one_kind(lambda path, kind, profile: [excel.read_excel(path, kind, profile)]),
        has_own_layout=False,
    ),
    "parquet": Reader(
        "Parquet", lambda path: path.suffix == ".parquet", _one_kind(parquet.read_parquet), has_own_layout=False
    ),
    "delimited": Reader(
        "CSV, TSV or other delimited or printed text, flat JSON, plain, .gz or .zst",
        lambda path: delimited.recognises(path) or flat_json.recognises(path),
        _one_kind(
            lambda path, kind, profile: (
                [flat_json.read_flat_json(path, kind, profile)]
                if flat_json.recognises(path)
                else delimited.read_delimited(path, kind, profile)
            )
        ),
        has_own_layout=False,
    ),
}


class Batch(NamedTuple):
    """Some rows of one file in the canonical shape of their kind, and the lines among them that are no rows.

    ``file`` describes these rows only; ``together`` adds the batches of a file up.
    """

    kind: Kind
    rows: pl.DataFrame
    refused: Sequence[Refused]
    file: SourceFile


#: Files that earlier runs have read, by SHA-256 and format, and how many rows they had.
KnownFiles = Mapping[tuple[str, str], int]


class Opened:
    """How many files of each kind could be opened, and why the first that could not be is no input; it adds up over the
    shares of a run's files."""

    def __init__(
        self, files: Mapping[Kind, int] | None = None, unread: Mapping[Kind, NeutroScreenError] | None = None
    ) -> None:
        self.files, self.unread = dict(files or {}), dict(unread or {})

    def add(self, more: "Opened") -> None:
        """Add those of the share that follows."""
        self.files = {kind: self.files.get(kind, 0) + more.files.get(kind, 0) for kind in KINDS}
        self.unread = more.unread | self.unread

    def check(self) -> None:
        """Raises UnreadableInputError or RefusedInputError where no file of a kind could be opened, and one should."""
        for kind in KINDS:
            if kind in self.unread and not self.files.get(kind):
                raise self.unread[kind]


def read_batches(
    paths: Mapping[Kind, Sequence[str]],
    profile: Profile | None = None,
    format_name: str | None = None,
    known: KnownFiles | None = None,
) -> Iterator[Batch]:
    """Read all inputs of one run, a batch at a time, so that no file has to fit into memory.

    A folder format brings medications, patients and diagnoses with it. Files are read in the order of their names. Of a
    ``known`` laboratory file that a glob or a folder finds only the bytes are read: it comes as one batch without rows.
    So does a file of theirs that cannot be opened as what it is (note ``unreadable``), where others of its kind can; of one
    that is damaged further on, the batches before the damage have come then.

    Raises:
        ConfigurationError: the named format does not exist.
        UnreadableInputError: a path is missing, unreadable, empty, of no known format, changed while it was read, or is not
            what its sender has.
        RefusedInputError: a file lacks required columns, or rows that its sender counted.
    """
    opened = Opened()
    yield from read_share(Share.of(paths), opened, profile, format_name, known)
    opened.check()


def read_share(
    share: Share,
    opened: Opened,
    profile: Profile | None = None,
    format_name: str | None = None,
    known: KnownFiles | None = None,
) -> Iterator[Batch]:
    """As ``read_batches``, of some of a run's inputs: whether any file of a kind was ``opened``, all shares together tell."""
    _check_format(format_name)
    with near_copies(share.paths) as near, local_copies(near, format_name) as local:
        yield from _batches(replace(share, paths=local), opened, profile or Profile(), format_name, known or {})


def find_inputs(paths: Mapping[Kind, Sequence[str]], profile: Profile, format_name: str | None) -> list[Input]:
    """The files, folders that are read as one, and addresses that the paths and globs of a run stand for, in the order
    of reading.

    Raises:
        ConfigurationError: the named format does not exist.
        UnreadableInputError: a path is missing or of no known format.
    """
    _check_format(format_name)
    return [
        found
        for kind in KINDS
        for pattern in paths.get(kind, ())
        for found in _inputs(kind, pattern, profile, format_name)
    ]


def _inputs(kind: Kind, pattern: str, profile: Profile, format_name: str | None) -> Iterator[Input]:
    if is_address(pattern):
        yield Input(kind, pattern)
        return
    for source in _sources([pattern], format_name, profile, ()):
        yield Input(kind, str(source.path), source.is_archived, size_of(source.path))


def _check_format(format_name: str | None) -> None:
    if format_name is not None and format_name not in READERS:
        raise ConfigurationError(
            f"no format {format_name!r}", remedy=f"{did_you_mean(format_name, READERS)}Known: {', '.join(READERS)}."
        )


def _batches(
    share: Share, tally: Opened, profile: Profile, format_name: str | None, known: KnownFiles
) -> Iterator[Batch]:
    for asked in KINDS:
        tally.files.setdefault(asked, 0)
        for source in _sources(share.paths.get(asked, ()), format_name, profile, share.archived.get(asked, ())):
            path, name, is_archived = source.path, source.name, source.is_archived
            if known and is_archived and asked == "lab" and (key := (sha256_of(path), name)) in known:
                file = SourceFile(path.name, asked, name, key[0], rows=0, notes=(KNOWN,), known_rows=known[key])
                yield Batch(asked, no_rows(asked, profile), (), file)
                tally.files[asked] += 1
                continue
            with unchanged(path):
                try:
                    opened = source.reader.read(path, asked, profile)
                    first = list(islice(opened, 1))
                except (UnreadableInputError, RefusedInputError) as error:
                    if not is_archived:
                        raise
                    tally.unread.setdefault(asked, error)
                    yield _unreadable(source, asked, profile)
                    continue
                tally.files[asked] += 1
                damage = list[NeutroScreenError]()
                rest = _until_damage(opened, damage) if is_archived else opened
                yield from _batches_of(source, chain(first, rest), asked, profile)
                if damage:
                    yield _unreadable(source, asked, profile)


def _until_damage(raws: RawBatches, damage: list[NeutroScreenError]) -> RawBatches:
    """The batches that can be read; the error that ended them is put into ``damage``.

    They are sound: a compressed file is unpacked, and its checksum found right, before the first of them. A count of the
    sender's that does not fit is no damage: which rows are missing is not known, so none is used.
    """
    try:
        yield from raws
    except UnreadableInputError as error:
        damage.append(error)


def _unreadable(source: "_Source", asked: Kind, profile: Profile) -> Batch:
    """No rows of a file of an archive, with the note that it, or what follows its batches so far, could not be read."""
    path = source.path
    file = SourceFile(path.name, asked, source.name, sha256_of(path), rows=0, notes=(UNREADABLE,))
    return Batch(asked, no_rows(asked, profile), (), file)


def _batches_of(source: "_Source", raws: RawBatches, asked: Kind, profile: Profile) -> Iterator[Batch]:
    """The batches of one file or folder of files, in the canonical shape of their kinds."""
    reader, checksums, looked_at, rows_read = source.reader, dict[Path, str](), set[Path](), 0
    for kind, raw in raws:
        if raw.path not in checksums:
            checksums[raw.path] = sha256_of(raw.path)
            check_sha256(raw.path, checksums[raw.path], stated_totals(raw.path, profile.control))
        rows_read += raw.rows.height + len(raw.refused)
        layout = own_layout(profile, kind) if reader.has_own_layout else profile
        rows, notes = native(raw.rows, kind, layout, raw.path.name, [line.source_row for line in raw.refused])
        own: KindProfile = getattr(layout, kind)
        usable = usable_rows(kind, rows, TYPED[kind](rows, profile), own.constants)
        lines = [line.named(source_columns(kind, own)) for line in raw.refused]
        broken = refused_lines(lines, raw.path.name, usable.rows["patient_id"], profile)
        refused = (*broken, *usable.refused)
        suspect = identifier_notes(usable.rows) if kind == "lab" and raw.path not in looked_at else ()
        looked_at |= {raw.path} if kind == "lab" else set()
        file = _source_file(kind, source.name, usable.rows, raw.path, len(refused), checksums[raw.path])
        yield Batch(kind, usable.rows, refused, replace(file, notes=(*raw.notes, *usable.notes, *notes, *suspect)))
    if not reader.has_own_layout:
        check_rows(source.path, rows_read, stated_totals(source.path, profile.control))


#: The note of a file that was not read again.
KNOWN: Final = "known"
#: The note of a file of an archive that could not be read, or not to its end: it is told every night, and the others are read.
UNREADABLE: Final = "unreadable"


def ingest(
    paths: Mapping[Kind, Sequence[str]], profile: Profile | None = None, format_name: str | None = None
) -> Extract:
    """All inputs in memory; see ``read_batches``."""
    profile = profile or Profile()
    parts: dict[Kind, list[pl.DataFrame]] = {kind: [no_rows(kind, profile)] for kind in KINDS}
    refused: dict[Kind, list[Refused]] = {kind: [] for kind in KINDS}
    files: list[SourceFile] = []
    for batch in read_batches(paths, profile, format_name):
        parts[batch.kind].append(batch.rows)
        refused[batch.kind].extend(batch.refused)
        files.append(batch.file)
    frames = {kind: pl.concat(parts[kind]) for kind in KINDS}
    return Extract(
        labs=frames["lab"],
        medications=frames["medication"],
        patients=frames["patient"],
        diagnoses=frames["diagnosis"],
        events=frames["event"],
        profile=profile,
        files=together(files),
        refused=refused,
    )


def together(files: Iterable[SourceFile]) -> tuple[SourceFile, ...]:
    """One entry per file and kind, in the order of reading, from those of their batches."""
    whole: dict[tuple[str, str, Kind], SourceFile] = {}
    for file in files:
        key = (file.name, file.sha256, file.kind)
        before = whole.get(key)
        whole[key] = before.followed_by(file) if before else file
    return tuple(whole.values())


class _Source(NamedTuple):
    """A file or folder and its format; ``is_archived``: found by a glob or in a folder, not named itself."""

    path: Path
    name: str
    reader: Reader
    is_archived: bool


def _sources(
    patterns: Sequence[str], format_name: str | None, profile: Profile, archived: Collection[str]
) -> list[_Source]:
    """What is read, and by whom: folders of a folder format first, then files in the order of the patterns.

    Files of ``archived`` were found by a glob or in a folder before.
    """
    found = [
        (path, not Path(pattern).is_file() or pattern in archived)
        for pattern in patterns
        for path in found_paths(pattern)
    ]
    as_folder = {path: named for path, _ in found if path.is_dir() and (named := _folder_reader(path, format_name))}
    folders = [_Source(path, *as_folder[path], is_archived=False) for path, _ in found if path in as_folder]
    files = [
        (file, is_archived)
        for path, is_archived in found
        if path not in as_folder
        for file in (files_in(path) if path.is_dir() else [path])
        if not is_control_file(file, profile.control)
    ]
    return folders + [
        _Source(path, *_reader_of(path, format_name, is_archived), is_archived) for path, is_archived in files
    ]


def _reader_of(path: Path, format_name: str | None, is_archived: bool) -> tuple[str, Reader]:
    """The reader of a file; of one of an archive that has none, one that says so when it is its turn."""
    try:
        return _file_reader(path, format_name)
    except UnreadableInputError as error:
        if not is_archived:
            raise
        return "unknown", Reader(
            "a file of no known format", lambda path: False, _refusing(error), has_own_layout=False
        )


def _refusing(error: UnreadableInputError) -> Callable[[Path, Kind, Profile], RawBatches]:
    def read(path: Path, kind: Kind, profile: Profile) -> RawBatches:
        raise error

    return read


def _folder_reader(folder: Path, format_name: str | None) -> tuple[str, Reader] | None:
    """The format that takes the folder as a whole, or None: then its files are read one by one."""
    for name, reader in READERS.items():
        if (
            reader.takes != "file"
            and format_name in (None, name)
            and (name == format_name or reader.recognises(folder))
        ):
            return name, reader
    return None


def _recognised(path: Path) -> tuple[str, Reader] | None:
    for name, reader in READERS.items():
        if reader.takes != "folder" and reader.recognises(path):
            return name, reader
    return None


def standard_of(path: Path) -> str | None:
    """What a file or folder is that names its own fields, and so needs no columns of a profile; None of a table."""
    found = _folder_reader(path, None) if path.is_dir() else _recognised(path)
    return found[1].description if found is not None and found[1].has_own_layout else None


def _file_reader(path: Path, format_name: str | None) -> tuple[str, Reader]:
    if format_name is not None:
        if READERS[format_name].takes == "folder":
            raise UnreadableInputError(f"{format_name} is read from a folder", where=path.name)
        return format_name, READERS[format_name]
    if (found := _recognised(path)) is not None:
        return found
    raise UnreadableInputError(
        "is of no known format", where=path.name, remedy=f"Name it with --format: {', '.join(READERS)}."
    )


def _source_file(
    kind: Kind, format_name: str, typed: pl.DataFrame, path: Path, n_refused: int, sha256: str
) -> SourceFile:
    described = SourceFile(name=path.name, kind=kind, format=format_name, sha256=sha256, rows=typed.height + n_refused)
    if kind != "lab" or not typed.height:
        return described
    # Rows of years that Python has no date for are refused later; they are no first or last time of the file either.
    told = pl.col("collected_at").filter(pl.col("collected_at").dt.year().is_between(MINYEAR, MAXYEAR))
    first, last = typed.select(first=told.min(), last=told.max()).row(0)
    return replace(described, first_collected_at=first, last_collected_at=last)


def no_rows(kind: Kind, profile: Profile) -> pl.DataFrame:
    """An empty frame in the canonical shape of a kind."""
    columns = dict.fromkeys((*NATIVE_COLUMNS[kind], "source_file"), pl.String)
    return TYPED[kind](pl.DataFrame(schema={**columns, "source_row": pl.Int64}), profile)
