"""What a training may be asked to do, and how that is written down and read back."""

import dataclasses
import json
import math

import pytest
from absl import flags

from tests import runs
from tfcaps import models
from tfcaps.errors import UsageError
from tfcaps.options import fields
from tfcaps.training import BlockNetworkConfig, CapsuleNetworkConfig

# Every field with another value than its default.
OTHER = {
    "log_dir": "elsewhere",
    "dataset": "images:my pictures",
    "data_dir": "data sets",
    "image_size": 40,
    "augmentation": "none",
    "train_examples": 17,
    "validation_fraction": 0.25,
    "recipe": "fast",
    "model": "CapsHead",
    "blocks": (2, 1),
    "width_layers": 12,
    "widths": (4, 6),
    "stem": "cifar",
    "routing": "sda",
    "iterations": 5,
    "scale": "batch",
    "em_cost": "published",
    "inverse_temperature": 0.02,
    "inverse_temperature_decay": 0.0,
    "use_prior": True,
    "layers": (3, 4, 5, 6),
    "dimensions": (7, 8, 9, 10),
    "use_bias": False,
    "make_skips": True,
    "skip_dist": 3,
    "skip_kind": "published",
    "use_reconstruction": False,
    "reconstruction_weight": 3e-07,
    "mask": "label",
    "kernel_initializer": "published",
    "robust": True,
    "epsilon": 0.3,
    "attack_step_size": 0.02,
    "attack_steps": 9,
    "learning_rate": 1.5e-05,
    "learning_rate_decay": 0.9,
    "schedule": "exponential",
    "warmup_epochs": 0.5,
    "class_weights": "balanced",
    "patience": 2,
    "batch_size": 6,
    "epochs": 7,
    "steps_per_epoch": 4,
    "seed": 8,
    "precision": "mixed_bfloat16",
    "jit": "off",
    "enable_tf_function": False,
    "conflicting_samples_size": 11,
    "all_conflict_layers": False,
    "save_ckpts": True,
    "test": False,
    "resume": True,
}
FREE_ON_RESUME = {"epochs", "patience", "log_dir", "data_dir", "resume", "save_ckpts", "test"}


def test_every_field_is_tested():
    default = CapsuleNetworkConfig(log_dir="runs/mine").to_dict()
    other = CapsuleNetworkConfig(**OTHER).to_dict()
    assert default.keys() == OTHER.keys()
    assert [name for name in OTHER if default[name] == other[name]] == []


def test_json_and_back():
    config = CapsuleNetworkConfig(**OTHER)
    assert CapsuleNetworkConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_sizes_may_be_text_as_flags_give_it():
    config = CapsuleNetworkConfig(log_dir="x", layers=["32", " 10"], dimensions=["8", "16"])
    assert (config.layers, config.dimensions) == ((32, 10), (8, 16))


def test_flag_file_gives_the_same_values(tmp_path):
    config = CapsuleNetworkConfig(**OTHER)
    (tmp_path / "flags.txt").write_text(config.flag_lines())
    values = flags.FlagValues()
    kinds = {str: flags.DEFINE_string, bool: flags.DEFINE_bool, int: flags.DEFINE_integer}
    kinds |= {float: flags.DEFINE_float, tuple: flags.DEFINE_list}
    for name, value in OTHER.items():
        kinds[type(value)](name, None, "", flag_values=values)

    left_over = values(["program", f"--flagfile={tmp_path / 'flags.txt'}"])

    assert left_over == ["program"]
    read = {name: values[name].value for name in OTHER}
    # A repeated run gets a directory of its own.
    assert read["log_dir"] is None
    assert read["resume"] is None
    assert CapsuleNetworkConfig(**{**read, "log_dir": "elsewhere", "resume": True}) == config


def test_flag_file_has_no_flags_without_value():
    lines = CapsuleNetworkConfig(log_dir="x").flag_lines().splitlines()
    assert not [line for line in lines if line.startswith(("--data_dir", "--image_size"))]
    assert "--layers=32,32,10" in lines
    assert "--use_bias=true" in lines


