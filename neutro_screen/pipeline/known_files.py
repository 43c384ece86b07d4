"""Files that an earlier run has read: what a glob finds of an archive is not read again every night.

A file is known only where reading it again could not add a row: the same bytes, read by a published run in the same way
(profile, format, policy, program, pseudonyms) that is still whole, laboratory rows only, and no row refused or passed over
for something that a later night may know better (the time of the run, a birth date, a result that came later).
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import polars as pl

from neutro_screen import __version__
from neutro_screen.ingest import KNOWN, UNREADABLE, KnownFiles, load_profile
from neutro_screen.pipeline.options import RunOptions
from neutro_screen.pipeline.pseudonyms import key_fingerprint
from neutro_screen.pipeline.retractions import UNKNOWN
from neutro_screen.reference import load_policy
from neutro_screen.store.file import reading
from neutro_screen.store.rows import read_table
from neutro_screen.store.schema import SCHEMA_VERSION

#: Reasons for which a row is not used tonight, and may be another night.
_FOR_NOW: Final = ("future_time", "impossible_time", "before_birth", UNKNOWN)


def reading_fingerprint(settings: RunOptions) -> str:
    """SHA-256 of how the files of a run are read: the profile's entries and the format asked for."""
    profile = load_profile(settings.profile).model_dump_json(exclude={"record_link"})
    return hashlib.sha256(json.dumps([profile, settings.format]).encode()).hexdigest()


def known_files(settings: RunOptions) -> KnownFiles:
    """The laboratory files that need not be read again, with their rows; none with ``rescreen_all``.

    Raises:
        StoreError: the store cannot be read.
    """
    if settings.rescreen_all or not settings.store.is_file() or not _has_archive(settings.labs):
        return {}
    with reading(settings.store, migrating=True) as connection:
        files = read_table(
            connection,
            _FILES,
            {
                "policy": load_policy(settings.policy).sha256,
                "version": __version__,
                "schema": SCHEMA_VERSION,
                "key": key_fingerprint(settings.pseudonymise),
                "for_now": list(_FOR_NOW),
            },
        )
    read_as = pl.col("counts").map_elements(lambda counts: json.loads(counts).get("reading"), return_dtype=pl.String)
    runs = files.select("run_id", "counts").unique().filter(read_as == reading_fingerprint(settings))
    listed = files.join(runs, on="run_id", how="semi").select("sha256", "format", "rows").rows()
    return {(sha256, format_name): rows for sha256, format_name, rows in listed}


def _has_archive(patterns: Sequence[str]) -> bool:
    return any(not Path(pattern).is_file() for pattern in patterns)


#: Files of whole runs by their own content, save those with rows of another kind or rows that are refused for now.
_FILES: Final = f"""
    WITH whole AS (
        SELECT run_id, counts FROM run
        WHERE status = 'done' AND policy_sha256 = $policy AND software_version = $version AND schema_version = $schema
          AND pseudonym_key IS NOT DISTINCT FROM $key
    ),
    for_now AS (SELECT DISTINCT run_id, source_file AS name FROM quality_count WHERE list_contains($for_now, reason))
    SELECT run_id, any_value(counts) AS counts, sha256, format, max("rows") AS rows
    FROM source_file JOIN whole USING (run_id) ANTI JOIN for_now USING (run_id, name)
    WHERE NOT list_has_any(string_split(coalesce(notes, ''), ', '), ['{KNOWN}', '{UNREADABLE}'])
    GROUP BY run_id, sha256, format HAVING bool_and(kind = 'lab')
    ORDER BY run_id, sha256, format
"""
