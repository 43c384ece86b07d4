/* ---- decisions: they stay in this page until they are saved as a file; nothing is sent or kept anywhere else ---- */
const { subjects, presets, first_day: firstDay, ...ofPage } = overview.deciding;
const byId = (id) => document.getElementById(id);
const form = byId("decide"), untilField = byId("until"), noteField = byId("note"), initials = byId("initials");
const DONE = { acknowledged: "acknowledged", snoozed: "snoozed", dismissed: "dismissed" };
const SHORTCUTS = { a: "acknowledged", s: "snoozed", d: "dismissed" };
const made = new Map();
let subject = null, pending = null, isSaved = true;
const say = (text) => (byId("said").textContent = text);
const isUndecided = (row) => !("reviewed" in row.dataset) && !made.has(row.dataset.key);
const whom = () => subjects[subject][0];

/* The form stands beside whoever is open: in a panel, or under a row of the unknown. */
function decideOn(key, place) {
  if (key === subject && form.parentElement === place) return;
  if (key !== subject) noteField.value = untilField.value = "";
  subject = key in subjects ? key : null;
  form.hidden = subject === null;
  if (subject === null) return;
  place.append(form);
  byId("decide-whom").textContent = whom();
  choose(null);
  showState();
}

function showState() {
  const decision = made.get(subject);
  byId("decide-state").textContent = decision ? `Decided here: ${inWords(decision)}.` : "";
  byId("undo").hidden = !decision;
  for (const button of form.querySelectorAll("[data-status]")) button.setAttribute("aria-pressed", String(button.dataset.status === (pending ?? decision?.status)));
}

function inWords({ status, until, note }) {
  return `${DONE[status]}${until ? ` until ${utcDay(new Date(until))}` : ""}${note ? `, ${note}` : ""}`;
}

function choose(status) {
  pending = status;
  for (const group of form.querySelectorAll(".reasons")) group.hidden = group.dataset.of !== status;
  byId("until-field").hidden = status !== "snoozed";
  byId("decide-note").hidden = status === null;
  showState();
  if (status) say(`${DONE[status]}: why? ${presets.filter((one) => one.status === status).map((one) => `${one.key} ${one.reason}`).join(", ")}`);
}

/* A day so many days from today, or from the night of the page where this machine's clock is behind it. */
function dayAfter(days) {
  const now = new Date(), today = [now.getFullYear(), now.getMonth() + 1, now.getDate()].map((part) => String(part).padStart(2, "0")).join("-");
  const from = new Date(today > firstDay ? today : firstDay);
  return new Date(from.getTime() + days * 864e5).toISOString().slice(0, 10);
}

function decide(reason, days) {
  const [patient_id, priority, nadir_cells_per_ul] = subjects[subject];
  const until = pending === "snoozed" ? untilField.value || (days ? dayAfter(days) : "") : null;
  const note = [reason, noteField.value.trim()].filter(Boolean).join("; ");
  if (!note) return refuse(noteField, "Choose a reason, or write a note.");
  if (until !== null && (!until || until < dayAfter(0))) return refuse(untilField, "A snooze needs a last day that is not past.");
  made.set(subject, { patient_id, status: pending, until, note, by: initials.value.trim() || null, priority, nadir_cells_per_ul, at: new Date().toISOString() });
  isSaved = false;
  choose(null);
  mark(subject);
  say(`${whom()} ${inWords(made.get(subject))}. ${left().length} undecided.`);
}

function refuse(field, text) {
  byId("decide-state").textContent = text;
  say(text);
  field.focus();
}

function undo() {
  if (!made.delete(subject)) return;
  isSaved = made.size === 0;
  choose(null);
  mark(subject);
  say(`${whom()}: decision taken back.`);
}

/* Rows of the two lists say what was decided here. */
function mark(key) {
  for (const row of document.querySelectorAll(`tr[data-key="${key}"]`)) {
    const place = row.querySelector(".decided");
    place.replaceChildren(...(made.has(key) ? [make("span", { className: "chip here", textContent: DONE[made.get(key).status] })] : []));
  }
  tellDecided();
}

