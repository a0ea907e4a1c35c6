// Figures: each is drawn when it comes near, and all before the page is printed.
"use strict";
{
  const ink = () => getComputedStyle(document.body).color;
  page.draw = (place) => {
    const { data, layout, width } = JSON.parse(place.parentElement.querySelector("script").textContent);
    let inner = place.querySelector(".drawn");
    const isNew = !inner;
    if (isNew) {
      inner = document.createElement("div");
      inner.className = "drawn";
      place.replaceChildren(inner);
    }
    inner.style.minWidth = `${width}px`; // where the page is narrower, the figure scrolls
    layout.font.color = ink();
    layout.uirevision = "kept"; // what is hidden in the legend stays hidden if it is drawn again
    Plotly.react(inner, data, layout, { responsive: true, displayModeBar: false, logging: 1 });
    // A mark that is a config leads to its row.
    if (isNew && page.goTo) inner.on("plotly_click", ({ points: [point] }) => {
      if (typeof point?.customdata === "string") location.hash = point.customdata;
    });
  };
  const change = (changes) => {
    for (const inner of document.querySelectorAll(".drawn")) Plotly.relayout(inner, changes);
  };
  const near = new IntersectionObserver((seen) => {
    for (const { target, isIntersecting } of seen) if (isIntersecting) { near.unobserve(target); page.draw(target); }
  }, { rootMargin: "600px" });
  /** Draws the figures in this part of the page: those that are drawn at once, others when they come near. */
  page.drawWithin = (part) => {
    for (const place of part.querySelectorAll(".plot")) {
      place.style.minHeight = `${place.dataset.height}px`;
      if (place.querySelector(".drawn")) page.draw(place); else near.observe(place);
    }
  };
  page.drawWithin(document);
  addEventListener("themechange", () => change({ "font.color": ink() }));
  addEventListener("beforeprint", () => {
    document.querySelectorAll(".plot:not(:has(.drawn))").forEach(page.draw);
    change({ width: 960, "font.color": "#000000" });
  });
  addEventListener("afterprint", () => change({ width: null, autosize: true, "font.color": ink() }));
}
