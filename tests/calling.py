"""Calling services over HTTP from tests."""

import aiohttp

from infra.access.client import headers_of
from infra.settings import Settings

KEPT_S = 3.0
"""Services close a connection that nobody has used for 5 s, and a test may wait for longer than that for its turn."""


def http_session(settings: Settings) -> aiohttp.ClientSession:
    """With the key of the settings."""
    return aiohttp.ClientSession(headers=headers_of(settings), connector=aiohttp.TCPConnector(keepalive_timeout=KEPT_S))
