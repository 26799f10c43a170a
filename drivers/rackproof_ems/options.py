"""The ``options`` table of the device in a rig file."""

from __future__ import annotations

from pydantic import Field, field_validator

from harness.rig.toml_file import Part

WINDOW_S = 1800.0
"""Of the demand, as Japanese contracts count."""


class Options(Part):
    """What the rig file may say about an energy manager; all but ``unit`` is for the emulated one.

    Attributes:
        unit: Modbus unit.
        capacity_wh: of the battery, as the manager was told it.
        charge_limit_w: as the manager was told it.
        discharge_limit_w: likewise.
        reserve_soc: setting as it comes.
        contract_power_w: likewise; None: no contract.
        export_limit_w: likewise; None: no limit.
        interval_s: between decisions; a whole number of them, 6 and above, makes a demand window of 30 min.
        starts_at_s: local clock at rig time zero; demand windows count by the clock.
    """

    unit: int = Field(default=1, ge=0, le=255)
    capacity_wh: float = Field(default=10_000.0, gt=0.0)
    charge_limit_w: float = Field(default=5_000.0, ge=0.0)
    discharge_limit_w: float = Field(default=5_000.0, ge=0.0)
    reserve_soc: float = Field(default=0.3, ge=0.0, le=0.9)
    contract_power_w: float | None = Field(default=None, ge=0.0)
    export_limit_w: float | None = Field(default=None, ge=0.0)
    interval_s: float = Field(default=10.0, gt=0.0, le=300.0)
    starts_at_s: float = Field(default=0.0, ge=0.0, lt=86_400.0)

    @field_validator("interval_s")
    @classmethod
    def _divides_the_window(cls, value: float) -> float:
        parts = WINDOW_S / value
        if abs(parts - round(parts)) > 1e-9 * parts:
            raise ValueError(f"interval_s = {value:g}: allowed: a whole part of the window of {WINDOW_S:g} s")
        return value
