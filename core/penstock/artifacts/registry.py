"""Which store serves a URI: the built-in one for files, others by the entry-point group `penstock.stores`."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points
from typing import cast

from penstock.artifacts.error import ArtifactError
from penstock.artifacts.file import FileArtifactStore
from penstock.artifacts.place import scheme_of
from penstock.artifacts.protocol import ArtifactStore

_EXTRAS = {"s3": "s3", "minio": "s3", "gs": "gcs"}


def open_store(uri: str) -> ArtifactStore:
    """The store for the URI's scheme.

    An entry point of the group is named after its scheme and loads a callable that takes the URI and returns
    the store. Raises ArtifactError, naming what to install, where there is none.
    """
    scheme = scheme_of(uri)
    if scheme == "file":
        return FileArtifactStore()
    for found in entry_points(group="penstock.stores", name=scheme):
        factory = cast("Callable[[str], ArtifactStore]", found.load())
        return factory(uri)
    extra = _EXTRAS.get(scheme)
    remedy = (
        f"install it with: pip install 'penstock[{extra}]'"
        if extra
        else "use file://, or a path on this machine"
    )
    raise ArtifactError(f"no artifact store for {scheme}:// is installed, which {uri!r} needs; {remedy}")
