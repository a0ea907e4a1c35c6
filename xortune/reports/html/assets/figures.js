// Figures: each is drawn when it comes near, and all before the page is printed.
"use strict";
{
  const drawn = new Map(); // by its place, what each figure was drawn from, and whether narrow
  const places = [...document.querySelectorAll(".plot")];
  const PRINTED = 960; // pixels, which the style sheet makes as small as paper is
  Plotly.setPlotConfig({ responsive: true, displayModeBar: false, logging: 1 });
  let printing = false;
  const isNarrow = (place) => (printing ? PRINTED : place.clientWidth) < Number(place.dataset.room);
  const changes = (spec, narrow) => ({
    ...(page.dark() && !printing ? spec.dark : spec.light),
    ...(!narrow ? spec.wide : spec.turned ? {} : spec.narrow),
    ...(printing ? { width: PRINTED } : { width: null, autosize: true }),
  });
  const draw = (place) => {
    const spec = drawn.get(place)?.spec ?? JSON.parse(place.parentElement.querySelector("script").textContent);
    const narrow = isNarrow(place), turned = narrow && spec.turned;
    drawn.set(place, { spec, narrow });
    const data = turned
      ? spec.data.map((trace, at) => ({ ...trace, x: trace.y, y: trace.x, ...turned.traces[at] }))
      : spec.data;
    if (!place.classList.contains("js-plotly-plot")) place.replaceChildren();
    Plotly.newPlot(place, data, structuredClone((turned || spec).layout));
    if (page.dark() || printing || (narrow && !turned)) Plotly.relayout(place, changes(spec, narrow));
    // A mark that is a config leads to its row.
    place.on("plotly_click", ({ points: [point] }) => {
      if (typeof point?.customdata === "string") location.hash = point.customdata;
    });
  };
  const again = (place) => {
    const { spec, narrow } = drawn.get(place);
    if (spec.turned && narrow !== isNarrow(place)) return draw(place);
    drawn.set(place, { spec, narrow: isNarrow(place) });
    Plotly.relayout(place, changes(spec, isNarrow(place)));
  };
  const reserve = (place) => {
    place.style.minHeight = `${isNarrow(place) ? place.dataset.narrow : place.dataset.height}px`;
  };
  const all = () => { for (const place of drawn.keys()) again(place); };
  const near = new IntersectionObserver((seen) => {
    for (const { target, isIntersecting } of seen) {
      if (!isIntersecting) continue;
      near.unobserve(target);
      if (!drawn.has(target)) draw(target);
    }
  }, { rootMargin: "600px" });
  for (const place of places) { reserve(place); near.observe(place); }
  addEventListener("themechange", all);
  // Plotly follows the width by itself; here the arrangement does.
  addEventListener("resize", () => {
    if (printing) return;
    for (const place of places) {
      reserve(place);
      if (drawn.has(place) && drawn.get(place).narrow !== isNarrow(place)) again(place);
    }
  });
  addEventListener("beforeprint", () => {
    printing = true;
    for (const place of places) if (!drawn.has(place)) draw(place);
    all();
  });
  addEventListener("afterprint", () => { printing = false; all(); });
}
