"""What the rig file says about one recorder."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from drivers.generic_daq import points
from harness.errors import near_miss
from harness.rig.toml_file import Part

AC_NODES = ("grid_ac", "pcs_ac", "load_ac", "standby_ac", "solar_ac")
AC_QUANTITIES = tuple(f"{letter}{phase}_{unit}" for letter, unit in ("uv", "ia") for phase in (1, 2, 3))
QUANTITIES = (
    *(f"{node}.{quantity}" for node in AC_NODES for quantity in AC_QUANTITIES),
    "battery_dc.u_v",
    "battery_dc.i_a",
)
"""What an input may be wired to, as the rig names its nodes."""


def _is_there(quantity: str) -> str:
    if quantity not in QUANTITIES:
        raise ValueError(
            f"no rig has it; allowed: {', '.join(AC_NODES)}, each with {', '.join(AC_QUANTITIES)}, and "
            f"battery_dc.u_v, battery_dc.i_a{near_miss(quantity, QUANTITIES)}"
        )
    return quantity


class Channel(Part):
    """One input and what it is wired to.

    Attributes:
        number: of the input, as the instrument counts.
        quantity: ``<node>.u1_v``, ``<node>.i2_a``, ``battery_dc.u_v``, as the rig names it.
        full_scale: of the input, in the quantity's unit, probe or transformer included.
        is_reversed: whether the probe or transformer is fitted the other way round.
    """

    number: int = Field(ge=1, le=64)
    quantity: Annotated[str, AfterValidator(_is_there)]
    full_scale: float = Field(gt=0.0)
    is_reversed: bool = False


class Options(Part):
    """The ``options`` table of a recorder.

    Attributes:
        channels: inputs that are wired.
        trigger_skew_s: standard uncertainty between the source's edge and the trigger that the
            recorder notes; measured when the rig is commissioned.
        max_sample_rate_hz: fastest rate of all channels at once.
    """

    channels: tuple[Channel, ...] = Field(min_length=1)
    trigger_skew_s: float = Field(default=20e-6, ge=0.0)
    max_sample_rate_hz: float = Field(default=200_000.0, gt=0.0)
    memory_samples: int = Field(default=points.MEMORY_SAMPLES, gt=0)

    @property
    def measured_nodes(self) -> list[str]:
        """Nodes of the rig that it sees."""
        return sorted({channel.quantity.partition(".")[0] for channel in self.channels})

    @model_validator(mode="after")
    def _one_wire_each(self) -> Options:
        for what in ("number", "quantity"):
            seen = [getattr(channel, what) for channel in self.channels]
            twice = sorted({str(value) for value in seen if seen.count(value) > 1})
            if twice:
                raise ValueError(f"channels: {what} {', '.join(twice)} is there twice: once is allowed")
        return self
