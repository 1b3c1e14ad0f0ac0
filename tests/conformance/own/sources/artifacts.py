"""Artifacts: every type, metadata, names and places, folders, lists, and the pythonic form."""

from typing import List, NamedTuple, Optional

from kfp import dsl
from kfp.dsl import (
    HTML,
    Artifact,
    ClassificationMetrics,
    Dataset,
    Input,
    Markdown,
    Metrics,
    Model,
    Output,
)
from parts import join, make, read, say


@dsl.component
def all_kinds(
    a: Output[Artifact],
    d: Output[Dataset],
    m: Output[Model],
    n: Output[Metrics],
    c: Output[ClassificationMetrics],
    h: Output[HTML],
    k: Output[Markdown],
):
    for one in (a, d, m, h, k):
        with open(one.path, "w") as file:
            file.write(one.name)
    m.framework = "sk"
    n.log_metric("accuracy", 0.5)
    n.log_metric("count", 3)
    c.log_confusion_matrix(["x", "y"], [[1, 2], [3, 4]])
    c.log_roc_curve([0.0, 1.0], [0.0, 1.0], [1.0, 0.0])


@dsl.component
def read_kinds(
    a: Input[Artifact],
    d: Input[Dataset],
    m: Input[Model],
    n: Input[Metrics],
    c: Input[ClassificationMetrics],
    h: Input[HTML],
    k: Input[Markdown],
) -> str:
    texts = [open(one.path).read() for one in (a, d, m, h, k)]
    kinds = [one.schema_title for one in (a, d, m, n, c, h, k)]
    return " ".join([*texts, m.framework, str(n.metadata), str(sorted(c.metadata)), *kinds])


@dsl.pipeline
def every_kind() -> str:
    out = all_kinds().outputs
    return read_kinds(**{name: out[name] for name in "admnchk"}).output


@dsl.component
def register(model: Output[Artifact]):
    model.uri = "https://models.invalid/7"
    model.metadata["resourceName"] = "projects/1/models/7"
    model.metadata["deep"] = {"list": [1, 2.5, None, True], "text": "é\n"}


@dsl.component
def look(model: Input[Artifact]) -> str:
    return f"{model.metadata['resourceName']} {model.metadata['deep']}"


@dsl.component
def custom_places(stored: Output[Model], elsewhere: Output[Dataset], unwritten: Output[Dataset]):
    import os
    import tempfile

    path = os.path.join(tempfile.mkdtemp(), "file")
    with open(path, "w") as file:
        file.write("custom")
    stored.path = path
    stored.name = "renamed"
    elsewhere.uri = "gs://bucket/place"
    elsewhere.metadata["x"] = 1
    unwritten.metadata["only"] = "metadata"


@dsl.component
def read_places(stored: Input[Model], elsewhere: Input[Dataset], unwritten: Input[Dataset]) -> str:
    return f"{open(stored.path).read()} {elsewhere.uri} {elsewhere.metadata} {unwritten.metadata}"


@dsl.pipeline
def own_places() -> str:
    out = custom_places().outputs
    return read_places(stored=out["stored"], elsewhere=out["elsewhere"], unwritten=out["unwritten"]).output


@dsl.component
def make_folder(out: Output[Model]):
    import os

    os.makedirs(os.path.join(out.path, "sub dir"))
    for name in ("sub dir/a", "b"):
        with open(os.path.join(out.path, name), "w") as file:
            file.write(name.upper())


@dsl.component
def list_folder(model: Input[Model]) -> str:
    import os

    found = [
        os.path.relpath(os.path.join(at, file), model.path)
        for at, _, files in os.walk(model.path)
        for file in files
    ]
    return ",".join(sorted(found))


@dsl.pipeline
def folders() -> NamedTuple("Outputs", files=str, model=Model):
    out = make_folder().outputs["out"]
    outputs = NamedTuple("Outputs", files=str, model=Model)
    return outputs(list_folder(model=out).output, out)


@dsl.component
def pythonic_make(text: str) -> Dataset:
    from kfp import dsl

    data = dsl.Dataset(uri=dsl.get_uri(), metadata={"text": text})
    with open(data.path, "w") as file:
        file.write(text)
    return data


