"""What a session may do: everything with the objects of one run, and read some others."""

from __future__ import annotations

import json
import os.path
from collections.abc import Iterable, Sequence
from typing import Final

from penstock.artifacts.s3.address import Address

LONGEST: Final = 2048
"""Characters that AWS allows a session policy."""

_WRITE: Final = (
    "s3:GetObject",
    "s3:PutObject",
    "s3:DeleteObject",
    "s3:AbortMultipartUpload",
    "s3:ListMultipartUploadParts",
)


def session_policy(run: Address, read: Iterable[Address]) -> str:
    """JSON. `run` is the prefix of the run; `read` are files and directories elsewhere.

    Of too many of those for a policy, what their keys in a bucket have in common is allowed.
    """
    others = [one for one in read if not _within(one, run)]
    for exact in (True, False):
        prefixes = [(one.bucket, one.key) for one in others] if exact else _in_common(others)
        text = json.dumps(_document(run, sorted(set(prefixes))), separators=(",", ":"))
        if len(text) <= LONGEST:
            break
    return text


def _document(run: Address, prefixes: Sequence[tuple[str, str]]) -> dict[str, object]:
    readable = [arn for bucket, key in prefixes for arn in (_arn(bucket, key), _arn(bucket, key, "/*"))]
    listed = [(run.bucket, run.key), *prefixes]
    statements: list[dict[str, object]] = [
        {"Effect": "Allow", "Action": _WRITE, "Resource": [_arn(run.bucket, run.key, "/*")]},
        {
            "Effect": "Allow",
            "Action": ["s3:GetBucketLocation"],
            "Resource": [_arn(bucket) for bucket in sorted({bucket for bucket, _ in listed})],
        },
    ]
    if readable:
        statements.append({"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": readable})
    for bucket in sorted({bucket for bucket, _ in listed}):
        keys = [_literal(key) for other, key in listed if other == bucket]
        statements.append(
            {
                "Effect": "Allow",
                "Action": ["s3:ListBucket"],
                "Resource": [_arn(bucket)],
                "Condition": {"StringLike": {"s3:prefix": [*keys, *(f"{key}/*" for key in keys)]}},
            }
        )
    return {"Version": "2012-10-17", "Statement": statements}


def _within(one: Address, run: Address) -> bool:
    return one.bucket == run.bucket and (one.key == run.key or one.key.startswith(run.prefix))


def _in_common(many: Sequence[Address]) -> list[tuple[str, str]]:
    """By bucket, the longest path above all keys; empty where there is none."""
    found: list[tuple[str, str]] = []
    for bucket in {one.bucket for one in many}:
        keys = [one.key for one in many if one.bucket == bucket]
        found.append((bucket, os.path.commonpath(keys)))
    return found


def _arn(bucket: str, key: str = "", end: str = "") -> str:
    if not key:
        return f"arn:aws:s3:::{bucket}{end}"
    return f"arn:aws:s3:::{bucket}/{_literal(key)}{end}"


def _literal(key: str) -> str:
    """Policies take `*`, `?` and `$` for patterns, and these forms for the characters themselves."""
    return "".join(f"${{{one}}}" if one in "*?$" else one for one in key)
