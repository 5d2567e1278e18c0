"use strict";
const header = JSON.parse(document.body.dataset.audit);
const articles = [...document.querySelectorAll("article")];
const findings = articles.map((article) => JSON.parse(article.dataset.finding));
const kind = document.getElementById("kind");
const place = "lookboth-audit-" + header.digest;
const keyOf = ({ sentence, given, suggested }) => JSON.stringify([sentence, given, suggested]);
let made = {};
let current = 0;
// A browser may refuse storage for local files; decisions then last as long as the page.
try { made = JSON.parse(localStorage.getItem(place)) || {}; } catch { made = {}; }

function store() {
  try { localStorage.setItem(place, JSON.stringify(made)); } catch { /* as above */ }
}

function shown() {
  return articles.map((_, index) => index).filter((index) => !articles[index].hidden);
}

function draw() {
  articles.forEach((article, index) => {
    const decision = made[keyOf(findings[index])] || "";
    article.dataset.decision = decision;
    article.hidden = kind.value !== "" && article.dataset.kind !== kind.value;
    article.setAttribute("aria-current", index === current);
    for (const button of article.querySelectorAll(".choices button")) {
      button.setAttribute("aria-pressed", button.dataset.decision === decision);
    }
  });
  const counts = { accept: 0, reject: 0, skip: 0 };
  for (const finding of findings) { const decision = made[keyOf(finding)]; if (decision) counts[decision] += 1; }
  const open = findings.length - counts.accept - counts.reject - counts.skip;
  document.getElementById("status").textContent =
    `${counts.accept} accepted, ${counts.reject} rejected, ${counts.skip} skipped, ${open} open. `;
}

function go(index) {
  if (index === undefined) return;
  current = index;
  draw();
  articles[index].focus({ preventScroll: true });
  articles[index].scrollIntoView({ block: "center" });
}

function decide(index, decision) {
  if (!articles[index] || articles[index].hidden) return;
  if (decision) made[keyOf(findings[index])] = decision; else delete made[keyOf(findings[index])];
  store();
  go(decision ? shown().find((next) => next > index) ?? index : index);
}

function download() {
  const decisions = findings
    .map((finding) => ({ ...finding, decision: made[keyOf(finding)] }))
    .filter((finding) => finding.decision);
  const text = JSON.stringify({ audit: header, decisions }, null, 1) + "\n";
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  link.download = "decisions.json";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

const KEYS = { a: "accept", r: "reject", s: "skip", u: "" };
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.tagName === "SELECT") return;
  if (event.key in KEYS) decide(current, KEYS[event.key]);
  else if (event.key === "j") go(shown().find((index) => index > current));
  else if (event.key === "k") go(shown().reverse().find((index) => index < current));
  else return;
  event.preventDefault();
});
articles.forEach((article, index) => {
  article.querySelector(".choices").hidden = false;
  article.addEventListener("click", (event) => {
    const decision = event.target.dataset.decision;
    if (event.target.tagName === "BUTTON") decide(index, made[keyOf(findings[index])] === decision ? "" : decision);
    else { current = index; draw(); }
  });
});
kind.addEventListener("change", () => { draw(); const first = shown()[0]; if (first !== undefined) go(first); });
document.getElementById("download").addEventListener("click", download);
document.getElementById("bar").hidden = false;
draw();
