"""From a file or a text to documents: what is read, and what is refused with which sentence."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
import yaml

from penstock.errors import InvalidPipelineError
from penstock.ir import load
from penstock.ir.yaml_stream import read_yaml
from tests.unit.ir.documents import changed, hello, refusal


def test_yaml_json_text_bytes_and_a_path_are_the_same_pipeline(tmp_path: Path) -> None:
    document = hello()
    file = tmp_path / "hello.yaml"
    file.write_text(yaml.safe_dump(document))
    pipeline = load(file)
    assert pipeline.name == "hello"
    assert load(json.dumps(document)) == pipeline
    assert load(yaml.safe_dump(document).encode()) == pipeline
    assert load(b"\xef\xbb\xbf" + json.dumps(document).encode()) == pipeline


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(
        InvalidPipelineError, match=r"^/.*/no\.yaml: there is no such file\. Check the path\.$"
    ):
        load(tmp_path / "no.yaml")


def test_a_directory(tmp_path: Path) -> None:
    with pytest.raises(InvalidPipelineError, match="is a directory"):
        load(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file(tmp_path: Path) -> None:
    file = tmp_path / "secret.yaml"
    file.write_text("a: b")
    file.chmod(0)
    with pytest.raises(InvalidPipelineError, match="cannot be read: Permission denied"):
        load(file)


def test_a_path_with_nul() -> None:
    with pytest.raises(InvalidPipelineError, match="cannot be read"):
        load(Path("a\0b"))


def test_the_source_names_the_document() -> None:
    with pytest.raises(InvalidPipelineError, match=r"^run 7: the file is empty"):
        load("", source="run 7")


@pytest.mark.parametrize("text", ["", "  \n", "---\n", "# only a comment\n", "\ufeff", "---\n---\n"])
def test_nothing_at_all(text: str) -> None:
    assert "is empty" in refusal(text)


def test_what_is_not_utf8() -> None:
    assert "is not UTF-8 text (byte 3)" in refusal(b"a: \xff\xfe")


@pytest.mark.parametrize("text", ["a: \ud800", '{"a": "\ud800"}', "\ud800"])
def test_a_text_with_a_lone_surrogate(text: str) -> None:
    assert "is not UTF-8 text" in refusal(text)


def test_a_path_given_as_a_text() -> None:
    assert "is only the name of a file: 'a/b.yaml'. A str is the document itself" in refusal("a/b.yaml")


def test_binary_data() -> None:
    assert "is not" in refusal(bytes(range(256)))


def test_what_is_not_yaml_says_line_and_column() -> None:
    assert "is not YAML (line 2, column 5): mapping values are not allowed" in refusal("a: 1\nb: c: d\n")


def test_a_default_with_line_breaks_that_the_compiler_wrote_into_its_comments() -> None:
    head = "# PIPELINE DEFINITION\n# Inputs:\n#    x: str [Default: 'a\nroot: [\n']\n"
    assert load(head + yaml.safe_dump(hello())).digest == load(json.dumps(hello())).digest
    problem = refusal(head + "components: {}\nroot: [")
    assert "line 8" in problem  # where the text ends


def test_what_is_not_json_says_line_and_column() -> None:
    assert "is not JSON (line 2, column 3): Expecting" in refusal('{"a": 1,\n  b: 2}')


@pytest.mark.parametrize(
    ("text", "what"), [("- a\n- b\n", "a list"), ("hello\n", "a text"), ("5\n", "a number")]
)
def test_what_is_no_mapping(text: str, what: str) -> None:
    assert f"is {what}, not a pipeline" in refusal(text)


def test_a_mapping_that_is_no_pipeline() -> None:
    assert "is not a compiled pipeline: it has 'name', 'steps'" in refusal("name: x\nsteps: []\n")


def test_a_larger_file_than_the_limit(tmp_path: Path) -> None:
    file = tmp_path / "large.yaml"
    file.write_text("a: " + "x" * 2000)
    with pytest.raises(InvalidPipelineError, match="is larger than the limit of 1000 bytes"):
        load(file, limit=1000)
    with pytest.raises(InvalidPipelineError, match="is larger than the limit of 1000 bytes"):
        load("ä" * 600, limit=1000)


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="no endless file here")
def test_an_endless_file() -> None:
    with pytest.raises(InvalidPipelineError, match="is larger than the limit"):
        load(Path("/dev/zero"), limit=10_000)


def test_a_key_given_twice() -> None:
    assert "line 2, column 1: the key 'a' is given twice" in refusal("a: 1\na: 2\n")
    assert "the key 'a' is given twice" in refusal('{"a": 1, "a": 2}')


@pytest.mark.parametrize(
    "text",
    [
        "a: !!python/object/apply:os.system ['true']",
        "a: !!python/name:os.system x",
        "!!python/tuple [a]",
        "a: !!binary aGVsbG8=",
        "a: !!set {x}",
        "a: !mine 5",
        "!mine {a: 1}",
    ],
)
def test_tags_beyond_json(text: str) -> None:
    assert "is not allowed: a pipeline is plain data" in refusal(text)


def test_tags_of_json() -> None:
    (value,) = read_yaml(
        "[!!str 5, !!int '5', !!float '1.5', !!bool 'true', !!null '', !!map {a: 1}, !!seq [b]]", 99
    )
    assert value == ["5", 5, 1.5, True, None, {"a": 1}, ["b"]]
    assert "is not what its tag !!int says" in refusal("a: !!int x")


def test_values_are_pyyamls_but_dates_and_times_stay_texts() -> None:
    numbers = "1, 0x10, 0o7, 010, 1_000, 1.50, 2.0, 1e3, 1.0e+3"
    text = f"[{numbers}, yes, Off, ~, null, 2024-01-31, 1:30, -.5, '5', .inf1]"
    (value,) = read_yaml(text, 10_000)
    assert value == [
        *(1, 16, "0o7", 8, 1000, 1.5, 2, "1e3", 1000, True, False, None, None),
        *("2024-01-31", "1:30", -0.5, "5", ".inf1"),
    ]
    assert [type(one) for one in value][5:7] == [float, int]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "text", ["a: .inf", "a: -.Inf", "a: .nan", '{"a": NaN}', '{"a": Infinity}', '{"a": 1e999}']
)
def test_numbers_that_no_json_carries(text: str) -> None:
    assert "number" in refusal(text)


@pytest.mark.parametrize("digits", [400, 5000])
def test_endless_digits(digits: int) -> None:
    assert "number" in refusal(f'{{"a": {"9" * digits}}}')
    refusal(f"a: {'9' * digits}")


def test_keys_that_are_no_texts() -> None:
    assert "a mapping or a list stands where a key should be" in refusal("? [a]\n: b\n")
    assert list(read_yaml("{1: a, yes: b, ~: c}", 100)) == [{"1": "a", "yes": "b", "~": "c"}]


def test_a_lone_surrogate() -> None:
    message = refusal(json.dumps(changed(hello(), "pipelineInfo/description", "x\ud800")))
    assert "a text is not valid Unicode: a lone surrogate stands after" in message


# bombs


def test_aliases_are_values() -> None:
    (value,) = read_yaml("a: &x {k: [1, 2]}\nb: *x\nc: &s text\n*s : d\n", 1000)
    assert value == {"a": {"k": [1, 2]}, "b": {"k": [1, 2]}, "c": "text", "text": "d"}


def test_merge_keys() -> None:
    (value,) = read_yaml(
        "a: &a {x: 1, y: 1}\nb: &b {y: 2, z: 2}\nc: {<<: [*a, *b], x: 0}\nd: {'<<': 1}\n", 1000
    )
    assert isinstance(value, dict)
    assert value["c"] == {"x": 0, "y": 1, "z": 2}
    assert value["d"] == {"<<": 1}
    assert "a merge key (<<) must name a mapping" in refusal("a: {<<: 5}")


def test_a_bomb_of_aliases_is_refused_without_expanding_it() -> None:
    lines = ["a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 30)]
    assert "aliases expand it beyond the limit of" in refusal("\n".join(lines))


def test_a_bomb_of_merge_keys() -> None:
    lines = ["a0: &a0 {k: lol}"]
    lines += [f"a{i}: &a{i} {{x{i}: *a{i - 1}, y{i}: *a{i - 1}, <<: *a{i - 1}}}" for i in range(1, 60)]
    assert "aliases expand it beyond the limit of" in refusal("\n".join(lines))


@pytest.mark.parametrize("text", ["a: &a [*a]", "a: &a {b: *a}", "a: *b"])
def test_an_alias_inside_what_it_names(text: str) -> None:
    message = refusal(text)
    assert "stands before or inside what it names" in message or "undefined alias" in message


@pytest.mark.parametrize("depth", [201, 5000, 100_000])
def test_deep_nesting(depth: int) -> None:
    assert "deeper than 200 levels" in refusal("[" * depth)
    assert "deeper than 200 levels" in refusal('{"a":' * depth + "1" + "}" * depth)
    assert "deeper than 200 levels" in refusal('{"a":' + "[" * depth + "]" * depth + "}")
    nested = "\n".join("  " * level + "- a:" for level in range(min(depth, 2000)))
    assert "deeper than 200 levels" in refusal(nested)


def test_deep_nesting_by_aliases() -> None:
    lines = ["a0: &a0 [x]", *(f"a{i}: &a{i} [*a{i - 1}]" for i in range(1, 5000))]
    assert "deeper than 200 levels" in refusal("\n".join(lines))


def test_200_levels_are_fine() -> None:
    assert list(read_yaml("[" * 200 + "]" * 200, 10_000))


def test_reading_works_near_the_recursion_limit_of_the_caller() -> None:
    limit = sys.getrecursionlimit()
    try:
        sys.setrecursionlimit(300)
        assert load(yaml.safe_dump(hello())).name == "hello"
    finally:
        sys.setrecursionlimit(limit)


# wrappings and look-alikes


PLATFORM = {
    "platforms": {
        "kubernetes": {"deploymentSpec": {"executors": {"exec-use": {"imagePullPolicy": "Always"}}}}
    }
}


def test_two_documents_in_either_order() -> None:
    both = yaml.safe_dump_all([hello(), PLATFORM])
    pipeline = load(both)
    assert pipeline.platform == PLATFORM
    assert pipeline.executor_platform(pipeline.components["comp-use"]) == {"imagePullPolicy": "Always"}
    assert load(yaml.safe_dump_all([PLATFORM, hello()])) == pipeline
    assert load(both + "---\n") == pipeline


def test_two_pipelines_in_one_file() -> None:
    assert "holds more than one pipeline" in refusal(yaml.safe_dump_all([hello(), hello()]))
    assert "holds more than one platform spec" in refusal(yaml.safe_dump_all([hello(), PLATFORM, PLATFORM]))


def test_a_platform_spec_alone() -> None:
    assert "holds a platform spec without its pipeline" in refusal(PLATFORM)


@pytest.mark.parametrize("names", [("pipeline_spec", "platform_spec"), ("pipelineSpec", "platformSpec")])
def test_the_form_of_the_rest_api(names: tuple[str, str]) -> None:
    pipeline = load(json.dumps(dict(zip(names, (hello(), PLATFORM), strict=True))))
    assert pipeline == load(yaml.safe_dump_all([hello(), PLATFORM]))


def test_a_pipeline_job_of_sdk_1_8_brings_arguments_as_defaults() -> None:
    runtime = {"parameters": {"name": {"stringValue": "old"}}, "gcsOutputDirectory": "gs://bucket/root"}
    pipeline = load(json.dumps({"pipelineSpec": hello(), "runtimeConfig": runtime}))
    assert pipeline.root.interface.input_parameters["name"].default == "old"
    assert pipeline.default_pipeline_root == "gs://bucket/root"
    runtime["parameterValues"] = {"name": "new"}
    job = {"pipelineSpec": hello(), "runtimeConfig": runtime, "labels": {"a": "b"}, "displayName": "x"}
    pipeline = load(json.dumps(job))
    assert pipeline.root.interface.input_parameters["name"].default == "new"
    assert [note.split()[0] for note in pipeline.notes] == ["displayName", "labels"]


def test_a_pipeline_job_with_an_unknown_argument() -> None:
    runtime = {"parameterValues": {"nom": "x"}}
    message = refusal({"pipelineSpec": hello(), "runtimeConfig": runtime})
    assert "runtimeConfig: gives the argument 'nom', which the pipeline does not have" in message


def manifest(kind: str, spec: object) -> dict[str, object]:
    return {
        "apiVersion": "pipelines.kubeflow.org/v2beta1",
        "kind": kind,
        "metadata": {"name": "x"},
        "spec": spec,
    }


def test_a_kubernetes_native_manifest() -> None:
    version = manifest(
        "PipelineVersion", {"pipelineName": "x", "pipelineSpec": hello(), "platformSpec": PLATFORM}
    )
    both = yaml.safe_dump_all([manifest("Pipeline", {"displayName": "X"}), version])
    assert load(both) == load(yaml.safe_dump(version)) == load(yaml.safe_dump_all([hello(), PLATFORM]))
    assert "is a Pipeline manifest without spec.pipelineSpec" in refusal(manifest("Pipeline", {}))


def test_a_pipeline_of_kfp_v1() -> None:
    message = refusal("apiVersion: argoproj.io/v1alpha1\nkind: Workflow\nspec: {}\n")
    assert "is an Argo Workflow: a pipeline of KFP v1, not IR" in message
    assert "Compile its source again with kfp 2" in message


@pytest.mark.parametrize(
    ("document", "what"),
    [
        ({"apiVersion": "tekton.dev/v1", "kind": "PipelineRun"}, "is a Tekton PipelineRun"),
        ({"apiVersion": "apps/v1", "kind": "Deployment"}, "is a Kubernetes manifest of kind 'Deployment'"),
        ({"name": "Add", "implementation": {"container": {}}}, "is a component, not a pipeline"),
    ],
)
def test_what_is_taken_for_a_pipeline(document: object, what: str) -> None:
    assert what in refusal(document)


@pytest.mark.parametrize("version", ["2.2.0", "1.0", 2.1, None, "3", ["2.1.0"]])
def test_unknown_schema_versions(version: object) -> None:
    message = refusal(changed(hello(), "schemaVersion", version))
    assert "schemaVersion" in message
    assert "compile" in message.lower()


@pytest.mark.parametrize("version", ["2.0.0", "2.1.0"])
def test_known_schema_versions(version: str) -> None:
    assert load(json.dumps(changed(hello(), "schemaVersion", version))).schema_version == version
