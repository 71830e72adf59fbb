"""The main pages of the published dashboard and studio in headless Chromium, as a person sees them. Without a browser they are skipped, unless
KNEO_TEST_BROWSER=required says that there must be one."""

import hashlib
import json
import os
import shutil

import pytest
from conftest import REVIEW, STEPS
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException, TimeoutException, WebDriverException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

WAIT_SECONDS = 20
PROJECT = "/api/projects/default"


def installed(*names):
    return next((path for name in names if (path := shutil.which(name))), None)


class Page:
    """A tab. Every look waits until what it looks for is there."""

    def __init__(self, driver):
        self.driver = driver

    def open(self, url):
        self.driver.get_log("browser")
        self.driver.get(url)
        return self

    def until(self, condition):
        try:
            return WebDriverWait(self.driver, WAIT_SECONDS, poll_frequency=0.05).until(lambda _: condition())
        except TimeoutException:
            raise AssertionError(f"{self.driver.current_url} shows:\n{self.text()}") from None

    def text(self):
        return self.driver.execute_script("return document.body ? document.body.innerText : ''")

    def shows(self, *texts):
        for text in texts:
            self.until(lambda text=text: text in self.text())

    def element(self, css, text=""):
        """The first visible and enabled element whose text begins so."""
        def find():
            for e in self.driver.find_elements(By.CSS_SELECTOR, css):
                if e.is_displayed() and e.is_enabled() and e.text.startswith(text):
                    return e
            return None
        return self.until(find)

    def click(self, css, text=""):
        # The pages redraw themselves when they refresh, so an element may be gone between the search and the click.
        def attempt():
            try:
                self.element(css, text).click()
                return True
            except StaleElementReferenceException:
                return False
        self.until(attempt)

    def click_in(self, css, having, button):
        """Clicks a button of the element that has a text."""
        def attempt():
            try:
                for e in self.driver.find_elements(By.CSS_SELECTOR, css):
                    if having in e.text:
                        next(b for b in e.find_elements(By.TAG_NAME, "button") if b.text == button).click()
                        return True
            except StaleElementReferenceException:
                pass
            return False
        self.until(attempt)

    def complaints(self):
        return [e["message"] for e in self.driver.get_log("browser") if e["level"] == "SEVERE"]


def without(reason):
    if os.environ.get("KNEO_TEST_BROWSER") == "required":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="module")
def driver():
    program, helper = installed("chromium", "chromium-browser", "google-chrome"), installed("chromedriver")
    if not program or not helper:
        without("no Chromium with its driver on this machine")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--no-proxy-server", "--window-size=1400,1600"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    try:
        driver = webdriver.Chrome(options=options, service=Service(helper))
    except WebDriverException as e:
        without(f"Chromium does not start here: {e.msg}")
    driver.set_page_load_timeout(WAIT_SECONDS)
    yield driver
    driver.quit()


@pytest.fixture
def page(driver):
    page = Page(driver)
    yield page
    assert page.complaints() == []


@pytest.fixture(scope="module")
def done(server):
    return server.http.post("/v1/runs", json={"input": "seen in a browser", "spec": STEPS, "session_id": "browser"}).json()["run_id"]


@pytest.fixture(scope="module")
def artifact(studio):
    text = json.dumps(STEPS)
    (studio.project / "seen.yaml").write_text(text)
    draft = {"path": "seen.yaml", "revision": hashlib.sha256(text.encode()).hexdigest()}
    exposure = studio.http.get(f"{PROJECT}/drafts/exposure").json()["exposure_digest"]
    studio.http.post(f"{PROJECT}/drafts/register", json={**draft, "exposure_digest": exposure}).raise_for_status()
    return studio.http.post(f"{PROJECT}/artifacts", json={"base": draft, "alias": "default"}).json()["id"]


def test_dash_lists_runs(page, dash, server, done):
    paused = server.http.post("/v1/runs", json={"input": "hi", "spec": REVIEW}).json()["run_id"]
    page.open(f"{dash.url}/runs").shows(done, paused, "completed", "blocked", "pair", "line")
    page.click("td", done)
    page.shows("Final answer: Final answer: seen in a browser", "kind: workflow", "browser")


def test_dash_shows_a_run(page, dash, done):
    page.open(f"{dash.url}/runs/{done}").shows("Trace (6)", "Checkpoints (4)")
    for tab, texts in {
        "Trace": ["workflow_started", "workflow_completed", "the full trace is shown"], "Checkpoints": ["#1", "run_started", "#4", "run_completed"],
        "Graph": ["one ✓", "two ●", "one → two"], "Recover": ["replay timeline (4)", "step_completed"], "Policy": ["valid", "No policy diagnostics."],
    }.items():
        page.click("button", tab)
        page.shows(*texts)


def test_dash_inbox(page, dash, server):
    paused = server.http.post("/v1/runs", json={"input": "hi", "spec": REVIEW}).json()["run_id"]
    page.open(f"{dash.url}/human-tasks").shows(paused, "Check the draft")
    page.click_in("tr", paused, "Approve")
    page.until(lambda: server.http.get(f"/v1/runs/{paused}").json()["status"] == "completed")
    page.until(lambda: paused not in page.text())


@pytest.mark.parametrize(("path", "texts"), [
    ("overview", ["Total runs", "Pending human tasks", "ready"]), ("health", ["process responding · 1.2.0", "all subsystems ok", "run_state_store"]),
    ("audit", ["run.created", "admin"]), ("launch", ["Paste spec (JSON)", "Load"]), ("policies", ["environment governance"]),
    ("credentials", ["provider:openai", "service:KNEO_SERV_ADMIN_API_KEY"]), ("errors", ["failed runs by workflow"]), ("settings", ["Settings"]),
])
def test_dash_pages(page, dash, done, path, texts):
    page.open(f"{dash.url}/{path}").shows(*texts)
    assert "Page not found" not in page.text()


def test_studio_project(page, studio, artifact):
    page.open(studio.url).shows("Import a workflow", "Artifacts in this project", "seen.yaml")


def test_studio_editor(page, studio, artifact):
    page.open(f"{studio.url}/projects/default/editor/{artifact}").shows("one (step)", "two (step)")
    page.click("button", "Preview")
    page.shows("Valid and compiles.")
    for stage in ("Validate", "Compile", "Policy report"):
        page.click("button", stage)
        page.shows(f"{stage} Passed.")


def test_studio_test_run(page, studio, artifact):
    page.open(f"{studio.url}/projects/default/test-run/{artifact}")
    page.element("main textarea").send_keys("typed here")
    page.click("button", "Start a test run")
    page.until(lambda: "Final answer: Final answer: typed here" in page.text() or page.click("button", "Refresh"))
    page.click("main a", "Debug this run")
    page.shows("one (step) · visited", "two (step) · visited", "workflow_completed", "#4 · run_completed")
