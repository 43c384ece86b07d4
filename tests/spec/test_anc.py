"""From results to one ANC per specimen (RULES.md section 1)."""

import pytest

from tests.clinic import anc_of, notes, reasons, screened
from tests.spec.conftest import Case


def test_anc_1_results_of_one_specimen_number_belong_together_even_if_one_lacks_its_collection_time() -> None:
    row = anc_of("""
        loinc   | value | unit   | collected        | resulted
        6690-2  | 4.0   | 10*9/L | 2026-02-01 08:00 | 2026-02-01 09:00
        770-8   | 50    | %      | -                | 2026-02-01 09:30
    """)
    assert row["anc_cells_per_ul"] == 2000
    assert str(row["collected_at"]) == "2026-02-01 08:00:00"
    assert "collected_from_result_time" in notes(row)


def test_anc_1_without_a_specimen_number_the_collection_time_tells_specimens_apart() -> None:
    result = screened("""
        specimen | collected        | loinc | value
        -        | 2026-02-01 08:00 | 751-8 | 3.0
        -        | 2026-02-02 08:00 | 751-8 | 2.5
    """)
    assert result.anc["specimen_id"].to_list() == ["@2026-02-01T08:00:00", "@2026-02-02T08:00:00"]


def test_anc_1_a_specimen_number_used_again_months_later_does_not_merge_two_blood_counts() -> None:
    result = screened("""
        collected        | loinc | value
        2025-10-01 08:00 | 751-8 | 3.0
        2026-02-01 08:00 | 751-8 | 0.3
    """)
    assert result.anc["anc_cells_per_ul"].to_list() == [3000, 300]
    assert all("specimen_id_reused" in notes(row) for row in result.anc.to_dicts())


@pytest.mark.parametrize(
    ("statuses", "values", "counts"),
    [
        (("preliminary", "final"), ("0.9", "3.9"), 3900),
        (("final", "corrected"), ("0.4", "4.0"), 4000),
        (("F", "C"), ("4.0", "0.4"), 400),
        (("final", "amended"), ("0.4", "4.0"), 4000),
        (("final", "entered-in-error"), ("3.0", "0.1"), 3000),
        (("corrected", "preliminary"), ("0.4", "4.0"), 400),
    ],
)
def test_anc_2_a_correction_beats_a_final_and_a_final_a_preliminary(
    statuses: tuple[str, str], values: tuple[str, str], counts: float
) -> None:
    table = "loinc | value | status\n" + "\n".join(f"751-8 | {v} | {s}" for v, s in zip(values, statuses, strict=True))
    assert anc_of(table)["anc_cells_per_ul"] == counts


def test_anc_2_of_two_finals_the_later_resulted_counts() -> None:
    row = anc_of("""
        loinc | value | resulted
        751-8 | 2.0   | 2026-02-01 09:00
        751-8 | 3.0   | 2026-02-01 11:00
    """)
    assert row["anc_cells_per_ul"] == 3000
    assert "conflicting_results" not in notes(row)


def test_anc_2_of_two_different_finals_with_the_same_time_the_lower_counts_and_the_conflict_is_noted() -> None:
    row = anc_of("""
        loinc | value | resulted
        751-8 | 3.0   | 2026-02-01 09:00
        751-8 | 0.4   | 2026-02-01 09:00
    """)
    assert (row["anc_cells_per_ul"], row["severity"]) == (400, "severe")
    assert "conflicting_results" in notes(row)


def test_anc_2_a_later_cancellation_takes_the_result_back_and_the_patient_cannot_be_assessed() -> None:
    result = screened("""
        loinc | value     | status    | resulted
        751-8 | 3.0       | final     | 2026-02-01 09:00
        751-8 | -         | cancelled | 2026-02-01 10:00
    """)
    assert result.anc.height == 0
    status = result.patient_status.to_dicts()[0]
    assert status["current_severity"] is None


def test_anc_2_a_correction_to_no_result_takes_the_result_back() -> None:
    result = screened("""
        loinc | value   | status    | resulted
        751-8 | 3.0     | final     | 2026-02-01 09:00
        751-8 | CLOTTED | corrected | 2026-02-01 10:00
    """)
    assert result.anc.height == 0


