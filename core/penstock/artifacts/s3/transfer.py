"""What uploads and downloads share: the size of parts, how many travel at once, and who is told of it."""

from __future__ import annotations

import threading
from typing import Final

from penstock.artifacts.protocol import Progress
from penstock.artifacts.side_by_side import SMALL

PART_BYTES: Final = SMALL
"""Of a part: memory for each that travels, and for the one that is read or written meanwhile."""

PARALLEL: Final = 3
"""Parts of one file at a time."""

_MAX_PARTS = 10_000
_MIB = 1 << 20


def part_size(size: int) -> int:
    """S3 allows 10,000 parts; an object that needs more of ours has larger ones."""
    if size <= PART_BYTES * _MAX_PARTS:
        return PART_BYTES
    return -(-size // (_MAX_PARTS * _MIB)) * _MIB


class Tally:
    """Sums up what the transfers of several files report, for one `Progress`."""

    def __init__(self, total: int, progress: Progress | None) -> None:
        self._total = total
        self._progress = progress
        self._done = 0
        self._lock = threading.Lock()
        self.add(0)

    def add(self, count: int) -> None:
        if self._progress is not None:
            with self._lock:
                self._done += count
                self._progress(self._done, self._total)
