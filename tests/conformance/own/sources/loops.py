"""ParallelFor over every source of items, nested, limited, empty; Collected in every direction."""

from typing import Dict, List, NamedTuple

from kfp import dsl
from kfp.dsl import Dataset, Input
from parts import echo, join, make, num, read, read_all, say, show


@dsl.component
def rows() -> List[Dict[str, str]]:
    return [{"a": "x", "b": "y"}, {"a": "p", "b": "q"}]


@dsl.component
def lists() -> List[List[str]]:
    return [["a"], [], ["b", "c"]]


@dsl.component
def total(many: List[int]) -> int:
    return sum(many)


@dsl.pipeline
def over_constants() -> int:
    with dsl.ParallelFor([3, 5, 6], parallelism=2) as item:
        n = num(x=item)
    return total(many=dsl.Collected(n.output)).output


@dsl.pipeline
def over_parameters(
    texts: List[str] = ["a", "b"], table: List[Dict[str, str]] = [{"k": "u"}, {"k": "v"}]
) -> str:
    with dsl.ParallelFor(texts) as text:
        x = say(x=text)
    with dsl.ParallelFor(table, parallelism=1) as row:
        y = say(x=row.k)
    return join(a=show(xs=dsl.Collected(x.output)).output, b=show(xs=dsl.Collected(y.output)).output).output


@dsl.pipeline
def over_outputs() -> str:
    with dsl.ParallelFor(rows().output) as row:
        x = join(a=row.a, b=f"{row.b}!")
    return show(xs=dsl.Collected(x.output)).output


@dsl.pipeline
def over_plain_lists(items: list = [1, 2], table: list = [{"n": 1, "s": "a"}, {"n": 2, "s": "b"}]) -> str:
    with dsl.ParallelFor(items) as item:
        x = num(x=item)
    with dsl.ParallelFor(table) as row:
        with dsl.If(row.s == "b"):
            num(x=row.n)
    return show(xs=dsl.Collected(x.output)).output


@dsl.pipeline
def over_structs_of_mixed_types():
    with dsl.ParallelFor([{"n": 1, "s": "a", "l": [1]}, {"n": 2, "s": "b", "l": []}]) as row:
        num(x=row.n)
        with dsl.If(row.n > 1):
            say(x=f"{row.s} {row.l}")


@dsl.pipeline
def nested_product() -> str:
    with dsl.ParallelFor(["a", "b"]) as x:
        with dsl.ParallelFor([1, 2]) as y:
            z = say(x=f"{x}{y}")
    return show(xs=dsl.Collected(z.output)).output


@dsl.pipeline
def nested_over_items() -> str:
    with dsl.ParallelFor(lists().output) as inner:
        with dsl.ParallelFor(inner) as text:
            x = say(x=text)
    return show(xs=dsl.Collected(x.output)).output


@dsl.pipeline
def nothing_to_do(texts: List[str] = []) -> str:
    with dsl.ParallelFor(texts) as text:
        x = say(x=text)
        m = make(text=text)
    read_all(many=dsl.Collected(m.outputs["out"]))
    return show(xs=dsl.Collected(x.output)).output


@dsl.pipeline
def conditions_inside(limit: int = 2) -> str:
    with dsl.ParallelFor([1, 2, 3]) as n:
        with dsl.If(n >= limit):
            x = num(x=n)
    return show(xs=dsl.Collected(x.output)).output


@dsl.pipeline
def branches_inside() -> str:
    with dsl.ParallelFor(["a", "b"]) as text:
        with dsl.If(text == "a"):
            x = say(x="first")
        with dsl.Else():
            y = say(x="other")
        z = join(a=text, b=dsl.OneOf(x.output, y.output))
    return show(xs=dsl.Collected(z.output)).output


@dsl.pipeline
def inside_conditions(many: bool = True, texts: List[str] = ["a", "b"]) -> str:
    with dsl.If(many == True):  # noqa: E712
        with dsl.ParallelFor(texts) as text:
            x = say(x=text)
        several = show(xs=dsl.Collected(x.output))
    with dsl.Else():
        one = say(x="one")
    return dsl.OneOf(several.output, one.output)


