import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    globalSetup: ["test/setup.ts"],
    setupFiles: ["test/plain.ts"],
    testTimeout: 60_000,
    hookTimeout: 120_000,
    // Two cores, and some tests are themselves threads.
    maxWorkers: 2,
  },
});
