"""Before the run: every input artifact gets a local path, every output a place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from penstock.artifacts.copies import Copies
from penstock.artifacts.error import explained
from penstock.artifacts.stores import Stores
from penstock.execution.order import LaunchOrder
from penstock.execution.process.attempt_folder import AttemptFolder, file_name
from penstock.execution.process.executor_input import Places
from penstock.execution.process.inputs import Inputs
from penstock.model import ContainerExecutor


@dataclass(frozen=True, slots=True)
class StagedIn:
    """`paths` are the local ones, for the sandbox to keep reachable."""

    places: Places
    paths: tuple[Path, ...]
    notes: dict[str, str] = field(default_factory=dict[str, str])


def stage_in(
    order: LaunchOrder,
    folder: AttemptFolder,
    stores: Stores,
    copies: Copies | None = None,
    tell: Callable[[str], None] | None = None,
) -> StagedIn:
    """Raises TaskError, naming the input, for an artifact that cannot be had.

    `copies` keeps what is fetched for tasks to come; `tell` hears how a long transfer goes on.
    """
    found = Inputs(folder, stores, copies, tell or folder.note).have(order)
    inputs = {
        name: tuple(one.artifact.uri if one.path is None else str(one.path) for one in many)
        for name, many in found.items()
    }
    every = [one for many in found.values() for one in many]
    remote = {one.artifact.uri: one.path for one in every if one.store is not None and one.path is not None}
    places = output_places(order, folder, stores, inputs, remote)
    if needs_places(order):
        make_places(places, order.task_name)
    unread = sorted({one.artifact.uri for one in every if one.path is None})
    paths = [one.path for one in every if one.path is not None]
    return StagedIn(places, (*paths, places.task_root), {"not_read": ", ".join(unread)} if unread else {})


def output_places(
    order: LaunchOrder,
    folder: AttemptFolder,
    stores: Stores,
    inputs: dict[str, tuple[str, ...]],
    remote: Mapping[str, Path] | None = None,
) -> Places:
    """The same for everyone who asks, so that another engine finds what a task wrote.

    With a store that has local places a task writes its outputs where they will stay, and the URIs that it
    hands out as texts stay true. `remote` are the inputs that were brought here. Raises ArtifactError.
    """
    store = stores.of(order.task_uri)
    place = store.place(order.task_uri)
    root = place or folder.outputs / "root"
    remote = dict(remote or {})
    if place is None:
        remote[order.task_uri] = root
        remote |= {uri: root / file_name(name) for name, uri in order.output_uris.items()}
    return Places(
        remote=remote,
        task_root=root,
        inputs=inputs,
        parameters={
            name: folder.output_parameter(name) for name in order.component.interface.output_parameters
        },
        artifacts={
            name: store.place(order.output_uris[name]) or root / file_name(name)
            for name in order.component.interface.output_artifacts
        },
    )


def needs_places(order: LaunchOrder) -> bool:
    """Whether the task may write any output: it declares one, or is told of the places by a placeholder."""
    interface, executor = order.component.interface, order.executor
    if interface.output_artifacts or interface.output_parameters:
        return True
    return isinstance(executor, ContainerExecutor) and any(
        "{{$" in word for word in (*executor.command, *executor.args, *(one.value for one in executor.env))
    )


def make_places(places: Places, task: str) -> None:
    """The directories above the outputs. Raises TaskError."""
    with explained(f"make the place for the outputs of task '{task}'"):
        for path in (places.executor_output, *places.parameters.values(), *places.artifacts.values()):
            _make_parent(path)


def prune(places: Places) -> None:
    """Remove the task's root, and the task's folder above it, where nothing was left in them."""
    for folder in (places.task_root, places.task_root.parent):
        try:
            folder.rmdir()
        except OSError:
            return


def _make_parent(path: Path) -> None:
    """An attempt beside this one may be removing the empty folder above both at the same moment."""
    for last in (False, False, True):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            return
        except FileNotFoundError:
            if last:
                raise
