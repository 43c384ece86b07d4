"""All evidence of an origin weighed together: what its rows measure, how surely, and what decided (REC-1 to REC-3).

Strongest first: the user's profile, the code, the name, the unit, the specimen's words, the row's reference range,
the values. Code and name that name different cells or specimens contradict each other and neither is used (REC-2).
What is only probable is never used either; it is flagged where it may feed the ANC (REC-3).
"""

from dataclasses import dataclass, fields, replace
from typing import Final, Literal

import polars as pl

from neutro_screen.recognition.evidence import ORIGIN_COLUMNS, Coded, Origin, Tables, is_foreign_loinc, name_of
from neutro_screen.recognition.markers import marker_of
from neutro_screen.recognition.names import NameReading, read_name
from neutro_screen.recognition.specimens import read_specimen
from neutro_screen.recognition.units import UnitReading, read_unit
from neutro_screen.recognition.words import limits, load_cells
from neutro_screen.reference import Reference

Certainty = Literal["certain", "probable", "unknown", "other_test", "conflict"]
UnitStatus = Literal["accepted", "refused", "unread", "missing", "ambiguous", "other_property"]

#: The one marker that is no test of blood, and the one that is a count of cells.
_MARROW: Final = "bone_marrow"
_COUNTED: Final = "cd4_count"
#: "Ab" is an antibody, an absolute count or arterial blood: antibodies are not counted as cells are.
_AB: Final = "antibody_or_absolute"
#: Exclusions that a code outweighs: the name adds a remark, it names no other test.
_REMARKS: Final = frozenset({"panel", "question"})


@dataclass(frozen=True, slots=True)
class Reading:
    """What an origin was read as.

    ``analyte``: of analytes.csv where certain; where probable what it would be. ``specimen``: blood, other, unknown
    (stated and not understood) or null (not stated). ``factor`` and ``offset``: to the canonical unit, null unless
    ``unit_status`` is accepted; ``unit_source``: unit or name. ``decided_by``: profile, code, name, unit, specimen or
    values. ``reason``: why it is not certain, or a note. ``may_feed_anc``: its patients cannot be passed over.
    ``bound_analyte``: of a conflict, what its low values bound from above.
    """

    certainty: Certainty
    analyte: str | None = None
    cell: str | None = None
    property: str | None = None
    method: str = "any"
    specimen: str | None = None
    factor: float | None = None
    offset: float | None = None
    unit_decision: str | None = None
    smallest_raw_value: float | None = None
    unit_status: str | None = None
    unit_source: str | None = None
    decided_by: str | None = None
    reason: str | None = None
    may_feed_anc: bool = False
    bound_analyte: str | None = None


READING_COLUMNS: Final = tuple(field.name for field in fields(Reading))
_TYPES: Final = {
    "factor": pl.Float64,
    "offset": pl.Float64,
    "smallest_raw_value": pl.Float64,
    "may_feed_anc": pl.Boolean,
}


def read_origins(origins: pl.DataFrame, reference: Reference) -> pl.DataFrame:
    """Add the columns of ``Reading`` to distinct origins; missing columns of ``Origin`` count as not stated.

    A few hundred rows of a run: each distinct combination of evidence is weighed once, in Python.
    """
    tables = Tables(reference)
    columns = [column for column in ORIGIN_COLUMNS if column in origins.columns]
    readings = [weigh(Origin(**row), tables) for row in origins.select(columns).iter_rows(named=True)]
    added = pl.DataFrame(
        {name: [getattr(reading, name) for reading in readings] for name in READING_COLUMNS},
        schema={name: _TYPES.get(name, pl.String) for name in READING_COLUMNS},
    )
    return pl.concat([origins, added], how="horizontal")


