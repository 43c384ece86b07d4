"""The tables in which the spec tests are written are read as they look."""

import pytest

from tests.spec.tables import table


def test_blank_cells_and_dashes_are_null_and_numbers_stay_text() -> None:
    read = table("""
        patient | day | anc
        A       | -14 | <500

        B       |     | -
    """)
    assert read.rows() == [("A", "-14", "<500"), ("B", None, None)]
    assert read.columns == ["patient", "day", "anc"]


def test_names_without_rows_are_an_empty_table() -> None:
    assert table("patient | first | last").shape == (0, 3)


@pytest.mark.parametrize("row", ["A | 1", "A | 1 | 2 | 3"])
def test_a_row_with_too_many_or_too_few_cells_is_refused(row: str) -> None:
    with pytest.raises(ValueError, match="3 columns"):
        table(f"patient | day | anc\n{row}")
