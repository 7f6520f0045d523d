"""The blocks that a budget keeps in FP16, with real graphs of which it is known what damages them."""

import json
from dataclasses import replace

import numpy as np
import onnx
import pytest
from colour_network import box_line, convolutions, damaged, manifest_of, network, set_for, write_image
from onnx import helper, numpy_helper

from y12.errors import BudgetError, DatasetError
from y12.exporter.evaluate.graph_results import outcome_of
from y12.exporter.precision.mixed import budget
from y12.exporter.precision.mixed.blocks import blocks_of
from y12.exporter.precision.mixed.budget import Divisible, budget_kept

HARM = 0.3


class Quantizer:
    """Damages what is not kept, and notes what it was asked for; even what is kept loses `rest`."""

    def __init__(self, graph, amounts, rest=0.0):
        self.graph, self.amounts, self.rest, self.requested = graph, amounts, rest, []

    def __call__(self, fp16_convolutions):
        self.requested.append(len(fp16_convolutions))
        harmed = damaged(self.graph, self.amounts, fp16_convolutions)
        return damaged(harmed, {"/model.0/conv/Conv": self.rest}) if self.rest else harmed


def divisible(amounts, depth=6, rest=0.0, **changes):
    """A network whose blocks do the named harm; each has as much of the MACs as its number."""
    graph, names = network(depth=depth), convolutions(depth)
    macs = {name: (i + 1) / sum(range(depth + 1)) for i, name in enumerate(names)}
    quantized = Quantizer(graph, {names[i]: amount for i, amount in amounts.items()}, rest)
    return Divisible(graph, quantized, blocks_of(names, macs), manifest_of(), **changes)


@pytest.fixture(autouse=True)
def _few_objects_may_tell_much(request, monkeypatch):
    if "one_object" not in request.node.name:
        monkeypatch.setattr(budget, "_OBJECTS_MORE", 0)


@pytest.fixture
def evaluation_set(make_folder):
    return set_for(make_folder(), manifest_of())


def steps_of(budget):
    return [len(point.fp16_blocks) for point in budget.curve]


def test_the_block_that_does_harm_is_found_and_kept(evaluation_set):
    budget = budget_kept(divisible({3: HARM}), evaluation_set, 0.5)
    assert [block.name for block in budget.blocks] == [f"model.{i}" for i in (3, 5, 4, 2, 1, 0)]  # then by their MACs
    assert budget.blocks[0].drop > 1
    assert [block.drop for block in budget.blocks[1:]] == pytest.approx([0] * 5)
    assert budget.chosen.fp16_blocks == ("model.3",)
    assert budget.chosen.drop == pytest.approx(0)
    assert budget.chosen.int8_macs == pytest.approx(1 - 4 / 21)
    assert steps_of(budget) == [0, 1, 6]
    assert budget.curve[0].drop > 1
    assert (budget.max_drop, budget.images, budget.data) == (0.5, 6, "images, 6 images")
    assert (budget.truth, budget.measure) == ("detections of FP32", "boxes AP50-95")


def test_costs_are_of_each_block_alone(evaluation_set):
    network = divisible({1: 0.05, 4: HARM, 2: 0.15})
    budget = budget_kept(network, evaluation_set, 0.5)
    assert [block.name for block in budget.blocks][:3] == ["model.4", "model.2", "model.1"]
    assert network.quantized.requested[:6] == [5] * 6
    assert (budget.blocks[0].convolutions, budget.blocks[0].macs) == (1, pytest.approx(5 / 21))
    assert budget.chosen.drop <= 0.5


def test_the_fewest_by_bisection(evaluation_set):
    network = divisible(dict.fromkeys(range(7), 0.2), depth=12)
    budget = budget_kept(network, evaluation_set, 0.001)
    assert len(budget.chosen.fp16_blocks) == 7
    assert steps_of(budget)[0] == 0
    assert steps_of(budget)[-1] == 12
    assert {6, 7} <= set(steps_of(budget))  # one fewer does not do
    assert set(budget.chosen.fp16_blocks) == {f"model.{i}" for i in range(7)}
    assert sorted(budget.curve, key=lambda point: -point.int8_macs) == list(budget.curve)
    assert budget.curve[-1].int8_macs == 0
    assert set(budget.curve[-1].fp16_blocks) == {f"model.{i}" for i in range(12)}
    assert all(point.drop > 0.001 for point in budget.curve if len(point.fp16_blocks) < 7)
    assert len(network.quantized.requested) == 12 + len(budget.curve)  # no division is measured twice


