"""Mutants for `mutation_check.py`: single lines of a package made wrong by Cosmic Ray's operators.

A mutant is a dict of strings and numbers, known by its text and not by a line number, so that it is
found again in another version of the package.
"""

import ast
import collections
import itertools
import random
import textwrap
import warnings
from collections.abc import Iterator
from pathlib import Path

import cosmic_ray.ast
import cosmic_ray.mutating
import cosmic_ray.plugins

IDENTITY = ("area", "file", "function", "before", "after", "occurrence")


def identity(mutant: dict) -> dict:
    """What a mutant is known by in every version of the package."""
    return {name: mutant.get(name) for name in IDENTITY}


def meaning(source: str) -> str | None:
    """Equal for sources that differ in annotations only; None if Python refuses or warns."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # `x is 1` would fail in any test, whatever it tests
            tree = compile(source, "source", "exec", ast.PyCF_ONLY_AST)
            compile(source, "source", "exec")
    except (SyntaxError, SyntaxWarning):
        return None
    for node in ast.walk(tree):
        for annotation in {"annotation", "returns"} & set(node._fields):
            setattr(node, annotation, None)
    return ast.dump(tree)


def function_at(source: str, line: int) -> str:
    """The qualified name of the function or class around a line, counted from 0; "" if none."""
    return ".".join(
        node.name
        for node in ast.walk(ast.parse(source))  # the outer ones first
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
        and min(n.lineno for n in [node, *node.decorator_list]) <= line + 1 <= node.end_lineno
    )


def lines_of(source: str, text: str) -> list[tuple[int, str]]:
    """Where a text stands, whatever its indentation: lines, counted from 0, and functions."""
    wanted = [line.strip() for line in text.splitlines()]
    lines = [line.strip() for line in source.splitlines()]
    found = [i for i in range(len(lines)) if lines[i : i + len(wanted)] == wanted]
    return [(i, function_at(source, i)) for i in found]


def mutable_places(source: str) -> Iterator[list[tuple[str, int]]]:
    """Of each place, its mutations: an operator, and the how many-th place it is to that one."""
    places = collections.defaultdict(list)
    nodes = list(cosmic_ray.ast.ast_nodes(cosmic_ray.ast.get_ast(source)))
    # Two operators need arguments of their own.
    names = [n for n in cosmic_ray.plugins.operator_names() if "/Variable" not in n]
    for name in sorted(names):
        operator = cosmic_ray.plugins.get_operator(name)()
        found = (place for node in nodes for place in operator.mutation_positions(node))
        for occurrence, place in enumerate(found):
            places[place].append((name, occurrence))
    return (places[place] for place in sorted(places))


def _common(some: list[str], others: list[str]) -> int:
    pairs = zip(some, others, strict=False)
    return len(list(itertools.takewhile(lambda pair: pair[0] == pair[1], pairs)))


def mutant_of(source: str, name: str, occurrence: int) -> dict | None:
    """A mutant by its lines; None if it would mean the same, or isn't Python."""
    operator = cosmic_ray.plugins.get_operator(name)()
    mutated = cosmic_ray.mutating.mutate_code(source, operator, occurrence)
    if mutated is None or meaning(mutated) in (None, meaning(source)):
        return None
    old, new = source.splitlines(), mutated.splitlines()
    first = _common(old, new)
    while not old[first].strip():  # a decorator takes the empty lines above it along
        first, new = first + 1, [*new[:first], "", *new[first:]]
    rests = old[first:], new[first:]
    same = _common(*(rest[::-1] for rest in rests))
    before, after = (textwrap.dedent("\n".join(rest[: len(rest) - same])) for rest in rests)
    function = function_at(source, first)
    alike = [line for line, around in lines_of(source, before) if around == function]
    return {
        "function": function,
        "before": before,
        "after": after,
        "occurrence": alike.index(first),
        "operator": name,
    }


def sources(tree: Path, paths: list[str]) -> dict[str, str]:
    """The Python files of folders and files: their sources by their paths in the tree."""
    files = [file for path in paths for file in [tree / path, *(tree / path).rglob("*.py")]]
    return {str(f.relative_to(tree)): f.read_text() for f in sorted(files) if f.is_file()}


def draw(tree: Path, paths: dict[str, list[str]], number: int, seed: int) -> Iterator[dict]:
    """Mutants of each area in proportion to its mutable places, one a place at most.

    Args:
        tree: root folder of a version of the package.
        paths: of the folders and files of each area.
        number: of mutants.
        seed: of the draw.
    """
    places = collections.defaultdict(list)
    for area, of_area in paths.items():
        for file, source in sources(tree, of_area).items():
            places[area] += [(file, source, ways) for ways in mutable_places(source)]
    ends = list(itertools.accumulate(len(found) for found in places.values()))
    rounded = [round(number * end / ends[-1]) for end in [0, *ends]]
    rng = random.Random(seed)
    for (area, found), (low, high) in zip(places.items(), itertools.pairwise(rounded), strict=True):
        rng.shuffle(found)
        mutants = (
            {"area": area, "file": file, **mutant}
            for file, source, ways in found
            if (mutant := mutant_of(source, *rng.choice(ways)))
        )
        yield from itertools.islice(mutants, high - low)


def find(mutant: dict, tree: Path) -> tuple[str, int] | None:
    """The file, and line counted from 0, of a mutant in a version of the tree."""
    function = mutant["function"]
    found = [
        (file, line, around)
        for file, source in sources(tree, ["tfcaps", "nas"]).items()
        for line, around in lines_of(source, mutant["before"])
    ]
    same_place = [f for f in found if (f[0], f[2]) == (mutant["file"], function)]
    if mutant["occurrence"] < len(same_place):
        return same_place[mutant["occurrence"]][:2]
    same_name = [f for f in found if f[2] == function]
    same_method = [f for f in found if f[2].split(".")[-1] == function.split(".")[-1]]
    unique = [moved[0][:2] for moved in (same_name, same_method, found) if len(moved) == 1]
    return unique[0] if unique else None


def written(mutant: dict, source: str, line: int) -> str:
    """The source of a file with a mutant at a line, counted from 0."""
    lines = source.splitlines()
    indent = lines[line][: -len(lines[line].lstrip())]
    after = textwrap.indent(mutant["after"], indent).splitlines()
    lines[line : line + len(mutant["before"].splitlines())] = after
    return "\n".join(lines) + "\n"
