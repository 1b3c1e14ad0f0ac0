"""Transfers of artifacts as a task's log tells of them: a line every few seconds."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from penstock.artifacts.protocol import Progress
from penstock.artifacts.size import size_text

SECONDS: Final = 5.0


def reported(what: str, tell: Callable[[str], None]) -> Progress:
    """A Progress that says `fetching input 'data': 1.2 GiB of 4.0 GiB` now and then."""
    last = time.monotonic()

    def progress(done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= SECONDS:
            last = now
            tell(f"{what}: {size_text(done)} of {size_text(total)}")

    return progress
