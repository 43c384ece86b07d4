"""Rows in the native layout from HL7 segments: results, medication, patients, diagnoses."""

from collections.abc import Callable
from typing import Final, NamedTuple

import polars as pl

from neutro_screen.ingest.agreement import comparators_differ, disagreement
from neutro_screen.ingest.formats.hl7v2.codes import WORDS
from neutro_screen.ingest.formats.hl7v2.fields import Messages, columns
from neutro_screen.ingest.frames import Kind
from neutro_screen.ingest.layout import LOINC_NUMBER, kept_local_code, with_off_scale
from neutro_screen.ingest.profile import Profile

_LOINC_SYSTEMS: Final = ("LN", "LOINC", "LNC")
_DRUG_SYSTEMS: Final = {"atc_code": ("ATC", "WHOATC", "WHO ATC"), "rxcui": ("RXNORM", "RXN", "RXCUI")}
#: A triplet of code, text and system starts at each of these components.
_TRIPLETS: Final = (1, 4)


def lab_rows(messages: Messages, profile: Profile) -> pl.DataFrame:
    """One row per OBX of a result message, and ``is_control`` for control material, which belongs to no patient."""
    field, component = messages.field, messages.component
    loinc, local = _test_codes(messages)
    notes = _notes(messages)
    results = messages.rows(
        "OBX",
        loinc=loinc,
        local=local,
        value=with_off_scale(_value(messages), component(field(8), 1)),
        fields_disagree=disagreement(comparators_differ(_value(messages), component(field(8), 1))),
        unit=_unit(messages),
        reference_range=messages.text(messages.first(field(7))),
    )
    return (
        results.filter(pl.col("carries").is_null() | (pl.col("carries") == "results"))
        .join(_patient_ids(messages, profile), on="pid", how="left", maintain_order="left")
        .join(_order_numbers(messages, profile), on="obr", how="left", maintain_order="left")
        .join(notes, on="source_row", how="left", maintain_order="left")
        .join(notes.rename({"source_row": "obr", "note": "order_note"}), on="obr", how="left", maintain_order="left")
        .with_columns(**columns("OBX"))
        .select(
            "patient_id",
            "specimen_type",
            "collected_at",
            "resulted_at",
            "loinc",
            "analyte_name",
            "value",
            "unit",
            "reference_range",
            "fields_disagree",
            "lab",
            "ward",
            "source_row",
            requester=pl.coalesce(_person("OBR-16"), _person("ORC-12")),
            specimen_id=pl.coalesce("SPM-2.2", "SPM-2.1", "order_number"),
            local_code=kept_local_code(pl.col("local"), profile),
            # OBR-25 "A" (some results available) is no correction (OBX-11 "A").
            status=pl.coalesce("OBX-11", pl.col("OBR-25").str.to_uppercase().replace("A", None)),
            comment=pl.concat_str("note", "order_note", separator="\n", ignore_nulls=True).replace("", None),
            is_control=pl.col("specimen_role").is_not_null(),
        )
    )


def _person(field: str) -> pl.Expr:
    """Family and given name of a person (XCN), else the identifier."""
    family, given = pl.col(f"{field}.2"), pl.col(f"{field}.3")
    name = pl.when(family.is_not_null()).then(pl.concat_str(family, given, separator=", ", ignore_nulls=True))
    return pl.coalesce(name, f"{field}.1")


def _test_codes(messages: Messages) -> tuple[pl.Expr, pl.Expr]:
    """The LOINC code and the first other code of OBX-3."""
    in_triplets = []
    for first in _TRIPLETS:
        code = messages.component(messages.field(3), first)
        system = messages.component(messages.field(3), first + 2).str.to_uppercase()
        is_loinc = system.is_in(_LOINC_SYSTEMS) | (system.is_null() & code.str.contains(LOINC_NUMBER))
        in_triplets.append((code, is_loinc.fill_null(False)))
    loinc = pl.coalesce(*(pl.when(is_loinc).then(code) for code, is_loinc in in_triplets))
    local = pl.coalesce(*(pl.when(~is_loinc).then(code) for code, is_loinc in in_triplets))
    return loinc, local


