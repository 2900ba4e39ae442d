"use strict";
// What the page does beyond showing: theme, tabs, the threshold slider, sorting, the filter. Without it all is there.

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
    links.forEach((link, place) => {
      const isChosen = place === chosen;
      link.setAttribute("aria-selected", isChosen);
      link.tabIndex = isChosen ? 0 : -1;
      panels[place].hidden = !isChosen;
    });
  };
  list.setAttribute("role", "tablist");
  links.forEach((link, place) => {
    link.setAttribute("role", "tab");
    link.setAttribute("aria-controls", panels[place].id);
    panels[place].setAttribute("role", "tabpanel");
    panels[place].setAttribute("aria-label", link.textContent);
    link.addEventListener("click", (event) => {
      event.preventDefault();
      select(place);
    });
    link.addEventListener("keydown", (event) => {
      const steps = { ArrowRight: place + 1, ArrowLeft: place - 1, Home: 0, End: links.length - 1 };
      if (event.key === " ") {
        event.preventDefault();
        select(place);
      }
      if (!(event.key in steps)) return;
      event.preventDefault();
      const next = (steps[event.key] + links.length) % links.length;
      select(next);
      links[next].focus();
    });
  });
  const named = links.findIndex((link) => link.getAttribute("href") === location.hash);
  select(Math.max(named, 0));
}

// The slider and the pointer move one line through the charts of a protocol, and the numbers there are read out.
function thresholdReader(protocol) {
  const thresholds = JSON.parse(protocol.dataset.thresholds);
  const scores = Object.entries(JSON.parse(protocol.dataset.scores));
  const errors = Object.entries(JSON.parse(protocol.dataset.errors));
  const [left, right, width] = JSON.parse(protocol.dataset.plot);
  const slider = protocol.querySelector("input[type=range]");
  const cursors = [...protocol.querySelectorAll(".cursor")];
  const show = (place) => {
    const at = thresholds[place];
    slider.value = place;
    slider.setAttribute("aria-valuetext", `τ ${at}`);
    for (const cursor of cursors) {
      const x = left + (right - left) * at;
      cursor.setAttribute("x1", x);
      cursor.setAttribute("x2", x);
    }
    const valuesAt = (series) => series.map(([name, values]) => [name, values[place]]);
    read(protocol.querySelector(".readout.scores"), at, valuesAt(scores), (value) => `${value.toFixed(1)} %`);
    read(protocol.querySelector(".readout.errors"), at, valuesAt(errors), String);
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

function read(output, at, values, written) {
  if (!output) return;
  output.hidden = false;
  output.replaceChildren(`τ ${at}`);
  for (const [name, value] of values) {
    const part = document.createElement("span");
    const number = document.createElement("b");
    number.textContent = written(value);
    part.append(`${name} `, number);
    output.append(part);
  }
}

const names = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });

function sortable(table) {
  const heads = [...table.tHead.rows[0].cells];
  const body = table.tBodies[0];
  const value = (row, column) => {
    const text = row.cells[column].textContent;
    return heads[column].dataset.kind === "number" ? Number(text.replace(/\s/g, "")) : text;
  };
  heads.forEach((head, column) => {
    const isNumber = head.dataset.kind === "number";
    head.querySelector("button").addEventListener("click", () => {
      const first = isNumber ? "descending" : "ascending";
      const other = isNumber ? "ascending" : "descending";
      const order = head.getAttribute("aria-sort") === first ? other : first;
      for (const each of heads) each.setAttribute("aria-sort", each === head ? order : "none");
      const sign = order === "ascending" ? 1 : -1;
      const keyed = [...body.rows].map((row) => [value(row, column), row]);
      keyed.sort(([one], [two]) => sign * (isNumber ? one - two : names.compare(one, two)));
      body.append(...keyed.map(([, row]) => row));
    });
  });
}

function filter(field) {
  const table = document.getElementById(field.getAttribute("aria-controls"));
  const seen = field.closest(".tools").querySelector("output");
  const rows = [...table.tBodies[0].rows];
  const all = seen.textContent;
  field.addEventListener("input", () => {
    const wanted = field.value.trim().toLocaleLowerCase();
    let kept = 0;
    for (const row of rows) {
      row.hidden = !row.cells[0].textContent.toLocaleLowerCase().includes(wanted);
      kept += row.hidden ? 0 : 1;
    }
    seen.textContent = wanted ? `${kept} of ${all}` : all;
  });
}

themeButton();
document.querySelectorAll("nav.tabs").forEach(tabs);
document.querySelectorAll("section.protocol").forEach(thresholdReader);
document.querySelectorAll("table.sortable").forEach(sortable);
document.querySelectorAll("input[type=search]").forEach(filter);
addEventListener("beforeprint", () => {
  for (const folded of document.querySelectorAll("#settings details")) folded.open = true;
});
