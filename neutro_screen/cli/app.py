"""The command line. Thin: every command calls one function of the library and shows what it returns."""

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any, Literal

from cyclopts import App, Group, Parameter

from neutro_screen.errors import ConfigurationError, NeutroScreenError

app = App(
    name="neutro-screen",
    help="Nightly screening of blood-count extracts for neutropenia. A screening aid: it diagnoses nothing.",
    version_flags=["--version"],
    default_parameter=Parameter(negative=(), consume_multiple=True),
)
_INPUT, _CONTROL = Group("Input", sort_key=0), Group("Control", sort_key=1)

Paths = Annotated[list[str] | None, Parameter(group=_INPUT)]
AsJson = Annotated[bool, Parameter(name="--json", group=_CONTROL)]
Quiet = Annotated[bool, Parameter(group=_CONTROL)]
#: Finished steps that a terminal keeps in view.
_MOST_STEPS = 8
Priority = Literal["critical", "high", "medium", "low", "info"]


app.register_install_completion_command(add_to_startup=False)


def main() -> None:
    """Entry point: errors become one message on stderr and the exit code of their kind."""
    os.umask(0o077)
    arguments = sys.argv[1:]
    debug = "--debug" in arguments
    try:
        app([word for word in arguments if word != "--debug"])
    except NeutroScreenError as error:
        if debug:
            raise
        sys.stderr.write(f"neutro-screen: {error}\n")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.stderr.write("neutro-screen: stopped; nothing was published\n")
        sys.exit(130)
    except Exception as error:
        if debug:
            raise
        # The text of an unexpected error may quote a patient's value; its type does not.
        sys.stderr.write(
            f"neutro-screen: unexpected {type(error).__name__}; nothing was published. "
            "Repeat with --debug where patient data may be shown, and report it.\n"
        )
        sys.exit(1)


@app.command
def run(
    *,
    labs: Annotated[list[str], Parameter(group=_INPUT)],
    medications: Paths = None,
    patients: Paths = None,
    diagnoses: Paths = None,
    events: Paths = None,
    store: Path,
    reports: Path | None = None,
    format: Annotated[str | None, Parameter(group=_INPUT)] = None,
    profile: Annotated[Path | None, Parameter(group=_INPUT)] = None,
    policy: Annotated[Path | None, Parameter(group=_CONTROL)] = None,
    as_of: Annotated[str | None, Parameter(group=_CONTROL)] = None,
    max_rejected: Annotated[float, Parameter(group=_CONTROL)] = 0.2,
    rescreen_all: Annotated[bool, Parameter(group=_CONTROL)] = False,
    pseudonymise: Annotated[Path | None, Parameter(group=_CONTROL)] = None,
    notify: Annotated[Path | None, Parameter(group=_CONTROL)] = None,
    memory: Annotated[str, Parameter(group=_CONTROL)] = "4GB",
    csv_bom: Annotated[bool, Parameter(group=_CONTROL)] = False,
    quiet: Quiet = False,
    json_: AsJson = False,
) -> None:
    """Screen one night's extracts: read, validate, screen, publish, report.

    Example: neutro-screen run --labs night/*.csv --medications meds.csv --store screen.duckdb --reports reports

    Parameters
    ----------
    labs
        Laboratory files, folders or globs; a folder format (mimic) brings medications and patients with it.
    medications
        Medication files.
    patients
        Patient files (birth date, recorded Duffy-null).
    diagnoses
        Diagnosis files.
    events
        Event files (smear review, bone marrow, travel, temperature ...).
    store
        The DuckDB file; made when it is not there.
    reports
        Folder for report.html, flagged.csv and flags.csv.
    format
        Format of the files, where name and content do not tell.
    profile
        TOML file that describes the source's own columns, units, times and words.
    policy
        TOML file with clinical numbers that differ from the built-in policy.
    as_of
        Index time, ISO 8601, UTC where no offset is given; default now. The only clock of the rules.
    max_rejected
        Publish nothing when more than this share of the screened rows is refused.
    rescreen_all
        Screen every patient of the store again, not only those with new rows.
    pseudonymise
        File (0600) with a key of 32 bytes or more: identifiers are replaced by keyed pseudonyms before anything is kept.
    csv_bom
        CSV files for Excel: a byte order mark, and an apostrophe before ids that Excel would turn into numbers.
    notify
        TOML file that says who is told of failures, critical patients and warnings: counts only.
    memory
        What the rows at work may take; more of them are spread over parts that wait on disk beside the store.
    quiet
        Show nothing but errors.
    json_
        Print the summary as JSON.
    """
    from neutro_screen.admin.notify import load_notify, telling
    from neutro_screen.pipeline.run import RunSettings, bytes_of
    from neutro_screen.pipeline.run import run as run_pipeline

    settings = RunSettings(
        store=store,
        labs=tuple(labs),
        medications=tuple(medications or ()),
        patients=tuple(patients or ()),
        diagnoses=tuple(diagnoses or ()),
        events=tuple(events or ()),
        reports=reports,
        format=format,
        profile=profile,
        policy=policy,
        max_rejected=max_rejected,
        rescreen_all=rescreen_all,
        pseudonymise=pseudonymise,
        memory=bytes_of(memory),
        csv_bom=csv_bom,
        as_of=_as_of(as_of),
    )
    began = perf_counter()
    with telling(load_notify(notify), _warn) as told, _progress(quiet or json_) as show:
        summary = run_pipeline(settings, show)
        told(summary.as_dict())
    if json_:
        _write(json.dumps(summary.as_dict(), indent=2))
    elif not quiet:
        from neutro_screen.cli.console import summary_text

        _write(summary_text(summary) + f"\n{_rate(summary.account.rows_in, perf_counter() - began)}")


