// A pool of 50 keys of which the provider turns 20, each in its own way, while clients go on asking: no
// client notices, each key ends as its evidence says, rests as long as it should, is asked by one
// request at a time, and is back by itself when its cause is gone.

import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import test from "node:test";
import { SLOW, Stack, descendants, sleep, until } from "./lib/stack.mjs";

const KEYS = 50, CLIENTS = 12, LONG = process.env.SLUICE_LONG === "1";
const error = (message, more = {}) => JSON.stringify({ error: { message, ...more } });
const later = (s) => new Date(Date.now() + s * 1000);

// What is answered, the state it calls for, and the shortest time before the next call.
const LADDER = 400, STATED = 2000, FIRST = 850, CAPPED = 3000;
const behaviours = [
  { why: "401", to: "invalid", rest: FIRST, status: 401, body: error("Incorrect API key provided") },
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
  { why: "429 until a date", to: "throttled", rest: LADDER, status: 429, body: error("slower"),
    head: () => `retry-after: ${later(3).toUTCString()}\r\ndate: ${new Date().toUTCString()}\r\n`, now: true },
  { why: "429 with x-ratelimit-reset", to: "throttled", rest: STATED, status: 429, body: error("slower"),
    head: () => "x-ratelimit-remaining-requests: 0\r\nx-ratelimit-reset-requests: 2s\r\n" },
  { why: "429 with a unified reset", to: "throttled", rest: LADDER, status: 429, body: error("slower"), now: true,
    head: () => `anthropic-ratelimit-unified-reset: ${later(3).toISOString()}\r\n` },
  { why: "429 with retryDelay", to: "throttled", rest: STATED, status: 429,
    body: error("slower", { details: [{ retryDelay: "2s" }] }) },
  { why: "429 with OpenRouter's reset", to: "throttled", rest: LADDER, status: 429, now: true,
    body: () => error("slower", { code: 429, metadata: { headers: { "X-RateLimit-Reset": String(+later(3)) } } }) },
  { why: "429 with a family's reset", to: "throttled", rest: LADDER, status: 429, body: error("slower"), now: true,
    head: () => "anthropic-ratelimit-requests-remaining: 0\r\n"
      + `anthropic-ratelimit-requests-reset: ${later(3).toISOString()}\r\n` },
  { why: "529", to: "available", rest: 0, status: 529, body: error("Overloaded", { type: "overloaded_error" }) },
  { why: "529 with a time", to: "available", rest: 0, status: 529, head: () => "retry-after: 1\r\n",
    body: error("Overloaded", { type: "overloaded_error" }) },
  { why: "a hang", to: "available", breaker: true, rest: FIRST, hang: true },
  { why: "429 until tomorrow: the first cap", to: "exhausted", rest: CAPPED, status: 429, body: error("slower"),
    head: () => "retry-after: 86400\r\n" },
  { why: "500", to: "available", breaker: true, rest: FIRST, status: 500, body: error("internal") },
];

const stateOf = (moves) => moves.filter((m) => !m[1]).at(-1)?.[3];
const plain = (v) => (typeof v === "function" ? v() : v);

