"""Which pods there ever were of each attempt, seen from beside penstock with the plain client."""

from __future__ import annotations

import threading
from typing import Any, Self, cast

import urllib3
from kubernetes import watch  # pyright: ignore[reportMissingTypeStubs]
from kubernetes.client.exceptions import ApiException  # pyright: ignore[reportMissingTypeStubs]

from tests.cluster import Cluster

_PAUSE = 0.2
_PATIENCE = 120.0
_WATCH_SECONDS = 30
_GONE = "Gone"


class Sightings:
    """Of the pods of tasks in one namespace, while it is entered."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._pods: dict[str, Any] = {}
        self._changed = threading.Condition()
        self._stopped = threading.Event()
        self._watch: Any = None
        self._thread = threading.Thread(target=self._follow, name="test-sightings", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stopped.set()
        if self._watch is not None:
            self._watch.stop()
        self._thread.join(_WATCH_SECONDS + 10)

    def wait(self, run_id: str, phase: str) -> str:
        """The name of a pod of the run that is in that phase now, which it waits for."""

        def look() -> str:
            for pod in self._pods.values():
                ours = pod.metadata.labels.get("penstock.dev/run") == run_id
                if ours and pod.status.phase == phase and pod.metadata.deletion_timestamp is None:
                    return pod.metadata.name
            return ""

        with self._changed:
            found = self._changed.wait_for(look, _PATIENCE)
            assert found, f"no pod of run {run_id} came to be {phase}"
            return found

    def several(self, run_id: str) -> list[str]:
        """What is wrong: attempts of the run that had more than one pod, one sentence each."""
        found: dict[str, list[str]] = {}
        with self._changed:
            for uid, pod in self._pods.items():
                if pod.metadata.labels.get("penstock.dev/run") == run_id:
                    found.setdefault(pod.metadata.labels["penstock.dev/attempt"], []).append(uid)
        return [f"attempt {one} had {len(uids)} pods" for one, uids in found.items() if len(uids) > 1]

    def _follow(self) -> None:
        while not self._stopped.is_set():
            self._watch = cast("Any", watch).Watch()
            try:
                events = self._watch.stream(
                    self._cluster.api.list_namespaced_pod,
                    self._cluster.namespace,
                    label_selector="penstock.dev/kind=task",
                    timeout_seconds=_WATCH_SECONDS,
                    _request_timeout=_WATCH_SECONDS + 5,
                )
                for event in events:
                    self._take(event["type"], event["object"])
            except (ApiException, urllib3.exceptions.HTTPError, OSError):
                self._stopped.wait(_PAUSE)

    def _take(self, change: str, pod: Any) -> None:
        if change == "DELETED":
            pod.status.phase = _GONE
        with self._changed:
            self._pods[pod.metadata.uid] = pod
            self._changed.notify_all()
