"""The side of the benchmarks that needs the KFP SDK, in an environment of its own, never in penstock's.

    python kfp_side.py compile FOLDER
    python kfp_side.py run PIPELINE default|fastest FOLDER   (prints the seconds of the run)

`fastest` is the best that `kfp.local` can be asked for: no environment per task, everything preinstalled, and
components compiled without the pip step, so that none runs.
"""

# pyright: reportMissingImports=false, reportFunctionMemberAccess=false

import json
import sys
import time
from pathlib import Path

from kfp import compiler, dsl, local

IMAGE = f"python:{sys.version_info.major}.{sys.version_info.minor}"


def noop() -> int:
    return 1


def nap(seconds: float) -> int:
    import time

    time.sleep(seconds)
    return 1


def frame() -> int:
    import pandas as pd

    return len(pd.DataFrame({"x": [1, 2, 3]}))


@dsl.container_component
def true():
    return dsl.ContainerSpec(image="debian:bookworm", command=["/bin/true"])


@dsl.container_component
def sleep3():
    return dsl.ContainerSpec(image="debian:bookworm", command=["sleep", "3"])


def pipelines(pip: bool) -> dict:
    """By name. Without `pip` the components do not ask for the SDK to be installed."""
    doing_nothing = dsl.component(noop, base_image=IMAGE, install_kfp_package=pip)
    napping = dsl.component(nap, base_image=IMAGE, install_kfp_package=pip)

    def many(task, count):
        for _ in range(count):
            task().set_caching_options(False)

    @dsl.pipeline(name="one-noop")
    def one_noop():
        many(doing_nothing, 1)

    @dsl.pipeline(name="ten-noops")
    def ten_noops():
        many(doing_nothing, 10)

    @dsl.pipeline(name="six-naps")
    def six_naps():
        many(lambda: napping(seconds=3.0), 6)

    @dsl.pipeline(name="six-naps-in-a-loop")
    def six_naps_in_a_loop():
        with dsl.ParallelFor(items=[3.0] * 6) as item:
            napping(seconds=item).set_caching_options(False)

    @dsl.pipeline(name="noops-in-a-loop")
    def noops_in_a_loop(items: list):
        with dsl.ParallelFor(items=items):
            doing_nothing().set_caching_options(False)

    @dsl.pipeline(name="one-frame")
    def one_frame():
        many(dsl.component(frame, base_image=IMAGE, packages_to_install=["pandas"]), 1)

    return {
        one.name: one
        for one in (one_noop, ten_noops, six_naps, six_naps_in_a_loop, noops_in_a_loop, one_frame)
    }


def containers() -> dict:
    @dsl.pipeline(name="six-sleeps")
    def six_sleeps():
        for _ in range(6):
            sleep3()

    @dsl.pipeline(name="trues")
    def trues():
        for _ in range(500):
            true()

    @dsl.pipeline(name="trues-in-a-loop")
    def trues_in_a_loop(items: list):
        with dsl.ParallelFor(items=items):
            true()

    return {one.name: one for one in (six_sleeps, trues, trues_in_a_loop)}


def main(words: list) -> None:
    if words[0] == "compile":
        for name, pipeline in {**pipelines(pip=True), **containers()}.items():
            compiler.Compiler().compile(pipeline, str(Path(words[1]) / f"{name}.yaml"))
        return
    _, name, mode, folder = words
    runner = local.SubprocessRunner(use_venv=mode == "default")
    local.init(runner, pipeline_root=folder)
    pipeline = pipelines(pip=mode == "default")[name]
    start = time.perf_counter()
    pipeline()
    print(json.dumps({"seconds": time.perf_counter() - start}))


if __name__ == "__main__":
    main(sys.argv[1:])
