#!/usr/bin/env python3
"""The chat page as a user meets it: a real Chromium against a server with scripted answers (mock_server.py).

Leaves with 77 (skipped) where no Chromium is installed. Every test also fails on anything the browser's console complains of,
refusals of the content policy included, other than what it names as expected."""
import json
import pathlib
import sys
import tempfile
import time
import unittest

from browser import Browser, find_chromium
from mock_server import MockServer

SKIPPED = 77
DONE = "document.querySelector('.message.assistant') !== null && !document.querySelector('.streaming, #stop:not([hidden])')"


class Case(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.browser = Browser(find_chromium())

    @classmethod
    def tearDownClass(cls):
        cls.browser.close()

    def setUp(self):
        self.server = MockServer()
        self.expected = []  # parts of complaints that the test provokes

    def tearDown(self):
        self.server.stop()

    def open(self, **options):
        page = self.browser.open(self.server.url, **options)
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

    def answers(self, page):
        return page.evaluate("[...document.querySelectorAll('.assistant .text')].map((e) => e.innerText)")


class Chat(Case):
    def test_an_answer_streams_and_says_how_it_went(self):
        page = self.open()
        self.ask(page, "hello there")
        self.assertEqual(self.answers(page), ["You said: hello there"])
        page.wait_text(".stats", "6 tokens")
        page.wait_text(".stats", "prompt 11 (5 from cache)")
        page.wait_text(".stats", "demo-model")
        self.assertEqual(page.text(".used"), "17 of 4,096 tokens")
        body = self.server.requests[0]
        self.assertEqual(body, {"model": "demo-model", "messages": [{"role": "user", "content": "hello there"}], "stream": True,
                                "stream_options": {"include_usage": True}})
        self.ask(page, "again")
        self.assertEqual([m["content"] for m in self.server.requests[1]["messages"]], ["hello there", "You said: hello there", "again"])

    def test_text_shows_before_the_answer_ends_and_stop_keeps_it(self):
        page = self.open()
        page.type("slow one")
        page.key("Enter")
        page.wait_text(".assistant .text", "word word word")
        page.wait_text(".stats", "tokens/s")
        page.click("#stop")
        page.wait(DONE)
        page.wait_text(".note", "Stopped.")
        self.assertTrue(self.server.aborted.wait(20), "the server never saw the connection close")
        kept = self.answers(page)[0]
        self.assertIn("word word", kept)
        page.reload()
        page.wait_text(".assistant .text", "word word")
        self.assertEqual(self.answers(page)[0], kept)

    def test_continue_sends_the_unfinished_answer_and_appends(self):
        page = self.open()
        self.ask(page, "limit")
        page.wait_text(".note", "token limit")
        page.click("[data-t-label=continue]")
        page.wait_text(".assistant .text", "A short part and here is the rest.")
        body = self.server.requests[1]
        self.assertEqual(body["messages"][-1], {"role": "assistant", "content": "A short part"})
        self.assertIs(body["continue_final_message"], True)
        self.assertIs(body["add_generation_prompt"], False)
        self.assertEqual(page.count(".message"), 2)

    def test_regenerate_keeps_both_variants(self):
        page = self.open()
        self.ask(page, "hello")
        page.click("[data-t-label=regenerate]")
        page.wait_text(".variants", "2/2")
        page.wait(DONE)
        self.assertEqual(len(self.server.requests), 2)
        self.assertEqual(self.server.requests[0], self.server.requests[1])
        page.click("[data-t-label=previous_variant]")
        page.wait_text(".variants", "1/2")
        page.reload()
        page.wait_text(".variants", "1/2")

    def test_an_edited_question_is_a_branch_and_the_old_one_stays(self):
        page = self.open()
        self.ask(page, "first")
        self.ask(page, "second")
        page.evaluate("document.querySelector('.user [data-t-label=edit]').click()")
        page.wait("document.activeElement.matches('textarea.edit')")
        page.evaluate("document.activeElement.select()")
        page.type("changed")
        page.key("Enter")
        page.wait_text(".assistant .text", "You said: changed")
        page.wait(DONE)
        self.assertEqual(self.answers(page), ["You said: changed"])
        self.assertEqual(len(self.server.requests[2]["messages"]), 1)
        page.click(".user [data-t-label=previous_variant]")
        page.wait_text(".user .text", "second")
        self.assertEqual(self.answers(page), ["You said: first", "You said: second"])

    def test_a_running_answer_goes_on_while_another_chat_is_open(self):
        page = self.open()
        page.type("slow one")
        page.key("Enter")
        page.wait_text(".assistant .text", "word")
        page.click("#new")
        self.ask(page, "other")
        self.assertEqual(self.answers(page), ["You said: other"])
        page.click(".entry.busy .open")
        page.wait_text(".assistant .text", "word word")
        page.click("#stop")
        page.wait(DONE)

    def test_an_answer_cut_by_closing_the_page_is_offered_to_be_continued(self):
        page = self.open()
        page.type("slow one")
        page.key("Enter")
        page.wait_text(".assistant .text", "word")
        page.wait("new Promise((done) => { indexedDB.open('fathom').onsuccess = (e) => { e.target.result.transaction('messages').objectStore('messages')"
                  ".getAll().onsuccess = (r) => done(r.target.result.some((m) => m.content.includes('word'))); }; })")
        page.reload()
        page.wait_text(".problem", "before the answer was complete")
        self.assertIn("word", self.answers(page)[0])

    def test_settings_reach_the_request_and_wrong_ones_do_not(self):
        page = self.open()
        page.click("#model-chip")
        page.wait("document.querySelectorAll('#set-model option').length === 3")
        page.evaluate("""(() => {
          const put = (id, value, type = "input") => { const e = document.getElementById("set-" + id); e.value = value; e.dispatchEvent(new Event(type, {bubbles: true})); };
          put("model", "other-model", "change"); put("system", "Be brief."); put("temperature", "0.5"); put("top_p", "0.9"); put("top_k", "40");
          put("max_tokens", "64"); put("seed", "7"); put("stop", "END\\n\\\\n\\\\n"); put("min_p", "3"); put("format", "schema", "change"); put("schema", '{"type": "object"}');
        })()""")
        self.assertEqual(page.evaluate("document.getElementById('set-min_p').ariaInvalid"), "true")
        page.wait_text(".wrong", "A number from 0 to 1")
        page.key("Escape")
        self.ask(page, "hello")
        body = self.server.requests[0]
        self.assertEqual(body["messages"][0], {"role": "system", "content": "Be brief."})
        want = {"model": "other-model", "temperature": 0.5, "top_p": 0.9, "top_k": 40, "max_tokens": 64, "seed": 7, "stop": ["END", "\n\n"],
                "response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": {"type": "object"}}}}
        self.assertEqual({name: body.get(name) for name in want}, want)
        self.assertNotIn("min_p", body)
        page.wait_text(".used", "of 1,000 tokens")

    def test_token_probabilities_and_the_raw_prompt(self):
        page = self.open()
        page.evaluate("localStorage.setItem('fathom.settings', '{\"logprobs\": true}')")
        page.reload()
        self.ask(page, "hello")
        self.assertEqual(self.server.requests[0]["top_logprobs"], 5)
        page.click("[data-t-label=show_tokens]")
        self.assertEqual(page.text(".tokens"), "You said: hello")
        self.assertIn('"other" 13.5 %', page.evaluate("document.querySelector('.token').title"))
        page.click("[data-t-label=raw_prompt]")
        page.wait_text(".raw", "<user>hello<assistant>You said: hello<assistant>")