@app.command
def backfill(
    *,
    labs: Annotated[list[str], Parameter(group=_INPUT)],
    medications: Paths = None,
    patients: Paths = None,
    diagnoses: Paths = None,
    events: Paths = None,
    store: Path,
    reports: Path | None = None,
    by: Literal["file", "month", "year"] = "month",
    format: Annotated[str | None, Parameter(group=_INPUT)] = None,
    profile: Annotated[Path | None, Parameter(group=_INPUT)] = None,
    policy: Annotated[Path | None, Parameter(group=_CONTROL)] = None,
    as_of: Annotated[str | None, Parameter(group=_CONTROL)] = None,
    max_rejected: Annotated[float, Parameter(group=_CONTROL)] = 0.2,
    pseudonymise: Annotated[Path | None, Parameter(group=_CONTROL)] = None,
    memory: Annotated[str, Parameter(group=_CONTROL)] = "4GB",
    notify: Annotated[Path | None, Parameter(group=_CONTROL)] = None,
    quiet: Quiet = False,
    json_: AsJson = False,
) -> None:
    """Screen years of extracts in chunks; one that was stopped goes on after its last finished chunk.

    Example: neutro-screen backfill --labs "extracts/*/labs_*.csv" --patients patients.csv --store screen.duckdb --by year

    Parameters
    ----------
    labs
        Laboratory files, folders or globs, with a date in their paths.
    medications
        Medication files.
    patients
        Patient files.
    diagnoses
        Diagnosis files.
    events
        Event files.
    store
        The DuckDB file; the finished chunks are remembered beside it.
    reports
        Folder for the reports, written after the last chunk.
    by
        One chunk a month, a year (of the date in the path) or a laboratory file.
    format
        Format of the files.
    profile
        TOML file that describes the source.
    policy
        TOML file with clinical numbers that differ.
    as_of
        Index time of all chunks; default that of the backfill that has begun, else now.
    max_rejected
        Stop at a chunk when more than this share of its screened rows is refused.
    pseudonymise
        File with the key of the pseudonyms, as for ``run``.
    memory
        What the rows at work may take.
    notify
        TOML file that says who is told of the end.
    quiet
        Show nothing but errors.
    json_
        Print the summary as JSON.
    """
    from neutro_screen.admin.notify import load_notify, telling
    from neutro_screen.cli.console import backfill_text
    from neutro_screen.pipeline.backfill import backfill as run_backfill
    from neutro_screen.pipeline.backfill import begun_as_of
    from neutro_screen.pipeline.run import RunSettings, bytes_of

    settings = RunSettings(
        store=store,
        labs=tuple(labs),
        medications=tuple(medications or ()),
        patients=tuple(patients or ()),
        diagnoses=tuple(diagnoses or ()),
        events=tuple(events or ()),
        reports=reports,
        format=format,
        profile=profile,
        policy=policy,
        max_rejected=max_rejected,
        pseudonymise=pseudonymise,
        memory=bytes_of(memory),
        as_of=_as_of(as_of) if as_of else begun_as_of(store) or _as_of(None),
    )
    with telling(load_notify(notify), _warn) as told, _progress(quiet or json_) as show:
        summary = run_backfill(settings, by, lambda at: show(f"chunk {at.number} of {at.of}: {at.chunk}"))
        if summary.last:
            told(summary.last.as_dict())
    if json_:
        _write(json.dumps(summary.as_dict(), indent=2))
    elif not quiet:
        _write(backfill_text(summary))


