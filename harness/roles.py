"""What a plan may ask of a device. A role gains a method when the second device needs it.

One vocabulary: ``x_v()`` is measured, ``set_x_v(...)`` commands, ``x_setpoint_v()`` reads back what
was commanded. Positive current and power flow out of the battery, towards grid or load; every driver
converts at its edge. A method that asks the wire raises ``WireTimeout``, ``WireClosed``,
``CodecError``, ``DeviceRefused``, ``DeviceFault`` or ``StaleReading``; none of them returns None.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol, runtime_checkable

from harness.readings import Measured, Reading, Waveform


class OperatingState(Enum):
    """What a converter says it is doing (SunSpec 701 InvSt, in words)."""

    OFF = "off"
    SLEEPING = "sleeping"
    STARTING = "starting"
    RUNNING = "running"
    THROTTLED = "throttled"
    SHUTTING_DOWN = "shutting down"
    FAULT = "fault"
    STANDBY = "standby"


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a device says it is."""

    maker: str
    model: str
    serial: str
    firmware: str


@runtime_checkable
class Device(Protocol):
    """What every device can do."""

    name: str

    async def open(self) -> None:
        """Reach the device and learn what later calls need; touches no output."""

    async def close(self) -> None:
        """Give the device back to local control; touches no output. May be called twice."""

    async def identity(self) -> Identity:
        """Ask the device who it is."""


@runtime_checkable
class Battery(Device, Protocol):
    """A battery as its management system reports it."""

    async def voltage_v(self) -> Reading[float]:
        """Voltage at the battery's terminals."""

    async def current_a(self) -> Reading[float]:
        """Current out of the battery."""

    async def soc(self) -> Reading[float]:
        """State of charge, 0 to 1."""

    async def soh(self) -> Reading[float]:
        """State of health, 0 to 1."""

    async def temperature_degc(self) -> Reading[float]:
        """Temperature that the management system reports."""

    async def charge_voltage_limit_v(self) -> Reading[float]:
        """Highest voltage that it asks a charger to hold."""

    async def charge_current_limit_a(self) -> Reading[float]:
        """Largest charge current it allows, as a positive number."""

    async def discharge_current_limit_a(self) -> Reading[float]:
        """Largest discharge current it allows, as a positive number."""

    async def is_charge_allowed(self) -> Reading[bool]:
        """Whether charging is allowed."""

    async def is_discharge_allowed(self) -> Reading[bool]:
        """Whether discharging is allowed."""

    async def alarms(self) -> Reading[frozenset[str]]:
        """Protections that have acted, in the words of the driver's points."""

    async def warnings(self) -> Reading[frozenset[str]]:
        """Warnings that are raised."""


@runtime_checkable
class Inverter(Device, Protocol):
    """A bidirectional battery converter (PCS)."""

    async def rated_power_w(self) -> Reading[float]:
        """Rated discharge power."""

    async def ac_power_w(self) -> Reading[float]:
        """Active power out of its AC terminals."""

    async def reactive_power_var(self) -> Reading[float]:
        """Reactive power out of its AC terminals (over-excited positive)."""

    async def ac_voltage_v(self) -> Reading[float]:
        """Line-to-neutral voltage, mean of the phases."""

    async def ac_current_a(self) -> Reading[float]:
        """AC current, sum of the phases as SunSpec counts it."""

    async def frequency_hz(self) -> Reading[float]:
        """Frequency at its AC terminals."""

    async def dc_voltage_v(self) -> Reading[float]:
        """Voltage at its DC terminals."""

    async def dc_power_w(self) -> Reading[float]:
        """Power into its DC terminals out of the battery."""

    async def state(self) -> Reading[OperatingState]:
        """What it says it is doing."""

    async def is_grid_forming(self) -> Reading[bool]:
        """Whether it forms the voltage of an island."""

    async def alarms(self) -> Reading[frozenset[str]]:
        """Alarms that are raised."""

    async def set_power_w(self, power_w: float) -> None:
        """Command active power out of the AC terminals; negative charges. Refused beyond the rating."""

    async def power_setpoint_w(self) -> Reading[float]:
        """Active power that it says it was commanded."""

    async def turn_on(self) -> None:
        """Connect and start. The last set-point holds."""

    async def turn_off(self) -> None:
        """Cease to energise and disconnect."""

    async def is_on(self) -> Reading[bool]:
        """Whether it is connected and allowed to run."""

    async def settings(self) -> Mapping[str, float]:
        """Every writable point by name, as it stands; the snapshot taken before a plan."""

    async def restore(self, settings: Mapping[str, float]) -> None:
        """Write back the settings that differ, power commands excepted, and read back that they hold."""


