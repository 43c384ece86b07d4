"""Commands of an operator: set up, examine, migrate, remove, simulate."""

import json
import sys
import tempfile
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from neutro_screen.cli.output import AsJson, Quiet, conclude, progress_on_terminal, warn, write, write_result
from neutro_screen.errors import ConfigurationError
from neutro_screen.pipeline.options import IndexTime


def init(
    folder: Path | None = None,
    *,
    from_: Annotated[tuple[Path, ...], Parameter(name="--from", consume_multiple=True)] = (),
    deploy: Path | None = None,
    quiet: Quiet = False,
    json_: AsJson = False,
) -> None:
    """Write a commented profile, policy and notification file to edit; nothing that is there is overwritten.

    Example: ``neutro-screen init settings --from night/labs.csv night/medications.csv``

    Parameters
    ----------
    folder
        Where to write profile.toml, policy.toml and notify.toml.
    from_
        Sample files of any kind: the profile is proposed from them, with what could not be mapped.
    deploy
        Folder for the files of a deployment: prefect.yaml, the flows, systemd units, a cron line, a container file.
    quiet
        Show nothing but errors.
    json_
        Print the paths as JSON.
    """
    from neutro_screen.admin.starter import write_deployment, write_starter

    if folder is None and (deploy is None or from_):
        raise ConfigurationError("name the folder for the settings, before --from, or --deploy FOLDER")
    written = write_starter(folder, from_) if folder else []
    written += write_deployment(deploy) if deploy else []
    told = _left_open(folder) if folder and from_ else []
    write_result({"written": written, "open": told}, "\n".join([*map(str, written), *told]), quiet, json_)


def _left_open(folder: Path) -> list[str]:
    """What the proposed profile leaves to its reader; none where it leaves nothing open."""
    from neutro_screen.admin.propose import left_open

    told = left_open((folder / "profile.toml").read_text("utf-8"))
    return ["In profile.toml:", *told] if told else []


def doctor(
    *,
    store: Path | None = None,
    self_test: bool = False,
    out: Path | None = None,
    by: str | None = None,
    quiet: Quiet = False,
    json_: AsJson = False,
) -> None:
    """Check the installation, the reference data and the store; say what to do. Exit code 1 when a check failed.

    Example: ``neutro-screen doctor --store screen.duckdb``

    Example: ``neutro-screen doctor --self-test --store screen.duckdb --out accreditation``

    Parameters
    ----------
    store
        The DuckDB file. With --self-test it is not opened: the test makes stores of its own in the same folder.
    self_test
        Prove this installation on this machine: known counts, the sample hospital in every format, what the store
        promises, versions and hashes. Takes under a minute; no patient is read.
    out
        Where to write the record of the self-test, to be signed: a folder (both forms), or a .json or .txt file.
    by
        Who tests, for the record; default the user of the machine.
    quiet
        Show only what is not in order.
    json_
        Print JSON.
    """
    from neutro_screen.admin.doctor import examine
    from neutro_screen.pipeline.options import now

    if self_test:
        _prove(store, out, by, quiet, json_)
        return
    if out is not None or by is not None:
        raise ConfigurationError("--out and --by go with --self-test, and only with it")
    findings = examine(store, now())
    if json_:
        write(json.dumps([finding._asdict() for finding in findings], indent=2))
    else:
        write(
            "\n".join(
                f"{finding.state:8}{finding.check}: {finding.found}"
                + (f" -> {finding.remedy}" if finding.remedy and finding.state != "ok" else "")
                for finding in findings
                if not quiet or finding.state != "ok"
            )
        )
    if any(finding.state == "failed" for finding in findings):
        sys.exit(1)


def _prove(store: Path | None, out: Path | None, by: str | None, quiet: bool, as_json: bool) -> None:
    """The self-test: its table or JSON on standard output, its record in a file, exit code 1 when a check failed."""
    from neutro_screen.admin.self_test import self_test
    from neutro_screen.admin.self_test.record import findings_table, self_test_record, write_record
    from neutro_screen.cli.self_test import sample
    from neutro_screen.pipeline.options import now
    from neutro_screen.store.audit import user_name

    place = store.absolute().parent if store else Path(tempfile.gettempdir())
    with progress_on_terminal(quiet or as_json) as show:
        findings = self_test(sample(), place, show)
    record = self_test_record(findings, now(), by or user_name() or "")
    written = write_record(record, out) if out is not None else []
    if as_json:
        write(json.dumps(record, indent=2))
    else:
        shown = [finding for finding in findings if not quiet or finding.state != "ok"]
        write("\n".join([findings_table(shown) if shown else "", *map(str, written)]).strip() or "PASSED")
    if not record["passed"]:
        sys.exit(1)


def migrate(*, store: Path, quiet: Quiet = False, json_: AsJson = False) -> None:
    """Bring the store of an older version up to this one; the old file is kept beside it. The next run does the same.

    Example: ``neutro-screen migrate --store screen.duckdb``

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
    write_result({"backup": backup and backup.name}, text, quiet, json_)


def retention(
    *,
    store: Path,
    before: IndexTime | None = None,
    patient: str | None = None,
    by: str | None = None,
    reports: Path | None = None,
) -> None:
    """Remove what old runs left, or every row of a patient, and say what is gone. The bytes are gone from the file, too.

    Example: ``neutro-screen retention --store screen.duckdb --before 2025-01-01``

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
        removed = remove(store, before=before, patient_id=patient, by=by, at=clock())
    conclude("\n".join(removed.lines() or ["nothing to remove"]))
    if reports is not None:
        conclude(str(write_reports(store, reports, None)))


def notify(settings: Path, *, store: Path | None = None, run: str | None = None) -> None:
    """Send a test message by every way that a notification file names, or the notification of a run again.

    Example: ``neutro-screen notify notify.toml --store screen.duckdb``

    Parameters
    ----------
    settings
        TOML file with the ways of notification.
    store
        The DuckDB file whose run is notified; none: a test message.
    run
        Which run of the store; default the latest.
    """
    from neutro_screen.admin.notify import Message, load_with_a_way, notify_again, send

    if store is not None:
        problems = notify_again(settings, store, run)
    elif run is not None:
        raise ConfigurationError("--run goes with --store, and only with it")
    else:
        test = Message("test", "neutro-screen: test message", "Nothing happened: somebody tried the notifications.")
        problems = send(test, load_with_a_way(settings))
    for problem in problems:
        warn(problem)
    if problems:
        sys.exit(1)
    conclude("sent")


def simulate(
    *,
    out: Path,
    patients: int | None = None,
    seed: int = 1,
    as_of: IndexTime | None = None,
    dirt: float = 0.02,
    teaching: bool = False,
    quiet: Quiet = False,
    json_: AsJson = False,
) -> None:
    """Write a synthetic hospital with known truth, in the native layout.

    Example: ``neutro-screen simulate --patients 500 --seed 7 --out hospital``

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
    from neutro_screen.pipeline.options import now
    from neutro_simulator import sample_hospital, sample_readme, simulate_hospital, write_native

    if teaching == (patients is not None):
        raise ConfigurationError("say either --patients N or --teaching")
    night = as_of or now()
    if patients is None:
        write_native(sample_hospital(night), out, with_course=False)
        (out / "README.md").write_text(sample_readme(night), "utf-8")
    else:
        with progress_on_terminal(quiet or json_) as show:
            show(f"simulating {patients:,} patients")
            write_native(simulate_hospital(patients, seed, as_of=night, dirt=dirt), out)
    write_result({"out": out}, str(out), quiet, json_)
