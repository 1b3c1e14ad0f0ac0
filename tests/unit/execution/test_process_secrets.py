"""What the process launcher does with secrets: nothing that could be read of them outlives the attempt."""

from __future__ import annotations

import base64
import os
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from penstock.artifacts import FileArtifactStore
from penstock.execution.environments.cache import Environments
from penstock.execution.manifest import Outcome, OutputManifest
from penstock.execution.order import LaunchOrder
from penstock.execution.process.launcher import ProcessLauncher
from penstock.execution.process.sandbox import means
from penstock.execution.secrets.reference import read_references
from penstock.execution.secrets.resolver import Secrets
from penstock.model import Json, ParameterType, Reason
from tests.unit.execution.launching import RUN, launcher, log_of, order, processes_of, script

VALUE = "correct-horse/battery"
ENCODED = base64.b64encode(VALUE.encode()).decode()


@pytest.fixture(autouse=True)
def in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB_PASSWORD", VALUE)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def with_secrets(
    home: Path, pass_env: tuple[str, ...] = (), reference: str = "db/password=env:DB_PASSWORD"
) -> ProcessLauncher:
    secrets = Secrets(read_references(reference, "[secrets]", home), home / "secrets")
    environments = Environments(home / "environments", offline=True)
    return ProcessLauncher(home, FileArtifactStore(), environments, pass_env=pass_env, secrets=secrets)


def ordered(
    home: Path, text: str, *, mount: str = "", outputs: Mapping[str, ParameterType] | None = None
) -> LaunchOrder:
    platform: dict[str, Json] = {
        "secretAsEnv": [{"secretName": "db", "keyToEnv": [{"secretKey": "password", "envVar": "PASSWORD"}]}]
    }
    if mount:
        platform = {"secretAsVolume": [{"secretName": "db", "mountPath": mount}]}
    places = [f"{{{{$.outputs.parameters['{name}'].output_file}}}}" for name in outputs or {}]
    return replace(order(home, script(text, *places), outputs=outputs), platform=platform)


def run(home: Path, text: str, **more: object) -> OutputManifest:
    manifest = with_secrets(home).start(ordered(home, text, **more)).wait(30)  # type: ignore[arg-type]
    assert manifest is not None
    return manifest


def places_of(value: str, folder: Path) -> list[str]:
    """Files below the folder that hold the value in any form."""
    forms = [value.encode(), base64.b64encode(value.encode()).rstrip(b"=")[:-1], value[:-1].encode()]
    return [
        str(path)
        for path in folder.rglob("*")
        if path.is_file() and any(form in path.read_bytes() for form in forms)
    ]


def test_a_task_gets_its_secret_and_its_log_does_not(home: Path) -> None:
    text = f'[ "$PASSWORD" = {VALUE} ] && echo "it is $PASSWORD."; printf %s "$PASSWORD" | base64; echo after'
    manifest = run(home, text)
    assert manifest.outcome is Outcome.SUCCEEDED, manifest.error
    assert log_of(home).splitlines() == ["it is ***.", "***" + "=" * ENCODED.count("="), "after"]


def test_whoever_follows_reads_what_the_log_has(home: Path) -> None:
    lines: list[str] = []
    text = 'printf "%.7s" "$PASSWORD"; sleep 0.3; echo "${PASSWORD#???????}"; echo more'
    attempt = with_secrets(home).start(ordered(home, text), lines.append)
    assert attempt.wait(30) is not None
    assert lines == ["***", "more"]
    assert list(with_secrets(home).log(RUN, "attempt-1", follow=True)) == lines


def test_an_error_that_quotes_the_log_or_an_output_is_masked(home: Path) -> None:
    failed = run(home, 'echo "wrong password: $PASSWORD"; exit 3')
    assert failed.error == "task 'train' ended with exit code 3: wrong password: ***"


def test_an_output_that_is_of_no_use_is_not_quoted(home: Path) -> None:
    text = 'mkdir -p "${0%/*}"; printf %s "$PASSWORD" >"$0"'
    failed = run(home, text, outputs={"n": ParameterType.NUMBER_INTEGER})
    assert failed.reason is Reason.OUTPUT
    assert "***" in failed.error and VALUE not in failed.error


def test_an_output_parameter_stays_as_it_is_and_the_manifest_says_so(home: Path) -> None:
    text = 'mkdir -p "${0%/*}"; printf %s "$PASSWORD" >"$0"'
    manifest = run(home, text, outputs={"o": ParameterType.STRING})
    assert manifest.parameters == {"o": VALUE}
    assert manifest.notes["secrets_put_out"] == "o"
    assert log_of(home) == "penstock: recorded as they stand, with a secret in them: o\n"


def test_of_a_failed_task_with_secrets_only_log_and_manifest_stay(home: Path) -> None:
    manifest = run(home, 'echo "$PASSWORD" >app.log; echo "$PASSWORD" >$TMPDIR/x; exit 1')
    assert manifest.outcome is Outcome.FAILED
    folder = home / "attempts" / RUN / "attempt-1"
    assert [path for path in folder.iterdir() if path.is_dir()] == []
    assert places_of(VALUE, home) == []


def test_a_volume_is_in_memory_and_gone_with_the_task(home: Path) -> None:
    if means() is None:
        pytest.skip("nothing can be mounted here")
    for mount in ("/penstock-test/creds", "/tmp/creds"):
        text = f'ls -A {mount}; [ "$(cat {mount}/password)" = {VALUE} ]; cat {mount}/password; sleep 0.3'
        attempt = with_secrets(home).start(ordered(home, text, mount=mount))
        time.sleep(0.1)
        assert places_of(VALUE, home) == []
        manifest = attempt.wait(30)
        assert manifest is not None and manifest.outcome is Outcome.SUCCEEDED, manifest
        assert log_of(home).splitlines() == ["password", "***"]
        assert not Path(mount).exists()
        subprocess.run(["rm", "-rf", home])


