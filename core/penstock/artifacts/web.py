"""Artifacts on the web, which are read only: `http://` and `https://`."""

from __future__ import annotations

import hashlib
import http.client
import urllib.error
import urllib.request
from pathlib import Path
from typing import IO
from urllib.parse import unquote, urlsplit
from uuid import uuid4

from penstock.artifacts.content import CHUNK, PART
from penstock.artifacts.error import ArtifactError, explained
from penstock.artifacts.protocol import Stored

SCHEMES = ("http", "https")
TIMEOUT_SECONDS = 60.0
MAX_BYTES = 1 << 40
_REDIRECTS = 5


class _Redirects(urllib.request.HTTPRedirectHandler):
    max_redirections = _REDIRECTS

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        if urlsplit(newurl).scheme not in SCHEMES:
            raise ArtifactError(
                f"{req.full_url!r} redirects to {newurl!r}, which is not on the web; it is not followed"
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def download(
    uri: str, target: Path, *, timeout: float = TIMEOUT_SECONDS, max_bytes: int = MAX_BYTES
) -> Stored:
    """Fetch a file in constant memory; `target` is there when all of it is.

    `timeout` is how many seconds the server may be silent. Follows up to five redirects, on the web only.
    Raises ArtifactError.
    """
    if urlsplit(uri).scheme.lower() not in SCHEMES:
        raise ArtifactError(f"{uri!r} is not an http:// or https:// URI")
    part = target.parent / f"{PART}{uuid4().hex}"
    opener = urllib.request.build_opener(_Redirects)
    request = urllib.request.Request(uri, headers={"User-Agent": "penstock"})
    try:
        with explained(f"write {str(target)!r}"):
            target.parent.mkdir(parents=True, exist_ok=True)
        with opener.open(request, timeout=timeout) as answer:
            stored = _receive(answer, part, uri, max_bytes)
        with explained(f"write {str(target)!r}"):
            part.replace(target)
        return stored
    except urllib.error.HTTPError as problem:
        with problem:
            raise ArtifactError(
                f"cannot download {uri!r}: the server answers {problem.code} {problem.reason}"
            ) from problem
    except TimeoutError as problem:
        raise ArtifactError(
            f"cannot download {uri!r}: the server was silent for {timeout:g} seconds"
        ) from problem
    except (urllib.error.URLError, http.client.HTTPException, ValueError, OSError) as problem:
        reason = problem.reason if isinstance(problem, urllib.error.URLError) else problem
        raise ArtifactError(f"cannot download {uri!r}: {reason or type(problem).__name__}") from problem
    finally:
        part.unlink(missing_ok=True)


def name_of(uri: str) -> str:
    """The last part of the path, as a file name; `content` where there is none that can be one."""
    name = unquote(urlsplit(uri).path).rpartition("/")[2]
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
