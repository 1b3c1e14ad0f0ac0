"""A broker that doubles messages or drops some: moves them from one queue to another in the real Redis."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Self, cast

import redis

_PRIORITIES = range(10)
_SEPARATOR = "\x06\x16"
_LOOK_SECONDS = 1


class Relay:
    """While it is entered. `copies` says how many there are to be of each message, by its number from 0;
    `taken` and `given` count them.

    Kombu has a list for each queue and priority.
    """

    def __init__(self, url: str, taken: str, given: str, copies: Callable[[int], int]) -> None:
        self._redis: Any = cast("Any", redis.Redis).from_url(url, decode_responses=False)
        self._lists = {
            _list(taken, priority).encode(): _list(given, priority).encode() for priority in _PRIORITIES
        }
        self._copies = copies
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._move, name="test-relay", daemon=True)
        self.taken = self.given = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stopped.set()
        self._thread.join()
        self._redis.close()

    def _move(self) -> None:
        while not self._stopped.is_set():
            found = self._redis.brpop(list(self._lists), _LOOK_SECONDS)
            if found is None:
                continue
            place, message = found
            for _ in range(self._copies(self.taken)):
                self._redis.lpush(self._lists[place], message)
                self.given += 1
            self.taken += 1


def _list(queue: str, priority: int) -> str:
    return f"{queue}{_SEPARATOR}{priority}" if priority else queue
