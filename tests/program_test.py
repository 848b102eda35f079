"""From flags to options: what programs share."""

import subprocess
import sys

import numpy as np
import pytest
from absl import flags

import nas
from nas import layer_pruning
from tests import forks, runs
from tfcaps import (
    datasets,
    evaluation,
    experiments,
    explanation,
    labeling,
    program,
    routing,
    training,
)
from tfcaps.errors import UsageError
from tfcaps.options import fields, of

NETWORKS = program.OneOf("model", (training.BlockNetworkConfig, training.ImageClassifierConfig))
# What each program asks for; a new program has to be here.
ASKED = {
    "abstract_classes": experiments.AbstractClassExperiment,
    "activate_capsule": explanation.ActivationOptions,
    "auto_tune": nas.SearchConfig,
    "depth_experiment": experiments.DepthExperiment,
    "evaluate": evaluation.EvaluationOptions,
    "explain": explanation.ExplanationOptions,
    "export_model": training.ExportOptions,
    "guided_labeling": labeling.LabelingOptions,
    "lesion_study": evaluation.LesionOptions,
    "prune_transformer": layer_pruning.PruningConfig,
    "sign_experiment": experiments.SignExperiment,
    "train_capsnet": training.CapsuleNetworkConfig,
    "train_network": NETWORKS,
}
# One wrong value of each, and what is said of it.
WRONG = {
    "abstract_classes": ("--sizes=0,20", "Expected --sizes to be distinct positive integers. "
                                         "Received: 0,20"),
    "activate_capsule": ("--steps=0", "Expected --steps >= 1. Received: 0"),
    "auto_tune": ("--rule=best", f"Expected --rule to be one of {', '.join(nas.RULES.names())}. "
                                 "Received: best"),
    "depth_experiment": ("--depths=1", "Expected --depths to be distinct integers >= 2. "
                                       "Received: 1"),
    "evaluate": ("--attack=magic", "Expected --attack to be ones of fgsm, pgd, deepfool, noise, "
                                   "fgsm_l2, pgd_l2, deepfool_l2, carlini_wagner. "
                                   "Received: magic"),
    "explain": ("--most_relevant=0", "Expected --most_relevant >= 1. Received: 0"),
    "export_model": ("--version=0", "Expected --version >= 1. Received: 0"),
    "guided_labeling": ("--retrain_every=0", "Expected --retrain_every >= 1. Received: 0"),
    "lesion_study": ("--groups=some", "Expected --groups to be ones of conflicting, "
                                      "non_conflicting, all. Received: some"),
    "prune_transformer": ("--ties=best", "Expected --ties to be one of published, lowest. "
                                         "Received: best"),
    "sign_experiment": ("--capsules=10,x", "Expected --capsules to be distinct positive integers. "
                                           "Received: 10,x"),
    "train_capsnet": ("--routing=dynamic", f"Expected --routing to be one of "
                                           f"{', '.join(routing.names())}. Received: dynamic"),
    "train_network": ("--dataset=mnist6k", f"Expected a data set among "
                                           f"{', '.join(datasets.names())}, images:FOLDER, "
                                           "abstract:TASK. Received: mnist6k"),
}  # fmt: skip
# A program in this process, which then says what it has imported and what it took.
WATCHED = """
import resource, runpy, sys
sys.argv = sys.argv[1:]
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
finally:
    used = resource.getrusage(resource.RUSAGE_SELF)
    heavy = {"tensorflow", "keras", "jax"} & set(sys.modules)
    print(sorted(heavy), used.ru_utime + used.ru_stime)
"""


def test_every_program_is_here():
    assert {path.name for path in (runs.ROOT / "bin").iterdir()} == set(ASKED) == set(WRONG)


@pytest.mark.parametrize("name", ASKED)
def test_wrong_value_is_told_at_once(name, tmp_path):
    """In less than half a second, without TensorFlow, and nothing is written."""
    argument, sentence = WRONG[name]
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, runs.ROOT / "bin" / name, f"--log_dir={tmp_path / 'x'}",
         argument],
        capture_output=True,
        text=True,
        env=runs.environment(),
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.strip() == sentence
    heavy, seconds = done.stdout.strip().rsplit(maxsplit=1)
    assert heavy == "[]"
    assert float(seconds) < 0.5
    assert list(tmp_path.iterdir()) == []


