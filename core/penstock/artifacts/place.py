"""Local places as URIs and back: `file:///a%20b` and plain absolute paths."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote_from_bytes, unquote_to_bytes

from penstock.artifacts.error import ArtifactError

_FILE = "file://"


def scheme_of(uri: str) -> str:
    """The scheme in lower case, `file` for a plain path."""
    scheme, mark, _ = uri.partition("://")
    return scheme.lower() if mark and scheme and "/" not in scheme else "file"


def path_of(uri: str) -> Path:
    """The path that a `file://` URI or a plain absolute path names; ArtifactError for anything else."""
    text = uri
    if scheme_of(uri) != "file":
        raise ArtifactError(f"{uri!r} is not a file:// URI or an absolute path")
    if "://" in uri and uri[:7].lower() == _FILE:
        host, slash, rest = uri[7:].partition("/")
        if host not in ("", "localhost"):
            raise ArtifactError(
                f"{uri!r} names the host {host!r}; write file:///path for a file of this machine"
            )
        text = os.fsdecode(unquote_to_bytes(slash + rest))
    if "\0" in text:
        raise ArtifactError(f"{uri!r} holds a NUL character, which no path can")
    if not text.startswith("/"):
        raise ArtifactError(f"{uri!r} is a relative path; artifacts need an absolute one")
    if ".." in text.split("/"):
        raise ArtifactError(f"{uri!r} holds '..'; write the path without it")
    return Path(text)


def uri_of(path: Path) -> str:
    """The `file://` URI of an absolute path."""
    return _FILE + quote_from_bytes(os.fsencode(path), safe="/~!$&'()*+,;=:@")


def under(uri: str, name: str) -> str:
    """The URI of `name` (a relative path, "/" between its parts) below `uri`: percent-encoded where `uri` is.

    That is in `file://` URIs. In others the name stands as it is, as in the keys of an object store.
    """
    if not name:
        return uri
    if uri[:7].lower() == _FILE:
        name = quote_from_bytes(os.fsencode(name), safe="/~!$&'()*+,;=:@")
    return f"{uri.rstrip('/')}/{name}"
