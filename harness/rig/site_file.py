"""The site file: what a place fixes for every product that is to stand there."""

from __future__ import annotations

from typing import Literal

from harness.rig.toml_file import EachOnce, Name, Part, Positive, numbers
from harness.rig.topology import Phases


class Network(Part):
    """The supply at the point of connection.

    Attributes:
        nominal_voltage_v: line to neutral.
        phases: of the supply.
        earthing: of the low-voltage side, by IEC 60364-1.
        short_circuit_power_va: at the point of connection.
    """

    nominal_voltage_v: Positive
    phases: Phases
    earthing: Literal["TN-S", "TN-C", "TN-C-S", "TT", "IT"]
    short_circuit_power_va: Positive


class RampLimits(Part):
    """How fast the site's power may change at the point of connection.

    Attributes:
        up_w_per_s: rise of the power drawn.
        down_w_per_s: fall of the power drawn.
        peak_to_peak_w: largest swing within ``window_s``.
        window_s: length of the sliding window.
    """

    up_w_per_s: Positive
    down_w_per_s: Positive
    peak_to_peak_w: Positive
    window_s: Positive


class SiteFile(Part):
    """What a place fixes.

    Attributes:
        name: what the record calls it.
        description: one line for people.
        f0_hz: nominal frequency of the network.
        grid_codes: requirement files that hold here, by family, or by name where it has several editions.
        generator_start_s: from loss of mains until the generator carries; None where there is none.
    """

    name: Name
    description: str = ""
    f0_hz: Literal[50, 60]
    grid_codes: EachOnce = ()
    network: Network
    ramp_limits: RampLimits
    generator_start_s: Positive | None = None

    def numbers(self) -> dict[str, float]:
        """Every number of the file by its dotted key (``ramp_limits.up_w_per_s``)."""
        return numbers(self.model_dump())
