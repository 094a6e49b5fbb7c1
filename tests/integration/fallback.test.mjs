// A route's own models, its fallbacks to others, its rules, bounds and ways out: what reaches providers.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import http from "node:http";
import https from "node:https";
import net from "node:net";
import path from "node:path";
import { after, before, test } from "node:test";
import { dialects, hears, Provider, says, send, streamOf } from "./lib/provider.mjs";
import { Stack, sleep, until } from "./lib/stack.mjs";

let stack, one, two;
const figures = { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 };
const whole = (text) => says["openai-chat"].whole(text, figures);
// A route with upstreams of its own, as those that failed rest: NAME-one and, where two are wanted, NAME-two.
async function route(name, { targets, pair = false, ...more } = {}) {
  if (targets === undefined) {
    targets = pair ? [{ upstream: `${name}-one` }, { upstream: `${name}-two` }] : [{ upstream: `${name}-one` }];
    await upstream(`${name}-one`, one.url);
    if (pair) await upstream(`${name}-two`, two.url);
  }
  return stack.manage("POST", "routes", { name, model: name, strategy: "first", targets: targets.map((t) => ({ model: name, ...t })), ...more });
}
const upstream = (name, base_url, more) => stack.manage("POST", "upstreams", { name, base_url, protocol: "openai_chat", auth: "none",
  allow_private: true, breaker_failures: 0, models: [`only-${name}`], ...more });
const rowOf = (id) => until("its row", 10000, async () => (await stack.rows()).find((r) => r.id === id));
function ask(format, model, { stream = false, headers, body, ...more } = {}) {
  const d = dialects[format];
  return send(stack.url + d.path(model, stream), { body: body ?? d.body(model, stream), headers: { ...d.key(stack.token), ...headers }, ...more });
}

before(async () => {
  stack = await Stack.start({ settings: { workers: 1, heartbeat: "10s" }, mock: null });
  stack.command(["project", "add", "--name", "first"]);
  stack.token = stack.command(["token", "add", "--project", "first", "--json"]).token;
  one = await Provider.start();
  two = await Provider.start();
  await upstream("one", one.url);
  await upstream("two", two.url);
});
after(async () => {
  one?.stop();
  two?.stop();
  assert.equal(await stack?.stop(), 0);
});

test("the provider gets its own name of the model, and the client is told it", async () => {
  await upstream("claude", one.url, { protocol: "anthropic" });
  await upstream("google", one.url, { protocol: "gemini" });
  await route("fast", { targets: [{ upstream: "one", model: "gpt-x" }] });
  await route("fast-claude", { targets: [{ upstream: "claude", model: "claude-x" }] });
  await route("fast-google", { targets: [{ upstream: "google", model: "gemini x" }] });

  one.gives(whole("Hi"));
  const text = '{ "x_unknown":[1.50, {"b":0}],"model" : "fast", "messages":[{"role":"user","content":"Hello"}] }';
  const chat = await ask("openai-chat", "fast", { body: text });
  assert.equal(chat.status, 200, chat.text);
  assert.equal(String(one.last.body), text.replace('"fast"', '"gpt-x"'), "the rest stays byte for byte");
  assert.equal(chat.headers["x-sluice-model"], "gpt-x");
  const row = await rowOf(chat.headers["x-request-id"]);
  assert.deepEqual([row.model, row.upstream_model], ["fast", "gpt-x"]);

  one.gives(says.anthropic.whole("Hi", { input_tokens: 3, output_tokens: 2 }));
  assert.equal((await ask("anthropic", "fast-claude")).status, 200);
  assert.equal(one.last.json.model, "claude-x");
  assert.equal((await ask("openai-chat", "fast-claude")).json.model, "fast-claude", "converted: the client's own name");
  assert.equal(one.last.json.model, "claude-x");

  one.gives(says.gemini.whole("Hi", { promptTokenCount: 3, candidatesTokenCount: 2, totalTokenCount: 5 }));
  assert.equal((await ask("gemini", "fast-google")).status, 200);
  assert.match(one.last.url, /\/models\/gemini%20x:generateContent/);
  one.gives({ embedding: { values: [1] } });
  await send(`${stack.url}/v1beta/models/fast-google:embedContent`, { body: { content: { parts: [{ text: "x" }] } }, headers: dialects.gemini.key(stack.token) });
  assert.match(one.last.url, /\/models\/gemini%20x:embedContent/, "in other paths too");

  one.gives({ object: "list", data: [], model: "e", usage: { prompt_tokens: 1, total_tokens: 1 } });
  await send(`${stack.url}/v1/embeddings`, { body: { model: "fast", input: "x" }, headers: dialects["openai-chat"].key(stack.token) });
  assert.equal(one.last.json.model, "gpt-x");
});

