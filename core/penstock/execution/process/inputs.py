"""Input artifacts on this machine: read where they lie, or brought here first."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from penstock.artifacts import ArtifactError, ArtifactStore, Stored, scheme_of, web
from penstock.artifacts.copies import Copies
from penstock.artifacts.place import path_of
from penstock.artifacts.side_by_side import side_by_side
from penstock.artifacts.stores import Stores
from penstock.execution.order import LaunchOrder
from penstock.execution.process.attempt_folder import AttemptFolder, file_name
from penstock.execution.process.transfer_log import reported
from penstock.model import Artifact


@dataclass(frozen=True, slots=True)
class Input:
    """`path` is None for what nothing here can read. `store` is that from which it was brought."""

    artifact: Artifact
    path: Path | None
    store: ArtifactStore | None = None


@dataclass(frozen=True, slots=True)
class Inputs:
    """`copies` keeps what is fetched for tasks to come; `tell` hears how a long transfer goes on."""

    folder: AttemptFolder
    stores: Stores
    copies: Copies | None
    tell: Callable[[str], None]

    def have(self, order: LaunchOrder) -> dict[str, list[Input]]:
        """Raises TaskError, naming the input, for an artifact that cannot be had."""
        found = {
            name: [self._find(one, name, position) for position, one in enumerate(many)]
            for name, many in order.inputs.artifacts.items()
        }
        coming = [(name, one) for name, many in found.items() for one in many if one.store is not None]
        if coming:
            side_by_side(coming, lambda pair: pair[1].artifact.size, lambda pair: self._bring(*pair))
        return found

    def _find(self, artifact: Artifact, name: str, position: int) -> Input:
        uri, what = artifact.uri, f"input artifact '{name}'"
        folder = self.folder.inputs / file_name(name) / str(position)
        if scheme_of(uri) in web.SCHEMES:
            return Input(artifact, self._from_web(uri, folder))
        store = self.stores.find(uri)
        if store is None:
            return Input(artifact, None)
        path = store.local(uri)
        if path is not None:
            if not os.access(path, os.R_OK):
                raise ArtifactError(f"{what} cannot be read: permission denied for {uri!r}")
            return Input(artifact, path)
        if scheme_of(uri) == "file":
            if artifact.sha256 is None:
                # Recorded without content: its metadata is all there is, as with KFP's metrics.
                return Input(artifact, path_of(uri))
            raise ArtifactError(
                f"{what} is gone: there is nothing at {uri!r} any more; run the task that made it again"
            )
        return Input(artifact, folder / file_name(uri.rstrip("/").rpartition("/")[2]), store)

    def _from_web(self, uri: str, folder: Path) -> Path | None:
        """None where it cannot be had: the URI may name a service, and the task want the metadata alone (KFP
        fetches nothing from the web).
        """
        target = folder / web.name_of(uri)
        if not target.exists():
            try:
                web.download(uri, target)
            except ArtifactError as problem:
                self.folder.note(f"{problem}; the task gets the URI without its content")
                return None
        return target

    def _bring(self, name: str, found: Input) -> None:
        artifact, target, store = found.artifact, found.path, found.store
        assert target is not None and store is not None
        if target.exists():
            return
        progress = reported(f"fetching input '{name}'", self.tell)
        try:
            if artifact.sha256 is not None and artifact.size is not None:
                expected = Stored(artifact.uri, artifact.size, artifact.sha256)
                if self.copies is not None:
                    self.copies.get(store, expected, target, progress)
                else:
                    store.get(artifact.uri, target, expected=expected, progress=progress)
            elif artifact.size is not None or store.stat(artifact.uri) is not None:
                store.get(artifact.uri, target, progress=progress)
        except ArtifactError as problem:
            raise ArtifactError(f"input artifact '{name}': {problem}") from problem
