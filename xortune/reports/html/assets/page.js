// The theme, the copy buttons, the contents.
"use strict";
const page = {
  /** Whether what is seen is dark. */
  dark() {
    const chosen = document.documentElement.dataset.theme;
    return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  },
  /** Says something to those who hear the page. */
  say(text) { document.getElementById("said").textContent = text; },
  /** A block of code with its heading and a button that copies it. */
  code(label, text) {
    const box = document.createElement("div");
    box.className = "code";
    const pre = document.createElement("pre"), code = document.createElement("code");
    pre.tabIndex = 0;
    pre.setAttribute("role", "group");
    pre.setAttribute("aria-label", label);
    code.textContent = text;
    pre.append(code);
    box.append(pre);
    page.copyable(box, label);
    return box;
  },
  /** Gives a block of code its heading and its button. */
  copyable(box, label) {
    const head = document.createElement("div"), name = document.createElement("span");
    const button = document.createElement("button");
    head.className = "head";
    name.textContent = label;
    button.type = "button";
    button.className = "copy";
    button.textContent = "Copy";
    button.setAttribute("aria-label", `Copy ${label}`);
    const code = box.querySelector("code");
    button.addEventListener("click", async () => {
      let done = "Copied";
      try {
        await navigator.clipboard.writeText(code.textContent);
      } catch {
        getSelection().selectAllChildren(code);
        done = document.execCommand("copy") ? "Copied" : "Selected: press Ctrl-C";
      }
      button.textContent = done;
      page.say(done);
      setTimeout(() => { button.textContent = "Copy"; page.say(""); }, 2000);
    });
    head.append(name, button);
    box.prepend(head);
  },
};

{
  const button = document.querySelector("button.theme");
  const show = () => button.setAttribute("aria-pressed", String(page.dark()));
  const changed = () => { show(); dispatchEvent(new Event("themechange")); };
  button.addEventListener("click", () => {
    const theme = page.dark() ? "light" : "dark";
    document.documentElement.dataset.theme = theme;
    try { localStorage.setItem("xortune-theme", theme); } catch { /* it holds for this visit */ }
    changed();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", changed);
  show();
  const named = { python: "Python", sh: "Command", yaml: "YAML" };
  for (const box of document.querySelectorAll("main .code")) {
    const language = (box.querySelector("code").className || "").replace("language-", "");
    page.copyable(box, named[language] || "Text");
  }
  // On a narrow page the contents would stand before the answer.
  if (matchMedia("(max-width: 69.99rem)").matches) document.querySelector(".contents details").open = false;
}

{
  // Paper has nothing to open: what is folded is printed, and is folded again afterwards.
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("main details:not([open])")];
    for (const one of opened) one.open = true;
  });
  addEventListener("afterprint", () => { for (const one of opened) one.open = false; });
  // A link to something that is folded opens it.
  const unfold = () => {
    const at = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    for (let one = at?.closest("details"); one; one = one.parentElement.closest("details")) one.open = true;
    at?.scrollIntoView();
  };
  addEventListener("hashchange", unfold);
  if (location.hash) unfold();
}
