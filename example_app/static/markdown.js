/**
 * Markdown → DOM nodes, for text that is still growing and that no person has checked.
 *
 * markdown-it parses, highlight.js colours code, DOMPurify removes everything that is not plain markup.
 * `tools/libraries.sh` installs the three; without them a text is shown as it is.
 */

const MAX_NESTING = 40; // Levels of quotes and lists. A deeper block is shown as plain text.
const MAX_COLOURED = 20_000; // Characters; a longer block of code is not coloured.
const ELSEWHERE = /^(https?:|mailto:)/i;
// No scheme at all, so that neither `javascript:` nor `data:` nor `//host` ever becomes a link.
const HERE = /^(?!\/\/)[\w./#-][\w./#?=&%-]*$/;

const AWAY = { target: "_blank", rel: "noopener noreferrer" };

const { parsers, clean } = await load().catch(() => ({}));

/** Element → the text and the blocks that it shows. */
const shown = new WeakMap();

/**
 * Make the children of `element` show `text`. Never throws.
 *
 * Of a text that has grown only the last two blocks are parsed, because a line that is still growing can
 * join the block before it, and only blocks whose HTML changed are drawn.
 * `relative` allows links to other pages of this site.
 */
export function render(element, text, { relative = false } = {}) {
  try {
    if (!parsers) return showPlain(element, text);
    draw(element, text.replace(/\r\n?/g, "\n"), relative ? parsers.site : parsers.answer);
  } catch (error) {
    console.error("Cannot draw the Markdown of an answer; its text is shown instead.", error);
    showPlain(element, text);
  }
}

function showPlain(element, text) {
  shown.delete(element);
  element.replaceChildren(plain(text));
}

function draw(element, text, parser, whole = false) {
  const before = shown.get(element) ?? { text: "", blocks: [] };
  const grown = !whole && !before.references && text.startsWith(before.text);
  const kept = grown ? before.blocks.slice(0, -2) : [];
  const start = grown ? (before.blocks[kept.length]?.start ?? 0) : 0;
  const { blocks, references } = parse(text.slice(start), parser, start);
  // The address of a link may follow the block that has the link.
  if (start && references) return draw(element, text, parser, true);

  blocks.forEach(({ html, source }, place) => {
    if (before.blocks[kept.length + place]?.html === html && html !== null) return;
    const present = element.children[kept.length + place];
    const made = html === null ? plain(source) : clean(html);
    if (!present) element.append(made);
    else if (!growCode(present, made)) present.replaceWith(made);
  });
  const all = [...kept, ...blocks];
  while (element.children.length > all.length) element.lastElementChild.remove();
  shown.set(element, { text, blocks: all, references });
}

/** Code that grows keeps its element, and with it the reader's place in it and the focus of its button. */
function growCode(present, made) {
  if (!present.matches(".code") || !made.matches(".code")) return false;
  for (const part of [".bar span", "code"]) present.querySelector(part).replaceWith(made.querySelector(part));
  return true;
}

/** Top-level blocks, one element each; `html` is null where a block is nested too deeply. */
function parse(text, parser, start) {
  const lines = [0];
  for (let end = text.indexOf("\n"); end >= 0; end = text.indexOf("\n", end + 1)) lines.push(end + 1);
  lines.push(text.length);

  const env = {};
  const blocks = topLevel(parser.parse(text, env)).map((tokens) => {
    const [first, last] = tokens[0].map;
    const deep = tokens.some(({ level }) => level >= MAX_NESTING - 1);
    return {
      start: start + lines[first],
      source: deep ? text.slice(lines[first], lines[last]).trimEnd() : "",
      html: deep ? null : parser.renderer.render(tokens, parser.options, env),
    };
  });
  return { blocks, references: Object.keys(env.references ?? {}).length > 0 };
}

function topLevel(tokens) {
  const blocks = [];
  let depth = 0;
  for (const token of tokens) {
    if (depth === 0) blocks.push([]);
    blocks.at(-1).push(token);
    depth += token.nesting;
  }
  return blocks;
}

function plain(text) {
  const made = document.createElement("p");
  made.className = "plain";
  made.textContent = text;
  return made;
}

// ---- The libraries, and where their output differs from their defaults.

async function load() {
  const [{ default: MarkdownIt }, { default: purify }, { default: highlighter }] = await Promise.all([
    import("./libraries/markdown-it.js"),
    import("./libraries/dompurify.js"),
    import("./libraries/highlight.js"),
  ]);
  const isElsewhere = (url) => ELSEWHERE.test(url);
  return {
    parsers: {
      answer: makeParser(MarkdownIt, highlighter, isElsewhere),
      site: makeParser(MarkdownIt, highlighter, (url) => isElsewhere(url) || HERE.test(url)),
    },
    // The policy of the page forbids style attributes, and images from elsewhere.
    clean: (html) => {
      const rules = { USE_PROFILES: { html: true }, FORBID_TAGS: ["style", "img", "form"], FORBID_ATTR: ["style"] };
      return purify.sanitize(html, { ...rules, ADD_ATTR: ["target"], RETURN_DOM_FRAGMENT: true }).firstElementChild;
    },
  };
}

function makeParser(MarkdownIt, highlighter, mayLink) {
  const parser = new MarkdownIt({ linkify: true, maxNesting: MAX_NESTING });
  const { rules } = parser.renderer;
  const { escapeHtml } = parser.utils;
  parser.linkify.set({ fuzzyLink: false, fuzzyEmail: false });
  parser.validateLink = mayLink;
  parser.core.ruler.push("page", ({ tokens }) => {
    tokens.forEach(adapt);
    markTasks(tokens);
  });

  const colour = (code, language) => {
    const known = code.length <= MAX_COLOURED && highlighter.getLanguage(language);
    return known ? highlighter.highlight(code, { language, ignoreIllegals: true }).value : escapeHtml(code);
  };
  // Code and tables scroll sideways, which a keyboard must be able to do too.
  rules.fence = rules.code_block = (tokens, place) => {
    const { content, info } = tokens[place];
    const language = info.trim().split(/\s/)[0];
    const code = colour(content.replace(/\n$/, ""), language);
    return (
      `<div class="code"><p class="bar"><span>${escapeHtml(language)}</span><button type="button">Copy</button></p>` +
      `<pre tabindex="0"><code>${code}</code></pre></div>`
    );
  };
  rules.table_open = () => '<div class="table" tabindex="0"><table>';
  rules.table_close = () => "</table></div>";
  // A link: an image would tell its server who reads the answer.
  rules.image = (tokens, place) => {
    const address = escapeHtml(tokens[place].attrGet("src"));
    return `<a href="${address}" target="${AWAY.target}" rel="${AWAY.rel}">${escapeHtml(tokens[place].content) || address}</a>`;
  };
  rules.hr = () => "<hr>";
  return parser;
}

function adapt(token) {
  if (token.type.startsWith("heading")) {
    // The page has a heading above every answer.
    if (token.nesting > 0) token.attrSet("class", `level-${token.tag[1]}`);
    token.tag = `h${Math.min(Number(token.tag[1]) + 2, 6)}`;
  }
  const aligned = /text-align:(\w+)/.exec(token.attrGet("style") ?? "");
  if (aligned) token.attrs = [["class", aligned[1]]];
  token.children?.forEach(adapt);
  if (token.type === "link_open" && ELSEWHERE.test(token.attrGet("href"))) {
    for (const [name, value] of Object.entries(AWAY)) token.attrSet(name, value);
  }
}

/** `[ ]` and `[x]` at the start of a list item become boxes. */
function markTasks(tokens) {
  tokens.forEach(({ type, children }, place) => {
    const first = children?.[0];
    if (type !== "inline" || first?.type !== "text" || tokens[place - 2]?.type !== "list_item_open") return;
    first.content = first.content.replace(/^\[([ xX])\](?=\s)/, (_, mark) => (mark === " " ? "☐" : "☑"));
  });
}
