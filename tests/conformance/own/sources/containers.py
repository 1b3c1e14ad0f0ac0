"""Container components: every placeholder, in every place; v1 component YAML; components compiled alone."""

from typing import List, Optional

from kfp import components, dsl
from kfp.dsl import Dataset, Input, Model, Output
from parts import join, make, say

WRITE = 'mkdir -p "$(dirname "$0")"; printf %s "$*" > "$0"'


@dsl.container_component
def words(
    text: str,
    whole: int,
    real: float,
    flag: bool,
    many: List[int],
    struct: dict,
    out: dsl.OutputPath(str),
):
    return dsl.ContainerSpec(
        image="python:3.11-slim",
        command=[
            "python3",
            "-c",
            "import sys, os; os.makedirs(os.path.dirname(sys.argv[1]), exist_ok=True); open(sys.argv[1], 'w').write(repr(sys.argv[2:]))",
            out,
        ],
        args=[text, whole, real, flag, many, struct, f"--text={text}:{whole}"],
    )


@dsl.pipeline
def every_type_as_word(text: str = "it's $HOME") -> str:
    return words(
        text=text, whole=-3, real=2.50, flag=True, many=[1, 2], struct={"b": "<é>", "a": [1.5]}
    ).outputs["out"]


@dsl.container_component
def concat(first: str, n: int, out: dsl.OutputPath(str), given: Optional[str] = None, default: str = "d"):
    return dsl.ContainerSpec(
        image="alpine",
        command=["sh", "-c", WRITE, out],
        args=[
            dsl.ConcatPlaceholder(["--a=", first, "-", n]),
            dsl.IfPresentPlaceholder(input_name="given", then=["--given", given], else_=["--none"]),
            dsl.IfPresentPlaceholder(input_name="default", then=dsl.ConcatPlaceholder(["default=", default])),
            dsl.ConcatPlaceholder(
                ["<", dsl.IfPresentPlaceholder(input_name="given", then=given, else_="nothing"), ">"]
            ),
        ],
    )


@dsl.pipeline
def concat_and_if_present(first: str = "q\"'") -> str:
    return join(
        a=concat(first=first, n=3).outputs["out"],
        b=concat(first=first, n=4, given="z", default="y").outputs["out"],
    ).output


@dsl.container_component
def convert(
    data: Input[Dataset],
    model: Output[Model],
    size: dsl.OutputPath(int),
    note: dsl.OutputPath(str),
    sizes: dsl.OutputPath(list),
):
    return dsl.ContainerSpec(
        image="alpine:3.20",
        command=[
            "sh",
            "-ec",
            """
            mkdir -p "$(dirname "$1")" "$(dirname "$2")" "$(dirname "$3")" "$(dirname "$4")"
            cat "$0" > "$1"; wc -c < "$0" > "$2"; printf 'two\nlines' > "$3"; printf '[1, {"a": null}]' > "$4"
            """,
        ],
        args=[data.path, model.path, size, note, sizes],
    )


@dsl.component
def summary(model: Input[Model], size: int, note: str, sizes: list) -> str:
    return repr((open(model.path).read(), size, note, sizes))


@dsl.pipeline
def several_outputs() -> str:
    out = convert(data=make(text="abc").outputs["out"]).outputs
    return summary(model=out["model"], size=out["size"], note=out["note"], sizes=out["sizes"]).output


@dsl.container_component
def tell_all(data: Input[Dataset], x: str, model: Output[Model]):
    return dsl.ContainerSpec(
        image="alpine",
        command=["sh", "-c", 'for one in "$@"; do echo "word: $one"; done', "sh"],
        args=[
            f"uri in {data.uri}.",
            f"path in {data.path}.",
            f"name {data.name}" if hasattr(data, "name") and isinstance(data.name, str) else "no name",
            f"uri out {model.uri}.",
            f"{x}{x}",
            "{{$.pipeline_task_name}}",
            "{{$}}",
        ],
    )


@dsl.pipeline
def placeholders_inside_words():
    tell_all(data=make(text="abc").outputs["out"], x="twice")


@dsl.container_component
def only_command():
    return dsl.ContainerSpec(image="alpine", command=["echo", "hello"])


