"""Every row of the dirty-data table (FORMATS.md D): a laboratory's rows in, what the screen makes of them out.

The number in a test's name is the row of the table; docs/dirt.md lists what is done about each and where.
"""

from typing import Literal

import pytest

from neutro_screen.ingest.profile import Profile
from tests.clinic import anc_of, judged, notes, reasons, screened
from tests.spec.conftest import Case


def unknown(text: str) -> list[tuple[str, str]]:
    """Who cannot be assessed, and why."""
    return screened(text).cannot_assess.select("patient_id", "reason").rows()


@pytest.mark.parametrize(
    ("text", "counts", "comparator", "severity"),
    [
        ("<0.1", 100, "<", "profound"),
        ("<0,1", 100, "<", "profound"),
        ("<0.5 L", 500, "<", "severe"),
        ("< 0.1 K/uL", 100, "<", "profound"),
        ("<2.0", 2000, "<", None),
        (">400", 400000, ">", "normal"),
    ],
)
def test_dirt_01_a_comparator_is_kept_and_graded_by_what_it_proves(
    text: str, counts: float, comparator: str, severity: str | None, case: Case
) -> None:
    row = case.anc("loinc | value | unit\n751-8 | {text} | 10*9/L\n6690-2 | 450 | 10*9/L")
    assert (row["anc_cells_per_ul"], row["anc_comparator"], row["severity"]) == (counts, comparator, severity)


@pytest.mark.parametrize(
    ("text", "counts", "comparator"),
    [
        ("&lt;0.1", 100, "<"),
        ("LT 0.1", 100, "<"),
        ("kleiner als 0,1", 100, "<"),
        ("menor que 0,1", 100, "<"),
        ("=0.4", 400, None),
        ("L 0.4", 400, None),
        ("HH 0.4", 400, None),
        ("*0.4", 400, None),
        ("0.4 ↓", 400, None),
        ("↓ 0.4", 400, None),
        ("0.4 (L)", 400, None),
        ("0.4 critical", 400, None),
    ],
)
def test_dirt_01_signs_words_and_flags_around_a_number(
    text: str, counts: float, comparator: str | None, case: Case
) -> None:
    row = case.anc("loinc | value | unit\n751-8 | {text} | 10*9/L\n6690-2 | 450 | 10*9/L")
    assert (row["anc_cells_per_ul"], row["anc_comparator"]) == (counts, comparator)


@pytest.mark.parametrize("text", ["<>0.4", "0.3-0.4", "(0.4)", "HH12", "0.4 0.5"])
def test_dirt_01_what_leaves_the_number_open_is_refused(text: str) -> None:
    assert reasons(f"loinc | value | unit\n751-8 | {text} | 10*9/L") == ["unparseable_value"]


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("TNP", "not_performed"),
        ("QNS", "quantity_not_sufficient"),
        ("CLOTTED", "clotted"),
        ("HEMOLYZED", "hemolyzed"),
        ("CANCELLED", "cancelled"),
        ("SEE COMMENT", "see_comment"),
        ("SEE COMMENT 0.4", "see_comment"),
        ("PENDING", "pending"),
        ("___", "removed"),
        (".", "see_comment"),
        ("-", "blank"),
        ("DNR", "not_performed"),
        ("NR", "not_performed"),
        ("NOT PERF", "not_performed"),
        ("Unable to calculate", "not_performed"),
        ("WBC TOO LOW FOR DIFF", "not_performed"),
        ("----", "null_word"),
        ("++++", "null_word"),
        ("***", "null_word"),
        ("?", "null_word"),
        ("#N/A", "null_word"),
        ("geronnen", "clotted"),
        ("COAGULÉ", "clotted"),
        ("muestra insuficiente", "quantity_not_sufficient"),
        ("не выполнено", "not_performed"),
    ],
)
def test_dirt_02_an_attempt_without_a_result_is_told_by_kind_and_its_patient_is_unknown(
    word: str, kind: str, case: Case
) -> None:
    table = "loinc | value\n751-8 | {word}"
    rows, split = case.judged(table)
    assert case.of(rows.no_results)["no_result"].to_list() == [kind]
    assert split.rejected.height == 0
    assert case.unknown(table) == [kind]


