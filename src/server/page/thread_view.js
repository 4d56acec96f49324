// The messages of a conversation. Only a window of them is on the page: scrolling near an end shifts it, so that ten
// thousand messages cost no more than a hundred.
import {by_id, el, icon_button} from "./dom.js";
import {MessageView} from "./message_view.js";

const kStep = 40;
const kMost = 120;
const kNearBottom = 60;  // px

export class ThreadView {
  constructor(actions) {
    this.actions = actions;
    this.scroller = by_id("scroller");
    this.list = by_id("thread");
    this.views = new Map();
    this.path = [];
    this.first = this.last = 0;
    this.follow = true;
    this.top = el("li", {class: "sentinel", "aria-hidden": "true"});
    this.bottom = el("li", {class: "sentinel", "aria-hidden": "true"});
    this.jump = icon_button("down", "to_latest", () => this.to_end(), "jump");
    this.jump.hidden = true;
    by_id("dock").append(this.jump);
    this.observer = new IntersectionObserver((entries) => this.reached(entries), {root: this.scroller, rootMargin: "600px"});
    this.scroller.addEventListener("scroll", () => this.scrolled(), {passive: true});
    // Who edits a question wants to see it.
    this.list.addEventListener("focusin", (event) => { if (event.target.matches(".edit")) this.follow = false; });
    // Answers grow, lines wrap anew: whoever reads the end keeps seeing the end.
    new ResizeObserver(() => this.stick()).observe(this.list);
    new ResizeObserver(() => this.stick()).observe(this.scroller);
  }

  // Shows another conversation, from its end or with a certain message in sight.
  open(conversation, message_id = null) {
    this.conversation = conversation;
    this.views.clear();
    this.list.replaceChildren();
    this.path = conversation.path();
    const index = message_id ? this.path.findIndex((message) => message.id === message_id) : -1;
    this.follow = index === -1;
    this.last = this.follow ? this.path.length : Math.min(this.path.length, index + kStep);
    this.first = Math.max(0, this.last - 2 * kStep);
    this.draw();
    const target = this.views.get(message_id)?.node;
    if (target) {
      target.scrollIntoView({block: "center"});
      target.classList.add("found");
    }
    this.stick();
  }

  // After messages were added or another branch was chosen.
  refresh() {
    const at_end = this.last >= this.path.length;
    this.path = this.conversation.path();
    if (at_end || this.last > this.path.length) this.last = this.path.length;
    this.first = Math.max(0, Math.min(this.first, this.last - 1));
    this.draw();
  }

  to_end() {
    this.follow = true;
    this.path = this.conversation.path();
    this.last = this.path.length;
    this.first = Math.max(0, this.last - 2 * kStep);
    this.draw();
    this.stick();
  }

  // Draws a message that changed, where it is in the window.
  changed(message) {
    const view = this.views.get(message.id);
    if (!view) return;
    if (message.state === "streaming") view.draw_soon();
    else view.draw_now();
  }

  redraw() {
    for (const view of this.views.values()) view.draw_now();
  }

  draw() {
    const shown = this.path.slice(this.first, this.last);
    const ids = new Set(shown.map((message) => message.id));
    for (const [id, view] of this.views) if (!ids.has(id)) { view.node.remove(); this.views.delete(id); }
    let previous = this.top;
    if (this.list.firstChild !== this.top) this.list.prepend(this.top);
    for (const message of shown) {
      let view = this.views.get(message.id);
      const siblings = this.conversation.siblings(message);
      const variants = {index: siblings.indexOf(message), count: siblings.length};
      if (!view) {
        view = new MessageView(message, this.actions);
        this.views.set(message.id, view);
        view.draw(variants);
      } else if (view.variants.count !== variants.count) {
        view.draw(variants);
      }
      view.node.classList.toggle("unsent-above", message.id === this.conversation.head.first);
      if (previous.nextSibling !== view.node) previous.after(view.node);
      previous = view.node;
    }
    if (this.list.lastChild !== this.bottom) this.list.append(this.bottom);
    this.list.classList.toggle("empty", this.path.length === 0);
    // Observing anew reports a sentinel that is still in sight.
    this.observer.disconnect();
    if (this.first > 0) this.observer.observe(this.top);
    if (this.last < this.path.length) this.observer.observe(this.bottom);
    this.update_jump();
  }

  reached(entries) {
    for (const {target, isIntersecting} of entries) {
      if (!isIntersecting) continue;
      if (target === this.top) this.shift(Math.max(0, this.first - kStep), Math.min(this.last, this.first - kStep + kMost));
      else this.shift(Math.max(this.first, this.last + kStep - kMost), Math.min(this.path.length, this.last + kStep));
    }
  }

  // Moves the window and keeps what is being read where it is on the screen.
  shift(first, last) {
    const edge = this.scroller.getBoundingClientRect().top;
    const nodes = this.path.slice(this.first, this.last).map(({id}) => this.views.get(id).node);
    const anchor = nodes.find((node) => node.getBoundingClientRect().bottom > edge);
    const before = anchor?.getBoundingClientRect().top;
    this.first = first;
    this.last = last;
    this.draw();
    if (anchor?.isConnected) this.scroller.scrollTop += anchor.getBoundingClientRect().top - before;
  }

  scrolled() {
    const {scrollTop, scrollHeight, clientHeight} = this.scroller;
    this.follow = this.last >= this.path.length && scrollHeight - scrollTop - clientHeight < kNearBottom;
    this.update_jump();
  }

  update_jump() {
    this.jump.hidden = this.follow || this.path.length === 0;
  }

  stick() {
    if (this.follow) this.scroller.scrollTop = this.scroller.scrollHeight;
  }
}
