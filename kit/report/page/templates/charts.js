"use strict";
// Charts as inline SVG, drawn again when their room changes; beneath each the same as a table. No innerHTML anywhere:
// names come from file names and may hold anything.

const SVG = "http://www.w3.org/2000/svg";
const COLOURS = 8;
const DASHES = ["", "7 3", "2 3", "9 3 2 3", "4 2", "1 3", "12 4", "6 2 2 2"];

function node(name, attributes = {}, ...children) {
  const found = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) found.addEventListener(key.slice(2), value);
    else if (value !== null && value !== undefined) found.setAttribute(key, value);
  }
  found.append(...children.filter((one) => one !== null && one !== undefined));
  return found;
}

function shape(name, attributes = {}, text = null, title = null) {
  const found = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) if (value !== null) found.setAttribute(key, value);
  if (text !== null) found.textContent = text;
  if (title !== null) {
    const said = document.createElementNS(SVG, "title");
    said.textContent = title;
    found.append(said);
  }
  return found;
}

const colour = (place) => `var(--c${place % COLOURS})`;
const dash = (place) => DASHES[Math.floor(place / COLOURS) % DASHES.length] || DASHES[place % DASHES.length];

function digits(value, places = 4) {
  if (value === null || value === undefined) return "–";
  return Math.abs(value) >= 100 ? value.toFixed(1) : value.toFixed(places);
}
const signed = (value, places = 5) => (value === null || value === undefined ? "–" : (value > 0 ? "+" : value < 0 ? "−" : "") + Math.abs(value).toFixed(places));
const interval = (one) => (one ? `${digits(one[0])} [${digits(one[1])}, ${digits(one[2])}]` : "–");
const signedInterval = (one) => (one ? `${signed(one[0])} [${signed(one[1])}, ${signed(one[2])}]` : "–");

function table(heading, rows) {
  const isNumber = (text) => /^[+−–\d.\s[\],%]+$/.test(text);
  const side = heading.map((_, place) => (rows.length && rows.every((row) => isNumber(String(row[place]))) ? "number" : null));
  const head = node("tr", {}, ...heading.map((one, place) => node("th", { scope: "col", class: side[place] }, one)));
  const body = rows.map((row) => node("tr", {}, ...row.map((one, place) => node("td", { class: side[place] }, String(one)))));
  const made = node("table", {}, node("thead", {}, head), node("tbody", {}, ...body));
  return node("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": heading.join(", ") }, made);
}

// A figure that draws itself at the width it gets, and says the same as a table.
function figure(title, said, draw, heading, rows, extra = null) {
  const room = node("div");
  const made = node(
    "figure", {},
    node("figcaption", {}, title, node("span", { class: "said" }, said || "")),
    extra, room,
    node("details", {}, node("summary", {}, "As a table"), table(heading, rows)),
  );
  const again = () => {
    const width = Math.floor(room.clientWidth);
    if (!width) return;
    const svg = draw(width);
    svg.setAttribute("role", "img");
    svg.setAttribute("aria-label", `${title}. ${said || ""} The same as a table follows.`);
    room.replaceChildren(svg);
  };
  new ResizeObserver(again).observe(room);
  made.again = again;
  return made;
}

function ticks(low, high, count) {
  const span = high - low || Math.abs(high) || 1;
  const raw = span / Math.max(1, count);
  const power = Math.pow(10, Math.floor(Math.log10(raw)));
  const step = [1, 2, 2.5, 5, 10].map((one) => one * power).find((one) => one >= raw * 0.999);
  const found = [];
  for (let value = Math.ceil(low / step - 1e-9) * step; value <= high + step * 1e-9; value += step) found.push(Number(value.toPrecision(12)));
  const places = Math.max(0, Math.min(6, -Math.floor(Math.log10(step) + 1e-9) + (String(step / power).includes("2.5") ? 1 : 0)));
  return found.map((value) => ({ value, text: value.toFixed(places) }));
}

function widened(values, share = 0.06) {
  const there = values.filter((one) => one !== null && one !== undefined && isFinite(one));
  if (!there.length) return [0, 1];
  let low = Infinity, high = -Infinity;
  for (const one of there) { if (one < low) low = one; if (one > high) high = one; }
  const more = (high - low || Math.abs(high) * 0.1 || 1) * share;
  return [low - more, high + more];
}

function canvas(width, height) {
  return shape("svg", { width, height, viewBox: `0 0 ${width} ${height}` });
}

