"""What a server rack is made of, as data. SI units, the unit in each name; positive power flows into the bus.

Where a number carries no other origin it is ours, chosen so that the published behaviour comes out.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum


class AcLossSign(Enum):
    """How a power shelf tells the backup unit that the mains are gone."""

    OUTPUT_DROP = "output drop"
    """Lowers its output on purpose when a part of the hold-up energy is gone (Open Rack V3)."""
    SIGNAL = "signal"
    """Pulls a wire, AC_LOSS, and keeps its voltage (Open Rack V3 High Power Rack)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PowerShelfSpec:
    """Rectifiers side by side on one bus, on the three phases in turn.

    Voltages, hold-up and drop: Delta and Advanced Energy, "Requirements/Considerations of Next Generation
    ORv3 PSU and Power Shelves" (OCP): droop 0.5 V from no load to full load, 60 J of hold-up, 3 V drop at
    half of it with 3 V/ms. Ratings: OCP Open Rack V3 overview (six rectifiers of 3 kW, 15 kW with one to
    spare, 200 to 277 V +-10 % line to neutral).

    Attributes:
        rectifiers: how many there are.
        spares: how many of them the shelf's rating does without.
        rated_power_w: output of one.
        no_load_v: output voltage at no load.
        droop_v: from no load to the rated power of one.
        setpoint_sigma_v: of the no-load voltages, after active sharing; keyed normal draws, cut at 3. Ours.
        current_limit_factor: of the current at rated power and full-load voltage. 273 to 297 A at 12 kW in
            the acceptance template of TofuPilot for ORv3 supplies is 1.14 to 1.24.
        limit_hold_s: time in the current limit, on a bus below ``limit_below_v``, until it shuts its output;
            ours.
        limit_below_v: a bus that the limited current does not hold. Ours: below the 47.4 V that a backup
            unit holds in its own limit, so that shelf and backup carry an overload together, and above the
            46.5 V at which servers come back, so that their coming and going does not hide a short circuit.
        limit_restart_s: from there until it starts again (10 +-1 s, same template).
        hold_up_j: what the bulk capacitor gives between its two voltages.
        bulk_full_v: where the input stage holds it.
        bulk_empty_v: below this the output stage stops.
        recharge_power_w: with which the input stage fills the bulk beside carrying the load; ours.
        ac_loss_sign: how the backup unit is told.
        drop_v: by how much the output is lowered.
        drop_at_left: share of the hold-up energy that is left when it drops.
        drop_v_per_s: slope of the drop.
        signal_after_s: time without input until AC_LOSS; ours, early enough for the 5 ms of warning.
        walk_in_v_per_s: slope of the output at a start and at the return from a drop; ours.
        loss_idle_w: loss of one rectifier with its output on, at no load.
        loss_linear: loss per output power.
        loss_square_per_w: loss per square of output power. The three give 96.2 % at 10 %, 97.6 % at 30 % and
            96.6 % at 100 %: inside the template's 94, 96.5 and 96.5 %.
        output_stage_share: part of the loss that arises behind the bulk; ours.
        brown_out_v: input below this stops the input stage; ours, under the 180 V of the rated range.
        brown_in_v: input above this lets it run again.
        over_voltage_v: input above this stops it; comes back 5 V below. Rated range ends at 305 V.
        input_current_limit_a: of one; rated output at 180 V needs 17.2 A.
        resume_s: good input until the input stage runs again while the output never stopped; ours.
        start_s: good input until a rectifier whose output stopped begins its walk-in; ours.
        filter_capacitance_f: across its input: the source of its leading reactive power; ours.
        current_distortion: total harmonic distortion of the input current; ours.
    """

    rectifiers: int = 6
    spares: int = 1
    rated_power_w: float = 3000.0
    no_load_v: float = 51.0
    droop_v: float = 0.5
    setpoint_sigma_v: float = 0.01
    current_limit_factor: float = 1.2
    limit_hold_s: float = 0.1
    limit_below_v: float = 47.0
    limit_restart_s: float = 10.0
    hold_up_j: float = 60.0
    bulk_full_v: float = 430.0
    bulk_empty_v: float = 330.0
    recharge_power_w: float = 600.0
    ac_loss_sign: AcLossSign = AcLossSign.OUTPUT_DROP
    drop_v: float = 3.0
    drop_at_left: float = 0.5
    drop_v_per_s: float = 3000.0
    signal_after_s: float = 0.004
    walk_in_v_per_s: float = 10.0
    loss_idle_w: float = 9.0
    loss_linear: float = 0.0067
    loss_square_per_w: float = 8.44e-6
    output_stage_share: float = 0.5
    brown_out_v: float = 170.0
    brown_in_v: float = 178.0
    over_voltage_v: float = 310.0
    input_current_limit_a: float = 18.0
    resume_s: float = 0.001
    start_s: float = 2.0
    filter_capacitance_f: float = 5e-6
    current_distortion: float = 0.04

    @property
    def rated_current_a(self) -> float:
        """Current of one rectifier at rated power."""
        return self.rated_power_w / (self.no_load_v - self.droop_v)

    @property
    def droop_ohm(self) -> float:
        """Output resistance of one rectifier."""
        return self.droop_v / self.rated_current_a

    @property
    def bulk_capacitance_f(self) -> float:
        """C of E = C (V1² - V2²) / 2."""
        return 2.0 * self.hold_up_j / (self.bulk_full_v**2 - self.bulk_empty_v**2)

    @property
    def drops(self) -> bool:
        """Whether a loss of mains is told by the output."""
        return self.ac_loss_sign is AcLossSign.OUTPUT_DROP

    @property
    def rating_w(self) -> float:
        """What the shelf gives with its spares gone."""
        return (self.rectifiers - self.spares) * self.rated_power_w


