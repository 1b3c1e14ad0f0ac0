"""Runs a module of the KFP SDK as `python -m` would, inside the environment of a task. Never imported by
penstock.

    python kfp_entry.py kfp.dsl.executor_main --executor_input … --function_to_execute …

It stands in for `-m` in two cases only. An argument beyond the system's limit arrives as
`penstock-argument:<attempt id>:<path>` and is read from that file. And before 2.5 the SDK knew no path for a
URI that is a path already. Standard library only, and nothing newer than Python 3.6.
"""

import importlib
import os
import runpy
import sys
from typing import Any


def main() -> None:
    module = sys.argv[1]
    mark = "penstock-argument:" + os.environ.get("PENSTOCK_ATTEMPT_ID", "") + ":"
    sys.argv[1:] = [_read(one[len(mark) :]) if one.startswith(mark) else one for one in sys.argv[2:]]
    sys.path[0] = os.getcwd()
    _take_paths_as_uris(module)
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _read(path: str) -> str:
    with open(path, encoding="utf-8", newline="") as file:
        return file.read()


def _take_paths_as_uris(module: str) -> None:
    try:
        types = importlib.import_module(module.rpartition(".")[0] + ".types.artifact_types")
        artifact = types.Artifact
        if artifact(uri="/x").path is not None:
            return
        known = artifact._get_path  # noqa: SLF001 - the SDK has no public way
    except (ImportError, AttributeError, TypeError):
        return

    def get_path(self: Any) -> Any:
        path = known(self)
        return self.uri if path is None and self.uri.startswith("/") else path

    artifact._get_path = get_path  # noqa: SLF001


if __name__ == "__main__":
    main()
