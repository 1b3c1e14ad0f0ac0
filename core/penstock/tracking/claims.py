"""How far MLflow has been told of each run, and who tells it.

A run has one standing message in the outbox, offered in the transaction in which the run begins. It holds
ids only: the run's, the revision up to which all is delivered, and who has claimed it. What changed since is
read from the store's history, so what comes late comes as it ended. The message counts as delivered once
the run has ended and its last revision is delivered, and is offered again when the run begins again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, cast

from penstock.errors import PenstockError
from penstock.model import Json, JsonObject
from penstock.store import Message, Store, WaitingMessage

TOPIC: Final = "mlflow"
LEASE_SECONDS: Final = 30.0
_KEEP_SECONDS: Final = 5.0
_REFUSED_LIMIT: Final = 20
"""Refusals that are kept; who sees so many has seen what is wrong."""


class OvertakenError(PenstockError):
    """Another process records the run in MLflow by now."""


@dataclass(slots=True)
class Claim:
    """The right to record one run in MLflow, for as long as it is kept. Not safe for several threads."""

    store: Store
    message: Message
    holder: str
    revision: int
    refused: dict[str, str] = field(default_factory=dict[str, str])
    _kept: float = field(default_factory=time.monotonic, init=False)

    @property
    def run_id(self) -> str:
        return _run_id(self.message)

    def keep(self, *, now: bool = False) -> None:
        """Write down what is delivered and hold on, now or when it is time. Raises OvertakenError."""
        if not now and time.monotonic() - self._kept < _KEEP_SECONDS:
            return
        if not self.store.outbox.keep(self.message, self._payload(), LEASE_SECONDS):
            raise OvertakenError(f"another process records run {self.run_id} in MLflow now")
        self._kept = time.monotonic()

    def refuse(self, path: str, error: str) -> None:
        """Remember what MLflow does not take, and go on."""
        if len(self.refused) < _REFUSED_LIMIT:
            self.refused[path] = error

    def finish(self) -> bool:
        """Whether all of an ended run is delivered; then the message is, and the claim over."""
        with self.store.transaction():
            revision = self.store.runs.revision(self.run_id)
            if not self.store.runs.get(self.run_id).state.ended or revision != self.revision:
                return False
            self.keep(now=True)
            if not self.refused:
                return self.store.outbox.mark_delivered(self.message.id)
            path, error = next(iter(self.refused.items()))
            text = f"{path}: {error}" if path else error
            return self.store.outbox.hand_back(self.message, text, refused=True)

    def hand_back(self, error: str = "") -> None:
        if self.store.outbox.keep(self.message, self._payload(), LEASE_SECONDS):
            self.store.outbox.hand_back(self.message, error)

    def _payload(self) -> JsonObject:
        refused: dict[str, Json] = dict(self.refused)
        found: JsonObject = {"run_id": self.run_id, "revision": self.revision, "holder": self.holder}
        return {**found, "refused": refused} if refused else found


@dataclass(frozen=True, slots=True)
class Claims:
    """`is_dead` says of the name of a holder whether it is known to be gone: then nobody waits for its claim
    to end.
    """

    store: Store
    holder: str
    is_dead: Callable[[str], bool]

    def offer(self, run_id: str) -> None:
        content: JsonObject = {"run_id": run_id, "revision": 0, "holder": ""}
        self.store.outbox.offer(TOPIC, _key(run_id), content, run_id)

    def waiting(self, run_id: str | None = None) -> list[WaitingMessage]:
        return self.store.outbox.waiting(TOPIC, None if run_id is None else _key(run_id))

    def claim(self, run_id: str, *, from_start: bool = False) -> Claim | None:
        """None when nothing of the run waits, or another records it. `from_start`: all of it comes again."""
        found = self.waiting(run_id)
        if not found or found[0].refused:
            return None
        seen = found[0]
        holder = str(seen.message.payload.get("holder", ""))
        dead = seen.held_seconds > 0 and self.is_dead(holder)
        revision = 0 if from_start else cast("int", seen.message.payload.get("revision", 0))
        content: JsonObject = {"run_id": run_id, "revision": revision, "holder": self.holder}
        message = self.store.outbox.take(seen.message, content, LEASE_SECONDS, by_force=dead)
        if message is None:
            return None
        refused = {} if from_start else refusals(seen)
        return Claim(self.store, message, self.holder, revision, refused)


def refusals(waiting: WaitingMessage) -> dict[str, str]:
    """What MLflow has refused for good, by task path."""
    return {
        path: str(error)
        for path, error in cast("JsonObject", waiting.message.payload.get("refused", {})).items()
    }


def run_of(waiting: WaitingMessage) -> str:
    return _run_id(waiting.message)


def revision_of(waiting: WaitingMessage) -> int:
    return cast("int", waiting.message.payload.get("revision", 0))


def _run_id(message: Message) -> str:
    return str(message.payload["run_id"])


def _key(run_id: str) -> str:
    return f"{TOPIC}/{run_id}"
