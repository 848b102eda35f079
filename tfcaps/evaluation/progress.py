"""How far an evaluation is."""

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

import keras

_Batch = TypeVar("_Batch")


def shown(
    title: str, batches: Iterable[_Batch], examples: int, batch_size: int
) -> Iterator[_Batch]:
    """Passes batches on and shows how many examples are done: a bar, or without a terminal a line.

    Args:
        title: what is done with them.
        batches: of examples.
        examples: in all of them.
        batch_size: examples in a batch, but for the last one.
    """
    print(title, flush=True)
    bar = keras.utils.Progbar(
        examples, verbose=1 if sys.stdout.isatty() else 2, unit_name="example"
    )
    for index, batch in enumerate(batches, start=1):
        yield batch
        bar.update(min(index * batch_size, examples))