test("other models take over: on errors, on a full context, on a filter", async () => {
  const fallbacks = ["error only-two", "context only-long", "filter only-soft"];
  await upstream("long", two.url);
  await upstream("soft", two.url, { protocol: "anthropic" });
  two.answer = (seen, response) => response.writeHead(200, { "content-type": "application/json" })
    .end(JSON.stringify(seen.url.includes("/messages") ? says.anthropic.whole("soft", { input_tokens: 1, output_tokens: 1 }) : whole(seen.json.model)));
  const error = (status, code, message) => ({ status, body: { error: { message, type: "invalid_request_error", code } } });
  const cases = [[error(500, null, "down"), "only-two"], [error(400, "context_length_exceeded", "maximum context length is 8192 tokens"), "only-long"],
    [error(400, "content_filter", "The response was filtered"), "only-soft"]];
  for (const [{ status, body }, model] of cases) {
    one.gives(body, { status });
    await route(`plan-${model}`, { fallbacks });
    const got = await ask("openai-chat", `plan-${model}`);
    assert.equal(got.status, 200, got.text);
    assert.equal(got.headers["x-sluice-model"], model);
    assert.equal(got.headers["x-sluice-attempts"], "2");
    assert.equal(two.last.json.model, model);
    const row = await rowOf(got.headers["x-request-id"]);
    assert.deepEqual([row.upstream_model, row.attempts], [model, 2]);
  }
  // what the model asked for would cost more than the route allows, so nobody asks for it
  await stack.manage("POST", "prices", { model: "plan-dear", input: "1000", output: "1000" });
  await stack.manage("POST", "prices", { model: "only-two", input: "1", output: "1" });
  await route("plan-dear", { fallbacks: ["price only-two"], max_cost: "0.5" });
  const before = one.seen.length;
  const cheap = await ask("openai-chat", "plan-dear", { body: { ...dialects["openai-chat"].body("plan-dear", false), max_tokens: 1000 } });
  assert.equal(cheap.status, 200, cheap.text);
  assert.deepEqual([cheap.headers["x-sluice-model"], cheap.headers["x-sluice-attempts"], one.seen.length], ["only-two", "1", before]);
  const dear = await rowOf(cheap.headers["x-request-id"]);
  assert.deepEqual([dear.model, dear.upstream_model], ["plan-dear", "only-two"]);
  // a stream that a filter ended before it said anything
  one.streams(`data: ${JSON.stringify({ id: "c", choices: [{ index: 0, delta: {}, finish_reason: "content_filter" }] })}\n\ndata: [DONE]\n\n`);
  two.streams(streamOf("anthropic", ["soft"], { input_tokens: 1, output_tokens: 1 }));
  await route("plan-a", { fallbacks });
  const filtered = await ask("openai-chat", "plan-a", { stream: true });
  assert.equal(hears["openai-chat"](filtered.bytes).text, "soft");
  assert.equal(filtered.headers["x-sluice-model"], "only-soft");
});

