"""What pods may do in the object store, signed here: they hold no credentials, only URLs for single objects
and a policy for the keys below one attempt.
"""

from __future__ import annotations

import io
import os
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from penstock.artifacts import ArtifactStore, scheme_of
from penstock.errors import InvalidInputError

if TYPE_CHECKING:
    from penstock.artifacts.s3.address import Address
    from penstock.artifacts.s3.client import Client
    from penstock.artifacts.s3.store import S3ArtifactStore

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
    """An S3 store, and how pods reach it: by `endpoint`, where that is another way than ours.

    Methods that ask the service raise ArtifactError. Safe for threads.
    """

    def __init__(self, store: S3ArtifactStore, endpoint: str = "") -> None:
        self._store = store
        self._endpoint = endpoint
        self._config = replace(store.config, endpoint=endpoint.rstrip("/")) if endpoint else store.config
        self._signer: Client | None = None
        # What this machine trusts for all it does is its own affair; images bring their own.
        bundle = store.config.ca_bundle if store.config.ca_bundle == os.environ.get("AWS_CA_BUNDLE") else ""
        self.authorities = Path(bundle).read_text("utf-8") if bundle else ""

    def apart(self, seconds: float) -> SigningStore:
        """The same store, asked for so long when it does not answer."""
        return SigningStore(self._store.apart(seconds), self._endpoint)

    def serves(self, uri: str) -> bool:
        return scheme_of(uri) in self._store.schemes

    def key(self, uri: str) -> str:
        return _address(uri).key

    def get_url(self, uri: str) -> str:
        """To read the object at `uri`, whether it is there or not."""
        address = _address(uri)
        with self._asking(f"make a URL for {uri!r}", address):
            return self._client().presigned_get_object(
                bucket_name=address.bucket, object_name=address.key, expires=VALID
            )

    def upload_policy(self, prefix: str) -> UploadPolicy:
        """To store objects whose keys begin with that of `prefix`, and nothing else."""
        from minio.datatypes import PostPolicy

        address = _address(prefix)
        policy = PostPolicy(address.bucket, datetime.now(UTC) + VALID)
        policy.add_starts_with_condition("key", address.key)
        with self._asking(f"make a policy for {prefix!r}", address):
            fields = self._client().presigned_post_policy(policy)
        endpoint = self._config.endpoint or f"https://s3.{self._config.region or 'us-east-1'}.amazonaws.com"
        return UploadPolicy(f"{endpoint}/{address.bucket}", fields)

    def files(self, uri: str) -> Listed | None:
        """What is stored at `uri`; None for nothing."""
        found = self._store.stat(uri)
        if found is None:
            return None
        if not found.is_directory:
            return Listed(False, (("", uri),))
        start = len(uri.rstrip("/")) + 1
        return Listed(True, tuple((one[start:], one) for one in self._store.list(uri)))

    def read(self, uri: str) -> bytes | None:
        from penstock.artifacts.s3.failure import NothingThereError

        address = _address(uri)
        try:
            with self._asking(f"read {uri!r}", address) as client:
                answer = client.get_object(bucket_name=address.bucket, object_name=address.key)
                try:
                    return answer.data
                finally:
                    answer.close()
                    answer.release_conn()
        except NothingThereError:
            return None

    def write(self, uri: str, data: bytes) -> None:
        address = _address(uri)
        with self._asking(f"write {uri!r}", address) as client:
            client.put_object(
                bucket_name=address.bucket, object_name=address.key, data=io.BytesIO(data), length=len(data)
            )

    def compose(self, uri: str, pieces: list[str]) -> None:
        """One object of the pieces that a large file came up in, by their keys; no byte of it comes here.

        Doing it again once it was done changes nothing.
        """
        from minio.commonconfig import ComposeSource

        if self._store.stat(uri) is not None:
            return
        address = _address(uri)
        with self._asking(f"put together {uri!r}", address) as client:
            client.compose_object(
                bucket_name=address.bucket,
                object_name=address.key,
                sources=[ComposeSource(bucket_name=address.bucket, object_name=one) for one in pieces],
            )
            for one in pieces:
                client.remove_object(bucket_name=address.bucket, object_name=one)

    def delete(self, uri: str) -> None:
        self._store.delete(uri)

    def _client(self) -> Client:
        from penstock.artifacts.s3.client import connect

        if self._config is self._store.config:
            return self._store.client()
        if self._signer is None:
            self._signer = connect(self._config)
        return self._signer

    @contextmanager
    def _asking(self, action: str, address: Address) -> Generator[Client]:
        from penstock.artifacts.s3.failure import Interpreter

        client = self._store.client()
        found = client.credentials
        user = f"the access key '{found.access_key}'" if found else "a request without credentials"
        with Interpreter(self._store.config, user).explained(action, address.bucket):
            yield client


def sign_for(store: ArtifactStore, pipeline_root: str, endpoint: str = "") -> SigningStore:
    """Raises InvalidInputError for a store that no pod can reach."""
    from penstock.artifacts.s3.store import S3ArtifactStore

    if not isinstance(store, S3ArtifactStore):
        raise InvalidInputError(
            f"pods cannot reach the pipeline root {pipeline_root!r}; give one that they can, such as "
            "--pipeline-root s3://bucket/prefix"
        )
    return SigningStore(store, endpoint)


def _address(uri: str) -> Address:
    from penstock.artifacts.s3.address import parse

    return parse(uri)
