"""The outbox: what must reach the outside, recorded in the transaction that gave cause to it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from penstock.model import Json
from penstock.store.columns import dump, load_object, plain
from penstock.store.connection import Database
from penstock.store.dialect import SECONDS, database_clock, insert_if_absent
from penstock.store.ids import new_id
from penstock.store.records import Message, WaitingMessage
from penstock.store.schema import outbox

_o = outbox.c
_WAITING = (
    sa.select(_o.id, _o.topic, _o.key, _o.payload, _o.attempts, _o.created_at)
    .where(_o.delivered_at.is_(None), _o.available_at <= database_clock())
    .order_by(_o.available_at, _o.id)
    .limit(sa.bindparam("many"))
    .with_for_update(skip_locked=True)
)
_WAITING_ON_TOPIC = _WAITING.where(_o.topic == sa.bindparam("about"))
_AFTER = database_clock() + sa.bindparam("seconds", type_=SECONDS)
_ONE = _o.id == sa.bindparam("message")
_CLAIM = sa.update(outbox).where(_ONE).values(available_at=_AFTER, attempts=_o.attempts + 1)
_DELIVERED = (
    sa.update(outbox).where(_ONE, _o.delivered_at.is_(None)).values(delivered_at=database_clock(), error="")
)
_FAILED = (
    sa.update(outbox)
    .where(_ONE, _o.delivered_at.is_(None))
    .values(available_at=_AFTER, error=sa.bindparam("sentence"))
)
_NEVER = 1e18
"""The time at which a refused message is offered: no lease or delay ends so late."""

WAITING_RUNS = (
    sa.select(_o.run_id, _o.topic)
    .where(
        _o.run_id.in_(sa.bindparam("wanted", expanding=True)),
        _o.delivered_at.is_(None),
        _o.available_at < _NEVER / 2,
    )
    .distinct()
)
"""Those of the runs that a message tells of which is still to be delivered, and where to."""

_LEFT = (_o.available_at - database_clock()).label("left")
_OFFER = (
    sa.update(outbox)
    .where(_o.key == sa.bindparam("name"), sa.or_(_o.delivered_at.is_not(None), _o.available_at >= _NEVER))
    .values(delivered_at=None, available_at=0.0, error="")
)
_UNDELIVERED = (
    sa.select(_o.id, _o.topic, _o.key, _o.payload, _o.attempts, _o.created_at, _o.error, _LEFT)
    .where(_o.delivered_at.is_(None), _o.topic == sa.bindparam("about"))
    .order_by(_o.created_at, _o.id)
)
_UNDELIVERED_ONE = _UNDELIVERED.where(_o.key == sa.bindparam("name"))
_AS_SEEN = sa.and_(_ONE, _o.attempts == sa.bindparam("seen"), _o.delivered_at.is_(None))
_KEEP = sa.update(outbox).where(_AS_SEEN).values(available_at=_AFTER, payload=sa.bindparam("content"))
_SEIZE = _KEEP.values(attempts=_o.attempts + 1)
_TAKE = _SEIZE.where(_o.available_at <= database_clock())
_HAND_BACK = (
    sa.update(outbox).where(_AS_SEEN).values(available_at=sa.bindparam("at"), error=sa.bindparam("sentence"))
)


class Outbox:
    """Messages, each delivered once; and *standing* messages, one a key for good, which are offered again
    whenever there is more to deliver. One of those is claimed, kept and handed back by its key; a claim is
    fenced by `attempts`, so that who was overtaken changes nothing.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, topic: str, key: str, payload: Mapping[str, Json], run_id: str | None = None) -> bool:
        """Record a message once for its key. False when the key was used before.

        The run that it tells of is not removed before the message is delivered, and then takes it along.
        """
        now = time.time()
        new: dict[str, Any] = {
            "id": new_id(),
            "topic": topic,
            "run_id": run_id,
            "key": key,
            "payload": dump(payload),
            "error": "",
            "attempts": 0,
            "created_at": now,
            "available_at": 0.0,
            "delivered_at": None,
        }
        with self._database.write() as connection:
            return connection.execute(insert_if_absent(connection, outbox), new).rowcount == 1

    def claim_batch(
        self, limit: int = 32, *, lease_seconds: float = 60.0, topic: str | None = None
    ) -> list[Message]:
        """Messages to deliver, oldest first, nobody else's for `lease_seconds`; unmarked they come again."""
        with self._database.write() as connection:
            if topic is None:
                rows = connection.execute(_WAITING, {"many": limit}).all()
            else:
                rows = connection.execute(_WAITING_ON_TOPIC, {"many": limit, "about": topic}).all()
            if rows:
                connection.execute(_CLAIM, [{"message": row[0], "seconds": lease_seconds} for row in rows])
        return [
            Message(message_id, topic, key, load_object(payload), attempts + 1, created_at)
            for message_id, topic, key, payload, attempts, created_at in rows
        ]

    def mark_delivered(self, message_id: str) -> bool:
        """False when it was marked before."""
        with self._database.write() as connection:
            return connection.execute(_DELIVERED, {"message": message_id}).rowcount == 1

    def mark_failed(self, message_id: str, error: str, retry_seconds: float) -> bool:
        """Offer the message again after `retry_seconds`. False when it was delivered meanwhile."""
        changed = {"message": message_id, "sentence": plain(error), "seconds": retry_seconds}
        with self._database.write() as connection:
            return connection.execute(_FAILED, changed).rowcount == 1

    def offer(self, topic: str, key: str, payload: Mapping[str, Json], run_id: str | None = None) -> None:
        """Record a standing message; one that was delivered or refused is offered again as it is."""
        with self._database.write() as connection:
            if not self.add(topic, key, payload, run_id):
                connection.execute(_OFFER, {"name": key})

    def waiting(self, topic: str, key: str | None = None) -> list[WaitingMessage]:
        """The messages that are not delivered, claimed and refused ones too, oldest first."""
        with self._database.read() as connection:
            if key is None:
                rows = connection.execute(_UNDELIVERED, {"about": topic}).all()
            else:
                rows = connection.execute(_UNDELIVERED_ONE, {"about": topic, "name": key}).all()
        return [
            WaitingMessage(
                Message(message_id, topic, key, load_object(payload), attempts, created_at),
                error,
                refused=left >= _NEVER / 2,
                held_seconds=max(left, 0.0) if left < _NEVER / 2 else 0.0,
            )
            for message_id, topic, key, payload, attempts, created_at, error, left in rows
        ]

    def take(
        self, message: Message, payload: Mapping[str, Json], seconds: float, *, by_force: bool = False
    ) -> Message | None:
        """Claim a standing message as `waiting` gave it, with a new payload.

        None when another was quicker, or holds it; `by_force` is for a holder who is known to be dead.
        """
        changed = _claim(message, payload, seconds)
        with self._database.write() as connection:
            taken = connection.execute(_SEIZE if by_force else _TAKE, changed).rowcount == 1
        if not taken:
            return None
        return replace(message, payload=dict(payload), attempts=message.attempts + 1)

    def keep(self, message: Message, payload: Mapping[str, Json], seconds: float) -> bool:
        """Hold a claimed message for `seconds` more, with a new payload. False when another has it by now."""
        changed = _claim(message, payload, seconds)
        with self._database.write() as connection:
            return connection.execute(_KEEP, changed).rowcount == 1

    def hand_back(self, message: Message, error: str, *, refused: bool = False) -> bool:
        """Let go of a claimed message, for whoever comes next or, if `refused`, until it is offered again.

        False when another has it by now.
        """
        changed = {
            "message": message.id,
            "seen": message.attempts,
            "sentence": plain(error),
            "at": _NEVER if refused else 0.0,
        }
        with self._database.write() as connection:
            return connection.execute(_HAND_BACK, changed).rowcount == 1


def _claim(message: Message, payload: Mapping[str, Json], seconds: float) -> dict[str, Any]:
    return {
        "message": message.id,
        "seen": message.attempts,
        "seconds": seconds,
        "content": dump(payload),
    }
