"""The watch of pods: whatever breaks, what stands is known in the end."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from typing import Any, cast

import pytest

from penstock_workers.kubernetes.api import Change, KubernetesApi, Listing
from penstock_workers.kubernetes.faults import GoneError, UnreachableError
from penstock_workers.kubernetes.watcher import Expected, Watcher


class Cluster:
    """Answers lists with `pods`, watches with what is put into `events`: an exception there breaks the watch,
    None ends it.
    """

    def __init__(self) -> None:
        self.pods: dict[str, Any] = {}
        self.events: queue.SimpleQueue[Change | Exception | None] = queue.SimpleQueue()
        self.lists = 0
        self.versions: list[str] = []
        self.stopped = threading.Event()
        self.watchers: list[Watcher] = []

    def list(self, kind: str, selector: str = "", namespace: str = "") -> Listing:
        self.lists += 1
        return Listing(tuple(self.pods.values()), f"v{self.lists}")

    def watch(self, kind: str, selector: str, version: str, namespace: str = "") -> Iterator[Change]:
        self.versions.append(version)
        while not self.stopped.is_set():
            try:
                event = self.events.get(timeout=0.05)
            except queue.Empty:
                continue
            if event is None:
                return
            if isinstance(event, Exception):
                raise event
            yield event


def pod(name: str, phase: str, version: str = "1") -> dict[str, Any]:
    return {"metadata": {"name": name, "resourceVersion": version}, "status": {"phase": phase}}


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    found = Cluster()
    yield found
    found.stopped.set()
    for one in found.watchers:
        one.stop()


def until(condition: Any) -> None:
    waiting = threading.Event()
    for _ in range(500):
        if condition():
            return
        waiting.wait(0.01)
    raise AssertionError("it did not come to that")


def follow(watching: Watcher, name: str, phase: str = "Pending") -> Expected:
    """As who makes a pod does."""
    expected = watching.expect(name)
    watching.arrived(name, pod(name, phase))
    return expected


def watcher(cluster: Cluster, **more: Any) -> Watcher:
    found = Watcher(cast("KubernetesApi", cluster), "x=y", **more)
    cluster.watchers.append(found)
    return found


def test_a_change_reaches_who_expects_the_pod(cluster: Cluster) -> None:
    expected = follow(watcher(cluster), "a")
    cluster.events.put(Change("MODIFIED", pod("a", "Running")))

    until(lambda: expected.pod == pod("a", "Running"))
    assert not expected.gone


def test_a_deleted_pod_is_gone_with_its_last_state(cluster: Cluster) -> None:
    expected = follow(watcher(cluster), "a")
    cluster.events.put(Change("DELETED", pod("a", "Succeeded")))

    until(lambda: expected.gone)
    assert expected.pod == pod("a", "Succeeded")


@pytest.mark.parametrize("broken", [GoneError("too old"), UnreachableError("away"), RuntimeError("a bug")])
def test_what_happened_while_the_watch_was_lost_is_seen(cluster: Cluster, broken: Exception) -> None:
    cluster.pods = {"a": pod("a", "Pending"), "b": pod("b", "Pending")}
    watching = watcher(cluster)
    ended, vanished = (follow(watching, name) for name in ("a", "b"))
    until(lambda: cluster.versions)
    cluster.pods = {"a": pod("a", "Succeeded")}
    cluster.events.put(broken)

    until(lambda: ended.pod == pod("a", "Succeeded") and vanished.gone)


def test_a_bookmark_moves_the_place_from_which_it_goes_on(cluster: Cluster) -> None:
    cluster.pods = {"a": pod("a", "Pending")}
    watching = watcher(cluster)
    expected = follow(watching, "a")
    cluster.events.put(Change("BOOKMARK", {"metadata": {"resourceVersion": "77"}}))
    cluster.events.put(None)

    until(lambda: cluster.versions == ["v1", "77"])
    assert expected.pod == pod("a", "Pending")


def test_a_cluster_that_is_away_is_told_as_trouble(cluster: Cluster) -> None:
    watching = watcher(cluster)
    follow(watching, "a")
    until(lambda: cluster.versions)
    cluster.events.put(UnreachableError("the server is away"))

    until(lambda: watching.trouble == "the server is away")
    until(lambda: not watching.trouble)


def test_a_pod_made_after_the_list_began_is_not_taken_for_gone(cluster: Cluster) -> None:
    watching = watcher(cluster)
    follow(watching, "other")
    until(lambda: cluster.versions)
    expected = watching.expect("new")
    cluster.events.put(GoneError("too old"))

    until(lambda: cluster.lists > 1)
    assert not expected.gone


def test_a_pod_that_ends_before_its_maker_hears_of_it_has_ended(cluster: Cluster) -> None:
    watching = watcher(cluster)
    expected = watching.expect("a")
    cluster.events.put(Change("MODIFIED", pod("a", "Succeeded")))
    until(lambda: expected.pod is not None)

    watching.arrived("a", pod("a", "Pending"))

    assert expected.pod == pod("a", "Succeeded")


def test_every_change_is_told_to_who_follows_all(cluster: Cluster) -> None:
    told: list[tuple[str, bool]] = []
    watching = watcher(cluster, on_pod=lambda found, gone: told.append((found["metadata"]["name"], gone)))
    watching.start()
    cluster.events.put(Change("ADDED", pod("a", "Pending")))
    cluster.events.put(Change("DELETED", pod("a", "Pending")))

    until(lambda: told == [("a", False), ("a", True)])
