"""Parameters: every type as input, output, default, optional and constant, and values at the edges."""

from typing import Dict, List, NamedTuple, Optional

from kfp import dsl
from kfp.dsl import InputPath, OutputPath
from parts import join, say


@dsl.component
def seen(
    text: str = "d",
    whole: int = 3,
    real: float = 1.5,
    flag: bool = True,
    many: list = [1, "x"],
    struct: dict = {"k": [1, {"z": 2}]},
    maybe: Optional[str] = None,
    perhaps: Optional[List[int]] = None,
) -> str:
    return repr((text, whole, real, flag, many, struct, maybe, perhaps))


@dsl.pipeline
def component_defaults() -> str:
    return seen().output


@dsl.pipeline
def every_type(
    text: str = "é\"' {}",
    whole: int = -7,
    real: float = 2.0,
    flag: bool = False,
    many: list = [],
    struct: dict = {},
    maybe: Optional[str] = "given",
    perhaps: Optional[List[int]] = [1],
) -> str:
    return seen(
        text=text,
        whole=whole,
        real=real,
        flag=flag,
        many=many,
        struct=struct,
        maybe=maybe,
        perhaps=perhaps,
    ).output


@dsl.pipeline
def optional_without_value(maybe: Optional[str] = None, perhaps: Optional[List[int]] = None) -> str:
    return seen(maybe=maybe, perhaps=perhaps).output


@dsl.pipeline
def constants() -> str:
    return seen(
        text='it\'s "quoted"\n\ttwice \\n $HOME `id` 漢字 🙂',
        whole=0,
        real=-0.5,
        flag=False,
        many=[True, "", [], {}],
        struct={"": "", "a.b": {"c d": [0.1]}},
        maybe="",
        perhaps=[],
    ).output


@dsl.component
def generics(
    texts: List[str],
    counts: Dict[str, int],
    rows: List[Dict[str, float]],
    new: list[str],
    deep: dict[str, list[int]],
) -> NamedTuple(
    "Outputs", texts=List[str], counts=Dict[str, int], rows=List[Dict[str, float]], deep=dict[str, list[int]]
):
    outputs = NamedTuple("Outputs", texts=list, counts=dict, rows=list, deep=dict)
    return outputs(texts + new, {**counts, "z": 0}, rows, deep)


@dsl.pipeline
def generic_types(texts: List[str] = ["a"], counts: Dict[str, int] = {"n": 1}) -> NamedTuple(
    "Outputs", texts=List[str], counts=Dict[str, int], rows=List[Dict[str, float]], deep=dict[str, list[int]]
):
    first = generics(texts=texts, counts=counts, rows=[{"r": 0.25}], new=["b"], deep={"k": [1, 2]})
    again = generics(
        texts=first.outputs["texts"],
        counts=first.outputs["counts"],
        rows=first.outputs["rows"],
        new=["c"],
        deep=first.outputs["deep"],
    )
    outputs = NamedTuple(
        "Outputs",
        texts=List[str],
        counts=Dict[str, int],
        rows=List[Dict[str, float]],
        deep=dict[str, list[int]],
    )
    return outputs(
        again.outputs["texts"], again.outputs["counts"], again.outputs["rows"], again.outputs["deep"]
    )


@dsl.component
def numbers() -> NamedTuple(
    "Outputs", whole=int, real=float, small=float, large=int, exact=int, many=List[float]
):
    outputs = NamedTuple("Outputs", whole=int, real=float, small=float, large=int, exact=int, many=list)
    return outputs(-0, 3, 1e-7, 2**53, 123456789012345, [1.0, 2.5, 1e21, 0.1 + 0.2])


@dsl.component
def types_of(whole: int, real: float, small: float, large: int, exact: int, many: list) -> str:
    return repr((whole, real, small, large, exact, many))


@dsl.pipeline
def number_edges() -> str:
    found = numbers()
    return types_of(
        **{name: found.outputs[name] for name in ("whole", "real", "small", "large", "exact", "many")}
    ).output


@dsl.component
def paths(
    text: str,
    a: OutputPath(str),
    b: OutputPath("Dataset"),
    c: OutputPath(int),
    d: OutputPath(list),
    e: OutputPath(dict),
    f: OutputPath(bool),
    g: OutputPath(float),
):
    values = (
        (a, text),
        (b, "data"),
        (c, " 7\n"),
        (d, '[1, "a"]'),
        (e, '{"k": 1.0}'),
        (f, "True"),
        (g, "2.50"),
    )
    for path, value in values:
        with open(path, "w") as file:
            file.write(value)


@dsl.component
def from_paths(data: InputPath("Dataset"), a: str, c: int, d: list, e: dict, f: bool, g: float) -> str:
    return repr((open(data).read(), a, c, d, e, f, g))


@dsl.pipeline
def output_paths() -> str:
    out = paths(text=" a\nb ").outputs
    return from_paths(
        data=out["b"], a=out["a"], c=out["c"], d=out["d"], e=out["e"], f=out["f"], g=out["g"]
    ).output


@dsl.component
def several(n: int) -> NamedTuple(
    "Outputs", [("text", str), ("many", list), ("flag", bool), ("struct", dict)]
):
    from collections import namedtuple

    return namedtuple("Outputs", ["text", "many", "flag", "struct"])("x" * n, [n], n > 1, {"n": n})


@dsl.pipeline
def named_tuple() -> NamedTuple("Outputs", text=str, many=list, flag=bool, struct=dict):
    out = several(n=2).outputs
    outputs = NamedTuple("Outputs", text=str, many=list, flag=bool, struct=dict)
    return outputs(out["text"], out["many"], out["flag"], out["struct"])


@dsl.pipeline
def given_texts(text: str, lines: str = "one: [ # 'two'") -> str:
    return join(a=text, b=lines).output


@dsl.component
def length(x: str) -> int:
    return len(x)


@dsl.component
def long(n: int) -> str:
    return "é" * n


@dsl.pipeline
def long_values(n: int = 100000) -> int:
    return length(x=say(x=long(n=n).output).output).output


@dsl.pipeline
def other_types_to_text() -> str:
    out = several(n=2).outputs
    return join(a=f"{out['flag']} {out['text']}", b=f"{out['flag']}").output


@dsl.pipeline
def channels_in_structs(name: str = "p", n: int = 4) -> str:
    out = several(n=n).outputs
    return seen(
        many=[name, out["text"], {"k": out["text"]}],
        struct={"a": f"{name}-{n}", "b": [n, f"x-{out['text']}"], "c": 2},
    ).output


PIPELINES = [
    component_defaults,
    every_type,
    optional_without_value,
    constants,
    generic_types,
    number_edges,
    output_paths,
    named_tuple,
    given_texts,
    long_values,
    other_types_to_text,
    channels_in_structs,
]
