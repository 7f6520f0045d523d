"""Manifests whose fields are of another type or out of range: refused by the one reader, the field named."""

import copy
import json

import pytest
from cost import refused

from y12.errors import ArtefactError
from y12.runtime.artefact.manifest import Manifest
from y12.runtime.artefact.ultralytics_metadata import manifest_from_metadata

AXIS = {"min": 1, "opt": 1, "max": 1}
SOUND = {
    "schema": 1,
    "task": "pose",
    "names": ["a", "b"],
    "strides": [8, 16, 32],
    "profile": {"batch": AXIS, "height": AXIS, "width": AXIS},
    "precision": "fp16",
    "producer": "y12",
    "model": "yolo11n-pose",
    "source": "a.pt",
    "source_sha256": "00",
    "engine": {"gpus": "SM 75"},
    "licence": "",
    "kpt_shape": [17, 3],
    "nms": {
        "form": "packed",
        "candidates": 100,
        "options": {"conf": 0.2, "iou": 0.7, "max_det": 10, "classes": [0], "agnostic": False, "multi_label": False},
    },
    "thresholds": {"against": "fp32", "data": "9 images", "rows": [[0.1, 0.1, None], [0.2, 0.15, 0.2]]},
    "localisation": "distances",
}
VALUES = [None, True, False, 0, -1, 5, 2**31, 2**63, 10**400, 0.5, 1e308, float("nan"), float("inf"), "", "ab", "5",
          "x" * 100_000, "\ud800", [], [1], ["a"], [["a", "b"]], [[]] * 1000, [None], {}, {"a": 1}, {"a": {"a": {}}},
          [{"min": 1}], {"min": 1, "opt": 1, "max": 1, "more": 1}]  # fmt: skip
ALLOWED = {  # where a value of the list above happens to be sound, or is what no field forbids
    ("names",): [["a"]],
    **{("names", i): ["", "ab", "5"] for i in range(2)},
    ("strides",): [[1]],
    **{("strides", i): [5] for i in range(3)},
    ("engine",): [{}],
    ("engine", "gpus"): ["", "ab", "5"],
    **{(key,): ["", "ab", "5"] for key in ("producer", "model", "source", "source_sha256", "licence")},
    ("kpt_shape", 0): [5],
    **{("profile", axis, "max"): [5] for axis in ("batch", "height", "width")},
    ("nms",): [None],
    ("nms", "options", "conf"): [0, 0.5],
    ("nms", "options", "iou"): [0, 0.5],
    ("nms", "options", "max_det"): [5],
    ("nms", "options", "classes"): [None, [1]],
    ("nms", "options", "classes", 0): [0, 5],
    ("nms", "options", "agnostic"): [True, False],
    ("nms", "options", "multi_label"): [True, False],
    ("thresholds",): [None],
    ("thresholds", "against"): ["", "ab", "5"],
    ("thresholds", "data"): ["", "ab", "5"],
    ("thresholds", "rows", 0, 0): [0],
    ("thresholds", "rows", 0, 1): [None, 0],
    ("thresholds", "rows", 0, 2): [None, 0],
    ("thresholds", "rows", 1, 0): [0.5],
    ("thresholds", "rows", 1, 1): [None, 0.5],
    ("thresholds", "rows", 1, 2): [None, 0, 0.5],
}


def places(value, place=()):
    """Yield where every value of a tree is, the tree itself left out."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, entry in entries:
        yield (*place, key)
        yield from places(entry, (*place, key))


def changed(place, value):
    data = copy.deepcopy(SOUND)
    parent = data
    for key in place[:-1]:
        parent = parent[key]
    parent[place[-1]] = value
    return data


def is_allowed(place, value):
    """Return whether a value stands in the list; 1 and True are two."""
    return any(type(value) is type(one) and repr(value) == repr(one) for one in ALLOWED.get(place, ()))


@pytest.mark.parametrize("place", list(places(SOUND)), ids=lambda place: ".".join(map(str, place)))
def test_every_field_has_a_type_and_a_range(place):
    for value in VALUES:
        content = json.dumps(changed(place, value)) if value != 10**400 else json.dumps(changed(place, 2**4000))
        if is_allowed(place, value):
            Manifest.from_json(content)
            continue
        message = refused(
            f"{place} {value!r:.40}", lambda content=content: Manifest.from_json(content), seconds=0.5, mib=16
        )
        assert len(message) < 400


def test_the_sound_one_is_read_and_comes_back():
    manifest = Manifest.from_json(json.dumps(SOUND))
    assert Manifest.from_json(manifest.to_json()) == manifest


@pytest.mark.parametrize("key", ["more", "__class__", "\x1b[31mred", "x" * 3_000_000])
def test_unknown_fields_are_refused(key):
    message = refused("key", lambda: Manifest.from_json(json.dumps(SOUND | {key: 1})), seconds=0.5, mib=32)
    assert "expected its fields as a mapping with" in message


@pytest.mark.parametrize("schema", [None, True, 1.0, "1", [1], 2])
def test_another_schema_is_refused(schema):
    with pytest.raises(ArtefactError, match="expected schema 1"):
        Manifest.from_json(json.dumps(SOUND | {"schema": schema}))


FOREIGN = {"task": "detect", "names": {"0": "a", "1": "b"}, "stride": 32, "batch": 1, "imgsz": [64, 64]}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("names", value) for value in (5, "ab", [], [1, 2], {"0": 1}, {0: "a", 2: "b"}, {None: "a"}, [["a"]])),
        *(("names", value) for value in ("[1, 2]", "{0: 1, 1: 2}", "{0: None}", "{(0,): 'a'}", {"0": "a", 0: "b"})),
        *(("stride", value) for value in (True, "a", 0, -1, 1.5, [32], "8193")),
        *(("task", value) for value in (5, None, ["detect"], "5", "other")),
        *(("batch", value) for value in (True, "x", 0, None)),
        *(("imgsz", value) for value in ([], [1, 2, 3], ["a"], True, None, {"a": 1})),
        *(("kpt_shape", value) for value in (5, [17], ["a", 3], {"a": 1})),
        *((key, value) for key in ("version", "description", "license") for value in (5, ["a"], True, "x" * 5000)),
    ],
)  # fmt: skip
def test_foreign_fields_have_types_too(key, value):
    refused(key, lambda: manifest_from_metadata(FOREIGN | {key: value}), seconds=0.5, mib=16)


def test_foreign_texts_stay_texts():
    manifest = manifest_from_metadata(FOREIGN | {"description": "[12", "version": "8", "author": "{not a literal"})
    assert (manifest.model, manifest.producer, manifest.names) == ("[12", "Ultralytics 8", ("a", "b"))
