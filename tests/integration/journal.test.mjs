// The store goes away under running workers: projects of fail mode open go on, their rows wait in a
// journal and are booked once; closed ones get 503.

import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import test from "node:test";
import { Stack, sleep, until } from "./lib/stack.mjs";

const nano = (usd) => BigInt(usd.replace(".", ""));

async function ask(stack, token, model = "mock-chat", stream = false) {
  const began = performance.now();
  const answer = await stack.chat({ model, stream }, { token, signal: AbortSignal.timeout(20000) });
  const text = await answer.text();
  return { status: answer.status, text, id: answer.headers.get("x-request-id"), ms: performance.now() - began };
}

async function allRows(stack) {
  const rows = [];
  let cursor = "";
  do {
    const page = await stack.manage("GET", `requests?limit=500${cursor && `&cursor=${cursor}`}`);
    rows.push(...page.data);
    cursor = page.next;
  } while (cursor);
  return rows;
}

test("without the store: open goes on and is booked once, closed is refused", { timeout: 120000 }, async (t) => {
  // brief: the store is left after each call, so that it can be taken away
  const stack = await Stack.start({ server: "nginx", settings: { workers: 1, brief: "yes" } });
  const db = path.join(stack.state, "db"), away = path.join(stack.state, "db-away");
  const journals = () => (fs.existsSync(path.join(stack.state, "journal"))
    ? fs.readdirSync(path.join(stack.state, "journal")).filter((n) => n.endsWith(".ndjson")) : []);
  try {
    await stack.manage("POST", "prices", { model: "mock*", input: "0", output: "0", request: "0.01" });
    await stack.manage("PATCH", "projects/first", { fail_mode: "open" });
    await stack.manage("POST", "projects", { name: "shut" });
    const shut = await stack.manage("POST", "tokens", { project_id: "shut" });
    const fresh = await stack.manage("POST", "tokens", { project_id: "first" });
    const cost = await stack.manage("POST", "limits",
      { scope: { token: stack.tokenId }, metric: "cost", window: "total", cap: "0.50" });
    const answered = new Set();
    // one worker: what it knows of tokens is its own
    for (let i = 0; i < 8; i++) {
      const [open, closed] = await Promise.all([ask(stack, stack.token, "mock-warm"), ask(stack, shut.token)]);
      assert.deepEqual([open.status, closed.status], [200, 200]);
      answered.add(open.id);
    }
    const before = answered.size;

    fs.renameSync(db, away);
    const first = await ask(stack, shut.token);
    assert.equal(first.status, 503);
    assert.equal(JSON.parse(first.text).error.sluice_code, "store_unavailable");
    let slowest = 0;
    for (let i = 0; i < 10; i++) {
      const one = await ask(stack, stack.token, "mock-chat", i % 2 === 1);
      assert.equal(one.status, 200, one.text);
      answered.add(one.id);
      slowest = Math.max(slowest, one.ms);
    }
    t.diagnostic(`slowest answer without the store ${slowest.toFixed(0)} ms`);
    assert.equal((await ask(stack, fresh.token)).status, 503, "a token nobody has seen is not let in");
    assert.equal((await ask(stack, "sk-sl-nonsense")).status, 401);
    assert.ok(journals().length >= 1, "rows wait in the journal");

    // the limit on the board still counts: what fits passes, what is beyond is refused
    let refused = 0;
    for (let i = 0; i < 60 && refused === 0; i++) {
      const one = await ask(stack, stack.token);
      if (one.status === 200) answered.add(one.id);
      else if (one.status === 429) refused++;
      else assert.fail(`${one.status} ${one.text}`);
    }
    assert.equal(answered.size, 50, "50 times 0.01");
    assert.equal(refused, 1);

    // the worker dies with its journal; its successor replays it
    process.kill(stack.workers()[0], "SIGKILL");
    await sleep(100);
    fs.renameSync(away, db);
    await until("all is booked", 30000, async () => {
      const ids = (await allRows(stack)).map((r) => r.id);
      return [...answered].every((id) => ids.includes(id)) && journals().length === 0;
    });
    const rows = (await allRows(stack)).filter((r) => r.token_id === stack.tokenId);
    assert.equal(new Set(rows.map((r) => r.id)).size, rows.length, "nothing is booked twice");
    const paid = rows.filter((r) => r.cost !== "0.000000000");
    assert.equal(paid.length, 50);
    const sum = paid.reduce((all, r) => all + nano(r.cost), 0n);
    assert.equal(sum, nano("0.500000000"));
    await until("board and rollups agree", 10000, async () => {
      const limit = (await stack.manage("GET", `limits?token_id=${stack.tokenId}`)).data.find((l) => l.id === cost.id);
      const usage = await stack.manage("GET", "usage?by=token&step=day");
      const rolled = usage.data.filter((u) => u.value === stack.tokenId).reduce((all, u) => all + nano(u.cost), 0n);
      return nano(limit.used) === sum && nano(limit.reserved) === 0n && rolled === sum;
    });
    assert.ok(before < 50);
    assert.equal((await ask(stack, shut.token)).status, 200, "closed projects are back");
  } finally {
    if (fs.existsSync(away)) fs.renameSync(away, db);
    await stack.stop();
  }
});
