// Detection by the server that this page came from.
import { maskFromRuns } from "./masks.mjs";

export function serverDetector(model) {
  return {
    where: "by the server that this page came from; it does not keep them",
    close() {},
    async detect(picture, { conf, iou }, signal) {
      const query = new URLSearchParams({ conf });
      if (model.iou_choice) query.set("iou", iou);
      if (model.has_masks) query.set("masks", "rle");
      const start = performance.now();
      const asked = { method: "POST", body: picture.file, headers: { accept: "application/json" }, signal };
      const answer = await fetch(`detect?${query}`, asked).catch((error) => {
        throw new Error(`the server cannot be reached, or closed the connection (${error.message}): is it running?`);
      });
      const said = await answer.json().catch(() => ({}));
      if (!answer.ok) throw new Error(said.error ?? `the server answered ${answer.status}`);
      return { ms: performance.now() - start, truncated: said.truncated, width: said.width, height: said.height, objects: said.detections.map(objectFrom) };
    },
  };
}

function objectFrom(record) {
  const object = { id: record.class_id, name: record.class_name, score: record.confidence, box: record.box_xyxy };
  if (record.corners) object.corners = record.corners;
  if (record.keypoints) object.keypoints = record.keypoints;
  if (record.segmentation) object.mask = maskFromRuns(record.segmentation, record.box_xyxy);
  return object;
}
