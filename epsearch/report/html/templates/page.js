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
