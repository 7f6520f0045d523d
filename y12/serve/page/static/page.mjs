// The page: a picture comes from a file, a drop or the camera; a detector finds objects; they are drawn and listed.
import { browserDetector } from "./browser.mjs";
import { colourOf, draw } from "./draw.mjs";
import { serverDetector } from "./server.mjs";

const MOST_PIXELS = 128e6; // as y12 takes from a file
const PAUSE_MS = 150; // after which a slider counts as left alone
const at = Object.fromEntries(Array.from(document.querySelectorAll("[id]"), (element) => [element.id, element]));
export const now = { model: null, picture: null, found: null };
let detector = null, asking = null, stream = null;

function say(text, state, isBad = false) {
  at.main.dataset.state = state;
  at.status.classList.toggle("bad", isBad);
  if (at.status.textContent !== text) at.status.textContent = text;
}

function fail(error) {
  const text = String(error?.message ?? error).replaceAll(/\s+/g, " ");
  say(text.length > 500 ? `${text.slice(0, 240)} … ${text.slice(-240)}` : text, "failed", true);
}

// What stands in the table and in the picture's description, in words.
function summary({ objects, truncated, ms }, name) {
  const counts = new Map();
  for (const object of objects) counts.set(object.name, (counts.get(object.name) ?? 0) + 1);
  const list = Array.from(counts, ([word, count]) => `${count} ${word}`).join(", ");
  const isWhole = now.model.task === "classify";
  const what = isWhole ? `${name}: ${objects[0]?.name ?? "no class"}` : `${name}: ${objects.length} ${objects.length === 1 ? "object" : "objects"}${list && `: ${list}`}`;
  return { what, status: `${what}. ${Math.round(ms)} ms${truncated ? "; there may be more than the model lists" : ""}` };
}

function listed(object) {
  const row = document.createElement("tr"), [x1, y1, x2, y2] = object.box;
  const cells = [object.name, object.score.toFixed(3), `${x1.toFixed(0)}, ${y1.toFixed(0)}`, `${(x2 - x1).toFixed(0)}x${(y2 - y1).toFixed(0)}`];
  for (const text of now.model.task === "classify" ? [...cells.slice(0, 2), "", ""] : cells) {
    row.append(Object.assign(document.createElement("td"), { textContent: text }));
  }
  row.firstChild.style.setProperty("--class", `rgb(${colourOf(object.id).join(" ")})`);
  return row;
}

// Beside the table, or above it, as the style has it.
function redraw() {
  if (!now.found || !now.picture.bitmap) return;
  const room = at.found.clientWidth * (matchMedia("(min-width: 60rem)").matches ? 0.66 : 1);
  draw(at.drawn, now.picture, now.found, now.model, room);
}

function show(picture, found) {
  now.found = found;
  const { what, status } = summary(found, picture.name);
  at.figure.hidden = !picture.bitmap;
  at.objects.hidden = false;
  redraw();
  at.drawn.setAttribute("aria-label", what);
  at.caption.textContent = what;
  at.rows.replaceChildren(...found.objects.map(listed));
  say(picture.bitmap ? status : `${status}. This browser cannot show a file of this kind: what was found stands in the table`, "done");
}

function clear() {
  now.found = null;
  at.figure.hidden = at.objects.hidden = true;
}

// Ask the detector of the picture at hand; what was asked before counts no more.
async function detect() {
  const picture = now.picture;
  if (!picture || !detector) return;
  asking?.abort();
  const mine = (asking = new AbortController());
  if (!stream) say(`${picture.name}: looking`, "busy");
  try {
    const found = await detector.detect(picture, { conf: Number(at.conf.value), iou: Number(at.iou.value) }, mine.signal);
    if (asking === mine) show(picture, found);
  } catch (error) {
    if (asking !== mine) return;
    clear();
    stop();
    fail(`${picture.name}: ${error.message}`);
  }
}

async function open(files) {
  stop();
  asking?.abort();
  asking = now.picture = null;
  clear();
  if (files.length !== 1) return fail(files.length ? `Expected one picture, found ${files.length}: give one at a time` : "Expected a picture, found no file");
  const [file] = files;
  const mine = { name: file.name, file, bitmap: null };
  now.picture = mine;
  say(`${file.name}: reading`, "busy");
  try { // as y12 reads it: colour profiles ignored, alpha dropped
    mine.bitmap = await createImageBitmap(file, { colorSpaceConversion: "none", premultiplyAlpha: "none" });
  } catch { /* the detector says what it makes of it */ }
  if (now.picture !== mine) return;
  const { width = 0, height = 0 } = mine.bitmap ?? {};
  if (width * height > MOST_PIXELS) return fail(`${file.name}: expected at most ${MOST_PIXELS / 1e6} megapixels, found ${width}x${height}: give a smaller picture`);
  return detect();
}

