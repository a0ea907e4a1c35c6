// A page that follows a run: asks the server what is new, and writes it down as text.
"use strict";
{
  const at = (id) => document.getElementById(id);
  const wait = Number(document.body.dataset.milliseconds);
  const say = (text) => { // a text that stays is not read aloud again
    if (at("sentence").textContent !== text) at("sentence").textContent = text;
  };
  const make = (tag, text, numeric) => {
    const made = document.createElement(tag);
    made.textContent = text;
    if (numeric) made.className = "number";
    return made;
  };
  const fill = (table, { caption, columns, rows }, heading = -1) => {
    const head = document.createElement("thead"), body = document.createElement("tbody");
    const names = document.createElement("tr");
    for (const [name, numeric] of columns) {
      const cell = make(name ? "th" : "td", name, numeric);
      if (name) cell.scope = "col";
      names.append(cell);
    }
    head.append(names);
    for (const row of rows) {
      const line = document.createElement("tr");
      row.forEach((text, place) => {
        const cell = make(place === heading ? "th" : "td", text, columns[place][1]);
        if (place === heading) cell.scope = "row";
        line.append(cell);
      });
      body.append(line);
    }
    const named = make("caption", caption);
    table.replaceChildren(named, head, body);
  };
  const ink = () => getComputedStyle(document.body).color;
  const draw = (figure, { title, alt, note, tables, data, layout, width }) => {
    figure.hidden = false;
    figure.querySelector("figcaption").textContent = title;
    figure.querySelector(".note").textContent = note;
    const place = figure.querySelector(".plot");
    place.setAttribute("aria-label", alt);
    let inner = place.querySelector(".drawn");
    if (!inner) {
      inner = document.createElement("div");
      inner.className = "drawn";
      place.append(inner);
    }
    inner.style.minWidth = `${width}px`; // where the page is narrower, the figure scrolls
    place.style.minHeight = `${layout.height}px`;
    layout.font.color = ink();
    layout.uirevision = "kept"; // what is hidden in the legend stays hidden
    Plotly.react(inner, data, layout, { responsive: true, displayModeBar: false, logging: 1 });
    const details = figure.querySelector(".data");
    const shown = tables.map((one) => {
      const region = document.createElement("div"), table = document.createElement("table");
      region.className = "scroll";
      region.tabIndex = 0;
      region.setAttribute("role", "group");
      region.setAttribute("aria-label", one.caption);
      fill(table, one);
      region.append(table);
      return region;
    });
    details.replaceChildren(details.querySelector("summary"), ...shown);
  };
  const empty = (section) => {
    const nothing = [...section.querySelectorAll(":scope > figure, :scope > .scroll")].every((one) => one.hidden);
    section.querySelector(".empty").hidden = !nothing;
  };
  let known = 0, last = "";
  const show = ({ status, sentence, rows, version, configs, figures }) => {
    say(sentence);
    document.title = `${status.done}${status.total === null ? "" : `/${status.total}`} ${status.name}`;
    const bar = at("progress");
    bar.hidden = status.total === null;
    bar.max = status.total || 1;
    bar.value = status.total ? Math.min(status.done, status.total) : 1;
    fill(at("rows"), { caption: "The run at this moment", columns: [["what"], ["now"]], rows }, 0);
    last = new Date().toLocaleTimeString();
    if (version === known) return;
    const table = at("configs");
    table.parentElement.hidden = !configs;
    if (configs) fill(table, configs, 0);
    const drawn = new Map(figures.map((one) => [`figure-${one.name}`, one]));
    for (const figure of document.querySelectorAll("figure")) {
      if (drawn.has(figure.id)) draw(figure, drawn.get(figure.id));
      else figure.hidden = true;
    }
    document.querySelectorAll("section:has(> .empty)").forEach(empty);
    known = version;
  };
  const seen = () => (last ? ` What stands below was so at ${last}.` : "");
  const ask = async () => {
    const answer = await fetch("data", { cache: "no-store", signal: AbortSignal.timeout(60_000) });
    return { ok: answer.ok, found: await answer.json() };
  };
  const look = async () => {
    const told = await ask().catch(() => null);
    setTimeout(look, wait);
    if (told === null) say(`Lost the server: it was ended, or cannot be reached.${seen()}`);
    else if (told.ok) show(told.found);
    else say(`The run cannot be read: ${told.found.error}.${seen()}`);
  };
  addEventListener("themechange", () => {
    for (const inner of document.querySelectorAll(".drawn")) Plotly.relayout(inner, { "font.color": ink() });
  });
  look();
}
