"""NAME.provenance.json: an in-toto statement whose predicate is SLSA provenance v1, of the files that an export wrote.

    https://in-toto.io/Statement/v1     which files, by their SHA-256
    https://slsa.dev/provenance/v1      made by what, of what, with which options

It names no date, host, user or path; whoever signs adds who says so.
"""

import json
from collections.abc import Mapping

from y12.runtime.artefact.manifest import Manifest

__all__ = ["BUILD_TYPE", "provenance_json"]

# y12 has no address of its own; the package's URL (purl), of which y12 alone decides what it means, is a URI too.
BUILD_TYPE = "pkg:pypi/y12#export-v1"


def provenance_json(sha256: Mapping[str, str], manifest: Manifest, versions: Mapping[str, str]) -> str:
    """Return the statement as JSON text.

    Args:
        sha256: of the files written, by name.
        manifest: of the artefact.
        versions: of Python and of the packages that took part.
    """
    recipe = None if manifest.recipe is None else manifest.recipe.to_data()
    asked = {"task": manifest.task, "precision": manifest.precision, "model": manifest.model}
    producer, _, version = manifest.producer.partition(" ")
    statement = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": name, "digest": {"sha256": digest}} for name, digest in sorted(sha256.items())],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {**asked, "manifest": json.loads(manifest.to_json())},
                "internalParameters": {"recipe": recipe or {}, "engine": dict(manifest.engine)},
                "resolvedDependencies": _materials(manifest, versions),
            },
            "runDetails": {
                "builder": {"id": f"pkg:pypi/{producer}@{version}", "version": dict(sorted(versions.items()))}
            },
        },
    }
    return json.dumps(statement, indent=2, ensure_ascii=False)


def _materials(manifest: Manifest, versions: Mapping[str, str]) -> list[dict[str, object]]:
    """Return what went in: the weights, the calibration images, the packages."""
    found: list[dict[str, object]] = []
    if manifest.source_sha256:
        found.append({"name": manifest.source, "digest": {"sha256": manifest.source_sha256}})
    options = {} if manifest.recipe is None else manifest.recipe.options
    if "model_sha256" in options:
        found.append({"name": options["model"], "digest": {"sha256": options["model_sha256"]}})
    if manifest.recipe is not None and manifest.recipe.images:
        # not the digest of one file, so that it has a name of its own: of the sorted hashes of the images
        found.append({"name": "calibration images", "digest": {"y12SortedSha256": manifest.recipe.images}})
    packages = {name: version for name, version in versions.items() if name != "python"}
    return found + [{"uri": f"pkg:pypi/{name}@{version}"} for name, version in sorted(packages.items())]
