// The command as people and scripts use it: every verb, in text and as JSON, with its exit codes.

import assert from "node:assert/strict";
import { execFile, spawnSync } from "node:child_process";
import crypto from "node:crypto";
import fs from "node:fs";
import http from "node:http";
import path from "node:path";
import test from "node:test";
import { Stack, programs, until } from "./lib/stack.mjs";

const DONE = 0, FAILED = 1, USAGE = 2, REFUSED = 3;
const SECRET = "sk-provider-on-standard-input-1";

const runner = (stack) => (args, { input = "", env = {} } = {}) => {
  const run = spawnSync(path.join(programs, "sluice"), args, { encoding: "utf8", input, timeout: 20000,
    env: { ...stack.env, ...env } });
  return { code: run.status, out: run.stdout, err: run.stderr };
};

// Ends with that code; when it is not 0, stdout is silent and stderr says "sluice: what: why".
function refusedWith(run, code, why) {
  assert.deepEqual([run.code, run.out], [code, ""], run.out + run.err);
  assert.match(run.err, /^sluice: \S.*\n/m);
  assert.match(run.err, why);
}

test("records, by every action", { timeout: 90000 }, async (t) => {
  const stack = await Stack.start({ server: "", seed: false });
  const run = runner(stack);
  const json = (args, options) => {
    const got = run([...args, "--json"], options);
    assert.equal(got.code, DONE, `${args.join(" ")}: ${got.err}`);
    assert.equal(got.err, "");
    return JSON.parse(got.out);
  };
  const text = (args, wants) => {
    const got = run(args);
    assert.equal(got.code, DONE, `${args.join(" ")}: ${got.err}`);
    assert.match(got.out, wants);
  };
  try {
    await t.test("project", () => {
      const made = json(["project", "add", "--name", "web shop", "--allowed-models", "gpt-*,mock*"]);
      assert.match(made.id, /^prj_\w{22}$/);
      assert.deepEqual(made.allowed_models, ["gpt-*", "mock*"]);
      assert.equal(json(["project", "show", "web shop"]).id, made.id);
      assert.equal(json(["project", "set", made.id, "--name", "shop"]).name, "shop");
      assert.deepEqual(json(["project", "list"]).data.map((p) => p.name), ["shop"]);
      text(["project", "list"], /^ID +NAME .*\nprj_\w{22} +shop +yes/);
      text(["project", "show", "shop"], /^name: shop$/m);
      text(["project", "deactivate", "shop", "--yes"], /is_active: no/);
      text(["project", "activate", "shop"], /is_active: yes/);
      refusedWith(run(["project", "add", "--name", "shop"]), REFUSED, /^sluice: conflict: name: /);
      refusedWith(run(["project", "show", "nobody"]), REFUSED, /^sluice: not_found: /);
      refusedWith(run(["project", "delete", "shop", "--yes"]), USAGE, /no action 'delete'/);
    });
    await t.test("upstream", () => {
      const made = json(["upstream", "add", "--name", "mock", "--base-url", `${stack.mock.url}/v1`,
        "--protocol", "openai", "--allow-private", "--default"]);
      assert.match(made.id, /^up_/);
      assert.deepEqual([made.allow_private, made.default], [true, true]);
      assert.equal(json(["upstream", "set", "mock", "--no-default"]).default, false);
      assert.equal(json(["upstream", "set", "mock", "--default", "true"]).default, true);
      text(["upstream", "list"], /mock +openai +http:/);
      json(["upstream", "add", "--name", "gone", "--base-url", "https://gone.example/v1", "--protocol", "openai"]);
      refusedWith(run(["upstream", "delete", "gone"]), USAGE, /--yes/);
      text(["upstream", "delete", "gone", "--yes"], /done/);
      refusedWith(run(["upstream", "add", "--name", "x", "--base-url", "ftp://x", "--protocol", "openai"]), REFUSED,
        /base_url/);
    });
    await t.test("key, its secret on standard input", () => {
      const made = run(["key", "add", "--upstream", "mock", "--secret", "-", "--label", "main", "--json"],
        { input: `${SECRET}\n` });
      assert.equal(made.code, DONE, made.err);
      const key = JSON.parse(made.out);
      assert.match(key.id, /^key_/);
      assert.ok(!made.out.includes(SECRET) && key.masked, made.out);
      refusedWith(run(["key", "add", "--upstream", "mock", "--secret", "-"]), USAGE, /standard input/);
      text(["key", "list"], /main/);
      refusedWith(run(["key", "disable", key.id]), USAGE, /--yes/);
      assert.equal(json(["key", "disable", key.id, "--yes"]).is_enabled, false);
      assert.equal(json(["key", "enable", key.id]).is_enabled, true);
      const other = json(["key", "add", "--upstream", "mock", "--secret", "sk-other-0000000000000"]);
      assert.equal(json(["key", "list", "--upstream", "mock"]).data.length, 2);
      text(["key", "delete", other.id, "--yes"], /done/);
      for (const action of [["list"], ["show", key.id]])
        assert.ok(!run(["key", ...action]).out.includes(SECRET));
    });
    let token;
    await t.test("token, shown once; revoking asks", () => {
      token = json(["token", "add", "--project", "shop", "--label", "search", "--max-requests", "100"]);
      assert.match(token.token, /^sk-sl-\w{40}$/);
      text(["token", "add", "--project", "shop"], /^token: sk-sl-\w{40}$/m);
      const shown = run(["token", "show", token.id]);
      assert.ok(!shown.out.includes(token.token), "not shown again");
      assert.equal(json(["token", "list", "--project", "shop"]).data.length, 2);
      assert.equal(json(["token", "set", token.id, "--max-requests", "200"]).max_requests, 200);
      const brought = run(["token", "add", "--project", "shop", "--secret", "-", "--json"],
        { input: "sk-brought-along-0123456789\n" });
      assert.equal(brought.code, DONE, brought.err);
      refusedWith(run(["token", "revoke", token.id]), USAGE, /--yes/);
      assert.equal(json(["token", "show", token.id]).is_active, true, "nothing was taken away");
      const gone = json(["token", "revoke", JSON.parse(brought.out).id, "--yes", "--reason", "a \"test\""]);
      assert.deepEqual([gone.is_active, gone.revoked_reason], [false, "a \"test\""]);
      refusedWith(run(["token", "add", "--project", "nobody"]), REFUSED, /project/);
    });
    await t.test("limit and price", () => {
      const made = json(["limit", "add", "--token", token.id, "--metric", "cost", "--window", "month", "--cap", "2.50"]);
      assert.match(made.id, /^lim_/);
      assert.equal(made.cap, "2.500000000");
      assert.equal(json(["limit", "set", made.id, "--cap", "3"]).cap, "3.000000000");
      text(["limit", "list"], /cost +month +3\.000000000/);
      text(["limit", "delete", made.id, "--yes"], /done/);
      refusedWith(run(["limit", "add", "--metric", "smiles", "--window", "day", "--cap", "1"]), REFUSED, /metric/);
      const price = json(["price", "add", "--model", "my-model", "--input", "1.5", "--output", "3"]);
      assert.equal(json(["price", "show", price.id]).model, "my-model");
      text(["price", "list"], /my-model/);
      text(["price", "delete", price.id, "--yes"], /done/);
      const file = path.join(stack.dir, "prices.json");
      fs.writeFileSync(file, JSON.stringify({ prices: [{ model: "imported", input: "1", output: "2" }] }));
      const imported = run(["price", "import", file, "--json"]);
      assert.equal(imported.code, DONE, imported.err);
      assert.ok(JSON.parse(imported.out).changed >= 1);
      fs.writeFileSync(file, "[[");
      refusedWith(run(["price", "import", file]), REFUSED, /prices/);
      refusedWith(run(["price", "import", path.join(stack.dir, "none")]), FAILED, /cannot be read/);
    });
    await t.test("wrong usage", () => {
      for (const kind of ["project", "token", "upstream", "key", "limit", "price"]) {
        assert.equal(run([kind]).code, USAGE);
        const help = run([kind, "add", "--help"]);
        assert.equal(help.code, DONE);
        assert.match(help.out, /usage: sluice/);
        refusedWith(run([kind, "dance"]), USAGE, /no action 'dance'/);
        refusedWith(run([kind, "list", "--colour", "red"]), USAGE, /no option --colour/);
        refusedWith(run([kind, "show"]), USAGE, /which one/);
        refusedWith(run([kind, "list", "extra"]), USAGE, /too many/);
      }
      refusedWith(run(["dance"]), USAGE, /no verb 'dance'/);
      refusedWith(run(["token", "add", "--label"]), USAGE, /--label wants a value/);
      refusedWith(run(["project", "list", "--config", path.join(stack.dir, "none.conf")]), FAILED, /none\.conf/);
      assert.equal(run([]).code, USAGE);
    });
  } finally {
    await stack.stop();
  }
});

