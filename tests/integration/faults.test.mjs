// Every fault has its own answer, and nothing secret is in any of them.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import http from "node:http";
import net from "node:net";
import path from "node:path";
import test from "node:test";
import { SLOW, Stack, freePort, programs, sleep, until } from "./lib/stack.mjs";

const errorOf = async (answer) => ({ status: answer.status, ...(await answer.json()).error });

// A request with a hand-made head, of which only part of the body is sent.
function rawPost(stack, { length, send, hold = 200 }) {
  const { port } = new URL(stack.url);
  return new Promise((done) => {
    const socket = net.connect(Number(port), "127.0.0.1");
    let text = "";
    socket.on("data", (piece) => (text += piece));
    socket.on("error", () => {});
    socket.on("close", () => done(text));
    socket.write(`POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${stack.token}\r\n`
      + `Content-Type: application/json\r\nConnection: close\r\nContent-Length: ${length}\r\n\r\n`);
    socket.write(send);
    setTimeout(() => socket.end(), hold);
  });
}

test("provider faults", { timeout: 90000 }, async (t) => {
  const stack = await Stack.start({ server: "nginx",
    settings: { queue_wait: "1s", first_byte_timeout: "700ms", idle_timeout: "700ms", rest_default: "100ms",
      first_heartbeat: "200ms" } });
  const wake = () => stack.command(["key", "enable", stack.key.id, "--yes"]);
  const rowOf = (model) => until("its row", 3000, async () => (await stack.rows()).find((r) => r.model === model));
  try {
    await t.test("refusing the connection", async () => {
      const port = await freePort();
      stack.command(["upstream", "add", "--name", "gone", "--protocol", "openai", "--base-url",
        `http://127.0.0.1:${port}/v1`, "--allow-private", "--models", "gone-model", "--json"]);
      stack.command(["key", "add", "--upstream", "gone", "--secret", "sk-gone-000000000000", "--json"]);
      const e = await errorOf(await stack.chat({ model: "gone-model" }));
      assert.equal(e.status, 502);
      assert.equal(e.sluice_code, "upstream_unreachable");
      const row = await rowOf("gone-model");
      assert.equal(row.ended_by, "provider");
      assert.equal(row.cost, "0.000000000");
      assert.match(row.error, /gone/);
    });
    await t.test("an address that is private, without allow_private", async () => {
      stack.command(["upstream", "add", "--name", "inside", "--protocol", "openai", "--base-url",
        stack.mock.url + "/v1", "--models", "inside-model", "--json"]);
      stack.command(["key", "add", "--upstream", "inside", "--secret", "sk-inside-00000000000", "--json"]);
      const e = await errorOf(await stack.chat({ model: "inside-model" }));
      assert.equal(e.status, 502);
      assert.doesNotMatch(JSON.stringify(e), /127\.0\.0\.1/, "the client does not learn addresses");
      assert.match((await rowOf("inside-model")).error, /private|allow_private/);
    });
    await t.test("hanging before the first byte", async () => {
      const e = await errorOf(await stack.chat({ model: "mock-hang" }));
      assert.deepEqual([e.status, e.sluice_code], [504, "upstream_timeout"]);
      assert.equal((await rowOf("mock-hang")).ended_by, "timeout");
    });
    await t.test("hanging in mid-stream", async () => {
      const answer = await stack.chat({ model: "mock-hang-stream", stream: true });
      const text = await answer.text();
      assert.equal(answer.status, 200);
      assert.match(text, /"sluice_code":"upstream_timeout"/);
      const row = await rowOf("mock-hang-stream");
      assert.deepEqual([row.ended_by, row.usage], ["timeout", "estimated"]);
    });
    await t.test("cutting in mid-stream", async () => {
      wake();
      const text = await (await stack.chat({ model: "mock-cut", stream: true })).text();
      assert.match(text, /"sluice_code":"upstream_unreachable"/);
      assert.doesNotMatch(text, /\[DONE\]/);
      const row = await rowOf("mock-cut");
      assert.deepEqual([row.ended_by, row.usage], ["provider", "estimated"]);
    });
    await t.test("sending garbage", async () => {
      wake();
      const e = await errorOf(await stack.chat({ model: "mock-garbage" }));
      assert.deepEqual([e.status, e.sluice_code], [502, "upstream_unreachable"]);
      assert.match((await rowOf("mock-garbage")).error, /not HTTP|garbage|understood/i);
    });
    for (const [model, status, code] of [["mock-error-401", 502, "upstream_credentials"],
      ["mock-error-402", 502, "upstream_credentials"], ["mock-error-500", 502, "upstream_unreachable"],
      ["mock-error-429", 429, "rate_limited"]]) {
      await t.test(`answering ${model.slice(-3)}`, async () => {
        wake();
        const answer = await stack.chat({ model });
        const e = await errorOf(answer);
        assert.deepEqual([e.status, e.sluice_code], [status, code]);
        assert.ok(!JSON.stringify(e).includes("sk-"), "no key is shown");
        assert.equal((await rowOf(model)).cost, "0.000000000");
      });
    }
    await t.test("a rate-limited key rests until its stated reset", async () => {
      const e = await errorOf(await stack.chat());
      assert.deepEqual([e.status, e.sluice_code], [503, "no_key_available"]);
      const key = (await stack.manage("GET", "keys")).data.find((k) => k.id === stack.key.id);
      assert.equal(key.state, "throttled");
      const left = new Date(key.rests_until) - Date.now();
      assert.ok(left > 0 && left <= 7000, `rests ${left} ms`);
      wake();
      assert.equal((await stack.chat()).status, 200);
    });
    await t.test("the next key answers, before the first byte", async () => {
      const bad = stack.command(["key", "add", "--upstream", "mock", "--secret", "sk-bad401-0000000000", "--json"]);
      for (let i = 0; i < 6; i++) assert.equal((await stack.chat()).status, 200);
      const key = (await stack.manage("GET", "keys")).data.find((k) => k.id === bad.id);
      assert.equal(key.state, "invalid");
      const tried = (await stack.rows()).filter((r) => r.attempts === 2);
      assert.equal(tried.length, 1, "the bad key cost one request a second attempt");
      stack.command(["key", "delete", bad.id, "--yes"]);
    });
    await t.test("silent behind a first heartbeat, then failing", async () => {
      wake();
      const answer = await stack.chat({ model: "mock:delay=650,status=500", stream: true });
      const text = await answer.text();
      assert.equal(answer.status, 200, "the heartbeat committed the status");
      assert.match(text, /^: ping\n\n/);
      assert.match(text, /"sluice_code":"upstream_unreachable"/);
      wake();
    });
    await t.test("a model nobody serves, an upstream nobody has", async () => {
      const e = await errorOf(await stack.chat({ model: "unheard-of" }));
      assert.deepEqual([e.status, e.sluice_code], [404, "no_route"]);
      const u = await errorOf(await stack.chat({}, { headers: { "x-upstream-name": "nowhere" } }));
      assert.deepEqual([u.status, u.sluice_code], [400, "unknown_upstream"]);
      assert.match(u.message, /mock/);
    });
  } finally {
    await stack.stop();
  }
});

