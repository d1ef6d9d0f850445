// What a script is told, and how it answers: one line of JSON.

export const told = JSON.parse(process.argv[2]);

// Some clients let Node exit while they wait to reconnect.
setInterval(() => {}, 1000);

export function answer(value) {
  process.stdout.write(`\n${JSON.stringify(value)}\n`, () => process.exit(0));
}

export async function until(condition, seconds = 20) {
  const deadline = Date.now() + seconds * 1000;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`not in ${seconds} s: ${condition}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

export function user(text, id = "u1") {
  return { id, role: "user", parts: [{ type: "text", text }] };
}
