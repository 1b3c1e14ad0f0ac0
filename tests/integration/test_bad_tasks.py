"""What goes wrong while a task runs is one clear sentence in its error; and values arrive as they are, never
as code.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from penstock.model import Json
from tests.documents import (
    INT,
    LIST,
    STRUCT,
    TEXT,
    Group,
    Shell,
    constant,
    given,
    output,
    pipeline,
    when,
    write,
)
from tests.integration.penstock_process import Answer, Command

MEMORY = """
import resource
resource.setrlimit(resource.RLIMIT_AS, (256 << 20, 256 << 20))
hoard = bytearray(1 << 30)
"""
CHILDREN = "(setsid sleep 600 & sleep 600 & nohup sleep 600 >/dev/null 2>&1 &) ; exit 4"

TASKS: list[tuple[Shell, tuple[str, ...]]] = [
    (
        Shell("unwritten", outputs={"out": TEXT}),
        ("declares the output parameter 'out' but did not write it",),
    ),
    (Shell("binary", r"printf '\377\376' >$out", outputs={"out": TEXT}), ("'out'", "is binary: byte 1 of 2")),
    (
        Shell("no-number", "printf abc >$out", outputs={"out": INT}),
        ("must be an integer (NUMBER_INTEGER)", '"abc"'),
    ),
    (Shell("no-list", "printf '[1,' >$out", outputs={"out": LIST}), ("'out'", "is not JSON")),
    (
        Shell("too-large", "head -c 40000000 /dev/zero >$out", outputs={"out": TEXT}),
        ("has 40000000 bytes, more than the", "write large values as an artifact"),
    ),
    (Shell("a-folder", "mkdir $out", outputs={"out": TEXT}), ("'out'", "is not a file")),
    (Shell("a-pipe", "mkfifo $out", outputs={"out": TEXT}), ("'out'", "is not a file")),
    (Shell("a-link", "ln -s /etc/hostname $out", outputs={"out": TEXT}), ("'out'", "it is a link")),
    (Shell("a-pipe-as-artifact", "mkfifo $made", made={"made": "system.Model"}), ("is a named pipe",)),
    (Shell("exit", "echo the reason; exit 3"), ("ended with exit code 3: the reason",)),
    (
        Shell("coloured", r"printf 'done 1%%\rdone 2%%\033[31m, red\033[0m\007\n'; exit 3"),
        ("ended with exit code 3: done 2%, red",),
    ),
    (Shell("silent", "exit 3"), ("ended with exit code 3",)),
    (Shell("segfault", "kill -SEGV $$"), ("was killed by SIGSEGV (exit code 139)",)),
    (Shell("killed", "kill -KILL $$"), ("was killed by SIGKILL (exit code 137): out of memory?",)),
    (Shell("memory", command=["python3", "-c", MEMORY]), ("ended with exit code 1: MemoryError",)),
    (Shell("children", CHILDREN), ("ended with exit code 4", "sleep", "still ran")),
    (
        Shell("no-program", command=["no-such-program"]),
        ("'no-such-program', which is not on this machine",),
    ),
    (Shell("no-command", "no_such_program"), ("program that was not found", "(exit code 127)")),
    (
        Shell("long-argument", inputs={"text": (TEXT, constant("x" * 200_000))}),
        ("has 200000 bytes, over the system's limit of 131071", "pass large values as artifacts"),
    ),
    (
        Shell("long-command", command=["true", *["x" * 120_000] * 30]),
        ("over the system's limit", "pass large values as artifacts"),
    ),
    (Shell("nul", inputs={"text": (TEXT, constant("a\0b"))}), ("holds a NUL character",)),
    (
        Shell("reads", "read answer || { echo nobody answers; exit 1; }"),
        ("ended with exit code 1: nobody answers",),
    ),
    (
        Shell(
            "no-condition", inputs={"n": (INT, constant(1))}, more=when("inputs.parameter_values['n'] > 'a'")
        ),
        ("the condition", "cannot be evaluated"),
    ),
]


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> Command:
    folder = tmp_path_factory.mktemp("tasks")
    return Command(folder, folder / "home")


@pytest.fixture(scope="module")
def failed(command: Command) -> tuple[Answer, dict[str, Any]]:
    """All of them in one run."""
    path = write(pipeline("bad", *(task for task, _ in TASKS)), command.folder / "bad.yaml")
    answer = command("run", path, "--json", "--parallel", "4")
    assert answer.code == 1, answer
    return answer, answer.run


@pytest.mark.parametrize(("name", "words"), [(task.name, words) for task, words in TASKS])
def test_the_error_of_a_task_is_one_clear_sentence(
    failed: tuple[Answer, dict[str, Any]], name: str, words: tuple[str, ...]
) -> None:
    found = failed[1]["tasks"][name]

    assert found["state"] == "FAILED"
    error = found["error"]
    assert "\n" not in error and "\x1b" not in error and "Traceback" not in error
    assert len(error) < 600
    for part in words:
        assert part in error


def test_the_error_of_the_run_is_that_of_a_task(failed: tuple[Answer, dict[str, Any]]) -> None:
    answer, run = failed

    assert answer.err == ""
    assert run["state"] == "FAILED"
    name, _, error = run["error"].partition(": ")
    assert error == run["tasks"][name]["error"]


def test_nothing_that_failed_leaves_an_artifact(
    failed: tuple[Answer, dict[str, Any]], command: Command
) -> None:
    assert failed[1]["state"] == "FAILED"

    assert command("artifacts", "list", "--json").out == ""


def test_no_child_is_left_behind(failed: tuple[Answer, dict[str, Any]], command: Command) -> None:
    run_id: str = failed[1]["id"]

    left = [
        name
        for name in os.listdir("/proc")
        if name.isdigit() and run_id.encode() in _read(Path("/proc", name, "environ"))
    ]

    assert left == []


def test_children_of_a_task_that_succeeds_end_with_it(command: Command) -> None:
    # The last sleep is waited for until it is one, and no longer the shell that becomes it.
    script = "(setsid sleep 600 >/dev/null 2>&1 &); sleep 600 & until grep -q sleep /proc/$!/comm; do :; done"
    task = Shell("leaver", script)
    path = write(pipeline("leaver", task), command.folder / "leaver.yaml")

    answer = command("run", path, "--json")

    assert (answer.code, answer.run["state"]) == (0, "SUCCEEDED")
    assert answer.run["tasks"]["leaver"]["state"] == "SUCCEEDED"
    said = "2 processes (sleep) still ran when the task's own had ended, and were killed"
    assert answer.run["tasks"]["leaver"]["error"] == said
    assert f"  leaver: {said}\n" in command("runs", "get", answer.run["id"]).out
    assert f"ran and succeeded, but {said}; " in command("runs", "why", answer.run["id"], "leaver").out
    assert said in command("runs", "logs", answer.run["id"], "leaver").out


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Room for two megabytes."""
    place = tmp_path / "disk"
    place.mkdir()
    if shutil.which("mount") is None:
        pytest.skip("there is no mount here")
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", place], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        pytest.skip(f"a small disk cannot be made here: {done.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=True)


