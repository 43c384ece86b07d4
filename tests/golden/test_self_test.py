"""What the self-test compares with is what the program has: reference tables and results of the sample hospital."""

from neutro_screen.admin.self_test.hospital import EXPECTED
from neutro_screen.admin.self_test.installed import RECORDED
from tests.golden import self_test

AGAIN = "meant to change? python -m tests.golden.self_test writes the record again"


def test_the_recorded_hashes_are_those_of_the_reference_tables() -> None:
    assert RECORDED.read_text("utf-8") == self_test.reference_record(), AGAIN


def test_the_recorded_results_are_those_of_the_sample_hospital() -> None:
    assert EXPECTED.read_text("utf-8") == self_test.expected_record(), AGAIN