test("what ran, and is it right", { timeout: 60000 }, async (t) => {
  const stack = await Stack.start({ server: "lighttpd-socket" });
  const run = runner(stack);
  try {
    for (const model of ["mock-chat", "nobody-serves-this"]) await (await stack.chat({ model })).text();
    stack.command(["upstream", "set", "mock", "--models", "gpt-*,mock*"]);
    await t.test("audit", () => {
      const { data } = JSON.parse(run(["audit", "--action", "upstream.update", "--limit", "1", "--json"]).out);
      assert.deepEqual(data[0].changes[0].after, ["gpt-*", "mock*"]);
      const out = run(["audit", "--action", "upstream.update"]).out;
      assert.match(out, /upstream\.update +up_/);
      assert.match(out, /^ {4}models: \[.*\] -> \["gpt-\*","mock\*"\]$/m);
    });
    await t.test("requests", async () => {
      const list = await until("both rows", 3000, () => {
        const { data } = JSON.parse(run(["requests", "--json"]).out);
        return data.length === 2 && data;
      });
      assert.equal(list.find((r) => r.model === "mock-chat").status, 200);
      assert.match(run(["requests"]).out, /^TIME .*\n[^]*mock-chat +\S+ +200/);
      const failed = JSON.parse(run(["requests", "--failed", "--json"]).out).data;
      assert.deepEqual(failed.map((r) => r.status), [404]);
      for (const option of ["--project", "--project-id", "--project_id"])
        assert.equal(JSON.parse(run(["requests", option, stack.project.id, "--json"]).out).data.length, 2, option);
      assert.equal(JSON.parse(run(["requests", "--limit", "1", "--json"]).out).data.length, 1);
      refusedWith(run(["requests", "--limit", "many"]), REFUSED, /limit/);
      refusedWith(run(["requests", "--colour", "red"]), USAGE, /usage: sluice requests/);
      assert.equal(run(["requests", "--help"]).code, DONE);
    });
    await t.test("usage", () => {
      const { data } = JSON.parse(run(["usage", "--by", "model", "--step", "day", "--json"]).out);
      assert.ok(data.some((u) => u.label === "mock-chat" || u.value === "mock-chat"), JSON.stringify(data));
      assert.match(run(["usage", "--by", "model"]).out, /mock-chat/);
      refusedWith(run(["usage", "--by", "colour"]), REFUSED, /by/);
    });
    await t.test("check, when all is well", () => {
      const plain = run(["check"]);
      assert.equal(plain.code, DONE, plain.out);
      assert.match(plain.out, /^ok +gateway .*answers$/m);
      assert.doesNotMatch(plain.out, /FAILED/);
      const { ok, data } = JSON.parse(run(["check", "--json"]).out);
      assert.deepEqual([ok, data.every((c) => c.ok)], [true, true]);
    });
    await t.test("check, when it is not", () => {
      fs.chmodSync(stack.state, 0o777);
      const plain = run(["check"]);
      assert.equal(plain.code, FAILED);
      assert.match(plain.out, /^FAILED +state .*chmod/m);
      const list = JSON.parse(run(["check", "--json"]).out);
      assert.deepEqual([list.ok, list.data.find((c) => c.what === "state").ok], [false, false]);
      fs.chmodSync(stack.state, 0o770);
      refusedWith(run(["check", "--colour"]), USAGE, /usage: sluice check/);
    });
    await t.test("check, of a state in the web root", async () => {
      let mode = "hand out";
      const site = http.createServer((q, a) => {
        const file = path.join(stack.dir, decodeURIComponent(q.url));
        const there = fs.existsSync(file) && fs.statSync(file).isFile();
        a.writeHead(mode === "refuse" ? 403 : there ? 200 : mode === "one page" ? 200 : 404,
          mode === "hand out" && there ? { "Content-Length": fs.statSync(file).size } : {}).end();
      });
      await new Promise((ready) => site.listen(0, "127.0.0.1", ready));
      const url = `http://127.0.0.1:${site.address().port}/`;
      const check = (...more) => new Promise((done) => execFile(path.join(programs, "sluice"), ["check", ...more],
        { env: stack.env }, (error, out) => done({ code: error?.code ?? DONE, out })));
      try {
        assert.match((await check("--root", stack.dir)).out, /^FAILED +web root .*--url/m);
        assert.match((await check("--root", "/usr")).out, /^ok +web root .*outside/m);
        for (const known of [["--root", stack.dir], []]) {
          mode = "hand out";
          const bad = await check("--url", url, ...known);
          assert.match(bad.out, /^FAILED +web root .*\/state\/board answers with status 200: it must be 403 or 404/m);
          assert.equal(bad.code, FAILED);
          mode = "refuse";
          const good = await check("--url", url, ...known);
          assert.match(good.out, /^ok +web root .*does not hand out/m);
          assert.equal(good.code, DONE, good.out);
        }
        mode = "one page"; // a site that answers everything with itself hands out nothing
        assert.match((await check("--url", url)).out, /^ok +web root/m);
        assert.match((await check("--url", url, "--root", stack.dir)).out, /^FAILED +web root/m);
      } finally {
        site.close();
      }
    });
    await t.test("config", () => {
      assert.match(run(["config"]).out, new RegExp(`^state_dir += ${stack.state}`, "m"));
      JSON.parse(run(["config", "--json"]).out);
      assert.ok(!run(["config"]).out.includes(stack.adminPassword));
      refusedWith(run(["config", "--colour"]), USAGE, /usage: sluice config/);
      refusedWith(run(["config"], { env: { SLUICE_BODY_LIMIT: "a lot" } }), FAILED, /body_limit/i);
    });
    await t.test("init with a master key that is there already, in any form", () => {
      const raw = crypto.randomBytes(32);
      for (const [name, text] of Object.entries({ raw, hex: `${raw.toString("hex")}\n`, base64: raw.toString("base64") })) {
        const key = path.join(stack.dir, `${name}.key`);
        fs.writeFileSync(key, text, { mode: 0o600 });
        const made = run(["init", "--json"], { env: { SLUICE_STATE_DIR: path.join(stack.dir, `state-${name}`),
          SLUICE_MASTER_KEY_FILE: key } });
        assert.equal(made.code, DONE, made.err);
        assert.deepEqual(fs.readFileSync(key), Buffer.from(text));
        fs.chmodSync(key, 0o644);
        refusedWith(run(["init"], { env: { SLUICE_STATE_DIR: path.join(stack.dir, `state-${name}`),
          SLUICE_MASTER_KEY_FILE: key } }), FAILED, /chmod 0600/);
      }
    });
    await t.test("init again changes nothing", () => {
      const files = () => ["master.key"].map((f) => fs.readFileSync(path.join(stack.state, f), "hex"));
      const before = [files(), run(["price", "list", "--json"]).out, run(["token", "list", "--json"]).out];
      const again = run(["init"]);
      assert.equal(again.code, DONE, again.err);
      assert.match(again.out, /nothing was missing/);
      const { management_token: token, setup_code: code } = JSON.parse(run(["init", "--json"]).out);
      assert.deepEqual([token, code], [undefined, undefined]);
      assert.deepEqual([files(), run(["price", "list", "--json"]).out, run(["token", "list", "--json"]).out], before);
      refusedWith(run(["init", "--colour"]), USAGE, /usage: sluice init/);
    });
    await t.test("version and help", () => {
      assert.match(run(["version"]).out, /^sluice \d+\.\d+\.\d+\n$/);
      const help = run(["help"]);
      assert.equal(help.code, DONE);
      for (const verb of ["init", "serve", "project", "token", "upstream", "key", "limit", "price", "requests", "usage",
        "check", "config", "convert", "mock", "version"])
        assert.match(help.out, new RegExp(`^  ${verb} `, "m"));
      assert.match(run(["mock", "--help"]).out, /usage: sluice mock/);
      assert.equal(run(["serve", "--colour"]).code, USAGE);
    });
  } finally {
    await stack.stop();
  }
});

