"""The ``options`` table of the device in a rig file."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from drivers.isabellenhuette_ivt_s import points
from harness.clock import rig_loop
from harness.rig.toml_file import Part


class Options(Part):
    """What the rig file may say about an IVT-S.

    Attributes:
        period_s: at which the sensor is set to repeat each frame, in whole milliseconds; three of them
            without one make it stale. Set on the sensor, all channels alike: the driver sets nothing.
        virtual_period_s: used instead by both ends where time is virtual, None for ``period_s``. Frames cost
            real time there and protect nothing: virtual current burns nothing.
        base_id: identifier of the current's frame; U1 to U3 and temperature follow.
        command_id: identifier that the sensor listens to.
        response_id: identifier that it answers with.
        voltage_channel: which of U1 to U3 is wired across the battery.
        sign: 1 where positive on the wire is current out of the battery, -1 where the shunt is mounted the
            other way round; found in commissioning.
        range_a: nominal current of the variant that is mounted, as its label says.
        gain_error: emulated only, as the next two: of current and voltage, a fraction. Ours: not zero, so
            that no comparison with another instrument rests on two equal numbers.
        offset_a: of the current; ours.
        serial: what it answers when it is asked.
    """

    period_s: float = Field(default=0.1, ge=points.SHORTEST_PERIOD_S, le=points.LONGEST_PERIOD_S)
    virtual_period_s: float | None = Field(
        default=None, ge=points.SHORTEST_PERIOD_S, le=points.LONGEST_PERIOD_S
    )
    base_id: int = Field(default=points.FIRST_RESULT, ge=0, le=0x7FF - points.TEMPERATURE.number)
    command_id: int = Field(default=points.COMMAND, ge=0, le=0x7FF)
    response_id: int = Field(default=points.RESPONSE, ge=0, le=0x7FF)
    voltage_channel: Literal[1, 2, 3] = 1
    sign: Literal[1, -1] = 1
    range_a: Literal[100, 300, 500, 1000, 2500] = 300
    gain_error: float = Field(default=0.0005, gt=-1.0, lt=1.0)
    offset_a: float = 0.02
    serial: int = Field(default=1, ge=0, le=0xFFFFFFFF)

    @field_validator("period_s", "virtual_period_s")
    @classmethod
    def _whole_milliseconds(cls, period_s: float | None) -> float | None:
        if period_s is not None and abs(period_s * 1000.0 - round(period_s * 1000.0)) > 1e-6:
            raise ValueError(f"{period_s} s: the sensor counts in milliseconds; allowed: a multiple of 0.001")
        return period_s

    @model_validator(mode="after")
    def _identifiers_differ(self) -> Options:
        results = range(self.base_id, self.base_id + points.TEMPERATURE.number + 1)
        if self.command_id == self.response_id or {self.command_id, self.response_id} & {*results}:
            raise ValueError(
                f"command_id 0x{self.command_id:03X}, response_id 0x{self.response_id:03X} and the results "
                f"0x{results.start:03X} to 0x{results.stop - 1:03X} share one; allowed: all different"
            )
        return self

    def period_here_s(self) -> float:
        """Interval of the frames on the running loop."""
        if self.virtual_period_s is not None and rig_loop().is_virtual:
            return self.virtual_period_s
        return self.period_s
