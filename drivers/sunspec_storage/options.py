"""The `options` table of the device in a rig file."""

from __future__ import annotations

from pydantic import Field

from harness.rig.toml_file import Part


class Options(Part):
    """What the rig file may say about a SunSpec storage inverter.

    Attributes:
        unit: Modbus unit.
        refresh_s: emulated only: the interval at which the unit renews its measurements.
        maker: emulated only, as the next three: what the unit says it is (model 1).
        energy_rating_wh: emulated only: nameplate energy; None takes capacity times voltage of the plant.
        heartbeat_timeout_s: silence of the controller's heartbeat (715.ControllerHb) after which the unit
            stops, as it was set up by its maker's means, since SunSpec has no register for it; None: it was
            not, and the heartbeat protects nothing. Two seconds at least: the heartbeat moves once a second.
    """

    unit: int = Field(default=1, ge=1, le=247)
    refresh_s: float = Field(default=0.2, gt=0.0, le=60.0)
    maker: str = Field(default="Rackproof", max_length=32)
    model: str = Field(default="Emulated storage inverter", max_length=32)
    serial: str = Field(default="EMU-0001", max_length=32)
    firmware: str = Field(default="1.0.0", max_length=16)
    energy_rating_wh: float | None = Field(default=None, gt=0.0)
    heartbeat_timeout_s: float | None = Field(default=None, ge=2.0)
