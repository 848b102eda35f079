"""The backend-neutral suites once more, in a process whose Keras runs on JAX."""

import os
import pathlib
import re
import subprocess
import sys

TESTS = pathlib.Path(__file__).parents[1]
SUITES = ("ops_test.py", "losses", "layers", "routing", "conformance/layers_test.py")


def test_suites_pass_on_jax():
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    process = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *SUITES],
        cwd=TESTS,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stdout[-5000:] + process.stderr[-2000:]
    assert int(re.search(r"(\d+) passed", process.stdout)[1]) > 300
