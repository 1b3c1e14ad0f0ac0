"""Artifacts in S3, MinIO and whatever else speaks the S3 API."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from penstock.artifacts.arrival import arriving, existing, remove
from penstock.artifacts.content import check, digest_file, examine, of_listing
from penstock.artifacts.error import ArtifactError, explained
from penstock.artifacts.place import under
from penstock.artifacts.protocol import Progress, Stored
from penstock.artifacts.s3.address import SCHEMES, Address, parse
from penstock.artifacts.s3.client import Client, connect
from penstock.artifacts.s3.config import S3Config
from penstock.artifacts.s3.download import Download, Source
from penstock.artifacts.s3.failure import Interpreter
from penstock.artifacts.s3.keys import Keys
from penstock.artifacts.s3.listing import INCOMPLETE, LISTING, Entry, Listing, inside
from penstock.artifacts.s3.patience import SECONDS
from penstock.artifacts.s3.transfer import Tally
from penstock.artifacts.s3.upload import Upload
from penstock.artifacts.side_by_side import side_by_side

_CHECK_SECONDS = 5.0
"""How long a service may be away when somebody waits for the start of a run."""

_MAX_PRESIGNED = 7 * 24 * 3600


@dataclass(frozen=True, slots=True)
class _Found:
    """What is at an address. `listing` is None for data that somebody else put there; a file is alone among
    `files`, under the empty name.
    """

    files: dict[str, Source]
    is_directory: bool = True
    listing: Listing | None = None
    directories: tuple[str, ...] = ()


class S3ArtifactStore:
    """`s3://bucket/key` and `minio://bucket/key`, the same object.

    A file is one object. A directory is one object for each file, and a listing that is written last: see
    `listing`. Objects below a prefix without a listing are a directory too, as they stand. Safe for threads.
    """

    schemes: tuple[str, ...] = SCHEMES

    def __init__(self, config: S3Config, seconds: float = SECONDS) -> None:
        """`seconds` is how long a request is repeated while the service is away."""
        self.config = config
        self._seconds = seconds
        self._clients: dict[float, Client] = {}
        self._lock = threading.Lock()

    def put(self, source: Path, uri: str, *, move: bool = False, progress: Progress | None = None) -> Stored:
        address = _writable(uri)
        what = f"store {str(source)!r} as {uri!r}"
        with explained(what), self._asking(what, address) as client:
            content = examine(existing(source))
            if content.is_directory and LISTING in content.files:
                raise ArtifactError(f"cannot {what}: no file in it can have our name {LISTING!r}; rename it")
            total = sum(os.stat(content.path(name)).st_size for name in content.files)
            upload = Upload(client, Tally(total, progress))
            keys = Keys(client, address)
            if content.is_directory:
                keys.remove_file()
                self._list(client, address, INCOMPLETE)
                keys.remove_below()
                listing = upload.directory(content, address)
                self._list(client, address, listing)
                stored = listing.stored(uri)
            else:
                keys.remove_below(listing=True)
                stored = Stored(uri, *upload.file(content.root, address.bucket, address.key))
            if move:
                remove(source)
        return stored

    def get(
        self, uri: str, target: Path, *, expected: Stored | None = None, progress: Progress | None = None
    ) -> Stored:
        address = parse(uri)
        what = f"read the artifact {uri!r}"
        with explained(what), self._asking(what, address) as client:
            found = self._find(client, address)
            if found is None:
                raise ArtifactError(f"cannot {what}: there is nothing")
            download = Download(client, Tally(sum(one.size for one in found.files.values()), progress))
            with arriving(target) as part:
                if found.is_directory:
                    stored = _fetch(download, found, uri, part)
                else:
                    stored = Stored(uri, *download.file(found.files[""], part))
                check(stored, expected)
            return stored

    def local(self, uri: str) -> Path | None:
        parse(uri)
        return None

    def place(self, uri: str) -> Path | None:
        _writable(uri)
        return None

    def stat(self, uri: str) -> Stored | None:
        address = parse(uri)
        with self._asking(f"look at {uri!r}", address) as client:
            found = self._find(client, address)
        if found is None:
            return None
        if found.listing is not None:
            return found.listing.stored(uri)
        size = sum(one.size for one in found.files.values())
        return Stored(uri, size, "", found.is_directory, len(found.files))

    def list(self, uri: str) -> Iterator[str]:
        address = parse(uri)
        with self._asking(f"list {uri!r}", address) as client:
            found = self._find(client, address)
        yield from (under(uri.rstrip("/"), name) for name in (found.files if found else ()))

    def delete(self, uri: str) -> int:
        address = _writable(uri)
        with self._asking(f"delete {uri!r}", address) as client:
            return Keys(client, address).remove_all()

    def presign(self, uri: str, seconds: int) -> str:
        address = _writable(uri)
        what = f"make a URL for {uri!r}"
        if not 0 < seconds <= _MAX_PRESIGNED:
            raise ArtifactError(f"cannot {what}: it can last from 1 second to 7 days, not {seconds} seconds")
        with self._asking(what, address) as client:
            found = self._find(client, address)
            if found is None or found.is_directory:
                why = "there is nothing" if found is None else "it is a directory; ask for one of its files"
                raise ArtifactError(f"cannot {what}: {why}")
            return client.presigned_get_object(
                bucket_name=address.bucket, object_name=address.key, expires=timedelta(seconds=seconds)
            )

    def check(self, uri: str) -> None:
        """Begins an upload and aborts it: needs the permission that every run needs, and leaves nothing."""
        address = _writable(uri)
        with self._asking(f"keep artifacts in {uri!r}", address, _CHECK_SECONDS) as client:
            key = address.file(".penstock-check")
            client.abort(address.bucket, key, client.begin(address.bucket, key))

    def apart(self, seconds: float) -> S3ArtifactStore:
        """The same service with a patience of its own."""
        return S3ArtifactStore(self.config, seconds)

    def client(self, seconds: float = 0.0) -> Client:
        """Connected on first use, as asking for credentials may take a moment."""
        seconds = seconds or self._seconds
        with self._lock:
            if seconds not in self._clients:
                self._clients[seconds] = connect(self.config, seconds)
            return self._clients[seconds]

    @contextmanager
    def _asking(self, action: str, address: Address, seconds: float = 0.0) -> Generator[Client]:
        client = self.client(seconds)
        found = client.credentials
        user = f"the access key '{found.access_key}'" if found else "a request without credentials"
        with Interpreter(self.config, user).explained(action, address.bucket):
            yield client

    def _list(self, client: Client, address: Address, listing: Listing) -> None:
        data = listing.to_bytes()
        client.put_object(
            bucket_name=address.bucket,
            object_name=address.file(LISTING),
            data=io.BytesIO(data),
            length=len(data),
            content_type="application/json",
        )

    def _find(self, client: Client, address: Address) -> _Found | None:
        keys = Keys(client, address)
        if (file := keys.file()) is not None:
            return _Found({"": file}, is_directory=False)
        listing = keys.listing()
        if listing is None:
            files, directories = keys.below()
            return _Found(files, directories=directories) if files or directories else None
        if not listing.complete:
            return None
        files = {
            one.name: Source(address.bucket, address.file(one.name), one.size, "") for one in listing.files
        }
        return _Found(files, listing=listing, directories=listing.directories)


def _writable(uri: str) -> Address:
    address = parse(uri)
    if not address.key:
        raise ArtifactError(f"{uri!r} is a bucket as a whole; artifacts need a key in it: s3://bucket/prefix")
    return address


def _fetch(download: Download, found: _Found, uri: str, part: Path) -> Stored:
    """A directory, each file of it checked against the listing if there is one."""
    links = found.listing.links if found.listing else {}
    recorded = {one.name: one for one in found.listing.files} if found.listing else {}
    part.mkdir()
    for name in (*found.directories, *(os.path.dirname(name) for name in found.files)):
        (part / _local(name, uri)).mkdir(parents=True, exist_ok=True)

    def one(name: str) -> Entry:
        got = Entry(name, *download.file(found.files[name], part / _local(name, uri)))
        if name in recorded:
            former = recorded[name]
            place = under(uri, name)
            check(Stored(place, got.size, got.sha256), Stored(place, former.size, former.sha256))
        return got

    names = [name for name in found.files if name not in links]
    fetched = side_by_side(names, lambda name: found.files[name].size, one)
    listing = [(got.name, got.size, got.sha256) for got in fetched]
    for name, target in links.items():
        (part / name).symlink_to(target)
    listing += [(name, *digest_file(part / name)) for name in found.files if name in links]
    return of_listing(uri, listing)


def _local(name: str, uri: str) -> str:
    try:
        return inside(name) if name else name
    except ValueError:
        raise ArtifactError(
            f"cannot read the artifact {uri!r}: its key {name!r} cannot be the name of a file here"
        ) from None
