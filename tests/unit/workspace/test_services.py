from __future__ import annotations

import pytest

from tests.conftest import ROOT
from tests.services import REQUIRE, SERVICES, Service

CORPUS = SERVICES["corpus"].variable
RUN = ("-p", "tests.services", "-p", "no:cacheprovider", "-p", "no:hypothesispytest")


@pytest.fixture(autouse=True)
def nothing_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(REQUIRE, raising=False)
    monkeypatch.delenv(CORPUS, raising=False)
    monkeypatch.delenv("TEST_REDIS", raising=False)
    for name in SERVICES.keys() - {"corpus"}:
        monkeypatch.delitem(SERVICES, name)
    monkeypatch.setitem(SERVICES, "redis", Service("TEST_REDIS", "a Redis"))


@pytest.fixture
def one_test(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.service("redis")
        def test_it(): ...
        """
    )
    return pytester


def test_a_test_without_its_service_is_skipped_with_the_reason(one_test: pytest.Pytester) -> None:
    result = one_test.runpytest_inprocess(*RUN, "-rs")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(
        [
            "redis: used by 0 tests, 1 skipped; not here: TEST_REDIS is not set",
            "*no redis here: TEST_REDIS does not*",
        ]
    )
    assert result.ret == 0


def test_a_required_service_that_is_missing_fails_its_tests(
    one_test: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(REQUIRE, "redis")
    result = one_test.runpytest_inprocess(*RUN)
    result.assert_outcomes(errors=2)
    result.stdout.fnmatch_lines(["*PENSTOCK_REQUIRE asks for it*", "no test has used redis"])
    assert result.ret == 1


def test_the_table_counts_the_tests_that_used_a_service(
    one_test: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_REDIS", "localhost")
    monkeypatch.setenv(REQUIRE, "all -corpus")
    result = one_test.runpytest_inprocess(*RUN)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["redis: used by 1 tests, 0 skipped", "*1 passed*"])
    assert result.ret == 0


def test_a_required_service_that_no_test_has_used_fails_the_session(
    one_test: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_REDIS", "localhost")
    monkeypatch.setenv(CORPUS, "/somewhere")
    monkeypatch.setenv(REQUIRE, "all")
    result = one_test.runpytest_inprocess(*RUN)
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["no test has used corpus", "*1 passed, 1 error*"])
    assert result.ret == 1


@pytest.mark.parametrize("level", ["", ", allow_module_level=True"])
def test_a_tests_own_skip_for_a_required_service_fails_the_session(
    level: str, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    skip = f"pytest.skip('TEST_REDIS is not set'{level})"
    pytester.makepyfile(f"import pytest\n{skip if level else f'def test_it(): {skip}'}")
    monkeypatch.setenv(REQUIRE, "redis")
    result = pytester.runpytest_inprocess(*RUN)
    result.stdout.fnmatch_lines(["*was skipped, and PENSTOCK_REQUIRE asks for redis*"])
    assert result.ret == 1


def test_the_corpus_fixture_needs_no_mark(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    pytester.makefile(".json", expected="[]")
    pytester.makepyfile("def test_it(corpus): assert (corpus / 'expected.json').exists()")
    monkeypatch.setenv(CORPUS, str(pytester.path))
    result = pytester.runpytest_inprocess(*RUN)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["corpus: used by 1 tests, 0 skipped"])


def test_a_folder_that_is_not_the_corpus_is_an_error(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytester.makepyfile("def test_it(corpus): ...")
    monkeypatch.setenv(CORPUS, str(pytester.path))
    result = pytester.runpytest_inprocess(*RUN)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([f"*{CORPUS}={pytester.path} is not the KFP corpus*"])


def test_a_mark_with_an_unknown_service_fails_its_test(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("import pytest\n@pytest.mark.service('abacus')\ndef test_it(): ...")
    result = pytester.runpytest_inprocess(*RUN)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["needs the service 'abacus'; there are: corpus, redis"])


def test_an_unknown_required_service_is_a_usage_error(
    one_test: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(REQUIRE, "abacus")
    result = one_test.runpytest_inprocess(*RUN)
    result.stderr.fnmatch_lines(["*PENSTOCK_REQUIRE names 'abacus'; there are: all, corpus, redis"])
    assert result.ret == pytest.ExitCode.USAGE_ERROR


def test_a_suite_without_tests_says_so_and_fails(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest_inprocess(*RUN)
    result.stdout.fnmatch_lines(["no test was collected*"])
    assert result.ret == 1


def test_parallel_workers_share_one_account(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytester.makefile(".json", expected="[]")
    pytester.makepyfile("def test_one(corpus): ...\ndef test_two(corpus): ...\ndef test_three(): ...")
    monkeypatch.setenv(CORPUS, str(pytester.path))
    monkeypatch.setenv(REQUIRE, "corpus")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    result = pytester.runpytest_subprocess(*RUN, "-n", "2")
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(["corpus: used by 2 tests, 0 skipped"])
    assert result.ret == 0
