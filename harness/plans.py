"""The plan: a pytest function with an id, a hazard, its measures and the rig time it may take."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar, get_args

import pytest

from harness.errors import ConfigurationError, near_miss
from harness.hazards import HAZARDS, Hazard

Form = Literal["ci", "full"]
FORMS: tuple[Form, ...] = get_args(Form)

ROLE_OF_FIXTURE = {
    "battery": "battery",
    "inverter": "inverter",
    "grid": "grid_source",
    "analyzer": "power_analyzer",
    "recorder": "recorder",
    "fault_inserter": "fault_inserter",
    "energy_manager": "energy_manager",
}
"""The role of each fixture that is a device; the fixture's module is called as it is."""

PLAN_FIXTURES = (
    *ROLE_OF_FIXTURE,
    *("bench", "f0_hz", "form", "judge", "keep", "nominal_hz", "product", "requirements", "rig", "telemetry"),
)
"""What a plan may ask for: roles first."""

PLAN_ATTRIBUTE = "__rackproof_plan__"

TestT = TypeVar("TestT", bound=Callable[..., Any])


class PlanMistake(ConfigurationError, pytest.Collector.CollectError):
    """A plan says of itself what cannot be; pytest shows it without a traceback when it collects."""


@dataclass(frozen=True, slots=True)
class PlanSpec:
    """What a plan says of itself.

    Attributes:
        plan_id: of the catalogue, for example ``RT-01``.
        title: what it proves, as a sentence.
        hazard: what it may do to the rig and the product.
        measures: what it will judge, by name; one that is never judged is an error.
        limit_s: rig time after which it is an error, by form.
        standard: where the procedure comes from.
        ci_form_omits: what the CI form does not show; empty where there is one form.
        purpose: the function's docstring.
    """

    plan_id: str
    title: str
    hazard: Hazard
    measures: tuple[str, ...]
    limit_s: Mapping[Form, float]
    standard: str = ""
    ci_form_omits: str = ""
    purpose: str = field(default="", compare=False)

    @property
    def energises(self) -> bool:
        """Whether it may bring energy onto the rig; one that only reads needs no arming, guard or rest."""
        return self.hazard != "reads"


def plan(
    plan_id: str,
    title: str,
    *,
    hazard: Hazard,
    measures: tuple[str, ...],
    limit_s: float | Mapping[Form, float],
    standard: str = "",
    ci_form_omits: str = "",
) -> Callable[[TestT], TestT]:
    """Make a plan of an async test function.

    Its arguments are fixtures: those of ``PLAN_FIXTURES``, and what its own ``conftest.py`` defines. A plan
    that asks for ``f0_hz`` runs once for each frequency of the rig.

    Raises:
        PlanMistake: with every mistake, while pytest collects.
    """
    by_form: Mapping[Form, float] = (
        {"ci": float(limit_s), "full": float(limit_s)} if isinstance(limit_s, int | float) else dict(limit_s)
    )

    def make(test: TestT) -> TestT:
        mistakes = [
            f"{test.__module__}.{test.__name__}: plan {plan_id}: {mistake}"
            for mistake in _mistakes(test, hazard, measures, by_form)
        ]
        if mistakes:
            raise PlanMistake(*mistakes)
        spec = PlanSpec(
            plan_id, title, hazard, measures, by_form, standard, ci_form_omits, (test.__doc__ or "").strip()
        )
        setattr(test, PLAN_ATTRIBUTE, spec)
        return pytest.mark.plan(plan_id)(test)  # type: ignore[no-any-return]  # a mark gives back what it marks

    return make


def _mistakes(
    test: Callable[..., Any], hazard: str, measures: tuple[str, ...] | str, limit_s: Mapping[Form, float]
) -> Iterator[str]:
    if not inspect.iscoroutinefunction(test):
        yield "a plain function; a plan waits in rig time: async def"
    if hazard not in HAZARDS:
        yield f"hazard {hazard!r}; allowed: {', '.join(HAZARDS)}{near_miss(hazard, HAZARDS)}"
    if isinstance(measures, str):
        yield f"measures {measures!r}; allowed: a tuple of names, for one of them ({measures!r},)"
    else:
        for name in sorted({name for name in measures if measures.count(name) > 1}):
            yield f"measure {name!r} {measures.count(name)} times; allowed: each once"
    for form in FORMS:
        if not limit_s.get(form, 0.0) > 0.0:
            yield f"limit_s for form {form}: {limit_s.get(form, 'nothing')}; allowed: seconds above 0"
    for form in sorted(set(limit_s) - set(FORMS)):
        yield f"limit_s for form {form!r}; allowed: {', '.join(FORMS)}{near_miss(form, FORMS)}"


def spec_of(test: object) -> PlanSpec | None:
    """Give what a test function says of itself as a plan; None where it is no plan."""
    spec = getattr(test, PLAN_ATTRIBUTE, None)
    return spec if isinstance(spec, PlanSpec) else None
