from __future__ import annotations

import hashlib
import json
import os
import threading
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from penstock.artifacts import path_of, uri_of
from penstock.execution.manifest import Outcome
from penstock.execution.process.executor_input import Places, executor_input
from penstock.execution.process.sandbox import means
from penstock.model import Artifact, ContainerExecutor, Json, OutputArtifact, ParameterType, Reason
from tests.unit.execution.launching import DATASET, RUN, container, log_of, order, run, script

STRING = ParameterType.STRING
INPUT = "{{$.inputs.artifacts['data'].path}}"
OUT = "{{$.outputs.parameters['o'].output_file}}"
MODEL = "{{$.outputs.artifacts['model'].path}}"
EXECUTOR_OUTPUT = "{{$.outputs.output_file}}"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def says(output: object, more: str = "") -> ContainerExecutor:
    """A component that writes this executor output; `$1` is where its artifact 'model' goes."""
    text = output if isinstance(output, str) else json.dumps(output)
    return script(f'{more}\nprintf "%s" "$2" > "$0"', EXECUTOR_OUTPUT, MODEL, text)


def artifact(path: Path, **more: object) -> Artifact:
    return Artifact("id-1", "data", DATASET, uri_of(path), **more)  # type: ignore[arg-type]


# Inputs


def test_a_local_input_is_read_in_place(home: Path, tmp_path: Path) -> None:
    (tmp_path / "in put.csv").write_text("a,b\n")
    given = {"data": (artifact(tmp_path / "in put.csv"),)}
    run(home, order(home, script('echo "$0"; cat "$0"', INPUT), artifacts=given))
    assert log_of(home) == f"{tmp_path}/in put.csv\na,b\n"


def test_an_input_that_is_gone_is_named(home: Path, tmp_path: Path) -> None:
    gone = artifact(tmp_path / "gone", size=3, sha256="0" * 64)
    manifest = run(home, order(home, container("true"), artifacts={"data": (gone,)}))
    assert (manifest.outcome, manifest.reason) == (Outcome.FAILED, Reason.INPUT)
    assert manifest.error.startswith("input artifact 'data' is gone: there is nothing at 'file:///")


def test_an_input_that_was_recorded_without_content_is_no_error(home: Path, tmp_path: Path) -> None:
    given = {"data": (artifact(tmp_path / "metrics only"),)}
    assert run(home, order(home, script("true", INPUT), artifacts=given)).outcome is Outcome.SUCCEEDED


def test_an_input_that_nothing_here_can_read_is_handed_on_by_its_uri(home: Path) -> None:
    given = {"data": (Artifact("id-1", "data", DATASET, "gs://bucket/data"),)}
    manifest = run(
        home, order(home, script('echo "$0"', "{{$.inputs.artifacts['data'].uri}}"), artifacts=given)
    )
    assert log_of(home) == "gs://bucket/data\n"
    assert manifest.notes["not_read"] == "gs://bucket/data"


def test_an_input_on_the_web_is_fetched_for_the_task(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "my data.csv").write_text("a,b\n")
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path / "site"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever).start()
        uri = f"http://127.0.0.1:{server.server_port}/my%20data.csv"
        given = {"data": (Artifact("id-1", "data", DATASET, uri),)}
        manifest = run(home, order(home, script('basename "$0"; cat "$0"', INPUT), artifacts=given))
        server.shutdown()
    assert manifest.outcome is Outcome.SUCCEEDED
    assert log_of(home) == "my data.csv\na,b\n"


def test_an_input_on_the_web_that_cannot_be_had_fails_only_who_needs_its_content(home: Path) -> None:
    service = {"data": (Artifact("id-1", "data", DATASET, "http://127.0.0.1:1/models/7"),)}
    only_uri = script('echo "$0"', "{{$.inputs.artifacts['data'].uri}}")
    assert run(home, order(home, only_uri, artifacts=service)).outcome is Outcome.SUCCEEDED
    assert "cannot download" in log_of(home)
    missing = run(home, order(home, script("true", INPUT), "attempt-2", artifacts=service))
    assert missing.outcome is Outcome.FAILED
    assert "has no local path" in missing.error


def test_a_list_of_artifacts_arrives_in_its_order(home: Path, tmp_path: Path) -> None:
    for name in "ba":
        (tmp_path / name).write_text(name)
    given = {"data": (artifact(tmp_path / "b"), artifact(tmp_path / "a"))}
    run(home, order(home, script('printf "%s" "$0"', "{{$}}"), artifacts=given))
    listed = json.loads(log_of(home))["inputs"]["artifacts"]["data"]["artifacts"]
    assert [one["uri"] for one in listed] == [str(tmp_path / "b"), str(tmp_path / "a")]


