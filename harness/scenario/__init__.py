"""YAML or Python -> Scenario: every user mistake is caught here, before the first request."""

from harness.scenario.loader import Overrides, load_scenario
from harness.scenario.plan import Plan, PlannedRequest, PlannedStep, plan
from harness.scenario.slo_plan import PlannedSlo, Rule

__all__ = ["Overrides", "Plan", "PlannedRequest", "PlannedSlo", "PlannedStep", "Rule", "load_scenario", "plan"]
