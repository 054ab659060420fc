"""The documentation's page from its first step to its last, in a real browser.

With SHOAL_SCREENSHOTS=1 the pictures in docs/console/ are made anew on the way.
"""

import io
import os
from pathlib import Path

from PIL import Image
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from console.browser import Person
from shoal.control.store import clusters
from shoal.control.store.changes import Author, Changes, unix_now
from shoal.control.store.database import Database
from shoal.core.console.models import Component

PICTURES = Path(__file__).parents[2] / "docs" / "console"
MAX_PICTURE_BYTES = 100_000
MAX_PAGE_BYTES = 100_000
# Asked: 0.5 s on loopback. Here 0.05 to 0.15 s; five times as long on a machine that is busy.
FIRST_PAINT_S = 0.5
BUSY = 5

PASSWORD = "correct horse battery"


def _picture(person: Person, name: str) -> None:
    """Keep what is to be seen, light and dark, if pictures are asked for; else only look."""
    if os.environ.get("SHOAL_SCREENSHOTS") != "1":
        return
    for dark in (False, True):
        person.in_the_dark(dark)
        png = person.browser.get_screenshot_as_png()
        path = PICTURES / f"{name}-{'dark' if dark else 'light'}.webp"
        Image.open(io.BytesIO(png)).convert("RGB").save(path, quality=82, method=6)
        assert path.stat().st_size < MAX_PICTURE_BYTES
    person.in_the_dark(False)


def _first_paint_s(person: Person) -> float:
    """Return when the page first showed something, after its address was entered."""
    script = "return performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? null"
    for _ in range(200):
        found = person.browser.execute_script(script)
        if found is not None:
            return float(found) / 1000
    raise AssertionError("nothing was painted")


def _loaded_bytes(person: Person) -> int:
    """Return the size of the page and of all that it loaded, as if nothing was cached."""
    script = (
        "return performance.getEntries().filter(e => e.decodedBodySize)"
        ".reduce((sum, e) => sum + e.decodedBodySize, 0)"
    )
    return int(person.browser.execute_script(script))


def _install(folder: Path, cluster_id: str, instance_id: str) -> None:
    """Report the component as the cluster's set-up Job does."""
    database = Database(f"sqlite:///{folder}/console.db")
    now_s = unix_now()
    component = Component(cluster_id, instance_id, "0.4.0", "rrsa", 1, now_s, now_s)
    with Changes(database).by(Author("set-up job", "10.0.0.7", "R-1")) as change:
        clusters.report(change, component, installed=True)
    database.close()


def test_the_whole_story_of_the_page(person: Person, tmp_path: Path) -> None:
    _set_up(person)
    instance_id = _instance(person)
    _cluster(person)
    _rrsa_role(person)
    _deploy(person)
    _install(tmp_path, "c1a2b3c4d5", instance_id)
    _switch_off(person, instance_id)
    _look_around(person)
    errors = [
        entry["message"]
        for entry in person.browser.get_log("browser")  # type: ignore[no-untyped-call] # selenium has no types for it
        if entry["level"] == "SEVERE" and "status of 422" not in entry["message"]
    ]
    assert errors == []


def _set_up(person: Person) -> None:
    person.fill("Name", "alice")
    person.fill("Password", PASSWORD)
    person.fill("Password, once more", PASSWORD)
    person.press("Create administrator")
    assert "No instance yet" in person.text
    assert _first_paint_s(person) < FIRST_PAINT_S * BUSY


def _instance(person: Person) -> str:
    person.press("Create an instance")
    person.fill("Name", "team")
    person.fill("Region", "cn-hangzhou")
    person.fill("Registry behind it", "http://127.0.0.1:5000")
    person.press("Create instance")
    instance_id = person.browser.find_element(By.ID, "instance-id").text
    # The switch opens a dialog, which the Escape key closes without having done anything.
    person.press("Switch P2P Acceleration on", leaves=False)
    person.wait_for("Switch P2P Acceleration on?")
    _picture(person, "switch-on")
    person.browser.switch_to.active_element.send_keys(Keys.ESCAPE)
    person.wait_for_focus("p2p-switch")
    focused = person.browser.switch_to.active_element
    # And by the keyboard alone: Enter on the switch, Enter on the button that has the focus.
    focused.send_keys(Keys.ENTER)
    person.wait_for("Switch P2P Acceleration on?")
    person.mark_page()
    person.browser.switch_to.active_element.send_keys(Keys.ENTER)
    person.wait_until_left()
    assert "On since" in person.text
    person.press("Access control", within="main/ul")
    person.fill("VPC", "vpc-bp1edge")
    person.fill("vSwitch", "vsw-bp1edge")
    person.fill("Address", "192.168.1.20")
    person.press("Add VPC")
    _picture(person, "access-control")
    return instance_id


