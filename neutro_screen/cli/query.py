"""Commands that show what a store holds, or write it out."""

import json
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from neutro_screen.cli.output import AsJson, Quiet, progress_on_terminal, warn, write, write_result
from neutro_screen.errors import ConfigurationError
from neutro_screen.pipeline.options import FileName

Priority = Literal["critical", "high", "medium", "low", "info"]


def worklist(
    *, store: Path, priority: Priority | None = None, new: bool = False, csv: bool = False, json_: AsJson = False
) -> None:
    """Show the current worklist, most urgent first.

    Example: ``neutro-screen worklist --store screen.duckdb --priority high``

    Parameters
    ----------
    store
        The DuckDB file.
    priority
        Only this priority and more urgent ones.
    new
        Only patients that are new since the run before.
    csv
        Print CSV.
    json_
        Print JSON.
    """
    from neutro_screen.cli.console import worklist_text
    from neutro_screen.store.file import reading
    from neutro_screen.store.review import current_worklist

    with reading(store) as connection:
        rows = current_worklist(connection, at_least=priority, only_new=new)
    if csv:
        from neutro_screen.report.csv import harmless

        write(harmless(rows).write_csv())
    else:
        write(rows.write_json() if json_ else worklist_text(rows))


def explain(patient_id: str, *, store: Path, json_: AsJson = False) -> None:
    """Show one patient: source rows, choices made, ANC, rules fired with their numbers, suspects, evidence.

    Example: ``neutro-screen explain P-001 --store screen.duckdb``

    Parameters
    ----------
    patient_id
        The patient's identifier as in the extract.
    store
        The DuckDB file.
    json_
        Print JSON.
    """
    from neutro_screen.cli.console import explanation_text
    from neutro_screen.store.explain import explain_patient
    from neutro_screen.store.file import reading

    with reading(store) as connection:
        explanation = explain_patient(connection, patient_id)
    write(json.dumps(explanation, indent=2, default=str) if json_ else explanation_text(explanation))


def report(
    *,
    store: Path,
    reports: Path,
    run: str | None = None,
    csv_bom: bool = False,
    quiet: Quiet = False,
    json_: AsJson = False,
) -> None:
    """Write the reports of a run again.

    Example: ``neutro-screen report --store screen.duckdb --reports reports``

    Parameters
    ----------
    store
        The DuckDB file.
    reports
        Folder for report.html, flagged.csv and flags.csv.
    run
        Which run; default the latest.
    csv_bom
        CSV files for Excel: a byte order mark, and an apostrophe before ids that Excel would turn into numbers.
    quiet
        Show nothing but errors.
    json_
        Print the path of the page as JSON.
    """
    from neutro_screen.pipeline.report import report_again

    with progress_on_terminal(quiet or json_) as show:
        show("writing the reports")
        page = report_again(store, reports, run, byte_order_mark=csv_bom, warn=warn)
    write_result({"report": page}, str(page), quiet, json_)


def export(
    *,
    store: Path,
    to: FileName,
    as_: Annotated[Literal["parquet", "fhir", "omop-cohort"], Parameter(name="--as")] = "parquet",
    quiet: Quiet = False,
    json_: AsJson = False,
) -> None:
    """Write the results in another tool's form, into a folder or onto object storage.

    Example: ``neutro-screen export --store screen.duckdb --to s3://bucket/screen --as fhir``

    Parameters
    ----------
    store
        The DuckDB file.
    to
        A folder, or the address of one; the run's own folder is made in it.
    as_
        parquet: every table and view; fhir: counts, open rows and their patients as R4 NDJSON; omop-cohort: cohort and
        cohort_definition of the CDM 5.4 as CSV and Parquet.
    quiet
        Show nothing but errors.
    json_
        Print the path of the folder as JSON.
    """
    from neutro_screen.pipeline.options import clock
    from neutro_screen.store.export import export as export_results

    with progress_on_terminal(quiet or json_) as show:
        show(f"exporting as {as_}")
        folder = export_results(store, to, kind=as_, at=clock(), warn=warn)
    write_result({"folder": folder}, folder, quiet, json_)


def runs(*, store: Path, latest: int | None = None, json_: AsJson = False) -> None:
    """List the runs of a store: what came in, what was found, and whether it was published, reported and notified.

    Example: ``neutro-screen runs --store screen.duckdb --latest 7``

    Parameters
    ----------
    store
        The DuckDB file.
    latest
        Only so many, the latest.
    json_
        Print JSON.
    """
    from neutro_screen.cli.console import runs_text
    from neutro_screen.store.runs import runs as runs_of

    if latest is not None and latest < 1:
        raise ConfigurationError("--latest is a number of runs, at least 1")
    found = runs_of(store)
    listed = found[-latest:] if latest else found
    write(json.dumps(listed, indent=2, default=str) if json_ else runs_text(listed))


def pseudonym(patient_id: str, *, pseudonymise: Path) -> None:
    """Print the pseudonym of a patient, to ask a pseudonymised store for it.

    Example: ``neutro-screen pseudonym P-001 --pseudonymise key``

    Parameters
    ----------
    patient_id
        The patient's identifier as in the extract.
    pseudonymise
        The key file of the store's runs.
    """
    from neutro_screen.pipeline.pseudonyms import load_pseudonyms

    if pseudonyms := load_pseudonyms(pseudonymise):
        write(pseudonyms.of("patient", patient_id))