@pytest.mark.parametrize("name", sorted(OTHER.keys() - {"schedule", "recipe"}))
def test_which_flags_may_change_on_resume(name):
    earlier = CapsuleNetworkConfig(
        log_dir="runs/mine",
        routing="em",
        em_cost="published" if name.startswith("inverse") else None,
        layers=(9, 9, 9, 9, 10),
        dimensions=(8, 8, 8, 8, 16),
        schedule="exponential",  # to which no number of epochs belongs
        make_skips=name == "skip_kind",
    )
    changes = {name: OTHER[name]}
    if name == "model":  # whose trunk comes with it: see TestNetworksOwn
        changes[name] = "ConvCapsNet"
    if name in ("blocks", "width_layers", "widths", "stem"):
        earlier = dataclasses.replace(earlier, model="CapsHead", blocks=(1, 1), widths=(8, 16))
    if name in ("layers", "dimensions"):
        changes[name] = (2, 2, 2, 2, 2)
    later = dataclasses.replace(earlier, **changes)
    before = earlier.settled()
    # Skips come with their kind, which nobody has to compare with anything.
    changed = [
        known for known, value in later.settled().items() if value != before.get(known, value)
    ]
    expected = [name]
    if name == "em_cost":  # whose schedule comes with it
        expected += ["inverse_temperature", "inverse_temperature_decay"]
    assert changed == ([] if name in FREE_ON_RESUME else expected)


# What the defaults were.
OLD = {
    "learning_rate": 1e-4,
    "batch_size": 128,
    "epochs": 30,
    "schedule": "exponential",
    "precision": "float32",
}


class TestDefaults:
    """Of the training, which a run that was begun with others keeps."""

    def values(self, config):
        return {name: getattr(config, name) for name in OLD}

    def test_new(self):
        assert self.values(CapsuleNetworkConfig(log_dir="x")) == {
            "learning_rate": 1e-3,
            "batch_size": 32,
            "epochs": 16,
            "schedule": "cosine",
            "precision": "auto",
        }

    def test_a_decay_asks_for_its_schedule(self):
        assert CapsuleNetworkConfig(log_dir="x", learning_rate_decay=0.9).schedule == "exponential"

    def test_of_a_run_that_was_begun(self):
        earlier = CapsuleNetworkConfig(log_dir="x", **OLD)
        assert self.values(CapsuleNetworkConfig(log_dir="x").as_begun(earlier)) == OLD
        asked = {"epochs": 40, "learning_rate": 0.5}
        later = CapsuleNetworkConfig(log_dir="x", **asked).as_begun(earlier)
        assert self.values(later) == OLD | asked

    def test_of_a_run_before_there_were_schedules(self):
        description = CapsuleNetworkConfig(log_dir="x", **OLD).to_description()
        del description["schedule"]
        earlier = CapsuleNetworkConfig.from_description(description)
        assert self.values(CapsuleNetworkConfig(log_dir="x").as_begun(earlier)) == OLD


def test_what_is_of_em_alone_does_not_stop_another_routings_run():
    """Flag files had a schedule whatever the routing was."""
    plain, earlier = (
        CapsuleNetworkConfig(log_dir="x", inverse_temperature=value) for value in (None, 0.001)
    )
    assert plain.settled() == earlier.settled()
    assert "em_cost" in CapsuleNetworkConfig(log_dir="x", routing="em").settled()


