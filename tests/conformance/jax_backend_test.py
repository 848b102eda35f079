"""The backend-neutral suites once more, in processes whose Keras runs on JAX."""

import os
import pathlib
import re
import subprocess
import sys

TESTS = pathlib.Path(__file__).parents[1]
# All of metrics, but what is about TensorFlow's graphs.
METRICS = (
    *(f"metrics/{name}_test.py" for name in ("bundles", "calibration", "d_score", "scores")),
    *("metrics/layer_bundles_test.py", "metrics/t_score_test.py"),
    "conformance/objects_test.py",
)
# Two processes side by side, of about the same length, and the least number of tests in each
SUITES = {
    (
        "routing",
        "ops_test.py",
        "labels_test.py",
        "losses",
        "conformance/layers_test.py",
        *METRICS,
    ): 450,
    ("layers",): 100,
}
# XLA's plain code for fused operations, which tests/conftest.py asks for, turns the second
# derivative of EM routing into numbers that aren't finite, if nothing is optimised beside.
XLA_FLAGS = {("layers",): "--xla_backend_optimization_level=0"}
ENVIRONMENT = {
    "KERAS_BACKEND": "jax",
    "JAX_PLATFORMS": "cpu",
    # Not below the tests, where these processes begin.
    "HYPOTHESIS_STORAGE_DIRECTORY": str(TESTS.parent / ".hypothesis"),
    # Most of the time goes into compiling functions that run once.
    "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
    # The second time, two thirds of it are saved.
    "JAX_COMPILATION_CACHE_DIR": str(TESTS.parent / ".pytest_cache" / "jax"),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
}


def _start(suites: tuple[str, ...]) -> subprocess.Popen:
    flags = {"XLA_FLAGS": XLA_FLAGS[suites]} if suites in XLA_FLAGS else {}
    return subprocess.Popen(
        [sys.executable, "-m", "pytest", "-q", "-n0", "-p", "no:cacheprovider", *suites],
        cwd=TESTS,
        env={**os.environ, **ENVIRONMENT, **flags},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_suites_pass_on_jax():
    processes = {suites: _start(suites) for suites in SUITES}
    outputs = {suites: process.communicate()[0] for suites, process in processes.items()}
    for suites, least in SUITES.items():
        output = outputs[suites]
        assert processes[suites].returncode == 0, output[-8000:]
        assert int(re.search(r"(\d+) passed", output)[1]) >= least, output[-8000:]
        assert not re.search(r"skipped|xfailed|deselected", output.splitlines()[-1])
