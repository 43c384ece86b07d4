"""A group of patients who share a cause, and its scenario: the true course and everything around it.

Days count from the midnight that begins the index date: day 0 is that day, day -7 a week earlier.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import polars as pl
from numpy.typing import NDArray

from neutro_simulator.parameters import HOURS_PER_DAY, FloatArray, draw, has, number, texts

BoolArray = NDArray[np.bool_]
DAYS_PER_YEAR = 365.25

MEDICATION = {
    "patient": pl.Int64,
    "drug_name": pl.String,
    "atc_code": pl.String,
    "start_day": pl.Float64,
    "end_day": pl.Float64,
    "route": pl.String,
    "dose": pl.String,
}
MARKER = {"patient": pl.Int64, "day": pl.Float64, "loinc": pl.String, "analyte_name": pl.String, "value": pl.String}
DIAGNOSIS = {"patient": pl.Int64, "code": pl.String, "day": pl.Float64}
ACTION = {
    "patient": pl.Int64,
    "from_day": pl.Float64,
    "cause": pl.String,
    "effect": pl.String,
    "ingredient": pl.String,
    "partner": pl.String,
}
EVENT = {"patient": pl.Int64, "event": pl.String, "day": pl.Float64, "detail": pl.String}


@dataclass(frozen=True)
class Drug:
    """A drug as a medication list writes it: free text, sometimes without an ATC code."""

    ingredient: str | None
    name: str
    atc: str

    @classmethod
    def parse(cls, written: str) -> "Drug":
        """`ingredient|name|ATC`, or `name|ATC` for a drug that causes nothing."""
        *ingredient, name, atc = written.split("|")
        return cls(ingredient[0] if ingredient else None, name, atc)


@dataclass(frozen=True)
class OtherLines:
    """What the other cell lines become, as a fraction of the person's usual value, reached `days` after onset."""

    haemoglobin: float = 1.0
    platelets: float = 1.0
    mcv: float = 1.0
    lymphocytes: float = 1.0
    monocytes: float = 1.0
    days: float = 1.0


CHANGED_LINES = {
    "haemoglobin": "haemoglobin_fraction",
    "platelets": "platelet_fraction",
    "mcv": "mcv_fraction",
    "lymphocytes": "lymphocyte_fraction",
    "monocytes": "monocyte_fraction",
}


@dataclass(frozen=True)
class Scenario:
    """What happens to one group. Arrays hold a value a patient; `anc` a row a patient and a column a step of the grid.

    `visits` are the days a count is planned on (NaN: no visit). `onset_day` is NaN where nothing begins. Medication,
    marker, diagnosis and event frames name the patient by position in the group.

    actions: what explains a fall, from which day (ACTION); empty: the group's cause and ingredient from onset_day on.
    retraction: `cancelled` or `corrected` where the artefact specimen is taken back; else empty text.
    seen_until: the last day of the record, where it ends before the index time.
    """

    anc: FloatArray
    visits: FloatArray
    onset_day: FloatArray
    ingredient: tuple[str | None, ...]
    cycle_days: FloatArray
    age_years: FloatArray
    artefact_visit: FloatArray
    artefact_fraction: FloatArray
    blasts: FloatArray
    bands_fraction: FloatArray
    duffy_null: tuple[str, ...]
    lines: OtherLines = OtherLines()
    medications: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=MEDICATION))
    markers: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=MARKER))
    diagnoses: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=DIAGNOSIS))
    events: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=EVENT))
    actions: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=ACTION))
    retraction: tuple[str, ...] = ()
    seen_until: FloatArray | None = None


