"""What a rig file says of its own safety: who watches which limit, and how the rig is made safe."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from harness.rig.toml_file import Name, Part, Positive


def _is_value(text: str) -> str:
    if not re.fullmatch(r"\w+\.\w+(\(\w+\))?(\.\w+)?", text):
        raise ValueError(
            "no value of a device; allowed: <device>.<reading>, for example 'shunt.current_a', "
            "'grid.voltage_v(1)', 'analyzer.values(battery_dc).current_a'"
        )
    return text


Value = Annotated[str, AfterValidator(_is_value)]
"""A value that a device is asked for: ``shunt.current_a``, ``grid.voltage_v(1)``,
``analyzer.values(battery_dc).current_a``."""

Limit = Literal[
    "battery_voltage_v", "battery_current_a", "cell_voltage_v", "ac_current_a", "temperature_degc"
]


class Agreement(Part):
    """How far the product's own word may be off the bench's.

    Attributes:
        bench: the bench's value.
        product: the product's value of the same quantity.
        within: largest difference, in the quantity's unit.
        for_s: how long it may be larger: a product that reports once a second lags behind a ramp.
    """

    bench: Value
    product: Value
    within: Positive
    for_s: Positive


class Interlock(Part):
    """Who watches the envelope, and how long the run may be silent.

    Attributes:
        watch: the sensors of the bench's own that watch each limit of the envelope.
        contacts: inputs of the safety chain that have to be true.
        periods_s: by device that is watched: interval of its reports, or of the guard's questions.
        virtual_period_s: the same for all of them in virtual time, where nothing can burn.
        agreement: bench against product, by quantity.
        guarded_by_instrument: limits that an instrument's own protection holds, and the value that it reads
            back; for what is too fast for software.
        heartbeat_s: silence of the run after which the guard takes over.
        loop_hang_s: for how long a plan may compute without giving the loop a turn.
        latency_s: of the guard from a frame to its first command; a bound that tests hold.
        actuator_s: from that command until the current is gone, as commissioned.
    """

    watch: dict[Limit, Annotated[tuple[Value, ...], Field(min_length=1)]]
    contacts: tuple[Value, ...] = ()
    periods_s: dict[Name, Positive]
    virtual_period_s: Positive = 5.0
    agreement: dict[Name, Agreement] = Field(default_factory=dict)
    guarded_by_instrument: dict[Limit, Value] = Field(default_factory=dict)
    heartbeat_s: Positive = 3.0
    loop_hang_s: Positive = 5.0
    latency_s: Positive = 0.02
    actuator_s: Positive


class Check(Part):
    """A node that is dead when at least two different sensors say so, and none says otherwise.

    Attributes:
        sensors: values of at least two devices.
        at_most: largest magnitude that counts as dead, in the sensors' unit.
    """

    sensors: Annotated[tuple[Value, ...], Field(min_length=2)]
    at_most: Positive


class HardwareLayer(Part):
    """Something that makes the rig safe when the PC is dead.

    Attributes:
        device: whose watchdog it is.
        watchdog: which one, where the device has another beside its own; empty: its own.
        timeout_s: after which silence it acts.
        measured_s: from the last exchange until the rig was dead, as commissioned.
        what: what it does.
    """

    device: Name
    watchdog: str = ""
    timeout_s: Positive
    measured_s: Positive
    what: Annotated[str, Field(min_length=1)]

    @property
    def spelled(self) -> str:
        """Which watchdog it is, for messages."""
        return f"{self.device}'s {self.watchdog or 'watchdog'}"


class SafeState(Part):
    """How the rig is made safe, and what proves it.

    Attributes:
        break_current_a: largest current that the battery's contactor may break.
        current_gone_within_s: bound of each way of taking the current away.
        open_within_s: bound of the contactor's way.
        verified_within_s: bound of the verification.
        current: the independent meter that the contactor waits for.
        verified: what has to be dead, by node.
        stays_on: what is never switched off: the battery's management, fans, gas detection.
        hardware_layers: what acts when the PC is dead; a rig without one cannot be energised.
    """

    break_current_a: Positive
    current_gone_within_s: Positive = 2.0
    open_within_s: Positive = 1.0
    verified_within_s: Positive = 5.0
    current: Value
    verified: Annotated[dict[Name, Check], Field(min_length=1)]
    stays_on: tuple[str, ...] = ()
    hardware_layers: dict[Name, HardwareLayer] = Field(default_factory=dict)