test("client faults", { timeout: 90000 }, async (t) => {
  const stack = await Stack.start({ server: "apache-proxy-fcgi", settings: { body_deadline: "4s" } });
  try {
    await t.test("a body of 33 MB", async () => {
      const answer = await fetch(`${stack.url}/v1/chat/completions`, { method: "POST",
        headers: { authorization: `Bearer ${stack.token}`, "content-type": "application/json" },
        body: Buffer.alloc(33 << 20, 32) });
      const e = await errorOf(answer);
      assert.deepEqual([e.status, e.sluice_code], [413, "body_too_large"]);
    });
    await t.test("a body cut short is never acted on", async () => {
      const before = (await stack.mockStats()).completed;
      await rawPost(stack, { length: 500, send: '{"model":"gpt-test","messages":[' });
      await sleep(500);
      assert.equal((await stack.mockStats()).completed, before);
    });
    await t.test("bad JSON", async () => {
      for (const text of ["{", "[]", '{"model":7}', '{"model":"x",}', ""]) {
        const e = await errorOf(await fetch(`${stack.url}/v1/chat/completions`, { method: "POST", body: text,
          headers: { authorization: `Bearer ${stack.token}`, "content-type": "application/json" } }));
        assert.deepEqual([text, e.status, e.sluice_code], [text, 400, "bad_request"]);
      }
    });
    await t.test("no token, a mistyped one, an unknown one, two different ones", async () => {
      const ask = (headers) => fetch(`${stack.url}/v1/models`, { headers }).then(errorOf);
      const typo = stack.token.slice(0, -1) + (stack.token.endsWith("a") ? "b" : "a");
      assert.equal((await ask({})).sluice_code, "missing_token");
      assert.match((await ask({ authorization: `Bearer ${typo}` })).message, /typing error/);
      assert.equal((await ask({ "x-api-key": "sk-unknown" })).sluice_code, "invalid_token");
      const other = stack.command(["token", "add", "--project", "first", "--json"]);
      const both = await ask({ authorization: `Bearer ${stack.token}`, "x-api-key": other.token });
      assert.deepEqual([both.status, both.sluice_code], [400, "bad_request"]);
      const mixed = await fetch(`${stack.url}/v1/models`, {
        headers: { authorization: "Bearer sk-not-ours", "x-api-key": stack.token } });
      assert.equal(mixed.status, 200, "the one that is ours counts");
    });
    await t.test("expired and not allowed", async () => {
      const old = stack.command(["token", "add", "--project", "first", "--expires-at",
        new Date(Date.now() + 1000).toISOString(), "--json"]);
      await sleep(1100);
      assert.equal((await errorOf(await stack.chat({}, { token: old.token }))).sluice_code, "token_expired");
      const narrow = stack.command(["token", "add", "--project", "first", "--allowed-models", "mock-a*", "--json"]);
      const e = await errorOf(await stack.chat({}, { token: narrow.token }));
      assert.deepEqual([e.status, e.sluice_code], [403, "model_not_allowed"]);
      assert.equal((await stack.chat({ model: "mock-abc" }, { token: narrow.token })).status, 200);
    });
    await t.test("a path that climbs, a path that is not there", async () => {
      const raw = await new Promise((done) => http.get({ port: stack.port, path: "/v1/%2e%2e/v1/models/x",
        headers: { authorization: `Bearer ${stack.token}` } }, (a) => { a.resume(); done(a.statusCode); }));
      assert.equal(raw, 400);
    });
    await t.test("a browser asks first", async () => {
      const answer = await fetch(`${stack.url}/v1/chat/completions`, { method: "OPTIONS",
        headers: { origin: "https://nobody.example", "access-control-request-method": "POST" } });
      assert.equal(answer.status, 204);
      assert.equal(answer.headers.get("access-control-allow-origin"), null);
    });
    await t.test("200 uploads of a byte a second hold up nobody", async () => {
      const { port } = new URL(stack.url);
      const slow = Array.from({ length: 200 }, () => {
        const socket = net.connect(Number(port), "127.0.0.1");
        socket.on("error", () => {});
        socket.write(`POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${stack.token}\r\n`
          + "Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n");
        return socket;
      });
      const drip = setInterval(() => slow.forEach((s) => s.writable && s.write(" ")), 1000);
      try {
        await sleep(1500);
        const times = [];
        for (let i = 0; i < 20; i++) {
          const began = performance.now();
          assert.equal(await stack.ask({ model: "gpt-test", messages: [{ role: "user", content: "x" }] }), 200);
          times.push(performance.now() - began);
        }
        times.sort((a, b) => a - b);
        assert.ok(times[18] < 1000 * SLOW, `the slowest but one of 20 took ${times[18].toFixed(0)} ms`);
        const told = await Promise.race([sleep(9000).then(() => "nothing"), new Promise((done) => {
          slow[0].on("data", (data) => done(String(data)));
          slow[0].on("close", () => done("closed"));
        })]);
        assert.match(told, /408/, "past the deadline they are told so");
      } finally {
        clearInterval(drip);
        slow.forEach((s) => s.destroy());
      }
    });
  } finally {
    await stack.stop();
  }
});