def _cluster(person: Person) -> None:
    person.go("/clusters/new")
    person.fill("Cluster ID", "c1a2b3c4d5")
    person.fill("Name", "edge-factory")
    person.fill("Region", "cn-hangzhou")
    person.fill("VPC", "vpc-bp1edge")
    person.fill("Kubernetes version", "1.28.3")
    person.press("Add cluster")
    person.fill("Pool ID", "np8b6aaa89e93a44")
    person.fill("Name", "line-1")
    person.fill("Nodes", "120")
    person.press("Save pool")
    person.fill("OIDC issuer", "https://oidc.example.com/c1a2b3c4d5")
    person.press("Enable RRSA")
    _picture(person, "cluster")


def _rrsa_role(person: Person) -> None:
    person.go("/access/roles/new")
    person.fill("Name", "edge-p2p")
    document = person.field("Who may assume it")
    document.send_keys("oops")
    person.wait_for("not JSON")
    _picture(person, "role")
    for _ in "oops":
        document.send_keys(Keys.BACKSPACE)
    person.wait_for("The document is well formed.")
    person.press("Create role")
    person.choose("Attach a policy", "ShoalP2PComponentAccess")
    person.press("Attach")


def _deploy(person: Person) -> None:
    person.go("/marketplace")
    person.press("Deploy")
    person.choose("Cluster", "edge-factory, 1.28.3")
    assert not person.field("rrsa.rrsaRoleARN").is_displayed()
    person.tick("RAM Roles for Service")
    role = person.field("rrsa.rrsaRoleARN")
    assert role.is_displayed()
    person.tick("team")
    person.press("Check and show values")
    assert "Enter the role that the component's pods assume." in person.text
    options = person.browser.find_elements(By.CSS_SELECTOR, "#role-arns option")
    person.fill("rrsa.rrsaRoleARN", str(options[0].get_attribute("value")))
    person.press("Check and show values")
    assert "Ready to install" in person.text
    assert "registryInstances" in person.browser.find_element(By.ID, "values").text
    _picture(person, "parameters")


def _switch_off(person: Person, instance_id: str) -> None:
    person.go(f"/instances/{instance_id}")
    assert "Accelerating" in person.text
    _picture(person, "overview")
    person.press("Switch P2P Acceleration off", leaves=False)
    person.wait_for("The component is still installed")
    _picture(person, "switch-off-refused")
    person.press("Leave it on", within="dialog", leaves=False)
    person.go("/clusters/c1a2b3c4d5")
    person.press("Forget the component for team")  # as after helm uninstall
    person.go(f"/instances/{instance_id}")
    person.press("Switch P2P Acceleration off", leaves=False)
    person.wait_for("Switch P2P Acceleration off?")
    person.press("OK, switch it off", within="dialog")
    assert "Off. Every pull goes to the registry" in person.text


def _look_around(person: Person) -> None:
    person.go("/audit")
    assert "SetInstanceP2PAcceleration" in person.text
    _picture(person, "audit")
    for path in ("/instances", "/clusters/c1a2b3c4d5", "/access/policies", "/administrators"):
        person.go(path)
        assert _first_paint_s(person) < FIRST_PAINT_S * BUSY, path
        assert _loaded_bytes(person) < MAX_PAGE_BYTES, path
        assert _unnamed(person) == [], path


def _unnamed(person: Person) -> list[str]:
    """Return the controls that a screen reader would have no name for, and ids that repeat."""
    script = """
      const controls = "a, button, input:not([type=hidden]), select, textarea";
      const unnamed = [...document.querySelectorAll(controls)]
        .filter(e => !(e.textContent.trim() || e.getAttribute("aria-label") || e.labels?.length));
      const ids = [...document.querySelectorAll("[id]")].map(e => e.id);
      return [...unnamed.map(e => e.outerHTML), ...ids.filter((id, i) => ids.indexOf(id) !== i)];
    """
    return list(person.browser.execute_script(script))


def test_the_switch_is_usable_on_a_narrow_screen_without_scrolling_sideways(
    person: Person,
) -> None:
    _set_up(person)
    person.press("Create an instance")
    person.browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": 360, "height": 740, "deviceScaleFactor": 1, "mobile": True},
    )
    try:
        for path in ("/instances", "/instances/new", "/clusters/new", "/audit"):
            person.go(path)
            script = "return document.documentElement.scrollWidth - window.innerWidth"
            assert person.browser.execute_script(script) <= 0, path
    finally:
        person.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
