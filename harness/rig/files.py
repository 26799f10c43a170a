"""Rig, product and site files: found by name or path, checked whole, written back."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from harness.errors import ConfigurationError, near_miss
from harness.requirements import Requirements
from harness.rig.driver_folders import FindDriver, find_driver
from harness.rig.product_file import ProductFile
from harness.rig.rig_file import RigFile, read_rig
from harness.rig.site_file import SiteFile
from harness.rig.toml_file import mistakes_of, parse_toml, read_part, toml_text

WRITTEN = "# Written by rackproof emulate, which may write it anew.\n"
"""First line of a rig file that nobody has written by hand."""

FOLDERS = {"rig": "rigs", "product": "products", "site": "sites"}
"""Where files of each kind lie, under a project's ``fixtures/`` and in the installed package."""

PLAN_LISTS = {"rig": "plans", "product": "acceptance_plans"}
"""The key under which a file of each kind lists ids of plans."""


@dataclass(frozen=True, slots=True)
class Source:
    """A file as it was found.

    Attributes:
        label: what messages call it.
        content: its bytes.
        name: the name it was found by; None where it was found by its path.
    """

    label: str
    content: bytes
    name: str | None = None

    @property
    def sha256(self) -> str:
        """Hash of the bytes, for the record."""
        return hashlib.sha256(self.content).hexdigest()


def find_file(kind: str, name_or_path: str | Path, root: Path = Path()) -> Source:
    """Find a file of a kind (``rig``, ``product``, ``site``) and read its bytes.

    Args:
        kind: a key of ``FOLDERS``.
        name_or_path: anything with a slash or ending in ``.toml`` is a path; else a name, looked up in the
            project's ``fixtures/`` and then in the installed package.
        root: the project's folder; relative paths and names start from it.

    Raises:
        ConfigurationError: there is no such file, or it cannot be read.
    """
    asked = str(name_or_path)
    if isinstance(name_or_path, Path) or "/" in asked or asked.endswith(".toml"):
        return Source(asked, _bytes_of(root / asked, asked))
    for folder in _folders(kind, root):
        file = folder / f"{asked}.toml"
        if file.is_file():
            return Source(f"{asked}.toml", _bytes_of(file, f"{asked}.toml"), asked)
    known = known_names(kind, root)
    raise ConfigurationError(
        f"unknown {kind} {asked!r}; known: {', '.join(known) or 'none'}; "
        f"looked in {_of_project(kind, root)} and in the installed package{near_miss(asked, known)}"
    )


def known_names(kind: str, root: Path = Path()) -> list[str]:
    """Names of all files of a kind, the project's and the installed package's."""
    return sorted(
        {
            file.name.removesuffix(".toml")
            for folder in _folders(kind, root)
            for file in folder.iterdir()
            if file.name.endswith(".toml")
        }
    )


def shipped_plan_ids(root: Path = Path()) -> set[str]:
    """Give the ids that the installed files list: Rackproof's own plans, which a project need not have.

    In Rackproof's own source tree the installed files are the project's, and may be mistaken as any other.
    """
    return {
        plan_id
        for kind, key in PLAN_LISTS.items()
        if (folder := _of_package(kind)) is not None and not _is_same(folder, _of_project(kind, root))
        for file in folder.iterdir()
        if file.name.endswith(".toml")
        for plan_id in parse_toml(file.read_bytes(), file.name).get(key, ())
    }


def load_rig(
    name_or_path: str | Path, root: Path = Path(), *, find_driver: FindDriver = find_driver
) -> RigFile:
    """Load a rig and check it whole, also against its drivers and the names of product and site.

    Raises:
        ConfigurationError: with every mistake.
    """
    return parse_rig(find_file("rig", name_or_path, root), root, find_driver=find_driver)


def parse_rig(source: Source, root: Path = Path(), *, find_driver: FindDriver = find_driver) -> RigFile:
    """Check a rig's file that was found; see ``load_rig``."""
    table = parse_toml(source.content, source.label)
    mistakes = list(_wrong_name(source, table))
    for kind in ("product", "site"):
        named = table.get(kind)
        if not isinstance(named, str):
            continue
        try:
            find_file(kind, named, root)
        except ConfigurationError as error:
            mistakes += [f"{source.label}: {kind}: {mistake}" for mistake in error.mistakes]
    return read_rig(table, source.label, find_driver=find_driver, also=mistakes)


def load_product(name_or_path: str | Path, root: Path = Path()) -> ProductFile:
    """Load a product.

    Raises:
        ConfigurationError: with every mistake.
    """
    return parse_product(find_file("product", name_or_path, root))