COMMA_LAB = """
    patient | lab | loinc | value | unit
    1       | A   | 751-8 | 1,234 | 10*9/L
    2       | A   | 751-8 | 4,5   | 10*9/L
    3       | A   | 751-8 | 0,35  | 10*9/L
    4       | A   | 751-8 | 2,75  | 10*9/L
"""


def test_dirt_03_three_digits_after_a_comma_are_read_by_the_laboratorys_other_values() -> None:
    counts = screened(COMMA_LAB).anc.sort("patient_id")["anc_cells_per_ul"].to_list()
    assert counts == [1234, 4500, 350, 2750]
    a_single_other_value = "\n".join(COMMA_LAB.strip().splitlines()[:3])
    assert reasons(a_single_other_value) == ["ambiguous_decimal"]


def test_dirt_03_another_laboratory_or_another_analyte_says_nothing() -> None:
    assert reasons(COMMA_LAB.replace("1       | A", "1       | B")) == ["ambiguous_decimal"]
    assert reasons(COMMA_LAB.replace("A   | 751-8 | 1,234", "A   | 6690-2 | 1,234")) == ["ambiguous_decimal"]


def test_dirt_03_where_a_point_is_the_decimal_mark_the_comma_groups_thousands() -> None:
    _rows, split = judged("""
        patient | lab | loinc | value | unit
        1       | A   | 777-3 | 1,234 | 10*9/L
        2       | A   | 777-3 | 250.5 | 10*9/L
        3       | A   | 777-3 | 99.5  | 10*9/L
        4       | A   | 777-3 | 310.0 | 10*9/L
    """)
    assert split.accepted["value"].to_list() == [1234, 250.5, 99.5, 310]


@pytest.mark.parametrize(
    ("text", "value"), [("2,40,000", 240), ("12,40,000", 1240), ("1,20,500.5", 120.5005), ("1,234,000", 1234)]
)
@pytest.mark.parametrize("mark", [None, "."])
def test_dirt_03_lakhs_are_grouped_by_two_digits(text: str, value: float, mark: Literal["."] | None) -> None:
    _rows, split = judged(f"loinc | value | unit\n777-3 | {text} | /uL", profile=Profile(decimal_mark=mark))
    assert split.accepted["value"].to_list() == [value]


def test_dirt_03_a_laboratory_that_writes_both_is_left_undecided() -> None:
    assert reasons(COMMA_LAB + "5 | A | 751-8 | 3.5 | 10*9/L\n6 | A | 751-8 | 3.75 | 10*9/L") == ["ambiguous_decimal"]


@pytest.mark.parametrize(
    ("value", "unit", "mark", "counts"),
    [
        ("1,234", "10*9/L", ",", 1234),
        ("1.234", "/uL", ",", 1234),
        ("1,234", "/uL", ".", 1234),
        ("1,234", "/uL", None, 1234),
        ("1.234,5", "/uL", None, 1234.5),
    ],
)
def test_dirt_03_a_profile_may_state_the_mark(value: str, unit: str, mark: str | None, counts: float) -> None:
    _, split = judged(f"loinc | value | unit\n751-8 | {value} | {unit}", profile=Profile(decimal_mark=mark))
    assert split.accepted["value"].to_list() == [counts / 1000]


def test_dirt_03_a_text_that_does_not_keep_to_the_stated_mark_is_refused() -> None:
    _, split = judged("loinc | value\n751-8 | 0,35", profile=Profile(decimal_mark="."))
    assert split.rejected["reason"].to_list() == ["ambiguous_decimal"]


@pytest.mark.parametrize(
    "unit", ["10^3/\u00b5L", "10^3/\u03bcL", "\u00a010^3/uL\u00a0", "\u00d710\u00b3/\u00b5L", "K/\u00b5l"]
)
def test_dirt_04_both_micro_signs_and_hard_spaces_are_one_unit(unit: str, case: Case) -> None:
    assert case.anc("loinc | value | unit\n751-8 | \u00a02.5\u00a0 | {unit}")["anc_cells_per_ul"] == 2500


