"""The command line. Thin: every command calls one function of the library and shows what it returns."""

import sys
from typing import Final

from cyclopts import App, CycloptsError, MissingArgumentError, Parameter

from neutro_screen.cli import admin, backtest, query, review, run
from neutro_screen.cli.output import say
from neutro_screen.cli.process import abandon_standard_output, end_without_dismantling, prepare_process
from neutro_screen.errors import NeutroScreenError, OutputError

#: Exit code where the words of a command cannot be read, as shells and other programs have it.
_MISSPELT: Final = 2

app = App(
    name="neutro-screen",
    help="Nightly screening of blood-count extracts for neutropenia. A screening aid: it diagnoses nothing.",
    version_flags=["--version"],
    default_parameter=Parameter(negative=(), consume_multiple=True),
    suppress_keyboard_interrupt=False,  # ``main`` says what became of the run
)
app.register_install_completion_command(add_to_startup=False)
for command in (
    run.run,
    run.backfill,
    run.check,
    query.worklist,
    query.explain,
    query.runs,
    review.review,
    query.report,
    query.pseudonym,
    run.rebuild,
    backtest.backtest,
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


def program() -> None:
    """Entry point of a process that is nothing but a command."""
    end_without_dismantling(main)


def main() -> None:
    """The command, also inside another process: errors become one message on stderr and the exit code of their kind."""
    prepare_process()
    arguments = sys.argv[1:]
    debug = "--debug" in arguments
    try:
        words = [word for word in arguments if word != "--debug"]
        app(words, exit_on_error=False, print_error=False)
    except SystemExit:
        raise
    except BaseException as error:
        if isinstance(error, OutputError):
            abandon_standard_output()
        if debug:
            raise
        text, exit_code = message_of(error)
        say(text)
        sys.exit(exit_code)


def message_of(error: BaseException) -> tuple[str, int]:
    """What a user reads about an error, and the exit code. The notes of an error say what became of the run."""
    if isinstance(error, NeutroScreenError):
        return str(error), error.exit_code
    if isinstance(error, CycloptsError):
        return usage_text(error), _MISSPELT
    outcome = " ".join(getattr(error, "__notes__", ())) or "the results of the run before stand"
    if isinstance(error, KeyboardInterrupt):
        return f"stopped; {outcome}", getattr(error, "exit_code", 130)
    # The text of an unexpected error may quote a patient's value; its type does not.
    remedy = "Repeat with --debug where patient data may be shown, and report it."
    return f"unexpected {type(error).__name__}; {outcome}. {remedy}", 1


def usage_text(error: CycloptsError) -> str:
    """What is wrong with the words of a command, and where to look; one line."""
    command = " ".join(error.command_chain or ())
    text = " ".join(str(error).split())
    if isinstance(error, MissingArgumentError) and error.argument is not None:
        name, meant = error.argument.name, text.partition("Did you mean")[2]
        if error.argument.index is not None:
            name = name.lstrip("-").replace("-", "_").upper()
        text = f"{command}: {name} is missing." + (f" Did you mean{meant}" if meant else "")
    help_of = " ".join(("neutro-screen", *(error.command_chain or ()), "--help"))
    return f"{text} `{help_of}` shows the options and an example."


if __name__ == "__main__":
    program()
