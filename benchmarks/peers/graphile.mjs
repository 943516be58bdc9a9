// graphile-worker, tuned by its page on performance: local queue and batched completion.
import { main, require } from "./protocol.mjs";

const { Logger, makeWorkerUtils, run, runMigrations } = require("graphile-worker");
const logger = new Logger(() => (level, message) => {
  if (level === "error") console.error(message);
});

main((connectionString) => {
  let utils;
  return {
    install: () => runMigrations({ connectionString, logger }),
    open: async () => {
      utils = await makeWorkerUtils({ connectionString, logger });
    },
    close: () => utils.release(),
    enqueueOne: (number) => utils.addJob("noop", { number }),
    enqueueBulk: async (numbers) => {
      for (let start = 0; start < numbers.length; start += 5000)
        await utils.addJobs(
          numbers.slice(start, start + 5000).map((number) => ({ identifier: "noop", payload: { number } })),
        );
    },
    work: async (handle) => {
      const runner = await run({
        connectionString,
        logger,
        concurrency: 24,
        maxPoolSize: 10,
        noHandleSignals: true,
        taskList: { noop: async ({ number }) => handle(number) },
        preset: { worker: { localQueue: { size: 500 }, completeJobBatchDelay: 0 } },
      });
      return () => runner.stop();
    },
  };
});