def test_dirt_05_leading_zeros_stay_and_a_number_shortened_by_a_spreadsheet_is_no_patient() -> None:
    _rows, split = judged("""
        patient  | loinc | value
        007      | 751-8 | 2.0
        7        | 751-8 | 2.0
        1.2E+11  | 751-8 | 0.2
        3E10     | 751-8 | 2.0
    """)
    assert split.accepted["patient_id"].to_list() == ["007", "7", "3E10"]
    assert split.rejected["reason"].to_list() == ["damaged_patient_id"]


def test_dirt_05_a_shortened_specimen_number_does_not_merge_two_draws() -> None:
    result = screened("""
        specimen | collected        | resulted         | loinc | value
        2.02E+11 | 2026-02-01 08:00 | 2026-02-01 09:00 | 751-8 | 0.3
        2.02E+11 | 2026-02-02 08:00 | 2026-02-02 09:00 | 751-8 | 3.0
    """)
    assert result.anc["anc_cells_per_ul"].to_list() == [300, 3000]
    assert all("specimen_id_damaged" in notes(row) for row in result.anc.to_dicts())


def test_dirt_06_and_07_the_same_result_twice_is_one_result_without_a_conflict() -> None:
    row = anc_of("""
        loinc | value | resulted
        751-8 | 0.8   | 2026-02-01 09:00
        751-8 | 0.8   | 2026-02-01 09:00
    """)
    assert row["anc_cells_per_ul"] == 800
    assert notes(row) == set()


def test_dirt_08_of_two_values_without_a_status_the_later_counts_and_of_one_time_the_lower() -> None:
    later = anc_of("loinc | value | resulted\n751-8 | 0.8 | 2026-02-01 09:00\n751-8 | 2.8 | 2026-02-01 10:00")
    assert later["anc_cells_per_ul"] == 2800
    same = anc_of("loinc | value | resulted\n751-8 | 2.8 | 2026-02-01 09:00\n751-8 | 0.8 | 2026-02-01 09:00")
    assert (same["anc_cells_per_ul"], "conflicting_results" in notes(same)) == (800, True)


@pytest.mark.parametrize("turned", [False, True])
def test_dirt_09_and_10_a_correction_counts_whichever_arrives_first(turned: bool) -> None:
    lines = ["751-8 | 4.0 | F | 2026-02-01 09:00", "751-8 | 0.4 | C | 2026-02-01 10:00"]
    table = "loinc | value | status | resulted\n" + "\n".join(lines[::-1] if turned else lines)
    assert anc_of(table)["anc_cells_per_ul"] == 400


def test_dirt_10_a_final_after_the_correction_is_not_what_it_corrected() -> None:
    row = anc_of("""
        loinc | value | status | resulted
        751-8 | 4.0   | C      | 2026-02-01 09:00
        751-8 | 0.4   | F      | 2026-02-01 11:00
    """)
    assert (row["anc_cells_per_ul"], row["severity"]) == (400, "severe")
    assert "conflicting_results" in notes(row)


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ("W", "result_withdrawn"),
        ("D", "result_withdrawn"),
        ("entered-in-error", "result_withdrawn"),
        ("X", "cancelled"),
    ],
)
@pytest.mark.parametrize("value", ["0.4", "-"])
def test_dirt_11_what_is_taken_back_no_longer_screens_and_its_patient_is_unknown(
    status: str, reason: str, value: str, case: Case
) -> None:
    table = """
        loinc | value   | status   | resulted
        751-8 | 0.4     | F        | 2026-02-01 09:00
        751-8 | {value} | {status} | 2026-02-01 12:00
    """
    assert case.screened(table).anc.height == 0
    assert case.unknown(table) == [reason]


def test_dirt_11_an_error_report_without_value_and_time_takes_the_result_back_and_a_cancelled_line_does_not() -> None:
    def standing(status: str) -> int:
        return screened(f"loinc | value | status\n751-8 | 3.0 | F\n751-8 | - | {status}").anc.height

    assert standing("W") == 0
    assert standing("X") == 1  # a cancelled duplicate order beside a result


