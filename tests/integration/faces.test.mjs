// The addresses and shapes of other gateways: upstreams by name below the proxy prefix, OpenRouter's paths,
// the key service, and two-level balancing over accounts and deployments.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import path from "node:path";
import test from "node:test";
import { Provider } from "./lib/provider.mjs";
import { Stack, programs, until } from "./lib/stack.mjs";

const answer = (who) => ({ id: "x", object: "chat.completion", model: "m", choices: [{ index: 0,
  message: { role: "assistant", content: who }, finish_reason: "stop" }],
usage: { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 } });

async function named(who) {
  const provider = await Provider.start();
  provider.answer = (request, response) => {
    if (request.url.includes("/status/")) return response.writeHead(Number(request.url.match(/status\/(\d+)/)[1]),
      { "content-type": "application/json" }).end(JSON.stringify({ error: { message: "as told" } }));
    return response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(answer(who)));
  };
  return provider;
}

test("faces", { timeout: 180000 }, async (t) => {
  const stack = await Stack.start({ settings: { workers: 2, metrics_open: "yes" } });
  const used = [];
  t.after(async () => {
    for (const one of used) one.stop();
    await stack.stop();
  });
  const provider = async (who) => {
    used.push(await named(who));
    return used.at(-1);
  };
  const add = (name, url, more = [], secret = `sk-${name}-0123456789`) => {
    stack.command(["upstream", "add", "--name", name, "--base-url", `${url}/v1`, "--allow-private", ...more, "--json"]);
    return stack.command(["key", "add", "--upstream", name, "--secret", secret, "--json"]);
  };
  const call = (path, { method = "GET", headers = {}, body, token = stack.token } = {}) => fetch(stack.url + path, {
    method, headers: { ...(token ? { authorization: `Bearer ${token}` } : {}), "content-type": "application/json", ...headers },
    body: body === undefined ? undefined : JSON.stringify(body) });
  const chat = { model: "gpt-test", messages: [{ role: "user", content: "Hello" }] };
  const content = async (reply) => {
    const said = await reply.json();
    assert.equal(reply.status, 200, JSON.stringify(said));
    return said.choices[0].message.content;
  };
  const [one, two] = [await provider("one"), await provider("two")];

  await t.test("upstreams by name below the prefix", async () => {
    add("one", one.url, ["--models", "none"]);
    add("two", two.url, ["--models", "none"]);
    const list = await (await call("/proxy/v1/upstreams")).json();
    assert.deepEqual(list, { upstreams: [{ name: "mock", provider: "openai", is_default: true },
      { name: "one", provider: "openai", is_default: false }, { name: "two", provider: "openai", is_default: false }]
      .sort((a, b) => list.upstreams.findIndex((u) => u.name === a.name) - list.upstreams.findIndex((u) => u.name === b.name)) });
    assert.equal((await call("/proxy/v1/upstreams", { token: null })).status, 401);
    for (const who of ["one", "two", "ONE"])
      assert.equal(await content(await call("/proxy/v1/chat/completions", { method: "POST", body: chat,
        headers: { "x-upstream-name": who } })), who.toLowerCase());
    // any method and query; the client's own credential is not passed on, the status is
    const gone = await call("/proxy/v1/status/404?a=b%20c&d=1", { method: "DELETE", headers: { "x-upstream-name": "two" } });
    assert.equal(gone.status, 404);
    assert.equal((await gone.json()).error.message, "as told");
    assert.equal(two.last.url, "/v1/status/404?a=b%20c&d=1");
    assert.equal(two.last.method, "DELETE");
    assert.equal(two.last.headers.authorization, "Bearer sk-two-0123456789");
    assert.ok(!JSON.stringify(two.last.headers).includes(stack.token));
  });

  await t.test("an unknown upstream is told with those there are", async () => {
    const refused = await call("/proxy/v1/chat/completions", { method: "POST", body: chat, headers: { "x-upstream-name": "three" } });
    assert.equal(refused.status, 400);
    const said = await refused.json();
    assert.equal(said.error.sluice_code, "unknown_upstream");
    assert.equal(said.detail.error, "upstream_not_found");
    assert.match(said.detail.message, /three/);
    assert.deepEqual(said.detail.available_upstreams.sort(), ["mock", "one", "two"]);
    // elsewhere nothing is added to the error that SDKs know
    const plain = await (await call("/v1/chat/completions", { method: "POST", body: chat, headers: { "x-upstream-name": "three" } })).json();
    assert.equal(plain.detail, undefined);
    stack.command(["upstream", "add", "--name", "nobody", "--base-url", "http://127.0.0.1:1/v1", "--allow-private", "--models", "none", "--json"]);
    stack.command(["key", "add", "--upstream", "nobody", "--secret", "sk-nobody-0123456789", "--json"]);
    const away = await call("/proxy/v1/chat/completions", { method: "POST", body: chat, headers: { "x-upstream-name": "nobody" } });
    assert.equal(away.status, 502);
    assert.equal((await away.json()).detail.error, "bad_gateway");
  });

  await t.test("upstream/model names both", async () => {
    assert.equal(await content(await call("/v1/chat/completions", { method: "POST", body: { ...chat, model: "one/some-model" } })), "one");
    assert.equal(one.last.json.model, "some-model");
  });

  await t.test("OpenRouter's addresses", async () => {
    assert.equal((await call("/api/v1/models", { token: null })).status, 401);
    const refused = await (await call("/api/v1/models", { token: null })).json();
    assert.equal(refused.detail, refused.error.message);
    const list = await (await call("/api/v1/models")).json();
    const model = list.data.find((m) => m.id === "gpt-test");
    // object and owned_by are for clients of OpenAI's kind
    assert.deepEqual(Object.keys(model).sort(), ["architecture", "context_length", "created", "id", "name", "object", "owned_by", "pricing"]);
    assert.equal((await call("/api/v1/chat/completions", { method: "POST", body: chat })).status, 200);
    const has = async (path) => {
      const reply = await call(`/api/v1/${path}`);
      assert.equal(reply.status, 200, path);
      return (await reply.json()).data;
    };
    assert.deepEqual(await has("models/count"), { count: list.data.length });
    assert.deepEqual(await has("models/user"), list.data);
    assert.deepEqual((await (await call("/api/v1/models/gpt-test")).json()), model);
    assert.equal((await call("/api/v1/models/no/such/endpoints")).status, 404);
    const providers = await has("providers");
    assert.deepEqual(providers.map((p) => p.slug).sort(), ["mock", "nobody", "one", "two"]);
    assert.deepEqual(Object.keys(providers[0]), ["name", "slug", "privacy_policy_url", "terms_of_service_url", "status_page_url"]);
    const any = await call("/api/v1/status/418?x=1", { method: "PUT", headers: { "x-upstream-name": "one" } });
    assert.equal(any.status, 418);
    assert.equal(one.last.url, "/v1/status/418?x=1");
    assert.equal(one.last.method, "PUT");
  });

  await t.test("who serves a model, as OpenRouter tells it", async () => {
    const five = await provider("five");
    add("five", five.url, ["--models", "lab/five", "--aliases", "five=lab/five"]);
    add("six", five.url, ["--models", "lab/*"]);
    stack.command(["price", "add", "--model", "lab/five", "--upstream", "five", "--input", "2.5", "--output", "10", "--json"]);
    const places = async (model) => (await (await call(`/api/v1/models/${model}/endpoints`)).json()).data;
    const found = await places("lab/five");
    assert.equal(found.id, "lab/five");
    assert.deepEqual(found.architecture.input_modalities, ["text"]);
    const of = (name) => found.endpoints.find((e) => e.provider_name === name);
    assert.deepEqual(found.endpoints.map((e) => e.name).sort(), ["five", "six"]);
    assert.deepEqual(of("five"), { name: "five", provider_name: "five", model_name: "lab/five", context_length: null,
      pricing: { prompt: "0.0000025", completion: "0.00001", request: "0" }, status: 0 });
    assert.deepEqual(of("six").pricing, {});
    // a route's name has the targets of the route, under their own names
    const six = (await stack.manage("GET", "upstreams/six")).id;
    await stack.manage("POST", "routes", { name: "r-five", model: "big", targets: [{ upstream: six, model: "lab/other" }] });
    assert.deepEqual((await places("big")).endpoints.map((e) => [e.name, e.model_name]), [["six", "lab/other"]]);
    await stack.manage("PATCH", "upstreams/six", { breaker_failures: 1 });
    await call("/v1/status/500", { headers: { "x-upstream-name": "six" } });
    assert.equal((await places("big")).endpoints[0].status, -1);
    await stack.manage("POST", "upstreams/six/breaker", { state: "open" }); // by a person: it serves nobody
    assert.deepEqual((await places("big")).endpoints, []);
    await stack.manage("DELETE", "routes/r-five", undefined);
  });

  await t.test("what a token may still spend", async () => {
    const key = async () => (await (await call("/api/v1/key")).json()).data;
    const none = await key();
    assert.equal(none.label, "test");
    assert.equal(none.limit, null);
    assert.equal(none.is_free_tier, false);
    assert.equal(none.rate_limit.requests, -1);
    const data = async (path) => (await (await call(`/api/v1/${path}`)).json()).data;
    assert.deepEqual(await data("auth/key"), none);
    assert.equal((await data("credits")).total_credits, null);
    stack.command(["price", "add", "--model", "gpt-test", "--input", "1000", "--output", "1000", "--json"]);
    stack.command(["limit", "add", "--token", stack.tokenId, "--metric", "cost", "--window", "total", "--cap", "50", "--json"]);
    stack.command(["limit", "add", "--token", stack.tokenId, "--metric", "requests", "--window", "hour", "--cap", "500", "--json"]);
    assert.equal((await call("/v1/chat/completions", { method: "POST", body: { ...chat, max_tokens: 10 } })).status, 200);
    const some = await until("usage", 5000, async () => {
      const found = await key();
      return found.usage > none.usage && found;
    });
    assert.equal(some.limit, 50);
    assert.ok(Math.abs(some.limit_remaining - (50 - some.usage)) < 1e-9);
    assert.deepEqual(some.rate_limit, { requests: 500, interval: "1h" });
    assert.deepEqual(await data("credits"), { total_credits: 50, total_usage: some.usage });
    const [own, ...others] = await data("keys"); // of all tokens its own alone
    assert.equal(others.length, 0);
    assert.equal(own.hash, stack.tokenId);
    assert.equal(own.name, "test");
    assert.equal(own.disabled, false);
    assert.deepEqual([own.usage, own.limit, own.limit_remaining], [some.usage, some.limit, some.limit_remaining]);
    assert.ok(Date.parse(own.created_at) <= Date.now() && !JSON.stringify(own).includes(stack.token));
    assert.equal((await call("/api/v1/key", { token: null })).status, 401);
  });

  await t.test("lists have routes and aliases", async () => {
    const three = await provider("three");
    add("three", three.url, ["--models", "own-name,secret-1,hidden", "--blocked-models", "/^secret-[0-9]$/,hid*", "--aliases", "short=own-name"]);
    const upstream = (await stack.manage("GET", "upstreams/three")).id;
    await stack.manage("POST", "routes", { name: "by-name", model: "house-model", targets: [{ upstream, model: "own-name" }] });
    await stack.manage("POST", "routes", { name: "by-glob", model: "house-*-x", targets: [{ upstream }] });
    const ids = (await (await call("/v1/models")).json()).data.map((m) => m.id);
    for (const id of ["own-name", "short", "house-model"]) assert.ok(ids.includes(id), id);
    for (const id of ["house-*-x", "secret-1", "hidden"]) assert.ok(!ids.includes(id), id);
    assert.equal(new Set(ids).size, ids.length);
    assert.equal(await content(await call("/v1/chat/completions", { method: "POST", body: { ...chat, model: "house-model" } })), "three");
    assert.equal(three.last.json.model, "own-name");
    assert.equal((await call("/v1/models/house-model")).status, 200);
    assert.equal((await call("/v1/models/no-such")).status, 404);
    // what a token may not use it does not see
    await stack.manage("PATCH", "projects/first", { allowed_models: ["short", "gpt-*"] });
    const fewer = (await (await call("/v1/models")).json()).data.map((m) => m.id);
    assert.ok(fewer.includes("short") && !fewer.includes("house-model"));
    await stack.manage("PATCH", "projects/first", { allowed_models: [] });
  });

  await t.test("the key service", async () => {
    const four = await provider("four");
    const keys = [add("four", four.url, ["--models", "kms-model"], "sk-four-first-0001"),
      stack.command(["key", "add", "--upstream", "four", "--secret", "sk-four-other-0002", "--json"])];
    const secrets = ["sk-four-first-0001", "sk-four-other-0002"];
    const next = (query = "", token = stack.manageToken) => call(`/get_next_key?upstream=four${query}`, { token });
    for (const token of [null, stack.token, "wrong"]) assert.equal((await next("", token)).status, 401);
    const seen = new Set();
    for (let i = 0; i < 4; i++) {
      const found = await (await next("&model=kms-model")).json();
      assert.equal(found.is_masked, true);
      assert.ok(!secrets.includes(found.key));
      seen.add(found.id);
    }
    assert.deepEqual([...seen].sort(), keys.map((k) => k.id).sort());
    assert.equal((await next("&reveal=1")).status, 403);
    const disable = (body, token = stack.manageToken) => call("/disable_key", { method: "POST", body, token });
    assert.equal((await disable({ key: keys[0].id }, stack.token)).status, 401);
    assert.equal((await disable({ key: "sk-unknown-key-000" })).status, 404);
    assert.equal((await disable({})).status, 400);
    // by id until a time, and by the key itself as usual
    const until_ms = Date.now() + 30000;
    const first = await (await disable({ key: keys[0].id, reset_time_ms: until_ms })).json();
    assert.equal(first.status, "ok");
    assert.ok(Math.abs(Date.parse(first.rests_until) - until_ms) < 5);
    for (let i = 0; i < 3; i++) assert.equal((await (await next("&model=kms-model")).json()).id, keys[1].id);
    // who says for ever is taken at a year's word
    const far = await (await disable({ key: (await stack.manage("GET", "keys?limit=500")).data.find((k) => k.upstream_name === "two").id,
      reset_time_ms: Number.MAX_SAFE_INTEGER })).json();
    assert.ok(Date.parse(far.rests_until) - Date.now() < 367 * 86400000, JSON.stringify(far));
    const second = await (await disable({ key: secrets[1], reset_time_ms: "soon" })).json();
    assert.equal(second.id, keys[1].id);
    assert.ok(Math.abs(Date.parse(second.rests_until) - Date.now() - 14400000) < 60000);
    const none = await next("&model=kms-model");
    assert.equal(none.status, 503);
    const wait = Number(none.headers.get("retry-after"));
    assert.ok(wait > 0 && wait <= 31, `Retry-After: ${wait}`);
    assert.equal(typeof (await none.json()).detail, "string");
    const all = (await stack.manage("GET", "keys?limit=500")).data.length;
    await until("gauges", 5000, async () => { // a worker without requests looks each second
      const metrics = await (await fetch(stack.url + "/metrics")).text();
      const gauge = (name) => Number(new RegExp(`^${name} (\\d+)$`, "m").exec(metrics)[1]);
      return gauge("kms_cooldown_keys") >= 2 && gauge("kms_cooldown_keys") + gauge("kms_active_keys") === all;
    });
    assert.equal((await call("/v1/chat/completions", { method: "POST", body: { ...chat, model: "kms-model" } })).status, 503);
    // at its other address, and in the audit without the key
    assert.equal((await stack.manage("GET", "get_next_key?upstream=one")).upstream_name, "one");
    const audit = (await stack.manage("GET", "audit?limit=50")).data;
    assert.ok(audit.some((e) => e.action === "key.rest"));
    assert.ok(!JSON.stringify(audit).includes(secrets[1]));
    assert.ok(!stack.logs().includes(secrets[1]));
  });

  await t.test("three accounts with two deployments each", async () => {
    const deployments = [];
    for (const group of ["a", "b", "c"])
      for (const n of [1, 2]) {
        const name = `${group}${n}`;
        deployments.push(name);
        add(name, (await provider(name)).url, ["--models", "sap-model", "--group", group]);
      }
    await stack.manage("POST", "routes", { name: "sap", model: "sap-model", strategy: "round-robin",
      targets: await Promise.all(deployments.map(async (name) => ({ upstream: (await stack.manage("GET", `upstreams/${name}`)).id }))) });
    const picks = [];
    for (let i = 0; i < 12; i++)
      picks.push(await content(await call("/v1/chat/completions", { method: "POST", body: { ...chat, model: "sap-model" } })));
    const groups = picks.map((p) => p[0]);
    assert.equal(new Set(groups.slice(0, 3)).size, 3, picks.join(" "));
    for (let i = 3; i < 12; i++) assert.equal(groups[i], groups[i - 3], picks.join(" ")); // the 4th returns to the first
    assert.notEqual(picks[0], picks[3]); // … and to its other deployment
    for (const name of deployments) assert.equal(picks.filter((p) => p === name).length, 2, picks.join(" "));
  });
  await t.test("models that are not deployed, by contrib/sap-fallbacks.sh", async () => {
    const deployed = { "anthropic--claude-4-opus": "opus", "anthropic--claude-3.7-sonnet": "sonnet", "gpt-4.1": "gpt" };
    for (const [model, who] of Object.entries(deployed)) add(`d-${who}`, (await provider(who)).url, ["--models", model]);
    const run = spawnSync("sh", [path.join(import.meta.dirname, "../../contrib/sap-fallbacks.sh")],
      { env: { ...stack.env, SLUICE: path.join(programs, "sluice") }, encoding: "utf8" });
    assert.equal(run.status, 0, run.stderr);
    for (const [model, who, got] of [["anthropic--claude-5-opus", "opus", "anthropic--claude-4-opus"],
      ["claude-9-sonnet", "sonnet", "anthropic--claude-3.7-sonnet"], ["anthropic--claude-4-opus", "opus", "anthropic--claude-4-opus"],
      ["never-heard-of", "gpt", "gpt-4.1"]]) {
      const reply = await call("/v1/chat/completions", { method: "POST", body: { ...chat, model } });
      assert.equal(await content(reply), who, model);
      assert.equal(reply.headers.get("x-sluice-model"), got);
    }
    const none = await call("/v1/chat/completions", { method: "POST", body: { ...chat, model: "gemini-9" } });
    assert.ok(none.status === 404 || none.status === 503, String(none.status));
    assert.match((await none.json()).error.message, /'gemini-9' nor its fallbacks gemini-2.5-pro;/);
  });
});

