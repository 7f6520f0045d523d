// The picture with what was found in it.

const OPACITY = 0.45, VISIBLE = 0.5;
const LEAST = 640; // of the drawing's longest side, where there is room: labels of small pictures can be read
const LINE = 2, LABEL = 14, NARROW = 480, SMALL_LABEL = 12; // pixels, as the page counts them

// A class has the same colour in every picture: steps of the golden ratio round the colour circle, as y12-infer draws.
export function colourOf(id) {
  const hue = (id * 0.618034) % 1;
  const channel = (n) => {
    const k = (n + 6 * hue) % 6;
    return Math.round(255 * 0.95 * (1 - 0.85 * Math.max(0, Math.min(k, 4 - k, 1))));
  };
  return [channel(5), channel(3), channel(1)];
}

// A body's left is yellow and its right blue, as y12-infer draws them: of COCO's person, odd points and even ones.
const LEFT = [255, 200, 0], RIGHT = [0, 170, 255];
const sideOf = (points, middle) => {
  const sides = new Set(points.map((point) => point % 2));
  return points.includes(0) || sides.size > 1 ? middle : sides.has(1) ? LEFT : RIGHT;
};

const css = ([r, g, b]) => `rgb(${r} ${g} ${b})`;
const inkOn = ([r, g, b]) => (0.299 * r + 0.587 * g + 0.114 * b > 140 ? "#000" : "#fff");

// Draw as large as the picture is, within `room` pixels across and the window's height.
export function draw(canvas, picture, found, model, room) {
  const { width, height } = found, sharp = window.devicePixelRatio || 1;
  const shown = Math.min(Math.max(1, LEAST / Math.max(width, height)), room / width, (0.85 * window.innerHeight) / height);
  const scale = shown * sharp, line = LINE * sharp;
  [canvas.width, canvas.height] = [Math.max(1, Math.round(width * scale)), Math.max(1, Math.round(height * scale))];
  canvas.style.width = `${canvas.width / sharp}px`;
  const label = (width * shown < NARROW ? SMALL_LABEL : LABEL) * sharp;
  const pen = canvas.getContext("2d");
  pen.imageSmoothingQuality = "high";
  pen.drawImage(picture.bitmap, 0, 0, canvas.width, canvas.height);
  const objects = found.objects.filter(() => model.task !== "classify").toReversed(); // the best is drawn last
  for (const object of objects) if (object.mask) drawMask(pen, object.mask, colourOf(object.id), scale);
  for (const object of objects) drawOutline(pen, object, scale, line);
  for (const object of objects) if (object.keypoints) drawPoints(pen, object, model.skeleton, scale, line);
  for (const object of objects) drawLabel(pen, object, scale, line, label);
}

function drawMask(pen, { left, top, width, height, bits }, [r, g, b], scale) {
  if (!bits.length) return;
  const image = new ImageData(width, height);
  bits.forEach((bit, i) => bit && image.data.set([r, g, b, 255], 4 * i));
  const layer = new OffscreenCanvas(width, height);
  layer.getContext("2d").putImageData(image, 0, 0);
  pen.globalAlpha = OPACITY;
  pen.drawImage(layer, left * scale, top * scale, width * scale, height * scale);
  pen.globalAlpha = 1;
}

function drawOutline(pen, { id, box: [x1, y1, x2, y2], corners }, scale, line) {
  const points = corners ?? [[x1, y1], [x2, y1], [x2, y2], [x1, y2]];
  pen.lineWidth = line;
  pen.strokeStyle = css(colourOf(id));
  pen.beginPath();
  for (const [x, y] of points) pen.lineTo(x * scale, y * scale);
  pen.closePath();
  pen.stroke();
}

function drawPoints(pen, { id, keypoints }, skeleton, scale, line) {
  const isSeen = (i) => keypoints[i] && keypoints[i][2] >= VISIBLE;
  const colour = (points) => css(skeleton.length ? sideOf(points, colourOf(id)) : colourOf(id));
  pen.lineWidth = line;
  for (const edge of skeleton.filter((edge) => edge.every(isSeen))) {
    pen.strokeStyle = colour(edge);
    pen.beginPath();
    for (const i of edge) pen.lineTo(keypoints[i][0] * scale, keypoints[i][1] * scale);
    pen.stroke();
  }
  keypoints.forEach(([x, y], i) => {
    if (!isSeen(i)) return;
    pen.fillStyle = colour([i]);
    pen.beginPath();
    pen.arc(x * scale, y * scale, 1.5 * line, 0, 2 * Math.PI);
    pen.fill();
  });
}

function drawLabel(pen, { id, name, score, box: [x1, y1] }, scale, line, size) {
  const colour = colourOf(id);
  const text = `${name.length > 40 ? `${name.slice(0, 39)}…` : name} ${score.toFixed(2)}`;
  pen.font = `600 ${size}px system-ui, sans-serif`;
  pen.textBaseline = "top";
  const width = pen.measureText(text).width + 0.6 * size, height = 1.35 * size;
  const x = Math.max(0, Math.min(x1 * scale - line / 2, pen.canvas.width - width));
  const y = Math.max(0, y1 * scale - height);
  pen.fillStyle = css(colour);
  pen.fillRect(x, y, width, height);
  pen.fillStyle = inkOn(colour);
  pen.fillText(text, x + 0.3 * size, y + 0.2 * size);
}
