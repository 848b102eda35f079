"""Each program as a user starts it, on tiny data."""

import json
import re
import runpy
import shutil
import signal
import time

import numpy as np
import pytest
import tensorflow as tf

from nas.configuration import SearchConfig
from nas.search import auto_tune
from tests import forks, runs
from tfcaps import datasets, program, training
from tfcaps.errors import UsageError

# As the first published programs' users have it in their scripts: a boolean's value stands behind
# a space.
PUBLISHED = (
    "--learning_rate 0.0001 --reconstruction_weight 0.00001 --batch_size 128 "
    "--enable_tf_function True --epochs 1 --test True --dataset mnist5k --use_bias False "
    "--use_reconstruction True --routing em --layers 4,4,10 --dimensions 4,4,4 --iterations 2 "
    "--save_ckpts True --make_skips True --skip_dist 2 --model CapsNet"
)


def run(program, *arguments):
    return runs.finish(runs.start(program, *arguments))


def run_forked(program, *arguments):
    """In a quarter of the time, once another test has seen the program's own start."""
    return runs.finish(forks.start(program, *arguments))


def refusal(name, *arguments):
    """What a program says to wrong input that it finds late, with TensorFlow at work.

    In this process: the file is run as it is, and how all programs end is tested with others.
    """
    sentences = []

    def run_here(main, asked):
        with pytest.raises(UsageError) as caught:
            main(program.parse(asked, arguments))
        sentences.append(str(caught.value))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(program, "run", run_here)
        runpy.run_path(str(runs.ROOT / "bin" / name), run_name="__main__")
    (sentence,) = sentences
    assert "\n" not in sentence
    return sentence


def wait_for(path, process):
    """Waits until a running process has written a file."""
    deadline = time.monotonic() + 300
    while not path.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.002)


class TestTrainCapsNet:
    def test_published_command(self, tmp_path):
        code, output, errors = run(
            "train_capsnet",
            *PUBLISHED.split(),
            *("--log_dir", tmp_path / "run", "--train_examples=90"),
        )
        assert (code, errors) == (0, "")
        assert re.search(r"examples/s: [0-9.]+ ", output)
        results = json.loads((tmp_path / "run" / "results.json").read_text())
        assert f"Test accuracy: {results['test_accuracy']:.2%}" in output
        assert f"All of it is in {tmp_path / 'run'}" in output
        config = training.load_run(tmp_path / "run").config
        assert config == training.CapsuleNetworkConfig(
            log_dir=str(tmp_path / "run"),
            routing="em",
            layers=(4, 4, 10),
            dimensions=(4, 4, 4),
            train_examples=90,
            learning_rate=1e-4,
            batch_size=128,
            schedule=config.schedule,
            precision=config.precision,  # as this machine has it
            epochs=1,
            use_bias=False,
            make_skips=True,
            save_ckpts=True,
        )

    @pytest.mark.parametrize(
        ("argument", "sentence"),
        [
            ("--epochs=three", "flag --epochs=three: invalid literal for int()"),
            ("--epochz=3", "Unknown command line flag 'epochz'. Did you mean: epochs ?"),
            ("--use_bias=maybe", "Non-boolean argument to boolean flag"),
            ("stray", "Expected flags only. Received: stray"),
            ("--flagfile=missing.flags", "missing.flags"),
        ],
    )
    def test_flags_that_cannot_be_read(self, tmp_path, argument, sentence):
        code, output, errors = run("train_capsnet", f"--log_dir={tmp_path / 'run'}", argument)
        assert code == 1
        assert sentence in errors
        assert "Traceback" not in errors + output
        assert not (tmp_path / "run").exists()

    def test_wrong_value(self, tmp_path):
        code, output, errors = run(
            "train_capsnet", f"--log_dir={tmp_path / 'run'}", "--routing=dynamic"
        )
        assert code == 1
        assert errors.splitlines()[-1] == (
            "Expected --routing to be one of attention, em, mean, rba, sda. Received: dynamic"
        )
        assert "Traceback" not in errors + output
        assert not (tmp_path / "run").exists()

    def test_help(self):
        code, output, _ = run("train_capsnet", "--help")
        assert code == 1  # absl's choice
        assert "Trains a capsule network" in output
        assert re.search(r"--dimensions: Capsule dimension per layer", output)


