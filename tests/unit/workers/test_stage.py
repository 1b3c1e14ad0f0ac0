"""The staging program, run as a pod would run it, against a store that only knows signed places."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, Literal

import pytest

import penstock_workers.kubernetes

PROGRAM = Path(penstock_workers.kubernetes.__file__).with_name("staging")
STAGE_IN_FAILED, STAGE_OUT_FAILED = 120, 121


class ObjectStore(ThreadingHTTPServer):
    """GET of any key, POST forms below `allowed`. Answers 503 to the first `broken` requests. A key below
    `moved/` is to be found elsewhere, one below `chunked/` comes in pieces of unknown number.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.objects: dict[str, bytes] = {}
        self.allowed = "root/train/"
        self.broken = 0
        self.asked: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: ObjectStore  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_GET(self) -> None:
        key = self.path.removeprefix(self.server.url)[1:]
        self.server.asked.append(self.path)
        if key.startswith("moved/"):
            self.send_response(302)
            self.send_header("Location", f"/{key.removeprefix('moved/')}")
            self.end_headers()
            return
        if key.startswith("chunked/"):
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"2\r\nda\r\n2;x=y\r\nta\r\n0\r\n\r\n")
            return
        data = self.server.objects.get(key)
        self._answer(200 if data is not None else 404, data or b"<Code>NoSuchKey</Code>")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        fields: dict[str, bytes] = {}
        for part in BytesParser(policy=HTTP).parsebytes(head + body).iter_parts():
            name = part.get_param("name", header="content-disposition")
            data = part.get_payload(decode=True)
            assert isinstance(data, bytes)
            fields[str(name)] = data
        key = fields["key"].decode()
        if not key.startswith(self.server.allowed):
            self._answer(403, b"<Error><Message>the policy does not allow this key</Message></Error>")
            return
        self.server.objects[key] = fields["file"]
        self._answer(204)

    def _answer(self, code: int, data: bytes = b"") -> None:
        if self.server.broken > 0:
            self.server.broken -= 1
            code, data = 503, b""
        self.send_response(code)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *_: Any) -> None:
        return


@pytest.fixture
def store() -> Iterator[ObjectStore]:
    server = ObjectStore()
    Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def sheet(store: ObjectStore, tmp: Path, *command: str, **more: Any) -> dict[str, Any]:
    root = tmp / "task"
    outputs = {
        "executor_output": str(root / "output_metadata.json"),
        "parameters": {"n": str(tmp / "outputs" / "n")},
        "artifacts": {"model": {"path": str(root / "model"), "uri": "s3://b/root/train/model"}},
        "task_uri": "s3://b/root/train",
        "task_root": str(root),
    }
    upload = {
        "url": f"{store.url}/b",
        "fields": {"policy": "p"},
        "report": "root/train/report",
        "parts": "root/train/parts/",
        "piece": 1 << 20,
    }
    places = [outputs["executor_output"], str(tmp / "outputs" / "n")]
    found = {"mode": "run", "command": list(command), "outputs": outputs, "upload": upload, "places": places}
    return {**found, "patience": 3, **more}


def run(found: dict[str, Any], **environment: str) -> subprocess.CompletedProcess[bytes]:
    variables = {**os.environ, **environment, "PENSTOCK_SHEET": json.dumps(found)}
    command = [sys.executable, "-ISu", str(PROGRAM)]
    return subprocess.run(command, env=variables, capture_output=True, timeout=60, check=False)


def report(store: ObjectStore) -> dict[str, Any]:
    return json.loads(store.objects["root/train/report"])


def shell(text: str) -> tuple[str, str, str]:
    return "sh", "-ec", text


def test_it_is_written_for_old_pythons() -> None:
    for file in PROGRAM.glob("*.py"):
        ast.parse(file.read_text("utf-8"), feature_version=(3, 6))


def test_outputs_are_stored_and_the_report_comes_last(store: ObjectStore, tmp_path: Path) -> None:
    text = f"printf 7 >{tmp_path}/outputs/n; printf weights >{tmp_path}/task/model; echo said"
    found = run(sheet(store, tmp_path, *shell(text)))

    assert (found.returncode, found.stdout) == (0, b"said\n")
    assert store.objects["root/train/model"] == b"weights"
    digest = hashlib.sha256(b"weights").hexdigest()
    assert list(store.objects)[-1] == "root/train/report"
    assert report(store)["parameters"] == {"n": "7"}
    assert report(store)["artifacts"]["model"] == [
        {
            "uri": "s3://b/root/train/model",
            "directory": False,
            "files": [{"name": "", "size": 7, "sha256": digest}],
        }
    ]


