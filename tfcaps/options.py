"""Options: all that is known of a choice, said once, at the field that holds it.

A class of options is a frozen dataclass whose fields are made by `option`. Flags, checks, flag
files, comparisons of a resumed run and the documentation's tables are read from them. Nothing here
imports Keras, so that a wrong value is told at once.
"""

import dataclasses
import math
import os
import re
import time
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, TypeVar

from tfcaps.errors import UsageError

# Pixels: of height and width, or of each of them.
Size = int | tuple[int, int]

_Options = TypeVar("_Options", bound="Options")
_KEY = "option"
_BOOLEANS = {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False}
_RANGE = re.compile(r"(>=|>) (\S+)|in ([\[(])(\S+), (\S+)([\])])")
_MAX_INTEGER = 2**63 - 1
# How `LOG_DIR/flags.txt` repeats a run in a directory of its own.
_NOT_REPEATED = ("log_dir", "resume")


@dataclasses.dataclass(frozen=True)
class Option:
    """What is known of one choice beside its name, type and default.

    Args:
        help: what it is, in a few words.
        range: of a number, or of each of several: ">= 1", "> 0", "in [0, 1)", …; also finite.
        choices: the allowed words, or a function that gives them when a value is checked.
        may_change: whether something that was begun may be gone on with under another value: it
            changes nothing that has been computed. Default False.
        least: how many values a list has at least. Default 0.
        distinct: whether a list's values have to differ. Default False.
        example: shown in messages on a wrong list.
        aliases: other names of the flag.
        before: what was done before there was this option, if not what it asks for by default.
        former: what choices were called before, and what they are called now.
        check: what raises UsageError where a value, or one of a list, can't be, for other reasons.
    """

    help: str
    range: str | None = None
    choices: tuple[str, ...] | Callable[[], Sequence[str]] | None = None
    may_change: bool = False
    least: int = 0
    distinct: bool = False
    example: str | None = None
    aliases: tuple[str, ...] = ()
    before: Any = None
    former: Mapping[str, str] = dataclasses.field(default_factory=dict)
    check: Callable[[Any], None] | None = None

    def allowed(self) -> tuple[str, ...]:
        """The choices as they are now; () where any value of the type will do."""
        return tuple(self.choices() if callable(self.choices) else self.choices or ())

    def is_in_range(self, number: float) -> bool:
        """Whether a number is finite and in the range."""
        if self.range is None:
            return math.isfinite(number)
        read = _RANGE.fullmatch(self.range)
        if read is None:
            raise ValueError(f"Expected a range such as 'in (0, 1]'. Received: {self.range}")
        sign, bound, low_end, low, high, high_end = read.groups()
        if sign is not None:
            low, low_end, high, high_end = bound, "[" if sign == ">=" else "(", "inf", ")"
        above = number >= float(low) if low_end == "[" else number > float(low)
        below = number <= float(high) if high_end == "]" else number < float(high)
        return above and below


def option(help: str, *, default: Any = dataclasses.MISSING, **known: Any) -> Any:
    """The field of a class of options.

    Args:
        help: what the option is, in a few words.
        default: its value where none is given. Without one there has to be a value.
        **known: see `Option`.

    Example:

    >>> @dataclasses.dataclass(frozen=True, kw_only=True)
    ... class Learning(Options):
    ...     epochs: int = option("Epochs in all.", default=3, range=">= 1")
    >>> Learning(epochs=0)
    Traceback (most recent call last):
    tfcaps.errors.UsageError: Expected --epochs >= 1. Received: 0
    """
    return dataclasses.field(default=default, metadata={_KEY: Option(help, **known)})


def changed(cls: type["Options"], name: str, **changes: Any) -> Any:
    """The field of another class, with another default, or with more that is known.

    Args:
        cls: the class that has it.
        name: of the field.
        **changes: `default`, or what else differs, see `Option`.
    """
    before = fields(cls)[name]
    default = changes.pop("default", before.default)
    known = dataclasses.replace(of(before), **changes)
    return dataclasses.field(default=default, metadata={_KEY: known})


def fields(cls: "type[Options] | Options") -> dict[str, dataclasses.Field]:
    """The options of a class, by name, in their order."""
    return {field.name: field for field in dataclasses.fields(cls) if _KEY in field.metadata}


