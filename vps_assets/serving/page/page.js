// The seller's page: shows the photo, cuts what the camera wrote into it, asks, and tells the answer.

const find = (id) => document.getElementById(id);
const form = find("offer"), photo = find("photo"), taken = find("taken"), drop = find("drop"), answer = find("answer");
const MOST_BYTES = 20 * 2 ** 20 - 2 ** 16, WAITS_MS = 15000;
let chosen = null, asking = null, shown = "";

// --- the photo ---------------------------------------------------------------------------------------------------

// EXIF with nothing but the orientation (TIFF 6.0, one entry of tag 274), or nothing if it is upright.
function orientationOnly(exif) {
  const view = new DataView(exif.buffer, exif.byteOffset, exif.byteLength);
  const little = exif[0] === 0x49;
  try {
    const start = view.getUint32(4, little);
    for (let entry = 0; entry < view.getUint16(start, little); entry++) {
      const at = start + 2 + 12 * entry;
      const value = view.getUint16(at + 8, little);
      if (view.getUint16(at, little) === 274 && value > 1 && value < 9)
        return new Uint8Array([0x4d, 0x4d, 0, 42, 0, 0, 0, 8, 0, 1, 1, 0x12, 0, 3, 0, 0, 0, 1, 0, value, 0, 0, 0, 0, 0, 0]);
    }
  } catch { /* an EXIF block that is cut off says nothing */ }
  return null;
}

const EXIF = [0x45, 0x78, 0x69, 0x66, 0, 0];  // "Exif" and two zeros
const text = (bytes, at, length) => String.fromCharCode(...bytes.subarray(at, at + length));

// Segments up to the pixels: APP0 (JFIF), APP2 of colour profiles and APP14 (Adobe) say how pixels are meant; the other APPn
// and comments are about the photo, and go. What stands behind the picture (a second one) goes too.
function cutJpeg(bytes) {
  const parts = [bytes.subarray(0, 2)];
  let at = 2;
  while (at + 4 <= bytes.length && bytes[at] === 0xff && bytes[at + 1] !== 0xda) {
    const kind = bytes[at + 1], length = 2 + (bytes[at + 2] << 8 | bytes[at + 3]);
    const profile = kind === 0xe2 && text(bytes, at + 4, 11) === "ICC_PROFILE";
    if (kind < 0xe0 || kind === 0xe0 || kind === 0xee || profile || (kind > 0xef && kind !== 0xfe))
      parts.push(bytes.subarray(at, at + length));
    else if (kind === 0xe1 && text(bytes, at + 4, 4) === "Exif") {
      const kept = orientationOnly(bytes.subarray(at + 10, at + length));
      if (kept) parts.push(new Uint8Array([0xff, 0xe1, 0, 2 + EXIF.length + kept.length, ...EXIF, ...kept]));
    }
    at += length;
  }
  return [...parts, bytes.subarray(at, endOfPicture(bytes, at))];
}

// From the first scan to behind the end marker: scans, whose bytes never look like one, and tables between them.
function endOfPicture(bytes, from) {
  for (let at = from; at + 1 < bytes.length;) {
    const marker = bytes[at] === 0xff ? bytes[at + 1] : 0;
    if (marker === 0xd9) return at + 2;
    const inScan = marker === 0 || marker === 0xff || marker >= 0xd0 && marker <= 0xd7;
    at += inScan ? 1 : 2 + (bytes[at + 2] << 8 | bytes[at + 3]);
  }
  return bytes.length;
}

function crc(bytes) {
  let sum = ~0;
  for (const byte of bytes) {
    sum ^= byte;
    for (let bit = 0; bit < 8; bit++) sum = sum >>> 1 ^ (sum & 1 ? 0xedb88320 : 0);
  }
  return ~sum >>> 0;
}

const number = (value, little) => {
  const view = new DataView(new ArrayBuffer(4));
  view.setUint32(0, value, little);
  return new Uint8Array(view.buffer);
};
const letters = (word) => Uint8Array.from(word, (letter) => letter.charCodeAt(0));

function cutPng(bytes) {
  const parts = [bytes.subarray(0, 8)], view = new DataView(bytes.buffer);
  for (let at = 8; at + 12 <= bytes.length;) {
    const length = view.getUint32(at), kind = text(bytes, at + 4, 4), next = at + 12 + length;
    const kept = kind === "eXIf" ? orientationOnly(bytes.subarray(at + 8, at + 8 + length)) : null;
    if (kept) {
      const body = new Uint8Array([...letters("eXIf"), ...kept]);
      parts.push(number(kept.length), body, number(crc(body)));
    } else if (!["tEXt", "zTXt", "iTXt", "eXIf", "tIME"].includes(kind)) parts.push(bytes.subarray(at, next));
    at = next;
    if (kind === "IEND") break;
  }
  return parts;
}

function cutWebp(bytes) {
  const parts = [], view = new DataView(bytes.buffer);
  for (let at = 12; at + 8 <= bytes.length;) {
    const kind = text(bytes, at, 4), length = view.getUint32(at + 4, true), next = at + 8 + length + length % 2;
    let exif = kind === "EXIF" ? bytes.subarray(at + 8, at + 8 + length) : null;
    if (exif && text(exif, 0, 4) === "Exif") exif = exif.subarray(6);
    const kept = exif && orientationOnly(exif);
    if (kept) parts.push(letters("EXIF"), number(kept.length, true), kept);
    else if (kind !== "EXIF" && kind !== "XMP ") parts.push(bytes.subarray(at, next));
    at = next;
  }
  const size = parts.reduce((sum, part) => sum + part.length, 4);
  return [letters("RIFF"), number(size, true), letters("WEBP"), ...parts];
}

