"""What pods may do in the object store, signed here: they hold no credentials, only URLs for single objects
and a policy for the keys below one attempt.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, cast
from urllib.parse import urlsplit

from penstock.artifacts import ArtifactError, scheme_of
from penstock.errors import InvalidInputError

VALID: Final = timedelta(days=7)
"""The longest that S3 allows: a task that runs for longer cannot store its outputs."""


@dataclass(frozen=True, slots=True)
class UploadPolicy:
    url: str
    fields: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Listed:
    """(name, URI) of each file; a single file has the name ""."""

    is_directory: bool
    files: tuple[tuple[str, str], ...]


class SigningStore:
    """The bucket of a pipeline root. `endpoint` is how pods reach it, where that is another way than ours."""

    def __init__(self, pipeline_root: str, endpoint: str = "") -> None:
        """Raises InvalidInputError for a root that no pod can reach."""
        from minio import Minio

        parts = urlsplit(pipeline_root)
        if scheme_of(pipeline_root) not in ("s3", "minio"):
            raise InvalidInputError(
                f"pods cannot reach the pipeline root {pipeline_root!r}; give one that they can, such as "
                "--pipeline-root s3://bucket/prefix"
            )
        self._scheme, self._bucket = parts.scheme, parts.netloc
        ours = os.environ.get("AWS_ENDPOINT_URL_S3") or "https://s3.amazonaws.com"
        region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"

        def client(url: str) -> Any:
            return Minio(
                urlsplit(url).netloc,
                access_key=os.environ.get("AWS_ACCESS_KEY_ID"),
                secret_key=os.environ.get("AWS_SECRET_ACCESS_KEY"),
                session_token=os.environ.get("AWS_SESSION_TOKEN"),
                secure=url.startswith("https:"),
                region=region,
            )

        self._client = client(ours)
        self._signer = client(endpoint) if endpoint else self._client
        self._endpoint = (endpoint or ours).rstrip("/")
        self.authorities = ""

    def serves(self, uri: str) -> bool:
        return scheme_of(uri) == self._scheme

    def key(self, uri: str) -> str:
        return self._split(uri)[1]

    def get_url(self, uri: str) -> str:
        bucket, key = self._split(uri)
        return cast("str", self._signer.presigned_get_object(bucket, key, expires=VALID))

    def upload_policy(self, prefix: str) -> UploadPolicy:
        """To store objects whose keys begin with that of `prefix`, and nothing else."""
        from minio.datatypes import PostPolicy

        bucket, key = self._split(prefix)
        policy = PostPolicy(bucket, datetime.now(UTC) + VALID)
        policy.add_starts_with_condition("key", key)
        fields = cast("dict[str, str]", self._signer.presigned_post_policy(policy))
        return UploadPolicy(f"{self._endpoint}/{bucket}", fields)

    def files(self, uri: str) -> Listed | None:
        """What is stored at `uri`; None for nothing."""
        bucket, key = self._split(uri)
        found = [
            cast("str", one.object_name)
            for one in self._client.list_objects(bucket, prefix=key, recursive=True)
            if one.object_name == key or one.object_name.startswith(f"{key}/")
        ]
        if key in found:
            return Listed(False, (("", uri),))
        if not found:
            return None
        start = len(key) + 1
        return Listed(True, tuple((one[start:], f"{uri}/{one[start:]}") for one in found))

    def read(self, uri: str) -> bytes | None:
        from minio.error import S3Error

        bucket, key = self._split(uri)
        try:
            response = self._client.get_object(bucket, key)
        except S3Error as problem:
            if problem.code in ("NoSuchKey", "NoSuchBucket"):
                return None
            raise ArtifactError(f"{uri!r} cannot be read: {problem.message}") from problem
        try:
            return cast("bytes", response.data)
        finally:
            response.close()
            response.release_conn()

    def write(self, uri: str, data: bytes) -> None:
        bucket, key = self._split(uri)
        self._client.put_object(bucket, key, io.BytesIO(data), len(data))

    def compose(self, uri: str, pieces: list[str]) -> None:
        """One object of the pieces that a large file came up in, by their keys; no byte of it comes here."""
        from minio.commonconfig import ComposeSource

        bucket, key = self._split(uri)
        self._client.compose_object(bucket, key, [ComposeSource(bucket, one) for one in pieces])
        for one in pieces:
            self._client.remove_object(bucket, one)

    def delete(self, uri: str) -> None:
        listed = self.files(uri)
        for _, one in listed.files if listed else ():
            bucket, key = self._split(one)
            self._client.remove_object(bucket, key)

    def _split(self, uri: str) -> tuple[str, str]:
        bucket, _, key = uri.partition("://")[2].partition("/")
        return bucket, key.rstrip("/")