@dsl.component
def pythonic_change(data: Dataset) -> NamedTuple("Outputs", model=Model, n=int, page=HTML):
    outputs = NamedTuple("Outputs", model=dsl.Model, n=int, page=dsl.HTML)
    model = dsl.Model(uri=dsl.get_uri("model"), metadata={"from": data.metadata["text"]})
    with open(model.path, "w") as file:
        file.write(open(data.path).read() + "!")
    page = dsl.HTML(uri=dsl.get_uri("page"))
    with open(page.path, "w") as file:
        file.write("<b>")
    return outputs(model=model, n=3, page=page)


@dsl.component
def pythonic_read(model: Input[Model], page: Input[HTML]) -> str:
    return open(model.path).read() + model.metadata["from"] + open(page.path).read()


@dsl.pipeline
def pythonic() -> str:
    out = pythonic_change(data=pythonic_make(text="hi").output).outputs
    return pythonic_read(model=out["model"], page=out["page"]).output


@dsl.component
def maybe(data: Optional[Input[Dataset]] = None, text: Optional[str] = None) -> str:
    return f"{data is None} {text}"


@dsl.pipeline
def hand_on(data: Optional[Input[Dataset]] = None, text: Optional[str] = None) -> str:
    return maybe(data=data, text=text).output


@dsl.pipeline
def optional_inputs() -> str:
    data = make(text="x").outputs["out"]
    plain = join(a=maybe().output, b=maybe(data=data, text="t").output)
    nested = join(a=hand_on().output, b=hand_on(data=data).output)
    return join(a=plain.output, b=nested.output).output


@dsl.component
def change(data: Input[Dataset], out: Output[Dataset]):
    out.metadata.update(data.metadata)
    out.metadata["from"] = data.name
    with open(out.path, "w") as file:
        file.write(open(data.path).read().upper())


@dsl.pipeline
def passed_on(text: str = "abc") -> NamedTuple("Outputs", first=Dataset, last=Dataset):
    first = make(text=text).outputs["out"]
    last = change(data=change(data=first).outputs["out"]).outputs["out"]
    outputs = NamedTuple("Outputs", first=Dataset, last=Dataset)
    return outputs(first, last)


@dsl.component
def names(many: Input[List[Dataset]], one: Input[Dataset]) -> str:
    import os

    same = [os.path.exists(data.path) and data.uri != "" for data in [*many, one]]
    return f"{[data.metadata['length'] for data in many]} {same} {one.schema_title}"


@dsl.pipeline
def of_the_run(data: Input[Dataset], note: Optional[Input[Dataset]] = None) -> str:
    return join(a=read(data=data).output, b=maybe(data=note).output).output


@dsl.pipeline
def lists_and_single() -> str:
    with dsl.ParallelFor(["a", "bb"]) as text:
        made = make(text=text)
    return names(many=dsl.Collected(made.outputs["out"]), one=make(text="ccc").outputs["out"]).output


@dsl.component
def binary(out: Output[Dataset]) -> str:
    with open(out.path, "wb") as file:
        file.write(bytes(range(256)) * 4096)
    return "\x00\x1f".encode("unicode_escape").decode()


@dsl.component
def digest(data: Input[Dataset]) -> str:
    import hashlib

    return hashlib.sha256(open(data.path, "rb").read()).hexdigest()


@dsl.pipeline
def binary_content() -> str:
    return digest(data=binary().outputs["out"]).output


@dsl.pipeline
def foreign_types() -> str:
    return look(model=register().outputs["model"]).output


@dsl.pipeline
def same_input_twice(text: str = "x") -> str:
    data = make(text=text).outputs["out"]
    return join(a=read(data=data).output, b=say(x=read(data=data).output).output).output


PIPELINES = [
    every_kind,
    own_places,
    folders,
    pythonic,
    optional_inputs,
    passed_on,
    of_the_run,
    lists_and_single,
    binary_content,
    foreign_types,
    same_input_twice,
]
