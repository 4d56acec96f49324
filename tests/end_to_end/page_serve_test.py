#!/usr/bin/env python3
"""The chat page and `fathom serve` together: a real Chromium, the demo model, nothing scripted.

usage: page_serve_test.py FATHOM_BINARY

Leaves with 77 (skipped) where no Chromium is installed. FATHOM_SCREENSHOTS names a folder for pictures of what it saw."""
import json
import os
import pathlib
import sys
import unittest

from browser import find_chromium
from page_case import DONE, BrowserCase
from serving import Server, free_port

BINARY = ""
SKIPPED = 77
CHAT = "/v1/chat/completions"
GREEDY = {"temperature": "0", "max_tokens": "40"}
STORED = """new Promise((done) => { indexedDB.open("fathom").onsuccess = (event) =>
  event.target.result.transaction("messages").objectStore("messages").getAll().onsuccess = (request) =>
    done(request.target.result.filter((m) => m.role === "assistant").map((m) => m.content)); })"""


class ServeCase(BrowserCase):
    FLAGS = ()

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.server = Server(BINARY, *cls.FLAGS)
        cls.server.__enter__()
        cls.url = cls.server.url + "/"

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        cls.server.__exit__()

    def choose(self, page, **values):
        """In the settings, as a user does."""
        page.click("#model-chip")
        for name, value in values.items():
            page.click(f"#set-{name}")
            page.evaluate("document.activeElement.select()")
            page.type(value)
        page.key("Escape")
        page.wait("!document.querySelector('dialog')")

    def answer_of(self, messages, **fields):
        body = {"messages": messages, "temperature": 0, "max_tokens": 40, **fields}
        return self.server.post(CHAT, body)["choices"][0]["message"]["content"]

    def picture(self, page, name):
        folder = os.environ.get("FATHOM_SCREENSHOTS")
        if folder:
            page.screenshot(pathlib.Path(folder, f"{name}.png"))


def user(text):
    return {"role": "user", "content": text}


