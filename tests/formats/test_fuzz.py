"""Damaged files of every reader: each ends accepted, with refused rows, or with exit code 11 or 12.

Some hundred cases; benchmarks/fuzz_readers.py runs as many as there is time for.
"""

import os
from pathlib import Path
from time import process_time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.formats.mutations import WRITERS, Sample

CASES = int(os.environ.get("NEUTRO_FUZZ_CASES", "30"))
OUTCOMES = {"accepted", "refused_rows", "exit_11", "exit_12"}


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Sample]:
    return {name: Sample(name, tmp_path_factory.mktemp(name)) for name in WRITERS}


@pytest.mark.parametrize("name", sorted(WRITERS))
def test_damaged_files(name: str, samples: dict[str, Sample]) -> None:
    @settings(
        max_examples=CASES,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(seed=st.integers(min_value=0, max_value=2**48))
    def never_fails(seed: int) -> None:
        began = process_time()
        assert samples[name].outcome(seed) in OUTCOMES
        assert process_time() - began < 10

    never_fails()


def test_undamaged_samples_are_accepted(samples: dict[str, Sample], tmp_path: Path) -> None:
    from neutro_screen.ingest import ingest

    for name, sample in samples.items():
        extract = ingest(sample.inputs)
        assert extract.labs.height == 12, name
        assert {file.format for file in extract.files} == {sample.format}
