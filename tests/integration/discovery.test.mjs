// What models providers say they have: asked for in each dialect with the right credential, kept, listed
// to clients in theirs, asked for again on demand.

import assert from "node:assert/strict";
import test from "node:test";
import { Provider } from "./lib/provider.mjs";
import { Stack, until } from "./lib/stack.mjs";

const json = (response, body, status = 200) =>
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));

// A provider whose lists of models are by path; what came is in `seen`.
async function lists(pages) {
  const provider = await Provider.start();
  provider.answer = (request, response) => {
    const found = Object.entries(pages).find(([at]) => request.url === at || request.url.startsWith(at + "?"));
    if (request.url === "/oauth/token?grant_type=client_credentials" || request.url.startsWith("/oauth/token"))
      return json(response, { access_token: "bought", token_type: "bearer", expires_in: 3600 });
    if (!found) return json(response, { error: { message: `no ${request.url}` } }, 404);
    return json(response, typeof found[1] === "function" ? found[1](new URL(request.url, "http://h")) : found[1]);
  };
  return provider;
}

test("discovery", { timeout: 120000 }, async (t) => {
  const stack = await Stack.start({ settings: { workers: 2 } });
  const used = [];
  t.after(async () => {
    for (const one of used) one.stop();
    await stack.stop();
  });
  const add = async (name, protocol, base, secret, more = []) => {
    stack.command(["upstream", "add", "--name", name, "--protocol", protocol, "--base-url", base,
      "--allow-private", ...more, "--json"]);
    if (secret) stack.command(["key", "add", "--upstream", name, "--secret", secret, "--json"]);
  };
  const provider = async (pages) => {
    used.push(await lists(pages));
    return used.at(-1);
  };
  const names = (list) => list.data.map((m) => m.id);

  await t.test("each dialect is asked where its list is, with its credential", async () => {
    const service = (url) => JSON.stringify({ clientid: "c", clientsecret: "s", url, serviceurls: { AI_API_URL: url } });
    const sap = await provider({ "/v2/lm/deployments": { resources: [
      { id: "d1", status: "RUNNING", details: { resources: { backend_details: { model: { name: "sap-one" } } } } },
      { id: "d2", status: "RUNNING", details: { resources: { backendDetails: { model: { name: "sap-two" } } } } }] } });
    const rows = [
      ["l-openai", "openai", "/v1", "sk-0123456789", { "/v1/models": { data: [{ id: "o-1" }, { id: "o-2" }] } },
        ["o-1", "o-2"], (r) => assert.equal(r.headers.authorization, "Bearer sk-0123456789")],
      ["l-anthropic", "anthropic", "", "sk-ant-0123456789", { "/v1/models": (url) =>
        url.searchParams.has("after_id") ? { data: [{ id: "c-2" }], has_more: false, last_id: "c-2" }
          : { data: [{ id: "c-1" }], has_more: true, last_id: "c-1" } },
      ["c-1", "c-2"], (r) => {
        assert.equal(r.headers["x-api-key"], "sk-ant-0123456789");
        assert.equal(r.headers["anthropic-version"], "2023-06-01");
      }],
      ["l-gemini", "gemini", "/v1beta", "goog-0123456789", { "/v1beta/models": (url) =>
        url.searchParams.get("pageToken") === "p 2" ? { models: [{ name: "models/g-2", inputTokenLimit: 5 }] }
          : { models: [{ name: "models/g-1" }], nextPageToken: "p 2" } },
      ["g-1", "g-2"], (r) => assert.equal(r.headers["x-goog-api-key"], "goog-0123456789")],
      ["l-azure", "azure", "", "az-0123456789", { "/openai/deployments": { data: [
        { id: "dep-1", model: "gpt", status: "succeeded" }, { id: "dep-2", status: "failed" }] } },
      ["dep-1"], (r) => assert.equal(r.headers["api-key"], "az-0123456789")],
      ["l-bedrock", "bedrock", "", "AKIDEXAMPLE:secretsecretsecret", { "/foundation-models": {
        modelSummaries: [{ modelId: "anthropic.x-v1:0" }] } },
      ["anthropic.x-v1:0"], (r) => assert.match(r.headers.authorization, /^AWS4-HMAC-SHA256 .*\/us-east-1\/bedrock\//),
      ["--region", "us-east-1"]],
      ["l-sap", "sap_openai", "/v2/inference/deployments/d2", service(sap.url), null, ["sap-two"], (r) => {
        assert.equal(r.headers.authorization, "Bearer bought");
        assert.equal(r.headers["ai-resource-group"], "team");
        assert.match(r.url, /status=RUNNING/);
      }, ["--resource-group", "team"]],
    ];
    for (const [name, protocol, path, secret, pages, expect, check, more = []] of rows) {
      const one = pages ? await provider(pages) : sap;
      await add(name, protocol, one.url + path, secret, ["--models", "none", ...more]);
      const list = await stack.manage("POST", `upstreams/${name}/models/refresh`, {});
      assert.deepEqual(names(list), expect, name);
      assert.equal(list.last_error, null);
      assert.ok(list.age_s >= 0 && list.age_s < 60);
      for (const request of one.seen) if (!request.url.startsWith("/oauth")) check(request);
      assert.deepEqual(names(await stack.manage("GET", `upstreams/${name}/models`)), expect);
    }
    assert.match(stack.command(["upstream", "refresh", "mock"]), /MODEL[^]*gpt/);
  });

  await t.test("what a provider does not give is told, and the list before stays", async () => {
    const one = await provider({ "/v1/models": { data: [{ id: "kept" }] } });
    await add("l-fails", "openai", one.url + "/v1", "sk-0123456789", ["--models", "none"]);
    await stack.manage("POST", "upstreams/l-fails/models/refresh", {});
    for (const [answer, says] of [
      [(q, r) => json(r, { error: "no" }, 401), /status 401/],
      [(q, r) => r.writeHead(200).end("<html>"), /no list of models/],
      [(q, r) => r.writeHead(200).end(`{"data":[${"[".repeat(200)}`), /no list of models/],
      [(q, r) => r.writeHead(200).end(`{"data":["${"x".repeat(9 << 20)}"]}`), /more than/],
      [(q, r) => r.destroy(), /l-fails/]]) {
      one.answer = answer;
      const refused = await stack.manage("POST", "upstreams/l-fails/models/refresh", {}, 502);
      assert.match(refused.error.message, says);
      assert.doesNotMatch(refused.error.message, /sk-0123/);
      const list = await stack.manage("GET", "upstreams/l-fails/models");
      assert.deepEqual(names(list), ["kept"]);
      assert.match(list.last_error, says);
    }
    // at another address are other models
    await stack.manage("PATCH", "upstreams/l-fails", { base_url: one.url + "/other" });
    assert.deepEqual(names(await stack.manage("GET", "upstreams/l-fails/models")), []);
    stack.command(["key", "list", "--json"]);
  });

  await t.test("in the background, by one process, and clients see them in their dialect", async () => {
    const one = await provider({ "/api/v1/models": { data: [
      { id: "lab/free-model:free", context_length: 8192, architecture: { modality: "text+image->text" },
        pricing: { prompt: "0", completion: "0" } },
      { id: "lab/paid", context_length: 100, pricing: { prompt: "0.000001", completion: "0.000002" } }] } });
    await add("router", "openrouter", one.url + "/api/v1", "sk-or-0123456789", ["--discover"]);
    stack.command(["price", "add", "--model", "lab/paid", "--input", "2.5", "--output", "10", "--json"]);
    const list = await until("discovery", 10000, async () => {
      const found = await stack.manage("GET", "upstreams/router/models");
      return found.count === 2 && found;
    });
    assert.deepEqual(list.data[0], { id: "lab/free-model:free", context_length: 8192, modality: "text+image->text", is_free: true });
    assert.equal(one.seen.length, 1);
    const get = async (path, headers = {}) => {
      const answer = await fetch(stack.url + path, { headers: { authorization: `Bearer ${stack.token}`, ...headers } });
      assert.equal(answer.status, 200, path);
      return answer.json();
    };
    const ids = await until("a new snapshot", 5000, async () => {
      const all = (await get("/v1/models")).data.map((m) => m.id);
      return all.includes("lab/paid") && all;
    });
    assert.ok(ids.includes("gpt-test"));
    assert.ok((await get("/v1beta/models")).models.some((m) => m.name === "models/lab/paid" && m.inputTokenLimit === 100));
    assert.ok((await get("/v1/models", { "anthropic-version": "2023-06-01" })).data.some((m) => m.id === "lab/paid" && m.type === "model"));
    const router = await get("/api/v1/models");
    const paid = router.data.find((m) => m.id === "lab/paid");
    assert.equal(paid.name, "lab/paid");
    assert.equal(paid.context_length, 100);
    assert.deepEqual(paid.pricing, { prompt: "0.0000025", completion: "0.00001", request: "0" });
    const free = router.data.find((m) => m.id === "lab/free-model:free");
    assert.deepEqual(free.architecture, { modality: "text+image->text", input_modalities: ["text", "image"], output_modalities: ["text"] });
    assert.deepEqual((await get("/api/v1/models?free_only=true")).data.map((m) => m.id), ["lab/free-model:free"]);
    await stack.manage("PATCH", "upstreams/router", { free_only: true });
    assert.ok(!(await get("/api/v1/models")).data.some((m) => m.id === "lab/paid"));
    const paid_for = await stack.chat({ model: "lab/paid" });
    const said = (await paid_for.json()).error;
    assert.equal(paid_for.status, 403, JSON.stringify(said));
    assert.match(said.message, /costs more than is allowed/);
    assert.equal((await stack.chat({ model: "lab/free-model:free" })).status, 404); // as its provider says
    assert.deepEqual(one.seen.filter((r) => r.url.includes("chat")).length, 1);
  });

  await t.test("requests go where the model was found, and nowhere else", async () => {
    const says = (who) => ({ id: "x", object: "chat.completion", model: "m", choices: [{ index: 0,
      message: { role: "assistant", content: who }, finish_reason: "stop" }],
    usage: { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 } });
    const has = (who, models) => provider({ "/v1/models": { data: models.map((id) => ({ id })) },
      "/v1/chat/completions": says(who) });
    const [one, two] = [await has("one", ["shared", "only-one"]), await has("two", ["shared", "only-two"])];
    await add("r-one", "openai", one.url + "/v1", "sk-1-0123456789", ["--discover"]);
    await add("r-two", "openai", two.url + "/v1", "sk-2-0123456789", ["--discover"]);
    for (const name of ["r-one", "r-two"])
      await stack.manage("POST", `upstreams/${name}/models/refresh`, {});
    const ask = async (model) => {
      const answer = await stack.chat({ model });
      const said = await answer.json();
      return answer.status === 200 ? said.choices[0].message.content : `${answer.status} ${said.error?.sluice_code}`;
    };
    for (let i = 0; i < 4; i++) {
      assert.equal(await ask("only-one"), "one");
      assert.equal(await ask("only-two"), "two");
    }
    assert.deepEqual([...new Set([await ask("shared"), await ask("shared"), await ask("shared")])].sort(), ["one", "two"]);
    assert.equal(await ask("nobody-has-it"), "404 no_route");
    assert.equal(await ask("r-two/only-two"), "two"); // provider/model
    await stack.manage("PATCH", "upstreams/r-one", { models: ["also-*"] });
    assert.equal(await ask("also-this"), "one");
    assert.equal(await ask("only-one"), "one");
  });

  await t.test("an upstream that goes takes its list along", async () => {
    for (const key of (await stack.manage("GET", "keys?limit=500")).data.filter((k) => k.upstream_name === "router"))
      await stack.manage("DELETE", `keys/${key.id}`, undefined);
    await stack.manage("DELETE", "upstreams/router", undefined);
    await stack.manage("GET", "upstreams/router/models", undefined, 404);
    assert.ok(!stack.logs().includes("sk-or-0123456789"));
  });
});
