// The page: sends a text to this server and shows the predictions of its labelers. Nothing is loaded from elsewhere.
// Results are built from text nodes only, never from HTML strings, so that no text can inject code.

import { Live } from "./live.js";

const EXAMPLE =
  "Ada Lovelace met Charles Babbage in London in 1833. Years later 🎩 Luigi Menabrea of the University of Turin " +
  "wrote about his engine, and Lovelace translated the article for Taylor's Scientific Memoirs.";
const HUES = 8;
const EDGES = 4;
// Number of labels shown at first; more would push the result off the screen.
const FEW_LABELS = 12;
const SCORES = new Intl.NumberFormat("en", { minimumFractionDigits: 3, maximumFractionDigits: 3 });

const at = (id) => document.getElementById(id);
const state = { models: [], sides: [], hidden: new Set(), allLabels: false, asked: null };

function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

// ---- requests to the server

class Refused extends Error {
  constructor(status, { error, allowed, what_to_do: advice }) {
    super(`${error}. Allowed: ${allowed}. ${advice}`);
    this.status = status;
  }
}

async function send(path, body, signal) {
  const headers = { "Content-Type": "application/json" };
  if (at("key").value) headers.Authorization = `Bearer ${at("key").value}`;
  const options = body ? { method: "POST", headers, body: JSON.stringify(body), signal } : { headers, signal };
  const answer = await fetch(path, options);
  if (!answer.ok) throw new Refused(answer.status, await answer.json());
  return answer;
}

const ask = async (path, body, signal) => (await send(path, body, signal)).json();

async function loadModels() {
  try {
    state.models = await ask("v1/models");
  } catch (error) {
    explain(error);
    return;
  }
  for (const side of [0, 1]) {
    at(`model-${side}`).replaceChildren(...state.models.map(({ name }) => make("option", { value: name }, name)));
    showPlan(side);
  }
  if (state.models.length > 1) at("model-1").selectedIndex = 1;
  showPlan(1);
  const first = state.models[0];
  if (state.models.length === 1 && first.plan) at("plan-1").value = first.plan === "causal" ? "full" : "causal";
  showStatus("");
}

function showPlan(side) {
  const { plan } = modelOf(side) ?? { plan: null };
  const input = at(`plan-${side}`);
  input.disabled = plan === null;
  input.placeholder = plan ?? "none";
  if (plan === null) input.value = "";
  const used = at("compare").checked ? [0, 1] : [0];
  at("labels-field").hidden = !used.some((one) => modelOf(one)?.open);
  at("plan-hint").hidden = at("plan-0").disabled && (at("plan-1").disabled || !at("compare").checked);
}

const modelOf = (side) => state.models.find(({ name }) => name === at(`model-${side}`).value);

async function submit(event) {
  event?.preventDefault();
  if (!state.models.length) await loadModels();
  if (!state.models.length) return;
  if (!at("text").value.trim()) {
    explain(new Error("There is no text yet. Type one, or try the example."));
    at("text").focus();
    return;
  }
  state.asked?.abort();
  const asked = (state.asked = new AbortController());
  const text = at("text").value;
  explain(null);
  busy(true);
  try {
    const sides = at("compare").checked ? [0, 1] : [0];
    state.sides = await Promise.all(sides.map((side) => askSide(side, text, asked.signal)));
    at("results").hidden = false;
    at("empty").hidden = true;
    showAll();
  } catch (error) {
    if (error.name !== "AbortError") explain(error);
  } finally {
    if (state.asked === asked) busy(false);
  }
}

async function askSide(side, text, signal) {
  const { fields, ...wanted } = wantedOf(side);
  const answer = await ask("v1/label", { text, ...fields }, signal);
  return { ...wanted, prediction: answer.predictions[0] };
}

// Returns the fields of a request for the model, plan and labels of a side, and what its result is shown with.
function wantedOf(side) {
  const { name, plan, open, labels } = modelOf(side);
  const wanted = at(`plan-${side}`).value.trim();
  const named = open ? namedLabels() : [];
  const fields = { model: name, ...(wanted ? { plan: wanted } : {}), ...(named.length ? { labels: named } : {}) };
  return { fields, model: name, plan: wanted || plan, labels: named.length ? named.map(nameOf) : labels };
}