def test_the_exit_code_is_the_commands_own_and_nothing_is_stored(store: ObjectStore, tmp_path: Path) -> None:
    found = run(sheet(store, tmp_path, *shell(f"printf x >{tmp_path}/task/model; exit 3")))

    assert found.returncode == 3
    assert list(store.objects) == ["root/train/report"]
    assert report(store)["exit_code"] == 3


def test_a_command_killed_by_a_signal_ends_as_a_shell_would_say(store: ObjectStore, tmp_path: Path) -> None:
    assert run(sheet(store, tmp_path, *shell("kill -9 $$"))).returncode == 137


def test_signals_are_passed_on(store: ObjectStore, tmp_path: Path) -> None:
    text = f"trap 'echo caught; exit 5' TERM; touch {tmp_path}/up; while :; do sleep 0.05; done"
    variables = {**os.environ, "PENSTOCK_SHEET": json.dumps(sheet(store, tmp_path, *shell(text)))}
    process = subprocess.Popen([sys.executable, "-ISu", str(PROGRAM)], env=variables, stdout=subprocess.PIPE)
    while not (tmp_path / "up").exists():
        time.sleep(0.01)

    process.send_signal(signal.SIGTERM)

    assert process.communicate(timeout=20)[0] == b"caught\n"
    assert process.returncode == 5


def test_a_program_that_is_not_there(store: ObjectStore, tmp_path: Path) -> None:
    assert run(sheet(store, tmp_path, "/no/such")).returncode == 127
    assert report(store)["error"] == "there is no program '/no/such' in the image"


def test_the_command_does_not_see_the_sheet(store: ObjectStore, tmp_path: Path) -> None:
    found = run(sheet(store, tmp_path, "env"), KEPT="1")

    assert b"KEPT=1" in found.stdout
    assert b"PENSTOCK_SHEET" not in found.stdout


class TestInputs:
    def given(self, store: ObjectStore, tmp: Path, **more: Any) -> dict[str, Any]:
        store.objects["in/data"] = b"data"
        one = {
            "what": "input artifact 'd'",
            "path": str(tmp / "in" / "data"),
            "directory": False,
            "files": [{"name": "", "url": f"{store.url}/in/data"}],
        }
        return {**one, **more}

    def test_an_input_is_where_the_task_looks(self, store: ObjectStore, tmp_path: Path) -> None:
        inputs = [self.given(store, tmp_path, sha256=hashlib.sha256(b"data").hexdigest())]
        found = run(sheet(store, tmp_path, "cat", str(tmp_path / "in" / "data"), inputs=inputs))

        assert found.stdout == b"data"

    def test_content_that_has_changed_is_refused(self, store: ObjectStore, tmp_path: Path) -> None:
        inputs = [self.given(store, tmp_path, sha256="0" * 64)]
        found = run(sheet(store, tmp_path, "true", inputs=inputs))

        assert found.returncode == STAGE_IN_FAILED
        failed = report(store)["failed"]
        assert failed["stage"] == "in"
        assert "the content of input artifact 'd' has changed" in failed["text"]

    def test_a_directory_has_the_digest_of_its_listing(self, store: ObjectStore, tmp_path: Path) -> None:
        (tmp_path / "kept").mkdir()
        from penstock.artifacts.content import describe, examine

        store.objects |= {"in/d/a": b"1", "in/d/s/b": b"22"}
        for name, data in (("a", b"1"), ("s/b", b"22")):
            file = tmp_path / "kept" / name
            file.parent.mkdir(exist_ok=True)
            file.write_bytes(data)
        files = [{"name": name, "url": f"{store.url}/in/d/{name}"} for name in ("a", "s/b")]
        digest = describe(examine(tmp_path / "kept"), "x").sha256
        inputs = [self.given(store, tmp_path, directory=True, files=files, sha256=digest)]

        found = run(sheet(store, tmp_path, "cat", str(tmp_path / "in/data/s/b"), inputs=inputs))

        assert found.stdout == b"22"

    @pytest.mark.parametrize("place", ["moved/in/data", "chunked/in/data"])
    def test_an_input_comes_as_web_servers_send_it(
        self, store: ObjectStore, tmp_path: Path, place: str
    ) -> None:
        inputs = [self.given(store, tmp_path, files=[{"name": "", "url": f"{store.url}/{place}"}])]
        found = run(sheet(store, tmp_path, "cat", str(tmp_path / "in" / "data"), inputs=inputs))

        assert found.stdout == b"data"

    def test_an_input_comes_through_the_proxy_that_is_set(self, store: ObjectStore, tmp_path: Path) -> None:
        store.objects["in/data"] = b"data"
        files = [{"name": "", "url": "http://no.such.host/in/data"}]
        wanted = sheet(store, tmp_path, "true", inputs=[self.given(store, tmp_path, files=files)])

        run(wanted, http_proxy=store.url, no_proxy="127.0.0.1")

        assert store.asked == ["http://no.such.host/in/data"]

    def test_a_store_that_is_away_for_a_moment_is_tried_again(
        self, store: ObjectStore, tmp_path: Path
    ) -> None:
        store.broken = 2
        found = run(sheet(store, tmp_path, "true", inputs=[self.given(store, tmp_path)]))

        assert found.returncode == 0

    def test_an_input_that_is_gone_is_said_in_the_stores_words(
        self, store: ObjectStore, tmp_path: Path
    ) -> None:
        files = [{"name": "", "url": f"{store.url}/nothing"}]
        run(sheet(store, tmp_path, "true", inputs=[self.given(store, tmp_path, files=files)]))

        assert report(store)["failed"]["text"] == "cannot fetch input artifact 'd': the store says NoSuchKey"


