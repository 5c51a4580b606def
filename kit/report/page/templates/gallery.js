// The gallery: cards that are drawn when they come into sight, and a dialog for one photo.

const GALLERY = DATA.gallery;
const LEADING = COLUMN.has("blend") ? "blend" : GALLERY.columns[0];
const state = { set: "all", of: LEADING, sort: "error", than: GALLERY.columns.find((name) => name !== LEADING) || LEADING, klass: "", split: "train", view: LEADING };
let order = []; // keys of the photos as listed
let loadedFiles = 0;
let changed = false; // whether the reader has chosen anything: not before the page is whole

function extremes(column, worst) {
  const there = DATA.scores.rows.map((row, photo) => [scoreOf(photo, column), photo]).filter((pair) => pair[0] !== null);
  there.sort((one, other) => (better(one[0], other[0]) ? 1 : -1) * (worst ? 1 : -1));
  return new Set(there.slice(0, GALLERY.extremes).map((pair) => pair[1]));
}

const gain = (photo, column, than) => {
  const [one, other] = [scoreOf(photo, column), scoreOf(photo, than)];
  return one === null || other === null ? null : (other - one) * (DATA.metric.higher ? -1 : 1);
};

const SORTS = {
  error: { title: "error, worst first", value: (photo) => { const found = scoreOf(photo, state.of); return found === null ? null : found * (DATA.metric.higher ? -1 : 1); } },
  best: { title: "error, best first", value: (photo) => { const found = scoreOf(photo, state.of); return found === null ? null : found * (DATA.metric.higher ? 1 : -1); } },
  gain: { title: "gain, most first", value: (photo) => gain(photo, state.of, state.than) },
  loss: { title: "gain, least first", value: (photo) => { const found = gain(photo, state.of, state.than); return found === null ? null : -found; } },
  spread: { title: "disagreement of sources", value: (photo) => spread(photo) },
  class: { title: "class", value: null },
  name: { title: "name", value: null },
};

function arrange() {
  const chosen = [...PHOTOS.values()].filter((one) => one.split === state.split && (!state.klass || one.class === state.klass));
  const within = state.split === "train" && state.set !== "all" ? extremes(state.of, state.set === "worst") : null;
  const listed = within ? chosen.filter((one) => within.has(one.at)) : chosen;
  const by = SORTS[state.sort];
  const text = (one) => (state.sort === "class" ? `${one.class} ${one.name}` : one.name);
  if (by.value && state.split === "train") {
    const value = new Map(listed.map((one) => [one, by.value(one.at)]));
    listed.sort((one, other) => (value.get(other) ?? -Infinity) - (value.get(one) ?? -Infinity) || text(one).localeCompare(text(other)));
  } else listed.sort((one, other) => text(one).localeCompare(text(other)));
  order = listed.map((one) => keyOf(one.split, one.at));
}

const cards = node("ul", { class: "cards", id: "cards" });
const count = node("p", { class: "note", role: "status" });
const watcher = new IntersectionObserver((entries) => {
  for (const entry of entries) if (entry.isIntersecting) { watcher.unobserve(entry.target); drawCard(entry.target); }
}, { rootMargin: "300px" });

async function drawCard(card) {
  const one = PHOTOS.get(card.dataset.key);
  const drawing = state.view;
  const made = (await drawnPhoto(one, drawing)) || (await drawnPhoto(one, HIDDEN));
  if (drawing !== state.view) return;
  const place = card.querySelector("canvas");
  [place.width, place.height] = one.size;
  place.getContext("2d").drawImage(made, 0, 0);
  card.dataset.drawn = drawing;
}