test("the caller's own fault stays with who said so", async () => {
  await route("careful", { pair: true, fallbacks: ["error only-two"] });
  one.gives({ error: { message: "temperature is no number", type: "invalid_request_error", code: null } }, { status: 400 });
  two.gives(whole("no"));
  const before = two.seen.length, got = await ask("openai-chat", "careful");
  assert.deepEqual([got.status, got.headers["x-sluice-attempts"], two.seen.length], [400, "1", before]);
});

test("tries and a deadline bound the way", async () => {
  const all = await Promise.all([1, 2, 3, 4].map((i) => upstream(`bad${i}`, one.url)));
  const targets = all.map((u) => ({ upstream: u.name }));
  await route("twice", { targets, tries: 2 });
  await route("in-time", { targets, deadline_ms: 300 });
  one.gives({ error: { message: "down" } }, { status: 500 });
  let before = one.seen.length;
  const twice = await ask("openai-chat", "twice");
  assert.deepEqual([twice.status >= 500, twice.headers["x-sluice-attempts"], one.seen.length - before], [true, "2", 2]);
  one.answer = async (seen, response) => {
    await sleep(200);
    response.writeHead(500).end("{}");
  };
  before = one.seen.length;
  const late = await ask("openai-chat", "in-time");
  assert.deepEqual([late.status >= 500, late.headers["x-sluice-attempts"], one.seen.length - before], [true, "2", 2]);
});

test("failure rules say who is asked next", async () => {
  for (const name of ["ruled", "ruled-too"]) await route(name, { pair: true,
    failure_rules: ["status=400 body=/busy/ -> next nocount", "status=500 -> stop"] });
  two.gives(whole("two"));
  one.gives({ error: { message: "we are busy" } }, { status: 400 });
  assert.equal((await ask("openai-chat", "ruled")).headers["x-sluice-upstream"], "ruled-two");
  one.gives({ error: { message: "we are down" } }, { status: 500 });
  const stopped = await ask("openai-chat", "ruled-too");
  assert.deepEqual([stopped.status >= 500, stopped.headers["x-sluice-attempts"]], [true, "1"]);
});

test("failure rules see type and headers, and put to rest", async () => {
  await route("cooled", { pair: true, failure_rules: ["status=420-429 type=odd_error header:x-why=/^tired/ body=/sleep/ -> next cool=600"] });
  two.gives(whole("two"));
  const odd = { error: { message: "I sleep", type: "odd_error" } };
  one.gives(odd, { status: 422, headers: { "x-why": "hungry" } });
  assert.equal((await ask("openai-chat", "cooled")).status, 422, "another header: no rule fits");
  one.gives(odd, { status: 422, headers: { "x-why": "tired out" } });
  const moved = await ask("openai-chat", "cooled");
  assert.deepEqual([moved.headers["x-sluice-upstream"], moved.headers["x-sluice-attempts"]], ["cooled-two", "2"]);
  const before = one.seen.length, rested = await ask("openai-chat", "cooled");
  assert.deepEqual([rested.headers["x-sluice-upstream"], rested.headers["x-sluice-attempts"], one.seen.length], ["cooled-two", "1", before]);
});

