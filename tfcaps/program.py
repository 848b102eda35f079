"""What all programs share: wrong input ends them with one sentence, not with a stack trace."""

import dataclasses
import errno
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from absl import app, flags, logging

from tfcaps import quiet
from tfcaps.errors import UsageError

_Config = TypeVar("_Config")
_EXIT_USAGE = 1
_EXIT_INTERRUPTED = 130  # the shells' code for Ctrl-C
_DISK_ERRORS = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.EACCES, errno.EPERM),
    *(errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.ELOOP),
)
# What absl takes as the value of a boolean.
_BOOLEANS = ("true", "t", "1", "false", "f", "0")


def run(main: Callable[[list[str]], None]) -> None:
    """Parses the flags, calls `main` and ends the process.

    Exit codes: 0; 1 for wrong input or files that can't be written; 130 after Ctrl-C.
    """

    def guarded(argv: list[str]) -> None:
        if len(argv) > 1:
            _end(f"Expected flags only. Received: {argv[1]}", _EXIT_USAGE)
        logging.set_verbosity(logging.ERROR)  # TensorFlow tells of files and of traced functions
        _insist_on_interrupts()
        try:
            main(argv)
        except UsageError as error:
            _end(str(error), _EXIT_USAGE)
        except KeyboardInterrupt:
            signal.setitimer(signal.ITIMER_REAL, 0.0)
            how = "--resume" if "resume" in flags.FLAGS else "the same command"
            _end(f"Stopped. What was finished is saved; {how} goes on.", _EXIT_INTERRUPTED)
        except OSError as error:
            if error.errno not in _DISK_ERRORS:
                raise
            where = f" {error.filename}" if error.filename else ""
            # Not the error's own words: those of HDF5 fill lines with addresses and offsets.
            reason = os.strerror(error.errno)
            _end(f"Cannot write{where}: {reason}; what was written before is intact", _EXIT_USAGE)

    quiet.hide_start_of_tensorflow()
    app.run(guarded, argv=_with_joined_booleans(sys.argv))


def define_training_flags(
    *, learning_rate: float, batch_size: int, epochs: int, conflicting_samples_size: int
) -> None:
    """Defines the flags that all programs that train a network have, with these defaults."""
    text, real, whole = flags.DEFINE_string, flags.DEFINE_float, flags.DEFINE_integer
    switch = flags.DEFINE_bool
    # allow_override: absl's logging has a flag of this name.
    text("log_dir", None, "Run directory (runs/DATASET-MODEL-TIME).", allow_override=True)
    switch("resume", False, "Go on in --log_dir where an earlier run stopped.")
    text(
        "dataset",
        "mnist5k",
        "mnist5k (bundled), mnist, fashion_mnist, cifar10, svhn_cropped, smallnorb, imagenette, "
        "or images:FOLDER.",
    )
    text("data_dir", None, "Folder of tensorflow_datasets' prepared data sets.")
    whole("image_size", None, "Side that raw images are resized to, in pixels.")
    text(
        "augmentation",
        "paper",
        "paper: crops, flips, … as published; efficient: that of Efficient-CapsNet, for "
        "capsules on MNIST; none: pixels in [0, 1].",
    )
    whole("train_examples", 0, "Learn from so many examples of a seeded shuffle; 0: from all.")
    real("validation_fraction", 0.1, "Part of the training set that is held out.")
    real("learning_rate", learning_rate, "Of the optimizer, in the first epoch.")
    real("learning_rate_decay", 1.0, "What it is multiplied by after each epoch.")
    whole("batch_size", batch_size, "Examples per step, over all devices.")
    whole("epochs", epochs, "Epochs in all.")
    whole("steps_per_epoch", 0, "An epoch ends after so many steps; 0: after all examples.")
    whole("seed", 0, "Of weights, order and augmentation.")
    text("precision", "float32", "float32, mixed_bfloat16 or mixed_float16.")
    text("jit", "auto", "XLA for the whole step: on, off, or auto (on a GPU only).")
    switch("enable_tf_function", True, "False runs step by step in Python, for debugging.")
    whole(
        "conflicting_samples_size",
        conflicting_samples_size,
        "Examples that bundle entropy is measured on after each epoch; 0: it isn't.",
    )
    switch("all_conflict_layers", True, "Measure it at all layers, not only at the last one.")
    switch("save_ckpts", False, "Keep every epoch's checkpoint, not only the newest and the best.")
    switch("test", True, "Evaluate the test set in the end.")


def config_from_flags(config_class: type[_Config], *, name: str) -> _Config:
    """The configuration that the flags stand for; each field is the flag of the same name.

    Args:
        config_class: a dataclass with `log_dir` and `dataset` among its fields.
        name: is part of the run directory's name if --log_dir isn't given.
    """
    values = flags.FLAGS
    if not values.log_dir:
        dataset = os.path.basename(values.dataset.removeprefix("images:").rstrip("/"))
        values.log_dir = f"runs/{dataset}-{name}-{time.strftime('%Y%m%d-%H%M%S')}"
    return config_class(
        **{field.name: values[field.name].value for field in dataclasses.fields(config_class)}
    )


def _insist_on_interrupts() -> None:
    """Repeats Ctrl-C each second until it is heard.

    Python drops an exception that falls into a destructor or a callback from foreign code.
    """
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return  # a shell that starts a program in the background has it ignore Ctrl-C

    def interrupt(_signal, _frame):
        signal.setitimer(signal.ITIMER_REAL, 1.0)
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupt)
    signal.signal(signal.SIGALRM, interrupt)


def _with_joined_booleans(argv: Sequence[str]) -> list[str]:
    """Makes `--flag=True` of `--flag True`, which absl takes for other kinds of flags only."""
    joined = [*argv[:1]]
    for argument in argv[1:]:
        name = joined[-1].lstrip("-")
        is_value = (
            len(joined) > 1
            and joined[-1].startswith("-")
            and name in flags.FLAGS
            and flags.FLAGS[name].boolean
            and argument.lower() in _BOOLEANS
        )
        if is_value:
            joined[-1] += f"={argument}"
        else:
            joined.append(argument)
    return joined


def _end(message: str, code: int) -> None:
    print(f"\n{message}", file=sys.stderr)
    sys.exit(code)