function cardOf(key) {
  const one = PHOTOS.get(key);
  const lines = [node("span", { class: "name", title: one.name }, one.name)];
  let said = one.name;
  if (one.class) { lines.push(node("span", {}, `${one.class} `)); said += `, ${one.class}`; }
  if (one.split === "train") {
    const text = `${METRIC} ${digits(scoreOf(one.at, state.of))}`;
    lines.push(node("strong", {}, text));
    said += `, ${text}`;
    if (["gain", "loss"].includes(state.sort)) lines.push(node("span", {}, ` gain ${signed(gain(one.at, state.of, state.than), 4)}`));
    if (state.sort === "spread") lines.push(node("span", {}, ` ±${digits(spread(one.at))}`));
  }
  const shown = node("canvas", { width: one.size[0], height: one.size[1], "aria-hidden": "true" });
  const card = node("button", { type: "button", class: "card", "aria-label": `${said}. Open`, onclick: () => openPhoto(one.split, one.at) }, shown, ...lines);
  card.dataset.key = key;
  watcher.observe(card);
  return node("li", {}, card);
}

function showCards() {
  arrange();
  watcher.disconnect();
  cards.replaceChildren(...order.map(cardOf));
  const all = state.split === "train" ? DATA.photos.train : DATA.photos.test;
  count.textContent = `${order.length} of ${all} ${state.split === "train" ? "training" : "test"} photos${state.split === "train" ? `, ${METRIC} of ${asColumn(state.of)}` : ""}. Pictures are compressed (WebP, quality ${GALLERY.quality}).`;
}

function select(label, name, options, after = showCards) {
  const made = node("select", { name, onchange: (event) => { state[name] = event.target.value; changed = true; after(); } }, ...options.map(([value, text]) => node("option", { value }, text)));
  made.value = state[name];
  return node("label", {}, label, made);
}

function showGallery() {
  const place = section("gallery");
  if (!PHOTOS.size || !GALLERY.columns.length) { place.append(note("No photo has pictures here.")); return; }
  const columns = DATA.scores.columns.map((name) => [name, asColumn(name)]);
  const pictured = [...GALLERY.columns].map((name) => [name, asColumn(name)]);
  const classes = [...new Set(DATA.scores.classes)].filter(Boolean).sort();
  const shown = [[HIDDEN, HIDDEN], ...pictured, [TRUTH, TRUTH], ...pictured.map(([name, text]) => [ERROR + name, ERROR + text])];
  const controls = node("div", { class: "controls" },
    select("Show", "view", shown),
    select("Score of", "of", columns),
    select("Sort by", "sort", Object.entries(SORTS).map(([value, one]) => [value, one.title])),
    select("Gain over", "than", columns),
    select("Photos", "set", [["all", "all with pictures"], ["worst", `worst ${GALLERY.extremes} of the score`], ["best", `best ${GALLERY.extremes} of the score`]]),
    select("Split", "split", [["train", "training (out of fold)"], ["test", "test (no truth)"]]),
    classes.length ? select("Class", "klass", [["", "all"], ...classes.map((name) => [name, name])]) : null,
  );
  place.append(note("Open a photo to wipe between two sources. Keys there: ← → next photo, Shift and arrows move the pixel, + − zoom, [ ] wipe, 1 to 9 choose the left side."), controls, count, cards);
  if (GALLERY.beside.length) {
    const more = node("button", { type: "button", id: "more", onclick: () => loadMore(more) }, `Load more photos (${GALLERY.beside.length} files beside this page)`);
    place.append(more);
  }
  showCards();
}

function kitPhotos(list) { addPhotos(list); showCards(); }
window.kitPhotos = kitPhotos;

function loadMore(button) {
  const file = GALLERY.beside[loadedFiles++];
  const script = node("script", { src: file, onerror: () => { count.textContent = `${file} is not beside this page: copy that folder too.`; } });
  document.body.append(script);
  const left = GALLERY.beside.length - loadedFiles;
  button.textContent = left ? `Load more photos (${left} files)` : "";
  button.hidden = !left;
}

// --- one photo

const dialog = document.getElementById("photo");
const seen = { key: null, left: HIDDEN, right: LEADING, wipe: 50, zoom: 1, x: 0, y: 0, from: null };
const ZOOMS = [1, 2, 4, 8, 16];