class TestParse:
    def test_defaults_and_given(self):
        config = program.parse(
            training.CapsuleNetworkConfig,
            [
                "--log_dir=x",
                "--layers=4,10",
                "--dimensions",
                "2,3",
                "--use_bias",
                "False",
                "--nomake_skips",
            ],
        )
        assert config == training.CapsuleNetworkConfig(
            log_dir="x", layers=(4, 10), dimensions=(2, 3), use_bias=False
        )  # fmt: skip

    def test_flag_file_repeats(self, tmp_path):
        config = runs.config(tmp_path / "run", use_bias=False, epsilon=0.25)
        (tmp_path / "flags.txt").write_text(config.flag_lines())
        repeat = [f"--flagfile={tmp_path / 'flags.txt'}", f"--log_dir={tmp_path / 'run'}"]
        assert program.parse(training.CapsuleNetworkConfig, repeat) == config

    def test_folder_has_a_name_of_its_own(self):
        config = program.parse(
            training.CapsuleNetworkConfig, ["--routing=em", "--dataset=images:a/b/"]
        )
        assert config.log_dir.startswith("runs/b-em-20")
        search = program.parse(nas.SearchConfig, ["--rule=first_stage"])
        assert search.log_dir.startswith("runs/mnist5k-search-first_stage-20")
        assert program.parse(experiments.SignExperiment, []).log_dir.startswith("runs/sign-20")

    @pytest.mark.parametrize(
        "cls", [training.CapsuleNetworkConfig, nas.SearchConfig, experiments.DepthExperiment]
    )
    def test_resume_without_a_folder(self, cls):
        with pytest.raises(UsageError) as caught:
            program.parse(cls, ["--resume"])
        assert str(caught.value) == (
            "Expected --log_dir=FOLDER beside --resume, the folder to go on in. "
            "Received: --resume alone"
        )

    @pytest.mark.parametrize(
        "cls", [training.CapsuleNetworkConfig, nas.SearchConfig, experiments.DepthExperiment]
    )
    def test_resume_of_a_folder_that_is_not_there(self, cls, tmp_path):
        missing = tmp_path / "missing"
        with pytest.raises(UsageError) as caught:
            program.parse(cls, [f"--log_dir={missing}", "--resume"])
        assert str(caught.value) == (
            "Expected --log_dir=FOLDER beside --resume, a folder to go on in. "
            f"Received: --log_dir={missing}, and there is no such folder"
        )
        assert program.parse(cls, [f"--log_dir={tmp_path}", "--resume"]).resume

    def test_another_name(self):
        assert program.parse(NETWORKS, ["--dtype=float64"]).precision == "float64"

    def test_no_flag(self):
        with pytest.raises(UsageError, match=r"Expected flags only.*Received: stray"):
            program.parse(training.CapsuleNetworkConfig, ["stray"])
        with pytest.raises(UsageError, match="epochz"):
            program.parse(training.CapsuleNetworkConfig, ["--epochz=3"])

    def test_routing_of_a_user(self, monkeypatch):
        from tfcaps.routing import registry

        monkeypatch.setattr(registry._ROUTINGS, "_classes", {"mine": object})
        config = program.parse(training.CapsuleNetworkConfig, ["--routing=mine"])
        assert config.routing == "mine"


class TestOneOf:
    def test_the_value_decides(self):
        config = program.parse(NETWORKS, ["--model=MobileNetV2"])
        assert type(config) is training.ImageClassifierConfig
        assert config.epochs == training.ImageClassifierConfig(log_dir="x").epochs
        assert type(program.parse(NETWORKS, [])) is training.BlockNetworkConfig
        assert program.parse(NETWORKS, ["--model=fnn", "--num_layers=3"]).blocks == (3,)

    def test_a_default_is_said_of_each_kind_where_they_differ(self):
        values = flags.FlagValues()
        program.define_flags(NETWORKS, values)
        assert values["epochs"].default is None
        assert values["epochs"].help == (
            "Epochs in all (paper: 120; fast: 20) (>= 1). Default: 20 with --model=any other."
        )
        assert values["validation_fraction"].default == 0.1
        assert "Default" not in values["validation_fraction"].help

    def test_unknown(self):
        with pytest.raises(UsageError, match=r"one of fnn, vgg, resnet, convnet, .*Received: mlp"):
            program.parse(NETWORKS, ["--model=mlp"])

    def test_flag_of_the_other(self):
        with pytest.raises(UsageError) as caught:
            program.parse(NETWORKS, ["--model=convnet", "--stem=cifar"])
        assert str(caught.value) == (
            "Expected --stem only with --model among fnn, vgg, resnet. "
            "Received: --stem=cifar with --model=convnet"
        )