def weigh(origin: Origin, tables: Tables) -> Reading:
    """Weigh the evidence of one origin."""
    name = read_name(name_of(origin))
    unit = read_unit(origin.unit_text if _states_unit(origin) else name.unit)
    if name.excluded == _AB and name.cells & tables.feeding and _is_plain(unit, "count"):
        name = replace(name, certainty="probable", excluded=None, unread=("ab",))
    specimen = read_specimen(origin.specimen_type).specimen
    if specimen == "control":
        return Reading("other_test", specimen=specimen, decided_by="specimen", reason="control_material")
    profile = tables.profile(origin)
    if profile is not None and profile.excluded is not None:
        return Reading("other_test", decided_by="profile", reason="excluded: profile")
    if profile is not None:
        identity = Reading("certain", cell=profile.cell, method=profile.method, decided_by="profile")
        return _with_specimen(_with_analyte(identity, origin, profile, name, unit, tables), name, specimen, tables)
    code = tables.code(origin)
    if code is None and (marker := _marker(origin, name, unit, specimen, tables)) is not None:
        return replace(marker, specimen=specimen or name.specimen)
    identity = _identity(code, name, specimen, tables)
    is_foreign = is_foreign_loinc(origin, tables) and "blood" not in (specimen, name.specimen)
    if is_foreign and identity.certainty == "certain":
        identity = replace(identity, certainty="probable", reason="unknown_code")
    if identity.reason == "mistyped" and unit.options and not unit.accepted & {"count", "percent"}:
        identity = Reading("unknown", reason="no_known_word")
    if identity.certainty == "unknown":
        return _unknown(identity, unit, specimen)
    if identity.certainty == "conflict":
        bound = _upper_bound(identity, origin, name, unit, tables)
        return replace(bound, specimen=specimen or name.specimen)
    if identity.certainty == "other_test":
        return replace(identity, specimen=specimen or name.specimen)
    return _with_specimen(_with_analyte(identity, origin, code, name, unit, tables), name, specimen, tables)


def _marker(
    origin: Origin, name: NameReading, unit: UnitReading, specimen: str | None, tables: Tables
) -> Reading | None:
    """A test beside the blood count, by its name; not where name or unit count cells, or another specimen was tested."""
    feeds = bool(name.cells & tables.feeding) and name.certainty == "probable"
    counts_cells = name.certainty == "certain" or feeds
    marker = None if counts_cells else marker_of(name_of(origin))
    if marker is None or (marker != _MARROW and "other" in (specimen, name.specimen)):
        return None
    if marker != _COUNTED and any(_is_plain(unit, prop) for prop in ("count", "percent")):
        return None
    return Reading("certain", cell=marker, analyte=marker, property="marker", decided_by="name")


def _identity(code: Coded | None, name: NameReading, specimen: str | None, tables: Tables) -> Reading:
    """Which cell is counted, or why that cannot be said."""
    if code is None:
        return _named(name, tables)
    if code.excluded is not None:
        return _excluded_by_code(code, name, specimen, tables)
    if code.property == "marker":
        is_contradicted = bool(name.cells & tables.feeding) and name.excluded is None
    else:
        is_contradicted = _contradicts(str(code.cell), name)
    if is_contradicted:
        cells = name.cells | {str(code.cell)}
        return Reading(
            "conflict",
            cell=code.cell,
            decided_by=None,
            reason="code_name_conflict",
            may_feed_anc=bool(cells & tables.feeding),
        )
    return Reading("certain", cell=_agreed(str(code.cell), name), method=_method(code, name), decided_by="code")


def _named(name: NameReading, tables: Tables) -> Reading:
    if name.certainty == "unknown":
        return Reading("unknown", reason="no_known_word")
    if name.certainty == "other_test":
        return Reading("other_test", cell=name.cell, decided_by="name", reason=f"excluded: {name.excluded}")
    if name.cell is not None and name.cell not in tables.properties:
        return Reading("other_test", cell=name.cell, decided_by="name", reason="other_cell")
    if name.certainty == "certain":
        return Reading("certain", cell=name.cell, method=name.method, decided_by="name")
    reason = "mistyped" if name.guess else "several_cells" if name.cell is None else "unread_word"
    if reason == "unread_word" and not name.unread:
        reason = "several_properties"
    return Reading(
        "probable",
        cell=name.cell,
        method=name.method,
        decided_by="name",
        reason=reason,
        may_feed_anc=bool(name.cells & tables.feeding),
    )


