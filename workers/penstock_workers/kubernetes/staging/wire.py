"""HTTP, as little of it as GET and POST need: `http.client` and `urllib.request` cost a pod more to load than
everything else here. What is out of the ordinary (a proxy, a strange URL) is left to them.
"""

import os
import socket
from typing import Any, BinaryIO, Dict, Optional, Tuple

CONNECT_SECONDS = 3.0
"""To try it anew soon: the network of a pod that has just started may lose the first packets, and the system
repeats them at ever longer intervals.
"""
SILENT_SECONDS = 120.0
LONGEST_LINE = 1 << 16
REDIRECTS = 5
CHUNK = 1 << 18


class Trust:
    """Whose certificates are trusted: those of the image, and `authorities` (PEM)."""

    def __init__(self, authorities: Optional[str]) -> None:
        self._authorities = authorities
        self._context: Any = None

    def context(self) -> Any:
        if self._context is None:
            import ssl

            self._context = ssl.create_default_context()
            if self._authorities:
                self._context.load_verify_locations(cadata=self._authorities)
        return self._context


class Answer:
    """What a server answers: `status`, `reason`, and a body to `read`."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._file = connection.makefile("rb")
        self.status = 100
        while self.status == 100:
            words = self._line().split(" ", 2)
            if len(words) < 2 or not words[0].startswith("HTTP/") or not words[1].isdigit():
                raise ConnectionError("the server does not answer in HTTP")
            self.status, self.reason = int(words[1]), words[2] if len(words) > 2 else ""
            self.headers = self._head()
        self._chunked = "chunked" in self.headers.get("transfer-encoding", "").lower()
        length = self.headers.get("content-length", "")
        self._left: Optional[int] = 0 if self._chunked else int(length) if length.isdigit() else None
        self._first = True
        if self.status == 204:
            self._chunked, self._left = False, 0

    def read(self, size: int) -> bytes:
        """At most `size` bytes; none at the end. Raises ConnectionError for a body that ends too early."""
        if self._chunked and self._left == 0:
            if not self._first:
                self._line()
            self._first = False
            self._left = int(self._line().split(";", 1)[0] or "0", 16)
            if self._left == 0:
                self._chunked = False
        if self._left is None:
            return self._file.read(size)
        found = self._file.read(min(size, self._left))
        if not found and self._left:
            raise ConnectionError("the connection ended too early")
        self._left -= len(found)
        return found

    def close(self) -> None:
        self._file.close()
        self._connection.close()

    def _head(self) -> Dict[str, str]:
        found: Dict[str, str] = {}
        while True:
            name, _, value = self._line().partition(":")
            if not name:
                return found
            found[name.strip().lower()] = value.strip()

    def _line(self) -> str:
        line = self._file.readline(LONGEST_LINE)
        if not line.endswith(b"\n"):
            raise ConnectionError("the connection ended too early")
        return line.decode("latin-1").rstrip("\r\n")


def ask(
    method: str,
    url: str,
    trust: Trust,
    headers: Optional[Dict[str, str]] = None,
    body: Optional[Any] = None,
) -> Any:
    """An Answer, whatever its status. `body` has `read`. Raises OSError."""
    for _ in range(REDIRECTS):
        place = _place(url)
        if place is None:
            return _ask_by_library(method, url, trust, headers or {}, body)
        scheme, host, path = place
        answer = _ask(method, scheme, host, path, trust, headers or {}, body)
        to = answer.headers.get("location", "")
        if method != "GET" or answer.status not in (301, 302, 303, 307, 308) or not to:
            return answer
        answer.close()
        url = to if "://" in to else scheme + "://" + host + to
    raise ConnectionError("the server sends us in a circle")


def _place(url: str) -> Optional[Tuple[str, str, str]]:
    """(scheme, host and port, path); None for what is not for us."""
    scheme, _, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    proxy = scheme + "_proxy"
    plain = scheme in ("http", "https") and not any(sign in host for sign in "@?#[") and host
    strange = any(not "!" <= char <= "~" for char in url) or "#" in path
    if not plain or strange or os.environ.get(proxy) or os.environ.get(proxy.upper()):
        return None
    return scheme, host, slash + path or "/"


def _ask(
    method: str, scheme: str, host: str, path: str, trust: Trust, headers: Dict[str, str], body: Optional[Any]
) -> Answer:
    name, _, port = host.partition(":")
    connection = socket.create_connection(
        (name, int(port or (443 if scheme == "https" else 80))), CONNECT_SECONDS
    )
    try:
        if scheme == "https":
            connection = trust.context().wrap_socket(connection, server_hostname=name)
        connection.settimeout(SILENT_SECONDS)
        lines = [f"{method} {path} HTTP/1.1", "Host: " + host, "Connection: close", "User-Agent: penstock"]
        lines += ["Accept-Encoding: identity", *(f"{key}: {value}" for key, value in headers.items())]
        try:
            connection.sendall("\r\n".join([*lines, "", ""]).encode("latin-1"))
            _send(connection, body)
        except ConnectionError as problem:
            return _last_words(connection, problem)
        return Answer(connection)
    except BaseException:
        connection.close()
        raise


def _send(connection: socket.socket, body: Optional[Any]) -> None:
    while body is not None:
        data = body.read(CHUNK)
        if not data:
            return
        connection.sendall(data)


def _last_words(connection: socket.socket, problem: ConnectionError) -> Answer:
    """Who refuses an upload says so, and does not listen to the rest."""
    try:
        return Answer(connection)
    except OSError:
        raise problem


def _ask_by_library(
    method: str, url: str, trust: Trust, headers: Dict[str, str], body: Optional[BinaryIO]
) -> Any:
    import http.client
    import urllib.error
    import urllib.request

    handler = urllib.request.HTTPSHandler(context=trust.context())
    request = urllib.request.Request(url, data=body, headers=headers, method=method)
    try:
        return _ByLibrary(urllib.request.build_opener(handler).open(request, timeout=SILENT_SECONDS))
    except urllib.error.HTTPError as problem:
        return _ByLibrary(problem)
    except http.client.HTTPException as problem:
        raise ConnectionError(str(problem) or type(problem).__name__)


class _ByLibrary:
    """As an Answer is, by `urllib`."""

    def __init__(self, answer: Any) -> None:
        self._answer = answer
        self.status, self.reason = int(answer.getcode()), str(getattr(answer, "reason", ""))

    def read(self, size: int) -> bytes:
        import http.client

        try:
            return self._answer.read(size)
        except http.client.HTTPException as problem:
            raise ConnectionError(str(problem) or type(problem).__name__)

    def close(self) -> None:
        self._answer.close()