@pytest.mark.parametrize("most", [1, 2, 3, 7, 12, 23, 40])
@pytest.mark.parametrize("ends", [0.4, 1.0, 3.0])
def test_the_fewest_are_found_whatever_losses_have_to_do_with_costs(most, ends):
    """Losses that fall with each block, evenly, late or early, while costs say something else of where."""
    costs = np.random.default_rng(most).uniform(0, 5, most)
    for fewest in range(most + 1):
        allowed = 1 - (fewest / most) ** ends
        asked: list[int] = []

        def high_of(count, asked=asked):
            asked.append(count)
            return 1 - (count / most) ** ends

        budget._fewest(high_of, sorted(costs, reverse=True), allowed)
        assert fewest in asked
        assert fewest in (0, *(count + 1 for count in asked))  # one fewer was seen not to do
        assert len(set(asked)) == len(asked) <= budget._most_points(most)


def test_where_losses_go_with_costs_few_divisions_are_measured():
    costs = [8.0, 4, 2, 1, *[0.5] * 8]
    asked: list[int] = []

    def high_of(count):
        asked.append(count)
        return 0.1 + sum(costs[count:]) / 10

    budget._fewest(high_of, costs, 0.55)
    assert asked == [0, 12, 4, 3]


def test_costs_that_are_all_nothing_do_not_stop_the_search():
    asked: list[int] = []

    def high_of(count):
        asked.append(count)
        return 6 - count

    budget._fewest(high_of, [0.0] * 6, 2)
    assert {3, 4} <= set(asked)


def test_one_object_more_has_to_fit_within_the_budget(make_folder):
    """FP16 throughout loses nothing, and one object of eleven would be a tenth of all."""
    evaluation_set = set_for(make_folder(), manifest_of())
    lost = budget_kept(divisible({}), evaluation_set, 50)
    one = 100 / (lost.objects + 1)
    assert (lost.chosen.drop, lost.chosen.high) == (pytest.approx(0), pytest.approx(one))
    assert lost.chosen.losses[0].high == pytest.approx(0)
    with pytest.raises(BudgetError) as caught:
        budget_kept(divisible({}), evaluation_set, one - 0.01)
    assert str(caught.value) == (
        f"--max-drop {one - 0.01:g}: expected enough objects to tell that from chance, found {lost.objects} on images, "
        f"6 images, of which one is {one:.2f} points; name more images with --max-drop-data, or allow more"
    )
    kept = budget_kept(divisible({3: 0.08}), evaluation_set, one + 0.01)
    assert kept.chosen.fp16_blocks == ("model.3",)


def test_nothing_is_kept_where_nothing_is_lost(evaluation_set):
    budget = budget_kept(divisible({}), evaluation_set, 0)
    assert (budget.chosen.fp16_blocks, budget.chosen.int8_macs) == ((), pytest.approx(1))
    assert steps_of(budget) == [0, 6]


def test_what_is_in_int8_whatever_is_kept_counts_in_every_share(evaluation_set):
    """Attention that was asked for in INT8 belongs to no block, and does not make FP16 throughout a choice."""
    without, beside = (budget_kept(divisible({3: HARM}, always=a), evaluation_set, 0.5) for a in (0.0, 0.25))
    assert [p.int8_macs for p in beside.curve] == pytest.approx([0.25 + p.int8_macs for p in without.curve])
    assert beside.curve[-1].int8_macs == 0.25
    with pytest.raises(BudgetError, match="FP16 is the better choice here"):
        budget_kept(divisible(dict.fromkeys(range(6), HARM), always=0.25), evaluation_set, 0.001)