const everyRow = () => (table ? table.rows().nodes().toArray() : []).filter((row) => !("aside" in row.dataset));
const unknownRows = () => [...document.querySelectorAll("#unknown-list tbody tr")].filter((row) => row.querySelector(".decide-here"));
const left = () => everyRow().filter(isUndecided);

function tellDecided() {
  const n = made.size, saving = byId("save"), waiting = unknownRows().filter(isUndecided).length;
  byId("decided-count").textContent = `${left().length} of ${everyRow().length} undecided${waiting ? ` · ${waiting} cannot assess` : ""}${n ? (isSaved ? " · all saved" : " · not saved yet") : ""}`;
  saving.textContent = `Save decisions (${n})`;
  saving.disabled = n === 0;
}

function nextUndecided() {
  const onUnknown = byId("unknown").classList.contains("current");
  const rows = onUnknown ? unknownRows() : rowsShown(), at = rows.findIndex((row) => row.dataset.key === subject);
  const next = [...rows.slice(at + 1), ...rows.slice(0, at + 1)].find(isUndecided);
  if (!next) return say(onUnknown ? "Everybody here is decided." : "Everybody in this list is decided.");
  if (onUnknown) decideHere(next);
  else goTo(`p-${next.dataset.key}`);
}

function decideHere(row) {
  const place = make("td", { colSpan: row.cells.length });
  document.querySelector("tr.deciding")?.remove();
  row.after(make("tr", { className: "deciding" }, place));
  decideOn(row.dataset.key, place);
  form.scrollIntoView({ block: "nearest" });
  form.querySelector("[data-status]").focus({ preventScroll: true });
}

/* One file with every decision of this page: applied twice, it changes nothing. */
function save() {
  const by = initials.value.trim();
  if (!by) return refuse(initials, "Initials, please: a decision names who made it.");
  const made_at = new Date().toISOString(), decisions = [...made.values()].map((decision) => ({ ...decision, by: decision.by ?? by }));
  const file = new Blob([JSON.stringify({ format: ofPage.format, run_id: ofPage.run_id, made_at, decisions }, null, 1)], { type: "application/json" });
  const link = make("a", { href: URL.createObjectURL(file), download: `decisions_${ofPage.run_id}_${made_at}`.replace(/[^\w-]/g, "") + ".json" });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  isSaved = true;
  tellDecided();
  say(`${decisions.length} decisions saved as ${link.download}.`);
}

for (const button of form.querySelectorAll("[data-status]")) button.addEventListener("click", () => choose(button.dataset.status === pending ? null : button.dataset.status));
for (const button of form.querySelectorAll("[data-reason]")) button.addEventListener("click", () => decide(button.dataset.reason, Number(button.dataset.days)));
for (const button of document.querySelectorAll(".next-undecided")) button.addEventListener("click", nextUndecided);
for (const row of unknownRows()) {
  const button = row.querySelector(".decide-here");
  button.hidden = false;
  button.addEventListener("click", () => decideHere(row));
}
byId("decide-note").addEventListener("click", () => decide("", 0));
noteField.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && pending) decide("", 0);
  if (event.key === "Escape") noteField.blur();
});
initials.addEventListener("keydown", (event) => event.key === "Escape" && initials.blur());
byId("undo").addEventListener("click", undo);
byId("save").addEventListener("click", save);
addEventListener("keydown", (event) => {
  const isTyping = event.target.matches?.("input:not([type=checkbox]), select, textarea");
  if (isTyping || event.ctrlKey || event.metaKey || event.altKey || !byId("keys").checked) return;
  const key = event.key.toLowerCase();
  if (key === "n") return nextUndecided();
  if (subject === null) return;
  if (SHORTCUTS[key]) choose(SHORTCUTS[key]);
  else if (key === "u") undo();
  else if (key === "m") noteField.focus();
  else if (pending && /^[1-9]$/.test(key)) form.querySelector(`[data-of="${pending}"] [data-key="${key}"]`)?.click();
  else return;
  event.preventDefault();
});
addEventListener("beforeunload", (event) => isSaved || event.preventDefault());

