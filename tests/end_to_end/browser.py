"""Drives a headless Chromium over its debugging pipe (Chrome DevTools protocol). Standard library only."""
import base64
import fcntl
import itertools
import json
import os
import queue
import shutil
import subprocess
import tempfile
import threading
import time

TIMEOUT = 60  # seconds until a wait gives up; no test depends on how long things take below that

KEYS = {"Enter": 13, "Escape": 27, "Tab": 9, "ArrowUp": 38, "ArrowDown": 40, "Delete": 46, "F2": 113}


def find_chromium():
    """The path of a Chromium, or None."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if shutil.which(name):
            return shutil.which(name)
    return None


class Browser:
    """One process; pages in contexts of their own, each with an empty storage."""

    def __init__(self, path):
        self.profile = tempfile.mkdtemp(prefix="fathom_page_")
        # The browser reads commands from descriptor 3 and answers on 4. High numbers first, so that neither dup2 hits the other.
        pipes = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 20) for fd in (*os.pipe(), *os.pipe())]
        command_read, command_write, answer_read, answer_write = pipes

        def place_pipes():
            os.dup2(command_read, 3)
            os.dup2(answer_write, 4)

        self.process = subprocess.Popen(
            [path, "--headless=new", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-extensions",
             "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage", "--lang=en-US", "--force-color-profile=srgb",
             f"--user-data-dir={self.profile}", "about:blank"],
            pass_fds=(3, 4), preexec_fn=place_pipes, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(command_read)
        os.close(answer_write)
        self.write_end = os.fdopen(command_write, "wb", buffering=0)
        self.read_end = os.fdopen(answer_read, "rb", buffering=0)
        self.ids = itertools.count(1)
        self.lock = threading.Lock()
        self.answers = {}
        self.pages = {}
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        rest = b""
        while data := self.read_end.read(1 << 16):
            *messages, rest = (rest + data).split(b"\0")
            for message in map(json.loads, messages):
                if "id" in message:
                    self.answers.pop(message["id"]).put(message)
                elif message.get("sessionId") in self.pages:
                    self.pages[message["sessionId"]].event(message["method"], message["params"])

    def send(self, method, params=None, session=None):
        message = {"id": next(self.ids), "method": method, "params": params or {}}
        if session:
            message["sessionId"] = session
        answer = self.answers[message["id"]] = queue.Queue()
        with self.lock:
            self.write_end.write(json.dumps(message).encode() + b"\0")
        reply = answer.get(timeout=3 * TIMEOUT)
        if "error" in reply:
            raise RuntimeError(f"{method}: {reply['error']['message']}")
        return reply["result"]

    def open(self, url, **options):
        return Page(self, url, **options)

    def close(self):
        self.process.terminate()
        self.process.wait(TIMEOUT)
        self.write_end.close()
        self.read_end.close()
        shutil.rmtree(self.profile, ignore_errors=True)


class Page:
    """A tab. Complaints of the console (errors, warnings, refused loads) gather in self.complaints. beside: a page to share the
    storage with; before: code to run before the page's own."""

    def __init__(self, browser, url, width=1280, height=800, dark=False, language=None, beside=None, before=None):
        self.browser = browser
        self.complaints = []
        self.context = beside.context if beside else browser.send("Target.createBrowserContext")["browserContextId"]
        self.target = browser.send("Target.createTarget", {"url": "about:blank", "browserContextId": self.context})["targetId"]
        self.session = browser.send("Target.attachToTarget", {"targetId": self.target, "flatten": True})["sessionId"]
        browser.pages[self.session] = self
        for domain in ("Page", "Runtime", "Log", "DOM"):
            self.send(f"{domain}.enable")
        self.resize(width, height)
        self.media(dark)
        if language:
            agent = browser.send("Browser.getVersion")["userAgent"]
            self.send("Emulation.setUserAgentOverride", {"userAgent": agent, "acceptLanguage": language})
        if before:
            self.send("Page.addScriptToEvaluateOnNewDocument", {"source": before})
        self.go(url)

    def send(self, method, params=None):
        return self.browser.send(method, params, self.session)

    def event(self, method, params):
        if method == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.complaints.append(details.get("exception", {}).get("description", details["text"]))
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
            self.complaints.append(str([a.get("value", a.get("description")) for a in params["args"]]))
        elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.complaints.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")

    def close(self):
        self.browser.send("Target.closeTarget", {"targetId": self.target})

    def go(self, url):
        self.send("Page.navigate", {"url": url})
        self.wait("document.documentElement.dataset.ready === 'yes'")

    def reload(self):
        self.evaluate("document.documentElement.dataset.ready = 'old'")
        self.send("Page.reload")
        self.wait("document.documentElement.dataset.ready === 'yes'")

    def resize(self, width, height):
        self.send("Emulation.setDeviceMetricsOverride", {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False})

    def media(self, dark):
        self.send("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]})

    def evaluate(self, expression):
        result = self.send("Runtime.evaluate", {"expression": expression, "awaitPromise": True, "returnByValue": True, "userGesture": True})
        if "exceptionDetails" in result:
            raise AssertionError(f"{expression}: {result['exceptionDetails'].get('exception', {}).get('description', result)}")
        return result["result"].get("value")

    def wait(self, expression):
        """Until the expression is true; errors count as not yet (the page may be loading)."""
        end = time.monotonic() + TIMEOUT
        seen = None
        while time.monotonic() < end:
            try:
                seen = self.evaluate(expression)
            except (AssertionError, RuntimeError) as error:
                seen = error
            if seen is True:
                return
            time.sleep(0.02)
        raise AssertionError(f"never true: {expression} (last: {seen}); page says: {self.evaluate('document.body.innerText')[:1500]}")

    def wait_text(self, selector, part):
        self.wait(f"[...document.querySelectorAll({json.dumps(selector)})].some((e) => e.innerText.includes({json.dumps(part)}))")

    def text(self, selector):
        return self.evaluate(f"document.querySelector({json.dumps(selector)})?.innerText")

    def count(self, selector):
        return self.evaluate(f"document.querySelectorAll({json.dumps(selector)}).length")

    def click(self, selector):
        """A real click in the middle of the last match, once that is what lies there: something may still be moving above it."""
        quoted = json.dumps(selector)
        find = f"""Promise.race([new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))),
                                 new Promise((done) => setTimeout(done, 300))]).then(() => {{
          const node = [...document.querySelectorAll({quoted})].at(-1);
          if (!node) return {{hit: "no such element"}};
          node.scrollIntoView({{block: "nearest"}});
          const box = node.getBoundingClientRect();
          const x = box.left + box.width / 2, y = box.top + box.height / 2;
          const hit = document.elementFromPoint(x, y);
          return {{x, y, ok: node === hit || node.contains(hit), hit: hit?.outerHTML.slice(0, 200)}};
        }})"""
        end = time.monotonic() + TIMEOUT
        # Two frames (a tab that is hidden draws none, hence the timer) let the layout come to rest.
        while not (spot := self.evaluate(find)).get("ok"):
            if time.monotonic() > end:
                raise AssertionError(f"{selector} is covered: {spot['hit']}")
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            self.send("Input.dispatchMouseEvent", {"type": kind, "x": spot["x"], "y": spot["y"], "button": "left", "clickCount": 1})

    def type(self, text):
        self.send("Input.insertText", {"text": text})

    def key(self, name, ctrl=False, shift=False):
        code = KEYS.get(name) or ord(name.upper())
        event = {"key": name, "code": name if name in KEYS else f"Key{name.upper()}", "windowsVirtualKeyCode": code,
                 "modifiers": 2 * ctrl + 8 * shift}
        text = "\r" if name == "Enter" else name if len(name) == 1 and not ctrl else None
        self.send("Input.dispatchKeyEvent", {"type": "keyDown", **event, **({"text": text} if text else {})})
        self.send("Input.dispatchKeyEvent", {"type": "keyUp", **event})

    def set_file(self, selector, path):
        root = self.send("DOM.getDocument")["root"]["nodeId"]
        node = self.send("DOM.querySelector", {"nodeId": root, "selector": selector})["nodeId"]
        self.send("DOM.setFileInputFiles", {"nodeId": node, "files": [str(path)]})

    def download_to(self, folder):
        self.browser.send("Browser.setDownloadBehavior", {"behavior": "allow", "browserContextId": self.context, "downloadPath": str(folder)})

    def screenshot(self, path):
        with open(path, "wb") as file:
            file.write(base64.b64decode(self.send("Page.captureScreenshot")["data"]))
