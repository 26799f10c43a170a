"""The ``options`` table of the device in a rig file."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from harness.rig.toml_file import Part


class Options(Part):
    """What the rig file may say about a low-voltage battery on CAN.

    Attributes:
        period_s: at which the battery repeats each frame; three of them without one make it stale.
        variant: emulated only, as all below: ``359_35c`` as Pylontech up to v1.2 sends, ``35a_35f`` as from
            v1.3. The driver takes either.
        maker: what 0x35E says.
        battery_type: what 0x35F says first.
        firmware: major and minor in 0x35F.
        module_count: what 0x359 says.
        keep_alive_timeout_s: without 0x305 for so long the battery warns. Default as Battery-Emulator's
            ``safety.cpp``; the Safiery manual (p. 13) asks for 600 s of patience.
    """

    period_s: float = Field(default=1.0, gt=0.0, le=60.0)
    variant: Literal["359_35c", "35a_35f"] = "359_35c"
    maker: str = Field(default="PYLON", min_length=1, max_length=8, pattern=r"^[ -~]+$")
    battery_type: int = Field(default=0x494C, ge=0, le=0xFFFF)
    firmware: tuple[int, int] = (1, 3)
    module_count: int = Field(default=8, ge=1, le=255)
    keep_alive_timeout_s: float = Field(default=60.0, gt=0.0)
