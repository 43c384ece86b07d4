"""A start does not check again what was checked when the package was made; what was changed since is."""

from pathlib import Path

import pytest

from neutro_schemas.reference import NoResultWord
from neutro_screen.errors import ReferenceDataError
from neutro_screen.reference.tables import FOLDER, reference_table
from tests.spec.checked import checked


def test_every_table_fits_its_contract_and_the_record_is_that_of_these_tables() -> None:
    assert (FOLDER / "checked.csv").read_text("utf-8") == checked()


def test_a_table_that_was_changed_is_checked(tmp_path: Path) -> None:
    changed = (FOLDER / "no_result_words.csv").read_text("utf-8").splitlines()
    changed[-1] = "," * changed[0].count(",")
    (tmp_path / "no_result_words.csv").write_text("\n".join(changed), "utf-8")
    with pytest.raises(ReferenceDataError, match="no_result_words"):
        reference_table("no_result_words.csv", NoResultWord, tmp_path)


@pytest.mark.parametrize("line", ["a,b,c,d,e,f,g,h,i", 'word,"open'])
def test_a_line_that_is_none_of_the_table_is_refused_by_name(line: str, tmp_path: Path) -> None:
    """The usual slip: a comma in a text without quotes."""
    table = (FOLDER / "no_result_words.csv").read_text("utf-8")
    (tmp_path / "no_result_words.csv").write_text(f"{table}{line}\n", "utf-8")
    with pytest.raises(ReferenceDataError, match="no_result_words"):
        reference_table("no_result_words.csv", NoResultWord, tmp_path)