// Descriptions may contain commas. A comma in a name is probably meant to separate labels.
function namedLabels() {
  const named = at("labels").value.split(/[;；؛]/).map((label) => label.trim().replace(/\s+/g, " ")).filter(Boolean);
  const joined = named.map(nameOf).find((name) => /[,，،、]/.test(name));
  if (joined) throw new Error(`The label "${joined}" has a comma. Separate labels by semicolons: company; product`);
  return named;
}

const nameOf = (label) => label.split(/:\s|：/)[0].trim();

const live = new Live(send, showLive, explain);

function follow() {
  if (!at("live").checked || !modelOf(0)) return;
  try {
    const { fields } = wantedOf(0);
    explain(null);
    live.follow(at("text").value, fields);
  } catch (error) {
    explain(error);
  }
}

function showLive(text, spans) {
  const { fields: _, ...wanted } = wantedOf(0);
  state.sides = [{ ...wanted, prediction: { text, spans } }];
  at("results").hidden = false;
  at("empty").hidden = true;
  showAll();
}

function again() {
  if (!at("results").hidden) submit();
}

function busy(is) {
  at("label").setAttribute("aria-disabled", String(is));
  at("label").textContent = is ? "Labeling …" : "Label";
}

function explain(error) {
  at("problem").textContent = error ? `${error.message}` : "";
  if (error?.status === 401) {
    at("key-field").hidden = false;
    at("key").focus();
  }
}

const showStatus = (text) => (at("status").textContent = text);

// ---- showing

const threshold = () => Number(at("threshold").value);
const shown = ({ label, score }) => score >= threshold() && !state.hidden.has(label);
const foundBy = ({ prediction }) => prediction.spans ?? prediction.labels;
const identity = ({ start, end, label }) => `${start} ${end} ${label}`;

function knownLabels() {
  return [...new Set(state.sides.flatMap(({ labels }) => labels))];
}

function classesOf(label) {
  const index = Math.max(0, knownLabels().indexOf(label));
  return `hue-${index % HUES} edge-${Math.floor(index / HUES) % EDGES}`;
}

function showAll() {
  at("threshold-value").textContent = threshold().toFixed(2);
  showLegend();
  at("panes").replaceChildren(...state.sides.map(paneOf));
  const counts = state.sides.map((side) => {
    const all = foundBy(side);
    return `${titleOf(side)}: ${all.filter(shown).length} of ${all.length} ${side.prediction.spans ? "spans" : "labels"} shown`;
  });
  if (state.sides.length > 1 && state.sides.every(({ prediction }) => prediction.spans)) {
    const differing = state.sides.map((side) => foundBy(side).filter(shown).filter(onlyHere(side)).length);
    counts.push(`on one side only: ${differing.join(" / ")}`);
  }
  showStatus(counts.join("; "));
}

const titleOf = ({ model, plan }) => model + (plan ? ` · plan ${plan}` : "");

function showLegend() {
  const focused = document.activeElement?.dataset?.label;
  const labels = knownLabels();
  const occurring = labels.filter((label) => state.hidden.has(label) || state.sides.some((side) => countOf(side, label)));
  const few = labels.length > FEW_LABELS && !state.allLabels;
  const chips = (few ? mostFrequent(occurring) : labels).map(chipOf);
  at("legend").replaceChildren(...chips, ...(labels.length > FEW_LABELS ? [moreButton(labels.length - chips.length)] : []));
  if (focused !== undefined) chips.find((chip) => chip.dataset.label === focused)?.focus();
}

const countOf = (side, wanted, kept = () => true) => foundBy(side).filter((one) => one.label === wanted && kept(one)).length;

function mostFrequent(labels) {
  const total = (label) => state.sides.reduce((sum, side) => sum + countOf(side, label), 0);
  return [...labels].sort((a, b) => state.hidden.has(b) - state.hidden.has(a) || total(b) - total(a)).slice(0, FEW_LABELS);
}

