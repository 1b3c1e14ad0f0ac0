"""What a task's own code reaches S3 with, if anything: variables of its environment, and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from penstock.artifacts import ArtifactError
from penstock.artifacts.s3.config import S3Config
from penstock.artifacts.stores import Stores
from penstock.execution.order import LaunchOrder

if TYPE_CHECKING:
    from penstock.artifacts.s3.store import S3ArtifactStore

_GRACE_SECONDS: Final = 600
"""For what comes before and after the task's own time."""

_WITHOUT_LIMIT: Final = 12 * 3600
"""Seconds for a task that may take as long as it likes; the longest that AWS gives."""


@dataclass(frozen=True, slots=True)
class TaskCredentials:
    """`kind` is that of PENSTOCK_S3_TASK_CREDENTIALS: none, sts or inherit; `role` an ARN, for AWS."""

    kind: str = "none"
    role: str = ""

    def variables(self, order: LaunchOrder, stores: Stores) -> dict[str, str]:
        """In AWS's words; none for a run whose root is elsewhere. Raises TaskError where S3 gives none."""
        if self.kind == "none":
            return {}
        from penstock.artifacts.s3.store import S3ArtifactStore

        store = stores.of(order.task_uri)
        if not isinstance(store, S3ArtifactStore):
            return {}
        try:
            given = self._inherited(store) if self.kind == "inherit" else self._limited(order, store)
        except ArtifactError as problem:
            raise ArtifactError(f"task '{order.task_name}' gets no S3 credentials: {problem}") from problem
        return {**_reaching(store.config), **given}

    def _inherited(self, store: S3ArtifactStore) -> dict[str, str]:
        found = store.client().credentials
        return _named(found.access_key, found.secret_key, found.session_token or "") if found else {}

    def _limited(self, order: LaunchOrder, store: S3ArtifactStore) -> dict[str, str]:
        from penstock.artifacts.s3.address import SCHEMES, parse
        from penstock.artifacts.s3.policy import session_policy
        from penstock.artifacts.s3.sts import assume_role

        # <root>/<pipeline>/<run id>/<task>/<attempt id>
        run = parse(order.task_uri.rsplit("/", 2)[0])
        inputs = [one.uri for many in order.inputs.artifacts.values() for one in many]
        read = [parse(uri) for uri in inputs if uri.partition("://")[0].lower() in SCHEMES]
        seconds = int(order.timeout) + _GRACE_SECONDS if order.timeout is not None else _WITHOUT_LIMIT
        found = assume_role(
            store.client(),
            store.config,
            session_policy(run, read),
            seconds,
            role=self.role,
            name=f"penstock-{order.attempt_id}"[:64],
        )
        return _named(found.access_key, found.secret_key, found.token)


NO_CREDENTIALS: Final = TaskCredentials()


def _reaching(config: S3Config) -> dict[str, str]:
    """`AWS_REGION` is also for what would ask for a bucket's region, which a limited session may not."""
    found = {
        "AWS_ENDPOINT_URL_S3": config.endpoint,
        "AWS_REGION": config.region or ("us-east-1" if config.endpoint else ""),
        "AWS_DEFAULT_REGION": config.region or ("us-east-1" if config.endpoint else ""),
        "AWS_CA_BUNDLE": config.ca_bundle,
    }
    return {name: value for name, value in found.items() if value}


def _named(access_key: str, secret_key: str, token: str) -> dict[str, str]:
    found: Mapping[str, str] = {
        "AWS_ACCESS_KEY_ID": access_key,
        "AWS_SECRET_ACCESS_KEY": secret_key,
        "AWS_SESSION_TOKEN": token,
    }
    return {name: value for name, value in found.items() if value}
