"""What ends badly, and what goes on: exit handlers, final status, ignore_upstream_failure, retries."""

from kfp import dsl
from kfp.dsl import PipelineTaskFinalStatus
from parts import echo, fail, join, say


@dsl.component
def status(given: PipelineTaskFinalStatus, x: str = "none") -> str:
    return f"{given.state} {given.pipeline_task_name} {given.error_code} {given.error_message} {x}"


@dsl.component
def fallback(x: str = "default", n: int = 7) -> str:
    return f"{x} {n}"


@dsl.pipeline
def independent_branches_go_on():
    bad = fail(x="1")
    say(x=bad.output)
    last = echo(x="free")
    echo(x="after that").after(last)
    with dsl.If(bad.output == "a"):
        echo(x="never")
    with dsl.ParallelFor(["a", "b"]) as item:
        say(x=f"{item}{bad.output}")


@dsl.pipeline
def in_loops() -> str:
    with dsl.ParallelFor(["a", "b"]) as item:
        with dsl.If(item == "a"):
            fail(x=item)
        x = say(x=item)
    return join(a="never", b="x").after(x).output


@dsl.pipeline
def exit_after_failure():
    with dsl.ExitHandler(status(x="y"), name="my exit"):
        first = say(x="a")
        bad = fail(x=first.output)
        say(x=bad.output)


@dsl.pipeline
def exit_after_success():
    with dsl.ExitHandler(status()):
        say(x="a")


@dsl.pipeline
def exit_task_fails():
    with dsl.ExitHandler(fail(x="at the end")):
        echo(x="a")


@dsl.pipeline
def exit_around_control_flow(flag: bool = True):
    with dsl.ExitHandler(status()):
        with dsl.If(flag == True):  # noqa: E712
            fail()
        with dsl.ParallelFor(["a", "b"]) as item:
            say(x=f"-{item}")


@dsl.container_component
def report(given: PipelineTaskFinalStatus):
    return dsl.ContainerSpec(image="alpine", command=["echo", given])


@dsl.pipeline
def two_exits_and_a_container():
    with dsl.ExitHandler(echo(x="first exit")):
        echo(x="a")
    with dsl.ExitHandler(report()):
        fail()


@dsl.pipeline
def cleanup(word: str = "x") -> str:
    return say(x=join(a=word, b="done").output).output


@dsl.pipeline
def exit_with_a_pipeline(word: str = "q"):
    with dsl.ExitHandler(cleanup(word=word)):
        fail()


@dsl.pipeline
def body() -> str:
    with dsl.ExitHandler(status(x="inner")):
        fail()
    return say(x="beside").output


@dsl.pipeline
def exit_inside_pipelines():
    with dsl.ExitHandler(status(x="outer")):
        inner = body()
        say(x=inner.output)


@dsl.pipeline
def ignored():
    bad = fail(x="1")
    first = fallback(x=bad.output, n=8).ignore_upstream_failure()
    fallback(x=first.output)
    skipped = say(x=bad.output)
    fallback(x="again", n=9).after(skipped).ignore_upstream_failure()


@dsl.pipeline
def ignored_by_a_pipeline():
    cleanup(word=fail(x="1").output).ignore_upstream_failure()


@dsl.component
def third_time(folder: str) -> int:
    import os

    os.makedirs(folder, exist_ok=True)
    before = len(os.listdir(folder))
    open(os.path.join(folder, str(before)), "w").close()
    if before < 2:
        raise ValueError("again")
    return before


@dsl.pipeline
def retried(folder: str) -> int:
    task = third_time(folder=folder)
    task.set_retry(3, backoff_duration="0s", backoff_factor=1.0, backoff_max_duration="1s")
    return task.output


@dsl.pipeline
def attempts(folder: str) -> int:
    return third_time(folder=folder).output


@dsl.pipeline
def retried_pipeline(folder: str) -> int:
    return attempts(folder=folder).set_retry(2, backoff_duration="0s").output


@dsl.pipeline
def retried_in_vain():
    fail(x="twice").set_retry(1, backoff_duration="0s")


@dsl.component
def exits():
    import sys

    print("bye")
    sys.exit(3)


@dsl.component
def wrong_type() -> int:
    return "x"


@dsl.component
def nothing() -> str:
    return None


@dsl.container_component
def no_output(x: dsl.OutputPath(str)):
    return dsl.ContainerSpec(image="alpine", command=["true", x])


@dsl.container_component
def bad_output(x: dsl.OutputPath(int)):
    return dsl.ContainerSpec(
        image="alpine", command=["sh", "-c", 'mkdir -p "$(dirname "$0")" && echo 1.5 > "$0"', x]
    )


@dsl.pipeline
def wrong_in_every_way():
    exits()
    wrong_type()
    nothing()
    no_output()
    bad_output()


PIPELINES = [
    independent_branches_go_on,
    in_loops,
    exit_after_failure,
    exit_after_success,
    exit_task_fails,
    exit_around_control_flow,
    two_exits_and_a_container,
    exit_with_a_pipeline,
    exit_inside_pipelines,
    ignored,
    ignored_by_a_pipeline,
    retried,
    retried_pipeline,
    retried_in_vain,
    wrong_in_every_way,
]
