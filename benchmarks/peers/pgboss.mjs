// pg-boss: four pollers, each at the shortest interval that it allows, fetching 1,000 at a time.
import { main, require } from "./protocol.mjs";

const PgBoss = require("pg-boss");

main((connectionString) => {
  const boss = new PgBoss({ connectionString, max: 10 });
  boss.on("error", console.error);
  const send = (numbers) => boss.insert(numbers.map((number) => ({ name: "noop", data: { number } })));
  return {
    install: async () => {
      await boss.start();
      await boss.createQueue("noop");
      await boss.stop({ graceful: false });
    },
    open: () => boss.start(),
    close: () => boss.stop({ graceful: false }),
    enqueueOne: (number) => boss.send("noop", { number }),
    enqueueBulk: async (numbers) => {
      for (let start = 0; start < numbers.length; start += 5000) await send(numbers.slice(start, start + 5000));
    },
    work: async (handle) => {
      await boss.start();
      for (let poller = 0; poller < 4; poller++)
        await boss.work("noop", { batchSize: 1000, pollingIntervalSeconds: 0.5 }, async (jobs) => {
          for (const job of jobs) handle(job.data.number);
        });
      return () => boss.stop({ graceful: false });
    },
  };
});