function axes(svg, box, x, y, xTitle, yTitle, { whole = false, bare = false } = {}) {
  const at = scales(box, x, y);
  const across = bare ? [] : ticks(x[0], x[1], Math.max(2, Math.floor((box.right - box.left) / 90)));
  for (const one of across.filter((tick) => !whole || Number.isInteger(tick.value))) {
    svg.append(shape("line", { class: "grid", x1: at.x(one.value), x2: at.x(one.value), y1: box.top, y2: box.bottom }));
    svg.append(shape("text", { class: "soft", x: at.x(one.value), y: box.bottom + 16, "text-anchor": "middle" }, one.text));
  }
  if (y) {
    for (const one of ticks(y[0], y[1], Math.max(2, Math.floor((box.bottom - box.top) / 45)))) {
      svg.append(shape("line", { class: "grid", x1: box.left, x2: box.right, y1: at.y(one.value), y2: at.y(one.value) }));
      svg.append(shape("text", { class: "soft", x: box.left - 6, y: at.y(one.value) + 4, "text-anchor": "end" }, one.text));
    }
    if (yTitle) svg.append(shape("text", { class: "soft", x: 0, y: box.top - 12 }, yTitle));
  }
  if (xTitle) svg.append(shape("text", { class: "soft", x: box.right, y: box.bottom + 34, "text-anchor": "end" }, xTitle));
  return at;
}

function scales(box, x, y) {
  const across = (value) => box.left + ((value - x[0]) / (x[1] - x[0])) * (box.right - box.left);
  const up = y ? (value) => box.bottom - ((value - y[0]) / (y[1] - y[0])) * (box.bottom - box.top) : null;
  return { x: across, y: up };
}

function shortened(text, most) {
  return text.length <= most ? text : `${text.slice(0, Math.ceil(most / 2) - 1)}…${text.slice(text.length - Math.floor(most / 2))}`;
}

// Rows of [name, [value, low, high]]: a dot on its interval. A line at `zero` where one is given.
function dots(title, said, rows, axis, { zero = null, format = interval, mark = () => 0 } = {}) {
  const draw = (width) => {
    const label = Math.min(190, Math.max(90, width * 0.28));
    const box = { left: label, right: width - 12, top: 8, bottom: 8 + rows.length * 24 };
    const svg = canvas(width, box.bottom + 42);
    const x = widened([...rows.flatMap((row) => row[1] || []), ...(zero === null ? [] : [zero])]);
    const at = axes(svg, box, x, null, axis);
    if (zero !== null) svg.append(shape("line", { x1: at.x(zero), x2: at.x(zero), y1: box.top, y2: box.bottom, stroke: "var(--soft)", "stroke-width": 1.5 }));
    rows.forEach((row, place) => {
      const y = box.top + place * 24 + 12;
      const title = `${row[0]}: ${format(row[1])}`;
      svg.append(shape("text", { x: label - 10, y: y + 4, "text-anchor": "end" }, shortened(row[0], Math.floor(label / 7.2)), row[0]));
      if (!row[1]) return;
      const stroke = colour(mark(place));
      svg.append(shape("line", { x1: at.x(row[1][1]), x2: at.x(row[1][2]), y1: y, y2: y, stroke, "stroke-width": 2.5 }, null, title));
      svg.append(shape("circle", { cx: at.x(row[1][0]), cy: y, r: 5, fill: stroke }, null, title));
    });
    return svg;
  };
  return figure(title, said, draw, ["", axis], rows.map((row) => [row[0], format(row[1])]));
}