def test_anc_3_the_reported_count_is_preferred_and_every_route_is_kept() -> None:
    row = anc_of("""
        loinc  | value | unit
        751-8  | 2.10  | 10*9/L
        6690-2 | 4.0   | 10*9/L
        770-8  | 50    | %
    """)
    assert (row["anc_cells_per_ul"], row["anc_method"]) == (2100, "reported")
    assert (row["anc_reported"], row["anc_from_percent"]) == (2100, 2000)


def test_anc_3_segs_and_bands_are_added_and_beat_the_percentage() -> None:
    row = anc_of("""
        loinc   | value | unit
        30451-9 | 1.0   | 10*9/L
        26507-4 | 0.2   | 10*9/L
        6690-2  | 4.0   | 10*9/L
        770-8   | 30    | %
    """)
    assert (row["anc_cells_per_ul"], row["anc_method"]) == (1200, "segs_and_bands")


def test_anc_3_a_manual_differential_beats_the_automated_one() -> None:
    row = anc_of("""
        loinc   | value | unit
        6690-2  | 10.0  | 10*9/L
        770-8   | 45    | %
        769-0   | 40    | %
        764-1   | 2     | %
    """)
    assert (row["anc_cells_per_ul"], row["anc_method"]) == (4200, "wbc_percent_manual")
    assert "differential_discordant" not in notes(row)


@pytest.mark.parametrize(("automated", "manual", "counts"), [("80", "40", 800), ("20", "60", 400)])
def test_anc_3_where_manual_and_automated_disagree_across_a_limit_the_lower_screens(
    automated: str, manual: str, counts: float, case: Case
) -> None:
    row = case.anc("""
        loinc  | value       | unit
        6690-2 | 2.0         | 10*9/L
        770-8  | {automated} | %
        769-0  | {manual}    | %
    """)
    assert row["anc_cells_per_ul"] == counts
    assert "differential_discordant" in notes(row)


def test_anc_3_bands_are_never_added_to_total_neutrophils() -> None:
    row = anc_of("""
        loinc   | value
        751-8   | 1.4
        26507-4 | 0.3
    """)
    assert row["anc_cells_per_ul"] == 1400


@pytest.mark.parametrize(
    ("neutrophils", "bands", "others", "percent", "is_incomplete"),
    [
        ("50", "10", "40", 60, False),  # 50 + 10 + 40 = 100: the bands stand beside the neutrophils
        ("50", "10", "50", 50, False),  # 50 + 50 = 100: the bands are inside already
        ("50", "10", "20", 50, True),  # neither sums: neutrophils alone
        ("60", "3", "37", 63, False),  # 100 with, 97 without: with is nearer to 100
        ("60", "3", "40", 60, False),  # 100 without, 103 with: inside
    ],
)
def test_anc_4_bands_count_only_where_the_classes_sum_to_100_with_them(
    neutrophils: str, bands: str, others: str, percent: float, is_incomplete: bool, case: Case
) -> None:
    row = case.anc("""
        loinc   | value         | unit
        6690-2  | 10.0          | 10*9/L
        26511-6 | {neutrophils} | %
        26508-2 | {bands}       | %
        26478-8 | {others}      | %
    """)
    assert row["anc_cells_per_ul"] == percent * 100
    assert ("differential_incomplete" in notes(row)) == is_incomplete


def test_anc_4_metamyelocytes_do_not_count() -> None:
    row = anc_of("""
        loinc   | value | unit
        6690-2  | 10.0  | 10*9/L
        769-0   | 30    | %
        764-1   | 5     | %
        740-1   | 15    | %
        737-7   | 50    | %
    """)
    assert row["anc_cells_per_ul"] == 3500


@pytest.mark.parametrize(
    ("reported", "is_discordant"), [("2.50", False), ("2.51", True), ("1.70", False), ("1.66", True)]
)
def test_anc_5_a_reported_count_far_from_the_computed_one_is_kept_and_noted(
    reported: str, is_discordant: bool, case: Case
) -> None:
    # computed 2000; allowed is the larger of 200 cells/uL and 20 % of the reported value
    row = case.anc("""
        loinc  | value      | unit
        751-8  | {reported} | 10*9/L
        6690-2 | 4.0        | 10*9/L
        770-8  | 50         | %
    """)
    assert row["anc_cells_per_ul"] == float(reported) * 1000
    assert ("anc_discordant" in notes(row)) == is_discordant


