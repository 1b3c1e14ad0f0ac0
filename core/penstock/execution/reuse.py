"""What an importer without `reimport` put out before (KFP: `importer_launcher.go`)."""

from __future__ import annotations

from collections.abc import Mapping

from penstock.execution.session import Session
from penstock.model import Artifact, ImporterExecutor
from penstock.store import Store


def reuse_imported(
    store: Store, session: Session, path: str, artifacts: Mapping[str, tuple[Artifact, ...]]
) -> Mapping[str, tuple[Artifact, ...]]:
    """The outputs of the task at `path`, an earlier identical artifact of the pipeline standing for each
    imported one.

    Identical: the same type, place and metadata and, beyond KFP, the same content as far as it can be read.
    Tasks that read it then keep their cache key. Everything else, and what is imported anew, stays as it is.
    """
    executor = session.pipeline.executor_of(session.ledger.place(path).component)
    if not isinstance(executor, ImporterExecutor) or executor.reimport:
        return artifacts

    def former(artifact: Artifact) -> Artifact:
        found = store.artifacts.find_identical(
            artifact.type, artifact.uri, artifact.metadata, session.cache_scope, session.run.namespace
        )
        same = found is not None and (found.size, found.sha256) == (artifact.size, artifact.sha256)
        return found if found is not None and same else artifact

    return {name: tuple(former(one) for one in many) for name, many in artifacts.items()}
