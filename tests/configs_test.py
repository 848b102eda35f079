"""Every flag file is understood by its program, says what it is for, and builds its network."""

import itertools
import pathlib
import re

import keras
import pytest

from nas.configuration import SearchConfig
from nas.layer_pruning import PruningConfig
from nas.rules import RULES
from tfcaps import datasets, program, training
from tfcaps.datasets import abstract_shapes
from tfcaps.experiments import AbstractClassExperiment, SignExperiment
from tfcaps.labeling import SimulationOptions

ROOT = pathlib.Path(__file__).parents[1]
FOLDER = "configs/train_capsnet"
ALL_CONFIGS = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("configs/**/*.flags"))
CONFIGS = [file for file in ALL_CONFIGS if file.startswith(f"{FOLDER}/")]
DATASETS = {
    # name: image shape as stored, classes
    "mnist5k": ((28, 28, 1), 10),
    "mnist": ((28, 28, 1), 10),
    "fashion_mnist": ((28, 28, 1), 10),
    "svhn_cropped": ((32, 32, 3), 10),
    "smallnorb": ((96, 96, 1), 5),
    "cifar10": ((32, 32, 3), 10),
}
PROGRAMS = {
    training.CapsuleNetworkConfig: "train_capsnet",
    SearchConfig: "auto_tune",
    PruningConfig: "prune_transformer",
    SignExperiment: "sign_experiment",
    AbstractClassExperiment: "abstract_classes",
    SimulationOptions: "guided_labeling",
}


def read_configs(config_class) -> dict:
    """The configuration that each flag file of a program stands for."""
    files = [file for file in ALL_CONFIGS if file.startswith(f"configs/{PROGRAMS[config_class]}/")]
    return {file: program.parse(config_class, [f"--flagfile={ROOT / file}"]) for file in files}


@pytest.fixture(scope="module")
def configs() -> dict[str, training.CapsuleNetworkConfig]:
    return read_configs(training.CapsuleNetworkConfig)


@pytest.mark.parametrize("file", ALL_CONFIGS)
def test_opening_comment_says_what_the_file_is_for(file):
    comment, flags = (ROOT / file).read_text().split("\n\n")
    assert all(line.startswith("# ") for line in comment.splitlines())
    assert all(line.startswith("--") for line in flags.splitlines())
    assert "# Shows: " in comment
    assert re.search(r"# Expected(, by the paper)?: ", comment)
    assert f"bin/{file.split('/')[1]} --flagfile={file}" in comment


@pytest.mark.parametrize("file", ALL_CONFIGS)
def test_files_named_in_a_file_exist(file):
    for name in re.findall(r"[\w/]+\.flags", (ROOT / file).read_text()):
        assert (ROOT / name).exists() or (ROOT / file).with_name(name).exists(), name


def test_depth_experiment_is_complete(configs):
    found = [
        (c.dataset, c.routing, c.layers, c.dimensions, c.use_bias, c.make_skips)
        for file, c in configs.items()
        if file.startswith(f"{FOLDER}/limitation/")
    ]
    depths = [("em", 10, depth) for depth in (5, 6, 7, 8, 9)]
    depths += [("rba", 12, depth) for depth in (2, 3, 4, 5)]
    expected = [
        (
            dataset,
            routing,
            (32, *[16] * (depth - 2), 10),
            (8, *[dimension] * (depth - 2), 16),
            use_bias,
            False,
        )
        for dataset, (routing, dimension, depth), use_bias in itertools.product(
            ("mnist", "fashion_mnist"), depths, (True, False)
        )
    ]
    assert sorted(found) == sorted(expected)


def test_residual_experiment_is_complete(configs):
    found = [
        (c.dataset, c.routing, c.make_skips)
        for file, c in configs.items()
        if file.startswith(f"{FOLDER}/residual/") and len(c.layers) == 16 and c.use_bias
    ]
    expected = itertools.product(
        ("mnist", "fashion_mnist", "svhn_cropped", "smallnorb", "cifar10"),
        ("rba", "em", "sda"),
        (True, False),
    )
    assert sorted(found) == sorted(expected)


def test_convolutional_networks_cover_the_data_sets(configs):
    found = {
        c.dataset: c.model for file, c in configs.items() if f"{FOLDER}/convolutional/" in file
    }
    assert found == dict.fromkeys(DATASETS.keys() - {"mnist5k"}, "ConvCapsNet")


def test_experiments_train_as_in_the_papers(configs):
    for file, c in configs.items():
        if c.recipe == "fast":  # which isn't a paper's
            continue
        is_demo = file == f"{FOLDER}/demo.flags"
        assert c.kernel_initializer == ("length_preserving" if is_demo else "published"), file
        if file.startswith(f"{FOLDER}/gamma_"):
            assert (c.learning_rate, c.batch_size, c.epochs) == (1e-3, 32, 10), file
            assert (c.reconstruction_weight, c.iterations) == (5e-4, 3), file
            assert (c.epsilon, c.attack_step_size, c.attack_steps) == (0.1, 0.01, 40), file
            # Attacks need pixels in [0, 1].
            assert c.augmentation == "none", file
            is_baseline = file.endswith("_baseline.flags")
            assert (c.routing, c.robust) == (("rba", False) if is_baseline else ("sda", True)), file
        elif "/efficient/" in file:
            assert (c.model, c.routing, c.use_prior) == ("EfficientCapsNet", "attention", True), (
                file
            )
            assert (c.layers, c.dimensions, c.use_bias) == ((16, 10), (8, 16), False), file
            assert (c.augmentation, c.mask) == ("efficient", "label"), file
        elif not is_demo:
            assert (c.learning_rate, c.batch_size, c.epochs) == (1e-4, 128, 30), file
            assert (c.reconstruction_weight, c.iterations) == (1e-5, 2), file
            assert (c.augmentation, c.use_reconstruction, c.mask) == ("paper", True, "none"), file