class TestTrainNetwork:
    def test_killed_and_stopped_and_resumed(self, quick, tmp_path):
        """The flags come from the uninterrupted run's own flag file."""
        whole, run = tmp_path / "whole", tmp_path / "run"
        # Enough for two processes to be ended in the middle.
        training.train(runs.plain(whole, epochs=8))
        repeat = [f"--flagfile={whole / 'flags.txt'}", f"--log_dir={run}"]
        folder = run / "checkpoints"

        process = forks.start("train_network", *repeat)
        wait_for(folder / "epoch-0001.keras", process)
        process.kill()
        code, _, _ = runs.finish(process)
        assert code == -signal.SIGKILL
        assert not (folder / "epoch-0008.keras").exists()
        done = len((run / "metrics.csv").read_text().splitlines()) - 1

        process = runs.start("train_network", *repeat, "--resume")
        wait_for(folder / f"epoch-{done + 1:04d}.keras", process)
        process.send_signal(signal.SIGINT)
        code, output, errors = runs.finish(process)
        assert code == 130, errors
        assert f"Resuming after epoch {done} of {run}." in output
        assert errors.splitlines()[-1] == "Stopped. What was finished is saved; --resume goes on."
        assert "Traceback" not in errors
        assert not (run / "results.json").exists()

        training.train(runs.plain(run, epochs=8, resume=True))
        final = [training.load_run(folder).model for folder in (run, whole)]
        for one, two in zip(*(model.get_weights() for model in final), strict=True):
            np.testing.assert_array_equal(one, two)
        for one, two in zip(*(model.optimizer.variables for model in final), strict=True):
            np.testing.assert_array_equal(np.asarray(one), np.asarray(two))
        assert self.metrics(run) == self.metrics(whole)
        assert self.steps(run) == set(range(1, 9))
        assert not list(run.rglob(".*"))

    @staticmethod
    def metrics(folder):
        """The rows without their last column, the seconds."""
        lines = (folder / "metrics.csv").read_text().splitlines()
        assert lines[0].endswith(",seconds")
        return [line.rpartition(",")[0] for line in lines]

    @staticmethod
    def steps(folder):
        found = set()
        for path in (folder / "tensorboard" / "train").iterdir():
            for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
                event = tf.compat.v1.Event.FromString(record)
                found |= {event.step for value in event.summary.value if value.tag == "loss"}
        return found

    def test_published_flags(self, tmp_path):
        code, output, errors = run_forked(
            "train_network",
            *("--dataset=mnist5k", f"--log_dir={tmp_path / 'run'}", "--runs=2", "--epochs=1"),
            *("--batch_size=32", "--learning_rate=0.001", "--dtype=float32", "--model=fnn"),
            *("--num_layers=3", "--width_layers=10", "--conflicting_samples_size=20"),
            *("--all_conflict_layers=false", "--train_examples=100"),
        )
        assert code == 0, errors
        results = json.loads((tmp_path / "run" / "results.json").read_text())
        assert f"Test accuracy: {results['test_accuracy']:.2%}" in output
        config = training.load_run(tmp_path / "run" / "run-2").config
        assert (config.blocks, config.widths, config.seed) == ((3,), (10,), 1)
        header = (tmp_path / "run" / "run-1" / "metrics.csv").read_text().splitlines()[0]
        assert "entropy/stage1_block3" in header
        assert "entropy/stage1_block2" not in header

    def test_wrong_value(self, tmp_path):
        code, output, errors = run(
            "train_network", f"--log_dir={tmp_path / 'run'}", "--blocks=0,0,0,0"
        )
        assert code == 1
        assert errors.splitlines()[-1] == (
            "Expected --blocks with at least one block. Received: 0,0,0,0"
        )
        assert "Traceback" not in errors + output
        assert not (tmp_path / "run").exists()