test("settings that show more", { timeout: 60000 }, async (t) => {
  const stack = await Stack.start({ settings: { workers: 1, public_models: "yes", key_service_reveal: "yes", proxy_prefix: "/api/gate" } });
  t.after(() => stack.stop());

  await t.test("models to everybody", async () => {
    for (const headers of [{}, { authorization: "Bearer sk-of-somebody-else" }]) {
      const list = await (await fetch(stack.url + "/api/v1/models", { headers })).json();
      assert.ok(list.data.some((m) => m.id === "gpt-test"));
    }
    assert.equal((await fetch(stack.url + "/v1/models")).status, 401);
    assert.deepEqual(await (await fetch(stack.url + "/api/v1/models/count")).json(), { data: { count: 1 } });
    for (const path of ["key", "keys", "credits", "providers", "models/gpt-test/endpoints"])
      assert.equal((await fetch(`${stack.url}/api/v1/${path}`)).status, 401, path);
    assert.deepEqual((await stack.mockStats()).requests ?? {}, {}); // no provider was asked, with whichever key
  });

  await t.test("a key in clear, with an entry in the audit", async () => {
    const auth = { authorization: `Bearer ${stack.manageToken}` };
    const found = await (await fetch(stack.url + "/get_next_key?reveal=1", { headers: auth })).json();
    assert.equal(found.key, "sk-provider-secret-0001");
    assert.equal(found.is_masked, false);
    assert.notEqual((await (await fetch(stack.url + "/get_next_key", { headers: auth })).json()).key, found.key);
    assert.ok((await stack.manage("GET", "audit?limit=20")).data.some((e) => e.action === "key.reveal"));
    assert.ok(!stack.logs().includes(found.key));
  });

  await t.test("another prefix", async () => {
    const ask = (path) => fetch(stack.url + path, { headers: { authorization: `Bearer ${stack.token}` } });
    assert.deepEqual((await (await ask("/api/gate/v1/upstreams")).json()).upstreams.map((u) => u.name), ["mock"]);
    assert.equal((await (await ask("/proxy/v1/upstreams")).json()).upstreams, undefined);
  });
});
