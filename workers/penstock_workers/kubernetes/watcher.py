"""One watch for all pods of a process: list, watch, list again when that is lost. A lost watch loses nothing,
because the next list says what stands.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import cast

from penstock.execution.launcher import LauncherError
from penstock.model import JsonObject
from penstock_workers.kubernetes.api import KubernetesApi
from penstock_workers.kubernetes.faults import GoneError

RELIST_SECONDS = 600.0
"""Now and then the whole is listed, whatever the watch has said."""

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Expected:
    """What is known of one pod; `gone` once it is not there any more (`pod` is its last state then).

    `since` is when it was surely there, infinite until that.
    """

    since: float = float("inf")
    pod: JsonObject | None = None
    gone: bool = False
    changed: threading.Event = field(default_factory=threading.Event)


class Watcher:
    """Follows the pods that a label selector names, in one namespace.

    With `on_pod` every change of every pod is told, from the watcher's own thread: its last state, and
    whether it is gone; with `on_list` the names of all pods there are, after they have been listed. `trouble`
    is why nothing is heard at the moment, in one sentence. `api` is the watcher's own: `stop` ends its calls.
    """

    def __init__(
        self,
        api: KubernetesApi,
        selector: str,
        namespace: str = "",
        on_pod: Callable[[JsonObject, bool], None] | None = None,
        on_list: Callable[[Collection[str]], None] | None = None,
    ) -> None:
        self._api = api
        self._selector = selector
        self._namespace = namespace
        self._on_pod = on_pod
        self._on_list = on_list
        self._lock = threading.Lock()
        self._expected: dict[str, Expected] = {}
        self._version = ""
        self._listed = 0.0
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self.trouble = ""
        self.silent_since: float | None = None

    def start(self) -> None:
        """Idempotent."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="penstock-pods", daemon=True)
                self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._api.stopped.set()

    def expect(self, name: str) -> Expected:
        """From now on the pod is followed: before it is made, because it may end before its maker hears that
        it was made.
        """
        self.start()
        with self._lock:
            return self._expected.setdefault(name, Expected())

    def arrived(self, name: str, pod: JsonObject) -> None:
        """It was made, or found, as `pod`, which may be old news already."""
        with self._lock:
            found = self._expected[name]
            found.since = time.monotonic()
            if found.pod is None:
                found.pod = pod

    def forget(self, name: str) -> None:
        with self._lock:
            self._expected.pop(name, None)

    def _run(self) -> None:
        pause = 0.2
        while not self._stopped.is_set():
            try:
                if not self._version or time.monotonic() - self._listed > RELIST_SECONDS:
                    self._list()
                began = time.monotonic()
                self._watch()
                pause = 0.2
                if time.monotonic() - began < pause:
                    self._stopped.wait(pause)
            except GoneError:
                self._version = ""
            except LauncherError as problem:
                self.trouble = str(problem)
                self.silent_since = self.silent_since or time.monotonic()
                logger.warning("the watch of pods is interrupted: %s", problem)
                self._version = ""
                pause = min(5.0, pause * 2)
                self._stopped.wait(random.uniform(pause / 2, pause))
            except Exception:
                logger.exception("the watch of pods broke")
                self._version = ""
                self._stopped.wait(1.0)

    def _list(self) -> None:
        began = time.monotonic()
        found = self._api.list("pods", self._selector, self._namespace)
        self._heard()
        self._version, self._listed = found.version, began
        names: set[str] = set()
        for pod in found.items:
            names.add(self._take(pod, gone=False))
        with self._lock:
            missing = [
                one
                for name, one in self._expected.items()
                if name not in names and one.since < began and not one.gone
            ]
        for one in missing:
            one.gone = True
            one.changed.set()
        if self._on_list is not None:
            self._on_list(names)

    def _watch(self) -> None:
        for change in self._api.watch("pods", self._selector, self._version, self._namespace):
            self._heard()
            meta = cast("dict[str, str]", change.object["metadata"])
            self._version = meta.get("resourceVersion", self._version)
            if change.type != "BOOKMARK":
                self._take(change.object, gone=change.type == "DELETED")
            if self._stopped.is_set():
                return

    def _heard(self) -> None:
        self.trouble, self.silent_since = "", None

    def _take(self, pod: JsonObject, *, gone: bool) -> str:
        name = str(cast("JsonObject", pod["metadata"])["name"])
        with self._lock:
            expected = self._expected.get(name)
        if expected is not None:
            expected.pod, expected.gone = pod, gone
            expected.changed.set()
        if self._on_pod is not None:
            self._on_pod(pod, gone)
        return name
