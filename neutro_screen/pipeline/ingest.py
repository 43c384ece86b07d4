"""The ingest step: all inputs are read into canonical frames, a batch at a time.

Every row that came in is counted; a line that could not be split into columns goes to quarantine. What laboratory rows
have in common (their origins: names, units, words) is settled here, once for the run. One process takes the step as a
whole; on a cluster the inputs are shared out, every worker reads shares, and what they found is gathered.
"""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Final

import polars as pl
from pydantic import TypeAdapter

from neutro_schemas import LabResult, RejectedRow
from neutro_screen import ingest as readers
from neutro_screen.errors import NeutroScreenError, RefusedInputError, UnreadableInputError
from neutro_screen.ingest import SourceFile, load_profile
from neutro_screen.pipeline.handover import Ingested, ReadShare, Shares
from neutro_screen.pipeline.known_files import known_files
from neutro_screen.pipeline.options import RunOptions, iso
from neutro_screen.pipeline.partitions import Workspace, work_folder
from neutro_screen.pipeline.pseudonyms import load_pseudonyms
from neutro_screen.pipeline.requests import no_requests, number_requests
from neutro_screen.pipeline.retractions import no_deletions, split_deletions
from neutro_screen.pipeline.rows import rejected_rows
from neutro_screen.prefetch import ahead
from neutro_screen.private import unpacking_in
from neutro_screen.recognition.origins import TextCounts, no_origins, number_origins, one_number_each
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
    share_out_step(settings, work)
    read_step(settings, work)
    return gather_step(settings, work)


def share_out_step(settings: RunOptions, work: Workspace, least_shares: int | None = None) -> int:
    """Begin a run: find its inputs, and share them out among those who read them; returns the number of shares.

    Without ``least_shares`` one process reads them all. With it, a share has at most that part of their bytes, and what
    one partition may hold, or is one file; and as many partitions can follow.
    """
    profile = load_profile(settings.profile)
    inputs = readers.find_inputs(settings.paths, profile, settings.format)
    at_once, size = settings.rows_at_once * _BYTES_A_ROW, sum(one.size for one in inputs)
    shares = readers.shared_out(inputs, min(at_once, size / least_shares) if least_shares else math.inf)
    work.begin(max(size // at_once, least_shares or 0))
    known = [(*key, rows) for key, rows in known_files(settings).items()]
    work.keep(Shares([{"paths": share.paths, "archived": share.archived} for share in shares], known))
    return len(shares)


#: About what a laboratory row takes in a text file (docs/scale.md).
_BYTES_A_ROW: Final = 100


def read_step(settings: RunOptions, work: Workspace, share: int = 0) -> dict[str, int]:
    """Add the rows of one share of the inputs to the workspace, and keep what the others have to know of them.

    Every row that came in is counted. A step that is taken again, by another ``writer``, reads the share from its start.
    """
    profile, policy = load_profile(settings.profile), load_policy(settings.policy)
    reference = load_reference().extended_by(profile.named_analytes, profile.statuses, profile.units, profile.specimens)
    sent, requests, texts, kinds = no_origins(), no_requests(), TextCounts(), frozenset[str]()
    first, opened = share << _NUMBERS_OF_A_SHARE, readers.Opened()
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
    for batch in ahead(_batches(settings, work.kept(Shares), share, profile, opened)):
        rows = batch.rows
        files.append(batch.file)
        if batch.file.known_rows is not None:
            continue
        if batch.kind == "lab":
            lab_rows += rows.height
            rows, deleted = split_deletions(rows, reference)
            deletions.append(deleted)
            rows, requests = number_requests(rows, requests, first)
            rows, sent = number_origins(rows, sent, first)
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
    read = ReadShare(
        writer=work.writer,
        origins=sent,
        texts=texts.counted,
        requests=requests,
        deletions=pl.concat(deletions),
        drug_lines=pl.concat(drug_lines).unique(),
        files=_FILES.dump_python(list(readers.together(files)), mode="json"),
        lab_rows=lab_rows,
        broken_labs=n_broken,
        kinds=sorted(kinds),
        opened=opened.files,
        unread={
            kind: [type(error).__name__, error.what, error.where, error.remedy] for kind, error in opened.unread.items()
        },
    )
    work.keep(read, share)
    return {"share": share, "lab_rows": lab_rows}


#: Origins and requests of a share are numbered from its own number on, shifted by so many bits.
_NUMBERS_OF_A_SHARE: Final = 32


def gather_step(settings: RunOptions, work: Workspace) -> dict[str, int]:
    """Settle what the rows of all shares have in common, once for the run; from here on rows of lost attempts are none.

    Raises:
        UnreadableInputError, RefusedInputError: of an archive no file of a kind could be opened.
    """
    profile, policy = load_profile(settings.profile), load_policy(settings.policy)
    reference = load_reference().extended_by(profile.named_analytes, profile.statuses, profile.units, profile.specimens)
    read = [work.kept(ReadShare, share) for share in range(len(work.kept(Shares).shares))]
    _check_opened(read)
    work.accept(share.writer for share in read)
    same = one_number_each(pl.concat(share.origins for share in read))
    texts = pl.concat(share.texts for share in read)
    known = same.of_all(judged_origins(same.origins, same.counted(texts), reference, policy, profile.decimal_mark))
    kinds = kinds_of(known.filter("has_value"), Chart.of()).union(*(share.kinds for share in read))
    files = _FILES.validate_python([file for share in read for file in share.files])
    listed = [
        asdict(file)
        | {"first_collected_at": iso(file.first_collected_at), "last_collected_at": iso(file.last_collected_at)}
        for file in readers.together(files)
    ]
    ingested = Ingested(
        origins=known,
        requests=pl.concat(share.requests for share in read),
        deletions=pl.concat(share.deletions for share in read),
        drugs=resolved_drugs(pl.concat(share.drug_lines for share in read)),
        files=listed,
        lab_rows=sum(share.lab_rows for share in read),
        broken_labs=sum(share.broken_labs for share in read),
        kinds=sorted(kinds),
    )
    work.keep(ingested)
    return {"lab_rows": ingested.lab_rows, "files": len(listed)}


def _check_opened(read: Sequence[ReadShare]) -> None:
    """Raises the error of the first file, as one process would, where of a kind none could be opened."""
    of_all = readers.Opened()
    for share in read:
        unread = {
            kind: _UNREAD[name](what, where=where, remedy=remedy)
            for kind, (name, what, where, remedy) in share.unread.items()
        }
        of_all.add(readers.Opened(share.opened, unread))
    of_all.check()


_UNREAD: Final[dict[str, type[NeutroScreenError]]] = {
    error.__name__: error for error in (UnreadableInputError, RefusedInputError)
}
#: Files as a share keeps them.
_FILES: Final = TypeAdapter(list[SourceFile])
_CHART_PART: Final = {"medication": "medications", "patient": "patients", "diagnosis": "diagnoses", "event": "events"}


def _batches(
    settings: RunOptions, shares: Shares, number: int, profile: readers.Profile, opened: readers.Opened
) -> Iterator[readers.Batch]:
    """The readers' batches, under pseudonyms where asked for; what is unpacked waits in the run's private folder."""
    pseudonyms = load_pseudonyms(settings.pseudonymise)
    known = {(sha256, format_name): rows for sha256, format_name, rows in shares.known}
    share = readers.Share(**shares.shares[number])
    with unpacking_in(work_folder(settings.store)):
        for batch in readers.read_share(share, opened, profile, settings.format, known):
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
