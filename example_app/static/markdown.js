/**
 * Markdown → DOM nodes, for text that is still growing and that nobody has checked.
 *
 * Nothing is ever parsed as HTML: what is not one of the few forms below stays the text it is.
 * Blocks that did not change keep their nodes, so a long answer costs no more than its last block.
 */

/** Make the children of `element` say `text`. `relative`: links to other pages of this site work. */
export function render(element, text, { relative = false } = {}) {
  const blocks = split(text);
  blocks.forEach((block, place) => {
    const old = element.children[place];
    if (old?.source === block.source) return;
    const made = MAKE[block.kind](block, relative);
    made.source = block.source;
    old ? old.replaceWith(made) : element.append(made);
  });
  while (element.children.length > blocks.length) element.lastElementChild.remove();
}

const FENCE = /^ {0,3}(```+|~~~+)\s*([\w+-]*)/;
const HEADING = /^(#{1,6})\s+(.*?)\s*#*$/;
const ITEM = /^(\s*)([-*+]|\d{1,9}[.)])\s+(.*)$/;
const QUOTE = /^>\s?(.*)$/;
const ROW = /^\s*\|(.*?)\|?\s*$/; // The last cell of a row that is still growing is open.
const RULE = /^\s*([-*_])(\s*\1){2,}\s*$/;

/** Kinds of block that are a run of lines of one form. */
const RUNS = [
  ["table", ROW],
  ["quote", QUOTE],
  ["heading", HEADING],
  ["rule", RULE],
  ["list", ITEM],
];

function split(text) {
  const blocks = [];
  let open = null;
  for (const line of text.split("\n")) {
    if (open?.kind === "code") {
      open.lines.push(line);
      if (line.trim() === open.fence) open = null;
      continue;
    }
    const fence = FENCE.exec(line);
    const kind = fence ? "code" : (RUNS.find(([, form]) => form.test(line))?.[0] ?? "paragraph");
    if (!line.trim()) {
      // A list may have blank lines between its items.
      if (open?.kind !== "list") open = null;
      else open.lines.push(line);
    } else if (open && joins(open.kind, kind, line, open.lines.at(-1))) {
      open.lines.push(line);
    } else {
      open = { kind, lines: [line], fence: fence?.[1] };
      blocks.push(open);
    }
  }
  for (const block of blocks) block.source = block.lines.join("\n").trimEnd();
  return blocks;
}

/** Whether a line of `kind` goes on with the block before it. */
function joins(open, kind, line, before) {
  if (open === "list") return kind === "list" || (kind === "paragraph" && (/^\s/.test(line) || before.trim() !== ""));
  if (open === "heading" || open === "rule" || open === "code") return false;
  return open === kind;
}

const MAKE = {
  paragraph: (block, relative) => node("p", inline(block.source, relative)),
  heading: (block, relative) => {
    const [, marks, title] = HEADING.exec(block.source);
    const made = node(`h${Math.min(marks.length + 2, 6)}`, inline(title, relative));
    made.className = `level-${marks.length}`;
    return made;
  },
  rule: () => document.createElement("hr"),
  quote: (block, relative) => {
    const made = document.createElement("blockquote");
    render(made, block.lines.map((line) => QUOTE.exec(line)[1]).join("\n"), { relative });
    return made;
  },
  code: (block) => {
    const closed = block.lines.length > 1 && block.lines.at(-1).trim() === block.fence;
    const made = node("pre", [node("code", [block.lines.slice(1, closed ? -1 : undefined).join("\n")])]);
    made.tabIndex = 0; // It scrolls sideways, which a keyboard must be able to do too.
    return made;
  },
  list,
  table,
};

/** A list; lines further to the right than their item belong to it, other lists included. */
function list(block, relative) {
  const [, indent, mark] = ITEM.exec(block.lines[0]);
  const made = document.createElement(/\d/.test(mark) ? "ol" : "ul");
  if (made.tagName === "OL") made.start = parseInt(mark, 10);
  const items = [];
  for (const line of block.lines) {
    const item = ITEM.exec(line);
    if (item && item[1].length <= indent.length) items.push({ text: item[3], inner: [] });
    else if (item || items.at(-1).inner.length) items.at(-1).inner.push(line);
    else if (line.trim()) items.at(-1).text += ` ${line.trim()}`;
  }
  for (const { text, inner } of items) {
    const entry = node("li", inline(text, relative));
    if (inner.length) entry.append(list({ lines: inner }, relative));
    made.append(entry);
  }
  return made;
}

const DIVIDER = /^[\s|:-]+$/;

function table(block, relative) {
  const rows = block.lines.filter((line) => !DIVIDER.test(line)).map(cells);
  const headed = block.lines.length > 1 && DIVIDER.test(block.lines[1]);
  const made = document.createElement("table");
  rows.forEach((row, place) => {
    const kind = headed && place === 0 ? "th" : "td";
    made.append(node("tr", row.map((cell) => node(kind, inline(cell, relative)))));
  });
  const frame = node("div", [made]);
  frame.className = "table";
  frame.tabIndex = 0;
  return frame;
}

function cells(line) {
  const pipes = /(?<!\\)\|(?=(?:[^`]*`[^`]*`)*[^`]*$)/;
  return ROW.exec(line)[1].split(pipes).map((cell) => cell.trim().replaceAll("\\|", "|"));
}

/** Forms within a line, the first that fits at a place wins. Each pattern has what it makes. */
const INLINE = [
  [/(`+)(.+?)\1(?!`)/s, (found) => node("code", [found[2].trim()])],
  [/\*\*(?=\S)(.+?)(?<=\S)\*\*/s, (found, relative) => node("strong", inline(found[1], relative))],
  [/(?<!\w)\*(?=[^\s*])(.+?)(?<=\S)\*(?!\w)/s, (found, relative) => node("em", inline(found[1], relative))],
  [/\[([^\]]+)\]\(([^()\s]+)\)/, (found, relative) => link(found[2], inline(found[1], relative), relative)],
  [/<?(https?:\/\/[^\s<>]*[^\s<>.,;:!?)'"])>?/, (found) => link(found[1], [found[1]])],
];

function inline(text, relative) {
  const made = [];
  while (text) {
    let first = null;
    for (const [pattern, make] of INLINE) {
      const found = pattern.exec(text);
      if (found && (!first || found.index < first.found.index)) first = { found, make };
    }
    if (!first) break;
    const { found, make } = first;
    if (found.index) made.push(text.slice(0, found.index));
    made.push(make(found, relative));
    text = text.slice(found.index + found[0].length);
  }
  return text ? [...made, text] : made;
}

const ELSEWHERE = /^https?:\/\//i;
// No scheme at all, so that neither `javascript:` nor `data:` nor `//host` ever becomes a link.
const HERE = /^(?!\/\/)[\w./#-][\w./#?=&%-]*$/;

function link(address, content, relative) {
  const elsewhere = ELSEWHERE.test(address);
  if (!elsewhere && !(relative && HERE.test(address))) return node("span", content);
  const made = node("a", content);
  made.href = address;
  if (elsewhere) {
    made.target = "_blank";
    made.rel = "noopener noreferrer";
  }
  return made;
}

function node(name, content) {
  const made = document.createElement(name);
  made.append(...content);
  return made;
}
