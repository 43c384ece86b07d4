/* ---- the whole unit ---- */
const PRIORITIES = ["critical", "high", "medium", "low", "info"];
const SYMBOLS = { critical: "diamond", high: "triangle", medium: "circle", low: "circle", info: "square" };
const CHANGES = ["new", "escalated", "resolved", "cannot assess"];
function drawOverview() {
  const history = document.getElementById("history"), population = document.getElementById("population");
  if (history && !history.childElementCount) {
    const runs = overview.history.map(([run, ...counts]) => ({ run, at: day(new Date(run.slice(0, 20))), counts }));
    const rows = runs.flatMap(({ run, counts }) => PRIORITIES.map((priority, i) => ({ run, priority, n: counts[i] }))).filter((row) => row.n);
    const every = Math.ceil(runs.length / Math.max(2, Math.floor(history.clientWidth / 70)));
    history.append(chart({
      width: Math.min(history.clientWidth, 130 + 84 * runs.length), height: 230, marginBottom: 34, marginLeft: 44,
      x: { label: null, tickRotate: 0, type: "band", domain: runs.map(({ run }) => run), padding: 0.25, tickSize: 0, tickFormat: (run, i) => (i % every ? "" : runs[i].at.slice(0, -5)) },
      y: { label: null, grid: true, ticks: 5, tickSize: 0 },
      marks: [
        Plot.barY(rows, { x: "run", y: "n", order: PRIORITIES.toReversed(), z: "priority", fill: (row) => `var(--${row.priority})`, title: (row) => `${row.run}: ${row.n} ${row.priority}`, insetTop: 1 }),
        Plot.ruleY([0], { stroke: "var(--line)" }),
        runs.length < 20 ? Plot.text(rows, Plot.stackY({ x: "run", y: "n", order: PRIORITIES.toReversed(), z: "priority", text: (row) => (row.n < d3.max(runs, ({ counts }) => d3.sum(counts.slice(0, 5))) / 16 ? "" : `${overview.shapes[row.priority]} ${row.n}`), fill: "var(--card)", fontSize: 11 })) : null,
      ],
    }));
    history.append(tableOf("Patients by run and priority", ["Run", ...PRIORITIES, ...CHANGES], runs.toReversed().map(({ at, counts }) => [at, ...counts])));
  }
  if (population && !population.childElementCount) {
    const least = 20, share = 0.005;
    const rows = overview.population.map(([key, patient, baseline, nadir, priority]) => ({ key, patient, baseline, nadir, priority, left: Math.max(nadir / baseline, share), low: Math.max(nadir, least) }));
    const x = [share * 0.8, Math.max(1.3, d3.max(rows, (row) => row.left) * 1.1)], y = [least * 0.8, Math.max(4000, d3.max(rows, (row) => row.nadir))];
    const words = (row) => `${row.patient}: nadir ${whole(row.nadir)}, ${Math.round((row.nadir / row.baseline) * 100)} % of baseline ${whole(row.baseline)}, ${row.priority}`;
    population.append(chart({
      isHidden: false, width: population.clientWidth, height: 400, marginLeft: 52, marginBottom: 38,
      x: { type: "log", domain: x, axis: null },
      y: { type: "log", domain: y, axis: null },
      marks: [
        bands.filter((band) => band.upper).map((band) => Plot.rect([0], { x1: x[0], x2: x[1], y1: Math.max(band.lower, y[0]), y2: band.upper, fill: `var(--band-${band.name})` })),
        Plot.axisX([share, 0.02, 0.1, 0.5, 1], { text: (tick) => `${tick === share ? "≤ " : ""}${tick * 100} %`, tickSize: 0, fill: "var(--quiet)", label: "nadir as a share of the personal baseline →" }),
        Plot.axisY([least, 100, 500, 1000, 1500, 3000], { text: (tick) => `${tick === least ? "≤ " : ""}${comma(tick)}`, tickSize: 0, fill: "var(--quiet)", label: "↑ nadir, cells/µL" }),
        Plot.ruleX([0.5, 1], { stroke: "var(--quiet)", strokeDasharray: "3 4", strokeOpacity: 0.7 }),
        ...PRIORITIES.map((priority) => Plot.dot(rows.filter((row) => row.priority === priority), { x: "left", y: "low", r: rows.length > 100 ? 3.4 : 5, symbol: SYMBOLS[priority], fill: priority === "low" ? "var(--card)" : `var(--${priority})`, fillOpacity: 0.75, stroke: `var(--${priority})`, strokeWidth: 1, href: (row) => `#p-${row.key}`, title: words, ariaLabel: words })),
      ],
    }));
  }
}

