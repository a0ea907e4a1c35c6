// The table of all configurations: sorts, filters and pages a real table from the page's data.
"use strict";
{
  const holder = document.querySelector(".configs");
  const data = JSON.parse(holder.querySelector("script").textContent);
  const table = holder.querySelector("table"), body = table.tBodies[0], first = body.rows[0];
  // Many rows have the same count, and all have the same form: what follows from either is there once.
  const counts = data.counts.map(([k, n, rate, interval, bar, low]) => ({ k, n, rate, interval, bar, low }));
  const start = 6, own = start + data.scores.length;
  const rows = data.rows.map((row, place) => ({
    place: place + 1, key: row[0], ...counts[row[1]], epochs: row[2], epochsText: row[3], trials: row[4], note: row[5], open: false,
    scores: row.slice(start, own),
    values: data.values.map((texts, i) => texts[row[own + i]] ?? null), // -1: none
  }));

  const measured = data.measure ? [{ name: data.measure, text: (row) => row.epochsText, value: (row) => row.epochs }] : [];
  const scored = data.scores.map((name, i) => ({ name, text: (row) => row.scores[i][0], value: (row) => row.scores[i][1] }));
  const repeated = data.repeated ? [{ name: "trials", text: (row) => row.trials, value: (row) => row.trials, down: true }] : [];
  const counted = [
    { name: "k", text: (row) => [row.k, row.n].map((n) => n.toLocaleString("en")).join("/"), value: (row) => row.k, down: true },
    { name: "rate", text: (row) => row.rate, value: (row) => (row.n ? row.k / row.n : null), down: true },
    { name: "low", text: (row) => row.interval, value: (row) => row.low, down: true },
  ];
  // What is in each column: its name as in table.csv, its text, and the value it is sorted by.
  const columns = [
    { name: "place", text: (row) => row.place, value: (row) => row.place },
    { name: "key", text: (row) => row.key, value: (row) => row.key },
    ...(data.ruled ? counted : []),
    ...measured,
    ...scored,
    ...(data.ruled ? [] : counted.slice(0, 1)), // without a rule for success seeds only finish
    ...data.parameters.map((name, i) => ({
      name,
      text: (row) => (row.values[i] ? row.values[i][0] : ""),
      value: (row) => (row.values[i] ? JSON.parse(row.values[i][1]) : null),
    })),
    ...repeated,
    ...(data.noted ? [{ name: "note", text: (row) => row.note, value: (row) => row.note || null }] : []),
  ];
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
      if (a === null || b === null) return (a === null) - (b === null) || one.place - other.place;
      return (down ? compare(b, a) : compare(a, b)) || one.place - other.place;
    });
    for (const [i, head] of [...table.tHead.rows[0].cells].entries()) {
      const order = down ? "descending" : "ascending";
      head.setAttribute("aria-sort", columns[i] === column ? order : "none");
    }
  };

  // Filtering: each word must be there; NAME<0.1 and its like compare.
  const search = holder.querySelector("input"), chosen = new Map();
  const named = new Map([...counted, ...columns].map((column) => [column.name.toLowerCase(), column]));
  const described = columns.slice(2).filter((column) => !counted.includes(column));
  named.set("n", { value: (row) => row.n });
  const wanted = (word) => {
    const [, name, sign, rest] = /^(.+?)(<=|>=|<|>|=)(.+)$/.exec(word) || [];
    const column = named.get(name);
    if (!column) {
      return (row) => {
        row.words ??= [row.key, ...described.map((one) => one.text(row))].join("\n").toLowerCase();
        return row.words.includes(word);
      };
    }
    const number = Number(rest);
    return (row) => {
      const value = column.value(row);
      if (sign === "=") return value === number || String(value ?? "").toLowerCase() === rest || (column.text && String(column.text(row)).toLowerCase() === rest);
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
    const [start, length, rate] = row.bar, bar = line.querySelector(".bar");
    bar?.querySelector(".range").setAttribute("x", start);
    bar?.querySelector(".range").setAttribute("width", length);
    bar?.querySelector(".rate").setAttribute("d", `M${rate} 0V10`);
    line.querySelector(".key").href = `#${row.key}`;
    line.classList.toggle("at", row === state.at);
    line.tabIndex = -1;
    const button = line.querySelector(".open");
    button.setAttribute("aria-label", `How to run configuration ${row.place}`);
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
    const given = row.values.map((value) => value && value[1]);
    for (const [kind, text] of page.recipes(data, given)) {
      line.querySelector("div").append(page.code(`${kind} of configuration ${row.place}`, text));
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
  const ahead = (data.ruled ? 5 : 3) + measured.length + scored.length;
  columns.slice(ahead, ahead + data.parameters.length).forEach((column, i) => {
    const texts = data.values[i].map(([text]) => text);
    if (texts.length < 2 || texts.length > 12 || data.values[i].every(([, text]) => Number.isFinite(JSON.parse(text)))) return;
    const label = document.createElement("label"), select = document.createElement("select");
    select.append(new Option("any", ""), ...[...new Set(texts)].sort(words.compare).map((text) => new Option(text)));
    label.append(column.name, " ", select);
    holder.querySelector(".filters").append(label);
    chosen.set(column, select);
    select.addEventListener("change", filter);
  });
  [...table.tHead.rows[0].cells].forEach((head, i) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      state.down = state.column === columns[i] ? !state.down : Boolean(columns[i].down);
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