def parse_product(source: Source) -> ProductFile:
    """Check a product's file that was found; see ``load_product``."""
    table = parse_toml(source.content, source.label)
    mistakes = [*_wrong_name(source, table), *mistakes_of(ProductFile, table, source.label)]
    if mistakes:
        raise ConfigurationError(*mistakes)
    return read_part(ProductFile, table, source.label)


def load_site(name_or_path: str | Path, root: Path = Path()) -> SiteFile:
    """Load a site.

    Raises:
        ConfigurationError: with every mistake.
    """
    return parse_site(find_file("site", name_or_path, root), own_requirements(root))


def own_requirements(root: Path = Path()) -> Requirements:
    """Load all requirements: the installed ones, and the project's own in its ``fixtures/requirements/``.

    Raises:
        ConfigurationError: with every mistake of every file.
    """
    return Requirements.load(root / "fixtures" / "requirements")


def parse_site(source: Source, requirements: Requirements) -> SiteFile:
    """Check a site's file that was found, its grid codes against the requirement files there are."""
    table = parse_toml(source.content, source.label)
    mistakes = [
        *_wrong_name(source, table),
        *mistakes_of(SiteFile, table, source.label),
        *_unknown_codes(source, table, requirements),
    ]
    if mistakes:
        raise ConfigurationError(*mistakes)
    return read_part(SiteFile, table, source.label)


def given_values(
    product: ProductFile, site: SiteFile, rig: RigFile, f0_hz: float | None = None
) -> dict[str, float]:
    """What requirements may ask of the files, by dotted key: ``limits.*``, ``ramp_limits.*``, ``nominal.*``.

    Args:
        product: gives limits, ratings, windows and settings.
        site: gives network and ramps.
        rig: gives the nominal voltage.
        f0_hz: nominal frequency; without it there are no limits of the frequency.
    """
    of_frequency = {} if f0_hz is None else {"nominal.frequency_hz": f0_hz}
    return {
        **site.numbers(),
        **product.numbers(f0_hz),
        "nominal.voltage_v": rig.nominal_voltage_v,
        "nominal.power_w": product.ratings.discharge_power_w,
        **of_frequency,
    }


def write_rig(rig: RigFile, path: Path) -> None:
    """Write a rig as a file that loads equal to it; comments of the file it came from are not kept.

    Raises:
        ConfigurationError: the file cannot be written, or stands there and was not written by us.
    """
    try:
        there = path.read_bytes() if path.exists() else b""
        if there and not there.startswith(WRITTEN.encode()):
            raise ConfigurationError(
                f"{path}: stands there, and rackproof emulate has not written it; name another file"
            )
        path.write_text(WRITTEN + toml_text(rig.model_dump(exclude_none=True)), encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be written: {error.strerror}") from error


def _folders(kind: str, root: Path) -> Iterator[Traversable]:
    """Folders with files of a kind, the project's first."""
    if (of_project := _of_project(kind, root)).is_dir():
        yield of_project
    if (of_package := _of_package(kind)) is not None:
        yield of_package


def _of_project(kind: str, root: Path) -> Path:
    return root / "fixtures" / FOLDERS[kind]


def _of_package(kind: str) -> Traversable | None:
    """Give the installed package's folder; a source tree that was never installed has its own alone."""
    try:
        folder = resources.files("rackproof_fixtures") / FOLDERS[kind]
    except ModuleNotFoundError:
        return None
    return folder if folder.is_dir() else None


def _is_same(folder: Traversable, other: Path) -> bool:
    return isinstance(folder, Path) and folder.resolve() == other.resolve()


def _bytes_of(file: Traversable, label: str) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{label}: cannot be read: {error.strerror}") from error


def _wrong_name(source: Source, table: dict[str, Any]) -> Iterator[str]:
    """A file found by one name that calls itself by another would be recorded under the wrong one."""
    if source.name is not None and "name" in table and table["name"] != source.name:
        yield f"{source.label}: name = {table['name']!r}: allowed: {source.name!r}, as the file is called"


def _unknown_codes(source: Source, table: dict[str, Any], requirements: Requirements) -> Iterator[str]:
    """A grid code without a requirement file would be believed to hold, and nothing could judge by it."""
    codes = table.get("grid_codes")
    for place, code in enumerate(codes if isinstance(codes, list) else ()):
        if isinstance(code, str):
            try:
                requirements.version(code)
            except ConfigurationError as error:
                yield f"{source.label}: grid_codes[{place}]: {error}"
