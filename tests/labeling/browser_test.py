"""The page in a real browser. These tests alone need one, and are left out where there is none."""

import shutil
import signal
import sqlite3
import time

import pytest

from tests.labeling import pages

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium: the tests of the labeling page are left out"
)


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def folder(tmp_path):
    return pages.pictures(tmp_path / "pictures", 60)


def opened(context, address):
    page = context.new_page()
    page.goto(address)
    page.wait_for_selector("#grid .card[aria-current]")
    page.wait_for_function("document.querySelectorAll('#grid .card').length === 24")
    return page


def press(page, keys):
    for key in keys:
        page.keyboard.press(key)


def wait_until_saved(page):
    page.wait_for_function("localStorage.length === 0")


def images(page):
    return page.eval_on_selector_all("#grid .card", "all => all.map(one => one.dataset.image)")


def decisions(folder):
    path = folder / ".guided_labeling" / "pool.sqlite"
    with sqlite3.connect(path) as database:
        return database.execute(
            "SELECT kind, label, image FROM decisions ORDER BY number"
        ).fetchall()


def test_twenty_labels_three_undone_reload_second_tab_kill(browser, folder):
    context = browser.new_context(bypass_csp=True)
    with pages.served(folder) as (process, address):
        page = opened(context, address)
        press(page, ["1", "2"] * 10)
        wait_until_saved(page)
        labelled = decisions(folder)
        assert [row[:2] for row in labelled] == [("label", "dark"), ("label", "light")] * 10
        assert len({row[2] for row in labelled}) == 20
        press(page, ["u", "Control+z", "U"])
        wait_until_saved(page)
        undone = [row[2] for row in decisions(folder)[20:]]
        assert undone == [row[2] for row in labelled[:-4:-1]]
        # What was taken back is the next one to be labelled.
        page.wait_for_function(
            f"document.querySelector('[aria-current]').dataset.image == {undone[2] - 1}"
        )
        page.reload()
        page.wait_for_function("document.querySelectorAll('#grid .card').length === 24")
        second = context.new_page()
        second.goto(address)
        second.wait_for_function("document.querySelectorAll('#grid .card').length > 0")
        assert not set(images(page)) & set(images(second))

        process.send_signal(signal.SIGKILL)
        process.wait()
        press(page, ["1", "2", "s", "?"])
        page.wait_for_function(
            "document.getElementById('notice').innerText.includes("
            "`can't be reached. 4 clicks are kept`)"
        )
        assert page.evaluate("localStorage.length") == 4
        before, earlier = decisions(folder), address
    with pages.served(folder) as (_, address):
        # The same command, the same port: what this browser keeps can be sent.
        assert address.split("?")[0] == earlier.split("?")[0]
        assert address != earlier
        page.goto(address)
        wait_until_saved(page)
        after = decisions(folder)
    assert after[: len(before)] == before
    assert [row[0] for row in after[len(before) :]] == ["label", "label", "skip", "cant_tell"]
    standing = {row[2] for row in labelled} - set(undone)
    assert not standing & {row[2] for row in after[len(before) :]}
    context.close()


def test_keys_with_the_focus_elsewhere_and_held(browser, folder):
    context = browser.new_context(bypass_csp=True)
    with pages.served(folder) as (_, address):
        page = opened(context, address)
        page.focus("#classes button")
        press(page, ["Numpad2", "1"])
        page.focus("aside summary")
        page.keyboard.press("2")
        for _ in range(20):  # a key that is held: pressed again without having been let go
            page.keyboard.down("1")
        page.keyboard.up("1")
        page.click("#classes button:has-text('light')")
        page.keyboard.press("9")  # no class
        wait_until_saved(page)
        # The grid is full again, however fast the labels came.
        page.wait_for_function("document.querySelectorAll('#grid .card').length === 24")
        for _ in range(23):
            page.keyboard.press("ArrowRight")
        assert page.evaluate(
            "(box => box.top >= 0 && box.bottom <= innerHeight)("
            "document.querySelector('#grid [aria-current]').getBoundingClientRect())"
        )
        page.click("#train")
        page.wait_for_function(
            "document.getElementById('training').innerText.includes('at least 5 of each')"
        )
        found = [row[1] for row in decisions(folder)]
    assert found == ["light", "dark", "light", "dark", "light"]
    context.close()


