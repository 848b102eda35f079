"""Calls that get a process of their own."""

import concurrent.futures
import contextlib
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import types
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from tfcaps import quiet, registry

Result = TypeVar("Result")

# One thread at a time starts processes: each has to know its own, and the real main module.
_STARTING = threading.Lock()


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
    calls, own = list(calls), set()
    with concurrent.futures.ProcessPoolExecutor(
        processes, mp_context=context, initializer=_begin
    ) as pool:
        try:
            with _STARTING:
                others = set(multiprocessing.active_children())
                with without_main(function, calls):
                    futures = {pool.submit(function, *call): call for call in calls}
                own = set(multiprocessing.active_children()) - others
            for future in concurrent.futures.as_completed(futures):
                yield futures[future], future.result()
        except concurrent.futures.process.BrokenProcessPool:
            raise RuntimeError(
                "Expected a result. Received: the end of its process, as when memory runs out"
            ) from None
        except BaseException:
            # The pool would wait for the end of the calls.
            pool.shutdown(wait=False, cancel_futures=True)
            for child in own:
                child.terminate()
            raise


@contextlib.contextmanager
def without_main(*sent: object) -> Iterator[None]:
    """Inside, new processes don't import the main module again, as `multiprocessing` has them do.

    So a script needs no `if __name__ == "__main__"`: it would be run once more, from its beginning.
    It needs one if it defines something that the processes have to know: what is sent to them, a
    class with a name of its own (`tfcaps.registry`), or one that Keras knows by name.

    Args:
        *sent: what the processes get.
    """
    if _is_needed(sent):
        yield
        return
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _is_needed(sent: object) -> bool:
    """Whether something that was defined in the main module has to be known elsewhere."""
    known = set(registry.MODULES)
    if "keras" in sys.modules:
        custom = sys.modules["keras"].saving.get_custom_objects()
        known |= {getattr(each, "__module__", "") for each in custom.values()}
    # A pickle names the module of each function and class in it.
    return "__main__" in known or b"__main__" in pickle.dumps(sent)


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