@pytest.mark.parametrize("depth", [4, 6, 12, 17])
def test_progress_does_not_exceed_its_total(evaluation_set, depth):
    seen = []
    amounts = dict.fromkeys(range(depth - 1), 0.2)
    budget_kept(divisible(amounts, depth), evaluation_set, 0.001, lambda done, most: seen.append((done, most)))
    assert [done for done, _ in seen] == list(range(1, len(seen) + 1))
    assert {most for _, most in seen} == {seen[0][1]}
    assert seen[-1][0] <= seen[-1][1]


def test_fp16_is_said_to_be_the_better_choice(evaluation_set):
    network = divisible(dict.fromkeys(range(6), HARM))
    with pytest.raises(BudgetError) as caught:
        budget_kept(network, evaluation_set, 0.001)
    said = str(caught.value)
    assert said.startswith("--max-drop 0.001: FP16 is the better choice here, use --half: INT8 throughout loses ")
    assert "points on images, 6 images (detections of FP32), and with INT8 for " in said
    assert said.endswith("; FP16 loses 0.00 (0.00 to 0.00)")
    assert "\n" not in said
    assert network.quantized.requested[-1] == 5  # all but one


def test_fp16_that_loses_too_much_itself(evaluation_set):
    with pytest.raises(BudgetError, match=r"allow more: FP16 does not keep to it either: .*; FP16 loses [1-9]"):
        budget_kept(divisible({}, rest=0.01), evaluation_set, 0.001)


def test_another_remainder_is_called_by_its_name(evaluation_set):
    network = divisible(dict.fromkeys(range(6), HARM), remainder="fp32")
    with pytest.raises(BudgetError, match=r"FP32 is the better choice here, drop --int8: .*; FP32 loses 0.00 "):
        budget_kept(network, evaluation_set, 0.001)


def test_labels_decide_where_they_can_and_agreement_ranks(make_yaml):
    path = make_yaml(box_line)
    for file in (path.parent / "labels").iterdir():  # half of the objects are not labelled
        file.write_text("\n".join(file.read_text().splitlines()[::2]))
    evaluation_set = set_for(path, manifest_of())
    budget = budget_kept(divisible({3: HARM}), evaluation_set, 15)
    assert (budget.truth, budget.undecided) == ("labels", None)
    assert budget.blocks[0].name == "model.3"
    assert [point.high > 15 for point in budget.curve] == [True, False, False]
    assert budget.chosen.fp16_blocks == ("model.3",)
    labels, agreement = budget.chosen.losses
    assert (labels.truth, agreement.truth) == ("labels", "detections of FP32")
    assert (budget.chosen.drop, budget.chosen.low, budget.chosen.high) == (labels.points, labels.low, labels.high)


def test_agreement_decides_where_labels_cannot_tell_so_few_points(make_yaml):
    path = make_yaml(box_line)
    for file in (path.parent / "labels").iterdir():
        file.write_text("\n".join(file.read_text().splitlines()[::2]))
    budget = budget_kept(divisible({3: HARM}), set_for(path, manifest_of()), 0.5)
    assert budget.truth == "detections of FP32"
    labels, agreement = budget.curve[0].losses
    assert budget.undecided == labels.high - labels.low > 0.5
    assert (budget.curve[0].drop, budget.curve[0].high) == (agreement.points, agreement.high)
    assert budget.chosen.fp16_blocks == ("model.3",)


def test_a_figure_within_the_budget_that_may_be_luck_is_not_enough(make_folder):
    """Harm in two of six images: on average 4 points and less, in some draws of the images far more."""
    network = divisible({3: 0.08})
    evaluation_set = set_for(make_folder(), manifest_of())
    lost = budget_kept(network, evaluation_set, 100).curve[0]
    assert lost.low < lost.drop < lost.high
    between = (lost.drop + lost.high) / 2
    assert budget_kept(network, evaluation_set, between).chosen.fp16_blocks == ("model.3",)
    assert budget_kept(network, evaluation_set, lost.high).chosen.fp16_blocks == ()