def test_what_a_component_is_told_is_kfps_executor_input(home: Path) -> None:
    declared = {"model": OutputArtifact(DATASET, metadata={"kind": "tree"})}
    executor = script('printf "%s" "$0"', "{{$}}")
    run(home, order(home, executor, inputs={"x": "1"}, outputs={"o": STRING}, output_artifacts=declared))
    root = home / "artifacts" / "pipeline" / RUN / "train" / "attempt-1"
    assert json.loads(log_of(home)) == {
        "inputs": {"parameterValues": {"x": "1"}, "artifacts": {}},
        "outputs": {
            "parameters": {"o": {"outputFile": f"{home}/attempts/{RUN}/attempt-1/outputs/parameters/o"}},
            "artifacts": {
                "model": {
                    "artifacts": [
                        {
                            "name": "model",
                            "type": {"schemaTitle": "system.Dataset", "schemaVersion": "0.0.1"},
                            "uri": f"{root}/model",
                            "metadata": {"kind": "tree"},
                        }
                    ]
                }
            },
            "outputFile": f"{root}/output_metadata.json",
        },
    }


# Output parameters


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("a text\n", ParameterType.STRING, "a text\n"),
        (" 42\n", ParameterType.NUMBER_INTEGER, 42),
        ("0.5\n", ParameterType.NUMBER_DOUBLE, 0.5),
        ("true\n", ParameterType.BOOLEAN, True),
        ("[1, 2.0]", ParameterType.LIST, [1, 2]),
        ('{"a": null}', ParameterType.STRUCT, {"a": None}),
    ],
)
def test_an_output_parameter_is_read_from_its_file(
    home: Path, text: str, kind: ParameterType, value: Json
) -> None:
    manifest = run(home, order(home, script('printf "%s" "$1" > "$0"', OUT, text), outputs={"o": kind}))
    assert manifest.parameters == {"o": value}


@pytest.mark.parametrize(
    ("command", "kind", "complaint"),
    [
        ("true", STRING, "component 'comp-train' declares the output parameter 'o' but did not write it"),
        (r"printf '\377\376' > $0", STRING, "is binary: byte 1 of 2 is not UTF-8"),
        (
            "echo many > $0",
            ParameterType.NUMBER_INTEGER,
            "the output parameter 'o' of component 'comp-train' must be",
        ),
        ("echo '[1' > $0", ParameterType.LIST, "is not JSON"),
        ("mkfifo $0", STRING, "is not a file"),
        ("mkdir $0", STRING, "is not a file"),
        ("ln -s /etc/passwd $0", STRING, "it is a link"),
        ("truncate -s 20M $0", STRING, "has 20971520 bytes, more than the 16777216 that are recorded"),
    ],
)
def test_an_output_parameter_that_cannot_be_read_fails_the_task(
    home: Path, command: str, kind: ParameterType, complaint: str
) -> None:
    manifest = run(home, order(home, script(command, OUT), outputs={"o": kind}))
    assert (manifest.outcome, manifest.reason, manifest.exit_code) == (Outcome.FAILED, Reason.OUTPUT, 0)
    assert complaint in manifest.error
    assert "\n" not in manifest.error


def test_the_executor_output_goes_before_the_file(home: Path) -> None:
    executor = script(
        'echo file > "$1"; printf "%s" "$2" > "$0"', EXECUTOR_OUTPUT, OUT, '{"parameterValues":{"o":"said"}}'
    )
    assert run(home, order(home, executor, outputs={"o": STRING})).parameters == {"o": "said"}


@pytest.mark.parametrize(
    ("output", "complaint"),
    [
        ("not json", "the executor output of task 'train' is not JSON"),
        ("[]", "is not a JSON object"),
        ('{"parameterValues": {"o": NaN}}', "is not JSON"),
        ('{"parameterValues": {"o": [1]}}', "is declared NUMBER_INTEGER but is '[1]'"),
        ('{"parameterValues": {"o": null}}', "is declared NUMBER_INTEGER"),
    ],
)
def test_an_executor_output_that_cannot_be_used_fails_the_task(
    home: Path, output: str, complaint: str
) -> None:
    manifest = run(
        home,
        order(home, says(output), outputs={"o": ParameterType.NUMBER_INTEGER}, output_artifacts=["model"]),
    )
    assert (manifest.outcome, manifest.reason) == (Outcome.FAILED, Reason.OUTPUT)
    assert complaint in manifest.error


def test_a_boolean_returned_for_a_number_is_one_as_in_python(home: Path) -> None:
    for kind in (ParameterType.NUMBER_INTEGER, ParameterType.NUMBER_DOUBLE):
        executor = says({"parameterValues": {"o": True}})
        task = order(home, executor, kind.lower(), outputs={"o": kind}, output_artifacts=["model"])
        found = run(home, task).parameters["o"]
        assert (found, type(found)) == (1, int)


