// A page that follows a run: asks the server what is new, and puts it in place.
"use strict";
{
  const at = (id) => document.getElementById(id), bar = at("progress");
  const say = (text) => { // a text that stays is not read aloud again
    if (at("sentence").textContent !== text) at("sentence").textContent = text;
  };
  // Makes a node like a fresh one and keeps it, so that focus, scrolling and what is open stay.
  const renew = (node, fresh) => {
    if (node.nodeName !== fresh.nodeName) {
      node.replaceWith(fresh);
      return;
    }
    if (node.nodeType === Node.TEXT_NODE) {
      if (node.data !== fresh.data) node.data = fresh.data; // else what is selected would be no more
      return;
    }
    for (const name of [...node.getAttributeNames(), ...fresh.getAttributeNames()]) {
      if (fresh.hasAttribute(name)) node.setAttribute(name, fresh.getAttribute(name));
      else if (name !== "open" && name !== "style") node.removeAttribute(name);
    }
    if (node.querySelector(":scope > .drawn")) return;
    const before = [...node.childNodes], after = [...fresh.childNodes];
    after.forEach((child, i) => (i < before.length ? renew(before[i], child) : node.append(child)));
    before.slice(after.length).forEach((child) => child.remove());
  };
  const put = (id, html) => {
    const part = at(`${id}-now`), fresh = part.cloneNode(false);
    fresh.append(...new DOMParser().parseFromString(html, "text/html").body.childNodes);
    renew(part, fresh);
    page.drawWithin(part);
  };
  let known = 0, last = "";
  const show = ({ status, sentence, rows, version, sections }) => {
    say(sentence);
    const most = status.seeds_expected?.[1]; // of a race: what it may still give is not done
    document.title = `${status.seeds_done}${most ? `/${most}` : ""} ${status.name}`;
    bar.hidden = most === undefined;
    bar.max = most || 1;
    bar.value = most ? Math.min(status.seeds_done, most) : 1;
    put("rows", rows);
    if (version !== known) for (const [id, html] of Object.entries(sections)) put(id, html);
    known = version;
    last = new Date().toLocaleTimeString();
  };
  const seen = () => (last ? ` What stands below was so at ${last}.` : "");
  const ask = async () => {
    const answer = await fetch("data", { cache: "no-store", signal: AbortSignal.timeout(60_000) });
    return { ok: answer.ok, found: await answer.json() };
  };
  const look = async () => {
    const told = await ask().catch(() => null);
    setTimeout(look, Number(bar.dataset.milliseconds));
    if (told === null) say(`Lost the server: it was ended, or cannot be reached.${seen()}`);
    else if (told.ok) show(told.found);
    else say(`The run cannot be read: ${told.found.error}.${seen()}`);
  };
  look();
}
