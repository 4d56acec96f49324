"""What is on the screen: hostile answers, Markdown, sizes, colours, languages, status, keys. Run by page_test.py."""
import json
import pathlib
import tempfile

from page_case import DONE, Case

HOSTILE_LINK = "[x](javascript:alert(1))"


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
        page.wait("document.getElementById('sidebar').inert && document.getElementById('sidebar').getBoundingClientRect().right <= 0")
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
        shown = int(page.text("#tile-requests_done dd"))  # four more with each reading, of which one may be under way
        self.assertIn(shown // 4, (self.server.readings - 1, self.server.readings))
        self.assertEqual(shown % 4, 0)
        self.assertGreaterEqual(shown, 8)
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
