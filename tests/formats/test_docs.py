"""docs/formats.md says what the readers do."""

from pathlib import Path

from neutro_screen.ingest import READERS
from neutro_screen.ingest.describe import formats_page

PAGE = Path(__file__).parents[2] / "docs" / "formats.md"


def test_the_page_is_current() -> None:
    assert PAGE.read_text("utf-8") == formats_page(), "python -m neutro_screen.ingest.describe docs/formats.md"


def test_every_reader_is_on_it() -> None:
    assert all(f"## {name}\n" in formats_page() for name in READERS)
