"""How a rig is wired for power, and what the rig may survive."""

from __future__ import annotations

from importlib import resources
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from harness.rig.toml_file import Count, Fraction, Name, NonNegative, Part, Positive, unknown

Node = Literal["grid_ac", "pcs_ac", "load_ac", "battery_dc", "standby_ac", "solar_ac"]
"""Where a rig is measured: grid source, converter's own AC terminals, critical load, battery; and the second
source and the solar array of a rig that has them."""


class Harmonic(Part):
    """One order of a source's distortion.

    Attributes:
        order: multiple of the fundamental.
        fraction: of the fundamental's RMS.
        angle_deg: of its own sine where phase 1's fundamental rises through zero.
    """

    order: Annotated[int, Field(ge=2)]
    fraction: Fraction
    angle_deg: float = 0.0


class Source(Part):
    """The AC source that plays the grid.

    Attributes:
        device: the rig's grid source.
        power_w: what it can deliver, all phases together.
        can_sink: whether it takes power back (a regenerative source).
        sink_power_w: what it can take back, all phases together; zero where it cannot.
        r_ohm: resistance from its terminals to the site, a phase.
        x_ohm: reactance from its terminals to the site, a phase, at any frequency.
        rise_time_s: time from 10 to 90 % of a voltage step from zero to nominal.
        harmonics: its distortion.
    """

    device: Name
    power_w: Positive
    can_sink: bool
    sink_power_w: NonNegative = 0.0
    r_ohm: NonNegative
    x_ohm: NonNegative
    rise_time_s: NonNegative
    harmonics: tuple[Harmonic, ...] = ()

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


class ResonantLoad(Part):
    """A parallel RLC load for islands, by its powers at nominal voltage and frequency."""

    power_w: NonNegative
    inductive_var: NonNegative
    capacitive_var: NonNegative


class CriticalLoad(Part):
    """What hangs at ``load_ac`` and must not drop.

    Attributes:
        power_w: at nominal voltage, all phases together.
        kind: how it answers its voltage.
        power_factor: active over apparent power.
        is_capacitive: whether its current leads.
        inrush_factor: inductive current on energising, of its own current.
        inrush_time_constant_s: of its decay.
        restart_delay_s: above zero; what died draws nothing until its voltage was back for so long; left out,
            it never stops by itself.
        hold_up_s: for how long it lives without voltage.
        rlc: a resonant load beside it.
    """

    power_w: NonNegative
    kind: Literal["resistive", "constant_power"] = "resistive"
    power_factor: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    is_capacitive: bool = False
    inrush_factor: NonNegative = 0.0
    inrush_time_constant_s: Positive = 0.05
    restart_delay_s: Positive | None = None
    hold_up_s: NonNegative = 0.0
    rlc: ResonantLoad | None = None


class Generator(Part):
    """A stand-by generator at the second input of the transfer switch; see the plant's ``GeneratorSpec``.

    Attributes:
        rated_power_w: active power.
        rated_apparent_power_va: base of its reactance.
        start_s: from the command to voltage and frequency.
        warm_up_s: from there until it may take load.
        start_failure_probability: of each attempt of an emulated run.
        attempts: before it gives up.
        rest_s: between two attempts.
        droop: fall of the frequency at rated power.
    """

    rated_power_w: Positive
    rated_apparent_power_va: Positive
    start_s: NonNegative
    warm_up_s: NonNegative = 0.0
    start_failure_probability: Fraction = 0.0
    attempts: Count = 3
    rest_s: NonNegative = 10.0
    droop: Positive = 0.04


class SecondMains(Part):
    """A second feeder at the second input of the transfer switch.

    Attributes:
        r_ohm: resistance to the site, a phase.
        x_ohm: reactance to the site, a phase.
        angle_deg: by which it leads the source at the start.
    """

    r_ohm: NonNegative
    x_ohm: NonNegative
    angle_deg: float = 0.0


