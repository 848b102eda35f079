"""What the pages show can be done: code runs, commands parse, links lead somewhere."""

import doctest
import pkgutil
import re
import shlex
import shutil
from unittest import mock

import keras
import pytest
from absl import flags

import nas
from tests import forks, programs, runs
from tfcaps import training
from tfcaps.errors import UsageError
from tfcaps.routing import registry as routings

PAGES = ("README.md", "CONTRIBUTING.md", *(f"docs/{path.name}" for path in
         sorted((runs.ROOT / "docs").glob("*.md"))))  # fmt: skip
TUTORIALS = [f"docs/tutorials/{path.name}" for path in
             sorted((runs.ROOT / "docs/tutorials").glob("*.md"))]  # fmt: skip
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"^    (?=\S)(.*)$", re.MULTILINE)
INLINE = re.compile(r"`([^`\n]+)`")
COMMAND = re.compile(r"^(?:\w+=\S+ +)*bin/(\w+)((?: .*)?)$")
# Finished runs that code on the pages finds in its folder, and the fixtures that train them.
RUNS = {"runs/mine": "small_run", "runs/resnet": "resnet_run"}
# Words that stand for a value of another kind than text, and one such value.
STANDS_FOR = {
    "BLOCKS": "1,1,1",
    "DATASET": "mnist",
    "DIR": str(runs.ROOT),  # what is gone on with is there
    "MODEL": "vgg",
    "N": "10",
    "ROUTING": "em",
    "SEED": "1",
    "γ": "0.9",
    "λ": "0.01",
}
# Where the classes that pages define come from.
MODULE = "page"
# Flags of other programs that the pages mention.
FOREIGN = {
    "directory",  # http.server's
    *("editable", "extra", "python-version", "resolution", "upgrade"),  # uv's
    "flagfile",  # absl's
    "helpshort",
    "logdir",  # TensorBoard's
    *("no-deps", "require-hashes", "requirement"),  # pip's
    "no-isolate_trials",  # benchmarks'
    "numprocesses",  # pytest's
    "requeue",  # sbatch's
    *("cases", "seconds"),  # tests.fuzz'
    *("clients", "requests"),  # tests.serving's
}


def text(page: str) -> str:
    return (runs.ROOT / page).read_text(encoding="utf-8")


def python_blocks(page: str) -> list[str]:
    return [code for language, code in BLOCK.findall(text(page)) if language == "python"]


def commands(content: str) -> list[tuple[str, str]]:
    """Programs and their arguments, of each whole command in a page's text."""
    shown = [code for language, code in BLOCK.findall(content) if language in ("", "sh")]
    lines = "\n".join(shown).replace("\\\n", " ").splitlines()
    prose = BLOCK.sub("", content)
    lines += INDENTED.findall(prose)
    # A sentence may name a program with a flag that has no value there.
    lines += [code for code in INLINE.findall(prose) if "=" in code]
    return [found.groups() for found in map(COMMAND.match, lines) if found]


def parse(name: str, arguments: str) -> None:
    """Parses a command as a page shows it.

    Raises:
        UsageError: the program would refuse it.
    """
    words = []
    for word in shlex.split(arguments, comments=True):
        flag, _, value = word.partition("=")
        if flag == "--flagfile":
            if value.endswith("/flags.txt"):  # what a run was made with
                continue
            value = str(runs.ROOT / value)
        words.append(f"{flag}={STANDS_FOR.get(value, value)}" if value else word)
    programs.parsed(name, words)


@pytest.fixture(scope="module")
def resnet_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("resnet") / "run"
    config = training.BlockNetworkConfig(
        log_dir=folder,
        **{"blocks": (3,), "widths": (4,), "train_examples": 64, "batch_size": 32},
        **{"epochs": 1, "test": False, "validation_fraction": 0.0, "conflicting_samples_size": 0},
    )
    training.train(config)
    return folder


@pytest.fixture
def page_folder(tmp_path, monkeypatch):
    """An empty current folder; what a page's code makes known by a name is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    # A search takes minutes; its own tests make some. Here it is asked for as it has to be.
    architecture = nas.Architecture("resnet", (1, 1), (4, 4), "cifar")
    found = {"architecture": architecture, "reason": "", "results": {"test_accuracy": 0.5}}
    monkeypatch.setattr(nas, "auto_tune", mock.create_autospec(nas.auto_tune, return_value=found))
    yield tmp_path
    registries = [each._classes for each in (routings._ROUTINGS, training.KINDS, nas.RULES)]
    for classes in (*registries, keras.saving.get_custom_objects()):
        for name in [name for name, known in classes.items() if known.__module__ == MODULE]:
            del classes[name]


def run_blocks(page: str, blocks: list[str], names: dict | None = None) -> None:
    """Runs the code of a page from top to bottom, in one namespace."""
    names = {"__name__": MODULE} if names is None else names
    for number, code in enumerate(blocks, start=1):
        where = f"{page}, block {number}"
        if ">>>" not in code:
            exec(compile(code, where, "exec"), names)
            continue
        example = doctest.DocTestParser().get_doctest(code, {}, where, page, 0)
        example.globs = names
        told: list[str] = []
        runner = doctest.DocTestRunner(verbose=False)
        runner.run(example, out=told.append, clear_globs=False)
        assert not runner.failures, "".join(told)


@pytest.mark.parametrize("page", [page for page in PAGES if python_blocks(page)])
def test_code_runs(page, page_folder, request):
    blocks = python_blocks(page)
    for place, fixture in RUNS.items():
        if f'"{place}' in "".join(blocks):
            shutil.copytree(request.getfixturevalue(fixture), page_folder / place)
    (page_folder / "digit.png").write_bytes(digit())
    run_blocks(page, blocks)


@pytest.mark.parametrize("page", TUTORIALS)
def test_tutorial_can_be_followed(page, page_folder):
    """Its code and its commands, from top to bottom in an empty folder."""
    names = {"__name__": MODULE}
    for language, content in BLOCK.findall(text(page)):
        if language == "python":
            run_blocks(page, [content], names)
        elif language == "sh":
            for name, arguments in commands(f"```sh\n{content}```"):
                code, _, errors = runs.finish(forks.start(name, *shlex.split(arguments)))
                assert code == 0, errors


def digit() -> bytes:
    """A PNG file of the size of the data set's images."""
    import tensorflow as tf

    return tf.io.encode_png(tf.zeros((28, 28, 1), tf.uint8)).numpy()


