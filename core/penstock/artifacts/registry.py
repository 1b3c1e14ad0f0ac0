"""Which store serves a URI: the built-in one for files, others by the entry-point group `penstock.stores`."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from typing import TypeAlias, cast

from penstock.artifacts.error import ArtifactError
from penstock.artifacts.file import FileArtifactStore
from penstock.artifacts.place import scheme_of
from penstock.artifacts.protocol import ArtifactStore

StoreFactory: TypeAlias = Callable[[str, Mapping[str, str]], ArtifactStore]
"""Takes a URI of its scheme and variables: the environment's, and what penstock.toml says in their place.

It may raise ModuleNotFoundError for a library that its extra would bring.
"""

_EXTRAS = {"s3": "s3", "minio": "s3", "gs": "gcs"}


def open_store(uri: str, variables: Mapping[str, str] = os.environ) -> ArtifactStore:
    """The store for the URI's scheme, after which its entry point is named.

    Raises ArtifactError, naming what to install, where there is none.
    """
    scheme = scheme_of(uri)
    if scheme == "file":
        return FileArtifactStore()
    for found in entry_points(group="penstock.stores", name=scheme):
        try:
            return cast("StoreFactory", found.load())(uri, variables)
        except ModuleNotFoundError as problem:
            if (problem.name or "").partition(".")[0] == "penstock":
                raise
    extra = _EXTRAS.get(scheme)
    remedy = (
        f"install it with: pip install 'penstock[{extra}]'"
        if extra
        else "use file://, or a path on this machine"
    )
    raise ArtifactError(f"no artifact store for {scheme}:// is installed, which {uri!r} needs; {remedy}")
