"""All trials of a pruning, in their order."""

from collections.abc import Mapping, Sequence

from nas.layer_pruning.methods import Method, Random, Top, missing
from nas.layer_pruning.removals import FINAL, Layers, Removal, RemovalRecord
from nas.records import Decision

_BASELINES = {"top": Top, "random": Random}


class Plan:
    """The trials of a pruning: those by which layers are chosen, then those on all examples.

    Args:
        method: chooses the layers.
        sizes: numbers of removed layers that are trained in the end, 0 among them.
        baselines: names of what the chosen layers are compared with.
    """

    def __init__(self, method: Method, sizes: Sequence[int], baselines: Sequence[str]):
        self.method = method
        self.sizes = tuple(sizes)
        self.baselines = tuple(baselines)

    def decide(self, records: Sequence[RemovalRecord]) -> Decision:
        """The trials that come next, or why there are none any more."""
        decision = self.method.decide(records)
        if decision.reason is None or not self.has_chosen(records):
            return decision
        finals = [
            Removal(layers, seed, role=FINAL)
            for layers in self.final_sets(records)
            for seed in self.method.seeds
        ]
        waiting = missing(finals, records)
        return waiting if waiting is not None else decision

    def expected_trials(self) -> int:
        """How many trials there are in all, if no two choices agree."""
        ends = 1 + len(self.sizes[1:]) * (1 + len(self.baselines))
        return self.method.expected_trials() + ends * len(self.method.seeds)

    def has_chosen(self, records: Sequence[RemovalRecord]) -> bool:
        """Whether all layers that are to be removed are known."""
        return len(self.method.chosen(records)) >= self.sizes[-1]

    def final_sets(self, records: Sequence[RemovalRecord]) -> list[Layers]:
        """The sets of layers without which encoders are trained in the end, each once."""
        curves = self.curves(records)
        return list(dict.fromkeys(layers for size in self.sizes for layers in _at(curves, size)))

    def curves(self, records: Sequence[RemovalRecord]) -> dict[str, dict[int, Layers]]:
        """The layers removed at each size: of the choice, and of what it is compared with."""
        count = self.sizes[-1]
        named = {"chosen": self.method.chosen(records)}
        for name in self.baselines if count else ():
            method = _BASELINES[name](self.method.num_layers, count, seeds=self.method.seeds)
            named[name] = method.chosen(())
        return {
            name: {size: tuple(sorted(sets[size - 1])) if size else () for size in self.sizes}
            for name, sets in named.items()
        }


def _at(curves: Mapping[str, Mapping[int, Layers]], size: int) -> list[Layers]:
    return [sets[size] for sets in curves.values()]
