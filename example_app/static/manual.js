/** Show the Markdown of the page as what it says; without JavaScript it stays readable as it is. */
import "./copy.js";
import { render } from "./markdown.js";

const text = document.getElementById("text");
const source = text.textContent.replace(/<!--.*?-->\s*/gs, "");
text.replaceChildren();
render(text, source, { relative: true });
