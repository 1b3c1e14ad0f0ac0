"""`python -m tests.benchmarks.celery_side ours|bare`: a Celery worker for a benchmark.

penstock's, whose tasks end as they begin, or one of bare Celery. Where they find what, the environment says.
"""

from __future__ import annotations

import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from celery import Celery  # pyright: ignore[reportMissingTypeStubs]

from penstock.execution.local_control import LocalControl
from penstock.execution.settings import load_settings
from penstock.execution.workspace import Workspace
from penstock_workers.engine.asking import Asking
from penstock_workers.engine.broker import Broker
from penstock_workers.engine.drive import Drive, Limits
from penstock_workers.engine.stepper import Stepper
from tests.unit.workers.worlds import Cluster

CONCURRENCY = 8
DONE = "bench:done"


def bare_app(url: str) -> Any:
    """`noop` ends at once; `count` says in the list DONE that it was called so many times."""
    app: Any = Celery("bare", broker=url, backend=url)
    app.conf.update(worker_hijack_root_logger=False, task_default_queue="bare", result_expires=600)
    lock, called = threading.Lock(), [0]

    def noop(*given: object) -> int:
        return 1

    def count(many: int) -> None:
        with lock:
            called[0] += 1
            full = called[0] == many
            called[0] = 0 if full else called[0]
        if full:
            app.backend.client.rpush(DONE, many)

    app.task(noop, name="bare.noop")
    app.task(count, name="bare.count", ignore_result=True)
    return app


def main() -> None:
    if sys.argv[1] == "bare":
        app = bare_app(os.environ["PENSTOCK_BROKER_URL"])
        app.worker_main(
            ["worker", "--pool=threads", f"--concurrency={CONCURRENCY}", "--loglevel=error", "--queues=bare"]
        )
        return
    settings = load_settings()
    broker, cluster, threads = Broker(settings), Cluster(at_once=True), ThreadPoolExecutor(CONCURRENCY)
    with Workspace(settings) as workspace:
        store = workspace.store

        def open_drive(run_id: str) -> Drive:
            control = LocalControl(store, cluster, lambda values: True, "bench", exclusive=True)
            return Drive(store, control, run_id, Limits(500), Asking(cluster), threads)

        def hurry(run_id: str, seconds: float) -> None:
            broker.hurry(run_id, seconds=seconds)

        stepper = Stepper(store, open_drive, hurry)
        broker.serve(stepper.advance, pool="threads", concurrency=CONCURRENCY, queues=[], log_level="error")


if __name__ == "__main__":
    main()
