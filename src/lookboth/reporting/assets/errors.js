"use strict";
// Shows the mistakes whose kind and one of whose labels are ticked, in sentences that hold the words searched for.
// Without this script the page shows everything.

const form = document.getElementById("filters");
const status_ = document.getElementById("status");
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

function update() {
  const kinds = ticked("kind");
  const labels = ticked("label");
  const words = form.elements.words.value.trim().toLowerCase();
  const byKind = new Map();
  const byLabel = new Map();
  let numSentences = 0;
  let numErrors = 0;
  const add = (counts, key) => counts.set(key, (counts.get(key) || 0) + 1);
  for (const { article, text, errors } of articles) {
    const found = text.includes(words);
    let shown = 0;
    for (const { item, kind, labels: own } of errors) {
      const kindIs = kinds.has(kind);
      const labelIs = own.some((label) => labels.has(label));
      // The number beside a filter is what ticking it shows while the other filters stay as they are.
      if (found && labelIs) add(byKind, kind);
      if (found && kindIs) own.forEach((label) => add(byLabel, label));
      item.hidden = !(kindIs && labelIs);
      shown += item.hidden ? 0 : 1;
    }
    article.hidden = !(found && shown > 0);
    if (!article.hidden) {
      numSentences += 1;
      numErrors += shown;
    }
  }
  for (const [name, counts] of [["kind", byKind], ["label", byLabel]]) {
    for (const box of form.querySelectorAll(`input[name="${name}"]`)) {
      box.parentElement.querySelector(".count").textContent = counts.get(box.value) || 0;
    }
  }
  status_.textContent = `${numErrors} mistakes in ${numSentences} sentences shown.`;
}

form.addEventListener("input", update);
form.addEventListener("submit", (event) => event.preventDefault());
for (const button of form.querySelectorAll("button[data-name]")) {
  button.addEventListener("click", () => {
    for (const box of form.querySelectorAll(`input[name="${button.dataset.name}"]`)) {
      box.checked = button.dataset.tick === "all";
    }
    update();
  });
}
form.hidden = false;
update();
