"""``rackproof commission``: is the rig wired as its file says? Tried at low energy, with a person beside it.

This is the walk: the checks one after the other (``commissioning_checks``), the interlock beside them, the
way to safe at the end, and the signed result. A mistake that they are for (a swapped phase, a current
transformer the wrong way round, a feedback contact of another contactor) makes every later number plausible
and wrong, so a rig of hardware is not armed before all of them have passed.

The harness watches the envelope meanwhile, in this process. The hardware layer is tried before anything is
energised, and armed from then on: it acts should this process end, and the person with a hand at the E-stop
is the third means.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from harness.clock import go_before_others, now_s, run_wall
from harness.errors import BenchError, NotTestable, RackproofError, Unsafe
from harness.readings import Reading
from harness.record.logbook import station_key
from harness.rig.bench import Bench, FarSide, Setup, open_bench
from harness.rig.product_file import ProductFile
from harness.rig.reaction import STALE_PERIODS
from harness.rig.refusals import refusals
from harness.rig.rig_file import RigFile
from harness.safety.commissioned import GOOD_RESULTS, place_of, write_commissioning
from harness.safety.interlock import Breach, Interlock
from harness.safety.lease import ENERGISED, Lease, state_kept_in
from harness.safety.safe_state import MakeSafe, Outcome, contactor_closes_within_s
from harness.safety.watch import held_watchdogs, watching

LOW_POWER = 0.1
"""Of the rating: far beyond every sensor's offset, and a tenth of the energy of a mistake at full power;
ours."""

LOOK_S = 0.02
"""Between two looks at what is waited for: below every time that a rig file declares; ours."""


CHAIN_RESTS_S = 0.5
"""Between dropping the chain and driving it again: a safety relay's delayed contact opens meanwhile, and
would open the battery after it was closed; ours."""


class CheckFailed(BenchError):
    """The rig is not as its file says."""


@dataclass(frozen=True, slots=True)
class Result:
    """How one check went.

    Attributes:
        name: of the check.
        result: ``passed``, ``failed``, ``not run`` after a failed one, or ``not there`` where the rig has no
            such part.
        found: what was seen, in words.
        values: what was measured.
    """

    name: str
    result: str
    found: str
    values: dict[str, float] = field(default_factory=dict)

    @property
    def is_good(self) -> bool:
        """Whether nothing stands against arming."""
        return self.result in GOOD_RESULTS


@dataclass(frozen=True, slots=True)
class Check:
    """One check.

    Attributes:
        name: of the check.
        commands: what the harness commands.
        expects: what has to come.
        run: carries it out; gives what was found. Raises BenchError where that is wrong, NotTestable where
            the rig has no such part.
        person: what a person does; empty where nothing.
    """

    name: str
    commands: str
    expects: str
    run: Callable[[Commissioning], Awaitable[str]]
    person: str = ""


class Commissioning:
    """One commissioning of one rig: what its checks share, and their course.

    Attributes:
        bench: all devices, open.
        tell: shows a line to the person.
        interlock: the part of the rig file.
        safe_state: the part of the rig file.
        chain: the rig's safety chain.
        values: what the running check has measured.
    """

    def __init__(self, bench: Bench, tell: Callable[[str], None], interlock: Interlock) -> None:
        """Prepare; the interlock is shown the bench's readings already.

        Raises:
            Unsafe: the rig file has no interlock, safe state or safety chain.
        """
        rig = bench.rig
        if rig.interlock is None or rig.safe_state is None or rig.topology.safety_chain is None:
            raise Unsafe(f"rig {rig.name}: its file has no [interlock], [safe_state] or safety chain")
        self.bench = bench
        self.tell = tell
        self.interlock = rig.interlock
        self.safe_state = rig.safe_state
        self.chain = rig.topology.safety_chain
        self.values: dict[str, float] = {}
        self._interlock = interlock
        self._until_safe = contextlib.AsyncExitStack()
        self._running: asyncio.Task[str] | None = None
        self._breach: Breach | None = None

    async def run(self, checks: Sequence[Check]) -> list[Result]:
        """Carry the checks out; after a failed one, or a breach, the rest is left. The rig ends safe.

        Returns:
            A result for each check, and a last one for the safe state.
        """
        results: list[Result] = []
        async with self._until_safe:
            try:
                async with watching(self.bench, self._interlock, self.stop):
                    for check in checks:
                        results.append(await self._one(check, results))
            finally:
                outcome = await self.make_safe("command", "commissioning")
        self.tell(f"rig: {outcome.text}")
        results.append(Result("safe at the end", "passed" if outcome.is_safe else "failed", outcome.text))
        return results

    def stop(self, breach: Breach) -> None:
        """End the check that runs, as failed, and all that come after it."""
        self._breach = self._breach or breach
        if self._running is not None:
            self._running.cancel()

    async def _one(self, check: Check, before: Sequence[Result]) -> Result:
        failed = next((each.name for each in before if each.result == "failed"), None)
        if failed is not None:
            return Result(check.name, "not run", f"after {failed}")
        self.tell(f"{check.name}: {check.expects}")
        if check.person:
            self.tell(f"  a person: {check.person}")
        self.values = {}
        result, found = await self._outcome(check)
        self.tell(f"  {result}: {found}")
        return Result(check.name, result, found, self.values)

    async def _outcome(self, check: Check) -> tuple[str, str]:
        self._running = asyncio.ensure_future(check.run(self))
        try:
            if self._breach is not None:
                self._running.cancel()
            return "passed", await self._running
        except NotTestable as error:
            return "not there", str(error)
        except (RackproofError, TimeoutError) as error:
            return "failed", str(error) or type(error).__name__
        except asyncio.CancelledError:
            if self._breach is None:
                raise
            return "failed", self._breach.text
        finally:
            self._running.cancel()
            self._running = None

    # What the checks share

    def role(self, role: str) -> Any:
        """Give the one device of a role; NotTestable where the rig has none."""
        return self.bench.role(role)

    @property
    def f0_hz(self) -> float:
        """Frequency at which the rig is tried."""
        return self.bench.setup.f0_hz

    @property
    def low_power_w(self) -> float:
        """Power at which the rig is tried."""
        return LOW_POWER * self.bench.product.ratings.discharge_power_w

    async def until(
        self, holds: Callable[[], Awaitable[bool]], within_s: float, otherwise: Callable[[], str]
    ) -> float:
        """Wait until something holds; gives how long that took.

        Raises:
            CheckFailed: it did not hold at a look that began after ``within_s``; with ``otherwise``'s words.
        """
        start_s = now_s()
        while True:
            looked_s = now_s()
            if await holds():
                return now_s() - start_s
            if looked_s - start_s > within_s:
                raise CheckFailed(otherwise())
            await asyncio.sleep(LOOK_S)

    async def input_becomes(self, name: str, *, is_on: bool, within_s: float) -> float:
        """Wait for an input of the safety chain; gives how long that took."""
        device = self.role("safety_inputs")

        async def has_become() -> bool:
            return (await device.inputs()).value.get(name) is is_on

        return await self.until(
            has_become,
            within_s,
            lambda: (
                f"{device.name}.{name} is not {'on' if is_on else 'off'} after {within_s:g} s: wrong input, "
                "broken wire, or nobody did it"
            ),
        )

    async def close_chain(self) -> None:
        """Drive the chain and the battery's contactor from off, and wait for its auxiliary contact.

        From off, since what a contact has opened stays open until it is driven anew.
        """
        device, chain = self.role("safety_inputs"), self.chain
        for output in (chain.battery_enable, chain.chain):
            await device.set_output(output, is_on=False)
        await asyncio.sleep(CHAIN_RESTS_S)
        for output in (chain.chain, chain.battery_enable):
            await device.set_output(output, is_on=True)
        await self.contactor_becomes(is_closed=True)

    async def contactor_becomes(self, *, is_closed: bool) -> float:
        """Wait for the auxiliary contact of the battery's contactor; gives how long that took."""
        within_s = contactor_closes_within_s(self.bench.product)
        return await self.input_becomes(self.chain.contactor_feedback, is_on=is_closed, within_s=within_s)

    async def power(self, power_w: float) -> None:
        """Bring the converter to a power, and wait until everybody sees it."""
        inverter = self.role("inverter")
        if (await inverter.power_setpoint_w()).value != power_w:
            await inverter.set_power_w(power_w)
            await asyncio.sleep(await self._settled_s())

    async def _settled_s(self) -> float:
        """Time after a change of power until everybody has seen it: the ramp, and then three periods.

        Of the slowest reporter, since what is older is stale; and two updates of an analyzer, of which the
        second begins behind the ramp.
        """
        ramp_s = 2.0 * self.low_power_w / self.bench.product.inverter.ramp_w_per_s
        seen_s = STALE_PERIODS * max(self.interlock.periods_s.values())
        with contextlib.suppress(NotTestable):
            seen_s = max(seen_s, 2.0 * await self.role("power_analyzer").update_interval_s())
        return ramp_s + seen_s

    def excuse(self, devices: Collection[str]) -> None:
        """Let these devices of the product be silent until others are named: for faults made on purpose."""
        self._interlock.excuse(devices, now_s())

    async def make_safe(self, cause: str, text: str) -> Outcome:
        """Carry the recipe for a cause out."""
        return await MakeSafe(self.bench, cause, text, _to_nobody).run({})

    async def verify_dead(self, after: str) -> Outcome:
        """Look whether all is dead, and command nothing."""
        return await MakeSafe(self.bench, "contact", after, _to_nobody).verify()

    async def arm_hardware_layers(self) -> None:
        """Let the hardware layers act, should this process end, until the rig is safe."""
        await self._until_safe.enter_async_context(held_watchdogs(self.bench, self.stop))


