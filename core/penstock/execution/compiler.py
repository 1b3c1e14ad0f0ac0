"""`pipeline.py[:function]` → IR, by the stock kfp compiler in an environment of its own."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from penstock.errors import InvalidInputError
from penstock.execution.environments.bootstrap import PipInstall
from penstock.execution.environments.cache import Environments
from penstock.execution.environments.environment import EnvironmentRequest
from penstock.execution.environments.images import PythonRequest, choose_python

_SCRIPT = """
import importlib.util, os, sys
source, function, target = sys.argv[1:]
sys.path.insert(0, os.path.dirname(source))
spec = importlib.util.spec_from_file_location(os.path.splitext(os.path.basename(source))[0], source)
module = importlib.util.module_from_spec(spec)
sys.modules[spec.name] = module
spec.loader.exec_module(module)
from kfp import compiler
from kfp.dsl.base_component import BaseComponent
from kfp.dsl.graph_component import GraphComponent
if function:
    chosen = getattr(module, function, None)
    if not isinstance(chosen, BaseComponent):
        sys.exit("PENSTOCK: it has no pipeline or component named '%s'" % function)
else:
    found = {name: one for name, one in vars(module).items() if isinstance(one, GraphComponent)
             and getattr(one.pipeline_func, "__module__", None) == spec.name}
    if len(found) != 1:
        names = ", ".join(sorted(found)) or "none"
        sys.exit("PENSTOCK: it defines %d pipelines (%s); name one as FILE:FUNCTION" % (len(found), names))
    chosen = next(iter(found.values()))
compiler.Compiler().compile(chosen, target)
"""


def split_function(text: str) -> tuple[str, str]:
    """`pipeline.py:train` → ("pipeline.py", "train"); a name without a colon has no function."""
    path, colon, function = text.rpartition(":")
    if colon and path.endswith(".py") and function.isidentifier():
        return path, function
    return text, ""


def check_source(source: Path) -> None:
    """Raises InvalidInputError for what is no Python file; cheap, and before anything is built for it."""
    try:
        ast.parse(source.read_bytes(), str(source))
    except FileNotFoundError:
        raise InvalidInputError(f"{source} does not exist") from None
    except OSError as error:
        raise InvalidInputError(f"{source} cannot be read: {error.strerror}") from error
    except SyntaxError as error:
        where = f", line {error.lineno}" if error.lineno is not None else ""
        raise InvalidInputError(f"{source}{where} is not Python: {error.msg}") from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise InvalidInputError(f"{source} is not Python: {error}") from error


def compile_pipeline(
    source: Path,
    function: str,
    kfp: str,
    environments: Environments,
    target: Path,
    variables: Mapping[str, str] = os.environ,
) -> None:
    """Write the IR of a pipeline function to `target`. The user's own environment is not touched; `variables`
    are what his code gets to see.

    Raises InvalidInputError with the compiler's last line when the file cannot be compiled.
    """
    environment = environments.ensure(compile_request(kfp, environments))
    done = subprocess.run(
        [str(environment.python), "-c", _SCRIPT, str(source.absolute()), function, str(target)],
        env=environment.variables(variables),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode != 0:
        raise InvalidInputError(f"{source} cannot be compiled with {kfp}: {_last_line(done.stderr)}")
    if not target.is_file():
        raise InvalidInputError(f"{source} cannot be compiled: it ends the interpreter when it is imported")


def compile_request(kfp: str, environments: Environments) -> EnvironmentRequest:
    """The kfp SDK on the Python that runs penstock, so that the author's syntax is understood."""
    wanted = PythonRequest("the compiler", sys.version_info[:2])
    python = choose_python(wanted, environments.available_pythons())
    return EnvironmentRequest(python, (PipInstall((kfp, "setuptools<81")),))


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1].removeprefix("PENSTOCK: ") if lines else "the compiler said nothing"