class Conversation(ServeCase):
    def test_ask_regenerate_edit_and_come_back(self):
        page = self.open()
        page.wait_text("#model-chip", "demo")
        self.picture(page, "welcome")
        self.choose(page, **GREEDY)
        self.ask(page, "The old house")
        first = self.answer_of([user("The old house")])
        self.assertEqual(page.evaluate(STORED), [first])
        page.wait_text(".stats", "40 tokens")
        page.wait_text(".stats", "tokens/s")
        page.wait_text(".note", "token limit")
        self.ask(page, "And then?")
        second = self.answer_of([user("The old house"), {"role": "assistant", "content": first}, user("And then?")])
        self.assertEqual(page.evaluate(STORED)[1:], [second])
        page.wait_text(".stats", "prompt ")
        page.wait_text(".used", "of 4,096 tokens")
        self.picture(page, "two_turns")

        page.click("[data-t-label=continue]")
        page.wait(f"document.querySelectorAll('.note').length === 2 && ({STORED}).then((all) => all[1].length > {len(second)})")
        page.wait(DONE)
        goes_on = self.answer_of([user("The old house"), {"role": "assistant", "content": first}, user("And then?"),
                                  {"role": "assistant", "content": second}], continue_final_message=True, add_generation_prompt=False)
        self.assertEqual(page.evaluate(STORED)[1:], [second + goes_on])

        page.click("[data-t-label=regenerate]")
        page.wait_text(".variants", "2/2")
        page.wait(DONE)
        self.assertEqual(page.evaluate(STORED)[2:], [second])

        page.evaluate("document.querySelector('.user [data-t-label=edit]').click()")
        page.wait("document.activeElement.matches('textarea.edit')")
        page.evaluate("document.activeElement.select()")
        page.type("The sea")
        page.key("Enter")
        page.wait_text(".user .text", "The sea")
        page.wait(DONE)
        self.assertEqual(page.evaluate(STORED)[3:], [self.answer_of([user("The sea")])])

        shown = self.answers(page)
        page.reload()
        page.wait("document.querySelectorAll('.message').length === 2")
        self.assertEqual(self.answers(page), shown)
        page.click(".user [data-t-label=previous_variant]")
        page.wait_text(".user .text", "And then?")
        self.assertEqual(page.count(".message"), 4)

    def test_stop_ends_the_request_and_keeps_the_text(self):
        page = self.open()
        self.choose(page, max_tokens="3500")
        left = self.server.metric("fathom:clients_left_total")
        page.click("#prompt")
        page.type("Tell me a long story")
        page.key("Enter")
        page.wait("document.querySelector('.assistant .text')?.innerText.length > 60")
        self.picture(page, "streaming")
        page.click("#stop")
        page.wait(DONE)
        page.wait_text(".note", "Stopped.")
        self.server.wait_for_load(server_load=0, cache_pages_used=0)
        self.assertEqual(self.server.metric("fathom:clients_left_total"), left + 1)
        kept = page.evaluate(STORED)
        self.assertGreater(len(kept[0]), 60)
        page.reload()
        page.wait_text(".note", "Stopped.")
        self.assertEqual(page.evaluate(STORED), kept)

    def test_settings_hold_the_answer_to_a_schema_and_show_tokens(self):
        schema = {"type": "object", "properties": {"name": {"type": "string", "maxLength": 6}}, "required": ["name"], "additionalProperties": False}
        page = self.open()
        page.click("#model-chip")
        page.evaluate("(() => { const put = (id, value) => { const e = document.getElementById(id); e.value = value; e.dispatchEvent(new Event('change')); };"
                      "put('set-format', 'schema'); document.getElementById('set-logprobs').click(); })()")
        page.click("#set-schema")
        page.type(json.dumps(schema))
        self.picture(page, "settings")
        page.key("Escape")
        self.ask(page, "Who?")
        stored, = page.evaluate(STORED)
        self.assertEqual(list(json.loads(stored)), ["name"])
        page.click("[data-t-label=show_tokens]")
        page.wait("document.querySelectorAll('.token').length > 3")
        self.assertIn("%", page.evaluate("document.querySelector('.token').title"))
        page.click("[data-t-label=raw_prompt]")
        page.wait_text(".raw", "User: Who?")

    def test_status(self):
        page = self.open()
        self.choose(page, **GREEDY)
        self.ask(page, "The old house")
        page.evaluate("document.querySelector('.bottom .row').click()")
        page.wait("document.querySelector('.plot .line')?.getAttribute('d') !== ''")
        page.wait("Number(document.querySelector('#tile-requests_done dd').innerText) >= 1")
        page.wait("document.querySelector('#tile-median_first_token dd').innerText.includes('s')")
        page.wait("document.querySelector('#tile-cache_use dd').innerText.includes('%')")
        self.picture(page, "status")

    def test_chinese_on_a_phone_in_the_dark(self):
        page = self.open(width=360, height=740, language="zh-CN", dark=True)
        page.evaluate("localStorage.setItem('fathom.settings', '{\"temperature\": \"0\", \"max_tokens\": \"60\"}')")
        page.reload()
        self.assertEqual(page.evaluate("document.getElementById('prompt').placeholder"), "输入消息")
        self.ask(page, "话说宋江")
        stored, = page.evaluate(STORED)
        self.assertEqual(stored, self.answer_of([user("话说宋江")], max_tokens=60))
        self.assertNotIn("\ufffd", stored[:-1])
        self.assertEqual(page.evaluate("document.documentElement.scrollWidth <= 360"), True)
        self.picture(page, "phone")
        page.click("[data-t-label=toggle_list]")
        page.wait("document.getElementById('sidebar').getBoundingClientRect().left === 0")
        self.picture(page, "phone_list")

    def test_the_server_sends_the_strict_policy(self):
        page = self.open()
        self.expected = ["Content Security Policy"]
        page.evaluate("document.head.append(Object.assign(document.createElement('script'), {textContent: 'window.inline = 1'}))")
        page.evaluate("fetch('https://example.com/').catch(() => {})")
        self.assertIsNone(page.evaluate("window.inline ?? null"))
        self.assertGreaterEqual(sum("Content Security Policy" in line for line in page.complaints), 2)


class Trouble(BrowserCase):
    def test_a_key_a_full_queue_and_a_server_that_goes(self):
        port = free_port()
        flags = ("--api-key", "secret", "--max-num-seqs", 1, "--max-queue", 0)
        with Server(BINARY, *flags, port=port) as server:
            self.url = server.url + "/"
            self.expected = ["401", "429", "503", "ERR_CONNECTION_REFUSED"]
            page = self.open(before="localStorage.setItem('fathom.settings', '{\"max_tokens\": \"20\"}')")
            page.wait_text("#model-chip", "API key needed")
            page.click("#model-chip")
            self.give_key(page, "secret")
            page.wait_text("#model-chip", "demo")
            held, connection = server.send("POST", "/v1/completions", {"prompt": "x", "max_tokens": 4000, "ignore_eos": True, "stream": True},
                                           {"X-API-Key": "secret"})
            held.read(50)
            self.ask(page, "Hello")
            page.wait_text(".problem", "The server is busy.")
            self.picture(page)
            held.close()
            connection.close()
        self.ask(page, "Still there?")
        page.wait_text(".problem", "The server cannot be reached.")
        page.wait_text("#model-chip", "No connection")
        with Server(BINARY, *flags, port=port):
            page.evaluate("[...document.querySelectorAll('.problem button')].at(-1).click()")
            page.wait(f"document.querySelectorAll('.problem').length === 1 && {DONE}")

    def picture(self, page):
        ServeCase.picture(self, page, "busy")


if __name__ == "__main__":
    BINARY = os.path.abspath(sys.argv.pop(1))
    if find_chromium() is None:
        print("page_serve_test: skipped, no Chromium is installed (Debian: apt-get install chromium)")
        sys.exit(SKIPPED)
    unittest.main(verbosity=2)