def test_dirt_11_the_right_result_after_a_wrong_one_counts() -> None:
    table = """
        loinc | value | status | resulted
        751-8 | 0.3   | W      | 2026-02-01 09:00
        751-8 | 2.4   | F      | 2026-02-01 10:00
    """
    assert anc_of(table)["anc_cells_per_ul"] == 2400
    assert unknown(table) == []


def test_dirt_12_a_preliminary_low_count_screens_and_a_preliminary_normal_one_ends_no_episode() -> None:
    low = """
        specimen | collected        | loinc | value | status
        S1       | 2026-02-01 08:00 | 751-8 | 0.4   | P
    """
    first = screened(low)
    assert first.anc["severity"].to_list() == ["severe"]
    assert "preliminary" in notes(first.anc.to_dicts()[0])
    then = screened(low + "S2 | 2026-02-08 08:00 | 751-8 | 2.4 | P")
    assert then.episode["ended_at"].to_list() == [None]
    confirmed = screened(low + "S2 | 2026-02-08 08:00 | 751-8 | 2.4 | P\nS2 | 2026-02-08 08:00 | 751-8 | 2.4 | F")
    assert confirmed.episode["ended_at"].null_count() == 0


def test_dirt_13_where_the_manual_differential_disagrees_the_lower_screens() -> None:
    row = anc_of("""
        loinc  | value | unit
        6690-2 | 2.0   | 10*9/L
        770-8  | 80    | %
        769-0  | 40    | %
    """)
    assert (row["anc_cells_per_ul"], "differential_discordant" in notes(row)) == (800, True)


def test_dirt_14_a_count_from_a_hundred_cells_carries_its_interval() -> None:
    row = anc_of("""
        loinc  | value | unit
        6690-2 | 1.2   | 10*9/L
        769-0  | 45    | %
    """)
    assert row["anc_low"] < 500 < row["anc_cells_per_ul"] < row["anc_high"]
    assert "near_limit" in notes(row)


@pytest.mark.parametrize(
    ("reported", "outcome"), [("2.1", "agrees"), ("3.0", "anc_discordant"), ("2000", "unit_suspect")]
)
def test_dirt_15_the_reported_count_is_held_against_white_cells_times_percent(
    reported: str, outcome: str, case: Case
) -> None:
    row = case.anc("""
        loinc  | value      | unit
        751-8  | {reported} | K/uL
        6690-2 | 4.0        | K/uL
        770-8  | 50         | %
    """)
    assert ("anc_discordant" in notes(row)) == (outcome == "anc_discordant")
    assert row["anc_method"] == ("wbc_percent" if outcome == "unit_suspect" else "reported")


def test_dirt_16_a_differential_that_sums_to_one_is_in_fractions_and_is_refused() -> None:
    result = screened("""
        loinc  | value | unit
        6690-2 | 5.0   | 10*9/L
        770-8  | 0.55  | %
        736-9  | 0.35  | %
        5905-5 | 0.10  | %
    """)  # read as per cent the patient would have 27 neutrophils
    assert result.anc.height == 0
    assert result.contradicted.select("analyte", "reason").rows() == [("neut_pct", "unit_suspect")]
    assert "unit_suspect" in result.cannot_assess["reason"].to_list()


def test_dirt_16_a_fraction_code_is_taken_as_a_fraction() -> None:
    row = anc_of("""
        loinc   | value | unit
        6690-2  | 5.0   | 10*9/L
        71676-1 | 0.55  | 1
    """)
    assert row["anc_cells_per_ul"] == 2750


@pytest.mark.parametrize(
    ("loinc", "value", "unit", "reason"),
    [
        ("770-8", "101", "%", "percent_out_of_range"),
        ("770-8", "-1", "%", "negative_value"),
        ("751-8", "-0.5", "10*9/L", "negative_value"),
    ],
)
def test_dirt_17_impossible_values_are_refused_and_never_clipped(
    loinc: str, value: str, unit: str, reason: str, case: Case
) -> None:
    table = "loinc | value | unit\n{loinc} | {value} | {unit}"
    assert case.reasons(table) == [reason]
    assert case.unknown(table) == [reason]


