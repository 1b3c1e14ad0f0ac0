"""Python components: packages, images, helpers, embedded files and notebooks, and what their code does."""

import os
import tempfile
from typing import List, NamedTuple

from kfp import dsl
from kfp.dsl import Dataset, Output
from parts import join, read


@dsl.component(base_image="python:3.9-slim", packages_to_install=["six==1.16.0"])
def old_python() -> str:
    import sys

    import six

    return f"{sys.version_info >= (3, 9)} {six.__version__}"


@dsl.component(
    base_image="registry.example.com:5000/team/python:3.13-alpine",
    packages_to_install=["six>=1.15,<2", "colorama == 0.4.6; python_version > '3'"],
    pip_index_urls=["https://pypi.org/simple"],
    pip_trusted_hosts=["pypi.org"],
    use_venv=True,
)
def in_venv() -> str:
    import colorama

    return colorama.__version__


@dsl.component(install_kfp_package=False, packages_to_install=["six==1.16.0"])
def without_kfp() -> str:
    import six

    return six.__version__


@dsl.component(kfp_package_path="kfp==2.9.0", base_image="tensorflow/tensorflow:2.15.0")
def other_kfp() -> str:
    import kfp

    return kfp.__version__


@dsl.pipeline
def packages_and_images() -> str:
    a = join(a=old_python().output, b=in_venv().output)
    b = join(a=without_kfp().output, b=other_kfp().output)
    return join(a=a.output, b=b.output).output


def shout(text):
    return text.upper() + "?"


@dsl.component(additional_funcs=[shout])
def helped(x: str) -> str:
    return shout(x)


@dsl.component
def quoted(x: str = "it's") -> str:
    """Doc 'string' with "quotes" and $HOME `x` \\ é."""
    text = "a\tb\\n" + "$HOME" + '''"""triple'''
    return f"""{x}
    {text!r}"""


@dsl.component
def uses_the_machine(n: int) -> List[int]:
    import json
    import os
    import subprocess
    import sys
    import tempfile
    from concurrent.futures import ProcessPoolExecutor

    with open("here.txt", "w") as file:
        file.write("relative")
    with open("/tmp/absolute.txt", "w") as file:
        file.write("absolute")
    with tempfile.NamedTemporaryFile("w+") as file:
        file.write("x")
    os.makedirs(os.path.expanduser("~/.cache/mine"))
    found = subprocess.run([sys.executable, "-c", "print(6 * 7)"], capture_output=True, text=True, check=True)
    print("out" * 10000)
    print("err", file=sys.stderr)
    with ProcessPoolExecutor(2) as pool:
        many = list(pool.map(abs, range(-n, 0)))
    assert sys.stdin.read() == ""
    return json.loads(f"[{found.stdout}]") + many


@dsl.component
def has_helpers(x: int) -> NamedTuple("Outputs", [("a", int), ("b", str)]):
    from dataclasses import dataclass
    from functools import lru_cache

    @dataclass
    class Point:
        x: int

    @lru_cache
    def twice(n):
        return 2 * n

    return (twice(Point(x).x), "é")


@dsl.pipeline
def code_of_all_kinds() -> str:
    a = join(a=helped(x="q").output, b=quoted().output)
    uses_the_machine(n=3)
    b = join(a=has_helpers(x=2).outputs["b"], b="b")
    return join(a=a.output, b=b.output).output


def folder() -> str:
    """A folder with a module and a text, to be embedded."""
    made = os.path.join(tempfile.mkdtemp(), "embedded")
    os.makedirs(os.path.join(made, "data"))
    for name, text in (("mine.py", "def answer():\n    return 42\n"), ("data/a.txt", "embedded!\n")):
        with open(os.path.join(made, name), "w") as file:
            file.write(text)
    for at, folders, files in os.walk(made):
        for name in [".", *folders, *files]:
            os.utime(os.path.join(at, name), (0, 0))
    return made


EMBEDDED = folder()


@dsl.component(embedded_artifact_path=os.path.join(EMBEDDED, "data", "a.txt"))
def one_file(given: dsl.EmbeddedInput[Dataset]) -> str:
    return open(given.path).read().strip()


@dsl.component(embedded_artifact_path=EMBEDDED)
def whole_folder(given: dsl.EmbeddedInput[Dataset]) -> str:
    import os

    import mine

    return f"{mine.answer()} {open(os.path.join(given.path, 'data', 'a.txt')).read().strip()}"


@dsl.pipeline
def embedded_files() -> str:
    return join(a=one_file().output, b=whole_folder().output).output


NOTEBOOK = os.path.join(tempfile.mkdtemp(), "notebook.ipynb")
with open(NOTEBOOK, "w") as file:
    file.write(
        """{"cells": [
{"cell_type": "code", "id": "a", "metadata": {"tags": ["parameters"]}, "source": ["text = 'x'"], "outputs": [], "execution_count": null},
{"cell_type": "code", "id": "b", "metadata": {}, "source": ["open(out, 'w').write(text.upper())"], "outputs": [], "execution_count": null}
], "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}, "nbformat": 4, "nbformat_minor": 5}"""
    )
os.utime(NOTEBOOK, (0, 0))


@dsl.notebook_component(notebook_path=NOTEBOOK)
def from_notebook(text: str, out: Output[Dataset]):
    dsl.run_notebook(text=text, out=out.path)


@dsl.pipeline
def notebooks() -> str:
    return read(data=from_notebook(text="hey").output).output


@dsl.component(target_image="registry.example.com/team/app:1", base_image="python:3.11")
def in_its_image(x: str) -> str:
    return x


@dsl.pipeline
def source_in_the_image():
    in_its_image(x="x")


@dsl.container_component
def script_in_python_image(x: str, out: dsl.OutputPath(str)):
    return dsl.ContainerSpec(
        image="python:3.12",
        command=["python", "-c"],
        args=[
            "import os, sys\nos.makedirs(os.path.dirname(sys.argv[2]), exist_ok=True)\nopen(sys.argv[2], 'w').write(sys.argv[1] * 2)",
            x,
            out,
        ],
    )


@dsl.container_component
def installs_itself(out: dsl.OutputPath(str)):
    return dsl.ContainerSpec(
        image="python:3.11-slim",
        command=["sh", "-ec"],
        args=[
            'pip install --quiet six==1.16.0; mkdir -p "$(dirname "$0")"; python -c "import six; print(six.__version__)" > "$0"',
            out,
        ],
    )


@dsl.pipeline
def scripts_in_python_images() -> str:
    return join(a=script_in_python_image(x="ab").outputs["out"], b="c").output


@dsl.pipeline
def pip_at_run_time() -> str:
    return join(a=installs_itself().outputs["out"], b="c").output


@dsl.pipeline
def settings_of_tasks(cpu: str = "1", memory: str = "1Gi") -> str:
    task = has_helpers(x=1).set_display_name("My Täsk").set_caching_options(False)
    task.set_cpu_limit(cpu).set_memory_limit(memory).set_cpu_request("500m").set_memory_request("100M")
    task.set_accelerator_type("nvidia.com/gpu").set_accelerator_limit(1)
    other = helped(x="b").set_container_image("python:3.12-slim").set_env_variable("A", "b").set_retry(1)
    return join(a=task.outputs["b"], b=other.output).output


PIPELINES = [
    packages_and_images,
    code_of_all_kinds,
    embedded_files,
    notebooks,
    source_in_the_image,
    scripts_in_python_images,
    pip_at_run_time,
    settings_of_tasks,
]
