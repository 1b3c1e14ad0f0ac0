"""Runs a module of the KFP SDK as `python -m` would, inside the environment of a task. Never imported by
penstock.

    python kfp_entry.py kfp.dsl.executor_main --executor_input … --function_to_execute …

It stands in for `-m` in three cases only. An argument beyond the system's limit arrives as
`penstock-argument:<attempt id>:<path>` and is read from that file. Before 2.5 the SDK knew no path for a URI
that is a path already. And for a URI in an object store it knows the path `/s3/…`, which is elsewhere
here: the file that PENSTOCK_URIS names says where. Standard library only, and nothing newer than Python 3.6.
"""

import importlib
import json
import os
import runpy
import sys
from typing import Any

_CONVERT = "convert_local_path_to_remote_path"


def main() -> None:
    module = sys.argv[1]
    mark = "penstock-argument:" + os.environ.get("PENSTOCK_ATTEMPT_ID", "") + ":"
    sys.argv[1:] = [_read(one[len(mark) :]) if one.startswith(mark) else one for one in sys.argv[2:]]
    sys.path[0] = os.getcwd()
    _teach_paths(module, _uris(os.environ.pop("PENSTOCK_URIS", "")))
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _read(path: str) -> str:
    with open(path, encoding="utf-8", newline="") as file:
        return file.read()


def _uris(path: str) -> Any:
    """Local paths by URI, the longest first."""
    if not path:
        return {}
    with open(path, encoding="utf-8") as file:
        found = json.load(file)
    return {uri: found[uri] for uri in sorted(found, key=len, reverse=True)}


def _teach_paths(module: str, paths: "dict[str, str]") -> None:
    try:
        types = importlib.import_module(module.rpartition(".")[0] + ".types.artifact_types")
        artifact = types.Artifact
        if not paths and artifact(uri="/x").path is not None:
            return
        known = artifact._get_path  # noqa: SLF001 - the SDK has no public way
    except (ImportError, AttributeError, TypeError):
        return

    def get_path(self: Any) -> Any:
        local = None if getattr(self, "custom_path", "") else _swapped(self.uri, paths)
        path = known(self) if local is None else local
        return self.uri if path is None and self.uri.startswith("/") else path

    artifact._get_path = get_path  # noqa: SLF001
    if paths:
        _teach_uris(types, {path: uri for uri, path in paths.items()})


def _teach_uris(types: Any, uris: "dict[str, str]") -> None:
    """For what sets the path of an artifact, and for `dsl.get_uri`, which makes a URI of the task's root."""
    known_set = types.Artifact._set_path  # noqa: SLF001
    types_to_uri: Any = getattr(types, _CONVERT, None)

    def set_path(self: Any, path: str) -> None:
        uri = _swapped(path, uris)
        if uri is None:
            known_set(self, path)
        else:
            self.uri = uri

    def to_uri(path: str) -> str:
        return _swapped(path, uris) or types_to_uri(path)

    types.Artifact._set_path = set_path  # noqa: SLF001
    if types_to_uri is not None:
        setattr(types, _CONVERT, to_uri)


def _swapped(name: str, others: Any) -> Any:
    """What stands for the name: itself or what it lies below has another; None when neither has."""
    for known, other in others.items():
        if name == known or name.startswith(known + "/"):
            return other + name[len(known) :]
    return None


if __name__ == "__main__":
    main()
