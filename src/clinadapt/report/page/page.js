"use strict";

// Words of the page, in its language.

const texts = JSON.parse(document.getElementById("texts").textContent);
const say = (text, fields) => text.replace(/\{(\w+)\}/g, (_, name) => fields[name]);

// Tables: a button in each heading sorts; a text field filters.

const valueOf = (row, column) => {
  const cell = row.cells[column];
  return cell.dataset.value ?? cell.textContent.trim();
};

function sort(table, column, descending) {
  const body = table.tBodies[0];
  const sign = descending ? -1 : 1;
  const rows = [...body.rows].sort((a, b) => {
    const [x, y] = [valueOf(a, column), valueOf(b, column)];
    if (x === "" || y === "") return (x === "") - (y === ""); // missing values stay last
    return sign * (isNaN(x) || isNaN(y) ? x.localeCompare(y) : x - y);
  });
  body.append(...rows);
}

for (const table of document.querySelectorAll("table.sortable")) {
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => {
    if ("unsorted" in heading.dataset) return;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => {
      const descending = heading.ariaSort === "ascending";
      headings.forEach((other) => other.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
      sort(table, column, descending);
    });
  });
}

for (const field of document.querySelectorAll("[data-filters]")) {
  const rows = [...document.getElementById(field.dataset.filters).tBodies[0].rows];
  const wordsOf = (row) => (row.textContent + " " + row.dataset.words).toLowerCase();
  field.addEventListener("input", () => {
    const wanted = field.value.toLowerCase().split(/\s+/);
    for (const row of rows) row.hidden = !wanted.every((word) => wordsOf(row).includes(word));
    const shown = rows.filter((row) => !row.hidden).length;
    field.parentElement.querySelector("output").value = say(texts.filtered, { shown, all: rows.length });
  });
}

for (const button of document.querySelectorAll("[data-widens]")) {
  const table = document.getElementById(button.dataset.widens);
  const widen = (wide) => {
    table.classList.toggle("fewer", !wide);
    button.setAttribute("aria-expanded", wide);
    button.textContent = wide ? texts.fewer : texts.more;
  };
  button.addEventListener("click", () => widen(table.classList.contains("fewer")));
  button.hidden = false;
  widen(false);
}

// Menu: the section on the screen is marked.

const links = new Map([...document.querySelectorAll('nav a[href^="#"]')].map((link) => [link.hash.slice(1), link]));
const sections = [...links.keys()].map((id) => document.getElementById(id));
function mark() {
  const current = sections.findLast((section) => section.getBoundingClientRect().top < innerHeight / 3);
  for (const [id, link] of links) {
    if (id === current?.id) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
}
addEventListener("scroll", () => requestAnimationFrame(mark), { passive: true });

// Comparison of any two configurations; the page holds every difference.

const picks = [...document.querySelectorAll("#pick-0, #pick-1")];
if (picks.length) {
  const pairs = new Map(JSON.parse(document.getElementById("every-pair").textContent)
    .flatMap(([a, b, value, low, high]) => [[`${a} ${b}`, [value, low, high]], [`${b} ${a}`, [-value, -high, -low]]]));
  const tenths = { minimumFractionDigits: 1, maximumFractionDigits: 1 };
  const points = (x) => (x < 0 ? "−" : "+") + Math.abs(100 * x).toLocaleString(document.documentElement.lang, tenths);
  const compare = () => {
    const difference = pairs.get(picks.map((pick) => pick.value).join(" "));
    const [first, second] = picks.map((pick) => pick.selectedOptions[0].text);
    const significant = difference && (difference[1] > 0 || difference[2] < 0);
    document.getElementById("picked").value = difference
      ? say(significant ? texts.different : texts.alike, { first, second, value: points(difference[0]), low: points(difference[1]), high: points(difference[2]) })
      : first === second ? texts.same : texts.absent;
  };
  picks.forEach((pick) => pick.addEventListener("change", compare));
  compare();
}

// Charts: plotly is in the page, compressed; figures are drawn when they become visible.

const figures = JSON.parse(document.getElementById("figures").textContent);
const config = { responsive: true, displaylogo: false, modeBarButtons: [["zoom2d", "resetScale2d", "toImage"]], locale: document.documentElement.lang };
const charts = [...document.querySelectorAll(".chart")];

// An open frame delays the end of loading until plotly is there, so that what prints a page as soon
// as it has loaded, as a browser without a screen does, prints its charts.
const frame = document.body.appendChild(Object.assign(document.createElement("iframe"), { hidden: true, title: "" }));
frame.contentDocument.open();

async function loadLibrary() {
  const packed = Uint8Array.from(atob(document.getElementById("library").textContent), (c) => c.charCodeAt(0));
  const unpacked = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const script = document.createElement("script");
  script.textContent = await new Response(unpacked).text();
  document.head.append(script);
  Plotly.register({ moduleType: "locale", name: "fr", dictionary: texts.plotly, format: { decimal: ",", thousands: "\u202f" } });
}

function draw(chart, width) {
  if (chart.dataset.drawn || chart.offsetParent === null) return;
  chart.dataset.drawn = "true";
  const { data, layout } = figures[chart.dataset.figure];
  return Plotly.newPlot(chart, data, { ...layout, width }, config);
}

// One chart at a time while the browser is idle: all at once would block the page.
const idle = () => new Promise((resolve) => (window.requestIdleCallback ?? setTimeout)(resolve));

async function drawAll() {
  try {
    try {
      await loadLibrary();
    } finally {
      frame.contentDocument.close();
      frame.remove();
    }
    for (const chart of charts) {
      await idle();
      await draw(chart);
    }
  } catch (error) {
    for (const chart of charts) chart.textContent = say(texts.undrawn, { error });
  }
}

const costAxis = document.getElementById("cost-axis");
costAxis.addEventListener("change", () => {
  for (const option of costAxis.options) document.getElementById(option.value).hidden = !option.selected;
  charts.forEach((chart) => draw(chart));
});

// Paper is narrower than the screen: for printing, charts are resized or drawn, and restored afterwards.
const PAPER = 640;
const drawn = () => charts.filter((chart) => chart.querySelector("svg"));
addEventListener("beforeprint", () => {
  if (!window.Plotly) return;
  drawn().forEach((chart) => Plotly.relayout(chart, { width: PAPER }));
  charts.forEach((chart) => draw(chart, PAPER));
});
addEventListener("afterprint", () => drawn().forEach((chart) => Plotly.relayout(chart, { width: null, autosize: true })));

drawAll();