@dataclass(frozen=True, slots=True)
class GridStep:
    """One step of a grid profile.

    Attributes:
        duration_s: how long the step lasts.
        voltage_pu: per phase, of the nominal line-to-neutral voltage, at the step's end.
        frequency_hz: at the step's end.
        is_ramp: whether voltage and frequency run linearly from the step before, or jump.
        phase_jump_deg: added to all phases at the step's start; positive leads.
        angle_deg: per phase, by how much it leads its place in a symmetric system, at the step's end; in a
            ramp it runs as the voltage does, else it stands from the step's start.
        starts_at_deg: the step waits, less than a cycle, until phase 1's angle is this (the place of a
            symmetric phase 1: its voltage rises through zero at 0); None starts it at once.
    """

    duration_s: float
    voltage_pu: tuple[float, float, float]
    frequency_hz: float
    is_ramp: bool = False
    phase_jump_deg: float = 0.0
    angle_deg: tuple[float, float, float] = (0.0, 0.0, 0.0)
    starts_at_deg: float | None = None


@runtime_checkable
class GridSource(Device, Protocol):
    """An AC source that plays the grid."""

    async def nominal_voltage_v(self) -> float:
        """Line-to-neutral voltage that one per unit stands for (from the rig file)."""

    async def set_voltage_v(self, voltage_v: float) -> None:
        """Set the steady line-to-neutral voltage of all phases."""

    async def set_frequency_hz(self, frequency_hz: float) -> None:
        """Set the steady frequency."""

    async def voltage_v(self, phase: int) -> Reading[float]:
        """Line-to-neutral voltage that the source measures at its output, phase 1 to 3."""

    async def frequency_hz(self) -> Reading[float]:
        """Frequency that the source measures at its output."""

    async def set_current_limit_a(self, current_a: float) -> None:
        """Set the source's own RMS current limit, each phase, and read back that it holds no more.

        Raises:
            DeviceFault: it reads back a larger limit.
        """

    async def current_limit_a(self) -> Reading[float]:
        """The source's own RMS current limit, each phase."""

    async def turn_on(self) -> None:
        """Close the output relay."""

    async def turn_off(self) -> None:
        """Open the output relay: a loss of mains."""

    async def is_on(self) -> Reading[bool]:
        """Whether the output relay is closed."""

    async def load_profile(self, steps: Sequence[GridStep]) -> None:
        """Hand the whole profile to the source, which plays it on its own clock.

        Raises:
            DeviceRefused: more steps, a level or a duration that the source cannot do.
        """

    async def start_profile(self) -> None:
        """Start what was loaded; a trigger edge leaves the source at the first step's start."""

    async def is_profile_running(self) -> Reading[bool]:
        """Whether the source is still playing."""

    async def stop_profile(self) -> None:
        """Return to the steady voltage and frequency at once."""


class PowerValues(Protocol):
    """A consistent set of one update of a power analyzer, at one node.

    A driver may work an uncertainty out when its value is asked for; what was read never changes.
    """

    @property
    def voltage_v(self) -> Measured:
        """Line to neutral, mean of the phases; or direct."""

    @property
    def current_a(self) -> Measured:
        """Of a phase, mean of the phases, without a sign; direct current has one."""

    @property
    def power_w(self) -> Measured:
        """Active power, all phases."""

    @property
    def reactive_power_var(self) -> Measured:
        """Reactive power, all phases; zero for direct current."""

    @property
    def frequency_hz(self) -> Measured:
        """Frequency of the voltage; zero for direct current."""