def _to_nobody(kind: str, body: object) -> None:
    """Take a step of the recipe: what came of them all is in its outcome."""


def interlock_for(rig: RigFile, start_s: float) -> Interlock:
    """Give an interlock for the limits, and for silence.

    Contacts are what a person opens during the checks, and whether bench and product agree is what the checks
    find out: a sensor with its leads swapped is to be called by its name.
    """
    assert rig.interlock is not None
    agreement = {
        name: pair.model_copy(update={"within": math.inf}) for name, pair in rig.interlock.agreement.items()
    }
    part = rig.interlock.model_copy(update={"contacts": (), "agreement": agreement})
    return Interlock(rig.model_copy(update={"interlock": part}), start_s)


def programme(checks: Sequence[Check], rig: RigFile, product: ProductFile) -> list[str]:
    """Say everything beforehand, as ``--dry-run`` shows it."""
    low_w = LOW_POWER * product.ratings.discharge_power_w
    most = f"{low_w:.6g} W at most ({LOW_POWER:.0%} of {product.name}'s rating)"
    lines = [f"at {rig.frequencies_hz[0]:g} Hz, nominal voltage, and {most}:"]
    for number, check in enumerate(checks, 1):
        lines.append(f"{number:2}. {check.name}: {check.expects}")
        if check.person:
            lines.append(f"      a person: {check.person}")
        lines.append(f"      commanded: {check.commands}")
    lines.append("after the last one, or the first that fails, the rig is made safe, and that is verified")
    return lines