def _excluded_by_code(code: Coded, name: NameReading, specimen: str | None, tables: Tables) -> Reading:
    """A code that must not be used: against a name or specimen that says blood it is a contradiction."""
    says_blood = "blood" in (specimen, name.specimen) and name.certainty in ("certain", "probable")
    is_of_specimen = str(code.excluded).startswith(("not_blood", "cord"))
    if name.cells & tables.feeding and name.certainty != "other_test" and (says_blood or not is_of_specimen):
        return Reading("conflict", cell=name.cell, reason="code_name_conflict", may_feed_anc=True)
    return Reading("other_test", cell=name.cell, decided_by="code", reason=f"excluded: {code.excluded}")


def _contradicts(cell: str, name: NameReading) -> bool:
    """Whether a name speaks of another cell, specimen or test than the code."""
    if name.excluded is not None and name.excluded not in _REMARKS:
        return not (name.cell == cell and name.excluded == "morphology" and cell == "hyperseg")
    if name.guess is not None or name.cells <= load_cells().modifiers:
        return False
    if name.cell is None:
        return True
    return not load_cells().agree(cell, name.cell)


def _upper_bound(conflict: Reading, origin: Origin, name: NameReading, unit: UnitReading, tables: Tables) -> Reading:
    """Granulocytes under the code of another cell: not a count, and still an upper bound that can only raise an alarm.

    The analysers that send their granulocytes under the code of monocytes write the right name (ANC-10).
    """
    if name.cell != "gran" or name.certainty != "certain" or "count" not in unit.accepted:
        return conflict
    analyte = tables.analytes["gran", "count"]
    bound = replace(conflict, property="count", bound_analyte=str(analyte["analyte"]))
    return _with_unit(bound, origin, name, unit, analyte["typical_reference_high"])


def _agreed(cell: str, name: NameReading) -> str:
    """Polymorphonuclear cells are neutrophils where the name says so; else the code's cell stands."""
    return "neut" if cell == "pmn" and name.cell == "neut" else cell


def _method(code: Coded, name: NameReading) -> str:
    return name.method if code.method == "any" else code.method


def _with_analyte(
    identity: Reading, origin: Origin, code: Coded | None, name: NameReading, unit: UnitReading, tables: Tables
) -> Reading:
    """Settle property and unit of a cell that is known."""
    if identity.cell is None:
        return identity
    if unit.is_field:
        return replace(
            identity, certainty="other_test", decided_by="unit", reason="unit_of_a_slide", may_feed_anc=False
        )
    prop, decided_by, note = _settled_property(identity.cell, origin, code, name, unit, tables)
    feeds = identity.cell in tables.feeding
    if prop is None:
        return replace(identity, certainty="probable", reason=identity.reason or "no_property", may_feed_anc=feeds)
    analyte = tables.analytes.get((identity.cell, prop))
    if analyte is None or (identity.cell == "nrbc" and prop != "per100wbc" and code is None):
        return replace(identity, certainty="other_test", reason="other_property", may_feed_anc=False)
    settled = replace(
        identity,
        analyte=str(analyte["analyte"]),
        property=prop,
        decided_by=identity.decided_by or decided_by,
        reason=identity.reason or note,
        may_feed_anc=feeds if identity.certainty != "certain" else bool(analyte["feeds_anc"]),
    )
    if prop == "marker":
        return settled
    return _with_unit(settled, origin, name, unit, analyte["typical_reference_high"])


def _settled_property(
    cell: str, origin: Origin, code: Coded | None, name: NameReading, unit: UnitReading, tables: Tables
) -> tuple[str | None, str | None, str | None]:
    """Property, what decided it, and a note. Code and name state it; the unit settles what they leave open."""
    possible = tables.properties[cell]
    by_unit = _only(unit.accepted & possible)
    by_name = {"fraction": "percent"}.get(name.property or "", name.property)
    by_code = code.property if code else None
    if by_name == "per100rbc":
        return ("percent" if cell == "retic" else "per100rbc"), "name", None
    if by_name == "ratio" and code is None:
        return ("percent" if by_unit == "percent" else "ratio"), "unit", None
    if len(possible) == 1:
        return next(iter(possible)), None, None
    if by_code is not None:
        if by_unit not in (None, by_code) and by_name != by_code and _is_plain(unit, str(by_unit)):
            return by_unit, "unit", "code_contradicts_unit"
        return by_code, "code", None
    if by_name in possible:
        return by_name, "name", None
    if by_unit is not None:
        return by_unit, "unit", None
    if by_name == "quantity":
        return "count", "name", None
    return _property_of_values(cell, origin, tables), "values", None


