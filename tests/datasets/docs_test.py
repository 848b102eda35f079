import doctest
from pathlib import Path


def test_the_page_shows_what_happens():
    page = Path(__file__).parents[2] / "docs" / "datasets.md"
    failed, attempted = doctest.testfile(str(page), module_relative=False)
    assert attempted > 8
    assert failed == 0
