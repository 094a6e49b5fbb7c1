// Every request of a run can be explained from its record alone, and was quoted right before: the same
// first candidate, the same refusal, no more than the worst cost; and the attempts of the explanation are
// those that the provider's own log knows.  One client at a time.

import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { after, before, test } from "node:test";
import { fits } from "./lib/explained.mjs";
import { Stack, until } from "./lib/stack.mjs";

let stack, log;
const last4 = {}, tokens = {};

function key(upstream, secret, more = []) {
  const made = stack.command(["key", "add", "--upstream", upstream, "--secret", secret, "--label", secret.slice(3, 9), "--json", ...more]);
  last4[made.id] = secret.slice(-4);
  return made.id;
}
const upstream = (name, protocol, models, more = {}) => stack.manage("POST", "upstreams", { name, protocol, models,
  allow_private: true, base_url: stack.mock.url + (protocol === "openai" ? "/v1" : ""), ...more });
function project(name) {
  stack.command(["project", "add", "--name", name]);
  tokens[name] = stack.command(["token", "add", "--project", name, "--json"]).token;
}
const price = (model, input, output, more = []) =>
  stack.command(["price", "add", "--model", model, "--input", input, "--output", output, ...more]);
// Waits until both workers have the last change: it was made with this route.
const known = (model) => until(`the gateway has ${model}`, 10000, async () =>
  (await (await stack.chat({ model }, { headers: { "x-sluice-dry-run": "1" } })).json()).route === model);

before(async () => {
  log = path.join(fs.mkdtempSync("/tmp/sluice-explain-"), "mock.log");
  stack = await Stack.start({ settings: { workers: 2 }, mock: ["--log", log], seed: false });
  for (const name of ["first", "small", "priced"]) project(name);
  stack.token = tokens.first;
  await stack.manage("PATCH", "projects/priced", { refuse_unpriced: true });
  await upstream("alpha", "openai", ["gpt-*", "mock-*", "cheap-*", "free"]);
  await upstream("beta", "openai", ["gpt-*", "cheap-*", "first-*"], { weight: 2 });
  await upstream("claude", "anthropic", ["cheap-*", "talk-*"]);
  await upstream("shut", "openai", ["gpt-*"]);
  key("alpha", "sk-alpha-good-secret-a001");
  key("alpha", "sk-alpha-bad429-secret-a002");
  key("alpha", "sk-alpha-bad500-secret-a003");
  key("beta", "sk-beta-good-secret-b001");
  key("beta", "sk-beta-bad401-secret-b002");
  key("claude", "sk-ant-good-secret-c001");
  key("shut", "sk-shut-good-secret-s001");
  price("gpt-*", "1", "2");
  price("cheap-*", "10", "20");
  price("cheap-*", "1", "1", ["--upstream", "claude"]);
  stack.command(["route", "add", "--name", "costs", "--model", "cheap-*", "--targets", "alpha,beta,claude", "--strategy",
    "objective", "--objectives", "cost=1"]);
  stack.command(["route", "add", "--name", "in-order", "--model", "first-*", "--targets",
    "alpha 1 1 mock-error-500,beta 1 1 gpt-4o", "--strategy", "first"]);
  stack.command(["route", "add", "--name", "falls", "--model", "fall", "--targets", "alpha 1 0 mock-error-500", "--fallbacks",
    "error gpt-test"]);
  stack.command(["policy", "add", "--name", "not-shut", "--type", "routing", "--scope", "global", "--blocked-upstreams", "shut"]);
  await stack.manage("POST", "limits", { metric: "requests", window: "hour", cap: 2, scope: { project: "small" } });
  await stack.manage("POST", "limits", { metric: "cost", window: "day", cap: "5.00", scope: { project: "each" } });
  await until("the gateway has all of it", 10000, async () => {
    const quote = await (await stack.chat({ model: "fall" }, { headers: { "x-sluice-dry-run": "1" } })).json();
    return quote.route === "falls" && quote.limits.length === 1;
  });
});
after(async () => {
  fs.rmSync(path.dirname(log), { recursive: true, force: true });
  assert.equal(await stack?.stop(), 0);
  assert.equal(stack.explained, 50, "and the last ones were explained again with nothing running");
});