@app.command
def check(
    *,
    labs: Annotated[list[str], Parameter(group=_INPUT)],
    medications: Paths = None,
    patients: Paths = None,
    diagnoses: Paths = None,
    events: Paths = None,
    format: Annotated[str | None, Parameter(group=_INPUT)] = None,
    profile: Annotated[Path | None, Parameter(group=_INPUT)] = None,
    as_of: Annotated[str | None, Parameter(group=_CONTROL)] = None,
    quiet: Quiet = False,
    json_: AsJson = False,
) -> None:
    """Read and validate only: a dry run that shows what would be refused and why, and writes nothing.

    Example: neutro-screen check --labs night/labs.csv --profile hospital.toml

    Parameters
    ----------
    labs
        Laboratory files, folders or globs.
    medications
        Medication files.
    patients
        Patient files.
    diagnoses
        Diagnosis files.
    events
        Event files.
    format
        Format of the files, where name and content do not tell.
    profile
        TOML file that describes the source.
    as_of
        Index time; results more than a day after it are refused.
    quiet
        Show nothing but errors.
    json_
        Print the counts as JSON.
    """
    from neutro_screen.cli.console import quality_text
    from neutro_screen.pipeline.run import RunSettings
    from neutro_screen.pipeline.run import check as check_pipeline

    settings = RunSettings(
        store=Path(),
        labs=tuple(labs),
        medications=tuple(medications or ()),
        patients=tuple(patients or ()),
        diagnoses=tuple(diagnoses or ()),
        events=tuple(events or ()),
        format=format,
        profile=profile,
        max_rejected=1.0,
        as_of=_as_of(as_of),
    )
    with _progress(quiet or json_) as show:
        show("reading and judging")
        quality = check_pipeline(settings)
    if json_:
        _write(json.dumps(quality, indent=2))
    elif not quiet:
        _write(quality_text(quality))


@app.command
def worklist(
    *, store: Path, priority: Priority | None = None, new: bool = False, csv: bool = False, json_: AsJson = False
) -> None:
    """Show the current worklist, most urgent first.

    Example: neutro-screen worklist --store screen.duckdb --priority high

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
    from neutro_screen.store.file import current_worklist, reading

    with reading(store) as connection:
        rows = current_worklist(connection, at_least=priority, only_new=new)
    if csv:
        from neutro_screen.report.csv import harmless

        sys.stdout.write(harmless(rows).write_csv())
    else:
        _write(rows.write_json() if json_ else worklist_text(rows))


@app.command
def explain(patient_id: str, *, store: Path, json_: AsJson = False) -> None:
    """Show one patient: source rows, choices made, ANC, rules fired with their numbers, suspects, evidence.

    Example: neutro-screen explain P-001 --store screen.duckdb

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
        told = explain_patient(connection, patient_id)
    _write(json.dumps(told, indent=2, default=str) if json_ else explanation_text(told))


@app.command
def review(
    patient_id: str,
    *,
    store: Path,
    status: Literal["acknowledged", "snoozed", "dismissed"],
    until: str | None = None,
    note: str | None = None,
    by: str | None = None,
    quiet: Quiet = False,
    json_: AsJson = False,
) -> None:
    """Record a reviewer's decision. A higher priority or a lower nadir wakes the patient again.

    Example: neutro-screen review P-001 --store screen.duckdb --status snoozed --until 2026-12-01 --note "repeat booked"

    Parameters
    ----------
    patient_id
        The patient's identifier.
    store
        The DuckDB file.
    status
        acknowledged stays on the worklist; snoozed comes back after --until; dismissed leaves it.
    until
        Last day of the snooze, ISO date.
    note
        Why.
    by
        Who decided.
    quiet
        Show nothing but errors.
    json_
        Print the decision as JSON.
    """
    from neutro_screen.pipeline.options import clock
    from neutro_screen.store.file import lock, record_review

    if (status == "snoozed") != (until is not None):
        raise ConfigurationError("--until goes with --status snoozed, and only with it")
    last_day = _day(until) if until else None
    with lock(store):
        record_review(store, patient_id, status, until=last_day, note=note, by=by, at=clock())
    _tell({"status": status, "until": last_day, "note": note, "by": by}, f"recorded: {status}", quiet, json_)


