"""Before the run: every input artifact gets a local path, every output a place."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from penstock.artifacts import (
    ArtifactError,
    ArtifactStore,
    FileArtifactStore,
    Stored,
    open_store,
    scheme_of,
    web,
)
from penstock.artifacts.error import explained
from penstock.artifacts.place import path_of
from penstock.execution.order import LaunchOrder
from penstock.execution.process.attempt_folder import AttemptFolder, file_name
from penstock.execution.process.executor_input import Places
from penstock.model import Artifact, ContainerExecutor


class Stores:
    """The store of each scheme: the given one for its own, others as they are needed and installed."""

    def __init__(self, store: ArtifactStore) -> None:
        self._known: dict[str, ArtifactStore | None] = dict.fromkeys(store.schemes, store)
        if "file" not in self._known:
            self._known["file"] = FileArtifactStore()

    def find(self, uri: str) -> ArtifactStore | None:
        """None for a scheme that nothing here can read."""
        scheme = scheme_of(uri)
        if scheme not in self._known:
            try:
                self._known[scheme] = open_store(uri)
            except ArtifactError:
                self._known[scheme] = None
        return self._known[scheme]


@dataclass(frozen=True, slots=True)
class StagedIn:
    """`paths` are the local ones, for the sandbox to keep reachable."""

    places: Places
    paths: tuple[Path, ...]
    notes: dict[str, str] = field(default_factory=dict[str, str])


def stage_in(order: LaunchOrder, folder: AttemptFolder, stores: Stores) -> StagedIn:
    """Raises TaskError, naming the input, for an artifact that cannot be had."""
    uris: dict[str, tuple[str, ...]] = {}
    paths: list[Path] = []
    unread: list[str] = []
    for name, many in order.inputs.artifacts.items():
        found: list[str] = []
        for position, one in enumerate(many):
            place = folder.inputs / file_name(name) / str(position)
            on_web = scheme_of(one.uri) in web.SCHEMES
            path = _fetched(one.uri, place, folder) if on_web else _have(one, name, place, stores)
            if path is None:
                unread.append(one.uri)
                found.append(one.uri)
            else:
                paths.append(path)
                found.append(str(path))
        uris[name] = tuple(found)
    places = output_places(order, folder, stores, uris)
    if needs_places(order):
        make_places(places, order.task_name)
    notes = {"not_read": ", ".join(sorted(set(unread)))} if unread else {}
    return StagedIn(places, (*paths, places.task_root), notes)


def output_places(
    order: LaunchOrder, folder: AttemptFolder, stores: Stores, inputs: dict[str, tuple[str, ...]]
) -> Places:
    """The same for everyone who asks, so that another engine finds what a task wrote.

    With a store that has local places a task writes its outputs where they will stay, and the URIs that it
    hands out as texts stay true.
    """
    store = stores.find(order.task_uri)
    if store is None:
        raise ArtifactError(
            f"no artifact store for {scheme_of(order.task_uri)}:// is installed to keep outputs in"
        )
    root = store.place(order.task_uri) or folder.outputs / "root"
    return Places(
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


def _fetched(uri: str, place: Path, folder: AttemptFolder) -> Path | None:
    """None where it cannot be had: the URI may name a service, and the task want the metadata alone (KFP
    fetches nothing from the web).
    """
    target = place / web.name_of(uri)
    if not target.exists():
        try:
            web.download(uri, target)
        except ArtifactError as problem:
            folder.note(f"{problem}; the task gets the URI without its content")
            return None
    return target


def _have(artifact: Artifact, name: str, folder: Path, stores: Stores) -> Path | None:
    uri = artifact.uri
    what = f"input artifact '{name}'"
    store = stores.find(uri)
    if store is None:
        return None
    path = store.local(uri)
    if path is not None:
        if not os.access(path, os.R_OK):
            raise ArtifactError(f"{what} cannot be read: permission denied for {uri!r}")
        return path
    if scheme_of(uri) == "file":
        if artifact.sha256 is None:
            # Recorded without content: its metadata is all there is, as with KFP's metrics.
            return path_of(uri)
        raise ArtifactError(
            f"{what} is gone: there is nothing at {uri!r} any more; run the task that made it again"
        )
    target = folder / file_name(uri.rstrip("/").rpartition("/")[2])
    if artifact.sha256 is None and store.stat(uri) is None:
        return target
    expected = None
    if artifact.sha256 is not None and artifact.size is not None:
        expected = Stored(uri, artifact.size, artifact.sha256)
    if not target.exists():
        store.get(uri, target, expected=expected)
    return target


def _make_parent(path: Path) -> None:
    """An attempt beside this one may be removing the empty folder above both at the same moment."""
    for last in (False, False, True):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            return
        except FileNotFoundError:
            if last:
                raise
