"""The safe state: a recipe per cause, each step within its gate and its time, verified by two sensors a node.

Every step is tried although an earlier one raised. A battery's contactor opens only when an independent
meter shows a current that it may break; where the converter does not take the current away, the source goes,
then the battery's line is cut, where nothing on the rig is beyond its limits and there is time for the
converter to find out, then the safety chain, whose breaker is rated for it. What comes out is safe, verified,
or unsafe with what is still live.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from harness.clock import now_s
from harness.errors import DeviceFault, NotTestable, Unsafe
from harness.readings import Measured
from harness.record.journal import SAFE_STATE
from harness.rig.bench import Bench
from harness.rig.product_file import ProductFile
from harness.rig.rig_file import RigFile
from harness.rig.safety_part import SafeState

STEP_WITHIN_S = 6.0
"""Bound of a step whose device does not answer: more than any exchange's own time-out in a rig file (5 s)."""

SETTINGS_WITHIN_S = 12.0
"""Bound of writing the product's settings back: some forty exchanges, and two that are not answered; ours."""

_LOOK_S = 0.05
"""Between two looks at a value that is waited for: half the interval of the fastest sensor's reports."""


class Means(Enum):
    """What takes energy away, in the words of the record."""

    CEASE = "the converter ceases to energise"
    SOURCE_OFF = "the AC source opens its output"
    OPEN_BATTERY = "the battery's contactor opens"
    SILENCE_BATTERY = "the battery's line is cut, and the converter stops by its own time-out"
    DROP_CHAIN = "the safety chain drops"
    FAULTS_OUT = "inserted faults are taken out"


_USUAL = (
    Means.CEASE,
    Means.SOURCE_OFF,
    Means.OPEN_BATTERY,
    Means.DROP_CHAIN,
    Means.OPEN_BATTERY,
    Means.FAULTS_OUT,
)

_PATIENT = (*_USUAL[:3], Means.SILENCE_BATTERY, *_USUAL[2:])
"""The chain breaks a current that the converter could have taken away: that wears a breaker, and a current of
seconds more hurts nobody while each limit is kept."""

RECIPES: Mapping[str, Sequence[Means]] = {
    # A person or a door opened the chain already: nothing may come back when it is released.
    "contact": (Means.DROP_CHAIN, Means.CEASE, Means.SOURCE_OFF, Means.OPEN_BATTERY, Means.FAULTS_OUT),
    # The independent meter may be what is silent: the contactor's gate then stays shut, and the chain acts.
    "stale": _USUAL,
    "limit": _USUAL,
    "disagreement": _USUAL,
    "guard": _USUAL,
    "run": _PATIENT,
    "command": _PATIENT,
}
"""By the cause of a breach; a contactor that a gate held back is tried again after each later means."""

TIMER_LATE = 0.25
"""Of a converter's time-out: how much later than its product file says it may be; ours."""


def contactor_closes_within_s(product: ProductFile) -> float:
    """Time from driving the battery's contactor until its auxiliary contact is seen, every try needed.

    What the product file gives its battery, and a second for the chain's relay and the questions; ours.
    """
    return product.bms.closes_within_s + 1.0


def silencing_fault(rig: RigFile) -> str | None:
    """Name the fault that keeps the battery's word from the converter; None where no relay can do that."""
    ears = {device.hears for device in rig.devices.values() if device.role == "inverter"}
    ends = {name for name, device in rig.devices.items() if device.role in {"battery", "inverter"}}
    faults = rig.topology.faults.items()
    return next((name for name, fault in faults if fault.wire in ears and fault.lead in ends), None)


def silenced_within_s(rig: RigFile, product: ProductFile) -> float:
    """Time from a cut line until the independent meter shows no current.

    The converter's time-out with its tolerance, its fast ramp from the larger rating, the response behind it,
    and a report of the meter.
    """
    inverter = product.inverter
    most_w = max(product.ratings.discharge_power_w, inverter.charge_power_w)
    ramp_s = most_w / inverter.fast_ramp_w_per_s + inverter.response_s
    report_s = 0.0
    if rig.interlock is not None and rig.safe_state is not None:
        report_s = rig.interlock.periods_s.get(rig.safe_state.current.partition(".")[0], 0.0)
    return (1.0 + TIMER_LATE) * inverter.bms_timeout_s + ramp_s + report_s


def step_within_s(means: Means, rig: RigFile, product: ProductFile) -> float:
    """Bound of one step."""
    assert rig.safe_state is not None
    match means:
        case Means.OPEN_BATTERY:
            return STEP_WITHIN_S + rig.safe_state.current_gone_within_s + rig.safe_state.open_within_s
        case Means.SILENCE_BATTERY:
            return STEP_WITHIN_S + silenced_within_s(rig, product)
        case _:
            return STEP_WITHIN_S