@pytest.mark.parametrize(
    ("text", "severity"),
    [
        ("<0.1", "profound"),
        ("< 0.1", "profound"),
        ("<0.5", "severe"),
        ("<1.0", "moderate"),
        ("<1.5", "mild"),
        ("<2.0", None),
        (">0.9", "moderate"),
        ("> 20", "normal"),
        ("<=0.5", "moderate"),
        ("\u22640.1", "severe"),
        ("less than 0.1", "profound"),
    ],
)
def test_anc_6_a_censored_result_is_graded_by_what_it_proves(text: str, severity: str | None, case: Case) -> None:
    row = case.anc("loinc | value\n751-8 | {text}")
    assert row["severity"] == severity
    assert row["anc_comparator"] in ("<", "<=", ">")


def test_anc_6_below_two_proves_nothing_and_is_never_normal() -> None:
    result = screened("loinc | value\n751-8 | <2.0")
    assert result.patient_status["current_severity"].to_list() == [None]
    assert result.cannot_assess["reason"].to_list() == ["indeterminate"]


@pytest.mark.parametrize("white_cells", ["6690-2", "804-5"])  # by a machine, and counted by hand
def test_anc_6_a_bound_of_the_white_cells_is_kept_however_they_were_counted(white_cells: str, case: Case) -> None:
    row = case.anc("""
        loinc         | value | unit
        {white_cells} | <1.0  | 10*9/L
        770-8         | 40    | %
    """)
    assert (row["anc_comparator"], row["anc_cells_per_ul"], row["severity"]) == ("<", 400, "severe")


def test_anc_6_a_censored_white_cell_count_bounds_the_computed_count() -> None:
    row = anc_of("""
        loinc  | value | unit
        6690-2 | <0.1  | 10*9/L
        770-8  | 50    | %
    """)
    assert (row["anc_cells_per_ul"], row["anc_comparator"], row["severity"]) == (50, "<", "profound")


@pytest.mark.parametrize(
    ("value", "unit", "severity"),
    [
        ("499.6", "/uL", "severe"),
        ("0.4996", "10*9/L", "severe"),
        ("500", "/uL", "moderate"),
        ("0.5", "10*9/L", "moderate"),
        ("0.1", "10*9/L", "severe"),
        ("0.0999", "10*9/L", "profound"),
        ("1.0", "10*9/L", "mild"),
        ("1.5", "10*9/L", "normal"),
        ("1499.99", "/uL", "mild"),
    ],
)
def test_anc_7_nothing_is_rounded_before_it_is_compared(value: str, unit: str, severity: str, case: Case) -> None:
    assert case.anc("loinc | value | unit\n751-8 | {value} | {unit}")["severity"] == severity


def test_anc_7_floating_point_noise_does_not_move_a_value_across_a_limit() -> None:
    row = anc_of("""
        loinc  | value | unit
        6690-2 | 2.3   | 10*9/L
        770-8  | 65.217391304347826 | %
    """)  # 2.3 x 65.217391304347826 % is 1.5 on paper and 1.4999999999999998 in a computer
    assert row["severity"] == "normal"


@pytest.mark.parametrize("text", ["NaN", "nan", "inf", "-inf", "Infinity"])
def test_anc_7_nan_and_infinity_are_no_counts(text: str) -> None:
    assert reasons(f"loinc | value\n751-8 | {text}") == ["unparseable_value"]


