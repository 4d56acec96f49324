// Draws an answer's Markdown as DOM nodes. What the model wrote only ever becomes text nodes, a link's checked address and
// a fixed set of elements.
import {color_code} from "./code_colors.js";
import {copy_text, el, icon} from "./dom.js";
import {parse_blocks} from "./markdown_blocks.js";
import {parse_inline} from "./markdown_inline.js";

// Redraws only the blocks that changed, so a growing answer costs its last block and a selection elsewhere survives.
export function draw_markdown(target, text) {
  const blocks = parse_blocks(text);
  const old = [...target.children];
  blocks.forEach((block, i) => {
    if (old[i]?.markdown_source === block.source) return;
    const node = draw_block(block);
    node.markdown_source = block.source;
    if (old[i]) old[i].replaceWith(node);
    else target.append(node);
  });
  for (const extra of old.slice(blocks.length)) extra.remove();
}

function draw_block(block) {
  switch (block.type) {
    // The page's own headings are h1 and h2.
    case "heading": return el(`h${Math.min(6, block.level + 2)}`, {class: `level-${block.level}`}, ...inline(block.text));
    case "code": return draw_code(block);
    case "rule": return el("hr");
    case "math": return el("div", {class: "math block"}, block.text);
    case "quote": return el("blockquote", {}, ...block.blocks.map(draw_block));
    case "list": return draw_list(block);
    case "table": return draw_table(block);
    default: return el("p", {}, ...inline(block.text));
  }
}

function inline(text) {
  return parse_inline(text).map(draw_inline);
}

function draw_inline(node) {
  switch (node.type) {
    case "text": return document.createTextNode(node.text);
    case "code": return el("code", {}, node.text);
    case "math": return el("span", {class: "math"}, node.text);
    case "break": return el("br");
    case "link": return el("a", {href: node.href, title: node.href, target: "_blank", rel: "noopener noreferrer nofollow"}, ...node.children.map(draw_inline));
    default: return el(node.type, {}, ...node.children.map(draw_inline));
  }
}

function draw_code({language, text}) {
  const button = el("button", {type: "button", class: "icon-button", label: "copy_code", on: {click: () => copy_text(text, button)}}, icon("copy"));
  const code = el("code", {}, ...color_code(language, text));
  return el("div", {class: "code"}, el("div", {class: "code-bar"}, el("span", {}, language), button),
    el("pre", {tabindex: 0}, code));
}

function draw_list({start, tight, items}) {
  const list = el(start === null ? "ul" : "ol", start !== null && start !== 1 ? {start} : {});
  for (const {task, blocks} of items) {
    const box = task === null ? null : el("input", {type: "checkbox", disabled: true, checked: task});
    const nodes = blocks.flatMap((block) => (tight && block.type === "paragraph" ? inline(block.text) : [draw_block(block)]));
    list.append(el("li", task === null ? {} : {class: "task"}, box, ...nodes));
  }
  return list;
}

function draw_table({align, rows}) {
  const row = (cells, tag) => el("tr", {}, ...cells.map((cell, i) => el(tag, align[i] ? {class: align[i]} : {}, ...inline(cell))));
  return el("div", {class: "table", tabindex: 0},
    el("table", {}, el("thead", {}, row(rows[0], "th")), el("tbody", {}, ...rows.slice(1).map((cells) => row(cells, "td")))));
}
