// Masks as {left, top, width, height, bits}: bits is 1 where a pixel belongs to the object, row by row.

// The pixels whose centres lie in a box.
function pixelsInside([x1, y1, x2, y2], width, height) {
  const edge = (x, limit) => Math.ceil(Math.min(Math.max(x, 0), limit) - 0.5);
  const left = edge(x1, width), top = edge(y1, height);
  return { left, top, right: Math.max(left, edge(x2, width)), bottom: Math.max(top, edge(y2, height)) };
}

// The logit is the sum of coefficient x prototype, taken bilinearly at each pixel's centre; above 0 is the object.
export function maskFromPrototypes(coefficients, prototypes, [count, rows, columns], box, frame) {
  const { left, top, right, bottom } = pixelsInside(box, frame.width, frame.height);
  const logits = new Float32Array(rows * columns);
  for (let m = 0; m < count; m++) {
    const share = coefficients[m], from = m * rows * columns;
    for (let i = 0; i < logits.length; i++) logits[i] += share * prototypes[from + i];
  }
  const place = (i, scale, offset, size, input) =>
    Math.min(Math.max(((i + 0.5) * scale + offset) * (size / input) - 0.5, 0), size - 1);
  const xs = Float64Array.from({ length: right - left }, (_, i) => place(left + i, frame.scaleX, frame.left, columns, frame.inputWidth));
  const bits = new Uint8Array((bottom - top) * (right - left));
  let to = 0;
  for (let y = top; y < bottom; y++) {
    const v = place(y, frame.scaleY, frame.top, rows, frame.inputHeight), y0 = Math.floor(v), down = v - y0;
    const upper = y0 * columns, lower = Math.min(y0 + 1, rows - 1) * columns;
    for (const u of xs) {
      const x0 = Math.floor(u), x1 = Math.min(x0 + 1, columns - 1), across = u - x0;
      const first = logits[upper + x0] * (1 - across) + logits[upper + x1] * across;
      const second = logits[lower + x0] * (1 - across) + logits[lower + x1] * across;
      bits[to++] = first * (1 - down) + second * down > 0 ? 1 : 0;
    }
  }
  return { left, top, width: right - left, height: bottom - top, bits };
}

// COCO's compressed run lengths, over the whole picture column by column: numbers of 5 bits a character, lowest first,
// with 32 where more follow and 16 as the sign; from the fourth on, each is told as its difference from the last but one.
export function runsFrom(text) {
  const runs = [];
  for (let at = 0; at < text.length; ) {
    let value = 0, shift = 0, code;
    do {
      code = text.charCodeAt(at++) - 48;
      value |= (code & 31) << shift;
      shift += 5;
    } while (code & 32);
    if (code & 16 && shift < 32) value |= -1 << shift;
    runs.push(runs.length > 2 ? value + runs[runs.length - 2] : value);
  }
  return runs;
}

export function maskFromRuns({ size: [height, width], counts }, box) {
  const { left, top, right, bottom } = pixelsInside(box, width, height);
  const w = right - left, bits = new Uint8Array(w * (bottom - top));
  let at = 0, isSet = false;
  for (const run of runsFrom(counts)) {
    for (let i = at; isSet && i < at + run; i++) {
      const x = Math.floor(i / height) - left, y = (i % height) - top;
      if (x >= 0 && x < w && y >= 0 && y < bottom - top) bits[y * w + x] = 1;
    }
    at += run;
    isSet = !isSet;
  }
  return { left, top, width: w, height: bottom - top, bits };
}
