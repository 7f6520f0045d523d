"""The texts of the folder: nvinfer's configuration, deepstream-app's, and the labels.

nvinfer resizes as y12 does (aspect ratio kept, centred, bilinear) and fills the rest with black where y12 takes gray.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from y12.errors import InputError
from y12.runtime.artefact.manifest import Manifest
from y12.text import shown

__all__ = ["LABELS", "NVINFER", "Bundle", "app_config", "checked_uri", "labels_of", "nvinfer_config"]

NVINFER, LABELS = "config_infer_primary.txt", "labels.txt"
NETWORK_MODES = {"fp32": 0, "int8": 1, "fp16": 2}
_NO_CLUSTERING = 4  # of cluster-mode: the graph has suppressed what overlaps
_SIZE = (1920, 1080)  # of the frames that nvstreammux makes
_RTSP, _MULTI_URI = 4, 3  # of a source's type


@dataclass(frozen=True)
class Bundle:
    """What the configurations say.

    Attributes:
        manifest: the artefact's.
        conf: objects scored below this are dropped.
        max_det: how many objects the graph gives at most.
        function: that reads the outputs, and `library` that has it.
        onnx: the file name of the graph; None where there is an engine alone.
        engine: the file name of the engine: there, or where nvinfer writes it and looks for it.
    """

    manifest: Manifest
    conf: float
    max_det: int
    function: str
    library: str
    onnx: str | None
    engine: str

    @property
    def batch(self) -> int:
        """The largest batch."""
        return self.manifest.profile.batch.max


def nvinfer_config(bundle: Bundle) -> str:
    """Return `config_infer_primary.txt`."""
    height, width = bundle.manifest.profile.opt_hw
    files = {"model-engine-file": bundle.engine} | ({"onnx-file": bundle.onnx} if bundle.onnx else {})
    return _text(
        {
            "property": {
                "gpu-id": 0,
                "gie-unique-id": 1,
                "process-mode": 1,
                "network-type": 0,
                **files,
                "network-mode": NETWORK_MODES[bundle.manifest.precision],
                "batch-size": bundle.batch,
                "infer-dims": f"3;{height};{width}",
                "net-scale-factor": repr(1 / 255),
                "model-color-format": 0,
                "maintain-aspect-ratio": 1,
                "symmetric-padding": 1,
                "scaling-filter": 1,
                "interval": 0,
                "labelfile-path": LABELS,
                "num-detected-classes": len(bundle.manifest.names),
                "cluster-mode": _NO_CLUSTERING,
                "parse-bbox-func-name": bundle.function,
                "custom-lib-path": bundle.library,
            },
            "class-attrs-all": {"pre-cluster-threshold": repr(bundle.conf), "topk": bundle.max_det},
        }
    )


def app_config(bundle: Bundle, sources: Sequence[str]) -> str:
    """Return `deepstream_app_config.txt`: the sources, each a tile of what is shown."""
    columns = next(n for n in range(1, len(sources) + 1) if n * n >= len(sources))
    width, height = _SIZE
    return _text(
        {
            "application": {"enable-perf-measurement": 1, "perf-measurement-interval-sec": 5},
            "tiled-display": {
                "enable": 1,
                "rows": -(-len(sources) // columns),
                "columns": columns,
                "width": 1280,
                "height": 720,
            },
            **{f"source{i}": _source(uri) for i, uri in enumerate(sources)},
            "sink0": {"enable": 1, "type": 2, "sync": 0, "gpu-id": 0},
            "osd": {"enable": 1, "gpu-id": 0, "border-width": 2, "text-size": 12, "font": "Serif"},
            "streammux": {
                "gpu-id": 0,
                "live-source": int(any(map(_is_live, sources))),
                "batch-size": len(sources),
                "batched-push-timeout": 40000,
                "width": width,
                "height": height,
                "enable-padding": 0,
            },
            "primary-gie": {
                "enable": 1,
                "gpu-id": 0,
                "gie-unique-id": 1,
                "batch-size": bundle.batch,
                "config-file": NVINFER,
            },
            "tests": {"file-loop": 0},
        }
    )


def _source(uri: str) -> dict[str, object]:
    kind = _RTSP if _is_live(uri) else _MULTI_URI
    return {"enable": 1, "type": kind, "uri": uri, "num-sources": 1, "gpu-id": 0}


def _is_live(uri: str) -> bool:
    return uri.lower().startswith(("rtsp:", "rtsps:"))


def checked_uri(uri: str) -> str:
    """Return a URI that can stand in a configuration.

    Raises:
        InputError: it has no scheme, or characters that the file's format takes for its own.
    """
    scheme, _, rest = uri.partition("://")
    if not (scheme.isalnum() and rest and uri.isprintable()) or "\\" in uri or " " in uri:
        raise InputError(
            f"--source: expected a URI such as file:///videos/a.mp4 or rtsp://camera/stream, found {shown(uri)}"
        )
    return uri


def labels_of(names: Sequence[str]) -> tuple[str, list[str]]:
    """Return `labels.txt`, and a note for each name that a line of it cannot hold as it is.

    nvinfer skips an empty line, which would shift all classes after it, and ends a label at a semicolon.
    """
    lines = [_label(i, name) for i, name in enumerate(names)]
    notes = [
        f"{LABELS}: the name of class {i}, {shown(name)}, is written as {shown(line)}"
        for i, (name, line) in enumerate(zip(names, lines, strict=True))
        if line != name
    ]
    return "".join(f"{line}\n" for line in lines), notes


def _label(class_id: int, name: str) -> str:
    line = "".join(c if c.isprintable() else "_" for c in name.replace(";", ","))
    return line if line.strip() else f"class {class_id}"


def _text(groups: Mapping[str, Mapping[str, object]]) -> str:
    """Return groups of keys as GLib's key files have them."""
    return "\n".join(
        f"[{name}]\n" + "".join(f"{key}={value}\n" for key, value in keys.items()) for name, keys in groups.items()
    )
