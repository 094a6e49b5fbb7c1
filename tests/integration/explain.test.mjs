// Every request of a run can be explained from its record alone, and was quoted right before: the same
// first candidate, the same refusal, no more than the worst cost; and the attempts of the explanation are
// those that the provider's own log knows.  One client at a time.

import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { after, before, test } from "node:test";
import { Stack, until } from "./lib/stack.mjs";

let stack, log;
const last4 = {}, tokens = {};

before(async () => {
  log = path.join(fs.mkdtempSync("/tmp/sluice-explain-"), "mock.log");
  stack = await Stack.start({ settings: { workers: 2 }, mock: ["--log", log], seed: false });
  const key = (upstream, secret) => {
    const made = stack.command(["key", "add", "--upstream", upstream, "--secret", secret, "--label", secret.slice(3, 9), "--json"]);
    last4[made.id] = secret.slice(-4);
  };
  const upstream = (name, protocol, models, more = {}) => stack.manage("POST", "upstreams", { name, protocol, models,
    allow_private: true, base_url: stack.mock.url + (protocol === "openai" ? "/v1" : ""), ...more });
  for (const project of ["first", "small", "priced"]) {
    stack.command(["project", "add", "--name", project]);
    tokens[project] = stack.command(["token", "add", "--project", project, "--json"]).token;
  }
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
  const price = (model, input, output, more = []) =>
    stack.command(["price", "add", "--model", model, "--input", input, "--output", output, ...more]);
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
});

const logged = () => (fs.existsSync(log) ? fs.readFileSync(log, "utf8").split("\n").filter(Boolean).map((l) => JSON.parse(l)) : []);
// The mock's log is written when its line is whole.
async function loggedFrom(at, count) {
  await until("the mock's log", 5000, () => logged().length >= at + count);
  return logged().slice(at).map((line) => [line.key, line.status]);
}

async function once(project, body, headers) {
  const token = tokens[project], seen = logged().length;
  const dry = await stack.chat(body, { token, headers: { ...headers, "x-sluice-dry-run": "1" } });
  const quote = await dry.json();
  assert.equal(dry.status, 200);
  assert.equal(quote.object, "sluice.quote");
  const managed = await stack.manage("POST", "routes/quote", { project, model: body.model ?? "gpt-test",
    upstream: headers?.["x-upstream-name"] ?? null,
    body: { model: "gpt-test", messages: [{ role: "user", content: "Hello" }], ...body } });
  const answer = await stack.chat(body, { token, headers });
  await answer.text();
  const id = answer.headers.get("x-request-id");
  const why = await stack.manage("GET", `requests/${id}/explain`);
  return { quote, managed, answer, why, seen, id };
}

const first = (q) => (q.candidates.length ? [q.candidates[0].upstream, q.candidates[0].key_id] : null);

async function compare(project, body, headers) {
  const { quote, managed, answer, why, seen, id } = await once(project, body, headers);
  const said = JSON.stringify({ body, quote, status: answer.status, why }, null, 1);
  for (const q of [quote, managed]) {
    assert.equal(q.would_admit, why.attempts?.length > 0, said);
    if (!q.would_admit) {
      assert.equal(q.error.code, why.request.code, said);
      continue;
    }
    assert.deepEqual(first(q), [why.attempts[0].upstream, why.attempts[0].key_id], said);
    if (answer.ok && why.request.cost !== null)
      assert.ok(Number(why.request.cost) <= Number(q.worst_cost), said);
  }
  assert.deepEqual(first(quote), first(managed), said);
  assert.equal(quote.worst_cost, managed.worst_cost, said);
  assert.equal(why.request.id, id);
  assert.ok(why.has_record || !quote.would_admit, said);
  // what the provider saw
  const attempts = why.attempts ?? [];
  assert.deepEqual(attempts.map((a) => [last4[a.key_id], a.status]), await loggedFrom(seen, attempts.length), said);
  assert.equal(why.request.attempts, attempts.length, said);
  if (attempts.length > 0) {
    const last = attempts.at(-1);
    assert.equal(last.upstream, why.request.upstream, said);
    assert.equal(last.failure === null, answer.ok, said);
    const chosen = why.candidates.filter((c) => c.reason === "chosen").map((c) => c.key_id + c.stage);
    assert.deepEqual(new Set(attempts.map((a) => a.key_id + a.stage)), new Set(chosen), said);
  }
  return { quote, managed, answer, why };
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
  const body = await (await stack.chat({}, { token: tokens.small })).json();
  requests++;
  assert.equal(third.quote.would_admit, false);
  assert.equal(third.answer.status, 429);
  for (const q of [third.quote, third.managed]) {
    assert.equal(q.error.message, body.error.message);
    assert.equal(q.error.code, "rate_limited");
    assert.equal(q.limits.find((l) => l.refuses).metric, "requests");
    assert.ok(body.error.message.includes(q.may_go.replace(/\.000Z$/, "")), q.may_go);
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
  assert.match(text, /1\. claude, key key_\w+, model cheap-one: at worst \$0\.\d+/);
  assert.match(text, /on cost: \d+\.\d+ used and 0\.0+ held of 5\.0+/);
  assert.match(stack.command(["explain", "req_0000000000000000000000"], { code: 3 }), /no such request/);
  assert.match(stack.command(["quote", "--modl", "x"], { code: 2 }), /is not known here/);
});
