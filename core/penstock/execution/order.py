"""What *prepare* hands to *launch*: everything one attempt needs, and nothing of the database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from penstock.model import Component, Executor, Json, Values


@dataclass(frozen=True, slots=True)
class RunFields:
    """What the run-level placeholders stand for (KFP driver: `{{$.pipeline_job_name}}` and its kin).

    `name` is the run's display name, `resource_name` starts with `<pipeline name>-`, times are RFC 3339 in
    UTC.
    """

    run_id: str
    name: str
    resource_name: str
    pipeline_name: str
    pipeline_root: str
    create_time: str
    schedule_time: str

    def placeholders(self) -> dict[str, str]:
        """The values by the name between `{{$.` and `}}`."""
        return {
            "pipeline_job_name": self.name,
            "pipeline_job_resource_name": self.resource_name,
            "pipeline_job_uuid": self.run_id,
            "pipeline_job_create_time_utc": self.create_time,
            "pipeline_job_schedule_time_utc": self.schedule_time,
            "pipeline_root": self.pipeline_root,
        }


@dataclass(frozen=True, slots=True)
class LaunchOrder:
    """One attempt of one leaf task.

    `attempt_id` names the attempt everywhere (directories, pods): whoever starts it twice must find the
    first. `inputs` are resolved: parameters converted to their declared types, absent optional ones left out.
    `output_uris` gives each declared output artifact its place below `<root>/<pipeline>/<run
    id>/<task>/<attempt>/`. `timeout` is in seconds, counted from the start of the attempt. `retry_index` is
    0 for the first try (KFP_RETRY_INDEX). `platform` is the executor's Kubernetes configuration as written,
    `platform_parameters` the values that its parameter references resolve to, by input name, `workspace_spec`
    what the pipeline says of the volume that its tasks share. `environment`
    are variables for the command that stand in no pipeline; those that its executor declares win.
    """

    attempt_id: str
    run: RunFields
    path: str
    task_name: str
    component: Component
    executor: Executor
    inputs: Values
    output_uris: Mapping[str, str]
    task_uri: str
    number: int = 1
    generation: int = 0
    retry_index: int = 0
    timeout: float | None = None
    platform: Mapping[str, Json] = field(default_factory=dict[str, Json])
    workspace: bool = False
    workspace_spec: Mapping[str, Json] = field(default_factory=dict[str, Json])
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
