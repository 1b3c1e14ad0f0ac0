"""Many transfers at once without much memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

SMALL: Final = 8 << 20
"""Bytes up to which content travels as one piece."""

_One = TypeVar("_One")
_Result = TypeVar("_Result")


def side_by_side(
    many: Sequence[_One],
    size: Callable[[_One], int | None],
    transfer: Callable[[_One], _Result],
    at_once: int = 4,
) -> list[_Result]:
    """The results in the order of `many`. Small ones go together, as most of their time is waiting; a
    large one, or one of unknown size, goes alone. After the first failure none begins.
    """
    small = [at for at, one in enumerate(many) if (found := size(one)) is not None and found <= SMALL]
    results: dict[int, _Result] = {}
    if len(small) > 1:
        with ThreadPoolExecutor(at_once, thread_name_prefix="transfer") as pool:
            try:
                futures = {at: pool.submit(transfer, many[at]) for at in small}
                results = {at: future.result() for at, future in futures.items()}
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    return [results[at] if at in results else transfer(one) for at, one in enumerate(many)]
