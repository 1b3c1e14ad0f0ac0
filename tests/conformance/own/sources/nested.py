"""Pipelines in pipelines, run fields, importers, caching."""

from typing import List, NamedTuple, Optional

from kfp import compiler, components, dsl
from kfp.dsl import Artifact, Dataset, Input, Model
from parts import echo, join, make, num, read, say


@dsl.pipeline
def deepest(text: str = "x") -> NamedTuple("Outputs", data=Dataset, text=str):
    data = make(text=text).outputs["out"]
    outputs = NamedTuple("Outputs", data=Dataset, text=str)
    return outputs(data, read(data=data).output)


@dsl.pipeline
def middle(text: str) -> NamedTuple("Outputs", data=Dataset, text=str):
    found = deepest(text=text)
    outputs = NamedTuple("Outputs", data=Dataset, text=str)
    return outputs(found.outputs["data"], found.outputs["text"])


@dsl.pipeline
def three_deep(text: str = "deep") -> NamedTuple("Outputs", data=Dataset, text=str):
    found = middle(text=text)
    outputs = NamedTuple("Outputs", data=Dataset, text=str)
    return outputs(found.outputs["data"], found.outputs["text"])


def loaded_again():
    """The pipeline as another one reads it back from its YAML."""
    import os
    import tempfile

    path = os.path.join(tempfile.mkdtemp(), "middle.yaml")
    compiler.Compiler().compile(middle, path)
    return components.load_component_from_file(path)


loaded_middle = loaded_again()
loaded_say = components.load_component_from_text(
    """
pipelineInfo: {name: spoken}
schemaVersion: 2.1.0
sdkVersion: kfp-2.17.0
components:
  comp-spoken:
    executorLabel: exec-spoken
    inputDefinitions: {parameters: {x: {parameterType: STRING, defaultValue: y, isOptional: true}}}
    outputDefinitions: {parameters: {out: {parameterType: STRING}}}
deploymentSpec:
  executors:
    exec-spoken:
      container:
        image: alpine
        command: [sh, -c, 'mkdir -p "$(dirname "$0")"; printf %s "$1" > "$0"']
        args: ["{{$.outputs.parameters['out'].output_file}}", "{{$.inputs.parameters['x']}}"]
root:
  dag:
    outputs: {parameters: {out: {valueFromParameter: {outputParameterKey: out, producerSubtask: spoken}}}}
    tasks:
      spoken:
        cachingOptions: {enableCache: true}
        componentRef: {name: comp-spoken}
        inputs: {parameters: {x: {componentInputParameter: x}}}
        taskInfo: {name: spoken}
  inputDefinitions: {parameters: {x: {parameterType: STRING, defaultValue: y, isOptional: true}}}
  outputDefinitions: {parameters: {out: {parameterType: STRING}}}
"""
)


@dsl.pipeline
def loaded_from_yaml() -> str:
    a = join(a=deepest().outputs["text"], b=loaded_middle(text="file").outputs["text"])
    b = join(a=loaded_say().outputs["out"], b=loaded_say(x="given").outputs["out"])
    return join(a=a.output, b=b.output).output


@dsl.component
def total(a: int, b: int) -> int:
    return a + b


@dsl.pipeline
def defaults(a: int = 1, b: Optional[int] = 10, many: List[int] = [5]) -> NamedTuple(
    "Outputs", sum=int, each=List[int]
):
    with dsl.ParallelFor(many) as item:
        n = total(a=item, b=a)
    outputs = NamedTuple("Outputs", sum=int, each=List[int])
    return outputs(total(a=a, b=b).output, dsl.Collected(n.output))


@dsl.pipeline
def defaults_of_pipelines(a: int = 2) -> NamedTuple("Outputs", first=int, second=int, each=List[int]):
    first = defaults()
    second = defaults(a=a, b=num(x=20).output, many=[1, 2])
    outputs = NamedTuple("Outputs", first=int, second=int, each=List[int])
    return outputs(first.outputs["sum"], second.outputs["sum"], second.outputs["each"])


