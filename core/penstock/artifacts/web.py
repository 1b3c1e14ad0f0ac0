"""Artifacts on the web, which are read only: `http://` and `https://`."""

from __future__ import annotations

import hashlib
import http.client
import urllib.error
import urllib.request
from pathlib import Path
from typing import IO
from urllib.parse import unquote, urljoin
from uuid import uuid4

from penstock.artifacts.content import CHUNK, PART
from penstock.artifacts.error import ArtifactError, explained
from penstock.artifacts.place import scheme_of
from penstock.artifacts.protocol import Stored

SCHEMES = ("http", "https")
TIMEOUT_SECONDS = 60.0
MAX_BYTES = 1 << 40
_REDIRECTS = 5
_REDIRECT_CODES = (301, 302, 303, 307, 308)


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Leaves a redirect to the caller, who looks where it leads."""

    def http_error_302(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
    ) -> http.client.HTTPResponse | None:
        return None

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302


def download(
    uri: str, target: Path, *, timeout: float = TIMEOUT_SECONDS, max_bytes: int = MAX_BYTES
) -> Stored:
    """Fetch a file in constant memory; `target` is there when all of it is.

    `timeout` is how many seconds the server may be silent. Follows up to five redirects, on the web only.
    Raises ArtifactError.
    """
    if scheme_of(uri) not in SCHEMES:
        raise ArtifactError(f"{uri!r} is not an http:// or https:// URI")
    part = target.parent / f"{PART}{uuid4().hex}"
    try:
        with explained(f"write {str(target)!r}"):
            target.parent.mkdir(parents=True, exist_ok=True)
        with _open(uri, timeout) as answer:
            stored = _receive(answer, part, uri, max_bytes)
        with explained(f"write {str(target)!r}"):
            part.replace(target)
        return stored
    except TimeoutError as problem:
        raise _failure(uri, f"the server was silent for {timeout:g} seconds") from problem
    except urllib.error.URLError as problem:
        raise _failure(uri, str(problem.reason)) from problem
    except (http.client.HTTPException, ValueError, OSError) as problem:
        raise _failure(uri, str(problem) or type(problem).__name__) from problem
    finally:
        part.unlink(missing_ok=True)


def _open(uri: str, timeout: float) -> http.client.HTTPResponse:
    opener = urllib.request.build_opener(_NoRedirects)
    place = uri
    for _ in range(_REDIRECTS + 1):
        request = urllib.request.Request(place, headers={"User-Agent": "penstock"})
        try:
            return opener.open(request, timeout=timeout)
        except urllib.error.HTTPError as problem:
            with problem:
                location = problem.headers.get("Location")
                if problem.code not in _REDIRECT_CODES or not location:
                    raise _failure(uri, f"the server answers {problem.code} {problem.reason}") from problem
        place = urljoin(place, location)
        if scheme_of(place) not in SCHEMES:
            raise _failure(uri, f"it redirects to {place!r}, which is not on the web")
    raise _failure(uri, f"it redirects more than {_REDIRECTS} times")


def _failure(uri: str, why: str) -> ArtifactError:
    return ArtifactError(f"cannot download {uri!r}: {' '.join(why.split())}")


def name_of(uri: str) -> str:
    """The last part of the path, as a file name; `content` where there is none that can be one."""
    path = uri.partition("://")[2].partition("#")[0].partition("?")[0]
    name = unquote(path.partition("/")[2]).rpartition("/")[2]
    return (
        name
        if name.strip(".") and "\0" not in name and "/" not in name and len(name.encode()) <= 200
        else "content"
    )


def _receive(answer: http.client.HTTPResponse, part: Path, uri: str, max_bytes: int) -> Stored:
    digest = hashlib.sha256()
    size = 0
    with explained(f"write {str(part)!r}"):
        file = part.open("xb")
    with file:
        while chunk := answer.read(CHUNK):
            size += len(chunk)
            if size > max_bytes:
                raise ArtifactError(f"{uri!r} is larger than the limit of {max_bytes} bytes for a download")
            digest.update(chunk)
            with explained(f"write {str(part)!r}"):
                file.write(chunk)
    expected = answer.headers.get("Content-Length")
    if expected and expected.isdigit() and int(expected) != size:
        raise ArtifactError(
            f"the download of {uri!r} broke off after {size} of {expected} bytes; run the task again"
        )
    return Stored(uri, size, digest.hexdigest())