class Safety(Case):
    def test_hostile_answers_stay_text(self):
        page = self.open()
        self.ask(page, "hostile")
        page.wait_text(".assistant .text", "<script>window.hacked = 1</script>")
        self.assertIsNone(page.evaluate("window.hacked ?? null"))
        found = page.evaluate("document.querySelectorAll('#thread :is(script, img, iframe, style, [onerror], [onload], [style])').length")
        self.assertEqual(found, 0)
        links = page.evaluate("[...document.querySelectorAll('#thread a')].map((a) => [a.getAttribute('href'), a.rel])")
        self.assertEqual(links, [["https://evil.example/x.png", "noopener noreferrer nofollow"],
                                 ["https://example.com/a?b=1", "noopener noreferrer nofollow"],
                                 ["https://evil.example/", "noopener noreferrer nofollow"]])
        page.wait_text(".assistant .text", "[click](javascript:window.hacked=3)")

    def test_hostile_questions_titles_and_imports_stay_text(self):
        page = self.open()
        self.ask(page, "<img src=x onerror=window.hacked=1>")
        page.wait_text(".entry .title", "<img src=x onerror=window.hacked=1>")
        self.assertEqual(page.count("#thread img, .list img"), 0)
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder) / "import.json"
            file.write_text(json.dumps({"format": "fathom-conversations", "version": 1, "conversations": [
                {"head": {"title": "<b>bad</b>", "choice": {"__proto__": "x"}},
                 "messages": [{"id": "a", "parent": "root", "role": "user", "content": "imported"},
                              {"id": "b", "parent": "a", "role": "assistant", "content": HOSTILE_LINK, "error": {"kind": "x"}, "logprobs": 3}]}]}))
            page.set_file("input[type=file]", file)
            page.wait_text("#toast", "Chats imported: 1")
            page.wait_text(".entry .title", "<b>bad</b>")
            page.evaluate("[...document.querySelectorAll('.open')].find((e) => e.innerText === '<b>bad</b>').click()")
            page.wait_text(".assistant .text", HOSTILE_LINK)
            self.assertEqual(page.count("#thread a"), 0)
            file.write_text('{"format": "fathom-conversations", "conversations": [{"head": {"title": "x"}, "messages": [{"id": "a", "parent": "a"}]}]}')
            page.set_file("input[type=file]", file)
            page.wait_text("#toast", "Nothing was changed")
            self.assertEqual(page.count(".entry"), 2)

    def test_the_policy_refuses_what_the_page_does_not_do(self):
        page = self.open()
        self.expected = ["Content Security Policy"]
        page.evaluate("document.head.append(Object.assign(document.createElement('script'), {textContent: 'window.inline = 1'}))")
        self.assertIsNone(page.evaluate("window.inline ?? null"))
        self.assertTrue(any("Content Security Policy" in line for line in page.complaints))