class TestAutoTune:
    def test_a_search_that_is_killed_and_resumed(self, tmp_path):
        folder = tmp_path / "search"
        arguments = [
            *(f"--log_dir={folder}", "--blocks=1,1", "--widths=4,4"),
            *("--train_examples=200", "--validation_fraction=0.2", "--batch_size=16"),
            *("--steps_per_epoch=2", "--check_epochs=1", "--conflicting_samples_size=32"),
            *("--max_trials=1", "--epochs=1", "--final_steps_per_epoch=2"),
            "--isolate_trials=false",
        ]
        process = forks.start("auto_tune", *arguments)
        wait_for(folder / "search" / "trial_0" / "alive", process)
        process.kill()
        code, _, _ = runs.finish(process)
        assert code == -signal.SIGKILL
        with pytest.raises(UsageError, match="or --resume to go on with it"):
            auto_tune(program.parse(SearchConfig, arguments))
        code, output, errors = run_forked("auto_tune", *arguments, "--resume")
        assert (code, errors) == (0, "")
        assert "Resuming after" in output
        results = json.loads((folder / "best" / "results.json").read_text())
        assert f"Test accuracy: {results['test_accuracy']:.2%}" in output
        lines = (folder / "history.csv").read_text().splitlines()
        assert len(lines) == 2
        assert all(",completed," in line for line in lines[1:])
        assert (folder / "serving" / "1" / "saved_model.pb").exists()
        assert "| parameters |" in (folder / "report.md").read_text()

    def test_wrong_value(self, tmp_path):
        code, output, errors = run("auto_tune", f"--log_dir={tmp_path / 'run'}", "--rule=best")
        assert code == 1
        assert errors.splitlines()[-1] == (
            "Expected --rule to be one of first_stage, all_stages, auto. Received: best"
        )
        assert "Traceback" not in errors + output
        assert not (tmp_path / "run").exists()


class TestLesionStudy:
    def test_a_run_that_is_not_residual(self, small_run):
        sentence = refusal("lesion_study", f"--log_dir={small_run}")
        assert sentence.startswith("Expected --log_dir to be the directory of a residual network's")


class TestSignExperiment:
    def test_a_tiny_grid(self, tmp_path):
        """Several processes: experiments/sign_test.py."""
        code, output, errors = run_forked(
            "sign_experiment",
            *(f"--log_dir={tmp_path / 'run'}", "--capsules=4,5", "--dimensions=4", "--runs=1"),
            *("--hidden_layers=1", "--routing=rba", "--epochs=1", "--examples=128"),
            "--workers=1",
        )
        assert (code, errors) == (0, "")
        assert "Part 2/2: " in output
        assert "Networks whose mean accuracy" in output

    def test_wrong_value(self, tmp_path):
        code, output, errors = run(
            "sign_experiment", f"--log_dir={tmp_path / 'run'}", "--capsules=10,x"
        )
        assert code == 1
        assert errors.splitlines()[-1] == (
            "Expected --capsules to be distinct positive integers. Received: 10,x"
        )
        assert "Traceback" not in errors + output


