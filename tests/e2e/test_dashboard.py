"""The dashboard in a real browser: Debian's chromium, headless, on the loopback."""
import os
import pathlib
import threading

import pytest

selenium = pytest.importorskip("selenium")
from selenium import webdriver  # noqa: E402
from selenium.common.exceptions import StaleElementReferenceException  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402

from conftest import ROOT, wait_until  # noqa: E402
from daemon import Daemon  # noqa: E402
from helpers import answer, job, table  # noqa: E402
from test_serve import daemon  # noqa: E402, F401

PHONE, DESKTOP = (390, 844), (1280, 900)
SHOTS = os.environ.get("CANVASS_SCREENSHOTS")


class Browser:
    def __init__(self, folder, dark=False):
        options = webdriver.ChromeOptions()
        for flag in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--disable-background-networking",
                     "--disable-component-update", "--no-first-run", f"--user-data-dir={folder}/profile", "--hide-scrollbars"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        service = webdriver.ChromeService("/usr/bin/chromedriver") if hasattr(webdriver, "ChromeService") else \
            webdriver.chrome.service.Service("/usr/bin/chromedriver")
        self.driver = webdriver.Chrome(service=service, options=options)
        self.size(DESKTOP)
        if dark:
            self.dark(True)

    def size(self, size):
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", dict(
            width=size[0], height=size[1], deviceScaleFactor=1, mobile=size == PHONE))

    def dark(self, on):
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", dict(features=[
            dict(name="prefers-color-scheme", value="dark" if on else "light")]))

    def open(self, d, token=True):
        self.driver.get(f"http://127.0.0.1:{d.port}/" + (f"#token={Daemon.TOKEN}" if token else ""))

    def all(self, css):
        return self.driver.find_elements(By.CSS_SELECTOR, css)

    def text(self, css="body"):
        return self.driver.execute_script("return [...document.querySelectorAll(arguments[0])].map(e => e.innerText).join('\\n')", css)

    def wait_text(self, words, css="body"):
        return wait_until(lambda: words in self.text(css), 30, f"{words!r} did not show in {css}: {self.text(css)[-3000:]}")

    def click(self, words, css="button, a, summary", nth=0):
        """What a person would click: visible, and saying this."""
        def attempt():
            try:
                found = [e for e in self.all(css) if e.is_displayed() and e.text.strip() == words and e.is_enabled()]
                if len(found) <= nth:
                    return False
                found[nth].click()
                return True
            except StaleElementReferenceException:
                return False
        wait_until(attempt, 30, f"no {words!r} to click: {self.text('main')[-2000:]}")

    def fill(self, name, text):
        field = wait_until(lambda: self.all(f"dialog [name={name}]"), 30)[0]
        field.clear()
        field.send_keys(text)

    def confirm(self, verb, **fields):
        for name, text in fields.items():
            self.fill(name, text)
        self.click(verb, "dialog button")
        wait_until(lambda: not self.all("dialog"), 30, f"the dialog stays: {self.text('dialog')}")

    def shot(self, name):
        """Each page as a desktop and a phone have it, light and dark; kept where CANVASS_SCREENSHOTS says."""
        if not SHOTS:
            return
        folder = pathlib.Path(SHOTS)
        folder.mkdir(parents=True, exist_ok=True)
        for device, size in (("desktop", DESKTOP), ("phone", PHONE)):
            for mode in ("light", "dark"):
                self.size(size)
                self.dark(mode == "dark")
                height = self.driver.execute_script("return document.documentElement.scrollHeight")
                self.size((size[0], min(height, 4000)))
                self.driver.save_screenshot(str(folder / f"{name}-{device}-{mode}.png"))
        self.size(DESKTOP)
        self.dark(False)

    def complaints(self):
        """What the browser's console says: script errors, and what the content security policy had to stop."""
        return [e["message"] for e in self.driver.get_log("browser")
                if e["level"] == "SEVERE" and " 4" not in e["message"][:200]]

    def fits(self):
        return self.driver.execute_script("return document.documentElement.scrollWidth <= window.innerWidth")


@pytest.fixture
def browser(tmp_path):
    one = Browser(tmp_path)
    yield one
    complaints = one.complaints()
    one.driver.quit()
    assert not complaints, complaints


@pytest.fixture
def bias(canvass, fleet):
    """The example's job and table, against its fleet, as quickstart runs it."""
    folder = ROOT / "examples" / "bias-detection"
    served = fleet(folder / "fleet.lua", speed=60)
    d = Daemon(canvass, served.table, jobs=folder)
    yield d, served
    d.stop(9)


