"""Coverage-guided fuzzing of one reader with atheris, which is not among the dev dependencies: pip install atheris.

    nice -n 19 python -m benchmarks.fuzz_guided --reader hl7v2 --file night.hl7 --corpus DIR -runs=20000 -max_len=20000

Inputs that reach new lines of neutro_screen.ingest are kept in DIR and mutated further; the valid sample is the first.
Only Python is instrumented: what goes on inside polars, DuckDB and the parsers guides nothing, but a crash of theirs is
found all the same. Arguments with one dash are libFuzzer's. A finding is written to the working directory as crash-….
"""

import argparse
import contextlib
import sys
import tempfile
from pathlib import Path


def main() -> None:
    """Fuzz until libFuzzer's own limits (-runs, -max_total_time) are reached."""
    import atheris

    options = argparse.ArgumentParser(prog="python -m benchmarks.fuzz_guided", description=__doc__)
    options.add_argument("--reader", required=True)
    options.add_argument("--file", help="which file of a folder format; the first, if not said")
    options.add_argument("--corpus", type=Path, required=True)
    chosen, of_libfuzzer = options.parse_known_args()
    with atheris.instrument_imports(include=["neutro_screen.ingest"]):
        from tests.formats.mutations import QuickSample

    with tempfile.TemporaryDirectory(prefix="neutro-guided-") as folder:
        tempfile.tempdir = folder
        sample = QuickSample(chosen.reader, Path(folder))
        hit = next(path for path in sorted(sample.contents) if chosen.file in (None, path.name))
        chosen.corpus.mkdir(parents=True, exist_ok=True)
        (chosen.corpus / "valid").write_bytes(sample.contents[hit])

        def one_input(content: bytes) -> None:
            with contextlib.redirect_stderr(None):
                sample.outcome_of(hit, content)

        atheris.Setup([sys.argv[0], *of_libfuzzer, str(chosen.corpus)], one_input)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