class TestFullDisk:
    def test_of_the_artifacts(self, command: Command, small_disk: Path) -> None:
        task = Shell("large", "head -c 9000000 /dev/zero >$made", made={"made": "system.Model"})
        path = write(pipeline("large", task), command.folder / "large.yaml")

        answer = command("run", path, "--json", "--pipeline-root", str(small_disk))

        assert answer.code == 1
        error = answer.run["tasks"]["large"]["error"]
        assert "No space left on device" in error or "is full" in error
        assert "\n" not in error

    def test_of_the_home(self, command: Command, small_disk: Path) -> None:
        """The database itself finds no room, before or while the run goes on."""
        task = Shell("one", "printf %s $text >$out", {"text": (TEXT, given("text"))}, outputs={"out": TEXT})
        path = write(pipeline("one", task, inputs={"text": TEXT}), command.folder / "one.yaml")
        (small_disk / "ballast").write_bytes(b"x" * 1_900_000)

        answer = command("run", path, "-p", f"text={'x' * 100_000}", PENSTOCK_HOME=str(small_disk))

        assert answer.code in (1, 2) and "Traceback" not in answer.err
        assert answer.err.startswith("error: ") and answer.err.count("\n") == 1
        assert "full" in answer.err or "No space left" in answer.err


VALUES = {
    "quotes": """it's "quoted" `here`""",
    "lines": "one\ntwo\r\n\tthree\n",
    "shell": "$(touch pwned); touch pwned & `touch pwned` | ${HOME} \\n !!",
    "input placeholder": "{{$.inputs.parameters['secret']}}",
    "run placeholder": "{{$.pipeline_job_name}} {{$.outputs.parameters['out'].output_file}}",
    "old placeholder": "{{workflow.name}} {{inputs.parameters.x}} $(inputs.x) ${{ secrets.X }}",
    "structure": '{"IfPresent": {"InputName": "secret", "Then": "x"}}',
    "concat": '{"Concat": ["a", "b"]}',
    "dashes": "--help",
    "percent": "%s %d %(x)s {0} {x}",
    "blank": " ",
    "empty": "",
    "number": "007",
    "null": "null",
    "unicode": "ünï → 🙂 \u202e\u0007",
    "json": '["a", {"b": null}]',
    "yaml": "a: &b [*b]",
    "cel": "' || true || '",
    "path": "../../etc/passwd",
}  # fmt: skip


