// Limits and money are exact over several workers and CGI processes; what is revoked stays out.

import assert from "node:assert/strict";
import test from "node:test";
import { Stack, until } from "./lib/stack.mjs";

const body = { model: "mock-ledger", messages: [{ role: "user", content: "one" }] };

async function limitsOf(stack, id) {
  return (await stack.manage("GET", `limits?limit=100&token_id=${stack.tokenId}`)).data.find((l) => l.id === id);
}

test("limits and money are exact", { timeout: 120000 }, async (t) => {
  const stack = await Stack.start({ server: "nginx", settings: { workers: 4 }, mock: ["--delay-ms", "20"] });
  try {
    await stack.manage("POST", "prices", { model: "mock-ledger", input: "0", output: "0", request: "1" });

    await t.test("a budget of 100 calls' worth: 200 at once over 4 workers and CGI, exactly 100 pass", async () => {
      const limit = await stack.manage("POST", "limits",
        { scope: { token: stack.tokenId }, metric: "cost", window: "total", cap: "100" });
      const calls = [];
      for (let i = 0; i < 170; i++) calls.push(stack.ask(body));
      for (let i = 0; i < 30; i++) calls.push(stack.cgi(body));
      const statuses = await Promise.all(calls);
      const count = (s) => statuses.filter((x) => x === s).length;
      assert.deepEqual({ passed: count(200), refused: count(429) }, { passed: 100, refused: 100 });
      const after = await until("nothing stays reserved", 3000, async () => {
        const l = await limitsOf(stack, limit.id);
        return Number(l.reserved) === 0 && l;
      });
      assert.equal(after.used, "100.000000000");
      const usage = await stack.manage("GET", "usage?by=token&step=day");
      assert.equal(usage.data.find((u) => u.value === stack.tokenId).cost, "100.000000000");
      const stats = await stack.mockStats();
      assert.equal(stats.completed, 100);
      await stack.manage("DELETE", `limits/${limit.id}`);
    });

    await t.test("requests a minute, and Retry-After to the second", async () => {
      const seconds = new Date().getUTCSeconds();
      if (seconds > 50) await new Promise((r) => setTimeout(r, (61 - seconds) * 1000)); // not over a turn
      const limit = await stack.manage("POST", "limits",
        { scope: { token: "each" }, metric: "requests", window: "minute", cap: 10 });
      // what this minute has seen so far counts too, so a token that did nothing yet
      const made = stack.command(["token", "add", "--project", "first", "--json"]);
      const statuses = await Promise.all(Array.from({ length: 40 }, () => stack.ask(body, made.token)));
      assert.equal(statuses.filter((s) => s === 200).length, 10, `${statuses}`);
      const refused = await stack.chat(body, { token: made.token });
      const wait = Number(refused.headers.get("retry-after"));
      const left = 60 - new Date().getUTCSeconds();
      assert.ok(Math.abs(wait - left) <= 1, `Retry-After ${wait}, the minute has ${left} left`);
      const error = (await refused.json()).error;
      assert.equal(error.sluice_code, "rate_limited");
      assert.match(error.message, /requests in a minute.*10 of 10/);
      await stack.manage("DELETE", `limits/${limit.id}`);
    });

    await t.test("parallel: never above, and back to none", async () => {
      const limit = await stack.manage("POST", "limits",
        { scope: { token: "each" }, metric: "parallel", window: "total", cap: 5 });
      await fetch(stack.mock.url + "/mock/reset", { method: "POST" });
      const slow = { ...body, model: "mock:delay=150" };
      await Promise.all(Array.from({ length: 60 }, () => stack.ask(slow)));
      const stats = await stack.mockStats();
      assert.ok(stats.max_open <= 5, `${stats.max_open} at once at the provider`);
      assert.ok(stats.max_open >= 4, "they did run side by side");
      await until("back to none", 2000, async () => (await limitsOf(stack, limit.id)).reserved === 0);
      await stack.manage("DELETE", `limits/${limit.id}`);
    });

    await t.test("max_requests of a token", async () => {
      const made = stack.command(["token", "add", "--project", "first", "--max-requests", "7", "--json"]);
      const statuses = await Promise.all(Array.from({ length: 20 }, () => stack.ask(body, made.token)));
      assert.equal(statuses.filter((s) => s === 200).length, 7);
      const refused = await stack.chat(body, { token: made.token });
      assert.equal(refused.headers.get("retry-after"), null);
      assert.equal(refused.headers.get("x-should-retry"), "false");
    });

    await t.test("revoking bites on the very next request, at every worker", async () => {
      for (let i = 0; i < 5; i++) {
        const made = stack.command(["token", "add", "--project", "first", "--json"]);
        const before = await Promise.all(Array.from({ length: 16 }, () => stack.ask(body, made.token)));
        assert.ok(before.every((s) => s === 200), `before: ${before}`);
        await stack.manage("POST", `tokens/${made.id}/revoke`, { reason: "test" });
        const after = await Promise.all(Array.from({ length: 16 }, () => stack.ask(body, made.token)));
        assert.ok(after.every((s) => s === 401), `after: ${after}`);
      }
    });

    await t.test("an inactive project is refused at every worker, and comes back", async () => {
      await stack.manage("PATCH", `projects/${stack.project.id}`, { is_active: false });
      const off = await Promise.all(Array.from({ length: 16 }, () => stack.ask(body)));
      assert.ok(off.every((s) => s === 403), `${off}`);
      await stack.manage("PATCH", `projects/${stack.project.id}`, { is_active: true });
      const on = await Promise.all(Array.from({ length: 16 }, () => stack.ask(body)));
      assert.ok(on.every((s) => s === 200), `${on}`);
    });

    await t.test("a lost board is seeded from the rows", async () => {
      const limit = await stack.manage("POST", "limits",
        { scope: { token: stack.tokenId }, metric: "cost", window: "total", cap: "100000" });
      await stack.chat(body);
      const before = await limitsOf(stack, limit.id);
      assert.ok(Number(before.used) > 100);
    });
  } finally {
    assert.equal(await stack.stop(), 0, "everything ended on TERM");
  }
});
