"""The stores of a process: one for each scheme, opened when it is first needed."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping

from penstock.artifacts.error import ArtifactError
from penstock.artifacts.file import FileArtifactStore
from penstock.artifacts.place import scheme_of
from penstock.artifacts.protocol import ArtifactStore
from penstock.artifacts.registry import open_store


class Stores:
    """Those that are `known`, for their schemes, and whatever else is installed. Safe for threads.

    `variables` is what stores are opened with.
    """

    def __init__(self, *known: ArtifactStore, variables: Mapping[str, str] = os.environ) -> None:
        self._variables = variables
        self._found: dict[str, ArtifactStore | ArtifactError] = {"file": FileArtifactStore()}
        for store in known:
            self._found |= dict.fromkeys(store.schemes, store)
        self._lock = threading.Lock()

    def of(self, uri: str) -> ArtifactStore:
        """Raises ArtifactError where no store of the scheme is installed, or can be opened."""
        scheme = scheme_of(uri)
        with self._lock:
            if scheme not in self._found:
                store = open_store(uri, self._variables)
                self._found |= dict.fromkeys({scheme, *store.schemes}, store)
            found = self._found[scheme]
        if isinstance(found, ArtifactError):
            raise found
        return found

    def find(self, uri: str) -> ArtifactStore | None:
        """None for a scheme that nothing here can read."""
        try:
            return self.of(uri)
        except ArtifactError as error:
            with self._lock:
                self._found.setdefault(scheme_of(uri), error)
            return None
