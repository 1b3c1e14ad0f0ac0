"""The broker, by Celery: one kind of task, and settings with their reasons. No other module knows Celery.

The store has everything (see `penstock.store.agenda`); a message only says that a run is due. So nothing here
tries to keep messages from being lost or doubled.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, Final

from celery import Celery  # pyright: ignore[reportMissingTypeStubs]
from kombu.exceptions import OperationalError

from penstock.errors import InvalidInputError
from penstock.execution.secrets.known import KNOWN
from penstock.execution.settings import Settings, mask_url

ADVANCE: Final = "penstock.advance"
QUEUE: Final = "penstock"
PRIORITIES: Final = 10
"""Priorities are 0 to 9, and 9 comes first, as in RabbitMQ."""
_CONNECT_SECONDS: Final = 3.0
_MESSAGE_SECONDS: Final = 600.0
"""After which a message that nobody took is of no use: the agenda has sent others since."""

logger = logging.getLogger(__name__)
logger.addFilter(KNOWN)

_CONFIGURATION: Final[dict[str, Any]] = {
    "task_default_queue": QUEUE,
    "task_create_missing_queues": True,
    "task_ignore_result": True,
    "task_serializer": "json",
    "accept_content": ["json"],
    # Acknowledged when it begins: a step that dies is due again when its lease ends, so nothing is ever
    # delivered again, and no visibility timeout of Redis can have one step done several times.
    "task_acks_late": False,
    "task_reject_on_worker_lost": False,
    # A worker holds no more than it works on; what one would hold back, another does at once.
    "worker_prefetch_multiplier": 1,
    # A worker that starts before its broker waits for it, and one that loses it comes back; the step that
    # it is at goes on meanwhile, since it needs the store and not the broker.
    "broker_connection_retry_on_startup": True,
    "broker_connection_max_retries": None,
    "worker_cancel_long_running_tasks_on_connection_loss": False,
    "broker_connection_timeout": _CONNECT_SECONDS,
    "broker_transport_options": {
        # Sorted by priority within a queue; Redis has a list for each of these.
        "queue_order_strategy": "priority",
        "priority_steps": list(range(PRIORITIES)),
        "socket_connect_timeout": _CONNECT_SECONDS,
        "socket_timeout": 30.0,
        "socket_keepalive": True,
        "health_check_interval": 10,
    },
    # Nobody revokes, inspects or times these steps.
    "worker_send_task_events": False,
    "worker_hijack_root_logger": False,
    "task_store_errors_even_if_ignored": False,
}


class Broker:
    """Raises InvalidInputError when no broker is named."""

    def __init__(self, settings: Settings) -> None:
        url = settings.foreign["broker_url"]
        if not url:
            raise InvalidInputError(
                "engine 'celery' needs a broker: set PENSTOCK_BROKER_URL, such as redis://localhost:6379/0"
            )
        self.place = mask_url(url)
        self._app: Any = Celery("penstock", broker=url, set_as_current=False)
        self._app.conf.update(_CONFIGURATION)
        self._silent = False

    def hurry(self, run_id: str, queue: str = "", priority: int = 0, seconds: float = 0.0) -> bool:
        """Tell the workers that a run is due, in `seconds`. False when the message cannot be sent: the run is
        looked at a little later then.
        """
        options: dict[str, Any] = {"countdown": seconds} if seconds else {}
        try:
            self._app.send_task(
                ADVANCE,
                (run_id,),
                queue=queue or QUEUE,
                # Celery has 0 first where the broker is Redis.
                priority=PRIORITIES - 1 - min(max(priority, 0), PRIORITIES - 1),
                expires=_MESSAGE_SECONDS,
                retry=False,
                ignore_result=True,
                **options,
            )
        except (OperationalError, OSError) as error:
            if not self._silent:
                logger.warning("the broker at %s does not answer: %s", self.place, mask_url(str(error)))
            self._silent = True
            return False
        if self._silent:
            logger.warning("the broker at %s answers again", self.place)
        self._silent = False
        return True

    def check(self) -> None:
        """Raises InvalidInputError when the broker cannot be used."""
        try:
            with self._app.connection_for_write() as connection:
                connection.ensure_connection(max_retries=0, timeout=_CONNECT_SECONDS)
        except Exception as error:
            raise InvalidInputError(
                f"the broker at {self.place} cannot be used: {mask_url(str(error))}; see PENSTOCK_BROKER_URL"
            ) from error

    def serve(
        self,
        advance: Callable[[str], None],
        *,
        pool: str,
        concurrency: int,
        queues: Sequence[str],
        log_level: str,
    ) -> None:
        """Call `advance` with each run that is due, until SIGTERM or SIGINT; steps that were begun are
        finished then. A second signal ends it at once.
        """
        self._app.task(advance, name=ADVANCE, ignore_result=True)
        self._app.worker_main(
            [
                "worker",
                f"--pool={pool}",
                f"--concurrency={concurrency}",
                f"--queues={','.join(queues or [QUEUE])}",
                f"--loglevel={log_level}",
                # Workers need not know each other: they meet in the store.
                "--without-gossip",
                "--without-mingle",
            ]
        )
