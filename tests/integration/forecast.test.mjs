// Keys whose quota is used up are not asked: the provider refuses a tenth as often as without forecasts,
// for every form of load.  What is foreseen is told: API, command, metrics, history, log.

import assert from "node:assert/strict";
import test from "node:test";
import { SLOW, Stack, sleep, until } from "./lib/stack.mjs";

const LONG = Boolean(process.env.SLUICE_LONG);
const LASTS_MS = LONG ? 60000 : 10000;

// Each has a provider of its own with so many keys.  at(t): calls a second, t from 0 to 1 of its time.
// An upstream's own window is long against what a busy machine delays; a refusal is one call of a key and
// window at most, so it takes many of both.
const forms = {
  steady: { quota: "requests/2s=3", keys: 8, at: () => 15 },
  ramp: { quota: "requests/2s=3", keys: 8, at: (t) => 5 + 20 * t },
  bursts: { quota: "requests/2s=3", keys: 8, at: (t) => (Math.floor(t * LASTS_MS / 1000) % 2 === 0 ? 30 : 0) },
  "daily window": { quota: "requests/day=4", keys: LONG ? 150 : 25, at: () => 15 },
  "given, not told": { quota: "requests/5s=4", keys: 16, at: () => 18, told: 0, given: "requests/5s=4" },
  ...LONG && {
    "another eats too": { quota: "requests/5s=10", keys: 8, at: () => 18, others: 0.4 },
    "unknown capacity": { quota: "requests/minute=15", keys: 6, at: () => 2.5, told: 0, lastsMs: 720000 },
  },
};
const modelOf = (name) => `${name.replaceAll(/\W+/g, "-")}-model`;

async function begin(forecast) {
  const stack = await Stack.start({ server: "lighttpd-socket",
    settings: { workers: 2, forecast, metrics_open: "yes", queue_wait: "0s" } });
  stack.mocks = {};
  try {
    for (const [name, form] of Object.entries(forms)) {
      const mock = await stack.startMock(["--quota", form.quota, "--quota-told", String(form.told ?? 1),
        "--delay-ms", "15"]);
      stack.mocks[name] = mock;
      const upstream = await stack.manage("POST", "upstreams", { name: modelOf(name), protocol: "openai",
        base_url: mock.url + "/v1", allow_private: true, models: [modelOf(name)] });
      for (let n = 0; n < form.keys; n++)
        await stack.manage("POST", "keys", { upstream: upstream.id, secret: `sk-${modelOf(name)}-${n}`,
          ...form.given && { quotas: [form.given] } });
    }
  } catch (error) {
    await stack.stop();
    throw error;
  }
  return stack;
}

// The form's calls at their times, whatever comes of those before; how many were served.
async function load(stack, name) {
  const form = forms[name], lasts = form.lastsMs ?? LASTS_MS, from = Date.now(), calls = [], others = [];
  let due = 0, served = 0, theirs = 0;
  const ask = async () => {
    const answer = await stack.chat({ model: modelOf(name), messages: [{ role: "user", content: "x" }] });
    await answer.arrayBuffer();
    served += answer.status === 200;
  };
  const eat = async (n) => {
    for (let at = 0; at < lasts; at += 1000 / form.others) {
      await sleep(Math.max(0, from + at + n * 137 % 1000 - Date.now()));
      const answer = await fetch(stack.mocks[name].url + "/v1/chat/completions", { method: "POST",
        headers: { authorization: `Bearer sk-${modelOf(name)}-${n}`, "content-type": "application/json" },
        body: JSON.stringify({ model: "x", messages: [{ role: "user", content: "theirs" }] }) });
      await answer.arrayBuffer();
      theirs += answer.status === 429;
    }
  };
  for (let n = 0; form.others && n < form.keys; n++) others.push(eat(n));
  for (let at = 0, now; at < lasts; at = now) { // a busy machine must not make it a smaller load
    await sleep(20);
    now = Math.min(Date.now() - from, lasts);
    for (due += form.at(at / lasts) * (now - at) / 1000; due >= 1; due--) calls.push(ask());
  }
  await Promise.all([...calls, ...others]);
  const stats = await (await fetch(stack.mocks[name].url + "/mock/stats")).json();
  return { served, asked: calls.length,
    refused: (stats.requests["/v1/chat/completions"]["429"] ?? 0) - theirs, keys: Object.keys(stats.keys).length };
}