async function jpegOf(bitmap) {
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  canvas.getContext("2d").drawImage(bitmap, 0, 0);
  return canvas.convertToBlob({ type: "image/jpeg", quality: 0.92 });
}

async function start() {
  if (!navigator.mediaDevices) return fail("Expected a camera, but browsers give one to pages of this machine and of https only: open this page so");
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" }, audio: false });
  } catch (error) {
    return fail(`Expected a camera, found none that may be used (${error.message}): connect one, and allow it to this page`);
  }
  at.camera.setAttribute("aria-pressed", "true");
  at.camera.textContent = "Stop the camera";
  at.status.setAttribute("aria-live", "off"); // else every picture would be read out
  at.video.srcObject = stream;
  await at.video.play();
  while (stream) {
    const bitmap = await createImageBitmap(at.video);
    if (!stream) break;
    now.picture?.isFrame && now.picture.bitmap.close();
    now.picture = { name: "Camera", file: now.model.runs === "server" ? await jpegOf(bitmap) : null, bitmap, isFrame: true };
    await detect();
    await new Promise(requestAnimationFrame);
  }
}

function stop() {
  stream?.getTracks().forEach((track) => track.stop());
  stream = at.video.srcObject = null;
  at.camera.setAttribute("aria-pressed", "false");
  at.camera.textContent = "Use the camera";
  at.status.removeAttribute("aria-live");
}

function drop(event) {
  event.preventDefault();
  document.body.classList.remove("dropping");
  if (detector && event.dataTransfer.files.length) open(event.dataTransfer.files);
}

function listen() {
  let timer = 0;
  for (const name of ["conf", "iou"]) {
    const tell = () => (at[`${name}-value`].textContent = Number(at[name].value).toFixed(2));
    at[name].addEventListener("input", () => {
      tell();
      clearTimeout(timer);
      timer = setTimeout(detect, PAUSE_MS);
    });
    tell();
  }
  at.file.addEventListener("change", () => open(at.file.files));
  at.camera.addEventListener("click", () => (stream ? stop() : start().catch(fail)));
  at.processor.addEventListener("change", () => prepare().then(detect, fail));
  window.addEventListener("resize", redraw);
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    document.body.classList.add("dropping");
  });
  document.addEventListener("dragleave", (event) => event.relatedTarget || document.body.classList.remove("dropping"));
  document.addEventListener("drop", drop);
}

function tellModel(model) {
  document.title = `${model.name}: try it`;
  at.model.textContent = model.name;
  at.about.textContent = `${model.words}. Classes: ${model.names.slice(0, 12).join(", ")}${model.names.length > 12 ? ` and ${model.names.length - 12} more` : ""}`;
  at.licence.textContent = model.licence;
  Object.assign(at.conf, { min: model.conf_least, max: 1 });
  at.conf.value = model.conf;
  at.iou.value = model.iou;
  at["iou-asked"].hidden = !model.iou_choice;
  at.decided.hidden = !model.decided;
  at.decided.textContent = model.decided;
}

// Make the detector ready; a choice of processors is given where there is one.
async function prepare() {
  for (const name of ["file", "camera", "conf", "iou"]) at[name].disabled = true;
  detector?.close();
  detector = null;
  const progress = (text) => say(text, "loading");
  const made = now.model.runs === "server" ? serverDetector(now.model) : await browserDetector(now.model, at.processor.value, progress);
  detector = made;
  for (const name of ["file", "camera", "conf", "iou"]) at[name].disabled = false;
  at.where.textContent = `Pictures are looked at ${made.where}.`;
  say("Ready: choose a picture", "ready");
}

async function main() {
  const answer = await fetch(new URL("model.json", import.meta.url));
  if (!answer.ok) throw new Error(`Expected the file page/model.json beside this page, its host answered ${answer.status}`);
  const model = (now.model = await answer.json());
  tellModel(model);
  listen();
  const adapter = model.webgpu && (await navigator.gpu?.requestAdapter().catch(() => null));
  at["processor-asked"].hidden = !adapter;
  at.processor.value = adapter ? "webgpu" : "wasm";
  await prepare();
}

main().catch(fail);
