"""As kfp 2.0 compiles: the first form of schema 2.1.0, and kfp-kubernetes 1.0."""

from typing import Dict, List, NamedTuple, Optional

from kfp import dsl, kubernetes
from kfp.dsl import InputPath, OutputPath, PipelineTaskFinalStatus
from parts import echo, fail, join, make, num, read, say

SDK = "2.0.1"


@dsl.component
def rows() -> List[Dict[str, str]]:
    return [{"a": "x", "b": "y"}, {"a": "p", "b": "q"}]


@dsl.component
def status(given: PipelineTaskFinalStatus, x: str = "none") -> str:
    return f"{given.state} {given.pipeline_task_name} {x}"


@dsl.component
def seen(
    a: str = "d",
    b: int = 3,
    c: float = 1.5,
    d: bool = True,
    e: list = [1, "x"],
    f: dict = {"k": [1]},
    g: Optional[str] = None,
) -> str:
    return repr((a, b, c, d, e, f, g))


@dsl.component
def several(n: int) -> NamedTuple("Outputs", [("s", str), ("l", list), ("b", bool), ("d", dict)]):
    from collections import namedtuple

    return namedtuple("Outputs", ["s", "l", "b", "d"])("x" * n, [n], n > 1, {"n": n})


@dsl.component
def paths(t: str, a: OutputPath(str), b: OutputPath("Dataset"), c: OutputPath(int)):
    for path, value in ((a, t), (b, "data"), (c, "7")):
        with open(path, "w") as file:
            file.write(value)


@dsl.component
def from_paths(d: InputPath("Dataset"), s: str, i: int) -> str:
    return repr((open(d).read(), s, i))


@dsl.pipeline(name="values-and-artifacts")
def values_and_artifacts(a: str = "z", c: float = 2.0, e: list = ["q"], g: str = "g") -> str:
    seen(a=a, c=c, e=e, g=g)
    out = several(n=2).outputs
    data = make(text=out["s"])
    found = paths(t="q")
    from_paths(d=found.outputs["b"], s=found.outputs["a"], i=found.outputs["c"])
    return join(a=read(data=data.outputs["out"]).output, b=f"{out['b']}-{a}").output


@dsl.pipeline(name="inner")
def inner(t: str = "dd") -> str:
    return say(x=t).output


@dsl.pipeline(name="control-flow")
def control_flow(p: List[Dict[str, str]] = [{"a": "1", "b": "2"}], flag: bool = True):
    with dsl.ParallelFor(p) as i:
        join(a=i.a, b=i.b)
    with dsl.ParallelFor(rows().output, parallelism=1) as i:
        with dsl.ParallelFor([1, 2]) as j:
            inner(t=f"{i.a}{j}")
    n = num(x=3)
    with dsl.Condition(n.output == 3):
        say(x="x")
        with dsl.Condition(flag == False):  # noqa: E712
            say(x="no")
    join(a=inner().output, b=inner(t="q").output)


@dsl.pipeline(name="exits")
def exits():
    with dsl.ExitHandler(status(x="y"), name="my exit"):
        say(x=fail(x="1").output)
    echo(x=dsl.PIPELINE_TASK_NAME_PLACEHOLDER).set_caching_options(False).set_retry(1)


@dsl.component
def cat(path: str) -> str:
    import os

    return open(path).read() + os.environ.get("USER_NAME", "-")


@dsl.component
def put(path: str):
    with open(path, "w") as file:
        file.write("kept ")


@dsl.pipeline(name="on-pods")
def on_pods() -> str:
    claim = kubernetes.CreatePVC(
        pvc_name_suffix="-mine", access_modes=["ReadWriteMany"], size="5Gi", storage_class_name="standard"
    )
    written = put(path="/mnt/data/file")
    kubernetes.mount_pvc(written, pvc_name=claim.outputs["name"], mount_path="/mnt/data")
    found = cat(path="/mnt/data/file").after(written)
    kubernetes.mount_pvc(found, pvc_name=claim.outputs["name"], mount_path="/mnt/data")
    kubernetes.use_secret_as_env(found, secret_name="account", secret_key_to_env={"user": "USER_NAME"})
    kubernetes.use_secret_as_volume(found, secret_name="account", mount_path="/mnt/secret")
    kubernetes.add_node_selector(found, "disk", "ssd")
    kubernetes.DeletePVC(pvc_name=claim.outputs["name"]).after(found)
    return found.output


PIPELINES = [values_and_artifacts, control_flow, exits, on_pods]
