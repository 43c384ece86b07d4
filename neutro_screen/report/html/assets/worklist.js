/* ---- worklist: filters that combine and stand in the address ---- */
const list = byId("list"), find = byId("find"), wardField = byId("ward");
const table = list && new DataTable(list, { paging: false, info: false, autoWidth: false, order: [], layout: { topStart: null, topEnd: null, bottomStart: null, bottomEnd: null }, language: { zeroRecords: "No patient in this page matches." }, columnDefs: [{ targets: [3], orderable: false }] });
const filters = { priority: new Set(), group: new Set(), change: new Set(), only: new Set(), ward: new Set() };
const TRAITS = {
  expected: (row) => "expected" in row.dataset, drug: (row) => "drug" in row.dataset, overdue: (row) => "overdue" in row.dataset,
  undecided: isUndecided, aside: (row) => "aside" in row.dataset,
};
const rowsShown = () => [...list.tBodies[0].rows].filter((row) => row.dataset.key);
const wanted = (family, value) => !filters[family].size || filters[family].has(value);

/* Within a family one of the choices holds, across families all; the tiles count who is on the worklist tonight. */
function matches(row) {
  const { priority, group, change, ward } = row.dataset;
  if (("aside" in row.dataset) !== filters.only.has("aside")) return false;
  if (filters.priority.size && !("staying" in row.dataset && filters.priority.has(priority))) return false;
  return wanted("group", group) && wanted("change", change) && wanted("ward", ward ?? "unknown") && [...filters.only].every((trait) => TRAITS[trait]?.(row) ?? true);
}

function filterText() {
  const told = new URLSearchParams();
  for (const [family, values] of Object.entries(filters)) {
    if (family === "ward") for (const value of values) told.append(family, value);
    else if (values.size) told.set(family, [...values].join(","));
  }
  if (find?.value) told.set("q", find.value);
  const text = told.toString().replaceAll("%2C", ",");
  return text && `?${text}`;
}

function readFilters(text) {
  const told = new URLSearchParams(text);
  for (const family of Object.keys(filters)) filters[family] = new Set(family === "ward" ? told.getAll(family) : (told.get(family)?.split(",") ?? []));
  if (find) find.value = told.get("q") ?? "";
  table?.search(find.value);
}

function showFilters() {
  for (const button of document.querySelectorAll("[data-family]")) button.setAttribute("aria-pressed", String(filters[button.dataset.family].has(button.dataset.value)));
  if (wardField) wardField.value = [...filters.ward][0] ?? "";
  byId("clear")?.setAttribute("aria-pressed", String(!filterText()));
}

const addressed = () => location.hash.slice(1).split("?")[0] || "worklist";
const isOnWorklist = (name) => name === "worklist" || name.startsWith("p-");

/* The list after a choice. A patient who is no longer in it makes room for the first who is. */
function filtered() {
  showFilters();
  table.search(find.value).draw();
  const rows = rowsShown(), isInside = open && rows.some((row) => row.dataset.key === open.dataset.key);
  const name = isOnWorklist(addressed()) && (isInside || !rows.length) ? addressed() : "worklist";
  if (!isOnWorklist(addressed())) goTo("worklist");
  else history.replaceState(null, "", `#${name}${filterText()}`);
  if (!isInside && rows.length && wide.matches) show(rows[0].dataset.key);
}

/* Headings of the groups, as long as the list stands in its own order. */
function headGroups() {
  const [by, direction] = table.order()[0] ?? [0, "asc"];
  if (by !== 0 || direction !== "asc") return;
  let before = null;
  for (const row of rowsShown()) {
    const { group } = row.dataset;
    if (group === before) continue;
    before = group;
    const n = rowsShown().filter((one) => one.dataset.group === group).length;
    const title = document.querySelector(`[data-family="group"][data-value="${group}"]`)?.firstChild.textContent.trim() ?? "Set aside";
    row.before(make("tr", { className: "group" }, make("th", { colSpan: 5, scope: "rowgroup", textContent: `${title} (${n})` })));
  }
}

