// A pool of 50 keys of which the provider turns 20, each in its own way, while clients go on asking: no
// client notices, each key ends as its evidence says, rests as long as it should, is asked by one
// request at a time, and is back by itself when its cause is gone.

import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import test from "node:test";
import { SLOW, Stack, sleep, until } from "./lib/stack.mjs";

const KEYS = 50, CLIENTS = 12, LONG = process.env.SLUICE_LONG === "1";
const error = (message, more = {}) => JSON.stringify({ error: { message, ...more } });
const later = (s) => new Date(Date.now() + s * 1000);

// What is answered, the state it calls for, and the shortest time before the next call.
const LADDER = 400, STATED = 2000, FIRST = 850;
const behaviours = [
  { why: "401", to: "invalid", rest: FIRST, status: 401, body: error("Incorrect API key provided") },
  { why: "401 of Mistral", to: "invalid", rest: FIRST, status: 401, body: '{"message":"Unauthorized"}' },
  { why: "402", to: "exhausted", rest: FIRST, status: 402, body: error("Insufficient Balance") },
  { why: "402 by its code", to: "exhausted", rest: FIRST, status: 429,
    body: error("You exceeded your current quota", { type: "insufficient_quota", code: "insufficient_quota" }) },
  { why: "403 of the key", to: "invalid", rest: FIRST, status: 403,
    body: error("This project may not", { status: "PERMISSION_DENIED" }) },
  { why: "403 that names the model", to: "invalid", part: "gpt-test", rest: FIRST, status: 403,
    body: error("You have no access to model gpt-test", { code: "model_not_found" }) },
  { why: "a ban as 429", to: "invalid", rest: FIRST, status: 429,
    body: error("Your access was terminated", { type: "access_terminated" }) },
  { why: "429 without a time", to: "throttled", rest: LADDER, status: 429, body: error("Too many requests") },
  { why: "429 with Retry-After", to: "throttled", rest: STATED, status: 429, head: () => "retry-after: 2\r\n",
    body: error("slower") },
  { why: "429 with retry-after-ms", to: "throttled", rest: STATED, status: 429, body: error("slower"),
    head: () => "retry-after-ms: 2000\r\n" },
  { why: "429 until a date", to: "throttled", rest: 1000, status: 429, body: error("slower"),
    head: () => `retry-after: ${later(3).toUTCString()}\r\ndate: ${new Date().toUTCString()}\r\n`, now: true },
  { why: "429 with x-ratelimit-reset", to: "throttled", rest: STATED, status: 429, body: error("slower"),
    head: () => "x-ratelimit-remaining-requests: 0\r\nx-ratelimit-reset-requests: 2s\r\n" },
  { why: "429 with a unified reset", to: "throttled", rest: 1000, status: 429, body: error("slower"), now: true,
    head: () => `anthropic-ratelimit-unified-reset: ${later(3).toISOString()}\r\n` },
  { why: "429 with retryDelay", to: "throttled", rest: STATED, status: 429,
    body: error("slower", { details: [{ retryDelay: "2s" }] }) },
  { why: "429 with OpenRouter's reset", to: "throttled", rest: 1000, status: 429, now: true,
    body: () => error("slower", { code: 429, metadata: { headers: { "X-RateLimit-Reset": String(+later(3)) } } }) },
  { why: "529", to: "available", rest: 0, status: 529, body: error("Overloaded", { type: "overloaded_error" }) },
  { why: "529 with a time", to: "available", rest: 0, status: 529, head: () => "retry-after: 1\r\n",
    body: error("Overloaded", { type: "overloaded_error" }) },
  { why: "a hang", to: "available", breaker: true, rest: FIRST, hang: true },
  { why: "another hang", to: "available", breaker: true, rest: FIRST, hang: true },
  { why: "500", to: "available", breaker: true, rest: FIRST, status: 500, body: error("internal") },
];

const plain = (v) => (typeof v === "function" ? v() : v);

