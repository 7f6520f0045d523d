"""NAME.provenance.json is an in-toto statement v1 with SLSA provenance v1, as their specifications have the fields."""

import hashlib
import json
import re

import pytest

from y12.exporter.report.attestation import provenance_json
from y12.runtime.artefact.manifest import AxisRange, InputProfile, Manifest
from y12.runtime.artefact.recipe import Recipe

ONE = AxisRange(1, 1, 1)
SIDE = AxisRange(64, 64, 64)
RECIPE = Recipe({"opset": "19"}, {"torch": "2.13.0"}, images="a" * 64, ranges="b" * 64)
MANIFEST = Manifest(
    "detect", ("a",), (8,), InputProfile(ONE, SIDE, SIDE), "int8", "y12 0.1.0", "n", "best.pt", "c" * 64, recipe=RECIPE
)
VERSIONS = {"python": "3.11.7", "torch": "2.13.0+cpu", "y12": "0.1.0"}
FILES = {"best_int8.onnx": hashlib.sha256(b"graph").hexdigest()}

# By https://github.com/in-toto/attestation/blob/main/spec/v1 (statement.md, resource_descriptor.md, digest_set.md) and
# https://slsa.dev/spec/v1.0/provenance: the fields there are, which are required, and what kind of value each has.
URI = re.compile(r"[a-z][a-z0-9+.-]*:\S+")
DIGESTS = {None: re.compile(r"[0-9a-f]+")}
DESCRIPTOR = {"name": str, "uri": URI, "digest": DIGESTS}
STATEMENT = {
    "!_type": re.compile(r"https://in-toto\.io/Statement/v1"),
    "!subject": [{"!name": str, "!digest": DIGESTS}],
    "!predicateType": re.compile(r"https://slsa\.dev/provenance/v1"),
    "!predicate": {
        "!buildDefinition": {
            "!buildType": URI,
            "!externalParameters": dict,
            "internalParameters": dict,
            "resolvedDependencies": [DESCRIPTOR],
        },
        "!runDetails": {"!builder": {"!id": URI, "version": {None: str}}},
    },
}


def problems(value, schema, place="statement"):
    """What of a value is not as the schema has it, one line each."""
    if isinstance(schema, re.Pattern):
        good = isinstance(value, str) and schema.fullmatch(value)
        return [] if good else [f"{place}: {value!r} is not {schema.pattern}"]
    if isinstance(schema, type):
        return [] if isinstance(value, schema) and value else [f"{place}: {value!r} is no {schema.__name__}"]
    if not isinstance(value, type(schema)) or not value:
        return [f"{place}: {value!r} is no {type(schema).__name__} with something in it"]
    if isinstance(schema, list):
        return [p for i, one in enumerate(value) for p in problems(one, schema[0], f"{place}[{i}]")]
    known = {key.removeprefix("!"): inner for key, inner in schema.items() if key}
    lacking = [f"{place}: no {key[1:]}" for key in schema if key and key[0] == "!" and key[1:] not in value]
    unknown = [
        f"{place}: {key} is not in the specification" for key in value if None not in schema and key not in known
    ]
    inside = [
        p for k, one in value.items() if (s := known.get(k, schema.get(None))) for p in problems(one, s, f"{place}.{k}")
    ]
    return lacking + unknown + inside


def statement():
    return json.loads(provenance_json(FILES, MANIFEST, VERSIONS))


def test_the_statement_is_as_the_specifications_have_it_and_names_what_went_in():
    found = statement()
    assert problems(found, STATEMENT) == []
    assert found["subject"] == [{"name": "best_int8.onnx", "digest": {"sha256": FILES["best_int8.onnx"]}}]
    materials = found["predicate"]["buildDefinition"]["resolvedDependencies"]
    assert {"name": "best.pt", "digest": {"sha256": "c" * 64}} in materials
    assert {"uri": "pkg:pypi/torch@2.13.0+cpu"} in materials
    assert any(one.get("digest", {}).get("y12SortedSha256") == "a" * 64 for one in materials)
    assert found["predicate"]["buildDefinition"]["internalParameters"]["recipe"]["options"] == {"opset": "19"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: s.pop("subject"), "no subject"),
        (lambda s: s["subject"][0]["digest"].update(sha256="XY"), "is not [0-9a-f]+"),
        (lambda s: s["predicate"]["runDetails"]["builder"].pop("id"), "no id"),
        (lambda s: s["predicate"]["buildDefinition"].update(buildType="y12"), "is not [a-z]"),
        (lambda s: s.update(host="me"), "host is not in the specification"),
    ],
)
def test_what_is_not_as_the_specifications_have_it_is_noticed(change, said):
    found = statement()
    change(found)
    assert any(said in one for one in problems(found, STATEMENT))
