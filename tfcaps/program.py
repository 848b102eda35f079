"""What all programs share: wrong input ends them with one sentence, not with a stack trace."""

import dataclasses
import errno
import os
import signal
import sys
import types
from collections.abc import Callable, Sequence
from typing import Any

from absl import app, flags, logging

from tfcaps import options, quiet
from tfcaps.errors import UsageError
from tfcaps.options import Options, WorkOptions

_EXIT_USAGE = 1
_EXIT_INTERRUPTED = 130  # the shells' code for Ctrl-C
_EXIT_PIPE = 141  # for SIGPIPE, which Python makes an error of
_EXIT_TERMINATED = 143  # and for SIGTERM, by which batch systems end what takes too long
_DISK_ERRORS = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.EACCES, errno.EPERM),
    *(errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.ELOOP),
)
# TensorFlow's function, which calls C++ that calls Python, and doesn't expect an exception there.
_MAKES_TENSORS = "convert_to_eager_tensor"
# What absl takes as the value of a boolean.
_BOOLEANS = ("true", "t", "1", "false", "f", "0")


def run(main: Callable[..., None], *asked: "type[Options] | OneOf") -> None:
    """Parses the flags, calls `main` and ends the process.

    Exit codes: 0; 1 for wrong input or files that can't be written; 130 after Ctrl-C; 141 where
    nobody reads the output any more; 143 after SIGTERM.

    Args:
        main: the program; it is given the options that were asked for, in this order.
        asked: classes of options, each field of which is a flag.
    """
    for each in asked:
        define_flags(each)

    def guarded(argv: list[str]) -> None:
        if len(argv) > 1:
            _end(f"Expected flags only. Received: {argv[1]}", _EXIT_USAGE)
        logging.set_verbosity(logging.ERROR)  # TensorFlow tells of files and of traced functions
        _insist_on_interrupts()
        try:
            main(*(from_flags(each) for each in asked))
            sys.stdout.flush()
        except UsageError as error:
            _end(str(error), _EXIT_USAGE)
        except MemoryError as error:
            reason = str(error).partition("\n")[0] or "there is too little memory"
            _end(f"Expected sizes that fit into memory. Received: {reason}", _EXIT_USAGE)
        except BrokenPipeError:
            # As in `| head`: nobody reads any more, so Python's own last words would fail, too.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(_EXIT_PIPE)
        except KeyboardInterrupt as stop:
            signal.setitimer(signal.ITIMER_REAL, 0.0)
            how = "--resume" if "resume" in flags.FLAGS else "the same command"
            code = _EXIT_TERMINATED if isinstance(stop, _Terminated) else _EXIT_INTERRUPTED
            _end(f"Stopped. What was finished is saved; {how} goes on.", code)
        except OSError as error:
            sentence = disk_sentence(error)
            if sentence is None:
                raise
            _end(sentence, _EXIT_USAGE)

    quiet.hide_start_of_tensorflow()
    arguments = [sys.argv[0], *_with_joined_booleans(sys.argv[1:], flags.FLAGS)]
    app.run(guarded, argv=arguments, flags_parser=_parsed)


def disk_sentence(error: OSError) -> str | None:
    """What a user is told of a disk that is full or read-only; None: the error is another one."""
    if error.errno not in _DISK_ERRORS:
        return None
    where = f" {error.filename}" if error.filename else ""
    # Not the error's own words: those of HDF5 fill lines with addresses and offsets.
    reason = os.strerror(error.errno)
    return f"Cannot write{where}: {reason}; what was written before is intact"


def _parsed(arguments: list[str]) -> list[str]:
    """What is left of a command line without its flags, which flag files may have, too."""
    try:
        return _left_over(flags.FLAGS, arguments)
    except UsageError as error:
        _end(str(error), _EXIT_USAGE)
        raise