test("a pool of 50 keys of which 20 turn", { timeout: 180000 * SLOW }, async (t) => {
  const stack = await Stack.start({ seed: false, mock: ["--delay-ms", "30"], settings: { workers: 3,
    first_byte_timeout: "500ms", rest_default: "500ms", rest_invalid: "1s", rest_hint_cap: "3s", rest_max: "4s",
    retry_deadline: "20s" } });
  const tell = (what) => fetch(`${stack.mock.url}/mock/keys`, { method: "POST", body: JSON.stringify(what) });
  const told = async () => (await fetch(`${stack.mock.url}/mock/keys`)).json();
  const keys = [], seen = {};
  let on = true;
  try {
    stack.command(["project", "add", "--name", "first", "--json"]);
    await stack.manage("POST", "upstreams", { name: "mock", base_url: stack.mock.url + "/v1", allow_private: true,
      models: ["gpt-test"], breaker_open_s: 1 });
    for (let i = 0; i < KEYS; i++) {
      const last4 = `K${String(i).padStart(3, "0")}`;
      const made = await stack.manage("POST", "keys", { upstream: "mock", secret: `sk-pool-of-keys-${last4}` });
      keys.push({ last4, id: made.id });
    }
    stack.token = stack.command(["token", "add", "--project", "first", "--json"]).token;

    const ask = async () => {
      while (on) {
        const status = await stack.ask({ model: "gpt-test", messages: [{ role: "user", content: "Hello" }] });
        seen[status] = (seen[status] ?? 0) + 1;
      }
    };
    const clients = Array.from({ length: CLIENTS }, ask);
    await sleep(1500);

    const bad = [];
    const pick = keys.slice();
    for (const b of behaviours) {
      const [k] = pick.splice(Math.floor(Math.random() * pick.length), 1);
      bad.push({ ...b, ...k });
    }
    await t.test("turned at random times", async () => {
      await Promise.all(bad.map(async (k) => {
        await sleep(Math.random() * 3000);
        await tell({ [k.last4]: { status: k.status, hang: k.hang === true, head: plain(k.head) ?? "",
          body: plain(k.body) ?? "", delay_ms: 40 } });
        k.toldAt = Date.now();
      }));
      await sleep(4000 * SLOW); // each hangs five times before its breaker opens
      await fetch(`${stack.mock.url}/mock/reset`, { method: "POST" });
      // dates that were stated stay ahead
      for (let i = 0; i < (LONG ? 40 : 4); i++) await sleep(1000);
    });

    await t.test("no client saw an error", () => {
      assert.deepEqual(Object.keys(seen), ["200"], JSON.stringify(seen));
      assert.ok(seen[200] > 200, `only ${seen[200]} requests`);
    });

    await t.test("no needless call went to one that rested", async () => {
      const all = await told();
      for (const k of bad) {
        const { at_ms: at } = all[k.last4];
        if (k.rest === 0) continue;
        assert.ok(at.length > 0, `${k.why}: never asked`);
        // those in flight when the first was answered, or before its breaker opened
        const begun = k.breaker ? at[Math.min(at.length, 5) - 1] + 500 : at[0];
        const after = at.filter((ms) => ms > begun + 300 * SLOW);
        for (let i = 1; i < after.length; i++)
          assert.ok(after[i] - after[i - 1] >= Math.min(k.rest, k.now ? LADDER : k.rest) - 50,
            `${k.why}: asked again after ${after[i] - after[i - 1]} ms: ${at.map((ms) => ms - at[0])}`);
        if (after.length > 0 && !k.breaker)
          assert.ok(after[0] - at[0] >= k.rest, `${k.why}: asked again after ${after[0] - at[0]} ms`);
      }
    });

    await t.test("one probe at a time, over all processes", async () => {
      const stats = await stack.mockStats();
      for (const k of bad)
        if (k.rest > 0 && stats.keys[k.last4])
          assert.ok(stats.keys[k.last4].max_in_flight <= 1,
            `${k.why}: ${stats.keys[k.last4].max_in_flight} at once`);
    });

    await t.test("each ends in the state its evidence calls for", async () => {
      const text = () => fs.readFileSync(path.join(stack.log, "serve.out"), "utf8");
      for (const k of bad) {
        const states = () => [...text().matchAll(new RegExp(
          `${k.part ? "key at a model" : "key"} ${k.id}${k.part ? ` ${k.part}` : ""}: (breaker )?(\\w+) -> (\\w+) `, "g"))];
        if (k.to === "available") {
          assert.equal(states().filter((m) => !m[1]).length, 0, `${k.why}: left its state`);
          assert.equal(states().some((m) => m[1] && m[3] === "open"), k.breaker === true, `${k.why}: its breaker`);
        } else {
          assert.equal(states().filter((m) => !m[1]).at(-1)?.[3], k.to, k.why);
        }
      }
      for (const k of keys.filter((x) => !bad.some((b) => b.id === x.id)))
        assert.ok(!text().includes(`key ${k.id}:`), "a good key was touched");
      assert.doesNotMatch(text(), /upstream up_\w+: breaker closed -> open/);
    });

    await t.test("a restart of everything, kill -9 of the workers before it, loses no rest", async () => {
      for (const pid of stack.workers()) process.kill(pid, "SIGKILL");
      await until("new workers", 10000, () => stack.workers().length === 3);
      await fetch(`${stack.mock.url}/mock/reset`, { method: "POST" });
      await sleep(2000);
      const stats = await stack.mockStats();
      for (const k of bad)
        if (k.rest > 0 && stats.keys[k.last4])
          assert.ok(stats.keys[k.last4].max_in_flight <= 1, `${k.why}: ${JSON.stringify(stats.keys[k.last4])}`);
    });

    await t.test("all are back by themselves when the cause is gone", async () => {
      await tell({});
      await fetch(`${stack.mock.url}/mock/reset`, { method: "POST" });
      const healed = Date.now();
      await until("all keys to be asked", 4000 + 3000, async () => {
        const stats = await stack.mockStats();
        return bad.every((k) => stats.keys[k.last4]?.requests > 0);
      });
      t.diagnostic(`all were asked again within ${Date.now() - healed} ms`);
      const ill = () => {
        const text = fs.readFileSync(path.join(stack.log, "serve.out"), "utf8");
        return bad.filter((k) => k.to !== "available" && [...text.matchAll(new RegExp(
          `${k.id}${k.part ? ` ${k.part}` : ""}: (\\w+) -> (\\w+) `, "g"))].at(-1)?.[2] !== "available");
      };
      await until("all keys to be well", 15000, () => ill().length === 0)
        .catch((error) => assert.fail(`${error.message}: ${ill().map((k) => `${k.why} ${k.id}`)}`));
    });
    on = false;
    await Promise.all(clients);
    delete seen[0]; // cut by the kill of their worker
    t.diagnostic(`requests: ${JSON.stringify(seen)}`);
    assert.deepEqual(Object.keys(seen).filter((s) => !["200", "500", "502", "503"].includes(s)), []);
  } finally {
    on = false;
    assert.equal(await stack.stop(), 0, "nothing is left running");
  }
});