function chipOf(label) {
  const numbers = state.sides.map((side) => countOf(side, label, ({ score }) => score >= threshold())).join(" / ");
  const pressed = String(!state.hidden.has(label));
  const name = `chip ${classesOf(label)}`;
  const title = pressed === "true" ? `Hide ${label}` : `Show ${label}`;
  const chip = make(
    "button", { type: "button", className: name, "aria-pressed": pressed, title }, make("bdi", {}, label), ` ${numbers}`,
  );
  chip.dataset.label = label;
  chip.addEventListener("click", () => {
    if (!state.hidden.delete(label)) state.hidden.add(label);
    showAll();
  });
  return chip;
}

function moreButton(more) {
  const text = state.allLabels ? "Show fewer labels" : `Show ${more} more labels`;
  const button = make("button", { type: "button", className: "more", "aria-expanded": String(state.allLabels) }, text);
  button.addEventListener("click", () => {
    state.allLabels = !state.allLabels;
    showLegend();
    at("legend").querySelector(".more").focus();
  });
  return button;
}

function paneOf(side) {
  const title = make("h3", {}, titleOf(side));
  const copy = make("button", { type: "button" }, "Copy as JSON");
  copy.addEventListener("click", () => copyJson(side, copy));
  const body = side.prediction.labels ? [labelList(side)] : [markedText(side)];
  if (!foundBy(side).some(shown)) body.push(make("p", { className: "nothing" }, whyNothing(side)));
  else if (side.prediction.spans) body.push(spanTable(side));
  return make("section", { className: "pane", "aria-label": title.textContent }, make("header", {}, title, copy), ...body);
}

function whyNothing(side) {
  const found = foundBy(side).length;
  if (!found) return "The model found nothing to label in this text.";
  return `Nothing is shown: every result of the model (${found}) is below the minimum score or has a hidden label.`;
}

function onlyHere(side) {
  const others = state.sides.filter((other) => other !== side);
  if (!others.length || others.some(({ prediction }) => !prediction.spans)) return () => false;
  const elsewhere = new Set(others.flatMap((other) => foundBy(other).filter(shown).map(identity)));
  return (span) => !elsewhere.has(identity(span));
}

function markedText(side) {
  // The server's offsets count Unicode code points; JavaScript strings are indexed by UTF-16 units.
  const points = Array.from(side.prediction.text);
  const only = onlyHere(side);
  const paragraph = make("p", { className: "text", lang: "", dir: "auto", "aria-describedby": "keys-hint" });
  const parts = side.prediction.spans.filter(shown).map((span) => ({ span, from: span.start, to: span.end }));
  paragraph.append(...markedNodes(points, 0, points.length, parts.sort(outerFirst), only));
  const marks = [...paragraph.querySelectorAll("mark")];
  if (marks.length) marks[0].tabIndex = 0;
  paragraph.addEventListener("keydown", (event) => moveBetween(marks, event));
  return paragraph;
}

function markedNodes(points, from, to, parts, only) {
  // The text between two places with its spans, outer ones first. Elements cannot cross, so a span that crosses the end
  // of another one is marked in two parts.
  const nodes = [];
  let position = from;
  while (parts.length) {
    const [part, ...others] = parts;
    const inside = others.filter((other) => other.from < part.to);
    const cut = inside.filter((other) => other.to > part.to).map((other) => ({ ...other, from: part.to }));
    const within = inside.map((other) => ({ ...other, to: Math.min(other.to, part.to) }));
    const content = markedNodes(points, part.from, part.to, within, only);
    nodes.push(points.slice(position, part.from).join(""), markOf(part.span, only(part.span), content));
    position = part.to;
    parts = [...cut, ...others.filter((other) => other.from >= part.to)].sort(outerFirst);
  }
  return [...nodes, points.slice(position, to).join("")];
}

const outerFirst = (a, b) => a.from - b.from || b.to - a.to;

