"""What artifacts hold, wherever it lies: which store has it, whether it is there, how to get at it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from penstock.artifacts import ArtifactError, ArtifactStore, Stored, path_of, scheme_of
from penstock.artifacts.copies import Copies
from penstock.artifacts.stores import Stores
from penstock.errors import InvalidInputError, PenstockError
from penstock.execution.result import OutputArtifact
from penstock.execution.settings import Settings
from penstock.model import Artifact, Pipeline, Values


class Contents:
    """`copies` are kept of what is fetched from other machines."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.stores = Stores(variables={**os.environ, **settings.stores})
        self.copies = Copies(settings.home / "fetched", settings.fetched_gib << 30)

    def store(self, uri: str) -> ArtifactStore:
        """Raises ArtifactError where nothing here can serve it."""
        return self.stores.of(uri)

    def root_of(self, pipeline: Pipeline, on_warning: Callable[[str], None]) -> str:
        """Where a run's artifacts go: by the settings; where they say nothing, the pipeline's own root if
        artifacts can be kept there (KFP: a run's root, then its pipeline's). If not, `on_warning` is told.

        Raises InvalidInputError for settings that cannot be followed.
        """
        own, given = pipeline.default_pipeline_root.rstrip("/"), self._settings.pipeline_root
        if own and self._settings.origins.get("pipeline_root") == "default":
            try:
                self.store(own).check(own)
                return own
            except ArtifactError as error:
                on_warning(f"the pipeline's own root is not used, artifacts go to {given}: {error}")
        try:
            self.store(given).check(given)
        except ArtifactError as error:
            raise InvalidInputError(str(error)) from error
        return given

    def readable(self, values: Values) -> bool:
        """Whether every artifact of ours among the values is where it was put."""
        return all(self._is_there(one) for many in values.artifacts.values() for one in many)

    def path(self, artifact: Artifact | OutputArtifact) -> Path:
        """Where its content is on this machine, fetched from elsewhere if need be. Raises PenstockError."""
        if scheme_of(artifact.uri) == "file":
            return path_of(artifact.uri)
        return self.copies.path(self.store(artifact.uri), _expected(artifact))

    def copy(self, artifact: Artifact, target: Path) -> None:
        """Raises InvalidInputError where there is something already, PenstockError for what cannot be had."""
        if os.path.lexists(target):
            raise InvalidInputError(f"'{target}' is there already; name another place")
        expected = _expected(artifact)
        self.store(artifact.uri).get(
            artifact.uri, target.absolute(), expected=expected if expected.sha256 else None
        )

    def _is_there(self, artifact: Artifact) -> bool:
        if artifact.size is None:
            return True
        try:
            stored = self.store(artifact.uri).stat(artifact.uri)
        except PenstockError:
            return False
        return stored is not None and stored.size == artifact.size


def _expected(artifact: Artifact | OutputArtifact) -> Stored:
    """Without sha256 for what was recorded unread, as imports are."""
    return Stored(artifact.uri, artifact.size or 0, artifact.sha256 or "")