function openPhoto(split, at) {
  const key = keyOf(split, at);
  const one = PHOTOS.get(key);
  if (!one) {
    count.textContent = `${DATA.scores.names[at]} has no picture in this page. Write it with: kit report --photos all`;
    section("gallery").scrollIntoView();
    return;
  }
  seen.key = key;
  seen.zoom = 1;
  const [row, column, height, width] = one.boxes[0] || [0, 0, one.size[1], one.size[0]];
  [seen.x, seen.y] = [Math.floor(column + width / 2), Math.floor(row + height / 2)];
  if (!canShow(one, seen.left)) seen.left = HIDDEN;
  if (!canShow(one, seen.right)) seen.right = canShow(one, LEADING) ? LEADING : views(one).at(-1);
  buildDialog(one);
  if (!dialog.open) dialog.showModal();
  dialog.querySelector("canvas").focus();
}

function sideSelect(one, side) {
  const errors = one.split === "train" ? Object.keys(one.strips).map((name) => ERROR + name) : [];
  const text = (view) => (view.startsWith(ERROR) ? ERROR + asColumn(view.slice(ERROR.length)) : asColumn(view));
  const made = node("select", { "data-side": side, onchange: (event) => { seen[side] = event.target.value; drawDialog(); } }, ...[...views(one), ...errors].map((view) => node("option", { value: view }, text(view))));
  made.value = seen[side];
  return node("label", {}, side === "left" ? "Left" : "Right", made);
}

function buildDialog(one) {
  const heading = node("h2", { id: "photo-title" }, one.class ? `${one.name}, ${one.class}` : one.name);
  const wipe = node("input", { type: "range", min: "0", max: "100", value: String(seen.wipe), "aria-label": "Wipe between left and right", oninput: (event) => { seen.wipe = Number(event.target.value); drawDialog(); } });
  const sheet = node("canvas", { tabindex: "0", "aria-label": "The photo; its pixel values are said below", width: one.size[0], height: one.size[1] });
  const point = (event) => {
    const box = sheet.getBoundingClientRect();
    const view = window_(one);
    seen.x = Math.max(0, Math.min(one.size[0] - 1, Math.floor(view.x + ((event.clientX - box.left) / box.width) * view.width)));
    seen.y = Math.max(0, Math.min(one.size[1] - 1, Math.floor(view.y + ((event.clientY - box.top) / box.height) * view.height)));
    if (event.buttons) seen.wipe = Math.round(((event.clientX - box.left) / box.width) * 100);
    wipe.value = String(seen.wipe);
    drawDialog();
  };
  sheet.addEventListener("pointermove", point);
  sheet.addEventListener("pointerdown", point);
  sheet.addEventListener("wheel", (event) => { event.preventDefault(); zoom(event.deltaY < 0 ? 1 : -1); }, { passive: false });
  const button = (text, label, press) => node("button", { type: "button", "aria-label": label, onclick: press }, text);
  const bar = node("div", { class: "controls" },
    button("←", "Photo before", () => step(-1)), button("→", "Next photo", () => step(1)),
    sideSelect(one, "left"), sideSelect(one, "right"),
    button("−", "Zoom out", () => zoom(-1)), button("+", "Zoom in", () => zoom(1)),
    button("Close", "Close", () => dialog.close()));
  const pixel = node("p", { class: "pixel", role: "status" });
  const facts = one.split === "train"
    ? table(["", METRIC, `against ${asColumn(LEADING)}`], DATA.scores.columns.map((name) => [asColumn(name), digits(scoreOf(one.at, name)), name === LEADING ? "" : signed(gain(one.at, name, LEADING), 4)]))
    : note("A test photo: nobody here knows its truth.");
  const sides = node("div", { class: "sides" }, node("span", { "data-said": "left" }), node("span", { "data-said": "right" }));
  dialog.replaceChildren(heading, bar, node("div", { class: "photo" }, node("div", {}, sheet, wipe, sides, pixel), node("div", {}, facts)));
  drawDialog();
}

// The part of the photo that is seen: all of it, or a window about the pixel.
function window_(one) {
  const [width, height] = [one.size[0] / seen.zoom, one.size[1] / seen.zoom];
  const x = Math.max(0, Math.min(one.size[0] - width, seen.zoom === 1 ? 0 : seen.from[0] - width / 2));
  const y = Math.max(0, Math.min(one.size[1] - height, seen.zoom === 1 ? 0 : seen.from[1] - height / 2));
  return { x, y, width, height };
}

