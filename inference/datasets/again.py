"""Building a dataset again from its manifest, and saying what is the same."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inference.datasets.dataset import Asked, Dataset, build
from inference.datasets.manifest import Manifest, Part, parse
from inference.datasets.shelf import kept
from infra.kafka.fetch import name_of
from infra.kafka.ranges import checked
from infra.kafka.records import Decoder
from infra.kafka.replay import WORKERS, Report
from infra.settings import Settings
from schemas.errors import Gone, Invalid, Problem, Unavailable

NOT_COMPARED = frozenset({"erasures", "erased_users", "erased", "erased_since", "format"})
"""Who has been erased is looked up anew each time; it matters only where it takes rows away."""
NOT_RECORDED = frozenset({"users", "items", "parts"})
"""What manifests of format 2 did not say."""

REMEDIES: Mapping[str, str] = {
    "range_past_end": "so this is another log, or an older copy of it: rows that were exported can still be "
    "held against the hash in the manifest",
    "unknown_partition": "so this is another log: verify it with the settings of the one that it was built from",
    "range_before_start": "rows that were exported can still be held against the hash in the manifest, and the ranges "
    "that are still there built as a new dataset",
}


@dataclass(frozen=True)
class Comparison:
    """A manifest beside what building it again gave.

    Attributes:
        name: of the manifest.
        was: what was recorded.
        now: what was built.
    """

    name: str
    was: Manifest
    now: Manifest

    @property
    def identical(self) -> bool:
        """Whether rows, features and counts are the same."""
        return not self.differing

    @property
    def differing(self) -> list[str]:
        """Names of what is not the same; what the manifest did not record is not compared."""
        was, now = self.was.as_dict(), self.now.as_dict()
        skipped = NOT_COMPARED | (NOT_RECORDED if self.was.format < 3 else frozenset())
        return [name for name in was if name not in skipped and was[name] != now[name]]

    @property
    def lost(self) -> int:
        """Interactions that are left out now because their people have been erased since."""
        return max(self.now.erased_since - self.was.erased_since, 0)

    @property
    def same_parts(self) -> list[Part]:
        """The ranges whose rows are still the same."""
        now = {(part.range, part.sha256) for part in self.now.parts}
        return [part for part in self.was.parts if (part.range, part.sha256) in now]

    @property
    def verdict(self) -> str:
        """What is to be said of it, in a sentence."""
        if self.identical:
            return f"identical: {self.was.rows:,} rows with content {self.was.sha256}"
        if set(self.differing) <= {"features", "known"} and self.now.erased_users > self.was.erased_users:
            return (
                f"its {self.was.rows:,} rows are identical, its features cannot be made again: they counted what "
                "people did who have been erased since; the same features can be built as a new dataset"
            )
        parts = f"{len(self.same_parts)} of {len(self.was.parts)} ranges are still identical"
        if self.lost and (self.was.rows - self.lost == self.now.rows or self.was.filters.wants_core):
            return (
                f"cannot be made again: {self.lost:,} of its interactions are of people who have been erased since, "
                f"and are not used any more; {parts}, and what is left can be built as a new dataset"
            )
        return f"NOT identical: {', '.join(self.differing)} differ; {parts}"

    def as_json(self) -> str:
        """For other programs."""
        said: dict[str, Any] = {
            "manifest": self.name,
            "identical": self.identical,
            "verdict": self.verdict,
            "differing": self.differing,
            "lost": self.lost,
            "identical_ranges": [name_of(part.range) for part in self.same_parts],
            "was": self.was.as_dict(),
            "now": self.now.as_dict(),
        }
        return json.dumps(said, indent=2)


async def verify(
    settings: Settings,
    decoder: Decoder,
    name: str,
    manifest: Manifest,
    workers: int = WORKERS,
    report: Report | None = None,
) -> tuple[Comparison, Dataset]:
    """Build what the manifest says again and compare.

    Raises:
        Gone: part of its ranges is no longer in the log, or not yet; the message says what can still be done.
        Invalid: it is of another tenant, or a feature has changed.
        Incompatible, Unavailable: the log cannot be read.
    """
    check_tenant(settings, name, manifest)
    asked = Asked.again(manifest, workers)
    with _remedies(name):
        dataset = await build(settings, decoder, manifest.ranges, report, asked)
    return Comparison(name, manifest, dataset.manifest), dataset


async def check(settings: Settings, name: str, manifest: Manifest) -> None:
    """See that the rows of a manifest can be made from this log, before anything is read.

    Raises:
        Gone, Invalid, Unavailable: as `verify`.
    """
    check_tenant(settings, name, manifest)
    with _remedies(name):
        await checked(settings, manifest.ranges)


def check_tenant(settings: Settings, name: str, manifest: Manifest) -> None:
    """See that a manifest is of the tenant whose data we read.

    Raises:
        Invalid: it is of another.
    """
    if manifest.tenant != settings.tenant:
        raise Invalid(
            f"{name} is a dataset of tenant {manifest.tenant}: set RETRACE_TENANT={manifest.tenant} to make it again",
            code="other_tenant",
        )


@contextmanager
def _remedies(name: str) -> Iterator[None]:
    """Say what can still be done where the log does not have what is needed."""
    try:
        yield
    except Problem as problem:
        if problem.code not in REMEDIES:
            raise
        detail = f"{name} cannot be made again from this log: {problem.detail}; {REMEDIES[problem.code]}"
        raise Gone(detail, code=problem.code) from problem


def find(settings: Settings, name: str) -> Manifest:
    """A manifest by its file, its folder, or a hash under which the store keeps it.

    Raises:
        NotFound: there is none.
        Invalid: it cannot be read.
        Unavailable: the store does not answer.
    """
    path = Path(name)
    if path.is_dir():
        path = path / "manifest.json"
    try:
        return parse(path.read_bytes(), str(path)) if path.is_file() else parse(kept(settings, name), name)
    except OSError as fault:
        raise Unavailable(f"{name} cannot be read: {fault}") from fault
