"""Ctrl-C and SIGTERM as events of a run.

As an exception they could come between what is recorded and what the engine remembers of it.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn


def interrupt(number: int, frame: FrameType | None) -> NoReturn:
    """A handler for SIGTERM: it ends a program as Ctrl-C does."""
    raise KeyboardInterrupt


_RAISING = (signal.default_int_handler, interrupt)


@contextmanager
def as_events(tell: Callable[[], None]) -> Generator[None]:
    """Within, the signals that would raise KeyboardInterrupt call `tell`; a third one does raise it.

    Signals that somebody else handles, or ignores, stay as they are; so do all outside of the main thread.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    told = 0

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal told
        told += 1
        if told > 2:
            raise KeyboardInterrupt
        tell()

    former = {
        number: found
        for number in (signal.SIGINT, signal.SIGTERM)
        if (found := signal.getsignal(number)) in _RAISING
    }
    try:
        for number in former:
            signal.signal(number, handle)
        yield
    finally:
        for number, found in former.items():
            signal.signal(number, found)
