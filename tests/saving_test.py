"""A saved network is loaded by whoever has imported tfcaps and Keras, and nothing else."""

import json

import keras
import numpy as np
import pytest

from tests import runs
from tfcaps import losses, models, optimizers

IMAGE = (17, 17, 1)
# Loads a network and writes what it gives, and what Keras knew before and after all was imported.
LOADING = """
import importlib, json, pathlib, sys
import {imports}
import numpy as np

folder = pathlib.Path(sys.argv[1])
offered = set(keras.saving.get_custom_objects())
early = [name for name in sys.modules if name.startswith("tfcaps.")]
model = keras.models.load_model(folder / "model.keras")
images = np.load(folder / "images.npy")
lengths = keras.ops.convert_to_numpy(model(images)["lengths"])
for name in sys.argv[2:]:
    importlib.import_module(name)
known = {{
    name: value.__name__
    for name, value in keras.saving.get_custom_objects().items()
    if isinstance(value, type) and name.startswith("tfcaps>")
}}
print(json.dumps([sorted(offered), early, lengths.tolist(), type(model.optimizer).__name__, known]))
"""


def every_module() -> list[str]:
    paths = [path for folder in ("tfcaps", "nas") for path in (runs.ROOT / folder).rglob("*.py")]
    return [
        ".".join(path.relative_to(runs.ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in sorted(paths)
    ]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """The folder of a network with all kinds of our classes in it, and its output."""
    model = models.CapsNet(IMAGE, layers=(2, 3), dimensions=(4, 5), routing="em")
    model.compile(
        optimizers.Lookahead(optimizers.RectifiedAdam(0.001)), {"lengths": losses.MarginLoss()}
    )
    model.optimizer.build(model.trainable_variables)  # as the first step does
    folder = tmp_path_factory.mktemp("saved")
    model.save(folder / "model.keras")
    images = np.random.default_rng(0).uniform(size=(2, *IMAGE)).astype("float32")
    np.save(folder / "images.npy", images)
    return folder, keras.ops.convert_to_numpy(model(images)["lengths"])


@pytest.mark.parametrize("imports", ["tfcaps, keras", "keras, tfcaps"])
def test_loads_in_another_process(imports, saved):
    folder, expected = saved
    loading = LOADING.format(imports=imports)
    code, output, errors = runs.finish(runs.start_code(loading, folder, *every_module()))
    assert code == 0, errors
    offered, early, lengths, optimizer, known = json.loads(output.splitlines()[-1])
    np.testing.assert_allclose(lengths, expected, rtol=1e-5)
    assert optimizer == "Lookahead"
    # Each class that any module registers was known before one of them was imported ...
    assert {"tfcaps>CapsNet", "tfcaps>EMRouting", "tfcaps>Lookahead"} <= set(known) <= set(offered)
    # ... and by its own name, with which the stand-in finds it.
    assert all(name == f"tfcaps>{value}" for name, value in known.items())
    assert not {"tfcaps.layers.dense_capsule", "tfcaps.routing.em"} & set(early)
    # Only classes and activations are offered: nothing else stands in a saved network.
    others = {name for name in offered if not name.removeprefix("tfcaps>")[0].isupper()}
    assert others == {"tfcaps>squash", "tfcaps>exponential_squash"}
