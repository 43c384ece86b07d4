/* The page is complete as written; this sorts and filters the worklist, shows one panel at a time and draws the charts. */
const bytes = Uint8Array.from(atob(document.getElementById("payload").textContent), (letter) => letter.charCodeAt(0));
const overview = await new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).json();
const bands = overview.bands.map(([name, lower, upper]) => ({ name, lower, upper }));
const severe = bands.find((band) => band.name === "severe").upper;
const DAY = 1440;
const time = (minutes) => new Date(minutes * 6e4);
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const clock = new Intl.DateTimeFormat("en-GB", { timeZone: overview.zone, year: "numeric", month: "numeric", day: "numeric", hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
/* One form for every number and time, as words.py has it: 21 Nov 2026 06:10 by the clock of the profile's zone; whole cells, none rounded up to a limit. */
const day = (moment) => stamp(moment).slice(0, -6);
function stamp(moment) {
  const part = Object.fromEntries(clock.formatToParts(moment).map(({ type, value }) => [type, value]));
  return `${part.day} ${MONTHS[part.month - 1]} ${part.year} ${part.hour}:${part.minute}`;
}
/* Where a moment stands in a chart: by the clock of the zone, so that days begin at its midnight, as those of medication lists do. */
function place(minutes) {
  const part = Object.fromEntries(clock.formatToParts(time(minutes)).map(({ type, value }) => [type, Number(value)]));
  return new Date(Date.UTC(part.year, part.month - 1, part.day, part.hour, part.minute));
}
const comma = d3.format(",");
const whole = (v) => comma(Math.round(v) - (Math.round(v) > v && bands.some((band) => band.upper === Math.round(v)) ? 1 : 0));
const sign = (comparator) => ({ "<=": "≤", ">=": "≥" })[comparator] ?? comparator;
const wide = matchMedia("(min-width: 1180px)");
const make = (name, properties = {}, ...children) => {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children);
  return element;
};

/* A picture is for the eye: every number in it also stands in a sentence or a table. */
function chart({ isHidden = true, ...options }) {
  const svg = Plot.plot({ className: "drawn", ...options });
  for (const group of svg.querySelectorAll("g[aria-label]")) group.removeAttribute("aria-label");
  if (isHidden) svg.setAttribute("aria-hidden", "true");
  return svg;
}

/* ---- charts of one patient ---- */
const payload = (panel) => overview.courses[panel.dataset.key];

function span(course, isWhole) {
  const first = course.points[0][0], last = course.points.at(-1)[0];
  const cone = course.projection ? last + (course.projection[2] ?? course.projection[0]) * DAY : 0;
  const to = Math.max(last + DAY, Math.min(overview.as_of, last + 60 * DAY), cone);
  const recent = Math.max(first, Math.min((course.from ?? last) - 45 * DAY, last - 90 * DAY));
  const from = isWhole ? first : recent;
  return [place(from - (to - from) * 0.02), place(to + (to - from) * 0.03)];
}

function draw(panel, { width = 0, isWhole = panel.dataset.whole === "1" } = {}) {
  const box = panel.querySelector(".charts"), course = payload(panel);
  if (!course.points.length) return;
  width ||= Math.max(300, box.clientWidth);
  const wanted = `${width} ${isWhole}`;
  if (box.dataset.drawn === wanted) return;
  box.dataset.drawn = wanted;
  const domain = span(course, isWhole), frame = { width, marginLeft: 52, marginRight: 10, domain };
  const parts = [countChart(course, frame), legend(panel, course, isWhole)];
  if (course.lanes.length) parts.push(...laneChart(course, frame));
  parts.push(cellLines(course, domain, width));
  box.replaceChildren(...parts);
}

function countChart(course, { width, marginLeft, marginRight, domain }) {
  const points = course.points.map(([t, v, comparator, method, severity, v5, v6, daids, notes]) => ({
    at: place(t), v, comparator, isReported: method < 2,
    words: [`${stamp(time(t))}`, `${sign(comparator)} ${whole(v)} cells/µL, ${severity}`.trim(), overview.methods[method], notes].filter(Boolean).join("\n"),
  }));
  const top = Math.max(12000, d3.max(points, (point) => point.v) * 1.2);
  const floor = d3.min(points, (point) => point.v) < 60 ? 8 : 40;
  const y = (v) => Math.max(v, floor * 1.12);
  const seen = points.filter((point) => point.at >= domain[0]);
  const falls = course.falls.filter((fall) => place(fall.t[1]) >= domain[0]);
  const latest = falls.at(-1), last = points.at(-1);
  const marks = course.marks.map(([t, words]) => ({ at: place(t), words })).filter((mark) => mark.at >= domain[0]);
  const half = (domain[0].getTime() + domain[1].getTime()) / 2;
  const isNarrow = width < 480, isFallLate = Boolean(latest) && place(latest.t[1]) > half;
  return chart({
    width, height: isNarrow ? 290 : 330, marginLeft, marginRight, marginTop: 26, marginBottom: 36,
    x: { type: "utc", domain }, y: { type: "log", domain: [floor, top], clamp: true },
    marks: [
      bands.map((band) => Plot.rect([0], { x1: domain[0], x2: domain[1], y1: Math.max(band.lower, floor), y2: band.upper ?? top, fill: `var(--band-${band.name})` })),
      bands.filter((band) => band.upper).map((band) => Plot.text([band.name], { x: domain[0], y: Math.sqrt(Math.max(band.lower, floor) * band.upper), text: String, textAnchor: "start", dx: 6, fill: "var(--band-ink)", fontSize: 11 })),
      Plot.axisY([10, 100, 500, 1000, 1500, 4000, 10000].filter((tick) => tick >= floor && tick <= top && !(isNarrow && tick === 1000)), { tickSize: 0, text: comma, fill: "var(--quiet)", label: null }),
      Plot.gridY(bands.map((band) => band.upper).filter(Boolean), { stroke: "var(--line)", strokeOpacity: 1 }),
      Plot.axisX({ ticks: Math.max(2, Math.round(width / 110)), tickSize: 4, fill: "var(--quiet)", stroke: "var(--quiet)", label: null }),
      course.baseline ? [
        Plot.ruleY([course.baseline], { stroke: "var(--accent)", strokeDasharray: "5 4", strokeOpacity: 0.8 }),
        Plot.text([`personal baseline ${whole(course.baseline)}`], { x: isFallLate ? domain[0] : domain[1], y: course.baseline, text: String, textAnchor: isFallLate ? "start" : "end", dx: isFallLate ? 6 : -4, dy: -9, fill: "var(--accent)", fontSize: 11, stroke: "var(--card)", strokeWidth: 3 }),
      ] : null,
      course.projection ? cone(course.projection, last) : null,
      latest ? Plot.ruleX([place(latest.t[1])], { y1: y(latest.v[1]), y2: top, stroke: "var(--alarm)", strokeDasharray: "2 3" }) : null,
      Plot.line(seen, { x: "at", y: (point) => y(point.v), stroke: "var(--accent)", strokeWidth: 1.8, strokeLinejoin: "round" }),
      falls.map((fall) => Plot.line(seen.filter((point) => point.at >= place(fall.t[0]) && point.at <= place(fall.t[1])), { x: "at", y: (point) => y(point.v), stroke: "var(--alarm)", strokeWidth: 2.8, strokeLinejoin: "round" })),
      Plot.dot(seen.filter((point) => point.isReported), { x: "at", y: (point) => y(point.v), r: 3.6, fill: "var(--accent)", stroke: "var(--card)", strokeWidth: 1.2 }),
      Plot.dot(seen.filter((point) => !point.isReported), { x: "at", y: (point) => y(point.v), r: 3.4, fill: "var(--card)", stroke: "var(--accent)", strokeWidth: 1.6 }),
      Plot.dot(seen.filter((point) => point.comparator.startsWith("<")), { x: "at", y: (point) => y(point.v), dy: 10, r: 4, symbol: "triangle", rotate: 180, fill: "var(--accent)" }),
      Plot.dot(seen.filter((point) => point.comparator.startsWith(">")), { x: "at", y: (point) => y(point.v), dy: -10, r: 4, symbol: "triangle", fill: "var(--accent)" }),
      Plot.dot(marks, { x: "at", y: top, dy: -5, r: 3.6, symbol: "triangle", rotate: 180, fill: "var(--alarm)", title: "words" }),
      latest ? Plot.text([latest], { x: place(latest.t[1]), y: top, dy: -16, dx: place(latest.t[1]) > half ? 5 : -5, text: (fall) => (isNarrow ? fall.rule : `${fall.reason.replace(/,.*/, "")} (${fall.rule})`), textAnchor: place(latest.t[1]) > half ? "end" : "start", fill: "var(--alarm)", fontWeight: 650 }) : null,
      Plot.text([last], { x: "at", y: (point) => y(point.v), text: (point) => `${sign(point.comparator)} ${whole(point.v)}`.trim(), dx: -9, dy: y(last.v) < floor * 1.8 ? -12 : 14, textAnchor: "end", fontWeight: 700, fontSize: 13, fill: "var(--ink)", stroke: "var(--card)", strokeWidth: 3 }),
      Plot.tip(seen, Plot.pointer({ x: "at", y: (point) => y(point.v), title: "words", fill: "var(--card)", stroke: "var(--line)" })),
    ],
  });
}

function cone([days, low, high], last) {
  const corner = (after) => ({ at: new Date(last.at.getTime() + after * DAY * 6e4), v: severe });
  const edges = [last, corner(low ?? days), corner(high ?? days), last];
  return [
    Plot.line(edges, { x: "at", y: "v", fill: "var(--cone)", stroke: "none" }),
    Plot.line([last, corner(days)], { x: "at", y: "v", stroke: "var(--alarm)", strokeDasharray: "4 3" }),
  ];
}

function legend(panel, course, isWhole) {
  const has = (test) => course.points.some(test);
  const row = make("p", { className: "legend" }, make("span", { textContent: "● reported" }));
  if (has((point) => point[3] >= 2)) row.append(make("span", { textContent: "○ derived" }));
  if (has((point) => point[2].startsWith("<"))) row.append(make("span", { textContent: "▾ below this value" }));
  if (has((point) => point[2].startsWith(">"))) row.append(make("span", { textContent: "▴ above this value" }));
  if (course.marks.length) row.append(make("span", { textContent: "▼ flag, on the upper edge" }));
  if (course.projection) row.append(make("span", { textContent: "shaded: projected, with its interval" }));
  if (course.older) row.append(make("span", { textContent: `${course.older} older counts are in the store` }));
  if (isWhole || span(course, false)[0] > span(course, true)[0]) {
    const other = make("button", { type: "button", className: "button", textContent: isWhole ? "Recent course" : "Whole course" });
    other.addEventListener("click", () => {
      panel.dataset.whole = isWhole ? "0" : "1";
      draw(panel);
      panel.querySelector(".legend button")?.focus();
    });
    row.append(other);
  }
  return row;
}

/* A day of a medication list is a day, whatever the clock says. */
const utcDay = d3.utcFormat("%-d %b %Y");
/* The width of a letter of the lanes, in pixels: a name never leaves the chart. */
const LETTER = 6.4;
/* An end that is no day: null = still given, "" = sent, and could not be read. */
const isDay = (end) => Number.isFinite(end);
const LANE_WORDS = { listed: "", excluded: "excluded: started after the fall" };
function laneChart(course, { width, marginLeft, marginRight, domain }) {
  const shown = course.lanes.filter(([, , spans]) => spans.some((end, i) => i % 2 && (!isDay(end) || time(end + DAY) >= domain[0])));
  const title = `Drugs on the same time axis${course.more_lanes ? `; ${course.more_lanes} more on the medication list` : ""}${shown.length < course.lanes.length ? `; ${course.lanes.length - shown.length} ended before` : ""}`;
  if (!shown.length) return [make("p", { className: "lane-title", textContent: title })];
  const bars = [], names = [];
  shown.forEach(([name, category, spans], lane) => {
    let first = domain[1], last = domain[0], isOpen = false, isUnread = false;
    for (let i = 0; i < spans.length; i += 2) {
      const start = spans[i] === null ? domain[0] : time(spans[i]), end = !isDay(spans[i + 1]) ? domain[1] : time(spans[i + 1] + DAY);
      if (end < domain[0] || start > domain[1]) continue;
      isOpen ||= spans[i + 1] === null;
      isUnread ||= spans[i + 1] === "";
      const from = d3.max([start, domain[0]]), to = d3.min([end, domain[1]]);
      first = d3.min([first, from]);
      last = d3.max([last, to]);
      bars.push({ lane, category, from, to, words: `${name}: ${spans[i] === null ? "since when is not known" : utcDay(start)} – ${spans[i + 1] === null ? "still given" : spans[i + 1] === "" ? "an end that could not be read" : utcDay(time(spans[i + 1]))}` });
    }
    const told = [name, LANE_WORDS[category] ?? category, spans.some((start, i) => i % 2 === 0 && start === null) ? "start not known" : isUnread && !isOpen ? "end not known" : isOpen && category !== "listed" ? "still given" : ""].filter(Boolean).join(" · ");
    const across = (at) => ((at - domain[0]) / (domain[1] - domain[0])) * (width - marginLeft - marginRight);
    const room = { early: width - marginLeft - marginRight - across(first), late: across(last) }, needed = told.length * LETTER;
    const isLate = needed > room.early && room.late > room.early;
    const most = Math.floor((isLate ? room.late : room.early) / LETTER);
    names.push({ lane, told: told.length > most ? `${told.slice(0, Math.max(most - 1, 1))}…` : told, category, at: isLate ? last : first, isLate });
  });
  const text = (isLate) => Plot.text(names.filter((name) => name.isLate === isLate), { x: "at", y: (name) => name.lane - 0.2, text: "told", textAnchor: isLate ? "end" : "start", fill: (name) => (name.category === "listed" ? "var(--quiet)" : "var(--ink)"), fontSize: 11.5 });
  const lanes = chart({
    width, height: 6 + shown.length * 27, marginLeft, marginRight, marginTop: 2, marginBottom: 2,
    x: { type: "utc", domain, axis: null }, y: { domain: [-0.5, shown.length - 0.5], reverse: true, axis: null },
    marks: [
      Plot.rect(bars, { x1: "from", x2: "to", y1: (bar) => bar.lane + 0.08, y2: (bar) => bar.lane + 0.36, rx: 3, fill: (bar) => (bar.category === "excluded" ? "none" : `var(--${bar.category})`), stroke: (bar) => `var(--${bar.category})`, title: "words" }),
      text(false), text(true),
    ],
  });
  return [make("p", { className: "lane-title", textContent: title }), lanes];
}

function cellLines(course, domain, width) {
  const box = make("div", { className: "small" });
  const each = Math.max(100, Math.min(220, width / 5 - 16));
  for (const [name, label, unit] of overview.lines) {
    const flat = course.lines[name];
    const caption = make("figcaption", {}, `${label} `);
    const figure = make("figure");
    if (flat) {
      const points = d3.range(0, flat.length, 2).map((i) => ({ at: place(flat[i]), v: flat[i + 1], words: stamp(time(flat[i])) }));
      const last = points.at(-1), seen = points.filter((point) => point.at >= domain[0]);
      caption.append(make("br"), make("b", { textContent: last.v }), ` ${unit}`);
      figure.append(chart({
        width: each, height: 44, margin: 4, x: { type: "utc", domain, axis: null }, y: { axis: null, zero: true },
        marks: [Plot.line(seen, { x: "at", y: "v", stroke: "var(--accent)", strokeWidth: 1.4 }), Plot.dot(seen.slice(-1), { x: "at", y: "v", r: 2.4, fill: "var(--accent)", title: "words" })],
      }));
    } else caption.append(make("br"), "not reported");
    figure.prepend(caption);
    box.append(figure);
  }
  return box;
}

/* ---- tables of one patient, built when they are opened ---- */
function tableOf(caption, heads, rows) {
  const isNumber = (rows[0] ?? []).map((cell) => typeof cell === "number");
  const row = (kind, cells) => make("tr", {}, ...cells.map((cell, i) => make(kind, { textContent: cell ?? "–", className: isNumber[i] ? "num" : "", ...(kind === "th" ? { scope: "col" } : {}) })));
  return make("div", { className: "wide", tabIndex: 0, role: "region", ariaLabel: caption }, make("table", {}, make("caption", { className: "unseen", textContent: caption }), make("thead", {}, row("th", heads)), make("tbody", {}, ...rows.map((cells) => row("td", cells)))));
}

function fill(details) {
  if (details.children.length > 1) return;
  const course = payload(details.closest(".panel"));
  if (details.classList.contains("results")) {
    const rows = course.points.toReversed().map(([t, v, comparator, method, severity, v5, v6, daids, notes]) => [stamp(time(t)), `${sign(comparator)} ${whole(v)}`.trim(), severity, v5, v6, daids, overview.methods[method], notes]);
    details.append(tableOf("Counts, newest first", [`Collected (${overview.zone})`, "ANC /µL", "Severity", "CTCAE v5", "CTCAE v6", "DAIDS", "Method", "Notes"], rows));
  } else if (!course.sources) {
    details.append(make("p", { className: "none", textContent: "Left out to keep the page small; they are in the table lab_result of the store." }));
  } else {
    const rows = course.sources.map(([t, ...rest]) => [stamp(time(t)), ...rest]);
    details.append(tableOf("Rows as read, newest first", [`Collected (${overview.zone})`, "Specimen", "Test", "Value as sent", "Unit as sent", "Read as", "Status", "File", "Row"], rows));
  }
}
document.addEventListener("toggle", (event) => event.target.open && event.target.closest(".panel") && fill(event.target), true);