def commission(
    rig: RigFile, product: ProductFile, person: str, checks: Sequence[Check], tell: Callable[[str], None]
) -> bool:
    """Commission a rig, and keep the signed result; gives whether all is good.

    Raises:
        Unsafe: it must not be energised, nobody is named, or somebody else holds it.
        BenchError: a device cannot be reached, or the result could not be kept.
    """
    if reasons := refusals(rig, product):
        raise Unsafe("; ".join(reasons))
    if not person.strip():
        raise Unsafe(f"rig {rig.name} cannot be commissioned: --person is empty; name who stands beside it")
    # What could not be signed or kept at its end is not begun; another account may own an older result.
    station_key()
    with state_kept_in(place := place_of(rig)):
        place.open("ab").close()
    lease = Lease.take(rig)
    try:
        results = run_wall(lambda: _walk(rig, product, lease, checks, tell))
    finally:
        lease.close()
    write_commissioning(rig, person, [asdict(each) for each in results])
    tell(f"signed: {place}")
    return all(each.is_good for each in results)


async def _walk(
    rig: RigFile, product: ProductFile, lease: Lease, checks: Sequence[Check], tell: Callable[[str], None]
) -> list[Result]:
    async with opened(rig, product, tell) as walk:
        go_before_others()  # the interlock runs in this process
        lease.write(ENERGISED)
        async with _told_by_signals(walk):
            results = await walk.run(checks)
        lease.leave(results[-1].found, is_safe=results[-1].is_good)
        return results


@contextlib.asynccontextmanager
async def opened(
    rig: RigFile, product: ProductFile, tell: Callable[[str], None], side: FarSide | None = None
) -> AsyncIterator[Commissioning]:
    """Open a rig to commission it, with an interlock that sees its readings.

    Args:
        side: emulators of a rig that may be wired otherwise than its file says; None for the rig itself.
    """
    interlock: Interlock | None = None

    def observe(*readings: Reading[Any]) -> None:
        if interlock is not None:
            for reading in readings:
                interlock.observe(reading)

    setup = Setup(rig=rig, product=product, f0_hz=float(rig.frequencies_hz[0]), observe=observe)
    async with open_bench(setup, emulate=side is not None, side=side) as bench:
        interlock = interlock_for(rig, now_s())
        yield Commissioning(bench, tell, interlock)


@contextlib.asynccontextmanager
async def _told_by_signals(walk: Commissioning) -> AsyncIterator[None]:
    """Let Ctrl-C, a hang-up and an end from outside take the way to safe, which nothing cuts short."""
    loop = asyncio.get_running_loop()
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    for number in signals:
        loop.add_signal_handler(number, _stop_by_signal, walk, number)
    try:
        yield
    finally:
        for number in signals:
            loop.remove_signal_handler(number)


def _stop_by_signal(walk: Commissioning, number: signal.Signals) -> None:
    walk.stop(Breach("command", f"stopped from outside ({number.name})", now_s()))
