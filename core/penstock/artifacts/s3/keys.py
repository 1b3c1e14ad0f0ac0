"""What is at one address and below it, key by key."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from minio.deleteobjects import DeleteObject
from minio.error import S3Error

from penstock.artifacts.error import ArtifactError
from penstock.artifacts.s3.address import Address
from penstock.artifacts.s3.client import Client
from penstock.artifacts.s3.download import Source
from penstock.artifacts.s3.listing import LISTING, Listing, is_ours

_ABSENT: Final = frozenset({"NoSuchKey", "NoSuchObject", "XMinioInvalidObjectName"})


@dataclass(frozen=True, slots=True)
class Keys:
    """What it raises is the SDK's and urllib3's."""

    client: Client
    address: Address

    def file(self) -> Source | None:
        """The object at the address itself."""
        if not self.address.key:
            return None
        try:
            found = self.client.stat_object(bucket_name=self.address.bucket, object_name=self.address.key)
        except S3Error as problem:
            if problem.code in _ABSENT:
                return None
            # The answer to HEAD has no words; the same refusal of another question has.
            if problem.code in ("AccessDenied", "BadRequest"):
                self._ask_again()
            raise
        return Source(self.address.bucket, self.address.key, found.size or 0, found.etag or "")

    def listing(self) -> Listing | None:
        """Ours, complete or not."""
        if not self.address.key:
            return None
        try:
            answer = self.client.get_object(
                bucket_name=self.address.bucket, object_name=self.address.file(LISTING)
            )
        except S3Error as problem:
            if problem.code in _ABSENT:
                return None
            raise
        try:
            return Listing.from_bytes(answer.read(decode_content=False), self.address.uri)
        finally:
            answer.close()
            answer.release_conn()

    def below(self) -> tuple[dict[str, Source], tuple[str, ...]]:
        """Files and directories by their names, none of an unfinished directory among them."""
        found = self._all()
        unfinished = [
            name.removesuffix(LISTING)
            for name in found
            if name.rpartition("/")[2] == LISTING and not self._is_complete(name)
        ]
        files: dict[str, Source] = {}
        directories: list[str] = []
        for name, source in found.items():
            if is_ours(name) or name.startswith(tuple(unfinished)):
                continue
            if name.endswith("/"):
                directories.append(name.rstrip("/"))
            else:
                files[name] = source
        return files, tuple(one for one in directories if one)

    def remove_file(self) -> None:
        if self.file() is not None:
            self.client.remove_object(bucket_name=self.address.bucket, object_name=self.address.key)

    def remove_below(self, *, listing: bool = False) -> None:
        """All keys; of our own listing only if asked to."""
        names = [name for name in self._all() if listing or name != LISTING]
        self._remove([self.address.prefix + name for name in names])

    def remove_all(self) -> int:
        """The number of files. Listings go first, so that nobody believes in what is half gone."""
        names = sorted(self._all(), key=lambda name: name.rpartition("/")[2] != LISTING)
        keys = [self.address.prefix + name for name in names]
        count = sum(1 for name in names if not is_ours(name) and not name.endswith("/"))
        if self.file() is not None:
            keys.append(self.address.key)
            count += 1
        self._remove(keys)
        for key, upload in list(self.client.uploads(self.address.bucket, self.address.key)):
            if key == self.address.key or key.startswith(self.address.prefix):
                self.client.abort(self.address.bucket, key, upload)
        return count

    def _all(self) -> dict[str, Source]:
        """By what follows the prefix, in the order of the keys' bytes."""
        bucket, prefix = self.address.bucket, self.address.prefix
        found = self.client.list_objects(bucket_name=bucket, prefix=prefix or None, recursive=True)
        return {
            one.object_name[len(prefix) :]: Source(bucket, one.object_name, one.size or 0, one.etag or "")
            for one in found
            if one.object_name is not None and one.object_name != prefix
        }

    def _is_complete(self, name: str) -> bool:
        key = f"{self.address.prefix}{name}".removesuffix(f"/{LISTING}")
        listing = Keys(self.client, replace(self.address, key=key)).listing()
        return listing is None or listing.complete

    def _remove(self, keys: list[str]) -> None:
        bucket = self.address.bucket
        for key in keys:
            # XML, in which many are named at once, has no place for control characters.
            if not key.isprintable():
                self.client.remove_object(bucket_name=bucket, object_name=key)
        many = [DeleteObject(key) for key in keys if key.isprintable()]
        for problem in self.client.remove_objects(bucket_name=bucket, delete_object_list=many):
            raise ArtifactError(f"{problem.name!r} in the bucket '{bucket}' cannot go: {problem.message}")

    def _ask_again(self) -> None:
        """Raises the SDK's error for a request that is refused for who asks, and for nothing else."""
        try:
            self.client.get_object(
                bucket_name=self.address.bucket, object_name=self.address.key, length=1
            ).close()
        except S3Error as problem:
            if problem.code not in (*_ABSENT, "AccessDenied"):
                raise
