// The table of all configurations: sorts, filters and pages a real table from the page's data.
"use strict";
{
  const holder = document.querySelector(".configs");
  const data = JSON.parse(holder.querySelector("script").textContent);
  const table = holder.querySelector("table"), body = table.tBodies[0], first = body.rows[0];
  // A column: its name as in table.csv; its distinct cells, each a value that sorts it and a text
  // if that is another one; the cell of each row. A parameter's value is JSON.
  const columnOf = ({ name, cells, rows, falling, hidden, quoted, counted }) => {
    // Without indices all rows have one cell, or each its own.
    const cell = (row) => cells[rows ? rows[row.at] : Math.min(row.at, cells.length - 1)];
    const text = (cell) => String(cell.at(-1) ?? "");
    return {
      name, falling, hidden, quoted, counted,
      cells: cells.filter(([value]) => value !== null),
      text: (row) => text(cell(row)),
      value: (row) => (quoted ? JSON.parse(cell(row)[0]) : cell(row)[0]),
      literal: (row) => cell(row)[0],
      texts: () => new Set(cells.filter(([value]) => value !== null).map(text)),
    };
  };
  const held = data.columns.map(columnOf), columns = held.filter((column) => !column.hidden);
  const named = new Map(held.map((column) => [column.name.toLowerCase(), column]));
  const parameters = columns.filter((column) => column.quoted);
  const described = columns.slice(1).filter((column) => !column.counted);
  const rows = named.get("key").cells.map(([key], at) => ({ at, key, open: false }));
  const sizes = holder.querySelector(".pages select");
  const state = { column: columns[0], down: false, page: 0, size: Number(sizes.value), shown: rows, at: null };

  // Sorting: numbers before words, what is missing last either way, equals by their place.
  const words = new Intl.Collator("en", { numeric: true });
  const compare = (a, b) => {
    if (typeof a === "number" && typeof b === "number") return a - b;
    if (typeof a !== typeof b) return typeof a === "number" ? -1 : typeof b === "number" ? 1 : words.compare(String(a), String(b));
    return words.compare(String(a), String(b));
  };
  const sort = () => {
    const { column, down } = state;
    const values = new Map(state.shown.map((row) => [row, column.value(row)]));
    state.shown.sort((one, other) => {
      const a = values.get(one), b = values.get(other);
      if (a === null || b === null) return (a === null) - (b === null) || one.at - other.at;
      return (down ? compare(b, a) : compare(a, b)) || one.at - other.at;
    });
    for (const [i, head] of [...table.tHead.rows[0].cells].entries()) {
      const order = down ? "descending" : "ascending";
      head.setAttribute("aria-sort", columns[i] === column ? order : "none");
    }
  };

  // Filtering: each word must be there; NAME<0.1 and its like compare.
  const search = holder.querySelector("input"), chosen = new Map();
  const wanted = (word) => {
    const [, name, sign, rest] = /^(.+?)(<=|>=|<|>|=)(.+)$/.exec(word) || [];
    const column = named.get(name);
    if (!column) {
      return (row) => {
        row.words ??= described.map((one) => one.text(row)).join("\n").toLowerCase();
        return row.words.includes(word);
      };
    }
    const number = Number(rest);
    return (row) => {
      const value = column.value(row);
      if (sign === "=") return value === number || String(value ?? "").toLowerCase() === rest || column.text(row).toLowerCase() === rest;
      if (typeof value !== "number") return false;
      return sign === "<" ? value < number : sign === ">" ? value > number : sign === "<=" ? value <= number : value >= number;
    };
  };
  const filter = () => {
    const tests = search.value.toLowerCase().split(/\s+/).filter(Boolean).map(wanted);
    for (const [column, select] of chosen) if (select.value !== "") tests.push((row) => column.text(row) === select.value);
    state.shown = rows.filter((row) => tests.every((test) => test(row)));
    state.page = 0;
    sort();
    render();
  };

  const drawn = (row) => {
    const line = first.cloneNode(true);
    line.id = row.key;
    columns.forEach((column, i) => {
      const cell = line.cells[i];
      (cell.querySelector("[data-text]") || cell).textContent = column.text(row);
    });
    const [low, high, rate] = ["low", "high", "rate"].map((name) => 100 * named.get(name).value(row));
    const bar = line.querySelector(".bar");
    bar?.querySelector(".range").setAttribute("x", low.toFixed(1));
    bar?.querySelector(".range").setAttribute("width", (high - low).toFixed(1));
    bar?.querySelector(".rate").setAttribute("d", `M${rate.toFixed(1)} 0V10`);
    line.querySelector(".key").href = `#${row.key}`;
    line.classList.toggle("at", row === state.at);
    line.tabIndex = -1;
    const button = line.querySelector(".open");
    button.setAttribute("aria-label", `How to run configuration ${row.at + 1}`);
    button.setAttribute("aria-expanded", row.open);
    button.addEventListener("click", () => {
      row.open = !row.open;
      button.setAttribute("aria-expanded", row.open);
      if (row.open) line.after(recipes(row)); else line.nextSibling.remove();
    });
    return row.open ? [line, recipes(row)] : [line];
  };
  const recipes = (row) => {
    const line = holder.querySelector("[data-recipes]").content.querySelector("tr").cloneNode(true);
    line.cells[0].colSpan = columns.length;
    const given = parameters.map((column) => [column.quoted, column.literal(row)]);
    for (const [kind, text] of page.recipes(data, given)) {
      line.querySelector("div").append(page.code(`${kind} of configuration ${row.at + 1}`, text));
    }
    return line;
  };

  const status = holder.querySelector("[role=status]"), steps = holder.querySelectorAll("[data-step]");
  const render = () => {
    const { shown, size } = state, last = Math.max(0, Math.ceil(shown.length / size) - 1);
    state.page = Math.min(Math.max(state.page, 0), last);
    const from = state.page * size, part = shown.slice(from, from + size);
    body.replaceChildren(); // so that ids are free again
    body.append(...part.flatMap(drawn));
    const many = (count) => count.toLocaleString("en");
    const all = shown.length < rows.length ? ` that match, of ${many(rows.length)}` : "";
    status.textContent = part.length ? `${many(from + 1)}–${many(from + part.length)} of ${many(shown.length)}${all}` : `None of ${many(rows.length)} configurations matches`;
    for (const button of steps) button.disabled = state.page === (/first|before/.test(button.dataset.step) ? 0 : last);
    steps.forEach((button) => { button.to = { first: 0, before: state.page - 1, next: state.page + 1, last }[button.dataset.step]; });
  };
  for (const button of steps) button.addEventListener("click", () => { state.page = button.to; render(); });
  sizes.addEventListener("change", () => { state.size = Number(sizes.value); state.page = 0; render(); });
  search.addEventListener("input", filter);
  for (const column of parameters) {
    const texts = [...column.texts()];
    if (texts.length < 2 || texts.length > 12 || column.cells.every(([value]) => Number.isFinite(JSON.parse(value)))) continue;
    const label = document.createElement("label"), select = document.createElement("select");
    select.append(new Option("any", ""), ...texts.sort(words.compare).map((text) => new Option(text)));
    label.append(column.name, " ", select);
    holder.querySelector(".filters").append(label);
    chosen.set(column, select);
    select.addEventListener("change", filter);
  }
  [...table.tHead.rows[0].cells].forEach((head, i) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      state.down = state.column === columns[i] ? !state.down : Boolean(columns[i].falling);
      state.column = columns[i];
      state.page = 0;
      sort();
      render();
    });
  });

  // #key leads to a row wherever it is: filters that hide it are taken away, its page is turned to.
  page.goTo = (key) => {
    const row = rows.find((one) => one.key === key);
    if (!row) return;
    row.open = true;
    state.at = row;
    if (!state.shown.includes(row)) {
      search.value = "";
      for (const select of chosen.values()) select.value = "";
      filter();
    }
    state.page = Math.floor(state.shown.indexOf(row) / state.size);
    render();
    const line = body.querySelector("tr.at");
    line.scrollIntoView({ block: "center" });
    line.focus({ preventScroll: true });
  };
  state.shown = [...rows];
  sort();
  render();
  const follow = () => page.goTo(decodeURIComponent(location.hash.slice(1)));
  addEventListener("hashchange", follow);
  follow();
}
