// Block Markdown to a list of blocks, line by line, in linear time. The dialect is GitHub's as language models write it:
// no HTML, no indented code (an indented line is rarely meant as code), line ends are kept.
//
// block: {type: "heading", level, text} | {type: "code", language, text} | {type: "rule"} | {type: "math", text}
//      | {type: "quote", blocks} | {type: "list", start: number|null, tight, items: [{task: boolean|null, blocks}]}
//      | {type: "table", align: ["left"|"center"|"right"|""], rows: [[cell text]]} (row 0 is the header) | {type: "paragraph", text}
// Top-level blocks also have source, their lines.

const kMaxDepth = 12;
const kMaxMathLines = 100;
const kMaxColumns = 100;
const kFence = /^ {0,3}(`{3,}|~{3,})[ \t]*([^\s`]*)[^`]*$/;
const kHeading = /^ {0,3}(#{1,6})(?:[ \t]+|$)(.*)$/;
const kRule = /^ {0,3}(?:(?:\*[ \t]*){3,}|(?:-[ \t]*){3,}|(?:_[ \t]*){3,})$/;
const kQuote = /^ {0,3}> ?/;
const kItem = /^(\s*)([-*+]|(\d{1,9})[.)])(?:([ \t]+)|$)/;

export function parse_blocks(text) {
  const lines = text.replace(/\r\n?/g, "\n").split("\n");
  return new BlockParser(lines, 0).parse();
}

const blank = (line) => line.trim() === "";
const indent_of = (line) => line.length - line.trimStart().length;

class BlockParser {
  constructor(lines, depth) {
    this.lines = lines;
    this.depth = depth;
    this.at = 0;
  }

  parse() {
    const blocks = [];
    while (this.at < this.lines.length) {
      if (blank(this.lines[this.at])) {
        this.at += 1;
        continue;
      }
      const begin = this.at;
      const block = this.block();
      if (this.depth === 0) block.source = this.lines.slice(begin, this.at).join("\n");
      blocks.push(block);
    }
    return blocks;
  }

  block() {
    const line = this.lines[this.at];
    const deep = this.depth >= kMaxDepth;
    let match;
    if ((match = kFence.exec(line))) return this.code(match);
    if ((match = kHeading.exec(line))) {
      this.at += 1;
      return {type: "heading", level: match[1].length, text: match[2].trim().replace(/(?:^|[ \t])#+$/, "")};
    }
    if (kRule.test(line)) {
      this.at += 1;
      return {type: "rule"};
    }
    if (!deep && kQuote.test(line)) return this.quote();
    if (!deep && (match = kItem.exec(line))) return this.list(match);
    return this.maths() ?? this.table() ?? this.paragraph();
  }

  // Whether a line begins a block that may follow a paragraph without a blank line between.
  interrupts(line) {
    if (kFence.test(line) || kHeading.test(line) || kRule.test(line) || kQuote.test(line)) return true;
    const item = kItem.exec(line);
    return item !== null && item[4] !== undefined && (item[3] === undefined || item[3] === "1");
  }

  sub_blocks(lines) {
    return new BlockParser(lines, this.depth + 1).parse();
  }

  code([, fence, language]) {
    const indent = indent_of(this.lines[this.at]);
    const lines = [];
    for (this.at += 1; this.at < this.lines.length; this.at += 1) {
      const line = this.lines[this.at];
      const end = line.trim();
      if (end.length >= fence.length && indent_of(line) < 4 && end === fence[0].repeat(end.length)) {
        this.at += 1;
        break;
      }
      lines.push(line.slice(Math.min(indent, indent_of(line))));
    }
    return {type: "code", language, text: lines.join("\n")};
  }

  quote() {
    const lines = [];
    for (; this.at < this.lines.length; this.at += 1) {
      const line = this.lines[this.at];
      const inside = kQuote.test(line);
      if (!inside && (blank(line) || blank(lines[lines.length - 1]) || this.interrupts(line))) break;
      lines.push(inside ? line.replace(kQuote, "") : line);
    }
    return {type: "quote", blocks: this.sub_blocks(lines)};
  }

  list(first) {
    const ordered = first[3] !== undefined;
    const base = indent_of(this.lines[this.at]);
    const items = [];
    let tight = true;
    let gap_before = false;
    while (this.at < this.lines.length) {
      const match = kItem.exec(this.lines[this.at]);
      const same = match && (match[3] !== undefined) === ordered && match[1].length < base + 2 && !kRule.test(this.lines[this.at]);
      if (!same) break;
      const {lines, gap} = this.item(match, base);
      if (gap_before || lines.some((line, i) => blank(line) && i < lines.length - 1)) tight = false;
      gap_before = gap;
      const task = /^\[([ xX])\][ \t]+/.exec(lines[0]);
      if (task) lines[0] = lines[0].slice(task[0].length);
      items.push({task: task ? task[1] !== " " : null, blocks: this.sub_blocks(lines)});
    }
    return {type: "list", start: ordered ? Number(first[3]) : null, tight, items};
  }

  // The lines of one item, without its marker and indent; gap: whether blank lines follow.
  item(match, base) {
    const width = match[0].length;
    const lines = [this.lines[this.at].slice(width)];
    let gap = 0;
    for (this.at += 1; this.at < this.lines.length; this.at += 1) {
      const line = this.lines[this.at];
      if (blank(line)) {
        gap += 1;
        continue;
      }
      const indent = indent_of(line);
      // Two spaces make a child, whatever the marker's width: models indent by 2, 3 or 4.
      const inside = indent >= base + 2;
      const lazy = gap === 0 && !inside && !this.interrupts(line) && !kItem.test(line);
      if (!inside && !lazy) break;
      for (; gap > 0; gap -= 1) lines.push("");
      lines.push(line.slice(Math.min(indent, width)));
    }
    return {lines, gap: gap > 0};
  }

  // $$ .. $$ or \[ .. \]; not closed within some lines, it is text.
  maths() {
    const first = this.lines[this.at].trim();
    const close = first.startsWith("$$") ? "$$" : first.startsWith("\\[") ? "\\]" : null;
    if (!close) return null;
    const lines = [];
    for (let at = this.at; at < Math.min(this.lines.length, this.at + kMaxMathLines); at += 1) {
      const line = at === this.at ? first.slice(2) : this.lines[at].trimEnd();
      if (line.endsWith(close)) {
        lines.push(line.slice(0, -2));
        this.at = at + 1;
        return {type: "math", text: lines.join("\n").trim()};
      }
      if (line.includes(close)) return null;
      lines.push(line);
    }
    return null;
  }

  table() {
    const delimiters = this.lines[this.at + 1];
    if (!this.lines[this.at].includes("|") || !delimiters?.includes("-") || !/^[\s|:-]+$/.test(delimiters)) return null;
    const marks = cells_of(delimiters);
    const header = cells_of(this.lines[this.at]);
    if (marks.length !== header.length || marks.length > kMaxColumns || !marks.every((mark) => /^:?-+:?$/.test(mark))) return null;
    const align = marks.map((mark) => (mark.endsWith(":") ? (mark.startsWith(":") ? "center" : "right") : mark.startsWith(":") ? "left" : ""));
    const rows = [header];
    for (this.at += 2; this.at < this.lines.length; this.at += 1) {
      const line = this.lines[this.at];
      if (blank(line) || !line.includes("|")) break;
      const cells = cells_of(line);
      rows.push(align.map((_, i) => cells[i] ?? ""));
    }
    return {type: "table", align, rows};
  }

  paragraph() {
    const lines = [this.lines[this.at].trim()];
    for (this.at += 1; this.at < this.lines.length; this.at += 1) {
      const line = this.lines[this.at];
      if (blank(line) || this.interrupts(line)) break;
      lines.push(line.trim());
    }
    return {type: "paragraph", text: lines.join("\n")};
  }
}

function cells_of(line) {
  const cells = line.trim().replace(/^\|/, "").split(/(?<!\\)\|/);
  if (cells.length > 1 && blank(cells[cells.length - 1])) cells.pop();
  return cells.map((cell) => cell.trim().replaceAll("\\|", "|"));
}
