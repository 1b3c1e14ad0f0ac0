"""The `penstock` command: its subcommands, and what their errors and exit codes are."""

from __future__ import annotations

import io
import logging
import os
import signal
import sys
from collections.abc import Sequence
from functools import cache
from importlib.metadata import entry_points
from typing import cast

import typer

from penstock._version import __version__
from penstock.cli import (
    artifacts,
    config,
    db,
    debug,
    doctor,
    environments,
    gc,
    lineage,
    pipelines,
    run,
    runs,
    tracking,
)
from penstock.errors import InvalidInputError, NotFoundError, PenstockError
from penstock.execution.interrupts import interrupt
from penstock.execution.secrets.known import KNOWN
from penstock.execution.settings import mask_url

EXIT_FAILED = 1
EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130

app = typer.Typer(
    name="penstock",
    help="Run unmodified Kubeflow pipelines without a Kubeflow install.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("run")(run.run)
app.command("doctor")(doctor.doctor)
app.command("debug")(debug.debug)
app.add_typer(environments.app, name="environments")
app.add_typer(runs.app, name="runs")
artifacts.app.command("lineage")(lineage.lineage)
artifacts.app.command("stale")(lineage.stale)
app.add_typer(artifacts.app, name="artifacts")
app.add_typer(pipelines.app, name="pipelines")
app.add_typer(db.app, name="db")
app.add_typer(tracking.app, name="tracking")
app.command("gc")(gc.gc)
app.command("config")(config.config)


@cache
def add_installed() -> None:
    """The commands that other distributions bring: each entry point is named as its command."""
    for one in entry_points(group="penstock.commands"):
        app.command(one.name)(one.load())


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(f"penstock {__version__}")


_UsageError = cast("type[typer.BadParameter]", typer.BadParameter.__mro__[2])
"""Click's ClickException, wherever the installed Typer has it from: a wrong command, option or number of
arguments.
"""


def execute(arguments: Sequence[str]) -> int:
    _prepare_streams()
    if logging.lastResort is not None:
        logging.lastResort.addFilter(KNOWN)
    signal.signal(signal.SIGTERM, interrupt)
    add_installed()
    command = typer.main.get_command(app)
    try:
        code = command.main(args=list(arguments), prog_name="penstock", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except typer.Exit as stop:
        return stop.exit_code
    except (KeyboardInterrupt, typer.Abort):
        print("interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED
    except PenstockError as error:
        _complain(str(error))
        return EXIT_BAD_INPUT if isinstance(error, InvalidInputError | NotFoundError) else EXIT_FAILED
    except _UsageError as error:
        text = error.format_message()
        if "\n" in text:  # the help, where a command was given nothing at all
            typer.echo(text, err=True)
        else:
            path = error.ctx.command_path if error.ctx is not None else "penstock"
            _complain(f"{text.rstrip('.')}; see `{path} --help`")
        return EXIT_BAD_INPUT
    except OSError as error:
        place = f"'{error.filename}': " if error.filename is not None else ""
        _complain(f"{place}{error.strerror or error}")
        return EXIT_FAILED


def _prepare_streams() -> None:
    """No character or closed stream keeps anything from being printed; no file of ours becomes a stream."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)
    sys.stdout = sys.stdout or os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", encoding="utf-8", closefd=False)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _complain(text: str) -> None:
    """One line, whatever the text quotes, and no secret in it."""
    print(f"error: {' '.join(KNOWN.mask(mask_url(text)).split())}", file=sys.stderr)