def test_dirt_18_zero_is_real_unless_the_whole_differential_is_zero() -> None:
    assert anc_of("loinc | value\n751-8 | 0\n6690-2 | 0.9")["severity"] == "profound"
    assert unknown("loinc | value | unit\n6690-2 | 6 | 10*9/L\n770-8 | 0 | %\n736-9 | 0 | %") == [
        ("1", "differential_all_zero")
    ]


@pytest.mark.parametrize(("value", "reason"), [("9999999", "unit_suspect"), ("-1", "negative_value")])
def test_dirt_19_a_sentinel_is_no_value_where_the_profile_names_it_and_refused_where_it_does_not(
    value: str, reason: str
) -> None:
    table = f"loinc | value\n751-8 | {value}"
    assert reasons(table) == [reason]
    rows, split = judged(table, profile=Profile(sentinels=(value,)))
    assert (rows.no_results.height, split.rejected.height) == (1, 0)


@pytest.mark.parametrize(
    ("more", "counts", "noted"),
    [
        ("18309-5 | 100 | /100{WBC}", 600, True),  # 2.0 are half nucleated red cells
        ("18309-5 | 5   | /100{WBC}", 1200, False),
        ("12227-5 | 1.0 | 10*9/L\n18309-5 | 100 | /100{WBC}", 600, False),  # the laboratory has corrected them
    ],
)
def test_dirt_20_nucleated_red_cells_are_taken_out_of_the_white_cells_once(
    more: str, counts: float, noted: bool, case: Case
) -> None:
    row = case.anc("loinc | value | unit\n6690-2 | 2.0 | 10*9/L\n770-8 | 60 | %\n{more}")
    assert row["anc_cells_per_ul"] == counts
    assert ("wbc_corrected_for_nrbc" in notes(row)) == noted


def test_dirt_20_a_reported_count_is_not_refuted_by_white_cells_corrected_twice() -> None:
    row = anc_of("loinc | value | unit\n751-8 | 1.5 | 10*9/L\n6690-2 | 2.0 | 10*9/L\n18309-5 | 50 | /100{WBC}")
    assert (row["anc_cells_per_ul"], row["anc_method"]) == (1500, "reported")


@pytest.mark.parametrize("comment", ["Platelet clumps seen", "cold AGGLUTININ", "repeat in citrate"])
def test_dirt_21_a_clumping_comment_lowers_confidence_and_the_count_still_screens(comment: str, case: Case) -> None:
    row = case.anc("loinc | value | comment\n751-8 | 0.9 | {comment}")
    assert ("possible_pseudoneutropenia" in notes(row), row["severity"]) == (True, "moderate")


def test_dirt_21_a_low_count_that_the_repeat_within_a_day_does_not_bear_out_may_be_an_artefact() -> None:
    table = """
        specimen | collected        | loinc | value
        S1       | 2026-02-01 08:00 | 751-8 | 0.9
        S2       | {} | 751-8 | 2.4
    """
    soon = screened(table.format("2026-02-01 20:00")).anc.sort("collected_at").to_dicts()
    assert ("possible_pseudoneutropenia" in notes(soon[0]), soon[0]["severity"]) == (True, "moderate")
    assert "possible_pseudoneutropenia" not in notes(soon[1])
    later = screened(table.format("2026-02-03 08:00")).anc.sort("collected_at").to_dicts()
    assert "possible_pseudoneutropenia" not in notes(later[0])


def test_dirt_22_red_cells_that_jump_with_the_count_may_be_another_persons_and_the_flag_stays() -> None:
    result = screened("""
        specimen | collected        | loinc | value | unit
        S1       | 2026-02-01 08:00 | 751-8 | 4.0   | 10*9/L
        S1       | 2026-02-01 08:00 | 787-2 | 88    | fL
        S2       | 2026-02-08 08:00 | 751-8 | 0.9   | 10*9/L
        S2       | 2026-02-08 08:00 | 787-2 | 99    | fL
    """)
    last = result.anc.sort("collected_at").to_dicts()[-1]
    assert ("possible_wrong_blood_in_tube" in notes(last), last["severity"]) == (True, "moderate")


