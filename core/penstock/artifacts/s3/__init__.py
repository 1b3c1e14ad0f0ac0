"""Artifacts in S3, through the `minio` SDK, which is loaded when it is first needed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from penstock.artifacts.s3.config import S3Config

if TYPE_CHECKING:
    from penstock.artifacts.s3.store import S3ArtifactStore


def open_s3(uri: str, variables: Mapping[str, str]) -> S3ArtifactStore:
    """The store of the entry points `s3` and `minio`. Sends nothing yet.

    Raises ArtifactError for a URI or variable that cannot be used, ModuleNotFoundError without the SDK.
    """
    from penstock.artifacts.s3.address import parse
    from penstock.artifacts.s3.store import S3ArtifactStore

    parse(uri)
    return S3ArtifactStore(S3Config.read(variables))
