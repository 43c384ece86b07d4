"""The command line. Thin: every command calls one function of the library and shows what it returns."""

import os
import sys

from cyclopts import App, Parameter

from neutro_screen.cli import admin, query, review, run
from neutro_screen.errors import NeutroScreenError
from neutro_screen.private import forbid_core_dumps

app = App(
    name="neutro-screen",
    help="Nightly screening of blood-count extracts for neutropenia. A screening aid: it diagnoses nothing.",
    version_flags=["--version"],
    default_parameter=Parameter(negative=(), consume_multiple=True),
)
app.register_install_completion_command(add_to_startup=False)
for command in (
    run.run,
    run.backfill,
    run.check,
    query.worklist,
    query.explain,
    review.review,
    query.report,
    query.pseudonym,
    run.rebuild,
    admin.retention,
    query.export,
    admin.simulate,
    admin.init,
    admin.migrate,
    admin.doctor,
    admin.notify,
    run.schedule,
):
    app.command(command)


def main() -> None:
    """Entry point: errors become one message on stderr and the exit code of their kind."""
    os.umask(0o077)
    forbid_core_dumps()
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


if __name__ == "__main__":
    main()