async function drawDialog() {
  const one = PHOTOS.get(seen.key);
  const [left, right] = await Promise.all([drawnPhoto(one, seen.left), drawnPhoto(one, seen.right)]);
  if (one !== PHOTOS.get(seen.key) || !left || !right) return;
  const sheet = dialog.querySelector("canvas");
  const scale = Math.max(1, Math.round(768 / one.size[0]));
  [sheet.width, sheet.height] = [one.size[0] * scale, one.size[1] * scale];
  const pen = sheet.getContext("2d");
  pen.imageSmoothingEnabled = false;
  const view = window_(one);
  const cut = (sheet.width * seen.wipe) / 100;
  const put = (picture, from, to) => {
    if (to <= from) return;
    pen.save();
    pen.beginPath();
    pen.rect(from, 0, to - from, sheet.height);
    pen.clip();
    pen.drawImage(picture, view.x, view.y, view.width, view.height, 0, 0, sheet.width, sheet.height);
    pen.restore();
  };
  put(left, 0, cut);
  put(right, cut, sheet.width);
  pen.fillStyle = "#ffffff";
  pen.fillRect(cut - 1, 0, 2, sheet.height);
  pen.strokeStyle = "#ffffff";
  pen.lineWidth = 2;
  const side = sheet.width / view.width;
  pen.strokeRect((seen.x - view.x) * side - 1, (seen.y - view.y) * side - 1, side + 2, side + 2);
  dialog.querySelectorAll("select[data-side]").forEach((made) => { made.value = seen[made.dataset.side]; });
  dialog.querySelectorAll("[data-said]").forEach((made) => { made.textContent = seen[made.dataset.said].startsWith(ERROR) ? seen[made.dataset.said] : asColumn(seen[made.dataset.said]); });
  const values = (picture) => [...picture.getContext("2d").getImageData(seen.x, seen.y, 1, 1).data.slice(0, 3)].join(", ");
  dialog.querySelector(".pixel").textContent = `Row ${seen.y}, column ${seen.x}: left ${values(left)}; right ${values(right)} (red, green, blue as compressed). Zoom ${seen.zoom}.`;
}

function zoom(by) {
  const place = Math.max(0, Math.min(ZOOMS.length - 1, ZOOMS.indexOf(seen.zoom) + by));
  seen.zoom = ZOOMS[place];
  seen.from = [seen.x, seen.y];
  drawDialog();
}

function step(by) {
  const place = order.indexOf(seen.key);
  const next = order[(place + by + order.length) % order.length];
  if (next) openPhoto(...next.split("/"));
}

dialog.addEventListener("keydown", (event) => {
  if (event.target instanceof HTMLSelectElement || event.ctrlKey || event.metaKey || event.altKey) return;
  const one = PHOTOS.get(seen.key);
  const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  const inRange = event.target instanceof HTMLInputElement;
  if (event.key in moves && event.shiftKey) {
    seen.x = Math.max(0, Math.min(one.size[0] - 1, seen.x + moves[event.key][0]));
    seen.y = Math.max(0, Math.min(one.size[1] - 1, seen.y + moves[event.key][1]));
    if (seen.zoom > 1) seen.from = [seen.x, seen.y];
    drawDialog();
  } else if (event.key === "ArrowLeft" && !inRange) step(-1);
  else if (event.key === "ArrowRight" && !inRange) step(1);
  else if (event.key === "+" || event.key === "=") zoom(1);
  else if (event.key === "-") zoom(-1);
  else if (event.key === "[" || event.key === "]") {
    seen.wipe = Math.max(0, Math.min(100, seen.wipe + (event.key === "[" ? -5 : 5)));
    dialog.querySelector("input[type=range]").value = String(seen.wipe);
    drawDialog();
  } else if (/^[1-9]$/.test(event.key) && views(one)[Number(event.key) - 1]) {
    seen.left = views(one)[Number(event.key) - 1];
    drawDialog();
  } else return;
  event.preventDefault();
});

addPhotos(JSON.parse(document.getElementById("photos").textContent));
showGallery();
document.documentElement.dataset.ready = "yes";