test("faults of the state folder", { timeout: 60000 }, async (t) => {
  const stack = await Stack.start({ server: "", mock: null, seed: false });
  const state = stack.state;
  const start = () => {
    const run = spawnSync(path.join(programs, "sluice.fcgi"), [], { encoding: "utf8", timeout: 20000 * SLOW, input: "",
      env: { ...stack.env, GATEWAY_INTERFACE: "CGI/1.1", REQUEST_METHOD: "GET", REQUEST_URI: "/v1/models",
        SERVER_PROTOCOL: "HTTP/1.1" } });
    return { out: run.stdout, err: run.stderr, code: run.status };
  };
  const check = () => spawnSync(path.join(programs, "sluice"), ["check"], { env: stack.env, encoding: "utf8" });
  try {
    stack.serving.kill("SIGTERM");
    await until("the workers end", 8000, () => stack.serving.exitCode !== null || stack.serving.signalCode !== null);
    await t.test("no state folder", () => {
      fs.renameSync(state, state + ".away");
      const run = start();
      assert.match(run.out, /^Status: 503/m);
      assert.match(run.out, /store_unavailable/);
      assert.match(run.err, /state.*(does not exist|not there|sluice init)/s);
      assert.equal(check().status, 1);
      fs.renameSync(state + ".away", state);
    });
    await t.test("another master key", () => {
      const file = path.join(state, "master.key");
      const kept = fs.readFileSync(file);
      fs.writeFileSync(file, Buffer.alloc(32, 7));
      const run = start();
      assert.match(run.out, /^Status: 503/m);
      assert.match(run.err, /master key/i);
      fs.writeFileSync(file, kept);
      fs.chmodSync(file, 0o644);
      assert.match(start().err, /master.*(0600|mode|permission)/is);
      fs.chmodSync(file, 0o600);
    });
    await t.test("well again", () => {
      assert.match(start().out, /^Status: 401/m);
      const run = check();
      assert.equal(run.status, 0, run.stdout + run.stderr);
    });
  } finally {
    await stack.stop();
  }
});

