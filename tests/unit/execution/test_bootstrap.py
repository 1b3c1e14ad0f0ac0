"""The pip bootstrap of Python components, in every form that the KFP SDK has written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from penstock.execution.environments.bootstrap import Bootstrap, PipInstall, executor_module, parse_bootstrap
from penstock.execution.environments.shellwords import Operator, shell_tokens

GUARD = (
    '\nif ! [ -x "$(command -v pip)" ]; then\n'
    "    python3 -m ensurepip || python3 -m ensurepip --user || apt-get install python3-pip\nfi\n\n"
)
PIP = "python3 -m pip install --quiet --no-warn-script-location "
RUN = ("sh", "-ec", "program_path=$(mktemp -d)\n…", "def f(): pass")
NO_DEPS = "'kfp==2.14.3' '--no-deps' 'typing-extensions>=3.7.4,<5; python_version<\"3.9\"'"
KFP = PipInstall(("kfp==2.14.3", 'typing-extensions>=3.7.4,<5; python_version<"3.9"'), ("--no-deps",))


def script(installs: str) -> list[str]:
    return ["sh", "-c", f'{GUARD}PIP_DISABLE_PIP_VERSION_CHECK=1 {installs} && "$0" "$@"\n', *RUN]


def installs(text: str) -> tuple[PipInstall, ...] | None:
    found = parse_bootstrap(script(text))
    return found.installs if found else None


def test_a_component_without_packages_installs_kfp_alone() -> None:
    assert parse_bootstrap(script(PIP + NO_DEPS)) == Bootstrap((KFP,), RUN)


def test_packages_and_kfp_are_two_installs_in_the_order_written() -> None:
    user = PipInstall(("pandas", "scikit-learn>=1.2"))
    assert installs(f"{PIP}'pandas' 'scikit-learn>=1.2'  &&  {PIP}{NO_DEPS}") == (user, KFP)
    assert installs(f"{PIP}{NO_DEPS}  &&  {PIP}'pandas' 'scikit-learn>=1.2'") == (KFP, user)


def test_in_sdk_2_0_no_deps_covers_the_packages_of_the_same_call_too() -> None:
    found = installs(f"{PIP}'pandas' 'kfp==2.1.3' '--no-deps'")
    assert found == (PipInstall(("pandas", "kfp==2.1.3"), ("--no-deps",)),)


def test_sdk_2_0_beta_wrote_a_continued_line() -> None:
    broken = "python3 -m pip install --quiet \\\n    --no-warn-script-location 'kfp==2.0.0-beta.16'"
    joined = "python3 -m pip install --quiet     --no-warn-script-location 'kfp==2.0.0-beta.16'"
    assert installs(broken) == installs(joined) == (PipInstall(("kfp==2.0.0-beta.16",)),)


def test_sdk_1_8_tried_again_with_user() -> None:
    first = f"PIP_DISABLE_PIP_VERSION_CHECK=1 {PIP}'pandas==1.3'"
    text = f'({first} || {first} --user) && "$0" "$@"'
    assert parse_bootstrap(["sh", "-c", text, *RUN]) == Bootstrap((PipInstall(("pandas==1.3",)),), RUN)


def test_two_different_tries_are_not_recognised() -> None:
    text = f"({PIP}'pandas==1.3' || {PIP}'pandas' --user) && \"$0\" \"$@\""
    assert parse_bootstrap(["sh", "-c", text, *RUN]) is None


@pytest.mark.parametrize("before", ["", f"{PIP}'pandas'  &&  "])
def test_a_component_with_use_venv_is_satisfied_like_any_other(before: str) -> None:
    venv = (
        "\nexport PIP_DISABLE_PIP_VERSION_CHECK=1\ntmp=$(mktemp -d)\n"
        'python3 -m venv "$tmp/venv" --system-site-packages\n. "$tmp/venv/bin/activate"\n '
    )
    found = installs(f"{before}{venv}{PIP}{NO_DEPS}")
    assert found == ((PipInstall(("pandas",)), KFP) if before else (KFP,))


def test_index_options_are_kept_and_noise_is_not() -> None:
    urls = (
        "--index-url https://a.example/simple --extra-index-url https://b.example --trusted-host a.example "
    )
    assert installs(f"{PIP}{urls}'yapf'") == (
        PipInstall(
            ("yapf",),
            (
                "--index-url=https://a.example/simple",
                "--extra-index-url=https://b.example",
                "--trusted-host=a.example",
            ),
        ),
    )


def test_an_option_among_the_packages_counts_as_an_option() -> None:
    assert installs(f"{PIP}'--pre' 'torch' '--find-links=https://w.example' '-U'") == (
        PipInstall(("torch",), ("--pre", "--find-links=https://w.example", "--upgrade")),
    )


def test_markers_extras_and_urls_survive_their_quotes() -> None:
    words = [
        "foo; python_version<'3.9'",
        "uvicorn[standard]>=0.2",
        "kfp @ git+https://example.org/p.git@main#subdirectory=sdk",
    ]
    quoted = " ".join(repr(word) for word in words)
    assert installs(PIP + quoted) == (PipInstall(tuple(words)),)


def test_the_program_may_stand_in_the_args_instead() -> None:
    assert parse_bootstrap(script(PIP + "'a'")[:3]) == Bootstrap((PipInstall(("a",)),), ())


@pytest.mark.parametrize(
    "text",
    [
        "python3 -m pip install $PACKAGES",
        'python3 -m pip install "$(cat x)"',
        "python3 -m pip install `cat x`",
        "python3 -m pip install a; rm -rf x",
        "python3 -m pip install a > log",
        "python3 -m pip install a & b",
        "python3 -m pip install a || true",
        "python3 -m pip install a\npip install b",
        "python3 -m pip install -r /app/requirements.txt",
        "python3 -m pip install -e .",
        "python3 -m pip install ./here",
        "python3 -m pip install dist/a.whl",
        "python3 -m pip install 'a @ file:///src/a'",
        "python3 -m pip install --target /x a",
        "python3 -m pip install '--index-url https://a.example' a",
        "python3 -m pip install \"{{$.inputs.parameters['package']}}\"",
        "python3 -m pip install '{{$.inputs.parameters[\"package\"]}}'",
        "python3 -m pip install",
        "python3 -m pip uninstall a",
        "apt-get install -y git && python3 -m pip install a",
        "PIP_TARGET=/x python3 -m pip install a",
        "python3 -m pip install 'unclosed",
    ],
)
def test_what_needs_a_shell_a_disk_or_a_value_is_not_recognised(text: str) -> None:
    assert installs(text) is None


@pytest.mark.parametrize(
    "command",
    [
        [],
        ["sh", "-c"],
        ["echo", "-c", "python3 -m pip install a"],
        ["sh", "-c", 'pip install a && "$0"', "x"],
        ["sh", "-c", '&& "$0" "$@"', "x"],
        ["sh", "-c", 'pip install a && echo done && "$0" "$@"', "x"],
        ["sh", "-ec", "program_path=$(mktemp)", "def f(): pass"],
    ],
)
def test_other_commands_are_not_bootstraps(command: list[str]) -> None:
    assert parse_bootstrap(command) is None


def test_the_module_that_a_python_component_runs_is_found() -> None:
    source = [
        "sh",
        "-ec",
        '_KFP_RUNTIME=true python3 -m kfp.dsl.executor_main --component_module_path "$p" "$@"',
        "x",
    ]
    assert executor_module(source) == "kfp.dsl.executor_main"
    assert (
        executor_module(["python3", "-m", "kfp.v2.components.executor_main"])
        == "kfp.v2.components.executor_main"
    )
    assert executor_module(["python3", "-m", "trainer"]) is None
    assert executor_module(["sh", "-c", "echo kfp.dsl.executor_main"]) is None


_PLAIN = st.text(st.characters(codec="ascii", exclude_categories=("Cc",)), min_size=1)


@given(st.lists(_PLAIN.filter(lambda word: "'" not in word), min_size=1))
def test_single_quoted_words_come_back_as_they_were(words: list[str]) -> None:
    assert shell_tokens(" ".join(f"'{word}'" for word in words)) == words


def test_a_quoted_operator_is_a_word() -> None:
    assert shell_tokens("a '&&' \"||\" && (b)") == [
        "a", "&&", "||", Operator.AND, Operator.OPEN, "b", Operator.CLOSE
    ]  # fmt: skip


def _containers(found: object) -> Iterator[dict[str, Any]]:
    if isinstance(found, dict):
        for key, value in cast("dict[str, Any]", found).items():
            if key == "container" and isinstance(value, dict):
                yield cast("dict[str, Any]", value)
            else:
                yield from _containers(value)
    elif isinstance(found, list):
        for value in cast("list[object]", found):
            yield from _containers(value)


def test_every_bootstrap_of_the_corpus_is_recognised(corpus: Path) -> None:
    seen = 0
    for file in sorted((corpus / "pipelines").iterdir()):
        for container in _containers(list(yaml.load_all(file.read_text(), yaml.CSafeLoader))):
            command = [str(word) for word in container.get("command", [])]
            if executor_module(command):
                seen += 1
                found = parse_bootstrap(command)
                assert found is not None, (file.name, command[2])
                assert executor_module(found.command)
    assert seen > 200
