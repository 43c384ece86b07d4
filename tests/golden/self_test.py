"""The records that a self-test compares with: hashes of the reference tables, and of the sample hospital's results.

``python -m tests.golden.self_test`` writes them again, after a change that was meant: of a reference table, or of results.
"""

import sys
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

from neutro_screen.admin.self_test.hospital import EXPECTED, common_digests, result_digests
from neutro_screen.admin.self_test.installed import RECORDED, reference_hashes
from neutro_screen.cli.self_test import sample


def reference_record() -> str:
    """``reference_files.csv`` as it should be now."""
    return _csv("file,sha256", reference_hashes().items())


def expected_record() -> str:
    """``expected_tables.csv`` as it should be now."""
    hospital = sample()
    with TemporaryDirectory() as name:
        whole = result_digests(hospital.screened(hospital.whole, Path(name)))
        common = common_digests(hospital.screened(hospital.forms[0], Path(name)))
    rows = [("whole", *row) for row in whole.items()] + [("every format", *row) for row in common.items()]
    return _csv("source,table,sha256", rows)


def _csv(header: str, rows: Iterable[tuple[str, ...]]) -> str:
    return "\n".join([header, *(",".join(row) for row in rows)]) + "\n"


if __name__ == "__main__":
    RECORDED.write_text(reference_record(), "utf-8")
    EXPECTED.write_text(expected_record(), "utf-8")
    sys.stdout.write(f"{RECORDED.name}, {EXPECTED.name}\n")
