"""MLflow as the engine's tracker: a thread delivers while a run goes on, and tasks learn their MLflow run."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Final

from penstock.errors import PenstockError
from penstock.execution.order import LaunchOrder
from penstock.execution.owner import is_dead
from penstock.execution.settings import mask_url
from penstock.execution.workspace import Workspace
from penstock.model import ContainerExecutor
from penstock.tracking.backlog import Backlog
from penstock.tracking.claims import Claims
from penstock.tracking.follower import Follower
from penstock.tracking.server import Server
from penstock.tracking.transport import Transport, UnavailableError, open_transport

FLUSH_SECONDS: Final = 5.0

HANDED_ON: Final = (
    *("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN"),
    *("MLFLOW_TRACKING_AUTH", "MLFLOW_TRACKING_AWS_SIGV4", "MLFLOW_WORKSPACE"),
    *("MLFLOW_TRACKING_INSECURE_TLS", "MLFLOW_TRACKING_SERVER_CERT_PATH", "MLFLOW_TRACKING_CLIENT_CERT_PATH"),
    *("MLFLOW_HTTP_REQUEST_TIMEOUT", "MLFLOW_HTTP_REQUEST_MAX_RETRIES"),
)
"""What a task needs to reach the same server; only what is set here is handed on."""

logger = logging.getLogger(__name__)


def open_tracker(workspace: Workspace) -> MlflowTracker:
    """For the entry point `mlflow` in the group `penstock.sinks`. Speaks to no server yet."""
    return MlflowTracker(workspace)


class MlflowTracker:
    """`down` is why MLflow is known not to be usable now; while it says something, no launch waits for it."""

    def __init__(self, workspace: Workspace, environ: Mapping[str, str] = os.environ) -> None:
        engines = workspace.engines
        self._settings = workspace.settings
        self.claims = Claims(workspace.store, workspace.owner.name, lambda name: is_dead(name, engines))
        self.backlog = Backlog(self.claims)
        self._environ = environ
        self._transport: Transport | None = None
        self._followers: dict[str, Follower] = {}
        self.down = ""
        try:
            self._transport = open_transport(self._settings.mlflow_tracking_uri, environ)
        except UnavailableError as error:
            self.down = str(error)

    def begun(self, run_id: str) -> None:
        self.claims.offer(run_id)

    @contextmanager
    def following(self, run_id: str, warn: Callable[[str], None]) -> Generator[None]:
        follower = self._followers[run_id] = Follower(self, run_id)
        follower.start()
        try:
            yield
        finally:
            left = follower.finish(FLUSH_SECONDS)
            del self._followers[run_id]
            if left:
                warn(left)

    def environment(self, order: LaunchOrder) -> Mapping[str, str]:
        """Without a known MLflow run of its own, what the code logs gets tags that say where it came from."""
        executor = order.executor
        if not isinstance(executor, ContainerExecutor) or self._transport is None:
            return {}
        if any(one.name == "MLFLOW_TRACKING_URI" for one in executor.env):
            return {}
        found = self._open(order)
        if not self._settings.mlflow_in_tasks:
            return {}
        given = {name: self._environ[name] for name in HANDED_ON if self._environ.get(name)}
        given["MLFLOW_TRACKING_URI"] = self._settings.mlflow_tracking_uri
        if found is not None:
            experiment, mlflow_id = found
            return {**given, "MLFLOW_EXPERIMENT_ID": experiment, "MLFLOW_RUN_ID": mlflow_id}
        origin = {"penstock.from_run": order.run.run_id, "penstock.from_task": order.path}
        return {**given, "MLFLOW_RUN_CONTEXT": json.dumps(origin)}

    def catch_up(self, enough: Callable[[], bool]) -> None:
        try:
            self.backlog.deliver_others(self.server(FLUSH_SECONDS), enough)
            self.down = ""
        except PenstockError as error:
            self.down = str(error)
            logger.debug("MLflow is told later: %s", error)

    @property
    def place(self) -> str:
        """The server's address, fit to be shown."""
        return mask_url(self._settings.mlflow_tracking_uri)

    def trouble(self, timeout: float) -> str:
        """Why MLflow cannot be used now, or nothing."""
        try:
            self.server(timeout).greet()
        except PenstockError as error:
            return str(error)
        return ""

    def server(self, timeout: float) -> Server:
        """Raises UnavailableError for a place that is no server."""
        if self._transport is None:
            raise UnavailableError(self.down)
        return Server(self._transport, timeout)

    def _open(self, order: LaunchOrder) -> tuple[str, str] | None:
        """The task's MLflow run, if that can be had soon."""
        follower = self._followers.get(order.run.run_id)
        if follower is None:
            return None
        try:
            if not self.down:
                return follower.open_task(order.path)
        except UnavailableError as error:
            self.down = str(error)
        except PenstockError as error:
            logger.debug("task %s has no MLflow run: %s", order.path, error)
        return follower.known(order.path)