// Series of {name, x: [], y: [], colour, dash}; buttons of the legend hide them, and only the first ones are shown.
const SHOWN = 12;
function lines(title, said, series, xTitle, yTitle, { marks = false, level = null, names = null, whole = false } = {}) {
  const off = new Set(series.slice(SHOWN).map((one) => one.name));
  const strokeOf = (place) => ({ stroke: colour(series[place].colour ?? place), "stroke-dasharray": (series[place].dash === undefined ? dash(place) : DASHES[series[place].dash % DASHES.length]) || null });
  const shown = () => series.filter((one) => !off.has(one.name));
  const draw = (width) => {
    const height = Math.max(200, Math.min(320, width * 0.55));
    const box = { left: 58, right: width - 12, top: 30, bottom: height };
    const svg = canvas(width, height + 42);
    const all = shown().length ? shown() : series;
    const across = all.flatMap((one) => one.x);
    const x = whole && new Set(across).size < 3 ? [Math.min(...across) - 0.5, Math.max(...across) + 0.5] : widened(across, names ? 0.12 : 0.02);
    const y = widened([...all.flatMap((one) => one.y), ...(level ? [level.value] : [])]);
    const at = axes(svg, box, x, y, names ? null : xTitle, yTitle, { whole, bare: Boolean(names) });
    if (names) {
      const room = Math.max(4, Math.floor((box.right - box.left) / names.length / 7.4));
      names.forEach((name, place) => svg.append(shape("text", { class: "soft", x: at.x(place), y: box.bottom + 16, "text-anchor": "middle" }, shortened(name, room), name)));
      svg.append(shape("text", { class: "soft", x: box.right, y: box.bottom + 34, "text-anchor": "end" }, xTitle));
    }
    if (level) {
      svg.append(shape("line", { x1: box.left, x2: box.right, y1: at.y(level.value), y2: at.y(level.value), stroke: "var(--soft)", "stroke-dasharray": "4 4" }));
      svg.append(shape("text", { class: "soft", x: box.right, y: at.y(level.value) - 5, "text-anchor": "end" }, level.name));
    }
    series.forEach((one, place) => {
      if (off.has(one.name)) return;
      const points = one.x.map((value, number) => [value, one.y[number]]).filter((pair) => pair[1] !== null && pair[1] !== undefined);
      const path = points.map((pair, number) => `${number ? "L" : "M"}${at.x(pair[0]).toFixed(1)} ${at.y(pair[1]).toFixed(1)}`).join("");
      svg.append(shape("path", { d: path, fill: "none", "stroke-width": names ? 1 : 2, ...strokeOf(place) }, null, one.name));
      if (marks || points.length < 3) {
        for (const pair of points) svg.append(shape("circle", { cx: at.x(pair[0]), cy: at.y(pair[1]), r: 3.5, fill: strokeOf(place).stroke }, null, `${one.name}: ${digits(pair[1])}`));
      }
    });
    return svg;
  };
  const legend = node("div", { class: "legend", role: "group", "aria-label": "Show or hide" });
  const last = (one) => [...one.y].reverse().find((value) => value !== null && value !== undefined);
  const heading = names ? ["", ...names] : ["", "last", "least"];
  const cells = (one) => (names ? names.map((_, place) => digits(one.y[one.x.indexOf(place)])) : [digits(last(one)), digits(Math.min(...one.y.filter((value) => value !== null && value !== undefined)))]);
  const made = figure(title, said, draw, heading, series.map((one) => [one.name, ...cells(one)]), series.length > 1 ? legend : null);
  series.forEach((one, place) => {
    const mark = canvas(26, 8);
    mark.setAttribute("aria-hidden", "true");
    mark.append(shape("line", { x1: 0, x2: 26, y1: 4, y2: 4, "stroke-width": 3, ...strokeOf(place) }));
    const press = (event) => {
      if (off.has(one.name)) off.delete(one.name);
      else off.add(one.name);
      event.currentTarget.setAttribute("aria-pressed", String(!off.has(one.name)));
      made.again();
    };
    legend.append(node("button", { type: "button", "aria-pressed": String(!off.has(one.name)), onclick: press }, mark, one.name));
  });
  return made;
}

// A square of numbers from -1 to 1, each written into its cell: colour alone says nothing.
function heat(title, said, names, rows) {
  const draw = (width) => {
    const label = Math.min(150, Math.max(70, width * 0.25));
    const side = Math.max(18, Math.min(46, (width - label - 8) / names.length));
    const top = 20;
    const svg = canvas(width, top + side * names.length + 8);
    const low = Math.min(...rows.flat().filter((one) => one !== null));
    names.forEach((name, row) => {
      svg.append(shape("text", { x: label - 8, y: top + row * side + side / 2 + 4, "text-anchor": "end" }, `${row + 1} ${shortened(name, Math.floor(label / 8))}`, name));
      svg.append(shape("text", { class: "soft", x: label + row * side + side / 2, y: top - 6, "text-anchor": "middle" }, String(row + 1)));
      names.forEach((other, column) => {
        const value = rows[row][column];
        const share = value === null ? 0 : (value - low) / (1 - low || 1);
        const alpha = 0.08 + 0.5 * share;
        svg.append(shape("rect", { x: label + column * side, y: top + row * side, width: side - 1, height: side - 1, fill: `rgba(var(--cold), ${alpha.toFixed(3)})` }, null, `${name}, ${other}: ${digits(value, 3)}`));
        if (side >= 30) svg.append(shape("text", { x: label + column * side + side / 2, y: top + row * side + side / 2 + 4, "text-anchor": "middle", "font-size": side >= 40 ? 12 : 10 }, digits(value, 2)));
      });
    });
    return svg;
  };
  return figure(title, said, draw, ["", ...names], names.map((name, row) => [name, ...rows[row].map((one) => digits(one, 3))]));
}

