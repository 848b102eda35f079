"""Trained networks score images in few batches: a tiny one takes its time for each call."""

import copy
import dataclasses
import types

import wrapt

# The test set of 1,000 images is three of them and a smaller one.
_BATCH_SIZE = 300


def in_large_batches() -> None:
    """Has it so in this process, from now on. Nothing of a training itself changes."""
    wrapt.register_post_import_hook(_change, "tfcaps.training.image_task")


def _change(module: types.ModuleType) -> None:
    batches = module.ImageTask.batches

    def in_large_ones(task, data, examples):
        other = copy.copy(task)
        other.config = dataclasses.replace(task.config, batch_size=_BATCH_SIZE)
        return batches(other, data, examples)

    module.ImageTask.batches = in_large_ones