def test_dirt_24_without_a_collection_time_the_result_time_serves_and_says_so() -> None:
    row = anc_of("loinc | value | collected | resulted\n751-8 | 0.9 | - | 2026-02-01 09:00")
    assert (str(row["collected_at"]), row["severity"]) == ("2026-02-01 09:00:00", "moderate")
    assert "collected_from_result_time" in notes(row)


def test_dirt_25_two_results_of_one_day_without_clock_or_specimen_number_screen_on_the_lower() -> None:
    row = anc_of("""
        specimen | collected  | resulted         | loinc | value
        -        | 2026-02-01 | 2026-02-01 09:00 | 751-8 | 0.3
        -        | 2026-02-01 | 2026-02-01 16:00 | 751-8 | 3.0
    """)
    assert row["anc_cells_per_ul"] == 300
    assert notes(row) == {"date_only", "conflicting_results"}


def test_dirt_26_a_time_more_than_a_day_ahead_is_refused_and_its_patient_is_unknown() -> None:
    table = "collected | loinc | value\n2027-02-01 08:00 | 751-8 | 0.3"
    assert reasons(table) == ["future_time"]
    assert unknown(table) == [("1", "future_time")]


def test_dirt_27_a_collection_after_its_result_is_noted_and_never_swapped() -> None:
    row = anc_of("collected | resulted | loinc | value\n2026-02-01 08:00 | 2026-02-01 07:00 | 751-8 | 0.9")
    assert str(row["collected_at"]) == "2026-02-01 08:00:00"
    assert "collected_after_resulted" in notes(row)


@pytest.mark.parametrize(
    ("local", "utc", "note"),
    [
        ("2025-03-09 02:30", "2025-03-09 07:30:00", "time_skipped_by_clock"),
        ("2025-11-02 01:30", "2025-11-02 05:30:00", "time_shown_twice_by_clock"),
        ("2025-11-02 03:30", "2025-11-02 08:30:00", None),
    ],
)
def test_dirt_28_an_hour_that_the_clock_skips_or_shows_twice_is_settled_and_noted(
    local: str, utc: str, note: str | None
) -> None:
    _, split = judged(
        f"collected | loinc | value\n{local} | 751-8 | 0.9", profile=Profile(time_zone="America/New_York")
    )
    row = split.accepted.to_dicts()[0]
    assert (str(row["collected_at"]), row["notes"]) == (utc, note)


@pytest.mark.parametrize("zone", ["Asia/Tokyo", "America/Los_Angeles", "UTC"])
def test_dirt_29_a_day_without_a_clock_stays_that_day_in_every_zone(zone: str) -> None:
    _, split = judged("collected | loinc | value\n2026-02-01 | 751-8 | 0.9", profile=Profile(time_zone=zone))
    assert str(split.accepted["collected_at"][0]) == "2026-02-01 00:00:00"


def test_dirt_30_a_product_on_the_limit_is_on_the_right_side_of_it() -> None:
    row = anc_of("loinc | value | unit\n6690-2 | 1.1 | 10*9/L\n770-8 | 45.45 | %")
    assert (row["anc_cells_per_ul"], row["severity"]) == (499.95, "severe")  # not rounded to 500 first (ANC-7)


@pytest.mark.parametrize("text", ["NaN", "inf", "-Infinity", "1e999"])
def test_dirt_31_nan_and_infinity_are_no_values_and_the_patient_is_unknown(text: str, case: Case) -> None:
    assert case.unknown("loinc | value\n751-8 | {text}") == ["unparseable_value"]


def test_dirt_33_a_unit_that_changes_overnight_is_told_by_the_batch_and_by_the_patients_history() -> None:
    lines = "\n".join(f"{n} | 751-8 | {30 if n == 1 else 2900 + n} | K/uL | X" for n in range(1, 31))
    assert reasons(f"patient | loinc | value | unit | lab\n{lines}") == ["unit_suspect"] * 30
    result = screened("""
        specimen | collected        | loinc | value | unit
        S1       | 2026-02-01 08:00 | 751-8 | 0.05  | K/uL
        S2       | 2026-02-02 08:00 | 751-8 | 52    | K/uL
    """)
    assert result.anc["severity"].to_list() == ["profound"]
    assert "unit_suspect" in result.cannot_assess["reason"].to_list()