@dsl.pipeline
def order():
    a = echo(x="a")
    b = echo(x="b").after(a)
    inner = deepest(text="c").after(a, b)
    echo(x="d").after(inner)
    with dsl.ParallelFor(["e"]) as item:
        echo(x=item).after(inner)
    with dsl.If(inner.outputs["text"] == "c"):
        echo(x="f").after(b)


@dsl.pipeline
def run_fields() -> str:
    told = join(a=dsl.PIPELINE_JOB_NAME_PLACEHOLDER, b=dsl.PIPELINE_JOB_RESOURCE_NAME_PLACEHOLDER)
    told.set_display_name("Näme")
    join(
        a=dsl.PIPELINE_JOB_ID_PLACEHOLDER,
        b=f"{dsl.PIPELINE_JOB_CREATE_TIME_UTC_PLACEHOLDER} {dsl.PIPELINE_JOB_SCHEDULE_TIME_UTC_PLACEHOLDER}",
    )
    join(a=dsl.PIPELINE_TASK_ID_PLACEHOLDER, b=f"{dsl.PIPELINE_ROOT_PLACEHOLDER}/x")
    return join(a=dsl.PIPELINE_TASK_NAME_PLACEHOLDER, b=f"{dsl.PIPELINE_TASK_NAME_PLACEHOLDER}!").output


@dsl.container_component
def fields_in_words():
    return dsl.ContainerSpec(
        image="alpine",
        command=["echo", f"<{dsl.PIPELINE_TASK_NAME_PLACEHOLDER}>", f"<{dsl.PIPELINE_JOB_ID_PLACEHOLDER}>"],
        args=[
            dsl.PIPELINE_JOB_RESOURCE_NAME_PLACEHOLDER,
            f"{dsl.PIPELINE_TASK_EXECUTOR_OUTPUT_PATH_PLACEHOLDER}",
        ],
    )


@dsl.pipeline
def run_fields_in_containers():
    fields_in_words()


@dsl.component
def look(data: Input[Artifact]) -> str:
    found = dict(sorted(data.metadata.items()))
    return f"{type(data).__name__} {found}"


@dsl.component
def content(data: Input[Dataset]) -> str:
    return f"{open(data.path).read()} {dict(sorted(data.metadata.items()))}"


@dsl.pipeline
def importers(file: str, word: str = "p"):
    n = num(x=3)
    with_metadata = dsl.importer(
        artifact_uri=file,
        artifact_class=Dataset,
        reimport=False,
        metadata={"a": "b", "n": 1, f"k-{word}": f"v-{n.output}", "deep": {"x": [1, 2]}},
    )
    content(data=with_metadata.output)
    content(data=dsl.importer(artifact_uri=say(x=file).output, artifact_class=Dataset, reimport=True).output)
    look(data=dsl.importer(artifact_uri="gs://bucket/x", artifact_class=Model, metadata={"m": True}).output)


@dsl.pipeline
def importers_in_control_flow(files: List[str]) -> List[str]:
    with dsl.ParallelFor(files) as file:
        with dsl.If(file != ""):
            found = read(data=dsl.importer(artifact_uri=file, artifact_class=Dataset).output)
    return dsl.Collected(found.output)


@dsl.component
def stamp(x: str) -> str:
    import uuid

    return f"{x} {uuid.uuid4()}"


@dsl.pipeline
def caching(text: str = "t"):
    stamp(x=text)
    stamp(x="never").set_caching_options(False)
    stamp(x="key").set_caching_options(True, cache_key="my-key")
    deepest(text=text)
    with dsl.ParallelFor(["a", "b"]) as item:
        stamp(x=item)


PIPELINES = [
    three_deep,
    loaded_from_yaml,
    defaults_of_pipelines,
    order,
    run_fields,
    run_fields_in_containers,
    importers,
    importers_in_control_flow,
    caching,
]
