"""Where a rig and the product on it say the same thing twice, and differently."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from harness.rig.driver_folders import FindDriver, find_driver
from harness.rig.product_file import ProductFile
from harness.rig.rig_file import RigFile, options_of

VARIANTS: Mapping[str, str] = {"pylontech_1.2": "359_35c", "pylontech_1.3": "35a_35f"}
"""The frames of each protocol: Pylontech's CAN bus protocol, versions 1.2 and 1.3."""


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