class TestNetworksOwn:
    """What wasn't asked for is as the network has it."""

    # Efficient-CapsNet: the paper's sizes.
    SIZES = ("layers", "dimensions", "routing", "use_prior", "use_bias")
    EFFICIENT = ((16, 10), (8, 16), "attention", True, False)
    HEAD = ((32, 10), (8, 16), "rba", False, True)
    CAPSNET = ((32, 32, 10), (8, 8, 16), "rba", False, True)

    def of(self, config):
        return tuple(getattr(config, name) for name in self.SIZES)

    @pytest.mark.parametrize(
        ("model", "expected"),
        [
            ("CapsNet", CAPSNET),
            ("ConvCapsNet", CAPSNET),
            ("EfficientCapsNet", EFFICIENT),
            ("CapsHead", HEAD),
        ],
    )
    def test_without_anything_else(self, model, expected):
        config = CapsuleNetworkConfig(log_dir="x", model=model)
        assert self.of(config) == expected
        assert self.of(CapsuleNetworkConfig.from_dict(config.to_dict())) == expected

    def test_every_network_can_be_asked_for(self):
        public = {
            name
            for name in models.__all__
            if isinstance(cls := getattr(models, name), type)
            and issubclass(cls, models.CapsuleNetwork)
        } - {"CapsuleNetwork"}
        assert set(fields(CapsuleNetworkConfig)["model"].metadata["option"].allowed()) == public

    def test_the_published_number_of_weights(self):
        config = CapsuleNetworkConfig(
            log_dir="x", model="EfficientCapsNet", use_reconstruction=False
        )
        model = config.task().network((28, 28, 1), 10)
        assert sum(math.prod(weight.shape) for weight in model.trainable_weights) == 161_824

    def test_what_is_asked_for_stays(self):
        config = CapsuleNetworkConfig(
            log_dir="x", model="EfficientCapsNet", routing="rba", use_bias=True, layers=(4, 10)
        )
        assert self.of(config) == ((4, 10), (8, 16), "rba", True, True)
        with pytest.raises(UsageError, match="Received: 3 in --layers=4,4,10 and 2 in --dim"):
            dataclasses.replace(config, layers=(4, 4, 10))

    def test_the_last_layer_follows_the_data_unless_it_is_asked_for(self):
        config = CapsuleNetworkConfig(log_dir="x", use_reconstruction=False)
        copy = dataclasses.replace(config, log_dir="y", seed=3)
        assert copy.with_classes(3).layers == (32, 32, 3)
        assert copy.task().network((17, 17, 1), 3).classifier.output_shape == (None, 3)
        given = CapsuleNetworkConfig(log_dir="x", layers=(32, 32, 10))
        assert given.with_classes(3).layers == (32, 32, 10)
        with pytest.raises(UsageError, match=r"last entry of --layers to be 3, .* Received: 10"):
            given.task().network((17, 17, 1), 3)

    def test_a_copy_with_another_network_has_that_ones(self):
        config = CapsuleNetworkConfig(log_dir="x", routing="em")
        copy = dataclasses.replace(config, model="EfficientCapsNet")
        assert self.of(copy) == ((16, 10), (8, 16), "em", True, False)

    def test_an_earlier_run_is_gone_on_with_as_it_was(self):
        """Before networks had their own, all had those of CapsNet."""
        earlier = CapsuleNetworkConfig(
            log_dir="x",
            model="EfficientCapsNet",
            **dict(zip(self.SIZES, self.CAPSNET, strict=True)),
        )
        asked = CapsuleNetworkConfig(log_dir="x", model="EfficientCapsNet", use_bias=False)
        assert self.of(asked.as_begun(earlier)) == (*self.CAPSNET[:-1], False)


def test_a_schedule_asks_for_the_published_cost():
    """As it did in flag files that were written before there was another one."""

    def of(**changes):
        config = CapsuleNetworkConfig(log_dir="x", routing="em", **changes)
        return config.em_cost, config.inverse_temperature, config.inverse_temperature_decay

    assert of() == ("relative", None, None)
    assert of(em_cost="published") == ("published", 0.001, 0.95)
    assert of(inverse_temperature=0.01) == ("published", 0.01, 0.95)
    with pytest.raises(UsageError, match="--inverse_temperature_decay with --em_cost=published"):
        of(em_cost="relative", inverse_temperature_decay=0.5)