test("an answer without words is one where the provider says so", async () => {
  let n = 0;
  const chunk = (finish, more = {}) => `data: ${JSON.stringify({ id: "c", choices: [{ index: 0, delta: {}, finish_reason: finish }], ...more })}\n\n`;
  two.streams(streamOf("openai-chat", ["two"], figures));
  for (const [stream, by] of [
    [chunk("stop") + chunk(null, { choices: [], usage: { ...figures, completion_tokens: 0 } }) + "data: [DONE]\n\n", "one"],
    [chunk("length") + "data: [DONE]\n\n", "one"],
    [chunk("stop") + "data: [DONE]\n\n", "two"],
    ["data: [DONE]\n\n", "two"],
    [": only a comment\n\n", "two"]]) {
    one.streams(stream);
    const name = `quiet-${++n}`;
    await route(name, { pair: true });
    const got = await ask("openai-chat", name, { stream: true });
    assert.deepEqual([got.status, got.headers["x-sluice-upstream"]], [200, `${name}-${by}`], stream);
    assert.equal(hears["openai-chat"](got.bytes).complete, true, stream);
  }
  two.gives(whole("two"));
  const silent = (usage) => ({ id: "c", object: "chat.completion", choices: [{ index: 0, message: { role: "assistant", content: "" }, finish_reason: "stop" }], usage });
  for (const [body, by] of [[silent({ ...figures, completion_tokens: 0 }), "one"], [silent(undefined), "two"], [{ object: "x", choices: [] }, "two"], ["", "two"]]) {
    one.gives(body);
    const name = `quiet-${++n}`;
    await route(name, { pair: true });
    assert.equal((await ask("openai-chat", name)).headers["x-sluice-upstream"], `${name}-${by}`, JSON.stringify(body));
  }
  // with nobody else it is what the provider said
  await route("alone");
  one.streams(chunk("stop") + "data: [DONE]\n\n");
  const alone = await ask("openai-chat", "alone", { stream: true });
  assert.deepEqual([alone.status, hears["openai-chat"](alone.bytes).stop], [200, "stop"]);
});

test("rules change what is sent, before anything is converted or reserved", async () => {
  await upstream("claude-ruled", one.url, { protocol: "anthropic" });
  const request_rules = ["set temperature=0.2", "default top_p=0.5", "remove user", "system Be kind.", "header X-Team: blue", "cap max_tokens=100"];
  await route("mended", { request_rules });
  await route("mended-claude", { request_rules, targets: [{ upstream: "claude-ruled" }] });
  one.gives(whole("Hi"));
  const body = (model) => ({ model, user: "u", top_p: 0.9, zz: { a: [] }, max_tokens: 5000, messages: [{ role: "user", content: "Hello" }], temperature: 1 });
  const got = await ask("openai-chat", "mended", { body: body("mended") });
  assert.equal(got.status, 200, got.text);
  assert.deepEqual(one.last.json, { model: "mended", top_p: 0.9, zz: { a: [] }, max_tokens: 100, temperature: 0.2,
    messages: [{ role: "system", content: "Be kind." }, { role: "user", content: "Hello" }] });
  assert.equal(one.last.headers["x-team"], "blue");
  await rowOf(got.headers["x-request-id"]);
  assert.deepEqual((await stack.manage("GET", `requests/${got.headers["x-request-id"]}/explain`)).rules.map((r) => r.rule), request_rules.filter((r) => !r.startsWith("default")).map((r) => r.replace(": blue", "")));
  one.gives(says.anthropic.whole("Hi", { input_tokens: 3, output_tokens: 2 }));
  assert.equal((await ask("openai-chat", "mended-claude", { body: body("mended-claude") })).status, 200);
  const sent = one.last.json;
  assert.deepEqual([sent.max_tokens, JSON.stringify(sent.system).includes("Be kind."), sent.metadata], [100, true, undefined]);
  // the ceiling is what is reserved: 5,000 tokens would not fit
  const limit = await stack.manage("POST", "limits", { scope: { project: "first", model: "mended" }, metric: "output_tokens", window: "total", cap: 200 });
  one.gives(whole("Hi"));
  assert.equal((await ask("openai-chat", "mended", { body: body("mended") })).status, 200);
  await stack.manage("DELETE", `limits/${limit.id}`);
  const refused = await stack.manage("POST", "routes", { name: "bad", model: "bad", targets: [{ upstream: "one" }], request_rules: ["set a=b"] }, 400);
  assert.match(refused.error.message, /JSON/);
});