def of(field: dataclasses.Field) -> Option:
    """What is known of a field."""
    return field.metadata[_KEY]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """Base class of options: checked when made, and written down and read back.

    Raises:
        UsageError: a value is out of its range; the message names it and says what is allowed.
    """

    # Options that there were once, in flag files perhaps, and what is to be used instead.
    REMOVED: ClassVar[Mapping[str, str]] = {}

    def __post_init__(self) -> None:
        for name in fields(self):
            self.check(name)

    def check(self, name: str) -> None:
        """Checks one option, whose value comes to be of its own type.

        Raises:
            UsageError: it is not allowed.
        """
        field = fields(self)[name]
        object.__setattr__(self, name, _checked(field, getattr(self, name)))

    def expect(self, name: str, is_allowed: Any, allowed: str) -> None:
        """Raises a UsageError about an option unless it is allowed.

        Args:
            name: of the option.
            is_allowed: whether it is.
            allowed: what is expected, as it stands behind "Expected --NAME".
        """
        if not is_allowed:
            raise _wrong(name, allowed, getattr(self, name))

    def to_dict(self) -> dict[str, Any]:
        """All options, as JSON can hold them."""
        values = {name: getattr(self, name) for name in fields(self)}
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in values.items()
        }

    @classmethod
    def from_dict(cls: type[_Options], values: Mapping[str, Any]) -> _Options:
        """The inverse of `to_dict`."""
        return cls(**values)

    def flag(self, name: str) -> str:
        """An option as it is written on a command line."""
        return flag(name, self.to_dict()[name])

    def flag_lines(self) -> str:
        """A flag file that repeats this in a folder of its own."""
        return "".join(
            f"{flag(name, value)}\n"
            for name, value in self.to_dict().items()
            if name not in _NOT_REPEATED and value is not None
        )

    def settled(self) -> dict[str, Any]:
        """What something that was begun keeps, see `Option.may_change`."""
        may_change = {name for name, field in fields(self).items() if of(field).may_change}
        return {name: value for name, value in self.to_dict().items() if name not in may_change}


def value_type(field: dataclasses.Field) -> tuple[Any, bool]:
    """The type of an option's value, or of each of its values, and whether there are several."""
    annotation: Any = field.type
    if isinstance(annotation, types.UnionType):
        parts = [part for part in typing.get_args(annotation) if part is not type(None)]
        if tuple(parts) == typing.get_args(Size):
            return Size, False
        (annotation,) = parts
    if typing.get_origin(annotation) is tuple:
        return typing.get_args(annotation)[0], True
    return annotation, False


def flag(name: str, value: Any) -> str:
    """A value as it is written on a command line.

    >>> flag("use_bias", True), flag("image_size", None), flag("layers", [32, 10])
    ('--use_bias=true', 'no --image_size', '--layers=32,10')
    """
    return f"no --{name}" if value is None else f"--{name}={flag_value(value)}"


def flag_value(value: Any) -> str:
    """A value as it is written behind a flag's name.

    >>> flag_value([True, 2]), flag_value(None)
    ('true,2', '')
    """
    if _is_list(value):
        return ",".join(map(flag_value, value))
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _checked(field: dataclasses.Field, value: Any) -> Any:
    """The value in the option's own type, if it is an allowed one."""
    kind, is_several = value_type(field)
    # What has no default value of its own may get one later, from other options.
    if value is None and (field.default is None or type(None) in typing.get_args(field.type)):
        return None
    if is_several:
        return _checked_list(field.name, of(field), kind, value)
    return _checked_single(field.name, of(field), kind, value)


def _checked_single(name: str, known: Option, kind: Any, value: Any) -> Any:
    choices = known.allowed()
    value = known.former.get(value, value) if known.former else value
    if choices and value not in choices:
        raise _wrong(name, f"to be one of {', '.join(choices)}", value)
    found = _converted(kind, value)
    if found is None:
        raise _wrong(name, f"to be {_NOUNS[kind]}", value)
    _check_size(name, kind, (found,), value)
    numbers = found if isinstance(found, tuple) else (found,)
    if kind in (int, float, Size) and not all(map(known.is_in_range, numbers)):
        raise _wrong(name, known.range or "to be finite", value)
    if known.check:
        known.check(found)
    return found


def _checked_list(name: str, known: Option, kind: type, values: Any) -> tuple:
    """The values of a list, which flags give as text."""
    values = [values] if isinstance(values, str) else list(values)
    choices = known.allowed()
    found = [_from_text(kind, value) for value in values]
    is_good = (
        None not in found
        and len(found) >= known.least
        and not (known.distinct and len(set(found)) < len(found))
        and not (choices and not set(found) <= set(choices))
        and not (kind in (int, float) and not all(map(known.is_in_range, found)))
    )
    if not is_good:
        raise _wrong(name, f"to be {_list_words(known, kind, choices)}", values)
    _check_size(name, kind, found, values)
    if known.check:
        for value in found:
            known.check(value)
    return tuple(found)


