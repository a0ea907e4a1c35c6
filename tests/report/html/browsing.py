"""What tests of pages in a browser look for."""

from contextlib import suppress

# Of each thing with text: whether it is cut off with no way to scroll to the rest.
CUT = """() => [...document.querySelectorAll("h1, h2, h3, p, li, td, th, button, figcaption, a")]
  .filter((one) => {
    const style = getComputedStyle(one);
    const hides = style.overflowX === "hidden" || style.textOverflow === "ellipsis";
    const cell = one.matches("th, td"); // which would lie over the next one
    return (hides || cell) && !one.classList.contains("heard")
      && one.scrollWidth > one.clientWidth + 1;
  }).map((one) => one.textContent.slice(0, 80))"""
# Whether the figures have become as wide as their place.
FOLLOWED = """() => [...document.querySelectorAll(".plot")].every(
  (one) => Math.abs(one.querySelector(".main-svg").clientWidth
    - one.querySelector(".drawn").clientWidth) < 2)"""
# Labels of figures that are cut off or lie over each other, but for those that lean.
COLLIDE = r"""() => [...document.querySelectorAll(".drawn")].flatMap((place) => {
  const own = place.getBoundingClientRect();
  const labels = [...place.querySelectorAll(".main-svg text")].map((one) => ({
    text: one.textContent, box: one.getBoundingClientRect(),
    leans: /rotate\((?!0)/.test(one.getAttribute("transform")),
  })).filter(({ box, text }) => box.width && text.trim());
  const cut = labels.filter(({ box }) => box.left < own.left - 2 || box.right > own.right + 2
    || box.top < own.top - 2 || box.bottom > own.bottom + 2);
  const over = labels.flatMap((a, at) => labels.slice(at + 1).filter((b) => !(a.leans || b.leans)
    && Math.min(a.box.right, b.box.right) - Math.max(a.box.left, b.box.left) > 2
    && Math.min(a.box.bottom, b.box.bottom) - Math.max(a.box.top, b.box.top) > 3)
    .map((b) => `${a.text} over ${b.text}`));
  return [...cut.map((one) => `${one.text} is cut`), ...over]
    .map((one) => `${place.closest("figure").id}: ${one}`);
})"""
# What lies outside the page, and is in no region that scrolls.
OUTSIDE = """() => [...document.querySelectorAll("main *, header *, nav *")]
  .filter((one) => !one.closest(".scroll, .drawn, pre, .heard, svg") && one.getClientRects().length
    && one.getBoundingClientRect().right > innerWidth + 1)
  .map((one) => one.outerHTML.slice(0, 120))"""


def drawn(shown):
    """Opens what is folded away, and waits until all figures are drawn, as when one scrolls."""
    shown.evaluate(
        "document.querySelectorAll('details.fold').forEach((one) => { one.open = true; })"
    )
    for figure in shown.locator(".plot").all():
        figure.scroll_into_view_if_needed()
        figure.locator(".main-svg").first.wait_for()
    shown.evaluate("scrollTo(0, 0)")


def complaints_of_axe(shown, *rules):
    """What axe has against the page, by all its rules if none is named."""
    from axe_playwright_python.sync_playwright import Axe

    only = {"runOnly": list(rules)} if rules else {}
    found = Axe().run(shown, options={"resultTypes": ["violations"], **only})
    return [(one["id"], one["nodes"][0]["html"]) for one in found.response["violations"]]


def fits(shown, width):
    assert shown.evaluate("document.documentElement.scrollWidth") <= width
    assert shown.evaluate(CUT) == []
    assert shown.evaluate(OUTSIDE) == []


def labels_stand_free(shown):
    from playwright.sync_api import TimeoutError as Late

    with suppress(Late):  # margins follow the labels when these are drawn
        shown.wait_for_function(f"() => ({COLLIDE})().length === 0", timeout=3_000)
    found = shown.evaluate(COLLIDE)
    assert not found, found