def _order_numbers(messages: Messages, profile: Profile) -> pl.DataFrame:
    """By OBR: obr, order_number.

    A panel and its differential are often two orders of one draw; apart they would make no count. So the first number
    holds for all orders of a message and patient with the same OBR-7. An OBR-3 that is the patient is no order number.
    """
    numbers = (2,) if profile.patient_identifier == "OBR-3" else (3, 2)
    own = pl.coalesce(*(messages.component(messages.field(number), 1) for number in numbers))
    orders = messages.read("OBR", "obr", "msh", "pid", own=own, drawn=messages.field(7))
    of_draw = pl.coalesce(pl.col("own").first().over("msh", "pid", "drawn"), "own")
    return orders.select(
        "obr", order_number=pl.when(pl.col("drawn").is_not_null()).then(of_draw).otherwise("own")
    ).drop_nulls("obr")


def _value(messages: Messages) -> pl.Expr:
    """OBX-5 as text, by OBX-2: SN joined, a coded value by its text, repetitions as lines; no text for ED and RP."""
    kind, whole = messages.field(2).str.to_uppercase(), messages.field(5)
    coded = pl.coalesce(*(messages.component(whole, number) for number in (2, 9, 5, 1)))
    parts = messages.first(whole).str.split(messages.marks.component)
    numbers = pl.concat_str(
        *(parts.list.get(number, null_on_oob=True).fill_null("").str.strip_chars() for number in range(4))
    )
    return (
        pl.when(kind.is_in(["ED", "RP"]))
        .then(None)
        .when(kind == "SN")
        .then(numbers.replace("", None))
        .when(kind.is_in(["CE", "CWE", "CNE", "CF"]))
        .then(coded)
        .otherwise(messages.lines(whole))
    )


def _unit(messages: Messages) -> pl.Expr:
    """OBX-6. ``10^3/uL`` is often sent with its circumflex unescaped and then looks like two components."""
    first, second = (messages.component(messages.field(6), number) for number in (1, 2))
    is_power = first.str.contains(r"^[xX*]?\s*10$") & second.str.contains(r"^\d+\s*/")
    return (
        pl.when(is_power.fill_null(False))
        .then(pl.concat_str(first, pl.lit("^"), second))
        .otherwise(pl.coalesce(first, second))
    )


def _notes(messages: Messages) -> pl.DataFrame:
    """NTE-3 joined per segment that the notes stand behind: source_row, note."""
    notes = messages.read("NTE", "source_row", note=messages.lines(messages.field(3))).drop_nulls()
    noted = messages.segments.filter(pl.col("type") != "NTE").select(noted="source_row")
    return (
        notes.join_asof(noted, left_on="source_row", right_on="noted")
        .group_by("noted", maintain_order=True)
        .agg(pl.col("note").str.join("\n"))
        .rename({"noted": "source_row"})
    )


def medication_rows(messages: Messages, profile: Profile) -> pl.DataFrame:
    """One row per RXE (order), RXD (dispense) or RXA (administration) of a pharmacy message."""
    ids = _patient_ids(messages, profile)
    of_each = []
    for segment, drug_field in (("RXE", 2), ("RXD", 2), ("RXA", 5)):
        if not messages.has(segment):
            continue
        drug = messages.field(drug_field)
        codes = {column: _drug_code(messages, drug, systems) for column, systems in _DRUG_SYSTEMS.items()}
        rows = (
            messages.rows(segment, **codes)
            .filter(pl.col("carries") == "pharmacy")
            .join(ids, on="pid", how="left", maintain_order="left")
            .with_columns(**columns(segment))
        )
        if segment == "RXE":
            stopped = pl.when(pl.col("ORC-1") == "discontinued").then(pl.coalesce("ORC-15.1", "ORC-9.1"))
            rows = rows.with_columns(end_date=pl.coalesce("end_date", stopped))
        of_each.append(rows)
    return pl.concat(of_each, how="diagonal")


