"""What uploads and downloads share: the size of parts, how many travel at once, and who is told of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from penstock.artifacts.protocol import Progress

PART_BYTES: Final = 8 << 20
"""Of a part: memory for each that travels, and for the one that is read or written meanwhile."""

PARALLEL: Final = 3
"""Parts of one file at a time."""

_SMALL_AT_ONCE = 4
_MAX_PARTS = 10_000
_MIB = 1 << 20

_One = TypeVar("_One")
_Result = TypeVar("_Result")


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


def by_size(
    many: Sequence[_One], size: Callable[[_One], int], transfer: Callable[[_One], _Result]
) -> list[_Result]:
    """The results in the order of `many`. Small ones go side by side; one of several parts goes alone."""
    results: dict[int, _Result] = {}
    large = [at for at, one in enumerate(many) if size(one) > PART_BYTES]
    with ThreadPoolExecutor(_SMALL_AT_ONCE, thread_name_prefix="transfer") as pool:
        try:
            skip = set(large)
            small = {at: pool.submit(transfer, one) for at, one in enumerate(many) if at not in skip}
            results |= {at: future.result() for at, future in small.items()}
            results |= {at: transfer(many[at]) for at in large}
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return [results[at] for at in range(len(many))]