@pytest.mark.parametrize(
    ("value", "unit", "loinc", "reason"),
    [
        ("2.0", "-", "751-8", "unit_missing"),
        ("2.0", "furlongs", "751-8", "unit_unknown"),
        ("2.0", "10*6/uL", "751-8", "unit_unknown"),
        ("120", "%", "770-8", "percent_out_of_range"),
        ("-1", "%", "770-8", "negative_value"),
        ("-0.1", "10*9/L", "751-8", "negative_value"),
        ("501", "10*9/L", "6690-2", "implausible_value"),
        ("4500", "K/uL", "751-8", "unit_suspect"),
        ("about two", "10*9/L", "751-8", "unparseable_value"),
        ("2.0-2.5", "10*9/L", "751-8", "unparseable_value"),
        ("1,234", "10*9/L", "751-8", "ambiguous_decimal"),
        ("4.500", "/uL", "751-8", "ambiguous_decimal"),
        ("0.45", "1", "751-8", "unit_unknown"),
    ],
)
def test_anc_9_what_cannot_be_trusted_is_refused_with_its_reason(
    value: str, unit: str, loinc: str, reason: str, case: Case
) -> None:
    table = "loinc | value | unit\n{loinc} | {value} | {unit}"
    assert case.reasons(table) == [reason]
    assert case.screened(table).anc.height == 0


@pytest.mark.parametrize(
    ("patient", "collected", "reason"),
    [
        ("-", "2026-02-01 08:00", "missing_patient_id"),
        ("1", "-", "missing_time"),
        ("1", "yesterday", "unreadable_time"),
        ("1", "2026-03-03 08:00", "future_time"),
        ("1", "1879-12-31 08:00", "impossible_time"),
        ("1", "0000-01-01 08:00", "impossible_time"),
        ("1", "9999-12-31 08:00", "impossible_time"),
    ],
)
def test_anc_9_rows_without_patient_or_time_are_refused(patient: str, collected: str, reason: str) -> None:
    assert reasons(f"patient | collected | loinc | value\n{patient} | {collected} | 751-8 | 2.0") == [reason]


def test_anc_9_a_collection_time_within_a_day_of_the_run_is_accepted() -> None:
    assert reasons("collected | loinc | value\n2026-03-02 02:00 | 751-8 | 2.0") == []


def test_anc_9_a_count_above_the_white_cells_is_refused_and_the_low_white_cells_still_screen() -> None:
    result = screened("""
        loinc  | value
        751-8  | 3.0
        6690-2 | 0.8
    """)
    assert result.contradicted["reason"].to_list() == ["anc_exceeds_wbc"]
    assert result.anc.select("anc_cells_per_ul", "anc_method", "severity").to_dicts() == [
        {"anc_cells_per_ul": 800, "anc_method": "wbc_upper_bound", "severity": "moderate"}
    ]


def test_anc_9_fifty_cells_labelled_thousands_are_found_by_the_white_cells_and_the_percentage() -> None:
    result = screened("""
        loinc  | value | unit
        751-8  | 50    | K/uL
        6690-2 | 60    | K/uL
        770-8  | 0.08  | %
    """)
    assert result.contradicted["reason"].to_list() == ["unit_suspect"]


@pytest.mark.parametrize(("value", "is_suspect"), [("99.9", False), ("100", True), ("268.5", True)])
def test_anc_9_a_huge_count_that_no_white_cells_bear_out_is_a_unit_error(
    value: str, is_suspect: bool, case: Case
) -> None:
    alone = case.screened("loinc | value | unit\n751-8 | {value} | 10*3/uL")
    assert case.of(alone.contradicted)["reason"].to_list() == (["unit_suspect"] if is_suspect else [])
    row = case.anc("""
        loinc  | value   | unit
        751-8  | {value} | 10*3/uL
        6690-2 | 290     | 10*3/uL
    """)
    assert row["severity"] == "normal"


def test_anc_9_a_reference_range_in_other_units_gives_the_unit_away() -> None:
    assert reasons("loinc | value | unit | low | high\n751-8 | 50 | K/uL | 1500 | 8000") == ["unit_suspect"]


def test_anc_9_a_batch_whose_median_is_a_thousand_times_too_high_is_refused_as_a_whole() -> None:
    lines = "\n".join(f"{n} | 751-8 | {60 if n == 1 else 300 + n} | K/uL | X" for n in range(1, 26))
    told = reasons(f"patient | loinc | value | unit | lab\n{lines}")
    assert told == ["unit_suspect"] * 25


