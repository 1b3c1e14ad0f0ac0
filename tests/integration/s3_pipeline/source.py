"""Everything that artifacts can go through on their way. Compile it with kfp 2.17:

python tests/integration/s3_pipeline/source.py
"""

from pathlib import Path
from typing import List

from kfp import compiler, dsl
from kfp.dsl import Artifact, Dataset, Input, Model, Output


@dsl.component(base_image="python:3.11")
def make(rows: int, data: Output[Dataset]) -> str:
    """What its code is told of the place: a real URI, and a path that can be written to."""
    with open(data.path, "w") as file:
        file.write("\n".join(str(row) for row in range(rows)))
    data.metadata["rows"] = rows
    return data.uri


@dsl.component(base_image="python:3.11")
def make_folder(folder: Output[Artifact]):
    import os

    os.makedirs(os.path.join(folder.path, "sub", "empty"))
    for name in ("a.txt", "sub/ü b+%41#.txt"):
        with open(os.path.join(folder.path, name), "w") as file:
            file.write(name)
    os.symlink("a.txt", os.path.join(folder.path, "link"))


@dsl.component(base_image="python:3.11")
def rename(data: Input[Dataset], model: Output[Model], moved: Output[Model]):
    """Other places than those that were given, by URI and by `get_uri`."""
    import os
    import shutil

    model.uri = model.uri + ".txt"
    shutil.copy(data.path, model.path)
    moved.uri = dsl.get_uri("moved")
    os.makedirs(moved.path)
    shutil.copy(data.path, os.path.join(moved.path, "inside"))


@dsl.component(base_image="python:3.11")
def read(data: Input[Dataset], folder: Input[Artifact], model: Input[Model], moved: Input[Model]) -> dict:
    import os

    names = sorted(
        os.path.relpath(os.path.join(above, name), folder.path)
        for above, folders, files in os.walk(folder.path)
        for name in files + [one for one in folders if not os.listdir(os.path.join(above, one))]
    )
    return {
        "rows": len(open(data.path).read().split()),
        "metadata": data.metadata,
        "uri": data.uri,
        "names": names,
        "link": os.readlink(os.path.join(folder.path, "link")),
        "model": [model.uri, len(open(model.path).read().split())],
        "moved": [moved.uri, os.listdir(moved.path)],
    }


@dsl.component(base_image="python:3.11")
def part(number: int, one: Output[Dataset]):
    with open(one.path, "w") as file:
        file.write(str(number))


@dsl.component(base_image="python:3.11")
def gather(parts: Input[List[Dataset]]) -> List[str]:
    return [one.uri.split("://")[0] + ":" + open(one.path).read() for one in parts]


@dsl.component(base_image="python:3.11")
def double(one: Input[Dataset]) -> int:
    return 2 * int(open(one.path).read())


@dsl.component(base_image="python:3.11")
def total(numbers: List[int]) -> int:
    return sum(numbers)


@dsl.pipeline
def double_each(many: List[Dataset]) -> int:
    with dsl.ParallelFor(items=many) as one:
        doubled = double(one=one)
    return total(numbers=dsl.Collected(doubled.output)).output


@dsl.component(base_image="python:3.11")
def read_imported(data: Input[Dataset]) -> dict:
    return {"uri": data.uri, "text": open(data.path).read(), "metadata": data.metadata}


@dsl.container_component
def copy(data: Input[Dataset], out: Output[Dataset], told: dsl.OutputPath(str)):
    return dsl.ContainerSpec(
        image="alpine",
        command=["sh", "-c", 'cp "$0" "$1" && printf "%s %s" "$2" "$3" > "$4"'],
        args=[data.path, out.path, data.uri, out.uri, told],
    )


@dsl.pipeline(name="objects")
def objects(place: str, rows: int = 3):
    made = make(rows=rows)
    folder = make_folder()
    renamed = rename(data=made.outputs["data"])
    read(
        data=made.outputs["data"],
        folder=folder.outputs["folder"],
        model=renamed.outputs["model"],
        moved=renamed.outputs["moved"],
    )
    with dsl.ParallelFor([1, 2, 3]) as number:
        parted = part(number=number)
    gather(parts=dsl.Collected(parted.outputs["one"]))
    double_each(many=dsl.Collected(parted.outputs["one"]))
    imported = dsl.importer(
        artifact_uri=place, artifact_class=Dataset, reimport=False, metadata={"origin": "elsewhere"}
    )
    read_imported(data=imported.output)
    copy(data=made.outputs["data"])


if __name__ == "__main__":
    compiler.Compiler().compile(objects, str(Path(__file__).with_name("compiled.yaml")))
