"""All files of one bench together: every mistake in them, and where two say one thing differently."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from harness.errors import ConfigurationError
from harness.requirements import Requirements
from harness.rig.driver_folders import FindDriver, find_driver
from harness.rig.files import (
    PLAN_LISTS,
    Source,
    find_file,
    own_requirements,
    parse_product,
    parse_rig,
    parse_site,
)
from harness.rig.product_file import ProductFile
from harness.rig.rig_file import RigFile, options_of
from harness.rig.site_file import SiteFile
from harness.rig.toml_file import parse_toml

T = TypeVar("T")

VARIANTS: Mapping[str, str] = {"pylontech_1.2": "359_35c", "pylontech_1.3": "35a_35f"}
"""The frames of each protocol: Pylontech's CAN bus protocol, versions 1.2 and 1.3."""


@dataclass(slots=True)
class BenchFiles:
    """The files of one bench, each None where it is unsound.

    Attributes:
        mistakes: of all of them.
    """

    rig: RigFile | None = None
    product: ProductFile | None = None
    site: SiteFile | None = None
    requirements: Requirements | None = None
    mistakes: list[str] = field(default_factory=list)
    _plan_lists: list[tuple[str, Source]] = field(default_factory=list)

    def _take(self, load: Callable[[], T]) -> T | None:
        try:
            return load()
        except ConfigurationError as error:
            self.mistakes += error.mistakes
            return None

    def plan_ids(self) -> Iterator[tuple[str, str]]:
        """Give each plan that the files list, unsound ones too: where it stands, and its id."""
        for key, source in self._plan_lists:
            try:
                ids = parse_toml(source.content, source.label).get(key)
            except ConfigurationError:
                continue  # told among the mistakes
            for each in ids if isinstance(ids, list) else ():
                if isinstance(each, str):
                    yield f"{source.label}: {key}", each

    @classmethod
    def load(
        cls, rig: str, product: str | None = None, site: str | None = None, root: Path = Path()
    ) -> BenchFiles:
        """Load a rig and what goes with it, by name or path; the rig's own product and site if none is given.

        Raises:
            ConfigurationError: there is no such rig, or its file is no TOML, so that nothing else is known.
        """
        files = cls()
        files.requirements = files._take(lambda: own_requirements(root))
        source = find_file("rig", rig, root)
        files.rig = files._take(lambda: parse_rig(source, root))
        named = parse_toml(source.content, source.label) if files.rig is None else vars(files.rig)
        files._plan_lists.append((PLAN_LISTS["rig"], source))

        def found(kind: str, chosen: str | None) -> Source | None:
            asked = chosen or named.get(kind)
            try:
                return find_file(kind, asked, root) if isinstance(asked, str) else None
            except ConfigurationError as error:
                if chosen:  # else it is among the rig's own mistakes
                    files.mistakes += error.mistakes
                return None

        if (place := found("product", product)) is not None:
            files.product = files._take(lambda: parse_product(place))
            files._plan_lists.append((PLAN_LISTS["product"], place))
        if (at := found("site", site)) is not None and (known := files.requirements) is not None:
            files.site = files._take(lambda: parse_site(at, known))
        if files.rig is not None and files.product is not None:
            files.mistakes += disagreements(files.rig, files.product)
        return files


def disagreements(
    rig: RigFile, product: ProductFile, *, find_driver: FindDriver = find_driver
) -> Iterator[str]:
    """Give each value that stands in the rig file and in the product file and differs, with both places."""
    bms = product.bms
    for name, device in rig.devices.items():
        if device.role != "battery":
            continue
        options = options_of(device, find_driver(device.driver))
        for option, key, wanted in (
            ("variant", "protocol", VARIANTS[bms.protocol]),
            ("period_s", "period_s", bms.period_s),
        ):
            came = getattr(options, option, wanted)
            if came != wanted:
                says = getattr(bms, key)
                yield (
                    f"rig {rig.name}: devices.{name}.options.{option} = {came!r}, "
                    f"and product {product.name}: bms.{key} = {says!r}; allowed with it: {wanted!r}"
                )