def test_anc_9b_a_refused_result_makes_the_patient_unassessable_until_a_usable_one_arrives() -> None:
    refused = """
        specimen | collected        | loinc | value | unit
        S1       | 2026-02-01 08:00 | 751-8 | 3.0   | 10*9/L
        S2       | 2026-02-08 08:00 | 751-8 | 0.05  | -
    """
    result = screened(refused)
    assert result.cannot_assess.select("patient_id", "reason").to_dicts() == [
        {"patient_id": "1", "reason": "unit_missing"}
    ]
    assert result.patient_status["current_severity"].to_list() == [None]
    later = screened(refused + "S3 | 2026-02-09 08:00 | 751-8 | 2.0 | 10*9/L")
    assert later.cannot_assess.height == 0
    assert later.patient_status["current_severity"].to_list() == ["normal"]


def test_anc_9b_a_count_that_its_own_specimen_refutes_leaves_the_patient_unknown_not_normal() -> None:
    result = screened("""
        specimen | collected        | loinc  | value | unit
        S1       | 2026-02-01 08:00 | 751-8  | 3.0   | 10*9/L
        S2       | 2026-02-08 08:00 | 751-8  | 50    | 10*9/L
        S2       | 2026-02-08 08:00 | 6690-2 | 6.0   | 10*9/L
    """)
    assert "anc_exceeds_wbc" in result.cannot_assess["reason"].to_list()
    assert result.patient_status["current_severity"].to_list() == [None]


def test_anc_9b_a_clotted_specimen_is_a_missing_result_not_a_normal_one() -> None:
    result = screened("loinc | value\n751-8 | CLOTTED")
    assert result.cannot_assess["reason"].to_list() == ["clotted"]
    assert result.anc.height == 0


@pytest.mark.parametrize(("wbc", "severity"), [("0.05", "profound"), ("0.4", "severe"), ("1.49", "mild")])
def test_anc_10_low_white_cells_without_a_differential_bound_the_count(wbc: str, severity: str, case: Case) -> None:
    row = case.anc("loinc | value\n6690-2 | {wbc}")
    assert (row["severity"], row["anc_method"], row["anc_comparator"]) == (severity, "wbc_upper_bound", "<=")


@pytest.mark.parametrize(
    ("wbc", "reason"),
    [("1.5", "wbc_low_no_differential"), ("1.99", "wbc_low_no_differential"), ("2.0", "no_differential")],
)
def test_anc_10_white_cells_of_1500_or_more_without_a_differential_are_unknown(
    wbc: str, reason: str, case: Case
) -> None:
    table = "loinc | value\n6690-2 | {wbc}"
    assert case.screened(table).anc.height == 0
    assert case.unknown(table) == [reason]