@dataclass(frozen=True, slots=True)
class EnergyValues:
    """What an integration found at one node, both directions positive."""

    out_j: Measured
    in_j: Measured
    charge_out_c: Measured
    charge_in_c: Measured
    duration_s: float


@runtime_checkable
class PowerAnalyzer(Device, Protocol):
    """A power analyzer: accurate over steady stretches, no judge of transients."""

    async def nodes(self) -> frozenset[str]:
        """Nodes of the rig that it is wired to: ``pcs_ac``, ``battery_dc``, ``load_ac``, ``grid_ac``."""

    async def update_interval_s(self) -> float:
        """Interval over which each value is averaged."""

    async def set_update_interval_s(self, interval_s: float) -> None:
        """Choose the interval; DeviceRefused where the instrument has no such step."""

    async def values(self, node: str) -> PowerValues:
        """Wait for the next update and read it, with the instrument's accuracy.

        The sum of the phases where the node has more than one; voltage and current are then means.
        """

    async def start_integration(self) -> None:
        """Reset and start the integration of energy and charge at all nodes."""

    async def stop_integration(self) -> None:
        """Stop the integration; the values stay readable."""

    async def energy(self, node: str) -> EnergyValues:
        """What has been integrated so far."""


@runtime_checkable
class Recorder(Device, Protocol):
    """Samples waveforms around a trigger: what judges transients."""

    async def channels(self) -> frozenset[str]:
        """Channels by rig quantity: ``grid.u1_v``, ``pcs.i1_a``, ``load.u1_v``, ``battery.i_a``."""

    async def arm(
        self,
        channels: Sequence[str],
        *,
        sample_rate_hz: float,
        before_s: float,
        after_s: float,
        trigger: str = "external",
    ) -> None:
        """Start sampling; keep ``before_s`` before and ``after_s`` after the trigger.

        Args:
            trigger: ``external`` waits for the edge that the rig file wires from the grid source;
                ``now`` triggers at once.
        """

    async def is_complete(self) -> Reading[bool]:
        """Whether the capture has its last sample."""

    async def waveforms(self) -> Mapping[str, Waveform]:
        """Read the finished capture, by channel."""


@runtime_checkable
class FaultInserter(Device, Protocol):
    """Makes faults on hardware that the rig file declares (a relay in a line, a resistor to earth)."""

    async def faults(self) -> frozenset[str]:
        """Faults that it can make, by the names in the rig file."""

    async def insert(self, fault: str) -> None:
        """Make the fault and read back that it is there."""

    async def remove(self, fault: str) -> None:
        """Take the fault away and read back that it is gone."""

    async def inserted(self) -> Reading[frozenset[str]]:
        """Faults that are there now."""


@runtime_checkable
class DcSensor(Device, Protocol):
    """A sensor of the bench at ``battery_dc`` that reports by itself; no plan and no product touches it.

    Every report becomes a reading at its arrival, whether anybody asks or not: the interlock lives on them.
    """

    async def period_s(self) -> float:
        """Interval of its reports (from the rig file)."""

    async def voltage_v(self) -> Reading[float]:
        """Voltage across the battery's terminals, in the last report."""

    async def current_a(self) -> Reading[float]:
        """Current out of the battery, in the last report."""

    async def temperature_degc(self) -> Reading[float]:
        """Temperature of the sensor's own shunt, in the last report."""


@runtime_checkable
class Watchdog(Protocol):
    """What a device does to make the rig safe by itself, once nobody looks after it: a hardware layer.

    A coupler drops its outputs, a converter takes its power to zero. It cannot tell why it hears nobody. A
    device is one itself, or has one as an attribute that its class declares (``heartbeat: Heartbeat``), or
    both.
    """

    async def arm_watchdog(self, timeout_s: float) -> None:
        """Let the device itself act after this time in which nobody fed it; read back that it runs.

        Raises:
            DeviceRefused: a time that the device has no step for.
            DeviceFault: nothing in the device looks after it.
        """

    async def feed_watchdog(self) -> None:
        """Give it its whole time again.

        Raises:
            DeviceFault: it has acted already, is not armed, or nothing in the device looks after it: feeding
                does not bring back what it took away.
        """

    async def disarm_watchdog(self) -> None:
        """Stop it; whatever it guards stays as it is.

        One that has no word for that is fed no more, and acts in its time on what then runs.
        """

    async def is_watchdog_running(self) -> Reading[bool]:
        """Whether it runs; false once it has acted. Asking does not feed it."""


