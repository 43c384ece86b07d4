"""What an installation keeps for later starts: never another version's, never a damaged file, and no condition of a run."""

from pathlib import Path

import pytest

from neutro_screen import made_once
from neutro_screen.made_once import keep, kept
from neutro_screen.recognition.words import Word, Words
from neutro_screen.report.html.parts import escaping_environment
from neutro_screen.store import empty
from neutro_screen.store.connect import attached
from neutro_screen.store.file import publishing, reading
from neutro_screen.store.schema import build

_CATALOG = (
    "SELECT table_name, column_name, data_type, comment FROM duckdb_columns() WHERE NOT internal ORDER BY ALL",
    "SELECT view_name, sql, comment FROM duckdb_views() WHERE NOT internal ORDER BY ALL",
    "SELECT table_name, comment, estimated_size FROM duckdb_tables() WHERE NOT internal ORDER BY ALL",
    "FROM schema_version",
)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = tmp_path / "kept"
    place.mkdir()
    monkeypatch.setattr(made_once, "_FOLDER", place)
    monkeypatch.setattr("sys.dont_write_bytecode", False)
    return place


def test_what_was_kept_comes_back_for_the_same_origin_only() -> None:
    keep("a", b"version 1", b"content")
    assert kept("a", b"version 1") == b"content"
    assert kept("a", b"version 2") is None
    keep("a", b"version 2", b"newer")
    assert (kept("a", b"version 2"), kept("a", b"version 1")) == (b"newer", None)


@pytest.mark.parametrize("position", [0, 31, 32, -1])
def test_a_damaged_or_shortened_file_is_not_used(folder: Path, position: int) -> None:
    keep("a", b"origin", b"content")
    file = next(folder.iterdir())
    whole = bytearray(file.read_bytes())
    file.write_bytes(whole[:position])
    assert kept("a", b"origin") is None
    whole[position] ^= 1
    file.write_bytes(whole)
    assert kept("a", b"origin") is None


def test_nothing_is_kept_where_python_keeps_no_bytecode_or_there_is_no_place(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    keep("a", b"origin", b"content")
    assert not list(folder.iterdir())
    monkeypatch.setattr("sys.dont_write_bytecode", False)
    monkeypatch.setattr(made_once, "_FOLDER", folder / "missing")
    keep("a", b"origin", b"content")
    assert kept("a", b"origin") is None


def catalog(store: Path) -> list[object]:
    with reading(store) as connection:
        return [connection.execute(query).fetchall() for query in _CATALOG]


def test_a_store_from_the_kept_file_is_the_one_that_would_be_built(tmp_path: Path, folder: Path) -> None:
    built = tmp_path / "built.duckdb"
    with attached(built, built) as connection:
        build(connection)
    stores = [tmp_path / f"{number}.duckdb" for number in range(3)]
    for number, store in enumerate(stores):
        if number == 2:
            for file in folder.iterdir():
                file.write_bytes(file.read_bytes()[:-1] + b"!")
        with publishing(store):
            pass
        assert catalog(store) == catalog(built)
        assert store.stat().st_mode & 0o777 == 0o600


def test_a_changed_contract_makes_the_empty_store_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with publishing(tmp_path / "before.duckdb"):
        pass
    view = {"patient_status": ("SELECT 1 AS patient_id", "Another summary.")}
    monkeypatch.setattr(empty, "VIEWS", empty.VIEWS | view)
    empty._origin.cache_clear()
    assert kept("empty.duckdb", empty._origin()) is None
    monkeypatch.undo()
    empty._origin.cache_clear()


def test_compiled_templates_are_kept_and_say_the_same(folder: Path) -> None:
    def rendered() -> str:
        template = escaping_environment().get_template("macros.html.jinja")
        return str(vars(template.make_module({}))["_body_stream"])

    first = rendered()
    assert [file.name.startswith("template-") for file in folder.iterdir()] == [True]
    assert rendered() == first


def test_words_are_taken_apart_once_and_read_the_same(folder: Path) -> None:
    rows = [Word("Neutrófilos", "neutrophils", None, "cell", "any"), Word("white cells", "wbc", None, "cell", "any")]
    first, second = Words(rows, name="words"), Words(rows, name="words")
    assert [file.name.partition(".")[0] for file in folder.iterdir()] == ["words"]
    for text in ("NEUTROFILOS", "White Cells"):
        assert second.read(text) == first.read(text) != ((), ())
    assert Words([Word("red cells", "rbc", None, "cell", "any")], name="words").read("red cells")[0][0].concept == "rbc"
