"""docs/walkthrough.md: one patient of the sample hospital, from the rows as read to the worklist."""

import re
from functools import cache
from pathlib import Path

from docs.sample_store import sample_store
from neutro_screen.cli.console import explanation_text
from neutro_screen.store.explain import explain_patient
from neutro_screen.store.file import reading

PATIENT = "P-001"
FOLDER = Path(__file__).parent


def walkthrough_page() -> str:
    """docs/walkthrough.txt, its ``{{ANC}}`` or ``{{SOURCE ROWS, last 9}}`` replaced by what ``explain`` prints."""
    return re.sub(r"\{\{([A-Z ]+)(?:, last (\d+))?\}\}", _section, (FOLDER / "walkthrough.txt").read_text("utf-8"))


@cache
def _sections() -> dict[str, list[str]]:
    with reading(sample_store()) as connection:
        told = explanation_text(explain_patient(connection, PATIENT))
    parts = (part.splitlines() for part in re.split(r"\n\n(?=[A-Z ]+(?:\n|:))", told))
    return {lines[0]: lines[1:] for lines in parts}


def _section(named: re.Match[str]) -> str:
    lines = _sections()[named[1]]
    if named[2]:
        lines = [*lines[:2], " …", *lines[-int(named[2]) :]]
    return "\n".join(["```text", *lines, "```"])