def test_labels_of_crowds_alone_leave_it_to_agreement(make_folder):
    folder = make_folder()
    images = [{"id": n, "file_name": file.name} for n, file in enumerate(sorted(folder.iterdir()), 1)]
    crowd = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [5, 5, 20, 20], "area": 400, "iscrowd": 1}
    categories = [{"id": n, "name": name} for n, name in enumerate(manifest_of().names, 1)]
    labels = folder / "labels.json"
    labels.write_text(json.dumps({"images": images, "annotations": [crowd], "categories": categories}))
    budget = budget_kept(divisible({3: HARM}), set_for(labels, manifest_of()), 0.5)
    assert (budget.truth, budget.undecided) == ("detections of FP32", None)
    assert budget.chosen.fp16_blocks == ("model.3",)


def fainter(graph):
    """The graph with a fifth of the scores: none is above 0.25."""
    copy = onnx.ModelProto()
    copy.CopyFrom(graph)
    for node in copy.graph.node:
        node.input[:] = ["faint" if name == "scores" else name for name in node.input]
    at = next(i for i, node in enumerate(copy.graph.node) if "scores" in node.output)
    copy.graph.node.insert(at + 1, helper.make_node("Mul", ["scores", "fifth"], ["faint"]))
    copy.graph.initializer.append(numpy_helper.from_array(np.float32(0.2), "fifth"))
    return copy


def test_labels_rank_where_fp32_is_sure_of_nothing(make_yaml):
    sure = divisible({3: HARM})
    faint = replace(
        sure, fp32=fainter(sure.fp32), quantized=lambda fp16_convolutions: fainter(sure.quantized(fp16_convolutions))
    )
    budget = budget_kept(faint, set_for(make_yaml(box_line), manifest_of()), 0.5)
    assert budget.blocks[0].name == "model.3"
    assert budget.chosen.fp16_blocks == ("model.3",)


def test_blocks_are_ranked_on_other_images_than_they_are_judged_on(evaluation_set, make_folder, tmp_path, monkeypatch):
    """On black images nothing is found; the calibration images alone tell which block does harm."""
    measured_on = []

    def watched(graph, manifest, images, **options):
        measured_on.append(images.data)
        return outcome_of(graph, manifest, images, **options)

    monkeypatch.setattr(budget, "outcome_of", watched)
    ranking = replace(evaluation_set, data="calibrated on")
    found = budget_kept(divisible({3: HARM}), evaluation_set, 0.5, ranking=ranking)
    assert found.chosen.fp16_blocks == ("model.3",)
    assert measured_on == [
        "images, 6 images",  # FP32
        *["calibrated on"] * 7,  # FP32, and each block
        *["images, 6 images"] * len(found.curve),
    ]


def test_ranking_takes_images_evenly_and_passes_over_those_without_detections(make_folder, monkeypatch):
    folder = make_folder()
    write_image(folder / "picture0.png", [])
    measured_on = []

    def watched(graph, manifest, evaluation_set, **options):
        measured_on.append([sample.path.stem[-1] for sample in evaluation_set.samples])
        return outcome_of(graph, manifest, evaluation_set, **options)

    monkeypatch.setattr(budget, "_RANKING_IMAGES", 3)
    monkeypatch.setattr(budget, "outcome_of", watched)
    budget_kept(divisible({}), set_for(folder, manifest_of()), 0)
    assert measured_on[1:7] == [["1", "2", "4"]] * 6
    assert [measured_on[0], *measured_on[7:]] == [list("012345")] * 3  # FP32, all in INT8, all in FP16


def test_a_budget_that_all_of_fp32_fits_into_is_refused(make_yaml):
    def elsewhere(cell):
        return f"{cell.class_id} 0.5 0.5 0.03 0.9"

    evaluation_set = set_for(make_yaml(elsewhere), manifest_of())
    with pytest.raises(DatasetError, match=r"--max-drop 0.5: FP32 itself has only 0.00 points on data.yaml, 6 images"):
        budget_kept(divisible({3: HARM}), evaluation_set, 0.5)


def test_images_in_which_nothing_is_found_are_refused(tmp_path):
    write_image(tmp_path / "black" / "a.png", [])
    with pytest.raises(DatasetError, match="nothing can be measured"):
        budget_kept(divisible({}), set_for(tmp_path / "black", manifest_of()), 1)