@pytest.mark.parametrize(
    ("rows", "severity", "anc"),
    [
        # A differential that lists only the classes that were seen: no line of neutrophils, since there were none.
        ("6690-2 | 3.0 | 10*9/L\n736-9 | 95 | %\n5905-5 | 5 | %", "profound", 0),
        ("6690-2 | 3.0 | 10*9/L\n736-9 | 88 | %\n5905-5 | 2 | %", "severe", 300),
        ("6690-2 | 3.0 | 10*9/L\n736-9 | 60 | %\n5905-5 | 3 | %\n713-8 | 2 | %\n706-2 | 1 | %", "mild", 1020),
        ("6690-2 | 3.04 | 10*9/L\n736-9 | 95.3 | %\n5905-5 | 4.0 | %", "profound", 21.28),
        # Below 1,500 white cells the classes bound closer than the white cells alone.
        ("6690-2 | 1.2 | 10*9/L\n736-9 | 90 | %", "severe", 120),
        ("6690-2 | 1.2 | 10*9/L\n736-9 | <5 | %", "mild", 1200),
        # Blasts counted by hand are not added to the classes of a machine that may have called them lymphocytes.
        ("6690-2 | 30 | 10*9/L\n709-6 | 98 | %\n736-9 | 97 | %", "moderate", 600),
        # What leaves room for a normal count, adds up to too much, or is "more than", bounds nothing.
        ("6690-2 | 6.0 | 10*9/L\n736-9 | 30 | %\n5905-5 | 8 | %", None, None),
        ("6690-2 | 3.0 | 10*9/L\n736-9 | 95 | %\n5905-5 | 15 | %", None, None),
        ("6690-2 | >3.0 | 10*9/L\n736-9 | 95 | %\n5905-5 | 5 | %", None, None),
        # Variant lymphocytes may be counted among the lymphocytes as well.
        ("6690-2 | 3.0 | 10*9/L\n736-9 | 45 | %\n13046-8 | 40 | %", None, None),
        # The same of classes that are counted: lymphocytes 731-0, monocytes 742-7, eosinophils 711-2, basophils 704-7.
        ("6690-2 | 2.4 | 10*9/L\n731-0 | 1.9 | 10*9/L\n742-7 | 0.3 | 10*9/L", "severe", 200),
        ("6690-2 | 2400 | /uL\n731-0 | 1900 | /uL\n742-7 | 0.3 | 10*9/L\n704-7 | 0.12 | 10*9/L", "profound", 80),
        ("6690-2 | 3.0 | 10*9/L\n731-0 | 2.9 | 10*9/L\n742-7 | 0.12 | 10*9/L", "profound", 0),
        ("6690-2 | 3.0 | 10*9/L\n731-0 | 1.8 | 10*9/L\n736-9 | 90 | %", "severe", 300),
        ("6690-2 | 6.0 | 10*9/L\n731-0 | 2.0 | 10*9/L", None, None),
        ("6690-2 | 3.0 | 10*9/L\n731-0 | 3.9 | 10*9/L", None, None),
        ("6690-2 | 3.0 | 10*9/L\n731-0 | <2.9 | 10*9/L", None, None),
        ("6690-2 | >3.0 | 10*9/L\n731-0 | 2.9 | 10*9/L", None, None),
    ],
)
def test_anc_10_what_the_other_classes_leave_of_the_white_cells_bounds_the_count(
    rows: str, severity: str | None, anc: float | None, case: Case
) -> None:
    counts = case.of(case.screened("loinc | value | unit\n{rows}").anc).to_dicts()
    assert [(row["severity"], row["anc_cells_per_ul"]) for row in counts] == ([(severity, anc)] if severity else [])
    assert all(row["anc_comparator"] == "<=" for row in counts)


def test_anc_10_of_classes_counted_twice_the_counting_version_bounds_and_a_neutrophil_line_goes_before_them() -> None:
    twice = anc_of("""
        loinc  | value | status | resulted
        6690-2 | 3.0   | F      | 2026-02-01 09:00
        731-0  | 0.9   | F      | 2026-02-01 09:00
        731-0  | 2.7   | C      | 2026-02-01 10:00
    """)
    assert (twice["anc_cells_per_ul"], twice["anc_method"]) == (300, "differential_upper_bound")
    reported = anc_of("loinc | value\n6690-2 | 3.0\n731-0 | 2.7\n751-8 | 1.9")
    assert (reported["anc_cells_per_ul"], reported["anc_method"]) == (1900, "reported")


def test_anc_10_a_differential_not_done_at_the_lowest_white_cells_is_profound() -> None:
    row = anc_of("""
        loinc  | value    | unit
        6690-2 | <=0.1    | 10*9/L
        770-8  | Not done | %
    """)
    assert row["severity"] in ("severe", "profound")
    assert row["anc_cells_per_ul"] == 100


def test_anc_10_granulocytes_prove_a_low_count_and_never_a_normal_one() -> None:
    low = anc_of("loinc | value\n30394-1 | 0.4")
    assert (low["severity"], low["anc_method"]) == ("severe", "granulocyte_upper_bound")
    high = screened("loinc | value\n30394-1 | 4.0")
    assert high.anc["severity"].to_list() == [None]
    assert high.patient_status["current_severity"].to_list() == [None]


