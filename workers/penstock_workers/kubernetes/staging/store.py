"""The object store, by URLs that somebody else has signed."""

import errno
import io
import time
from typing import Any, BinaryIO, Callable, Dict, Tuple

import wire

CHUNK = 1 << 20

Sheet = Dict[str, Any]


class StageError(Exception):
    """One sentence for the person whose task it is."""


class Remote:
    def __init__(self, sheet: Sheet) -> None:
        self._trust = wire.Trust(sheet.get("ca"))
        self._patience = float(sheet.get("patience", 600))
        self._upload: Dict[str, Any] = sheet.get("upload") or {}

    def get(self, url: str, target: BinaryIO, what: str, hashed: bool = True) -> Tuple[int, str]:
        """(size, sha256) of what was written to `target`."""

        def once() -> Tuple[int, str]:
            target.seek(0)
            target.truncate()
            digest, size = _sha256() if hashed else None, 0
            answer = wire.ask("GET", url, self._trust)
            try:
                _accept(answer)
                while True:
                    chunk = answer.read(CHUNK)
                    if not chunk:
                        break
                    target.write(chunk)
                    if digest is not None:
                        digest.update(chunk)
                    size += len(chunk)
            finally:
                answer.close()
            return size, digest.hexdigest() if digest is not None else ""

        return self._again(once, "cannot fetch " + what)

    def put(self, source: BinaryIO, start: int, size: int, key: str, what: str) -> None:
        """Upload `size` bytes from `start` on as the object `key`."""

        def once() -> None:
            source.seek(start)
            form = Form(dict(self._upload["fields"], key=key), source, size)
            headers = {
                "Content-Type": "multipart/form-data; boundary=" + Form.BOUNDARY,
                "Content-Length": str(form.size),
            }
            answer = wire.ask("POST", self._upload["url"], self._trust, headers, form)
            try:
                _accept(answer)
            finally:
                answer.close()
            if form.missing:
                raise StageError(f"cannot store {what}: it became shorter while it was read")

        self._again(once, "cannot store " + what)

    def _again(self, once: Callable[[], Any], action: str) -> Any:
        started, pause = time.monotonic(), 0.1
        while True:
            try:
                return once()
            except RefusedError as problem:
                text = str(problem)
                if problem.status < 500 and problem.status not in (408, 429):
                    raise StageError(f"{action}: the store says {text}")
            except OSError as problem:
                cause = getattr(problem, "reason", problem)
                if getattr(cause, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
                    raise StageError(f"{action}: the pod's disk is full")
                text = str(cause) or type(cause).__name__
            pause = min(5.0, pause * 2)
            if time.monotonic() - started > self._patience:
                raise StageError(f"{action}: {text}")
            import random

            time.sleep(random.uniform(pause / 2, pause))


class RefusedError(Exception):
    """In the store's own words."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def _accept(answer: "wire.Answer") -> None:
    if answer.status >= 300:
        raise RefusedError(answer.status, _said(answer))


class Form:
    """A multipart form whose last field is a part of a file, read as it is sent."""

    BOUNDARY = "penstock-7f3b1d52c6e84a0f"

    def __init__(self, fields: Dict[str, str], source: BinaryIO, size: int) -> None:
        head = "".join(
            f'--{self.BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
            for name, value in fields.items()
        )
        head += (
            f'--{self.BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="file"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        )
        self._head = io.BytesIO(head.encode())
        self._tail = io.BytesIO(f"\r\n--{self.BOUNDARY}--\r\n".encode())
        self._source = source
        self.missing = size
        self.size = len(self._head.getvalue()) + size + len(self._tail.getvalue())

    def read(self, size: int = CHUNK) -> bytes:
        size = max(size, CHUNK) if size > 0 else CHUNK
        found = self._head.read(size)
        if not found and self.missing:
            found = self._source.read(min(size, self.missing))
            self.missing -= len(found)
            if not found:
                raise StageError("a file became shorter while it was stored")
        return found or self._tail.read(size)


def _said(answer: "wire.Answer") -> str:
    """S3 answers errors in XML."""
    try:
        text = answer.read(2000).decode("utf-8", "replace")
    except OSError:
        text = ""
    for tag in ("Message", "Code"):
        if "<" + tag + ">" in text:
            return text.split("<" + tag + ">", 1)[1].split("<", 1)[0]
    return f"{answer.status} {answer.reason}"


def _sha256() -> Any:
    import hashlib

    return hashlib.sha256()
