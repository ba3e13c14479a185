"""The application: its commands, and what becomes of their errors."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from leptonbench._version import __version__
from leptonbench.atomic import storage_error
from leptonbench.cli import (
    compare,
    console,
    doctor,
    export,
    fpga,
    gate,
    history,
    plan,
    project,
    report,
    run,
    show,
    tune,
)
from leptonbench.cli import list as list_module
from leptonbench.cli.group import Group
from leptonbench.errors import EXIT_INTERRUPTED, EXIT_OK, EXIT_USAGE, LeptonError, UsageError
from leptonbench.registry import closest

EXIT_DEFECT = 70

# typer carries click inside or depends on it, by version; its public names reach both.
_ClickUsageError: type[Any] = typer.BadParameter.__mro__[1]
_ClickException: type[Any] = typer.BadParameter.__mro__[2]


app = typer.Typer(
    name="leptonbench",
    cls=Group,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 done, 1 confirmed regression, 2 usage, 3 invalid or failed cells, 4 missing prerequisite, "
    "130 interrupted.",
)


def _show_version(wanted: bool) -> None:
    if wanted:
        console.out(f"leptonbench {__version__}")
        raise typer.Exit(EXIT_OK)


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Measure, price and compare inference across compression, engine and hardware."""


app.command("run")(run.run)
app.command("tune")(tune.tune)
app.command("report")(report.report)
app.command("show")(show.show)
app.command("compare")(compare.compare)
app.command("gate")(gate.gate)
app.command("history")(history.history)
app.command("list")(list_module.list_kind)
app.command("project")(project.project)
app.command("export")(export.export)
app.add_typer(fpga.app, name="fpga")
app.command("plan")(plan.plan)
app.command("doctor")(doctor.doctor)


def invoke(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code; errors are told on stderr."""
    console.prepare()
    try:
        code = _call(arguments) if arguments else _call(["--help"]) or EXIT_USAGE
    except LeptonError as error:
        console.failure(error)
        code = error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        console.say("interrupted")
        code = EXIT_INTERRUPTED
    except Exception as error:
        code = _unexpected(error)
    return console.finish(code)


def _unexpected(error: Exception) -> int:
    """Tell an error that nothing expected: a full disk is the user's, anything else is a defect of leptonbench."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
        console.failure(storage_error(Path(error.filename or "standard output"), error, doing="written"))
        return EXIT_USAGE
    console.defect(error)
    return EXIT_DEFECT


def _call(arguments: Sequence[str]) -> int:
    command = typer.main.get_command(app)
    try:
        code = command.main(list(arguments), prog_name="leptonbench", standalone_mode=False)
    except _ClickUsageError as error:
        raise _usage_error(error) from error
    except _ClickException as error:
        raise UsageError(error.format_message()) from error
    except SystemExit:  # typer's answer to a closed pipe; ours is to go on, and help text is all it prints itself
        return EXIT_OK
    return code if isinstance(code, int) else EXIT_OK


def _usage_error(error: Any) -> UsageError:
    """Put one of typer's usage errors into our form, with the nearest option for one that does not exist."""
    context = error.ctx
    help_command = f"`{context.command_path if context else 'leptonbench'} --help`"
    option = getattr(error, "option_name", "")
    if option and hasattr(error, "possibilities"):
        known = [name for parameter in context.command.params for name in parameter.opts] if context else []
        guess = closest(option, [name for name in known if name.startswith("--")])
        return UsageError(
            f"unknown option `{option}`", hint=f"did you mean `{guess}`?" if guess else f"see {help_command}"
        )
    message = error.format_message().rstrip(".") or "no command was given"
    return UsageError(message[0].lower() + message[1:], hint=f"see {help_command}")