test("who had to wait is told of the rules all the same", async () => {
  const request_rules = ["set temperature=0.2"];
  await upstream("narrow-one", one.url, { max_parallel: 1 });
  await route("narrow", { request_rules, targets: [{ upstream: "narrow-one" }] });
  one.answer = async (seen, response) => {
    await sleep(400);
    response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(whole(String(seen.json.temperature))));
  };
  const got = await Promise.all([1, 2].map(() => ask("openai-chat", "narrow")));
  assert.deepEqual(got.map((g) => [g.status, g.json.choices[0].message.content]), [[200, "0.2"], [200, "0.2"]]);
  const why = [];
  for (const { headers } of got) {
    await rowOf(headers["x-request-id"]);
    why.push(await stack.manage("GET", `requests/${headers["x-request-id"]}/explain`));
  }
  assert.ok(why.some((w) => w.queued_ms > 0), JSON.stringify(why.map((w) => w.queued_ms)));
  assert.deepEqual(why.map((w) => w.rules.length), [1, 1]);
});

test("a stream that begins too slowly is left for another", async () => {
  await route("brisk", { pair: true, slow_chars_s: 100, slow_after_ms: 400 });
  one.answer = async (seen, response) => {
    response.writeHead(200, { "content-type": "text/event-stream" });
    for (let i = 0; i < 40 && !response.destroyed; i++, await sleep(100)) response.write(says["openai-chat"].piece("a"));
    response.end();
  };
  two.streams(streamOf("openai-chat", ["two"], figures));
  const got = await ask("openai-chat", "brisk", { stream: true });
  assert.deepEqual([got.headers["x-sluice-upstream"], hears["openai-chat"](got.bytes).text], ["brisk-two", "two"]);
});

test("what the first one left behind does not touch the next", async () => {
  await route("slowly", { pair: true });
  one.streams("data: [DONE]\n\n");
  two.answer = async (seen, response) => { // longer than a provider is let go on behind its end
    await sleep(1600);
    response.writeHead(200, { "content-type": "text/event-stream" }).end(streamOf("openai-chat", ["two"], figures));
  };
  const got = await ask("openai-chat", "slowly", { stream: true });
  assert.deepEqual([got.status, got.broken, hears["openai-chat"](got.bytes).text], [200, false, "two"]);
});

test("behind heartbeats another provider still takes over", async () => {
  const own = await Stack.start({ settings: { workers: 1, first_heartbeat: "250ms", heartbeat: "250ms" }, mock: null });
  try {
    own.command(["project", "add", "--name", "first"]);
    own.token = own.command(["token", "add", "--project", "first", "--json"]).token;
    const add = (name, base_url, priority) => own.manage("POST", "upstreams", { name, base_url, priority, protocol: "openai_chat", auth: "none",
      allow_private: true, models: ["m"] });
    await add("one", one.url, 0);
    await add("two", two.url, 1);
    const d = dialects["openai-chat"];
    one.answer = (seen, response) => response.writeHead(503, { "retry-after": "77", "content-language": "tlh" }).end();
    two.answer = async (seen, response) => {
      await sleep(900);
      response.writeHead(200, { "content-type": "text/event-stream" }).end(streamOf("openai-chat", ["two"], figures));
    };
    const quick = await send(own.url + d.path(), { body: d.body("m", true), headers: d.key(own.token) });
    assert.deepEqual([hears["openai-chat"](quick.bytes).text, hears["openai-chat"](quick.bytes).pings > 0], ["two", true]);
    assert.deepEqual([quick.headers["retry-after"], quick.headers["content-language"]], [undefined, undefined]);
    one.answer = async (seen, response) => {
      await sleep(900);
      response.writeHead(500).end();
    };
    two.streams(streamOf("openai-chat", ["two"], figures));
    const got = await send(own.url + d.path(), { body: d.body("m", true), headers: d.key(own.token) });
    const heard = hears["openai-chat"](got.bytes);
    assert.deepEqual([got.status, heard.text, heard.complete, heard.pings > 0], [200, "two", true, true]);
  } finally {
    assert.equal(await own.stop(), 0);
  }
});

// ---- ways out ----