@pytest.mark.parametrize("page", [*PAGES, *TUTORIALS])
def test_commands_parse(page):
    for name, arguments in commands(text(page)):
        try:
            parse(name, arguments)
        except (UsageError, flags.Error) as error:
            pytest.fail(f"bin/{name}{arguments}: {error}")


@pytest.mark.parametrize("page", [*PAGES, *TUTORIALS])
def test_flags_exist(page):
    known = {flag for name in programs.NAMES for flag in programs.defined(name)}
    code = [code for language, code in BLOCK.findall(text(page)) if language != "python"]
    code += INLINE.findall(BLOCK.sub("", text(page)))
    named = {name for part in code for name in re.findall(r"(?:^|[\s`/\[])--([a-z][\w-]*)", part)}
    assert named - known - FOREIGN - {f"no{name}" for name in known} == set()


@pytest.mark.parametrize("page", (*PAGES, *TUTORIALS, "CHANGELOG.md"))
def test_links_lead_to_files(page):
    for target in re.findall(r"\]\(([^)#\s]+)", text(page)):
        if not target.startswith("https://"):
            assert (runs.ROOT / page).parent.joinpath(target).exists(), target


@pytest.mark.parametrize("page", [*PAGES, *TUTORIALS])
def test_named_things_exist(page):
    content = text(page)
    for name in re.findall(r"`((?:tfcaps|nas)(?:\.\w+)+)", content):
        pkgutil.resolve_name(name)
    if page != "docs/adding.md":  # where files are examples
        for path in re.findall(
            r"`((?:tfcaps|nas|tests|benchmarks|docs)/[a-z\d_/]+\.\w+)`", content
        ):
            assert (runs.ROOT / path).exists(), path


def test_tree_is_complete():
    """What is drawn in architecture.md is there, and what a reader looks for is drawn."""
    page = text("docs/architecture.md")
    modules = [*runs.ROOT.glob("tfcaps/*.py"), *runs.ROOT.glob("tfcaps/training/*.py")]
    modules += runs.ROOT.glob("nas/*.py")
    names = {path.name for path in modules}
    assert names - set(re.findall(r"\w+\.py", page)) == set()
    for path in runs.ROOT.glob("tfcaps/*/__init__.py"):
        assert re.search(rf"^      {path.parent.name}/\s", page, re.MULTILINE), path.parent.name
    for path in (runs.ROOT / "bin").iterdir():
        assert f"      {path.name} " in page, path.name
    known = {path.name for folder in ("tfcaps", "nas", "tests") for path in
             (runs.ROOT / folder).rglob("*.py")} | {"setup.py"}  # fmt: skip
    assert set(re.findall(r"\b[a-z]\w+\.py\b", page)) - known == set()


class TestTheseTests:
    """A page with a fault in it is found."""

    @pytest.mark.parametrize(
        "content",
        [
            "    bin/train_capsnet --epochz=3\n",
            "    VARIABLE=1 bin/auto_tune --rule=best\n",
            "```\nbin/explain --log_dir=x\n```\n",
            "```sh\nbin/evaluate --log_dir=x \\\n  --attack=magic   # a comment\n```\n",
            "so `bin/train_network --model=convnet --stem=cifar` is",
            "    bin/train_capsnet --flagfile=configs/sign_experiment/quick.flags\n",
        ],
    )
    def test_wrong_command(self, content):
        ((name, arguments),) = commands(content)
        with pytest.raises((UsageError, flags.Error)):
            parse(name, arguments)

    def test_code_that_fails(self):
        with pytest.raises(NameError):
            run_blocks("page.md", ["a = 1\n", "unknown\n"])
        with pytest.raises(AssertionError, match=r"Expected:\n +3\n"):
            run_blocks("page.md", ["a = 1\n", ">>> a + 1\n3\n"])
        run_blocks("page.md", ["a = 1\n", ">>> a + 1\n2\n>>> b = 5\n", "assert b == 5\n"])
