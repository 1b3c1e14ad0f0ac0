"""Placeholders: every form of KFP's, one pass, and no value ever becomes a template or breaks the JSON."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import ResolutionError
from penstock.model import Json
from penstock.planner.placeholders import local_path, resolve_arguments, resolve_constant, resolve_text
from penstock.planner.templates import RUN_FIELDS, References, references
from penstock.planner.values import normalize

DATASET: dict[str, Json] = {
    "name": "42",
    "type": {"schemaTitle": "system.Dataset", "schemaVersion": "0.0.1"},
    "uri": "s3://bucket/in/data",
    "metadata": {"rows": 10, "tags": ["a", "b"], "who": 'Eve "<E>"'},
}
OTHER: dict[str, Json] = {"name": "43", "type": {}, "uri": "/local/place", "metadata": {}}
EXECUTOR_INPUT: dict[str, Json] = {
    "inputs": {
        "parameterValues": {
            "text": "it's \"<quoted>\"\nline {{$.inputs.parameters['number']}} {{$}}",
            "number": 5,
            "big": 1e21,
            "flag": True,
            "items": [1, "<", None],
            "struct": {"b": 1, "a": 2.5},
            "nothing": None,
        },
        "artifacts": {
            "data": {"artifacts": [DATASET, OTHER]},
            "web": {"artifacts": [{"name": "1", "uri": "https://x/y", "metadata": {}}]},
            "none": {"artifacts": []},
        },
    },
    "outputs": {
        "parameters": {"score": {"outputFile": "/tmp/kfp/outputs/score"}},
        "artifacts": {"model": {"artifacts": [{"name": "model", "uri": "gs://b/model", "metadata": {}}]}},
        "outputFile": "/tmp/task/output_metadata.json",
    },
}
FIELDS = {
    "pipeline_job_name": "my run",
    "pipeline_job_resource_name": "pipe-abc",
    "pipeline_job_uuid": "id-1",
    "pipeline_job_create_time_utc": "2026-01-09T12:34:56Z",
    "pipeline_job_schedule_time_utc": "2026-01-09T12:34:00Z",
    "pipeline_task_name": "train",
    "pipeline_task_uuid": "7",
    "pipeline_root": "s3://bucket/root",
}

texts = st.text(st.characters(codec="utf-8"))
nasty = st.one_of(
    texts,
    st.sampled_from(
        [
            "{{$}}",
            "{{$.inputs.parameters['y']}}",
            "{{$.pipeline_job_name}}",
            '{"Concat": ["a", "b"]}',
            '{"IfPresent": {"InputName": "x", "Then": "a"}}',
            '", "injected": "',
            "'; rm -rf / #",
            "\\",
            "\\1 \\g<0>",
            "a\nb\x00",
        ]
    ),
)


def one(template: str) -> str:
    return resolve_text(template, EXECUTOR_INPUT, FIELDS)


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{$.inputs.parameters['number']}}", "5"),
        ('{{$.inputs.parameters["number"]}}', "5"),
        ("{{$.inputs.parameters[''number'']}}", "5"),
        (r"{{$.inputs.parameters[\"number\"]}}", "5"),
        ("{{$.inputs.parameters['big']}}", "1000000000000000000000"),
        ("{{$.inputs.parameters['flag']}}", "true"),
        ("{{$.inputs.parameters['items']}}", '[1,"\\u003c",null]'),
        ("{{$.inputs.parameters['struct']}}", '{"a":2.5,"b":1}'),
        ("--n={{$.inputs.parameters['number']}},{{$.inputs.parameters['flag']}};", "--n=5,true;"),
        ("{{$.inputs.artifacts['data'].uri}}", "s3://bucket/in/data"),
        ("{{$.inputs.artifacts['data'].path}}", "/s3/bucket/in/data"),
        ("{{$.inputs.artifacts['data'].name}}", "42"),
        ("{{$.inputs.artifacts['data'][1].path}}", "/local/place"),
        ("{{$.inputs.artifacts['data'].metadata['rows']}}", "10"),
        ("{{$.inputs.artifacts['data'].metadata['who']}}", 'Eve "<E>"'),
        ("{{$.inputs.artifacts['data'].metadata['tags'][1]}}", "b"),
        (
            "{{$.inputs.artifacts['data'].metadata}}",
            '{"rows":10,"tags":["a","b"],"who":"Eve \\"\\u003cE\\u003e\\""}',
        ),
        ("{{$.inputs.artifacts['none']}}", "[]"),
        ("{{$.outputs.parameters['score'].output_file}}", "/tmp/kfp/outputs/score"),
        ("{{$.outputs.artifacts['model'].uri}}", "gs://b/model"),
        ("{{$.outputs.artifacts['model'].path}}", "/gcs/b/model"),
        ("{{$.outputs.output_file}}", "/tmp/task/output_metadata.json"),
        ("{{$.outputs.output_metadata_uri}}", "/tmp/task/output_metadata.json"),
        ("{{$.outputMetadataUri}}", "/tmp/task/output_metadata.json"),
        ("{{$.pipeline_root}}/{{$.pipeline_job_name}}", "s3://bucket/root/my run"),
        ("{{$.inputs.parameters['items'].json_escape[0]}}", '[1,"\\u003c",null]'),
        ("{{$.inputs.parameters['items'].json_escape[1]}}", '[1,\\"\\\\u003c\\",null]'),
    ],
)
def test_each_form_becomes_its_value(template: str, text: str) -> None:
    assert one(template) == text


def test_every_run_level_placeholder_is_known() -> None:
    fields = {name: f"<{name}>" for name in RUN_FIELDS}
    for name in RUN_FIELDS:
        assert resolve_text(f"a{{{{$.{name}}}}}b", {}, fields) == f"a<{name}>b"


def test_a_list_of_artifacts_is_written_as_json() -> None:
    assert json.loads(one("{{$.inputs.artifacts['data']}}")) == [DATASET, OTHER]
    assert json.loads(one("{{$.inputs.artifacts['data'][1]}}")) == OTHER


@pytest.mark.parametrize(
    "text",
    [
        "{{$.foo}}",
        "{{$.pipeline_google_cloud_project_id}}",
        "{{$.a b}}",
        "{{ $.pipeline_root }}",
        "{{$.inputs.parameters[number]}}",
        "{$}",
        "{{$",
        "${{VAR}} $(cmd) %(x)s {0} {{}}",
        "awk '{{$1=\"\"; print}}'",
    ],
)
def test_other_text_in_braces_is_left_alone(text: str) -> None:
    assert one(text) == text
    assert resolve_constant(text, {}, FIELDS) == text


@pytest.mark.parametrize(
    ("template", "sentence"),
    [
        ("{{$.inputs.parameters['absent']}}", "input 'absent' was not given and has no default"),
        ("{{$.inputs.parameters['nothing']}}", "input 'nothing' was not given"),
        ("{{$.inputs.parameters['number'].size}}", "not a placeholder that KFP defines"),
        ("{{$.inputs.artifacts['absent'].uri}}", "there is no input artifact 'absent'"),
        ("{{$.inputs.artifacts['none'].uri}}", "input 'none' holds 0 artifacts"),
        ("{{$.inputs.artifacts['data'][2].uri}}", "input 'data' holds 2 artifacts"),
        ("{{$.inputs.artifacts['data'].metadata['absent']}}", "artifact 'data' has no such metadata"),
        ("{{$.inputs.artifacts['data'].colour}}", "not a placeholder that KFP defines"),
        ("{{$.inputs.artifacts['web'].path}}", "has no local path"),
        ("{{$.outputs.parameters['absent'].output_file}}", "the component declares no such output"),
        ("{{$.outputs.parameters['score']}}", "not a placeholder that KFP defines"),
        ("{{$.outputs.artifacts['absent'].path}}", "there is no output artifact 'absent'"),
        ("{{$.workspace_path}}/x", "the pipeline has no workspace"),
        ("{{$.json_escape[9]}}", "escapes more than"),
    ],
)
def test_a_placeholder_without_a_value_is_an_error_that_names_it(template: str, sentence: str) -> None:
    with pytest.raises(ResolutionError, match=sentence) as caught:
        one(template)
    assert str(caught.value).startswith(template.removesuffix("/x"))


def test_the_executor_input_is_valid_json_whatever_the_values() -> None:
    assert json.loads(one("{{$}}")) == EXECUTOR_INPUT
    assert one("{{$.json_escape[0]}}") == one("{{$}}")
    escaped = one('{"executor_input": "{{$.json_escape[1]}}"}')
    assert json.loads(json.loads(escaped)["executor_input"]) == EXECUTOR_INPUT


def test_defaults_fill_what_was_not_given() -> None:
    defaults: dict[str, Json] = {"number": 1, "late": "by default", "null": None}
    args = ["{{$.inputs.parameters['number']}}", "{{$.inputs.parameters['late']}}", "{{$}}"]
    number, late, document = resolve_arguments(args, EXECUTOR_INPUT, FIELDS, defaults=defaults)
    assert (number, late) == ("5", "by default")
    given_values = json.loads(document)["inputs"]["parameterValues"]
    assert given_values["late"] == "by default"
    assert given_values["number"] == 5
    assert "null" not in given_values
    assert "late" not in cast("dict[str, dict[str, object]]", EXECUTOR_INPUT["inputs"])["parameterValues"]


NUMBER = "{{$.inputs.parameters['number']}}"


def concat(*items: Json) -> dict[str, Json]:
    return {"Concat": list(items)}


def if_present(name: str, then: Json, otherwise: Json = None) -> dict[str, Json]:
    branches: dict[str, Json] = {"InputName": name, "Then": then}
    return {"IfPresent": branches if otherwise is None else {**branches, "Else": otherwise}}


@pytest.mark.parametrize(
    ("struct", "expected"),
    [
        (concat(NUMBER, "+", "x", "=three"), ["5+x=three"]),
        (concat("a", concat("b", concat("c"))), ["abc"]),
        (concat(), [""]),
        (if_present("number", ["--n", NUMBER]), ["--n", "5"]),
        (if_present("number", "--yes", "--no"), ["--yes"]),
        (if_present("absent", "--yes", "--no"), ["--no"]),
        (if_present("absent", "--yes", ["--no", "really"]), ["--no", "really"]),
        (if_present("absent", ["--n", "{{$.inputs.parameters['absent']}}"]), []),
        (if_present("nothing", "x"), []),
        (if_present("data", ["{{$.inputs.artifacts['data'].uri}}"], ["none"]), ["s3://bucket/in/data"]),
        (if_present("none", "x", ["echo", "none"]), ["echo", "none"]),
        (if_present("score", "x"), ["x"]),
        (if_present("model", ["{{$.outputs.artifacts['model'].path}}"]), ["/gcs/b/model"]),
        (concat("--flag", if_present("absent", "=x"), "=foo"), ["--flag=foo"]),
        (concat("--", if_present("number", concat("f", "g"))), ["--fg"]),
        (if_present("number", ["a", concat("b", "c"), if_present("absent", "d")]), ["a", "bc"]),
    ],
)
def test_structs_become_elements(struct: dict[str, Json], expected: list[str]) -> None:
    assert resolve_arguments([json.dumps(struct)], EXECUTOR_INPUT, FIELDS) == expected
    assert resolve_arguments([struct], EXECUTOR_INPUT, FIELDS) == expected


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ('  { "Concat" : ["a"] }', "a"),
        ('{"IfPresent": 1, "Concat": 2}', '{"IfPresent": 1, "Concat": 2}'),
        ('{"a": "{{$.inputs.parameters[\'number\']}}"}', '{"a": "5"}'),
        ('a {"Concat": ["b"]}', 'a {"Concat": ["b"]}'),
    ],
)
def test_other_json_is_text(argument: str, expected: str) -> None:
    assert resolve_arguments([argument], EXECUTOR_INPUT, FIELDS) == [expected]


def test_an_argument_may_be_a_number() -> None:
    assert resolve_arguments(["echo", 7, 1.0, True], EXECUTOR_INPUT, FIELDS) == ["echo", "7", "1", "true"]


@pytest.mark.parametrize(
    "argument",
    ['{"Concat": ["a"', '{"Concat": "a"}', '{"IfPresent": {"Then": "x"}}', '{"IfPresent": {"InputName": 1}}'],
)
def test_a_broken_struct_is_an_error(argument: str) -> None:
    with pytest.raises(ResolutionError, match="Concat"):
        resolve_arguments([argument], EXECUTOR_INPUT, FIELDS)


def test_a_default_does_not_make_an_input_present() -> None:
    argument = '{"IfPresent": {"InputName": "late", "Then": "given", "Else": "not given"}}'
    assert resolve_arguments([argument], EXECUTOR_INPUT, FIELDS, defaults={"late": 1}) == ["not given"]


@given(nasty, nasty)
def test_values_arrive_unchanged_and_are_never_templates(x: str, y: str) -> None:
    executor_input: dict[str, Json] = {"inputs": {"parameterValues": {"x": x, "y": y}}}
    args = [
        "{{$.inputs.parameters['x']}}",
        "<{{$.inputs.parameters['x']}}|{{$.inputs.parameters['y']}}>",
        '{"Concat": ["{{$.inputs.parameters[\'x\']}}", "{{$.inputs.parameters[\'y\']}}"]}',
        '{"IfPresent": {"InputName": "x", "Then": ["{{$.inputs.parameters[\'x\']}}"]}}',
        "{{$}}",
        '{"x": "{{$.inputs.parameters[\'x\'].json_escape[1]}}"}',
    ]
    plain, both, joined, branch, document, escaped = resolve_arguments(args, executor_input, FIELDS)
    assert plain == x
    assert both == f"<{x}|{y}>"
    assert joined == x + y
    assert branch == x
    assert json.loads(document) == executor_input
    assert json.loads(escaped) == {"x": x}


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{$.pipeline_job_name}}", "my run"),
        ("{{$.pipeline_job_resource_name}}", "pipe-abc"),
        ("{{$.pipeline_root}}/tmp", "s3://bucket/root/tmp"),
        ("Hello {{$.inputs.parameters['pipelinechannel--name']}}", 'Hello it\'s "me"\n'),
        ("{{$.inputs.parameters['pipelinechannel--name']}}, again.", 'it\'s "me"\n, again.'),
        ("{{$.inputs.parameters['pipelinechannel--n']}}", 5),
        ("n={{$.inputs.parameters['pipelinechannel--n']}}", "n=5"),
        ("{{$.inputs.parameters['pipelinechannel--l']}}", [1, "a"]),
        ("l={{$.inputs.parameters['pipelinechannel--l']}}", 'l=[1,"a"]'),
        ("{{$.inputs.parameters['typed by a person']}}", "{{$.inputs.parameters['typed by a person']}}"),
        ("{{$}} {{$.inputs.artifacts['x'].uri}}", "{{$}} {{$.inputs.artifacts['x'].uri}}"),
        (5, 5),
        (None, None),
        (["{{$.pipeline_task_name}}", 1], ["train", 1]),
        (
            {"{{$.pipeline_task_name}}": {"b": "{{$.inputs.parameters['pipelinechannel--n']}}"}},
            {"train": {"b": "5"}},
        ),
    ],
)
def test_a_constant_is_a_template_of_the_document(template: Json, expected: Json) -> None:
    parameters: dict[str, Json] = {
        "pipelinechannel--name": 'it\'s "me"\n',
        "pipelinechannel--n": 5,
        "pipelinechannel--l": [1, "a"],
    }
    assert resolve_constant(template, parameters, FIELDS) == expected


def test_the_workspace_is_put_into_constants_of_pipelines_that_have_one() -> None:
    fields = {**FIELDS, "workspace_path": "/ws"}
    assert resolve_constant("{{$.workspace_path}}/data", {}, fields) == "/ws/data"
    with pytest.raises(ResolutionError, match="has no workspace"):
        resolve_constant("{{$.workspace_path}}/data", {}, FIELDS)


def test_a_channel_without_a_value_is_an_error() -> None:
    with pytest.raises(ResolutionError, match="nothing came through this channel"):
        resolve_constant(
            "a {{$.inputs.parameters['pipelinechannel--x']}}", {"pipelinechannel--x": None}, FIELDS
        )


@given(nasty)
def test_a_value_put_into_a_constant_is_not_looked_at_again(value: str) -> None:
    parameters: dict[str, Json] = {"pipelinechannel--x": value, "y": "no"}
    template = "[{{$.inputs.parameters['pipelinechannel--x']}}]"
    assert resolve_constant(template, parameters, FIELDS) == f"[{value}]"
    assert resolve_constant(template[1:-1], parameters, FIELDS) == value


@given(
    st.lists(
        st.sampled_from(["{{", "}}", "$", ".", "[", "]", "'", '"', "inputs", "x", " ", "\\"]), max_size=12
    )
)
def test_no_text_crashes_the_reader(parts: list[str]) -> None:
    text = "".join(parts)
    references([text])
    with suppress(ResolutionError):
        assert resolve_text(text, {}, {}) == text or "{{$}}" in text


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("gs://b/k", "/gcs/b/k"),
        ("s3://b/k", "/s3/b/k"),
        ("minio://b/k", "/minio/b/k"),
        ("oci://r/i:t", "/oci/r_i:t/models"),
        ("file:///a/b", "/a/b"),
        ("/a/b", "/a/b"),
        ("a/b", ""),
        ("https://x/y", ""),
        ("", ""),
    ],
)
def test_the_local_path_of_a_uri(uri: str, path: str) -> None:
    assert local_path(uri) == path


def test_an_artifact_kept_in_the_workspace_has_its_path_there() -> None:
    kept: dict[str, Json] = {"_kfp_workspace": True}
    assert local_path("gs://b/k", kept) == "/kfp-workspace/.artifacts/b/k"
    assert local_path("gs://b/k", kept, workspace="/ws") == "/ws/.artifacts/b/k"
    assert local_path("gs://b/k", {"_kfp_workspace": "yes"}) == "/gcs/b/k"


def test_references_name_what_a_loader_must_find() -> None:
    found = references(
        [
            "{{$}} {{$.pipeline_root}} {{$.inputs.parameters['a']}}",
            '{{$.inputs.parameters["b"].json_escape[1]}}',
            json.dumps(
                if_present(
                    "c", ["{{$.inputs.artifacts['c'].uri}}"], concat("{{$.outputs.artifacts['m'].path}}")
                )
            ),
            {"{{$.inputs.parameters['k']}}": ["{{$.outputs.parameters['o'].output_file}}"]},
            7,
        ]
    )
    assert found == References(
        input_parameters=frozenset("abk"),
        input_artifacts=frozenset("c"),
        output_parameters=frozenset("o"),
        output_artifacts=frozenset("m"),
        tested=frozenset("c"),
    )


def test_numbers_are_printed_as_the_launcher_prints_them() -> None:
    executor_input: dict[str, Json] = {"inputs": {"parameterValues": {"x": normalize(2.0), "y": 1e-7}}}
    args = ["{{$.inputs.parameters['x']}}", "{{$.inputs.parameters['y']}}", "{{$}}"]
    assert resolve_arguments(args, executor_input, FIELDS) == [
        "2",
        "0.0000001",
        '{"inputs":{"parameterValues":{"x":2,"y":1e-7}}}',
    ]
