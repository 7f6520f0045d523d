"""Task-aligned assignment against a loop over objects and places, and small scenes whose answer is plain."""

import math

import pytest
import torch

from y12.exporter.train.assign.task_aligned import AlignOptions, inside_boxes, inside_oriented, task_aligned

STRIDES, SIZE = (8, 16, 32), 64


def cells(size=SIZE, strides=STRIDES):
    """Centres (A, 2) in pixels and strides (A,), level by level, row by row."""
    points = [((x + 0.5) * s, (y + 0.5) * s) for s in strides for y in range(size // s) for x in range(size // s)]
    return torch.tensor(points), torch.tensor([float(s) for s in strides for _ in range((size // s) ** 2)])


def expected(scores, overlaps, inside, present, options):
    """One image's object of each place and target, of lists (M, A)."""
    objects, places = range(len(present)), range(len(inside[0]))
    t = [[scores[m][a] ** options.alpha * overlaps[m][a] ** options.beta for a in places] for m in objects]
    claims = {}
    for m in objects:
        candidates = [a for a in places if inside[m][a] and present[m]]
        for a in sorted(candidates, key=lambda a: -t[m][a])[: options.topk]:
            claims.setdefault(a, []).append(m)
    owners = {a: max(claimants, key=lambda m: overlaps[m][a]) for a, claimants in claims.items()}
    targets = [0.0] * len(places)
    for a, m in owners.items():
        own = [b for b, other in owners.items() if other == m]
        largest = max(t[m][b] for b in own)
        targets[a] = t[m][a] * max(overlaps[m][b] for b in own) / largest if largest else 0.0
    return [owners.get(a, -1) for a in places], targets


@pytest.mark.parametrize("options", [AlignOptions(), AlignOptions(topk=3, alpha=0.5, beta=2.0), AlignOptions(topk=500)])
def test_equals_a_loop_over_objects(options):
    generator = torch.Generator().manual_seed(0)
    B, M, A = 3, 6, 60
    scores, overlaps = torch.rand(2, B, M, A, generator=generator, dtype=torch.float64).float()
    inside = torch.rand(B, M, A, generator=generator) > 0.5
    present = torch.tensor([[True] * 6, [True, False, True, True, False, False], [False] * 6])
    found = task_aligned(scores, overlaps, inside, present, options)
    assert (found.object_of.dtype, found.target.dtype) == (torch.int64, torch.float32)
    contested = 0
    for b in range(B):
        image = (x[b].double().tolist() for x in (scores, overlaps))
        owners, targets = expected(*image, inside[b].tolist(), present[b].tolist(), options)
        assert found.object_of[b].tolist() == owners
        assert found.target[b].tolist() == pytest.approx(targets, rel=1e-5)
        contested += sum(owner >= 0 for owner in owners)
    assert contested > 20


def test_a_contested_place_goes_to_the_larger_overlap_whatever_the_score():
    scores = torch.tensor([[[0.9, 0.0], [0.1, 0.0]]])
    overlaps = torch.tensor([[[0.5, 0.0], [0.6, 0.0]]])
    inside = torch.tensor([[[True, False], [True, False]]])
    found = task_aligned(scores, overlaps, inside, torch.ones(1, 2, dtype=torch.bool))
    assert found.object_of.tolist() == [[1, -1]]
    assert found.target[0].tolist() == pytest.approx([0.6, 0.0])


def test_the_best_place_learns_the_objects_largest_overlap():
    scores, overlaps = torch.tensor([[[0.9, 0.4, 0.8]]]), torch.tensor([[[0.5, 0.7, 0.1]]])
    found = task_aligned(scores, overlaps, torch.ones(1, 1, 3, dtype=torch.bool), torch.ones(1, 1, dtype=torch.bool))
    t = [s * u**6 for s, u in zip(scores.flatten().tolist(), overlaps.flatten().tolist(), strict=True)]
    assert found.object_of.tolist() == [[0, 0, 0]]
    assert found.target[0].tolist() == pytest.approx([t[0] / t[1] * 0.7, 0.7, t[2] / t[1] * 0.7], rel=1e-5)


def test_ten_places_at_most_by_default():
    overlaps = torch.linspace(0.1, 0.9, 13).view(1, 1, 13)
    everywhere = torch.ones(1, 1, 13, dtype=torch.bool)
    found = task_aligned(torch.ones(1, 1, 13), overlaps, everywhere, everywhere[..., 0])
    assert found.object_of.tolist() == [[-1] * 3 + [0] * 10]


@pytest.mark.parametrize("M", [0, 4])
def test_no_objects(M):
    A = 9
    shape = (2, M, A)
    present = torch.zeros(2, M, dtype=torch.bool)
    found = task_aligned(torch.rand(shape), torch.rand(shape), torch.ones(shape, dtype=torch.bool), present)
    assert found.object_of.eq(-1).all()
    assert found.object_of.shape == found.target.shape == (2, A)
    assert found.target.dtype == torch.float32
    assert not found.target.any()


def test_overlaps_of_nothing_and_almost_nothing():
    # To the sixth the second object's overlaps are below float32's least number, and those of the first are 0.
    scores = torch.tensor([[[0.5, 0.5, 0.0, 0.0], [0.0, 0.0, 0.01, 0.02]]])
    overlaps = torch.tensor([[[0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 2e-20, 2e-20]]])
    inside = torch.tensor([[[True, True, False, False], [False, False, True, True]]])
    found = task_aligned(scores, overlaps, inside, torch.ones(1, 2, dtype=torch.bool))
    assert found.object_of.tolist() == [[0, 0, 1, 1]]
    assert found.target[0].tolist() == pytest.approx([0.0, 0.0, 1e-20, 2e-20], rel=1e-6, abs=0)


def test_no_graph_is_kept():
    scores = torch.rand(1, 2, 5, requires_grad=True)
    everywhere = torch.ones(1, 2, 5, dtype=torch.bool)
    found = task_aligned(scores, torch.rand(1, 2, 5, requires_grad=True), everywhere, everywhere[..., 0])
    assert not found.target.requires_grad


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_widened(dtype):
    # 0.01^6 = 1e-12 is 0 in half precision.
    scores, overlaps = torch.full((1, 1, 2), 0.5, dtype=dtype), torch.tensor([[[0.01, 0.02]]], dtype=dtype)
    found = task_aligned(scores, overlaps, torch.ones(1, 1, 2, dtype=torch.bool), torch.ones(1, 1, dtype=torch.bool))
    assert found.target.dtype == torch.float32
    assert found.target[0].tolist() == pytest.approx([0.02 / 64, 0.02], rel=0.02)


def test_inside_boxes_of_a_cell_and_more():
    points, strides = cells()
    generator = torch.Generator().manual_seed(0)
    low, size = torch.rand(2, 2, 5, 2, generator=generator) * 40
    boxes = torch.cat((low, low + size + 8), -1)
    inside = inside_boxes(points, boxes, strides)
    for b in range(2):
        for m in range(5):
            left, top, right, bottom = boxes[b, m].tolist()
            wanted = [left <= x <= right and top <= y <= bottom for x, y in points.tolist()]
            assert inside[b, m].tolist() == wanted


def test_a_small_object_gets_a_place_wherever_it_lies():
    points, strides = cells()
    generator = torch.Generator().manual_seed(0)
    centres = 4 + torch.rand(1, 2000, 2, generator=generator) * (SIZE - 8)
    centres[0, :3] = torch.tensor([[8.0, 8.0], [8.0, 12.0], [12.0, 12.0]])  # on a corner, on an edge, on a centre
    size = torch.rand(1, 2000, 2, generator=generator) * 3
    boxes = torch.cat((centres - size / 2, centres + size / 2), -1)
    assert not inside_boxes(points, boxes, strides, least=0.0).any(2).all()
    inside = inside_boxes(points, boxes, strides)
    assert inside.any(2).all()
    offsets = (points - centres.unsqueeze(2)).abs().amax(3)
    assert offsets[inside].max() <= 4  # half a cell of the finest level, also on the others
    assert [inside[0, m, strides == 8].sum().item() for m in range(3)] == [4, 2, 1]


def test_only_sides_below_a_cell_are_widened():
    points, strides = cells()
    boxes = torch.tensor([[[30.0, 8.0, 31.0, 40.0]]])  # between two columns of centres, 28 and 36
    inside = inside_boxes(points, boxes, strides)[0, 0]
    assert points[inside & (strides == 8)].tolist() == [[28.0, y] for y in (12.0, 20.0, 28.0, 36.0)]
    assert inside_boxes(points, boxes, strides, least=2.0)[0, 0, strides == 8].sum() == 8


@pytest.mark.parametrize("degrees", [0, 17, 45, 90, 133])
def test_inside_oriented_is_the_polygon(degrees):
    points, strides = cells()
    x, y, w, h, r = 30.3, 33.8, 41.0, 13.0, math.radians(degrees)
    boxes = torch.tensor([[[x - w / 2, y - h / 2, x + w / 2, y + h / 2]]])
    inside = inside_oriented(points, boxes, torch.tensor([[r]]), strides)[0, 0].tolist()
    along, across = (math.cos(r), math.sin(r)), (-math.sin(r), math.cos(r))
    corners = [
        (x + s * w / 2 * along[0] + t * h / 2 * across[0], y + s * w / 2 * along[1] + t * h / 2 * across[1])
        for s, t in [(-1, -1), (1, -1), (1, 1), (-1, 1)]
    ]
    for (px, py), found in zip(points.tolist(), inside, strict=True):
        sides = zip(corners, corners[1:] + corners[:1], strict=True)
        left_of_all = all((bx - ax) * (py - ay) - (by - ay) * (px - ax) >= 0 for (ax, ay), (bx, by) in sides)
        assert found == left_of_all
    assert any(inside)


def test_a_small_oriented_object_gets_a_place_whatever_its_angle():
    points, strides = cells()
    generator = torch.Generator().manual_seed(0)
    centres = 4 + torch.rand(1, 2000, 2, generator=generator) * (SIZE - 8)
    boxes = torch.cat((centres - 0.5, centres + 0.5), -1)
    angles = torch.rand(1, 2000, generator=generator) * math.pi
    assert inside_oriented(points, boxes, angles, strides).any(2).all()
    assert not inside_oriented(points, boxes, angles, strides, least=1.0).any(2).all()  # why it is sqrt(2)