def test_dirt_33_a_fall_is_never_refused_for_what_was_before_it() -> None:
    result = screened("""
        specimen | collected        | loinc | value | unit
        S1       | 2026-02-01 08:00 | 751-8 | 12    | K/uL
        S2       | 2026-02-02 08:00 | 751-8 | 0.03  | K/uL
        S3       | 2026-02-03 08:00 | 751-8 | 0     | K/uL
    """)
    assert result.anc["severity"].to_list() == ["normal", "profound", "profound"]
    assert result.patient_status["current_severity"].to_list() == ["profound"]
    assert result.cannot_assess.height == 0


def test_dirt_33_a_recovery_within_the_week_is_believed_up_to_what_a_marrow_can_do() -> None:
    table = """
        specimen | collected        | loinc | value | unit
        S1       | 2026-02-01 08:00 | 751-8 | 0.01  | K/uL
        S2       | {day} 08:00 | 751-8 | {value} | K/uL
    """
    for day, value, severities in (
        ("2026-02-07", "8.9", ["profound", "normal"]),
        ("2026-02-07", "9", ["profound"]),
        ("2026-02-09", "9", ["profound", "normal"]),
    ):
        assert screened(table.format(day=day, value=value)).anc["severity"].to_list() == severities


@pytest.mark.parametrize("before", ["S1 | 2026-02-01 08:00 | 751-8 | > 0.01", "S1 | 2026-02-01 08:00 | 751-8 | 0.01"])
def test_dirt_33_what_says_nothing_of_a_low_count_is_no_history(before: str) -> None:
    refuted_by = ""
    if ">" not in before:  # its own specimen refutes it: 60 % of 6,000
        refuted_by = "S1 | 2026-02-01 08:00 | 6690-2 | 6 | K/uL\nS1 | 2026-02-01 08:00 | 770-8 | 60 | %"
    later = "S2 | 2026-02-02 08:00 | 751-8 | 9.5 | K/uL"
    lines = [f"{before} | K/uL", *refuted_by.splitlines(), later]
    result = screened("\n".join(["specimen | collected | loinc | value | unit", *lines]))
    assert (9500.0, "normal") in result.anc.select("anc_cells_per_ul", "severity").rows()


def test_dirt_33_the_range_of_the_white_cells_gives_away_the_unit_of_the_neutrophils_beside_them() -> None:
    table = """
        loinc  | value | unit | low  | high
        6690-2 | 60    | K/uL | 4000 | 11000
        751-8  | 50    | K/uL | -    | -
    """
    assert reasons(table) == ["unit_suspect", "unit_suspect"]
    assert unknown(table) == [("1", "unit_suspect")]


def test_dirt_35_white_cells_of_other_fluids_are_counted_and_not_screened() -> None:
    rows, _ = judged("""
        name          | specimen_type | loinc   | value | unit
        WBC           | CSF           | -       | 0.1   | 10*9/L
        WBC           | -             | 20408-1 | 2     | /uL
        WBC           | Blood         | -       | 5.1   | 10*9/L
    """)
    assert rows.not_screened.sort("source_row")["not_screened"].to_list() == ["other_specimen", "not_blood: Urine"]
    assert rows.results.height == 1


def test_a_child_born_after_midnight_in_the_east_is_not_refused() -> None:
    import datetime

    import polars as pl

    born = pl.DataFrame({"patient_id": ["1"], "birth_date": [datetime.date(2026, 2, 1)]})
    table = "collected | loinc | value\n{} | 751-8 | 0.9"
    assert reasons(table.format("2026-01-31 23:30"), patients=born) == []  # 00:30 in Berlin
    assert reasons(table.format("2026-01-30 23:30"), patients=born) == ["before_birth"]