@app.command
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

    Example: neutro-screen report --store screen.duckdb --reports reports

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
    from neutro_screen.report import write_reports

    with _progress(quiet or json_) as show:
        show("writing the reports")
        page = write_reports(store, reports, run, byte_order_mark=csv_bom)
    _tell({"report": page}, str(page), quiet, json_)


@app.command
def pseudonym(patient_id: str, *, pseudonymise: Path) -> None:
    """Print the pseudonym of a patient, to ask a pseudonymised store for it.

    Example: neutro-screen pseudonym P-001 --pseudonymise key

    Parameters
    ----------
    patient_id
        The patient's identifier as in the extract.
    pseudonymise
        The key file of the store's runs.
    """
    from neutro_screen.pipeline.pseudonyms import load_pseudonyms

    if pseudonyms := load_pseudonyms(pseudonymise):
        _write(pseudonyms.of("patient", patient_id))


@app.command
def rebuild(
    *,
    store: Path,
    as_of: str,
    out: Path,
    reports: Path | None = None,
    policy: Path | None = None,
    quiet: Quiet = False,
    json_: AsJson = False,
) -> None:
    """Make a past night again, from what had been received by then, in a file of its own; the store stays as it is.

    Example: neutro-screen rebuild --store screen.duckdb --as-of 2026-11-20 --out past.duckdb

    Parameters
    ----------
    store
        The DuckDB file.
    as_of
        The latest run up to this time is rebuilt. ISO 8601, UTC where no offset is given.
    out
        The DuckDB file to make; it must not exist.
    reports
        Folder for the reports of that night.
    policy
        The policy of that night, where the store does not hold it (runs of a store of schema 1).
    quiet
        Show nothing but errors.
    json_
        Print the run and what is to be known about it as JSON.
    """
    from neutro_screen.pipeline.replay import rebuild as rebuild_night

    with _progress(quiet or json_) as show:
        show("rebuilding")
        run_id, notes = rebuild_night(store, _as_of(as_of), out, reports=reports, policy=policy)
    told = {"run_id": run_id, "out": out, "notes": list(notes)}
    _tell(told, "\n".join([f"rebuilt run {run_id} in {out.name}", *notes]), quiet, json_)


@app.command
def retention(
    *,
    store: Path,
    before: str | None = None,
    patient: str | None = None,
    by: str | None = None,
    reports: Path | None = None,
) -> None:
    """Remove what old runs left, or every row of a patient, and say what is gone. The bytes are gone from the file, too.

    Example: neutro-screen retention --store screen.duckdb --before 2025-01-01

    Parameters
    ----------
    store
        The DuckDB file.
    before
        Worklists, quality counts and warnings of runs before this day; never the latest run's.
    patient
        A patient's identifier (in a pseudonymised store the pseudonym); the records merged into it go too.
    by
        Who asks for it, for the audit trail; default the user of the machine.
    reports
        Folder whose reports are written again without the patient.
    """
    from neutro_screen.pipeline.options import clock
    from neutro_screen.report import write_reports
    from neutro_screen.store.file import lock
    from neutro_screen.store.retention import remove

    with lock(store):
        removed = remove(store, before=_as_of(before) if before else None, patient_id=patient, by=by, at=clock())
    _write("\n".join(removed.lines() or ["nothing to remove"]))
    if reports is not None:
        _write(str(write_reports(store, reports, None)))


@app.command
def export(*, store: Path, to: str) -> None:
    """Write every table and view as Parquet, into a folder or onto object storage, with a manifest written last.

    Example: neutro-screen export --store screen.duckdb --to s3://bucket/screen

    Parameters
    ----------
    store
        The DuckDB file.
    to
        A folder, or the address of one; the run's own folder is made in it.
    """
    from neutro_screen.store.export import export as export_tables

    _write(export_tables(store, to))


