"use strict";
// Records are foreign text: it only ever becomes the text of a node, never markup.
const data = JSON.parse(document.getElementById("data").textContent);
const dialog = document.getElementById("details");
const SVG = "http://www.w3.org/2000/svg";

function element(tag, content = "", attributes = {}) {
  const made = document.createElement(tag);
  made.append(...[content].flat());
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

function shape(tag, attributes, text = "") {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.textContent = text;
  return made;
}

// ---- Sorting ------------------------------------------------------------------------------

function keyOf(row, column) {
  const cell = row.cells[column];
  if (cell.tagName === "TH") return cell.textContent;
  return cell.dataset.value === undefined ? null : Number(cell.dataset.value);
}

function sortBy(table, column) {
  const heads = table.tHead.rows[0].cells;
  const before = heads[column].getAttribute("aria-sort");
  const body = table.tBodies[0];
  const byName = body.rows[0].cells[column].tagName === "TH";
  const falling = before === null ? !byName : before === "ascending";
  for (const head of heads) head.removeAttribute("aria-sort");
  heads[column].setAttribute("aria-sort", falling ? "descending" : "ascending");
  const keyed = [...body.rows].map((row) => [keyOf(row, column), row]);
  keyed.sort(([a], [b]) => {
    if (a === null || b === null) return (a === null) - (b === null);
    const order = typeof a === "number" ? a - b : a.localeCompare(b, "en", { numeric: true });
    return falling ? -order : order;
  });
  body.append(...keyed.map(([, row]) => row));
}

for (const table of document.querySelectorAll("table.sortable")) {
  table.tHead.addEventListener("click", (event) => {
    const head = event.target.closest("button.sort")?.closest("th");
    if (head) sortBy(table, head.cellIndex);
  });
}

// ---- Details of cells ---------------------------------------------------------------------

const shown = (value) => (value === null || value === undefined ? "–" : String(value));
const percent = (value) => (typeof value === "number" ? value.toFixed(1) : "–");

function facts(cells) {
  const lines = [];
  const add = (name, value) => lines.push([name, cells.map(value)]);
  const metrics = (part) => [...new Set(cells.flatMap((cell) => Object.keys(cell[part] ?? {})))];
  if (cells.some((cell) => cell.error)) add("failed", (cell) => cell.error ?? "–");
  for (const part of ["test", "validation", "majority"]) {
    const name = part === "majority" ? "majority class, test" : part;
    for (const metric of metrics(part)) add(`${name}: ${metric} (%)`, (cell) => percent(cell[part]?.[metric]));
  }
  add("valid labels, test (%)", (cell) => percent(cell.labels == null ? null : 100 * cell.labels));
  add("rows: training, validation, test", (cell) => (cell.rows ?? ["–"]).join(", "));
  add("trainable parameters", (cell) => shown(cell.parameters));
  add("steps (best)", (cell) => `${shown(cell.steps)} (${shown(cell.best)})`);
  add("seconds", (cell) => shown(cell.seconds));
  add("started", (cell) => cell.started.replace("T", " ").slice(0, 16));
  add("record", (cell) => cell.digest);
  return lines;
}

function factTable(cells) {
  const head = element("tr", [element("th", "seed", { scope: "col" }),
    ...cells.map((cell) => element("th", String(cell.seed), { scope: "col" }))]);
  const body = facts(cells).map(([name, values]) => element("tr", [
    element("th", name, { scope: "row" }), ...values.map((value) => element("td", value))]));
  const table = element("table", [element("thead", head), element("tbody", body)], { class: "facts" });
  return scrolling(table, "Numbers by seed");
}

function scrolling(content, name) {
  return element("div", content, { class: "scroll", role: "region", tabindex: "0", "aria-label": name });
}

function chart(cells, key, title) {
  const lines = cells.map((cell) => {
    const curve = cell.curve ?? { steps: [], [key]: [] };
    return curve.steps.map((step, at) => [step, curve[key][at]]).filter(([, value]) => value !== null);
  });
  const points = lines.flat();
  if (!points.length) return [];
  const [width, height, left, low] = [480, 230, 48, 190];
  const steps = points.map(([step]) => step);
  const values = points.map(([, value]) => value);
  const [first, last] = [Math.min(...steps), Math.max(...steps)];
  const [least, most] = [Math.min(...values), Math.max(...values)];
  const x = (step) => left + ((step - first) / (last - first || 1)) * (width - left - 20);
  const y = (value) => low - ((value - least) / (most - least || 1)) * (low - 30);
  const seeds = cells.map((cell) => cell.seed).join(", ");
  const label = `${title}, seeds ${seeds}: from step ${first} to ${last}, between ${least} and ${most}`;
  const svg = shape("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label });
  svg.append(shape("text", { x: 4, y: 14 }, title));
  for (const value of new Set([least, most])) {
    svg.append(shape("line", { class: "axis", x1: left, x2: width - 20, y1: y(value), y2: y(value) }));
    svg.append(shape("text", { x: left - 6, y: y(value) + 4, "text-anchor": "end" }, String(Number(value.toPrecision(3)))));
  }
  for (const step of new Set([first, last])) {
    svg.append(shape("text", { x: x(step), y: low + 18, "text-anchor": "middle" }, String(step)));
  }
  svg.append(shape("text", { x: (left + width) / 2, y: low + 18, "text-anchor": "middle" }, "steps"));
  for (const line of lines) {
    const path = line.map(([step, value]) => `${x(step).toFixed(1)},${y(value).toFixed(1)}`).join(" ");
    svg.append(shape("polyline", { class: "curve", points: path }));
  }
  return [svg];
}

function curves(cells) {
  const metric = cells.find((cell) => cell.metric)?.metric;
  const charts = [...chart(cells, "score", `validation ${metric} (%)`), ...chart(cells, "loss", "training loss")];
  if (!charts.length) return [];
  const looks = ["solid", "dashed", "dotted", "dash-dotted"];
  const legend = cells.map((cell, at) => `${looks[at % looks.length]}: seed ${cell.seed}`).join("; ");
  return [element("h3", "Curves"), element("div", charts, { class: "charts" }), element("p", `Lines: ${legend}.`)];
}

function answers(cell) {
  if (cell.wrong === undefined) return [element("p", "No predictions are stored.")];
  const rest = cell.examples.length < cell.wrong
    ? ` The first ${cell.examples.length} are here; bench show ${cell.digest} --errors lists all.` : "";
  const head = element("tr", ["row", "answer", "right"].map((name) => element("th", name, { scope: "col" })));
  const body = cell.examples.map(([row, answer, references]) => element("tr", [
    element("td", String(row)), element("td", answer || "(empty)"), element("td", references.join(" | "))]));
  const table = element("table", [element("thead", head), element("tbody", body)], { class: "answers" });
  const count = element("p", `${cell.wrong} of ${cell.answers} test answers are wrong.${rest}`);
  return body.length ? [count, scrolling(table, `Wrong answers, seed ${cell.seed}`)] : [count];
}

function provenance(cell) {
  const known = data.provenances[cell.provenance];
  const commit = `${known.git_commit ?? "unknown"}${known.git_dirty ? ", with uncommitted changes" : ""}`;
  const versions = Object.entries(known.versions).map((pair) => pair.join(" ")).join(", ");
  const hardware = `${known.hardware.cpu}, ${known.hardware.threads} threads, GPU ${known.hardware.gpu ?? "none"}`;
  const pairs = [["Command", known.command], ["Commit", commit], ["Python", known.python],
    ["Platform", known.platform], ["Hardware", hardware], ["Versions", versions],
    ["Method settings", JSON.stringify(cell.settings)], ["Notes", (cell.notes ?? []).join("; ") || "none"]];
  return element("dl", pairs.flatMap(([name, value]) => [element("dt", name), element("dd", value)]));
}

function ofSeed(cell, open) {
  const inner = [element("summary", `Seed ${cell.seed}: wrong answers, diagnostics, provenance`),
    element("h4", "Wrong answers"), ...answers(cell)];
  if (cell.diagnostics) {
    inner.push(element("h4", "What the method tells of itself, at the best step"));
    inner.push(element("pre", JSON.stringify(cell.diagnostics, null, 1)));
  }
  inner.push(element("h4", "Provenance"), provenance(cell));
  return element("details", inner, open ? { open: "" } : {});
}

function show(cells) {
  const [first] = cells;
  const shots = first.shots === null ? "full data" : `${first.shots} shots`;
  const title = document.getElementById("details-title");
  title.textContent = `${first.label} on ${first.task}, ${shots}`;
  document.getElementById("details-body").replaceChildren(
    factTable(cells), ...curves(cells), element("h3", "Seed by seed"),
    ...cells.map((cell) => ofSeed(cell, cells.length === 1)));
  dialog.showModal();
  dialog.scrollTop = 0;
  title.focus();
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button.open");
  if (button) show(button.dataset.cells.split(" ").map((place) => data.cells[Number(place)]));
  if (event.target === dialog) dialog.close();
});
document.getElementById("close").addEventListener("click", () => dialog.close());
