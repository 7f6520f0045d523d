"""What a convolution reads: its patches, and the sums over them, against convolutions written out."""

import numpy as np
import pytest
from improve_case import MANIFEST, PHOTOS, by_name, convolved, inputs_of, layers_for, network
from text_models import noise

from exporter.errors import CalibrationError
from exporter.precision.improve import moments as moments_file
from exporter.precision.improve.moments import in_portions, moments_of
from exporter.precision.improve.patches import patches, positions

ALL = 10_000  # more places than a map has
NAMES = ("stem", "depth", "mid", "grouped")


def generator(seed=1):
    return np.random.Generator(np.random.PCG64(seed))


@pytest.fixture(scope="module")
def given():
    """The network, its convolutions, and what they read on all photographs."""
    model = network()
    layers = layers_for(model)
    return model, layers, inputs_of(model, layers, PHOTOS)


@pytest.mark.parametrize("name", NAMES)
def test_patches_times_weights_are_the_convolution(given, name):
    layer = by_name(given[1])[name]
    values = noise(2, layer.values.shape[1] * layer.groups, 9, 11)
    where = positions(layer.window, values.shape, ALL, generator())
    seen = patches(values, layer.window, where, layer.groups)
    found = np.einsum("gpk,gok->pgo", seen, layer.by_group(layer.values)).reshape(len(where), -1)

    expected = convolved(layer, values, layer.values)
    assert len(where) == expected[:, 0].size  # every place, once
    np.testing.assert_allclose(found, expected[where[:, 0], :, where[:, 1], where[:, 2]], atol=1e-6)


def test_places_are_different_repeat_with_the_seed_and_cover_the_map(given):
    window = by_name(given[1])["stem"].window
    draws = [positions(window, (2, 3, 32, 48), 100, generator(seed)) for seed in (1, 1, 2)]
    assert len({tuple(place) for place in draws[0]}) == 100
    np.testing.assert_array_equal(draws[0], draws[1])
    assert (draws[0] != draws[2]).any()
    assert draws[0].min() == 0
    assert (draws[0].max(axis=0) < (2, 16, 24)).all()
    assert (draws[0].max(axis=0) >= (1, 14, 21)).all()


@pytest.mark.parametrize("name", NAMES)
def test_the_sums_are_those_over_all_places(given, name, monkeypatch):
    model, layers, inputs = given
    monkeypatch.setattr(moments_file, "PLACES", ALL)
    found = moments_of(model, layers.found, PHOTOS, MANIFEST, squares=True)[name]
    layer, values = by_name(layers)[name], inputs[name]
    where = positions(layer.window, values.shape, 10**7, generator())
    x = patches(values, layer.window, where, layer.groups).astype(np.float64)
    steps = np.clip(np.rint(x / layer.grid.scale), -128, 127) * layer.grid.scale
    assert found.count == len(where)
    np.testing.assert_allclose(found.given, x.sum(axis=1), rtol=1e-4, atol=1e-2)
    np.testing.assert_allclose(found.seen, steps.sum(axis=1), rtol=1e-4, atol=1e-2)
    products = np.einsum("gpk,gpl->gkl", steps, steps)
    np.testing.assert_allclose(found.squares, products, rtol=1e-3, atol=1e-4 * np.abs(products).max())

    quantised = np.clip(np.rint(values / layer.grid.scale), -128, 127) * layer.grid.scale
    errors = convolved(layer, quantised, layer.nearest.dequantized()) - convolved(layer, values, layer.values)
    total = (errors**2).sum(axis=(0, 2, 3))
    np.testing.assert_allclose(found.squared_errors, total, rtol=0.02)
    np.testing.assert_allclose(found.errors, errors.sum(axis=(0, 2, 3)), atol=0.01 * np.sqrt(total * found.count).max())


def test_a_sample_of_the_places_has_nearly_the_same_means(given):
    model, layers, inputs = given
    found = moments_of(model, layers.found, PHOTOS, MANIFEST, squares=False)["grouped"]
    assert found.count < inputs["grouped"][:, 0].size
    assert found.squares is None
    expected = inputs["grouped"].mean(axis=(0, 2, 3)).ravel()
    spread = inputs["grouped"].std(axis=(0, 2, 3)).ravel()
    assert (np.abs((found.given / found.count).ravel() - expected) < 0.2 * spread).all()


def test_portions_hold_all_convolutions_in_order_and_as_many_as_fit(given, monkeypatch):
    layers = given[1].found
    assert [len(portion) for portion in in_portions(layers)] == [len(layers)]
    monkeypatch.setattr(moments_file, "_MOST_BYTES", 4 * 27 * 27 + 4 * 8 * 81)  # the first two
    portions = list(in_portions(layers))
    assert [layer for portion in portions for layer in portion] == list(layers)
    assert [layer.name for layer in portions[0]] == ["stem", "depth"]
    monkeypatch.setattr(moments_file, "_MOST_BYTES", 1)
    assert [len(portion) for portion in in_portions(layers)] == [1] * len(layers)
    assert list(in_portions([])) == []


def test_no_images_are_refused(given):
    with pytest.raises(CalibrationError, match="expected images to calibrate on, found none"):
        moments_of(given[0], given[1].found, [], MANIFEST, squares=False)
