// What each section shows of the data.

const DATA = JSON.parse(document.getElementById("data").textContent);
const METRIC = DATA.metric.label;
const COLUMN = new Map(DATA.scores.columns.map((name, place) => [name, place]));
const better = (one, other) => (DATA.metric.higher ? one > other : one < other);
const section = (name) => document.getElementById(name);
const note = (text) => node("p", { class: "note" }, text);
const scoreOf = (photo, column) => (COLUMN.has(column) ? DATA.scores.rows[photo][COLUMN.get(column)] : null);
const columnScores = (column) => DATA.scores.rows.map((row) => row[COLUMN.get(column)]);
const BLEND = DATA.blend ? (DATA.blend.name.startsWith("blend") ? DATA.blend.name : `blend ${DATA.blend.name}`) : null;
const asColumn = (name) => (name === "blend" && BLEND ? BLEND : name);

function spread(photo) {
  const there = DATA.scores.rows[photo].filter((one, place) => one !== null && DATA.scores.columns[place] !== "blend");
  if (there.length < 2) return null;
  const mean = there.reduce((sum, one) => sum + one, 0) / there.length;
  return Math.sqrt(there.reduce((sum, one) => sum + (one - mean) ** 2, 0) / (there.length - 1));
}

function showSources() {
  // a score on some folds is of other photos, and stands below those of all
  const called = (one) => (one.complete ? one.name : `${one.name}, ${one.photos} photos`);
  const rows = DATA.sources.filter((one) => one.score).map((one) => [called(one), one.score, one.complete]);
  if (DATA.blend) rows.push([BLEND, DATA.blend.cv, true]);
  rows.sort((one, other) => (one[2] !== other[2] ? (one[2] ? -1 : 1) : better(one[1][0], other[1][0]) ? -1 : 1));
  const trained = new Map(DATA.sources.map((one) => [called(one), one.trained]));
  const mark = (place) => (rows[place][0] === BLEND ? 1 : trained.get(rows[place][0]) ? 0 : 6);
  const side = DATA.metric.higher ? "to the right is better" : "to the left is better";
  const made = dots("Ladder of sources", `${side}; blue: trained, grey: needs no training, orange: blend. Lines: 95 % by photo.`, rows, `CV ${METRIC}`, { mark });
  section("sources").append(made);
  const facts = DATA.sources.map((one) => [one.name, interval(one.score), one.photos, one.complete ? "all" : "not all", one.seconds === null ? "–" : Math.round(one.seconds)]);
  section("sources").append(node("details", {}, node("summary", {}, "All sources"), table(["source", `CV ${METRIC} [95 %]`, "photos", "folds", "seconds"], facts)));
  const box = node("div", { class: "two" });
  const names = DATA.scores.columns.filter((name) => name !== "blend");
  const first = DATA.blend && COLUMN.has("blend") ? "blend" : names[0];
  box.append(histogram(`Score by photo: ${asColumn(first)}`, "Each training photo, out of fold.", columnScores(first), METRIC));
  const second = names.find((name) => name !== first && name !== (DATA.blend || {}).best) || names[0];
  const other = DATA.blend && names.includes(DATA.blend.best) && first !== DATA.blend.best ? DATA.blend.best : second;
  const isBlendOfOne = first === "blend" && DATA.blend.members.length === 1 || (DATA.blend && DATA.blend.rung === "single");
  if (other && other !== first && !(isBlendOfOne && other === DATA.blend.best)) {
    const points = DATA.scores.rows.map((row, photo) => ({ x: scoreOf(photo, other), y: scoreOf(photo, first), name: DATA.scores.names[photo], photo })).filter((one) => one.x !== null && one.y !== null);
    const below = DATA.metric.higher ? "above" : "below";
    box.append(scatter(`${asColumn(first)} against ${other}`, `A dot a photo; ${below} the dashed line ${asColumn(first)} is better. Click a dot to see the photo.`, points, other, asColumn(first), { same: true, large: false, press: (one) => openPhoto("train", one.photo) }));
  }
  section("sources").append(box);
}