@pytest.mark.parametrize(
    ("routing", "expected"),
    [
        ("rba", {"name": "rba", "iterations": 3}),
        ("mean", {"name": "mean", "iterations": 3}),
        ("sda", {"name": "sda", "iterations": 3, "scale": "batch"}),
        ("attention", {"name": "attention", "iterations": 3, "use_prior": True}),
        (
            "em",
            {
                "name": "em",
                "iterations": 3,
                "cost": "published",
                "inverse_temperature": 0.5,
                "inverse_temperature_decay": 0.25,
            },
        ),
    ],
)
def test_routing_gets_its_own_arguments(routing, expected):
    config = CapsuleNetworkConfig(
        log_dir="x",
        routing=routing,
        iterations=3,
        scale="batch",
        em_cost="published",
        inverse_temperature=0.5,
        inverse_temperature_decay=0.25,
        use_prior=True,
    )
    assert config.routing_config() == expected


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("model", "CapsuleNet", "one of CapsHead, CapsNet, ConvCapsNet"),
        ("model", "capsnet", "one of CapsHead, CapsNet, ConvCapsNet"),
        ("recipe", "slow", "one of paper, fast"),
        ("stem", "big", "one of imagenet, cifar, pooled"),
        ("routing", "dynamic", "one of attention, em, mean, rba, sda"),
        ("mask", "longest", "one of none, label"),
        ("precision", "float16", "one of float32, mixed_bfloat16, mixed_float16"),
        ("jit", "yes", "one of auto, on, off"),
        ("augmentation", "strong", "one of paper, fast, efficient, none"),
        ("scale", "epoch", "one of sample, batch"),
        ("batch_size", 0, ">= 1"),
        ("epochs", 0, ">= 1"),
        ("iterations", 0, ">= 1"),
        ("skip_dist", 0, ">= 1"),
        ("learning_rate", -0.1, "> 0"),
        ("learning_rate", 0.0, "> 0"),
        ("learning_rate", float("nan"), "> 0"),
        ("learning_rate", float("inf"), "> 0"),
        ("learning_rate_decay", 0.0, "in (0, 1]"),
        ("learning_rate_decay", 1.1, "in (0, 1]"),
        ("epsilon", -0.1, ">= 0"),
        ("attack_step_size", 0.0, "> 0"),
        ("attack_steps", 0, ">= 1"),
        ("inverse_temperature", 0.0, "> 0"),
        ("inverse_temperature_decay", 1.0, "in [0, 1)"),
        ("reconstruction_weight", -1e-9, ">= 0"),
        ("reconstruction_weight", float("nan"), ">= 0"),
        ("train_examples", -1, ">= 0"),
        ("steps_per_epoch", -1, ">= 0"),
        ("conflicting_samples_size", -1, ">= 0"),
        ("seed", -1, ">= 0"),
        ("validation_fraction", 1.0, "in [0, 1)"),
        ("validation_fraction", -0.1, "in [0, 1)"),
    ],
)
def test_wrong_value(name, value, allowed):
    with pytest.raises(UsageError) as caught:
        runs.config("x", **{name: value})
    message = str(caught.value)
    assert f"--{name}" in message
    assert allowed in message
    assert message.endswith(f"Received: {value}")


@pytest.mark.parametrize("name", ["layers", "dimensions"])
@pytest.mark.parametrize("text", ["0,32,10", "32,-1,10", "32,x,10", "32,,10", "1.5,2,10", "10", ""])
def test_wrong_sizes(name, text):
    with pytest.raises(UsageError) as caught:
        runs.config("x", **{name: text.split(",")})
    assert str(caught.value) == (
        f"Expected --{name} to be two or more positive integers, such as 32,32,10. Received: {text}"
    )


def test_layers_and_dimensions_of_different_length():
    with pytest.raises(UsageError) as caught:
        runs.config("x", layers=(4, 4, 10), dimensions=(4, 8))
    assert str(caught.value).endswith("3 in --layers=4,4,10 and 2 in --dimensions=4,8")


