"""One family of exceptions. Every message is a sentence for a person: what is wrong, where, what to do."""

from __future__ import annotations


class PenstockError(Exception):
    """The root of everything penstock raises on purpose.

    The text of the exception is shown to the user as it stands; no traceback goes with it.
    """


class InvalidInputError(PenstockError):
    """Something the user handed in cannot be used: a file, an argument, a setting. CLI exit code 2."""


class InvalidPipelineError(InvalidInputError):
    """A pipeline document is not valid IR, or asks for something that penstock refuses.

    `place` is the path inside the document (`root.dag.tasks.train`), `source` the file's name, `remedy` what
    to do.
    """

    def __init__(self, problem: str, *, place: str = "", source: str = "", remedy: str = "") -> None:
        self.problem = problem
        self.place = place
        self.source = source
        self.remedy = remedy
        super().__init__(problem)

    def __str__(self) -> str:
        where = ": ".join(part for part in (self.source, self.place) if part)
        text = f"{where}: {self.problem}" if where else self.problem
        return f"{text.rstrip('.')}. {self.remedy}" if self.remedy else text


class InvalidArgumentError(InvalidInputError):
    """An argument of a run is missing, unknown, or of the wrong type. Mirrors KFP's InvalidArgument at submit
    time.
    """


class TaskError(PenstockError):
    """A task cannot go on; the text becomes the task's recorded error and the task ends FAILED."""


class ResolutionError(TaskError):
    """An input, a condition or a placeholder of a task cannot be resolved from what is recorded."""


class NotFoundError(PenstockError):
    """A run, task, artifact or pipeline that was asked for is not recorded."""


class IllegalTransitionError(PenstockError):
    """A state change that the state machine forbids, or that lost a compare-and-set race."""


class StoreError(PenstockError):
    """The database cannot do what it was asked: busy for too long, disk full, damaged, gone."""


class StoreAwayError(StoreError):
    """The database has gone away, or asks for another try: nothing of the transaction was recorded, and it
    may be repeated.

    `problem` is the sentence without the remedy, for one who waits.
    """

    def __init__(self, problem: str, remedy: str = "") -> None:
        self.problem = problem
        super().__init__(f"{problem}; {remedy}" if remedy else problem)


class LeaseError(PenstockError):
    """Another engine drives the run, or has taken it over: whoever gets this must stop driving it."""
