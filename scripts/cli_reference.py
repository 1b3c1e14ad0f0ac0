"""Writes docs/reference/cli.md from the commands themselves; `--check` only says whether it is up to date."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from penstock.cli.app import add_installed, app

PAGE = Path(__file__).resolve().parent.parent / "docs" / "reference" / "cli.md"

_HEAD = """\
# Command line

<!-- Written by scripts/cli_reference.py. -->

Wherever a command takes a run, its id will do, a beginning or an end of the id, its name, or `latest`. A task
is named by its [path](task-paths.md) or by the end of it. An artifact is named by its id, an end of it, or
`RUN:TASK.OUTPUT`, such as `latest:train-model.model`; `RUN:OUTPUT` is an output of the pipeline itself.

Tables and sentences are for people and may change. Programs use [`--json`](json-lines.md) and exit codes:

| code | means |
|---|---|
| 0 | done; the run succeeded |
| 1 | the run failed, or `doctor` found something refused |
| 2 | bad input: one sentence on stderr, nothing recorded |
| 130 | interrupted, or the run was canceled |

Settings come from the environment or a file: see [Settings](settings.md). Errors go to stderr.

Shell completion for bash, zsh, fish and PowerShell: `penstock --install-completion`.
"""


def markdown() -> str:
    add_installed()
    command = typer.main.get_command(app)
    return _HEAD + "".join(_section(command, "penstock", 2))


def _is_shown(option: Any) -> bool:
    return "--help" not in option.opts and not option.hidden


def _section(command: Any, name: str, depth: int) -> Iterator[str]:
    children = getattr(command, "commands", {})
    if children:
        for key, child in children.items():
            yield from _section(child, f"{name} {key}", depth)
        return
    arguments = [one for one in command.params if one.param_type_name == "argument"]
    options = [one for one in command.params if one.param_type_name == "option" and _is_shown(one)]
    usage = " ".join([name, *(_metavar(one) for one in arguments), *(["[OPTIONS]"] if options else [])])
    yield f"\n{'#' * depth} {name}\n\n{inspect.cleandoc(command.help or '')}\n\n```text\n{usage}\n```\n"
    rows = [(f"`{_metavar(one)}`", one.help or "") for one in arguments]
    rows += [(_option(one), _help(one)) for one in options]
    if rows:
        yield "\n| argument or option | means |\n|---|---|\n"
        yield from (f"| {left} | {right.replace('|', chr(92) + '|')} |\n" for left, right in rows)


def _metavar(argument: Any) -> str:
    found = argument.metavar or argument.name.upper()
    return found.strip("[]") if argument.required else f"[{found.strip('[]')}]"


def _option(option: Any) -> str:
    names = ", ".join(f"`{one}`" for one in sorted(option.opts, key=len))
    if option.is_flag:
        return names
    kind = option.metavar or ("N" if isinstance(option.default, int) else option.name.upper())
    return f"{names} `{kind}`"


def _help(option: Any) -> str:
    default = option.default
    shown = "" if option.is_flag or default in (None, "", ()) else f" Default: `{default}`."
    return f"{option.help or ''}{shown}"


def main() -> None:
    fresh = markdown()
    if "--check" in sys.argv[1:]:
        sys.exit(0 if PAGE.is_file() and PAGE.read_text() == fresh else f"{PAGE.name} is old: run {__file__}")
    PAGE.write_text(fresh)


if __name__ == "__main__":
    main()
