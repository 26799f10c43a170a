"""The plan: a pytest function with an id, a hazard, its measures and the rig time it may take."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

import pytest

Form = Literal["ci", "full"]
Hazard = Literal["reads", "energises", "stresses", "destroys"]
HAZARDS: tuple[Hazard, ...] = ("reads", "energises", "stresses", "destroys")
"""Mildest first."""

PLAN_ATTRIBUTE = "__rackproof_plan__"

TestT = TypeVar("TestT", bound=Callable[..., Any])


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

    Its arguments are fixtures: roles (``battery``, ``inverter``, ``grid``, ``analyzer``, ``recorder``,
    ``fault_inserter``), ``judge``, ``product``, ``rig``, ``f0_hz`` and ``form``. A plan that asks for
    ``f0_hz`` runs once for each frequency of the rig.
    """
    by_form: Mapping[Form, float] = (
        {"ci": float(limit_s), "full": float(limit_s)} if isinstance(limit_s, int | float) else dict(limit_s)
    )

    def make(test: TestT) -> TestT:
        spec = PlanSpec(
            plan_id, title, hazard, measures, by_form, standard, ci_form_omits, (test.__doc__ or "").strip()
        )
        setattr(test, PLAN_ATTRIBUTE, spec)
        return pytest.mark.plan(plan_id)(test)  # type: ignore[no-any-return]  # a mark gives back what it marks

    return make


def spec_of(test: object) -> PlanSpec | None:
    """Give what a test function says of itself as a plan; None where it is no plan."""
    spec = getattr(test, PLAN_ATTRIBUTE, None)
    return spec if isinstance(spec, PlanSpec) else None
