"use strict";
// Everything works without this file; with it, runs are watched as they go on and profiles are checked as they are written.

function watchRun(list) {
  const source = new EventSource(list.dataset.events);
  const kinds = ["pending", "started", "progress", "artifact_ready", "held", "distributed", "verified", "succeeded", "failed", "cancelled"];
  const last = new Set(["run.succeeded", "run.failed", "run.cancelled"]);
  const ended = list.hasAttribute("data-ended");
  const told = (event) => {
    const data = JSON.parse(event.data);
    const line = document.createElement("li");
    const what = [data.type.replace("run.", "").replace("_", " ")];
    for (const key of ["step", "name", "target", "status", "errorCode", "error"]) if (data[key]) what.push(data[key]);
    const time = document.createElement("time");
    time.dateTime = data.at;
    time.textContent = data.at.slice(11, 19);
    line.append(time, ` ${what.join(" ")}`);
    list.append(line);
    list.scrollTop = list.scrollHeight;
    if (!ended && data.type === "run.progress" && data.step) markStep(data.step);
    if (!ended && data.type === "run.started") document.querySelector("#state .state").replaceWith(stateOf("running"));
    if (!ended && data.type === "run.held" && document.querySelector("#state").textContent.trim() !== "held") location.reload();
    if (last.has(data.type)) {
      source.close();
      if (!ended) location.reload();
    }
  };
  for (const kind of kinds) source.addEventListener(`run.${kind}`, told);
  source.addEventListener("error", () => {
    if (ended) source.close();
    else if (source.readyState === EventSource.CLOSED) tellLost(list);
  });
}

function tellLost(list) {
  const line = document.createElement("li");
  line.textContent = "This page is live no longer: load it again, and log in where that is asked.";
  list.append(line);
}

function stateOf(word) {
  const found = document.createElement("span");
  found.className = `state ${word}`;
  found.textContent = word;
  return found;
}

function markStep(name) {
  for (const each of document.querySelectorAll("#steps li")) {
    if (each.classList.contains("now")) each.className = "done";
    if (each.dataset.step === name) each.className = "now";
  }
}

function checkAsWritten(area) {
  const place = document.querySelector(area.dataset.tells);
  let waiting = 0;
  let asked = 0;
  area.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(async () => {
      const number = ++asked;
      const answer = await fetch(area.dataset.checkedAt, { method: "POST", body: new URLSearchParams(new FormData(area.form)) });
      if (number !== asked) return;
      if (!answer.ok && answer.status !== 400) {
        place.textContent = answer.status === 401 || answer.status === 403 ? "Not checked: the session is over. Log in again in another tab, and keep this one open." : "Not checked: the server does not answer as it should.";
        return;
      }
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const found = page.querySelector(area.dataset.tells);
      if (found) place.replaceChildren(...found.childNodes);
    }, 400);
  });
}

function offerCopy(button) {
  if (!navigator.clipboard) return;
  button.hidden = false;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(button.parentElement.querySelector("code").textContent);
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  });
}

for (const each of document.querySelectorAll("[data-events]")) watchRun(each);
for (const each of document.querySelectorAll("[data-checked-at]")) checkAsWritten(each);
for (const each of document.querySelectorAll(".copy")) offerCopy(each);
for (const each of document.querySelectorAll("form[data-asks]")) each.addEventListener("submit", (event) => { if (!confirm(each.dataset.asks)) event.preventDefault(); });
for (const each of document.querySelectorAll("form[data-sends-itself] select")) each.addEventListener("change", () => each.form.submit());
