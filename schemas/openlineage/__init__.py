"""The JSON schemas of our own facets in OpenLineage events, by the names of their files."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

FACETS: Mapping[str, bytes] = MappingProxyType(
    {path.name: path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.json"))}
)