@dataclass(frozen=True, kw_only=True, slots=True)
class PackSpec:
    """Cells of one backup module: a voltage that is linear in state of charge, behind a resistance.

    The shape (11 in series, 6 beside each other, 3 kW for 4 min) is that of the Open Rack V3 module in Analog
    Devices' reference design. Voltages are 3.0 and 4.1 V a cell; capacity and resistance are ours, such that
    a new module gives 3 kW for a little over 240 s. That is 1 Ah a cell, and what can be had: cells of that
    shape hold two to three times as much, and nobody has published what a module keeps back. So 250 W fill
    it in an hour, not in the 3 to 6 h of the Open Rack V3 module.

    Attributes:
        empty_v: open-circuit voltage when empty.
        full_v: open-circuit voltage when full, which the charger holds.
        capacity_ah: of a new pack.
        resistance_ohm: of a new pack.
        capacity_left: of the new capacity.
        resistance_factor: of the new resistance.
        soc: at time zero.
    """

    empty_v: float = 33.0
    full_v: float = 45.1
    capacity_ah: float = 6.1
    resistance_ohm: float = 0.03
    capacity_left: float = 1.0
    resistance_factor: float = 1.0
    soc: float = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class BackupSpec:
    """Battery backup modules side by side on the bus.

    Trigger, start, return and droop: Delta and Advanced Energy as in ``PowerShelfSpec`` (48.5 V for 2 ms,
    started within 2 ms, standby after 200 ms above 48.5 V, 48.0 to 47.5 V). Module, 5 + 1 and 250 W: Open
    Rack V3 backup unit.

    Attributes:
        modules: how many there are.
        spares: how many of them the rating does without.
        rated_power_w: output of one.
        output_v: output voltage at no load.
        droop_v: from no load to the rated power of one.
        setpoint_sigma_v: as in ``PowerShelfSpec``.
        current_limit_factor: of the current at rated power; ours.
        trigger_v: bus below this for ``trigger_s`` starts it.
        trigger_s: as said there.
        start_s: from the trigger to the first current.
        return_s: bus above ``trigger_v`` for so long sends it to standby.
        heeds_signal: whether AC_LOSS starts it too.
        efficiency: of its output stage.
        charge_power_w: taken from the bus by one while charging.
        charge_efficiency: of its charger.
        charge_delay_s: good mains and bus until it charges; ours.
        charge_below_soc: charging starts below this; ours.
        charge_end_a: current at ``full_v`` that ends the charge; ours.
        old_capacity_left: at the end of life, of the new capacity, such that a little over 90 s at full load
            are left, the end of life of an Open Rack V3 unit. Which part capacity has and which resistance
            is ours.
        old_resistance_factor: at the end of life, of the new resistance; ours.
        pack: its cells.
    """

    modules: int = 6
    spares: int = 1
    rated_power_w: float = 3000.0
    output_v: float = 48.0
    droop_v: float = 0.5
    setpoint_sigma_v: float = 0.01
    current_limit_factor: float = 1.2
    trigger_v: float = 48.5
    trigger_s: float = 0.002
    start_s: float = 0.002
    return_s: float = 0.2
    heeds_signal: bool = False
    efficiency: float = 0.97
    charge_power_w: float = 250.0
    charge_efficiency: float = 0.95
    charge_delay_s: float = 5.0
    charge_below_soc: float = 0.98
    charge_end_a: float = 0.5
    old_capacity_left: float = 0.42
    old_resistance_factor: float = 1.5
    pack: PackSpec = field(default_factory=PackSpec)

    @property
    def rated_current_a(self) -> float:
        """Current of one module at rated power."""
        return self.rated_power_w / (self.output_v - self.droop_v)

    @property
    def droop_ohm(self) -> float:
        """Output resistance of one module."""
        return self.droop_v / self.rated_current_a