// Points {x, y, name, low, high}, a line with its band, and where both are the same.
function scatter(title, said, points, xTitle, yTitle, { band = null, same = false, large = true, press = null } = {}) {
  const draw = (width) => {
    const height = Math.max(240, Math.min(400, width * 0.7));
    const box = { left: 58, right: width - 12, top: 30, bottom: height };
    const svg = canvas(width, height + 42);
    const x = widened(points.map((one) => one.x)), y = widened([...points.flatMap((one) => [one.y, one.low, one.high]), ...(band ? [...band.low, ...band.high] : [])]);
    const at = axes(svg, box, x, y, xTitle, yTitle);
    if (band) {
      const upper = band.x.map((value, place) => `${at.x(value)},${at.y(band.high[place])}`);
      const lower = band.x.map((value, place) => `${at.x(value)},${at.y(band.low[place])}`).reverse();
      svg.append(shape("polygon", { points: [...upper, ...lower].join(" "), fill: "rgba(var(--cold), 0.18)" }));
      const middle = band.x.map((value, place) => `${at.x(value)},${at.y((band.low[place] + band.high[place]) / 2)}`);
      svg.append(shape("polyline", { points: middle.join(" "), fill: "none", stroke: "var(--c0)", "stroke-width": 2 }));
    }
    if (same) {
      const low = Math.max(x[0], y[0]), high = Math.min(x[1], y[1]);
      if (high > low) svg.append(shape("line", { x1: at.x(low), y1: at.y(low), x2: at.x(high), y2: at.y(high), stroke: "var(--soft)", "stroke-dasharray": "4 4" }));
    }
    for (const one of points) {
      if (one.low !== undefined && one.low !== null) svg.append(shape("line", { x1: at.x(one.x), x2: at.x(one.x), y1: at.y(one.low), y2: at.y(one.high), stroke: "var(--c1)", "stroke-width": 1.5 }));
      const dot = shape("circle", { cx: at.x(one.x), cy: at.y(one.y), r: large ? 5 : 2.5, fill: "var(--c0)", "fill-opacity": large ? 1 : 0.55 }, null, one.name);
      if (press) { dot.style.cursor = "pointer"; dot.addEventListener("click", () => press(one)); }
      svg.append(dot);
    }
    return svg;
  };
  const rows = points.slice(0, 100).map((one) => [one.name, digits(one.x), digits(one.y)]);
  return figure(title, said, draw, ["", xTitle, yTitle], rows);
}

// How often values fall into each of a few equal steps.
function histogram(title, said, values, axis, steps = 30) {
  const there = values.filter((one) => one !== null && one !== undefined);
  const [low, high] = widened(there, 0);
  const counts = new Array(steps).fill(0);
  for (const one of there) counts[Math.min(steps - 1, Math.floor(((one - low) / (high - low || 1)) * steps))] += 1;
  const draw = (width) => {
    const box = { left: 46, right: width - 12, top: 24, bottom: 190 };
    const svg = canvas(width, 232);
    const at = axes(svg, box, [low, high], [0, Math.max(...counts) * 1.05], axis, "photos");
    const wide = (box.right - box.left) / steps;
    counts.forEach((count, place) => {
      const from = low + ((high - low) * place) / steps;
      svg.append(shape("rect", { x: box.left + place * wide + 0.5, width: Math.max(1, wide - 1), y: at.y(count), height: box.bottom - at.y(count), fill: "var(--c0)" }, null, `${digits(from)} to ${digits(from + (high - low) / steps)}: ${count}`));
    });
    return svg;
  };
  const rows = counts.map((count, place) => [`${digits(low + ((high - low) * place) / steps)}`, count]);
  return figure(title, said, draw, ["from", "photos"], rows);
}
