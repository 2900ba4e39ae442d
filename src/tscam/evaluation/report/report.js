"use strict";
// Theme, tabs, threshold slider, sorting and filter. The page shows all its content without scripts, too.

function themeButton() {
  const button = document.getElementById("theme");
  button.hidden = false;
  button.addEventListener("click", () => {
    const root = document.documentElement;
    const isDark = root.dataset.theme
      ? root.dataset.theme === "dark"
      : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = isDark ? "light" : "dark";
  });
}

function tabs(list) {
  const links = [...list.querySelectorAll("a")];
  const panels = links.map((link) => document.querySelector(link.getAttribute("href")));
  const select = (chosen) => {
    links.forEach((link, index) => {
      const isChosen = index === chosen;
      link.setAttribute("aria-selected", isChosen);
      link.tabIndex = isChosen ? 0 : -1;
      panels[index].hidden = !isChosen;
    });
  };
  list.setAttribute("role", "tablist");
  links.forEach((link, index) => {
    link.setAttribute("role", "tab");
    link.setAttribute("aria-controls", panels[index].id);
    panels[index].setAttribute("role", "tabpanel");
    panels[index].setAttribute("aria-label", link.textContent);
    link.addEventListener("click", (event) => {
      event.preventDefault();
      select(index);
    });
    link.addEventListener("keydown", (event) => {
      const steps = { ArrowRight: index + 1, ArrowLeft: index - 1, Home: 0, End: links.length - 1 };
      if (event.key === " ") {
        event.preventDefault();
        select(index);
      }
      if (!(event.key in steps)) return;
      event.preventDefault();
      const next = (steps[event.key] + links.length) % links.length;
      select(next);
      links[next].focus();
    });
  });
  const linked = links.findIndex((link) => link.getAttribute("href") === location.hash);
  select(Math.max(linked, 0));
}

// The slider and the pointer move a line through the charts of a protocol and show the numbers at its threshold.
function thresholdReader(protocol) {
  const thresholds = JSON.parse(protocol.dataset.thresholds);
  const scores = Object.entries(JSON.parse(protocol.dataset.scores));
  const errors = Object.entries(JSON.parse(protocol.dataset.errors));
  const [left, right, width] = JSON.parse(protocol.dataset.plot);
  const slider = protocol.querySelector("input[type=range]");
  const cursors = [...protocol.querySelectorAll(".cursor")];
  const show = (index) => {
    const tau = thresholds[index];
    slider.value = index;
    slider.setAttribute("aria-valuetext", `τ ${tau}`);
    for (const cursor of cursors) {
      const x = left + (right - left) * tau;
      cursor.setAttribute("x1", x);
      cursor.setAttribute("x2", x);
    }
    const valuesAt = (series) => series.map(([name, values]) => [name, values[index]]);
    showNumbers(protocol.querySelector(".readout.scores"), tau, valuesAt(scores), (value) => `${value.toFixed(1)} %`);
    showNumbers(protocol.querySelector(".readout.errors"), tau, valuesAt(errors), String);
  };
  slider.closest("label").hidden = false;
  slider.addEventListener("input", () => show(Number(slider.value)));
  for (const plot of new Set(cursors.map((cursor) => cursor.ownerSVGElement))) {
    plot.addEventListener("pointermove", (event) => {
      const box = plot.getBoundingClientRect();
      const share = (((event.clientX - box.left) / box.width) * width - left) / (right - left);
      const step = thresholds.length > 1 ? thresholds[1] - thresholds[0] : 1;
      show(Math.min(Math.max(Math.round(share / step), 0), thresholds.length - 1));
    });
  }
  show(Number(slider.value));
}

function showNumbers(output, tau, values, format) {
  if (!output) return;
  output.hidden = false;
  output.replaceChildren(`τ ${tau}`);
  for (const [name, value] of values) {
    const part = document.createElement("span");
    const number = document.createElement("b");
    number.textContent = format(value);
    part.append(`${name} `, number);
    output.append(part);
  }
}

const collator = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });

function sortable(table) {
  const heads = [...table.tHead.rows[0].cells];
  const body = table.tBodies[0];
  const value = (row, column) => {
    const text = row.cells[column].textContent;
    if (heads[column].dataset.kind !== "number") return text;
    const number = Number(text.replace(/\s/g, ""));
    return Number.isNaN(number) ? -1 : number; // A dash, where a class has no score, is the lowest.
  };
  heads.forEach((head, column) => {
    const isNumber = head.dataset.kind === "number";
    head.querySelector("button").addEventListener("click", () => {
      const first = isNumber ? "descending" : "ascending";
      const second = isNumber ? "ascending" : "descending";
      const order = head.getAttribute("aria-sort") === first ? second : first;
      for (const other of heads) other.setAttribute("aria-sort", other === head ? order : "none");
      const sign = order === "ascending" ? 1 : -1;
      const keyed = [...body.rows].map((row) => [value(row, column), row]);
      keyed.sort(([one], [two]) => sign * (isNumber ? one - two : collator.compare(one, two)));
      body.append(...keyed.map(([, row]) => row));
    });
  });
}

function filter(field) {
  const table = document.getElementById(field.getAttribute("aria-controls"));
  const counter = field.closest(".tools").querySelector("output");
  const rows = [...table.tBodies[0].rows];
  const all = counter.textContent;
  field.addEventListener("input", () => {
    const wanted = field.value.trim().toLocaleLowerCase();
    let shown = 0;
    for (const row of rows) {
      row.hidden = !row.cells[0].textContent.toLocaleLowerCase().includes(wanted);
      shown += row.hidden ? 0 : 1;
    }
    counter.textContent = wanted ? `${shown} of ${all}` : all;
  });
}

themeButton();
document.querySelectorAll("nav.tabs").forEach(tabs);
document.querySelectorAll("section.protocol").forEach(thresholdReader);
document.querySelectorAll("table.sortable").forEach(sortable);
document.querySelectorAll("input[type=search]").forEach(filter);
addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("#settings details")) details.open = true;
});