class TestOutputs:
    def test_a_large_file_goes_up_in_pieces(self, store: ObjectStore, tmp_path: Path) -> None:
        wanted = sheet(store, tmp_path, *shell(f"printf 0123456789 >{tmp_path}/task/model"))
        wanted["upload"]["piece"] = 4
        run(wanted)

        (file,) = report(store)["artifacts"]["model"][0]["files"]
        assert [store.objects[key] for key in file["pieces"]] == [b"0123", b"4567", b"89"]
        assert file["sha256"] == hashlib.sha256(b"0123456789").hexdigest()
        assert "root/train/model" not in store.objects

    def test_a_directory_has_a_listing_that_our_store_reads(self, store: ObjectStore, tmp_path: Path) -> None:
        from penstock.artifacts.content import describe, examine
        from penstock.artifacts.s3.listing import LISTING, Listing

        folder = f"{tmp_path}/task/model"
        run(sheet(store, tmp_path, *shell(f"mkdir -p {folder}/s/t {folder}/empty; echo a >{folder}/s/t/a")))

        listing = Listing.from_bytes(store.objects[f"root/train/model/{LISTING}"], "s3://b/root/train/model")
        assert store.objects["root/train/model/s/t/a"] == b"a\n"
        assert listing.complete
        assert listing.directories == ("empty", "s", "s/t")
        assert listing.stored("x").sha256 == describe(examine(Path(folder)), "x").sha256

    def test_what_was_not_written_is_said_to_be_missing(self, store: ObjectStore, tmp_path: Path) -> None:
        run(sheet(store, tmp_path, "true"))

        assert report(store)["parameters"] == {"n": None}
        assert report(store)["artifacts"]["model"][0]["missing"] == str(tmp_path / "task" / "model")

    @pytest.mark.parametrize(
        ("said", "expected"),
        [
            ({"custom_path": "elsewhere"}, "root/train/model"),
            ({"uri": "s3://b/root/train/other"}, "root/train/other"),
            ({"uri": "{root}/other"}, "root/train/other"),
        ],
    )
    def test_places_of_the_components_own_choice(
        self, store: ObjectStore, tmp_path: Path, said: dict[str, str], expected: str
    ) -> None:
        root = tmp_path / "task"
        given = {key: value.format(root=root) for key, value in said.items()}
        if "custom_path" in given:
            given["custom_path"] = str(tmp_path / "elsewhere")
        told = json.dumps({"artifacts": {"model": {"artifacts": [given]}}})
        say = f"cat >{root}/output_metadata.json <<'E'\n{told}\nE"
        text = f"echo x | tee {tmp_path}/elsewhere >{root}/other\n{say}"
        run(sheet(store, tmp_path, *shell(text)))

        assert store.objects[expected] == b"x\n"

    def test_a_uri_outside_of_the_attempt_is_recorded_and_not_written(
        self, store: ObjectStore, tmp_path: Path
    ) -> None:
        told = json.dumps({"artifacts": {"model": {"artifacts": [{"uri": "s3://b/other/run/model"}]}}})
        run(sheet(store, tmp_path, *shell(f"cat >{tmp_path}/task/output_metadata.json <<'E'\n{told}\nE")))

        assert report(store)["artifacts"]["model"] == [{"uri": "s3://b/other/run/model"}]
        assert list(store.objects) == ["root/train/report"]

    @pytest.mark.parametrize(
        ("text", "sentence"),
        [
            ("mkfifo {root}/model", "is neither a file nor a directory"),
            ("mkdir {root}/model; ln -s /etc/passwd {root}/model/x", "leads outside of it"),
            ("printf '\\377' >{outputs}/n", "is binary"),
        ],
    )
    def test_what_cannot_be_kept_fails_the_task(
        self, store: ObjectStore, tmp_path: Path, text: str, sentence: str
    ) -> None:
        filled = text.format(root=tmp_path / "task", outputs=tmp_path / "outputs")
        found = run(sheet(store, tmp_path, *shell(filled)))

        assert found.returncode == STAGE_OUT_FAILED
        assert sentence in report(store)["failed"]["text"]

    def test_a_store_that_refuses_is_said_in_its_words(self, store: ObjectStore, tmp_path: Path) -> None:
        store.allowed = "elsewhere/"
        found = run(sheet(store, tmp_path, "true"))

        assert found.returncode == STAGE_OUT_FAILED
        assert b"the policy does not allow this key" in found.stderr


