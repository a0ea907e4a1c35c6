"""A browser for the files with tests of pages, and what opens a document in it."""

import shutil

import pytest

from xortune.reports.page import page


@pytest.fixture(scope="module")
def browser():
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("no Chromium here: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium)
        yield started
        started.close()


@pytest.fixture
def show(browser, tmp_path):
    """Opens a document or an address; fails where the page complains or asks anybody else."""
    contexts, complaints = [], []

    def opened(document, hash_="", *, width=1440, theme="light", text=None, url=None, **more):
        if url is None:
            path = tmp_path / f"page{len(contexts)}.html"
            path.write_text(page(document) if text is None else text, encoding="utf-8")
            url = path.as_uri()
        size = {"width": width, "height": 900}
        context = browser.new_context(viewport=size, color_scheme=theme, **more)
        contexts.append(context)
        shown = context.new_page()
        shown.set_default_timeout(30_000)
        shown.on("console", lambda message: complaints.append(message.text))
        shown.on("pageerror", lambda error: complaints.append(str(error)))
        shown.on("request", lambda r: r.url.startswith((url, "data:")) or complaints.append(r.url))
        shown.goto(f"{url}{hash_}", timeout=60_000)  # other tests may run beside this
        return shown

    yield opened
    for context in contexts:
        context.close()
    # Plotly's warnings are some; the server of a page that follows a run may end.
    ended = "ERR_CONNECTION_RE", "ERR_SOCKET_NOT_CONNECTED"
    assert [text for text in complaints if not any(one in text for one in ended)] == []