// A proxy of either kind, which may ask for a name and password.  Names in .invalid only it knows.
async function proxy(kind) {
  const seen = [];
  const connect = (host, port, client, ready) => {
    const target = net.connect(port, host.endsWith(".invalid") ? "127.0.0.1" : host, () => {
      ready();
      client.pipe(target).pipe(client);
    });
    target.on("error", () => client.destroy());
    client.on("error", () => target.destroy());
  };
  const server = kind === "http" ? http.createServer((request, response) => response.writeHead(405).end()) : net.createServer((client) => {
    client.once("data", (hello) => {
      client.write(Buffer.from([5, hello.includes(2, 2) ? 2 : 0]));
      const request = (data) => {
        const name = data[3] === 3, host = name ? String(data.subarray(5, 5 + data[4])) : data.subarray(4, 8).join(".");
        const port = data.readUInt16BE(data.length - 2);
        seen.push({ host, port, name });
        connect(host, port, client, () => client.write(Buffer.from([5, 0, 0, 1, 0, 0, 0, 0, 0, 0])));
      };
      client.once("data", (data) => {
        if (data[0] !== 1) return request(data);
        seen.auth = String(data.subarray(2, 2 + data[1]));
        client.write(Buffer.from([1, 0]));
        client.once("data", request);
      });
    });
  });
  server.on("connect", (request, client) => {
    const [host, port] = request.url.split(":");
    seen.push({ host, port: Number(port), headers: request.headers });
    connect(host, Number(port), client, () => client.write("HTTP/1.1 200 Connected\r\nX-Proxy: yes\r\n\r\n"));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return { seen, port: server.address().port, stop: () => server.close() };
}

test("calls go through a proxy, which sees no key", async () => {
  const web = await proxy("http"), socks = await proxy("socks");
  try {
    one.gives(whole("Hi"));
    const port = Number(new URL(one.url).port);
    const behind = async (name, address) => {
      await upstream(name, `http://localhost:${port}`, { auth: "bearer", proxy: address });
      stack.command(["key", "add", "--upstream", name, "--secret", "sk-secret-behind-proxy"]);
      const got = await ask("openai-chat", `only-${name}`);
      assert.equal(got.status, 200, got.text);
      assert.equal(one.last.headers.authorization, "Bearer sk-secret-behind-proxy");
    };
    await behind("web", `http://me:secret@127.0.0.1:${web.port}`);
    assert.equal(web.seen.length, 1);
    assert.equal(web.seen[0].headers["proxy-authorization"], `Basic ${Buffer.from("me:secret").toString("base64")}`);
    assert.equal(web.seen[0].headers.authorization, undefined);
    await behind("socks-name", `socks5h://me:secret@127.0.0.1:${socks.port}`);
    assert.deepEqual([{ ...socks.seen[0] }, socks.seen.auth], [{ host: "localhost", port, name: true }, "me"]);
    await behind("socks-address", `socks5://127.0.0.1:${socks.port}`);
    assert.deepEqual(socks.seen[1], { host: "127.0.0.1", port, name: false });

    // a private address that is named outright is refused behind a proxy too
    await upstream("sneaky", `http://127.0.0.1:${port}`, { proxy: `http://127.0.0.1:${web.port}`, allow_private: false });
    assert.equal((await ask("openai-chat", "only-sneaky")).status, 502);
    assert.equal(web.seen.length, 1);
    const logs = stack.logs();
    assert.ok(!logs.includes("me:secret") && !logs.includes("sk-secret-behind-proxy"));
  } finally {
    web.stop();
    socks.stop();
  }
});

test("what we ask of a provider ourselves goes through its proxy too", async () => {
  const web = await proxy("http"), socks = await proxy("socks");
  try {
    const base = `http://provider.invalid:${new URL(one.url).port}`;
    const secret = JSON.stringify({ clientid: "c", clientsecret: "s", url: base, serviceurls: { AI_API_URL: base } });
    one.answer = (seen, response) => response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(
      seen.url.startsWith("/oauth") ? { access_token: `bought-${one.seen.length}`, expires_in: 3600 }
        : seen.url.includes("/lm/") ? { resources: [{ id: "d1", status: "RUNNING", details: { resources: { backend_details: { model: { name: "found" } } } } }] }
          : whole("Hi")));
    const bought = () => one.seen.filter((s) => s.url.startsWith("/oauth")).length;
    for (const [name, address] of [["far-web", `http://127.0.0.1:${web.port}`], ["far-socks", `socks5h://127.0.0.1:${socks.port}`]])
      for (const first of ["a request", "an errand"]) {
        const at = `${name}-${first.slice(-3)}`, before = bought();
        await upstream(at, `${base}/v2/inference/deployments/d1`, { protocol: "sap_openai", auth: "sap-oauth", proxy: address });
        stack.command(["key", "add", "--upstream", at, "--secret", secret]);
        if (first === "a request") {
          const got = await ask("openai-chat", `only-${at}`);
          assert.equal(got.status, 200, got.text);
          assert.equal(bought(), before + 1, "the access token is bought there");
        }
        const { data } = await stack.manage("POST", `upstreams/${at}/models/refresh`, {});
        assert.deepEqual(data.map((m) => m.id), ["found"], at);
        assert.equal(bought(), before + 1, "one for both");
      }
  } finally {
    web.stop();
    socks.stop();
  }
});

test("a provider of one's own, with a certificate on either side", async () => {
  const at = (name) => path.join(stack.dir, name), run = (...args) => execFileSync("openssl", args, { stdio: "pipe" });
  run("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", at("ca.key"), "-out", at("ca.pem"), "-subj", "/CN=ca", "-days", "2");
  for (const [name, extra] of [["server", "subjectAltName=DNS:localhost"], ["client", "extendedKeyUsage=clientAuth"]]) {
    run("req", "-newkey", "rsa:2048", "-nodes", "-keyout", at(`${name}.key`), "-out", at(`${name}.csr`), "-subj", `/CN=${name}`);
    fs.writeFileSync(at(`${name}.ext`), extra);
    run("x509", "-req", "-in", at(`${name}.csr`), "-CA", at("ca.pem"), "-CAkey", at("ca.key"), "-CAcreateserial", "-days", "2",
      "-extfile", at(`${name}.ext`), "-out", at(`${name}.pem`));
  }
  fs.writeFileSync(at("both.pem"), fs.readFileSync(at("client.pem")) + "\n" + fs.readFileSync(at("client.key")));
  const seen = [];
  const server = https.createServer({ key: fs.readFileSync(at("server.key")), cert: fs.readFileSync(at("server.pem")),
    ca: fs.readFileSync(at("ca.pem")), requestCert: true, rejectUnauthorized: true }, (request, response) => {
    seen.push({ subject: request.socket.getPeerCertificate().subject.CN, headers: request.headers });
    request.resume();
    request.on("end", () => response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(whole("private"))));
  }).listen(0, "localhost");
  await once(server, "listening");
  try {
    const base_url = `https://localhost:${server.address().port}`;
    await upstream("private", base_url, { ca_file: at("ca.pem"), client_cert: at("both.pem"), extra_headers: ["X-Tenant: t1"] });
    await upstream("no-client", base_url, { ca_file: at("ca.pem") });
    await upstream("no-ca", base_url, { client_cert: at("both.pem") });
    const got = await ask("openai-chat", "only-private");
    assert.equal(got.status, 200, got.text);
    assert.deepEqual([seen[0].subject, seen[0].headers["x-tenant"]], ["client", "t1"]);
    assert.equal((await ask("openai-chat", "only-no-client")).status, 502);
    assert.equal((await ask("openai-chat", "only-no-ca")).status, 502);
    assert.equal(seen.length, 1);
  } finally {
    server.closeAllConnections();
    server.close();
  }
});
