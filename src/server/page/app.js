// Starts the page and holds its state: the open conversation, the running answers, the server's models.
import {list_models} from "./api.js";
import {Bar, open_help, open_prompt, welcome} from "./bar.js";
import {Composer} from "./composer.js";
import {as_export, as_markdown, Conversation, from_export} from "./conversation.js";
import {announce, by_id, download, el, toast} from "./dom.js";
import {Generation} from "./generation.js";
import {install_keys} from "./keys.js";
import {error_words} from "./message_view.js";
import {set, settings} from "./settings.js";
import {open_settings} from "./settings_view.js";
import {Sidebar} from "./sidebar.js";
import {StatusView} from "./status_view.js";
import {open_store} from "./store.js";
import {set_language, t} from "./text.js";
import {ThreadView} from "./thread_view.js";

const kMostHits = 200;
const kRetryModels = 5000;  // ms
const kContextEvery = 200;  // ms
const kNarrow = matchMedia("(max-width: 760px)");

class App {
  constructor(store) {
    this.store = store;
    this.heads = new Map();
    this.running = new Map();  // conversation id -> Generation
    this.removed = new Set();
    this.models = [];
    const bind = (...names) => Object.fromEntries(names.map((name) => [name, (...values) => this[name](...values)]));
    this.sidebar = new Sidebar(bind("create", "open", "rename", "remove", "search", "export_one", "export_all", "import_file", "settings", "status", "toggle"));
    this.bar = new Bar(bind("toggle", "settings", "prompt", "help"));
    this.composer = new Composer(bind("send", "stop", "edit_last"));
    this.thread = new ThreadView(bind("edit", "regenerate", "resume", "retry", "choose", "drop_oldest", "settings"));
    this.welcome = welcome((text) => this.composer.put(text));
    by_id("scroller").append(this.welcome);
    by_id("shade").addEventListener("click", () => this.toggle());
    // The channel tells other tabs of the page that the list has changed.
    this.channel = new BroadcastChannel("fathom");
    this.channel.onmessage = () => this.read_heads();
    kNarrow.addEventListener("change", () => this.show_list(!kNarrow.matches));
    addEventListener("hashchange", () => this.show());
    document.addEventListener("visibilitychange", () => { if (!document.hidden && this.lost) this.read_models(); });
  }

  async start() {
    this.show_list(!kNarrow.matches && settings.list !== false);
    if (!this.store.lasting) this.warn("store_missing");
    await this.read_heads();
    await this.show();
    install_keys(this);
    this.read_models();
    document.documentElement.dataset.ready = "yes";
  }

  warn(key) {
    by_id("banner").replaceChildren(el("p", {t: key}));
  }

  // --- what is open

  async read_heads() {
    const known = this.heads;
    this.heads = new Map((await this.store.heads()).map((head) => [head.id, head]));
    // What is open or running here keeps its head and takes a new title.
    for (const {head} of [...[...this.running.values()].map(({conversation}) => conversation), ...(this.current ? [this.current] : [])]) {
      const stored = this.heads.get(head.id);
      if (stored) this.heads.set(head.id, Object.assign(head, {title: stored.title, named: stored.named}));
    }
    if (this.current && known.has(this.current.head.id) && !this.heads.has(this.current.head.id)) this.create();
    this.show_heads();
  }

  show_heads() {
    this.sidebar.show([...this.heads.values()], this.current?.head.id, new Set(this.running.keys()));
  }

  // The address says what is open: #conversation or #conversation/message.
  async show() {
    const [id, message_id] = location.hash.slice(1).split("/");
    if (id === this.current?.head.id && !message_id) return;
    const conversation = this.running.get(id)?.conversation ?? await this.load(id);
    if (location.hash.slice(1).split("/")[0] !== id) return;  // another was opened meanwhile
    this.current = conversation;
    const message = conversation.by_id.get(message_id);
    if (message) conversation.reveal(message);
    this.composer.open(this.heads.has(id) ? id : "new");
    this.thread.open(conversation, message?.id);
    this.show_state();
    this.show_heads();
    if (!kNarrow.matches && !message) this.composer.field.focus();
  }

  async load(id) {
    const head = this.heads.get(id);
    if (!head) return Conversation.create();
    const messages = await this.store.messages(id);
    // An answer that was growing when the page went away.
    for (const message of messages) if (message.state === "streaming") Object.assign(message, {state: "error", error: {kind: "interrupted"}});
    return new Conversation(head, messages);
  }

