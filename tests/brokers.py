"""Pytest plugin: databases of a test's own on the Redis that is there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from tests.services import need

_CLAIM = "penstock-test:database-{number}"
_CLAIM_SECONDS = 7200
"""After which the database of a session that was killed is free again."""


@contextmanager
def fresh_broker() -> Iterator[str]:
    """The URL of an empty database, which nobody else uses meanwhile; emptied afterwards."""
    import redis

    server = need("redis")
    number, token = 0, uuid4().hex
    with cast("Any", redis.Redis).from_url(f"{urlsplit(server)._replace(path='/0').geturl()}") as claims:
        for number in range(1, 16):
            if claims.set(_CLAIM.format(number=number), token, nx=True, ex=_CLAIM_SECONDS):
                break
        else:
            pytest.fail(f"all databases of {server} are in use; see its keys penstock-test:*", pytrace=False)
        url = urlsplit(server)._replace(path=f"/{number}").geturl()
        with cast("Any", redis.Redis).from_url(url) as own:
            own.flushdb()
            try:
                yield url
            finally:
                own.flushdb()
                claims.delete(_CLAIM.format(number=number))


@pytest.fixture
def broker_url() -> Iterator[str]:
    with fresh_broker() as url:
        yield url
