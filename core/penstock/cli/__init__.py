"""The command line. Exit codes: 0 succeeded, 1 the run failed, 2 bad input, 130 interrupted."""

from __future__ import annotations

from collections.abc import Sequence


def run_cli(arguments: Sequence[str]) -> int:
    """Run one command; its exit code. Errors of ours are one sentence on stderr, never a traceback."""
    from penstock.cli.app import execute

    return execute(arguments)
