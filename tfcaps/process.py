"""Calls that get a process of their own."""

import concurrent.futures
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from tfcaps import quiet

Result = TypeVar("Result")


def run_alone(function: Callable[..., Result], *arguments: object) -> Result:
    """Calls a function in a new process, which ends with the call.

    Whatever the call leaves in memory goes with its process: TensorFlow keeps some of each graph
    that was ever traced. The process ends with this one, too, however this one ends.

    Args:
        function: of a module, so that the process can import it.
        *arguments: of it, to be pickled, as its result is.

    Returns:
        What the function returns.

    Raises:
        RuntimeError: the process was ended before it had a result.
        Exception: what the function raises; its cause is the traceback of that process.
    """
    ((_, result),) = run_all(function, [arguments], processes=1)
    return result


def run_all(
    function: Callable[..., Result], calls: Iterable[tuple], processes: int
) -> Iterator[tuple[tuple, Result]]:
    """Calls a function with each of several arguments, in processes that share the calls.

    The first error ends all of them.

    Args:
        function: see `run_alone`.
        calls: the arguments of each call. The first ones begin first.
        processes: how many calls run at a time.

    Yields:
        The arguments of a call that has ended, and its result.

    Raises:
        RuntimeError, Exception: see `run_alone`.
    """
    # A forked process would inherit TensorFlow's locks without the threads that hold them.
    context = multiprocessing.get_context("spawn")
    others = set(multiprocessing.active_children())
    with concurrent.futures.ProcessPoolExecutor(
        processes, mp_context=context, initializer=_begin
    ) as pool:
        try:
            futures = {pool.submit(function, *call): call for call in calls}
            for future in concurrent.futures.as_completed(futures):
                yield futures[future], future.result()
        except concurrent.futures.process.BrokenProcessPool:
            raise RuntimeError(
                "Expected a result. Received: the end of its process, as when memory runs out"
            ) from None
        except BaseException:
            # The pool would wait for the end of the calls.
            pool.shutdown(wait=False, cancel_futures=True)
            for child in set(multiprocessing.active_children()) - others:
                child.terminate()
            raise


def _begin() -> None:
    """Makes the new process a quiet one that its parent ends, and that outlives no parent."""
    quiet.hide_start_of_tensorflow()
    # Ctrl-C reaches all processes of a terminal; the parent answers it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_wait_for_end_of_parent, daemon=True).start()


def _wait_for_end_of_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)
