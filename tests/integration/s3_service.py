"""Buckets of an S3 service, for one test each."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit
from uuid import uuid4

from minio import Minio
from minio.deleteobjects import DeleteObject

from penstock.artifacts.s3.config import S3Config
from penstock.artifacts.s3.store import S3ArtifactStore
from tests.services import need


@dataclass(frozen=True)
class Bucket:
    """`admin` is the plain SDK, to look at what is really there."""

    name: str
    endpoint: str
    access_key: str
    secret_key: str

    @property
    def variables(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL_S3": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
        }

    @property
    def admin(self) -> Minio:
        url = urlsplit(self.endpoint)
        return Minio(
            url.netloc,
            access_key=self.access_key,
            secret_key=self.secret_key,
            secure=url.scheme == "https",
            region="us-east-1",
        )

    def uri(self, key: str = "") -> str:
        return f"s3://{self.name}/{key}"

    def store(self, **changes: str) -> S3ArtifactStore:
        return S3ArtifactStore(S3Config.read({**self.variables, **changes}))

    def listed(self, prefix: str = "") -> list[str]:
        found = self.admin.list_objects(self.name, prefix=prefix, recursive=True)
        return [one.object_name for one in found if one.object_name is not None]


def credentials() -> Mapping[str, str]:
    return {
        "access_key": os.environ.get("PENSTOCK_TEST_S3_ACCESS_KEY", ""),
        "secret_key": os.environ.get("PENSTOCK_TEST_S3_SECRET_KEY", ""),
    }


@contextmanager
def fresh_bucket(endpoint: str = "") -> Iterator[Bucket]:
    """A new bucket of the service under test, or of another with the same keys; it goes with its content."""
    bucket = Bucket(f"penstock-{uuid4().hex[:12]}", endpoint or need("s3"), **credentials())
    admin = bucket.admin
    admin.make_bucket(bucket.name)
    try:
        yield bucket
    finally:
        plain = [DeleteObject(key) for key in bucket.listed() if key.isprintable()]
        assert not list(admin.remove_objects(bucket.name, plain))
        for key in bucket.listed():
            admin.remove_object(bucket.name, key)
        admin.remove_bucket(bucket.name)