// The photo without place, time and device, its pixels untouched; as it is where it is no photo that we know.
async function withoutMetadata(file) {
  const bytes = new Uint8Array(await file.arrayBuffer());
  if (bytes[0] === 0xff && bytes[1] === 0xd8) return new Blob(cutJpeg(bytes), { type: "image/jpeg" });
  if (text(bytes, 1, 3) === "PNG") return new Blob(cutPng(bytes), { type: "image/png" });
  if (text(bytes, 0, 4) === "RIFF" && text(bytes, 8, 4) === "WEBP") return new Blob(cutWebp(bytes), { type: "image/webp" });
  return null;
}

async function choose(file) {
  const cut = file ? await withoutMetadata(file) : null;
  const problem = !file || cut && cut.size <= MOST_BYTES ? "" :
    cut ? "The photo is larger than 20 MiB: choose a smaller one." : "This is not a JPEG, PNG or WebP photo.";
  chosen = problem ? null : cut;
  find("photo-problem").textContent = problem;
  URL.revokeObjectURL(shown);
  shown = chosen ? URL.createObjectURL(chosen) : "";
  if (chosen) find("preview").src = shown;
  for (const id of ["preview", "remove"]) find(id).hidden = !chosen;
  if (!chosen) photo.value = taken.value = "";
}

// --- the answer --------------------------------------------------------------------------------------------------

function node(name, attributes, content = "") {
  const svg = ["svg", "rect", "circle"].includes(name);
  const made = svg ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...[content].flat());
  return made;
}

function scale(bar, sentence) {
  const line = (kind, at, width, y) => node("rect", { class: kind, x: at - width / 2, y, width, height: 12 - 2 * y });
  return node("svg", { viewBox: "0 0 100 12", role: "img", "aria-label": sentence }, [
    node("rect", { class: "axis", x: 0, y: 5, width: 100, height: 2, rx: 1 }),
    node("rect", { class: "range", x: bar.low, y: 3.5, width: bar.width, height: 5, rx: 2 }),
    ...bar.sold.map((at) => line("tick", at, .8, 2)),
    ...bar.asked === null ? [] : [line("asked", bar.asked, 1.6, 0)],
    node("circle", { class: "price", cx: bar.price, cy: 6, r: 3.5 }),
  ]);
}

function soldItem(one) {
  const picture = node("img", { src: one.src, alt: "Photo of the sold item", width: 128, height: 128 });
  return node("li", {}, [picture, node("b", {}, one.price), " ", node("span", { class: "quiet" }, one.sold)]);
}

// What stands below a price: the scale, the asking price, and sold items.
function besidePrice(told) {
  const parts = [scale(told.bar, told.sentence)];
  const sold = told.comparables.length ? ", a thin line a sold item below" : "";
  const asked = told.bar.asked === null ? "" : ", the thick line what you ask";
  parts.push(node("p", { class: "quiet" }, `The dot is our price, the band where most such items sell${sold}${asked}.`));
  parts.push(...told.asking.map((line) => node("p", {}, line)));
  if (told.advised.length) {
    parts.push(node("h2", {}, "If you go by our price alone"));
    parts.push(node("ul", {}, told.advised.map((line) => node("li", {}, line))));
  }
  if (told.comparables.length) {
    parts.push(node("h2", {}, told.similar));
    parts.push(node("ol", { class: "sold-items" }, told.comparables.map(soldItem)));
  }
  return parts;
}

function say(state, headline, sentence, told) {
  const below = state === "priced" ? besidePrice(told) : [];
  answer.dataset.state = state;
  find("said").replaceChildren(node("p", { class: "big" }, headline), node("p", {}, sentence));
  find("beside").replaceChildren(...below);  // not read out at once
  answer.scrollIntoView({ block: "nearest" });
}

async function ask(event) {
  event.preventDefault();
  if (asking) return;
  if (!form.reportValidity()) return;
  const data = new FormData(form);
  data.delete("photo");
  if (chosen) data.set("photo", chosen, "photo");
  for (const [name, value] of [...data]) if (value === "") data.delete(name);
  asking = true;
  find("send").setAttribute("aria-disabled", "true");
  say("working", "One moment …", "The item is being compared with what has sold.");
  try {
    const signal = AbortSignal.timeout(WAITS_MS);
    const response = await fetch("/page/answer", { method: "POST", body: data, signal });
    const told = await response.json();
    if (response.ok) say(told.state, told.headline, told.sentence, told);
    else if (response.status === 503 || response.status === 429) say("busy", told.title, told.detail);
    else say("refused", told.title, told.detail);
  } catch {
    say("offline", "No answer", "The service cannot be reached. What you have entered is still here: try again in a moment.");
  } finally {
    asking = null;
    find("send").removeAttribute("aria-disabled");
  }
}

find("camera").hidden = !matchMedia("(pointer: coarse)").matches;
form.addEventListener("submit", ask);
for (const input of [photo, taken]) input.addEventListener("change", () => choose(input.files[0]));
find("remove").addEventListener("click", async () => { await choose(null); photo.focus(); });
for (const name of ["dragover", "dragleave", "drop"]) drop.addEventListener(name, (event) => {
  event.preventDefault();
  drop.classList.toggle("over", name === "dragover");
  if (name === "drop" && event.dataTransfer.files.length) choose(event.dataTransfer.files[0]);
});