def test_no_process_but_the_tasks_own_has_it(home: Path) -> None:
    attempt = with_secrets(home).start(ordered(home, "sleep 2"))
    time.sleep(0.3)
    holders, lines = [], b""
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            lines += Path(f"/proc/{name}/cmdline").read_bytes()
            if int(name) != os.getpid() and VALUE.encode() in Path(f"/proc/{name}/environ").read_bytes():
                holders.append(Path(f"/proc/{name}/comm").read_text().strip())
        except OSError:
            continue
    attempt.stop(0)
    attempt.wait(10)
    assert VALUE.encode() not in lines
    assert set(holders) <= {"sh", "sleep"}, holders


def test_a_missing_secret_fails_the_task_and_says_where_to_put_it(home: Path) -> None:
    attempt = with_secrets(home, reference="other/x=env:X").start(ordered(home, "true"))
    manifest = attempt.wait(10)
    assert manifest is not None
    assert (manifest.outcome, manifest.reason) == (Outcome.FAILED, Reason.REFUSED)
    assert '"db/password" = "env:NAME"' in manifest.error


def test_a_value_that_no_variable_can_hold_is_one_sentence(home: Path) -> None:
    (home / "secrets" / "db").mkdir(parents=True)
    for value, words in ((b"a\0b", "cannot be set"), (b"x" * 200_000, "over the system's limit")):
        (home / "secrets" / "db" / "password").write_bytes(value)
        manifest = launcher(home).start(ordered(home, "true")).wait(10)
        assert manifest is not None and manifest.outcome is Outcome.FAILED
        assert words in manifest.error and "PASSWORD" in manifest.error
        subprocess.run(["rm", "-rf", home / "attempts"])


def test_what_is_passed_on_and_secret_by_its_name_is_masked(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_abcdef")
    monkeypatch.setenv("REGION", "eu-central")
    monkeypatch.setenv("PIP_INDEX_URL", "https://ann:index-pw@127.0.0.1:9/simple")
    found = with_secrets(home, ("HF_TOKEN", "REGION"))
    manifest = found.start(order(home, script("echo $HF_TOKEN $REGION $PIP_INDEX_URL"))).wait(30)
    assert manifest is not None
    assert log_of(home) == "*** eu-central https://ann:***@127.0.0.1:9/simple\n"


def test_without_anything_to_mask_no_process_stands_in_between(home: Path) -> None:
    attempt = launcher(home).start(order(home, script("readlink /proc/self/fd/1")))
    assert attempt.wait(30) is not None
    assert log_of(home).strip().endswith("/log")


def test_all_of_a_large_output_arrives_in_order(home: Path) -> None:
    manifest = run(home, 'seq 1 200000; echo "$PASSWORD"; seq 1 5 >&2')
    assert manifest.outcome is Outcome.SUCCEEDED
    assert log_of(home).split() == [*map(str, range(1, 200_001)), "***", "1", "2", "3", "4", "5"]


def test_a_daemon_that_keeps_the_pipe_is_killed_and_keeps_nobody_waiting(home: Path) -> None:
    text = '(cd /; exec env -i setsid sleep 60) & echo "said $PASSWORD"; sleep 0.2'
    before = time.monotonic()
    manifest = run(home, text)
    assert "still ran" in manifest.error
    assert "said ***" in log_of(home)
    assert time.monotonic() - before < 4


class TestAfterTheEngineDied:
    """The engine is a forked copy of this process, killed while the task runs."""

    TEXT = 'echo "before $PASSWORD"; echo "$PASSWORD" >kept; sleep 1.2; echo "after $PASSWORD"; exit 4'

    @pytest.fixture
    def left(self, home: Path) -> Path:
        engine = os.fork()
        if engine == 0:
            with_secrets(home).start(ordered(home, self.TEXT))
            time.sleep(60)
            os._exit(0)
        folder = home / "attempts" / RUN / "attempt-1"
        until = time.monotonic() + 10
        while "before" not in (log_of(home) if (folder / "log").exists() else ""):
            assert time.monotonic() < until
            time.sleep(0.02)
        os.kill(engine, signal.SIGKILL)
        os.waitpid(engine, 0)
        return folder

    def test_the_task_goes_on_and_its_log_stays_masked(self, home: Path, left: Path) -> None:
        manifest = with_secrets(home).start(ordered(home, self.TEXT)).wait(20)
        assert manifest is not None and manifest.exit_code == 4
        assert manifest.error.endswith("after ***")
        assert log_of(home) == "before ***\nafter ***\n"
        assert places_of(VALUE, home) == [] and processes_of(home) == []
        assert not (left / "work").exists()

    def test_also_where_the_one_who_resumes_does_not_know_the_value(
        self, home: Path, left: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("DB_PASSWORD")
        manifest = with_secrets(home).start(ordered(home, self.TEXT)).wait(20)
        assert manifest is not None
        assert log_of(home) == "before ***\nafter ***\n"
        assert places_of(VALUE, home) == []

    def test_what_was_left_after_the_manifest_is_removed_by_who_asks_again(
        self, home: Path, left: Path
    ) -> None:
        assert with_secrets(home).start(ordered(home, self.TEXT)).wait(20) is not None
        (left / "work").mkdir()
        (left / "work" / "kept").write_text(VALUE)
        with_secrets(home).start(ordered(home, self.TEXT))
        assert places_of(VALUE, home) == []