@app.command
def simulate(
    *,
    out: Path,
    patients: int | None = None,
    seed: int = 1,
    as_of: str | None = None,
    dirt: float = 0.02,
    teaching: bool = False,
    quiet: Quiet = False,
    json_: AsJson = False,
) -> None:
    """Write a synthetic hospital with known truth, in the native layout.

    Example: neutro-screen simulate --patients 500 --seed 7 --out hospital

    Parameters
    ----------
    patients
        Number of patients.
    seed
        The same seed gives the same bytes.
    out
        Folder for labs.csv, medications.csv, patients.csv, diagnoses.csv, events.csv and truth/.
    as_of
        Night of the extract; default now.
    dirt
        Share of the laboratory rows that carry one of the faults of real extracts.
    teaching
        The forty teaching cases of sample_data and their README instead of random patients.
    quiet
        Show nothing but errors.
    json_
        Print the folder as JSON.
    """
    from neutro_simulator import sample_hospital, sample_readme, simulate_hospital, write_native

    if teaching == (patients is not None):
        raise ConfigurationError("say either --patients N or --teaching")
    if patients is None:
        write_native(sample_hospital(_as_of(as_of)), out, with_course=False)
        (out / "README.md").write_text(sample_readme(_as_of(as_of)), "utf-8")
    else:
        with _progress(quiet or json_) as show:
            show(f"simulating {patients:,} patients")
            write_native(simulate_hospital(patients, seed, as_of=_as_of(as_of), dirt=dirt), out)
    _tell({"out": out}, str(out), quiet, json_)


@app.command
def init(
    folder: Path,
    *,
    from_: Annotated[Path | None, Parameter(name="--from")] = None,
    quiet: Quiet = False,
    json_: AsJson = False,
) -> None:
    """Write a commented profile, policy and notification file to edit; nothing that is there is overwritten.

    Example: neutro-screen init settings --from night/labs.csv

    Parameters
    ----------
    folder
        Where to write profile.toml, policy.toml and notify.toml.
    from_
        A sample file: the profile is proposed from it, with what could not be mapped.
    quiet
        Show nothing but errors.
    json_
        Print the paths as JSON.
    """
    from neutro_screen.admin.starter import write_starter

    written = write_starter(folder, from_)
    _tell({"written": written}, "\n".join(str(path) for path in written), quiet, json_)


@app.command
def migrate(*, store: Path, quiet: Quiet = False, json_: AsJson = False) -> None:
    """Bring the store of an older version up to this one; the old file is kept beside it. The next run does the same.

    Example: neutro-screen migrate --store screen.duckdb

    Parameters
    ----------
    store
        The DuckDB file.
    quiet
        Show nothing but errors.
    json_
        Print the name of the backup as JSON.
    """
    from neutro_screen.store.file import lock
    from neutro_screen.store.file import migrate as migrate_store

    with lock(store):
        backup = migrate_store(store)
    text = f"migrated; the old file is {backup.name}" if backup else "nothing to do: the store is of this version"
    _tell({"backup": backup and backup.name}, text, quiet, json_)


@app.command
def doctor(*, store: Path | None = None, quiet: Quiet = False, json_: AsJson = False) -> None:
    """Check the installation, the reference data and the store; say what to do.

    Example: neutro-screen doctor --store screen.duckdb

    Parameters
    ----------
    store
        The DuckDB file.
    quiet
        Show only what is not in order.
    json_
        Print JSON.
    """
    from neutro_screen.admin.doctor import examine
    from neutro_screen.pipeline.options import now

    findings = examine(store, now())
    if json_:
        _write(json.dumps([finding._asdict() for finding in findings], indent=2))
    else:
        _write(
            "\n".join(
                f"{finding.state:8}{finding.check}: {finding.found}"
                + (f" -> {finding.remedy}" if finding.remedy and finding.state != "ok" else "")
                for finding in findings
                if not quiet or finding.state != "ok"
            )
        )
    if any(finding.state == "failed" for finding in findings):
        sys.exit(1)


@app.command
def notify(settings: Path) -> None:
    """Send a test message by every way that a notification file names.

    Example: neutro-screen notify notify.toml

    Parameters
    ----------
    settings
        TOML file that says who is told what.
    """
    from neutro_screen.admin.notify import Message, load_notify, send

    test = Message("test", "neutro-screen: test message", "Nothing happened: somebody tried the notifications.")
    problems = send(test, load_notify(settings))
    for problem in problems:
        _warn(problem)
    if problems:
        sys.exit(1)
    _write("sent")


