"""The ``options`` table of the device in a rig file."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator

from drivers.waveshare_relay.points import CHANNELS
from harness.rig.toml_file import Part

Channel = Annotated[int, Field(ge=1, le=CHANNELS)]


class Options(Part):
    """What the rig file may say about a relay board.

    Attributes:
        unit: Modbus unit; 1 as the board comes.
        faults: the channel whose energised relay makes the fault, by the fault's name.
    """

    unit: int = Field(default=1, ge=0, le=255)
    faults: dict[str, Channel] = Field(min_length=1)

    @field_validator("faults")
    @classmethod
    def _one_channel_each(cls, faults: dict[str, int]) -> dict[str, int]:
        by_channel: dict[int, str] = {}
        for name, channel in faults.items():
            if channel in by_channel:
                raise ValueError(
                    f"channel {channel} makes {by_channel[channel]!r} and {name!r}: "
                    "one fault a channel is allowed"
                )
            by_channel[channel] = name
        return faults