  open(id, message_id) {
    if (kNarrow.matches) this.show_list(false);
    location.hash = message_id ? `${id}/${message_id}` : id;
  }

  create() {
    if (kNarrow.matches) this.show_list(false);
    history.pushState(null, "", "#");
    this.current = null;
    this.show();
  }

  show_state() {
    const {current} = this;
    const empty = current.children.size === 0;
    this.welcome.hidden = !empty;
    this.bar.show(current.head.title || t("new_chat"), !empty);
    document.title = current.head.title ? `${current.head.title} – fathom` : "fathom";
    this.composer.show_running(this.running.has(current.head.id));
    this.show_context();
  }

  show_context() {
    this.context_shown = performance.now();
    const path = this.current.path();
    const last = path.findLast((message) => message.stats?.usage);
    const growing = path.at(-1)?.state === "streaming" && path.at(-1) !== last ? path.at(-1).stats.chunks : 0;
    const limit = this.models.find(({id}) => id === this.model())?.max_model_len ?? 0;
    this.composer.show_context(last ? last.stats.usage.total_tokens + growing : growing, limit);
  }

  show_list(shown) {
    const shell = by_id("shell");
    shell.classList.toggle("list-shown", shown);
    by_id("sidebar").inert = !shown;
    by_id("stage").inert = shown && kNarrow.matches;
    by_id("shade").hidden = !(shown && kNarrow.matches);
  }

  toggle() {
    const shown = !by_id("shell").classList.contains("list-shown");
    this.show_list(shown);
    if (!kNarrow.matches) set("list", shown);
    if (shown) this.sidebar.search.focus();
    else this.bar.menu.focus();
  }

  // --- the server

  model() {
    return this.models.some(({id}) => id === settings.model) ? settings.model : this.models[0]?.id;
  }

  async read_models() {
    clearTimeout(this.retry_timer);
    try {
      this.models = await list_models();
      this.lost = null;
    } catch (error) {
      this.lost = error.kind ?? "failed";
      // Asking again with the same wrong key would change nothing.
      if (this.lost !== "unauthorized" && !document.hidden) this.retry_timer = setTimeout(() => this.read_models(), kRetryModels);
    }
    this.bar.show_model(this.model(), this.lost);
    this.show_models?.(this.models);
    if (this.current) this.show_context();
  }

  // --- answers

  async save(head, messages) {
    if (this.removed.has(head.id)) return;
    this.heads.set(head.id, head);
    try {
      await this.store.save(head, messages);
    } catch {
      this.warn("store_full");
    }
  }

  is_running() {
    const running = this.running.has(this.current.head.id);
    if (running) toast(t("still_running"));
    return running;
  }

  send(text) {
    if (this.is_running()) return this.composer.put(text);
    this.ask(this.current.path().at(-1) ?? null, text);
  }

  ask(parent, content) {
    const question = this.current.add(parent, {role: "user", content});
    this.answer(question);
  }

  async answer(question) {
    const {current} = this;
    const answer = current.add(question, {role: "assistant", content: "", state: "streaming", stats: {chunks: 0}});
    const saved = this.save(current.head, [question, answer]);
    history.replaceState(null, "", `#${current.head.id}`);
    this.composer.id = current.head.id;
    this.thread.to_end();
    await Promise.all([saved, this.generate(answer)]);
  }

  async generate(answer) {
    const conversation = this.current;
    const id = conversation.head.id;
    const generation = new Generation(conversation, answer, {
      model: async () => {
        if (this.models.length === 0) await this.read_models();
        return this.model();
      },
      save: (message) => this.save(conversation.head, [message]),
      changed: (message) => this.grown(conversation, message),
    });
    this.running.set(id, generation);
    this.show_state();
    this.show_heads();
    // The button that asked for this is gone; on a phone the field's focus would open the keys.
    if (!kNarrow.matches) this.composer.field.focus();
    announce(t("answering"));
    await generation.run();
    conversation.head.updated = Date.now();
    this.running.delete(id);
    await this.save(conversation.head, []);
    this.channel.postMessage("changed");
    this.show_heads();
    if (this.current === conversation) this.show_state();
    if (answer.state === "error") this.read_models();
    announce(answer.state === "error" ? error_words(answer.error) : `${t("answer")}: ${answer.content}`);
  }

  grown(conversation, message) {
    if (this.current !== conversation) return;
    this.thread.changed(message);
    if (performance.now() - this.context_shown > kContextEvery) this.show_context();
  }

  stop() {
    this.running.get(this.current.head.id)?.stop();
  }

  regenerate(answer) {
    if (!this.is_running()) this.answer(this.current.parent(answer));
  }

