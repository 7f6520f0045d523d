"""NVIDIA's and DeepStream-Yolo's own sources, which are not in this repository, and what is compiled of them."""

import ctypes
import hashlib
import os
import shutil
import subprocess
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).parent
RAW = "https://raw.githubusercontent.com"
YOLO = f"{RAW}/marcoslucianops/DeepStream-Yolo/2ccf52987ce1a18fc18ca5b3ba559a599259ade2/nvdsinfer_custom_impl_Yolo"
# The sources of 6.1, 6.2 and 9.1 that are published lack the function: this is NVIDIA's file with it added.
CUSTOM = f"{RAW}/visualcortex-official/yolov7-deepstream/736fea9cca9ba513d6208a8c1801ebe0070a46e0"
DEEPSTREAM = f"{RAW}/NVIDIA/DeepStream/581889df47d6181110c758c10b872ca833a835e3/src"
SOURCES = {  # where a file is from, and the first digits of its SHA-256
    "nvdsparsebbox_Yolo.cpp": (YOLO, "893eba71b4713941"),
    "utils.cpp": (YOLO, "4d0f792828a6a9bc"),
    "utils.h": (YOLO, "547e2d88c33a5bf0"),
    "nvdsinfer_custombboxparser.cpp": (CUSTOM, "b3b4fc8196855b75"),
    "gstnvinfer_property_parser.h": (f"{DEEPSTREAM}/gst-plugins/gst-nvinfer", "23a77b133ac31287"),
    "deepstream_config_file_parser.c": (f"{DEEPSTREAM}/apps/common/src", "d1b4242db86aabbc"),
    "deepstream_app_config_parser.c": (f"{DEEPSTREAM}/apps/sample_apps/deepstream-app", "9607260163cf8287"),
}
VARIABLE = "Y12_DEEPSTREAM_SOURCES"
TYPES = {np.dtype(np.float32): 0, np.dtype(np.int32): 3}


@pytest.fixture(scope="session")
def deepstream_sources(tmp_path_factory):
    """A folder with the files of SOURCES, unmodified: $Y12_DEEPSTREAM_SOURCES, or fetched from GitHub."""
    given = os.environ.get(VARIABLE)
    folder = Path(given) if given else tmp_path_factory.mktemp("deepstream-sources")
    for name, (place, digest) in SOURCES.items():
        if not given:
            _fetch(f"{place}/{name}", folder / name)
        if not (folder / name).is_file():
            pytest.fail(f"${VARIABLE}: expected {name} of {place} in {folder}, found none")
        found = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        assert found.startswith(digest), f"{name} is not the one of {place}"
    return folder


def _fetch(url, path):
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            path.write_bytes(answer.read())
    except OSError as error:
        pytest.skip(
            f"the parsers' sources are not at hand: {url} does not answer ({error}), and ${VARIABLE} names no folder"
        )


@dataclass(frozen=True)
class Parser:
    """A parser, compiled."""

    library: Path

    def __call__(self, outputs, input_hw, classes, threshold):
        """Give (N, 6): left, top, width, height, score and class of what it finds in named outputs of one image."""
        count = len(outputs)
        arrays = [np.ascontiguousarray(array) for array in outputs.values()]
        sizes = np.zeros((count, 9), np.uint32)
        for row, array in zip(sizes, arrays, strict=True):
            row[0] = array.ndim
            row[1 : 1 + array.ndim] = array.shape
        objects = np.full((4096, 6), np.nan, np.float32)
        found = ctypes.CDLL(str(self.library)).call_parser(
            count,
            (ctypes.c_char_p * count)(*(name.encode() for name in outputs)),
            (ctypes.c_int * count)(*(TYPES[array.dtype] for array in arrays)),
            sizes.ctypes.data_as(ctypes.c_void_p),
            (ctypes.c_void_p * count)(*(array.ctypes.data for array in arrays)),
            ctypes.c_uint(input_hw[1]),
            ctypes.c_uint(input_hw[0]),
            ctypes.c_uint(classes),
            ctypes.c_float(threshold),
            objects.ctypes.data_as(ctypes.c_void_p),
            len(objects),
        )
        assert 0 <= found <= len(objects), "the parser refused the outputs"
        return objects[:found]


@pytest.fixture(scope="session")
def compiled(deepstream_sources, tmp_path_factory):
    """Compile a parser, unmodified, and give it; its sources are named."""
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("no g++ to compile the parsers with")

    def compile_parser(function, *names):
        library = tmp_path_factory.mktemp(function) / f"lib{function}.so"
        sources = [HERE / "call_parser.cpp", *(deepstream_sources / name for name in names)]
        flags = ["-std=c++17", "-O1", "-shared", "-fPIC", f"-DPARSER={function}", f"-I{HERE / 'shim'}"]
        done = subprocess.run(
            [compiler, *flags, *map(str, sources), "-o", str(library), "-lstdc++fs"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return Parser(library)

    return compile_parser