def test_the_fast_recipe(configs):
    """Nothing but what the recipe and the network have, and how long."""
    (fast,) = (c for c in configs.values() if c.recipe == "fast")
    assert (fast.model, fast.dataset, fast.widths) == ("CapsHead", "cifar10", (64, 128, 256, 512))
    own = {"schedule", "learning_rate", "augmentation", "batch_size", "widths", "layers"}
    assert own <= set(fast.own)


def test_demo_needs_no_download_and_uses_em_routing(configs):
    demo = configs[f"{FOLDER}/demo.flags"]
    assert (demo.dataset, demo.routing) == ("mnist5k", "em")


def parts_of(config, shape, classes) -> set[tuple]:
    """What can go wrong in a network by itself, whatever the rest of it is."""
    sizes = (config.model, config.layers, config.dimensions)
    return {
        # Capsules are routed layer by layer, and the first ones are those of the image.
        ("routing", config.routing, *sizes),
        ("image", shape, classes, config.model, config.layers[0], config.dimensions[0]),
        # A bias is added to whatever a routing gives; a skip needs layers of equal sizes.
        ("bias", config.routing, config.model, config.use_bias),
        ("skips", *sizes, config.make_skips, config.skip_dist),
        ("decoder", shape, config.layers[-1], config.dimensions[-1], config.mask),
    }


def test_every_file_builds_its_network(configs):
    """Networks all parts of which are in others are not built: that takes seconds each."""
    built = set()
    for file, config in configs.items():
        image_shape, classes = DATASETS[config.dataset]
        assert config.layers[-1] == classes, file
        shape = datasets.preprocessing(config.dataset, config.augmentation).output_shape(
            image_shape
        )
        parts = parts_of(config, shape, classes)
        if parts <= built:
            continue
        built |= parts
        keras.backend.clear_session()
        model = config.task().network(shape, classes)
        assert model.classifier.output_shape == (None, classes)
        assert (model.decoder is not None) == config.use_reconstruction
        if config.use_reconstruction:
            assert model.decoder.output_shape == (None, *shape)
        assert len(model.inspector.output["capsules"]) == len(config.layers)


def test_every_program_with_flag_files_is_tested():
    assert {file.split("/")[1] for file in ALL_CONFIGS} == set(PROGRAMS.values())


def test_simulations_compare_the_default_with_random():
    configs = read_configs(SimulationOptions)
    for config in configs.values():
        assert config.simulate and {"random", "guided"} <= set(config.strategies)
    assert {
        (config.dataset, config.network, config.pool_size, config.runs)
        for config in configs.values()
    } == {
        ("mnist", "svm", 10_000, 5),
        ("fashion_mnist", "svm", 10_000, 5),
        ("cifar10", "resnet", 4_000, 1),
    }


def test_searches():
    """Each rule has a file, and the published ones begin with the published network."""
    searches = read_configs(SearchConfig)
    assert {config.rule for config in searches.values()} == set(RULES.names())
    for file, config in searches.items():
        image_shape, classes = DATASETS[config.dataset]
        if config.start.num_layers < 120:  # which takes seconds to build
            model = config.start.build(image_shape, classes)
            assert model.output_shape == (None, classes), file
        if file.endswith(("all_stages_cifar10.flags", "first_stage_cifar10.flags")):
            assert (config.start.kind, config.start.counts) == ("vgg", (3, 12, 41, 3))
            assert (config.check_epochs, config.epochs, config.batch_size) == (10, 120, 64)


def test_abstract_classes():
    """All problems; eight of them with other networks; every family shown to every other one."""
    networks, orientation, problems = (
        config for _, config in sorted(read_configs(AbstractClassExperiment).items())
    )
    numbered = [f"svrt_{number}" for number in range(1, 24)]
    assert list(problems.tasks) == numbered and len(problems.sizes) == 3
    assert set(networks.tasks) < set(numbered) and len(networks.tasks) == 8
    assert (problems.networks, networks.networks) == (("resnet",), ("lenet", "CapsNet"))
    families = {name for name in abstract_shapes.names() if name.startswith("orientation")}
    assert set(orientation.tasks) == set(orientation.transfer) == families
    # What both are compared by.
    for name in ("image_size", "steps", "batch_size", "seeds", "test_images"):
        assert getattr(problems, name) == getattr(networks, name), name


def test_sign_experiments():
    """The quick one has the published grid, and the published one the published training."""
    quick, published = (
        read_configs(SignExperiment)[f"configs/sign_experiment/{name}.flags"]
        for name in ("quick", "published")
    )
    assert len(published.parts()) == 2 * 5 * 5 and published.parts() == quick.parts()
    assert published.use_bias == quick.use_bias == (True, False)
    assert published.hidden_layers == quick.hidden_layers == (1, 2, 3, 4)
    protocol = (published.runs, published.epochs, published.learning_rate, published.batch_size)
    assert protocol == (3, 50, 1e-4, 64)