  resume(answer) {
    if (!this.is_running()) this.generate(answer);
  }

  // After an error: an empty answer is asked for again, one that has text is kept beside the new one.
  retry(answer) {
    if (answer.content === "") this.resume(answer);
    else this.regenerate(answer);
  }

  edit(question, content) {
    if (!this.is_running()) this.ask(this.current.parent(question), content);
  }

  edit_last() {
    const last = this.current.path().findLast(({role}) => role === "user");
    this.thread.views.get(last?.id)?.edit();
  }

  async choose(message, by) {
    const siblings = this.current.siblings(message);
    const other = siblings[siblings.indexOf(message) + by];
    this.current.choose(other);
    this.thread.refresh();
    this.show_context();
    const foot = this.thread.views.get(other.id)?.foot;
    const same = foot?.querySelector(`[data-t-label="${by < 0 ? "previous_variant" : "next_variant"}"]`);
    (same?.disabled ? foot.querySelector(".variants button:not([disabled])") : same)?.focus();
    await this.save(this.current.head, []);
  }

  // Leaves the older half of what was sent out of later requests; it stays in the conversation.
  async drop_oldest(answer) {
    const {current} = this;
    const path = current.path();
    const begin = Math.max(0, path.findIndex(({id}) => id === current.head.first));
    const questions = path.slice(begin, path.indexOf(answer)).filter(({role}) => role === "user");
    if (questions.length < 2) return toast(t("nothing_to_drop"));
    current.head.first = questions[Math.ceil(questions.length / 2)].id;
    await this.save(current.head, []);
    this.thread.refresh();
    this.retry(answer);
  }

  // --- the list

  async rename(id, title) {
    const head = this.heads.get(id);
    Object.assign(head, {title, named: true});
    if (this.current.head.id === id) Object.assign(this.current.head, {title, named: true});
    this.show_state();
    this.show_heads();
    await this.save(head, []);
    this.channel.postMessage("changed");
  }

  async remove(id) {
    this.running.get(id)?.stop();
    const head = this.heads.get(id);
    const messages = await this.store.messages(id);
    this.removed.add(id);
    this.heads.delete(id);
    await this.store.remove(id);
    this.channel.postMessage("changed");
    if (this.current.head.id === id) this.create();
    else this.show_heads();
    toast(t("deleted", {title: head.title}), {t: "undo", run: async () => {
      this.removed.delete(id);
      await this.save(head, messages);
      this.channel.postMessage("changed");
      this.open(id);
    }});
  }

  async search(query) {
    const wanted = query.toLowerCase();
    const hits = [...this.heads.values()].filter(({title}) => title.toLowerCase().includes(wanted)).map((head) => ({head}));
    await this.store.scan((messages) => {
      for (const message of messages) {
        const head = this.heads.get(message.conversation);
        if (head && message.content.toLowerCase().includes(wanted)) hits.push({head, message});
      }
      return hits.length < kMostHits;
    });
    return hits.slice(0, kMostHits);
  }

  async export_one(id) {
    const conversation = await this.load(id);
    const name = conversation.head.title.replace(/[^\p{L}\p{N}]+/gu, "-").slice(0, 40);
    download(`${name || "conversation"}.md`, "text/markdown", as_markdown(conversation));
  }

  async export_all() {
    const conversations = [];
    for (const head of this.heads.values()) conversations.push({head, messages: await this.store.messages(head.id)});
    download(`fathom-${new Date().toISOString().slice(0, 10)}.json`, "application/json", as_export(conversations));
  }

  async import_file(file) {
    let conversations;
    try {
      conversations = from_export(await file.text());
    } catch {
      return toast(t("import_wrong", {name: file.name}));
    }
    for (const {head, by_id: messages} of conversations) await this.save(head, [...messages.values()]);
    this.channel.postMessage("changed");
    this.show_heads();
    toast(t("imported", {count: conversations.length}));
  }

  // --- dialogs

  settings() {
    this.show_models = open_settings(this.models, (name) => {
      if (name === "language") this.change_language();
      else if (name !== "theme") this.read_models();
    }, () => { this.show_models = null; });
  }

  change_language() {
    set_language(settings.language);
    this.thread.redraw();
    this.show_state();
    this.show_heads();
    this.bar.show_model(this.model(), this.lost);
  }

  status() {
    new StatusView();
  }

  prompt() {
    open_prompt(this.current, this.model());
  }

  help() {
    open_help();
  }
}

set_language(settings.language);
new App(await open_store()).start();
