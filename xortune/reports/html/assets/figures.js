// Figures: those that come near are drawn first, the others when there is time, and all before the page is printed.
"use strict";
{
  const ink = () => getComputedStyle(document.body).color;
  page.draw = (place) => {
    const { data, layout: wide, width, narrow } = JSON.parse(place.parentElement.querySelector("script").textContent);
    // Where there is no room for labels beside their rows, they stand above them.
    const isNarrow = place.clientWidth < width;
    const layout = isNarrow ? { ...wide, ...narrow } : wide;
    place.isNarrow = isNarrow; // no attribute: a page that follows a run would take it away
    place.style.minHeight = `${layout.height}px`;
    let inner = place.querySelector(".drawn");
    const isNew = !inner;
    if (isNew) {
      inner = document.createElement("div");
      inner.className = "drawn";
      place.replaceChildren(inner);
    }
    inner.style.height = `${layout.height}px`;
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
  // The text is read while a figure is drawn: each in a task of its own, after what is shown.
  const whenIdle = window.requestIdleCallback ?? ((task) => setTimeout(task));
  const near = new IntersectionObserver((seen) => {
    for (const { target, isIntersecting } of seen) if (isIntersecting) { near.unobserve(target); whenIdle(() => page.draw(target)); }
    whenIdle(drawNext);
  }, { rootMargin: "600px" });
  // Whoever prints, saves or scrolls far meets no gap. What is folded has no width yet: it comes near when it is opened.
  const drawNext = () => {
    const next = [...document.querySelectorAll(".plot:not(:has(.drawn))")].find((place) => place.clientWidth);
    if (!next) return;
    near.unobserve(next);
    page.draw(next);
    whenIdle(drawNext);
  };
  /** Draws the figures in this part of the page: those that are drawn at once, others when they come near. */
  page.drawWithin = (part) => {
    for (const place of part.querySelectorAll(".plot")) {
      place.style.minHeight = `${place.dataset.height}px`;
      if (place.querySelector(".drawn")) page.draw(place); else near.observe(place);
    }
  };
  page.drawWithin(document);
  // A figure that becomes narrow, or wide again, is laid out anew.
  new ResizeObserver(() => {
    for (const place of document.querySelectorAll(".plot:has(.drawn)")) {
      const { width } = JSON.parse(place.parentElement.querySelector("script").textContent);
      if (place.clientWidth && (place.clientWidth < width) !== place.isNarrow) page.draw(place);
    }
  }).observe(document.querySelector("main"));
  addEventListener("themechange", () => change({ "font.color": ink() }));
  addEventListener("beforeprint", () => {
    document.querySelectorAll(".plot:not(:has(.drawn))").forEach(page.draw);
    change({ width: 960, "font.color": "#000000" });
  });
  addEventListener("afterprint", () => change({ width: null, autosize: true, "font.color": ink() }));
}
