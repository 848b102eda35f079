"""What happens in one trial of a search."""

import gc
from collections.abc import Mapping

import keras
import keras_tuner

from nas import weight_transfer
from nas.attempt import Outcome, make_attempt
from nas.configuration import SearchConfig
from nas.hypermodel import BlockHyperModel, from_values
from nas.material import Material, load_material
from nas.oracle import ENTROPY, OBJECTIVE
from nas.policy import ALL_STAGES, GROW_AND_PRUNE, Proposal
from nas.search_directory import SearchDirectory
from nas.trial_folder import TrialFolder
from tfcaps import measure
from tfcaps.errors import UsageError
from tfcaps.models.block_network import BlockNetwork, count_flops
from tfcaps.training import devices

_TIMED_BATCHES = 5


class LostNetworkError(UsageError):
    """The network that a trial starts from can't be read."""


class TrialRunner:
    """Runs a trial: builds its network, lets it inherit, trains and measures it.

    Args:
        config: of the search.
        material: what networks learn from.
    """

    def __init__(self, config: SearchConfig, material: Material):
        self.config = config
        self.material = material
        self.folder = SearchDirectory(config.log_dir).search
        self.hypermodel = BlockHyperModel(
            config.start,
            material.image_shape,
            material.num_classes,
            material.recipe,
            jit=devices.use_jit(config.jit),
        )
        # A network that others start from is kept, and trained to the end.
        self._inherits = config.rule == GROW_AND_PRUNE

    def run(self, name: str, values: Mapping[str, str | int]) -> dict[str, float]:
        """Runs a trial, and leaves its files in its folder.

        Args:
            name: identity of the trial.
            values: what it tries, see `nas.hypermodel.to_values`.

        Returns:
            Its objective and other numbers, by name.

        Raises:
            LostNetworkError: the network that it starts from is missing or damaged.
            UsageError: a loss, a weight or an activation is not finite.
        """
        try:
            return self._run(name, values)
        finally:
            keras.backend.clear_session()
            gc.collect()

    def _run(self, name, values):
        proposal = from_values(values)
        counts = ",".join(map(str, proposal.architecture.counts))
        print(f"Round {proposal.round}, {proposal.role}: blocks {counts}", flush=True)
        # The same architecture gets the same weights, whenever and wherever it is built.
        devices.seed_generators(self.material.seed)
        model = self._build(proposal, values)
        with devices.deterministic():
            outcome = make_attempt(
                model,
                self.material,
                # Children of a round see the same examples, and others than their parent.
                first_epoch=proposal.round * self.material.epochs if proposal.parent else 0,
                check_before=self.config.rule == ALL_STAGES,
                stop_at_conflict=not self._inherits,
                show=lambda line: print(line, flush=True),
            )
        folder = TrialFolder(self.folder, name)
        if self._inherits:
            folder.write_network(model)
        folder.write_outcome(outcome)
        return self._results(model, outcome)

    def _build(self, proposal: Proposal, values: Mapping[str, str | int]) -> BlockNetwork:
        """The network as it is before its first step."""
        hyperparameters = keras_tuner.HyperParameters()
        hyperparameters.values = dict(values)
        model = self.hypermodel.build(hyperparameters)
        if proposal.parent:
            try:
                parent = TrialFolder(self.folder, proposal.parent).read_network()
            except UsageError as error:
                raise LostNetworkError(str(error)) from error
            weight_transfer.inherit(model, parent, init=self.config.init, seed=self.material.seed)
        return model

    def _results(self, model: BlockNetwork, outcome: Outcome) -> dict[str, float]:
        """What the oracle is told."""
        results = {
            OBJECTIVE: outcome.accuracy,
            "parameters": model.count_params(),
            "flops": count_flops(model),
            "milliseconds": measure.milliseconds_per_image(
                model, self.material.image_shape, rounds=_TIMED_BATCHES
            ),
            "seconds": outcome.seconds,
        }
        print(
            f"  validation accuracy {outcome.accuracy:.2%}, {results['parameters']:,} parameters, "
            f"{results['flops'] / 1e6:,.1f} MFLOPs, {results['milliseconds']:.2f} ms per image, "
            f"{outcome.seconds:.0f} s",
            flush=True,
        )
        last = {f"{ENTROPY}{tap}": values[-1] for tap, values in outcome.entropies.items()}
        return {**results, **last}


def run_trial(config: SearchConfig, name: str, values: Mapping[str, str | int]) -> dict[str, float]:
    """As `TrialRunner.run`, in a process that does nothing else."""
    devices.share_gpus()
    with devices.precision(config.precision), devices.strategy().scope():
        return TrialRunner(config, load_material(config)).run(name, values)