class TestFastRecipe:
    """That of block networks, with the optimizer and the numbers of its page."""

    def config(self, **changes):
        return CapsuleNetworkConfig(log_dir="x", recipe="fast", **{"model": "CapsHead", **changes})

    def test_what_is_not_given(self):
        found = self.config()
        assert (found.batch_size, found.epochs) == (256, 20)
        assert found.learning_rate == pytest.approx(0.6)
        assert (found.schedule, found.precision, found.augmentation) == (
            "one_cycle",
            "auto",
            "fast",
        )

    def test_is_that_of_block_networks(self):
        """Whatever both have as an option."""
        block = BlockNetworkConfig(log_dir="x", recipe="fast", blocks=(1, 1, 1, 1))
        capsules = self.config()
        shared = fields(block).keys() & fields(capsules).keys() - {"model"}
        shared -= {"width_layers", "conflicting_samples_size", "learning_rate"}
        assert {name: getattr(block, name) for name in shared} == {
            name: getattr(capsules, name) for name in shared
        }
        same = dataclasses.replace(capsules, learning_rate=block.learning_rate)
        one, other = (config.task()._optimizer() for config in (block, same))
        assert type(one) is type(other)
        assert one.get_config() == {**other.get_config(), "name": one.name}

    def test_optimizer(self):
        made = self.config(learning_rate=0.25).task()._optimizer()
        optimizer = made.get_config()
        assert (type(made).__name__, optimizer["learning_rate"]) == ("SGD", 0.25)
        assert (optimizer["momentum"], optimizer["nesterov"]) == (0.9, True)

    @pytest.mark.parametrize(("batch_size", "rate"), [(128, 0.3), (512, 1.2)])
    def test_rate_grows_with_the_batch(self, batch_size, rate):
        assert self.config(batch_size=batch_size).learning_rate == pytest.approx(rate)
        copy = dataclasses.replace(self.config(), batch_size=batch_size)
        assert copy.learning_rate == pytest.approx(rate)
        assert dataclasses.replace(copy, recipe="paper").learning_rate == 1e-3

    def test_what_is_given_stays(self):
        asked = {"learning_rate": 0.05, "augmentation": "none", "epochs": 3, "schedule": "cosine"}
        found = self.config(**asked)
        assert {name: getattr(found, name) for name in asked} == asked
        assert CapsuleNetworkConfig.from_dict(json.loads(json.dumps(found.to_dict()))) == found

    def test_another_recipe_is_no_resumed_run(self):
        later = dataclasses.replace(self.config(), recipe="paper")
        assert later.settled()["recipe"] != self.config().settled()["recipe"]

    def test_a_resumed_run_keeps_its_numbers(self):
        earlier = self.config(batch_size=64, epochs=4)
        assert self.config().as_begun(earlier) == earlier

    @pytest.mark.parametrize(
        ("changes", "sentence"),
        [
            ({"learning_rate_decay": 0.9}, "--schedule=exponential only, not with --schedule=one"),
            ({"batch_size": 0}, "--batch_size >= 1. Received: 0"),
        ],
        ids=str,
    )
    def test_wrong(self, changes, sentence):
        with pytest.raises(UsageError) as caught:
            self.config(**changes)
        assert sentence in str(caught.value)

    def test_attacks_need_pixels(self):
        config = self.config(robust=True, dataset="cifar10")
        with pytest.raises(UsageError, match=r"--augmentation=none with --robust.*=fast$"):
            config.task().load()


class TestTrunk:
    """What only a network on a residual trunk has."""

    def config(self, **changes):
        return CapsuleNetworkConfig(log_dir="x", model="CapsHead", **changes)

    def test_sizes(self):
        assert self.config().widths == (64, 128, 256, 512)
        assert self.config(width_layers=16).widths == (16, 32, 64, 128)
        assert self.config(blocks=["2", "1"], width_layers=4).widths == (4, 8)
        assert self.config(blocks=(1, 1), widths=(4, 5)).widths == (4, 5)
        assert dataclasses.replace(self.config(), width_layers=8).widths == (8, 16, 32, 64)

    def test_network(self):
        config = self.config(blocks=(1, 2), widths=(4, 5), stem="cifar", layers=(3, 10))
        model = config.task().network((8, 8, 3), 10)
        assert (model.blocks, model.widths, model.stem) == (((1,), (1, 2)), (4, 5), "cifar")
        assert model.get_layer("stage2_block2").output.shape == (None, 4, 4, 5)

    def test_other_networks_have_none(self):
        config = CapsuleNetworkConfig(log_dir="x")
        assert (config.blocks, config.widths, config.stem) == (None, None, None)
        assert "--blocks" not in config.flag_lines()
        assert dataclasses.replace(self.config(), model="CapsNet") == config

    @pytest.mark.parametrize(
        ("changes", "sentence"),
        [
            (
                {"model": "CapsNet", "blocks": (1, 1)},
                "Expected --blocks with --model=CapsHead only, not with --model=CapsNet. "
                "Received: 1,1",
            ),
            ({"model": "CapsNet", "widths": (8, 8)}, "Expected --widths with --model=CapsHead"),
            ({"model": "CapsNet", "width_layers": 8}, "Expected --width_layers with --model=Caps"),
            ({"model": "ConvCapsNet", "stem": "cifar"}, "Expected --stem with --model=CapsHead"),
            ({"widths": (8, 8)}, "as many entries in --widths as in --blocks=1,1,1,1"),
            ({"blocks": (0, 0)}, "--blocks with at least one block. Received: 0,0"),
            ({"blocks": (1, -1)}, "--blocks to be integers >= 0"),
            ({"width_layers": -1}, "--width_layers >= 0. Received: -1"),
        ],
        ids=str,
    )
    def test_wrong(self, changes, sentence):
        with pytest.raises(UsageError) as caught:
            CapsuleNetworkConfig(log_dir="x", **{"model": "CapsHead", **changes})
        assert sentence in str(caught.value)
