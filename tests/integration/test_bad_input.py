"""Bad input: one clear sentence on stderr, exit code 2, no traceback, and nothing half-written."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.documents import INT, LIST, STRUCT, TEXT, Group, Shell, given, output, pipeline, write
from tests.integration.penstock_process import Command

UNREACHABLE = re.compile("Failed to fetch|error sending request|dns error", re.IGNORECASE)


def good() -> dict[str, Any]:
    one = Shell("one", 'printf %s "$x" >"$out"', {"x": (TEXT, given("x"))}, outputs={"out": TEXT})
    inputs = {
        "x": TEXT,
        **{
            name: {"parameterType": kind, "isOptional": True}
            for name, kind in {"n": INT, "b": "BOOLEAN", "d": "NUMBER_DOUBLE", "l": LIST, "s": STRUCT}.items()
        },
    }
    return pipeline("good", one, inputs=inputs)


def changed(change: Callable[[dict[str, Any]], None]) -> str:
    document = good()
    change(document)
    return yaml.safe_dump(document, sort_keys=False)


def put(*place: str, value: object) -> str:
    """The good pipeline with another value at one place; None takes what is there away."""

    def change(document: dict[str, Any]) -> None:
        found = document
        for step in place[:-1]:
            found = found[step]
        if value is None:
            del found[place[-1]]
        else:
            found[place[-1]] = value

    return changed(change)


def renamed(*place: str, to: str) -> str:
    def change(document: dict[str, Any]) -> None:
        found = document
        for step in place[:-1]:
            found = found[step]
        found[to] = found.pop(place[-1])

    return changed(change)


def cycle(*tasks: Shell | Group) -> str:
    return yaml.safe_dump(pipeline("cycle", *tasks))


def recursive() -> str:
    document = pipeline("recursive", Group("outer", [Shell("inner")]))
    return json.dumps(document).replace(
        '"componentRef": {"name": "comp-inner"}', '"componentRef": {"name": "comp-outer"}'
    )


TASK = ("root", "dag", "tasks", "one")
INPUT = (*TASK, "inputs", "parameters", "x")
BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{chr(98 + level)}: &{chr(98 + level)} [{','.join(['*' + chr(97 + level)] * 9)}]\n"
    for level in range(12)
)

ARGO = """\
apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata:
  generateName: iris-
  annotations: {pipelines.kubeflow.org/kfp_sdk_version: 1.8.22}
