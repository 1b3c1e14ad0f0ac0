"""As kfp 1.8 compiles with kfp.v2: PipelineJob JSON, schema 2.0.0, legacy types and constants."""

from typing import NamedTuple

import kfp.components as components
from kfp.v2 import compiler, dsl
from kfp.v2.dsl import (
    Dataset,
    Input,
    InputPath,
    Metrics,
    Output,
    OutputPath,
    PipelineTaskFinalStatus,
    component,
)

SDK = "1.8.22"


@component
def say(x: str) -> str:
    print("said", x)
    return x


@component
def num(x: int) -> int:
    return x


@component
def join(a: str, b: str) -> str:
    return a + "|" + b


@component
def seen(
    a: str = "d", b: int = 3, c: float = 1.5, d: bool = True, e: list = [1, "x"], f: dict = {"k": [1]}
) -> str:
    return repr((a, b, c, d, e, f))


@component
def several(n: int) -> NamedTuple("Outputs", [("b", bool), ("d", dict), ("l", list), ("s", str)]):
    from collections import namedtuple

    return namedtuple("Outputs", ["b", "d", "l", "s"])(n > 1, {"n": n}, [n], "x" * n)


@component
def make(text: str, out: Output[Dataset], measured: Output[Metrics]):
    with open(out.path, "w") as file:
        file.write(text)
    out.metadata["length"] = len(text)
    measured.log_metric("accuracy", 0.5)


@component
def read(data: Input[Dataset]) -> str:
    return open(data.path).read() + str(data.metadata)


@component
def paths(t: str, a: OutputPath(str), b: OutputPath("Dataset"), c: OutputPath(int)):
    for path, value in ((a, t), (b, "data"), (c, "7")):
        with open(path, "w") as file:
            file.write(value)


@component
def from_paths(d: InputPath("Dataset"), s: str, i: int) -> str:
    return repr((open(d).read(), s, i))


def plain(a: str, b: int = 3) -> NamedTuple("Outputs", [("s", str), ("n", int)]):
    return (a * b, b + 1)


from_function = components.create_component_from_func(plain)


@dsl.pipeline(name="values", pipeline_root="gs://bucket/root", description="Every kind of value.")
def values(a: str = "z", b: int = 5, c: float = 2.0, d: bool = False, e: list = ["q"], f: dict = {"w": 1}):
    seen()
    seen(a, b, c, d, e, f)
    out = several(2)
    join(out.outputs["s"], f"{out.outputs['s']}-{out.outputs['b']}-{a}")
    read(make("hi").outputs["out"])
    found = paths(t="q")
    from_paths(d=found.outputs["b"], s=found.outputs["a"], i=found.outputs["c"])
    made = from_function("k")
    num(made.outputs["n"])
    say(made.outputs["s"])


@component
def rows() -> str:
    import json

    return json.dumps([{"a": "x", "b": "y"}, {"a": "p", "b": "q"}])


@component
def status(given: PipelineTaskFinalStatus) -> str:
    return given.state + " " + given.pipeline_task_name


@component
def fails(x: str) -> str:
    raise ValueError("no luck " + x)


@dsl.pipeline(name="control-flow")
def control_flow(texts: list = ["1", "2"], n: int = 3, word: str = "a"):
    with dsl.ParallelFor([{"a": "x", "b": "y"}]) as row:
        join(row.a, row.b)
    with dsl.ParallelFor(rows().output) as row:
        join(row.a, row.b)
    with dsl.ParallelFor(texts) as text:
        with dsl.Condition(text == "1"):
            say(text)
    x = num(3)
    with dsl.Condition(x.output == n):
        say("equal")
        with dsl.Condition(word != "a"):
            say("never")
    say("last").after(x)


@dsl.pipeline(name="exits")
def exits():
    with dsl.ExitHandler(status(), name="my exit"):
        say(fails("1").output)


def compile_to(folder: str):
    for pipeline in (values, control_flow, exits):
        name = pipeline.__name__.replace("_", "-")
        compiler.Compiler().compile(pipeline_func=pipeline, package_path=f"{folder}/sdk18--{name}.json")