function showBlend() {
  const place = section("blend");
  if (!DATA.blend) { place.append(note("There is no blend yet. Make one: kit blend")); return; }
  const made = DATA.blend;
  place.append(node("p", {}, made.reason));
  const box = node("div", { class: "two" });
  const members = [...made.members].sort((one, other) => other.weight - one.weight);
  box.append(dots("Weights", "On average over all hidden values; they sum to one.", members.map((one) => [one.name, [one.weight, one.weight, one.weight]]), "weight", { zero: 0, format: (one) => digits(one[0], 3) }));
  if (members.some((one) => one.without)) {
    box.append(dots("Worth", `What ${METRIC} would lose without a source (weights of ${made.fitted}); right of 0: it helps.`, members.map((one) => [one.name, one.without]), `change of ${METRIC}`, { zero: 0, format: signedInterval, mark: (row) => (members[row].without && members[row].without[1] > 0 ? 0 : 6) }));
  }
  const rungs = made.ladder.filter((one) => one.rung !== "single");
  box.append(dots("Rungs", "Gain over the rung taken before it; orange: taken.", rungs.map((one) => [`${one.rung} over ${one.below}`, one.gain]), "gain", { zero: 0, format: signedInterval, mark: (row) => (rungs[row].taken ? 1 : 6) }));
  if (made.correlation.names.length > 1) box.append(heat("Correlation of residuals", "Near 1: the two err alike, and mixing them brings little.", made.correlation.names, made.correlation.rows));
  place.append(box);
}

function showParts() {
  const place = section("parts");
  const parts = Object.values(DATA.parts);
  if (!parts.length) { place.append(note("There are too many photos for Grams by region.")); return; }
  const box = node("div", { class: "two" });
  for (const part of parts) {
    const names = Object.keys(part.rows).slice(0, 8);
    const series = names.map((name) => ({ name, x: part.names.map((_, place) => place), y: part.rows[name] }));
    const [least, where] = names.flatMap((name) => part.rows[name].map((one, at) => [one ?? Infinity, `${name}, ${part.names[at]}`])).sort((one, other) => one[0] - other[0])[0];
    box.append(lines(`${DATA.metric.parts} by ${part.title}`, `Least: ${digits(least)} (${where}).`, series, part.title, DATA.metric.parts, { marks: true, names: part.names }));
  }
  place.append(box);
}

function showRuns() {
  const place = section("runs");
  if (!DATA.runs.length) { place.append(note("Nothing has been trained here.")); return; }
  const box = node("div", { class: "two" });
  const label = (run) => `${run.name} fold ${run.fold}`;
  const column = (run, name) => run.columns[name] || [];
  DATA.runs.sort((one, other) => (one.fold_rmse ?? Infinity) - (other.fold_rmse ?? Infinity)); // the best are shown at once
  const kinds = [...new Set(DATA.runs.map((run) => run.name))], folds = [...new Set(DATA.runs.map((run) => run.fold))].sort();
  const curve = (run, name, over = 1) => ({ name: label(run), x: run.epochs, y: column(run, name).map((one) => (one === null ? null : one / over)), colour: kinds.indexOf(run.name), dash: folds.indexOf(run.fold) });
  const measured = DATA.runs.filter((run) => column(run, "fold_rmse").some((one) => one !== null));
  const beside = measured.filter((run) => run.fill_rmse); // each fold has photos of its own, and its own level
  if (measured.length) {
    const best = measured.map((run) => [label(run), run]).filter((pair) => pair[1].fold_rmse).sort((one, other) => one[1].fold_rmse - other[1].fold_rmse)[0];
    const said = best ? `Colour: training, dashes: fold. Best: ${best[0]}, ${digits(best[1].fold_rmse)}, epoch ${best[1].best_epoch} of ${best[1].epochs.at(-1)}.` : "";
    if (beside.length) box.append(lines("RMSE on the fold's photos, the fill's alone being 1", `Below 1: better than the fill. ${said}`, beside.map((run) => curve(run, "fold_rmse", run.fill_rmse)), "epoch", "RMSE / fill's RMSE", { level: { value: 1, name: "fill alone" }, whole: true }));
    box.append(lines("RMSE on the fold's photos", beside.length ? "" : said, measured.map((run) => curve(run, "fold_rmse")), "epoch", "RMSE", { whole: true }));
  }
  const losses = [...new Set(DATA.runs.flatMap((run) => Object.keys(run.columns)))].filter((name) => !["fold_rmse", "learning_rate", "photos_per_second", "seconds"].includes(name));
  for (const name of [...losses, "learning_rate"]) {
    const series = DATA.runs.filter((run) => column(run, name).some((one) => one !== null)).map((run) => curve(run, name));
    if (series.length) box.append(lines(name === "learning_rate" ? "Learning rate" : `Training: ${name}`, "", series, "epoch", name === "learning_rate" ? "rate" : name, { whole: true }));
  }
  place.append(box);
}