def test_the_whole_story(bias, browser):
    d, served = bias
    browser.open(d)
    browser.wait_text("No jobs yet")
    browser.click("Submit a job")
    wait_until(lambda: browser.all("dialog select"))
    browser.driver.execute_script("document.querySelector('dialog select').value = 'job.lua'")
    browser.confirm("Submit", author="grace")
    browser.wait_text("bias-detection-1", "h1")
    seen = set()

    def bars_move():
        seen.add(browser.text(".figures div:first-child dd"))
        return d.job("bias-detection-1")["state"] != "running"
    browser.wait_text("0 of 64", ".figures")
    browser.shot("job-running")
    wait_until(bars_move)
    browser.wait_text("64 of 64", ".figures")
    assert len(seen) > 3, seen
    wait_until(lambda: browser.text(".questions li").count("8/8") == 8)
    for region, of in (("US", "16/16"), ("EU", "24/24"), ("ASIA", "24/24")):
        browser.wait_text(of, "table")
    browser.click("ASIA")
    model = browser.all("td.inset button.plain")[0].text
    browser.click(model, "td.inset button.plain")
    first = wait_until(lambda: [b.text for b in browser.all("td.inset td.inset button.plain") if b.is_displayed()])[0]
    browser.click(first, "td.inset td.inset button.plain")
    browser.wait_text("hop 1: 303", "td.inset")
    browser.wait_text("Attempt 1", "td.inset")
    assert browser.all(".timeline rect.ok")
    browser.wait_text("Every cell", "summary")
    browser.wait_text("8/8 R", ".questions li")
    browser.click("Every cell")
    browser.wait_text("R1", "td.mono")
    browser.shot("job-ended")
    browser.size(PHONE)
    assert browser.fits()
    browser.size(DESKTOP)
    browser.click("Regions", "nav a")
    browser.wait_text("revision 1")
    browser.wait_text("ASIA", "table")
    browser.click("Every setting in force")
    browser.wait_text("asia/mistral-7b.deadline", "td.mono")
    browser.shot("regions")
    browser.size(PHONE)
    assert browser.fits()
    browser.size(DESKTOP)
    browser.click("Jobs", "nav a")
    browser.wait_text("64/64")
    browser.shot("jobs")


def test_the_table_is_changed_and_taken_back(daemon, server, browser):  # noqa: F811
    upstream = server(lambda r: r.reply(200, answer()))
    d = daemon(table({"asia/m": upstream.url("/asia"), "eu/m": upstream.url("/eu")}), jobs={"study.lua": job(4)})
    browser.open(d)
    browser.click("Regions", "nav a")
    browser.wait_text("revision 1")
    browser.click("Pause", "main button", nth=0)
    browser.confirm("Pause", reason="out of quota", author="grace")
    browser.wait_text("out of quota", "table")
    browser.click("Jobs", "nav a")
    browser.click("Submit a job")
    browser.confirm("Submit")
    browser.wait_text("study-1", "h1")
    browser.wait_text("paused", "table")
    wait_until(lambda: len(upstream.asked(path="/eu")) >= 1)
    assert not upstream.asked(path="/asia")
    browser.click("Regions", "nav a")
    browser.click("Limits", "main button", nth=1)
    browser.confirm("Set", slots="5", reason="more of them")
    browser.wait_text("0 of 5", "table")
    editor = browser.all("textarea")[0]
    editor.send_keys(Keys.CONTROL, Keys.END)
    editor.send_keys("x")
    browser.wait_text("regions.lua", ".error")
    editor.send_keys(Keys.BACKSPACE)
    browser.driver.execute_script("""
        const t = arguments[0]; t.value = t.value.replace('/eu', '/europe'); t.dispatchEvent(new Event('input'))""", editor)
    browser.wait_text("eu/m: url", ".diff")
    browser.shot("regions-edited")
    browser.click("Apply")
    browser.confirm("Apply", reason="they moved", author="ada")
    browser.wait_text("revision 4")
    assert "/europe" in (d.folder / "regions.lua").read_text()
    browser.click("Roll back", nth=2)
    browser.confirm("Roll back", reason="as it was")
    browser.wait_text("revision 5")
    assert "/europe" not in (d.folder / "regions.lua").read_text()
    assert d.wait_for("study-1")["executions"]["succeeded"] == 8
    kept = d.get("/api/v1/regions/revisions").json["revisions"]
    assert [(r["author"], r["reason"]) for r in kept[1:4]] == [("ada", "they moved"), ("api", "more of them"), ("grace", "out of quota")]
    (d.folder / "regions.lua").write_text("return {")
    browser.wait_text("The region table's file is wrong", "#banner")
    browser.shot("regions-wrong")


