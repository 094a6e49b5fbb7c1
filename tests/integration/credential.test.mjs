// How keys reach a provider: access tokens that are bought and shared, refused and renewed; templates
// and queries for interfaces that are no model at all.

import assert from "node:assert/strict";
import { createHash, createHmac, generateKeyPairSync, verify } from "node:crypto";
import { once } from "node:events";
import fs from "node:fs";
import http from "node:http";
import path from "node:path";
import test from "node:test";
import { SignatureV4 } from "@smithy/signature-v4";
import { Stack, sleep, until } from "./lib/stack.mjs";

// A token endpoint and a provider in one: what it gives, and what it takes, is scripted by `play`.
async function endpoint() {
  const play = { life: 3600, delay: 0, status: 200, body: null, hang: false, fetched: [], calls: [], good: new Set() };
  const server = http.createServer(async (request, reply) => {
    let body = "";
    for await (const piece of request) body += piece;
    if (request.url.includes("/oauth/token")) {
      play.fetched.push({ url: request.url, body: new URLSearchParams(body), at: Date.now() });
      if (play.hang) return;
      await sleep(play.delay);
      if (play.status !== 200) {
        reply.writeHead(play.status, { "content-type": "application/json" })
          .end(play.body ?? '{"error":"invalid_client","error_description":"Bad credentials of secret-of-app"}');
        return;
      }
      const token = `bought-${play.fetched.length}`;
      play.good.add(token);
      reply.writeHead(200, { "content-type": "application/json" })
        .end(play.body ?? JSON.stringify({ access_token: token, token_type: "bearer", expires_in: play.life }));
      return;
    }
    play.calls.push({ method: request.method, url: request.url, headers: request.headers, body, at: Date.now() });
    const token = request.headers.authorization?.replace("Bearer ", "") ?? "";
    if (token.startsWith("bought-") && !play.good.has(token)) {
      reply.writeHead(401, { "content-type": "application/json" }).end('{"error":{"message":"expired"}}');
      return;
    }
    reply.writeHead(200, { "content-type": "application/json" });
    reply.end(JSON.stringify({ id: "x", object: "chat.completion", model: "m", choices: [{ index: 0,
      message: { role: "assistant", content: "Hi" }, finish_reason: "stop" }],
    usage: { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 } }));
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  play.url = `http://127.0.0.1:${server.address().port}`;
  play.stop = () => {
    server.closeAllConnections();
    server.close();
  };
  return play;
}

// AWS's own reading of a request that came, at the time it says.
async function signatureOf(call, host, { id, secret, session, region, service }) {
  class Sha256 {
    constructor(key) {
      this.hash = key ? createHmac("sha256", key) : createHash("sha256");
    }
    update(data) {
      this.hash.update(data);
    }
    async digest() {
      return new Uint8Array(this.hash.digest());
    }
  }
  const url = new URL(call.url, `http://${host}`);
  const at = call.headers["x-amz-date"].replace(/^(....)(..)(..T..)(..)(..Z)$/, "$1-$2-$3:$4:$5");
  const signer = new SignatureV4({ service, region, sha256: Sha256, applyChecksum: false,
    credentials: { accessKeyId: id, secretAccessKey: secret, sessionToken: session } });
  const signed = await signer.sign({ method: call.method, protocol: "http:", hostname: url.hostname,
    port: Number(url.port), path: url.pathname, query: Object.fromEntries(url.searchParams), body: call.body,
    headers: { host, ...(call.headers["content-type"] ? { "content-type": call.headers["content-type"] } : {}) },
  }, { signingDate: new Date(at) });
  assert.ok(Math.abs(new Date(at) - Date.now()) < 120000);
  return signed.headers;
}

const serviceKey = (url) => JSON.stringify({ clientid: "sb-1234!b5|aicore!b6", clientsecret: "secret-of-app==",
  url, identityzoneid: "zone", serviceurls: { AI_API_URL: url } }, null, 2);

test("access tokens", { timeout: 180000 }, async (t) => {
  const stack = await Stack.start({ server: "nginx", settings: { workers: 8 } });
  const api = await endpoint();
  let n = 0;
  // An upstream of its own, with a key that buys tokens.
  const add = (more = [], secret = serviceKey(api.url)) => {
    const model = `m${++n}`;
    stack.command(["upstream", "add", "--name", model, "--base-url", `${api.url}/v1`, "--allow-private",
      "--models", model, "--auth", "sap-oauth", "--breaker", "closed", ...more]);
    const key = stack.command(["key", "add", "--upstream", model, "--secret", "-", "--json"], { input: secret });
    Object.assign(api, { life: 3600, delay: 0, status: 200, body: null, hang: false, fetched: [], calls: [] });
    return { model, key };
  };
  const ask = (model) => stack.ask({ model, messages: [{ role: "user", content: "x" }] });
  try {
    await t.test("eight workers and CGI processes share one that is fetched once", async () => {
      const { model } = add(["--resource-group", "team"]);
      api.delay = 400;
      const all = await Promise.all([...Array.from({ length: 40 }, () => ask(model)),
        ...Array.from({ length: 8 }, () => stack.cgi({ model, messages: [{ role: "user", content: "x" }] }))]);
      assert.deepEqual(all.filter((s) => s !== 200), []);
      assert.equal(api.fetched.length, 1);
      assert.equal(api.calls.length, 48);
      const { body } = api.fetched[0];
      assert.deepEqual([body.get("grant_type"), body.get("client_id"), body.get("client_secret")],
        ["client_credentials", "sb-1234!b5|aicore!b6", "secret-of-app=="]);
      for (const call of api.calls) {
        assert.equal(call.headers.authorization, "Bearer bought-1");
        assert.equal(call.headers["ai-resource-group"], "team");
      }
    });

    await t.test("a new one is fetched ahead of the end, while the old one works", async () => {
      const { model } = add();
      api.life = 6; // a new one is wanted after three seconds
      assert.equal(await ask(model), 200);
      const before = api.calls[0].headers.authorization;
      api.life = 3600;
      api.delay = 600;
      await until("it is renewed", 20000, async () => {
        assert.equal(await ask(model), 200);
        return api.calls.at(-1).headers.authorization !== before;
      });
      assert.equal(api.fetched.length, 2, "by one process");
      // those that came while it was fetched went with the old one, and waited for nothing
      assert.ok(api.calls.some((c) => c.headers.authorization === before && c.at > api.fetched[1].at));
    });

    await t.test("one that has ended is not used", async () => {
      const { model } = add();
      api.life = 2;
      assert.equal(await ask(model), 200);
      api.life = 3600;
      await sleep(2100);
      assert.deepEqual(await Promise.all(Array.from({ length: 16 }, () => ask(model))), Array(16).fill(200));
      assert.equal(api.fetched.length, 2);
      assert.notEqual(api.calls[1].headers.authorization, api.calls[0].headers.authorization);
    });

    await t.test("refused by the provider: another one, once, and then it is the key", async () => {
      const { model, key } = add();
      assert.equal(await ask(model), 200);
      api.good.clear(); // the provider forgets it
      const all = await Promise.all(Array.from({ length: 24 }, () => ask(model)));
      assert.deepEqual(all.filter((s) => s !== 200), []);
      assert.equal(api.fetched.length, 2, "all refused ones together led to one new token");
      api.good.clear();
      const answer = await stack.chat({ model });
      const told = await answer.json();
      assert.equal(answer.status, 502);
      assert.equal(told.error.sluice_code ?? told.error.code, "upstream_credentials");
      assert.equal(api.fetched.length, 2, "it had been renewed a moment ago");
      const state = (await stack.manage("GET", `keys/${key.id}`));
      assert.equal(state.state, "invalid");
      assert.equal(state.last_error, "HTTP 401");
    });

    await t.test("a credential that the endpoint refuses: 502, another key is tried, nobody asks in a storm", async () => {
      const { model } = add();
      api.status = 401;
      const answer = await stack.chat({ model });
      const told = await answer.json();
      assert.equal(answer.status, 502);
      assert.equal(told.error.sluice_code ?? told.error.code, "upstream_credentials");
      assert.doesNotMatch(JSON.stringify(told), /secret-of-app|Bad credentials/);
      await Promise.all(Array.from({ length: 20 }, () => ask(model)));
      assert.equal(api.fetched.length, 1);
      const rows = await stack.rows(`limit=5&model=${model}`);
      assert.ok(rows.every((r) => r.cost === "0.000000000" || r.cost === null), JSON.stringify(rows));
      // an upstream beside it takes over
      const other = add(["--auth", "bearer"], "sk-plain-key-0001");
      stack.command(["upstream", "set", other.model, "--models", `${other.model},${model}`]);
      stack.command(["upstream", "set", model, "--weight", "100"]);
      assert.equal(await ask(model), 200);
      assert.equal(api.calls.at(-1).headers.authorization, "Bearer sk-plain-key-0001");
    });

    await t.test("an endpoint that fails or hangs holds nobody up for long", async () => {
      const { model } = add(["--first-byte-timeout-ms", "700"]);
      api.hang = true;
      const all = await Promise.all(Array.from({ length: 12 }, () => ask(model)));
      assert.deepEqual(all, Array(12).fill(502));
      assert.equal(api.fetched.length, 1, "all processes waited for one");
      api.hang = false;
      await until("it works again", 15000, async () => (await ask(model)) === 200);
      api.body = "<html>gateway</html>";
      const second = add(); // keeps an endpoint of its own
      api.body = '{"access_token":"with a blank","expires_in":5}';
      assert.equal(await ask(second.model), 502);
    });

    await t.test("who fetches is killed: another one fetches at once", async () => {
      const { model } = add();
      api.hang = true;
      const first = stack.ask({ model, messages: [{ role: "user", content: "x" }] });
      await until("it is being fetched", 10000, () => api.fetched.length === 1);
      api.hang = false;
      const workers = stack.workers();
      for (const pid of workers) process.kill(pid, "SIGKILL");
      await first;
      await until("another one fetches", 15000, async () => (await ask(model)) === 200);
      assert.equal(api.fetched.length, 2);
    });

    await t.test("a worker that is told to end meanwhile ends", async () => {
      const { model } = add();
      assert.equal(await ask(model), 200);
      const workers = stack.workers();
      process.kill(stack.serving.pid, "SIGHUP");
      await until("the old ones are gone", 15000, () => !stack.workers().some((pid) => workers.includes(pid)));
      assert.equal(await ask(model), 200);
      assert.equal(api.fetched.length, 1, "the new ones find it in the store");
    });

    await t.test("a new secret buys another token", async () => {
      const { model, key } = add();
      assert.equal(await ask(model), 200);
      const secret = JSON.stringify({ clientid: "sb-other", clientsecret: "secret-of-app-2", url: api.url });
      stack.command(["key", "set", key.id, "--secret", "-"], { input: secret });
      assert.equal(await ask(model), 200);
      assert.equal(api.fetched.at(-1).body.get("client_id"), "sb-other");
      assert.equal(api.fetched.length, 2);
    });

    await t.test("Entra ID and Google", async () => {
      const entra = add(["--auth", "entra-id", "--token-url", `${api.url}/entra/oauth/token`],
        "contoso.example:11111111-2222:the:secret");
      assert.equal(await ask(entra.model), 200);
      const body = api.fetched[0].body;
      assert.deepEqual([body.get("client_id"), body.get("client_secret"), body.get("scope")],
        ["11111111-2222", "the:secret", "https://cognitiveservices.azure.com/.default"]);
      const { privateKey, publicKey } = generateKeyPairSync("rsa", { modulusLength: 2048,
        privateKeyEncoding: { type: "pkcs8", format: "pem" }, publicKeyEncoding: { type: "spki", format: "pem" } });
      const google = add(["--auth", "google-account"], JSON.stringify({ type: "service_account",
        project_id: "p", private_key_id: "kid-1", private_key: privateKey, client_email: "a@p.example",
        token_uri: `${api.url}/google/oauth/token` }, null, 2));
      assert.equal(google.key.masked, "a@p.example");
      assert.equal(await ask(google.model), 200);
      const [head, claims, signature] = api.fetched[0].body.get("assertion").split(".");
      assert.ok(verify("sha256", Buffer.from(`${head}.${claims}`), publicKey, Buffer.from(signature, "base64url")));
      assert.deepEqual(JSON.parse(Buffer.from(head, "base64url")), { alg: "RS256", typ: "JWT", kid: "kid-1" });
      const said = JSON.parse(Buffer.from(claims, "base64url"));
      assert.deepEqual([said.iss, said.aud, said.scope], ["a@p.example", `${api.url}/google/oauth/token`,
        "https://www.googleapis.com/auth/cloud-platform"]);
      assert.ok(said.exp - said.iat === 3600 && Math.abs(said.iat * 1000 - Date.now()) < 60000);
    });

    await t.test("no secret and no token is in a log, a list or the store's files", async () => {
      const shown = stack.logs() + JSON.stringify(await stack.manage("GET", "keys?limit=100"))
        + JSON.stringify(await stack.manage("GET", "audit?limit=200"));
      assert.doesNotMatch(shown, /secret-of-app|bought-\d|PRIVATE KEY|the:secret/);
      for (const file of fs.readdirSync(stack.state, { recursive: true })) {
        const full = path.join(stack.state, file);
        if (!fs.statSync(full).isFile()) continue;
        assert.doesNotMatch(fs.readFileSync(full, "latin1"), /secret-of-app|bought-\d|PRIVATE KEY|the:secret/, file);
      }
    });
  } finally {
    api.stop();
    assert.equal(await stack.stop(), 0);
  }
});

test("keys of any HTTP interface", { timeout: 90000 }, async (t) => {
  const stack = await Stack.start({ server: "lighttpd-socket", settings: { workers: 2 } });
  const api = await endpoint();
  const ask = (name, where, options = {}) => fetch(`${stack.url}/proxy/v1${where}`, { ...options,
    headers: { authorization: `Bearer ${stack.token}`, "x-upstream-name": name, ...options.headers } });
  try {
    await t.test("a plain JSON interface behind sluice, with keys rotated and calls counted", async () => {
      stack.command(["upstream", "add", "--name", "weather", "--protocol", "http", "--base-url", `${api.url}/api`, "--allow-private",
        "--auth-template", "header X-Api-Token: Token ${key}"]);
      const keys = ["first-key", "second-key", "third-key"].map((secret) =>
        stack.command(["key", "add", "--upstream", "weather", "--secret", secret, "--json"]));
      for (let i = 0; i < 12; i++) {
        const answer = await ask("weather", `/cities/${i}?units=metric`, { headers: { "x-api-token": "mine" } });
        assert.equal(answer.status, 200);
        await answer.text();
      }
      const used = api.calls.map((c) => c.headers["x-api-token"]);
      for (const secret of ["first-key", "second-key", "third-key"])
        assert.equal(used.filter((v) => v === `Token ${secret}`).length, 4, used.join());
      assert.ok(api.calls.every((c) => c.headers.authorization === undefined));
      assert.equal(api.calls[3].url, "/api/cities/3?units=metric");
      const posted = await ask("weather", "/cities", { method: "POST", body: '{"name":"Oslo"}',
        headers: { "content-type": "application/json" } });
      assert.equal(posted.status, 200);
      assert.equal(api.calls.at(-1).body, '{"name":"Oslo"}');
      const usage = await stack.manage("GET", "usage?by=key&step=day");
      const counts = keys.map((k) => usage.data.find((row) => row.key === k.id || row.value === k.id || row.id === k.id)?.requests);
      assert.equal(counts.reduce((a, b) => a + b, 0), 13, JSON.stringify(usage.data));
    });

    await t.test("a key in the query, in any parameter, and never the client's own", async () => {
      stack.command(["upstream", "add", "--name", "maps", "--base-url", api.url, "--allow-private",
        "--auth", "query-key", "--auth-parameter", "api_key"]);
      stack.command(["key", "add", "--upstream", "maps", "--secret", "a+b/c&d="]);
      const answer = await ask("maps", "/geo?q=x&api_key=mine&api_key_hint=1");
      assert.equal(answer.status, 200);
      assert.equal(api.calls.at(-1).url, "/v1/geo?q=x&api_key_hint=1&api_key=a%2Bb%2Fc%26d%3D");
      stack.command(["upstream", "add", "--name", "basic", "--base-url", api.url, "--allow-private",
        "--auth-template", "header Authorization: Basic ${base64}"]);
      stack.command(["key", "add", "--upstream", "basic", "--secret", "user:pass"]);
      assert.equal((await ask("basic", "/x")).status, 200);
      assert.equal(api.calls.at(-1).headers.authorization, `Basic ${Buffer.from("user:pass").toString("base64")}`);
      assert.doesNotMatch(stack.logs(), /a%2Bb|a\+b\/c/);
    });

    await t.test("an AWS signature over what is sent, with and without a session", async () => {
      const host = new URL(api.url).host, id = "AKIDEXAMPLE0001", secret = "wJalr/XUtn+FEMI";
      for (const [name, session] of [["aws", undefined], ["aws-session", "FwoGZXIv=="]]) {
        stack.command(["upstream", "add", "--name", name, "--base-url", `${api.url}/v1`, "--allow-private",
          "--auth", "aws-sigv4", "--region", "eu-central-1"]);
        stack.command(["key", "add", "--upstream", name, "--secret", [id, secret, session].filter(Boolean).join(":")]);
        for (const [where, options] of [["/model/anthropic.claude-v1%3A0/converse", { method: "POST", body: '{"a":"ü"}',
          headers: { "content-type": "application/json" } }], ["/foundation-models?b=2&a=1%2F3", {}]]) {
          assert.equal((await ask(name, where, options)).status, 200);
          const call = api.calls.at(-1);
          const want = await signatureOf(call, host, { id, secret, session, region: "eu-central-1", service: "bedrock" });
          assert.equal(call.headers.authorization, want.authorization ?? want.Authorization);
          assert.equal(call.headers["x-amz-security-token"], session);
        }
      }
    });

    await t.test("a new upstream takes what is usual for its protocol", async () => {
      for (const [protocol, auth, more] of [["openai", "bearer"], ["anthropic", "x-api-key"], ["gemini", "x-goog-api-key"],
        ["azure", "api-key"], ["vertex", "google-account"], ["sap_invoke", "sap-oauth"],
        ["bedrock", "aws-sigv4", { base_url: "https://bedrock-runtime.us-east-1.amazonaws.com" }],
        ["http", "template", { auth_template: "header X-Key: ${key}" }], ["gemini", "bearer", { auth: "bearer" }]]) {
        const made = await stack.manage("POST", "upstreams", { name: `usual-${protocol}-${auth}`, protocol,
          base_url: "https://api.example.com", ...more });
        assert.equal(made.auth, auth, protocol);
      }
    });

    await t.test("what does not fit is refused when it is stored, and not repeated", async () => {
      const upstream = (more) => stack.manage("POST", "upstreams", { name: `bad-${Math.random()}`,
        base_url: "https://api.example.com", ...more }, 400);
      for (const [more, field] of [[{ auth: "template" }, "auth_template"],
        [{ auth_template: "header X-Key: none" }, "auth_template"],
        [{ auth_template: "header Host: ${key}" }, "auth_template"],
        [{ auth: "aws-sigv4" }, "region"], [{ auth: "sap-oauth", token_url: "http://x/y" }, "token_url"],
        [{ auth: "query-key", auth_parameter: "a b" }, "auth_parameter"]])
        await assert.rejects(upstream(more).then((r) => { throw new Error(r.error.field); }), new RegExp(field));
      const names = {};
      for (const [name, auth, more] of [["s", "sap-oauth", {}], ["g", "google-account", {}], ["e", "entra-id", {}],
        ["a", "aws-sigv4", { base_url: "https://bedrock-runtime.eu-central-1.amazonaws.com" }], ["b", "bearer", {}]])
        names[name] = (await stack.manage("POST", "upstreams", { name, base_url: "https://api.example.com", auth, ...more })).name;
      const hush = "do-not-repeat-me";
      for (const [name, secret] of [["s", hush], ["s", `{"clientid":"x","clientsecret":"${hush}"}`],
        ["s", `{"clientid":"x","clientsecret":"${hush}","url":"http://plain.example"}`],
        ["g", `{"client_email":"x","private_key":"${hush}"}`], ["e", `only:${hush}`], ["e", `{"tenant":"a/b","client_id":"x","client_secret":"${hush}"}`],
        ["a", hush], ["a", `:${hush}`], ["b", `{"client_secret":"${hush}"}`]]) {
        const answer = await stack.manage("POST", "keys", { upstream: name, secret }, 400);
        assert.equal(answer.error.field, "secret");
        assert.ok(answer.error.message.length > 30);
        assert.doesNotMatch(JSON.stringify(answer), /do-not-repeat-me/);
      }
      const aws = await stack.manage("POST", "keys", { upstream: "a", secret: `AKIDEXAMPLE0000:${hush}:${hush}` });
      const entra = await stack.manage("POST", "keys", { upstream: "e", secret: `tenant.example:client-0001:${hush}` });
      assert.doesNotMatch(aws.masked + entra.masked, /repeat|ntme/);
      assert.equal(entra.masked, "client-0001");
    });
  } finally {
    api.stop();
    assert.equal(await stack.stop(), 0);
  }
});