@dataclass(frozen=True)
class Group:
    """Patients of one cause before anything happens to them, with the draws and courses a scenario is made of.

    cause: section of simulation.toml the numbers come from (`healthy` where the section is silent).
    laboratory_shares: entry of [laboratories] that says which laboratories the blood is sent to.
    """

    cause: str
    size: int
    rng: np.random.Generator
    days: FloatArray
    laboratory_shares: str = "share"

    def draw(self, name: str) -> FloatArray:
        """A value a patient from the cause's own entry, else from `healthy`."""
        return draw(self.rng, self.cause if has(self.cause, name) else "healthy", name, self.size)

    def usual(self, name: str) -> FloatArray:
        """A value a patient as healthy people have it."""
        return draw(self.rng, "healthy", name, self.size)

    def sets(self, name: str) -> bool:
        """Whether the cause has an entry of its own."""
        return has(self.cause, name)

    def share(self, name: str, section: str | None = None) -> BoolArray:
        """Which patients something happens to, at the share of the section (the cause's own if not named)."""
        chosen: BoolArray = self.rng.random(self.size) < number(section or self.cause, name)
        return chosen

    def delay(self) -> FloatArray:
        """Days between a count worth finding and the visit that finds it."""
        return draw(self.rng, "visits", "late_by_days", self.size)

    def drugs(self, name: str = "drugs", section: str | None = None) -> list[Drug]:
        """A drug a patient from the section's list, all equally likely; the causal drugs of the cause if not named."""
        choices = [Drug.parse(written) for written in texts(section or self.cause, name)]
        return [choices[index] for index in self.rng.integers(0, len(choices), self.size)]

    def other_lines(self, days: float = 1.0) -> OtherLines:
        """The other cell lines as the cause changes them, reached so many days after onset."""
        changed = {line: number(self.cause, name) for line, name in CHANGED_LINES.items() if self.sets(name)}
        return OtherLines(days=days, **changed)

    def steady(self, level: FloatArray) -> FloatArray:
        """A course that never changes."""
        return np.repeat(level[:, None], len(self.days), axis=1)

    def dip(
        self,
        baseline: FloatArray,
        onset: FloatArray,
        fall: FloatArray,
        nadir: FloatArray,
        stay: FloatArray,
        recovery: FloatArray,
    ) -> FloatArray:
        """Exponential fall from baseline to nadir, a stay there, exponential return. All times in days.

        An infinite stay never recovers. A `nadir` above the baseline makes it a rise.
        """
        since = self.days[None, :] - onset[:, None]
        down = np.clip(since / fall[:, None], 0.0, 1.0)
        up = np.clip((since - fall[:, None] - stay[:, None]) / recovery[:, None], 0.0, 1.0)
        log_ratio = np.log(nadir / baseline)[:, None]
        return np.asarray(baseline[:, None] * np.exp(log_ratio * down * (1.0 - up)))

    def drawn_dip(self, baseline: FloatArray, onset: FloatArray, fall: FloatArray, nadir: FloatArray) -> FloatArray:
        """A dip whose stay and recovery are drawn from the cause's nadir_days and recovery_days."""
        return self.dip(baseline, onset, fall, nadir, self.draw("nadir_days"), self.draw("recovery_days"))

    def below(self, anc: FloatArray, limit: float, onset: FloatArray) -> FloatArray:
        """First day at or after onset below the limit; NaN where it never falls so low."""
        low = (anc < limit) & (self.days[None, :] >= onset[:, None])
        return np.where(low.any(axis=1), self.days[low.argmax(axis=1)], np.nan)


def outline(group: Group, anc: FloatArray, planned: FloatArray) -> Scenario:
    """A scenario with a course and visits only; the causes replace what differs."""
    nothing = np.full(group.size, np.nan)
    return Scenario(
        anc=anc,
        visits=planned,
        onset_day=nothing,
        ingredient=(None,) * group.size,
        cycle_days=nothing,
        age_years=group.draw("age_years"),
        artefact_visit=nothing,
        artefact_fraction=np.ones(group.size),
        blasts=np.zeros(group.size),
        bands_fraction=draw(group.rng, "healthy", "bands_fraction", group.size),
        duffy_null=("",) * group.size,
    )


def grid() -> FloatArray:
    """The days of every true course, from the first day of the history to the end of the index date."""
    step = number("grid", "step_hours") / HOURS_PER_DAY
    return np.arange(-number("grid", "history_days"), 1.0 + step, step)


