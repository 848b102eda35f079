"""Saving figures, their pixels, and the pixel arithmetic that they share."""

import os
import subprocess
import sys

import numpy as np
import pytest

from tfcaps import plots
from tfcaps.plots import canvas

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def figure():
    return plots.learning_curves({"loss": [1.0, 0.5]})


def test_to_array_has_the_size_of_the_figure(figure):
    pixels = plots.to_array(figure)

    width, height = (figure.get_size_inches() * figure.dpi).round().astype(int)
    assert pixels.dtype == np.uint8
    assert pixels.shape == (height, width, 3)
    assert (pixels[0, 0] == 255).all()  # White paper ...
    assert (pixels != 255).any()  # ... that isn't empty.


def test_save_writes_a_png_and_makes_the_folder(figure, tmp_path):
    path = plots.save(figure, str(tmp_path / "new" / "curves.png"))

    assert path == tmp_path / "new" / "curves.png"
    assert path.read_bytes().startswith(PNG_SIGNATURE)
    assert os.listdir(path.parent) == ["curves.png"]


def test_save_that_fails_keeps_the_earlier_file(figure, tmp_path, monkeypatch):
    path = tmp_path / "curves.png"
    path.write_bytes(b"earlier")

    def disk_full_after_a_while(beside, **unused):
        beside.write_bytes(b"half a fig")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(figure, "savefig", disk_full_after_a_while)
    with pytest.raises(OSError, match="No space left"):
        plots.save(figure, path)
    assert path.read_bytes() == b"earlier"
    assert os.listdir(tmp_path) == ["curves.png"]


def test_save_replaces_the_earlier_file(figure, tmp_path):
    path = tmp_path / "curves.png"
    path.write_bytes(b"earlier")

    plots.save(figure, path)

    assert path.read_bytes().startswith(PNG_SIGNATURE)


def test_plots_need_neither_pyplot_nor_a_display(tmp_path):
    program = (
        "import sys; from tfcaps import plots; "
        "plots.save(plots.learning_curves({'loss': [1.0]}), sys.argv[1]); "
        "sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    environment = {name: value for name, value in os.environ.items() if name != "DISPLAY"}

    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "curves.png")],
        env=environment | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert (tmp_path / "curves.png").exists()


def test_as_rgb():
    grey = canvas.as_rgb(np.array([[[0.25]]]))
    colour = canvas.as_rgb(np.array([[[0.1, 0.2, 0.3]]]))
    two_channels = canvas.as_rgb(np.array([[[0.0, 0.5]]]))
    diverged = canvas.as_rgb(np.array([[[np.nan, 7.0, -7.0]]]))

    np.testing.assert_allclose(grey, [[[0.25, 0.25, 0.25]]])
    np.testing.assert_allclose(colour, [[[0.1, 0.2, 0.3]]], rtol=1e-6)
    np.testing.assert_allclose(two_channels, [[[0.25, 0.25, 0.25]]])
    np.testing.assert_allclose(diverged, [[[0.0, 1.0, 0.0]]])


def test_montage_puts_each_image_into_its_cell():
    # Two rows of three images, 1 high and 2 wide, each filled with its own number.
    numbers = np.arange(6, dtype="float32").reshape(2, 3, 1, 1, 1) / 10
    picture = canvas.montage(np.broadcast_to(numbers, (2, 3, 1, 2, 3)), gap=1)

    expected = [
        [0.0, 0.0, 1.0, 0.1, 0.1, 1.0, 0.2, 0.2],
        [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0],
        [0.3, 0.3, 1.0, 0.4, 0.4, 1.0, 0.5, 0.5],
    ]
    np.testing.assert_allclose(picture, np.stack([expected] * 3, axis=-1), rtol=1e-6)


def test_cell_centres():
    # Cells of 3 pixels, one apart: 0 1 2 | 4 5 6 | 8 9 10.
    np.testing.assert_allclose(canvas.cell_centres(3, size=3, gap=1), [1, 5, 9])