HOSTILE_LINK = "[x](javascript:alert(1))"


class Markdown(Case):
    """Source and the HTML of the nodes that the page builds for it."""
    CASES = [
        ("plain *em* **strong** ***both*** ~~del~~ `a*b`", "<p>plain <em>em</em> <strong>strong</strong> <em><strong>both</strong></em> <del>del</del> <code>a*b</code></p>"),
        ("snake_case_name and 2 * 3 * 4 and \\*no\\*", "<p>snake_case_name and 2 * 3 * 4 and *no*</p>"),
        ("**注意：**请看", "<p><strong>注意：</strong>请看</p>"),
        ("**open and *mixed** up", "<p>*<em>open and <em>mixed</em></em> up</p>"),
        ("one\ntwo", "<p>one<br>two</p>"),
        ("# A\n## B #\n####### C", '<h3 class="level-1">A</h3><h4 class="level-2">B</h4><p>####### C</p>'),
        ("- a\n- b\n  - c\n\n1) x\n2) y", "<ul><li>a</li><li>b<ul><li>c</li></ul></li></ul><ol><li>x</li><li>y</li></ol>"),
        ("3. a\n\n   more\n4. b", '<ol start="3"><li><p>a</p><p>more</p></li><li><p>b</p></li></ol>'),
        ("> a\nb\n> > c", "<blockquote><p>a<br>b</p><blockquote><p>c</p></blockquote></blockquote>"),
        ("a | b\n:-: | -\nx\\|y | `z`\n1", '<div class="table" tabindex="0"><table><thead><tr><th class="center">a</th><th>b</th></tr></thead><tbody>'
         '<tr><td class="center">x|y</td><td><code>z</code></td></tr></tbody></table></div><p>1</p>'),
        ("---\n***", "<hr><hr>"),
        ("costs $5 and $6, but $x^2$ and \\(y\\)", '<p>costs $5 and $6, but <span class="math">x^2</span> and <span class="math">y</span></p>'),
        ("$$\na+b\n$$", '<div class="math block">a+b</div>'),
        ("&lt;b&gt; &amp;amp; &#65; &bogus; <b>", "<p>&lt;b&gt; &amp;amp; A &amp;bogus; &lt;b&gt;</p>"),
        ("[a](http://x.y \"t\") [b] [c](d) [](e", "<p>LINK[http://x.y/|a] [b] [c](d) [](e</p>"),
        ("see https://x.y/a_b(c), ok <https://z.w>", "<p>see LINK[https://x.y/a_b(c)|https://x.y/a_b(c)], ok LINK[https://z.w/|https://z.w]</p>"),
        ("[a [b](http://c.d)](http://e.f)", "<p>[a LINK[http://c.d/|b]](LINK[http://e.f/|http://e.f])</p>"),
        ("[x](java\tscript:1) [x](vbscript:1) [x](//host) [x](blob:1) [x](file:///etc) [x](mailto:a@b.c)",
         "<p>[x](java\tscript:1) [x](vbscript:1) [x](//host) [x](blob:1) [x](file:///etc) LINK[mailto:a@b.c|x]</p>"),
        ("", ""),
        ("``` \n<b>\n", 'CODE[|&lt;b&gt;\n]'),
        ("~~~js\nlet a = 1; // x\n~~~\nend", 'CODE[js|<span class="keyword">let</span> a = <span class="number">1</span>; <span class="comment">// x</span>]<p>end</p>'),
        ("- [x] done\n- [ ] open", '<ul><li class="task"><input type="checkbox" disabled="" checked="">done</li>'
         '<li class="task"><input type="checkbox" disabled="">open</li></ul>'),
    ]
    SHORTEN = """(html) => html
      .replace(/<a href="([^"]*)" title="[^"]*" target="_blank" rel="noopener noreferrer nofollow">(.*?)<\\/a>/g, "LINK[$1|$2]")
      .replace(/<div class="code"><div class="code-bar"><span>(.*?)<\\/span>.*?<pre tabindex="0"><code>([^]*?)<\\/code><\\/pre><\\/div>/g, "CODE[$1|$2]")"""

    def test_cases(self):
        page = self.open()
        for source, want in self.CASES:
            with self.subTest(source):
                got = page.evaluate(f"""import("./markdown.js").then(({{draw_markdown}}) => {{
                  const box = document.createElement("div"); draw_markdown(box, {json.dumps(source)}); return ({self.SHORTEN})(box.innerHTML); }})""")
                self.assertEqual(got, want)

    def test_an_answer_drawn_while_it_grows_equals_the_whole(self):
        page = self.open()
        got = page.evaluate("""Promise.all([import("./markdown.js"), fetch("app.js").then((r) => r.text())]).then(([{draw_markdown}, code]) => {
          const text = "# T\\n\\n- a\\n  - b **c\\n\\n|a|b|\\n|-|-|\\n|1|2|\\n\\n```js\\n" + code.slice(0, 300) + "\\n```\\n> q\\n\\n1. x\\n\\n   y\\n\\nend *of* it";
          const grown = document.createElement("div"), whole = document.createElement("div");
          for (let n = 1; n <= text.length; n += 3) draw_markdown(grown, text.slice(0, n));
          draw_markdown(grown, text); draw_markdown(whole, text);
          return grown.innerHTML === whole.innerHTML && whole.children.length === 7 ? "same" : grown.innerHTML; })""")
        self.assertEqual(got, "same")

    def test_text_made_to_be_slow_or_deep_is_neither(self):
        """Each would take hours, or overflow the stack, with a step that is quadratic or unbounded in depth."""
        page = self.open()
        for unit in ("*a ", "**a*", "_a_ __", "[", "[a](", "![[", "`a ``", "$a ", "\\\\(", "<br", "> ", "- ", "  - a\\n", "|", "|-", "a|b\\n-|-\\n", "https://a.b/(", "*" * 500 + "a",
                     "&#", "~~", "#", "1. ", "```\\n", "$$\\n"):
            depth = page.evaluate(f"""import("./markdown.js").then(({{draw_markdown}}) => {{
              const box = document.createElement("div"); draw_markdown(box, "{unit}".repeat(Math.ceil(100000 / {len(unit)})));
              const depths = new Map([[box, 0]]);
              for (const node of box.querySelectorAll("*")) depths.set(node, depths.get(node.parentNode) + 1);
              return [...depths.values()].reduce((a, b) => Math.max(a, b)); }})""")
            self.assertLess(depth, 100, unit)


