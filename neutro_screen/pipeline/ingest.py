"""The ingest step: all inputs are read into canonical frames, a batch at a time.

Every row that came in is counted; a line that could not be split into columns goes to quarantine. What laboratory rows
have in common (their origins: names, units, words) is settled here, once for the run.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Final

import polars as pl

from neutro_schemas import LabResult, RejectedRow
from neutro_screen import ingest as readers
from neutro_screen.ingest import SourceFile, load_profile
from neutro_screen.pipeline.handover import Ingested
from neutro_screen.pipeline.known_files import known_files
from neutro_screen.pipeline.options import RunOptions, iso
from neutro_screen.pipeline.partitions import Workspace, work_folder
from neutro_screen.pipeline.prefetch import ahead
from neutro_screen.pipeline.pseudonyms import load_pseudonyms
from neutro_screen.pipeline.requests import no_requests, number_requests
from neutro_screen.pipeline.retractions import no_deletions, split_deletions
from neutro_screen.pipeline.rows import rejected_rows
from neutro_screen.private import unpacking_in
from neutro_screen.recognition.origins import TextCounts, no_origins, number_origins
from neutro_screen.reference import load_policy, load_reference
from neutro_screen.rules.causes.drug_names import KEYS
from neutro_screen.rules.causes.findings import Chart, kinds_of, resolved_drugs
from neutro_screen.rules.counts.results import judged_origins
from neutro_screen.rules.dates import date_limits, split_chart_dates
from neutro_screen.validate import dtypes, no_rows


def ingest_step(settings: RunOptions, work: Workspace) -> dict[str, int]:
    """Read all inputs into the canonical frames, a batch at a time, and settle what the rows have in common.

    The first step of a run: taken again it begins anew, so that no row of an attempt before stays.
    """
    work.begin()
    profile, policy = load_profile(settings.profile), load_policy(settings.policy)
    reference = load_reference().extended_by(profile.named_analytes, profile.statuses, profile.units, profile.specimens)
    sent, texts, kinds = no_origins(), TextCounts(), frozenset[str]()
    requests = no_requests()
    files, lab_rows, n_broken = list[SourceFile](), 0, 0
    deletions, limits = [no_deletions()], date_limits(policy, settings.as_of)
    drug_lines = [readers.no_rows("medication", profile).select(KEYS)]
    work.add("impossible_row", no_rows(RejectedRow))
    work.add("broken_line", no_rows(RejectedRow))
    for kind in readers.KINDS:
        empty = readers.no_rows(kind, profile)
        if kind == "lab":
            empty, _ = number_origins(number_requests(empty, requests)[0], sent)
        work.add(f"{kind}_row", empty)
    for batch in ahead(_batches(settings, profile)):
        rows = batch.rows
        if batch.file.known_rows is not None:
            files.append(batch.file)
            continue
        if batch.kind == "lab":
            lab_rows += rows.height
            rows, deleted = split_deletions(rows, reference)
            deletions.append(deleted)
            rows, requests = number_requests(rows, requests)
            rows, sent = number_origins(rows, sent)
            texts.add(rows)
        else:
            rows, impossible = split_chart_dates(rows, batch.kind, limits)
            work.add("impossible_row", rejected_rows(impossible, batch.kind, rows.columns))
            if batch.kind == "medication":
                drug_lines.append(rows.select(KEYS).unique())
            kinds |= kinds_of(no_rows(LabResult), Chart.of(**{_CHART_PART[batch.kind]: rows}))
        work.add(f"{batch.kind}_row", rows)
        broken = _broken_lines(batch)
        work.add("broken_line", broken)
        n_broken += broken.filter(pl.col("kind") == "lab").height
        files.append(batch.file)
    known = judged_origins(sent, texts.counted, reference, policy, profile.decimal_mark)
    kinds |= kinds_of(known.filter("has_value"), Chart.of())
    listed = [
        asdict(file)
        | {"first_collected_at": iso(file.first_collected_at), "last_collected_at": iso(file.last_collected_at)}
        for file in readers.together(files)
    ]
    work.keep(
        Ingested(
            origins=known,
            requests=requests,
            deletions=pl.concat(deletions),
            drugs=resolved_drugs(pl.concat(drug_lines)),
            files=listed,
            lab_rows=lab_rows,
            broken_labs=n_broken,
            kinds=sorted(kinds),
        )
    )
    return {"lab_rows": lab_rows, "files": len(listed)}


_CHART_PART: Final = {"medication": "medications", "patient": "patients", "diagnosis": "diagnoses", "event": "events"}


def _batches(settings: RunOptions, profile: readers.Profile) -> Iterator[readers.Batch]:
    """The readers' batches, under pseudonyms where asked for; what is unpacked waits in the run's private folder."""
    pseudonyms = load_pseudonyms(settings.pseudonymise)
    with unpacking_in(work_folder(settings.store)):
        for batch in readers.read_batches(settings.paths, profile, settings.format, known_files(settings)):
            yield pseudonyms.applied(batch) if pseudonyms else batch


def _broken_lines(batch: readers.Batch) -> pl.DataFrame:
    """Lines that could not be split into columns, as ``RejectedRow``, with their patients where they name them."""
    lines = [
        {
            "kind": batch.kind,
            "reason": line.reason,
            "row": json.dumps({"line": line.row}),
            "scope": "row",
            "source_file": line.source_file,
            "source_row": line.source_row,
            "patient_id": line.patient_id,
            "specimen_id": line.specimen_id or (line.collected_at and line.collected_at.strftime("@%Y-%m-%dT%H:%M:%S")),
            "collected_at": line.collected_at,
        }
        for line in batch.refused
    ]
    return pl.DataFrame(lines, schema=dtypes(RejectedRow))