spec: {entrypoint: iris, templates: []}
"""

DOCUMENTS: dict[str, tuple[str | bytes, str]] = {
    "not YAML": ("a: [1, 2\nb: {", "is not YAML (line 2"),
    "control characters": (b"\x00\x01\x02", "is not YAML"),
    "not UTF-8": (b"pipelineInfo: {name: caf\xe9}\n", "is not UTF-8"),
    "not JSON": ('{"pipelineInfo": ', "is not JSON (line 1"),
    "empty": ("", "the file is empty"),
    "only comments": ("# nothing\n", "the file is empty"),
    "a text": ("hello world\n", "is a text, not a pipeline"),
    "a list": ("- 1\n- 2\n", "is a list, not a pipeline"),
    "another mapping": ("name: iris\nsteps: []\n", "is not a compiled pipeline"),
    "another manifest": ("apiVersion: apps/v1\nkind: Deployment\n", "manifest of kind 'Deployment'"),
    "v1 Argo YAML": (
        ARGO,
        "is an Argo Workflow: a pipeline of KFP v1, not IR. Compile its source again with kfp 2",
    ),
    "no schema version": (put("schemaVersion", value=None), "has no schemaVersion"),
    "unknown schema version": (put("schemaVersion", value="3.9.9"), "schema version '3.9.9' is not known"),
    "schema version of another type": (put("schemaVersion", value=[1]), "schemaVersion"),
    "no root": (put("root", value=None), "root"),
    "no tasks": (put("root", "dag", "tasks", value=None), "root.dag"),
    "unknown field": (put("rooot", value={}), "the field 'rooot' is not known"),
    "unknown parameter type": (
        put("components", "comp-one", "inputDefinitions", "parameters", "x", "parameterType", value="TEXT"),
        "components.comp-one.inputDefinitions.parameters.x.parameterType",
    ),
    "wrong type": (
        put(*TASK, "iteratorPolicy", value={"parallelismLimit": "x"}),
        "parallelismLimit: must be an integer",
    ),
    "missing component": (put("components", "comp-one", value=None), "there is no component 'comp-one'"),
    "missing executor": (put("deploymentSpec", "executors", value={}), "there is no executor 'exec-one'"),
    "missing image": (
        put("deploymentSpec", "executors", "exec-one", "container", "image", value=None),
        "has no image",
    ),
    "missing task": (put(*INPUT, value=output("two", "y")), "there is no task 'two'"),
    "missing input": (put(*INPUT, value=given("y")), "no input parameter 'y'"),
    "missing dependency": (put(*TASK, "dependentTasks", value=["two"]), "there is no task 'two'"),
    "a circle of two": (cycle(Shell("a", after=["b"]), Shell("b", after=["a"])), "in a circle: a -> b -> a"),
    "a circle of one": (cycle(Shell("a", after=["a"])), "in a circle: a -> a"),
    "a component within itself": (recursive(), "a component uses itself: comp-outer -> comp-outer"),
    "a key twice": (yaml.safe_dump(good()) + "root: {}\n", "the key 'root' is given twice"),
    "aliases that explode": (BOMB, "aliases expand it beyond the limit"),
    "an alias of itself": ("a: &a [*a]\n", "stands before or inside what it names"),
    "endless nesting": ("[" * 200_000, "deeper than 200 levels"),
    "endless nesting in JSON": ('{"a":' * 200_000 + "1" + "}" * 200_000, "deeper than 200 levels"),
    "a number of a million digits": ('{"a": ' + "9" * 1_000_000 + "}", "digits"),
    "code in a tag": ('!!python/object/apply:os.system ["touch here"]\n', "os.system' is not allowed"),
    "a task that climbs": (renamed(*TASK, to="../../one"), "the task name '../../one'"),
    "an absolute pipeline name": (put("pipelineInfo", "name", value="/etc/cron.d/x"), "the pipeline's name"),
    "a pipeline name that climbs": (put("pipelineInfo", "name", value="../../x"), "name '../../x' contains"),
    "an output that climbs": (
        renamed("components", "comp-one", "outputDefinitions", "parameters", "out", to="../../out"),
        "the name '../../out'",
    ),
    "a name with a line in it": (put("pipelineInfo", "name", value="a\nb"), "the pipeline's name 'a\\nb'"),
}  # fmt: skip


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_document_that_is_no_sound_pipeline(penstock: Command, tmp_path: Path, name: str) -> None:
    content, words = DOCUMENTS[name]
    path = tmp_path / "pipeline.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())

    complaint = penstock("run", path, "-p", "x=1").complaint

    assert str(path) in complaint and words in complaint
    assert not penstock.home.exists() and os.listdir(penstock.folder) == []


@pytest.mark.parametrize("command", [["run"], ["doctor"], ["pipelines", "show"]])
def test_every_command_that_reads_a_pipeline_says_the_same(
    penstock: Command, tmp_path: Path, command: list[str]
) -> None:
    path = tmp_path / "argo.yaml"
    path.write_text(ARGO)

    assert "is an Argo Workflow" in penstock(*command, path).complaint
    assert not penstock.home.exists()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("none.yaml", "there is no such file"),
        ("folder", "is a directory"),
        ("huge.yaml", "is larger than the limit"),
        ("endless", "is larger than the limit"),
        ("loop.yaml", "cannot be read: Too many levels of symbolic links"),
        ("a" * 300, "cannot be read: File name too long"),
        ("closed.yaml/x.yaml", "cannot be read: Not a directory"),
    ],
)
def test_a_file_that_cannot_be_read(penstock: Command, name: str, words: str) -> None:
    here = penstock.folder
    (here / "folder").mkdir()
    with (here / "huge.yaml").open("wb") as file:
        file.truncate(10 << 30)
    (here / "endless").symlink_to("/dev/zero")
    (here / "loop.yaml").symlink_to("loop.yaml")
    (here / "closed.yaml").touch()

    assert words in penstock("run", name).complaint
    assert not penstock.home.exists()


@pytest.fixture
def humble(penstock: Command) -> Command:
    """The command without the privileges of root, to whom every file is open."""
    if os.geteuid() == 0:
        program = shutil.which("setpriv")
        if program is None:
            pytest.skip("root can read everything, and there is no setpriv here to give that up")
        penstock.before = [program, "--bounding-set=-all", "--inh-caps=-all"]
    return penstock


def test_a_file_that_may_not_be_read(humble: Command) -> None:
    path = write(good(), humble.folder / "good.yaml")
    path.chmod(0)

    assert "cannot be read: Permission denied" in humble("run", path, "-p", "x=1").complaint
    assert not humble.home.exists()


def test_a_home_that_may_not_be_written(humble: Command, tmp_path: Path) -> None:
    path = write(good(), humble.folder / "good.yaml")
    humble.home.mkdir(mode=0o555)

    assert "is not writable; set PENSTOCK_HOME" in humble("run", path, "-p", "x=1").complaint
    assert os.listdir(humble.home) == []


@pytest.mark.parametrize("place", ["file/home", "/proc/home", "file", "/dev/null/home"])
def test_a_home_that_cannot_be_made(penstock: Command, place: str) -> None:
    path = write(good(), penstock.folder / "good.yaml")
    (penstock.folder / "file").touch()

    complaint = penstock("run", path, "-p", "x=1", PENSTOCK_HOME=place).complaint

    assert "the penstock home" in complaint and "set PENSTOCK_HOME to a folder you may write" in complaint


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"PENSTOCK_PARALLEL": "many"}, "parallel (environment PENSTOCK_PARALLEL) must be a whole number"),
        ({"PENSTOCK_PRIVATE_TMP": "perhaps"}, "must be true or false"),
        ({"PENSTOCK_DATABASE_URL": "oracle://scott:tiger@db/x"}, "the database scheme 'oracle' is not known"),
        ({"PENSTOCK_DATABASE_URL": "nonsense"}, "has no scheme"),
        ({"PENSTOCK_DATABASE_URL": "postgresql://u:tiger@h:port/d"}, "is no URL of a PostgreSQL"),
        ({"PENSTOCK_DATABASE_URL": "sqlite:////dev/null"}, "is not a file"),
        ({"PENSTOCK_PIPELINE_ROOT": "gs://bucket/x"}, "no artifact store for gs:// is installed"),
        ({"PENSTOCK_PIPELINE_ROOT": "s3://No_Bucket/x"}, "names the bucket 'No_Bucket', which cannot be one"),
        ({"PENSTOCK_PIPELINE_ROOT": "s3://bucket/a/../b"}, "its key holds '..' between slashes"),
        (
            {"PENSTOCK_PIPELINE_ROOT": "s3://bucket/x", "AWS_ENDPOINT_URL_S3": "minio:9000"},
            "AWS_ENDPOINT_URL_S3 must be the URL of an S3 service",
        ),
        (
            {"PENSTOCK_PIPELINE_ROOT": "s3://bucket/x", "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:1"},
            "nothing answers at http://127.0.0.1:1; is the service running",
        ),
        ({"PENSTOCK_S3_TASK_CREDENTIALS": "all"}, "must be one of none, sts, inherit, not 'all'"),
        ({"PENSTOCK_LAUNCHER": "nomad"}, "no launcher 'nomad' is installed"),
        ({"PENSTOCK_ENGINE": "nomad"}, "no engine 'nomad' is installed"),
    ],
)
def test_a_setting_that_cannot_be_used(penstock: Command, settings: dict[str, str], words: str) -> None:
    path = write(good(), penstock.folder / "good.yaml")

    complaint = penstock("run", path, "-p", "x=1", **settings).complaint

    assert words in complaint and "tiger" not in complaint
    assert not penstock.home.exists()


def test_a_settings_file_that_is_not_toml(penstock: Command) -> None:
    path = write(good(), penstock.folder / "good.yaml")
    (penstock.folder / "penstock.toml").write_text("parallel = [\n")

    assert "penstock.toml cannot be read" in penstock("run", path, "-p", "x=1").complaint


def test_a_database_that_is_something_else(penstock: Command) -> None:
    path = write(good(), penstock.folder / "good.yaml")
    penstock.home.mkdir()
    (penstock.home / "penstock.db").write_text("not a database, but 100 bytes of text " * 3)

    assert "is not an SQLite database" in penstock("run", path, "-p", "x=1").complaint


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ([], "needs the argument x (STRING)"),
        (["x=1", "y=2"], "has no parameter 'y': it has x, n, b, d, l, s"),
        (["x=1", "nn=2"], "has no parameter 'nn' (did you mean 'n'?)"),
        (["x"], "-p takes KEY=VALUE, not 'x'"),
        (["x=1", "n=abc"], "argument 'n' must be an integer, but is 'abc'"),
        (["x=1", "n=1.5"], "argument 'n' must be an integer"),
        (["x=1", "n=" + "9" * 400], "argument 'n'"),
        (["x=1", "d=1e999"], "argument 'd'"),
        (["x=1", "b=perhaps"], "argument 'b' must be a boolean"),
        (["x=1", "l={}"], "argument 'l' must be a list"),
        (["x=1", "l=[1,"], "argument 'l' must be a list as JSON"),
        (["x=1", "l=" + "[" * 50_000], "argument 'l' must be a list as JSON"),
        (["x=1", "s=[]"], "argument 's' must be a mapping"),
        (["x=1", 's={"a": 1, "a": 2}'], "argument 's' must be a mapping as JSON"),
        (["x=1", "n=\nError\n\n  2"], "argument 'n' must be an integer"),
    ],
)
def test_arguments_that_do_not_fit(penstock: Command, given: list[str], words: str) -> None:
    path = write(good(), penstock.folder / "good.yaml")

    assert words in penstock("run", path, *(word for one in given for word in ("-p", one))).complaint
    assert not penstock.home.exists()


def test_an_argument_that_is_not_unicode(penstock: Command) -> None:
    path = write(good(), penstock.folder / "good.yaml")

    assert "argument 'x' is not valid Unicode" in penstock("run", path, "-p", b"x=caf\xe9").complaint


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "there is no such file"),
        (BOMB, "aliases expand it beyond the limit"),
        ("x: &x [*x]\n", "stands before or inside what it names"),
        ("[" * 200_000, "deeper than 200 levels"),
        ("x: [1\n", "is not YAML"),
        (b"\xff\xfe", "is not UTF-8"),
        ("- x\n", "must hold one mapping of names to values, not a list"),
        ("x\n", "not a text"),
        ("x: a\nx: b\n", "the key 'x' is given twice"),
        ("x: !!python/name:os.system\n", "is not allowed"),
        ("x: [1]\n", "argument 'x' must be a text, but is a list"),
        ("1: 2\n", "has no parameter '1'"),
    ],
)
def test_a_file_of_arguments_that_cannot_be_used(
    penstock: Command, content: str | bytes | None, words: str
) -> None:
    path = write(good(), penstock.folder / "good.yaml")
    params = penstock.folder / "params.yaml"
    if content is not None:
        params.write_bytes(content if isinstance(content, bytes) else content.encode())

    assert words in penstock("run", path, "--params", params).complaint
    assert not penstock.home.exists()


def test_a_file_of_arguments_without_an_end(penstock: Command) -> None:
    path = write(good(), penstock.folder / "good.yaml")

    assert "is larger than the limit" in penstock("run", path, "--params", "/dev/zero").complaint


class TestSourceFiles:
    """`penstock run pipeline.py`."""

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            (None, "does not exist"),
            ("def broken(:\n", "line 1 is not Python"),
            ("x = '\0'\n", "is not Python"),
            ("(" * 10_000, "is not Python"),
        ],
    )
    def test_what_is_no_python_is_told_before_anything_is_built(
        self, penstock: Command, text: str | None, words: str
    ) -> None:
        source = penstock.folder / "pipeline.py"
        if text is not None:
            source.write_text(text)

        assert words in penstock("run", source).complaint
        assert not penstock.home.exists()

    @pytest.mark.parametrize(
        ("text", "function", "words"),
        [
            ("x = 1\n", "", "it defines 0 pipelines (none); name one as FILE:FUNCTION"),
            ("{two}", "", "it defines 2 pipelines (first, second); name one as FILE:FUNCTION"),
            ("{two}", ":third", "it has no pipeline or component named 'third'"),
            ("raise ValueError('no luck')\n", "", "ValueError: no luck"),
            ("import surely_not_installed\n", "", "No module named 'surely_not_installed'"),
            ("import sys; sys.exit(0)\n", "", "it ends the interpreter when it is imported"),
        ],
    )
    def test_what_holds_no_one_pipeline(
        self, penstock: Command, text: str, function: str, words: str
    ) -> None:
        two = "from kfp import dsl\n@dsl.component\ndef c(): ...\n" + "".join(
            f"@dsl.pipeline\ndef {name}(): c()\n" for name in ("first", "second")
        )
        source = penstock.folder / "pipeline.py"
        source.write_text(text.replace("{two}", two))

        answer = penstock("run", f"{source}{function}", "--json")

        if UNREACHABLE.search(answer.err):
            pytest.skip("no package index can be reached")
        assert answer.code == 2 and "Traceback" not in answer.err
        first, *rest = answer.err.splitlines()
        assert first.startswith("compiling ") and len(rest) == 1 and rest[0].startswith("error: ")
        assert words in rest[0]
        assert not (penstock.home / "penstock.db").exists()