@runtime_checkable
class SafetyInputs(Device, Watchdog, Protocol):
    """The contacts and outputs of a rig's safety chain, with a watchdog that drops all outputs.

    Names are those of the rig file: inputs such as ``e_stop_released``, ``door_closed``, ``gas_clear``,
    ``insulation_ok`` and ``battery_contactor_closed``, true where all is well or closed; outputs such as
    ``chain`` (the rig's enable) and ``battery_enable``. Off is the safe side of every output.
    """

    async def inputs(self) -> Reading[Mapping[str, bool]]:
        """All inputs, read at once."""

    async def outputs(self) -> Reading[Mapping[str, bool]]:
        """All outputs as they are driven, read back."""

    async def set_output(self, output: str, *, is_on: bool) -> None:
        """Drive an output, and read back that it is driven."""


@runtime_checkable
class EnergyManager(Device, Protocol):
    """Routes power between grid, battery, sun and what must never drop, and says why."""

    async def interval_s(self) -> Reading[float]:
        """Time between two decisions."""

    async def demand_w(self) -> Reading[float]:
        """Power of everything behind the site's meter that is neither battery nor sun."""

    async def solar_w(self) -> Reading[float]:
        """Power that the sun gives or would give, uncurtailed."""

    async def grid_power_w(self) -> Reading[float]:
        """Power out of the site at its meter; negative while importing."""

    async def battery_power_setpoint_w(self) -> Reading[float]:
        """Power out of the battery that it commands; zero while it is off."""

    async def soc(self) -> Reading[float]:
        """State of charge that it reckons with, 0 to 1."""

    async def window_power_w(self) -> Reading[float]:
        """Mean import that it expects of the running demand window."""

    async def is_islanded(self) -> Reading[bool]:
        """Whether it sees the mains gone."""

    async def rule(self) -> Reading[str]:
        """What bound its last decision, in the words of the driver's points."""

    async def demand_forecast_w(self) -> Reading[tuple[float, ...]]:
        """Means of the demand that it expects, by half hours, the running one first."""

    async def solar_forecast_w(self) -> Reading[tuple[float, ...]]:
        """Means of the sun's power that it expects, likewise."""

    async def turn_on(self) -> None:
        """Let it command the battery."""

    async def turn_off(self) -> None:
        """Let it command no more; the battery's power goes to zero."""

    async def is_on(self) -> Reading[bool]:
        """Whether it commands the battery."""

    async def contract_power_w(self) -> Reading[float]:
        """Mean import that it keeps each demand window below; infinite: none."""

    async def set_contract_power_w(self, power_w: float) -> None:
        """Set the contract; infinite: none."""

    async def reserve_soc(self) -> Reading[float]:
        """State of charge that it keeps while there are mains."""

    async def set_reserve_soc(self, soc: float) -> None:
        """Set the reserve."""

    async def export_limit_w(self) -> Reading[float]:
        """Most power that it lets out of the site; infinite: no limit."""

    async def set_export_limit_w(self, power_w: float) -> None:
        """Set the export limit; infinite: none."""

    async def settings(self) -> Mapping[str, float]:
        """Every writable point by name but for on and off; the snapshot taken before a plan."""

    async def restore(self, settings: Mapping[str, float]) -> None:
        """Write back the settings that differ, and read back that they hold."""


ROLES: Mapping[str, type] = {
    "battery": Battery,
    "inverter": Inverter,
    "grid_source": GridSource,
    "power_analyzer": PowerAnalyzer,
    "recorder": Recorder,
    "fault_inserter": FaultInserter,
    "dc_sensor": DcSensor,
    "safety_inputs": SafetyInputs,
    "energy_manager": EnergyManager,
}
"""Roles by the word that a rig file uses; the list is open."""