def test_two_digits_for_more_than_nine_classes(browser, folder):
    classes = [f"kind-{number}" for number in range(1, 13)]
    context = browser.new_context(bypass_csp=True)
    with pages.served(folder, f"--classes={','.join(classes)}") as (_, address):
        page = opened(context, address)
        press(page, ["0", "7", "1", "Numpad2"])
        page.keyboard.press("1")  # the first digit, and what it may become
        assert page.eval_on_selector_all(
            "#classes [data-typed] kbd", "all => all.map(one => one.innerText)"
        ) == ["10", "11", "12"]
        # Another key takes it back, and a number that no class has is none.
        press(page, ["Escape", "0", "1", "9", "1", "3", "0", "0", "s", "1", "u", "0", "3"])
        wait_until_saved(page)
        found = [row[:2] for row in decisions(folder)]
    assert found == [
        *(("label", "kind-7"), ("label", "kind-12"), ("label", "kind-1")),
        *(("skip", None), ("undo", None), ("label", "kind-3")),
    ]
    context.close()


def test_a_duplicated_tab_is_another_one(browser, folder):
    context = browser.new_context(bypass_csp=True)
    with pages.served(folder) as (_, address):
        first = opened(context, address)
        name = first.evaluate("sessionStorage.by")
        second = context.new_page()
        second.add_init_script(f"sessionStorage.by = sessionStorage.by || '{name}'")
        second.goto(address)
        second.wait_for_function("document.querySelectorAll('#grid .card').length === 24")
        assert not set(images(first)) & set(images(second))
        # A tab that is loaded anew is the same one.
        shown = images(first)
        first.reload()
        first.wait_for_function("document.querySelectorAll('#grid .card').length === 24")
        assert images(first) == shown
        assert first.evaluate("sessionStorage.by") == name != second.evaluate("sessionStorage.by")
    context.close()


def test_clicks_of_another_pool_and_one_that_is_never_taken(browser, folder):
    """Neither is recorded, and neither keeps those back that are right."""
    context = browser.new_context(bypass_csp=True)
    with pages.served(folder) as (_, address):
        page = opened(context, address)
        page.evaluate("""() => {
            const put = (pool, order, click) => localStorage.setItem(
                `unsent:${pool}:${String(order).padStart(16, "0")}:${click.identity}`,
                JSON.stringify({ by: "mine", order, ...click }));
            const own = document.documentElement.dataset.pool;
            put(own, 1, { identity: "a", kind: "label", image: 7, label: "dark" });
            put(own, 2, { identity: "b", kind: "label", image: 9999, label: "dark" });
            put(own, 3, { identity: "c", kind: "label", image: 8, label: "light" });
            put("other", 4, { identity: "d", kind: "label", image: 9, label: "light" });
        }""")
        page.reload()
        page.wait_for_function("localStorage.length === 1")
        assert "image of this pool. Received: 9999" in page.inner_text("#notice")
        assert decisions(folder) == [("label", "dark", 8), ("label", "light", 9)]
        assert page.evaluate("Object.keys(localStorage)[0]").startswith("unsent:other:")
    context.close()


@pytest.mark.parametrize(
    "width, height, scale", [(1280, 800, 1), (360, 740, 1), (640, 400, 2)], ids=str
)
def test_readable(browser, folder, width, height, scale, tmp_path):
    """Wide, narrow, and at 200 %: nothing is cut off at the side."""
    context = browser.new_context(
        bypass_csp=True, viewport={"width": width, "height": height}, device_scale_factor=scale
    )
    with pages.served(folder) as (_, address):
        page = opened(context, address)
        page.wait_for_load_state("networkidle")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        page.screenshot(path=tmp_path / "page.png")
    context.close()


def test_learns_while_labels_come(browser, folder):
    context = browser.new_context(bypass_csp=True)
    with pages.served(folder, "--retrain_every=10") as (_, address):
        page = opened(context, address)
        deadline = time.monotonic() + 60
        while not page.query_selector("#curve circle") and time.monotonic() < deadline:
            current = page.query_selector("#grid [aria-current]")
            if current is None:
                break
            number = int(current.get_attribute("data-image"))
            page.keyboard.press("12"[number % 2])
            page.wait_for_timeout(150)
        page.wait_for_selector("#curve circle", timeout=300_000)
        assert "Labels saved so far" in page.inner_text("#saved")
        assert page.query_selector("#grid") is not None
    context.close()