class Errors(Case):
    def test_a_missing_key_is_asked_for_and_kept_for_the_tab_only(self):
        self.server.api_key = "secret"
        self.expected = ["401"]
        page = self.open()
        page.wait_text("#model-chip", "API key needed")
        self.ask(page, "hello")
        page.wait_text(".problem", "The server wants a valid API key.")
        page.click(".problem button:first-child")
        page.click("#set-api-key")
        page.type("secret")
        page.key("Escape")
        page.wait_text("#model-chip", "demo-model")
        page.click(".problem button:last-child")
        page.wait_text(".assistant .text", "You said: hello")
        self.assertEqual(page.count(".message"), 2)
        self.assertEqual(page.evaluate("JSON.stringify({...localStorage}).includes('secret')"), False)
        page.reload()
        page.wait_text("#model-chip", "demo-model")

    def test_busy_refused_and_broken_answers_are_told_and_lose_nothing(self):
        self.expected = ["429", "400", "ERR_INCOMPLETE_CHUNKED_ENCODING"]
        page = self.open()
        for question, words in (("busy", "The server is busy. Try again in"), ("refuse", "temperature is 9, the limit is 2"),
                                ("break", "connection broke before"), ("fault", "the engine stopped")):
            self.ask(page, question)
            page.wait_text("li:last-of-type .problem, .problem", words)
        self.assertEqual(self.answers(page), ["", "", "The first half", "Half of it"])
        page.reload()
        page.wait_text(".problem", "the engine stopped")
        self.assertEqual(page.count(".problem"), 4)
        self.assertEqual(self.answers(page), ["", "", "The first half", "Half of it"])

    def test_a_server_that_is_gone_and_comes_back(self):
        self.expected = ["ERR_CONNECTION_REFUSED"]
        page = self.open()
        port = self.server.server_address[1]
        self.server.stop()
        self.ask(page, "hello")
        page.wait_text(".problem", "The server cannot be reached.")
        page.wait_text("#model-chip", "No connection")
        self.server = MockServer(port)
        page.click(".problem button")
        page.wait_text(".assistant .text", "You said: hello")

    def test_a_schema_that_is_no_json_is_told(self):
        page = self.open()
        page.evaluate("localStorage.setItem('fathom.settings', JSON.stringify({format: 'schema', schema: '{'}))")
        page.reload()
        self.ask(page, "hello")
        page.wait_text(".problem", "The schema in the settings is not JSON.")
        page.wait("document.getElementById('announcer').textContent === 'The schema in the settings is not JSON.'")
        self.assertEqual(self.server.requests, [])

    def test_a_full_context_offers_to_leave_out_the_older_half(self):
        self.expected = ["400"]
        page = self.open()
        self.ask(page, "one")
        self.ask(page, "two")
        self.ask(page, "too long")
        page.wait_text(".problem", "longer than the model's context")
        page.click(".problem button:first-child")
        page.wait_text(".assistant .text", "You said: too long")
        self.assertEqual([m["content"] for m in self.server.requests[-1]["messages"]], ["too long"])
        self.assertEqual(page.count(".message"), 6)


