"""A tree of paths with the time spent at the end of each, and the flame graph it makes."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from harness.views import FlameNode

MOST_DEEP = 64
LEAST_SHARE = 0.002
"""Of the whole graph. Frames with less are summed up: on a page they would be thinner than a line."""


@dataclass(slots=True, eq=False)
class Folded:
    """One path. `own_s` is the time spent at its end."""

    label: str
    stage: str | None = None
    where: str | None = None
    own_s: float = 0.0
    below: dict[object, Folded] = field(default_factory=dict)

    def child(self, key: object, label: str, stage: str | None = None, where: str | None = None) -> Folded:
        """The path that goes on with `key`, made if it is new."""
        found = self.below.get(key)
        if found is None:
            found = self.below[key] = Folded(label, stage, where)
        return found


def graph(root: Folded) -> FlameNode:
    """The tree with the weight of each frame; thin frames side by side become one. The tree is at most MOST_DEEP."""
    whole = _weighed(root)
    return _pruned(whole, LEAST_SHARE * whole.weight_s)


def _weighed(path: Folded) -> FlameNode:
    children = tuple(_weighed(child) for child in path.below.values())
    weight_s = path.own_s + sum(child.weight_s for child in children)
    return FlameNode(path.label, weight_s, path.stage, path.where, children)


def _pruned(frame: FlameNode, least_s: float) -> FlameNode:
    kept = [child for child in frame.children if child.weight_s >= least_s and child.weight_s > 0]
    thin = [child for child in frame.children if 0 < child.weight_s < least_s]
    drawn = [_pruned(child, least_s) for child in kept]
    together = sum(child.weight_s for child in thin)
    if together >= least_s and thin:
        drawn.append(FlameNode(f"{len(thin)} more", together))
    return replace(frame, children=tuple(drawn))
