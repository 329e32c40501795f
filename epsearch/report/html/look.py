"""The style sheet and the script of the page: light, dark, phone and paper from one file."""

STYLE = """
:root {
  color-scheme: light dark;
  --paper: #ffffff; --card: #f6f8fa; --ink: #1f2328; --soft: #59636e; --line: #d8dee4;
}
@media screen and (prefers-color-scheme: dark) {
  :root { --paper: #0d1117; --card: #161b22; --ink: #e6edf3; --soft: #9198a1; --line: #3d444d; }
}
body {
  margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, "Segoe UI", Roboto, sans-serif;
}
main { max-width: 60rem; margin: 0 auto; padding: 1rem; }
h1, h2, p, dt, dd, td { overflow-wrap: anywhere; }
h1 { margin: .5rem 0 0; font-size: 1.6rem; line-height: 1.25; }
h2 { margin: 2.5rem 0 .25rem; font-size: 1.2rem; }
p span, dd span { white-space: nowrap; }
.soft { color: var(--soft); margin-top: .25rem; }
dl {
  display: grid; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); gap: .75rem; margin: 1.25rem 0;
}
dl div, pre {
  padding: .6rem .8rem; background: var(--card); border: 1px solid var(--line); border-radius: .5rem;
}
dt { color: var(--soft); font-size: .85rem; }
dd { margin: 0; font-size: 1.2rem; font-weight: 600; }
dd small { display: block; font-weight: 400; font-size: .85rem; }
.scroll { overflow-x: auto; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .6rem; border-bottom: 1px solid var(--line); text-align: right; }
th, td:not(.text) { white-space: nowrap; }
th.text, td.text { text-align: left; }
td.text { min-width: 5rem; }
summary { cursor: pointer; margin: 1rem 0 .5rem; font-weight: 600; }
@media print {
  .modebar { display: none; }
  main { max-width: none; padding: 0; }
  section, dl, tr { break-inside: avoid; }
}
"""

SCRIPT = """
const { figures, light, dark } = JSON.parse(document.getElementById("data").textContent);
const night = matchMedia("screen and (prefers-color-scheme: dark)");
const template = () => (night.matches ? dark : light);
// On a phone the tool bar would lie on the legend.
const options = { responsive: true, displaylogo: false, displayModeBar: innerWidth < 600 ? false : "hover" };
for (const [id, figure] of Object.entries(figures)) {
  figure.layout.template = template();
  Plotly.newPlot(id, figure.data, figure.layout, options);
}
const redraw = (change) => {
  for (const id of Object.keys(figures)) Plotly.relayout(id, change);
};
night.addEventListener("change", () => redraw({ template: template() }));
// Paper is white and as wide as it is, whatever the screen.
addEventListener("beforeprint", () => redraw({ template: light, width: 680 }));
addEventListener("afterprint", () => redraw({ template: template(), width: null, autosize: true }));
"""