class Conversations(Case):
    def test_reload_rename_search_delete_undo(self):
        page = self.open()
        self.ask(page, "about whales")
        page.click("#new")
        self.ask(page, "about ships")
        page.reload()
        page.wait_text(".assistant .text", "You said: about ships")
        self.assertEqual(page.evaluate("[...document.querySelectorAll('.entry .title')].map((e) => e.innerText)"), ["about ships", "about whales"])
        page.click(".entry.current [data-t-label=rename]")
        page.type("Fleet")
        page.key("Enter")
        page.wait_text(".entry.current", "Fleet")
        self.assertEqual(page.text("#bar h1"), "Fleet")
        page.click("#search")
        page.type("SAID: about wh")
        page.wait_text(".entry mark", "said: about wh")
        page.key("ArrowDown")
        page.key("Enter")
        page.wait_text(".message.found .text", "You said: about whales")
        page.click("#search")
        page.key("Escape")
        page.click(".entry.current [data-t-label=delete]")
        page.wait("document.querySelectorAll('.entry').length === 1")
        self.assertEqual(page.count(".message"), 0)
        page.click("#toast .link")
        page.wait_text(".assistant .text", "You said: about whales")
        page.reload()
        page.wait("document.querySelectorAll('.entry').length === 2")

    def test_an_export_comes_back_with_its_branches(self):
        page = self.open()
        self.ask(page, "hello")
        page.click("[data-t-label=regenerate]")
        page.wait_text(".variants", "2/2")
        page.wait(DONE)
        with tempfile.TemporaryDirectory() as folder:
            page.download_to(folder)
            page.evaluate("[...document.querySelectorAll('.bottom .row')].at(-1).click()")
            end = time.monotonic() + 20
            while not (files := list(pathlib.Path(folder).glob("fathom-*.json"))) and time.monotonic() < end:
                time.sleep(0.02)
            other = self.open()
            other.set_file("input[type=file]", files[0])
            other.wait("document.querySelectorAll('.entry').length === 1")
            other.click(".entry .open")
            other.wait_text(".variants", "2/2")
            self.assertEqual(self.answers(other), ["You said: hello"])

    def test_two_tabs_see_each_other(self):
        page = self.open()
        other = self.open(beside=page)
        self.ask(page, "hello")
        other.wait_text(".entry .title", "hello")
        other.click(".entry .open")
        other.wait_text(".assistant .text", "You said: hello")
        page.click(".entry [data-t-label=rename]")
        page.type("Greeting")
        page.key("Enter")
        other.wait("document.querySelector('.entry .title').innerText === 'Greeting'")
        page.click(".entry [data-t-label=delete]")
        other.wait("document.querySelectorAll('.entry, .message').length === 0")
        self.ask(other, "new here")
        page.wait_text(".entry .title", "new here")

    def test_a_browser_that_keeps_nothing_still_chats(self):
        page = self.open(before="for (const name of ['localStorage', 'sessionStorage', 'indexedDB']) "
                                "Object.defineProperty(window, name, {get() { throw new DOMException('refused', 'SecurityError'); }});")
        page.wait_text("#banner", "keeps no data")
        self.ask(page, "hello")
        page.click("#new")
        self.ask(page, "other")
        page.click(".entry:last-child .open")
        page.wait_text(".assistant .text", "You said: hello")
        page.click(".entry.current [data-t-label=delete]")
        page.wait("document.querySelectorAll('.entry').length === 1")

    def test_a_full_storage_is_told_and_the_answer_stays(self):
        page = self.open()
        page.evaluate("IDBObjectStore.prototype.put = () => { throw new DOMException('full', 'QuotaExceededError'); }")
        self.ask(page, "hello")
        page.wait_text("#banner", "storage is full")
        self.assertEqual(self.answers(page), ["You said: hello"])

    def test_a_draft_survives_a_reload(self):
        page = self.open()
        page.click("#prompt")
        page.type("half a thought")
        page.reload()
        self.assertEqual(page.evaluate("document.getElementById('prompt').value"), "half a thought")

    def test_ten_thousand_messages(self):
        page = self.open()
        page.evaluate("""Promise.all([import("./conversation.js"), import("./store.js")]).then(async ([{Conversation}, {open_store}]) => {
          const chat = Conversation.create(); chat.head.title = "long";
          let last = null;
          for (let i = 0; i < 10000; i += 1) last = chat.add(last, {role: i % 2 ? "assistant" : "user", content: `message **${i}** ` + "text ".repeat(30), state: "stop"});
          await (await open_store()).save(chat.head, [...chat.by_id.values()]); })""")
        page.reload()
        page.click(".entry .open")
        page.wait_text(".assistant .text", "message 9999 ")
        self.assertLessEqual(page.count(".message"), 120)
        page.evaluate("document.getElementById('scroller').scrollTop = 0")
        page.wait_text(".assistant .text", "message 9901 ")
        self.assertLessEqual(page.count(".message"), 120)
        # What is being read stays where it is while the window shifts under it.
        page.evaluate("window.steps = 0")
        for _ in range(3):
            before = page.evaluate("document.querySelector('.message').dataset.id")
            page.evaluate("document.getElementById('scroller').scrollTop = 0")
            page.wait(f"document.querySelector('.message').dataset.id !== {json.dumps(before)}")
            place = page.evaluate(f"document.querySelector('[data-id={json.dumps(before)}]').getBoundingClientRect().top")
            self.assertTrue(-60 <= place <= 200, place)
        self.assertLessEqual(page.count(".message"), 120)
        page.click("#search")
        page.type("message **4321**")
        page.wait_text(".entry .excerpt", "4321")
        page.click(".entry .open")
        page.wait_text(".message.found .text", "message 4321 ")
        self.assertLessEqual(page.count(".message"), 120)
        page.click(".jump")
        page.wait_text(".assistant .text", "message 9999 ")
        self.ask(page, "one more")
        self.assertEqual(len(self.server.requests[-1]["messages"]), 10001)