test("a pool of 50 keys of which 20 turn", { timeout: 180000 * SLOW }, async (t) => {
  const stack = await Stack.start({ seed: false, mock: ["--delay-ms", "30"], settings: { workers: 3,
    first_byte_timeout: "500ms", rest_default: "500ms", rest_invalid: "1s", rest_hint_cap: "3s", rest_max: "4s",
    retry_deadline: "20s", forecast: "off" } }); // what is foreseen of a quota is forecast.test.mjs's
  const tell = (what) => fetch(`${stack.mock.url}/mock/keys`, { method: "POST", body: JSON.stringify(what) });
  const told = async () => (await fetch(`${stack.mock.url}/mock/keys`)).json();
  const keys = [], seen = {};
  const text = () => fs.readFileSync(path.join(stack.log, "serve.out"), "utf8");
  // what the log tells of a key, or of it at a model: [, breaker?, from, to]
  const moves = (k) => [...text().matchAll(new RegExp(
    `${k.part ? "key at a model" : "key"} ${k.id}${k.part ? ` ${k.part}` : ""}: (breaker )?(\\w+) -> (\\w+) `, "g"))];
  const isThere = (k) => (k.to !== "available" ? stateOf(moves(k)) === k.to
    : !k.breaker || moves(k).some((m) => m[1] && m[3] === "open"));
  let on = true;
  try {
    stack.command(["project", "add", "--name", "first", "--json"]);
    await stack.manage("POST", "upstreams", { name: "mock", base_url: stack.mock.url + "/v1", allow_private: true,
      models: ["gpt-test"], breaker_open_s: 1, ramp_percent: 30 });
    for (let i = 0; i < KEYS; i++) {
      const last4 = `K${String(i).padStart(3, "0")}`;
      const made = await stack.manage("POST", "keys", { upstream: "mock", secret: `sk-pool-of-keys-${last4}` });
      keys.push({ last4, id: made.id });
    }
    stack.token = stack.command(["token", "add", "--project", "first", "--json"]).token;

    const ask = async (cgi) => {
      const body = { model: "gpt-test", messages: [{ role: "user", content: "Hello" }] };
      while (on) {
        const status = await (cgi ? stack.cgi(body) : stack.ask(body));
        seen[status] = (seen[status] ?? 0) + 1;
      }
    };
    const clients = Array.from({ length: CLIENTS }, (_, i) => ask(i === 0)); // one of them by CGI processes
    await sleep(800);

    const bad = [];
    const pick = keys.slice();
    for (const b of behaviours) {
      const [k] = pick.splice(Math.floor(Math.random() * pick.length), 1);
      bad.push({ ...b, ...k });
    }
    await t.test("turned at random times", async () => {
      await Promise.all(bad.map(async (k) => {
        await sleep(Math.random() * (LONG ? 20000 : 2000));
        k.toldAt = Date.now();
        await tell({ [k.last4]: { status: k.status, hang: k.hang === true, head: plain(k.head) ?? "",
          body: plain(k.body) ?? "", delay_ms: 40 } });
      }));
      await until("each to be where its evidence calls for", 60000, () => bad.every((k) => isThere(k)));
      await sleep(1000); // what was in flight then
      await fetch(`${stack.mock.url}/mock/reset`, { method: "POST" });
      await sleep(LONG ? 40000 : 2500);
    });

    await t.test("no client saw an error", async () => {
      const told = Object.keys(seen).length === 1 ? "" : text().split("\n")
        .filter((line) => /"(warn|error)"/.test(line) && !/"attempt"/.test(line)).slice(-5).join("\n");
      assert.deepEqual(Object.keys(seen), ["200"], JSON.stringify(seen) + told);
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
        // a moment was stated when it was told; dates have whole seconds
        const rest = k.now ? Math.max(LADDER, k.toldAt + 1950 - at[0]) : k.rest;
        if (after.length > 0 && !k.breaker)
          assert.ok(after[0] - at[0] >= rest - 20, `${k.why}: asked again after ${after[0] - at[0]} ms`);
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
      for (const k of bad) {
        if (k.to === "available") {
          assert.equal(moves(k).filter((m) => !m[1]).length, 0, `${k.why}: left its state`);
          assert.equal(moves(k).some((m) => m[1] && m[3] === "open"), k.breaker === true, `${k.why}: its breaker`);
        } else {
          assert.equal(stateOf(moves(k)), k.to, k.why);
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
      await sleep(1200);
      const stats = await stack.mockStats();
      for (const k of bad)
        if (k.rest > 0 && stats.keys[k.last4])
          assert.ok(stats.keys[k.last4].max_in_flight <= 1, `${k.why}: ${JSON.stringify(stats.keys[k.last4])}`);
    });

    await t.test("all are back by themselves when the cause is gone", async () => {
      await tell({});
      await fetch(`${stack.mock.url}/mock/reset`, { method: "POST" });
      const healed = Date.now();
      let late = [];
      await until("all keys to be asked", 4000 + 3000, async () => {
        const stats = await stack.mockStats();
        late = bad.filter((k) => !stats.keys[k.last4]?.requests);
        return late.length === 0;
      }).catch(async (error) => {
        const now = await Promise.all(late.map((k) => stack.manage("GET", `keys/${k.id}`)));
        const past = await Promise.all(late.map((k) => stack.manage("GET", `keys/${k.id}/history`)));
        assert.fail(`${error.message}: ${late.map((k, i) => `${k.why} ${JSON.stringify(now[i])}\n${JSON.stringify(past[i].data.slice(0, 5))}`).join("\n")}`);
      });
      t.diagnostic(`all were asked again within ${Date.now() - healed} ms`);
      const ill = () => bad.filter((k) => k.to !== "available" && stateOf(moves(k)) !== "available");
      await until("all keys to be well", 60000, () => ill().length === 0)
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

test("a lost board gets its rests back", { timeout: 60000 * SLOW }, async () => {
  const stack = await Stack.start({ seed: false, settings: { workers: 2, forecast: "off" } });
  const tell = (what) => fetch(`${stack.mock.url}/mock/keys`, { method: "POST", body: JSON.stringify(what) });
  try {
    stack.command(["project", "add", "--name", "first", "--json"]);
    await stack.manage("POST", "upstreams", { name: "mock", base_url: stack.mock.url + "/v1", allow_private: true,
      models: ["gpt-test"] });
    for (const last4 of ["K001", "K002", "K003", "K004"])
      await stack.manage("POST", "keys", { upstream: "mock", secret: `sk-pool-of-keys-${last4}` });
    stack.token = stack.command(["token", "add", "--project", "first", "--json"]).token;
    await tell({ K001: { status: 429, head: "retry-after: 300\r\n", body: error("slower") },
      K002: { status: 401, body: error("Incorrect API key provided") } });
    const asked = async () => {
      for (let i = 0; i < 12; i++) assert.equal((await stack.chat()).status, 200);
      const { keys } = await stack.mockStats();
      return [keys.K001?.requests ?? 0, keys.K002?.requests ?? 0];
    };
    assert.deepEqual(await asked(), [1, 1]);
    await until("both to be kept", 10000, () =>
      (fs.readFileSync(path.join(stack.log, "serve.out"), "utf8").match(/"event":"standing"/g) ?? []).length === 2);
    const stopAndStart = async (between, signal = "SIGTERM") => {
      const all = [stack.serving.pid, ...(signal === "SIGKILL" ? descendants(stack.serving.pid) : [])];
      for (const pid of all) process.kill(pid, signal);
      await until("its end", 15000, () => all.every((pid) => !fs.existsSync(`/proc/${pid}`)
        || /^\d+ \(.*\) Z/.test(fs.readFileSync(`/proc/${pid}/stat`, "utf8"))));
      between();
      fs.rmSync(path.join(stack.sockets, "gateway.sock"), { force: true });
      fs.rmSync(path.join(stack.sockets, "manage.sock"), { force: true });
      await stack.serve();
      await until("its health", 10000, async () => (await fetch(stack.url + "/health")).ok);
    };
    await stopAndStart(() => {});
    assert.deepEqual(await asked(), [1, 1], "after a restart");
    // a probe hangs, and everything is killed: the next request finds out
    const counted = async () => (await stack.mockStats()).keys.K003?.requests ?? 0;
    await tell({ K003: { status: 429, head: "retry-after: 1\r\n", body: error("slower") } });
    const before = await counted();
    await until("K003 to rest", 10000, async () => (await stack.chat()).status === 200 && await counted() > before);
    await tell({ K003: { hang: true } });
    await sleep(1100);
    const cut = stack.ask({ model: "gpt-test", messages: [{ role: "user", content: "Hello" }] });
    await until("its probe", 10000, async () => (await stack.mockStats()).keys.K003?.in_flight === 1);
    const asking = await counted();
    for (let i = 0; i < 8; i++) assert.equal((await stack.chat()).status, 200); // nobody else probes
    assert.equal(await counted(), asking);
    await stopAndStart(() => {}, "SIGKILL");
    await cut;
    await tell({ K003: null });
    await until("another probe", 10000, async () => (await stack.chat()).status === 200 && await counted() > asking);
    const asKilled = (await stack.mockStats()).keys;
    assert.deepEqual([asKilled.K001.requests, asKilled.K002.requests], [1, 1], "after kill -9 of everything");
    await stopAndStart(() => fs.rmSync(path.join(stack.state, "board")));
    assert.deepEqual(await asked(), [1, 1], "without its board");
    assert.match(fs.readFileSync(path.join(stack.log, "serve.out"), "utf8"), /[23] rests and breakers are back/);
  } finally {
    assert.equal(await stack.stop(), 0, "nothing is left running");
  }
});

test("breakers, by failures and by hand", { timeout: 90000 * SLOW }, async (t) => {
  const stack = await Stack.start({ seed: false, settings: { workers: 2, first_byte_timeout: "2s", retry_deadline: "5s",
    queue_most: "0" } });
  const tell = (what) => fetch(`${stack.mock.url}/mock/keys`, { method: "POST", body: JSON.stringify(what) });
  const asked = async () => Object.values((await stack.mockStats()).keys).reduce((sum, k) => sum + k.requests, 0);
  const status = async () => (await stack.chat()).status;
  const log = () => fs.readFileSync(path.join(stack.log, "serve.out"), "utf8");
  try {
    stack.command(["project", "add", "--name", "first", "--json"]);
    const up = await stack.manage("POST", "upstreams", { name: "mock", base_url: stack.mock.url + "/v1",
      allow_private: true, models: ["gpt-test"], group: "team", breaker_failures: 3, breaker_open_s: 2, ramp_percent: 100 });
    const key = await stack.manage("POST", "keys", { upstream: "mock", secret: "sk-pool-of-keys-K001" });
    stack.token = stack.command(["token", "add", "--project", "first", "--json"]).token;
    const breakerOf = async () => (await stack.manage("GET", `upstreams/${up.id}`)).standing;
    assert.equal(await status(), 200);

    await t.test("failures open it, one request at a time tries, and it closes", async () => {
      await tell({ K001: { status: 500, body: error("internal") } });
      for (let i = 0; i < 3; i++) assert.equal(await status(), 502);
      assert.equal(await status(), 503);
      const before = await asked();
      assert.equal(before, 4, "an open breaker asks nobody");
      await tell({ K001: { hang: true } });
      const now = await breakerOf();
      assert.match(`${now.breaker} ${now.account.breaker}`, /^(open|half_open) (open|half_open)$/);
      await sleep(2100);
      const all = await Promise.all(Array.from({ length: 8 }, status));
      assert.deepEqual(all.sort(), [503, 503, 503, 503, 503, 503, 503, 504]);
      assert.equal((await stack.mockStats()).keys.K001.max_in_flight, 1);
      assert.equal(await asked(), before + 1, "one request was its trial");
      await tell({ K001: null });
      await until("it closes", 10000, async () => (await status()) === 200 && (await breakerOf()).breaker === "closed");
      assert.equal((await breakerOf()).account.breaker, "closed");
    });

    await t.test("its transitions are in its history and in the log, with cause and evidence", async () => {
      let data = [];
      await until("all of it is kept", 5000, async () => { // a clerk does it each second
        ({ data } = await stack.manage("GET", `upstreams/${up.id}/history`));
        return data.filter((e) => e.to === "closed").length === 2;
      });
      const steps = (scope) => data.filter((e) => e.kind === "breaker" && e.scope === scope)
        .map((e) => `${e.from} ${e.to} ${e.cause}`).reverse();
      const want = ["closed open failures", "open half_open time", "half_open open failures", "open half_open time",
        "half_open closed probe"];
      assert.deepEqual(steps("upstream"), want);
      assert.deepEqual(steps("account"), want);
      const opened = data.filter((e) => e.to === "open" && e.scope === "upstream");
      assert.match(opened[1].evidence, /internal/);
      assert.match(opened[0].evidence, /upstream mock: .*(time|timeout)/, "a silence says how it failed");
      const past = (await stack.manage("GET", `keys/${key.id}/history`)).data;
      assert.ok(past.some((e) => e.kind === "breaker" && e.to === "open"));
      const told = want.map((s) => s.split(" ")).map(([from, to, cause]) => `upstream ${up.id}: breaker ${from} -> ${to} (${cause})`);
      await until("the log to have all", 5000, () => told.every((line) => log().includes(line)));
    });

    await t.test("forced open nobody is asked, forced closed everybody", async () => {
      const before = await asked();
      stack.command(["upstream", "breaker", "mock", "--state", "open"]);
      await until("it is open in every process", 5000, async () =>
        (await Promise.all(Array.from({ length: 8 }, status))).every((s) => s === 503));
      const atOpen = await asked();
      assert.equal(await status(), 503);
      assert.equal(await asked(), atOpen);
      assert.ok(atOpen >= before);
      await until("its history to tell", 5000, () => stack.command(["upstream", "history", "mock"]).includes("forced_open"));
      stack.command(["upstream", "breaker", "mock", "--state", "auto"]);
      await until("it is closed", 5000, async () => (await status()) === 200);
      await tell({ K001: { status: 500, body: error("internal") } });
      await until("it opens", 5000, async () => (await status()) === 503);
      await tell({ K001: null });
      stack.command(["upstream", "breaker", "mock", "--state", "closed"]);
      await until("it is asked all the same", 5000, async () => (await status()) === 200);
      await until("all of it is told", 5000, () => /breaker \w+ -> forced_open \(person\).*breaker \w+ -> forced_closed \(person\)/s.test(log()));
      stack.command(["upstream", "breaker", "mock", "--state", "auto"]);
    });

    await t.test("a key whose provider said when is asked then, whatever is foreseen of it", async () => {
      await until("it is well", 10000, async () => (await status()) === 200);
      for (let i = 0; i < 12; i++) assert.equal(await status(), 200);
      await tell({ K001: { status: 429, head: "retry-after: 2\r\n", body: error("slower") } });
      assert.equal(await status(), 429);
      await tell({ K001: null });
      const began = Date.now();
      const refused = await asked();
      await until("it is asked again", 10000, async () => (await status()) === 200);
      assert.ok(Date.now() - began >= 1500, `after ${Date.now() - began} ms`);
      assert.equal(await asked(), refused + 1);
    });
  } finally {
    assert.equal(await stack.stop(), 0, "nothing is left running");
  }
});
