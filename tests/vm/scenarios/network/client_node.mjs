// A client with Node's fetch.
//
// Each line of standard input is a number of requests and the addresses to take turns with; each line of output is how
// many were answered, and the last answer or what went wrong.
import { createInterface } from "node:readline";

for await (const order of createInterface({ input: process.stdin })) {
  const [count, ...urls] = order.split(" ");
  let done = 0;
  let said = "";
  try {
    for (; done < Number(count); done++) {
      said = (await (await fetch(urls[done % urls.length])).text()).trim();
    }
  } catch (error) {
    console.error(String(error.cause ?? error));
    const code = error.cause?.code ?? "failed";
    said = /^(EAI_|ENOTFOUND)/.test(code) ? "no-address" : code;
  }
  console.log(`${done} ${said}`);
}