def test_a_failed_cell_is_asked_again_and_a_job_ended(daemon, server, browser):  # noqa: F811
    gate, wrong = threading.Event(), threading.Event()
    gate.set()
    wrong.set()

    def handle(request):
        gate.wait(60)
        request.reply(400 if wrong.is_set() and "2" in request.prompt else 200, answer())
    d = daemon(table({"us/m": server(handle).url()}), jobs={"study.lua": job(3)})
    job_id = d.submit(script="study.lua")
    d.wait_for(job_id)
    browser.open(d)
    browser.click(job_id, "main a")
    browser.wait_text("✕ 1")
    browser.click("US")
    browser.click("m", "td.inset button.plain")
    browser.click("q2", "td.inset button.plain")
    browser.wait_text("http_client", "td.inset")
    browser.shot("job-failed")
    wrong.clear()
    browser.click("Ask it again")
    browser.wait_text("3 of 3", ".figures")
    gate.clear()
    d.submit(script="study.lua")
    browser.click("Jobs", "nav a")
    browser.click("study-2", "main a")
    browser.click("Pause")
    browser.confirm("Pause", reason="lunch")
    browser.wait_text("paused", ".head")
    browser.click("Resume")
    browser.wait_text("running", ".head")
    browser.click("Cancel")
    browser.confirm("Cancel", reason="enough")
    browser.wait_text("cancelled", ".head")
    gate.set()


def test_hostile_answers_are_text(daemon, server, browser):  # noqa: F811
    evil = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">\u202e\x1b[31m{{7*7}}"
    upstream = server(lambda r: r.reply(400 if "2" in r.prompt else 200, answer(evil) if "2" not in r.prompt else evil))
    d = daemon(table({"us/m": upstream.url()}), jobs={"study.lua": job(questions=[dict(id="<b>q1", prompt=evil), dict(id="2", prompt="2" + evil)])})
    job_id = d.submit(script="study.lua")
    d.wait_for(job_id)
    browser.open(d)
    browser.click(job_id, "main a")
    browser.click("US")
    browser.click("m", "td.inset button.plain")
    for question in ("<b>q1", "2"):
        browser.click(question, "td.inset td.inset button.plain")
    browser.wait_text("<script>document.title", "td.inset")
    assert browser.driver.title == f"{job_id} – canvass"
    assert browser.driver.execute_script("return document.querySelectorAll('main script, main img, main b').length") == 0


def test_without_a_token_one_reads_and_is_asked_for_it(daemon, server, browser):  # noqa: F811
    d = daemon(table({"us/m": server(lambda r: r.reply(200, answer())).url()}), jobs={"study.lua": job(1)})
    browser.open(d, token=False)
    browser.wait_text("No jobs yet")
    browser.click("Submit a job")
    browser.click("Submit", "dialog button")
    browser.wait_text("This needs the token", "dialog")
    browser.fill("token", Daemon.TOKEN)
    browser.click("Use it", "dialog button")
    browser.wait_text("study-1", "h1")
    assert Daemon.TOKEN not in browser.driver.current_url


def test_by_keyboard_alone(daemon, server, browser):  # noqa: F811
    d = daemon(table({"us/m": server(lambda r: r.reply(200, answer())).url()}), jobs={"study.lua": job(1)})
    job_id = d.submit(script="study.lua")
    d.wait_for(job_id)
    browser.open(d)
    browser.wait_text(job_id)

    def tab_to(words):
        for _ in range(60):
            browser.driver.switch_to.active_element.send_keys(Keys.TAB)
            here = browser.driver.switch_to.active_element
            if here.text.strip() == words:
                return here
        raise AssertionError(f"no way to {words!r}")
    tab_to(job_id).send_keys(Keys.ENTER)
    browser.wait_text("1 of 1", ".figures")
    tab_to("US").send_keys(Keys.ENTER)
    tab_to("m").send_keys(Keys.ENTER)
    wait_until(lambda: "q1" in browser.text("td.inset"))
    tab_to("q1").send_keys(Keys.SPACE)
    browser.wait_text("an answer", "td.inset .answer")
