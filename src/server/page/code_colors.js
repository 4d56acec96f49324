// Colours for code: comments, strings, numbers and keywords, told apart by one pattern per family of languages.
import {el} from "./dom.js";

const kMaxLength = 50000;
const kMaxLine = 2000;
const kText = `"(?:[^"\\\\\\n]|\\\\.){0,${kMaxLine}}"|'(?:[^'\\\\\\n]|\\\\.){0,${kMaxLine}}'`;
const kNumber = "\\b0[xX][\\da-fA-F]+\\b|\\b\\d[\\d_]*(?:\\.\\d+)?(?:[eE][+-]?\\d+)?\\b";
const kWord = "[A-Za-z_]\\w{0,60}";

const kSlash = "\\/\\/[^\\n]*|\\/\\*[^]*?(?:\\*\\/|$)";
const kHash = "#[^\\n]*";
const kDashes = "--[^\\n]*";

function family(comment, extra_text, keywords, flags = "") {
  const text = extra_text ? `${extra_text}|${kText}` : kText;
  return {pattern: new RegExp(`(${comment})|(${text})|(${kNumber})|(${kWord})`, `g${flags}`), words: new Set(keywords.split(" "))};
}

const kC = family(kSlash, "`(?:[^`\\\\]|\\\\[^])*(?:`|$)", "abstract as async await auto bool boolean break case catch char class const constexpr continue " +
  "def default defer delete do double else enum export extends extern false final finally float fn for from func function go if impl implements import in " +
  "inline instanceof int interface let long match mod mut namespace new nil null nullptr operator override package private protected pub public " +
  "return self short signed sizeof static string struct super switch template this throw true try type typedef typename undefined unsigned use " +
  "using var virtual void volatile where while yield");
const kPython = family(kHash, '"""[^]*?(?:"""|$)|\'\'\'[^]*?(?:\'\'\'|$)', "False None True and as assert async await break class continue def del elif else except finally for " +
  "from global if import in is lambda nonlocal not or pass raise return self try while with yield match case");
const kShell = family(kHash, "", "if then else elif fi for in do done while until case esac function return export local set unset echo cd sudo exit source true false");
const kSql = family(`${kDashes}|\\/\\*[^]*?(?:\\*\\/|$)`, "", "select from where and or not insert into values update set delete create table drop alter join left right inner outer " +
  "on group by order having limit as distinct union all null is in like between case when then else end primary key", "i");
const kData = family(kHash, "", "true false null yes no");

const kFamilies = {
  python: kPython, py: kPython, bash: kShell, sh: kShell, shell: kShell, zsh: kShell, console: kShell, dockerfile: kShell, makefile: kShell,
  sql: kSql, json: kData, yaml: kData, yml: kData, toml: kData, ini: kData,
};
for (const name of ["c", "cpp", "c++", "h", "hpp", "cuda", "java", "javascript", "js", "jsx", "typescript", "ts", "tsx", "go", "rust", "rs", "csharp", "cs", "kotlin", "swift", "scala", "php", "dart"])
  kFamilies[name] = kC;

// Nodes that together hold exactly the text.
export function color_code(language, text) {
  const chosen = Object.hasOwn(kFamilies, language.toLowerCase()) ? kFamilies[language.toLowerCase()] : null;
  if (!chosen || text.length > kMaxLength) return [document.createTextNode(text)];
  const nodes = [];
  let at = 0;
  for (const match of text.matchAll(chosen.pattern)) {
    const word = match[4] && (chosen === kSql ? match[4].toLowerCase() : match[4]);
    const kind = match[1] ? "comment" : match[2] ? "string" : match[3] ? "number" : chosen.words.has(word) ? "keyword" : null;
    if (!kind) continue;
    nodes.push(document.createTextNode(text.slice(at, match.index)), el("span", {class: kind}, match[0]));
    at = match.index + match[0].length;
  }
  nodes.push(document.createTextNode(text.slice(at)));
  return nodes;
}