@pytest.fixture(scope="module")
def carried(command: Command) -> dict[str, Any]:
    """Each value goes from the command line through a task, a task behind it, and a condition."""
    first = Shell(
        "first", 'printf %s "$value" >"$out"', {"value": (TEXT, given("value"))}, outputs={"out": TEXT}
    )
    second = Shell(
        "second",
        'printf %s "$value" >"$out"; printf %s "$VARIABLE" >"$variable"',
        {"value": (TEXT, output("first", "out"))},
        outputs={"out": TEXT, "variable": TEXT},
        env={"VARIABLE": "$(HOME) ${HOME} `id` 'x' \"y\""},
        after=["first"],
    )
    never = Shell(
        "never",
        inputs={"value": (TEXT, output("first", "out"))},
        after=["first"],
        more=when("inputs.parameter_values['value'] == 'never said'"),
    )
    path = write(
        pipeline("carry", first, second, never, inputs={"value": TEXT}), command.folder / "carry.yaml"
    )
    runs: dict[str, Any] = {}
    for name, value in VALUES.items():
        answer = command("run", path, "--json", "-p", f"value={value}", "--name", name)
        assert answer.code == 0, (name, answer)
        runs[name] = answer.run
    return runs


@pytest.mark.parametrize("name", VALUES)
def test_a_value_arrives_as_it_is(carried: dict[str, Any], command: Command, name: str) -> None:
    tasks = carried[name]["tasks"]

    assert tasks["first"]["outputs"]["out"] == VALUES[name]
    assert tasks["second"]["outputs"]["out"] == VALUES[name]
    assert tasks["second"]["outputs"]["variable"] == "$(HOME) ${HOME} `id` 'x' \"y\""
    assert tasks["never"]["state"] == "SKIPPED"
    assert not list(command.folder.rglob("pwned"))


def test_values_in_lists_mappings_and_loops_arrive_as_they_are(command: Command) -> None:
    every: list[Json] = [*VALUES.values()]
    show = 'printf %s "$value" >"$out"'
    document = pipeline(
        "structures",
        Shell("a-list", show, {"value": (LIST, given("many"))}, outputs={"out": LIST}),
        Shell("a-mapping", show, {"value": (STRUCT, given("named"))}, outputs={"out": STRUCT}),
        Group(
            "loop",
            [Shell("each", show, {"value": (TEXT, given("item"))}, outputs={"out": TEXT})],
            items=every,
            outputs={"out": (TEXT, "each", "out")},
        ),
        inputs={"many": LIST, "named": STRUCT},
    )
    params = command.folder / "structures.json"
    params.write_text(json.dumps({"many": every, "named": VALUES}))

    answer = command("run", write(document, command.folder / "structures.yaml"), "--json", "--params", params)

    assert answer.code == 0, answer
    tasks = answer.run["tasks"]
    assert tasks["a-list"]["outputs"]["out"] == every
    assert tasks["a-mapping"]["outputs"]["out"] == VALUES
    assert tasks["loop"]["outputs"]["out"] == every


def test_a_huge_argument_is_told_where_it_cannot_be_passed_on(command: Command) -> None:
    """It goes into the record, and from task to task; only as an argument of a process it is too long."""
    document = pipeline(
        "huge",
        Shell("one", 'printf %s "$value" >"$out"', {"value": (TEXT, given("value"))}, outputs={"out": TEXT}),
        inputs={"value": TEXT},
    )
    params = command.folder / "huge.json"
    params.write_text(json.dumps({"value": "x" * 5_000_000}))

    answer = command("run", write(document, command.folder / "huge.yaml"), "--json", "--params", params)

    assert answer.code == 1 and answer.err == ""
    error = answer.run["tasks"]["one"]["error"]
    assert "over the system's limit" in error and "its largest input is 'value'" in error
    assert len(error) < 600


def test_names_of_runs_and_experiments_are_no_paths(command: Command) -> None:
    path = write(pipeline("named", Shell("one")), command.folder / "named.yaml")
    beside = set(os.listdir(command.folder.parent))

    answer = command("run", path, "--name", "../../escaped", "--experiment", "/etc/'; DROP TABLE runs; --")

    assert answer.code == 0
    assert "../../escaped" in command("runs", "list").out
    assert set(os.listdir(command.folder.parent)) == beside
