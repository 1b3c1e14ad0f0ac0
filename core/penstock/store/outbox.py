"""The outbox: what must reach the outside, recorded in the transaction that gave cause to it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from penstock.model import Json
from penstock.store.columns import dump, load_object, plain
from penstock.store.connection import Database
from penstock.store.dialect import SECONDS, database_clock, insert_if_absent
from penstock.store.ids import new_id
from penstock.store.records import Message
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


class Outbox:
    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, topic: str, key: str, payload: Mapping[str, Json]) -> bool:
        """Record a message once for its key. False when the key was used before."""
        now = time.time()
        new: dict[str, Any] = {
            "id": new_id(),
            "topic": topic,
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
