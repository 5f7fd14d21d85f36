"""YAML or Python -> Scenario: every user mistake is caught here, before the first request."""

from harness.scenario.loader import Overrides, load_scenario
from harness.scenario.plan import Plan, PlannedRequest, PlannedSlo, PlannedStep, plan

__all__ = ["Overrides", "Plan", "PlannedRequest", "PlannedSlo", "PlannedStep", "load_scenario", "plan"]
