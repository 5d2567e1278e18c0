"use strict";
// Shows the mistakes whose kind and at least one label are ticked, in sentences that contain the search words.
// Without this script the page shows everything.

// Sentences per page, about ten screens.
const PAGE_SIZE = 25;
const form = document.getElementById("filters");
const status_ = document.getElementById("status");
const pagers = ["pages-top", "pages-bottom"].map((id) => document.getElementById(id));
let page = 0;
const articles = [...document.querySelectorAll("article")].map((article) => ({
  article,
  text: article.dataset.text,
  errors: [...article.querySelectorAll("li[data-kind]")].map((item) => ({
    item,
    kind: item.dataset.kind,
    labels: JSON.parse(item.dataset.labels),
  })),
}));

function ticked(name) {
  return new Set([...form.querySelectorAll(`input[name="${name}"]:checked`)].map((box) => box.value));
}

function showPage(matching, numErrors) {
  const numPages = Math.max(1, Math.ceil(matching.length / PAGE_SIZE));
  page = Math.min(page, numPages - 1);
  matching.forEach((article, place) => {
    article.hidden = Math.floor(place / PAGE_SIZE) !== page;
  });
  const total = `${numErrors} mistakes in ${matching.length} sentences`;
  status_.textContent = numPages > 1 ? `${total}, page ${page + 1} of ${numPages}.` : `${total} shown.`;
  for (const pager of pagers) {
    pager.hidden = numPages < 2;
    for (const button of pager.querySelectorAll?.("button") ?? []) {
      const target = page + Number(button.dataset.step);
      button.disabled = target < 0 || target >= numPages;
    }
  }
}

function update() {
  const kinds = ticked("kind");
  const labels = ticked("label");
  const words = form.elements.words.value.trim().toLowerCase();
  const byKind = new Map();
  const byLabel = new Map();
  const matching = [];
  let numErrors = 0;
  const add = (counts, key) => counts.set(key, (counts.get(key) || 0) + 1);
  for (const { article, text, errors } of articles) {
    const found = text.includes(words);
    let shown = 0;
    for (const { item, kind, labels: own } of errors) {
      const kindIs = kinds.has(kind);
      const labelIs = own.some((label) => labels.has(label));
      // The number next to a filter is the number of mistakes it shows while the other filters are unchanged.
      if (found && labelIs) add(byKind, kind);
      if (found && kindIs) own.forEach((label) => add(byLabel, label));
      item.hidden = !(kindIs && labelIs);
      shown += item.hidden ? 0 : 1;
    }
    article.hidden = true;
    if (found && shown > 0) {
      matching.push(article);
      numErrors += shown;
    }
  }
  for (const [name, counts] of [["kind", byKind], ["label", byLabel]]) {
    for (const box of form.querySelectorAll(`input[name="${name}"]`)) {
      box.parentElement.querySelector(".count").textContent = counts.get(box.value) || 0;
    }
  }
  showPage(matching, numErrors);
}

function filter() {
  page = 0;
  update();
}

form.addEventListener("input", filter);
form.addEventListener("submit", (event) => event.preventDefault());
for (const button of form.querySelectorAll("button[data-name]")) {
  button.addEventListener("click", () => {
    for (const box of form.querySelectorAll(`input[name="${button.dataset.name}"]`)) {
      box.checked = button.dataset.tick === "all";
    }
    filter();
  });
}
for (const pager of pagers) {
  pager.addEventListener?.("click", (event) => {
    const step = Number(event.target.dataset.step);
    if (!step) return;
    page += step;
    update();
    status_.scrollIntoView();
  });
}
form.hidden = false;
update();
