"""Options: what is allowed, how it is told, written down and read back."""

import dataclasses
import json
import pathlib

import numpy as np
import pytest

from tfcaps import options, program
from tfcaps.errors import UsageError
from tfcaps.options import Options, WorkOptions, changed, fields, option

COLOURS = ["red", "green"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Paint(Options):
    colour: str = option("Which one.", default="red", choices=lambda: COLOURS)
    coats: int = option("How many.", default=2, range=">= 1", may_change=True)
    share: float = option("Of water.", default=0.5, range="in (0, 1]")
    rest: float = option("What is left.", default=0.0, range="in [0, 1)")
    weight: float = option("Any number.", default=-1.0)
    is_dry: bool = option("Whether one can touch it.", default=False)
    note: str | None = option("What to know.", default=None)
    size: int | None = option("In metres.", default=None, range="> 0")
    layers: tuple[int, ...] = option("Of each coat.", default=(1,), range=">= 0")
    pair: tuple[int, ...] = option(
        "Two or more.", default=(1, 2), range=">= 1", least=2, example="3,4"
    )
    kinds: tuple[str, ...] = option(
        "Of brushes.", default=("flat",), choices=("flat", "round"), distinct=True, least=1
    )
    sides: tuple[bool, ...] = option("Of it.", default=(True, False), distinct=True, least=1)
    bounds: tuple[float, ...] = option("Of the light.", default=(0.5,), range="in [0, 1]")


def sentence(**values):
    with pytest.raises(UsageError) as caught:
        Paint(**values)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"colour": "blue"}, "Expected --colour to be one of red, green. Received: blue"),
        ({"colour": None}, "Expected --colour to be one of red, green. Received: None"),
        ({"coats": 0}, "Expected --coats >= 1. Received: 0"),
        ({"coats": "3"}, "Expected --coats to be an integer. Received: 3"),
        ({"coats": 1.0}, "Expected --coats to be an integer. Received: 1.0"),
        ({"coats": True}, "Expected --coats to be an integer. Received: True"),
        ({"coats": None}, "Expected --coats to be an integer. Received: None"),
        ({"share": 0.0}, "Expected --share in (0, 1]. Received: 0.0"),
        ({"share": 1.1}, "Expected --share in (0, 1]. Received: 1.1"),
        ({"share": "half"}, "Expected --share to be a number. Received: half"),
        ({"rest": -0.1}, "Expected --rest in [0, 1). Received: -0.1"),
        ({"rest": 1.0}, "Expected --rest in [0, 1). Received: 1.0"),
        ({"rest": float("nan")}, "Expected --rest in [0, 1). Received: nan"),
        ({"weight": float("inf")}, "Expected --weight to be finite. Received: inf"),
        ({"is_dry": 1}, "Expected --is_dry to be true or false. Received: 1"),
        ({"note": 7}, "Expected --note to be text. Received: 7"),
        ({"size": 0}, "Expected --size > 0. Received: 0"),
        ({"layers": (1, -1)}, "Expected --layers to be integers >= 0, separated by commas. "
                              "Received: 1,-1"),
        ({"layers": ["1", "x"]}, "Expected --layers to be integers >= 0, separated by commas. "
                                 "Received: 1,x"),
        ({"pair": (3,)}, "Expected --pair to be two or more positive integers, such as 3,4. "
                         "Received: 3"),
        ({"pair": "3"}, "Expected --pair to be two or more positive integers, such as 3,4. "
                        "Received: 3"),
        ({"kinds": ("flat", "flat")}, "Expected --kinds to be distinct ones of flat, round. "
                                      "Received: flat,flat"),
        ({"kinds": ()}, "Expected --kinds to be distinct ones of flat, round. Received: "),
        ({"sides": ("maybe",)}, "Expected --sides to be true, false or both. Received: maybe"),
        ({"bounds": ["0.1", "big"]}, "Expected --bounds to be numbers in [0, 1], separated by "
                                     "commas. Received: 0.1,big"),
        ({"bounds": [1.5]}, "Expected --bounds to be numbers in [0, 1], separated by commas. "
                            "Received: 1.5"),
    ],
    ids=str,
)  # fmt: skip
def test_wrong_value(values, expected):
    assert sentence(**values) == expected


def test_values_come_to_be_of_their_own_type():
    paint = Paint(
        **{"coats": np.int64(3), "share": 1, "note": pathlib.Path("a/b"), "layers": [" 4", "0"]},
        **{"sides": ["True", "f"], "bounds": ["0", 1], "size": None},
    )
    assert (paint.coats, type(paint.coats)) == (3, int)
    assert (paint.share, type(paint.share)) == (1.0, float)
    assert (paint.note, paint.layers, paint.size) == ("a/b", (4, 0), None)
    assert (paint.sides, paint.bounds) == ((True, False), (0.0, 1.0))


