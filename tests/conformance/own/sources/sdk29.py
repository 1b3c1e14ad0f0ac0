"""As kfp 2.9 compiles: OneOf, Collected and loops over artifacts in their first forms, kfp-kubernetes 1.3."""

from typing import List, NamedTuple

from kfp import dsl, kubernetes
from kfp.dsl import Dataset, Input
from parts import join, make, num, read, read_all, say, show

SDK = "2.9.0"


@dsl.component
def total(many: List[int]) -> int:
    return sum(many)


@dsl.pipeline
def read_each(many: Input[List[Dataset]]) -> List[str]:
    with dsl.ParallelFor(many) as one:
        x = read(data=one)
    return dsl.Collected(x.output)


@dsl.pipeline
def collected(texts: List[str] = ["a", "b"]) -> NamedTuple("Outputs", sum=int, text=str, each=str):
    with dsl.ParallelFor([1, 2]) as item:
        n = num(x=item)
    with dsl.ParallelFor(texts) as text:
        with dsl.ParallelFor(["1", "2"]) as other:
            m = make(text=f"{text}{other}")
    each = show(xs=read_each(many=dsl.Collected(m.outputs["out"])).output)
    outputs = NamedTuple("Outputs", sum=int, text=str, each=str)
    return outputs(
        total(many=dsl.Collected(n.output)).output,
        read_all(many=dsl.Collected(m.outputs["out"])).output,
        each.output,
    )


@dsl.pipeline
def one_of(n: int = 2) -> NamedTuple("Outputs", text=str, data=Dataset):
    with dsl.If(n == 1):
        a = say(x="if")
        x = make(text="if")
    with dsl.Elif(n == 2):
        b = say(x="elif")
        y = make(text="elif")
    with dsl.Else():
        c = say(x="else")
        z = make(text="else")
    outputs = NamedTuple("Outputs", text=str, data=Dataset)
    return outputs(
        dsl.OneOf(a.output, b.output, c.output),
        dsl.OneOf(x.outputs["out"], y.outputs["out"], z.outputs["out"]),
    )


@dsl.component
def variables(names: list) -> str:
    import os

    return ",".join(os.environ.get(name, "-") for name in names)


@dsl.pipeline
def on_pods() -> str:
    task = variables(names=["LEVEL", "LABEL"])
    kubernetes.use_config_map_as_env(
        task, config_map_name="settings", config_map_key_to_env={"level": "LEVEL"}
    )
    kubernetes.add_pod_label(task, "team", "ml")
    kubernetes.use_field_path_as_env(task, "LABEL", "metadata.labels['team']")
    kubernetes.add_toleration(task, key="k", operator="Exists", effect="NoSchedule", toleration_seconds=10)
    kubernetes.set_image_pull_secrets(task, ["registry"])
    kubernetes.set_timeout(task, 100)
    kubernetes.add_ephemeral_volume(
        task, volume_name="own", mount_path="/mnt/own", access_modes=["ReadWriteOnce"], size="1Gi"
    )
    return join(a=task.output, b="x").output


PIPELINES = [collected, one_of, on_pods]
