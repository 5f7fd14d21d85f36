# A load gate before a release. Include it from a Makefile, or:
#
#   make -f deploy/ci/release.mk load-gate BASELINE=v1.2.0
#
# It compares the service of BASELINE (a tag, branch or commit) with that of this tree in interleaved pairs of runs,
# then judges this tree by the SLOs of the scenario. It fails when either does, when a measurement was invalid, and
# when an SLO could not be decided; a comparison that finds no slow-down passes (--strict: only with 15 % ruled out).
# The reports are in LOAD_DIR.
SCENARIO ?= scenarios/identify.yaml
SERVE ?= python -m sample_service --port {port}
READY ?= /readyz
LOAD_SECONDS ?= 60
WARMUP_SECONDS ?= 5
PAIRS ?= 5
ALLOWED ?= 5%
LOAD_DIR ?= load
HARNESS ?= harness

.PHONY: load-gate load-gate-compare load-gate-judge
load-gate: ## compare this tree with BASELINE under load, then judge its SLOs
	@failed=; for part in compare judge; do \
		$(MAKE) --no-print-directory -f $(firstword $(MAKEFILE_LIST)) load-gate-$$part || failed="$$failed $$part"; \
	done; [ -z "$$failed" ] || { echo "load-gate: not passed:$$failed"; exit 1; }

load-gate-compare: SHELL := bash
load-gate-compare:
	@set -euo pipefail; \
	[ -n "$(BASELINE)" ] || { echo "say what to compare with: make load-gate BASELINE=v1.2.0" >&2; exit 2; }; \
	base=$$(mktemp -d); \
	trap 'git worktree remove --force "$$base/tree"; rmdir "$$base"' EXIT; \
	git worktree add --quiet --detach "$$base/tree" "$(BASELINE)"; \
	$(HARNESS) ab "$(SCENARIO)" \
		--a-cmd "$(SERVE)" --a-dir "$$base/tree" --b-cmd "$(SERVE)" --b-dir . --ready "$(READY)" \
		--duration "$(LOAD_SECONDS)s" --warmup "$(WARMUP_SECONDS)s" --pairs "$(PAIRS)" --allowed "$(ALLOWED)" \
		--out "$(LOAD_DIR)/ab" --junit "$(LOAD_DIR)/ab.xml" --markdown "$(LOAD_DIR)/ab.md"

load-gate-judge:
	@$(HARNESS) run "$(SCENARIO)" --cmd "$(SERVE)" --dir . --ready "$(READY)" \
		--duration "$(LOAD_SECONDS)s" --warmup "$(WARMUP_SECONDS)s" \
		--out "$(LOAD_DIR)/runs" --junit "$(LOAD_DIR)/slo.xml" --markdown "$(LOAD_DIR)/slo.md"