def test_choices_are_asked_for_when_they_are_checked(monkeypatch):
    assert "Received: blue" in sentence(colour="blue")
    monkeypatch.setitem(globals(), "COLOURS", ["red", "blue"])
    assert Paint(colour="blue").colour == "blue"


def test_former_names_of_choices():
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Tool(Options):
        kind: str = option(
            "Which.", default="pen", choices=("pen", "roller"), former={"quill": "pen"}
        )

    assert Tool(kind="quill") == Tool(kind="pen") != Tool(kind="roller")
    with pytest.raises(UsageError, match=r"one of pen, roller\. Received: brush"):
        Tool(kind="brush")


def test_what_else_a_value_has_to_be():
    def check(word):
        if word != word[::-1]:
            raise UsageError(f"Expected a palindrome. Received: {word}")

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Words(Options):
        word: str = option("One.", default="level", check=check)
        words: tuple[str, ...] = option("Some.", default=(), check=check)

    assert Words(word="noon", words=("radar", "kayak")).words == ("radar", "kayak")
    for wrong in ({"word": "red"}, {"words": ("noon", "red")}):
        with pytest.raises(UsageError, match=r"Expected a palindrome\. Received: red"):
            Words(**wrong)


def test_json_and_flags():
    paint = Paint(note="a b", layers=(1, 2), is_dry=True)
    assert Paint.from_dict(paint.to_dict()) == paint
    lines = paint.flag_lines().splitlines()
    assert "--note=a b" in lines
    assert "--layers=1,2" in lines
    assert "--is_dry=true" in lines
    assert not [line for line in lines if "size" in line]
    assert paint.flag("size") == "no --size"


def test_what_is_settled_may_not_change():
    assert "coats" not in Paint().settled()
    assert set(Paint().settled()) == set(fields(Paint)) - {"coats"}


def test_an_inherited_option_with_other_knowledge():
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Varnish(Paint):
        coats: int = changed(Paint, "coats", default=1, range=">= 0")
        share: float = changed(Paint, "share")

    assert (Varnish(coats=0).coats, Varnish().share) == (0, 0.5)
    assert options.of(options.fields(Varnish)["coats"]).may_change
    assert list(options.fields(Varnish)) == list(options.fields(Paint))
    with pytest.raises(UsageError, match="--coats >= 1"):
        Paint(coats=0)


def test_table():
    lines = options.table(Paint).splitlines()
    assert lines[2] == "| `--colour` | red | Which one (red, green). |"
    assert lines[3] == "| `--coats` | 2 | How many (>= 1). |"
    assert "| `--note` |  | What to know. |" in lines
    assert "| `--pair` | 1,2 | Two or more (>= 1). |" in lines


def test_work_needs_a_folder():
    with pytest.raises(TypeError, match="log_dir"):
        WorkOptions()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Canvas(Options):
    pixels: int | tuple[int, int] | None = option("Of the canvas.", default=None, range=">= 4")


class TestSize:
    @pytest.mark.parametrize(
        ("given", "expected", "line"),
        [
            (None, None, ""),
            (40, 40, "--pixels=40\n"),
            ("40", 40, "--pixels=40\n"),
            ("40, 60", (40, 60), "--pixels=40,60\n"),
            ([40, 60], (40, 60), "--pixels=40,60\n"),
            ((40, 40), 40, "--pixels=40\n"),
        ],
    )
    def test_one_number_or_two(self, given, expected, line):
        canvas = Canvas(pixels=given)
        assert canvas.pixels == expected
        assert canvas.flag_lines() == line
        assert Canvas.from_dict(json.loads(json.dumps(canvas.to_dict()))) == canvas
        assert program.parse(Canvas, line.split()) == canvas

    @pytest.mark.parametrize("given", ["", "40,", "4x6", "4,5,6", 4.5, True, [], [4, None]])
    def test_other_things(self, given):
        with pytest.raises(UsageError) as caught:
            Canvas(pixels=given)
        assert "pixels to be a number of pixels, or height and width such as 40,60" in str(
            caught.value
        )

    @pytest.mark.parametrize("given", [3, "40,3", (0, 40)])
    def test_out_of_range(self, given):
        with pytest.raises(UsageError, match=r"Expected --pixels >= 4\. Received: "):
            Canvas(pixels=given)


@pytest.mark.parametrize("value", ["a\udcff", "a\0b"])
def test_text_that_no_file_can_have(value):
    with pytest.raises(UsageError) as caught:
        WorkOptions(log_dir=value)
    assert str(caught.value) == f"Expected --log_dir to be text in UTF-8. Received: {value!a}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Counted(Options):
    """An integer, and some."""

    count: int = option("A number.", default=1, range=">= 1")
    counts: tuple[int, ...] = option("Numbers.", default=(1,), range=">= 1")


def test_integers_that_no_machine_has():
    assert Counted(count=2**63 - 1).count == 2**63 - 1
    for changes in ({"count": 2**63}, {"counts": ["3", str(10**20)]}):
        with pytest.raises(UsageError, match="<= 9223372036854775807"):
            Counted(**changes)