class Look(Case):
    def fits(self, page):
        """Nothing sticks out to the right of the window."""
        self.assertEqual(page.evaluate("""[...document.querySelectorAll("body *")].filter((e) => e.checkVisibility() && !e.closest("pre, .table, #sidebar, .unseen")
          && e.getBoundingClientRect().right > innerWidth + 1).map((e) => e.outerHTML.slice(0, 120))"""), [])

    def test_a_phone(self):
        page = self.open(width=360, height=740)
        self.fits(page)
        self.ask(page, "markdown " + "unbroken" * 20)
        self.fits(page)
        self.assertEqual(page.evaluate("document.getElementById('sidebar').inert"), True)
        page.click("[data-t-label=toggle_list]")
        page.wait("document.getElementById('sidebar').getBoundingClientRect().left === 0")
        page.click(".entry .open")
        page.wait("document.getElementById('sidebar').inert")
        page.click("#model-chip")
        self.fits(page)

    def test_dark_by_system_and_by_choice(self):
        ground = "getComputedStyle(document.body).backgroundColor"
        page = self.open(dark=True)
        self.assertEqual(page.evaluate(ground), "rgb(20, 24, 27)")
        page.media(False)
        self.assertEqual(page.evaluate(ground), "rgb(255, 255, 255)")
        page.click("#model-chip")
        page.evaluate("(() => { const e = document.getElementById('set-theme'); e.value = 'dark'; e.dispatchEvent(new Event('change')); })()")
        self.assertEqual(page.evaluate(ground), "rgb(20, 24, 27)")
        page.reload()
        self.assertEqual(page.evaluate(ground), "rgb(20, 24, 27)")

    def test_contrast_of_text(self):
        """At least 4.5 to 1 (WCAG AA) for the colours of text on the grounds they stand on."""
        for dark in (False, True):
            page = self.open(dark=dark)
            low = page.evaluate("""(() => {
              const probe = document.body.appendChild(document.createElement("i"));
              const light = (name) => {
                probe.style.color = `var(--${name})`;
                const [r, g, b] = getComputedStyle(probe).color.match(/[\\d.]+/g).map((v) => v / 255).map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
                return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
              const pairs = [["ink", "page"], ["ink", "side"], ["ink", "tint"], ["quiet", "page"], ["quiet", "side"], ["quiet", "raised"], ["quiet", "hover"],
                             ["accent", "page"], ["on-accent", "accent"], ["danger", "danger-tint"], ["ink", "danger-tint"]];
              return pairs.map(([a, b]) => [a, b, (Math.max(light(a), light(b)) + 0.05) / (Math.min(light(a), light(b)) + 0.05)]).filter((p) => p[2] < 4.5); })()""")
            self.assertEqual(low, [], f"dark: {dark}")

    def test_chinese_by_browser_and_by_choice(self):
        page = self.open(language="zh-CN")
        self.assertEqual(page.text("#new"), "新对话")
        self.assertEqual(page.evaluate("document.getElementById('prompt').placeholder"), "输入消息")
        self.assertEqual(page.evaluate("document.documentElement.lang"), "zh-CN")
        self.ask(page, "你好，**世界**")
        page.wait_text(".assistant .text", "You said: 你好，世界")
        page.click("#model-chip")
        page.evaluate("(() => { const e = document.getElementById('set-language'); e.value = 'en'; e.dispatchEvent(new Event('change')); })()")
        page.key("Escape")
        self.assertEqual(page.text("#new"), "New chat")
        page.wait_text(".stats", "tokens")

    def test_both_languages_have_all_texts_and_every_key_is_used(self):
        page = self.open()
        got = page.evaluate("""Promise.all([import("./text_en.js"), import("./text_zh.js")]).then(([{english}, {chinese}]) => {
          const holes = (text) => [...text.matchAll(/{\\w+}/g)].map(String).sort().join();
          return {keys: Object.keys(english), zh: Object.keys(chinese), differ: Object.keys(english).filter((k) => holes(english[k]) !== holes(chinese[k] ?? ""))}; })""")
        self.assertEqual(sorted(got["keys"]), sorted(got["zh"]))
        self.assertEqual(got["differ"], [])
        folder = pathlib.Path(__file__).resolve().parents[2] / "src/server/page"
        code = "".join(p.read_text() for p in sorted(folder.glob("*")) if not p.name.startswith("text_"))
        composed = ("error_", "theme_", "language_", "format_")
        self.assertEqual([k for k in got["keys"] if f'"{k}"' not in code and not k.startswith(composed)], [])

    def test_status_reads_the_metrics(self):
        page = self.open()
        page.evaluate("document.querySelector('.bottom .row').click()")
        page.wait("[...document.querySelectorAll('.plot .line')].every((line) => line.getAttribute('d').includes('L') || line.getAttribute('d').startsWith('M'))")
        page.wait("document.querySelector('.plot .line').getAttribute('d') !== ''")
        self.assertEqual(page.text("#tile-prefix_hits dd"), "75.0 %")
        self.assertEqual(page.text("#tile-requests_done dd"), str(4 * self.server.readings))
        self.assertGreaterEqual(self.server.readings, 2)
        page.key("Escape")
        page.wait("!document.querySelector('dialog')")

    def test_metrics_arithmetic(self):
        page = self.open()
        got = page.evaluate("""import("./metrics.js").then(({parse_metrics, sample, median, totals}) => {
          const a = parse_metrics('# TYPE x\\nfathom_generation_tokens_total{engine="0"} 10\\nfathom_generation_tokens_total{engine="1"} 5\\nkv_cache_usage_perc 0.25\\n'
            + 'x:time_to_first_token_seconds_bucket{le="1.0"} 2\\nx:time_to_first_token_seconds_bucket{le="3.0"} 2\\nx:time_to_first_token_seconds_bucket{le="+Inf"} 2\\nx:other_total NaN\\n');
          const b = parse_metrics('fathom_generation_tokens_total{engine="0"} 30\\nfathom_generation_tokens_total{engine="1"} 5 1700000000\\nkv_cache_usage_perc 5e-1\\n'
            + 'x:time_to_first_token_seconds_bucket{le="1.0"} 2\\nx:time_to_first_token_seconds_bucket{le="3.0"} 6\\nx:time_to_first_token_seconds_bucket{le="+Inf"} 6\\n');
          return [sample(b, a, 4), sample(a, b, 3).generation, median("time_to_first_token_seconds_bucket", b, a), totals(b)]; })""")
        self.assertEqual(got[0], {"generation": 5, "prompt": None, "running": None, "waiting": None, "cache": 50, "hits": None})
        self.assertEqual(got[1:], [5, 2, {"done": None, "preemptions": None, "hits": None}])  # 15 after a restart, in 3 s; half way from 1 to 3


