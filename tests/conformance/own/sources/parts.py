"""Small components that several of the pipelines are made of."""

from typing import List

from kfp import dsl
from kfp.dsl import Dataset, Input, Output


@dsl.component
def say(x: str) -> str:
    print("said", x)
    return x


@dsl.component
def num(x: int) -> int:
    return x


@dsl.component
def join(a: str, b: str) -> str:
    return a + "|" + b


@dsl.component
def show(xs: list) -> str:
    import json

    return json.dumps(xs)


@dsl.component
def fail(x: str = "") -> str:
    raise ValueError("no luck " + x)


@dsl.component
def make(text: str, out: Output[Dataset]):
    with open(out.path, "w") as file:
        file.write(text)
    out.metadata["length"] = len(text)


@dsl.component
def read(data: Input[Dataset]) -> str:
    return open(data.path).read()


@dsl.component
def read_all(many: Input[List[Dataset]]) -> str:
    # The SDK hands an empty list of artifacts to the function as None.
    return ",".join(open(one.path).read() for one in many or [])


@dsl.container_component
def echo(x: str):
    """For what is only to run or not: small, and without Python."""
    return dsl.ContainerSpec(image="alpine", command=["echo", x])
