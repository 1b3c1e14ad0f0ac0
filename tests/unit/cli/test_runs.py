"""`penstock runs …`."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.documents import Shell, pipeline, write
from tests.unit.cli.conftest import Penstock


def last_run(penstock: Penstock) -> dict[str, Any]:
    return penstock("runs", "get", "latest", "--json").objects[-1]["run"]


class TestList:
    def test_runs_stand_newest_first_with_what_a_person_wants_to_know(
        self, penstock: Penstock, adding: Path, failing: Path
    ) -> None:
        penstock("run", adding, "-p", "x=3", "--experiment", "tuning", "--name", "the-first")
        penstock("run", failing, "-p", "fails=yes", "--name", "the-second")

        header, second, first = penstock("runs", "list").lines

        assert header.split() == ["RUN", "NAME", "PIPELINE", "EXPERIMENT", "STATE", "CREATED", "TIME"]
        assert second.split()[1:5] == ["the-second", "failing", "Default", "FAILED"]
        assert first.split()[1:5] == ["the-first", "adding", "tuning", "SUCCEEDED"]

    @pytest.mark.parametrize(
        ("given", "names"),
        [
            (["--state", "failed"], ["two"]),
            (["--experiment", "tuning"], ["one"]),
            (["--pipeline", "failing"], ["two"]),
            (["--limit", "1"], ["two"]),
            (["--state", "CANCELED"], []),
        ],
    )
    def test_they_can_be_narrowed(
        self, penstock: Penstock, adding: Path, failing: Path, given: list[str], names: list[str]
    ) -> None:
        penstock("run", adding, "-p", "x=3", "--experiment", "tuning", "--name", "one")
        penstock("run", failing, "-p", "fails=yes", "--name", "two")

        assert [run["name"] for run in penstock("runs", "list", "--json", *given).objects] == names

    def test_a_state_that_is_none_is_refused(self, penstock: Penstock) -> None:
        assert (
            "'gone' is no run state; states are PENDING"
            in penstock("runs", "list", "--state", "gone").complaint
        )


class TestGet:
    def test_a_run_is_shown_with_its_tasks_and_outputs(self, penstock: Penstock, adding: Path) -> None:
        penstock("run", adding, "-p", "x=3", "--name", "one")

        lines = penstock("runs", "get", "one").lines

        assert lines[0] == "one  pipeline adding, experiment Default"
        assert '"x": 3' in lines[1]
        assert any(line.split()[:3] == ["add", "container", "SUCCEEDED"] for line in lines)
        assert "  total = 5" in lines

    def test_json_is_what_the_run_printed_last(self, penstock: Penstock, adding: Path) -> None:
        said = penstock("run", adding, "-p", "x=3", "--json").objects[-1]

        assert penstock("runs", "get", "latest", "--json").objects == [said]

    def test_a_run_goes_by_its_id_an_end_of_it_or_its_name(self, penstock: Penstock, adding: Path) -> None:
        run = penstock("run", adding, "-p", "x=3", "--name", "one", "--json").objects[-1]["run"]

        for name in (run["id"], run["id"][-8:], "one", "latest"):
            assert penstock("runs", "get", name, "--json").objects[0]["run"]["id"] == run["id"]

    @pytest.mark.parametrize("command", ["get", "logs", "cancel", "resume", "retry"])
    def test_a_run_that_is_not_there_is_bad_input(self, penstock: Penstock, command: str) -> None:
        assert "there is no run 'nope'" in penstock("runs", command, "nope").complaint
        assert "there is no run yet" in penstock("runs", command, "latest").complaint


class TestLogs:
    def test_of_one_task_as_they_are(self, penstock: Penstock, adding: Path) -> None:
        penstock("run", adding, "-p", "x=3")

        assert penstock("runs", "logs", "latest", "use").lines == ["a model", "total 5"]

    def test_of_all_tasks_with_their_paths(self, penstock: Penstock, adding: Path) -> None:
        penstock("run", adding, "-p", "x=3")

        assert penstock("runs", "logs", "latest").lines == ["[add] adding", "[use] a model", "[use] total 5"]

    def test_of_the_last_attempt_or_of_the_one_that_is_asked_for(
        self, penstock: Penstock, tmp_path: Path
    ) -> None:
        task = Shell(
            "flaky",
            'echo "try $KFP_RETRY_INDEX"; test "$KFP_RETRY_INDEX" = 1',
            more={"retryPolicy": {"maxRetryCount": 1, "backoffDuration": "0s"}},
        )
        penstock("run", write(pipeline("flaky", task), tmp_path / "flaky.yaml"))

        assert penstock("runs", "logs", "latest", "flaky").lines == ["try 1"]
        assert penstock("runs", "logs", "latest", "flaky", "--attempt", "1").lines == ["try 0"]

    def test_a_cached_task_has_none_and_says_so(self, penstock: Penstock, adding: Path) -> None:
        penstock("run", adding, "-p", "x=3")
        penstock("run", adding, "-p", "x=3")

        answer = penstock("runs", "logs", "latest", "add")

        assert (answer.code, answer.out) == (0, "")
        assert "came from the cache" in answer.err

    def test_of_a_task_that_is_not_there(self, penstock: Penstock, adding: Path) -> None:
        penstock("run", adding, "-p", "x=3")

        assert (
            "has no task 'nope'; its tasks are add, use"
            in penstock("runs", "logs", "latest", "nope").complaint
        )


class TestRetry:
    def test_what_failed_runs_again_and_what_succeeded_stays(
        self, penstock: Penstock, tmp_path: Path
    ) -> None:
        gate, count = tmp_path / "gate", tmp_path / "count"
        tasks = [
            Shell("fine", f"echo fine >>{count}"),
            Shell("broken", f"echo broken >>{count}; test -e {gate}"),
            Shell("after", f"echo after >>{count}", after=["broken"]),
        ]
        document = write(pipeline("again", *tasks), tmp_path / "again.yaml")
        assert penstock("run", document).code == 1
        gate.touch()

        assert penstock("runs", "retry", "latest").code == 0

        assert sorted(count.read_text().split()) == ["after", "broken", "broken", "fine"]
        assert last_run(penstock)["state"] == "SUCCEEDED"

    def test_what_a_killed_engine_left_of_tasks_that_succeeded_goes(
        self, penstock: Penstock, failing: Path, home: Path
    ) -> None:
        run_id = penstock("run", failing, "-p", "fails=yes", "--json").objects[0]["run"]["id"]
        left = [one / "left" for one in (home / "attempts" / run_id).iterdir()]
        for one in left:
            one.mkdir()

        penstock("runs", "retry", "latest")

        kept = [json.loads((one.parent / "manifest.json").read_text()) for one in left if one.exists()]
        assert [one["outcome"] for one in kept] == ["FAILED"]

    def test_with_another_argument(self, penstock: Penstock, failing: Path) -> None:
        penstock("run", failing, "-p", "fails=yes")

        answer = penstock("runs", "retry", "latest", "-p", "fails=no", "--json")

        assert answer.code == 0
        tasks = answer.objects[-1]["run"]
        assert {task["state"] for task in tasks["tasks"].values()} == {"SUCCEEDED"}

    def test_from_a_task_on_everything_runs_again_without_the_cache(
        self, penstock: Penstock, adding: Path
    ) -> None:
        penstock("run", adding, "-p", "x=3")
        penstock("run", adding, "-p", "x=3")

        answer = penstock("runs", "retry", "latest", "--from", "use", "--json")

        assert answer.code == 0
        assert {change["task"] for change in answer.objects if "task" in change} == {"use"}
        run = last_run(penstock)
        assert (run["tasks"]["add"]["cached"], run["tasks"]["use"]["cached"]) == (True, False)

    def test_from_a_task_with_another_argument_changes_what_follows(
        self, penstock: Penstock, adding: Path
    ) -> None:
        penstock("run", adding, "-p", "x=3")

        answer = penstock("runs", "retry", "latest", "--from", "add", "-p", "x=40")

        assert "  total = 42" in answer.lines
        assert penstock("runs", "logs", "latest", "use").lines[-1] == "total 42"

    @pytest.mark.parametrize(
        ("given", "words"),
        [
            ([], "succeeded; name the task to run again with --from TASK"),
            (["--from", "nope"], "has no task 'nope'"),
            (["--from", "use", "-p", "x=abc"], "must be an integer"),
            (["--from", "use", "-p", "y=1"], "has no parameter 'y'"),
        ],
    )
    def test_what_cannot_be_is_refused_and_changes_nothing(
        self, penstock: Penstock, adding: Path, given: list[str], words: str
    ) -> None:
        penstock("run", adding, "-p", "x=3")
        before = last_run(penstock)

        assert words in penstock("runs", "retry", "latest", *given).complaint
        assert last_run(penstock) == before


class TestWhy:
    def test_one_sentence(self, penstock: Penstock, adding: Path) -> None:
        penstock("run", adding, "-p", "x=3")
        penstock("run", adding, "-p", "x=4")

        (line,) = penstock("runs", "why", "latest", "add").lines

        assert "not cached because input 'x' changed from 3 to 4" in line

    def test_of_a_task_that_is_not_there(self, penstock: Penstock, adding: Path) -> None:
        penstock("run", adding, "-p", "x=3")

        assert "has no task 'nope'" in penstock("runs", "why", "latest", "nope").complaint


class Waiting:
    """A run in a process of its own: its first task waits for `gate`, and its second follows it."""

    def __init__(self, folder: Path) -> None:
        self.gate, self.count, began = folder / "gate", folder / "count", folder / "began"
        tasks = [
            Shell("first", f"echo first >>{self.count}"),
            Shell("wait", f"touch {began}; while [ ! -e {self.gate} ]; do sleep 0.02; done", after=["first"]),
            Shell("last", f"echo last >>{self.count}", after=["wait"]),
        ]
        document = write(pipeline("waiting", *tasks), folder / "waiting.yaml")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "penstock", "run", str(document), "--name", "waiting"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        until = time.monotonic() + 60
        while not began.exists():
            assert time.monotonic() < until and self.process.poll() is None, "the run does not begin"
            time.sleep(0.02)

    def end(self) -> tuple[int, str]:
        out, _ = self.process.communicate(timeout=60)
        return self.process.returncode, out


@pytest.fixture
def waiting(penstock: Penstock, tmp_path: Path) -> Iterator[Waiting]:
    found = Waiting(tmp_path)
    yield found
    found.gate.touch()
    if found.process.poll() is None:
        found.process.kill()
    found.process.communicate()


def test_a_run_that_another_process_drives_can_be_canceled(penstock: Penstock, waiting: Waiting) -> None:
    answer = penstock("runs", "cancel", "waiting")

    assert answer.code == 0 and answer.out.endswith("is being canceled\n")
    code, out = waiting.end()
    assert code == 130
    states = {path: task["state"] for path, task in last_run(penstock)["tasks"].items()}
    assert states == {"first": "SUCCEEDED", "wait": "CANCELED", "last": "CANCELED"}
    assert "Traceback" not in out
    assert "has ended already: CANCELED" in penstock("runs", "cancel", "waiting").complaint


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_is_canceled_and_leaves_with_130(
    penstock: Penstock, waiting: Waiting, number: signal.Signals
) -> None:
    waiting.process.send_signal(number)

    code, out = waiting.end()

    assert code == 130 and "Traceback" not in out
    assert last_run(penstock)["state"] == "CANCELED"


def test_a_run_whose_engine_was_killed_goes_on_without_running_anything_twice(
    penstock: Penstock, waiting: Waiting
) -> None:
    waiting.process.kill()
    waiting.process.wait()
    waiting.gate.touch()

    answer = penstock("runs", "resume", "waiting")

    assert answer.code == 0
    assert waiting.count.read_text().split() == ["first", "last"]
    assert "has ended SUCCEEDED" in penstock("runs", "resume", "waiting").complaint


def test_a_run_that_a_living_engine_drives_cannot_be_resumed(penstock: Penstock, waiting: Waiting) -> None:
    answer = penstock("runs", "resume", "waiting")

    assert answer.code == 1
    assert answer.err.startswith("error: ") and str(waiting.process.pid) in answer.err
    assert waiting.process.poll() is None


def test_a_run_whose_engine_was_killed_can_be_canceled(penstock: Penstock, waiting: Waiting) -> None:
    waiting.process.kill()
    waiting.process.wait()

    answer = penstock("runs", "cancel", "waiting")

    assert answer.code == 0 and answer.out.endswith("CANCELED\n")
    assert last_run(penstock)["tasks"]["wait"]["state"] == "CANCELED"


def test_a_run_that_goes_on_cannot_be_retried(penstock: Penstock, waiting: Waiting) -> None:
    assert "only an ended run can be retried" in penstock("runs", "retry", "waiting").complaint


def test_a_task_that_runs_says_so(penstock: Penstock, waiting: Waiting) -> None:
    assert "'wait' is" in penstock("runs", "why", "waiting", "wait").out
    assert "waits for wait" in penstock("runs", "why", "waiting", "last").out


def test_a_log_is_followed_until_its_attempt_ends(
    penstock: Penstock, waiting: Waiting, tmp_path: Path
) -> None:
    follower = subprocess.Popen(
        [sys.executable, "-m", "penstock", "runs", "logs", "waiting", "wait", "--follow"],
        stdout=subprocess.PIPE,
    )
    time.sleep(0.5)
    assert follower.poll() is None
    waiting.gate.touch()

    assert follower.wait(60) == 0
