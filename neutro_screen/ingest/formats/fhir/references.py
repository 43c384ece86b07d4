"""Resources that others refer to: drugs, specimens and deletions, collected from all files before any row is read."""

from typing import Final, NamedTuple

import polars as pl

from neutro_screen.ingest.batches import detached
from neutro_screen.ingest.formats.fhir.elements import code, words
from neutro_screen.ingest.formats.fhir.parsing import Marks

#: Types that only others refer to.
REFERENCED_TYPES: Final = ("Medication", "Specimen")
_RESOURCE_URL: Final = r"(?:^|/)([A-Z][A-Za-z]+)/([A-Za-z0-9.-]{1,64})$"

#: Whose result a version of an Observation is of, and which it is.
_RESULT: Final = ("id", "reference")
_VERSION: Final = (*_RESULT, "lastUpdated", "versionId")
#: What a resource names its version by.
VERSION_MARKS: Final = (b'"lastUpdated"', b'"versionId"')
#: What a line that can hold a referenced or deleted resource holds one of; a file: only a Bundle deletes.
REFERENCE_MARKS: Final = Marks(
    of_file=(b'"Medication"', b'"Specimen"', b'"Bundle"', *VERSION_MARKS),
    of_line=(b'"Medication"', b'"Specimen"', b'"DELETE"', b'"delete"', *VERSION_MARKS),
)


