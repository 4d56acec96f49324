"""What the chat page's tests share: a browser per class, a server and a console check per test."""
import json
import unittest

from browser import Browser, find_chromium
from mock_server import MockServer

DONE = "document.querySelector('.message.assistant') !== null && !document.querySelector('.streaming, #stop:not([hidden])')"


class BrowserCase(unittest.TestCase):
    """url: of the page, set by the class that has the server."""

    @classmethod
    def setUpClass(cls):
        cls.browser = Browser(find_chromium())

    @classmethod
    def tearDownClass(cls):
        cls.browser.close()

    def setUp(self):
        self.expected = []  # parts of complaints that the test provokes

    def open(self, **options):
        page = self.browser.open(self.url, **options)
        self.addCleanup(self.finish, page)
        return page

    def finish(self, page):
        page.close()
        self.assertEqual([line for line in page.complaints if not any(part in line for part in self.expected)], [])

    def ask(self, page, text):
        page.click("#prompt")
        page.type(text)
        page.key("Enter")
        page.wait(f"[...document.querySelectorAll('.user .text')].at(-1)?.innerText === {json.dumps(text)}")
        page.wait(DONE)

    def give_key(self, page, key):
        page.click("#set-api-key")
        page.type(key)
        page.key("Escape")

    def answers(self, page):
        return page.evaluate("[...document.querySelectorAll('.assistant .text')].map((e) => e.innerText)")


class Case(BrowserCase):
    """Against scripted answers."""

    def setUp(self):
        super().setUp()
        self.server = MockServer()
        self.url = self.server.url

    def tearDown(self):
        self.server.stop()
