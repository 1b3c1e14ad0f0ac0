"""If, Elif, Else and OneOf: on every type, between channels, nested, and what leaves them."""

from typing import NamedTuple

from kfp import dsl
from kfp.dsl import Dataset
from parts import echo, join, make, num, read, say


@dsl.component
def real(x: float) -> float:
    return x


@dsl.component
def truth(x: bool) -> bool:
    return x


@dsl.pipeline
def on_integers(limit: int = 5):
    n = num(x=5).output
    with dsl.If(n == 5):
        echo(x="runs")
    with dsl.If(n > 5):
        echo(x="does not")
    with dsl.If(n <= limit):
        echo(x="runs")
    with dsl.If(limit >= 4):
        echo(x="runs")
    with dsl.If(limit != n):
        echo(x="does not")
    with dsl.If(3 < n):
        echo(x="runs")


@dsl.pipeline
def on_numbers(limit: float = 2.5):
    x = real(x=2.5).output
    with dsl.If(x == limit):
        echo(x="runs")
    with dsl.If(x > 2.75):
        echo(x="does not")
    with dsl.If(limit < 10.0):
        echo(x="runs")
    with dsl.If(x > 2):
        echo(x="runs")


@dsl.pipeline
def on_booleans(flag: bool = True):
    x = truth(x=False).output
    with dsl.If(x == False):  # noqa: E712
        echo(x="runs")
    with dsl.If(flag == False):  # noqa: E712
        echo(x="does not")
    with dsl.If(flag == x):
        echo(x="does not")
    with dsl.If(flag != x):
        echo(x="runs")


@dsl.pipeline
def on_texts(word: str = "abc"):
    x = say(x="abc").output
    with dsl.If(x == "abc"):
        echo(x="runs")
    with dsl.If(word != "abc"):
        echo(x="does not")
    with dsl.If(word == x):
        echo(x="runs")
    with dsl.If(word > "b"):
        echo(x="does not")
    with dsl.If(x == 'é "q" {{$}}'):
        echo(x="does not")
    with dsl.If(x == ""):
        echo(x="does not")


@dsl.pipeline
def nested(a: int = 1, b: str = "x"):
    with dsl.If(a == 1):
        inner = num(x=7)
        with dsl.If(b == "x"):
            with dsl.If(inner.output > a):
                echo(x="deep")
            with dsl.If(inner.output == a):
                echo(x="no")
        with dsl.If(b != "x"):
            echo(x="no")
    with dsl.Else():
        with dsl.If(b == "x"):
            echo(x="no")


@dsl.pipeline
def elif_chain(n: int = 3) -> str:
    with dsl.If(n == 1):
        a = say(x="one")
    with dsl.Elif(n == 2):
        b = say(x="two")
    with dsl.Elif(n == 3):
        c = say(x="three")
    with dsl.Elif(n > 2):
        d = say(x="many")
    with dsl.Else():
        e = say(x="none")
    return dsl.OneOf(a.output, b.output, c.output, d.output, e.output)


@dsl.pipeline
def choice(n: int) -> str:
    with dsl.If(n == 1):
        a = say(x="if")
    with dsl.Else():
        b = say(x="else")
    return dsl.OneOf(a.output, b.output)


@dsl.pipeline
def one_of_out_of_pipelines() -> str:
    return join(a=choice(n=1).output, b=choice(n=2).output).output


@dsl.pipeline
def one_of_artifacts(n: int = 2) -> NamedTuple("Outputs", data=Dataset, text=str):
    with dsl.If(n == 1):
        a = make(text="if")
    with dsl.Else():
        b = make(text="else")
    data = dsl.OneOf(a.outputs["out"], b.outputs["out"])
    outputs = NamedTuple("Outputs", data=Dataset, text=str)
    return outputs(data, read(data=data).output)


@dsl.pipeline
def one_of_nested(a: int = 2, b: int = 1) -> str:
    with dsl.If(a == 1):
        outer = say(x="outer")
    with dsl.Else():
        with dsl.If(b == 1):
            x = say(x="inner if")
        with dsl.Else():
            y = say(x="inner else")
        inner = say(x=dsl.OneOf(x.output, y.output))
    return say(x=dsl.OneOf(outer.output, inner.output)).output


@dsl.pipeline
def measured(x: float) -> NamedTuple("Outputs", good=bool, score=float):
    score = real(x=x)
    good = truth(x=True)
    outputs = NamedTuple("Outputs", good=bool, score=float)
    return outputs(good.output, score.output)


@dsl.pipeline
def on_outputs_of_pipelines():
    found = measured(x=0.75)
    with dsl.If(found.outputs["score"] >= 0.5):
        with dsl.If(found.outputs["good"] == True):  # noqa: E712
            echo(x="good")
    with dsl.Else():
        echo(x="bad")


@dsl.pipeline
def cleanup(why: str):
    echo(x=why)


@dsl.pipeline
def pipelines_in_branches(flag: bool = False):
    with dsl.If(flag == True):  # noqa: E712
        cleanup(why="yes")
    with dsl.Else():
        cleanup(why="no")


PIPELINES = [
    on_integers,
    on_numbers,
    on_booleans,
    on_texts,
    nested,
    elif_chain,
    one_of_out_of_pipelines,
    one_of_artifacts,
    one_of_nested,
    on_outputs_of_pipelines,
    pipelines_in_branches,
]