function markOf(span, only, content) {
  const score = SCORES.format(span.score);
  const spoken = `, ${span.label}, score ${score}${only ? ", only on this side" : ""}`;
  const tip = `${span.label} ${score}, characters ${span.start} to ${span.end}${only ? ", only on this side" : ""}`;
  const name = `span ${classesOf(span.label)}${only ? " only" : ""}`;
  const mark = make("mark", { className: name, tabIndex: -1, dir: "auto" });
  mark.append(
    ...content,
    make("span", { className: "tag", "aria-hidden": "true" }, span.label),
    make("span", { className: "unseen", dir: "auto" }, spoken),
    make("span", { className: "tip", dir: "auto", "aria-hidden": "true" }, tip),
  );
  for (const name of ["mouseenter", "focus"]) mark.addEventListener(name, () => mark.classList.remove("quiet"));
  return mark;
}

function moveBetween(marks, event) {
  const here = marks.indexOf(document.activeElement);
  const back = getComputedStyle(event.currentTarget).direction === "rtl" ? "ArrowRight" : "ArrowLeft";
  const forth = back === "ArrowLeft" ? "ArrowRight" : "ArrowLeft";
  const target = { [back]: here - 1, [forth]: here + 1, Home: 0, End: marks.length - 1 }[event.key];
  if (event.key === "Escape") marks[here]?.classList.add("quiet");
  if (here < 0 || target === undefined) return;
  event.preventDefault();
  const next = marks[Math.min(Math.max(target, 0), marks.length - 1)];
  marks[here].tabIndex = -1;
  next.tabIndex = 0;
  next.focus();
}

function spanTable(side) {
  const head = ["Label", "Text", "From", "To", "Score"];
  const numeric = (index) => (index > 1 ? "number" : "");
  const row = (cells, tag) =>
    make("tr", {}, ...cells.map((cell, index) => make(tag, { className: numeric(index), dir: "auto" }, String(cell))));
  const rows = side.prediction.spans
    .filter(shown)
    .map((span) => row([span.label, span.text, span.start, span.end, SCORES.format(span.score)], "td"));
  const header = row(head, "th");
  for (const cell of header.children) cell.scope = "col";
  const table = make("table", {}, make("thead", {}, header), make("tbody", {}, ...rows));
  const details = make("details", {}, make("summary", {}, "As a table"), make("div", { className: "scroll" }, table));
  details.open = side.open ?? false;
  details.addEventListener("toggle", () => (side.open = details.open));
  return details;
}

function labelList(side) {
  const items = side.prediction.labels.filter(shown).map(({ label, score }) => {
    const chip = make("span", { className: `chip ${classesOf(label)}` }, label);
    const bar = make("meter", { min: 0, max: 1, value: score, "aria-hidden": "true" });
    return make("li", {}, chip, bar, make("span", {}, SCORES.format(score)));
  });
  return make("ul", { className: "labels" }, ...items);
}

// ---- copying

async function copyJson(side, button) {
  const { prediction, model, plan } = side;
  const key = prediction.spans ? "spans" : "labels";
  const kept = { model, plan, min_score: threshold(), ...prediction, [key]: foundBy(side).filter(shown) };
  const copied = await writeClipboard(JSON.stringify(kept, null, 2));
  button.textContent = copied ? "Copied" : "Not copied";
  showStatus(copied ? "Copied as JSON." : "This browser does not allow the page to copy.");
  setTimeout(() => (button.textContent = "Copy as JSON"), 2000);
}

async function writeClipboard(text) {
  try {
    // Browsers offer navigator.clipboard on https and localhost only; otherwise the old command is used.
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = make("textarea", { value: text, className: "unseen" });
    const focused = document.activeElement;
    document.body.append(area);
    area.select();
    const copied = document.execCommand("copy");
    area.remove();
    focused?.focus();
    return copied;
  }
}

// ---- start

at("form").addEventListener("submit", submit);
at("text").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) submit(event);
});
at("example").addEventListener("click", () => {
  at("text").value = EXAMPLE;
  submit();
});
at("threshold").addEventListener("input", showAll);
at("compare").addEventListener("change", () => {
  at("second").hidden = !at("compare").checked;
  showPlan(1);
  again();
});
for (const side of [0, 1]) {
  at(`model-${side}`).addEventListener("change", () => {
    showPlan(side);
    again();
  });
  at(`plan-${side}`).addEventListener("change", again);
}
at("labels").addEventListener("change", again);
at("text").addEventListener("input", follow);
at("live").addEventListener("change", () => (at("live").checked ? follow() : live.stop()));
loadModels();
