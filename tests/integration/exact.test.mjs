// 500 clients at once over 8 workers and CGI processes: limits hold to the unit, and in the end board,
// rows, rollups and the provider's own count are one.  SLUICE_LONG=1: ten minutes of it, and five of
// killing whoever runs.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import path from "node:path";
import test from "node:test";
import { SLOW, Stack, programs, sleep, until } from "./lib/stack.mjs";

const LONG = process.env.SLUICE_LONG === "1";
const RUN_S = LONG ? 600 : 6;
const KILL_S = LONG ? 300 : 6;
const KILL_EACH_MS = 300;
const CLIENTS = 500;
const CGI = 20; // of them
const WORKERS = 8;

const nano = (usd) => BigInt(usd.replace(".", ""));
const body = { model: "mock-exact", max_tokens: 10, messages: [{ role: "user", content: "one" }] };
const count = (statuses, status) => statuses.filter((s) => s === status).length;

async function start() {
  const stack = await Stack.start({ server: "nginx", settings: { workers: WORKERS }, mock: ["--delay-ms", "20"] });
  await stack.manage("POST", "prices", { model: "mock*", input: "0", output: "0", request: "1" });
  return stack;
}
const newToken = (stack) => stack.command(["token", "add", "--project", "first", "--json"]);
const ofToken = async (stack, token) => (await stack.manage("GET", `limits?limit=100&token_id=${token}`)).data;
const nothingHeld = (stack, token, ms = 5000) => until("nothing is held", ms, async () =>
  (await ofToken(stack, token)).every((l) => Number(l.reserved) === 0));

// All at once; the statuses.
function crowd(stack, what, token) {
  return Promise.all(Array.from({ length: CLIENTS }, (_, i) =>
    (i % (CLIENTS / CGI) === 0 ? stack.cgi(what, token) : stack.ask(what, token))));
}

async function allRows(stack, token) {
  const rows = [];
  for (let cursor = ""; cursor !== null;) {
    const page = await stack.manage("GET", `requests?limit=500&token_id=${token}${cursor && `&cursor=${cursor}`}`);
    rows.push(...page.data);
    cursor = page.next;
  }
  assert.equal(new Set(rows.map((r) => r.id)).size, rows.length, "an exchange is booked twice");
  return rows;
}

// Board = rows = rollups, to the nano-dollar; the rows.
async function agree(stack, token, limit) {
  const rows = await allRows(stack, token);
  const fromRows = rows.reduce((sum, r) => sum + nano(r.cost ?? "0.000000000"), 0n);
  const board = (await ofToken(stack, token)).find((l) => l.id === limit);
  assert.equal(nano(board.used), fromRows, "board and rows");
  const usage = await stack.manage("GET", "usage?by=token&step=day");
  const fromRollups = usage.data.filter((u) => u.value === token).reduce((sum, u) => sum + nano(u.cost), 0n);
  assert.equal(fromRollups, fromRows, "rollups and rows");
  return rows;
}

