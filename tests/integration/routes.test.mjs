// Routes, policies, keys and changes: what the API and the command do to them while all of it runs; and
// whom each strategy asks.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import test from "node:test";
import { Stack, programs, until } from "./lib/stack.mjs";

const DONE = 0, USAGE = 2, REFUSED = 3;

test("routes, policies, keys and changes", { timeout: 120000 }, async (t) => {
  const stack = await Stack.start({ settings: { workers: 2 } });
  const run = (args, input = "") => {
    const got = spawnSync(path.join(programs, "sluice"), args, { env: stack.env, input, encoding: "utf8",
      timeout: 30000 });
    return { code: got.status, out: got.stdout, err: got.stderr };
  };
  const json = (args, input) => {
    const got = run([...args, "--json"], input);
    assert.equal(got.code, DONE, `${args.join(" ")}: ${got.err}`);
    return JSON.parse(got.out);
  };
  const newest = async () => (await stack.manage("GET", "changes?limit=1")).data[0];
  try {
    await t.test("a route by the command, and the same by the API", async () => {
      const made = json(["route", "add", "--name", "first", "--model", "gpt-*", "--targets",
        "mock 70,mock 30 1 mock-small", "--strategy", "split", "--fallbacks", "error mock-big,context mock-long",
        "--request-rules", "set stop=[\"a\",\"b\"]\nremove user", "--failure-rules", "status=529,500-599 -> next"]);
      assert.match(made.id, /^rt_\w{22}$/);
      assert.deepEqual(made.targets.map((x) => [x.upstream_name, x.model, x.weight, x.priority]),
        [["mock", null, 70, 0], ["mock", "mock-small", 30, 1]]);
      assert.deepEqual(made.request_rules, ['set stop=["a","b"]', "remove user"]);
      assert.deepEqual(made.failure_rules, ["status=529,500-599 -> next"]);
      assert.deepEqual(await stack.manage("GET", "routes/first"), made);
      assert.match(run(["route", "list"]).out, /first +gpt-\* +split +yes/);
      assert.match(run(["route", "show", "first"]).out, /^strategy: split$/m);
      const listed = await stack.manage("GET", "routes?model=gpt-4o");
      assert.deepEqual(listed.data, [made]);
      assert.equal(json(["route", "set", "first", "--strategy", "latency"]).strategy, "latency");
      const wrong = run(["route", "add", "--name", "x", "--model", "/(/"]);
      assert.equal(wrong.code, REFUSED);
      assert.match(wrong.err, /^sluice: bad_request: model: /);
      assert.equal(run(["route", "remove", "first"]).code, USAGE, "not without --yes");
    });

    await t.test("a policy, whose fields belong to its type", async () => {
      const made = json(["policy", "add", "--name", "cheap", "--type", "cost_control", "--scope", "project",
        "--project", "first", "--max-cost", "0.5"]);
      assert.deepEqual([made.scope, made.scope_name, made.max_cost], ["project", "first", "0.500000000"]);
      const refused = await stack.manage("PATCH", "policies/cheap", { tries: 3 }, 400);
      assert.equal(refused.error.field, "tries");
      assert.match(run(["policy", "list"]).out, /cheap +cost_control +project +first/);
      assert.equal(json(["policy", "deactivate", "cheap", "--yes"]).is_active, false);
    });

    await t.test("a policy is tried before it binds anybody", async () => {
      const before = await stack.manage("GET", "policies");
      const told = run(["policy", "try", "--type", "routing", "--blocked-models", "gpt-*", "--model", "gpt-test",
        "--as-project", "first"]);
      assert.equal(told.code, DONE, told.err);
      assert.match(told.out, /^Without it: route first\n {2}1\. mock, key \S+, model gpt-test$/m);
      assert.match(told.out, /^With it: route first\n {2}1\. mock, key \S+, model mock-small\n(.*\n)* {2}kept out: 1 policy$/m);
      assert.match(told.out, /model mock-big, as a fallback$/m);
      assert.match(told.out, /^It changes what becomes of this request\.$/m);
      const of = json(["policy", "try", "cheap", "--model", "gpt-test", "--as-project", "first", "--input-tokens", "9"]);
      assert.equal(of.same, true, "it is not active");
      const rules = json(["policy", "try", "--type", "failure_handling", "--tries", "2", "--scope", "project", "--project",
        "first", "--failure-rules", "status=529 -> stop", "--model", "gpt-test", "--as-project", "first"]);
      assert.deepEqual([rules.without.tries, rules.with.tries], [null, 2]);
      assert.deepEqual(rules.with.candidates[0].failure_rules.at(-1), "status=529 -> stop");
      assert.equal(run(["policy", "try", "cheap"]).code, USAGE);
      assert.equal(run(["policy", "try", "nobody", "--model", "m"]).code, REFUSED);
      assert.equal(run(["policy", "add", "--name", "x", "--type", "routing", "--model", "m"]).code, USAGE);
      assert.deepEqual(await stack.manage("GET", "policies"), before);
    });

    await t.test("what is named stays; what goes says who is named", async () => {
      const refused = run(["upstream", "remove", "mock", "--yes"]);
      assert.equal(refused.code, REFUSED);
      const names = await stack.manage("POST", "upstreams", { name: "spare", base_url: "https://h.example/v1",
        keys_of: "mock" });
      await stack.manage("PATCH", "routes/first", { targets: [{ upstream: "spare" }] });
      assert.match((await stack.manage("DELETE", `upstreams/${names.id}`, undefined, 409)).error.message, /route first/);
      await stack.manage("PATCH", "routes/first", { targets: [] });
      await stack.manage("DELETE", `upstreams/${names.id}`);
    });

    await t.test("a change is taken back while requests run, and the undo too", async () => {
      await stack.manage("PATCH", "upstreams/mock", { models: ["other-*"] });
      const change = await newest();
      assert.equal(change.action, "upstream.update");
      await until("nobody serves the model", 8000, async () => {
        const answer = await stack.chat();
        await answer.text();
        return answer.status === 404 || answer.status === 503 || answer.status === 400;
      });
      const text = run(["changes", "--limit", "1"]).out;
      assert.match(text, new RegExp(`^${change.id} .* upstream\\.update`));
      assert.match(text, /^ {4}models: \["gpt-test","mock\*"\] -> \["other-\*"\]$/m);
      assert.equal(run(["undo", change.id]).code, USAGE, "not without --yes");
      const undone = run(["undo", change.id, "--yes"]);
      assert.equal(undone.code, DONE, undone.err);
      assert.match(undone.out, /^up_\w+ put back: \["models"\]$/m);
      await until("it is served again", 8000, async () => {
        const answer = await stack.chat();
        await answer.text();
        return answer.status === 200;
      });
      const again = run(["undo", change.id, "--yes"]);
      assert.equal(again.code, REFUSED);
      assert.match(again.err, /models: models of up_\w+ was changed again: chg_\w+, upstream\.undo/);
      assert.equal(run(["undo", "chg_0000000000000000000000", "--yes"]).code, REFUSED);
    });

    await t.test("a policy binds while requests run, the narrower one first, and is taken back", async () => {
      const status = async () => {
        const answer = await stack.chat();
        await answer.text();
        return answer.status;
      };
      const tried = json(["policy", "try", "--type", "routing", "--blocked-models", "gpt-test,mock-*", "--model", "gpt-test"]);
      assert.notEqual(tried.with.refused, null);
      assert.equal(await status(), 200);
      await stack.manage("POST", "policies", { name: "all of it", type: "routing", allowed_models: ["gpt-*", "mock-*"] });
      await stack.manage("POST", "policies", { name: "none of it", type: "routing", blocked_models: ["gpt-test", "mock-*"],
        scope: "project", project_id: "first" });
      await until("deny beats allow", 8000, async () => (await status()) === 403);
      const undone = json(["undo", (await newest()).id, "--yes"]);
      assert.deepEqual(undone.records.map((r) => r.did), ["deleted"]);
      await until("it is let through again", 8000, async () => (await status()) === 200);
      // of what sets one value the narrower counts
      await stack.manage("POST", "policies", { name: "long", type: "failure_handling", tries: 9, priority: 900 });
      await stack.manage("POST", "policies", { name: "short", type: "failure_handling", tries: 1, scope: "project",
        project_id: "first" });
      const by = (...project) => json(["policy", "try", "all of it", "--model", "gpt-test", ...project]).with;
      assert.deepEqual([by().tries, by("--as-project", "first").tries], [9, 1]);
      assert.deepEqual(by("--as-project", "first").policies, ["short"]);
    });

    await t.test("keys by the thousand, from a table, and again", async () => {
      const lines = ["upstream,secret,label,weight"];
      for (let i = 0; i < 1000; i++) lines.push(`mock,sk-imported-${String(i).padStart(6, "0")},key ${i},${1 + (i % 5)}`);
      lines.push("mock,sk-provider-secret-0001,the seed's,1", "nobody,sk-of-nobody-at-all,x,1");
      const dry = run(["key", "import", "-", "--dry-run", "--json"], lines.join("\n"));
      assert.equal(dry.code, REFUSED, "one cannot be taken");
      assert.deepEqual([JSON.parse(dry.out).imported, JSON.parse(dry.out).dry_run], [1000, true]);
      const got = run(["key", "import", "-"], lines.join("\n"));
      assert.equal(got.code, REFUSED);
      assert.match(got.out, /^1000 of 1002 keys imported; 1 were here already, 1 not taken$/m);
      assert.match(got.out, /^row 1001 \S+: is here already as key_\w+$/m);
      assert.doesNotMatch(got.out + got.err, /sk-imported-0|sk-of-nobody-at/);
      const more = await stack.manage("POST", "keys/import",
        { keys: [{ upstream: "mock", secret: "sk-imported-000007" }, { upstream: "mock", secret: "sk-a-late-one-1" }] });
      assert.deepEqual([more.imported, more.skipped], [1, 1]);
      const page = await stack.manage("GET", "keys?limit=500");
      assert.equal(page.data.length, 500);
      assert.ok(page.next);
    });

    await t.test("one key: another secret, out of use with a reason, and gone for good", async () => {
      const key = await stack.manage("POST", "keys", { upstream: "mock", secret: "sk-to-be-replaced-1", label: "mine" });
      const rotated = json(["key", "rotate", key.id, "--secret", "-", "--yes"], "sk-the-new-secret-22\n");
      assert.equal(rotated.id, key.id);
      assert.notEqual(rotated.masked, key.masked);
      const off = json(["key", "disable", key.id, "--reason", "too slow", "--yes"]);
      assert.deepEqual([off.is_enabled, off.disabled_reason, off.state], [false, "too slow", "disabled"]);
      assert.equal(json(["key", "enable", key.id]).is_enabled, true);
      const gone = json(["key", "revoke", key.id, "--reason", "leaked", "--yes"]);
      assert.equal(gone.disabled_reason, "revoked: leaked");
      assert.equal(run(["key", "enable", key.id]).code, REFUSED);
      const all = JSON.stringify(await stack.manage("GET", "audit?limit=500"));
      assert.doesNotMatch(all, /sk-the-new-secret|sk-to-be-replaced|sk-imported/);
    });

    await t.test("a breaker by hand", async () => {
      assert.equal(json(["upstream", "breaker", "mock", "--state", "open"]).breaker, "open");
      assert.match(run(["upstream", "breakers"]).out, /^upstream +mock +mock +forced_open /m);
      assert.equal(json(["upstream", "breaker", "mock", "--state", "auto"]).breaker, "auto");
      assert.equal(run(["upstream", "breaker", "mock", "--state", "ajar"]).code, REFUSED);
    });
  } finally {
    assert.equal(await stack.stop(), 0);
  }
});