@dsl.pipeline
def collected_artifacts() -> str:
    with dsl.ParallelFor(["a", "b"]) as x:
        with dsl.ParallelFor(["1", "2"]) as y:
            m = make(text=f"{x}{y}")
    return read_all(many=dsl.Collected(m.outputs["out"])).output


@dsl.pipeline
def consume(numbers: List[int], many: Input[List[Dataset]]) -> NamedTuple("Outputs", sum=int, text=str):
    outputs = NamedTuple("Outputs", sum=int, text=str)
    return outputs(total(many=numbers).output, read_all(many=many).output)


@dsl.pipeline
def collected_into_pipelines() -> NamedTuple("Outputs", sum=int, text=str):
    with dsl.ParallelFor([1, 2]) as item:
        n = num(x=item)
        m = make(text=f"<{item}>")
    found = consume(numbers=dsl.Collected(n.output), many=dsl.Collected(m.outputs["out"]))
    outputs = NamedTuple("Outputs", sum=int, text=str)
    return outputs(found.outputs["sum"], found.outputs["text"])


@dsl.pipeline
def produce(texts: List[str]) -> NamedTuple("Outputs", texts=List[str], many=List[Dataset]):
    with dsl.ParallelFor(texts) as text:
        x = say(x=text)
        m = make(text=text)
    outputs = NamedTuple("Outputs", texts=List[str], many=List[Dataset])
    return outputs(dsl.Collected(x.output), dsl.Collected(m.outputs["out"]))


@dsl.pipeline
def collected_out_of_pipelines(texts: List[str] = ["a", "b"]) -> NamedTuple(
    "Outputs", texts=List[str], read=str
):
    found = produce(texts=texts)
    outputs = NamedTuple("Outputs", texts=List[str], read=str)
    return outputs(found.outputs["texts"], read_all(many=found.outputs["many"]).output)


@dsl.pipeline
def read_each(many: Input[List[Dataset]]) -> List[str]:
    with dsl.ParallelFor(many) as one:
        x = read(data=one)
    return dsl.Collected(x.output)


@dsl.pipeline
def over_artifacts(texts: List[str] = ["a", "b"]) -> List[str]:
    return read_each(many=produce(texts=texts).outputs["many"]).output


@dsl.pipeline
def step(text: str) -> NamedTuple("Outputs", text=str, data=Dataset):
    outputs = NamedTuple("Outputs", text=str, data=Dataset)
    return outputs(say(x=text).output, make(text=text).outputs["out"])


@dsl.pipeline
def pipelines_inside() -> str:
    with dsl.ParallelFor(["a", "b"]) as text:
        found = step(text=text)
        again = read(data=found.outputs["data"])
    return join(
        a=show(xs=dsl.Collected(found.outputs["text"])).output, b=show(xs=dsl.Collected(again.output)).output
    ).output


@dsl.pipeline
def constants_in_texts(texts: List[str] = ["a"]) -> str:
    with dsl.ParallelFor(texts) as x:
        with dsl.ParallelFor(rows().output) as row:
            with dsl.If(row.a == "x"):
                y = say(x=f"{x}-{row.a}-{row.b}")
    return show(xs=dsl.Collected(y.output)).output


@dsl.pipeline
def after_loops():
    first = echo(x="before")
    with dsl.ParallelFor(["a", "b"]) as text:
        x = echo(x=text).after(first)
    echo(x="after").after(x)


PIPELINES = [
    over_plain_lists,
    over_constants,
    over_parameters,
    over_outputs,
    over_structs_of_mixed_types,
    nested_product,
    nested_over_items,
    nothing_to_do,
    conditions_inside,
    branches_inside,
    inside_conditions,
    collected_artifacts,
    collected_into_pipelines,
    collected_out_of_pipelines,
    over_artifacts,
    pipelines_inside,
    constants_in_texts,
    after_loops,
]
