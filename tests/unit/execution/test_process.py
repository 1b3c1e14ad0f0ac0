from __future__ import annotations

import os
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from penstock.errors import NotFoundError, PenstockError, TaskError
from penstock.execution.manifest import Outcome
from penstock.execution.process.sandbox import means
from penstock.model import ContainerExecutor, ParameterType, Reason
from tests.unit.execution.launching import (
    RUN,
    container,
    launcher,
    log_of,
    order,
    processes_of,
    run,
    script,
)

STRING = ParameterType.STRING


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "a home"


def test_a_command_that_ends_with_zero_succeeds(home: Path) -> None:
    manifest = run(home, order(home, container("true")))
    assert manifest.outcome is Outcome.SUCCEEDED
    assert (manifest.exit_code, manifest.reason, manifest.error) == (0, None, "")
    assert manifest.started_at is not None
    assert manifest.ended_at is not None
    assert manifest.started_at <= manifest.ended_at


def test_a_command_that_fails_fails_with_its_last_words(home: Path) -> None:
    manifest = run(home, order(home, script("echo working; echo 'no such column: x' >&2; exit 3")))
    assert (manifest.outcome, manifest.reason, manifest.exit_code) == (Outcome.FAILED, Reason.EXIT_CODE, 3)
    assert manifest.error == "task 'train' ended with exit code 3: no such column: x"


def test_values_arrive_unchanged_and_never_become_code(home: Path) -> None:
    value = "it's \"quoted\"\n$(touch /tmp/owned) `id` {{$.inputs.parameters['x']}} \\n é %s"
    executor = script(
        'printf "%s" "$0" > "$1"', "{{$.inputs.parameters['x']}}", "{{$.outputs.parameters['o'].output_file}}"
    )
    manifest = run(home, order(home, executor, inputs={"x": value}, outputs={"o": STRING}))
    assert manifest.parameters == {"o": value}