test("500 clients at once over 8 workers and CGI", { timeout: (RUN_S + 240) * 1000 * SLOW }, async (t) => {
  const stack = await start();
  try {
    await t.test("a budget of 100.00 at 1.00 a call: exactly 100 pass", async () => {
      const token = newToken(stack);
      const limit = await stack.manage("POST", "limits",
        { scope: { token: token.id }, metric: "cost", window: "total", cap: "100" });
      await fetch(stack.mock.url + "/mock/reset", { method: "POST" });
      const statuses = await crowd(stack, body, token.token);
      assert.deepEqual([count(statuses, 200), count(statuses, 429)], [100, CLIENTS - 100]);
      await nothingHeld(stack, token.id);
      const rows = await agree(stack, token.id, limit.id);
      assert.equal(rows.filter((r) => r.status === 200).length, 100);
      assert.equal((await stack.mockStats()).completed, 100);
    });

    await t.test("60 requests a minute: exactly 60", async () => {
      const token = newToken(stack);
      if (new Date().getUTCSeconds() > 35) await sleep((61 - new Date().getUTCSeconds()) * 1000);
      await stack.manage("POST", "limits", { scope: { token: token.id }, metric: "requests", window: "minute", cap: 60 });
      const statuses = await crowd(stack, body, token.token);
      assert.deepEqual([count(statuses, 200), count(statuses, 429)], [60, CLIENTS - 60]);
    });

    await t.test("tokens a minute: never above", async () => {
      const token = newToken(stack);
      if (new Date().getUTCSeconds() > 35) await sleep((61 - new Date().getUTCSeconds()) * 1000);
      const limit = await stack.manage("POST", "limits",
        { scope: { token: token.id }, metric: "tokens", window: "minute", cap: 1000 });
      const statuses = await crowd(stack, body, token.token);
      assert.equal(count(statuses, 200) + count(statuses, 429), CLIENTS);
      await nothingHeld(stack, token.id);
      const rows = await allRows(stack, token.id);
      const used = rows.reduce((sum, r) => sum + r.tokens.input + r.tokens.output, 0);
      assert.ok(used <= 1000 && count(statuses, 200) > 10, `${used} tokens in ${count(statuses, 200)} calls`);
      assert.equal((await ofToken(stack, token.id)).find((l) => l.id === limit.id).used, used);
    });

    await t.test("5 in parallel, 3 of 10 clients leave in mid-stream: never above 5, back to none", async () => {
      const token = newToken(stack);
      const limit = await stack.manage("POST", "limits",
        { scope: { token: token.id }, metric: "parallel", window: "total", cap: 5 });
      await fetch(stack.mock.url + "/mock/reset", { method: "POST" });
      const streams = { model: "mock:chunks=10,interval=20,bytes=20", stream: true };
      let passed = 0;
      await Promise.all(Array.from({ length: CLIENTS }, async (_, i) => {
        await sleep(i * 6); // over 3 s, or nearly all would be refused at once
        const leaving = new AbortController();
        try {
          const answer = await stack.chat(streams, { token: token.token, signal: leaving.signal });
          if (answer.status !== 200) return void (await answer.arrayBuffer());
          passed++;
          if (i % 10 < 3) setTimeout(() => leaving.abort(), 60);
          await answer.arrayBuffer();
        } catch { /* it left */ }
      }));
      const stats = await stack.mockStats();
      assert.ok(stats.max_open <= 5, `${stats.max_open} at once at the provider`);
      assert.ok(passed > 20, `${passed} passed`);
      const began = performance.now();
      await until("back to none", 3000, async () =>
        (await ofToken(stack, token.id)).find((l) => l.id === limit.id).reserved === 0);
      t.diagnostic(`${passed} of ${CLIENTS} passed; back to none after ${(performance.now() - began).toFixed(0)} ms`);
    });

    await t.test(`${RUN_S} s of everything end in one sum`, { timeout: (RUN_S + 120) * 1000 * SLOW }, async () => {
      const token = newToken(stack);
      const limit = await stack.manage("POST", "limits",
        { scope: { token: token.id }, metric: "cost", window: "month", cap: "100000000" });
      for (const l of [{ metric: "requests", window: "minute", cap: 1000000 }, { metric: "tokens", window: "rolling",
        window_s: 3600, cap: 1000000000 }, { metric: "parallel", window: "total", cap: 10000 }])
        await stack.manage("POST", "limits", { scope: { token: "each" }, ...l });
      await fetch(stack.mock.url + "/mock/reset", { method: "POST" });
      const end = Date.now() + RUN_S * 1000;
      let answered = 0;
      await Promise.all(Array.from({ length: 40 }, async (_, i) => {
        while (Date.now() < end) {
          const status = i === 0 ? await stack.cgi(body, token.token) : await stack.ask(body, token.token);
          assert.equal(status, 200);
          answered++;
        }
      }));
      await nothingHeld(stack, token.id);
      const rows = await agree(stack, token.id, limit.id);
      assert.equal(rows.length, answered, "rows and answers");
      assert.equal((await stack.mockStats()).completed, answered, "the provider's count");
      assert.equal(rows.reduce((sum, r) => sum + nano(r.cost), 0n), BigInt(answered) * 1000000000n);
      t.diagnostic(`${answered} answers in ${RUN_S} s`);
    });
  } finally {
    await stack.stop();
  }
});

test(`kill -9 of a random process each ${KILL_EACH_MS} ms for ${KILL_S} s`, { timeout: (KILL_S + 180) * 1000 * SLOW }, async (t) => {
  const stack = await start();
  const running = new Set(); // CGI processes and commands
  let stopping = false;
  try {
    const limit = await stack.manage("POST", "limits",
      { scope: { token: stack.tokenId }, metric: "cost", window: "total", cap: "100000000" });
    await fetch(stack.mock.url + "/mock/reset", { method: "POST" });
    const keep = (pid) => running.add(pid);
    const clients = Array.from({ length: 40 }, async (_, i) => {
      while (!stopping) {
        let own;
        if (i < 4) await stack.cgi(body, stack.token, (pid) => keep(own = pid)).finally(() => running.delete(own));
        else await stack.ask(body);
      }
    });
    const writer = (async () => {
      while (!stopping)
        await new Promise((done) => {
          const child = spawn(path.join(programs, "sluice"), ["token", "add", "--project", "first", "--json"],
            { env: stack.env, stdio: "ignore" });
          keep(child.pid);
          child.on("close", () => { running.delete(child.pid); done(); });
        });
    })();
    let kills = 0;
    for (const end = Date.now() + KILL_S * 1000; Date.now() < end;) {
      const all = [...stack.workers(), ...running];
      try {
        process.kill(all[Math.floor(Math.random() * all.length)], "SIGKILL");
        kills++;
      } catch { /* it had just ended */ }
      await sleep(KILL_EACH_MS);
    }
    stopping = true;
    await Promise.all([...clients, writer]);
    await nothingHeld(stack, stack.tokenId, 15000);
    const rows = await agree(stack, stack.tokenId, limit.id);
    const { completed } = await stack.mockStats();
    const charged = rows.filter((r) => nano(r.cost ?? "0.000000000") > 0n);
    const crashed = charged.filter((r) => r.ended_by === "crash");
    assert.ok(crashed.every((r) => r.usage === "estimated"), "estimates are marked");
    assert.ok(charged.length >= completed, `${completed} answers of the provider, ${charged.length} charged`);
    assert.ok(charged.length - crashed.length <= completed, "what it did not answer is no full charge");
    t.diagnostic(`${kills} kills, ${completed} answers of the provider, ${charged.length} charged, ${crashed.length} by estimate`);
  } finally {
    stopping = true;
    await stack.stop();
  }
});
