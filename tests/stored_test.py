"""What an earlier version has written loads for ever: a folder of stored files for each version.

`tests/stored/VERSION/` was written by that version's programs, as their flags.txt say; the scores
in expected.json are what it computed for some test images.
"""

import json
import pathlib
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf

from nas import SearchConfig, search
from tfcaps import datasets, program, training
from tfcaps.errors import UsageError

STORED = sorted(pathlib.Path(__file__).with_name("stored").iterdir())
# keras-tuner uses threading.currentThread.
pytestmark = pytest.mark.filterwarnings("ignore:.*:DeprecationWarning:keras_tuner")


@pytest.fixture(params=STORED, ids=lambda path: path.name)
def stored(request, tmp_path):
    """A copy of one version's files: nothing here may change them."""
    return shutil.copytree(request.param, tmp_path / "stored")


def images_and_scores(stored):
    expected = json.loads((stored / "expected.json").read_text())
    test = datasets.load("mnist5k").test
    return test.images[expected["test_images"]], np.array(expected["scores"])


def test_there_is_one():
    assert [path.name for path in STORED][:1] == ["0.1.0"]


def test_network(stored):
    """By Keras alone; its layers' arguments have had other names since."""
    images, scores = images_and_scores(stored)
    model = keras.models.load_model(stored / "run" / "checkpoints" / "epoch-0001.keras")
    preprocessing = training.RunDirectory(stored / "run").read_description()["preprocessing"]
    inputs, _ = datasets.Preprocessing.from_dict(preprocessing).evaluate(images)
    np.testing.assert_allclose(model.classifier(inputs, training=False), scores, atol=1e-5)


def test_run(stored):
    images, scores = images_and_scores(stored)
    run = training.load_run(stored / "run")
    inputs, _ = run.preprocessing.evaluate(images)
    np.testing.assert_allclose(run.model.classifier(inputs, training=False), scores, atol=1e-5)
    assert (run.epoch, len(run.class_names), run.image_shape) == (1, 10, (28, 28, 1))


def test_run_goes_on(stored, quick):
    """With the flags that it has itself."""
    flags = [f"--flagfile={stored / 'run' / 'flags.txt'}", f"--log_dir={stored / 'run'}"]
    config = program.parse(training.CapsuleNetworkConfig, [*flags, "--resume", "--epochs=2"])
    results = training.train(config)
    assert results["epochs"] == 2
    assert [path.name for path in sorted((stored / "run" / "serving").iterdir())] == ["1", "2"]


def test_saved_model(stored):
    images, scores = images_and_scores(stored)
    served = tf.saved_model.load(stored / "run" / "serving" / "1").signatures["serving_default"]
    np.testing.assert_allclose(served(images=tf.constant(images))["scores"], scores, atol=1e-5)


def test_search_by_a_rule_that_is_not_there_any_more(stored):
    """Its folder and its flag file say what to use."""
    with pytest.raises(UsageError, match=r"Expected another --log_dir, .* with --rule=auto. "):
        search.auto_tune(SearchConfig(log_dir=str(stored / "search"), resume=True))
    flags = [f"--flagfile={stored / 'search' / 'flags.txt'}", f"--log_dir={stored / 'search'}"]
    with pytest.raises(UsageError, match=r"--gain_threshold=0.002: expected --rule=auto"):
        program.parse(SearchConfig, [*flags, "--resume"])
