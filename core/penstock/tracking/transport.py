"""How MLflow's REST API is called: plain HTTP here, `mlflow-skinny` where that does not do.

Importing mlflow takes about two seconds of processor time, most of them with the interpreter's lock held, the
engine's too. So a server behind nothing more than a user name or a token is spoken to without it.
"""

from __future__ import annotations

import base64
import configparser
import json
import os
import ssl
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Protocol, cast

from penstock.errors import PenstockError
from penstock.execution.settings import TRUE_WORDS, mask_url
from penstock.model import JsonObject

_API = "/api/2.0/mlflow/"


class UnavailableError(PenstockError):
    """MLflow cannot be used now, whatever for: what is to be recorded waits."""


class RefusedError(PenstockError):
    """MLflow will never take this. `code` is its error code."""

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        super().__init__(message)


class Transport(Protocol):
    """`place` is the server's address, fit to be shown."""

    place: str

    def call(self, method: str, endpoint: str, body: JsonObject, timeout: float) -> JsonObject:
        """The answer to a request, such as POST `runs/create`; a GET's `body` is its query.

        `timeout` is in seconds. Raises UnavailableError and RefusedError.
        """
        ...


def open_transport(uri: str, environ: Mapping[str, str] = os.environ) -> Transport:
    """Touches nothing outside of this process, and imports nothing large yet.

    Raises UnavailableError for a place that is no server.
    """
    scheme = _scheme(uri)
    special = environ.get("MLFLOW_TRACKING_AUTH") or _true(environ, "MLFLOW_TRACKING_AWS_SIGV4")
    if scheme in ("http", "https") and not special:
        return HttpTransport(uri, environ)
    if scheme in ("http", "https", "databricks") or uri == "databricks":
        from penstock.tracking.skinny import SkinnyTransport

        return SkinnyTransport(uri)
    raise UnavailableError(
        f"MLFLOW_TRACKING_URI is '{mask_url(uri)}', and runs are recorded in an MLflow server only, "
        "at http://… or https://…; `mlflow server` starts one on the files or the database that you have"
    )


def _scheme(uri: str) -> str:
    try:
        parts = urllib.parse.urlsplit(uri)
        if parts.scheme not in ("http", "https") or (parts.hostname and parts.port != 0):
            return parts.scheme
    except ValueError:  # of the host in brackets, or of the port
        pass
    raise UnavailableError(
        f"MLFLOW_TRACKING_URI is '{mask_url(uri)}', which is no URL; write http://host:port"
    )


@dataclass(slots=True)
class HttpTransport:
    """Of MLflow's variables it knows those for a user, a token, certificates and the workspace."""

    uri: str
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    place: str = field(init=False)
    _base: str = field(init=False)
    _headers: dict[str, str] = field(init=False)
    _opener: urllib.request.OpenerDirector | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        parts = urllib.parse.urlsplit(self.uri)
        self.place = mask_url(self.uri)
        self._base = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl().rstrip("/") + _API
        self._headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if credentials := self._credentials(parts):
            self._headers["Authorization"] = credentials
        if workspace := self.environ.get("MLFLOW_WORKSPACE"):
            self._headers["X-MLflow-Workspace"] = workspace

    def call(self, method: str, endpoint: str, body: JsonObject, timeout: float) -> JsonObject:
        url, content = self._base + endpoint, None
        if method == "GET":
            url += "?" + urllib.parse.urlencode(body)
        else:
            content = json.dumps(body).encode()
        request = urllib.request.Request(url, content, self._headers, method=method)
        try:
            with self._open(request, timeout) as answer:
                return read_answer(self.place, answer.status, answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return read_answer(self.place, error.code, error.read())
        except (OSError, HTTPException, ValueError) as error:
            raise UnavailableError(f"MLflow at {self.place} does not answer: {reason_of(error)}") from error

    def _open(self, request: urllib.request.Request, timeout: float) -> HTTPResponse:
        if self._opener is None:
            self._opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=self._tls()))
        return cast("HTTPResponse", self._opener.open(request, timeout=timeout))

    def _tls(self) -> ssl.SSLContext:
        """As MLflow and `requests` below it have their certificates named."""
        names = ("MLFLOW_TRACKING_SERVER_CERT_PATH", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
        bundle = next((self.environ[name] for name in names if self.environ.get(name)), None)
        folder = bundle is not None and os.path.isdir(bundle)
        context = ssl.create_default_context(
            cafile=None if folder else bundle, capath=bundle if folder else None
        )
        if _true(self.environ, "MLFLOW_TRACKING_INSECURE_TLS"):
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if certificate := self.environ.get("MLFLOW_TRACKING_CLIENT_CERT_PATH"):
            context.load_cert_chain(certificate)
        return context

    def _credentials(self, parts: urllib.parse.SplitResult) -> str:
        user = self.environ.get("MLFLOW_TRACKING_USERNAME") or urllib.parse.unquote(parts.username or "")
        password = self.environ.get("MLFLOW_TRACKING_PASSWORD") or urllib.parse.unquote(parts.password or "")
        token = self.environ.get("MLFLOW_TRACKING_TOKEN", "")
        if not user and not token:
            user, password = self._file_credentials()
        if user and password:
            return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        return f"Bearer {token}" if token else ""

    def _file_credentials(self) -> tuple[str, str]:
        """`mlflow.login()` and people write them to ~/.mlflow/credentials."""
        found = configparser.ConfigParser(interpolation=None)
        try:
            found.read(Path(self.environ.get("HOME") or Path.home()) / ".mlflow" / "credentials", "utf-8")
            section = found["mlflow"]
        except (OSError, configparser.Error, UnicodeDecodeError, KeyError):
            return "", ""
        return section.get("mlflow_tracking_username", ""), section.get("mlflow_tracking_password", "")


def read_answer(place: str, status: int, content: bytes) -> JsonObject:
    """What an HTTP answer says, or the error that it stands for."""
    try:
        found = json.loads(content or b"{}")
    except ValueError:
        found = None
    if status < 300 and isinstance(found, dict):
        return cast("JsonObject", found)
    said = cast("JsonObject", found) if isinstance(found, dict) else {}
    code, message = str(said.get("error_code", "")), str(said.get("message", ""))
    if status == 401:
        raise UnavailableError(
            f"MLflow at {place} does not know us (401); set MLFLOW_TRACKING_USERNAME and "
            "MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
        )
    if status == 403:
        raise UnavailableError(
            f"MLflow at {place} does not let us (403){f': {message}' if message else ''}; "
            "ask for the right to edit its experiments and registered models"
        )
    if status >= 500 or status in (408, 429):
        detail = f": {message}" if message else ""
        raise UnavailableError(f"MLflow at {place} answers with an error of its own ({status}{detail})")
    if not code:
        raise UnavailableError(
            f"what answers at {place} is no MLflow server (it says {status}); see to MLFLOW_TRACKING_URI"
        )
    raise RefusedError(code, cut_message(message) or code)


def cut_message(message: str) -> str:
    """MLflow quotes what it was given, however long."""
    return message if len(message) <= 300 else f"{message[:299]}…"


def reason_of(error: Exception) -> str:
    """In one line."""
    found = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(found, TimeoutError):
        return "it takes too long"
    if isinstance(found, OSError) and found.strerror:
        return found.strerror
    return " ".join(str(found).split()) or type(found).__name__


def _true(environ: Mapping[str, str], name: str) -> bool:
    word = environ.get(name, "").strip().lower()
    return word in TRUE_WORDS