test("convert: a piece at a time gives what the whole gives", { timeout: 60000 }, async (t) => {
  const stack = await Stack.start({ server: "", seed: false });
  const run = runner(stack);
  const convert = (kind, input, ...options) =>
    run(["convert", kind, "--from", "openai-chat", "--to", "openai-chat", ...options], { input });
  try {
    const body = { model: "gpt-a", stream: true, future: [1, { x: "ü" }], messages: [{ role: "user", content: "Grüße" }] };
    await t.test("a request", () => {
      const got = convert("request", JSON.stringify(body), "--upstream-model", "gpt-b");
      assert.equal(got.code, DONE, got.err);
      assert.deepEqual(JSON.parse(got.out), { ...body, model: "gpt-b", stream_options: { include_usage: true } });
    });
    await t.test("a request that is rejected prints what the client would read", () => {
      const got = convert("request", '{"model":7}');
      assert.equal(got.code, REFUSED);
      assert.equal(JSON.parse(got.out).error.sluice_code, "bad_request");
      assert.match(got.err, /^sluice: convert: .*model/);
    });
    await t.test("a stream", async () => {
      const stream = await (await fetch(`${stack.mock.url}/v1/chat/completions`, { method: "POST",
        headers: { authorization: "Bearer sk-any", "content-type": "application/json" },
        body: JSON.stringify({ ...body, model: "mock-chat", stream_options: { include_usage: true } }) })).text();
      assert.match(stream, /"usage":\s*{/);
      const whole = convert("stream", stream, "--include-usage");
      assert.deepEqual([whole.code, whole.out], [DONE, stream], "passed on byte for byte");
      const hidden = convert("stream", stream);
      assert.doesNotMatch(hidden.out, /"choices":\s*\[\]/, "the chunk nobody asked for is hidden");
      assert.match(hidden.out, /data: \[DONE\]\s*$/);
      for (const n of ["1", "2", "7", "64"]) {
        assert.equal(convert("stream", stream, "--include-usage", "--chunk", n).out, whole.out, `in pieces of ${n}`);
        assert.equal(convert("stream", stream, "--chunk", n).out, hidden.out, `in pieces of ${n}`);
      }
    });
    await t.test("wrong usage", () => {
      refusedWith(run(["convert", "request"]), USAGE, /usage: sluice convert/);
      refusedWith(convert("dance", "{}"), USAGE, /no kind 'dance'/);
      refusedWith(convert("request", ""), REFUSED, /nothing came/);
      refusedWith(run(["convert", "request", "--from", "openai-chat", "--to", "morse"], { input: "{}" }), USAGE, /usage: sluice convert/);
    });
  } finally {
    await stack.stop();
  }
});