@pytest.mark.parametrize(
    ("rows", "severity", "anc"),
    [
        # A three-part analyser that reports its granulocytes in per cent.
        ("6690-2 | 4.0 | 10*9/L\n30395-8 | 12 | %", "severe", 480),
        ("6690-2 | 4.0 | 10*9/L\n30395-8 | <10 | %", "severe", 400),
        ("6690-2 | <0.5 | 10*9/L\n30395-8 | 10 | %", "profound", 50),
        # What was counted wins over what is computed.
        ("6690-2 | 4.0 | 10*9/L\n30395-8 | 12 | %\n30394-1 | 0.6 | 10*9/L", "moderate", 600),
        # Polymorphonuclear cells without a name are no more than granulocytes.
        ("35003-3 | 0.4 | 10*9/L", "severe", 400),
        ("6690-2 | 4.0 | 10*9/L\n34999-3 | 12 | %", "severe", 480),
        # High ones clear nobody, and a lower limit bounds nothing from above.
        ("6690-2 | 4.0 | 10*9/L\n30395-8 | 80 | %", None, 3200),
        ("6690-2 | 4.0 | 10*9/L\n30395-8 | >10 | %", None, None),
        ("6690-2 | >4.0 | 10*9/L\n30395-8 | 10 | %", None, None),
        ("30394-1 | >0.3 | 10*9/L", None, None),
        ("6690-2 | >0.3 | 10*9/L", None, None),
        # A differential of nothing but zeros, or of fractions that are called per cent, was no differential.
        ("6690-2 | 4.0 | 10*9/L\n30395-8 | 0 | %\n736-9 | 0 | %\n5905-5 | 0 | %", None, None),
        ("6690-2 | 4.0 | 10*9/L\n30395-8 | 0.2 | %\n736-9 | 0.7 | %\n5905-5 | 0.1 | %", None, None),
    ],
)
def test_anc_10_granulocytes_in_per_cent_bound_the_count_with_the_white_cells(
    rows: str, severity: str | None, anc: float | None
) -> None:
    found = screened(f"loinc | value | unit\n{rows}")
    assert found.contradicted["analyte"].to_list() == (["gran_pct"] if "0.7" in rows else [])
    assert found.anc["severity"].to_list() in ([severity], [] if severity is None else [severity])
    assert found.anc["anc_cells_per_ul"].to_list() == ([] if anc is None else [anc])
    if severity is None:
        assert found.patient_status["current_severity"].to_list() in ([None], [])


def test_anc_10_zero_is_a_real_count() -> None:
    assert anc_of("loinc | value\n751-8 | 0")["severity"] == "profound"


def test_anc_10_zero_beside_an_all_zero_differential_is_a_missing_count() -> None:
    result = screened("""
        loinc   | value | unit
        6690-2  | 6.0   | 10*9/L
        770-8   | 0     | %
        736-9   | 0     | %
        5905-5  | 0     | %
    """)
    assert result.anc.height == 0
    assert result.cannot_assess["reason"].to_list() == ["differential_all_zero"]


@pytest.mark.parametrize(
    "word",
    [
        "TNP",
        "QNS",
        "CLOTTED",
        "Hemolyzed",
        "SEE COMMENT",
        "PENDING",
        "cancelled",
        "___",
        "-",
        "QNS - recollect",
        "COMPUTER NETWORK FAILURE. TEST NOT RESULTED.",
    ],
)
def test_anc_11_words_in_place_of_a_value_are_no_results_not_errors(word: str) -> None:
    from tests.clinic import judged

    rows, split = judged(f"loinc | value\n751-8 | {word}")
    assert rows.no_results.height == 1
    assert split.rejected.height == 0


def test_anc_12_an_old_specimen_and_a_clumping_comment_are_noted_and_still_screen() -> None:
    row = anc_of("""
        loinc | value | resulted         | comment
        751-8 | 0.9   | 2026-02-03 08:00 | platelet clumps seen
    """)
    assert notes(row) >= {"aged_specimen", "possible_pseudoneutropenia"}
    assert row["severity"] == "moderate"


@pytest.mark.parametrize(
    ("text", "unit", "counts"),
    [
        ("0,35", "10*9/L", 350),
        ("1,5", "10*9/L", 1500),
        ("1,234", "/uL", 1234),
        ("1.234,5", "/uL", 1234.5),
        ("1,234.5", "/uL", 1234.5),
        (" 4.5 H", "10*9/L", 4500),
        ("4.5 10*9/L", "10*9/L", 4500),
    ],
)
def test_decimal_and_thousands_marks_are_read_where_they_are_clear(
    text: str, unit: str, counts: float, case: Case
) -> None:
    assert case.anc("loinc | value | unit\n751-8 | {text} | {unit}")["anc_cells_per_ul"] == counts


