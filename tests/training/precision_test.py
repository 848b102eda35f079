"""What `--precision=auto` stands for."""

import json

import pytest

from tests import runs
from tfcaps.training import devices, load_run, train


@pytest.fixture
def processor(tmp_path, monkeypatch):
    """Sets what the processor is said to have."""

    def has(flags):
        path = tmp_path / "cpuinfo"
        path.write_text(f"processor : 0\nflags\t\t: fpu {flags} sse2\n")
        monkeypatch.setattr(devices, "_PROCESSOR", path)
        monkeypatch.setattr(devices.tf.config, "list_physical_devices", lambda *kind: [])

    return has


@pytest.mark.parametrize(
    ("flags", "policy"),
    [
        ("avx512_bf16", "mixed_bfloat16"),
        ("bf16", "mixed_bfloat16"),
        ("amx_bf16", "mixed_bfloat16"),
        ("avx512f avx512_vnni", "float32"),
    ],
)
def test_auto_goes_by_the_instructions(processor, capsys, flags, policy):
    processor(flags)
    config = devices.with_precision(runs.plain("run", precision="auto"))
    assert config.precision == policy
    assert policy in capsys.readouterr().out


def test_auto_without_knowledge_of_the_processor(processor, tmp_path, monkeypatch):
    processor("avx512_bf16")
    monkeypatch.setattr(devices, "_PROCESSOR", tmp_path / "none")
    assert devices.with_precision(runs.plain("run", precision="auto")).precision == "float32"


@pytest.mark.parametrize(
    ("capability", "policy"), [((8, 0), "mixed_bfloat16"), ((7, 5), "float32")]
)
def test_auto_on_a_gpu(processor, monkeypatch, capability, policy):
    processor("avx512_bf16")
    monkeypatch.setattr(devices.tf.config, "list_physical_devices", lambda *kind: ["GPU:0"])
    monkeypatch.setattr(
        devices.tf.config.experimental,
        "get_device_details",
        lambda gpu: {"compute_capability": capability},
    )
    assert devices.with_precision(runs.plain("run", precision="auto")).precision == policy


def test_what_is_asked_for_stays(processor):
    processor("avx512_bf16")
    config = runs.plain("run", precision="float32")
    assert devices.with_precision(config) is config


def test_a_run_keeps_its_precision(processor, tmp_path):
    """It is stored, and a resumed run goes on with it, also where auto would be another one."""
    changes = {"epochs": 1, "train_examples": 20, "batch_size": 8, "test": False}
    processor("avx512_bf16")
    run = tmp_path / "run"
    train(runs.plain(run, precision="auto", **changes))
    assert json.loads((run / "run.json").read_text())["config"]["precision"] == "mixed_bfloat16"
    assert "--precision=mixed_bfloat16" in (run / "flags.txt").read_text()
    processor("avx512f")
    train(runs.plain(run, precision="auto", resume=True, **{**changes, "epochs": 2}))
    assert load_run(run).model.dtype_policy.name == "mixed_bfloat16"