def _drug_code(messages: Messages, drug: pl.Expr, systems: tuple[str, ...]) -> pl.Expr:
    """The code in the first triplet of one of these systems."""
    return pl.coalesce(
        *(
            pl.when(messages.component(drug, first + 2).str.to_uppercase().is_in(systems)).then(
                messages.component(drug, first)
            )
            for first in _TRIPLETS
        )
    )


def patient_rows(messages: Messages, profile: Profile) -> pl.DataFrame:
    """One row per PID, and one per MRG of a merge: the prior record, replaced by the one of its PID."""
    ids = _patient_ids(messages, profile)
    people = messages.rows("PID").join(ids, on="pid", how="inner", maintain_order="left").with_columns(**columns("PID"))
    merges = messages.rows("MRG", listed=messages.identifiers("MRG")).filter(pl.col("event") == "merge")
    prior = _picked_ids(merges.select("pid", "listed"), messages, profile)
    merged = (
        merges.select("pid", "source_row")
        .join(prior, on="pid", how="inner", maintain_order="left")
        .join(ids.rename({"patient_id": "replaced_by"}), on="pid", how="inner", maintain_order="left")
        # A record that replaces itself carries no information; in the canonical layout it would undo a merge.
        .filter(pl.col("patient_id") != pl.col("replaced_by"))
    )
    return pl.concat([people, merged], how="diagonal")


def diagnosis_rows(messages: Messages, profile: Profile) -> pl.DataFrame:
    """One row per DG1 that has a code and a patient."""
    return (
        messages.rows("DG1")
        .join(_patient_ids(messages, profile), on="pid", how="inner", maintain_order="left")
        .with_columns(**columns("DG1"))
        .with_columns(pl.col("system").str.to_uppercase().replace(WORDS["DG1-3.3"]))
        .drop_nulls("code")
    )


def _patient_ids(messages: Messages, profile: Profile) -> pl.DataFrame:
    """The patient by PID: pid, patient_id; from the field that the profile names (``patient_identifier``)."""
    place = profile.patient_identifier
    if place != "OBR-3":
        return _picked_ids(messages.read("PID", "pid", listed=messages.identifiers("PID", place)), messages, profile)
    ordered = messages.read("OBR", "pid", ordered=messages.field(3)).drop_nulls()
    people = messages.read("PID", "pid", own=messages.identifiers("PID")).join(
        ordered.unique("pid", keep="first", maintain_order=True), on="pid", how="left", maintain_order="left"
    )
    return _picked_ids(people.select("pid", listed=pl.coalesce("ordered", "own")), messages, profile)


def _picked_ids(listed: pl.DataFrame, messages: Messages, profile: Profile) -> pl.DataFrame:
    """Of the identifiers listed that of the profile's authority, else the record number (MR), else PI, else the first."""
    each = (
        listed.with_columns(listed=pl.col("listed").str.split(messages.marks.repetition))
        .explode("listed", empty_as_null=True)
        .select(
            "pid",
            patient_id=messages.component(pl.col("listed"), 1),
            authority=messages.component(pl.col("listed"), 4),
            type=messages.component(pl.col("listed"), 5).str.to_uppercase(),
        )
        .filter(pl.col("patient_id").is_not_null())
        .with_row_index("position")
        .with_columns(rank=pl.col("type").replace_strict({"MR": 0, "PI": 1}, default=2, return_dtype=pl.Int64))
    )
    if profile.patient_authority is not None:
        each = each.filter(pl.col("authority") == profile.patient_authority)
    return (
        each.sort("pid", "rank", "position")
        .unique("pid", keep="first", maintain_order=True)
        .select("pid", "patient_id")
    )


class Source(NamedTuple):
    """Rows of one kind, and the segments of which there must be one."""

    rows: Callable[[Messages, Profile], pl.DataFrame]
    segments: tuple[str, ...]


ROWS: Final[dict[Kind, Source]] = {
    "lab": Source(lab_rows, ("OBX",)),
    "medication": Source(medication_rows, ("RXE", "RXD", "RXA")),
    "patient": Source(patient_rows, ("PID", "MRG")),
    "diagnosis": Source(diagnosis_rows, ("DG1",)),
}
