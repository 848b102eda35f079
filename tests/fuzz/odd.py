"""What cases are made of: odd values, and changes of good files, drawn by a generator."""

import copy
import json
import math
import random
import struct
from collections.abc import Callable
from typing import Any

NUMBERS = (
    *(0, 1, -1, 2, 3, 10**6, 10**8, 10**20, -(10**20), 2**31, 2**63 - 1, 2**63, 2**64, 10**400),
    *(0.0, -0.0, 0.5, 1.5, 1e-320, 1e308, math.inf, -math.inf, math.nan, True, False),
)
TEXTS = (
    *("", " ", "\0", "\n", "a\nb", "\ud800", "é", "None", "null", "nan", "-1", "1e999", "0x10"),
    *("١٢", "9" * 5000, "a" * 5000, "../../etc/passwd", "/proc/foo", "~", "~nobody", "images:"),
    *("images:/proc", "__class__", "%s", "{0}", "$(touch x)", "true", "auto", "resnet", "\u202e"),
    *("1_000", "[]", "a,b", ",", "=", "--", "csv:", "\x1b[31m", "-0", "1e-999", "\ufeff"),
)
_INTEGERS = (0, 1, 0x7FFF, 0xFFFF, 2**31 - 1, 2**32 - 1, 20000)
_FORMS = ("<I", ">I", "<H", ">H", "B")
_DEEP = (b"[" * 100_000, b'{"a":' * 50_000, b"[" * 100_000 + b"]" * 100_000)

Draw = random.Random


def text(draw: Draw) -> str:
    """A text: an odd one, or a few characters of any script."""
    if draw.random() < 0.8:
        return draw.choice(TEXTS)
    most = draw.choice((0x7F, 0x7F, 0x2FF, 0xFFFF, 0x10FFFF))
    return "".join(chr(draw.randint(0, most)) for _ in range(draw.randint(0, 8)))


def scalar(draw: Draw) -> Any:
    """A number, a text, or None."""
    how = draw.random()
    return None if how < 0.1 else draw.choice(NUMBERS) if how < 0.6 else text(draw)


def value(draw: Draw, depth: int = 3) -> Any:
    """What JSON can hold."""
    how = draw.random()
    if how < 0.65 or not depth:
        return scalar(draw)
    if how < 0.8:
        return [value(draw, depth - 1) for _ in range(draw.randint(0, 3))]
    if how < 0.95:
        return {text(draw): value(draw, depth - 1) for _ in range(draw.randint(0, 3))}
    return draw.choice((_nested(50), list(range(300)), {"a": {"a": {}}}, [[]], [{}]))


def _nested(levels: int) -> Any:
    found: Any = []
    for _ in range(levels):
        found = [found]
    return found


def _places(found: Any, here: tuple = ()) -> list[tuple]:
    inner: Any = ()
    if isinstance(found, dict):
        inner = found.items()
    elif isinstance(found, list):
        inner = enumerate(found)
    return [here, *(place for key, one in inner for place in _places(one, (*here, key)))]


def _at(found: Any, place: tuple) -> Any:
    for key in place:
        found = found[key]
    return found


def changed(draw: Draw, good: Any) -> Any:
    """A JSON value with one to three changes."""
    found = copy.deepcopy(good)
    for _ in range(draw.randint(1, 3)):
        places = _places(found)
        # A level at random: what a file consists of is at its top.
        length = draw.randint(0, max(map(len, places)))
        place = draw.choice([one for one in places if len(one) == length] or places)
        if not place:
            if draw.random() < 0.1:
                found = value(draw)
            continue
        holder, key = _at(found, place[:-1]), place[-1]
        how = draw.randint(0, 5)
        if how == 0:
            del holder[key]
        elif how == 1 and isinstance(holder, dict):
            holder[text(draw)] = holder.pop(key)
        elif how == 2 and isinstance(holder, list):
            holder.append(copy.deepcopy(holder[key]))
        elif how == 3:
            holder[key] = copy.deepcopy(_at(found, draw.choice(places)))
        else:
            holder[key] = value(draw)
    return found


def changed_bytes(draw: Draw, good: bytes, most: int = 4) -> bytes:
    """A file with one to so many changes: cut, flipped, inserted, repeated, integers replaced."""
    data = bytearray(good)
    for _ in range(draw.randint(1, most)):
        size = len(data)
        start = draw.randint(0, min(size, draw.choice((64, 1024, size))))
        stop = min(size, start + draw.randint(0, 64))
        how = draw.randint(0, 7)
        if how == 0:
            del data[start:]
        elif how == 1 and size:
            data[min(start, size - 1)] ^= 1 << draw.randint(0, 7)
        elif how == 2:
            data[start:start] = draw.randbytes(draw.randint(1, 8))
        elif how == 3:
            del data[start:stop]
        elif how == 4:
            data[start:start] = data[start:stop]
        elif how in (5, 6):
            form = draw.choice(_FORMS)
            width = struct.calcsize(form)
            number = draw.choice(_INTEGERS) & ((1 << 8 * width) - 1)
            data[start : start + width] = struct.pack(form, number)
        else:
            data[start : start + 8] = draw.randbytes(8)
    return bytes(data)


def as_json(found: Any) -> bytes:
    """A value as a file has it; what JSON doesn't know stays as Python writes it."""
    return json.dumps(found, indent=2).encode("utf-8", "surrogatepass")


def json_file(draw: Draw, good: Any) -> bytes:
    """A JSON file: values changed, bytes changed, another text, or no text."""
    how = draw.random()
    if how < 0.7:
        return as_json(changed(draw, good))
    if how < 0.85:
        return changed_bytes(draw, as_json(good))
    if how < 0.95:
        return as_json(value(draw))
    if how < 0.97:
        return draw.randbytes(draw.randint(0, 40))
    return draw.choice((b"", b"\xef\xbb\xbf{}", b"null", b"NaN", b"1" * 5000, *_DEEP))


def text_file(draw: Draw, good: str) -> bytes:
    """A text file of lines, such as a table: cells, lines and bytes changed."""
    lines = good.splitlines(keepends=True)
    for _ in range(draw.randint(0, 3)):
        if not lines:
            break
        index = draw.randrange(len(lines))
        how = draw.randint(0, 5)
        if how == 0:
            del lines[index]
        elif how == 1:
            lines.insert(index, draw.choice(lines))
        elif how == 2:
            lines[index] = text(draw) + "\n"
        else:
            separator = draw.choice((",", "\t", ";", "=", " "))
            cells = lines[index].rstrip("\n").split(separator)
            cells[draw.randrange(len(cells))] = str(scalar(draw))[:6000]
            lines[index] = separator.join(cells) + "\n"
    data = "".join(lines).encode("utf-8", "surrogatepass")
    return changed_bytes(draw, data) if draw.random() < 0.3 else data


def one_of(*makers: Callable[[Draw], Any]) -> Callable[[Draw], Any]:
    """What makes a case in one of several ways."""
    return lambda draw: draw.choice(makers)(draw)