const logged = () => (fs.existsSync(log) ? fs.readFileSync(log, "utf8").split("\n").filter(Boolean).map((l) => JSON.parse(l)) : []);
// The mock's log is written when its line is whole.
async function loggedFrom(at, count) {
  await until("the mock's log", 5000, () => logged().length >= at + count);
  return logged().slice(at).map((line) => [line.key, line.status]);
}

// As the management API is asked for the same.
const described = (project, body, headers = {}) => stack.manage("POST", "routes/quote", { project, model: body.model ?? "gpt-test",
  upstream: headers["x-upstream-name"] ?? null, session: headers["x-session-id"] ?? null,
  body: { model: "gpt-test", messages: [{ role: "user", content: "Hello" }], ...body } });

async function quoted(project, body, headers) {
  const dry = await stack.chat(body, { token: tokens[project], headers: { ...headers, "x-sluice-dry-run": "1" } });
  const quote = await dry.json();
  assert.equal(dry.status, 200);
  assert.equal(quote.object, "sluice.quote");
  assert.ok(!JSON.stringify(quote).includes("key_label"), "the operator's names of keys are no client's business");
  return quote;
}

async function once(project, body, headers) {
  const seen = logged().length;
  const quote = await quoted(project, body, headers);
  const managed = await described(project, body, headers);
  const answer = await stack.chat(body, { token: tokens[project], headers });
  const told = await answer.json();
  const id = answer.headers.get("x-request-id");
  const why = await stack.manage("GET", `requests/${id}/explain`);
  return { quote, managed, answer, told, why, seen, id };
}

// Whom it would go to: one that no limit of its own keeps out.
function first(q) {
  const c = q.candidates.find((candidate) => !candidate.refused_by);
  return c ? [c.upstream, c.key_id] : null;
}

function nano(money) {
  const [whole, part = ""] = money.split(".");
  return BigInt(whole) * 1000000000n + BigInt(part.padEnd(9, "0"));
}

const windows = { hour: 3600e3, day: 86400e3 };
// What its limits had left is what they have left afterwards and what it took; and each resets at its window's end.
async function remains(project, body, headers, { quote, why }, began) {
  const then = await quoted(project, body, headers);
  for (const limit of quote.limits) {
    const later = then.limits.find((l) => l.limit_id === limit.limit_id);
    const ends = Object.values(windows).flatMap((w) => [began, Date.now()].map((at) => (Math.floor(at / w) + 1) * w));
    assert.ok(ends.includes(Date.parse(limit.resets)), limit.resets);
    if (!later || later.resets !== limit.resets) continue; // another window began just now
    const amount = limit.metric === "cost" ? nano : BigInt;
    const took = !quote.would_admit ? 0n : limit.metric === "cost" ? nano(why.request.cost ?? "0") : 1n;
    assert.equal(amount(later.used) - amount(limit.used), took, JSON.stringify({ limit, later, why }));
    const left = amount(limit.cap) - amount(limit.used) - amount(limit.reserved);
    assert.equal(amount(limit.remaining), left > 0n ? left : 0n, JSON.stringify(limit));
    assert.ok(took <= amount(limit.takes), JSON.stringify({ limit, took: String(took) }));
  }
}