@app.command
def schedule(
    *,
    cron: str = "0 2 * * *",
    time_zone: str = "UTC",
    labs: Annotated[list[str], Parameter(group=_INPUT)],
    medications: Paths = None,
    patients: Paths = None,
    diagnoses: Paths = None,
    events: Paths = None,
    store: Path,
    reports: Path | None = None,
    format: Annotated[str | None, Parameter(group=_INPUT)] = None,
    profile: Annotated[Path | None, Parameter(group=_INPUT)] = None,
    policy: Annotated[Path | None, Parameter(group=_CONTROL)] = None,
    pseudonymise: Annotated[Path | None, Parameter(group=_CONTROL)] = None,
    notify: Annotated[Path | None, Parameter(group=_CONTROL)] = None,
) -> None:
    """Run the nightly flow at the times of ``--cron`` with Prefect, until it is stopped. Needs the extra ``flows``.

    Works alone: the Prefect server that keeps the times runs with it, on loopback, under a password, its state in
    ``.STORE.prefect`` beside the store (or in PREFECT_HOME), and ends with it. Where PREFECT_API_URL names a server, that
    one is used.

    Example: neutro-screen schedule --cron "0 2 * * *" --time-zone Europe/Berlin --labs "/extracts/*.csv" --store s.duckdb

    Parameters
    ----------
    cron
        When: minute, hour, day, month, weekday.
    time_zone
        Zone of the cron times.
    labs
        Laboratory files, folders or globs; a glob is looked up anew every night.
    medications
        Medication files.
    patients
        Patient files.
    diagnoses
        Diagnosis files.
    events
        Event files.
    store
        The DuckDB file.
    reports
        Folder for the reports.
    format
        Format of the files.
    profile
        TOML file that describes the source.
    policy
        TOML file with clinical numbers that differ.
    pseudonymise
        File with the key of the pseudonyms, as for ``run``.
    notify
        TOML file that says who is told of failures, critical patients and warnings.
    """
    from neutro_screen.orchestration.serve import serve_nightly

    given = {
        "labs": labs,
        "medications": medications,
        "patients": patients,
        "diagnoses": diagnoses,
        "events": events,
        "store": str(store.absolute()),
        "reports": reports and str(reports.absolute()),
        "format": format,
        "profile": profile and str(profile.absolute()),
        "policy": policy and str(policy.absolute()),
        "pseudonymise": pseudonymise and str(pseudonymise.absolute()),
        "notify": notify and str(notify.absolute()),
    }
    home = store.absolute().with_name(f".{store.name}.prefect")
    asked = {name: value for name, value in given.items() if value is not None}
    serve_nightly(cron, time_zone, asked, home, _say)


def _as_of(text: str | None) -> datetime:
    """The named index time, or the machine's clock."""
    from neutro_screen.pipeline.options import moment, now

    return moment(text) if text else now()


def _day(text: str) -> date:
    from neutro_screen.pipeline.options import moment

    return moment(text).date()


@contextmanager
def _progress(silent: bool) -> Iterator[Callable[[str], None]]:
    """Shows the step at work and its time on a terminal; each finished step stays with the time it took."""
    if silent or not sys.stderr.isatty():
        yield lambda step: None
        return
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(finished_text="✓"), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(*columns, console=_stderr()) as progress:

        def show(step: str) -> None:
            for task in progress.task_ids:
                progress.update(task, completed=1)
            for task in progress.task_ids[: -_MOST_STEPS + 1]:
                progress.remove_task(task)
            progress.add_task(step, total=1)

        yield show
        for task in progress.task_ids:
            progress.update(task, completed=1)


def _stderr() -> Any:
    from rich.console import Console

    return Console(stderr=True)


def _rate(rows: int, seconds: float) -> str:
    """What a run took: seconds and rows a second."""
    return f"{rows:,} rows in {seconds:.1f} s ({rows / max(seconds, 0.001):,.0f} rows a second)"


def _tell(result: Mapping[str, Any], text: str, quiet: bool, as_json: bool) -> None:
    """A command's result as JSON, as text, or not at all."""
    if as_json:
        _write(json.dumps(result, indent=2, default=str))
    elif not quiet:
        _write(text)


def _warn(text: str) -> None:
    _say(f"warning: {text}")


def _say(text: str) -> None:
    sys.stderr.write(f"neutro-screen: {text}\n")
    sys.stderr.flush()


def _write(text: str) -> None:
    sys.stdout.write(text.rstrip("\n") + "\n")


if __name__ == "__main__":
    main()