test("with forecasts the provider refuses a tenth as often", { timeout: (LONG ? 900000 : 180000) * SLOW }, async (t) => {
  const stacks = await Promise.all([begin("no"), begin("yes")]);
  const [off, on] = stacks;
  try {
    const seen = await Promise.all(Object.keys(forms).map(async (name) =>
      [name, ...await Promise.all(stacks.map((stack) => load(stack, name)))]));
    t.diagnostic("form                 asked  served off / on   429s off / on   fewer");
    for (const [name, was, is] of seen)
      t.diagnostic(`${name.padEnd(18)} ${String(is.asked).padStart(7)} ${`${was.served} / ${is.served}`.padStart(17)}`
        + `${`${was.refused} / ${is.refused}`.padStart(16)} ${(100 - 100 * is.refused / was.refused).toFixed(1)} %`);
    for (const [name, was, is] of seen) {
      assert.ok(was.refused >= 15, `${name}: only ${was.refused} refused without`);
      assert.ok(is.refused * 10 <= was.refused, `${name}: ${is.refused} of ${was.refused}`);
      assert.ok(is.served >= was.served * 0.9, `${name}: ${is.served} served, ${was.served} without`);
      assert.equal(is.keys, forms[name].keys, `${name}: every key is used`);
    }
  } finally {
    await Promise.all(stacks.map((stack) => stack.stop()));
  }
});

test("what is foreseen is told", { timeout: 60000 * SLOW }, async (t) => {
  const stack = await Stack.start({ mock: ["--quota", "requests/minute=1000"],
    settings: { workers: 2, metrics_open: "yes", queue_wait: "0s" } });
  const ask = async (times) => {
    for (let n = 0; n < times; n++) await (await stack.chat({ model: "mock-a" })).arrayBuffer();
  };
  const key = () => stack.manage("GET", `keys/${stack.key.id}`);
  const gauges = async () => (await fetch(stack.url + "/metrics")).text();
  const events = async () => (await stack.manage("GET", `keys/${stack.key.id}/history`)).data
    .filter((e) => e.kind === "quota");
  try {
    await t.test("by headers", async () => {
      await ask(2);
      const told = (await key()).forecast.find((q) => q.kind === "exact");
      assert.deepEqual([told.unit, told.capacity, told.remaining, told.model, told.window_s, told.state, told.uncertainty],
        ["requests", 1000, 998, "mock-a", 60, "abundant", "medium"], JSON.stringify(told));
      assert.match(await gauges(), new RegExp(`sluice_key_quota_remaining\\{key="${stack.key.id}",quota="requests",`
        + "seconds=\"60\",model=\"mock-a\"\\} 998\n"));
    });

    await t.test("a quota of an hour that will not last: before it is used up", async () => {
      stack.command(["key", "set", stack.key.id, "--quotas", "requests/hour=400"]);
      await ask(60);
      const now = await until("it is foreseen", 10000, async () => {
        const seen = await key();
        return seen.runs_dry && seen;
      });
      const given = now.forecast.find((q) => q.kind === "given");
      assert.deepEqual([given.unit, given.window_s, given.capacity, given.model, given.state, given.uncertainty],
        ["requests", 3600, 400, null, "critical", "low"]);
      assert.ok(given.remaining > 0 && given.used > 0 && given.rate_per_minute > 0, JSON.stringify(given));
      assert.equal(given.runs_dry_at, now.runs_dry_at);
      assert.match(now.runs_dry, /^\d{4}-\d\d-\d\d \d\d:\d\d ± \d+ (s|min|h)$/);
      assert.match(stack.command(["key", "list"]), /RUNS DRY[^]*\d\d:\d\d ± \d+/);
      const text = await gauges();
      for (const name of ["runs_dry_seconds", "runs_dry_spread_seconds"])
        assert.match(text, new RegExp(`sluice_key_${name}\\{key="${stack.key.id}",quota="requests",seconds="3600",model=""\\} \\d+\n`));
      const [event] = await until("it is in the key's history", 10000, async () => {
        const seen = await events();
        return seen.length > 0 && seen;
      });
      assert.deepEqual([event.scope, event.from, event.to, event.model, event.cause], ["key", "lasts", "runs_dry", null, null]);
      assert.ok(new Date(event.until) > Date.now(), event.until);
      assert.match(event.evidence, /^its quota of requests runs dry at \d{4}-\d\d-\d\d \d\d:\d\d ± \d+ (s|min|h)$/);
      await until("and in a log", 10000, () =>
        new RegExp(`"warn".*"alert".*key ${stack.key.id}: its quota of requests runs dry at .* ± `).test(stack.logs()));
    });

    await t.test("once, and that it is used up", async () => {
      stack.command(["key", "set", stack.key.id, "--quotas", "requests/hour=70"]);
      await ask(12);
      assert.equal((await stack.chat({ model: "mock-a" })).status, 503, "and nobody is asked for it");
      const [last, ...before] = await until("so it is", 10000, async () => {
        const seen = await events();
        return seen[0].to === "used_up" && seen;
      });
      assert.equal(last.from, "runs_dry");
      assert.equal(before.length, 1);
      assert.equal((await key()).forecast.find((q) => q.kind === "given").state, "exhausted");
    });
  } finally {
    await stack.stop();
  }
});
