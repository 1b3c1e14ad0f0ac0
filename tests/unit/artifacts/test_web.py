from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from penstock.artifacts import ArtifactError, web

BODY = b"0123456789" * 100_000


class Site(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        match self.path.split("?")[0]:
            case "/data.bin":
                self.answer(200, BODY)
            case "/moved":
                self.answer(302, b"", Location="/data.bin")
            case "/loop":
                self.answer(302, b"", Location="/loop")
            case "/to-file":
                self.answer(302, b"", Location="file:///etc/passwd")
            case "/to-ftp":
                self.answer(302, b"", Location="ftp://host/x")
            case "/broken":
                self.send_response(200)
                self.send_header("Content-Length", "100")
                self.end_headers()
                self.wfile.write(b"only this")
            case "/silent":
                self.send_response(200)
                self.end_headers()
                self.wfile.write(b"x")
                self.wfile.flush()
                threading.Event().wait(3)
            case _:
                self.answer(404, b"nothing here")

    def answer(self, code: int, body: bytes, **headers: str) -> None:
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        return


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Site)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize("path", ["/data.bin", "/data.bin?token=1", "/moved"])
def test_a_file_is_fetched_whole(site: str, tmp_path: Path, path: str) -> None:
    stored = web.download(site + path, tmp_path / "new" / "x")
    assert (tmp_path / "new" / "x").read_bytes() == BODY
    assert (stored.size, stored.sha256) == (len(BODY), hashlib.sha256(BODY).hexdigest())


@pytest.mark.parametrize(
    ("path", "complaint"),
    [
        ("/none", "the server answers 404 Not Found"),
        ("/loop", "it redirects more than 5 times"),
        ("/to-file", "it redirects to 'file:///etc/passwd', which is not on the web"),
        ("/to-ftp", "redirects to 'ftp://host/x', which is not on the web"),
        ("/broken", "broke off after 9 of 100 bytes"),
        ("/silent", "was silent for 0.5 seconds"),
    ],
)
def test_a_download_that_fails_is_one_sentence_and_leaves_nothing(
    site: str, tmp_path: Path, path: str, complaint: str
) -> None:
    with pytest.raises(ArtifactError, match=complaint) as caught:
        web.download(site + path, tmp_path / "x", timeout=0.5)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_download_over_its_limit_stops(site: str, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="larger than the limit of 1000 bytes"):
        web.download(f"{site}/data.bin", tmp_path / "x", max_bytes=1000)


@pytest.mark.parametrize(
    "uri", ["file:///etc/passwd", "ftp://host/x", "/etc/passwd", "http://", "http://[::1"]
)
def test_what_is_not_on_the_web_is_refused(tmp_path: Path, uri: str) -> None:
    with pytest.raises(ArtifactError):
        web.download(uri, tmp_path / "x")
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"cannot download 'http://127\.0\.0\.1:1/x'"):
        web.download("http://127.0.0.1:1/x", tmp_path / "x")


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        ("https://h/a/data%201.csv?x=y#z", "data 1.csv"),
        ("https://h/", "content"),
        ("https://h", "content"),
        ("https://h/a/..", "content"),
        ("https://h/a%2Fb", "b"),
        ("https://h/a%00b", "content"),
    ],
)
def test_the_name_of_a_download_is_one_file_name(uri: str, name: str) -> None:
    assert web.name_of(uri) == name
