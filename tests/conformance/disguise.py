"""The same pipeline under other names and in another order: nothing an engine does may hang on either."""

from __future__ import annotations

from typing import Any

CHANNEL, OTHER_CHANNEL = "pipelinechannel--", "ch."
MARK = "zz-"
_DATA = frozenset({"constant", "defaultValue", "raw", "metadata", "literals", "args", "command"})
_TASK_REFERENCES = frozenset({"producerTask", "producerSubtask"})
_NAMED_IN_USER_CODE = ("taskFinalStatus", "pipeline_task_name", "pipelineTaskName")


def disguise(documents: list[Any], *, keep_channels: bool = False) -> list[Any]:
    """Components, executors and internal parameters renamed, tasks too unless user code sees their names;
    maps reversed. `keep_channels` leaves the compiler's names for what goes between tasks, and theirs.
    """
    rename_tasks = not keep_channels and not any(word in str(documents) for word in _NAMED_IN_USER_CODE)
    other = CHANNEL if keep_channels else OTHER_CHANNEL
    return [_reversed(_renamed(one, rename_tasks, other)) for one in documents]


def undisguise(name: str) -> str:
    """A task path or an output name of a disguised pipeline as it was before."""
    path = "/".join(step.removeprefix(MARK) for step in name.split("/"))
    return path.replace(OTHER_CHANNEL, CHANNEL)


def _renamed(value: Any, tasks: bool, channel: str, key: str = "", parent: str = "") -> Any:
    if isinstance(value, dict):
        found: dict[Any, Any] = {}
        for name, inner in value.items():
            new = name.replace(CHANNEL, channel) if isinstance(name, str) else name
            if (key in ("components", "executors") and parent != "parameters") or (key == "tasks" and tasks):
                new = MARK + new
            found[new] = _renamed(inner, tasks, channel, name, key)
        return found
    if isinstance(value, list):
        return [_renamed(inner, tasks, channel, key, parent) for inner in value]
    if not isinstance(value, str):
        return value
    if key == "executorLabel" or (key == "name" and parent == "componentRef"):
        return MARK + value
    if tasks and (key in _TASK_REFERENCES or key == "dependentTasks"):
        return MARK + value
    if key in ("command", "args"):
        return value
    return value.replace(CHANNEL, channel)


def _reversed(value: Any, key: str = "") -> Any:
    if key in _DATA:
        return value
    if isinstance(value, dict):
        return {name: _reversed(inner, name) for name, inner in reversed(value.items())}
    if isinstance(value, list):
        return [_reversed(inner) for inner in value]
    return value
