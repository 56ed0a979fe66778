"""How to reach Elasticsearch."""

from elasticsearch import AsyncElasticsearch

from infra.settings import Settings

WRITTEN = ["items.*._id", "items.*.status", "items.*.result", "items.*.error.reason"]
"""What we want to know of a bulk; all there is to say would cost as much as writing it."""


def make_elastic(settings: Settings, *, timeout_s: float = 30) -> AsyncElasticsearch:
    """A client, to be used with `async with`.

    A request that a broken connection swallowed is sent again: what we ask may be asked twice, since documents carry
    external versions. A request that only takes long is not.
    """
    key = settings.elastic.api_key
    return AsyncElasticsearch(
        settings.elastic.url,
        api_key=key.get_secret_value() if key else None,
        request_timeout=timeout_s,
        max_retries=2,
        retry_on_timeout=False,
    )


def index_name(settings: Settings, name: str) -> str:
    """Name on the servers of the index or alias that we call `name`."""
    return settings.elastic.index_prefix + name
