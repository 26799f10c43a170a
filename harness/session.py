"""One session of pytest on one rig: what was chosen, the run's folder, its benches, and who guards them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TextIO

from harness.clock import VirtualLoop, WallLoop, rig_loop
from harness.errors import (
    Aborted,
    BenchError,
    ConfigurationError,
    Livelock,
    Unsafe,
)
from harness.plans import Form, PlanSpec
from harness.readings import Observe, Reading
from harness.record.journal import SAFE_STATE
from harness.record.run import Attempt, Run, Subject, Unit
from harness.requirements import Requirements
from harness.rig.agreement import BenchFiles
from harness.rig.bench import Bench, FarSide, Setup, open_bench
from harness.rig.product_file import ProductFile
from harness.rig.refusals import refusals
from harness.rig.rig_file import RigFile
from harness.rig.site_file import SiteFile
from harness.rig.stand_in import stand_in_refusals
from harness.safety.arming import arming_of
from harness.safety.guard_link import GuardLink
from harness.safety.interlock import Breach, Interlock
from harness.safety.lease import SAFE, Lease
from harness.safety.permit import Permit
from harness.safety.rest import snapshot, switch_off
from harness.safety.safe_state import Outcome
from harness.safety.watch import watching
from harness.seeded_faults import SeededFault
from harness.wires.traffic import Traffic

READINGS_WITHOUT_PAUSE = 10_000
"""Of all devices in one turn of the loop: a plan that looks at everything once needs some dozens; ours."""


ON_THE_WAY_TO_REST: ContextVar[bool] = ContextVar("on the way to rest", default=False)
"""Whether it is the harness that commands while a rig comes to rest: a timer that a plan left behind runs in
the plan's context."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What the command line chose.

    Attributes:
        rig: name or path.
        product: name or path; None takes the rig's.
        site: name or path; None takes the rig's.
        emulate: whether all devices stand on emulators inside this process.
        stand_ins: devices that do, where the others are real.
        form: of long plans; None takes ``ci`` where emulated, else ``full``.
        serial: of the unit; None where there is none.
        seed: of everything random; None takes the rig's.
        operator: who runs it.
        order: for whom.
        seeded_faults: faults that are put into the emulated world, to see whether plans catch them.
        root: the project's folder.
        runs: the folder of all runs.
    """

    rig: str
    product: str | None = None
    site: str | None = None
    emulate: bool = False
    stand_ins: tuple[str, ...] = ()
    form: Form | None = None
    serial: str | None = None
    seed: int | None = None
    operator: str = ""
    order: str = ""
    seeded_faults: tuple[str, ...] = ()
    root: Path = field(default_factory=Path)
    runs: Path = field(default_factory=lambda: Path("runs"))


class RigSession:
    """The files that were chosen, and what every plan of the session shares. Opens nothing by itself.

    Raises:
        ConfigurationError: with every mistake of all files and options.
    """

    def __init__(self, choice: Choice) -> None:
        self.choice = choice
        files = BenchFiles.load(choice.rig, choice.product, choice.site, choice.root)
        mistakes, rig, product, site = files.mistakes, files.rig, files.product, files.site
        if rig is None:
            raise ConfigurationError(*mistakes)
        self.rig: RigFile = rig
        self.seeded_faults: list[SeededFault] = []
        for text in choice.seeded_faults:
            try:
                self.seeded_faults.append(SeededFault.parse(text, rig))
            except ConfigurationError as error:
                mistakes += error.mistakes
        if choice.seeded_faults and not choice.emulate:
            mistakes.append("--seed-fault: faults are seeded into emulators alone; add --emulate")
        if choice.emulate and rig.emulated:
            mistakes.append(
                f"--emulate: rig {rig.name} is served by emulators in another process already; leave it out"
            )
        self.choice = replace(choice, stand_ins=tuple(dict.fromkeys(self._named(mistakes, choice.stand_ins))))
        mistakes += stand_in_refusals(rig, self.choice.stand_ins)
        if mistakes or product is None or site is None or files.requirements is None:
            raise ConfigurationError(*mistakes)
        self.requirements: Requirements = files.requirements
        self.product: ProductFile = product
        self.site: SiteFile = site
        self.is_virtual = choice.emulate
        self.form: Form = choice.form or ("ci" if self.is_emulated else "full")
        self.seed = rig.seed if choice.seed is None else choice.seed
        self.watch: Callable[[Reading[Any]], None] | None = None
        self.tick: Callable[[], None] | None = None
        self.terminal: TextIO | None = None
        self.broken = ""
        self.run: Run | None = None
        self.bench: Bench | None = None
        self.guard: GuardLink | None = None
        self.interlock: Interlock | None = None
        self.tripped = ""
        self.left_unsafe: tuple[str, ...] = ()
        self.planned: tuple[str, ...] = ()
        self.found_settings: Mapping[str, float] = {}
        self.runs_now: PlanSpec | None = None
        self.rests = False
        self._excused: set[str] = set()
        self._instant = (0, 0)
        self._readings_now = 0
        self._lease: Lease | None = None
        self._rig_now_s: Callable[[], float] = lambda: 0.0

    def _named(self, mistakes: list[str], words: Iterable[str]) -> Iterator[str]:
        for word in words:
            try:
                yield self.rig.named(word)
            except ConfigurationError as error:
                mistakes.append(f"--emulate={word}: {error}")

    def rig_now_s(self) -> float:
        """Rig time of the bench that is open; zero where none is, since a fresh one starts there."""
        return self._rig_now_s()

    @property
    def loop_factory(self) -> type[VirtualLoop | WallLoop]:
        """The loop that plans run on; the same object at every look."""
        return VirtualLoop if self.is_virtual else WallLoop

    @property
    def is_emulated(self) -> bool:
        """Whether the product on the rig is not real, or not all of it."""
        return self.choice.emulate or self.rig.emulated or bool(self.choice.stand_ins)

    def frequencies_hz(self) -> tuple[float, ...]:
        """Nominal frequencies that rig and product can both do; the rig's first one is the default."""
        allowed = self.product.ratings.frequencies_hz
        return tuple(float(f0) for f0 in self.rig.frequencies_hz if f0 in allowed)

    def why_not(self, spec: PlanSpec) -> str:
        """Say why a plan may not run here; empty where it may."""
        if self.broken:
            return self.broken
        if spec.hazard not in self.rig.allowed_hazards:
            return f"hazard {spec.hazard!r}; rig {self.rig.name} allows {', '.join(self.rig.allowed_hazards)}"
        if not spec.energises:
            return ""
        reasons = refusals(self.rig, self.product)
        if reasons:
            return "; ".join(reasons)
        if self.is_virtual:
            return ""
        named = (
            self.choice.rig
            if self.choice.product is None
            else f"{self.choice.rig} --product {self.choice.product}"
        )
        return arming_of(self.rig, self.product, spec.hazard, named)

    def open_run(self) -> Run:
        """Make the run's folder; once."""
        if self.run is None:
            serial = self.choice.serial or ("EMULATED" if self.is_emulated else "UNNAMED")
            unit = Unit(
                serial=serial,
                sub_units={name: each.serial for name, each in self.product.sub_units.items() if each.serial},
            )
            subject = Subject(
                rig=self.rig.name,
                product=self.product.name,
                unit=unit,
                is_emulated=self.is_emulated,
                clock="simulated" if self.is_virtual else "wall",
                more={
                    "rig_file": self.rig.summary(),
                    "product_file": self.product.model_dump(mode="json", exclude_none=True),
                    "site": self.site.name,
                    "grid_codes": [self.requirements.version(code).id for code in self.site.grid_codes],
                    "seeded_faults": [str(fault) for fault in self.seeded_faults],
                    **({"stand_ins": self.choice.stand_ins} if self.choice.stand_ins else {}),
                },
            )
            attempt = Attempt(
                station=self.rig.station,
                operator=self.choice.operator,
                order=self.choice.order,
                # Without a serial number there is no unit whose attempts could be counted.
                number=None if self.choice.serial else 0,
            )
            self.run = Run(self.choice.runs, subject, attempt, planned=self.planned).open()
        return self.run

    def setup(self, f0_hz: float, traffic_folder: Path | None) -> Setup:
        """Say how a bench is opened, its readings and commands going to the run's journal."""
        run = self.open_run()
        journal = run.journal
        watch = self.watch
        observe: Observe = journal.reading
        show = None if self.interlock is None else self._show_interlock
        limit = self._limit_readings if self.is_virtual else None
        takers = [each for each in (watch, show, limit) if each is not None]
        if takers:

            def observe(*readings: Reading[Any]) -> None:
                journal.reading(*readings)
                for take in takers:
                    for reading in readings:
                        take(reading)

        return Setup(
            rig=self.rig,
            product=self.product,
            f0_hz=f0_hz,
            seed=self.seed,
            observe=observe,
            note=Permit(self.rig, self.product, self._unguarded, self._note_command),
            traffic=Traffic(traffic_folder),
            on_far_side=self._sow if self.seeded_faults else None,
            stand_ins=self.choice.stand_ins,
        )

    def _sow(self, side: FarSide) -> None:
        for fault in self.seeded_faults:
            fault.sow(side)

    @contextlib.asynccontextmanager
    async def open_bench(self, f0_hz: float, traffic_folder: Path | None) -> AsyncIterator[Bench]:
        """Open the bench; at its end de-energise it, and have the guard verify that it is safe.

        Raises:
            Unsafe: somebody else holds the rig, or it was not left safe.
        """
        self.interlock = self._own_interlock()
        if self.is_virtual:
            self.tripped = ""
            self._excused.clear()
            async with self._opened(self.setup(f0_hz, traffic_folder)) as bench:
                if self.interlock is None:
                    yield bench
                else:
                    async with watching(bench, self.interlock, self._trip_here):
                        yield bench
            return
        self._lease = Lease.take(self.rig, str(self.open_run().folder.resolve()))
        try:
            async with self._opened(self.setup(f0_hz, traffic_folder)) as bench:
                # Before any plan or fixture could change one: these the guard leaves behind.
                self.found_settings = await snapshot(bench)
                self.open_run().note("settings found", dict(self.found_settings), self.rig_now_s())
                yield bench
        finally:
            await self._finish_guard()
            self._lease.close()
            self._lease = None

    @contextlib.asynccontextmanager
    async def _opened(self, setup: Setup) -> AsyncIterator[Bench]:
        # On the wall clock the bench's own sensors are the guard's.
        ours = frozenset(name for name, device in self.rig.devices.items() if not device.protective)
        only = None if self.is_virtual else ours
        async with open_bench(setup, emulate=self.is_virtual, only=only) as bench:
            self.bench = bench
            self._rig_now_s = rig_loop().time
            try:
                yield bench
            finally:
                self.bench = None
                self._rig_now_s = lambda: 0.0
                if bench.has_energised and not self.tripped:
                    await switch_off(bench)

    # Safety

    def _own_interlock(self) -> Interlock | None:
        """Give virtual time an interlock of its own; on the wall clock it is the guard's."""
        is_watched = self.is_virtual and self.rig.interlock is not None and self.rig.envelope is not None
        return Interlock(self.rig, 0.0, is_virtual=True) if is_watched else None

    def _show_interlock(self, reading: Reading[Any]) -> None:
        interlock = self.interlock
        if interlock is not None:
            interlock.observe(reading)
            if interlock.breach is not None and not self.tripped:
                self._trip_here(interlock.breach)

    def _limit_readings(self, reading: Reading[Any]) -> None:
        """See that the loop has its turn: many a reading is there already, and costs a plan no wait.

        Raises:
            Livelock: too many without one; while a plan asks and asks, no alarm of the loop's can sound.
        """
        loop = rig_loop()
        assert isinstance(loop, VirtualLoop)
        instant = (loop.jumps, loop.turns)
        if instant != self._instant:
            self._instant, self._readings_now = instant, 0
        self._readings_now += 1
        if self._readings_now > READINGS_WITHOUT_PAUSE:
            raise Livelock(
                f"rig time stands at {loop.time():.6f} s after {READINGS_WITHOUT_PAUSE} readings without a "
                f"pause, the last of {reading.source}: a plan polls without waiting; allowed: await "
                "asyncio.sleep(...) between two looks"
            )

    def _trip_here(self, breach: Breach) -> None:
        """Stop the plan that runs in this loop."""
        if not self.tripped:
            self.tripped = f"interlock: {breach.text}"
            rig_loop().sound(Aborted(self.tripped))

    def _note_command(self, command: str, at_s: float, asked: object) -> None:
        """Record a command; a fault that is inserted excuses the device whose lead it opens."""
        self.open_run().command(command, at_s, asked)
        device, _, verb = command.partition(".")
        fault = self.rig.topology.faults.get(str(asked))
        if fault is None or fault.device != device or verb not in {"insert", "remove"}:
            return
        (self._excused.add if verb == "insert" else self._excused.discard)(fault.lead)
        if self.interlock is not None:
            self.interlock.excuse(self._excused, at_s)
        self._tell_excuses()

    def _tell_excuses(self) -> None:
        """Tell the guard whose word counts for nothing: silenced on purpose, or emulated in this process."""
        if self.guard is not None:
            self.guard.excuse(self._excused | set(self.choice.stand_ins))

    def _unguarded(self) -> str:
        """Say why nothing may be energised now; empty where it may."""
        if self.tripped:
            return self.tripped
        if self.runs_now is None:
            return "no plan runs: fixtures prepare, only a plan's own function energises and comes to rest"
        if self.rests and not ON_THE_WAY_TO_REST.get():
            return f"plan {self.runs_now.plan_id} has ended, and the rig comes to rest"
        if not self.runs_now.energises:
            return (
                f"the hazard of plan {self.runs_now.plan_id} is 'reads', which energises nothing; "
                "a plan that has to says hazard='energises' or above"
            )
        is_guarded = self.is_virtual or (self.guard is not None and self.guard.is_alive)
        return "" if is_guarded else "no guard stands beside this run"

    async def stand_guard(self, bench: Bench) -> None:
        """Have a guard beside this run before anything is energised; once a session.

        Raises:
            Unsafe: the guard says that the rig must not be energised, or there is none.
        """
        if self.is_virtual or self.guard is not None:
            return
        assert self._lease is not None
        loop = rig_loop()
        assert isinstance(loop, WallLoop)

        def on_trip(why: str) -> None:
            self.tripped = why
            self.broken = self.broken or f"the run was stopped: {why}"
            if not guard.is_dead:
                bench.fence()
                guard.released()
            loop.call_soon_threadsafe(loop.sound, Aborted(why))

        await self._set_instruments(bench)
        guard = GuardLink(on_trip, self.terminal)
        await asyncio.to_thread(
            guard.start, loop, bench.setup, self.open_run().folder, self._lease, self.found_settings
        )
        self.guard = guard
        self._tell_excuses()

    async def _set_instruments(self, bench: Bench) -> None:
        """Put the limits that software is too slow for into the instruments' own protections."""
        part, envelope = self.rig.interlock, self.rig.envelope
        for limit, value in part.guarded_by_instrument.items() if part and envelope else ():
            device, _, quantity = value.partition(".")
            await getattr(bench.devices[device], f"set_{quantity}")(getattr(envelope, limit).value)

    def note_outcome(self, outcome: Outcome) -> None:
        """Take what came of a safe state that this process brought about itself.

        Raises:
            Unsafe: the rig is not safe.
            BenchError: it is, and the product's settings are not as they were found.
        """
        if self._lease is not None:
            self._lease.leave(outcome.text, is_safe=outcome.is_safe)
        if not outcome.is_safe:
            self.left_unsafe = () if self.is_virtual else tuple(outcome.live)
            raise Unsafe(outcome.text)
        if outcome.settings:
            raise BenchError(outcome.text)

    async def _finish_guard(self) -> None:
        """Have the guard make the rig safe and verify it, all wires let go; record what came of it.

        Raises:
            Unsafe: the rig is not safe.
            BenchError: it is, and the product's settings are not as they were found.
        """
        guard, run = self.guard, self.run
        if guard is None or run is None or self._lease is None:
            return
        try:
            outcome = await asyncio.to_thread(guard.wait_for_outcome if self.tripped else guard.finish)
        except BenchError as error:
            outcome = {"is_safe": False, "outcome": str(error)}
        if outcome is None:
            is_safe = self._lease.holder.state == SAFE
            text = "made safe by the run itself" if is_safe else "nobody verified that the rig is safe"
            outcome = {"is_safe": is_safe, "outcome": f"{self.tripped}; {text}"}
            if not is_safe:
                self._lease.leave(str(outcome["outcome"]), is_safe=False)
        guard.close()
        self.guard = None
        run.note(SAFE_STATE, dict(outcome), run.journal.last_s)
        if not outcome["is_safe"]:
            self.broken = f"the rig was left unsafe: {outcome['outcome']}"
            self.left_unsafe = tuple(outcome.get("live") or self.left_unsafe or [outcome["outcome"]])
            raise Unsafe("\n  ".join(["the rig was left UNSAFE:", *self.left_unsafe]))
        if outcome.get("settings"):
            raise BenchError(f"settings not restored: {'; '.join(outcome['settings'])}")
