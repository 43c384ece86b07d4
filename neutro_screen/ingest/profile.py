"""A source profile: how one laboratory writes its extracts, in TOML."""

import re
import tomllib
from pathlib import Path
from typing import Literal, TypeVar
from zoneinfo import available_timezones

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from neutro_screen.errors import ConfigurationError, neighbour
from neutro_screen.ingest.frames import NATIVE_COLUMNS
from neutro_screen.private import is_stream

Named = TypeVar("Named", dict[str, object], tuple[str, ...])


class WideColumn(BaseModel):
    """One measured column of a wide file (one row a blood count)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    column: str
    analyte: str
    unit: str


class KindProfile(BaseModel):
    """How one kind of file (lab, medication, patient, diagnosis, event) is laid out."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    #: native column -> the file's own column, or several that are joined by a blank (date and time apart)
    columns: dict[str, str | tuple[str, ...]] = Field(default_factory=dict)
    #: native column -> the file's column that counts where the first one is blank (text, and a number beside it)
    fallbacks: dict[str, str] = Field(default_factory=dict)
    #: native column -> a value that holds for the whole file
    constants: dict[str, str] = Field(default_factory=dict)
    #: native column -> the source's word -> the word of the native layout; other words stay as they are
    values: dict[str, dict[str, str]] = Field(default_factory=dict)
    #: only for lab: the measured columns of a wide file
    wide: tuple[WideColumn, ...] = ()
    #: only for lab: native columns that stand on the first row of a group and hold for the rows below, outermost first
    fill_down: tuple[str, ...] = ()
    #: only for lab: columns named by dates hold the values of that day
    dates_across: bool = False

    @field_validator("columns", "fallbacks", "constants", "values", "fill_down")
    @classmethod
    def _names_native_columns(cls, named: Named) -> Named:
        known = {column for columns in NATIVE_COLUMNS.values() for column in columns}
        if unknown := sorted(set(named) - known):
            raise ValueError(f"unknown column names {unknown}; the native ones are {sorted(known)}")
        return named


class ControlTotals(BaseModel):
    """What the sender says of its files, and where. Checked before anything of a file is used."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    #: ending of the file beside each file that holds its SHA-256, for example ``.sha256``
    checksum: str | None = Field(default=None, min_length=2)
    #: name of a CSV in the same folder with the columns file, rows and sha256
    manifest: str | None = Field(default=None, min_length=1)
    #: regular expression of the last line of delimited text; its first group is the number of rows
    trailer: str | None = None
    #: refuse a file of which nothing is said
    required: bool = False

    @field_validator("trailer")
    @classmethod
    def _has_a_group(cls, trailer: str | None) -> str | None:
        try:
            groups = re.compile(trailer or "(.)").groups
        except re.error:
            groups = 0
        if not groups:
            raise ValueError("is no regular expression with a group for the number of rows")
        return trailer


class Profile(BaseModel):
    """One source. The default profile is the native layout of CONTRACT.md."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = "native"
    encoding: str | None = None
    delimiter: str | None = None
    time_zone: str = "UTC"
    datetime_formats: tuple[str, ...] = ()
    decimal_mark: Literal[".", ","] | None = None
    #: HL7 v2: the field that identifies the patient; the default is PID-3, or PID-2 where that is blank
    patient_identifier: Literal["PID-2", "PID-3", "PID-4", "OBR-3"] | None = None
    #: HL7 v2: the assigning authority (PID-3.4) of the identifier that counts
    patient_authority: str | None = None
    control: ControlTotals = ControlTotals()
    lab: KindProfile = KindProfile()
    medication: KindProfile = KindProfile()
    patient: KindProfile = KindProfile()
    diagnosis: KindProfile = KindProfile()
    event: KindProfile = KindProfile()
    #: the source's test code or name -> analyte (reference/analytes.csv); the columns of a wide file are added
    analytes: dict[str, str] = Field(default_factory=dict, validate_default=True)
    #: the source's test code, name or LOINC -> unit of every value that comes without one
    units: dict[str, str] = Field(default_factory=dict)
    #: the source's text for a specimen -> blood or other
    specimens: dict[str, Literal["blood", "other"]] = Field(default_factory=dict)
    #: the source's status word -> final, corrected, preliminary, cancelled, entered_in_error or pending
    statuses: dict[str, str] = Field(default_factory=dict)
    #: values that stand for "no number here", for example 9999999
    sentinels: tuple[str, ...] = ()
    #: the hospital's record system in the report: an https address with {patient_id}, which is put in encoded
    record_link: str | None = None

    @property
    def named_analytes(self) -> dict[str, str]:
        """Every test name or code of the source that the profile explains, the columns of a wide file included."""
        return self.analytes | {wide.column: wide.analyte for wide in self.lab.wide}

    @field_validator("analytes")
    @classmethod
    def _with_wide_columns(cls, analytes: dict[str, str], others: ValidationInfo) -> dict[str, str]:
        lab: KindProfile = others.data.get("lab", KindProfile())
        return {column.column: column.analyte for column in lab.wide} | analytes

    @field_validator("record_link")
    @classmethod
    def _is_a_link(cls, template: str | None) -> str | None:
        if template is not None and not (template.startswith("https://") and template.count("{patient_id}") == 1):
            raise ValueError("a record link begins with https:// and holds {patient_id} once")
        return template

    @field_validator("time_zone")
    @classmethod
    def _is_a_time_zone(cls, name: str) -> str:
        if name not in available_timezones():
            raise ValueError(f"{name!r} is not an IANA time zone")
        return name


def load_profile(path: Path | None) -> Profile:
    """Read a profile; ``None`` is the native layout.

    Raises:
        ConfigurationError: the file cannot be read, is not TOML, or an entry is unknown or impossible.
    """
    if path is None:
        return Profile()
    if is_stream(path):
        raise ConfigurationError("profile is a named pipe or device, no file", where=path.name)
    try:
        return Profile.model_validate(tomllib.loads(path.read_text("utf-8")))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ConfigurationError(
            f"profile cannot be read: {reason}", where=path.name, remedy=neighbour(path, "profile.toml")
        ) from None
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        raise ConfigurationError(
            f"profile entry {'.'.join(str(part) for part in first['loc'])}: {first['msg']}",
            where=path.name,
            remedy="docs/formats.md lists the entries of a profile.",
        ) from None