def test_undeclared_outputs_are_left_out_and_told_of(home: Path) -> None:
    manifest = run(home, order(home, says({"parameterValues": {"x": 1}}), output_artifacts=["model"]))
    assert manifest.parameters == {}
    assert manifest.notes["undeclared_parameters"] == "x"


# Output artifacts


def test_an_output_artifact_is_recorded_with_size_and_digest(home: Path) -> None:
    manifest = run(home, order(home, script('echo weights > "$0"', MODEL), output_artifacts=["model"]))
    (model,) = manifest.artifacts["model"]
    assert model.uri == f"file://{home}/artifacts/pipeline/{RUN}/train/attempt-1/model"
    assert model.size == 8
    assert model.sha256 == hashlib.sha256(b"weights\n").hexdigest()
    assert path_of(model.uri).read_text() == "weights\n"
    assert path_of(model.uri).stat().st_mode & 0o222 == 0
    assert model.id


def test_what_the_component_says_is_merged_over_what_is_declared(home: Path) -> None:
    declared = {"model": OutputArtifact(DATASET, metadata={"kind": "tree", "depth": 1})}
    said = {"artifacts": {"model": {"artifacts": [{"name": "best", "metadata": {"depth": 3.0}}]}}}
    manifest = run(home, order(home, says(said, 'echo x > "$1"'), output_artifacts=declared))
    (model,) = manifest.artifacts["model"]
    assert (model.name, model.metadata) == ("best", {"kind": "tree", "depth": 3})
    assert model.size == 2


def test_an_artifact_that_was_not_written_is_recorded_with_a_note(home: Path) -> None:
    manifest = run(home, order(home, container("true"), output_artifacts=["model"]))
    assert manifest.outcome is Outcome.SUCCEEDED
    assert manifest.artifacts["model"][0].size is None
    assert "was not written" in manifest.notes["artifact:model"]
    assert not (home / "artifacts" / "pipeline" / RUN / "train").exists()


def test_a_directory_is_an_artifact(home: Path) -> None:
    text = 'mkdir -p "$0/a" && echo 1 > "$0/a/x" && echo 22 > "$0/y"'
    manifest = run(home, order(home, script(text, MODEL), output_artifacts=["model"]))
    assert manifest.artifacts["model"][0].size == 5


