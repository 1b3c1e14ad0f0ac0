"""Attempts as pods that nobody waits for: launched by one, seen by another, collected by a third."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pytest

from penstock.execution.launcher import LauncherError
from penstock.execution.manifest import Outcome, OutputManifest
from penstock.execution.options import RunOptions
from penstock.execution.order import LaunchOrder
from penstock.execution.workspace import Workspace
from penstock.model import ParameterType, Reason
from penstock_workers.kubernetes import names
from penstock_workers.kubernetes.api import KubernetesApi
from penstock_workers.kubernetes.connection import connect
from penstock_workers.kubernetes.launcher import KubernetesLauncher
from penstock_workers.kubernetes.reaper import YOUNG, Keeping, Reaper
from penstock_workers.remote import RemoteLauncher, Seen
from tests.integration.kubernetes_service import PYTHON, kubernetes_workspace
from tests.services import need
from tests.unit.workers import launching

pytestmark = [pytest.mark.service("kubernetes"), pytest.mark.service("s3")]

NOWHERE = {"nodeSelector": {"labels": {"no-such": "node"}}}
VALUE = "{{$.outputs.parameters['n'].output_file}}"


@pytest.fixture
def workspace(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    with kubernetes_workspace(home, monkeypatch, kubernetes_pending_seconds="60") as found:
        yield found


@pytest.fixture
def launcher(workspace: Workspace) -> Iterator[KubernetesLauncher]:
    found = workspace.launcher(RunOptions())
    assert isinstance(found, KubernetesLauncher)
    yield found
    found.reap(lambda run, attempt: False)
    found.close()
    Reaper(connect(), workspace.settings.installation, clock=later(YOUNG)).reap(dead, lambda run: False)


@pytest.fixture
def api(workspace: Workspace) -> KubernetesApi:
    return connect()


def later(seconds: float) -> Callable[[], float]:
    return lambda: time.time() + seconds + 5


def dead(run: str, attempt: str) -> bool:
    return False


@dataclass
class Told:
    """What a watch tells, for one test to wait on."""

    seen: list[Seen] = field(default_factory=list[Seen])
    heard: threading.Condition = field(default_factory=threading.Condition)
    refuse: int = 0

    def __call__(self, seen: Seen) -> None:
        with self.heard:
            self.seen.append(seen)
            self.heard.notify_all()
            if self.refuse:
                self.refuse -= 1
                raise RuntimeError("the database is away")

    def until(self, that: Callable[[Seen], bool], times: int = 1, seconds: float = 60.0) -> Seen:
        with self.heard:
            found = self.heard.wait_for(lambda: sum(map(that, self.seen)) >= times, seconds)
            assert found, self.seen
            return next(one for one in reversed(self.seen) if that(one))

    def end(self, order: LaunchOrder, times: int = 1) -> Seen:
        return self.until(lambda one: one.ended and one.attempt_id == order.attempt_id, times)


@contextmanager
def watching(launcher: RemoteLauncher, told: Told | None = None) -> Generator[Told]:
    found, stopped = told or Told(), threading.Event()
    thread = threading.Thread(target=launcher.watch, args=(found, stopped))
    thread.start()
    try:
        yield found
    finally:
        stopped.set()
        thread.join(10)
        assert not thread.is_alive()


def script(workspace: Workspace, text: str, *, plain: bool = True, **more: Any) -> LaunchOrder:
    outputs = {} if plain else {"outputs": {"n": ParameterType.NUMBER_INTEGER}}
    words = ("sh", "-ec", text) if plain else ("sh", "-ec", text, VALUE)
    return launching.order(
        *words, image=PYTHON, root=workspace.settings.pipeline_root, **cast("dict[str, Any]", outputs), **more
    )


def launch(launcher: RemoteLauncher, order: LaunchOrder) -> None:
    assert launcher.launch(order) is None


def pod_of(api: KubernetesApi, workspace: Workspace, order: LaunchOrder) -> dict[str, Any] | None:
    found = api.get("pods", names.pod_name(workspace.settings.installation, order))
    return cast("dict[str, Any] | None", found)


def until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    end, pause = time.monotonic() + seconds, threading.Event()
    while not condition():
        assert time.monotonic() < end, "it did not come to that"
        pause.wait(0.1)


def phase(api: KubernetesApi, workspace: Workspace, order: LaunchOrder) -> str:
    pod = pod_of(api, workspace, order)
    return pod["status"]["phase"] if pod else ""


@pytest.mark.parametrize("plain", [True, False], ids=["plain", "in place"])
def test_who_watches_sees_the_end_and_anybody_collects_it(
    workspace: Workspace, launcher: KubernetesLauncher, api: KubernetesApi, plain: bool
) -> None:
    order = script(workspace, "echo made" + ("" if plain else '; printf 42 >"$0"'), plain=plain)
    with watching(launcher) as told:
        launch(launcher, order)
        seen = told.end(order)
    other = cast("KubernetesLauncher", workspace.launcher(RunOptions()))

    found = other.collect(order, seen.what)

    assert (found.outcome, found.exit_code) == (Outcome.SUCCEEDED, 0)
    assert found.parameters == ({} if plain else {"n": 42})
    assert list(other.log(order.run.run_id, order.attempt_id, place=found.log)) == ["made"]
    assert not [one for one in told.seen if not one.ended and one.why]
    other.forget(order, found)
    other.close()
    until(lambda: pod_of(api, workspace, order) is None)


def test_launching_again_finds_the_pod(
    workspace: Workspace, launcher: KubernetesLauncher, api: KubernetesApi
) -> None:
    order = script(workspace, "sleep 2")

    launch(launcher, order)
    first = pod_of(api, workspace, order)
    launch(launcher, order)
    second = pod_of(api, workspace, order)

    assert first is not None
    assert second is not None
    assert first["metadata"]["uid"] == second["metadata"]["uid"]


def test_a_pod_deleted_by_hand_before_it_ran_is_lost_and_its_end_is_kept_until_it_is_recorded(
    workspace: Workspace, launcher: KubernetesLauncher, api: KubernetesApi
) -> None:
    order = script(workspace, "true", platform=NOWHERE)
    launch(launcher, order)

    assert api.delete("pods", names.pod_name(workspace.settings.installation, order), grace=0)

    with watching(launcher) as told:
        seen = told.end(order)
    found = launcher.collect(order, seen.what)
    assert (found.outcome, found.reason) == (Outcome.LOST, Reason.LOST)
    assert found.error == "the pod of task 'train' was deleted from outside before it ran"
    assert pod_of(api, workspace, order) is not None
    launcher.forget(order, found)
    until(lambda: pod_of(api, workspace, order) is None)


@pytest.mark.parametrize("plain", [True, False], ids=["plain", "in place"])
@pytest.mark.parametrize("grace", [0.0, 20.0], ids=["at once", "with time to end"])
def test_a_pod_deleted_by_hand_while_it_ran_is_lost(
    workspace: Workspace, launcher: KubernetesLauncher, api: KubernetesApi, plain: bool, grace: float
) -> None:
    order = script(workspace, "trap 'exit 143' TERM; while :; do sleep 0.1; done", plain=plain)
    launch(launcher, order)
    until(lambda: phase(api, workspace, order) == "Running")

    api.delete("pods", names.pod_name(workspace.settings.installation, order), grace=grace)

    with watching(launcher) as told:
        found = launcher.collect(order, told.end(order).what)
    assert (found.outcome, found.reason) == (Outcome.LOST, Reason.LOST)
    assert found.error == "the pod of task 'train' was deleted from outside while it ran"


def test_an_end_that_nobody_saw_is_told_first_and_again_to_who_could_not_take_it(
    workspace: Workspace, launcher: KubernetesLauncher, api: KubernetesApi
) -> None:
    order = script(workspace, "exit 3")
    launch(launcher, order)
    until(lambda: phase(api, workspace, order) == "Failed")

    with watching(launcher, Told(refuse=1)) as told:
        told.end(order, times=2)
    with watching(launcher) as told:
        found = launcher.collect(order, told.end(order).what)

    assert (found.outcome, found.exit_code) == (Outcome.FAILED, 3)


def test_what_a_pod_waits_for_is_told_once_and_that_it_will_never_come_is_its_end(
    workspace: Workspace, launcher: KubernetesLauncher, api: KubernetesApi
) -> None:
    order = replace(script(workspace, "true"), task_name="t")
    order = replace(order, executor=replace(cast("Any", order.executor), image="no.such.registry/x:1"))
    with watching(launcher) as told:
        launch(launcher, order)
        told.until(lambda one: "image 'no.such.registry/x:1' of task 't' cannot be pulled" in one.why)
        seen = told.end(order)

    found = launcher.collect(order, seen.what)

    assert (found.outcome, found.reason) == (Outcome.FAILED, Reason.IMAGE)
    assert "cannot be pulled" in found.error
    whys = [one.why for one in told.seen if not one.ended]
    assert len(whys) == len(set(whys)), whys
    assert cast("dict[str, Any]", pod_of(api, workspace, order))["metadata"]["deletionTimestamp"]


def test_an_unschedulable_pod_says_why(workspace: Workspace, launcher: KubernetesLauncher) -> None:
    order = script(workspace, "true", platform=NOWHERE)
    with watching(launcher) as told:
        launch(launcher, order)
        seen = told.until(lambda one: bool(one.why))

    assert seen.why.startswith("no node can take the pod of task 'train': 0/1 nodes are available")


def test_a_volume_that_is_not_there_is_told(workspace: Workspace, launcher: KubernetesLauncher) -> None:
    volume = {"secretName": "no-such-secret", "mountPath": "/keys"}
    order = script(workspace, "true", platform={"secretAsVolume": [volume]})
    with watching(launcher) as told:
        launch(launcher, order)
        seen = told.until(lambda one: bool(one.why))

    assert seen.why.startswith("the pod of task 'train' cannot be set up: MountVolume.SetUp failed")
    assert 'secret "no-such-secret" not found' in seen.why


def test_an_attempt_that_is_ended_is_canceled_and_what_it_wrote_is_kept(
    workspace: Workspace, launcher: KubernetesLauncher, api: KubernetesApi
) -> None:
    order = script(workspace, "echo begun; while :; do sleep 0.1; done")
    assert not launcher.end(order, grace=1.0)
    launch(launcher, order)
    until(lambda: phase(api, workspace, order) == "Running")

    assert launcher.end(order, grace=1.0)
    assert launcher.end(order, grace=0.0)

    with watching(launcher) as told:
        found = launcher.collect(order, told.end(order).what)
    assert found.outcome is Outcome.CANCELED
    assert list(launcher.log(order.run.run_id, order.attempt_id, place=found.log)) == ["begun"]


def test_a_kept_pod_is_told_no_more_and_goes_after_its_time(
    workspace: Workspace, launcher: KubernetesLauncher, api: KubernetesApi
) -> None:
    order = script(workspace, "true")
    launch(launcher, order)
    until(lambda: phase(api, workspace, order) == "Succeeded")
    keeping = Keeping("keep", seconds=3600)
    installation, name = (
        workspace.settings.installation,
        names.pod_name(workspace.settings.installation, order),
    )

    Reaper(api, installation, keeping).release(name, failed=False)

    pod = pod_of(api, workspace, order)
    assert pod is not None
    assert "finalizers" not in pod["metadata"]
    marker = replace(script(workspace, "true"), attempt_id="attempt-2")
    with watching(launcher) as told:
        launch(launcher, marker)
        told.end(marker)
    assert {one.attempt_id for one in told.seen if one.ended} == {"attempt-2"}
    lives = lambda run, attempt: attempt == "attempt-2"  # noqa: E731
    assert Reaper(api, installation, keeping, clock=later(1800)).reap(lives, lambda run: True) == 0
    assert Reaper(api, installation, keeping, clock=later(3600)).reap(lives, lambda run: True) == 1
    assert pod_of(api, workspace, order) is None


def test_orphans_are_reaped_and_what_lives_or_is_young_is_not(
    workspace: Workspace, launcher: KubernetesLauncher, api: KubernetesApi
) -> None:
    alive, orphan = (
        replace(script(workspace, "sleep 100"), attempt_id=one, workspace=True) for one in ("alive", "orphan")
    )
    for order in (alive, orphan):
        launch(launcher, order)
    lives = lambda run, attempt: attempt == "alive"  # noqa: E731
    installation = workspace.settings.installation

    assert launcher.reap(lives) == 0
    assert Reaper(api, installation, clock=later(YOUNG)).reap(lives, lambda run: True) == 1

    until(lambda: pod_of(api, workspace, orphan) is None)
    assert pod_of(api, workspace, alive) is not None
    assert Reaper(api, installation, clock=later(YOUNG)).reap(dead, lambda run: False) == 2


def test_a_cluster_that_is_away_is_asked_again_later(
    workspace: Workspace, launcher: KubernetesLauncher, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    nowhere = tmp_path / "kubeconfig"
    text = Path(need("kubernetes")).read_text()
    nowhere.write_text(re.sub(r"server: [^\s,}]+", "server: https://127.0.0.1:1", text))
    with monkeypatch.context() as patch:
        patch.setenv("KUBECONFIG", str(nowhere))
        away = cast("KubernetesLauncher", workspace.launcher(RunOptions()))
    order = script(workspace, "true")

    for verb in (
        lambda: away.launch(order),
        lambda: away.end(order, 1.0),
        lambda: away.collect(order, {}),
        lambda: away.reap(dead),
    ):
        with pytest.raises(LauncherError, match="cannot be reached"):
            verb()
    away.close()


def test_a_pod_that_the_cluster_refuses_has_ended(workspace: Workspace, launcher: KubernetesLauncher) -> None:
    order = script(
        workspace,
        "true",
        platform={
            "secretAsEnv": [{"secretName": "Bad Name", "keyToEnv": [{"secretKey": "k", "envVar": "E"}]}]
        },
    )

    found = launcher.launch(order)

    assert isinstance(found, OutputManifest)
    assert (found.outcome, found.reason) == (Outcome.FAILED, Reason.INPUT)
    assert "Bad Name" in found.error
