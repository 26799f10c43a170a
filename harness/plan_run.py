"""One plan on its way: its part of the record, its function within its rig time, rest, and the verdict."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from harness.clock import rig_loop
from harness.errors import Aborted, BenchError, NotTestable, told
from harness.judge import Judge, Judgement, Verdict
from harness.loose_ends import loose_ends
from harness.plans import PlanSpec
from harness.record.run import PlanRecorder
from harness.rig.bench import Bench
from harness.rig.files import given_values
from harness.safety.interlock import Breach
from harness.safety.recovery import open_what_answers
from harness.safety.rest import come_to_rest, snapshot
from harness.safety.safe_state import MakeSafe
from harness.session import ON_THE_WAY_TO_REST, RigSession

ENERGY_RESIDUAL_MAX = 0.001
"""Share of the energy moved that an emulated plant may not account for in any run; ours: no more than
the power analyzer of a rig can tell."""


class Caught(Exception):
    """Ends a plan under a seeded fault at its first judgement that is no PASS."""


@dataclass(slots=True)
class PlanRun:
    """One plan of one session, from its set-up to its verdict.

    Attributes:
        session: that it belongs to.
        spec: what the plan says of itself.
        name: its id with its parameters.
        f0_hz: nominal frequency.
        judge: takes its measures to their requirements.
        recorder: records it.
        rig_s: rig time that it took, its way to rest included.
        verdict: once it is over.
        message: the first cause, or the judgements that were no PASS.
        first_error: what ended the plan's function; an error on the way to rest must not hide it.
        rest_error: what went wrong on the way to rest.
        was_tripped: what the interlock or the guard stopped it for.
    """

    session: RigSession
    spec: PlanSpec
    name: str
    f0_hz: float
    judge: Judge
    recorder: PlanRecorder
    rig_s: float = 0.0
    verdict: Verdict | None = None
    message: str = ""
    first_error: BaseException | None = None
    rest_error: Exception | None = None
    was_tripped: str = ""

    @classmethod
    def begin(
        cls, session: RigSession, spec: PlanSpec, name: str, f0_hz: float, params: Mapping[str, object]
    ) -> PlanRun:
        """Open the plan's part of the record."""

        def on_judgement(judgement: Judgement) -> None:
            recorder.judgement(judgement)
            if session.seeded_faults and judgement.verdict is not Verdict.PASS:
                raise Caught(judgement.text)

        judge = Judge(
            spec.measures,
            session.requirements,
            f0_hz=f0_hz,
            given=given_values(session.product, session.site, session.rig, f0_hz),
            on_judgement=on_judgement,
        )
        run = session.open_run()
        form = session.form
        recorder = run.plan(
            name,
            params,
            title=spec.title,
            purpose=spec.purpose,
            f0_hz=f0_hz,
            form=form,
            does_not_show=spec.ci_form_omits if form == "ci" else "",
            seed=session.seed,
            hazard=spec.hazard,
            measures=spec.measures,
            declared_s=spec.limit_s[form],
            requirements=[
                {"standard": v.standard, "edition": v.edition, "file": v.file, "sha256": v.sha256}
                for v in session.requirements.versions()
            ],
            at_s=session.rig_now_s(),
        )
        return cls(session, spec, name, f0_hz, judge, recorder)

    @property
    def traffic_folder(self) -> Path:
        """Where this plan's traffic goes."""
        return self.session.open_run().folder / "traffic" / self.name.replace("/", "-")

    def conducted(
        self, test: Callable[..., Coroutine[Any, Any, None]], bench: Bench | None
    ) -> Callable[..., Any]:
        """Wrap a plan's function: within its rig time, ending at rest, with its settings as they were."""

        async def conduct(**fixtures: Any) -> None:
            __tracebackhide__ = True  # whoever reads of a plan's mistake sees the plan
            loop = rig_loop()
            start_s = loop.time()
            if self.session.tick is not None:
                loop.ticker.call = self.session.tick
            reason = self.session.why_not(self.spec)
            if reason:
                raise BenchError(f"{self.name} may not run on rig {self.session.rig.name}: {reason}")
            if bench is None:
                await self._played(test(**fixtures))
                return
            await self._note_identities(bench)
            if self.spec.energises:
                await self.session.stand_guard(bench)
            settings = await snapshot(bench)
            guard = self.session.guard
            if guard is not None:
                guard.plan(self.name)
            self.session.runs_now = self.spec
            with ctrl_c_heard_once():
                try:
                    bench.has_energised = bench.has_energised or self.spec.energises
                    await self._played(test(**fixtures))
                except BaseException as error:
                    self.first_error = error
                    raise
                finally:
                    try:
                        with ctrl_c_held_back():
                            await self._end(bench, settings, start_s)
                    finally:
                        self.session.runs_now, self.session.rests = None, False
                        if guard is not None:
                            guard.plan("")

        return conduct

    async def _played(self, plan: Coroutine[Any, Any, None]) -> None:
        """Play the plan's own function, to its end and no longer than it declared."""
        __tracebackhide__ = True  # as above
        with loose_ends():
            await rig_loop().guarded(plan, limit_s=self.spec.limit_s[self.session.form], name=self.name)

    async def _end(self, bench: Bench, settings: Mapping[str, float], start_s: float) -> None:
        """Come to rest and close the books, however the plan's function ended."""
        self.was_tripped = self.session.tripped
        self.session.rests = True
        ours = ON_THE_WAY_TO_REST.set(True)
        try:
            try:
                await self._rest(bench, settings)
            finally:
                ON_THE_WAY_TO_REST.reset(ours)
                self._close_books(bench)
                self.rig_s = rig_loop().time() - start_s
                rig_loop().ticker.call = None
        except Exception as error:
            self.rest_error = error
            if not self.session.is_virtual:
                self.session.broken = f"it did not come to rest after {self.name}: {told(error)}"
            if not isinstance(self.first_error, asyncio.CancelledError):
                raise
            # Stopped from the keyboard: another error would let pytest go on to the next plan.

    async def _rest(self, bench: Bench, settings: Mapping[str, float]) -> None:
        """Come to rest; after a trip, by the recipe, which on the wall clock is the guard's to carry out."""
        session = self.session
        if not session.tripped:
            if self.spec.energises:
                await come_to_rest(bench, settings)
            return
        if session.is_virtual and session.interlock is not None and session.interlock.breach is not None:
            breach = session.interlock.breach
        elif session.guard is not None and session.guard.is_dead:
            breach = Breach("guard", session.tripped, rig_loop().time())
        else:
            return
        async with contextlib.AsyncExitStack() as stack:
            await open_what_answers(bench, stack, self.recorder.note)
            maker = MakeSafe(bench, breach.cause, breach.text, self.recorder.note)
            outcome = await maker.run(session.found_settings or settings)
        session.note_outcome(outcome)

    async def _note_identities(self, bench: Bench) -> None:
        """Record who stands on the rig, how far each driver was tried, and until when it is calibrated."""
        for name, driver in bench.devices.items():
            device = bench.rig.devices[name]
            who = await driver.identity()
            self.recorder.note(
                "identity",
                {
                    "device": name,
                    "role": device.role,
                    "driver": device.driver,
                    "tried": bench.setup.find_driver(device.driver).TRIED,
                    "maker": who.maker,
                    "model": who.model,
                    "serial": who.serial or device.serial or "",
                    "firmware": who.firmware,
                    "calibration due": "" if device.calibration_due is None else str(device.calibration_due),
                },
            )

    def _close_books(self, bench: Bench) -> None:
        """Note what the lines carried and, emulated, where the energy went."""
        if bench.far_side is not None:
            bench.far_side.advance()
            balance = bench.far_side.plant.balance()
            self.recorder.note("balance", balance)
            self.recorder.note("traffic", bench.setup.traffic.digests())
            if abs(balance.residual_fraction) > ENERGY_RESIDUAL_MAX:
                raise BenchError(
                    f"the emulated plant lost {balance.residual_fraction:.3%} of its energy; "
                    f"allowed {ENERGY_RESIDUAL_MAX:.1%}: its physics are wrong, "
                    "and so is what was measured on it"
                )

    def conclude(self, error: BaseException | None) -> Verdict:
        """Find the verdict: the worst of all judgements and of how the plan ended; once."""
        if self.verdict is not None:
            return self.verdict
        errors = {id(each): each for each in (self.first_error, error, self.rest_error) if each is not None}
        found = [each for each in errors.values() if not isinstance(each, Caught | asyncio.CancelledError)]
        if self.was_tripped and not any(isinstance(each, Aborted) for each in found):
            found.insert(0, Aborted(self.was_tripped))
        causes = [told(each) for each in found]
        # What an error ended has a reason not to have judged all it declared.
        judged = self.judge.worst() if error is not None else self.judge.verdict()
        if error is None and (left_out := self.judge.left_out()):
            causes.append(left_out)
        causes += [
            item.text
            for item in self.judge.judgements
            if item.verdict is not Verdict.PASS and item.text not in causes
        ]
        self.verdict = Verdict.worst([*map(_verdict_of, found), judged])
        self.message = "\n".join(causes)
        try:
            self.recorder.outcome(self.verdict, self.message)
        except BenchError as lost:
            # A full disk: the outcome that pytest shows says so, since the record cannot.
            self.verdict = Verdict.worst([self.verdict, Verdict.ERROR])
            self.message = "\n".join(filter(None, [self.message, str(lost)]))
        return self.verdict

    def closing_failed(self, error: Exception) -> Verdict:
        """Take an error of closing the bench after this plan: its verdict is ERROR, or what is worse."""
        trouble = f"closing the bench: {told(error)}"
        self.verdict = Verdict.worst([self.verdict or Verdict.ERROR, Verdict.ERROR])
        self.message = "\n".join(filter(None, [self.message, trouble]))
        self.session.open_run().closing_failed(trouble)
        return self.verdict


def _verdict_of(error: BaseException) -> Verdict:
    match error:
        case NotTestable():
            return Verdict.NOT_TESTABLE
        case Aborted() | KeyboardInterrupt() | SystemExit():
            return Verdict.ABORTED
        case _:
            return Verdict.ERROR


@contextlib.contextmanager
def ctrl_c_heard_once() -> Iterator[None]:
    """Let one Ctrl-C end a plan; pressed again, it would tear the loop away before the rig is at rest."""
    before = signal.getsignal(signal.SIGINT)
    assert callable(before)

    def hear(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, lambda *_: None)
        before(number, frame)

    signal.signal(signal.SIGINT, hear)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def ctrl_c_held_back() -> Iterator[None]:
    """Let what takes a moment be done whole; a Ctrl-C that came meanwhile comes at its end."""
    came: list[object] = []
    before = signal.signal(signal.SIGINT, lambda *_: came.append(None))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if came:
            signal.raise_signal(signal.SIGINT)
