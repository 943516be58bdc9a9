// The engine benchmark's side of a Node contender; protocol.py says what the verbs and lines mean.
import { createRequire } from "node:module";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";

// The packages lie in the folder that the process is started in, not beside this file.
export const require = createRequire(join(process.cwd(), "package.json"));

const now = () => Number(process.hrtime.bigint()) / 1e9;
const say = (message) => process.stdout.write(JSON.stringify(message) + "\n");

// make: url => {install, open, close, enqueueOne(number), enqueueBulk(numbers), work(handle) => stop function}
export async function main(make) {
  const [url, verb, ...options] = process.argv.slice(2);
  const contender = make(url);
  if (verb === "install") await contender.install();
  else if (verb === "work") await work(contender, Number(options[0]), options[1] === "1");
  else {
    await contender.open();
    if (verb === "enqueue") say(await enqueue(contender, Number(options[0]), Number(options[1])));
    else say({ sent: await trickle(contender, Number(options[0]), Number(options[1])) });
    await contender.close();
  }
  process.exit(0);
}

async function enqueue(contender, single, bulk) {
  await contender.enqueueOne(0);
  const started = now();
  for (let number = 1; number < single; number++) await contender.enqueueOne(number);
  const between = now();
  await contender.enqueueBulk(Array.from({ length: bulk }, (_, n) => single + n));
  return { single_s: between - started, bulk_s: now() - between };
}

async function trickle(contender, jobs, gap) {
  await sleep(gap * 1000);
  const sent = [];
  for (let number = 0; number < jobs; number++) {
    sent.push([number, now()]);
    await contender.enqueueOne(number);
    await sleep((0.5 + Math.random()) * gap * 1000);
  }
  return sent;
}

async function work(contender, jobs, recorded) {
  let first = 0;
  let handled = 0;
  const starts = [];
  const handle = (number) => {
    if (recorded) starts.push([number, now()]);
    if (!handled) first = now();
    if (++handled === jobs) say({ handled: true });
  };
  const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
  say({ ready: true });
  await lines.next();
  const stop = await contender.work(handle);
  await lines.next();
  await stop();
  say({ first, starts });
}
