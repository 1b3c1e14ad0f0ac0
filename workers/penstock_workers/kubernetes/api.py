"""The Kubernetes API with plain dicts: the few verbs that penstock needs, each tried again as it deserves."""

from __future__ import annotations

import copy
import json
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, cast
from urllib.parse import quote, urlencode

import urllib3

from penstock.errors import TaskError
from penstock.execution.launcher import LauncherError
from penstock.model import JsonObject
from penstock_workers.kubernetes.faults import (
    AGAIN,
    InvalidObjectError,
    MissingError,
    Server,
    UnreachableError,
    fault_of,
)

_LONGEST_PAUSE: Final = 10.0
_STRATEGIC: Final = "application/strategic-merge-patch+json"
_NO_LOG: Final = b"unable to retrieve container logs for "
"""What the kubelet hands out, as if it were the log, of a container that it has removed."""


@dataclass(frozen=True, slots=True)
class Listing:
    items: tuple[JsonObject, ...]
    version: str


@dataclass(frozen=True, slots=True)
class Change:
    """`type` is ADDED, MODIFIED, DELETED or BOOKMARK."""

    type: str
    object: JsonObject


class KubernetesApi:
    """One cluster. Safe for use by many threads.

    Every call is tried again, with growing random pauses, while the server is not reached, is overloaded or
    answers with a fault of its own, for `patience` seconds (a cluster that has never answered yet gets less).
    `stopped` ends the waiting.
    """

    def __init__(
        self,
        host: str,
        pool: urllib3.PoolManager,
        token: Callable[[], str | None],
        *,
        context: str = "",
        namespace: str = "default",
        patience: float = 120.0,
        timeout: float = 30.0,
    ) -> None:
        self.host = host.rstrip("/")
        self.server = Server(self.host, context)
        self.namespace = namespace
        self.patience = patience
        self._timeout = timeout
        self._pool = pool
        self._token = token
        self._answered = False
        self.stopped = threading.Event()

    def apart(self, patience: float) -> KubernetesApi:
        """The same cluster by the same connections, with a patience and a `stopped` of its own."""
        found = copy.copy(self)
        found.patience = patience
        found.stopped = threading.Event()
        return found

    def create(self, kind: str, body: JsonObject, namespace: str = "") -> JsonObject:
        """Raises ExistsError, InvalidObjectError, FullError."""
        return self._json("create", "POST", self._path(kind, namespace), body=body)

    def get(self, kind: str, name: str, namespace: str = "") -> JsonObject | None:
        try:
            return self._json("get", "GET", self._path(kind, namespace, name))
        except MissingError:
            return None

    def list(self, kind: str, selector: str = "", namespace: str = "", *, fields: str = "") -> Listing:
        """All of them, in pages, of one moment."""
        query = {"labelSelector": selector, "fieldSelector": fields, "limit": "500"}
        items: list[JsonObject] = []
        while True:
            found = self._json("list", "GET", self._path(kind, namespace), query=query)
            items += cast("list[JsonObject]", found.get("items") or [])
            meta = cast("dict[str, str]", found.get("metadata") or {})
            if not meta.get("continue"):
                return Listing(tuple(items), meta.get("resourceVersion", ""))
            query["continue"] = meta["continue"]

    def watch(
        self, kind: str, selector: str, version: str, namespace: str = "", *, seconds: int = 30
    ) -> Iterator[Change]:
        """What happens after `version`, for `seconds`, because a connection that died without a word is not
        noticed before. Not tried again. Raises GoneError, UnreachableError.
        """
        query = {
            "watch": "1",
            "labelSelector": selector,
            "resourceVersion": version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(seconds),
        }
        response = self._stream("watch", self._path(kind, namespace), query, read=float(seconds + 10))
        try:
            for line in _lines(response):
                change = cast("dict[str, Any]", json.loads(line))
                found = cast("JsonObject", change["object"])
                if change["type"] == "ERROR":
                    raise fault_of(self.server, "watch", int(cast("int", found.get("code", 500))), found)
                yield Change(cast("str", change["type"]), found)
        finally:
            response.close()

    def patch(self, kind: str, name: str, body: JsonObject, namespace: str = "") -> JsonObject | None:
        """A strategic merge patch; None where there is no such object."""
        try:
            return self._json("patch", "PATCH", self._path(kind, namespace, name), body=body)
        except MissingError:
            return None

    def delete(self, kind: str, name: str, namespace: str = "", *, grace: float | None = None) -> bool:
        """False where there is no such object (any more)."""
        body: JsonObject = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"}
        if grace is not None:
            body["gracePeriodSeconds"] = round(grace)
        try:
            self._json("delete", "DELETE", self._path(kind, namespace, name), body=body)
        except MissingError:
            return False
        return True

    def log(self, pod: str, container: str, namespace: str = "") -> bytes | None:
        """All that the node still has of the container's log; None where it has none."""
        query = {"container": container}
        try:
            found = self._request("get", "GET", self._path("pods", namespace, pod, "log"), query=query)
        except (MissingError, InvalidObjectError):
            return None
        return None if found.startswith(_NO_LOG) and b"\n" not in found else found

    def follow_log(self, pod: str, container: str, namespace: str = "") -> Iterator[bytes]:
        """The log's lines as they come, until the container ends. Not tried again."""
        query = {"container": container, "follow": "true"}
        response = self._stream("get", self._path("pods", namespace, pod, "log"), query, read=None)
        try:
            yield from _lines(response)
        finally:
            response.close()

    def _path(self, kind: str, namespace: str, *names: str) -> str:
        parts = "/".join(quote(one, safe="") for one in (kind, *names))
        return f"/api/v1/namespaces/{quote(namespace or self.namespace, safe='')}/{parts}"

    def _json(
        self,
        verb: str,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: JsonObject | None = None,
    ) -> JsonObject:
        return cast("JsonObject", json.loads(self._request(verb, method, path, query=query, body=body)))

    def _request(
        self,
        verb: str,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: JsonObject | None = None,
    ) -> bytes:
        data = None if body is None else json.dumps(body).encode()
        started, pause = time.monotonic(), 0.2
        while True:
            after = 0.0
            try:
                response = self._send(method, path, query, data)
            except urllib3.exceptions.HTTPError as problem:
                fault: LauncherError | TaskError = self._unreachable(problem)
            else:
                self._answered = True
                if response.status < 400:
                    return response.data
                fault = fault_of(self.server, verb, response.status, _parsed(response.data))
                if response.status not in AGAIN:
                    raise fault
                after = _number(response.headers.get("Retry-After", ""))
            patience = self.patience if self._answered else min(self.patience, 8.0)
            pause = min(_LONGEST_PAUSE, pause * 2)
            wait = max(after, random.uniform(pause / 2, pause))
            if time.monotonic() - started + wait > patience or self.stopped.wait(wait):
                raise fault

    def _stream(
        self, verb: str, path: str, query: Mapping[str, str], *, read: float | None
    ) -> urllib3.BaseHTTPResponse:
        try:
            response = self._send("GET", path, query, None, stream=True, read=read)
        except urllib3.exceptions.HTTPError as problem:
            raise self._unreachable(problem) from problem
        if response.status >= 400:
            try:
                raise fault_of(self.server, verb, response.status, _parsed(response.read()))
            finally:
                response.close()
        return response

    def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        data: bytes | None,
        *,
        stream: bool = False,
        read: float | None = -1.0,
    ) -> urllib3.BaseHTTPResponse:
        headers = {"Accept": "application/json"}
        if data is not None:
            headers["Content-Type"] = _STRATEGIC if method == "PATCH" else "application/json"
        token = self._token()
        if token:
            headers["Authorization"] = token
        given = {name: value for name, value in (query or {}).items() if value}
        url = f"{self.host}{path}?{urlencode(given)}" if given else f"{self.host}{path}"
        return self._pool.request(
            method,
            url,
            body=data,
            headers=headers,
            preload_content=not stream,
            retries=False,
            timeout=urllib3.Timeout(connect=10.0, read=self._timeout if read == -1.0 else read),
        )

    def _unreachable(self, problem: Exception) -> UnreachableError:
        cause = problem
        while isinstance(cause, urllib3.exceptions.HTTPError) and isinstance(
            reason := getattr(cause, "reason", None) or cause.__cause__ or cause.__context__, Exception
        ):
            cause = reason
        text = str(getattr(cause, "strerror", None) or cause) or type(cause).__name__
        return UnreachableError(
            f"the Kubernetes API server {self.host} cannot be reached: {text[:1].lower()}{text[1:]}; see "
            "that the cluster runs and that KUBECONFIG names the right one"
        )


def _parsed(data: bytes) -> JsonObject:
    try:
        found: object = json.loads(data)
    except ValueError:
        return {"message": data[:300].decode(errors="replace")}
    return cast("JsonObject", found) if isinstance(found, dict) else {}


def _number(text: str) -> float:
    return float(text) if text.isdigit() else 0.0


def _lines(response: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
    """Raises UnreachableError when the connection breaks in the middle."""
    rest = b""
    try:
        for chunk in response.stream(1 << 16):
            *lines, rest = (rest + chunk).split(b"\n")
            yield from lines
    except (urllib3.exceptions.HTTPError, OSError) as problem:
        raise UnreachableError(f"the connection to the Kubernetes API server broke: {problem}") from problem
    if rest:
        yield rest
