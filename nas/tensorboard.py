"""What TensorBoard shows of a search: a curve for each network that is trained all the time."""

import pathlib
from typing import TYPE_CHECKING

import tensorflow as tf

from nas.records import Comparison, Proposal

if TYPE_CHECKING:
    from nas.trial import Outcome


def write_trial(
    directory: pathlib.Path,
    name: str,
    proposal: Proposal,
    outcome: "Outcome",
    numbers: dict[str, float],
    comparisons: tuple[Comparison, ...] = (),
) -> None:
    """Writes a trial as a part of a TensorBoard run.

    Steps are epochs since the run's random weights. A trial has an event file of its own, which
    replaces that of an earlier attempt at it.

    Args:
        directory: of the run; trials that go on from each other share one.
        name: identity of the trial.
        proposal: what was tried.
        outcome: what it came to.
        numbers: of the network at the trial's end, by what charts are called.
        comparisons: what changes of the network would do.

    Raises:
        OSError: the file can't be written.
    """
    suffix = f".trial_{name}"
    for earlier in directory.glob(f"events.out.tfevents.*{suffix}"):
        earlier.unlink()
    begin = proposal.first_epoch or 0
    end = begin + len(outcome.losses)
    try:
        with tf.summary.create_file_writer(str(directory), filename_suffix=suffix).as_default():
            for epoch, loss in enumerate(outcome.losses, start=begin + 1):
                tf.summary.scalar("loss", loss, step=epoch)
            for tap, entropies in outcome.entropies.items():
                for check, entropy in zip(outcome.checks, entropies, strict=True):
                    tf.summary.scalar(f"entropy/{tap}", entropy, step=begin + check)
            for chart, number in numbers.items():
                tf.summary.scalar(chart, number, step=end)
            for stage, count in enumerate(proposal.architecture.counts, start=1):
                tf.summary.scalar(f"blocks/stage{stage}", count, step=end)
            for comparison in comparisons:
                tf.summary.scalar(f"gain/{comparison.change}", comparison.gain, step=end)
    except tf.errors.OpError as error:
        raise OSError(f"Cannot write event files in {directory}: {error.message}") from error