@pytest.mark.parametrize(
    ("unit", "counts"),
    [
        ("10*9/L", 2000),
        ("K/uL", 2000),
        ("x10^3/\u00b5L", 2000),
        ("\u00d710\u2079/L", 2000),
        ("G/L", 2000),
        ("Gpt/l", 2000),
        ("/uL", 2),
        ("cells/mm3", 2),
    ],
)
def test_the_same_number_in_different_units(unit: str, counts: float, case: Case) -> None:
    assert case.anc("loinc | value | unit\n751-8 | 2 | {unit}")["anc_cells_per_ul"] == counts


def test_one_label_for_count_and_percentage_is_decided_by_the_unit() -> None:
    row = anc_of("""
        name        | value | unit
        WBC         | 5.0   | 10*9/L
        Neutrophils | 40    | %
    """)
    assert (row["anc_cells_per_ul"], row["anc_method"]) == (2000, "wbc_percent")
    assert anc_of("name | value | unit\nNeutrophils | 2.5 | 10*9/L")["anc_method"] == "reported"


def test_counts_of_urine_and_spinal_fluid_are_not_screened() -> None:
    from tests.clinic import judged

    rows, _ = judged("""
        name | specimen_type | loinc  | value | unit
        WBC  | Urine         | -      | 0.1   | 10*9/L
        WBC  | -             | 5821-4 | 0.1   | 10*9/L
        WBC  | CSF           | 6690-2 | 0.1   | 10*9/L
        WBC  | Blood         | -      | 5.1   | 10*9/L
    """)
    assert (rows.not_screened.height, rows.results.height) == (3, 1)


@pytest.mark.parametrize(
    ("name", "value", "unit", "refused"),
    [
        ("WBC", "5.2", "/uL", True),
        ("ANC", "1.8", "cells/uL", True),
        ("ANC", "5", "cells/uL", False),
        ("ANC", "0", "cells/uL", False),
        ("ANC", "45.6", "cells/uL", False),
        ("ANC", "19.5", "/uL", True),
        ("ANC", "20.5", "/uL", False),
        ("WBC", "5200", "10^3/uL", True),
    ],
)
def test_anc_9_a_unit_error_is_refused_in_both_directions(name: str, value: str, unit: str, refused: bool) -> None:
    assert reasons(f"name | value | unit\n{name} | {value} | {unit}") == (["unit_suspect"] if refused else [])


def test_anc_9_a_percentage_column_whose_values_all_lie_in_0_to_1_is_a_fraction() -> None:
    fractions = [f"P{place} | NEUT% | {value} | %" for place, value in enumerate(("0.45", "0.6", "0.52", "0", "1"))]
    header = "patient | name | value | unit\n"
    assert set(reasons(header + "\n".join(fractions))) == {"unit_suspect"}
    assert reasons(header + "\n".join(fractions[:4])) == []
    assert reasons(header + "\n".join([*fractions, "P9 | NEUT% | 55 | %"])) == []
    assert reasons(header + "\n".join(f"P{place} | NEUT% | 0 | %" for place in range(9))) == []
    assert reasons(header + "\n".join(f"P{place} | BASO% | 0.6 | %" for place in range(9))) == []


def test_anc_9_a_specimen_whose_every_line_is_zero_is_missing_and_not_critical() -> None:
    text = "name | value | unit\nWBC | 0.0 | 10*9/L\nANC | 0.0 | 10*9/L\nHGB | {} | g/L\nPlatelets | 0 | 10*9/L"
    blank = screened(text.format("0"))
    assert blank.anc.is_empty()
    assert blank.cannot_assess["reason"].to_list() == ["specimen_all_zero"]
    assert screened(text.format("80")).anc["severity"].to_list() == ["profound"]
    assert screened("name | value\nANC | 0").anc["severity"].to_list() == ["profound"]