@dataclasses.dataclass(frozen=True)
class OneOf:
    """Several classes of options, one of which the program is given.

    Args:
        by: name of the option whose value decides: that of the first class which allows it.
        classes: what there is.
    """

    by: str
    classes: tuple[type[Options], ...]

    def defaults(self, name: str) -> str:
        """Which default an option has for which value of `by`, where its classes differ."""
        having = [options.fields(cls) for cls in self.classes if name in options.fields(cls)]
        found = [options.flag_value(fields[name].default) for fields in having]
        if name == self.by or len(set(found)) < 2:
            return ""
        *first, _ = (", ".join(options.of(fields[self.by]).allowed()) for fields in having)
        return "; ".join(
            f"{default} with --{self.by}={choices}"
            for default, choices in zip(found, [*first, "any other"], strict=True)
            if default  # else another option decides, as the help says
        )

    def chosen(self, values: flags.FlagValues) -> type[Options]:
        """The class that the flags ask for.

        Raises:
            UsageError: no class allows the value, or a flag was given that the class doesn't have.
        """
        value = values[self.by].value
        allowed = {cls: options.of(options.fields(cls)[self.by]).allowed() for cls in self.classes}
        cls = next((cls for cls, choices in allowed.items() if value in choices), None)
        if value is None:
            cls = self.classes[0]
        if cls is None:
            known = ", ".join(choice for choices in allowed.values() for choice in choices)
            raise UsageError(f"Expected --{self.by} to be one of {known}. Received: {value}")
        for other in self.classes:
            for name in options.fields(other).keys() - options.fields(cls).keys():
                if _is_given(values, name):
                    raise UsageError(
                        f"Expected --{name} only with --{self.by} among "
                        f"{', '.join(allowed[other])}. Received: {_given(values, name)} "
                        f"with --{self.by}={value}"
                    )
        return cls


def parse(asked: "type[Options] | OneOf", arguments: Sequence[str]) -> Options:
    """The options that a command line stands for, as `run` hands them to a program.

    Args:
        asked: the class of options, or several.
        arguments: flags, with `--flagfile=FILE` among them if need be.

    Raises:
        UsageError: there is no such flag, its text can't be read, or a value is out of its range.

    Example:

    >>> from tfcaps.training import CapsuleNetworkConfig
    >>> parse(CapsuleNetworkConfig, ["--log_dir=runs/mine", "--routing", "em"]).routing
    'em'
    >>> parse(CapsuleNetworkConfig, ["--log_dir=runs/mine", "--epochs=0"])
    Traceback (most recent call last):
    tfcaps.errors.UsageError: Expected --epochs >= 1. Received: 0
    """
    values = flags.FlagValues()
    flags.DEFINE_string("flagfile", "", "", flag_values=values)
    define_flags(asked, values)
    read_flags(values, arguments)
    return from_flags(asked, values)


def read_flags(values: flags.FlagValues, arguments: Sequence[str]) -> None:
    """Reads a command line into flags that are defined.

    Raises:
        UsageError: there is no such flag, or something else than flags, or a text that can't be
            read.
    """
    left_over = _left_over(values, ["program", *_with_joined_booleans(arguments, values)])[1:]
    if left_over:
        raise UsageError(f"Expected flags only. Received: {left_over[0]}")


def _left_over(values: flags.FlagValues, arguments: Sequence[str]) -> list[str]:
    """Reads a command line, and gives what of it are no flags."""
    try:
        return values(arguments)
    except flags.Error as error:
        raise UsageError(str(error)) from None
    except RecursionError:  # of absl, which looks for a similar name
        raise UsageError("Expected flags whose names are short. Received: a long one") from None
    except UnicodeDecodeError as error:
        reason = f"{error.reason} at byte {error.start}"
        raise UsageError(
            f"Expected --flagfile=FILE with text in UTF-8. Received: {reason}"
        ) from None
    except ValueError as error:  # a NUL in the file's name
        raise UsageError(f"Expected --flagfile=FILE. Received: {error}") from None


