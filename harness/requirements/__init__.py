"""Versioned limits as data, one TOML file a standard.

A plan names a requirement by family and key (``jeac9701.sag_20_restore``); the edition that the folder
holds is found, and the verdict carries the whole identity (``jeac9701_2024.sag_20_restore``, with the
hash of the file). Where two editions stand side by side, the short name is refused and the long one asked.
Numbers and clause references only: no text of any standard is kept here.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from harness.errors import ConfigurationError, near_miss
from harness.requirements.files import RequirementFile, read
from harness.requirements.requirement import Bound, Label, Limits, Requirement, Rule, Version
from harness.requirements.tables import Mode, RideThroughBand, SegmentRow, SequenceTable, TripSetting

__all__ = [
    "Bound",
    "Label",
    "Limits",
    "Mode",
    "Requirement",
    "Requirements",
    "RideThroughBand",
    "Rule",
    "SegmentRow",
    "SequenceTable",
    "TripSetting",
    "Version",
]

_HERE = Path(__file__).parent

T = TypeVar("T")


class Requirements(Mapping[str, Requirement]):
    """All requirement files of an installation, and those that a site adds."""

    def __init__(self, files: Sequence[RequirementFile]) -> None:
        self._files = tuple(files)
        self._by_id = {item.id: item for file in self._files for item in file.requirements}
        self._by_family: dict[str, list[Requirement]] = {}
        for item in self._by_id.values():
            key = item.id.partition(".")[2]
            self._by_family.setdefault(f"{item.version.family}.{key}", []).append(item)

    @classmethod
    def load(cls, *more: Path) -> Requirements:
        """Read the files beside this module, then every ``*.toml`` of the folders in ``more``.

        Raises:
            ConfigurationError: with every mistake of every file.
        """
        paths = [path for folder in (_HERE, *more) for path in sorted(folder.glob("*.toml"))]
        found: list[RequirementFile] = []
        mistakes: list[str] = []
        names: set[str] = set()
        for path in paths:
            if path.name in names:
                mistakes.append(f"{path}: a file of this name is already loaded")
            names.add(path.name)
            file, wrong = read(path)
            mistakes += wrong
            if file is not None:
                found.append(file)
        if mistakes:
            raise ConfigurationError(*mistakes)
        return cls(found)

    def __getitem__(self, requirement_id: str) -> Requirement:
        """Find by ``<file>.<key>`` or ``<family>.<key>``.

        Raises:
            ConfigurationError: unknown, with the nearest names; or two editions answer to it.
        """
        if requirement_id in self._by_id:
            return self._by_id[requirement_id]
        editions = self._by_family.get(requirement_id, [])
        if len(editions) == 1:
            return editions[0]
        if editions:
            names = ", ".join(sorted(item.id for item in editions))
            raise ConfigurationError(
                f"requirement {requirement_id!r} stands in several editions: say {names}"
            )
        known = {**self._by_family, **self._by_id}
        near = difflib.get_close_matches(requirement_id, known, n=3, cutoff=0.6)
        hint = (
            f"; did you mean {' or '.join(near)}?" if near else f"; there are {len(self._by_id)} requirements"
        )
        raise ConfigurationError(f"no requirement {requirement_id!r}{hint}")

    def __contains__(self, requirement_id: object) -> bool:
        return requirement_id in self._by_id or len(self._by_family.get(str(requirement_id), [])) == 1

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_id)

    def __len__(self) -> int:
        return len(self._by_id)

    def versions(self) -> tuple[Version, ...]:
        """Identities of all files, for the record."""
        return tuple(file.version for file in self._files)

    def version(self, name: str) -> Version:
        """Find a file's identity by its name (``jeac9701_2024``), or by a family that has one edition.

        Raises:
            ConfigurationError: unknown, with the families there are; or two editions answer to it.
        """
        found = [version for version in self.versions() if name in {version.family, version.id}]
        if len(found) > 1:  # a file's own name means that file
            found = [version for version in found if version.id == name] or found
        if len(found) == 1:
            return found[0]
        if found:
            names = ", ".join(sorted(version.id for version in found))
            raise ConfigurationError(f"{name!r} stands in several editions: say {names}")
        known = sorted({version.family for version in self.versions()})
        raise ConfigurationError(
            f"no requirement file for {name!r}; known: {', '.join(known)}{near_miss(name, known)}"
        )

    def bands(self, category: str) -> tuple[RideThroughBand, ...]:
        """Ride-through rows of a category, as the one file that has them gives them.

        Raises:
            ConfigurationError: no file has rows for it, or two editions do.
        """
        sets = [[band for band in file.bands if band.category == category] for file in self._files]
        return tuple(_only(sets, f"ride-through rows for category {category!r}"))

    def trips(self, category: str) -> Mapping[str, TripSetting]:
        """Trip rows of a category by function, the frequency rows of all categories included.

        Raises:
            ConfigurationError: no file has rows for it, or two editions do.
        """
        sets = [
            [trip for trip in file.trips if trip.category in (category, "all")]
            for file in self._files
            if any(trip.category == category for trip in file.trips)
        ]
        return {trip.function: trip for trip in _only(sets, f"trip rows for category {category!r}")}

    def sequence(self, name: str) -> SequenceTable:
        """Ride-through signal by name (``lvrt_2``).

        Raises:
            ConfigurationError: unknown, with the names there are; or two editions have it.
        """
        known = sorted(table.name for file in self._files for table in file.sequences)
        sets = [[table for table in file.sequences if table.name == name] for file in self._files]
        return _only(sets, f"sequence {name!r}; there are: {', '.join(known)}")[0]


def _only(sets: Sequence[Sequence[T]], what: str) -> Sequence[T]:
    """Take what exactly one file has."""
    filled = [rows for rows in sets if rows]
    if not filled:
        raise ConfigurationError(f"no {what}")
    if len(filled) > 1:
        raise ConfigurationError(f"{len(filled)} editions have {what}: load the one that is to be judged by")
    return filled[0]
