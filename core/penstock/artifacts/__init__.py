"""Bytes under URIs: the artifact stores and the one protocol they follow."""

from penstock.artifacts.error import ArtifactError, AwayError
from penstock.artifacts.file import FileArtifactStore
from penstock.artifacts.place import path_of, scheme_of, under, uri_of
from penstock.artifacts.protocol import ArtifactStore, Stored
from penstock.artifacts.registry import open_store

__all__ = [
    "ArtifactError",
    "ArtifactStore",
    "AwayError",
    "FileArtifactStore",
    "Stored",
    "open_store",
    "path_of",
    "scheme_of",
    "under",
    "uri_of",
]