function showSent() {
  const place = section("sent");
  const expected = DATA.blend && DATA.blend.expected;
  if (expected) place.append(node("p", {}, `Expected of ${BLEND} on ${expected.photos} photos: ${METRIC} ${interval(expected.score)}; which test photos they are: ±${digits(expected.sampling)}, which training photos there were: ±${digits(expected.estimation)}.`));
  const rows = DATA.sent.rows;
  if (!rows.length) { place.append(note("Nothing was sent from here. Check what would be: kit upload --dry-run")); return; }
  const scored = rows.filter((row) => row.public_score !== null);
  const box = node("div", { class: "two" });
  const points = scored.filter((row) => row.cv !== null).map((row) => ({ x: row.cv, y: row.public_score, name: row.what, low: row.expected ? row.expected[1] : null, high: row.expected ? row.expected[2] : null }));
  const line = DATA.sent.line;
  const said = line ? `public = ${digits(line.intercept)} + ${digits(line.slope, 2)} CV, spread ${digits(line.spread)}; band: 95 % of the line. Orange: what was expected.` : "Too few scores for a line; dashed: public = CV. Orange: what was expected.";
  if (points.length) box.append(scatter("Public score against CV", said, points, `CV ${METRIC}`, `public ${METRIC}`, { band: line, same: true }));
  const hidden = rows.filter((row) => row.private_score !== null && row.cv !== null).map((row) => ({ x: row.cv, y: row.private_score, name: row.what }));
  if (hidden.length) box.append(scatter("Private score against CV", "Dashed: private = CV.", hidden, `CV ${METRIC}`, `private ${METRIC}`, { same: true }));
  place.append(box);
  const judged = scored.filter((row) => row.expected);
  if (judged.length) {
    const inside = judged.filter((row) => row.public_score >= row.expected[1] && row.public_score <= row.expected[2]).length;
    place.append(node("p", {}, `Calibration: ${inside} of ${judged.length} public scores fell into the 95 % interval that was expected of them.`));
  }
  place.append(table(["when", "what", "CV", "expected [95 %]", "public", "private"], rows.map((row) => [row.when, row.what, digits(row.cv), interval(row.expected), digits(row.public_score), digits(row.private_score)])));
}

function theme(dark) {
  document.documentElement.dataset.theme = dark ? "dark" : "light";
  const button = document.getElementById("theme");
  button.setAttribute("aria-pressed", String(dark));
}
theme(matchMedia("(prefers-color-scheme: dark)").matches);
document.getElementById("theme").addEventListener("click", () => theme(document.documentElement.dataset.theme !== "dark"));

for (const one of DATA.notes) document.getElementById("notes").append(note(one));
showSources();
showBlend();
showParts();
showRuns();
showSent();
