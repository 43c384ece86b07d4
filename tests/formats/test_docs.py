"""docs/formats.md says what the readers do; that it is current is tested with the other generated pages."""

import re

from docs.formats_page import formats_page
from neutro_screen.ingest import READERS
from neutro_screen.ingest.formats.fhir.structures import STRUCTURES
from neutro_screen.ingest.profile import Profile
from neutro_screen.reference import load_reference


def test_every_reader_is_on_it() -> None:
    assert all(f"## {name}\n" in formats_page() for name in READERS)


def test_what_is_read_is_on_it() -> None:
    page = formats_page()
    assert all(f"| {resource} |" in page for resource in STRUCTURES)
    assert all(f"`{name}`" in page for name in Profile.model_fields)
    assert all(f"| {analyte} |" in page for analyte in load_reference().analytes["analyte"])
    row = next(line for line in page.splitlines() if line.startswith("| neut_abs |"))
    assert re.findall(r"\b(?:751-8|753-4|26499-4)\b", row) == ["26499-4", "751-8", "753-4"]
