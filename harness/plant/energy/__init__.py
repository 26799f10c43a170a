"""Energy management: a forecast, a reference controller that says why, and a site to judge it on."""

from __future__ import annotations

from harness.plant.energy.controller import Decision, EnergyManager, ManagerSpec, Rule, SiteState, Span
from harness.plant.energy.forecast import Forecast, ForecastError
from harness.plant.energy.site import EnergySite, SiteLedger

__all__ = [
    "Decision",
    "EnergyManager",
    "EnergySite",
    "Forecast",
    "ForecastError",
    "ManagerSpec",
    "Rule",
    "SiteLedger",
    "SiteState",
    "Span",
]
