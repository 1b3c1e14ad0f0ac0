"""Which display of a run fits: what was asked for, and where it goes."""

from __future__ import annotations

import sys

from penstock.cli.progress import JsonLines, PlainLines, Progress


def choose(as_json: bool, with_logs: bool) -> Progress:
    """JSON Lines when asked for, a live table on a terminal, plain lines otherwise and with logs."""
    if as_json:
        return JsonLines()
    if sys.stdout.isatty() and not with_logs:
        from penstock.cli.live import LiveTable

        return LiveTable()
    return PlainLines()
