"""Proof of an installation on the user's own machine, for a laboratory's accreditation file (``doctor --self-test``).

Four groups of checks: what is installed, the grades that known counts get, the sample hospital in every format, and what
the store promises. Everything is written into private folders that are gone afterwards; no store of the user is opened.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path

from neutro_screen.admin.doctor import Finding
from neutro_screen.admin.self_test.hospital import SampleHospital, sample_answers, sample_forms
from neutro_screen.admin.self_test.installed import library_versions, program_files, reference_files
from neutro_screen.admin.self_test.known_counts import clozapine_steps, grades
from neutro_screen.admin.self_test.promises import folder_takes_files, store_promises
from neutro_screen.errors import NeutroScreenError

__all__ = ["SampleHospital", "self_test"]


def self_test(
    hospital: SampleHospital, place: Path, progress: Callable[[str], None] = lambda group: None
) -> list[Finding]:
    """Every check in order; one that fails never stops the next.

    ``place``: the folder in which the stores of the test are made, the one whose disk is meant to hold the real store.
    """
    progress("what is installed")
    found = [
        *_taken("program files", program_files),
        *_taken("reference tables", reference_files),
        *_taken("libraries", library_versions),
    ]
    usable = folder_takes_files(place)
    if usable.state != "ok":
        return [*found, usable]
    with tempfile.TemporaryDirectory(prefix=".neutro-screen-self-test-", dir=place) as name:
        folder = Path(name)
        progress("grades of known counts")
        found += _taken("grades", lambda: grades(folder))
        found += _taken("clozapine schedules", lambda: clozapine_steps(folder))
        progress("the sample hospital in every format")
        found += _taken("sample hospital", lambda: sample_answers(hospital, folder))
        found += sample_forms(hospital, folder)
        progress("what the store promises")
        promised = folder / "promises"
        promised.mkdir(mode=0o700)
        found += [usable, *_taken("store", lambda: store_promises(hospital, promised))]
    return found


def _taken(group: str, check: Callable[[], list[Finding]]) -> list[Finding]:
    """The findings of a group of checks; what breaks the group off is a finding, too."""
    try:
        return check()
    except NeutroScreenError as error:
        return [Finding(group, "failed", str(error))]
    except OSError as error:
        return [Finding(group, "failed", error.strerror or type(error).__name__)]
