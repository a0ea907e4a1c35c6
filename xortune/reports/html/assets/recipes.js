// A config written down: its Python, its YAML and, for the built-in network, its command.
"use strict";
/**
 * @param data what the page holds of the table: `fixed` parameters, `order` and `seeds` for the
 *   built-in network.
 * @param given pairs of a parameter's name and its value as JSON; null where the config lacks it.
 * @returns pairs of what it is and its text.
 */
page.recipes = (data, given) => {
  const network = Boolean(data.order);
  const settings = [...data.fixed, ...given]
    .filter(([, text]) => text !== null)
    .map(([name, text]) => ({ name: JSON.parse(name), quoted: name, text }));
  if (network) settings.sort((a, b) => data.order.indexOf(a.name) - data.order.indexOf(b.name));

  // JSON's words are Python's and YAML's, but for these.
  const python = (text) => ({ null: "None", true: "True", false: "False" })[text] || text;
  // Names that YAML takes for something else stay in quotes; to it 1e-05 is a name.
  const word = (text) => (/^"(?!(?:y|n|yes|no|on|off|true|false|null)"$)[a-z_]\w*"$/i.test(text) ? text.slice(1, -1) : text);
  const yaml = (text) => word(text.replace(/^(-?\d+)e/, "$1.0e"));
  const shell = (text) => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'"'"'`)}'`);

  const pairs = settings.map(({ name, quoted, text }) => (network ? `${name}=${python(text)}` : `${quoted}: ${python(text)}`));
  const found = [
    ["Python", network ? `xt.Config(${pairs.join(", ")})` : `{${pairs.join(", ")}}`],
    ["YAML", settings.map(({ quoted, text }) => `${word(quoted)}: ${yaml(text)}\n`).join("")],
  ];
  if (network) {
    const options = settings.flatMap(({ name, text }) => {
      if (name === "zero_grad") return text === "true" ? [] : ["--no-zero-grad"];
      if (name === "momentum" && Number(text) === 0) return [];
      const value = text === "null" ? "none" : text.startsWith('"') ? JSON.parse(text) : text;
      return [`--${name.replaceAll("_", "-")}`, shell(value)];
    });
    found.push(["Command", ["xortune evaluate", ...options, data.seeds].join(" ")]);
  }
  return found;
};
