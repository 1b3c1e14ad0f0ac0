"""Pytest plugin: which tests need a real service, whether it is there, and how many tests have used it.

`@pytest.mark.service("redis")` marks a test that needs one; the KFP corpus counts as one, marked `corpus` or
just asked for as the fixture. A service is there when its variable is set. Where it is not, its tests are
skipped with the reason; under `PENSTOCK_REQUIRE` (`all`, or names; `-name` takes one out again) that, and a
required service that no test has used, fails the session.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

REQUIRE = "PENSTOCK_REQUIRE"
_PROPERTY = "service"


@dataclass(frozen=True, slots=True)
class Service:
    """`variable` says where the service is, in the words of `value`."""

    variable: str
    value: str


SERVICES = {
    "corpus": Service("PENSTOCK_TEST_KFP_CORPUS", "the folder of the KFP corpus"),
    "postgres": Service("PENSTOCK_TEST_POSTGRES_URL", "a PostgreSQL where databases may be made"),
    "redis": Service("PENSTOCK_TEST_REDIS_URL", "a Redis whose databases 1 to 15 may be used"),
    "s3": Service("PENSTOCK_TEST_S3_ENDPOINT", "the URL of an S3 where buckets may be made"),
    "mlflow": Service("PENSTOCK_TEST_MLFLOW_URI", "an MLflow tracking server"),
    "kubernetes": Service("PENSTOCK_TEST_KUBECONFIG", "the kubeconfig of a cluster whose pods reach the S3"),
    "servers": Service("PENSTOCK_TEST_SERVERS", "a folder of scripts that start and stop servers"),
}


def required() -> set[str]:
    """The names in PENSTOCK_REQUIRE. Raises pytest.UsageError for one that no service has."""
    found: set[str] = set()
    for word in os.environ.get(REQUIRE, "").replace(",", " ").split():
        name = word.removeprefix("-")
        if name != "all" and name not in SERVICES:
            raise pytest.UsageError(f"{REQUIRE} names {name!r}; there are: all, {', '.join(SERVICES)}")
        names = set(SERVICES) if name == "all" else {name}
        found = found - names if word.startswith("-") else found | names
    return found


def need(name: str) -> str:
    """Where the service is. Without it the running test is skipped or, if it is required, fails."""
    if name not in SERVICES:
        pytest.fail(f"needs the service {name!r}; there are: {', '.join(SERVICES)}", pytrace=False)
    service = SERVICES[name]
    found = os.environ.get(service.variable, "")
    if not found:
        reason = f"no {name} here: {service.variable} does not name {service.value}"
        if name in required():
            pytest.fail(f"{reason}, and {REQUIRE} asks for it", pytrace=False)
        pytest.skip(reason)
    return found


@pytest.fixture(scope="session")
def corpus() -> Path:
    """The folder of the KFP corpus: `pipelines/`, `expected.json`, `vectors/`."""
    folder = Path(need("corpus"))
    if not (folder / "expected.json").is_file():
        pytest.fail(f"{SERVICES['corpus'].variable}={folder} is not the KFP corpus", pytrace=False)
    return folder


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "service(name): needs this real service")
    config.addinivalue_line("markers", "corpus: needs the KFP corpus")
    required()
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(_Account(config), "penstock-services")


def services_of(item: pytest.Item) -> Iterator[str]:
    for mark in item.iter_markers("service"):
        yield from mark.args
    if item.get_closest_marker("corpus") or "corpus" in getattr(item, "fixturenames", ()):
        yield "corpus"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        item.user_properties.extend((_PROPERTY, name) for name in dict.fromkeys(services_of(item)))


def pytest_runtest_setup(item: pytest.Item) -> None:
    for name in services_of(item):
        need(name)


class _Account:
    """Kept where the results come together: with xdist not in the workers."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._used: Counter[str] = Counter()
        self._skipped: Counter[str] = Counter()
        self._missing: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        names = [str(name) for key, name in report.user_properties if key == _PROPERTY]
        if report.skipped and not hasattr(report, "wasxfail"):
            self._skipped.update(names)
            self._look_for_missing(report)
        elif report.when == "call":
            self._used.update(names)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.skipped:
            self._look_for_missing(report)

    def _look_for_missing(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        """A test may also look for a service itself; then its reason names the variable."""
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longreprtext
        for name in required():
            if SERVICES[name].variable in reason:
                self._missing.append(f"{report.nodeid} was skipped, and {REQUIRE} asks for {name}: {reason}")

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self._config.option.collectonly or session.exitstatus in (
            pytest.ExitCode.INTERRUPTED,
            pytest.ExitCode.INTERNAL_ERROR,
            pytest.ExitCode.USAGE_ERROR,
        ):
            return
        unused = [f"no test has used {name}" for name in sorted(required()) if not self._used[name]]
        errors = self._missing + unused
        if session.exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED:
            errors.append("no test was collected: a suite without tests proves nothing")
        if not errors:
            return
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        terminal = self._config.pluginmanager.get_plugin("terminalreporter")
        if terminal is not None:
            reports = [pytest.CollectReport("services", "failed", error, None) for error in errors]
            terminal.stats.setdefault("error", []).extend(reports)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        terminalreporter.section("services")
        for name, service in SERVICES.items():
            used, skipped = self._used[name], self._skipped[name]
            where = "" if os.environ.get(service.variable) else f"; not here: {service.variable} is not set"
            line = f"{name}: used by {used} tests, {skipped} skipped{where}"
            terminalreporter.write_line(line, red=name in required() and not used)