async function compare(project, body, headers, { unseen = false } = {}) {
  const began = Date.now();
  const all = await once(project, body, headers);
  const { quote, managed, answer, told, why, seen, id } = all;
  const said = JSON.stringify({ body, quote, managed, status: answer.status, told, why }, null, 1);
  for (const q of unseen ? [quote] : [quote, managed]) {
    assert.equal(q.would_admit, why.attempts?.length > 0, said);
    if (!q.would_admit) {
      assert.deepEqual([q.error.code, q.error.status], [why.request.code, answer.status], said);
      assert.equal(q.error.message, told.error.message, said);
      continue;
    }
    assert.deepEqual(first(q), [why.attempts[0].upstream, why.attempts[0].key_id], said);
    if (answer.ok && why.request.cost !== null)
      assert.ok(Number(why.request.cost) <= Number(q.worst_cost), said);
  }
  if (!unseen) {
    assert.deepEqual(first(quote), first(managed), said);
    assert.ok(managed.candidates.every((c) => c.key_id === null || c.key_label !== null), said);
    assert.deepEqual([quote.worst_cost, quote.usual_cost], [managed.worst_cost, managed.usual_cost], said);
    assert.deepEqual(quote.limits, managed.limits, said);
  }
  await remains(project, body, headers, all, began);
  assert.equal(why.request.id, id);
  assert.ok(why.has_record || !quote.would_admit, said);
  // what the provider saw
  const attempts = why.attempts ?? [];
  assert.deepEqual(attempts.map((a) => [last4[a.key_id], a.status]), await loggedFrom(seen, attempts.length), said);
  fits((await stack.rows("limit=1"))[0], why);
  return all;
}

test("what is quoted happens, and what happened is explained", { timeout: 60000 }, async () => {
  let requests = 0;
  const go = (...args) => (requests++, compare(...args));
  for (let i = 0; i < 24; i++) await go("first", { model: ["gpt-test", "gpt-4o", "cheap-one", "first-one"][i % 4], max_tokens: 50 });
  for (let i = 0; i < 4; i++) await go("first", { model: "fall" });
  for (let i = 0; i < 4; i++) await go("first", { model: "gpt-test" }, { "x-upstream-name": "beta" });
  await go("first", { model: "none-such" });
  const refused = (await stack.rows("limit=1"))[0];
  assert.equal(refused.code, "no_route");

  // by cost: the cheapest first, and conversion for it told
  const cheap = await go("first", { model: "cheap-two", seed: 7 });
  assert.equal(cheap.why.route, "costs");
  assert.equal(cheap.why.strategy, "objective");
  assert.equal(cheap.quote.candidates[0].upstream, "claude");
  assert.match(cheap.quote.candidates[0].dropped, /seed/);
  assert.match(cheap.managed.candidates[0].dropped, /seed/);
  assert.match(cheap.why.request.dropped, /seed/);
  assert.ok(cheap.why.candidates.some((c) => c.terms.cost > 0), JSON.stringify(cheap.why.candidates));

  // a fallback, and why
  const fell = await go("first", { model: "fall" });
  assert.equal(fell.answer.status, 200);
  assert.ok(fell.why.attempts.at(-1).stage === 1 && fell.why.attempts.at(-1).stage_on === "error");
  assert.match(fell.why.text, /fallback 1 \(on error\)/);

  // who is kept out, and until when
  const usual = await go("first", { model: "gpt-test" });
  assert.ok(usual.why.policies.some((p) => p.policy === "not-shut"), JSON.stringify(usual.why));
  assert.ok(usual.why.counts.rests > 0 || usual.why.counts.invalid > 0, JSON.stringify(usual.why.counts));
  const rests = usual.why.candidates.find((c) => c.reason === "rests" || c.reason === "invalid");
  assert.ok(rests.reason !== "rests" || Date.parse(rests.until) > Date.now() - 60000, JSON.stringify(rests));

  // limits: two pass, the third is refused as it was told, with the same words
  await go("small", { model: "gpt-test" });
  const second = await go("small", { model: "gpt-test" });
  const limit = second.quote.limits.find((l) => l.metric === "requests");
  assert.deepEqual([limit.used, limit.remaining, limit.takes, limit.cap, limit.refuses], [1, 1, 1, 2, false]);
  const third = await once("small", { model: "gpt-test" });
  requests++;
  assert.equal(third.quote.would_admit, false);
  assert.equal(third.answer.status, 429);
  for (const q of [third.quote, third.managed]) {
    assert.equal(q.error.message, third.told.error.message);
    assert.equal(q.error.code, "rate_limited");
    assert.equal(q.limits.find((l) => l.refuses).metric, "requests");
    assert.ok(third.told.error.message.includes(q.may_go.replace(/\.000Z$/, "")), q.may_go);
    assert.ok(q.retry_after > 0 && q.retry_after <= 3600);
  }
  assert.ok(third.why.has_record);
  assert.equal(third.why.attempts.length, 0);
  assert.match(third.why.text, /It was not sent to anybody \(refused\)/);

  // nothing but the requests themselves was booked or counted
  const rows = await stack.rows("limit=200");
  assert.equal(rows.length, requests);
  // and each of them has its page
  for (const row of rows) {
    const text = stack.command(["explain", row.id]);
    for (const title of ["REQUEST", "SUMMARY"]) assert.ok(row.code === "no_route" || text.includes(title), text);
    assert.ok(text.includes(row.id) && !text.includes("secret"), text);
  }
});

