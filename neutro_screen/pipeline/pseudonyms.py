"""Keyed pseudonyms in the place of identifiers, before anything is judged, stored or shown.

What becomes of a row: patient, specimen and result identifiers (those that a record was merged into as well), wards,
requesters and file names are replaced by an HMAC-SHA256 of themselves, cut to 96 bits; the free text of comments is dropped but for the words that a
rule knows, that of events but for the number of a temperature; the text of lines that are no rows is dropped. Dates, values, drug names and codes stay: this hides who a
patient is from readers of the results, it does not make the data anonymous.
"""

import hmac
import stat
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import polars as pl

from neutro_screen.errors import ConfigurationError
from neutro_screen.ingest import Batch
from neutro_screen.private import is_stream
from neutro_screen.rules.counts.results import CLUMPING

_LEAST_KEY_BYTES: Final = 32
_HEX_DIGITS: Final = 24
_TEMPERATURE: Final = r"(\d{2,3}(?:[.,]\d{1,2})?)"
#: Column -> what is hidden: the same text as another kind of identifier gets another pseudonym.
_HIDDEN: Final = {
    "patient_id": "patient",
    "replaced_by": "patient",
    "specimen_id": "specimen",
    "result_id": "result",
    "ward": "ward",
    "requester": "requester",
    "source_file": "file",
}


@dataclass(frozen=True)
class Pseudonyms:
    """The pseudonyms of one key; the same key gives the same ones."""

    key: bytes

    @property
    def fingerprint(self) -> str:
        """Identifies the key without disclosing it: results of two keys must never be in one store."""
        return self.of("store", "fingerprint")

    def of(self, kind: str, text: str) -> str:
        """The pseudonym of one identifier; ``kind`` is one of ``_HIDDEN``."""
        return hmac.digest(self.key, f"{kind}\0{text}".encode(), "sha256").hex()[:_HEX_DIGITS]

    def applied(self, batch: Batch) -> Batch:
        """The batch without anything that names a person."""
        rows = batch.rows.with_columns(
            self._hidden(batch.rows[column], kind) for column, kind in _HIDDEN.items() if column in batch.rows.columns
        )
        if "detail" in rows.columns:
            measured = pl.when(pl.col("event") == "temperature").then(pl.col("detail").str.extract(_TEMPERATURE))
            rows = rows.with_columns(detail=measured)
        if "comment" in rows.columns:
            rows = rows.with_columns(pl.col("comment").str.extract_all(CLUMPING).list.join(" ").replace("", None))
        return batch._replace(
            rows=rows,
            refused=[
                replace(
                    line,
                    row="",
                    source_file=self.of("file", line.source_file),
                    patient_id=self._of("patient", line.patient_id),
                    specimen_id=self._of("specimen", line.specimen_id),
                )
                for line in batch.refused
            ],
            file=replace(batch.file, name=self.of("file", batch.file.name)),
        )

    def _of(self, kind: str, text: str | None) -> str | None:
        return None if text is None else self.of(kind, text)

    def _hidden(self, identifiers: pl.Series, kind: str) -> pl.Series:
        distinct = identifiers.drop_nulls().unique(maintain_order=True)
        hidden = pl.Series([self.of(kind, text) for text in distinct], dtype=pl.String)
        return identifiers.replace_strict(distinct, hidden, default=None, return_dtype=pl.String)


def load_pseudonyms(path: Path | None) -> Pseudonyms | None:
    """The pseudonyms of the key in a file; None without one.

    Raises:
        ConfigurationError: the file cannot be read, others may read it, or the key is too short.
    """
    if path is None:
        return None
    if is_stream(path):
        raise ConfigurationError("the key is a named pipe or device, no file", where=path.name)
    try:
        mode, key = stat.S_IMODE(path.stat().st_mode), path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"the key cannot be read ({error.strerror})", where=path.name) from None
    if mode & 0o077:
        raise ConfigurationError("others may read the key", where=path.name, remedy=f"chmod 600 {path.name}")
    if len(key) < _LEAST_KEY_BYTES:
        raise ConfigurationError(
            f"the key is shorter than {_LEAST_KEY_BYTES} bytes",
            where=path.name,
            remedy="Make one: head -c 32 /dev/urandom > KEYFILE",
        )
    return Pseudonyms(key)


def key_fingerprint(path: Path | None) -> str | None:
    """The fingerprint of the key in a file, as the store keeps it; None without pseudonyms."""
    pseudonyms = load_pseudonyms(path)
    return pseudonyms.fingerprint if pseudonyms else None
