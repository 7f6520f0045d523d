"""Scores of real graphs for every task, by labels and by agreement with FP32."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from colour_network import (
    box_line,
    convolutions,
    damaged,
    drawings,
    manifest_of,
    network,
    outline_line,
    pose_line,
    set_for,
    write_image,
    write_images,
)

from y12.errors import DatasetError
from y12.exporter.evaluate.graph_results import CONF, USED_FLOOR, Outcome, detections_of, outcome_of
from y12.exporter.evaluate.scoring import figures_of, truth_from
from y12.exporter.evaluate.yardstick import Yardstick

TASKS = {
    "detect": ("boxes",),
    "segment": ("boxes", "masks"),
    "pose": ("boxes", "keypoints"),
    "multitask": ("boxes", "masks", "keypoints"),
    "obb": ("oriented boxes",),
}
LINES = {"detect": box_line, "segment": outline_line, "pose": pose_line, "obb": outline_line}
MIXED = dict.fromkeys(convolutions(), 0.1)


@pytest.mark.parametrize("task", TASKS)
def test_agreement_of_each_task(make_folder, task):
    manifest, graph = manifest_of(task), network(task)
    evaluation_set = set_for(make_folder(), manifest)
    reference = outcome_of(graph, manifest, evaluation_set)
    truth = truth_from(evaluation_set, reference)
    own = figures_of(truth, reference)
    assert truth.words == evaluation_set.truth == "detections of FP32"
    assert own == {f"{kind} {name}": pytest.approx(1) for kind in TASKS[task] for name in ("AP50-95", "AP50")}
    candidate = outcome_of(damaged(graph, MIXED), manifest, evaluation_set)
    other = figures_of(truth, candidate)
    assert all(other[name] < 0.99 for name in own if name.endswith("AP50-95"))
    loses(Yardstick(truth, reference), candidate, own, other)


def loses(yardstick, candidate, own, other):
    """Each figure's loss is that of pycocotools' own figures, with an interval around it."""
    lost = {name: 100 * (own[name] - other[name]) for name in own if name.endswith("AP50-95")}
    assert 1 < yardstick.points_apart(candidate) < 100
    assert max(lost.values()) > 1
    losses = yardstick.losses(candidate)
    assert {loss.figure: loss.points for loss in losses} == pytest.approx(lost)
    assert all(loss.low < loss.points < loss.high for loss in losses)
    assert {loss.truth for loss in losses} == {yardstick.truth}


@pytest.mark.parametrize("task", LINES)
def test_labels_of_each_task(make_yaml, task):
    manifest, graph = manifest_of(task), network(task)
    evaluation_set = set_for(make_yaml(LINES[task], "kpt_shape: [2, 3]" if task == "pose" else ""), manifest)
    reference = outcome_of(graph, manifest, evaluation_set)
    truth = truth_from(evaluation_set, reference)
    own = figures_of(truth, reference)
    assert truth.words == evaluation_set.truth == "labels"
    assert list(own) == [f"{kind} {name}" for kind in TASKS[task] for name in ("AP50-95", "AP50")]
    assert own[f"{TASKS[task][0]} AP50"] > 0.85  # the labels were drawn, and it finds what was drawn
    candidate = outcome_of(damaged(graph, MIXED), manifest, evaluation_set)
    loses(Yardstick(truth, reference), candidate, own, figures_of(truth, candidate))
    assert all(
        (loss.points, loss.low, loss.high) == (0, 0, 0) for loss in Yardstick(truth, reference).losses(reference)
    )
    agreement = truth_from(evaluation_set, reference, labels=False)
    assert agreement.words == "detections of FP32"
    assert figures_of(agreement, reference)[f"{TASKS[task][0]} AP50"] == pytest.approx(1)


def test_every_kind_is_there_for_agreement_where_the_labels_have_boxes_alone(make_yaml):
    manifest, graph = manifest_of("segment"), network("segment")
    evaluation_set = set_for(make_yaml(box_line), manifest)
    reference = outcome_of(graph, manifest, evaluation_set, every_kind=True)
    assert list(Yardstick(truth_from(evaluation_set, reference), reference).figures) == ["boxes AP50-95"]
    agreement = Yardstick(truth_from(evaluation_set, reference, labels=False), reference)
    assert agreement.figures == {"boxes AP50-95": pytest.approx(1), "masks AP50-95": pytest.approx(1)}
    assert outcome_of(graph, manifest, evaluation_set).kinds == ("bbox",)


def test_labels_say_what_fp32_misses(make_yaml):
    manifest = manifest_of()
    path = make_yaml(box_line)
    for file in (path.parent / "labels").iterdir():  # two in each image that nothing is at
        file.write_text(file.read_text() + "\n0 0.5 0.5 0.9 0.02\n1 0.5 0.5 0.02 0.9")
    evaluation_set = set_for(path, manifest)
    reference = outcome_of(network(), manifest, evaluation_set)
    figures = figures_of(truth_from(evaluation_set, reference), reference)
    assert figures["boxes AP50"] == pytest.approx(0.8, abs=0.01)  # of five labels of a class four are found


def test_a_model_of_several_tasks_without_masks_is_measured_without_them(make_folder):
    manifest, graph = manifest_of("multitask"), network("multitask", masks=False)
    evaluation_set = set_for(make_folder(), manifest)
    reference = outcome_of(graph, manifest, evaluation_set)
    figures = figures_of(truth_from(evaluation_set, reference), reference)
    assert list(figures) == ["boxes AP50-95", "boxes AP50", "keypoints AP50-95", "keypoints AP50"]
    assert list(figures.values()) == pytest.approx([1] * 4)


def test_without_keypoints_in_its_manifest_either(make_folder):
    manifest = manifest_of("multitask", kpt_shape=None)
    graph = network("multitask")
    del graph.graph.output[2 + [o.name for o in graph.graph.output][2:].index("keypoints")]
    evaluation_set = set_for(make_folder(), manifest)
    reference = outcome_of(graph, manifest, evaluation_set)
    assert truth_from(evaluation_set, reference).kinds == ("bbox", "segm")


def test_keypoints_that_fp32_does_not_see_need_not_be_found(make_folder):
    manifest, evaluation_set = manifest_of("pose"), set_for(make_folder(), manifest_of("pose"))
    reference = outcome_of(network("pose"), manifest, evaluation_set)
    labels = truth_from(evaluation_set, reference).coco["annotations"]
    assert {value for label in labels for value in label["keypoints"][2::3]} == {0, 2}
    for label, result in zip(labels, reference.sure, strict=True):
        assert [v == 2 for v in label["keypoints"][2::3]] == [v >= 0.5 for v in result["keypoints"][2::3]]
    moved = []  # only what is not seen: by half the image
    for result in reference.results:
        x, y, seen = (list(result["keypoints"][i::3]) for i in range(3))
        x = [value if v >= 0.5 else value + 32 for value, v in zip(x, seen, strict=True)]
        moved.append(result | {"keypoints": [v for point in zip(x, y, seen, strict=True) for v in point]})
    candidate = Outcome(moved, reference.sizes_hw, reference.category_ids, reference.kinds)
    assert figures_of(truth_from(evaluation_set, reference), candidate)["keypoints AP50-95"] == pytest.approx(1)


def write_classes(folder, colours):
    """An image of one colour for each; they lie in the folder that is named first."""
    for i, (name, bgr) in enumerate(colours):
        path = folder / name / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), np.full((64, 64, 3), bgr, np.uint8))
    return folder


BLUE, GREEN, RED = (200, 0, 0), (0, 200, 0), (0, 0, 200)


def test_a_classifier_by_folders_and_by_agreement(tmp_path):
    manifest, graph = manifest_of("classify"), network("classify")
    folder = write_classes(tmp_path / "tree", [("red", RED), ("red", BLUE), ("green", GREEN), ("blue", BLUE)])
    evaluation_set = set_for(folder, manifest)
    reference = outcome_of(graph, manifest, evaluation_set)
    assert figures_of(truth_from(evaluation_set, reference), reference) == {"top-1": 0.75}
    agreement = truth_from(evaluation_set, reference, labels=False)
    assert (agreement.words, agreement.kinds) == ("detections of FP32", ())
    assert figures_of(agreement, reference) == {"top-1": 1}
    swapped = damaged(graph, {})
    conv = next(node for node in swapped.graph.node if node.name == "/model.3/conv/Conv")
    weight = next(w for w in swapped.graph.initializer if w.name == conv.input[1])
    weight.raw_data = np.eye(3, dtype=np.float32)[[1, 0, 2]].tobytes()  # red for green
    candidate = outcome_of(swapped, manifest, evaluation_set)
    assert figures_of(truth_from(evaluation_set, reference), candidate) == {"top-1": 0.25}
    assert figures_of(agreement, candidate) == {"top-1": 0.5}
    (loss,) = Yardstick(truth_from(evaluation_set, reference), reference).losses(candidate)
    assert (loss.figure, loss.points) == ("top-1", 50)
    assert loss.low < 50 < loss.high


def test_a_model_that_finds_nothing_needs_labels(tmp_path):
    manifest = manifest_of()
    write_image(tmp_path / "black" / "a.png", [])
    evaluation_set = set_for(tmp_path / "black", manifest)
    reference = outcome_of(network(), manifest, evaluation_set)
    with pytest.raises(DatasetError, match=r"black, 1 images: expected images in which .* nothing above 0.25"):
        truth_from(evaluation_set, reference)


def test_nothing_found_is_a_score_of_0(make_folder):
    manifest, evaluation_set = manifest_of(), set_for(make_folder(), manifest_of())
    truth = truth_from(evaluation_set, outcome_of(network(), manifest, evaluation_set))
    assert figures_of(truth, Outcome([], {})) == {"boxes AP50-95": 0, "boxes AP50": 0}


def test_a_part_of_the_images(make_folder):
    manifest, evaluation_set = manifest_of(), set_for(make_folder(), manifest_of())
    whole = outcome_of(network(), manifest, evaluation_set, used=True)
    part = whole.of({2, 3})
    assert set(part.sizes_hw) == {result["image_id"] for result in part.results} == {2, 3}
    assert {result["image_id"] for result in part.used} == {2, 3}
    assert len(part.results) == sum(result["image_id"] in (2, 3) for result in whole.results)
    assert (part.kinds, part.category_ids) == (whole.kinds, whole.category_ids)
    assert figures_of(truth_from(evaluation_set, part), part)["boxes AP50-95"] == pytest.approx(1)


@pytest.mark.parametrize("task", ["segment", "pose"])
@pytest.mark.parametrize("missing", [[1], [1, 2, 3, 4, 5, 6]])
def test_without_results_that_no_figure_is_about_every_figure_is_the_same(make_folder, task, missing):
    """FP32 is taken not to find the second class, in the first image or in any."""
    manifest, graph = manifest_of(task), network(task)
    evaluation_set = set_for(make_folder(), manifest)
    found = outcome_of(graph, manifest, evaluation_set)
    left = [r for r in found.results if r["category_id"] == 0 or r["image_id"] not in missing]
    reference = replace(found, results=left)
    yardstick = Yardstick(truth_from(evaluation_set, reference), reference)
    assert yardstick.categories_by_image[1] == {0}
    worse = damaged(graph, MIXED)
    whole = outcome_of(worse, manifest, evaluation_set)
    near = outcome_of(worse, manifest, evaluation_set, wanted=yardstick.categories_by_image)
    if len(missing) == 1:  # elsewhere there are some of the second class: here its results are wrong wherever they lie
        boxes, others = ([(r["image_id"], r["bbox"]) for r in each.results] for each in (near, whole))
        assert boxes == others
        undrawn = [r["category_id"] for r, all_of_it in zip(near.results, whole.results, strict=True) if r != all_of_it]
        assert set(undrawn) == ({1} if task == "segment" else set())
    else:
        assert {r["category_id"] for r in near.results} == {0} < {r["category_id"] for r in whole.results}
    assert yardstick.losses(near) == yardstick.losses(whole)
    assert yardstick.points_apart(near) == yardstick.points_apart(whole)
    assert near.sizes_hw == whole.sizes_hw


def test_progress_counts_images_up_to_their_number(make_folder):
    manifest, seen = manifest_of(), []
    outcome_of(network(), manifest, set_for(make_folder(), manifest), progress=lambda *both: seen.append(both))
    assert seen == [(done, 6) for done in range(1, 7)]


def test_results_as_used_have_one_class_to_a_box(make_folder):
    manifest, graph, drawn = manifest_of(), network(), drawings()
    evaluation_set = set_for(make_folder(), manifest)
    both = outcome_of(graph, manifest, evaluation_set, used=True)
    alone = outcome_of(graph, manifest, evaluation_set)
    assert alone.results == both.results
    assert alone.used == ()
    assert min(r["score"] for r in both.used) > USED_FLOOR
    assert len(both.used) == sum(map(len, drawn)) < len(both.results)
    sure = [r for r in both.used if r["score"] > CONF]
    shown = detections_of(graph, manifest, [sample.path for sample in evaluation_set.samples])
    assert [r["score"] for r in sure] == [float(score) for detections in shown for score in detections.confidence]


def test_a_file_of_metadata_does_not_count(tmp_path):
    manifest, graph = manifest_of(), network()
    graph.metadata_props.add(key="y12", value="nonsense")
    image = write_images(tmp_path, drawings(images=1))[0]
    assert len(detections_of(graph, manifest, [image])[0]) == 8
