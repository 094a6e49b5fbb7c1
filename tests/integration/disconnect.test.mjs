// A client that leaves: its provider is cancelled, or heard out as the project wants it.

import assert from "node:assert/strict";
import test from "node:test";
import { Stack, sleep, until } from "./lib/stack.mjs";

// Reads a stream's first event, then leaves.
async function leave(stack, model, headers = {}) {
  const abort = new AbortController();
  const answer = await stack.chat({ model, stream: true }, { signal: abort.signal, headers });
  assert.equal(answer.status, 200);
  const reader = answer.body.getReader();
  await reader.read();
  abort.abort();
  await reader.read().catch(() => {});
  return answer.headers.get("x-request-id");
}

const rowOf = (stack, id) => until("its row", 10000, async () => (await stack.rows()).find((r) => r.id === id));
const idle = (stack) => until("the provider is left alone", 10000, async () => (await stack.mockStats()).open === 0);

test("cancel, drain and drain:<seconds>", { timeout: 90000 }, async (t) => {
  const stack = await Stack.start({ server: "nginx", settings: { workers: 1, end_user_header: "X-End-User" } });
  const project = (disconnect) => stack.manage("PATCH", "projects/first", { disconnect });
  try {
    await stack.manage("POST", "prices", { model: "mock*", input: "1", output: "2" });
    const limit = await stack.manage("POST", "limits",
      { scope: { token: "each" }, metric: "cost", window: "total", cap: "1000" });
    const parallel = await stack.manage("POST", "limits",
      { scope: { token: "each" }, metric: "parallel", window: "total", cap: 10 });
    // 40 chunks of 100 ms: long enough to be left in the middle
    const model = "mock:chunks=40,interval=100,bytes=20";

    await t.test("cancel is what happens without a word", async () => {
      const id = await leave(stack, model);
      await idle(stack);
      const row = await rowOf(stack, id);
      assert.deepEqual([row.ended_by, row.usage, row.code], ["client", "estimated", "client_gone"]);
      assert.ok(row.duration_ms < 3900, `cancelled after ${row.duration_ms} ms`);
    });

    await t.test("drain hears the provider out and books what it reports", async () => {
      await project("drain");
      const id = await leave(stack, model);
      await sleep(300);
      assert.equal((await stack.mockStats()).open, 1, "the provider is still listened to");
      const held = (await stack.manage("GET", `limits?token_id=${stack.tokenId}`)).data
        .find((l) => l.id === parallel.id);
      assert.equal(held.reserved, 1, "and its lease is still held");
      const row = await rowOf(stack, id);
      assert.deepEqual([row.ended_by, row.usage, row.code, row.status],
        ["client", "reported", "client_gone", 200]);
      assert.ok(row.tokens.output > 0 && row.duration_ms >= 3900, `${row.duration_ms} ms`);
    });

    await t.test("drain:1 ends after a second, by estimate", async () => {
      await project("drain:1");
      const id = await leave(stack, model);
      const row = await rowOf(stack, id);
      assert.deepEqual([row.ended_by, row.usage], ["client", "estimated"]);
      assert.ok(row.duration_ms >= 1000 && row.duration_ms < 3900, `${row.duration_ms} ms`);
      await idle(stack);
    });

    await t.test("an answer that is no stream is heard out too", async () => {
      await project("drain");
      const abort = new AbortController();
      const asked = stack.chat({ model: "mock-slow-1500" }, { signal: abort.signal }).catch(() => null);
      await until("the provider has it", 5000, async () => (await stack.mockStats()).open === 1);
      abort.abort();
      await asked;
      const row = await until("its row", 10000, async () =>
        (await stack.rows()).find((r) => r.model === "mock-slow-1500"));
      assert.deepEqual([row.ended_by, row.usage, row.status], ["client", "reported", 499]);
    });

    await t.test("the setting counts where the project says nothing, and nonsense is refused", async () => {
      const answer = await fetch(`${stack.url}/manage/projects/first`, { method: "PATCH",
        headers: { authorization: `Bearer ${stack.manageToken}`, "content-type": "application/json" },
        body: JSON.stringify({ disconnect: "drain:soon" }) });
      assert.equal(answer.status, 400);
      assert.equal((await answer.json()).error.field, "disconnect");
      await project("");
      const id = await leave(stack, model);
      await idle(stack);
      assert.equal((await rowOf(stack, id)).usage, "estimated");
    });

    await t.test("rows and limit agree, nothing stays reserved", async () => {
      const nano = (usd) => BigInt(usd.replace(".", ""));
      const sum = (await stack.rows()).reduce((all, r) => all + nano(r.cost), 0n);
      await until("all is given back", 5000, async () => {
        const now = (await stack.manage("GET", `limits?token_id=${stack.tokenId}`)).data;
        return now.every((l) => Number(l.reserved) === 0) && nano(now.find((l) => l.id === limit.id).used) === sum;
      });
    });

    await t.test("a stopping worker does not wait for those that are heard out", async () => {
      await project("drain");
      const id = await leave(stack, "mock-hang-stream");
      const [pid] = stack.workers();
      process.kill(pid, "SIGTERM");
      await until("the worker is gone", 12000, () => !stack.workers().includes(pid));
      assert.equal((await rowOf(stack, id)).ended_by, "client");
    });
  } finally {
    await stack.stop();
  }
});

test("end users and tags in rows", { timeout: 30000 }, async () => {
  const stack = await Stack.start({ server: "nginx", settings: { workers: 1, end_user_header: "X-End-User" } });
  try {
    const users = [[{ user: "u1" }, {}, "u1"], [{ metadata: { user_id: "m1" } }, {}, "m1"],
      [{ safety_identifier: "s1", user: "u2" }, {}, "s1"], [{ user: "u3" }, { "X-End-User": "h1" }, "h1"]];
    for (const [body, headers, want] of users) {
      const answer = await stack.chat(body, { headers });
      await answer.text();
      const row = await rowOf(stack, answer.headers.get("x-request-id"));
      assert.equal(row.end_user, want);
    }
    const bad = await stack.chat({}, { headers: { "X-Sluice-Tag": "just words" } });
    assert.equal(bad.status, 400);
    assert.match((await bad.json()).error.message, /X-Sluice-Tag/);
    const good = await stack.chat({}, { headers: { "X-Sluice-Tag": "feature=search, team=a" } });
    assert.equal(good.status, 200);
    await good.text();
  } finally {
    await stack.stop();
  }
});
