// Figures: each is drawn when it comes near, and all before the page is printed.
"use strict";
{
  const drawn = new Map(); // by its place, what each figure was drawn from
  const places = [...document.querySelectorAll(".plot")];
  const narrow = matchMedia("(max-width: 40rem)");
  const PRINTED = 960; // pixels, which the style sheet makes as small as paper is
  // Plotly complains of numbers as colours of bars, and then draws them as it should.
  Plotly.setPlotConfig({ responsive: true, displayModeBar: false, logging: 0 });
  let printing = false;
  const changes = (spec) => ({
    ...(page.dark() && !printing ? spec.dark : spec.light),
    ...(narrow.matches && !printing ? spec.narrow : spec.wide),
    ...(printing ? { width: PRINTED } : { width: null, autosize: true }),
  });
  const draw = (place) => {
    const spec = JSON.parse(place.parentElement.querySelector("script").textContent);
    drawn.set(place, spec);
    place.replaceChildren();
    Plotly.newPlot(place, spec.data, spec.layout);
    if (page.dark() || narrow.matches || printing) Plotly.relayout(place, changes(spec));
    // A mark that is a config leads to its row.
    place.on("plotly_click", ({ points: [point] }) => {
      if (typeof point?.customdata === "string") location.hash = point.customdata;
    });
  };
  const reserve = () => {
    for (const place of places) place.style.minHeight = `${narrow.matches ? place.dataset.narrow : place.dataset.height}px`;
  };
  const again = () => { for (const [place, spec] of drawn) Plotly.relayout(place, changes(spec)); };
  const near = new IntersectionObserver((seen) => {
    for (const { target, isIntersecting } of seen) {
      if (!isIntersecting) continue;
      near.unobserve(target);
      if (!drawn.has(target)) draw(target);
    }
  }, { rootMargin: "600px" });
  reserve();
  for (const place of places) near.observe(place);
  addEventListener("themechange", again);
  narrow.addEventListener("change", () => { reserve(); again(); });
  addEventListener("beforeprint", () => {
    printing = true;
    for (const place of places) if (!drawn.has(place)) draw(place);
    again();
  });
  addEventListener("afterprint", () => { printing = false; again(); });
}