class TestEvaluate:
    def test_a_run(self, full_run, tmp_path):
        code, output, errors = run_forked(
            *("evaluate", f"--log_dir={full_run}", f"--output_dir={tmp_path}"),
            *("--test_examples=100", "--conflicting_samples_size=20"),
        )
        assert code == 0, errors
        stored = json.loads((tmp_path / "evaluation.json").read_text())
        assert re.search(rf"accuracy +{stored['accuracy']:.2%}", output)
        assert re.search(rf"T-score +{stored['t_score']:.4f}", output)
        assert set(stored["bundles"]) == {"primary_capsules", "capsules_1", "capsules_2"}
        names = {path.name for path in (tmp_path / "figures").iterdir()}
        assert names == {
            *("confusion_matrix.png", "class_accuracy.png"),
            *("reliability.png", "reliability_calibrated.png"),
        }

    @pytest.mark.parametrize(
        ("flags", "sentence"),
        [
            (["--attack=fgsm", "--epsilons=-0.1"], "--epsilons to be numbers >= 0.*Received: -0.1"),
            (["--attack=nonsense"], "ones of fgsm, pgd, deepfool.*Received: nonsense"),
            (["--attack=fgsm", "--epsilons=a"], "--epsilons to be numbers.*Received: a"),
        ],
    )
    def test_wrong_value(self, small_run, tmp_path, flags, sentence):
        code, _, errors = run(
            "evaluate", f"--log_dir={small_run}", f"--output_dir={tmp_path}", *flags
        )
        assert code == 1
        assert re.search(sentence, errors.strip().splitlines()[-1])
        assert "Traceback" not in errors

    def test_images_that_are_not_there(self, small_run, tmp_path):
        flags = [f"--log_dir={small_run}", f"--output_dir={tmp_path}"]
        assert "/nowhere" in refusal("evaluate", *flags, "--dataset=images:/nowhere")


class TestActivateCapsule:
    def test_one_capsule(self, small_run, tmp_path):
        folder = shutil.copytree(small_run, tmp_path / "run")
        code, output, errors = run_forked(
            *("activate_capsule", f"--log_dir={folder}", "--layer=capsules_2", "--capsule=7"),
            *("--starts=3", "--best=2", "--steps=4"),
        )
        assert code == 0, errors
        assert "capsules_2: lengths of" in output
        found = {path.suffix for path in (folder / "activation_images").iterdir()}
        assert found == {".png", ".csv", ".npz", ".json"}

    def test_a_capsule_that_does_not_exist(self, small_run):
        flags = [f"--log_dir={small_run}", "--layer=capsules_2", "--capsule=10"]
        assert refusal("activate_capsule", *flags) == (
            "Expected --capsule between 0 and 9, as capsules_2 has 10 capsules. Received: 10"
        )


class TestExplain:
    def test_a_test_image_without_a_decoder(self, small_run, tmp_path):
        folder = shutil.copytree(small_run, tmp_path / "run")
        code, output, errors = run_forked("explain", f"--log_dir={folder}", "--test_image=3")
        assert code == 0, errors
        assert re.search(r"Predicted: \d \(truth: \d\)", output)
        assert "no decoder" in output
        assert list((folder / "explanation").glob("*/routing_tree.png"))

    def test_an_image_of_another_size(self, small_run, tmp_path):
        tf.io.write_file(
            str(tmp_path / "wide.png"), tf.io.encode_png(tf.zeros((28, 40, 1), tf.uint8))
        )
        image = tmp_path / "wide.png"
        sentence = refusal("explain", f"--log_dir={small_run}", f"--image={image}")
        assert sentence.endswith(f"Received: {image}, of 28×40")


class TestDepthExperiment:
    def test_wrong_value(self, tmp_path):
        code, _, errors = run("depth_experiment", f"--log_dir={tmp_path / 'depth'}", "--depths=1,5")
        assert code == 1
        assert errors.strip().splitlines()[-1] == (
            "Expected --depths to be distinct integers >= 2. Received: 1,5"
        )
        assert not (tmp_path / "depth").exists()