class Keyboard(Case):
    def test_everything_without_a_mouse(self):
        page = self.open()
        self.assertEqual(page.evaluate("document.activeElement.id"), "prompt")
        page.type("hello")
        page.key("Enter")
        page.wait_text(".assistant .text", "You said: hello")
        page.wait(DONE)
        self.assertEqual(page.evaluate("document.activeElement.id"), "prompt")
        page.wait("document.getElementById('announcer').textContent === 'Answer: You said: hello'")
        page.key("ArrowUp")
        page.wait("document.activeElement.matches('textarea.edit')")
        page.key("Escape")
        self.assertEqual(page.evaluate("document.activeElement.dataset.tLabel"), "edit")
        page.key("k", ctrl=True)
        self.assertEqual(page.evaluate("document.activeElement.id"), "search")
        page.key("ArrowDown")
        self.assertEqual(page.evaluate("document.activeElement.className"), "open")
        page.key("F2")
        page.type("named")
        page.key("Enter")
        page.wait_text(".entry", "named")
        page.key("Delete")
        page.wait("document.querySelectorAll('.entry').length === 0")
        page.key("o", ctrl=True, shift=True)
        page.type("slow one")
        page.key("Enter")
        page.wait_text(".assistant .text", "word")
        page.key("Escape")
        page.wait(DONE)
        page.wait_text(".note", "Stopped.")

    def test_the_tab_key_reaches_each_control_once_and_in_order(self):
        page = self.open()
        self.ask(page, "hello")
        page.evaluate("document.getElementById('skip').focus()")
        seen = ["skip"]
        for _ in range(40):
            page.key("Tab")
            name = page.evaluate("(() => { const e = document.activeElement; return e === document.body ? '' : e.id || e.dataset.tLabel || e.className || e.innerText; })()")
            if name == "" or name in seen[:1]:
                break
            seen.append(name)
        self.assertEqual(seen, ["skip", "new", "search", "open", "rename", "export_markdown", "delete", "row", "row", "row", "row", "toggle_list", "model-chip",
                                "raw_prompt", "help", "copy", "edit", "copy", "regenerate", "continue", "prompt"])

    def test_every_control_has_a_name_and_ids_are_single(self):
        page = self.open()
        self.ask(page, "markdown")
        page.click("#model-chip")
        self.assertEqual(page.evaluate("""[...document.querySelectorAll("button, input, textarea, select, a")].filter((e) => e.type !== "file" && !e.closest(".task")
          && !(e.ariaLabel || e.innerText?.trim() || e.closest("label"))).map((e) => e.outerHTML)"""), [])
        self.assertEqual(page.evaluate("(() => { const ids = [...document.querySelectorAll('[id]')].map((e) => e.id); return ids.filter((id, i) => ids.indexOf(id) !== i); })()"), [])

    def test_an_input_method_keeps_its_enter(self):
        page = self.open()
        page.click("#prompt")
        page.type("ni")
        page.evaluate("document.getElementById('prompt').dispatchEvent(new KeyboardEvent('keydown', {key: 'Enter', isComposing: true, bubbles: true, cancelable: true}))")
        self.assertEqual(page.evaluate("document.getElementById('prompt').value"), "ni")
        self.assertEqual(self.server.requests, [])


if __name__ == "__main__":
    if find_chromium() is None:
        print("page_test: skipped, no Chromium is installed (Debian: apt-get install chromium)")
        sys.exit(SKIPPED)
    unittest.main(verbosity=2)