def define_flags(asked: "type[Options] | OneOf", values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines a flag for each option; of several classes' common ones, the first class'."""
    for cls in asked.classes if isinstance(asked, OneOf) else (asked,):
        for name, instead in cls.REMOVED.items():
            flags.DEFINE(_Removed(instead), name, None, "", values, allow_override=True)
        for name, field in options.fields(cls).items():
            # absl's own flag of this name, of its logging, gives way.
            if name not in values or name == "log_dir":
                # Work without a folder gets one whose name has the time in it.
                is_needed = not issubclass(cls, WorkOptions)
                defaults = asked.defaults(name) if isinstance(asked, OneOf) else ""
                _define_flag(field, values, is_needed=is_needed, defaults=defaults)


def from_flags(asked: "type[Options] | OneOf", values: flags.FlagValues = flags.FLAGS) -> Options:
    """The options that parsed flags stand for.

    Raises:
        UsageError: a value is out of its range, or --resume names nothing to go on with.
    """
    cls = asked.chosen(values) if isinstance(asked, OneOf) else asked
    given: dict[str, Any] = {
        name: values[name].value for name in options.fields(cls) if _is_given(values, name)
    }
    if not issubclass(cls, WorkOptions) or given.get("log_dir"):
        if given.get("resume") and not os.path.isdir(given["log_dir"]):
            raise UsageError(
                "Expected --log_dir=FOLDER beside --resume, a folder to go on in. "
                f"Received: --log_dir={given['log_dir']}, and there is no such folder"
            )
        return cls(**given)
    found = cls(**{**given, "log_dir": ""})
    if found.resume and not found.has_own_folder:
        raise UsageError(
            "Expected --log_dir=FOLDER beside --resume, the folder to go on in. "
            "Received: --resume alone"
        )
    return dataclasses.replace(found, log_dir=found.new_folder)


class _Removed(flags.ArgumentParser):
    """Reads no value of a flag that there was once: its text says what to use instead."""

    def __init__(self, instead: str):
        super().__init__()
        self._instead = instead

    def parse(self, argument: str) -> str:
        raise ValueError(f"expected {self._instead}")


def _define_flag(
    field: dataclasses.Field, values: flags.FlagValues, *, is_needed: bool, defaults: str
) -> None:
    """Defines the flag of an option; `defaults` says which it has where it has several."""
    kind, is_several = options.value_type(field)
    has_default = field.default is not dataclasses.MISSING
    default: Any = field.default if has_default and not defaults else None
    described = options.description(field) + (f" Default: {defaults}." if defaults else "")
    # The program's own flags: those that --help shows.
    common: dict[str, Any] = {"module_name": sys.argv[0], "allow_override": True}
    if is_several:
        default = default and [options.flag_value(value) for value in default]
        flags.DEFINE(
            *(flags.ListParser(), field.name, default, described, values),
            **{"serializer": flags.ListSerializer(","), **common},
        )
    elif kind is bool:
        flags.DEFINE_flag(
            flags.BooleanFlag(field.name, default, described, allow_override=True),
            *(values, common["module_name"]),
        )
    else:
        # What absl can't read stays text, which the option's own check reads.
        parsers: dict[Any, type[flags.ArgumentParser]]
        parsers = {int: flags.IntegerParser, float: flags.FloatParser}
        parser = parsers.get(kind, flags.ArgumentParser)()
        serializer = flags.ArgumentSerializer()
        flags.DEFINE(
            *(parser, field.name, default, described, values),
            **{"serializer": serializer, "required": is_needed and not has_default, **common},
        )
    for alias in options.of(field).aliases:
        flags.DEFINE_alias(alias, field.name, values, common["module_name"])


def _is_given(values: flags.FlagValues, name: str) -> bool:
    """Whether a flag stood on the command line, or in a flag file, by whichever of its names."""
    return values[name].present > 0 or not values[name].using_default_value


def _given(values: flags.FlagValues, name: str) -> str:
    return options.flag(name, values[name].value)


class _Terminated(KeyboardInterrupt):
    """Somebody asks the process to end, by SIGTERM."""


def _insist_on_interrupts() -> None:
    """Repeats Ctrl-C, and SIGTERM, each second until it is heard.

    Python drops an exception that falls into a destructor or a callback from foreign code; and
    TensorFlow is broken afterwards, or the process is, where one falls into its making of tensors:
    there the signal waits.
    """
    stop: type[KeyboardInterrupt] = KeyboardInterrupt

    def raise_again(_signal, frame):
        if _is_below(_MAKES_TENSORS, frame):
            signal.setitimer(signal.ITIMER_REAL, 0.001)
            return
        signal.setitimer(signal.ITIMER_REAL, 1.0)
        raise stop

    def terminate(_signal, frame):
        nonlocal stop
        stop = _Terminated
        raise_again(_signal, frame)

    signal.signal(signal.SIGTERM, terminate)
    signal.signal(signal.SIGALRM, raise_again)
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return  # a shell that starts a program in the background has it ignore Ctrl-C
    signal.signal(signal.SIGINT, raise_again)


def _is_below(function: str, frame: types.FrameType | None) -> bool:
    """Whether a call of a function hasn't ended at a frame."""
    while frame is not None and frame.f_code.co_name != function:
        frame = frame.f_back
    return frame is not None


def _with_joined_booleans(arguments: Sequence[str], values: flags.FlagValues) -> list[str]:
    """Makes `--flag=True` of `--flag True`, which absl takes for other kinds of flags only."""
    joined: list[str] = []
    for argument in arguments:
        before = joined[-1] if joined else ""
        name = before.lstrip("-")
        is_value = (
            before.startswith("-")
            and name in values
            and values[name].boolean
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