class TestAbstractClasses:
    def test_killed_and_resumed(self, tmp_path):
        """At the second of two trainings: what the first one left stays as it is."""
        folder = tmp_path / "abstract"
        arguments = [
            *(f"--log_dir={folder}", "--tasks=svrt_14", "--sizes=20,60", "--seeds=0"),
            *("--image_size=96", "--renderings=outline", "--networks=resnet", "--workers=1"),
            *("--blocks=1", "--widths=2", "--validation_images=20", "--test_images=50"),
            *("--steps=4", "--steps_per_epoch=2", "--batch_size=16"),
        ]
        first, second = (
            folder / "records" / f"svrt_14-resnet-{size}-seed_0.json" for size in (20, 60)
        )
        process = forks.start("abstract_classes", *arguments)
        wait_for(folder / "cells" / "svrt_14-resnet-60-seed_0" / "run.json", process)
        process.kill()
        code, _, _ = runs.finish(process)
        assert code == -signal.SIGKILL
        assert not second.exists()
        before = (first.read_bytes(), first.stat().st_mtime_ns)

        sentence = refusal("abstract_classes", *arguments)
        assert sentence.startswith("Expected --log_dir without an experiment, or --resume to go on")
        code, output, errors = run_forked("abstract_classes", *arguments, "--resume")
        assert (code, errors) == (0, "")
        assert "Training 1/1: svrt_14, resnet, 60 images, seed 0: " in output
        assert (first.read_bytes(), first.stat().st_mtime_ns) == before
        assert f"All of it is in {folder}: report.md" in output
        assert len((folder / "table.csv").read_text().splitlines()) == 3
        assert "| svrt_14 | resnet |" in (folder / "report.md").read_text()


class TestExportModel:
    def test_next_version(self, small_run, tmp_path):
        code, output, errors = run_forked(
            "export_model", f"--log_dir={small_run}", f"--output_dir={tmp_path / 'versions'}"
        )
        assert (code, errors) == (0, "")
        folder = tmp_path / "versions" / "1"
        assert output.splitlines() == [str(folder)]
        images = datasets.load("mnist5k").test.images[:5]
        answers = [
            tf.saved_model.load(path).signatures["serving_default"](images=tf.constant(images))
            for path in (folder, small_run / "serving" / "1")
        ]
        np.testing.assert_allclose(answers[0]["scores"], answers[1]["scores"], atol=1e-6)
        assert answers[0]["label"].numpy().tolist() == answers[1]["label"].numpy().tolist()

    def test_folder_without_a_run(self, tmp_path):
        assert refusal("export_model", f"--log_dir={tmp_path}") == (
            "Expected --log_dir to be the directory of a run. "
            f"Received: {tmp_path}, which has no run.json"
        )

    def test_without_a_folder(self):
        code, _, errors = run("export_model")
        assert code == 1
        assert "Flag --log_dir must have a value other than None." in errors
        assert "Traceback" not in errors


@pytest.mark.parametrize("program", sorted((runs.ROOT / "bin").iterdir()), ids=lambda p: p.name)
def test_every_program_is_executable_and_short(program):
    assert program.stat().st_mode & 0o111 == 0o111
    lines = program.read_text().splitlines()
    assert lines[0] == "#!/usr/bin/env python3"
    assert len(lines) < 80


class TestWrongValues:
    """Of programs whose work has tests of its own: nas/layer_pruning and labeling."""

    @pytest.mark.parametrize(
        ("program", "flags", "words"),
        [
            ("prune_transformer", ["--model=x", "--task=imdb"], "to be one of sst2, cola"),
            ("guided_labeling", ["--images=nowhere", "--classes=cat"], "Expected --classes"),
        ],
    )
    def test_one_sentence(self, program, flags, words):
        code, output, errors = run_forked(program, *flags)
        assert code == 1
        assert words in errors.splitlines()[-1]
        assert "Traceback" not in errors + output


def test_every_program_is_tested():
    text = (runs.ROOT / "tests" / "bin_test.py").read_text()
    names = [path.name for path in (runs.ROOT / "bin").iterdir()]
    assert [name for name in names if f'"{name}"' not in text] == []
