/* ---- light and dark, print ---- */
const theme = document.getElementById("theme");
const darkByDefault = matchMedia("(prefers-color-scheme: dark)");
const isDark = () => (document.documentElement.dataset.theme ?? (darkByDefault.matches ? "dark" : "light")) === "dark";
const tellTheme = () => (theme.textContent = isDark() ? "Light" : "Dark");
theme.addEventListener("click", () => { document.documentElement.dataset.theme = isDark() ? "light" : "dark"; tellTheme(); });
darkByDefault.addEventListener("change", tellTheme);
tellTheme();

/* Printed are the list and, one a page, the patients that the filters show; or the one patient whose button was used. */
const PAPER = { width: 703, height: 1000 }, MOST_PRINTED = 100;
let isOne = false;
function print(one) {
  isOne = one;
  document.body.classList.toggle("one", one);
  window.print();
}
document.getElementById("print").addEventListener("click", () => print(false));
for (const button of document.querySelectorAll(".print-one")) button.addEventListener("click", () => print(true));
addEventListener("beforeprint", () => {
  document.body.classList.add("printing");
  if (!document.getElementById("worklist").classList.contains("current")) return;
  const shown = isOne ? [open] : table ? rowsShown().map((row) => document.getElementById(`panel-${row.dataset.key}`)) : [];
  const more = shown.length - MOST_PRINTED;
  if (table) document.getElementById("print-note").textContent = more > 0 ? `Printed one a page: the first ${MOST_PRINTED} of ${shown.length} patients shown. Filter the list to print others.` : "";
  if (open && !shown.includes(open)) open.hidden = true;
  for (const panel of shown.slice(0, MOST_PRINTED)) {
    panel.hidden = false;
    draw(panel, { width: PAPER.width / 0.84 });
    const fit = Math.sqrt((PAPER.width * PAPER.height) / (panel.offsetWidth * panel.offsetHeight)) * 0.97;
    const zoom = Math.min(0.84, Math.max(0.62, fit));
    panel.style.setProperty("--fit", zoom.toFixed(3));
    draw(panel, { width: Math.floor(PAPER.width / zoom) });
  }
});
addEventListener("afterprint", () => {
  for (const panel of document.querySelectorAll(".panel:not([hidden])")) if (panel !== open) panel.hidden = true;
  document.body.classList.remove("printing", "one");
  isOne = false;
  if (open) {
    open.hidden = false;
    draw(open);
  }
});
byId("decisions").hidden = !Object.keys(subjects).length;
tellDecided();
route({ isFirst: true });
performance.mark("usable");
