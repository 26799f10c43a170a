"""From a value and a limit to a verdict, and from many verdicts to one.

The judge records and goes on, so that one unit shows all its faults in one run. Only a stimulus that
missed ends the plan: what follows it would be judged for something that was never asked of the product.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from harness.errors import ConfigurationError, JudgementError, StimulusMissed, near_miss
from harness.readings import Measured, Reading
from harness.requirements import Limits, Requirement, Requirements, Rule
from harness.requirements.units import unit_of_name

_SLACK = 1e-9
"""Relative width in which floats count as equal: 0.1 + 0.2 is no miss of 0.3."""


class Verdict(Enum):
    """Outcome of a judgement or of a plan, worst first."""

    ABORTED = "A"
    ERROR = "E"
    FAIL = "F"
    INCONCLUSIVE = "I"
    NOT_TESTABLE = "N"
    PASS = "."  # noqa: S105 - a letter, no word to get in by

    @property
    def letter(self) -> str:
        """One character for the terminal."""
        return self.value

    @property
    def words(self) -> str:
        """The verdict as reports write it."""
        return self.name.replace("_", " ")

    @staticmethod
    def worst(verdicts: Iterable[Verdict]) -> Verdict:
        """Worst of several; PASS where there are none, so the caller asks whether there were any."""
        return min(verdicts, key=_RANK.__getitem__, default=Verdict.PASS)


_RANK: Mapping[Verdict, int] = {verdict: rank for rank, verdict in enumerate(Verdict)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """A value, a limit, and what came of them.

    Attributes:
        measure: as the plan declared it.
        case: which of several instances (``residual 0 %``); empty for the only one.
        value: in ``unit``; 1 and 0 stand for true and false where the unit is ``bool``.
        u: standard uncertainty.
        unit: SI.
        requirement: the requirement, with its version.
        limits: as resolved at this rig.
        rule: the decision rule that was used.
        verdict: what came of it.
        is_stimulus: whether it judged the bench and not the product.
        is_verified: whether the number was read in its text; without, there is no acceptance.
        text: all of it in one line.
        parts: the terms of ``u`` by name.
        window_s: rig time for which the value stands.
        sources: where the value came from.
    """

    measure: str
    case: str
    value: float
    u: float
    unit: str
    requirement: Requirement
    limits: Limits
    rule: Rule
    verdict: Verdict
    is_stimulus: bool
    is_verified: bool
    text: str
    parts: tuple[tuple[str, float], ...]
    window_s: tuple[float, float] | None
    sources: tuple[str, ...]


def decide(value: float, u: float, limits: Limits, rule: Rule, guard_factor: float = 0.0) -> Verdict:
    """Apply a decision rule to one value.

    The limit itself is allowed. Not a number is an ERROR. An infinite value ("never came") outside a limit
    is a FAIL, and an ERROR where only the other side is limited: never must not count as large enough.
    """
    if math.isnan(value):
        return Verdict.ERROR
    low = -math.inf if limits.minimum is None else limits.minimum
    high = math.inf if limits.maximum is None else limits.maximum
    if math.isinf(value):
        beyond = high if value > 0.0 else low
        return Verdict.ERROR if math.isinf(beyond) else Verdict.FAIL
    if rule is Rule.STANDARD:
        low, high = low - limits.tolerance, high + limits.tolerance
    guard = guard_factor * u if rule is Rule.GUARD_BAND else 0.0
    if _at_least(value, low + guard) and _at_least(high - guard, value):
        return Verdict.PASS
    if _at_least(value, low - guard) and _at_least(high + guard, value) and guard > 0.0:
        return Verdict.INCONCLUSIVE
    return Verdict.FAIL


def _at_least(value: float, limit: float) -> bool:
    return value >= limit or math.isclose(value, limit, rel_tol=_SLACK, abs_tol=1e-12)


def _ignore(judgement: Judgement) -> None:
    """Take a judgement and keep nothing (a judge that stands outside a run)."""


class Judge:
    """Takes each measure of one plan to its requirement, once, and remembers.

    Args:
        measures: what the plan declared that it measures.
        requirements: all requirement files.
        f0_hz: nominal frequency of the rig in this plan.
        given: nominal values and product limits by dotted key (``limits.rte_ac_min``).
        on_judgement: takes each judgement at its birth; the record's way of missing none.
    """

    def __init__(
        self,
        measures: Sequence[str],
        requirements: Requirements,
        *,
        f0_hz: float,
        given: Mapping[str, float],
        on_judgement: Callable[[Judgement], None] = _ignore,
    ) -> None:
        self._measures = tuple(measures)
        self._requirements = requirements
        self._f0_hz = f0_hz
        self._given = given
        self._on_judgement = on_judgement
        self._judgements: list[Judgement] = []
        self._seen: set[tuple[bool, str, str]] = set()

    @property
    def judgements(self) -> tuple[Judgement, ...]:
        """All so far, stimuli included, in order."""
        return tuple(self._judgements)

    def __call__(
        self, measure: str, value: Measured | Reading[Any] | bool, requirement_id: str, *, case: str = ""
    ) -> Judgement:
        """Judge a declared measure, record it, and go on whatever comes of it.

        Args:
            measure: one that the plan declared.
            value: what was measured; a Reading carries no uncertainty, so a guard band refuses it.
            requirement_id: ``<family>.<key>``.
            case: which of several instances of one measure this is; each is judged once.

        Raises:
            JudgementError: not declared, judged before, without a limit, or of another unit than it.
        """
        if measure not in self._measures:
            hint = near_miss(measure, self._measures)
            declared = ", ".join(repr(name) for name in self._measures) or "none"
            raise JudgementError(f"measure {measure!r} is not declared; declared: {declared}{hint}")
        return self._judge(measure, value, requirement_id, case, is_stimulus=False)

    def stimulus(
        self, name: str, value: Measured | Reading[Any] | bool, requirement_id: str, *, case: str = ""
    ) -> Judgement:
        """Judge what the bench did to the product, before anything of the product is judged.

        Raises:
            StimulusMissed: the verdict is not PASS; it is recorded, as an ERROR of the bench.
            JudgementError: judged before, without a limit, or of another unit than it.
        """
        judgement = self._judge(name, value, requirement_id, case, is_stimulus=True)
        if judgement.verdict is not Verdict.PASS:
            raise StimulusMissed(judgement.text)
        return judgement

    def left_out(self) -> str:
        """Say what a plan that ends here would not have judged; empty where it judged all it declared."""
        if not self._measures:
            return "the plan declares no measure"
        judged = {item.measure for item in self._judgements if not item.is_stimulus}
        unjudged = [name for name in self._measures if name not in judged]
        return f"declared and never judged: {', '.join(unjudged)}" if unjudged else ""

    def worst(self) -> Verdict:
        """Worst verdict so far; PASS before the first one. See ``verdict`` for a plan at its end."""
        return Verdict.worst(item.verdict for item in self._judgements)

    def verdict(self) -> Verdict:
        """Verdict of a plan that ran to its end: ERROR where a measure was never judged, or none declared."""
        return Verdict.worst([self.worst(), Verdict.ERROR]) if self.left_out() else self.worst()

    def _judge(
        self,
        measure: str,
        value: Measured | Reading[Any] | bool,
        requirement_id: str,
        case: str,
        *,
        is_stimulus: bool,
    ) -> Judgement:
        name = f"{measure} [{case}]" if case else measure
        try:
            requirement = self._requirements[requirement_id]
        except ConfigurationError as error:
            raise JudgementError(f"{name}: {error}") from error
        if (is_stimulus, measure, case) in self._seen:
            raise JudgementError(f"{name} was judged before; name each instance with case=")
        limits = requirement.resolve(self._f0_hz, self._given)
        taken = _taken(name, value, limits)
        if requirement.rule is Rule.GUARD_BAND and not taken.u > 0.0:
            whose = f"a reading of {value.source}" if isinstance(value, Reading) else "what was measured"
            raise JudgementError(
                f"{name}: {requirement.id} decides by the uncertainty, and {whose} has none: "
                "measure it with an instrument, or say its u"
            )
        verdict = decide(taken.value, taken.u, limits, requirement.rule, requirement.guard_factor)
        if verdict is Verdict.FAIL and _ended_early(taken, limits):
            verdict = Verdict.ERROR
        if is_stimulus and verdict is not Verdict.PASS:
            verdict = Verdict.ERROR
        judgement = Judgement(
            measure=measure,
            case=case,
            value=taken.value,
            u=taken.u,
            unit=taken.unit,
            requirement=requirement,
            limits=limits,
            rule=requirement.rule,
            verdict=verdict,
            is_stimulus=is_stimulus,
            is_verified=requirement.is_verified,
            text=_text(name, taken, requirement, limits, verdict),
            parts=taken.parts,
            window_s=taken.window_s,
            sources=taken.sources,
        )
        self._seen.add((is_stimulus, measure, case))
        self._judgements.append(judgement)
        self._on_judgement(judgement)
        return judgement


def _taken(name: str, value: object, limits: Limits) -> Measured:
    """Bring a value of any kind to a Measured in the unit of the limit."""
    if inspect.iscoroutine(value):
        value.close()  # told here, and not once more when it is collected
        raise JudgementError(f"{name}: {value.__qualname__}() was not waited for: write await before it")
    if isinstance(value, bool):
        taken = Measured(float(value), 0.0, "bool")
    elif isinstance(value, Measured):
        taken = value
    elif isinstance(value, Reading):
        taken = _from_reading(name, value)
    else:
        raise JudgementError(
            f"{name}: a bare {type(value).__name__} has neither unit nor origin;"
            " give a Measured, a Reading or a bool"
        )
    if taken.unit == "1" and limits.unit == "count" and isinstance(value, Reading):
        taken = replace(taken, unit="count")
    if taken.unit != limits.unit:
        raise JudgementError(
            f"{name}: measured in {taken.unit!r}, limited in {limits.unit!r} ({limits.written})"
        )
    return taken


def _from_reading(name: str, reading: Reading[Any]) -> Measured:
    window_s = (reading.at_s, reading.at_s)
    value: object = reading.value
    if isinstance(value, bool):
        return Measured(float(value), 0.0, "bool", window_s, (reading.source,))
    if isinstance(value, int | float):
        return Measured(float(value), 0.0, unit_of_name(reading.source), window_s, (reading.source,))
    if isinstance(value, frozenset):
        return Measured(float(len(value)), 0.0, "count", window_s, (reading.source,))
    raise JudgementError(f"{name}: {reading.source} said {value!r}, which no limit can be held against")


def _ended_early(taken: Measured, limits: Limits) -> bool:
    """Whether something "never came" in a capture that ended before the limit allowed it to come."""
    if not math.isinf(taken.value) or taken.unit != "s" or taken.window_s is None or limits.maximum is None:
        return False
    return taken.window_s[1] - taken.window_s[0] < limits.maximum + limits.tolerance


def _text(name: str, taken: Measured, requirement: Requirement, limits: Limits, verdict: Verdict) -> str:
    if taken.unit == "bool":
        value = "true" if taken.value else "false"
    else:
        unit = "" if taken.unit == "1" else f" {taken.unit}"
        value = f"{taken.value:.6g}{unit}" + (f" (u = {taken.u:.2g}{unit})" if taken.u else "")
        if _ended_early(taken, limits):
            value += " in a capture that ended before the limit"
    where = f"{requirement.id}; {requirement.provenance}"
    return f"{name}: {value}; allowed {limits.written} [{where}]: {verdict.words}"
