// Limits that name upstreams or keys bind each attempt: a candidate without room is passed over.

import assert from "node:assert/strict";
import test from "node:test";
import { Stack, until } from "./lib/stack.mjs";

test("limits on upstreams and keys", { timeout: 60000 }, async (t) => {
  const stack = await Stack.start({ server: "nginx", settings: { workers: 2 } });
  const limits = async () => (await stack.manage("GET", "limits?limit=100")).data;
  try {
    await stack.manage("POST", "prices", { model: "mock*", input: "0", output: "0", request: "0.01" });
    const second = stack.command(["upstream", "add", "--name", "second", "--protocol", "openai", "--base-url",
      stack.mock.url + "/v1", "--allow-private", "--models", "mock-shared", "--json"]);
    stack.command(["key", "add", "--upstream", "second", "--secret", "sk-provider-secret-0002"]);
    stack.command(["upstream", "set", "mock", "--models", "gpt-test,mock*"]);
    const of = (upstream, more) => stack.manage("POST", "limits", { scope: { upstream }, metric: "requests",
      window: "total", ...more });

    await t.test("exactly as many as fit pass, from many at once", async () => {
      const limit = await of("mock", { cap: 20 });
      const all = await Promise.all(Array.from({ length: 50 }, () => stack.ask({ model: "mock-chat",
        messages: [{ role: "user", content: "x" }] })));
      assert.equal(all.filter((s) => s === 200).length, 20);
      assert.equal(all.filter((s) => s === 429).length, 30);
      const after = (await limits()).find((l) => l.id === limit.id);
      assert.deepEqual([after.used, after.reserved], [20, 0]);
      const rows = (await stack.rows()).filter((r) => r.model === "mock-chat");
      assert.equal(rows.filter((r) => r.ended_by === "refused" && r.cost === "0.000000000").length, 30);
    });

    await t.test("one without room is passed over for one that has some", async () => {
      for (let i = 0; i < 5; i++) {
        const answer = await stack.chat({ model: "mock-shared" });
        assert.equal(answer.status, 200);
        assert.equal(answer.headers.get("x-sluice-upstream"), "second");
        await answer.text();
      }
    });

    await t.test("parallel calls of an upstream, given back when they end or their worker dies", async () => {
      const limit = await of("second", { metric: "parallel", cap: 2 });
      const cost = await of("second", { metric: "cost", cap: "50" });
      const abort = new AbortController();
      const body = { model: "mock:chunks=400,interval=50,bytes=20", stream: true };
      stack.command(["upstream", "set", "second", "--models", "mock-shared,mock:*"]);
      const open = await Promise.all([0, 1].map(() => stack.chat(body, { signal: abort.signal })));
      assert.deepEqual(open.map((a) => a.status), [200, 200]);
      assert.equal((await stack.chat(body)).status, 429);
      assert.equal((await stack.manage("GET", "inflight")).data.length, 2, "an attempt's lease is no exchange");
      for (const pid of stack.workers()) process.kill(pid, "SIGKILL");
      await until("all is given back", 10000, async () =>
        (await limits()).find((l) => l.id === limit.id).reserved === 0
        && (await stack.manage("GET", "inflight")).data.length === 0);
      abort.abort();
      assert.equal((await limits()).find((l) => l.id === cost.id).used, "0.070000000", "5 before, 2 that crashed");
      const crashed = (await stack.rows()).filter((r) => r.ended_by === "crash");
      assert.equal(crashed.length, 2);
      assert.ok(crashed.every((r) => r.usage === "estimated" && r.tokens.output > 0), JSON.stringify(crashed));
    });

    await t.test("a failed attempt gives back what it held, the next one is charged", async () => {
      stack.command(["upstream", "add", "--name", "broken", "--protocol", "openai", "--base-url",
        "http://127.0.0.1:1/v1", "--allow-private", "--models", "mock-shared", "--weight", "1000"]);
      stack.command(["key", "add", "--upstream", "broken", "--secret", "sk-provider-secret-0003"]);
      const broken = await of("broken", { cap: 100 });
      const cost = await of("second", { metric: "cost", cap: "100" });
      await until("a worker is there", 10000, async () => (await fetch(stack.url + "/health")).ok);
      let attempts = 0;
      for (let i = 0; i < 4; i++) {
        const answer = await stack.chat({ model: "mock-shared" });
        await answer.text();
        assert.equal(answer.status, 200);
        attempts = Math.max(attempts, Number(answer.headers.get("x-sluice-attempts")));
      }
      assert.ok(attempts > 1, "the broken one was tried");
      const now = await until("all is given back", 5000, async () => {
        const all = await limits();
        return all.every((l) => Number(l.reserved) === 0) && all;
      });
      assert.equal(now.find((l) => l.id === broken.id).used, 0);
      // 5 before this limit was made, 2 that crashed, 4 now
      assert.equal(now.find((l) => l.id === cost.id).used, "0.110000000");
    });
  } finally {
    await stack.stop();
  }
});
