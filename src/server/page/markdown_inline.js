// Inline Markdown to a tree: code, emphasis, links, maths. One pass over the text with a bounded stack, so that no text,
// however hostile, takes more than linear time or nests deeper than kMaxDepth.
//
// node: {type: "text"|"code"|"math", text} | {type: "break"} | {type: "em"|"strong"|"del", children} | {type: "link", href, children}

const kMaxDepth = 20;
const kMaxUrl = 2000;
const kSafeSchemes = new Set(["http:", "https:", "mailto:"]);
const kSpecial = /[\\`*_~[\]!<$&\n]|https?:\/\//g;
const kEscapable = /[!-/:-@[-`{-~]/;
const kEntities = {amp: "&", lt: "<", gt: ">", quot: '"', apos: "'", nbsp: "\u00a0"};
const kWord = /[\p{L}\p{N}]/u;

// The address where a click may lead, or null. What has no scheme of its own would lead into this page's server: refused too.
export function safe_address(text) {
  try {
    const url = new URL(text);
    return kSafeSchemes.has(url.protocol) ? url.href : null;
  } catch {
    return null;
  }
}

export function parse_inline(text) {
  return new InlineParser(text).parse();
}

class InlineParser {
  constructor(text) {
    this.text = text;
    this.at = 0;
    this.stack = [{children: []}];
    this.found = new Map();
    this.last_link = text.lastIndexOf("](");
  }

  parse() {
    while (this.at < this.text.length) {
      kSpecial.lastIndex = this.at;
      const match = kSpecial.exec(this.text);
      if (!match) break;
      this.put_text(this.text.slice(this.at, match.index));
      this.at = match.index;
      if (!this.take(match[0])) {
        this.put_text(match[0]);
        this.at += match[0].length;
      }
    }
    this.put_text(this.text.slice(this.at));
    while (this.stack.length > 1) this.flatten();
    return this.stack[0].children;
  }

  // Reads what begins with a special character; false where it is plain text after all.
  take(special) {
    switch (special) {
      case "\\": return this.take_maths("\\(", "\\)") || this.take_maths("\\[", "\\]") || this.take_escape();
      case "`": return this.take_code();
      case "*": case "_": case "~": return this.take_emphasis(special);
      case "!": return this.text[this.at + 1] === "[" && this.open_bracket("![");
      case "[": return this.open_bracket("[");
      case "]": return this.close_bracket();
      case "<": return this.take_angle();
      case "$": return this.take_maths("$$", "$$") || this.take_dollar();
      case "&": return this.take_entity();
      case "\n": this.at += 1; return this.put({type: "break"});
      default: return this.take_bare_url();
    }
  }

  put(node) {
    this.stack[this.stack.length - 1].children.push(node);
    return true;
  }

  put_text(text) {
    if (text === "") return;
    const children = this.stack[this.stack.length - 1].children;
    const last = children[children.length - 1];
    if (last?.type === "text") last.text += text;
    else children.push({type: "text", text});
  }

  // The next place of a needle at or after a position; remembered, so that all searches together are linear.
  find(needle, from) {
    const known = this.found.get(needle);
    if (known !== undefined && (known === -1 || known >= from)) return known;
    const place = this.text.indexOf(needle, from);
    this.found.set(needle, place);
    return place;
  }

  match(pattern) {
    pattern.lastIndex = this.at;
    return pattern.exec(this.text);
  }

  take_escape() {
    const next = this.text[this.at + 1];
    if (next === undefined || !(kEscapable.test(next) || next === "\n")) return false;
    this.at += 2;
    if (next === "\n") return this.put({type: "break"});
    this.put_text(next);
    return true;
  }

  take_code() {
    const run = this.match(/`+/y)[0];
    for (let from = this.at + run.length; ;) {
      const end = this.find(run, from);
      if (end === -1) break;
      let stop = end + run.length;
      while (this.text[stop] === "`") stop += 1;
      if (stop === end + run.length) {
        const code = this.text.slice(this.at + run.length, end).replaceAll("\n", " ");
        this.at = stop;
        const padded = code.startsWith(" ") && code.endsWith(" ") && code.trim() !== "";
        return this.put({type: "code", text: padded ? code.slice(1, -1) : code});
      }
      from = stop;
    }
    this.put_text(run);
    this.at += run.length;
    return true;
  }

  take_maths(open, close) {
    if (!this.text.startsWith(open, this.at)) return false;
    const end = this.find(close, this.at + open.length);
    if (end === -1) return false;
    const text = this.text.slice(this.at + open.length, end).trim();
    if (text === "") return false;
    this.at = end + close.length;
    return this.put({type: "math", text});
  }

  // $x$, but not "$5 and $6": no space inside the signs, no digit after, one line.
  take_dollar() {
    const end = this.find("$", this.at + 1);
    if (end === -1) return false;
    const text = this.text.slice(this.at + 1, end);
    if (text === "" || /^\s|\s$|\n/.test(text) || /\d/.test(this.text[end + 1] ?? "")) return false;
    this.at = end + 1;
    return this.put({type: "math", text});
  }

  take_entity() {
    const match = this.match(/&(?:(amp|lt|gt|quot|apos|nbsp)|#(\d{1,7}));/y);
    if (!match) return false;
    const code = Number(match[2]);
    if (!match[1] && !(code > 31 && code <= 0x10ffff)) return false;
    this.put_text(match[1] ? kEntities[match[1]] : String.fromCodePoint(code));
    this.at += match[0].length;
    return true;
  }

  take_angle() {
    const line_break = this.match(/<br ?\/?>/iy);
    const link = line_break ?? this.match(/<((?:https?|mailto):[^\s<>]{1,2000})>/iy);
    if (!link) return false;
    const href = line_break ? null : safe_address(link[1]);
    if (!line_break && !href) return false;
    this.at += link[0].length;
    return this.put(line_break ? {type: "break"} : {type: "link", href, children: [{type: "text", text: link[1]}]});
  }

  take_bare_url() {
    if (kWord.test(this.text[this.at - 1] ?? "") || this.stack.some((frame) => frame.mark === "[")) return false;
    let url = this.match(/https?:\/\/[^\s<>"`|\u3000-\u303f\uff00-\uffef]{1,2000}/y)?.[0] ?? "";
    for (;;) {
      const last = url[url.length - 1] ?? "";
      const unbalanced = last === ")" && url.split("(").length < url.split(")").length;
      if (!unbalanced && (last === "" || !".,:;!?*_~'\"]}".includes(last))) break;
      url = url.slice(0, -1);
    }
    const href = url.length > 8 ? safe_address(url) : null;
    if (!href) return false;
    this.at += url.length;
    return this.put({type: "link", href, children: [{type: "text", text: url}]});
  }

  // Puts the innermost open frame back as the text that it turned out to be.
  flatten() {
    const frame = this.stack.pop();
    this.put_text(frame.mark.repeat(frame.count));
    for (const child of frame.children) {
      if (child.type === "text") this.put_text(child.text);
      else this.put(child);
    }
  }

  open(mark, count, extra) {
    if (this.stack.length > kMaxDepth) return false;
    this.stack.push({mark, count, children: [], ...extra});
    return true;
  }

  take_emphasis(mark) {
    const run = this.match(/\*+|_+|~+/y)[0];
    const before = this.text[this.at - 1] ?? " ";
    const after = this.text[this.at + run.length] ?? " ";
    this.at += run.length;
    // Looser than CommonMark, whose rule on punctuation leaves **注意：**请 unmarked.
    let can_open = !/\s/.test(after);
    let can_close = !/\s/.test(before);
    if (mark === "_") {
      can_open &&= !kWord.test(before);
      can_close &&= !kWord.test(after);
    }
    let count = run.length;
    if (count > 3 || (mark === "~" && count !== 2)) can_open = can_close = false;
    while (count > 0 && can_close) {
      const used = this.close_emphasis(mark, count, can_open);
      if (used === 0) break;
      count -= used;
    }
    if (count > 0 && !(can_open && this.open(mark, count, {both: can_close}))) this.put_text(mark.repeat(count));
    return true;
  }

  // Closes the nearest fitting opener; returns how many marks that used up.
  close_emphasis(mark, count, both) {
    let index = this.stack.length - 1;
    for (; index > 0; index -= 1) {
      const frame = this.stack[index];
      if (frame.mark === "[" || frame.mark === "![") return 0;
      // CommonMark's rule of three: in **a*b*c** the single mark does not close the double one.
      const clash = (both || frame.both) && (frame.count + count) % 3 === 0 && (frame.count % 3 !== 0 || count % 3 !== 0);
      if (frame.mark === mark && !clash && frame.children.length + (this.stack.length - 1 - index) > 0) break;
    }
    if (index === 0) return 0;
    while (this.stack.length - 1 > index) this.flatten();
    const frame = this.stack[index];
    const used = mark === "~" || (count >= 2 && frame.count >= 2) ? 2 : 1;
    const node = {type: mark === "~" ? "del" : used === 2 ? "strong" : "em", children: frame.children};
    frame.count -= used;
    if (frame.count > 0) {
      frame.children = [node];
    } else {
      this.stack.pop();
      this.put(node);
    }
    return used;
  }

  open_bracket(mark) {
    if (this.at > this.last_link || !this.open(mark, 1, {active: true})) return false;
    this.at += mark.length;
    return true;
  }

  close_bracket() {
    const index = this.stack.findLastIndex((frame) => frame.mark === "[" || frame.mark === "![");
    if (index === -1) return false;
    while (this.stack.length - 1 > index) this.flatten();
    const frame = this.stack[index];
    const target = frame.active ? this.match(/\]\(\s{0,8}(?:<([^<>\n]{0,2000})>|((?:[^\s()<>]|\([^\s()<>]{0,200}\)){0,2000}))(?:\s{1,8}(?:"[^"\n]{0,300}"|'[^'\n]{0,300}'))?\s{0,8}\)/y) : null;
    const href = target ? safe_address((target[1] ?? target[2]).slice(0, kMaxUrl)) : null;
    if (!href) {
      this.flatten();
      return false;
    }
    this.stack.pop();
    this.at += target[0].length;
    // A picture would be a load from outside: it becomes a link to it.
    const children = frame.children.length > 0 ? frame.children : [{type: "text", text: href}];
    if (frame.mark === "[") for (const outer of this.stack) outer.active = false;
    return this.put({type: "link", href, children});
  }
}
