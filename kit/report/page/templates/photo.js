// One photo in its many forms: hidden, filled by a source, the truth, and where they differ.

const PHOTOS = new Map();
const DRAWN = new Map(); // photos as drawn, the ones used last
const KEPT = 400;
const HIDDEN = "hidden", TRUTH = "truth", ERROR = "error of ";
const FULL_ERROR = 64; // grey levels at which the map is brightest

const keyOf = (split, at) => `${split}/${at}`;

function addPhotos(list) {
  for (const one of list) PHOTOS.set(keyOf(one.split, one.at), one);
}

function picture(uri) {
  const image = new Image();
  image.src = uri;
  return image.decode().then(() => image);
}

const views = (one) => [HIDDEN, ...Object.keys(one.strips), ...(one.split === "train" ? [TRUTH] : [])];
const canShow = (one, view) => views(one).includes(view) || (view.startsWith(ERROR) && one.split === "train" && view.slice(ERROR.length) in one.strips);

function blank(one) {
  const made = document.createElement("canvas");
  [made.width, made.height] = one.size;
  return made;
}

// A canvas of the photo's own size, or null where there is no such view of it.
async function drawnPhoto(one, view) {
  if (!canShow(one, view)) return null;
  const key = `${keyOf(one.split, one.at)} ${view}`;
  if (!DRAWN.has(key)) DRAWN.set(key, view.startsWith(ERROR) ? drawnError(one, view.slice(ERROR.length)) : drawnFill(one, view));
  const made = DRAWN.get(key);
  DRAWN.delete(key);
  DRAWN.set(key, made);
  for (const old of DRAWN.keys()) {
    if (DRAWN.size <= KEPT) break;
    DRAWN.delete(old);
  }
  return made;
}

async function drawnFill(one, view) {
  const made = blank(one);
  const pen = made.getContext("2d", { willReadFrequently: true });
  pen.drawImage(await picture(one.whole), 0, 0);
  if (view === HIDDEN) await hide(one, pen);
  else if (view !== TRUTH) {
    const strip = await picture(one.strips[view]);
    let from = 0;
    for (const [row, column, height, width] of one.boxes) {
      pen.drawImage(strip, 0, from, width, height, column, row, width, height);
      from += height;
    }
  }
  return made;
}

async function hide(one, pen) {
  const tile = document.createElement("canvas");
  tile.width = tile.height = 8;
  const small = tile.getContext("2d");
  small.fillStyle = "#5a5f66";
  small.fillRect(0, 0, 8, 8);
  small.fillStyle = "#71777f";
  small.fillRect(0, 0, 4, 4);
  small.fillRect(4, 4, 4, 4);
  const pattern = pen.createPattern(tile, "repeat");
  if (!one.mask) {
    pen.fillStyle = pattern;
    for (const [row, column, height, width] of one.boxes) pen.fillRect(column, row, width, height);
    return;
  }
  const cover = blank(one);
  const over = cover.getContext("2d");
  over.drawImage(await picture(one.mask), 0, 0);
  const mask = over.getImageData(0, 0, cover.width, cover.height);
  for (let place = 0; place < mask.data.length; place += 4) mask.data[place + 3] = mask.data[place];
  over.putImageData(mask, 0, 0);
  over.globalCompositeOperation = "source-in";
  over.fillStyle = pattern;
  over.fillRect(0, 0, cover.width, cover.height);
  pen.drawImage(cover, 0, 0);
}

async function drawnError(one, column) {
  const [shown, truth] = await Promise.all([drawnPhoto(one, column), drawnPhoto(one, TRUTH)]);
  const made = blank(one);
  const pen = made.getContext("2d", { willReadFrequently: true });
  const a = shown.getContext("2d").getImageData(0, 0, made.width, made.height).data;
  const found = truth.getContext("2d").getImageData(0, 0, made.width, made.height);
  const b = found.data;
  const inside = new Uint8Array(made.width * made.height);
  for (const [row, column, height, width] of one.boxes) {
    for (let y = row; y < row + height; y++) inside.fill(1, y * made.width + column, y * made.width + column + width);
  }
  for (let place = 0; place < b.length; place += 4) {
    const grey = (b[place] + b[place + 1] + b[place + 2]) / 3;
    if (!inside[place / 4]) { b[place] = b[place + 1] = b[place + 2] = 30 + grey * 0.25; continue; }
    const off = (Math.abs(a[place] - b[place]) + Math.abs(a[place + 1] - b[place + 1]) + Math.abs(a[place + 2] - b[place + 2])) / 3;
    const share = Math.min(1, off / FULL_ERROR);
    b[place] = 10 + 245 * Math.sqrt(share);
    b[place + 1] = 12 + 215 * share;
    b[place + 2] = 40 + 80 * share * share;
  }
  pen.putImageData(found, 0, 0);
  return made;
}