// Whom each strategy asks, as the provider counts it, over two workers and CGI processes that are
// switched from one to the next.
test("strategies, switched while requests run", { timeout: 120000 }, async (t) => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "sluice-strategies-"));
  const log = path.join(folder, "mock.log");
  const stack = await Stack.start({ seed: false, mock: ["--log", log],
    settings: { workers: 2, rest_default: "2s", forecast: "no" } });
  const ids = {}, last4 = {}, names = ["A001", "A002", "A003", "B001"];
  const answer = JSON.stringify({ id: "c", object: "chat.completion", created: 1, model: "m",
    choices: [{ index: 0, message: { role: "assistant", content: "Hello" }, finish_reason: "stop" }],
    usage: { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 } });
  const tell = (what) => fetch(`${stack.mock.url}/mock/keys`, { method: "POST", body: JSON.stringify(what) });
  const route = (change) => stack.manage("PATCH", "routes/all", change);
  const body = (more = {}) => ({ model: "mock-a", max_tokens: 1000, messages: [{ role: "user", content: "Hello" }],
    ...more });
  const logged = () => fs.readFileSync(log, "utf8").split("\n").filter(Boolean).map((l) => JSON.parse(l));
  const used = Object.fromEntries(names.map((n) => [n, 0])); // by any strategy
  // So many at once, some of them through CGI, and by which keys the provider was asked.
  const spread = async (count, cgi = 2, more = {}) => {
    await fetch(`${stack.mock.url}/mock/reset`, { method: "POST" });
    const got = await Promise.all(Array.from({ length: count }, (_, i) =>
      (i < cgi ? stack.cgi(body(more)) : stack.ask(body(more)))));
    assert.deepEqual(new Set(got), new Set([200]));
    const { keys } = await stack.mockStats();
    const asked = Object.fromEntries(names.map((n) => [n, keys[n]?.requests ?? 0]));
    for (const n of names) used[n] += asked[n];
    return asked;
  };
  // One after another: whom each went to.
  const sequence = async (count, more = {}) => {
    const from = logged().length;
    for (let i = 0; i < count; i++) assert.equal(await stack.ask(body(more)), 200);
    await until("the mock's log", 5000, () => logged().length >= from + count);
    const keys = logged().slice(from).map((line) => line.key);
    for (const k of keys) used[k]++;
    return keys;
  };
  const near = (got, want, what) => {
    for (const n of names) assert.ok(Math.abs(got[n] - want[n]) <= 1, `${what}: ${JSON.stringify(got)}`);
  };
  const only = (got, name, what) =>
    assert.deepEqual(names.filter((n) => got[n] > 0), [name], `${what}: ${JSON.stringify(got)}`);
  // All of them may be asked again.
  const mend = async () => {
    await tell({});
    await route({ strategy: "weighted" });
    for (const n of names) await stack.manage("POST", `keys/${ids[n]}/retry`, {});
    await until("all are back", 10000, async () => {
      await stack.ask(body());
      const { data } = await stack.manage("GET", "keys?limit=10");
      return data.every((k) => k.state === "available" && k.rests_until === null);
    });
  };
  const why = async (more, headers = {}) => {
    const got = await stack.chat(body(more), { headers });
    await got.text();
    assert.equal(got.status, 200);
    return stack.manage("GET", `requests/${got.headers.get("x-request-id")}/explain`);
  };
  try {
    const upstream = (name, more) => stack.manage("POST", "upstreams", { name, base_url: stack.mock.url + "/v1",
      allow_private: true, models: ["mock*"], ramp_percent: 100, ...more });
    await upstream("n1", { group: "north", region: "eu", tenant: "red", tags: ["quality=50"] });
    await upstream("n2", { group: "north", region: "eu", tenant: "blue", tags: ["quality=20"] });
    await upstream("s1", { group: "south", region: "us", tags: ["quality=90"] });
    for (const [name, on, weight] of [["A001", "n1", 1], ["A002", "n1", 3], ["A003", "n2", 1], ["B001", "s1", 2]]) {
      ids[name] = (await stack.manage("POST", "keys", { upstream: on, secret: `sk-of-a-strategy-${name}`, weight })).id;
      last4[ids[name]] = name;
    }
    for (const [on, input] of [["n1", "20"], ["n2", "10"], ["s1", "30"]])
      stack.command(["price", "add", "--model", "mock*", "--input", input, "--output", input, "--upstream", on]);
    stack.command(["project", "add", "--name", "first"]);
    stack.token = stack.command(["token", "add", "--project", "first", "--json"]).token;
    const targets = (...priority) => [["n1", 25], ["n2", 25], ["s1", 50]].map(([upstream, weight], i) =>
      ({ upstream, weight, priority: priority[i] ?? 0 }));
    await stack.manage("POST", "routes", { name: "all", model: "mock*", targets: targets() });

    await t.test("weighted: by the weights of target and key", async () => {
      near(await spread(36), { A001: 4, A002: 12, A003: 4, B001: 16 }, "weighted");
    });
    await t.test("round robin: accounts alike, in them deployments, in those keys", async () => {
      await route({ strategy: "round-robin" });
      near(await spread(32), { A001: 4, A002: 4, A003: 8, B001: 16 }, "round robin");
      const turns = await sequence(8);
      for (let i = 0; i + 1 < 8; i++) assert.notEqual(turns[i][0], turns[i + 1][0], turns.join(" "));
    });
    await t.test("split: targets by percent, whatever keys they have", async () => {
      await route({ strategy: "split", targets: [["n1", 10], ["n2", 20], ["s1", 70]].map(([upstream, weight]) =>
        ({ upstream, weight })) });
      near(await spread(40), { A001: 1, A002: 3, A003: 8, B001: 28 }, "split");
      await route({ targets: targets() });
    });
    await t.test("first: in order", async () => {
      await route({ strategy: "first" });
      only(await spread(12), "A001", "first");
    });
    await t.test("random: all alike, and now and then one twice", async () => {
      await route({ strategy: "random" });
      const turns = await sequence(60);
      const light = turns.filter((k) => k === "A001" || k === "A003").length; // half, not two of nine
      assert.ok(light >= 18 && light <= 42, turns.join(" "));
      const twice = turns.filter((k, i) => i > 0 && k === turns[i - 1]).length;
      assert.ok(twice >= 3 && twice <= 30, turns.join(" "));
    });
    await t.test("balanced: who was used less than the others", async () => {
      const before = { ...used };
      const order = names.slice().sort((a, b) => before[a] - before[b]);
      await route({ strategy: "balanced" });
      const got = await spread(60);
      assert.ok(got[order[0]] >= got[order[3]] + 10, `${JSON.stringify(before)}: ${JSON.stringify(got)}`);
    });
    await t.test("least in flight: none has two while another has one", async () => {
      await route({ strategy: "least-inflight" });
      await fetch(`${stack.mock.url}/mock/reset`, { method: "POST" });
      const running = [];
      for (let i = 0; i < 8; i++) {
        running.push((i % 4 === 3 ? stack.cgi : stack.ask).call(stack, body({ model: "mock-slow-3000" })));
        await until("it is under way", 5000, async () =>
          Object.values((await stack.mockStats()).keys).reduce((sum, k) => sum + k.in_flight, 0) === i + 1);
      }
      const { keys } = await stack.mockStats();
      for (const n of names) assert.equal(keys[n]?.in_flight, 2, JSON.stringify(keys));
      assert.deepEqual(new Set(await Promise.all(running)), new Set([200]));
    });
    await t.test("same: the last one again, while it may be asked", async () => {
      await route({ strategy: "same" });
      const [one] = await sequence(1);
      only(await spread(8), one, "same");
      await tell({ [one]: { status: 429, body: "{}" } });
      assert.equal(await stack.ask(body()), 200);
      await tell({});
      const [two] = await sequence(1);
      assert.notEqual(two, one);
      await stack.manage("POST", `keys/${ids[one]}/retry`, {});
      only(await spread(8), two, "same, and the one before is back");
    });
    await t.test("sequential: one until it is spent, then the next", async () => {
      await mend();
      await route({ strategy: "first" });
      assert.deepEqual(await sequence(1), ["A001"]);
      await route({ strategy: "sequential" });
      const [one] = await sequence(1);
      only(await spread(8), one, "sequential");
      const next = names[(names.indexOf(one) + 1) % 4];
      await tell({ [one]: { status: 429, body: "{}" } });
      assert.equal(await stack.ask(body()), 200);
      await tell({});
      assert.deepEqual(await sequence(1), [next]);
      await stack.manage("POST", `keys/${ids[one]}/retry`, {});
      only(await spread(8), next, `sequential after ${one}`);
    });
    await t.test("priority: a tier after the other, weights within it", async () => {
      await mend();
      await route({ strategy: "priority", targets: targets(1, 1, 0) });
      only(await spread(8), "B001", "the first tier");
      await tell({ B001: { status: 429, head: "retry-after: 30\r\n", body: "{}" } });
      assert.equal(await stack.ask(body()), 200);
      near(await spread(30), { A001: 6, A002: 18, A003: 6, B001: 0 }, "the second");
      await mend();
      await route({ strategy: "priority" });
      only(await spread(4), "B001", "it is back");
      await route({ targets: targets() });
    });
    await t.test("latency: the fastest, and a look at the others", async () => {
      const slow = { status: 200, delay_ms: 400, body: answer };
      await tell({ A001: slow, A003: slow, B001: slow });
      await route({ strategy: "weighted" });
      await spread(36, 0);
      await route({ strategy: "latency" });
      const got = await spread(60);
      assert.ok(got.A002 >= 54, JSON.stringify(got));
    });
    await t.test("objectives: each has its best, a mix weighs", async () => {
      const best = async (what, ...objectives) => {
        await route({ strategy: "objective", objectives });
        return only(await spread(6, 1), what, objectives.join(" "));
      };
      await best("A002", "latency=1"); // as was measured just now
      await tell({});
      await best("A003", "cost=1");
      await best("B001", "quality=1");
      await best("A003", "cost=3", "quality=1");
      await best("B001", "cost=1", "quality=3");
      await route({ objectives: ["fairness=1"] });
      near(await spread(36), { A001: 4, A002: 12, A003: 4, B001: 16 }, "fairness");
    });
    await t.test("reliability, sought and demanded", async () => {
      const bad = { status: 500, body: "{}" };
      await route({ strategy: "weighted", allowed_upstreams: ["n2", "s1"] });
      for (let i = 0; i < 3; i++) { // not in a row, which would open its breaker
        await spread(4, 0);
        await tell({ B001: bad });
        await sequence(2).catch(() => {});
        await tell({});
      }
      await route({ strategy: "objective", objectives: ["reliability=1"] });
      only(await spread(6), "A003", "reliability");
      await route({ strategy: "weighted", min_reliability: 95 });
      only(await spread(6), "A003", "least reliability");
      assert.equal((await why()).counts.reliability, 1);
      await route({ min_reliability: 0, allowed_upstreams: [] });
    });
    await t.test("constraints: region, tenant, providers, cost", async () => {
      const reached = async (change, ...who) => {
        await route({ strategy: "round-robin", ...change });
        const got = await spread(8, 1);
        assert.deepEqual(names.filter((n) => got[n] > 0), who, JSON.stringify(change));
      };
      await reached({ regions: ["us"] }, "B001");
      await reached({ regions: ["e*"], tenants: ["blue"] }, "A003");
      await reached({ regions: [], tenants: ["red"] }, "A001", "A002");
      await reached({ tenants: [], allowed_upstreams: ["n*"] }, "A001", "A002", "A003");
      await reached({ allowed_upstreams: [], blocked_upstreams: ["n*"] }, "B001");
      await reached({ blocked_upstreams: [], max_cost: "0.015" }, "A003");
      await route({ max_cost: "0" });
    });
    await t.test("a session stays, over workers and CGI, and moves by the rules", async () => {
      await route({ strategy: "weighted", affinity: "session", targets: targets(1, 1, 0), migrate_below_tokens: 500 });
      await tell({ B001: { status: 429, head: "retry-after: 30\r\n", body: "{}" } });
      assert.equal(await stack.ask(body()), 200);
      const long = { prompt_cache_key: "long", messages: [{ role: "user", content: "word ".repeat(2000) }] };
      const short = { prompt_cache_key: "short" };
      const [mine] = await sequence(1, long);
      only(await spread(8, 2, long), mine, "a session");
      assert.notEqual(mine, "B001");
      assert.equal((await why(long)).affinity, "kept");
      const [its] = await sequence(1, short);
      only(await spread(4, 1, short), its, "another");
      await mend();
      only(await spread(4, 1, long), mine, "a long one stays");
      assert.equal((await why(short)).affinity, "moved");
      only(await spread(4, 1, short), "B001", "a short one moves to the better tier");
      await route({ affinity: "none", targets: targets() });
    });
    await t.test("the same beginning of a prompt goes to the same key", async () => {
      await route({ affinity: "prompt" });
      const about = (what) => ({ messages: [{ role: "system", content: what }, { role: "user", content: "Hello" }] });
      const seen = new Set();
      for (const what of ["one", "two", "three", "four", "five", "six"]) {
        const [its] = await sequence(1, about(what));
        only(await spread(3, 1, about(what)), its, what);
        seen.add(its);
      }
      assert.ok(seen.size > 1, [...seen].join(" "));
      await route({ affinity: "none" });
    });
    await t.test("switched while requests run", async () => {
      let on = true;
      const statuses = new Set();
      const told = [];
      const client = async (n) => {
        while (on) {
          if (n === 0) {
            statuses.add(await stack.cgi(body()));
            continue;
          }
          const got = await stack.chat(body());
          await got.text();
          statuses.add(got.status);
          told.push(got.headers.get("x-request-id"));
        }
      };
      const clients = Array.from({ length: 5 }, (_, n) => client(n));
      const order = ["first", "split", "priority", "first", "round-robin", "same", "priority", "random"];
      try {
        for (const strategy of order) {
          await route({ strategy, targets: strategy === "priority" ? targets(1, 1, 0) : targets() });
          const from = told.length;
          await until(`${strategy} is what they go by`, 10000, () => told.length >= from + 12);
        }
      } finally {
        on = false;
        await Promise.all(clients);
      }
      assert.deepEqual([...statuses], [200]);
      const by = {};
      for (const id of told) {
        const e = await stack.manage("GET", `requests/${id}/explain`);
        (by[e.strategy] ??= []).push(last4[e.attempts[0].key_id]);
      }
      for (const strategy of order) assert.ok(by[strategy]?.length > 0, Object.keys(by).join(" "));
      assert.deepEqual(new Set(by.first), new Set(["A001"]));
      assert.deepEqual(new Set(by.priority), new Set(["B001"]));
    });
  } finally {
    const left = await stack.stop();
    fs.rmSync(folder, { recursive: true, force: true });
    assert.equal(left, 0);
  }
});