@pytest.mark.parametrize("name", ASKED)
def test_every_option_says_what_it_is(name):
    asked = ASKED[name]
    for cls in asked.classes if isinstance(asked, program.OneOf) else (asked,):
        for field in fields(cls).values():
            known = of(field)
            assert known.help.endswith("."), field.name
            if known.range is not None and field.default is not None:
                values = field.default if isinstance(field.default, tuple) else (field.default,)
                assert all(known.is_in_range(value) for value in values), field.name


STOPPED = """
import sys, time
from tfcaps import program

def main():
    print("ready", flush=True)
    while True:
        time.sleep(0.01)
        if "print" in sys.argv[0]:
            print("more", flush=True)

sys.argv = sys.argv[1:]
program.run(main)
"""


class TestEnds:
    def test_terminated(self):
        """Batch systems send SIGTERM to what takes too long."""
        process = runs.start_code(STOPPED, "program")
        assert process.stdout.readline() == "ready\n"
        process.terminate()
        code, _, errors = runs.finish(process)
        assert code == 143
        assert errors == "\nStopped. What was finished is saved; the same command goes on.\n"

    def test_nobody_reads(self):
        process = runs.start_code(STOPPED, "print")
        assert process.stdout.readline() == "ready\n"
        process.stdout.close()
        with process.stderr:
            assert process.stderr.read() == ""
        assert process.wait(timeout=60) == 141

    def test_flag_file_that_is_no_text(self, tmp_path):
        (tmp_path / "flags").write_bytes(b"--x=\xff\n")
        code, _, errors = runs.finish(
            runs.start_code(STOPPED, "program", f"--flagfile={tmp_path / 'flags'}")
        )
        assert code == 1
        assert errors == (
            "\nExpected --flagfile=FILE with text in UTF-8. "
            "Received: invalid start byte at byte 4\n"
        )

    def test_more_than_there_is_memory(self, monkeypatch, capsys):
        def main():
            np.empty((10**6, 10**6, 10**3), np.uint8)

        monkeypatch.setattr(sys, "argv", ["program"])
        monkeypatch.setattr(program.app, "run", lambda main, argv, **_: main(argv))
        monkeypatch.setattr(program, "_insist_on_interrupts", lambda: None)
        with pytest.raises(SystemExit) as ended:
            program.run(main)
        assert ended.value.code == 1
        assert "Expected sizes that fit into memory. Received: Unable to" in capsys.readouterr().err


# Ctrl-C at random moments of the making of tensors; all but the exit codes is a program's.
_INTERRUPTED = """
import random, signal, threading, time
import numpy as np, tensorflow as tf
from tfcaps import program

def interrupt():
    while True:
        begun.wait()
        begun.clear()
        time.sleep(random.uniform(0, 3e-4))
        signal.raise_signal(signal.SIGINT)

program._insist_on_interrupts()
begun, heard = threading.Event(), 0
threading.Thread(target=interrupt, daemon=True).start()
for _ in range(500):
    try:
        begun.set()
        while True:
            for value in (0.1, np.float32(0.1), [1.0, 2.0], "text"):
                tf.constant(value)
    except KeyboardInterrupt:
        heard += 1
        signal.setitimer(signal.ITIMER_REAL, 0.0)
print(heard, float(tf.constant(0.5)))
"""


def test_an_interrupt_leaves_tensorflow_whole():
    code, output, errors = runs.finish(forks.start_code(_INTERRUPTED))
    assert (code, output) == (0, "500 0.5\n"), errors
