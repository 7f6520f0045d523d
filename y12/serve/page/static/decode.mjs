// From the outputs of a graph that ends in NMS to objects in pixels of the picture.
import { toPictureX, toPictureY } from "./letterbox.mjs";
import { maskFromPrototypes } from "./masks.mjs";

const NO_FIT = "the model is another one than page/model.json says: bundle it again";

function output(outputs, name) {
  if (!outputs[name]) throw new Error(`expected an output ${name}, found ${Object.keys(outputs).join(", ")}: ${NO_FIT}`);
  return outputs[name];
}

// How many values a task adds to a row: mask coefficients, keypoints, angle.
function added(outputs, model) {
  const masks = model.protos ? output(outputs, model.protos).dims[1] : 0;
  return { coefficients: masks, keypoints: model.kpt_shape ? model.kpt_shape[0] * model.kpt_shape[1] : 0, angles: model.is_oriented ? 1 : 0 };
}

// Rows of x1 y1 x2 y2 score class and what the task adds.
const FORMS = {
  packed(outputs, width) {
    const { data, dims } = output(outputs, "detections");
    return { rows: cut(data, dims[2], width, Number(output(outputs, "num").data[0])), truncated: Boolean(output(outputs, "truncated").data[0]) };
  },
  split(outputs, width, sizes) {
    const parts = ["boxes", "scores", "classes", ...Object.keys(sizes).filter((name) => sizes[name])];
    const columns = parts.map((part) => output(outputs, `det_${part}`));
    const count = Number(output(outputs, "num_dets").data[0]);
    const most = columns[0].dims[1];
    const rows = Array.from({ length: count }, (_, i) =>
      Float32Array.from(columns.flatMap(({ data }) => Array.from(data.subarray((i * data.length) / most, ((i + 1) * data.length) / most), Number))));
    if (rows.length && rows[0].length !== width) throw new Error(`expected rows of ${width} values, found ${rows[0].length}: ${NO_FIT}`);
    return { rows, truncated: false };
  },
  rows(outputs, width) {
    const { data, dims } = output(outputs, "output0");
    return { rows: cut(data, dims[2], width, dims[1]).filter((row) => row[4] > 0), truncated: false };
  },
};

function cut(data, found, width, count) {
  if (found !== width) throw new Error(`expected rows of ${width} values, found ${found}: ${NO_FIT}`);
  return Array.from({ length: count }, (_, i) => data.subarray(i * width, (i + 1) * width));
}

// The objects, best first.
export function objectsFrom(outputs, frame, model) {
  const sizes = added(outputs, model);
  const width = 6 + sizes.coefficients + sizes.keypoints + sizes.angles;
  const { rows, truncated } = FORMS[model.form](outputs, width, sizes);
  for (const row of rows) {
    if (!row.every(Number.isFinite)) throw new Error("expected finite numbers of the network, found others: it does not run right on this processor");
    if (!(row[5] in model.names)) throw new Error(`expected classes of 0 to ${model.names.length - 1}, found ${row[5]}: ${NO_FIT}`);
  }
  const objects = rows.map((row) => objectFrom(row, sizes, outputs[model.protos], frame, model));
  return { objects: objects.sort((a, b) => b.score - a.score), truncated };
}

function objectFrom(row, sizes, protos, frame, model) {
  const object = { id: row[5], name: model.names[row[5]], score: row[4] };
  const keypoints = 6 + sizes.coefficients, angle = keypoints + sizes.keypoints;
  if (sizes.angles) {
    object.corners = cornersFrom(row, row[angle], frame);
    object.box = clipped(around(object.corners), frame);
  } else {
    const [x1, y1, x2, y2] = row;
    object.box = clipped([toPictureX(x1, frame), toPictureY(y1, frame), toPictureX(x2, frame), toPictureY(y2, frame)], frame);
  }
  if (sizes.keypoints) object.keypoints = pointsFrom(row.subarray(keypoints, angle), model.kpt_shape, frame);
  if (protos) object.mask = maskFromPrototypes(row.subarray(6, keypoints), protos.data, protos.dims.slice(1), object.box, frame);
  return object;
}

function clipped(box, frame) {
  return box.map((value, i) => Math.min(Math.max(value, 0), i % 2 ? frame.height : frame.width));
}

const around = (corners) => [
  Math.min(...corners.map((p) => p[0])), Math.min(...corners.map((p) => p[1])),
  Math.max(...corners.map((p) => p[0])), Math.max(...corners.map((p) => p[1])),
];

// Centre, width, height and angle in the input -> the corners in the picture. Where the two factors differ, by rounding,
// it stays a box: of the lengths that its sides get, along the direction that the width gets.
function cornersFrom([x, y, w, h], r, { scaleX, scaleY, left, top }) {
  const cos = Math.cos(r), sin = Math.sin(r);
  const turned = r + Math.atan2((cos * sin) / scaleY - (sin * cos) / scaleX, cos ** 2 / scaleX + sin ** 2 / scaleY);
  const along = (w * Math.hypot(cos / scaleX, sin / scaleY)) / 2, across = (h * Math.hypot(sin / scaleX, cos / scaleY)) / 2;
  const [cx, cy, c, s] = [(x - left) / scaleX, (y - top) / scaleY, Math.cos(turned), Math.sin(turned)];
  return [[-1, -1], [1, -1], [1, 1], [-1, 1]].map(([a, b]) => [cx + a * along * c - b * across * s, cy + a * along * s + b * across * c]);
}

// Points of x, y and, where the network says it, visibility.
function pointsFrom(values, [count, size], frame) {
  return Array.from({ length: count }, (_, i) => {
    const [x, y, visibility = 1] = values.subarray(i * size, (i + 1) * size);
    return [toPictureX(x, frame), toPictureY(y, frame), visibility];
  });
}
