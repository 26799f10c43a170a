"""The ``options`` table of the device in a rig file."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator

from drivers.wago_750.points import CHANNELS
from harness.rig.toml_file import Part

Channel = Annotated[int, Field(ge=1, le=CHANNELS)]


class Options(Part):
    """What the rig file may say about a coupler.

    Attributes:
        unit: Modbus unit; the coupler takes any.
        inputs: the channel by the contact's name; true (24 V) is well, or closed.
        outputs: the channel by the output's name; off is the safe side.
    """

    unit: int = Field(default=1, ge=0, le=255)
    inputs: dict[str, Channel] = Field(min_length=1)
    outputs: dict[str, Channel] = Field(min_length=1)

    @field_validator("inputs", "outputs")
    @classmethod
    def _one_name_a_channel(cls, channels: dict[str, int]) -> dict[str, int]:
        by_channel: dict[int, str] = {}
        for name, channel in channels.items():
            if channel in by_channel:
                raise ValueError(
                    f"channel {channel} is {by_channel[channel]!r} and {name!r}: allowed one name a channel"
                )
            by_channel[channel] = name
        return channels
