"""The Kubernetes API with plain dicts: the one module that touches the `kubernetes` client, and of that only
how it reads its configuration and sets up its connections.
"""

from __future__ import annotations

import json
import random
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, cast
from urllib.parse import quote, urlencode

import urllib3

from penstock.errors import InvalidInputError, TaskError
from penstock.execution.launcher import LauncherError
from penstock.model import Json, JsonObject

_AGAIN: Final = frozenset({429, 500, 502, 503, 504})
_LONGEST_PAUSE: Final = 10.0
_FORBIDDEN: Final = re.compile(
    r'User "(?P<user>[^"]*)" cannot (?P<verb>\w+) resource "(?P<resource>[^"]+)"'
    r'(?:.* in the namespace "(?P<namespace>[^"]*)")?'
)
RBAC: Final = "compose/kubernetes/rbac.yaml"


class UnreachableError(LauncherError):
    """The API server did not answer, for as long as it was asked."""


class DeniedError(LauncherError):
    """No credentials that it takes, or a permission is missing; trying again does not help."""


class InvalidObjectError(TaskError):
    """The API server refuses an object for what is in it; the text is its own reason."""


class FullError(LauncherError):
    """A quota is used up: later there may be room."""


class ExistsError(LauncherError):
    """An object of that name is there already."""


class GoneError(LauncherError):
    """The resource version of a watch is too old: list again."""


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
        self.context = context
        self.namespace = namespace
        self.patience = patience
        self._timeout = timeout
        self._pool = pool
        self._token = token
        self._answered = False
        self.stopped = threading.Event()

    def create(self, kind: str, body: JsonObject, namespace: str = "") -> JsonObject:
        """Raises ExistsError, InvalidObjectError, FullError."""
        return self._json("create", "POST", self._path(kind, namespace), body=body)

    def get(self, kind: str, name: str, namespace: str = "") -> JsonObject | None:
        try:
            return self._json("get", "GET", self._path(kind, namespace, name))
        except _MissingError:
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
        self, kind: str, selector: str, version: str, namespace: str = "", *, seconds: int = 240
    ) -> Iterator[Change]:
        """What happens after `version`, for at most `seconds`. Not tried again. Raises GoneError."""
        query = {
            "watch": "1",
            "labelSelector": selector,
            "resourceVersion": version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(seconds),
        }
        response = self._stream("watch", self._path(kind, namespace), query, read=float(seconds + 15))
        try:
            for line in _lines(response):
                change = cast("dict[str, Any]", json.loads(line))
                found = cast("JsonObject", change["object"])
                if change["type"] == "ERROR":
                    raise _fault(self, "watch", int(cast("int", found.get("code", 500))), found)
                yield Change(cast("str", change["type"]), found)
        finally:
            response.close()

    def patch(self, kind: str, name: str, body: JsonObject, namespace: str = "") -> JsonObject | None:
        """A merge patch; None where there is no such object."""
        try:
            return self._json("patch", "PATCH", self._path(kind, namespace, name), body=body)
        except _MissingError:
            return None

    def delete(self, kind: str, name: str, namespace: str = "", *, grace: float | None = None) -> bool:
        """False where there is no such object (any more)."""
        body: JsonObject = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"}
        if grace is not None:
            body["gracePeriodSeconds"] = round(grace)
        try:
            self._json("delete", "DELETE", self._path(kind, namespace, name), body=body)
        except _MissingError:
            return False
        return True

    def log(self, pod: str, container: str, namespace: str = "") -> bytes | None:
        """All that the node still has of the container's log; None where it has none."""
        query = {"container": container}
        try:
            return self._request("get", "GET", self._path("pods", namespace, pod, "log"), query=query)
        except (_MissingError, InvalidObjectError):
            return None

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
                fault = _fault(self, verb, response.status, _parsed(response.data))
                if response.status not in _AGAIN:
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
                raise _fault(self, verb, response.status, _parsed(response.read()))
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
            patch = method == "PATCH"
            headers["Content-Type"] = "application/merge-patch+json" if patch else "application/json"
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


class _MissingError(LauncherError):
    pass


