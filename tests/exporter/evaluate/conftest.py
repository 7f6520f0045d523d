"""Images with coloured cells, which the network of `colour_network` finds."""

import pytest
from colour_network import drawings, write_images, write_labels


@pytest.fixture
def make_folder(tmp_path):
    """Write images and, where a form of line is given, labels beside them; gives the images' folder."""

    def make(line=None, **changes):
        drawn = drawings(**changes)
        images = write_images(tmp_path / "set" / "images", drawn)
        if line is not None:
            write_labels(images, drawn, line)
        return images[0].parent

    return make


@pytest.fixture
def make_yaml(make_folder):
    """Write a data set with a data.yaml that names it; gives the data.yaml."""

    def make(line, extra="", **changes):
        folder = make_folder(line, **changes)
        path = folder.parent / "data.yaml"
        path.write_text(f"val: images\ntrain: images\nnames: [red, green]\n{extra}")
        return path

    return make
