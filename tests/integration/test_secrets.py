"""Secrets with the real command and real processes: used by tasks, and found nowhere else, whatever dies."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest
import yaml

from penstock.execution.process.sandbox import means
from penstock.model import JsonObject
from tests.documents import Shell, pipeline
from tests.integration.penstock_process import Command

PASSWORD = 's3cr3t "pass/word" é'
KEY = "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG\n9w0BAQEFAASCBKcwggSj\n-----END KEY-----\n"

TALK = r"""
import base64, json, os, sys, time, urllib.parse
password, key = os.environ["DB_PASSWORD"], open(os.environ["KEYS"] + "/key.pem").read()
with open("app.log", "w") as log:
    print(password, key, file=log)
print("plain", password)
print("base64", base64.b64encode(password.encode()).decode())
print("basic", base64.b64encode(("ann:" + password).encode()).decode())
print("url", urllib.parse.quote(password, safe=""), urllib.parse.quote_plus(password))
print("json", json.dumps({"password": password}), repr(password))
print("lines", *key.splitlines(), sep="\n  ")
for half in (password[:7], password[7:]):
    sys.stdout.write(half); sys.stdout.flush(); time.sleep(0.2)
print("\nwaiting", flush=True)
time.sleep(float(os.environ["SECONDS"]))
raise ValueError("cannot log in with " + password)
"""


def forms() -> list[bytes]:
    """What must be nowhere: parts long enough to be nothing else."""
    whole, inner = PASSWORD.encode(), base64.b64encode(("ann:" + PASSWORD).encode())[8:-4]
    encoded = base64.b64encode(whole).rstrip(b"=")[:-1]
    lines = [line.encode() for line in KEY.splitlines()[1:3]]
    texts = [quote(PASSWORD, safe=""), json.dumps(PASSWORD)[1:-1], PASSWORD[:10], PASSWORD[-8:]]
    return [whole, encoded, inner, *lines, *(one.encode() for one in texts)]


def found_in(data: bytes) -> list[bytes]:
    return [form for form in forms() if form in data]


def scan(folder: Path) -> list[str]:
    return [str(path) for path in folder.rglob("*") if path.is_file() and found_in(path.read_bytes())]


@contextmanager
def watched_processes() -> Iterator[dict[str, bytes]]:
    """Command lines that held a secret while the context lasted, and which programs had one in their
    environment.
    """
    seen: dict[str, bytes] = {}
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.02):
            for pid in filter(str.isdigit, os.listdir("/proc")):
                try:
                    line = Path(f"/proc/{pid}/cmdline").read_bytes()
                    environ = Path(f"/proc/{pid}/environ").read_bytes()
                except OSError:
                    continue
                if found_in(line):
                    seen[f"command line of {pid}"] = line
                if b"PENSTOCK_ATTEMPT=" not in environ and b"DB_PASSWORD=" in environ:
                    seen[f"environment of {pid}"] = line

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def document(seconds: float, **more: JsonObject) -> list[JsonObject]:
    mount = "/penstock-test-keys"
    task = Shell(
        "talk",
        command=["python3", "-c", TALK],
        env={"KEYS": mount, "SECONDS": str(seconds)},
    )
    platform: JsonObject = {
        "secretAsEnv": [
            {
                "secretName": "db-credentials",
                "keyToEnv": [{"secretKey": "password", "envVar": "DB_PASSWORD"}],
            }
        ],
        "secretAsVolume": [{"secretName": "tls", "mountPath": mount}],
        **more,
    }
    executors: JsonObject = {"exec-talk": platform}
    kubernetes: JsonObject = {"platforms": {"kubernetes": {"deploymentSpec": {"executors": executors}}}}
    return [pipeline("talker", task), kubernetes]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    if means() is None:
        pytest.skip("nothing can be mounted here")
    keys = tmp_path / "keys"
    keys.mkdir()
    (keys / "key.pem").write_text(KEY)
    work = tmp_path / "work"
    work.mkdir()
    text = f'[secrets]\n"db-credentials/password" = "env:PASSWORD_OF_THE_TEST"\ntls = "file:{keys}"\n'
    (work / "penstock.toml").write_text(text)
    return work


@pytest.fixture
def penstock(folder: Path, home: Path) -> Command:
    return Command(folder, home)


def write(folder: Path, documents: list[JsonObject]) -> str:
    (folder / "talker.yaml").write_text(yaml.safe_dump_all(documents))
    return "talker.yaml"


def test_a_task_that_shouts_its_secrets_is_heard_by_nobody(penstock: Command, folder: Path) -> None:
    file = write(folder, document(0.1))
    secret = {"PASSWORD_OF_THE_TEST": PASSWORD}
    with watched_processes() as seen:
        answers = [
            penstock("doctor", file, **secret),
            penstock("run", file, "--json", "--logs", "--name", "loud", **secret),
            penstock("run", file, "--logs", **secret),
            penstock("debug", "loud", "talk", **secret),
        ]
    answers += [
        penstock(*words)
        for words in (
            ["runs", "logs", "loud"],
            ["runs", "get", "loud"],
            ["runs", "get", "loud", "--json"],
            ["runs", "why", "loud", "talk"],
            ["config"],
            ["config", "--json"],
        )
    ]
    assert [answer.code for answer in answers] == [0, 1, 1, 1, *[0] * 6], answers
    for answer in answers:
        assert found_in((answer.out + answer.err).encode()) == [], answer
    assert seen == {}
    assert scan(penstock.home) == []

    log = answers[4].out
    assert "plain ***" in log and "ValueError: cannot log in with ***" in log, log
    assert 'json {"password": "***"} \'***\'' in log
    assert "db-credentials/password comes from env:PASSWORD_OF_THE_TEST" in answers[3].out
    error = answers[1].run["tasks"]["talk"]["error"]
    assert error == "task 'talk' ended with exit code 1: ValueError: cannot log in with ***"


@pytest.mark.parametrize("known", [True, False], ids=["knowing it", "not knowing it"])
def test_an_engine_that_is_killed_leaves_nothing_behind(penstock: Command, folder: Path, known: bool) -> None:
    file = write(folder, document(1.5))
    environment = {**penstock.environment(), "PASSWORD_OF_THE_TEST": PASSWORD}
    engine = subprocess.Popen(
        [sys.executable, "-m", "penstock", "run", file, "--name", "cut", "--logs"],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert engine.stdout is not None
    heard = b""
    for line in engine.stdout:
        heard += line
        if b"waiting" in line:
            break
    engine.send_signal(signal.SIGKILL)
    engine.wait()
    assert b"plain ***" in heard and found_in(heard) == [], heard
    log = next((penstock.home / "attempts").rglob("log"))
    assert found_in(log.read_bytes()) == []

    answer = penstock(
        "runs", "resume", "cut", "--json", **({"PASSWORD_OF_THE_TEST": PASSWORD} if known else {})
    )
    assert answer.code == 1 and found_in((answer.out + answer.err).encode()) == []
    assert answer.run["tasks"]["talk"]["error"].endswith("ValueError: cannot log in with ***")
    assert scan(penstock.home) == []


def test_an_engine_and_its_task_that_are_killed_leave_nothing_behind(penstock: Command, folder: Path) -> None:
    file = write(folder, document(30))
    environment = {**penstock.environment(), "PASSWORD_OF_THE_TEST": PASSWORD}
    engine = subprocess.Popen(
        [sys.executable, "-m", "penstock", "run", file, "--name", "cut"],
        cwd=folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    until = time.monotonic() + 30
    log = penstock.home / "attempts"
    while not any(b"waiting" in one.read_bytes() for one in log.rglob("log")):
        assert time.monotonic() < until
        time.sleep(0.05)
    leader = int(next(log.rglob("pid")).read_text())
    engine.kill()
    os.killpg(leader, signal.SIGKILL)
    engine.wait()
    resumed = penstock("runs", "cancel", "cut", PASSWORD_OF_THE_TEST=PASSWORD)
    assert resumed.code == 0, resumed
    assert scan(penstock.home) == []


def test_a_missing_secret_is_told_before_anything_starts(penstock: Command, folder: Path) -> None:
    file = write(folder, document(0.1))
    sentence = (
        "the key 'password' of the secret 'db-credentials' is needed and not at env:PASSWORD_OF_THE_TEST, "
        "where it is to be read from: put it there, or correct the reference in [secrets] of penstock.toml"
    )
    assert penstock("run", file).complaint == f"error: task 'talk': {sentence}"
    assert not penstock.home.exists()
    examined = penstock("doctor", file)
    assert examined.code == 1 and sentence in examined.out
    rows = [line.split() for line in examined.out.splitlines()]
    assert ["db-credentials/password", "env:PASSWORD_OF_THE_TEST", "not", "there"] in rows
    assert ["tls", f"file:{folder.parent}/keys", "there"] in rows


def test_a_value_in_penstock_toml_is_refused_and_not_shown(penstock: Command, folder: Path) -> None:
    (folder / "penstock.toml").write_text('[secrets]\n"db-credentials/password" = "hunter2"\n')
    complaint = penstock("config").complaint
    assert "it must say where to read the value, not what it is" in complaint and "hunter2" not in complaint


def test_an_argument_is_a_value_whatever_it_looks_like(penstock: Command, folder: Path) -> None:
    task = Shell(
        "say", 'echo "it is $text"', inputs={"text": ("STRING", {"componentInputParameter": "text"})}
    )
    file = write(folder, [pipeline("say", task, inputs={"text": "STRING"})])
    answer = penstock("run", file, "--logs", "-p", "text=env:PASSWORD_OF_THE_TEST", PASSWORD_OF_THE_TEST="x")
    assert "[say] it is env:PASSWORD_OF_THE_TEST" in answer.out


def test_a_py_pipeline_and_uv_do_not_see_secrets(penstock: Command, folder: Path) -> None:
    (folder / "spy.py").write_text(
        "import os\nraise SystemExit(os.environ.get('PASSWORD_OF_THE_TEST', 'unseen'))\n"
    )
    answer = penstock("run", "spy.py", PASSWORD_OF_THE_TEST=PASSWORD)
    if "cannot install" in answer.err:
        pytest.skip("no package index can be reached")
    assert "cannot be compiled with" in answer.err and answer.err.strip().endswith("unseen")