class TransferSwitch(Part):
    """The switch between source and second source; see the plant's ``TransferSwitchSpec``.

    Attributes:
        kind: ``static`` has a quarter of a cycle for all, ``mechanical`` 50 ms and 100 ms, unless given here.
        detect_s: from the loss to the opening.
        gap_s: from one opening to the other closing.
        return_s: good mains until it goes back.
        out_of_phase_gap_s: gap where the sources are out of phase; 0 waits until they are in phase.
        start_after_s: lost mains until it starts the generator.
    """

    kind: Literal["static", "mechanical"]
    detect_s: NonNegative | None = None
    gap_s: Positive | None = None
    return_s: NonNegative | None = None
    out_of_phase_gap_s: NonNegative | None = None
    start_after_s: NonNegative | None = None


class Solar(Part):
    """A solar array with its inverter at the bus; see the plant's ``SolarSpec``.

    Attributes:
        sky: name of a data set of the plant's skies.
        rated_dc_w: of the modules.
        rated_ac_w: of the inverter.
        day_of_year: on which an emulated run starts.
        starts_at_s: local clock at its start, after midnight.
        has_clouds: whether clouds pass.
        follows_islands: whether it feeds an island of the converter.
    """

    sky: Name
    rated_dc_w: Positive
    rated_ac_w: Positive
    day_of_year: Annotated[int, Field(ge=1, le=366)] = 172
    starts_at_s: NonNegative = 0.0
    has_clouds: bool = True
    follows_islands: bool = False

    @field_validator("sky")
    @classmethod
    def _is_known(cls, sky: str) -> str:
        # By way of the package above, since importing the plant loads numpy.
        folder = resources.files("harness") / "plant" / "skies"
        known = [file.name[:-5] for file in folder.iterdir() if file.name.endswith(".toml")]
        if sky not in known:
            raise ValueError(unknown("sky", sky, known))
        return sky


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
        chain: the output that enables source and converter; off, both cease and do not start, and the
            battery's contactor opens once they have ceased.
        battery_enable: the output that closes the battery's contactor.
        contactor_feedback: the input that the contactor's auxiliary contact closes.
        opened_by: inputs whose contacts stand in the chain itself (E-stop, door): they act without software.
    """

    device: Name
    chain: Name
    battery_enable: Name
    contactor_feedback: Name
    opened_by: tuple[Name, ...] = ()


class Topology(Part):
    """What hangs where; all of it may be left out of a rig that is not to be energised.

    Attributes:
        source: the AC source that plays the grid; left out, the rig stands on the public mains.
        battery_side: what hangs at ``battery_dc``: a battery, or a bench source in its place.
        critical_load: what must not drop; left out, there is none. A rig with a source says so in words.
        systems: galvanically connected parts by name.
        faults: what relays can open, by name.
        transfer_switch: between source and second source, of a rig that has one.
        generator: its second source.
        second_mains: its second source, where that is a feeder.
        solar: an array at the bus.
    """

    source: Source | None = None
    battery_side: Literal["battery", "bench_source"] = "battery"
    critical_load: CriticalLoad = Field(default_factory=lambda: CriticalLoad(power_w=0.0))
    systems: dict[Name, EarthedSystem] = Field(default_factory=dict)
    faults: dict[Name, LineFault] = Field(default_factory=dict)
    transfer_switch: TransferSwitch | None = None
    generator: Generator | None = None
    second_mains: SecondMains | None = None
    solar: Solar | None = None

    safety_chain: SafetyChain | None = None

    @model_validator(mode="after")
    def _switch_has_two_sources(self) -> Topology:
        second = [name for name in ("generator", "second_mains") if getattr(self, name) is not None]
        if len(second) != (self.transfer_switch is not None):
            raise ValueError(
                f"second sources: {', '.join(second) or 'none'}, "
                f"transfer_switch {'given' if self.transfer_switch else 'not given'}; "
                "allowed: generator or second_mains together with transfer_switch, or none of the three"
            )
        return self


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
