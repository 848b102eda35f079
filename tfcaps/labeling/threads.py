"""One thread for what is small and asked for often."""

import contextlib
from collections.abc import Iterator


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Inside, the libraries behind NumPy and scikit-learn compute with one thread.

    Threads that share a hundredth of a second wait for each other more than they compute, the more
    so where other processes want the same cores; and sums come out the same on any number of cores.
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        yield