def test_a_uri_of_the_components_own_choice_is_kept(home: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("there")
    for n, (uri, size) in enumerate([("s3://bucket/model", None), (str(tmp_path / "elsewhere"), 5)]):
        said = {"artifacts": {"model": {"artifacts": [{"uri": uri}]}}}
        manifest = run(home, order(home, says(said), f"attempt-{n}", output_artifacts=["model"]))
        (model,) = manifest.artifacts["model"]
        assert (model.uri, model.size) == (uri, size)
    assert (tmp_path / "elsewhere").stat().st_mode & 0o200


def test_content_below_the_tasks_root_is_stored_under_its_own_name(home: Path) -> None:
    root = home / "artifacts" / "pipeline" / RUN / "train" / "attempt-1"
    items: list[Json] = [{"uri": f"{root}/part-{n}", "name": f"part-{n}"} for n in range(2)]
    said: Json = {"artifacts": {"model": {"artifacts": items}}}
    manifest = run(
        home,
        order(
            home,
            says(said, f'echo 0 > "{root}/part-0"; echo 11 > "{root}/part-1"'),
            output_artifacts=["model"],
        ),
    )
    found = manifest.artifacts["model"]
    assert [one.uri for one in found] == [f"file://{root}/part-0", f"file://{root}/part-1"]
    assert [one.size for one in found] == [2, 3]


@pytest.mark.skipif(means() is None, reason="no mounts are allowed here")
@pytest.mark.parametrize(
    ("how", "path"),
    [
        ("uri", "/tmp/penstock-out"),
        ("uri", "out.txt"),
        ("custom_path", "/tmp/penstock-out"),
        ("custom_path", "out.txt"),
        ("custom_path", "sub/../out.txt"),
    ],
)
def test_content_in_a_private_place_is_stored_as_the_artifact(home: Path, how: str, path: str) -> None:
    said: Json = {"artifacts": {"model": {"artifacts": [{how: path}]}}}
    manifest = run(
        home, order(home, says(said, f"mkdir sub; echo mine > {path}"), output_artifacts=["model"])
    )
    assert manifest.outcome is Outcome.SUCCEEDED, manifest.error
    (model,) = manifest.artifacts["model"]
    assert model.uri == f"file://{home}/artifacts/pipeline/{RUN}/train/attempt-1/model"
    assert path_of(model.uri).read_text() == "mine\n"
    assert not os.path.exists("/tmp/penstock-out")


def test_a_custom_path_elsewhere_is_copied_not_consumed(home: Path, tmp_path: Path) -> None:
    (tmp_path / "big").write_text("big")
    said: Json = {"artifacts": {"model": {"artifacts": [{"custom_path": str(tmp_path / "big")}]}}}
    manifest = run(home, order(home, says(said), output_artifacts=["model"]))
    assert path_of(manifest.artifacts["model"][0].uri).read_text() == "big"
    assert (tmp_path / "big").exists()


def test_nothing_is_written_outside_of_the_tasks_own_place(home: Path, tmp_path: Path) -> None:
    target = tmp_path / "victim"
    said: Json = {"artifacts": {"model": {"artifacts": [{"uri": str(target), "custom_path": "mine.txt"}]}}}
    manifest = run(home, order(home, says(said, "echo mine > mine.txt"), output_artifacts=["model"]))
    assert manifest.outcome is Outcome.SUCCEEDED
    assert not target.exists()


def test_a_link_in_the_place_of_an_artifact_becomes_its_content(home: Path) -> None:
    text = 'echo real > real.txt; ln -s "$PWD/real.txt" "$0"'
    manifest = run(home, order(home, script(text, MODEL), output_artifacts=["model"]))
    place = path_of(manifest.artifacts["model"][0].uri)
    assert place.read_text() == "real\n"
    assert not place.is_symlink()


def test_an_artifact_with_a_link_to_the_outside_fails_the_task(home: Path) -> None:
    text = 'mkdir -p "$0"; ln -s /etc/passwd "$0/x"'
    manifest = run(home, order(home, script(text, MODEL), output_artifacts=["model"]))
    assert (manifest.outcome, manifest.reason) == (Outcome.FAILED, Reason.OUTPUT)
    assert manifest.error.startswith("output artifact 'model' cannot be stored: the link 'x' in the artifact")


def test_a_failed_task_leaves_nothing_among_the_artifacts(home: Path) -> None:
    manifest = run(home, order(home, script('echo half > "$0"; exit 1', MODEL), output_artifacts=["model"]))
    assert manifest.artifacts == {}
    assert not (home / "artifacts" / "pipeline" / RUN / "train" / "attempt-1").exists()


def test_a_full_disk_while_outputs_are_kept_is_one_sentence(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(handle: int) -> None:
        raise OSError(28, os.strerror(28))

    ordered = order(home, script('echo x > "$0"', MODEL), output_artifacts=["model"])
    monkeypatch.setattr(os, "fsync", full)
    manifest = run(home, ordered)
    assert (manifest.outcome, manifest.reason) == (Outcome.FAILED, Reason.OUTPUT)
    assert "the disk is full; free some space" in manifest.error


def test_a_component_of_sdk_1_8_is_told_its_parameters_in_the_older_way(home: Path) -> None:
    given: dict[str, Json] = {"text": "[1]", "whole": 3, "real": 2, "status": {"state": "COMPLETE"}}
    declared = dict.fromkeys(given, STRING) | {
        "whole": ParameterType.NUMBER_INTEGER,
        "real": ParameterType.NUMBER_DOUBLE,
        "status": ParameterType.TASK_FINAL_STATUS,
    }
    task = order(home, container(), inputs=given, parameters=declared)
    places = Places(home, {}, {}, {})
    old = ContainerExecutor("python:3.7", ("python3", "-m", "kfp.v2.components.executor_main"))
    told = executor_input(replace(task, executor=old), places)["inputs"]
    assert isinstance(told, dict)
    assert told["parameters"] == {
        "text": {"stringValue": "[1]"},
        "whole": {"intValue": "3"},
        "real": {"doubleValue": 2},
        "status": {"stringValue": '{"state":"COMPLETE"}'},
    }
    assert executor_input(task, places)["inputs"] == {"parameterValues": given, "artifacts": {}}


def test_the_executor_output_of_sdk_1_8_has_texts_and_numbers(home: Path) -> None:
    said = {
        "t": {"stringValue": ""},
        "i": {"intValue": 3},
        "d": {"doubleValue": 2.5},
        "b": {"stringValue": "1"},
    }
    outputs = {
        "t": STRING,
        "i": ParameterType.NUMBER_INTEGER,
        "d": ParameterType.NUMBER_DOUBLE,
        "b": ParameterType.BOOLEAN,
    }
    executor = says({"parameters": said})
    manifest = run(home, order(home, executor, outputs=outputs, output_artifacts=["model"]))
    assert manifest.parameters == {"t": "", "i": 3, "d": 2.5, "b": True}


def test_names_that_are_no_file_names_are_places_all_the_same(home: Path) -> None:
    name = "a/b ü"
    executor = script('echo 1 > "$0"', f"{{{{$.outputs.parameters['{name}'].output_file}}}}")
    assert run(home, order(home, executor, outputs={name: STRING})).parameters == {name: "1\n"}