def _check_size(name: str, kind: Any, found: Sequence[Any], value: Any) -> None:
    """Refuses what no file's name, and no machine's integer, can be."""
    if kind is str and not all(map(_is_text, found)):
        raise _wrong(name, "to be text in UTF-8", ascii(value))
    if kind is int and any(abs(number) > _MAX_INTEGER for number in found):
        raise _wrong(name, f"<= {_MAX_INTEGER}", value)


def _is_text(value: str) -> bool:
    """Whether it can be written to a file, and be a name of one."""
    try:
        return b"\0" not in value.encode()
    except UnicodeEncodeError:  # what a command line has of other encodings
        return False


def _list_words(known: Option, kind: type, choices: Sequence[str]) -> str:
    """What a list has to be, for a message."""
    if kind is bool:
        return "true, false or both"
    if choices:
        return f"{'distinct ' if known.distinct else ''}ones of {', '.join(choices)}"
    if known.range == ">= 1" and (known.distinct or known.least):
        words = "positive integers"
    else:
        words = {int: "integers", float: "numbers", str: "names"}[kind]
        words += f" {known.range}" if known.range else ""
    if known.distinct:
        words = f"distinct {words}"
    elif known.least > 1:
        words = f"two or more {words}"
    else:
        words += ", separated by commas"
    return words + (f", such as {known.example}" if known.example else "")


_NOUNS = {
    int: "an integer",
    float: "a number",
    bool: "true or false",
    str: "text",
    Size: "a number of pixels, or height and width such as 40,60",
}


def _converted(kind: Any, value: Any) -> Any:
    """A value in an option's type; None where it is of another one."""
    if kind == Size:
        return _size(value)
    if kind is bool:
        return value if isinstance(value, bool) else None
    if isinstance(value, bool):
        return None
    if kind is str:
        return os.fspath(value) if isinstance(value, (str, os.PathLike)) else None
    if kind is int:
        return int(value) if hasattr(value, "__index__") else None
    return float(value) if hasattr(value, "__float__") else None


def _size(value: Any) -> Size | None:
    """A size; of a square just its side. None where it is none.

    >>> _size("40,60"), _size([40, 40]), _size("40,"), _size(0.5)
    ((40, 60), 40, None, None)
    """
    values = value.split(",") if isinstance(value, str) else value
    sides = [_from_text(int, side) for side in (values if _is_list(values) else [values])]
    if None in sides or not 1 <= len(sides) <= 2:
        return None
    height, width = sides[0], sides[-1]
    return height if height == width else (height, width)


def _is_list(value: Any) -> bool:
    return isinstance(value, (list, tuple))


def _from_text(kind: type, value: Any) -> Any:
    """As `_converted`, of a value that may be text; None where it can't be read."""
    if not isinstance(value, str) or kind is str:
        return _converted(kind, value)
    try:
        return _BOOLEANS[value.lower()] if kind is bool else kind(value)
    except (KeyError, ValueError):
        return None


def _wrong(name: str, allowed: str, value: Any) -> UsageError:
    received = flag_value(value) if _is_list(value) else value
    return UsageError(f"Expected --{name} {allowed}. Received: {received}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class WorkOptions(Options):
    """Base class of the options of work that has a folder and can be gone on with."""

    log_dir: str = option("Folder of the results.", may_change=True)
    resume: bool = option(
        "Go on in --log_dir where it was stopped.", default=False, may_change=True
    )

    @property
    def run_name(self) -> str:
        """What the folder is called, before the time, where no --log_dir is given."""
        raise NotImplementedError("Work has to define `run_name`.")

    @property
    def new_folder(self) -> str:
        """The folder where no --log_dir is given."""
        return f"runs/{self.run_name}-{time.strftime('%Y%m%d-%H%M%S')}"

    @property
    def has_own_folder(self) -> bool:
        """Whether `new_folder` is the same each time, so that `resume` needs no --log_dir."""
        return False


def table(cls: type[Options]) -> str:
    """The options of a class as a Markdown table: flag, default, what it is.

    >>> @dataclasses.dataclass(frozen=True, kw_only=True)
    ... class Learning(Options):
    ...     epochs: int = option("Epochs in all.", default=3, range=">= 1")
    >>> print(table(Learning))
    | flag | default | what |
    |---|---|---|
    | `--epochs` | 3 | Epochs in all (>= 1). |
    """
    lines = ["| flag | default | what |", "|---|---|---|"]
    for name, field in fields(cls).items():
        default = "" if field.default is dataclasses.MISSING else flag_value(field.default)
        lines.append(f"| `--{name}` | {default} | {description(field)} |")
    return "\n".join(lines)


def description(field: dataclasses.Field) -> str:
    """An option's help with its range or choices."""
    known = of(field)
    allowed = ", ".join(known.allowed()) or known.range
    text = known.help.removesuffix(".")
    return f"{text} ({allowed})." if allowed else f"{text}."
