// The network and all that is computed beside it, away from the page's own thread: the page stays usable, and can end it.
import { objectsFrom } from "./decode.mjs";
import { blobFrom, fit } from "./letterbox.mjs";

const BUILDS = { wasm: "ort.wasm.min.mjs", webgpu: "ort.webgpu.min.mjs" };
let ort, session, model;

async function open({ facts, bytes, wasm, processor }) {
  ort = await import(`../ort/${BUILDS[processor]}`);
  ort.env.wasm.wasmBinary = wasm;
  ort.env.wasm.numThreads = crossOriginIsolated ? 0 : 1; // 0: the library's own choice
  session = await ort.InferenceSession.create(bytes, { executionProviders: [processor] });
  model = facts;
  return { threads: crossOriginIsolated };
}

function pixelsOf(bitmap) {
  const pen = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d", { willReadFrequently: true });
  pen.drawImage(bitmap, 0, 0);
  return pen.getImageData(0, 0, bitmap.width, bitmap.height).data;
}

async function detect({ bitmap }) {
  const frame = fit(bitmap.width, bitmap.height, model.input_hw);
  const blob = blobFrom(pixelsOf(bitmap), frame);
  const start = performance.now();
  const input = new ort.Tensor("float32", blob, [1, 3, ...model.input_hw]);
  const outputs = await session.run({ [session.inputNames[0]]: input });
  return { ms: performance.now() - start, ...objectsFrom(outputs, frame, model) };
}

const WORK = { open, detect };

onmessage = async ({ data: { turn, what, given } }) => {
  try {
    postMessage({ turn, value: await WORK[what](given) });
  } catch (error) {
    postMessage({ turn, error: String(error?.message ?? error) });
  }
};
