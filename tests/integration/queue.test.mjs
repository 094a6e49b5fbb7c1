// When all are busy: turns by weight over all processes, ceilings, and what a death leaves behind.
//
// SLUICE_LONG=1: shares over a minute.

import assert from "node:assert/strict";
import test from "node:test";
import { Provider } from "./lib/provider.mjs";
import { SLOW, Stack, until } from "./lib/stack.mjs";

const LONG = process.env.SLUICE_LONG === "1";
const CAP = 2;
const CALL = "mock:delay=50";
const HANG = "mock:chunks=2000,interval=50,bytes=20";
const WEIGHTS = [1, 2, 5];
const EACH = 6; // requests for each of its weight that a project always has open: all run dry at once
const MOST = 64; // that may wait

test("requests wait for their turn", { timeout: (LONG ? 180_000 : 90_000) * SLOW }, async (t) => {
  const stack = await Stack.start({ server: "nginx", settings: { workers: 4, metrics_open: "yes",
    queue_most: MOST, queue_wait: "60s" } });
  const waiting = async () => (await stack.manage("GET", "inflight")).data.filter((r) => r.state === "waiting");
  const metric = async (name) => Number(new RegExp(`^sluice_${name} (\\S+)$`, "m")
    .exec(await (await fetch(`${stack.url}/metrics`)).text())[1]);
  const peak = async () => Math.max(...Object.values((await stack.mockStats()).keys).map((k) => k.max_in_flight));
  const settled = () => until("nothing runs", 10000, async () =>
    (await stack.manage("GET", "inflight")).data.length === 0);
  const set = (...args) => stack.command(["upstream", "set", "mock", ...args]);
  try {
    await stack.manage("PATCH", `upstreams/${stack.upstream.id}`, { max_parallel: CAP });
    const tokens = WEIGHTS.map((weight, i) => {
      stack.command(["project", "add", "--name", `weight-${i}`, "--weight", String(weight), "--json"]);
      return stack.command(["token", "add", "--project", `weight-${i}`, "--json"]).token;
    });

    await t.test("shares by weight, and never more at once than the cap", async () => {
      const seconds = LONG ? 60 : 8;
      const done = WEIGHTS.map(() => []);
      const others = [];
      const body = { model: CALL, messages: [{ role: "user", content: "x" }] };
      const end = Date.now() + (seconds + 1) * 1000;
      const worker = async (i) => {
        while (Date.now() < end) {
          const status = await stack.ask(body, tokens[i]);
          if (status === 200) done[i].push(Date.now());
          else if (Date.now() < end) others.push(status);
        }
      };
      const all = Promise.all(WEIGHTS.flatMap((_, i) => Array.from({ length: EACH * WEIGHTS[i] }, () => worker(i))));
      await until("some wait", 5000, async () => (await waiting()).length > 10);
      assert.ok(await metric("queue_waiting") > 10);
      const positions = (await waiting()).map((r) => r.position).sort((a, b) => a - b);
      assert.equal(positions[0], 1);
      assert.equal(new Set(positions).size, positions.length, "one line, in order");
      await all;
      // from when all waited to when none was sent any more
      const [from, to] = [end - seconds * 1000, end];
      const turns = done.map((times) => times.filter((at) => at >= from && at < to).length);
      const total = turns.reduce((a, b) => a + b, 0);
      const share = WEIGHTS.map((w) => w / WEIGHTS.reduce((a, b) => a + b, 0));
      t.diagnostic(`turns ${turns} of ${total}, ${(total / seconds).toFixed(1)} a second of at most ${CAP * 20}`);
      // Turns are apart by one of each project at most, and answers arrive out of their order by CAP: of the
      // few hundred turns of the short form that is some percent of the smallest share.
      const slack = LONG ? 0 : 1 + CAP;
      turns.forEach((n, i) => assert.ok(Math.abs(n - share[i] * total) <= 0.05 * share[i] * total + slack,
        `project of weight ${WEIGHTS[i]}: ${n} turns, not ${share[i] * total}`));
      for (let at = from; at + 1000 <= to; at += 1000)
        done.forEach((times, i) => assert.ok(times.some((time) => time >= at && time < at + 1000),
          `nobody starves: weight ${WEIGHTS[i]} at ${at - from} ms`));
      assert.deepEqual(others, []);
      assert.equal(await peak(), CAP);
      assert.ok(total > seconds * CAP * 20 * 0.5, `the upstream is kept busy: ${total} calls`);
      await settled();
    });

    await t.test("how long it waited is told", async () => {
      const [a, b, c] = [0, 1, 2].map(() => stack.chat({ model: "mock:delay=300" }));
      const timings = await Promise.all([a, b, c].map(async (answer) => {
        const got = await answer;
        await got.text();
        assert.equal(got.status, 200);
        return Number(/queue;dur=([\d.]+)/.exec(got.headers.get("server-timing"))?.[1] ?? 0);
      }));
      assert.ok(Math.max(...timings) >= 100, String(timings));
      assert.ok(await metric("queue_wait_seconds_count") > 0);
    });

    await t.test("who waited, and why, is in the record", async () => {
      const all = await Promise.all([0, 1, 2].map(() => stack.chat({ model: "mock:delay=200" })));
      const explained = await Promise.all(all.map(async (a) => (await a.text(),
        stack.manage("GET", `requests/${a.headers.get("x-request-id")}/explain`))));
      const queued = explained.map((e) => e.queued_ms ?? 0).sort((x, y) => x - y);
      assert.deepEqual(queued.slice(0, 2), [0, 0]);
      assert.ok(queued[2] >= 100, String(queued));
    });

    await t.test("what rests a moment is waited for", async () => {
      const provider = await Provider.start();
      provider.gives({ error: { message: "Rate limit reached", type: "requests", code: "rate_limit_exceeded" } },
        { status: 429, headers: { "retry-after": "1" } });
      try {
        stack.command(["upstream", "add", "--name", "rests", "--protocol", "openai", "--base-url",
          provider.url + "/v1", "--allow-private", "--models", "rests"]);
        stack.command(["key", "add", "--upstream", "rests", "--secret", "sk-provider-secret-0002"]);
        assert.equal((await stack.chat({ model: "rests" })).status, 429);
        provider.gives({ id: "x", object: "chat.completion", created: 1, model: "rests",
          choices: [{ index: 0, message: { role: "assistant", content: "Hi" }, finish_reason: "stop" }],
          usage: { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 } });
        const all = await Promise.all(Array.from({ length: 5 }, () => stack.chat({ model: "rests" })));
        assert.deepEqual(all.map((a) => a.status), Array(5).fill(200));
        assert.equal(provider.seen.length, 6, "nobody was asked while it rested");
      } finally {
        provider.stop();
      }
    });

    const abort = new AbortController();
    const kept = []; // an answer that nobody holds is closed by the collector
    const hang = () => stack.chat({ model: HANG, stream: true }, { signal: abort.signal });
    await t.test("a client that leaves, leaves the line", async () => {
      kept.push(...await Promise.all(Array.from({ length: CAP }, hang)));
      assert.deepEqual(kept.map((o) => o.status), Array(CAP).fill(200));
      const leaver = new AbortController();
      const left = stack.chat({ model: HANG, stream: true }, { signal: leaver.signal }).catch(() => null);
      await until("it waits", 5000, async () => (await waiting()).length === 1);
      leaver.abort();
      await left;
      await until("it has left", 5000, async () => (await waiting()).length === 0);
    });

    await t.test("a route has a line of its own length", async () => {
      await stack.manage("POST", "routes", { name: "short", model: "short", queue_most: 1,
        targets: [{ upstream: "mock", model: HANG }] });
      await stack.manage("POST", "routes", { name: "none", model: "none", queue_most: 0,
        targets: [{ upstream: "mock", model: HANG }] });
      const leaver = new AbortController();
      const waits = stack.chat({ model: "short" }, { signal: leaver.signal }).catch(() => null);
      await until("it waits", 5000, async () => (await waiting()).length === 1);
      for (const model of ["short", "none"]) {
        const full = await stack.chat({ model });
        assert.equal(full.status, 503);
        assert.ok(Number(full.headers.get("retry-after")) >= 1);
      }
      await stack.manage("POST", "routes", { name: "brief", model: "brief", queue_wait_ms: 300,
        targets: [{ upstream: "mock", model: HANG }] });
      const late = await stack.chat({ model: "brief" });
      assert.equal(late.status, 503);
      assert.ok(Number(late.headers.get("retry-after")) >= 1);
      const row = (await stack.rows()).find((r) => r.model === "brief");
      assert.deepEqual([row.ended_by, row.attempts], ["refused", 0], "it was never asked");
      leaver.abort();
      await waits;
      await until("it has left", 5000, async () => (await waiting()).length === 0);
    });

    await t.test("when the line is full, others are told when to come again", async () => {
      Array.from({ length: MOST }, hang).forEach((p) => p.catch(() => null));
      const full = await until("so many wait", 5000, async () => (await waiting()).length === MOST).then(hang);
      assert.equal(full.status, 503);
      assert.equal((await full.json()).error.sluice_code, "overloaded");
      const after = Number(full.headers.get("retry-after"));
      assert.ok(after >= 1 && after <= 60, String(after));
      t.diagnostic(`Retry-After: ${after}`);
    });

    await t.test("what dead workers waited for and held is free again", async () => {
      assert.equal((await waiting()).length, MOST);
      for (const pid of stack.workers()) process.kill(pid, "SIGKILL");
      await settled();
      abort.abort();
      await until("a worker is there", 10000, async () => (await fetch(stack.url + "/health")).ok);
      const again = await Promise.all(Array.from({ length: 4 }, () => stack.ask({ model: CALL,
        messages: [{ role: "user", content: "x" }] })));
      assert.deepEqual(again, [200, 200, 200, 200]);
      assert.equal(await peak(), CAP);
    });
  } finally {
    await stack.stop();
  }
});
