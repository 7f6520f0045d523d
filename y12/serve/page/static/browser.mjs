// Detection in the browser: the .onnx by ONNX Runtime Web, in a worker that is ended when it takes too long.
const WASM = { wasm: "ort-wasm-simd-threaded.wasm", webgpu: "ort-wasm-simd-threaded.asyncify.wasm" };
const OPEN_S = 120, DETECT_S = 120;
const beside = (name) => new URL(`../${name}`, import.meta.url);

export async function browserDetector(model, processor, say) {
  const bytes = await fetched("model.onnx", "the model", say);
  const wasm = await fetched(`ort/${WASM[processor]}`, "ONNX Runtime Web", say);
  say("Preparing the model");
  const worker = new Asked(new Worker(new URL("worker.mjs", import.meta.url), { type: "module" }));
  let threads;
  try {
    ({ threads } = await worker.ask("open", { facts: model, bytes, wasm, processor }, [bytes.buffer, wasm], OPEN_S));
  } catch (error) {
    worker.end();
    const remedy = processor === "webgpu" ? "choose the CPU" : "is page/model.json's model in this folder, and does its host allow workers and WebAssembly?";
    throw new Error(`The model could not be prepared (${error.message}): ${remedy}`);
  }
  const last = {};
  return {
    where: processor === "webgpu" ? "by this browser, on the GPU" : `by this browser, on the CPU with ${threads ? "threads" : "one thread"}`,
    close: () => worker.end(),
    // Everything above the model's own least score is kept, so that the slider asks for nothing anew.
    async detect(picture, { conf }) {
      if (last.picture !== picture) {
        if (!picture.bitmap) throw new Error("expected a picture that this browser can read, found another file, or one that is damaged");
        Object.assign(last, { picture: null }, await worker.ask("detect", { bitmap: picture.bitmap }, [], DETECT_S));
        last.picture = picture;
      }
      const { ms, truncated, objects } = last;
      return { ms, truncated, width: picture.bitmap.width, height: picture.bitmap.height, objects: objects.filter(({ score }) => score > conf) };
    },
  };
}

// A file of this folder, with how much of it has come.
async function fetched(name, what, say) {
  const answer = await fetch(beside(name));
  if (!answer.ok) throw new Error(`${what}: expected the file ${name} beside this page, its host answered ${answer.status}`);
  const total = Number(answer.headers.get("content-length")), parts = [];
  let size = 0;
  for (const reader = answer.body.getReader(); ; ) {
    const { done, value } = await reader.read();
    if (done) break;
    parts.push(value);
    size += value.length;
    say(`Loading ${what}: ${(size / 2 ** 20).toFixed(1)}${total >= size ? ` of ${(total / 2 ** 20).toFixed(1)}` : ""} MB`, true);
  }
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}

// A worker that answers one question after the other, each within its time.
class Asked {
  #worker;
  #turn = 0;
  #waiting = new Map();
  #ended = null;

  constructor(worker) {
    this.#worker = worker;
    worker.onmessage = ({ data: { turn, value, error } }) => this.#answer(turn, value, error);
    worker.onerror = (event) => this.#endAll(event.message || "the worker was not started");
  }

  ask(what, given, transfer, limitS) {
    if (this.#ended) return Promise.reject(new Error(`${this.#ended}: load this page again`));
    const turn = ++this.#turn;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.#endAll(`expected an answer within ${limitS} s, found none`), 1000 * limitS);
      this.#waiting.set(turn, { resolve, reject, timer });
      this.#worker.postMessage({ turn, what, given }, transfer.map((part) => part.buffer ?? part));
    });
  }

  end() {
    this.#endAll("ended");
  }

  #answer(turn, value, error) {
    const waiting = this.#waiting.get(turn);
    if (!waiting) return;
    clearTimeout(waiting.timer);
    this.#waiting.delete(turn);
    if (error === undefined) waiting.resolve(value);
    else waiting.reject(new Error(error));
  }

  #endAll(why) {
    this.#ended ??= why;
    this.#worker.terminate();
    for (const turn of [...this.#waiting.keys()]) this.#answer(turn, undefined, why);
  }
}
