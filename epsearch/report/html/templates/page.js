const { figures, light, dark } = JSON.parse(document.getElementById("data").textContent);
const night = matchMedia("screen and (prefers-color-scheme: dark)");
const template = () => (night.matches ? dark : light);
const phone = innerWidth < 600;
// On a phone the tool bar would lie on the legend.
const options = { responsive: true, displaylogo: false, displayModeBar: phone ? false : "hover" };
const drawn = new Set();
const put = (object, path, value) => {
  const names = path.split(".");
  const last = names.pop();
  names.reduce((inner, name) => (inner[name] ??= {}), object)[last] = value;
};
const draw = (id) => {
  if (drawn.has(id)) return;
  drawn.add(id);
  const { data, layout } = figures[id];
  const narrow = phone && layout.meta?.phone;
  if (narrow) {
    for (const [path, value] of Object.entries(narrow.layout)) put(layout, path, value);
    for (const index of narrow.bare) data[index].texttemplate = "";
  }
  layout.template = template();
  // On the first screen it would lie on the names of lines.
  Plotly.newPlot(id, data, layout, layout.meta?.phone ? { ...options, displayModeBar: false } : options);
};
for (const id of Object.keys(figures)) {
  // A closed part of the page has no size to draw in.
  const fold = document.getElementById(id).closest("details");
  if (!fold || fold.open) draw(id);
  else fold.addEventListener("toggle", () => draw(id), { once: true });
}
const redraw = (change) => {
  for (const id of drawn) Plotly.relayout(id, change);
};
night.addEventListener("change", () => redraw({ template: template() }));
// Paper is white and as wide as it is, whatever the screen.
addEventListener("beforeprint", () => redraw({ template: light, width: 680 }));
addEventListener("afterprint", () => redraw({ template: template(), width: null, autosize: true }));