test("no secret is anywhere it can be read", { timeout: 60000 }, async () => {
  const stack = await Stack.start({ server: "lighttpd-socket", settings: { log_level: "debug" } });
  try {
    const secret = "sk-provider-secret-0001";
    for (const model of ["gpt-test", "mock-error-401", "mock-error-500", "mock-cut", "unheard-of"])
      await (await stack.chat({ model, stream: model === "mock-cut" })).text();
    await (await fetch(`${stack.url}/v1/models?key=${stack.token}`)).text();
    const looked = [];
    const look = (where, text) => {
      looked.push(where);
      for (const s of [secret, stack.token, stack.manageToken, stack.adminPassword])
        assert.ok(!text.includes(s), `${where} holds a secret`);
    };
    for (const list of ["projects", "tokens", "upstreams", "keys", "prices", "limits", "requests", "audit", "health"])
      look(list, JSON.stringify(await stack.manage("GET", list)));
    for (const pid of stack.workers()) {
      look("process title", fs.readFileSync(`/proc/${pid}/cmdline`, "latin1"));
      look("process environment of secrets", fs.readFileSync(`/proc/${pid}/environ`, "latin1")
        .split("\0").filter((v) => !v.startsWith("SLUICE_ADMIN")).join("\0"));
      assert.match(fs.readFileSync(`/proc/${pid}/limits`, "utf8"), /Max core file size +0 +0/);
    }
    stack.command(["requests", "--json"]);
    await stack.stop({ keep: true });
    const walk = (dir) => fs.readdirSync(dir, { withFileTypes: true }).flatMap((e) =>
      e.isDirectory() ? walk(path.join(dir, e.name)) : e.isFile() ? [path.join(dir, e.name)] : []);
    for (const file of walk(stack.dir)) look(file, fs.readFileSync(file, "latin1"));
    assert.ok(looked.some((f) => f.includes("log")), "logs were among what was looked at");
  } finally {
    await stack.stop();
  }
});
