// Figures: each is drawn when it comes near, and all before the page is printed.
"use strict";
{
  const places = [...document.querySelectorAll(".plot")];
  const ink = () => getComputedStyle(document.body).color;
  const draw = (place) => {
    if (place.querySelector(".drawn")) return;
    const { data, layout, width } = JSON.parse(place.parentElement.querySelector("script").textContent);
    const inner = document.createElement("div");
    inner.className = "drawn";
    inner.style.minWidth = `${width}px`; // where the page is narrower, the figure scrolls
    place.replaceChildren(inner);
    layout.font.color = ink();
    Plotly.newPlot(inner, data, layout, { responsive: true, displayModeBar: false, logging: 1 });
    // A mark that is a config leads to its row.
    inner.on("plotly_click", ({ points: [point] }) => {
      if (typeof point?.customdata === "string") location.hash = point.customdata;
    });
  };
  const change = (changes) => {
    for (const inner of document.querySelectorAll(".drawn")) Plotly.relayout(inner, changes);
  };
  const near = new IntersectionObserver((seen) => {
    for (const { target, isIntersecting } of seen) if (isIntersecting) draw(target);
  }, { rootMargin: "600px" });
  for (const place of places) {
    place.style.minHeight = `${place.dataset.height}px`;
    near.observe(place);
  }
  addEventListener("themechange", () => change({ "font.color": ink() }));
  addEventListener("beforeprint", () => {
    places.forEach(draw);
    change({ width: 960, "font.color": "#000000" });
  });
  addEventListener("afterprint", () => change({ width: null, autosize: true, "font.color": ink() }));
}
