"""Chatting: answers, branches, settings, errors, the list of conversations. Run by page_test.py."""
import json
import pathlib
import tempfile
import time

from mock_server import MockServer
from page_case import DONE, Case


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


class Errors(Case):
    def test_a_missing_key_is_asked_for_and_kept_for_the_tab_only(self):
        self.server.api_key = "secret"
        self.expected = ["401"]
        page = self.open()
        page.wait_text("#model-chip", "API key needed")
        self.ask(page, "hello")
        page.wait_text(".problem", "The server wants a valid API key.")
        page.click(".problem button:first-child")
        self.give_key(page, "secret")
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
            page.click("#prompt")
            page.type(question)
            page.key("Enter")
            if question == "break":
                page.wait_text(".assistant .text", "The first half")
                self.server.may_cut.set()
            page.wait_text(".problem", words)
            page.wait(DONE)
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
