"""S3 URIs: `s3://bucket/key`. The key stands there as it is, not percent-encoded, as for S3's own tools."""

from __future__ import annotations

import re
from dataclasses import dataclass

from penstock.artifacts.error import ArtifactError
from penstock.artifacts.place import scheme_of

SCHEMES = ("s3", "minio")
"""`minio://` is how Kubeflow names its own object store; nothing else differs."""

MAX_KEY = 1024
"""Bytes of UTF-8 that S3 allows a key."""

_BUCKET = re.compile(r"(?!\d+\.\d+\.\d+\.\d+$)(?!.*(\.\.|\.-|-\.))[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", re.ASCII)


@dataclass(frozen=True, slots=True)
class Address:
    """Where an artifact is. The `key` has no slash at its end, and is empty for a bucket as a whole."""

    uri: str
    bucket: str
    key: str

    @property
    def prefix(self) -> str:
        """How the keys of what lies below begin."""
        return f"{self.key}/" if self.key else ""

    def file(self, name: str) -> str:
        """The key of a file in this directory. Raises ArtifactError for a name that S3 cannot have."""
        key = f"{self.prefix}{name}"
        if problem := _unfit(key):
            raise ArtifactError(f"{name!r} cannot be stored below {self.uri!r}: {problem}")
        return key


def parse(uri: str) -> Address:
    """Raises ArtifactError, one sentence, for what names no place in S3."""
    if scheme_of(uri) not in SCHEMES:
        raise ArtifactError(f"{uri!r} is not an s3:// URI")
    bucket, _, rest = uri.partition("://")[2].partition("/")
    if not bucket:
        raise ArtifactError(f"{uri!r} names no bucket; write s3://bucket/key")
    if not _BUCKET.fullmatch(bucket):
        raise ArtifactError(
            f"{uri!r} names the bucket {bucket!r}, which cannot be one: a bucket's name has 3 to 63 small "
            "letters, digits, '.' and '-', and a letter or digit at both ends"
        )
    key = rest.rstrip("/")
    if problem := _unfit(key) if key or rest else "":
        raise ArtifactError(f"{uri!r} cannot be in S3: {problem}")
    return Address(uri, bucket, key)


def _unfit(key: str) -> str:
    parts = key.split("/")
    for part in ("..", "."):
        if part in parts:
            return f"its key holds {part!r} between slashes; write the key without it"
    if "" in parts:
        return "its key has nothing between two slashes; write it with one"
    if "\0" in key:
        return "its key holds a NUL character"
    try:
        size = len(key.encode())
    except UnicodeEncodeError:
        return "the name is not valid UTF-8, which keys must be; rename the file"
    if size > MAX_KEY:
        return f"its key has {size} bytes, and S3 allows {MAX_KEY}"
    return ""