def medications_until(rows: pl.DataFrame, end: FloatArray) -> pl.DataFrame:
    """Medication rows as a record that ends on that day has them: nothing begun later, no end known that is later."""
    last = pl.Series(end[rows["patient"].to_numpy()], dtype=pl.Float64)
    known_end = pl.when(pl.col("end_day") <= last).then("end_day")
    return rows.with_columns(known_end.alias("end_day")).filter(rows["start_day"] <= last)


def ingredients(drugs: list[Drug]) -> tuple[str | None, ...]:
    """The ingredient of each patient's drug."""
    return tuple(drug.ingredient for drug in drugs)


def given(
    drugs: list[Drug], start: FloatArray, end: FloatArray, route: str, dose: str = "", who: BoolArray | None = None
) -> pl.DataFrame:
    """Medication rows, one a patient; a NaN end is still being given; a NaN start is not given at all."""
    rows = pl.DataFrame(
        {
            "patient": np.arange(len(drugs)),
            "drug_name": [drug.name for drug in drugs],
            "atc_code": [drug.atc for drug in drugs],
            "start_day": start,
            "end_day": end,
            "route": [route] * len(drugs),
            "dose": [dose] * len(drugs),
        },
        schema=MEDICATION,
    ).with_columns(pl.col("end_day").fill_nan(None))
    return rows.filter(pl.col("start_day").is_not_nan() if who is None else pl.Series(who & ~np.isnan(start)))


def acting(
    cause: str,
    start: FloatArray,
    drugs: list[Drug] | None = None,
    effect: str | None = None,
    partner: list[Drug] | None = None,
) -> pl.DataFrame:
    """Action rows, one a patient: from that day on the cause explains a fall; a NaN day never acts."""
    nobody = [None] * len(start)
    return pl.DataFrame(
        {
            "patient": np.arange(len(start)),
            "from_day": start,
            "cause": [cause] * len(start),
            "effect": [effect] * len(start),
            "ingredient": nobody if drugs is None else [drug.ingredient for drug in drugs],
            "partner": nobody if partner is None else [drug.ingredient for drug in partner],
        },
        schema=ACTION,
    ).filter(pl.col("from_day").is_not_nan())


def measured(markers: tuple[str, ...], choice: FloatArray, day: FloatArray) -> pl.DataFrame:
    """One marker row a patient: `markers` are `LOINC|name|result`, `choice` the position of the one measured."""
    parts = [markers[int(index)].split("|") for index in choice]
    return pl.DataFrame(
        {
            "patient": np.arange(len(parts)),
            "day": day,
            "loinc": [part[0] for part in parts],
            "analyte_name": [part[1] for part in parts],
            "value": [part[2] for part in parts],
        },
        schema=MARKER,
    ).filter(pl.col("day").is_not_nan())


def coded(code: str, day: FloatArray, who: BoolArray | None = None) -> pl.DataFrame:
    """One diagnosis row a patient (of those chosen)."""
    rows = pl.DataFrame({"patient": np.arange(len(day)), "code": [code] * len(day), "day": day}, schema=DIAGNOSIS)
    return rows if who is None else rows.filter(pl.Series(who))


def happened(event: str, day: FloatArray, detail: Mapping[int, str] | str, who: BoolArray) -> pl.DataFrame:
    """One event row for each chosen patient; details by position, or one for all."""
    rows = pl.DataFrame(
        {
            "patient": np.arange(len(day)),
            "event": [event] * len(day),
            "day": day,
            "detail": [detail if isinstance(detail, str) else detail[index] for index in range(len(day))],
        },
        schema=EVENT,
    )
    return rows.filter(pl.Series(who & ~np.isnan(day)))


def temperatures(group: Group, day: FloatArray, who: BoolArray) -> pl.DataFrame:
    """A measured fever (°C) on that day for each chosen patient."""
    celsius = draw(group.rng, "bystanders", "fever_celsius", len(day))
    return happened("temperature", day, {index: f"{value:.1f}" for index, value in enumerate(celsius)}, who)
