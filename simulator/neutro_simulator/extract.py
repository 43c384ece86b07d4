"""An extract as hospitals send it: seven laboratories, by time of the result, dirt, and the charts beside it."""

from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl

from neutro_simulator.hospital import EXTRACTS, charts
from neutro_simulator.laboratories import LAB_COLUMNS
from neutro_simulator.scale import Part, parts

#: The columns of labs.csv; the specimen's word is the laboratory's own (senders.csv).
EXTRACT_COLUMNS = (*LAB_COLUMNS, "specimen_type")
#: Rows are put in order month by month of their result, so that memory holds one month.
_MONTH = pl.col("resulted_at").str.head(7).fill_null("none")
_OTHER_SPECIMENS = {
    "csf": pl.col("loinc") == "806-0",
    "urine": pl.col("loinc") == "20408-1",
    "serum": pl.col("quantity") == "marker",
}


def simulate_extract(rows: int, seed: int, folder: Path, *, dirt: float = 0.03) -> dict[str, Path]:
    """Writes labs.csv with exactly so many rows and medications, patients, diagnoses and events of the same patients.

    Everything is in the native layout and the same for the same arguments. Laboratory rows come in the order of their
    results, so those of a patient lie apart; laboratories A to G name, code and measure the same counts in seven ways
    (laboratories.csv), with a point or a comma in numbers and specimen words of their own (senders.csv). Fields that hold a comma are
    quoted. Nothing is later than ``index_time`` of [scale] in simulation.toml, but for the dates that are dirt.

    dirt: share of laboratory rows that carry a fault. Returns the path of each kind of file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = {kind: folder / f"{kind}.csv" for kind in EXTRACTS}
    with TemporaryDirectory(dir=folder) as waiting:
        for number, part in enumerate(_cut(parts(seed, dirt, "extract_share", charts), rows)):
            for kind, frame in {"labs": _as_sent(part.labs), **part.charts}.items():
                for (month,), of_month in _by_month(kind, frame):
                    place = Path(waiting) / kind / str(month)
                    place.mkdir(parents=True, exist_ok=True)
                    of_month.write_parquet(place / f"{number:06d}.parquet", compression="lz4")
        for kind, path in paths.items():
            with path.open("wb") as file:
                for place in sorted((Path(waiting) / kind).iterdir()):
                    of_month = pl.read_parquet(place / "*.parquet")
                    if kind == "labs":
                        of_month = of_month.sort("resulted_at", maintain_order=True)
                    of_month.write_csv(file, include_header=file.tell() == 0)
    return paths


def _cut(made: Iterator[Part], rows: int) -> Iterator[Part]:
    """Parts until there are so many laboratory rows; the charts are those of the patients in them."""
    left = rows
    for part in made:
        labs = part.labs.head(left)
        known = labs.select("patient_id").unique()
        yield Part(labs, {kind: chart.join(known, on="patient_id", how="semi") for kind, chart in part.charts.items()})
        left -= len(labs)
        if not left:
            return


def _by_month(kind: str, frame: pl.DataFrame) -> Iterator[tuple[tuple[object, ...], pl.DataFrame]]:
    if kind != "labs":
        return iter([(("all",), frame)])
    return iter(frame.group_by(_MONTH, maintain_order=True))


def _as_sent(labs: pl.DataFrame) -> pl.DataFrame:
    """The rows with each laboratory's decimal mark and word for the specimen."""
    comma = pl.col("value").str.replace(r"(\d)\.(\d)", "${1},${2}")
    specimen = pl.col("blood")
    for name, is_of in _OTHER_SPECIMENS.items():
        specimen = pl.when(is_of).then(name).otherwise(specimen)
    return (
        labs.join(_senders(), on="lab", how="left", maintain_order="left")
        .with_columns(
            pl.when(pl.col("decimal_mark") == ",").then(comma).otherwise("value").alias("value"),
            specimen.alias("specimen_type"),
        )
        .select(EXTRACT_COLUMNS)
    )


@cache
def _senders() -> pl.DataFrame:
    """lab, decimal_mark, and its words for blood, serum, urine and csf (null: it sends none)."""
    with (files("neutro_simulator") / "senders.csv").open("rb") as source:
        return pl.read_csv(source, infer_schema=False)