class TestBeside:
    def test_the_sidecar_stores_when_it_is_asked_to_end(self, store: ObjectStore, tmp_path: Path) -> None:
        shared = tmp_path / "shared"
        shared.mkdir()
        (tmp_path / "task").mkdir()
        wanted = {**sheet(store, tmp_path), "mode": "out", "shared": str(shared)}
        variables = {**os.environ, "PENSTOCK_SHEET": json.dumps(wanted)}
        sidecar = subprocess.Popen([sys.executable, "-ISu", str(PROGRAM)], env=variables)
        staged = run({**sheet(store, tmp_path), "mode": "in", "shared": str(shared)})
        (tmp_path / "task" / "model").write_text("late")

        sidecar.send_signal(signal.SIGTERM)

        assert (staged.returncode, sidecar.wait(20)) == (0, 0)
        assert store.objects["root/train/model"] == b"late"


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_an_archive_of_packages_comes_out_as_it_went_in(
    store: ObjectStore, tmp_path: Path, mode: Literal["w", "w:gz"]
) -> None:
    given, root, archive = tmp_path / "given", tmp_path / "root", tmp_path / "archive"
    (given / "lib" / "deep").mkdir(parents=True)
    (given / "lib" / "deep" / "one.py").write_text("x = 1\n")
    os.utime(given / "lib" / "deep" / "one.py", (1_600_000_000, 1_600_000_000))
    (given / "lib" / "two").write_bytes(b"y" * 3_000_000)
    (given / "lib" / "two").chmod(0o755)
    (given / "lib" / "empty").touch()
    (given / "lib64").symlink_to("lib")
    os.link(given / "lib" / "two", given / "lib" / "three")
    with tarfile.open(archive, mode) as made:
        for name in sorted(os.listdir(given)):
            made.add(given / name, name)
    tag = f"{sys.implementation.cache_tag}-{os.uname().machine}-{sys.base_prefix}"
    content = archive.read_bytes()
    store.objects["archive"] = content
    environment = {
        "url": f"{store.url}/archive",
        "sha256": hashlib.sha256(content).hexdigest(),
        "root": str(root),
        "python": tag,
        "command": ["false"],
    }
    assert (
        run(
            sheet(
                store,
                tmp_path,
                "sh",
                "-c",
                f"touch {tmp_path}/task/model; echo 1 > {tmp_path}/outputs/n",
                environment=environment,
            )
        ).returncode
        == 0
    )
    assert seen(root) == seen(given)


def seen(folder: Path) -> dict[str, tuple[int, int, object]]:
    """What is below it: mode, time, and content or target."""
    found: dict[str, tuple[int, int, object]] = {}
    for path in sorted(folder.rglob("*")):
        state = path.lstat()
        what = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else None
        when = int(state.st_mtime) if path.is_file() and not path.is_symlink() else 0
        found[str(path.relative_to(folder))] = (state.st_mode, when, what)
    return found