const reasons = ({ why }) => why.candidates.map((c) => c.reason);

test("each reason is quoted before, and explained after", { timeout: 60000 }, async (t) => {
  const go = (model, headers, body = {}, project = "first") => compare(project, { model, ...body }, headers);
  const route = (model, targets, more = {}) => stack.manage("POST", "routes",
    { name: model, model, targets: targets.map((u) => ({ upstream: u })), strategy: "first", ...more });

  await t.test("keys that are exhausted or refused rest, until a time", async () => {
    await upstream("used-up", "openai", ["why-rests"]);
    for (const secret of ["sk-bad402-secret-x001", "sk-bad401-secret-x002", "sk-fine-secret-x003"]) key("used-up", secret);
    await route("why-rests", ["used-up"]);
    await known("why-rests");
    const asked = await go("why-rests");
    assert.equal(asked.why.attempts.length, 3);
    const later = await go("why-rests");
    assert.deepEqual(reasons(later).sort(), ["chosen", "invalid", "rests"]);
    assert.deepEqual(later.quote.others.map((o) => [o.reason, Date.parse(o.until) > Date.now()]).sort(),
      [["invalid", true], ["rests", true]]);
    assert.match(later.why.text, /it rests: throttled or exhausted, until \d{4}-/);
  });

  await t.test("a quota that is foreseen to be used up", async () => {
    await upstream("metered", "openai", ["why-forecast"]);
    key("metered", "sk-meter-secret-f001", ["--quotas", "requests/hour=2"]);
    key("metered", "sk-spare-secret-f002");
    await route("why-forecast", ["metered"]);
    await known("why-forecast");
    const seen = [];
    for (let i = 0; i < 5; i++) seen.push(await go("why-forecast"));
    assert.ok(reasons(seen.at(-1)).includes("forecast"), JSON.stringify(seen.at(-1).why));
    assert.match(seen.at(-1).why.text, /its quota is used up by the forecast, until /);
  });

  await t.test("a breaker that is open", async () => {
    const open = await upstream("broken", "openai", ["why-breaker"]);
    key("broken", "sk-break-secret-o001");
    await upstream("whole", "openai", ["why-breaker"]);
    key("whole", "sk-whole-secret-o002");
    await stack.manage("POST", `upstreams/${open.id}/breaker`, { state: "open" });
    await route("why-breaker", ["broken", "whole"]);
    await known("why-breaker");
    const asked = await go("why-breaker");
    assert.deepEqual(reasons(asked), ["chosen", "breaker"]);
    assert.equal(asked.quote.others[0].reason, "breaker");
  });

  await t.test("policies forbid a model, and what costs too much", async () => {
    await upstream("dear", "openai", ["why-dear", "why-denied"]);
    key("dear", "sk-dear1-secret-p001");
    await upstream("cheap", "openai", ["why-dear"]);
    key("cheap", "sk-cheap-secret-p002");
    price("why-dear", "1", "1");
    price("why-dear", "1000", "1000", ["--upstream", "dear"]);
    await stack.manage("POST", "policies", { name: "no-denied", type: "routing", scope: "global", blocked_models: ["why-denied"] });
    await route("why-denied", ["dear"]);
    const { id } = await route("why-dear", ["dear", "cheap"]);
    await stack.manage("POST", "policies", { name: "no-dear", type: "cost_control", scope: "route", route: id, max_cost: "1.00" });
    await known("why-dear");
    await until("the last policy holds", 10000, async () =>
      (await quoted("first", { model: "why-dear" })).policies.includes("no-dear"));
    const denied = await go("why-denied");
    assert.deepEqual([denied.answer.status, denied.why.request.code], [403, "model_not_allowed"]);
    assert.ok(denied.why.has_record && denied.why.policies.some((p) => p.policy === "no-denied"), JSON.stringify(denied.why));
    const paid = await go("why-dear");
    assert.deepEqual(reasons(paid), ["chosen", "cost"]);
    assert.equal(paid.quote.candidates[0].upstream, "cheap");
  });

  await t.test("a session goes where it went", async () => {
    await upstream("place", "openai", ["why-session"]);
    for (const n of [1, 2, 3]) key("place", `sk-plac${n}-secret-s00${n}`);
    await route("why-session", ["place"], { strategy: "round-robin", affinity: "session" });
    await known("why-session");
    const session = { "x-session-id": "conversation-1" };
    const begun = await go("why-session", session);
    await go("why-session");
    for (let i = 0; i < 3; i++) {
      const kept = await go("why-session", session);
      assert.deepEqual([kept.why.affinity, first(kept.quote)], ["kept", first(begun.quote)]);
    }
    assert.equal(begun.why.affinity, "new");
    assert.match(begun.why.text, /Its session was new/);
  });

  await t.test("what the route's rules change counts before it is priced", async () => {
    await upstream("ruled", "openai", ["why-rules"]);
    key("ruled", "sk-ruled-secret-r001");
    price("why-rules", "0", "1000");
    await route("why-rules", ["ruled"], { request_rules: ["cap max_tokens=7", "set top_p=0.5", "remove user",
      "header X-Team: blue", "remove seed"] });
    await known("why-rules");
    const asked = await go("why-rules", {}, { max_tokens: 500, user: "u" });
    assert.deepEqual([asked.quote.output_tokens, asked.quote.worst_cost], [7, "0.007000000"]);
    assert.deepEqual(asked.why.rules.map((r) => [r.number, r.rule]),
      [[1, "cap max_tokens=7"], [2, "set top_p=0.5"], [3, "remove user"], [4, "header X-Team"]]);
    assert.match(asked.why.text, /The route's request rule 1 applied: cap max_tokens=7\.\n/);
    await stack.manage("PATCH", "routes/why-rules", { request_rules: ["cap max_tokens=8"] });
    const later = await stack.manage("GET", `requests/${asked.id}/explain`);
    assert.deepEqual(later.rules.map((r) => [r.number, r.rule]), [[1, null], [2, null], [3, null], [4, null]]);
    assert.match(later.text, /The route's request rule 3 applied; the route was changed since\.\n/);
  });

  await t.test("who cannot express it makes room for who can", async () => {
    await upstream("exact", "anthropic", ["why-strict"], { strict: true });
    key("exact", "sk-ant-exact-secret-t001");
    await upstream("loose", "openai", ["why-strict"]);
    key("loose", "sk-loose-secret-t002");
    await route("why-strict", ["exact", "loose"]);
    await known("why-strict");
    const asked = await go("why-strict", {}, { seed: 7 });
    assert.deepEqual(reasons(asked).sort(), ["chosen", "unsupported"]);
    assert.equal(asked.quote.candidates[0].upstream, "loose");
  });

  await t.test("a limit that names the upstream sends it to the next; where there is none it refuses", async () => {
    for (const name of ["tight", "roomy"]) {
      const u = await upstream(name, "openai", ["why-limit", "why-only"]);
      key(name, `sk-${name}-secret-l00${name.length}`);
      if (name === "tight")
        await stack.manage("POST", "limits", { metric: "requests", window: "hour", cap: 1, scope: { upstream: u.id } });
    }
    await route("why-limit", ["tight", "roomy"]);
    await route("why-only", ["tight"]);
    await known("why-only");
    assert.equal((await go("why-limit")).quote.candidates[0].refused_by, undefined);
    const next = await go("why-limit");
    assert.match(next.quote.candidates[0].refused_by, /limit on requests in an hour \(lim_\w+\) is reached/);
    assert.deepEqual(reasons(next), ["limit", "chosen"]);
    const refused = await go("why-only");
    assert.deepEqual([refused.answer.status, refused.why.request.code], [429, "rate_limited"], JSON.stringify(refused.why));
    assert.deepEqual(reasons(refused), ["limit"]);
  });

  await t.test("a budget that is spent", async () => {
    project("poor");
    await upstream("paid", "openai", ["why-budget"]);
    key("paid", "sk-paid1-secret-g001");
    price("why-budget", "0", "1000");
    await stack.manage("POST", "limits", { metric: "cost", window: "day", cap: "0.04", scope: { project: "poor" } });
    await route("why-budget", ["paid"]);
    await known("why-budget");
    let last;
    for (let i = 0; i < 8; i++) last = await go("why-budget", {}, { max_tokens: 30 }, "poor");
    assert.deepEqual([last.answer.status, last.why.request.code], [429, "budget_exceeded"], JSON.stringify(last.why));
    const limit = last.quote.limits.find((l) => l.refuses);
    assert.equal(limit.metric, "cost");
    assert.equal(last.quote.may_go, limit.resets);
    assert.ok(last.why.has_record && last.why.attempts.length === 0);
  });

  await t.test("where the project takes nothing without a price, those without one are left out", async () => {
    for (const name of ["unknown", "priced"]) {
      await upstream(`is-${name}`, "openai", ["why-price"]);
      key(`is-${name}`, `sk-${name}-secret-e00${name.length}`);
    }
    price("why-price", "1", "1", ["--upstream", "is-priced"]);
    await route("why-price", ["is-unknown", "is-priced"]);
    await known("why-price");
    const asked = await go("why-price", {}, {}, "priced");
    assert.deepEqual(reasons(asked).sort(), ["chosen", "unpriced"]);
  });

  await t.test("a key for what must not run twice", async () => {
    const named = { "idempotency-key": "once-only" };
    const go2 = (body) => compare("first", { model: "why-rules", ...body }, named, { unseen: true });
    const ran = await go2({ max_tokens: 5 });
    assert.equal(ran.answer.status, 200);
    const again = await go2({ max_tokens: 5 });
    assert.deepEqual([again.answer.status, again.quote.error.code], [409, "request_repeated"]);
    const other = await go2({ max_tokens: 6 });
    assert.deepEqual([other.answer.status, other.quote.error.code], [422, "idempotency_key_reused"]);
  });

  await t.test("all are busy: it would wait; and none may wait any more", async () => {
    await upstream("narrow", "openai", ["why-queue"], { max_parallel: 1 });
    key("narrow", "sk-narro-secret-q001");
    await stack.manage("POST", "routes", { name: "why-queue", model: "why-queue", queue_most: 1, queue_wait_ms: 20000,
      targets: [{ upstream: "narrow", model: "mock-slow-4000" }] });
    await known("why-queue");
    const ask = () => stack.chat({ model: "why-queue" });
    const runs = async (count) => until(`${count} run or wait`, 10000, async () =>
      (await stack.manage("GET", "inflight")).data.length === count);
    const both = async () => [await quoted("first", { model: "why-queue" }), await described("first", { model: "why-queue" })];
    const one = ask();
    await runs(1);
    await until("it is with the provider", 5000, async () =>
      (await stack.manage("GET", "inflight")).data[0].upstream !== null);
    for (const q of await both())
      assert.deepEqual([q.would_admit, q.queue?.ahead, q.queue?.most], [true, 0, 1], JSON.stringify(q));
    assert.match(stack.command(["quote", "--project", "first", "--model", "why-queue"]),
      /are busy: it would wait, with 0 before it, for at most 20000 ms\./);
    const two = ask();
    await runs(2);
    for (const q of await both()) {
      assert.deepEqual([q.would_admit, q.error?.code, q.error?.status], [false, "overloaded", 503], JSON.stringify(q));
      assert.ok(q.retry_after >= 1);
    }
    const full = await ask();
    assert.equal(full.status, 503);
    assert.equal((await full.json()).error.sluice_code, "overloaded");
    const why = async (answer) => stack.manage("GET", `requests/${answer.headers.get("x-request-id")}/explain`);
    const answers = await Promise.all([one, two]);
    await Promise.all(answers.map((a) => a.arrayBuffer()));
    const waited = await why(answers[1]);
    assert.deepEqual([answers[1].status, waited.attempts.length], [200, 1]);
    assert.ok(waited.queued_ms > 100, JSON.stringify(waited));
    assert.match(waited.text, /It waited \d+ ms for its turn/);
    const refused = await why(full);
    assert.equal(refused.attempts.length, 0);
    assert.match(refused.text, /It was not sent to anybody \(refused\)/);
  });

  await t.test("what is only asked sends nothing and takes nothing", async () => {
    const models = ["gpt-test", "fall", "cheap-one", "why-rests", "why-session", "why-limit", "why-only", "why-budget"];
    const before = [await stack.mockStats(), (await stack.rows("limit=200")).length];
    const quotes = () => Promise.all(models.map((model) => quoted("first", { model })));
    const [told, ...others] = [await quotes(), await quotes(), await quotes()];
    const places = (list) => list.map((q) => [q.would_admit, first(q), q.limits.map((l) => [l.used, l.reserved])]);
    for (const again of others) assert.deepEqual(places(again), places(told));
    assert.deepEqual([await stack.mockStats(), (await stack.rows("limit=200")).length], before);
  });
});

test("what refuses a request refuses its quote", { timeout: 30000 }, async () => {
  const dry = (body, more) => stack.chat(body, { headers: { "x-sluice-dry-run": "1" }, ...more });
  assert.equal((await dry({}, { token: "sk-nobody" })).status, 401);
  const unpriced = await (await dry({ model: "talk-x" }, { token: tokens.priced })).json();
  assert.deepEqual([unpriced.would_admit, unpriced.error.code, unpriced.error.status], [false, "model_not_allowed", 403]);
  const broken = await (await dry({ model: 7 })).json();
  assert.deepEqual([broken.would_admit, broken.error.code], [false, "bad_request"]);
  const refused = await stack.manage("POST", "routes/quote", { modl: "x" }, 400);
  assert.equal(refused.error.field, "modl");
  await stack.manage("POST", "routes/quote", { project: "nobody", model: "x" }, 404);
  // streams and other dialects
  const stream = await (await dry({ stream: true })).json();
  assert.equal(stream.would_admit, true);
  const claude = await fetch(`${stack.url}/v1/messages`, { method: "POST", headers: { "x-api-key": tokens.first,
    "content-type": "application/json", "x-sluice-dry-run": "1", "anthropic-version": "2023-06-01" },
    body: JSON.stringify({ model: "talk-x", max_tokens: 9, messages: [{ role: "user", content: "Hi" }] }) });
  assert.deepEqual([claude.status, (await claude.json()).candidates[0].upstream], [200, "claude"]);
  // by the command
  const text = stack.command(["quote", "--project", "first", "--model", "cheap-one", "--max-tokens", "10"]);
  assert.match(text, /^It would be let in; at worst it costs \$0\.\d+/);
  assert.match(text, / \d\. claude, key key_\w+, model cheap-one: at worst \$0\.\d+/);
  assert.match(text, /on cost: \d+\.\d+ used and 0\.0+ held of 5\.0+/);
  const [{ id }] = await stack.rows("limit=1");
  assert.match(stack.command(["explain", "req_0000000000000000000000"], { code: 3 }), /no such request/);
  const some = stack.command(["explain", "req_0000000000000000000000", id, id], { code: 3 });
  assert.equal(some.split(`REQUEST\n  ${id}`).length, 3, "the others are explained all the same");
  assert.match(stack.command(["quote", "--modl", "x"], { code: 2 }), /is not known here/);
});