class References(NamedTuple):
    """Referenced resources by id, of each id the first."""

    #: key, name, atc, rxnorm
    medications: pl.DataFrame
    #: key, type, taken
    specimens: pl.DataFrame
    #: Resources that the export lists as deleted: type, id, file (its number), source_row.
    deleted: pl.DataFrame
    #: Ids of the deleted Observations that the export itself holds, as they are met.
    met_observations: set[str]
    #: Versions of Observations that a later one in the export replaces: ``_VERSION``.
    older: pl.DataFrame

    def is_deleted(self, resource_type: str) -> pl.Expr:
        """Whether a resource, by its column ``id``, is deleted."""
        return pl.col("id").is_in(self.deleted.filter(type=resource_type)["id"].implode()).fill_null(False)

    def without_older_versions(self, observations: pl.DataFrame) -> pl.DataFrame:
        """Observations without those that a later version of the same id and patient replaces."""
        if not self.older.height:
            return observations
        told = {"lastUpdated": "meta", "versionId": "meta", "reference": "subject"}
        known = observations.with_columns(
            pl.col(element).str.json_path_match(f"$.{name}").alias(name) for name, element in told.items()
        )
        counting = known.join(self.older, on=_VERSION, how="anti", nulls_equal=True, maintain_order="left")
        return counting.drop(told)

    def with_specimens(self, labs: pl.DataFrame) -> pl.DataFrame:
        """Laboratory rows with type and time of the specimen that they name, where they have none themselves."""
        named = labs.join(
            self.specimens.rename({"key": "specimen_id"}), on="specimen_id", how="left", maintain_order="left"
        )
        return named.with_columns(
            specimen_type=pl.coalesce("specimen_type", "type"), collected_at=pl.coalesce("collected_at", "taken")
        ).drop("type", "taken")

    def with_medications(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Medication rows with name and codes of the Medication that ``key`` names."""
        named = rows.join(self.medications, on="key", how="left", maintain_order="left")
        return named.with_columns(
            # The reference's own display is often only "prescribed medication".
            drug_name=pl.coalesce("name", "drug_name"),
            atc_code=pl.coalesce("atc_code", "atc"),
            rxcui=pl.coalesce("rxcui", "rxnorm"),
        ).drop("key", "name", "atc", "rxnorm")


class ReferenceSink:
    """Collects the references of all files in the first pass."""

    def __init__(self) -> None:
        self.file = 0
        self._medications = [_no_rows("key", "name", "atc", "rxnorm")]
        self._specimens = [_no_rows("key", "type", "taken")]
        self._deleted = [
            pl.DataFrame(
                schema={
                    "source_row": pl.Int64,
                    "type": pl.String,
                    "id": pl.String,
                    "at": pl.Datetime("us", "UTC"),
                    "file": pl.Int64,
                }
            )
        ]
        self._versions = [_no_rows(*_VERSION)]

    def add(self, resource_type: str, resources: pl.DataFrame) -> None:
        """Keep the facts of a Medication or Specimen, and the versions of Observations; all else is read in the second pass."""
        if resource_type == "Medication":
            self._medications.append(detached(medication_names(resources)))
        elif resource_type == "Specimen":
            self._specimens.append(detached(_specimen_facts(resources)))
        elif resource_type == "Observation":
            self._versions.append(detached(_versions(resources)))

    def add_deletions(self, deletions: pl.DataFrame) -> None:
        """Keep type and id of what is deleted in the current ``file``."""
        url = pl.col("deleted_url").str.extract_groups(_RESOURCE_URL).struct
        named = deletions.select(
            "source_row",
            type=url.field("1"),
            id=url.field("2"),
            at=_moment("deleted_at"),
            file=pl.lit(self.file, pl.Int64),
        )
        self._deleted.append(detached(named.drop_nulls(["type", "id"])))

    def refuse(self, lines: pl.DataFrame, reason: str) -> None:
        """Left to the second pass."""

    def leave_out(self, resources: pl.DataFrame, reason: str) -> None:
        """Left to the second pass."""

    def references(self) -> References:
        """All that was collected."""
        versions = pl.concat(self._versions).drop_nulls("id").with_columns(at=_moment("lastUpdated"))
        return References(
            _first_of_each(self._medications),
            _first_of_each(self._specimens),
            _without_undone(pl.concat(self._deleted), versions),
            set(),
            _older(versions),
        )


def _versions(observations: pl.DataFrame) -> pl.DataFrame:
    """Of Observations: ``_VERSION``."""
    meta, subject = pl.col("meta").struct, pl.col("subject").struct
    return observations.select("id", subject.field("reference"), meta.field("lastUpdated"), meta.field("versionId"))


def _moment(column: str) -> pl.Expr:
    """A FHIR instant; null where it has no zone, and so cannot be compared."""
    text = pl.col(column).str.replace(r"[Zz]$", "+00:00")
    return text.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%:z", time_unit="us", time_zone="UTC", strict=False)


def _older(versions: pl.DataFrame) -> pl.DataFrame:
    """Versions of a result that another replaces, by time where each has one, then by number where each has one; else none.

    The same id of two patients is of two servers whose exports lie together: neither replaces the other.
    """

    def known(claim: pl.Expr) -> pl.Expr:
        return pl.when(claim.is_not_null().all().over(_RESULT)).then(claim).otherwise(0)

    several = versions.filter(pl.len().over(_RESULT) > 1).with_columns(
        time=known(pl.col("at").to_physical()), number=known(pl.col("versionId").cast(pl.Int64, strict=False))
    )
    latest = several.filter(pl.col("time") == pl.col("time").max().over(_RESULT))
    latest = latest.filter(pl.col("number") == pl.col("number").max().over(_RESULT))
    return several.join(latest, on=[*_RESULT, "time", "number"], how="anti", nulls_equal=True).select(_VERSION).unique()


def _without_undone(deleted: pl.DataFrame, versions: pl.DataFrame) -> pl.DataFrame:
    """Deletions without those of Observations that were made again later."""
    made = versions.group_by("id").agg(made_at=pl.col("at").max()).with_columns(type=pl.lit("Observation"))
    again = deleted.join(made, on=["type", "id"], how="left", maintain_order="left")
    return again.filter(~(pl.col("made_at") > pl.col("at")).fill_null(False)).drop("made_at")


def medication_names(medications: pl.DataFrame) -> pl.DataFrame:
    """Of Medication resources: key, name, atc, rxnorm."""
    concept = pl.col("code")
    return medications.select(key="id", name=words(concept), atc=code(concept, "atc"), rxnorm=code(concept, "rxnorm"))


def _specimen_facts(specimens: pl.DataFrame) -> pl.DataFrame:
    collection = pl.col("collection").struct
    start = collection.field("collectedPeriod").struct.field("start")
    return specimens.select(
        key="id", type=words(pl.col("type")), taken=pl.coalesce(collection.field("collectedDateTime"), start)
    )


def _first_of_each(facts: list[pl.DataFrame]) -> pl.DataFrame:
    return pl.concat(facts).drop_nulls("key").unique("key", keep="first", maintain_order=True)


def _no_rows(*columns: str) -> pl.DataFrame:
    return pl.DataFrame(schema=dict.fromkeys(columns, pl.String))
