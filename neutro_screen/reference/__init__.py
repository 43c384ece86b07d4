"""The reference data of the screen, loaded and checked once.

Clinical numbers, code lists, units and drugs are rows of the files beside this module; nothing of them is in code.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import pairwise

import polars as pl

from neutro_schemas import SEVERITIES
from neutro_schemas import reference as contract
from neutro_screen.errors import ConfigurationError, ReferenceDataError
from neutro_screen.reference.causality import CauseReference, load_cause_reference
from neutro_screen.reference.drugs import DrugTables, read_drug_tables
from neutro_screen.reference.policy import Policy, load_policy, policy_of_run
from neutro_screen.reference.tables import FOLDER, reference_table
from neutro_screen.text import match_key

__all__ = [
    "FOLDER",
    "Policy",
    "Reference",
    "load_cause_reference",
    "load_drug_tables",
    "load_policy",
    "load_reference",
    "policy_of_run",
    "reference_table",
    "unit_factors",
]

#: What a profile calls a test that is no business of the screen.
NO_ANALYTE = "none"


@dataclass(frozen=True)
class Reference:
    """The reference tables, each as described by its model in ``neutro_schemas.reference``."""

    analytes: pl.DataFrame
    lab_codes: pl.DataFrame
    unit_factors: pl.DataFrame
    no_result_words: pl.DataFrame
    comparator_words: pl.DataFrame
    remark_words: pl.DataFrame
    row_count_words: pl.DataFrame
    status_words: pl.DataFrame
    anc_bands: pl.DataFrame
    grade_bands: pl.DataFrame
    reasons: pl.DataFrame
    drift_rules: pl.DataFrame
    #: a source's own spelling of a unit -> a spelling that is read
    unit_spellings: Mapping[str, str] = field(default_factory=dict)
    specimen_words: Mapping[str, str] = field(default_factory=dict)

    @property
    def below_cells_per_ul(self) -> dict[str, float]:
        """Severity -> the ANC in cells/uL that it lies below (SEV-1); "normal" has no such limit."""
        limits = self.anc_bands.filter(pl.col("upper").is_not_null())
        return dict(limits.select("severity", "upper").iter_rows())

    def worded_by(self, policy: Policy) -> "Reference":
        """This reference with the numbers of a policy in the words of its reasons.

        Raises:
            ReferenceDataError: words name a number that the policy does not have.
        """
        numbers = {section: getattr(policy, section) for section in type(policy).model_fields}
        numbers["below"] = self.below_cells_per_ul
        try:
            words = [text.format(**numbers) for text in self.reasons["words"]]
        except (AttributeError, KeyError) as error:
            raise ReferenceDataError(f"words name an unknown number: {error}", where="reasons.csv") from None
        return replace(self, reasons=self.reasons.with_columns(words=pl.Series(words, dtype=pl.String)))

    def extended_by(
        self,
        analytes: Mapping[str, str],
        statuses: Mapping[str, str],
        units: Mapping[str, str] | None = None,
        specimens: Mapping[str, str] | None = None,
    ) -> "Reference":
        """This reference with a source's own test names (-> analyte), status words (-> status), units and specimens
        (-> blood or other) on top.

        Raises:
            ConfigurationError: an analyte or status does not exist.
        """
        known = {row["analyte"]: (row["cell"], row["dimension"]) for row in self.analytes.iter_rows(named=True)}
        known[NO_ANALYTE] = (None, None)
        if unknown := sorted(set(analytes.values()) - known.keys()):
            raise ConfigurationError(
                f"unknown analytes {unknown}",
                where="profile [analytes]",
                remedy=f"Known: {', '.join(sorted(self.analytes.filter('feeds_anc')['analyte']))} and others; "
                f'"{NO_ANALYTE}" for a test that is no business of the screen.',
            )
        meanings = set(self.status_words["status"])
        if unknown := sorted(set(statuses.values()) - meanings):
            raise ConfigurationError(f"unknown statuses {unknown}", where="profile [statuses]")
        codes = pl.DataFrame(
            [
                {
                    "system": "local_name",
                    "code": name,
                    "cell": known[analyte][0],
                    "dimension": known[analyte][1],
                    "method": "any",
                    "excluded": "profile" if analyte == NO_ANALYTE else None,
                    "source": "profile",
                }
                for name, analyte in analytes.items()
            ],
            schema=self.lab_codes.schema,
        ).with_columns(code=match_key(pl.col("code")))
        words = pl.DataFrame(
            [
                {"match_key": word, "system": "profile", "status": status, "source": "profile"}
                for word, status in statuses.items()
            ],
            schema=self.status_words.schema,
        ).with_columns(match_key=match_key(pl.col("match_key")))
        return replace(
            self,
            unit_spellings=units or {},
            specimen_words=specimens or {},
            lab_codes=pl.concat([codes, self.lab_codes.join(codes, on=["system", "code"], how="anti")]),
            status_words=pl.concat(
                [words, self.status_words.join(words, on="match_key", how="anti", nulls_equal=True)]
            ),
        )


@cache
def load_reference() -> Reference:
    """Read and check every reference table.

    Raises:
        ReferenceDataError: a table does not fit its contract, limits leave a gap or overlap, or a LOINC code is
            mistyped (its check digit is wrong).
    """
    markers = load_cause_reference()
    reference = Reference(
        analytes=pl.concat([reference_table("analytes.csv", contract.Analyte), _marker_analytes(markers)]),
        lab_codes=pl.concat([reference_table("lab_codes.csv", contract.LabCode), _marker_codes(markers)]),
        unit_factors=unit_factors(),
        no_result_words=reference_table("no_result_words.csv", contract.NoResultWord),
        comparator_words=reference_table("comparator_words.csv", contract.ComparatorWord),
        remark_words=reference_table("remark_words.csv", contract.RemarkWord),
        row_count_words=reference_table("row_count_words.csv", contract.RowCountWord),
        status_words=reference_table("status_words.csv", contract.StatusWord),
        anc_bands=reference_table("anc_bands.csv", contract.AncBand).sort("lower"),
        grade_bands=reference_table("grade_bands.csv", contract.GradeBand),
        reasons=reference_table("reasons.csv", contract.Reason),
        drift_rules=reference_table("drift_rules.csv", contract.DriftRule),
    )
    check_ladder(reference.anc_bands.rename({"severity": "step"}), "anc_bands.csv")
    if tuple(reference.anc_bands["severity"]) != SEVERITIES[::-1]:
        raise ReferenceDataError("bands are not in the order of severity", where="anc_bands.csv")
    for (system, age), ladder in reference.grade_bands.group_by("system", "age_from_days", maintain_order=True):
        check_ladder(
            ladder.sort("grade", descending=True).rename({"grade": "step"}), f"grade_bands.csv {system} from day {age}"
        )
    _check_loinc(reference.lab_codes)
    unknown = reference.lab_codes.filter(pl.col("cell").is_not_null()).join(reference.analytes, on="cell", how="anti")
    if unknown.height:
        raise ReferenceDataError(f"codes of unknown cells: {unknown['cell'].to_list()}", where="lab_codes.csv")
    return reference


@cache
def unit_factors() -> pl.DataFrame:
    """The units of counts and percentages by themselves, for readers, which need no other table."""
    return reference_table("unit_factors.csv", contract.UnitFactor)


@cache
def load_drug_tables() -> DrugTables:
    """The drug tables, read and checked once; see ``reference.drugs``."""
    return read_drug_tables(FOLDER)


def _marker_analytes(causes: CauseReference) -> pl.DataFrame:
    markers = causes.markers.select("marker").unique().sort("marker")
    return markers.select(
        analyte="marker",
        cell="marker",
        dimension=pl.lit("marker"),
        canonical_unit=pl.lit(""),
        feeds_anc=pl.lit(False),
        in_differential=pl.lit(False),
        highest_plausible=pl.lit(float("inf")),
        usual_high=pl.lit(None, pl.Float64),
        typical_reference_high=pl.lit(None, pl.Float64),
        label=pl.col("marker").str.replace_all("_", " "),
        source=pl.lit("markers.csv"),
    )


def _marker_codes(causes: CauseReference) -> pl.DataFrame:
    return causes.marker_codes.select(
        "system",
        "code",
        cell="marker",
        dimension=pl.lit("marker"),
        method=pl.lit("any"),
        excluded=pl.lit(None, pl.String),
        source="source",
    )


def check_ladder(bands: pl.DataFrame, where: str) -> None:
    """Check that bands, lowest first, cover zero to infinity without gap or overlap.

    Needs columns ``lower`` and ``upper``; limits that are the row's own LLN (``uses_lln``) may be open.

    Raises:
        ReferenceDataError: naming the place.
    """
    rows = bands.to_dicts()
    if rows[0]["lower"] != 0 or (rows[-1]["upper"] is not None):
        raise ReferenceDataError("the bands do not reach from zero upwards without end", where=where)
    for below, above in pairwise(rows):
        meets_at_lln = below.get("uses_lln") == "upper" and above.get("uses_lln") == "lower"
        if below["upper"] != above["lower"] or (below["upper"] is None and not meets_at_lln):
            raise ReferenceDataError(f"gap or overlap between {below['step']} and {above['step']}", where=where)
        if below.get("upper_inclusive", False) == above.get("lower_inclusive", True):
            raise ReferenceDataError(
                f"{below['step']} and {above['step']} both claim their limit, or none", where=where
            )


def loinc_check_digit(number: str) -> int:
    """The mod-10 check digit of a LOINC number's leading part (LOINC Users' Guide, appendix C)."""
    doubled = str(int(number[::-1][0::2][::-1]) * 2)
    kept = number[::-1][1::2][::-1]
    return -sum(int(digit) for digit in doubled + kept) % 10


def _check_loinc(codes: pl.DataFrame) -> None:
    for code in codes.filter(pl.col("system") == "loinc")["code"]:
        number, _, digit = code.partition("-")
        if not digit.isdigit() or int(digit) != loinc_check_digit(number):
            raise ReferenceDataError(f"LOINC {code} has a wrong check digit", where="lab_codes.csv")