@dataclass(frozen=True, kw_only=True, slots=True)
class BusSpec:
    """The bus bar between shelf and servers.

    Attributes:
        resistance_ohm: there and back; ours.
        capacitance_f: of all server inputs, at their end; ours (2.5 mF a server).
        bleed_ohm: what is always across it; ours.
    """

    resistance_ohm: float = 0.0002
    capacitance_f: float = 0.02
    bleed_ohm: float = 100.0


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerSpec:
    """Servers that share the rack's load equally.

    The window of 46 to 52 V is that of Open Rack V3 IT gear; the rest is ours.

    Attributes:
        count: how many there are.
        rated_power_w: of one; what a throttled one draws is a fraction of this.
        minimum_v: input opens below this.
        maximum_v: input opens above this.
        reconnect_v: an input that is open closes this far inside the window.
        threshold_sigma_v: of all voltages of one server; keyed normal draw, cut at 3.
        hold_up_j: held inside; gone, the server resets.
        refill_power_w: with which it is filled again.
        throttle_v: input below this for ``throttle_s`` slows it down.
        throttle_s: as said there.
        release_v: input above this for ``release_s`` lets it go.
        release_s: as said there.
        throttled_power: fraction of ``rated_power_w`` that a throttled one may draw.
        power_on_s: good input until a server that was reset boots.
        boot_s: duration of its boot.
        boot_power: fraction of ``rated_power_w`` that it draws meanwhile.
    """

    count: int = 8
    rated_power_w: float = 1875.0
    minimum_v: float = 46.0
    maximum_v: float = 52.0
    reconnect_v: float = 0.5
    threshold_sigma_v: float = 0.02
    hold_up_j: float = 8.0
    refill_power_w: float = 200.0
    throttle_v: float = 46.8
    throttle_s: float = 0.0001
    release_v: float = 47.2
    release_s: float = 0.1
    throttled_power: float = 0.4
    power_on_s: float = 5.0
    boot_s: float = 120.0
    boot_power: float = 0.35


@dataclass(frozen=True, kw_only=True, slots=True)
class RackSpec:
    """Everything that a rack is made of.

    Attributes:
        shelf: power shelf.
        backup: backup unit.
        bus: bus bar.
        servers: what must never drop.
        nominal_voltage_v: of the AC source, line-to-neutral.
        frequency_hz: of the AC source.
        seed: keys every random draw.
    """

    shelf: PowerShelfSpec = field(default_factory=PowerShelfSpec)
    backup: BackupSpec = field(default_factory=BackupSpec)
    bus: BusSpec = field(default_factory=BusSpec)
    servers: ServerSpec = field(default_factory=ServerSpec)
    nominal_voltage_v: float = 230.0
    frequency_hz: float = 50.0
    seed: int = 1


def orv3_rack() -> RackSpec:
    """Open Rack V3: 15 kW, 51 to 50.5 V, told by a drop of 3 V."""
    return RackSpec()


def hpr_rack() -> RackSpec:
    """Open Rack V3 High Power Rack: 27.5 kW, told by AC_LOSS.

    Rectifiers of 5.5 kW (Delta and Advanced Energy), hold-up of 20 ms at full load (TofuPilot's template),
    set to 50.5 V at no load (same); backup modules of 5.5 kW, 27.5 kW with one to spare.

    Run times published for this rack (OCP): 20 kW for 240 s and 27.5 kW for 90 s on five modules, 24 and
    33 kW on six. Whether new or old is not said. The first takes twice the energy of the second, so here it
    sizes the new pack, which then gives 27.5 kW for almost 3 min; the second is taken for the end of life.
    """
    ours = RackSpec()
    shelf = replace(
        ours.shelf,
        rated_power_w=5500.0,
        no_load_v=50.5,
        hold_up_j=115.0,
        ac_loss_sign=AcLossSign.SIGNAL,
        # The ORv3 rectifier's losses, scaled to the power.
        loss_idle_w=16.5,
        loss_square_per_w=4.6e-6,
        input_current_limit_a=33.0,
        recharge_power_w=1100.0,
        filter_capacitance_f=9e-6,
    )
    backup = replace(
        ours.backup,
        rated_power_w=5500.0,
        heeds_signal=True,
        # 4 kW a module for a little over 240 s; resistance times capacity as in the ORv3 module.
        pack=replace(ours.backup.pack, capacity_ah=7.7, resistance_ohm=0.024),
        # 5.5 kW a module for a little over 90 s.
        old_capacity_left=0.58,
    )
    bus = replace(ours.bus, resistance_ohm=0.0001, capacitance_f=0.04)
    servers = replace(ours.servers, rated_power_w=3437.5, hold_up_j=15.0, refill_power_w=400.0)
    return replace(ours, shelf=shelf, backup=backup, bus=bus, servers=servers)


def end_of_life(rack: RackSpec) -> RackSpec:
    """Give the rack with old backup packs, as its ``BackupSpec`` describes their end of life."""
    old = rack.backup
    pack = replace(old.pack, capacity_left=old.old_capacity_left, resistance_factor=old.old_resistance_factor)
    return replace(rack, backup=replace(rack.backup, pack=pack))
