"""`CreatePVC` and `DeletePVC` of kfp-kubernetes, which KFP's driver carries out itself: here a claim is a
folder.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Final

from penstock.execution.manifest import Outcome, OutputManifest
from penstock.execution.order import LaunchOrder
from penstock.execution.platform import PlatformRefusedError, claim
from penstock.model import ContainerExecutor, Executor, Reason

CREATE: Final = "argostub/createpvc"
DELETE: Final = "argostub/deletepvc"


def is_volume_task(executor: Executor) -> bool:
    return isinstance(executor, ContainerExecutor) and executor.image in (CREATE, DELETE)


def run_volume_task(order: LaunchOrder, home: Path) -> OutputManifest:
    """Make or remove the folder of a claim. A claim's name is `pvc_name`, or the run's name with
    `pvc_name_suffix`.
    """
    now = time.time()
    executor = order.executor
    given = order.inputs.parameters
    try:
        if isinstance(executor, ContainerExecutor) and executor.image == CREATE:
            name = str(
                given.get("pvc_name") or f"{order.run.resource_name}{given.get('pvc_name_suffix') or ''}"
            )
            claim(home, name).mkdir(mode=0o700, parents=True, exist_ok=True)
            return OutputManifest(
                order.attempt_id,
                Outcome.SUCCEEDED,
                0,
                parameters={"name": name},
                started_at=now,
                ended_at=time.time(),
            )
        shutil.rmtree(claim(home, str(given.get("pvc_name") or "")), ignore_errors=True)
    except (PlatformRefusedError, OSError) as problem:
        return OutputManifest(
            order.attempt_id,
            Outcome.FAILED,
            reason=Reason.INPUT,
            error=f"task '{order.task_name}' failed: {problem}",
            started_at=now,
            ended_at=time.time(),
        )
    return OutputManifest(order.attempt_id, Outcome.SUCCEEDED, 0, started_at=now, ended_at=time.time())
