"""Speaking to an HTTP server as MLflow's API wants it, and what its answers mean."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from penstock.store import Store
from penstock.tracking.claims import TOPIC
from penstock.tracking.skinny import SkinnyTransport
from penstock.tracking.transport import HttpTransport, RefusedError, UnavailableError, open_transport
from tests.documents import Shell, pipeline, write


@dataclass
class Site:
    """Answers everything with `status` and `content`; `seen` has method, path, headers and body."""

    status: int = 200
    content: bytes = b"{}"
    delay: float = 0.0
    seen: list[tuple[str, str, dict[str, str], bytes]] = field(
        default_factory=list[tuple[str, str, dict[str, str], bytes]]
    )
    uri: str = ""


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site()

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            made.seen.append((self.command, self.path, dict(self.headers), body))
            time.sleep(made.delay)
            self.send_response(made.status)
            self.send_header("Content-Length", str(len(made.content)))
            self.end_headers()
            with suppress(BrokenPipeError):
                self.wfile.write(made.content)

        do_GET = do_POST = answer  # noqa: N815

        def log_message(self, format: str, *args: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        made.uri = f"http://127.0.0.1:{server.server_port}"
        yield made
        server.shutdown()


def test_requests_are_json_below_the_address_whatever_its_path(site: Site) -> None:
    site.content = b'{"run": {"info": {}}}'
    transport = open_transport(f"{site.uri}/behind/a/proxy/", {})

    assert transport.call("POST", "runs/create", {"run_name": "x"}, 5) == {"run": {"info": {}}}
    transport.call("GET", "experiments/get-by-name", {"experiment_name": "a b&c"}, 5)
    (posted, got) = site.seen
    assert posted[:2] == ("POST", "/behind/a/proxy/api/2.0/mlflow/runs/create")
    assert (json.loads(posted[3]), posted[2]["Content-Type"]) == ({"run_name": "x"}, "application/json")
    assert got[:2] == (
        "GET",
        "/behind/a/proxy/api/2.0/mlflow/experiments/get-by-name?experiment_name=a+b%26c",
    )


BASIC = "Basic " + base64.b64encode(b"ann:s3cret").decode()


@pytest.mark.parametrize(
    ("user", "environ", "header"),
    [
        ("", {}, None),
        ("", {"MLFLOW_TRACKING_USERNAME": "ann", "MLFLOW_TRACKING_PASSWORD": "s3cret"}, BASIC),
        ("ann:s3cret@", {}, BASIC),
        ("", {"MLFLOW_TRACKING_TOKEN": "t0ken"}, "Bearer t0ken"),
    ],
)
def test_credentials_go_along_and_are_never_shown(
    site: Site, user: str, environ: dict[str, str], header: str | None, tmp_path: Path
) -> None:
    site.status = 401
    transport = open_transport(site.uri.replace("//", f"//{user}"), {"HOME": str(tmp_path), **environ})
    with pytest.raises(UnavailableError) as error:
        transport.call("POST", "runs/search", {}, 5)

    assert site.seen[0][2].get("Authorization") == header
    assert not {"s3cret", "t0ken"} & set(f"{error.value} {transport.place}".replace(":", " ").split())
    assert "s3cret" not in f"{error.value} {transport.place}"


def test_credentials_may_stand_in_mlflows_file(site: Site, tmp_path: Path) -> None:
    (tmp_path / ".mlflow").mkdir()
    (tmp_path / ".mlflow" / "credentials").write_text(
        "[mlflow]\nmlflow_tracking_username = ann\nmlflow_tracking_password = s3cret\n"
    )
    open_transport(site.uri, {"HOME": str(tmp_path), "MLFLOW_WORKSPACE": "team"}).call("POST", "x", {}, 5)

    headers = {name.lower(): value for name, value in site.seen[0][2].items()}
    assert (headers["authorization"], headers["x-mlflow-workspace"]) == (BASIC, "team")


@pytest.mark.parametrize(
    ("status", "content", "words"),
    [
        (401, b"", "does not know us (401); set MLFLOW_TRACKING_USERNAME"),
        (403, b'{"error_code": "PERMISSION_DENIED", "message": "no"}', "does not let us (403): no"),
        (404, b"<html>nothing here</html>", "is no MLflow server (it says 404)"),
        (200, b"<html>a login page</html>", "is no MLflow server (it says 200)"),
        (200, b"[]", "is no MLflow server"),
        (503, b"busy", "an error of its own (503)"),
        (500, b'{"error_code": "INTERNAL_ERROR", "message": "locked"}', "an error of its own (500: locked)"),
        (429, b"", "an error of its own (429)"),
    ],
)
def test_what_may_be_better_another_time_waits(site: Site, status: int, content: bytes, words: str) -> None:
    site.status, site.content = status, content
    with pytest.raises(UnavailableError) as error:
        open_transport(site.uri, {}).call("POST", "runs/create", {}, 5)
    assert words in str(error.value) and site.uri in str(error.value)


def test_what_is_wrong_with_the_request_is_refused_with_its_code(site: Site) -> None:
    site.status, site.content = (
        400,
        b'{"error_code": "INVALID_PARAMETER_VALUE", "message": "%s"}' % (b"x" * 999),
    )
    with pytest.raises(RefusedError) as error:
        open_transport(site.uri, {}).call("POST", "runs/create", {}, 5)
    assert error.value.code == "INVALID_PARAMETER_VALUE" and len(str(error.value)) == 300


def test_a_closed_port_and_a_slow_server_are_unavailable(site: Site) -> None:
    with pytest.raises(UnavailableError, match="does not answer: Connection refused"):
        open_transport("http://127.0.0.1:9", {}).call("POST", "x", {}, 5)
    site.delay = 1.0
    began = time.monotonic()
    with pytest.raises(UnavailableError, match="does not answer: it takes too long"):
        open_transport(site.uri, {}).call("POST", "x", {}, 0.2)
    assert time.monotonic() - began < 0.9


@pytest.mark.parametrize("uri", ["sqlite:///mlflow.db", "mlruns", "/data/mlruns", "postgresql://a:pw@h/db"])
def test_a_place_that_is_no_server_is_told_in_one_sentence(uri: str) -> None:
    with pytest.raises(UnavailableError, match=r"an MLflow server only.*`mlflow server` starts one") as error:
        open_transport(uri, {})
    assert "pw" not in str(error.value)


@pytest.mark.parametrize("uri", ["http://", "http://a:pw@[::1", "https://mlflow:port", "http://:5000/x"])
def test_a_malformed_url_is_told_in_one_sentence(uri: str) -> None:
    with pytest.raises(UnavailableError, match=r"which is no URL; write http://host:port$") as error:
        open_transport(uri, {})
    assert "pw" not in str(error.value)


@pytest.mark.parametrize(
    ("uri", "environ"),
    [
        ("databricks", {}),
        ("databricks://profile", {}),
        ("https://mlflow", {"MLFLOW_TRACKING_AUTH": "plugin"}),
        ("https://mlflow", {"MLFLOW_TRACKING_AWS_SIGV4": "true"}),
    ],
)
def test_only_what_plain_http_cannot_do_goes_through_mlflows_client(
    uri: str, environ: dict[str, str]
) -> None:
    assert isinstance(open_transport(uri, environ), SkinnyTransport)
    assert isinstance(open_transport("https://mlflow", {}), HttpTransport)


def test_the_package_is_there_without_mlflow_being_loaded() -> None:
    code = "import penstock.tracking.tracker, sys; sys.exit(bool({'mlflow', 'requests'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_without_a_server_nothing_is_loaded_and_no_message_is_left(tmp_path: Path) -> None:
    file = write(pipeline("plain", Shell("one")), tmp_path / "pipeline.yaml")
    code = (
        "import sys; from penstock.cli import run_cli; code = run_cli(['run', sys.argv[1]])\n"
        "sys.exit(code or bool([one for one in sys.modules if one.startswith('penstock.tracking')]))"
    )
    home = {"PENSTOCK_HOME": str(tmp_path / "home")}
    environ = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    assert subprocess.run([sys.executable, "-c", code, str(file)], env={**environ, **home}).returncode == 0
    with Store.open(f"sqlite:///{tmp_path}/home/penstock.db") as store:
        assert store.outbox.waiting(TOPIC) == []
