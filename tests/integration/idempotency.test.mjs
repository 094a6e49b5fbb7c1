// Idempotency-Key: what has run under a key does not run again, from whatever worker.

import assert from "node:assert/strict";
import test from "node:test";
import { Stack, until } from "./lib/stack.mjs";

test("Idempotency-Key", { timeout: 60000 }, async (t) => {
  const stack = await Stack.start({ server: "nginx", settings: { workers: 2 } });
  const ask = async (key, body = {}, options = {}) => {
    const answer = await stack.chat({ model: "mock-chat", ...body },
      { ...options, headers: { ...(key === null ? {} : { "Idempotency-Key": key }), ...options.headers } });
    const text = await answer.text();
    return { status: answer.status, id: answer.headers.get("x-request-id"), headers: answer.headers,
      error: answer.status >= 400 ? JSON.parse(text).error : null };
  };
  const asked = async () => Object.values((await stack.mockStats()).requests["/v1/chat/completions"])
    .reduce((all, n) => all + n, 0);
  try {
    await stack.manage("POST", "prices", { model: "mock*", input: "1", output: "2" });

    await t.test("a repeat while it runs is 409 with the first one's id, and asks nobody", async () => {
      const first = ask("k-run", { model: "mock-slow-1500" });
      const running = await until("it runs", 5000, async () => (await stack.manage("GET", "inflight")).data[0]);
      const again = await ask("k-run", { model: "mock-slow-1500" });
      assert.deepEqual([again.status, again.error.sluice_code], [409, "request_running"]);
      assert.ok(again.error.message.includes(running.id));
      assert.equal(again.headers.get("x-sluice-first-request-id"), running.id);
      assert.notEqual(again.id, running.id, "a request of its own all the same");
      const done = await first;
      assert.deepEqual([done.status, done.id], [200, running.id]);
      const later = await ask("k-run", { model: "mock-slow-1500" });
      assert.deepEqual([later.status, later.error.sluice_code], [409, "request_repeated"]);
      assert.match(later.error.message, new RegExp(`${running.id}.*200`));
      assert.equal(later.headers.get("x-sluice-first-status"), "200");
      assert.equal(later.headers.get("x-should-retry"), "false");
      const rows = await until("rows", 5000, async () => {
        const all = (await stack.rows()).filter((r) => r.model === "mock-slow-1500");
        return all.length === 3 && all;
      });
      assert.equal(rows.filter((r) => r.ended_by === "refused" && r.status === 409).length, 2);
    });

    await t.test("another body under the same key is 422", async () => {
      assert.equal((await ask("k-body")).status, 200);
      const other = await ask("k-body", { max_tokens: 7 });
      assert.deepEqual([other.status, other.error.sluice_code], [422, "idempotency_key_reused"]);
      const elsewhere = await fetch(`${stack.url}/v1/completions`, { method: "POST",
        headers: { authorization: `Bearer ${stack.token}`, "Idempotency-Key": "k-body" },
        body: JSON.stringify({ model: "mock-chat", messages: [{ role: "user", content: "Hello" }] }) });
      assert.equal(elsewhere.status, 422, "nor may it go to another path");
      await elsewhere.text();
    });

    await t.test("of many at once one runs", async () => {
      const before = await asked();
      const all = await Promise.all(Array.from({ length: 24 }, () =>
        ask("k-many", { model: "mock:delay=200", stream: true })));
      assert.equal(all.filter((a) => a.status === 200).length, 1);
      assert.equal(all.filter((a) => a.status === 409).length, 23);
      assert.equal(await asked(), before + 1);
    });

    await t.test("a failure that cost nothing frees the key", async () => {
      for (const model of ["mock-error-400", "mock-error-500"]) {
        const first = await ask(`k-${model}`, { model });
        assert.ok(first.status >= 400);
        const again = await ask(`k-${model}`, { model });
        assert.equal(again.status, first.status, "it was tried again");
      }
    });

    await t.test("keys belong to their project; without one nothing is compared", async () => {
      await stack.manage("POST", "projects", { name: "second" });
      const { token } = await stack.manage("POST", "tokens", { project_id: "second" });
      assert.equal((await ask("k-body", {}, { token })).status, 200);
      for (let i = 0; i < 3; i++)
        assert.equal((await ask(null, {}, { headers: { "X-Request-Id": "same" } })).status, 200, "X-Request-Id is no key");
      assert.equal((await ask("x".repeat(255))).status, 200);
      assert.equal((await ask("x".repeat(256))).status, 400);
    });
  } finally {
    await stack.stop();
  }
});