def safe_within_s(rig: RigFile, product: ProductFile) -> float:
    """Bound of the longest recipe with its verification and the settings, should nothing answer at all."""
    assert rig.safe_state is not None
    longest_s = max(sum(step_within_s(each, rig, product) for each in recipe) for recipe in RECIPES.values())
    # The verification ends with a look that began within its time; then come the settings.
    return longest_s + rig.safe_state.verified_within_s + 2.0 * STEP_WITHIN_S + SETTINGS_WITHIN_S


@dataclass(frozen=True, slots=True)
class Step:
    """One step as it went.

    Attributes:
        means: what it was.
        outcome: ``done``, ``held back`` by its gate, ``failed``, or ``not there`` where the rig has no such
            device.
        text: why, where it was not done.
        at_s: rig time of its begin.
        took_s: how long it took.
    """

    means: str
    outcome: str
    text: str
    at_s: float
    took_s: float


@dataclass(slots=True)
class Outcome:
    """What came of it.

    Attributes:
        cause: why the rig was made safe.
        is_safe: verified at every node.
        steps: each step, in order.
        seen: the last value of each sensor that was asked, by node.
        live: nodes that are live, or that nobody could verify, and why.
        settings: what was left other than in the snapshot.
        way_down: (rig time, value, what it was), measured while the steps ran.
    """

    cause: str
    is_safe: bool = False
    steps: list[Step] = field(default_factory=list)
    seen: dict[str, dict[str, float | str]] = field(default_factory=dict)
    live: list[str] = field(default_factory=list)
    settings: list[str] = field(default_factory=list)
    way_down: list[tuple[float, str, float]] = field(default_factory=list)

    @property
    def text(self) -> str:
        """One line for people."""
        left = f"; settings not restored: {'; '.join(self.settings)}" if self.settings else ""
        if not self.is_safe:
            return f"UNSAFE after {self.cause}: {'; '.join(self.live)}{left}"
        if not self.seen:
            return f"not energised: {self.cause}"
        return f"safe, verified at {', '.join(self.seen)}, after {self.cause}{left}"


_VALUE = re.compile(r"(?P<device>\w+)\.(?P<quantity>\w+)(?:\((?P<argument>\w+)\))?(?:\.(?P<part>\w+))?")


async def ask(bench: Bench, value: str) -> Any:
    """Ask a device for a value by its name in the rig file.

    Raises:
        RackproofError: the device is not open, or whatever it said.
    """
    found, _ = await hear(bench, value)
    return found


async def hear(bench: Bench, value: str) -> tuple[Any, float]:
    """Ask likewise; gives the value, and the rig time for which it stands."""
    match = _VALUE.fullmatch(value)
    if match is None or match["device"] not in bench.devices:
        raise NotTestable(f"{value}: no such device is open")
    method = getattr(bench.devices[match["device"]], match["quantity"])
    argument = match["argument"]
    arguments = () if argument is None else (int(argument) if argument.isdigit() else argument,)
    answer = await method(*arguments)
    if match["part"] is not None:
        answer = getattr(answer, match["part"])
    if isinstance(answer, Measured):
        return answer.value, answer.window_s[1] if answer.window_s else now_s()
    return answer.value, answer.at_s


async def _inputs(device: Any) -> Mapping[str, bool]:
    """Read the safety chain's inputs, also of a device whose watchdog has dropped its outputs already."""
    try:
        found: Mapping[str, bool] = (await device.inputs()).value
    except DeviceFault:
        await device.disarm_watchdog()
        found = (await device.inputs()).value
    return found


