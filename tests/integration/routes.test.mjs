// Routes, policies, keys and changes: what the API and the command do to them while all of it runs.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
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
      assert.equal(json(["upstream", "breaker", "mock", "--state", "auto"]).breaker, "auto");
      assert.equal(run(["upstream", "breaker", "mock", "--state", "ajar"]).code, REFUSED);
    });
  } finally {
    assert.equal(await stack.stop(), 0);
  }
});