def connect(context: str = "", namespace: str = "", *, patience: float = 120.0) -> KubernetesApi:
    """The cluster that KUBECONFIG (else ~/.kube/config) names, or inside a pod its own; nothing is sent yet.

    Raises InvalidInputError for a configuration that cannot be used.
    """
    from kubernetes.client.configuration import Configuration  # pyright: ignore[reportMissingTypeStubs]
    from kubernetes.client.rest import RESTClientObject  # pyright: ignore[reportMissingTypeStubs]

    configuration = cast("Any", Configuration)()
    current, own = _read_configuration(configuration, context)
    client = cast("Any", RESTClientObject)(configuration)
    pool = cast("urllib3.PoolManager", client.pool_manager)
    pool.connection_pool_kw |= {"maxsize": 64, "block": False}

    def token() -> str | None:
        return cast("str | None", configuration.get_api_key_with_prefix("authorization")) or cast(
            "str | None", configuration.get_api_key_with_prefix("BearerToken")
        )

    return KubernetesApi(
        cast("str", configuration.host),
        pool,
        token,
        context=current,
        namespace=namespace or own or "default",
        patience=patience,
    )


def _read_configuration(configuration: Any, context: str) -> tuple[str, str]:
    """(the context's name, its namespace)."""
    from kubernetes import config  # pyright: ignore[reportMissingTypeStubs]
    from kubernetes.config import incluster_config  # pyright: ignore[reportMissingTypeStubs]

    api = cast("Any", config)
    try:
        api.load_kube_config(context=context or None, client_configuration=configuration)
        contexts, current = api.list_kube_config_contexts()
        found = next((one for one in contexts if one["name"] == context), current)
        return str(found["name"]), str(found["context"].get("namespace") or "")
    except Exception as problem:
        inside = cast("Any", incluster_config)
        with suppress(Exception):
            inside.load_incluster_config(client_configuration=configuration)
            folder = "/var/run/secrets/kubernetes.io/serviceaccount"
            with open(f"{folder}/namespace", encoding="utf-8") as file:
                return "in-cluster", file.read().strip()
        text = " ".join(str(problem).split()) or type(problem).__name__
        raise InvalidInputError(
            f"there is no Kubernetes configuration to use: {text}; set KUBECONFIG to the file of a cluster"
        ) from problem


def _fault(api: KubernetesApi, verb: str, status: int, said: JsonObject) -> LauncherError | TaskError:
    """What an answer of the API server means. `said` is its Status object."""
    message = " ".join(str(said.get("message") or f"HTTP status {status}").split())
    match status:
        case 401:
            return DeniedError(
                f"the Kubernetes API server {api.host} does not accept the credentials of context "
                f"'{api.context}': they have expired or were revoked; log in to the cluster again"
            )
        case 403 if "exceeded quota" in message:
            return FullError(f"the quota of the namespace is used up: {_after(message, 'exceeded quota: ')}")
        case 403:
            return DeniedError(_forbidden(api, verb, message))
        case 404:
            return _MissingError(message)
        case 409 if said.get("reason") == "AlreadyExists":
            return ExistsError(message)
        case 410:
            return GoneError(message)
        case 400 | 422 | 413:
            return InvalidObjectError(message)
        case _ if status in _AGAIN:
            return UnreachableError(f"the Kubernetes API server {api.host} is in trouble: {message}")
        case _:
            return LauncherError(f"the Kubernetes API server {api.host} says: {message}")


def _forbidden(api: KubernetesApi, verb: str, message: str) -> str:
    found = _FORBIDDEN.search(message)
    if found is None:
        return f"the Kubernetes API server forbids to {verb}: {message}"
    where = f" in namespace '{found['namespace']}'" if found["namespace"] else ""
    return (
        f"'{found['user']}' may not {found['verb']} {found['resource']}{where}: a role must grant it the "
        f"verb '{found['verb']}' on '{found['resource']}' ({RBAC} has all that penstock needs)"
    )


def _after(message: str, mark: str) -> str:
    return message.partition(mark)[2] or message


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


def text_of(value: Json) -> str:
    return value if isinstance(value, str) else ""
