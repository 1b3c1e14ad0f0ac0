"""The launcher seam: who runs one attempt. The process launcher is ours; Kubernetes' lives with the
workers and comes through the entry-point group `penstock.launchers`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint, entry_points
from typing import Protocol, TypeAlias, cast

from penstock.artifacts import ArtifactStore
from penstock.errors import InvalidInputError, PenstockError
from penstock.execution.manifest import OutputManifest
from penstock.execution.options import RunOptions
from penstock.execution.order import LaunchOrder
from penstock.execution.settings import Settings
from penstock.ir.features import FeatureName
from penstock.model import Component, Executor, Json

GROUP = "penstock.launchers"


class LauncherError(PenstockError):
    """What a launcher stands on is not to be had (a cluster that does not answer, a missing permission):
    no fault of the task, whose attempt goes on meanwhile if it was started. The sentence says what to do.
    """


class Attempt(Protocol):
    """A started attempt."""

    def wait(self, timeout: float | None = None) -> OutputManifest | None:
        """The manifest once the attempt has ended and its outputs are staged out; None after `timeout`
        seconds.
        """
        ...

    def stop(self, grace: float = 10.0) -> None:
        """Ask all processes of the attempt to end, and force them after `grace` seconds. Idempotent; does not
        wait.
        """
        ...

    def release(self) -> None:
        """The manifest has been published: what only the attempt needed may go. Idempotent; never raises."""
        ...


@dataclass(slots=True)
class EndedAttempt:
    """One that has left its manifest."""

    manifest: OutputManifest

    def wait(self, timeout: float | None = None) -> OutputManifest | None:
        return self.manifest

    def stop(self, grace: float = 10.0) -> None:
        return

    def release(self) -> None:
        return


@dataclass(frozen=True, slots=True)
class Account:
    """How a launcher would run a component: `exact` when its image says nothing else."""

    exact: bool
    text: str


class Launcher(Protocol):
    """Starts attempts. `emulated` says what it makes of features that it does not do as Kubeflow does."""

    name: str
    emulated: Mapping[FeatureName, str]

    def account(
        self, component: Component, executor: Executor, platform: Mapping[str, Json]
    ) -> Account | None:
        """How it would run the component; None when there is nothing to say. Raises TaskError as `isolation`
        does.
        """
        ...

    def isolation(self, executor: Executor, platform: Mapping[str, Json]) -> str:
        """The isolation class that is part of the cache key: which Python, process or image would run this.

        `platform` is the executor's Kubernetes configuration.

        Raises TaskError (one sentence, naming what could run it) when this launcher refuses the executor.
        """
        ...

    def start(
        self,
        order: LaunchOrder,
        on_line: Callable[[str], None] | None = None,
        canceled: Callable[[], bool] | None = None,
    ) -> Attempt:
        """Stage in and start the attempt; if `order.attempt_id` was started before, adopt it, alive or ended.

        `on_line` receives each line of the log as it is written, without its newline. While the start takes
        long, `canceled` is asked several times a second; then the attempt ends CANCELED without a process.
        """
        ...

    def log(self, run_id: str, attempt_id: str, follow: bool = False, place: str = "") -> Iterator[str]:
        """The attempt's log lines so far; with `follow`, until the attempt ends.

        `place` is the manifest's `log`, once there is one. Raises NotFoundError.
        """
        ...

    def end_run(self, run_id: str) -> None:
        """The run has ended: what its attempts shared may go. Idempotent; never raises."""
        ...

    def close(self) -> None:
        """Let go of connections and threads; attempts go on. Idempotent."""
        ...


@dataclass(frozen=True, slots=True)
class LauncherRequest:
    """What a launcher is opened with; `name` is its own, `store` serves the run's pipeline root."""

    name: str
    settings: Settings
    options: RunOptions
    store: ArtifactStore
    pipeline_root: str


LauncherFactory: TypeAlias = Callable[[LauncherRequest], Launcher]


def open_launcher(request: LauncherRequest) -> Launcher:
    """The launcher of that name: one that penstock.toml describes, or that an installed distribution brings.

    Touches nothing outside of this process. Raises InvalidInputError, naming what is installed.
    """
    kind, settings = request.settings.of_launcher(request.name)
    return cast("LauncherFactory", find_launcher(kind).load())(replace(request, settings=settings))


def find_launcher(name: str) -> EntryPoint:
    """Raises InvalidInputError, naming what is installed."""
    found = entry_points(group=GROUP)
    for one in found:
        if one.name == name:
            return one
    installed = ", ".join(sorted({"process", *found.names}))
    remedy = f"; describe one of them as [launchers.{name}] in penstock.toml to have it under this name"
    if name == "kubernetes":
        remedy = "; install it with: pip install penstock-workers"
    raise InvalidInputError(f"no launcher '{name}' is installed; installed: {installed}{remedy}")
