"""How a rig is wired for power, and what the rig may survive."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from harness.rig.toml_file import Count, Name, NonNegative, Part, Positive

Node = Literal["grid_ac", "pcs_ac", "load_ac", "battery_dc"]
"""Where a rig is measured: grid source, converter's own AC terminals, critical load, battery."""


class Source(Part):
    """The AC source that plays the grid.

    Attributes:
        device: the rig's grid source.
        power_w: what it can deliver, all phases together.
        can_sink: whether it takes power back (a regenerative source).
        sink_power_w: what it can take back, all phases together; zero where it cannot.
        r_ohm: resistance from its terminals to the site, a phase.
        x_ohm: reactance from its terminals to the site, a phase, at any frequency.
        rise_time_s: time from 10 to 90 % of a commanded voltage step.
    """

    device: Name
    power_w: Positive
    can_sink: bool
    sink_power_w: NonNegative = 0.0
    r_ohm: NonNegative
    x_ohm: NonNegative
    rise_time_s: NonNegative

    @model_validator(mode="after")
    def _sink_agrees(self) -> Source:
        if self.can_sink != (self.sink_power_w > 0.0):
            raise ValueError(
                f"can_sink and sink_power_w disagree: can_sink = {str(self.can_sink).lower()}, "
                f"sink_power_w = {self.sink_power_w}; allowed: true with a power above zero, false with zero"
            )
        return self


class EarthedSystem(Part):
    """A galvanically connected part of the rig, and who watches its insulation.

    Attributes:
        nodes: the nodes that hang together without a transformer.
        earthing: the system's kind by IEC 60364-1.
        insulation_monitors: who measures the insulation against earth: devices of the rig, or
            ``bench`` for a part that has no driver. The product's own are in the product file.
    """

    nodes: Annotated[tuple[Node, ...], Field(min_length=1)]
    earthing: Literal["TN-S", "TN-C", "TN-C-S", "TT", "IT"]
    insulation_monitors: tuple[Name, ...] = ()


class CriticalLoad(Part):
    """What hangs at ``load_ac`` and must not drop."""

    power_w: NonNegative
    kind: Literal["resistive", "constant_power"] = "resistive"


class LineFault(Part):
    """A fault that a relay makes: it opens one device's lead to a CAN line.

    Attributes:
        device: the rig's fault inserter; its options give the channel.
        wire: the line.
        lead: the device whose lead is opened.
    """

    device: Name
    wire: Name
    lead: Name


class SafetyChain(Part):
    """What the outputs of a safety device do to the rig; off is the safe side of both.

    Attributes:
        device: the rig's safety inputs; its options give the channels.
        chain: the output that enables source and converter; off, both cease, and do not start.
        battery_enable: the output that closes the battery's contactor.
        contactor_feedback: the input that the contactor's auxiliary contact closes.
    """

    device: Name
    chain: Name
    battery_enable: Name
    contactor_feedback: Name


class Topology(Part):
    """What hangs where."""

    source: Source
    critical_load: CriticalLoad
    systems: dict[Name, EarthedSystem]
    faults: dict[Name, LineFault] = Field(default_factory=dict)
    safety_chain: SafetyChain | None = None


class Trigger(Part):
    """A wired edge that starts a capture.

    Attributes:
        from_device: whose output gives the edge.
        to_device: whose input takes it.
        skew_s: standard uncertainty of the moment, as commissioned.
    """

    from_device: Name
    to_device: Name
    skew_s: NonNegative


class Between(Part):
    """A limit on both sides.

    Attributes:
        value: lowest and highest value that the rig survives.
        within_s: how long it survives a value outside.
    """

    value: Annotated[tuple[float, float], Field(min_length=2)]
    within_s: Positive

    @model_validator(mode="after")
    def _is_ordered(self) -> Between:
        if self.value[0] >= self.value[1]:
            raise ValueError(f"lowest {self.value[0]} is not below highest {self.value[1]}")
        return self


class AtMost(Part):
    """A limit on the magnitude."""

    value: Positive
    within_s: Positive


class AtLeast(Part):
    """A limit below."""

    value: Positive
    within_s: Positive


class Envelope(Part):
    """What the rig may survive; the interlock watches each limit that stands here.

    Attributes:
        battery_voltage_v: at ``battery_dc``.
        battery_current_a: magnitude at ``battery_dc``.
        cell_voltage_v: of every cell that is reported.
        ac_current_a: magnitude of the RMS current, each phase at each AC node.
        ac_voltage_v: line to neutral; no command may ask for more.
        temperature_degc: of everything that reports one.
        insulation_ohm: lowest resistance to earth.
        stale_s: oldest value that the interlock acts on; silence longer than this trips.
    """

    battery_voltage_v: Between
    battery_current_a: AtMost
    stale_s: AtMost
    cell_voltage_v: Between | None = None
    ac_current_a: AtMost | None = None
    ac_voltage_v: AtMost | None = None
    temperature_degc: Between | None = None
    insulation_ohm: AtLeast | None = None


Phases = Annotated[Count, Field(le=3)]
