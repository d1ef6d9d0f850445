// Prints the snippets for a list of questions: {asked, served} → [{name, code}].
import { SNIPPETS, snippetsFor } from "../../flask_aistream/web/playground/page/snippets.js";

const questions = JSON.parse(process.argv[2]);
const all = SNIPPETS.flatMap(({ needs }) => needs);
const codes = questions.map(({ asked, served = all }) =>
  snippetsFor(asked, served).map(({ name, make }) => ({ name, code: make(asked) })),
);
console.log(JSON.stringify(codes));