@dsl.container_component
def only_arguments(x: str):
    return dsl.ContainerSpec(image="busybox", args=["echo", "hello", x])


@dsl.container_component
def bash_script(x: str):
    return dsl.ContainerSpec(
        image="registry.example.com:5000/team/bash@sha256:" + "0" * 64,
        command=["bash", "-exc", 'a=("$0" 2); [[ ${#a[@]} == 2 ]] && echo "got ${a[0]}"', x],
    )


@dsl.pipeline
def commands_of_all_kinds():
    only_command()
    only_arguments(x="there")
    bash_script(x="é x")


@dsl.container_component
def environment(x: str):
    return dsl.ContainerSpec(image="alpine", command=["sh", "-c", 'echo "<$A> <$B> <$C> $0"', x])


@dsl.pipeline
def environment_variables():
    task = environment(x="x")
    task.set_env_variable("A", "a b").set_env_variable("B", "first").set_env_variable("B", "last")
    task.set_env_variable("C", "")


V1 = """
name: V1 Component
description: Says what it got.
inputs:
- {name: Text In, type: String, default: 'dft'}
- {name: Data, type: Dataset, optional: true}
- {name: n, type: Integer, default: '7'}
- {name: f, type: Float, optional: true}
- {name: flag, type: Boolean, default: 'False'}
- {name: l, type: JsonArray, default: '[1, 2]'}
- {name: d, type: JsonObject, default: '{"a": 1}'}
- {name: untyped, optional: true}
outputs:
- {name: Out Text, type: String}
implementation:
  container:
    image: alpine
    command: [sh, -ec, 'mkdir -p "$(dirname "$0")"; printf %s "$*" > "$0"', {outputPath: Out Text}]
    args:
    - {inputValue: Text In}
    - if:
        cond: {isPresent: Data}
        then: [--data, {inputPath: Data}]
        else: [--no-data]
    - if:
        cond: {isPresent: f}
        then: ['--f', {inputValue: f}]
    - concat: ['n=', {inputValue: n}]
    - {inputValue: flag}
    - {inputValue: l}
    - {inputValue: d}
"""
v1 = components.load_component_from_text(V1)


@dsl.pipeline
def v1_values() -> str:
    return join(
        a=v1().outputs["out_text"],
        b=v1(text_in="hey", f=1.5, n=8, flag=True, l=[3], d={"b": 2}).outputs["out_text"],
    ).output


V1_MAKE = """
name: Make raw
inputs:
- {name: t, type: String}
outputs:
- {name: raw}
implementation:
  container:
    image: alpine
    command: [sh, -ec, 'mkdir -p "$(dirname "$1")"; printf %s "$0" > "$1"', {inputValue: t}, {outputPath: raw}]
"""
V1_JOIN = """
name: Join files
inputs:
- {name: data, type: Dataset}
- {name: raw}
outputs:
- {name: out, type: String}
implementation:
  container:
    image: alpine
    command: [sh, -ec, 'mkdir -p "$(dirname "$2")"; cat "$0" "$1" > "$2"', {inputPath: data}, {inputPath: raw}, {outputPath: out}]
"""
v1_make = components.load_component_from_text(V1_MAKE)
v1_join = components.load_component_from_text(V1_JOIN)


@dsl.pipeline
def v1_paths() -> str:
    raw = v1_make(t="raw!").outputs["raw"]
    return say(x=v1_join(data=make(text="d:").outputs["out"], raw=raw).outputs["out"]).output


@dsl.container_component
def alone(text: str, n: int, out: dsl.OutputPath(str), data: Output[Dataset]):
    """A component that is compiled by itself."""
    return dsl.ContainerSpec(
        image="alpine",
        command=[
            "sh",
            "-ec",
            'mkdir -p "$(dirname "$0")" "$(dirname "$1")"; printf %s "$2" | tee "$0" > "$1"',
        ],
        args=[out, data.path, f"{text}-{n}"],
    )


PIPELINES = [
    every_type_as_word,
    concat_and_if_present,
    several_outputs,
    placeholders_inside_words,
    commands_of_all_kinds,
    environment_variables,
    v1_values,
    v1_paths,
    alone,
]