if (table) {
  table.search.fixed("choice", (text, cells, index) => matches(table.row(index).node()));
  table.on("draw", () => {
    headGroups();
    const n = table.rows({ search: "applied" }).count(), chosen = Object.entries(filters).flatMap(([family, values]) => [...values].map((value) => (family === "ward" ? `ward ${value}` : value.replaceAll("_", " "))));
    byId("shown-count").textContent = [`${n} of ${table.rows().count()} patients shown`, ...chosen].join(" · ");
  });
  find.addEventListener("input", filtered);
  wardField?.addEventListener("change", () => { filters.ward = new Set([wardField.value].filter(Boolean)); filtered(); });
  byId("sort").addEventListener("change", (event) => table.order([[Number(event.target.value), "asc"]]).draw());
  byId("clear").addEventListener("click", () => { readFilters(""); filtered(); });
  for (const button of document.querySelectorAll("[data-family]")) {
    button.addEventListener("click", () => {
      const chosen = filters[button.dataset.family], { value } = button.dataset;
      if (!chosen.delete(value)) chosen.add(value);
      filtered();
    });
  }
  list.addEventListener("click", (event) => {
    const row = event.target.closest("tbody tr");
    if (!row?.dataset.key || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    goTo(`p-${row.dataset.key}`);
  });
  list.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key], row = event.target.closest("tbody tr");
    if (!step || !row) return;
    event.preventDefault();
    const rows = rowsShown();
    rows[rows.indexOf(row) + step]?.querySelector("a").focus();
  });
}

/* ---- pages and panels, by the address's hash ---- */
let open = null;
function show(key) {
  const panel = byId(`panel-${key}`);
  if (!panel) return null;
  if (open && open !== panel) open.hidden = true;
  for (const row of list.querySelectorAll("tr.picked")) { row.classList.remove("picked"); row.querySelector("a").removeAttribute("aria-current"); }
  const row = list.querySelector(`tr[data-key="${key}"]`);
  row?.classList.add("picked");
  row?.querySelector("a").setAttribute("aria-current", "true");
  panel.hidden = false;
  open = panel;
  decideOn(key, panel.querySelector(".decide-place"));
  draw(panel);
  return panel;
}
/* A table that is wider than the screen scrolls by keyboard too. */
function letScroll() {
  for (const box of document.querySelectorAll(".page.current .wide:not([tabindex])")) {
    if (box.scrollWidth <= box.clientWidth) continue;
    const title = box.querySelector("caption")?.textContent ?? box.closest(".card")?.querySelector("h2, h3")?.textContent ?? "this page";
    Object.assign(box, { tabIndex: 0, role: "region", ariaLabel: `Table: ${title}` });
  }
}
/* At once, not with the next event: a key that follows must not be taken for the patient before. */
function goTo(name) {
  history.pushState(null, "", `#${name}${filterText()}`);
  route();
}
let listTop = 0;
function route({ isFirst = false } = {}) {
  const name = addressed(), key = /^p-(\w+)$/.exec(name)?.[1], cited = /^lit-\d+$/.test(name);
  const page = key ? "worklist" : cited ? "methods" : document.querySelector(`.page[id="${CSS.escape(name)}"]`) ? name : "worklist";
  const wasReading = document.body.classList.contains("reading");
  if (key && !wasReading) listTop = scrollY;
  if (location.hash.includes("?")) readFilters(location.hash.split("?")[1]);
  else if (isOnWorklist(name) && filterText()) history.replaceState(null, "", `#${name}${filterText()}`);
  if (table && (isFirst || location.hash.includes("?"))) { showFilters(); table.draw(); }
  for (const section of document.querySelectorAll(".page")) section.classList.toggle("current", section.id === page);
  for (const link of document.querySelectorAll(".tabs a")) link.getAttribute("href") === `#${page}` ? link.setAttribute("aria-current", "page") : link.removeAttribute("aria-current");
  document.body.classList.toggle("reading", Boolean(key));
  if (page !== "worklist") decideOn(null);
  if (key) {
    const panel = show(key);
    if (!isFirst || !wide.matches) panel?.querySelector("h2").focus({ preventScroll: wide.matches });
    list?.querySelector("tr.picked")?.scrollIntoView({ block: "nearest" });
    if (panel) byId("detail").scrollTop = 0;
    else say("This patient is not in this page.");
    if (!wide.matches) scrollTo(0, 0);
  } else if (page === "worklist" && table) {
    if (open) decideOn(open.dataset.key, open.querySelector(".decide-place"));
    else if (wide.matches) show(rowsShown()[0]?.dataset.key);
    if (wasReading && open) { scrollTo(0, listTop); list.querySelector("tr.picked a")?.focus({ preventScroll: true }); }
  } else if (page === "changes") drawOverview();
  letScroll();
  if (cited) byId(name)?.scrollIntoView({ block: "center" });
  else if (!isFirst && !key && !wasReading) scrollTo(0, 0);
}
addEventListener("hashchange", () => route());
addEventListener("keydown", (event) => event.key === "Escape" && document.body.classList.contains("reading") && !event.target.matches("input") && goTo("worklist"));
addEventListener("resize", () => { if (open && !document.body.classList.contains("printing")) draw(open); });