class MakeSafe:
    """Makes one rig safe, once."""

    def __init__(self, bench: Bench, cause: str, text: str, say: Callable[[str, object], None]) -> None:
        """Prepare.

        Args:
            bench: with the devices that could be opened; those that could not are missing.
            cause: of the breach; chooses the recipe.
            text: the breach in words.
            say: takes each event for the journal.

        Raises:
            Unsafe: the rig file has no safe state.
        """
        if bench.rig.safe_state is None:
            raise Unsafe(
                f"rig {bench.rig.name}: its file has no [safe_state]; it should never have been energised"
            )
        self._part: SafeState = bench.rig.safe_state
        self._bench = bench
        self._recipe = RECIPES[cause]
        self._say = say
        self._is_open = False
        self.outcome = Outcome(text)

    async def run(self, settings: Mapping[str, float]) -> Outcome:
        """Carry the recipe out, verify, restore settings; never raises for what a device does."""
        for means in self._recipe:
            if self._is_open and means in {Means.OPEN_BATTERY, Means.SILENCE_BATTERY}:
                continue
            await self._try(means)
        await self.verify()
        if settings:
            await self._restore(settings)
        self._say(SAFE_STATE, self.outcome)
        return self.outcome

    async def _try(self, means: Means) -> None:
        start_s = now_s()
        outcome, text = "done", ""
        try:
            async with asyncio.timeout(step_within_s(means, self._bench.rig, self._bench.product)):
                await self._steps[means](self)
        except NotTestable as error:
            outcome, text = "not there", str(error)
        except Unsafe as error:
            outcome, text = "held back", str(error)
        except Exception as error:  # noqa: BLE001 - no step may be lost to a fault of another one's driver
            outcome, text = "failed", f"{type(error).__name__}: {error}"
        step = Step(means.value, outcome, text, start_s, now_s() - start_s)
        self.outcome.steps.append(step)
        self._say("step", step)

    async def _cease(self) -> None:
        await self._bench.role("inverter").turn_off()

    async def _source_off(self) -> None:
        await self._bench.role("grid_source").turn_off()

    async def _faults_out(self) -> None:
        inserter = self._bench.role("fault_inserter")
        for fault in sorted((await inserter.inserted()).value):
            await inserter.remove(fault)

    async def _silence_battery(self) -> None:
        """Cut the line on which the converter hears the battery, and wait until it has found out.

        Not where the meter is not to be trusted: nobody would see whether the current goes.
        """
        rig = self._bench.rig
        fault = silencing_fault(rig)
        if fault is None:
            raise NotTestable("no relay of topology.faults cuts the line on which the converter hears")
        inserter = self._bench.devices.get(rig.topology.faults[fault].device)
        if inserter is None:
            raise NotTestable(f"{rig.topology.faults[fault].device} is not open here")
        await self._trusted(self._part.current)
        await inserter.insert(fault)
        await self._wait_for_current(silenced_within_s(rig, self._bench.product), in_envelope=True)

    async def _drop_chain(self) -> None:
        chain = self._chain()
        await self._bench.role("safety_inputs").set_output(chain.chain, is_on=False)

    async def _open_battery(self) -> None:
        chain = self._chain()
        device = self._bench.role("safety_inputs")
        await self._wait_for_current(self._part.current_gone_within_s)
        await device.set_output(chain.battery_enable, is_on=False)
        end_s = now_s() + self._part.open_within_s
        while (await _inputs(device)).get(chain.contactor_feedback):
            if now_s() >= end_s:
                raise DeviceFault(
                    f"{device.name}.{chain.contactor_feedback} says closed "
                    f"{self._part.open_within_s:g} s after the contactor was told to open: welded, stuck, or "
                    "its feedback is broken"
                )
            await asyncio.sleep(_LOOK_S)
        self._is_open = True

    def _chain(self) -> Any:
        chain = self._bench.rig.topology.safety_chain
        if chain is None:
            raise NotTestable(f"rig {self._bench.rig.name} has no safety chain")
        return chain

    async def _wait_for_current(self, within_s: float, *, in_envelope: bool = False) -> None:
        """Let the contactor pass once the independent meter shows a current that it may break.

        What the meter said before the step began shows another current than the one to be broken.

        Args:
            within_s: for how long to wait.
            in_envelope: end the wait as well once the battery is beyond what the rig survives.
        """
        start_s = now_s()
        end_s = start_s + within_s
        while True:
            current_a, at_s = await self._trusted(self._part.current)
            self.outcome.way_down.append((at_s, self._part.current, current_a))
            is_fresh = at_s >= start_s
            if is_fresh and abs(current_a) <= self._part.break_current_a:
                return
            if is_fresh and in_envelope:
                await self._see_in_envelope(current_a)
            # A meter that says nothing anew goes stale, and its driver raises.
            if is_fresh and now_s() >= end_s:
                raise Unsafe(
                    f"{self._part.current} is {current_a:.4g} A after {within_s:.4g} s; the "
                    f"contactor breaks at most {self._part.break_current_a:g} A"
                )
            await asyncio.sleep(_LOOK_S)

    async def _see_in_envelope(self, current_a: float) -> None:
        """Look at the battery's current and voltage as the bench's meter sees them.

        Raises:
            Unsafe: either is beyond the envelope, so that nothing slower than the chain may be waited for.
        """
        envelope = self._bench.rig.envelope
        if envelope is None:
            return
        meter = self._part.current.partition(".")[0]
        voltage_v = float(await ask(self._bench, f"{meter}.voltage_v"))
        low_v, high_v = envelope.battery_voltage_v.value
        most_a = envelope.battery_current_a.value
        if abs(current_a) > most_a or not low_v <= voltage_v <= high_v:
            raise Unsafe(
                f"{meter} shows {current_a:.4g} A and {voltage_v:.4g} V; the envelope allows {most_a:g} A "
                f"and {low_v:g} to {high_v:g} V: nothing slower than the chain is waited for"
            )

    async def _trusted(self, value: str) -> tuple[float, float]:
        """Ask a sensor, and a battery's current only of one that also sees the battery's voltage.

        Returns:
            The value, and the rig time for which it stands.

        Raises:
            DeviceFault: it shows no voltage: a battery is never at zero volts, and a dead sensor reads zero.
        """
        found, at_s = await hear(self._bench, value)
        envelope = self._bench.rig.envelope
        device, _, quantity = value.partition(".")
        if quantity == "current_a" and envelope is not None:
            lowest_v = 0.5 * envelope.battery_voltage_v.value[0]
            voltage_v = float(await ask(self._bench, f"{device}.voltage_v"))
            if voltage_v < lowest_v:
                raise DeviceFault(
                    f"{value} is not to be trusted: {device}.voltage_v is {voltage_v:.4g} V, and a "
                    f"battery is never below {lowest_v:.4g} V"
                )
        return float(found), at_s

    async def verify(self) -> Outcome:
        """Look at every node until all are dead, or the time for it is over; commands nothing.

        A sensor counts once it has said something since the beginning of the look.
        """
        start_s = now_s()
        end_s = start_s + self._part.verified_within_s
        looks = 0
        while True:
            nodes = self._part.verified.items()
            found = await asyncio.gather(
                *(self._look(node, check, start_s) for node, check in nodes), self._contactor()
            )
            self.outcome.live = [text for texts in found for text in texts]
            looks += 1
            # A second look at least: a reading from before another sensor fell silent is stale by then.
            if not self.outcome.live or (now_s() >= end_s and looks > 1):
                break
            await asyncio.sleep(4.0 * _LOOK_S)
        self.outcome.is_safe = not self.outcome.live
        return self.outcome

    async def _contactor(self) -> list[str]:
        """Say whether the battery's contactor is closed, by its auxiliary contact."""
        chain = self._bench.rig.topology.safety_chain
        if chain is None:
            return []
        try:
            async with asyncio.timeout(STEP_WITHIN_S):
                is_closed = (await _inputs(self._bench.role("safety_inputs")))[chain.contactor_feedback]
        except Exception as error:  # noqa: BLE001 - as in _try
            return [f"nobody knows whether the battery's contactor is open: {type(error).__name__}: {error}"]
        self.outcome.seen["battery contactor"] = {chain.contactor_feedback: float(is_closed)}
        return ["the battery's contactor is closed"] if is_closed else []

    async def _look(self, node: str, check: Any, since_s: float) -> list[str]:
        seen = self.outcome.seen[node] = {}
        live: list[str] = []
        dead = 0
        for sensor, value in zip(
            check.sensors,
            await asyncio.gather(*(self._heard(sensor, since_s) for sensor in check.sensors)),
            strict=True,
        ):
            seen[sensor] = value
            if isinstance(value, str):
                continue
            if abs(value) <= check.at_most:
                dead += 1
            else:
                live.append(f"{node} is live: {sensor} is {value:.4g}, dead is at most {check.at_most:g}")
        if dead < 2 and not live:
            silent = "; ".join(f"{name}: {what}" for name, what in seen.items() if isinstance(what, str))
            live.append(f"{node} is not verified by two sensors: {silent}")
        return live

    async def _heard(self, sensor: str, since_s: float) -> float | str:
        """Give a sensor's value, or why it gave none."""
        try:
            async with asyncio.timeout(STEP_WITHIN_S):
                value, at_s = await self._trusted(sensor)
        except Exception as error:  # noqa: BLE001 - as in _try
            return f"{type(error).__name__}: {error}"
        return value if at_s >= since_s else f"not heard since {at_s:.3f} s, before the look began"

    async def _restore(self, settings: Mapping[str, float]) -> None:
        """Write the product's settings back, and say what is left."""
        try:
            async with asyncio.timeout(SETTINGS_WITHIN_S):
                inverter = self._bench.role("inverter")
                await inverter.restore(settings)
        except Exception as error:  # noqa: BLE001 - as in _try
            self.outcome.settings.append(str(error) or type(error).__name__)
            self._say("settings not restored", str(error))

    _steps: Mapping[Means, Callable[[MakeSafe], Any]] = {
        Means.CEASE: _cease,
        Means.SOURCE_OFF: _source_off,
        Means.OPEN_BATTERY: _open_battery,
        Means.SILENCE_BATTERY: _silence_battery,
        Means.DROP_CHAIN: _drop_chain,
        Means.FAULTS_OUT: _faults_out,
    }