def test_a_task_has_a_private_home_and_no_variables_of_the_caller(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("WANTED", "yes")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:1")
    executor = container("env", env={"MODE": "{{$.inputs.parameters['mode']}}", "TZ": "Asia/Tokyo"})
    start = launcher(home, pass_env=["WANTED"]).start
    manifest = start(order(home, executor, inputs={"mode": "fast"})).wait()
    assert manifest is not None
    found = dict(line.split("=", 1) for line in log_of(home).splitlines())
    assert "AWS_SECRET_ACCESS_KEY" not in found
    assert found["WANTED"] == "yes"
    assert found["HTTPS_PROXY"] == "http://proxy:1"
    assert found["MODE"] == "fast"
    assert found["TZ"] == "Asia/Tokyo"
    assert found["HOME"].startswith(str(home))
    assert found["KFP_RETRY_INDEX"] == "0"
    assert found["PENSTOCK_RUN_ID"] == RUN
    assert found["PENSTOCK_TASK_PATH"] == "train"


def test_nothing_can_be_read_from_the_terminal(home: Path) -> None:
    assert run(home, order(home, script("cat; echo over"))).outcome is Outcome.SUCCEEDED
    assert log_of(home) == "over\n"


def test_lines_come_while_the_task_runs(home: Path) -> None:
    seen: list[tuple[float, str]] = []
    executor = script("echo one; sleep 0.6; printf 'two\\nthree'")
    attempt = launcher(home).start(order(home, executor), lambda line: seen.append((time.monotonic(), line)))
    attempt.wait()
    assert [line for _, line in seen] == ["one", "two", "three"]
    assert seen[1][0] - seen[0][0] > 0.3


def test_the_log_can_be_followed_and_read_again(home: Path) -> None:
    started = launcher(home)
    attempt = started.start(order(home, script("echo one; sleep 0.4; echo two")))
    waiting = threading.Thread(target=attempt.wait)
    waiting.start()
    assert list(launcher(home).log(RUN, "attempt-1", follow=True)) == ["one", "two"]
    waiting.join()
    assert list(launcher(home).log(RUN, "attempt-1")) == ["one", "two"]
    with pytest.raises(NotFoundError):
        list(started.log(RUN, "attempt-2"))


def test_wait_gives_up_after_its_timeout_and_can_be_called_again(home: Path) -> None:
    attempt = launcher(home).start(order(home, script("sleep 0.5")))
    assert attempt.wait(0.05) is None
    manifest = attempt.wait()
    assert manifest is not None
    assert attempt.wait() == manifest


def test_the_same_attempt_is_never_run_twice(home: Path, tmp_path: Path) -> None:
    ordered = order(home, script(f"echo ran >> '{tmp_path}/count'"))
    first = run(home, ordered)
    assert run(home, ordered) == first
    assert (tmp_path / "count").read_text() == "ran\n"


def test_two_that_start_the_same_attempt_at_once_share_it(home: Path, tmp_path: Path) -> None:
    ordered = order(home, script(f"echo ran >> '{tmp_path}/count'; sleep 0.2"))
    with ThreadPoolExecutor(4) as threads:
        manifests = [one.result() for one in [threads.submit(run, home, ordered) for _ in range(4)]]
    assert all(one == manifests[0] for one in manifests)
    assert manifests[0].outcome is Outcome.SUCCEEDED
    assert (tmp_path / "count").read_text() == "ran\n"


def test_an_attempt_of_that_name_for_another_task_is_an_error(home: Path) -> None:
    attempt = launcher(home).start(order(home, script("sleep 0.3")))
    with pytest.raises(PenstockError, match="started for another task"):
        launcher(home).start(order(home, script("sleep 0.4")))
    attempt.wait()


def test_attempts_run_side_by_side(home: Path) -> None:
    started = launcher(home)
    before = time.monotonic()
    attempts = [started.start(order(home, script("sleep 0.5"), f"attempt-{n}")) for n in range(8)]
    with ThreadPoolExecutor(8) as threads:
        manifests = [one.result() for one in [threads.submit(attempt.wait) for attempt in attempts]]
    assert all(one is not None and one.outcome is Outcome.SUCCEEDED for one in manifests)
    assert time.monotonic() - before < 3


def test_a_program_is_not_replaced_by_a_builtin_of_the_shell(home: Path) -> None:
    run(home, order(home, container("echo", r"a\nb")))
    assert r"a\nb" in log_of(home)


def test_a_program_that_is_not_here_is_refused_before_the_start(home: Path) -> None:
    executor = container("no-such-program", image="registry/tool:1")
    with pytest.raises(TaskError, match=r"'registry/tool:1' runs 'no-such-program'.*\(kubernetes\)"):
        launcher(home).isolation(executor, {})
    manifest = run(home, order(home, executor))
    assert (manifest.outcome, manifest.reason) == (Outcome.FAILED, Reason.REFUSED)


def test_a_component_whose_source_is_in_its_image_is_refused(home: Path) -> None:
    command = ("python3", "-m", "kfp.dsl.executor_main")
    built = ContainerExecutor("registry/mine:1", command, ("--function_to_execute", "train"))
    with pytest.raises(TaskError, match="source of this Python component is in its image 'registry/mine:1'"):
        launcher(home).isolation(built, {})


def test_a_container_without_a_command_is_refused(home: Path) -> None:
    with pytest.raises(TaskError, match="neither command nor arguments"):
        launcher(home).isolation(ContainerExecutor("nginx"), {})


def test_a_command_in_the_arguments_alone_is_run(home: Path) -> None:
    assert (
        run(home, order(home, ContainerExecutor("alpine", (), ("echo", "hi")))).outcome is Outcome.SUCCEEDED
    )
    assert log_of(home) == "hi\n"


def test_what_stands_in_for_an_image_is_its_isolation(home: Path) -> None:
    assert launcher(home).isolation(container("true"), {}) == "process:host"
    found = launcher(home).isolation(container("python", "-c", "pass", image="python:3"), {})
    assert found.startswith("process:cpython-3.")


def test_a_missing_program_inside_a_script_is_named(home: Path) -> None:
    manifest = run(home, order(home, script("no-such-program --fast")))
    assert manifest.exit_code == 127
    assert "needs a program that was not found on this machine" in manifest.error
    assert "no-such-program" in manifest.error


def test_death_by_signal_is_said_with_its_name(home: Path) -> None:
    manifest = run(home, order(home, script("kill -9 $$")))
    assert manifest.exit_code == 137
    assert manifest.error == "task 'train' was killed by SIGKILL (exit code 137): out of memory?"
    manifest = run(home, order(home, script("kill -SEGV $$"), "attempt-2"))
    assert "was killed by SIGSEGV (exit code 139)" in manifest.error


def test_an_argument_over_the_systems_limit_is_one_sentence(home: Path) -> None:
    executor = container("echo", "{{$.inputs.parameters['big']}}")
    manifest = run(home, order(home, executor, inputs={"big": "x" * 200_000, "small": "y"}))
    assert (manifest.outcome, manifest.reason) == (Outcome.FAILED, Reason.INPUT)
    assert manifest.error == (
        "an argument of task 'train' has 200000 bytes, over the system's limit of 131071 for one argument; "
        "its largest input is 'big' with 200000 bytes; pass large values as artifacts"
    )


def test_the_largest_argument_that_the_system_takes_is_taken(home: Path) -> None:
    executor = container("sh", "-c", "echo ${#0}", "{{$.inputs.parameters['big']}}")
    assert run(home, order(home, executor, inputs={"big": "x" * 131_071})).outcome is Outcome.SUCCEEDED
    assert log_of(home) == "131071\n"


def test_a_command_line_over_the_systems_limit_is_one_sentence(home: Path) -> None:
    words = [f"{{{{$.inputs.parameters['{n}']}}}}" for n in range(20)]
    manifest = run(
        home, order(home, container("echo", *words), inputs={str(n): "x" * 120_000 for n in range(20)})
    )
    assert "the command line of task 'train' with its environment has 24" in manifest.error


def test_a_nul_character_is_one_sentence(home: Path) -> None:
    manifest = run(home, order(home, container("echo", "{{$.inputs.parameters['x']}}"), inputs={"x": "a\0b"}))
    assert manifest.error == "an argument of task 'train' holds a NUL character, which no argument can"


def test_a_task_over_its_time_is_stopped(home: Path) -> None:
    before = time.monotonic()
    manifest = run(home, order(home, script("sleep 60"), timeout=0.3))
    assert (manifest.outcome, manifest.reason) == (Outcome.FAILED, Reason.DEADLINE)
    assert manifest.error == "task 'train' was stopped after 0.3 seconds, the time it is allowed"
    assert time.monotonic() - before < 5
    assert processes_of(home) == []


def test_stop_cancels_with_all_processes(home: Path) -> None:
    attempt = launcher(home).start(order(home, script("setsid sleep 60 & sleep 60")))
    time.sleep(0.3)
    assert len(processes_of(home)) >= 3
    attempt.stop()
    attempt.stop()
    manifest = attempt.wait(5)
    assert manifest is not None
    assert (manifest.outcome, manifest.reason) == (Outcome.CANCELED, Reason.CANCELED)
    assert processes_of(home) == []


def test_a_task_may_tidy_up_when_it_is_asked_to_end(home: Path, tmp_path: Path) -> None:
    executor = script(f"trap 'echo tidy > \"{tmp_path}/tidied\"; exit 0' TERM; sleep 60 & wait")
    attempt = launcher(home).start(order(home, executor))
    time.sleep(0.3)
    attempt.stop()
    manifest = attempt.wait(5)
    assert manifest is not None
    assert manifest.outcome is Outcome.CANCELED
    assert (tmp_path / "tidied").exists()


def test_a_task_that_ignores_the_request_is_killed_after_the_grace(home: Path) -> None:
    attempt = launcher(home).start(order(home, script("trap '' TERM; while :; do sleep 1; done")))
    time.sleep(0.3)
    before = time.monotonic()
    attempt.stop(grace=0.5)
    manifest = attempt.wait(10)
    assert manifest is not None
    assert manifest.outcome is Outcome.CANCELED
    assert 0.4 < time.monotonic() - before < 5
    assert processes_of(home) == []


def test_stop_without_grace_kills_also_after_a_polite_stop(home: Path) -> None:
    attempt = launcher(home).start(order(home, script("trap '' TERM; while :; do sleep 1; done")))
    time.sleep(0.3)
    attempt.stop(grace=60)
    attempt.stop(grace=0)
    manifest = attempt.wait(5)
    assert manifest is not None
    assert manifest.outcome is Outcome.CANCELED


def test_to_stop_what_has_ended_changes_nothing(home: Path) -> None:
    attempt = launcher(home).start(order(home, script("true")))
    time.sleep(0.3)
    attempt.stop()
    manifest = attempt.wait()
    assert manifest is not None
    assert manifest.outcome is Outcome.SUCCEEDED


@pytest.mark.parametrize(
    "background",
    [
        "sleep 60 &",
        "setsid sleep 60 &",
        "env -i setsid sleep 60 &",
        "setsid env -i sleep 60 </dev/null >/dev/null 2>&1 &",
    ],
)
def test_children_left_behind_are_killed_and_told_of(home: Path, background: str) -> None:
    before = time.monotonic()
    manifest = run(home, order(home, script(f"{background} sleep 0.2; echo done")))
    assert time.monotonic() - before < 10
    assert manifest.outcome is Outcome.SUCCEEDED
    said = "1 process (sleep) still ran when the task's own had ended, and was killed"
    assert (manifest.error, manifest.notes["left_behind"]) == (said, said)
    assert "penstock: 1 process (sleep) still ran" in log_of(home)
    assert processes_of(home) == []


def test_children_left_behind_do_not_hide_why_the_task_failed(home: Path) -> None:
    manifest = run(home, order(home, script("sleep 60 & sleep 0.2; echo the reason; exit 3")))

    assert manifest.outcome is Outcome.FAILED
    assert manifest.error == (
        "task 'train' ended with exit code 3: the reason; "
        "1 process (sleep) still ran when the task's own had ended, and was killed"
    )


@pytest.mark.skipif(means() is None, reason="no mounts are allowed here")
def test_each_task_has_a_tmp_of_its_own(home: Path) -> None:
    text = "echo $TMPDIR; ls /tmp; echo mine > /tmp/penstock-test-file; cat /tmp/penstock-test-file"
    for attempt_id in ("attempt-1", "attempt-2"):
        assert run(home, order(home, script(text), attempt_id)).outcome is Outcome.SUCCEEDED
        lines = log_of(home, attempt_id).split()
        assert (lines[0], lines[-1]) == ("/tmp", "mine")
        assert "penstock-test-file" not in lines[1:-1]
    assert not os.path.exists("/tmp/penstock-test-file")


def test_without_mounts_only_the_temporary_folder_is_private(home: Path) -> None:
    manifest = run(
        home, order(home, script("echo $TMPDIR; touch $TMPDIR/x; readlink -f $TMPDIR")), private_tmp=False
    )
    assert manifest.outcome is Outcome.SUCCEEDED
    seen, real = log_of(home).split("\n")[:2]
    assert len(seen) < 70
    assert real == os.path.realpath(home / "attempts" / RUN / "attempt-1" / "tmp")
    assert not os.path.islink(seen)


@pytest.mark.skipif(means() is None, reason="no mounts are allowed here")
def test_a_path_below_tmp_that_an_input_names_can_be_reached(home: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="penstock-test-", dir="/tmp") as folder:
        executor = script('echo content > "$0"', "{{$.inputs.parameters['target']}}")
        manifest = run(home, order(home, executor, inputs={"target": f"{folder}/new.txt"}))
        assert manifest.outcome is Outcome.SUCCEEDED
        assert (Path(folder) / "new.txt").read_text() == "content\n"


@pytest.mark.skipif(means() is None, reason="no mounts are allowed here")
def test_a_home_below_tmp_works_as_any_other() -> None:
    with tempfile.TemporaryDirectory(prefix="penstock-test-", dir="/tmp") as folder:
        home = Path(folder) / "home"
        executor = script('ls /tmp; echo x > "$0"', "{{$.outputs.artifacts['model'].path}}")
        manifest = run(home, order(home, executor, output_artifacts=["model"]))
        assert manifest.outcome is Outcome.SUCCEEDED, manifest.error
        assert manifest.artifacts["model"][0].size == 2
        assert log_of(home).split() == [Path(folder).name]


def test_a_directory_of_an_attempt_is_private(home: Path) -> None:
    run(home, order(home, container("true")))
    assert (home / "attempts" / RUN / "attempt-1").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("attempt_id", ["../x", "a/b", "", ".hidden", "x" * 300])
def test_an_id_that_could_lead_out_of_the_home_is_refused(home: Path, attempt_id: str) -> None:
    with pytest.raises(PenstockError, match="cannot name a directory"):
        launcher(home).start(order(home, container("true"), attempt_id))


def test_a_home_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(PenstockError, match="PENSTOCK_HOME"):
        launcher(tmp_path / "file").start(order(tmp_path / "file", container("true")))


def test_an_image_whose_shell_is_not_dash_gets_one_that_knows_double_brackets(home: Path) -> None:
    manifest = run(
        home, order(home, container("sh", "-ec", '[[ "$0" == one* ]]', "one+two", image="busybox"))
    )
    assert manifest.outcome is Outcome.SUCCEEDED