def _is_plain(unit: UnitReading, prop: str) -> bool:
    """Whether the unit says a property in so many words; a bare 1 is a fraction to a percentage and nothing to a count."""
    option = unit.of(prop)
    return option is not None and option.decision == "accept"


def _only(options: frozenset[str]) -> str | None:
    """The one option; a percent sign is also the unit of a percentage per hundred white cells."""
    narrowed = options - {"per100wbc"} if len(options) > 1 else options
    return next(iter(narrowed)) if len(narrowed) == 1 else None


def _property_of_values(cell: str, origin: Origin, tables: Tables) -> str | None:
    """Count or percentage from values and reference range together; null where they leave it open."""
    analyte = tables.analytes.get((cell, "count"))
    bounds = limits()
    typical = analyte and analyte["typical_reference_high"]
    high, median = origin.reference_high, origin.value_median
    if not typical or high is None or median is None or origin.n_values < bounds["fewest_values"]:
        return None
    is_percent = bounds["percent_high_from"] <= high <= bounds["percent_high_to"]
    if is_percent and (origin.value_high or 0) <= bounds["highest_percent"]:
        return "percent"
    for factor in (1.0, 0.001):
        if _is_usual(high * factor / typical, "reference_high") and _is_usual(median * factor / typical, "median"):
            return "count"
    return None


def _is_usual(ratio: float, what: str) -> bool:
    return limits()[f"{what}_low_ratio"] <= ratio <= limits()[f"{what}_high_ratio"]


def _with_unit(
    reading: Reading, origin: Origin, name: NameReading, unit: UnitReading, typical: float | None
) -> Reading:
    """The factor to the canonical unit: from the unit, else from a unit that the name itself states."""
    source = "unit" if _states_unit(origin) else "name"
    if source == "name" and not unit.options:
        return replace(reading, unit_status="missing")
    option = unit.of(str(reading.property))
    if option is None:
        return replace(reading, unit_status="other_property" if unit.options else "unread")
    if option.decision == "refuse":
        return replace(reading, unit_status="refused")
    named = read_unit(name.unit).of(str(reading.property))
    if named is not None and named.factor != option.factor:
        return replace(reading, unit_status="ambiguous")
    if unit.is_ambiguous and not _values_agree(origin, option.factor, typical):
        return replace(reading, unit_status="ambiguous")
    return replace(
        reading,
        factor=option.factor,
        offset=option.offset,
        unit_decision=option.decision,
        smallest_raw_value=option.smallest_raw_value,
        unit_status="accepted",
        unit_source=source,
    )


def _states_unit(origin: Origin) -> bool:
    return bool((origin.unit_text or "").strip())


def _values_agree(origin: Origin, factor: float | None, typical: float | None) -> bool:
    """Whether the values confirm a guessed unit of a certain analyte."""
    if not factor or not typical or origin.value_median is None or origin.n_values < limits()["fewest_values"]:
        return False
    return _is_usual(origin.value_median * factor / typical, "median")


def _with_specimen(reading: Reading, name: NameReading, specimen: str | None, tables: Tables) -> Reading:
    """Blood, another specimen, or not understood; a name that says blood contradicts another specimen beside it."""
    if reading.certainty not in ("certain", "probable"):
        return replace(reading, specimen=specimen or name.specimen)
    if specimen == "other" and name.specimen == "blood":
        feeds = reading.cell in tables.feeding
        return replace(reading, certainty="conflict", specimen=None, reason="specimen_conflict", may_feed_anc=feeds)
    if specimen == "other":
        return replace(
            reading,
            certainty="other_test",
            specimen=specimen,
            decided_by="specimen",
            reason="other_specimen",
            may_feed_anc=False,
        )
    return replace(reading, specimen=name.specimen if specimen in (None, "unknown") and name.specimen else specimen)


def _unknown(identity: Reading, unit: UnitReading, specimen: str | None) -> Reading:
    """No word understood: the unit of a cell count in what may be blood can still be a count of ours (REC-3)."""
    is_count = unit.accepted == {"count"} and not unit.is_ambiguous
    return replace(identity, specimen=specimen, may_feed_anc=is_count and specimen != "other")
