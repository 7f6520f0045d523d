// Fit a picture into the network's input as y12 does on every other way to it: bilinearly, as OpenCV's INTER_LINEAR.
// A canvas resizes otherwise, which moves boxes and loses some.

const GRAY = 114;

// Python's round: a half goes to the even number.
export const evenly = (x) => (Math.abs(x % 1) === 0.5 ? 2 * Math.round(x / 2) : Math.round(x));

// Where a picture lies in the input, in pixels. Each axis has a true factor of its own, as sizes are rounded.
export function fit(width, height, [inputHeight, inputWidth]) {
  const scale = Math.min(inputHeight / height, inputWidth / width);
  const h = Math.max(1, evenly(height * scale));
  const w = Math.max(1, evenly(width * scale));
  const top = evenly((inputHeight - h) / 2 - 0.1); // -0.1: a half goes to the bottom and the right
  const left = evenly((inputWidth - w) / 2 - 0.1);
  return { width, height, inputHeight, inputWidth, w, h, top, left, scaleX: w / width, scaleY: h / height };
}

// For each of `size` samples the two source pixels and the share of the second: sample i lies at (i + 0.5) full / size - 0.5.
function blends(size, full) {
  const low = new Int32Array(size), high = new Int32Array(size), share = new Float32Array(size);
  for (let i = 0; i < size; i++) {
    const at = Math.min(Math.max(((i + 0.5) * full) / size - 0.5, 0), full - 1);
    low[i] = Math.floor(at);
    high[i] = Math.min(low[i] + 1, full - 1);
    share[i] = at - low[i];
  }
  return { low, high, share };
}

// RGBA pixels of the whole picture -> the input (3, H, W), RGB in 0-1.
export function blobFrom(pixels, frame) {
  const { width, height, inputHeight, inputWidth, w, h, top, left } = frame;
  const plane = inputHeight * inputWidth;
  const blob = new Float32Array(3 * plane).fill(GRAY / 255);
  const rows = blends(h, height), columns = blends(w, width);
  for (let y = 0; y < h; y++) {
    const upper = rows.low[y] * width, lower = rows.high[y] * width, down = rows.share[y];
    let to = (y + top) * inputWidth + left;
    for (let x = 0; x < w; x++, to++) {
      const l = columns.low[x], r = columns.high[x], across = columns.share[x];
      for (let c = 0; c < 3; c++) {
        const a = pixels[4 * (upper + l) + c], b = pixels[4 * (lower + l) + c];
        const first = a + (pixels[4 * (upper + r) + c] - a) * across;
        const second = b + (pixels[4 * (lower + r) + c] - b) * across;
        blob[c * plane + to] = Math.round(first + (second - first) * down) / 255;
      }
    }
  }
  return blob;
}

export const toPictureX = (x, frame) => (x - frame.left) / frame.scaleX;
export const toPictureY = (y, frame) => (y - frame.top) / frame.scaleY;
