from __future__ import annotations

import json
from typing import Any

from penstock.artifacts.s3.address import parse
from penstock.artifacts.s3.policy import LONGEST, session_policy

RUN = parse("s3://bucket/root/iris/01a1")


def allowed(policy: str, action: str) -> list[str]:
    statements: list[dict[str, Any]] = json.loads(policy)["Statement"]
    return sorted(one for each in statements if action in each["Action"] for one in each["Resource"])


def test_a_run_may_write_below_its_prefix_only() -> None:
    policy = session_policy(RUN, [])
    assert allowed(policy, "s3:PutObject") == ["arn:aws:s3:::bucket/root/iris/01a1/*"]
    assert allowed(policy, "s3:DeleteObject") == ["arn:aws:s3:::bucket/root/iris/01a1/*"]
    assert "s3:*" not in policy


def test_inputs_of_other_runs_may_be_read_and_no_more() -> None:
    policy = session_policy(RUN, [parse("s3://data/in.csv"), parse("s3://bucket/root/iris/01a1/train/a/x")])
    assert allowed(policy, "s3:GetObject") == [
        "arn:aws:s3:::bucket/root/iris/01a1/*",
        "arn:aws:s3:::data/in.csv",
        "arn:aws:s3:::data/in.csv/*",
    ]
    assert allowed(policy, "s3:PutObject") == ["arn:aws:s3:::bucket/root/iris/01a1/*"]


def test_signs_of_patterns_in_a_key_stand_for_themselves() -> None:
    policy = session_policy(parse("s3://bucket/a*b?c$d"), [])
    assert allowed(policy, "s3:PutObject") == ["arn:aws:s3:::bucket/a${*}b${?}c${$}d/*"]


def test_too_many_inputs_are_allowed_by_what_they_have_in_common() -> None:
    many = [parse(f"s3://data/set/{number:04}/features") for number in range(1000)]
    policy = session_policy(RUN, many)
    assert len(policy) <= LONGEST
    assert "arn:aws:s3:::data/set/*" in allowed(policy, "s3:GetObject")
