// What clients of every dialect meet: paths, lists of models, counts, credentials, headers, errors;
// and that bytes stay bytes where client and provider speak the same.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { dialects, eventFrame, frames, Provider, send } from "./lib/provider.mjs";
import { Stack, until } from "./lib/stack.mjs";

const SECRET = "provider-secret-0001";
const protocols = ["openai", "openai_chat", "azure", "openrouter", "anthropic", "gemini", "bedrock", "bedrock_invoke"];
let stack, provider;

before(async () => {
  stack = await Stack.start({ settings: { workers: 1 }, mock: null });
  stack.command(["project", "add", "--name", "first"]);
  stack.token = stack.command(["token", "add", "--project", "first", "--json"]).token;
  provider = await Provider.start();
  for (const protocol of protocols)
    await stack.manage("POST", "upstreams", { name: protocol, protocol, auth: "none", allow_private: true, breaker: "closed",
      base_url: provider.url, models: [`${protocol}-model`, `${protocol}/*`] });
});
after(async () => {
  provider?.stop();
  assert.equal(await stack?.stop(), 0);
});

const bearer = (token = stack.token) => ({ authorization: `Bearer ${token}` });
const rowOf = (id) => until("its row", 10000, async () => (await stack.rows()).find((r) => r.id === id));
// The smallest answer of a provider that each dialect's readers take.
const usage = { openai: { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 }, anthropic: { input_tokens: 3, output_tokens: 2 },
  gemini: { promptTokenCount: 3, candidatesTokenCount: 2, totalTokenCount: 5 }, converse: { inputTokens: 3, outputTokens: 2, totalTokens: 5 } };
const whole = {
  openai: { id: "chatcmpl-1", object: "chat.completion", created: 1, model: "m", choices: [{ index: 0, finish_reason: "stop",
    message: { role: "assistant", content: "Hi" } }], usage: usage.openai },
  anthropic: { id: "msg_1", type: "message", role: "assistant", model: "m", content: [{ type: "text", text: "Hi" }],
    stop_reason: "end_turn", stop_sequence: null, usage: usage.anthropic },
  gemini: { candidates: [{ index: 0, finishReason: "STOP", content: { role: "model", parts: [{ text: "Hi" }] } }],
    usageMetadata: usage.gemini, modelVersion: "m", responseId: "r" },
  converse: { output: { message: { role: "assistant", content: [{ text: "Hi" }] } }, stopReason: "end_turn",
    usage: usage.converse, metrics: { latencyMs: 1 } },
};
const wholeOf = { openai: "openai", openai_chat: "openai", azure: "openai", openrouter: "openai", anthropic: "anthropic",
  gemini: "gemini", bedrock: "converse", bedrock_invoke: "anthropic" };
const ask = (format, model, { stream = false, headers, body } = {}) => send(stack.url + dialects[format].path(model, stream),
  { body: body ?? dialects[format].body(model, stream), headers: { ...dialects[format].key(stack.token), ...headers } });

// ---- models ----

test("models in the caller's dialect", async (t) => {
  const names = protocols.map((p) => `${p}-model`);
  const get = (where, headers) => send(stack.url + where, { method: "GET", headers });

  await t.test("OpenAI's", async () => {
    for (const where of ["/v1/models", "/openai/v1/models?api-version=preview", "/api/v1/models"]) {
      const { status, json } = await get(where, bearer());
      assert.equal(status, 200);
      assert.equal(json.object, "list");
      assert.deepEqual(json.data.map((m) => m.id), names, where);
      assert.ok(json.data.every((m) => m.object === "model" && Number.isInteger(m.created) && m.owned_by !== ""));
    }
    for (const where of ["/v1/models/gemini-model", "/openai/v1/models/gemini-model"]) {
      const one = await get(where, bearer());
      assert.deepEqual([one.status, one.json.id, one.json.object], [200, "gemini-model", "model"], where);
    }
    const none = await get("/v1/models/nobody", bearer());
    assert.deepEqual([none.status, none.json.error.code], [404, "model_not_found"]);
  });

  await t.test("Anthropic's, by its header", async () => {
    const headers = { "x-api-key": stack.token, "anthropic-version": "2023-06-01" };
    const { status, json, headers: got } = await get("/v1/models?limit=1000", headers);
    assert.equal(status, 200);
    assert.deepEqual(json.data.map((m) => m.id), names);
    assert.ok(json.data.every((m) => m.type === "model" && m.display_name === m.id && !Number.isNaN(Date.parse(m.created_at))));
    assert.deepEqual([json.has_more, json.first_id, json.last_id], [false, names[0], names.at(-1)]);
    assert.equal(got["request-id"], got["x-request-id"]);
    const one = await get("/v1/models/gemini-model", headers);
    assert.deepEqual([one.json.type, one.json.id], ["model", "gemini-model"]);
    const none = await get("/v1/models/nobody", headers);
    assert.deepEqual([none.status, none.json.type, none.json.error.type], [404, "error", "not_found_error"]);
    const bad = await get("/v1/models", { ...headers, "x-api-key": "sk-ant-nobody" });
    assert.deepEqual([bad.status, bad.json.type, bad.json.error.type], [401, "error", "authentication_error"]);
  });

  await t.test("Gemini's", async () => {
    const { status, json } = await get(`/v1beta/models?key=${stack.token}`);
    assert.equal(status, 200);
    assert.deepEqual(json.models.map((m) => m.name), names.map((n) => `models/${n}`));
    assert.ok(json.models.every((m) => m.supportedGenerationMethods.includes("generateContent")));
    const one = await get("/v1beta/models/gemini-model", { "x-goog-api-key": stack.token });
    assert.deepEqual([one.status, one.json.name], [200, "models/gemini-model"]);
    const none = await get("/v1beta/models/nobody", { "x-goog-api-key": stack.token });
    assert.deepEqual([none.status, none.json.error.code, none.json.error.status], [404, 404, "NOT_FOUND"]);
  });
});

// ---- counting ----

test("tokens are counted by a provider that can, else estimated", async (t) => {
  const text = "four words of it ".repeat(20), most = 20 * 17, least = 20;
  const counts = {
    anthropic: { where: () => "/v1/messages/count_tokens", field: "input_tokens", native: "anthropic",
      body: (model) => ({ model, messages: [{ role: "user", content: text }] }), to: "/v1/messages/count_tokens" },
    gemini: { where: (m) => `/v1beta/models/${m}:countTokens`, field: "totalTokens", native: "gemini",
      body: () => ({ contents: [{ parts: [{ text }] }] }), to: "/v1beta/models/gemini-model:countTokens" },
    "gemini, a whole request": { where: (m) => `/v1beta/models/${m}:countTokens`, field: "totalTokens", native: "gemini",
      body: (model) => ({ generateContentRequest: { model: `models/${model}`, contents: [{ parts: [{ text }] }] } }),
      to: "/v1beta/models/gemini-model:countTokens" },
    converse: { where: (m) => `/model/${m}/count-tokens`, field: "inputTokens", native: "bedrock",
      body: () => ({ input: { converse: { messages: [{ role: "user", content: [{ text }] }] } } }), to: "/model/bedrock-model/count-tokens" },
    "converse, an invocation": { where: (m) => `/model/${m}/count-tokens`, field: "inputTokens", native: "bedrock",
      body: () => ({ input: { invokeModel: { body: Buffer.from(JSON.stringify({ max_tokens: 5,
        messages: [{ role: "user", content: text }] })).toString("base64") } } }), to: "/model/bedrock-model/count-tokens" },
  };
  for (const [name, c] of Object.entries(counts)) {
    const { key } = dialects[name.split(",")[0]];
    await t.test(name, async () => {
      provider.seen.length = 0;
      provider.gives(` {"${c.field}": 4711, "more": [1]}`);
      const body = JSON.stringify({ ...c.body(`${c.native}-model`), unknown: { z: 1, a: 2 } }, null, 1);
      const native = await send(stack.url + c.where(`${c.native}-model`), { body, headers: key(stack.token) });
      assert.deepEqual([native.status, native.text], [200, ` {"${c.field}": 4711, "more": [1]}`]);
      assert.equal(provider.last.url, c.to);
      assert.equal(provider.last.body.toString(), body, "bytes");
      const row = await rowOf(native.headers["x-request-id"]);
      assert.deepEqual([row.cost, row.tokens.input, row.ended_by], ["0.000000000", 0, "done"]);

      provider.seen.length = 0;
      const other = await send(stack.url + c.where("openai-model"), { body: c.body("openai-model"), headers: key(stack.token) });
      assert.equal(other.status, 200, other.text);
      assert.deepEqual(Object.keys(other.json), [c.field]);
      assert.ok(other.json[c.field] > least && other.json[c.field] < most, other.text);
      assert.equal(provider.seen.length, 0);
    });
  }
});

test("what clients tell of themselves is taken and forgotten", async () => {
  provider.seen.length = 0;
  const got = await send(`${stack.url}/api/event_logging/batch`, { body: { events: [] } });
  assert.deepEqual([got.status, got.text], [200, "{}"]);
  assert.equal(provider.seen.length, 0);
});

test("below the proxy prefix an upstream is chosen by name, whatever it speaks", async () => {
  for (const [format, name] of [["anthropic", "openai"], ["openai-chat", "anthropic"], ["openai-chat", "gemini"], ["anthropic", "anthropic"]]) {
    provider.gives(whole[wholeOf[name]]);
    const got = await send(`${stack.url}/proxy${dialects[format].path()}`, { body: dialects[format].body("of-nobody", false),
      headers: { ...dialects[format].key(stack.token), "x-upstream-name": name } });
    assert.equal(got.status, 200, got.text);
    assert.equal(got.headers["x-sluice-upstream"], name);
    assert.match(JSON.stringify(got.json), /"Hi"/);
    assert.match(`${provider.last.url} ${provider.last.body}`, /of-nobody/);
  }
  const none = await send(`${stack.url}/proxy/v1/messages`, { body: dialects.anthropic.body("m", false),
    headers: { ...dialects.anthropic.key(stack.token), "x-upstream-name": "nobody" } });
  assert.deepEqual([none.status, none.json.error.sluice_code], [400, "unknown_upstream"]);
});

// ---- Azure's paths ----

test("Azure's clients", async (t) => {
  const headers = { "api-key": "" };
  const at = (where, body) => send(stack.url + where, { body, headers: { ...headers, "api-key": stack.token } });
  const chat = { messages: [{ role: "user", content: "Hello" }], odd: { z: 1, a: 2 } };
  const version = "api-version=2024-10-21";
  const chatAt = (model, body = chat) => at(`/openai/deployments/${model}/chat/completions?${version}`, body);

  for (const [model, url, named] of [
    ["azure-model", `/openai/deployments/azure-model/chat/completions?${version}`, "azure-model"],
    ["openai-model", "/v1/chat/completions", "openai-model"],
    ["openai_chat-model", "/v1/chat/completions", "openai_chat-model"],
    ["openrouter-model", "/api/v1/chat/completions", "openrouter-model"]]) {
    await t.test(`chat passed on: ${model}`, async () => {
      provider.gives(whole.openai);
      const got = await chatAt(model);
      assert.equal(got.status, 200, got.text);
      assert.equal(got.text, JSON.stringify(whole.openai), "bytes");
      assert.equal(provider.last.url, url);
      const { model: sent, ...rest } = provider.last.json;
      assert.equal(sent, named);
      assert.deepEqual(rest, chat);
      assert.equal((await rowOf(got.headers["x-request-id"])).endpoint, "/openai/deployments/{model}/chat/completions");
    });
  }
  await t.test("chat converted", async () => {
    provider.gives(whole.anthropic);
    const got = await chatAt("anthropic-model");
    assert.equal(got.json.choices[0].message.content, "Hi");
    assert.equal(provider.last.url, "/v1/messages");
    assert.equal(provider.last.json.model, "anthropic-model");
    assert.match(got.headers["x-sluice-dropped"], /odd/);
  });
  await t.test("the model of the body is the deployment's", async () => {
    provider.gives(whole.openai);
    await chatAt("openai-model", { ...chat, model: "another" });
    assert.equal(provider.last.json.model, "openai-model");
  });
  for (const [model, url, named] of [["azure-model", `/openai/deployments/azure-model/embeddings?${version}`, "azure-model"],
    ["openai-model", "/v1/embeddings", "openai-model"]]) {
    await t.test(`embeddings: ${model}`, async () => {
      provider.gives({ object: "list", data: [], usage: { prompt_tokens: 4, total_tokens: 4 } });
      const got = await at(`/openai/deployments/${model}/embeddings?${version}`, { input: "a text" });
      assert.equal(got.status, 200, got.text);
      assert.equal(provider.last.url, url);
      assert.deepEqual(provider.last.json, { input: "a text", ...(named ? { model: named } : {}) });
      const row = await rowOf(got.headers["x-request-id"]);
      assert.deepEqual([row.model, row.tokens.input, row.usage, row.endpoint],
        [model, 4, "reported", "/openai/deployments/{model}/embeddings"]);
    });
  }
  await t.test("/openai/v1", async () => {
    provider.gives(whole.openai);
    const got = await at("/openai/v1/chat/completions?api-version=preview", { model: "openai-model", ...chat });
    assert.deepEqual([got.status, provider.last.url, provider.last.json.model], [200, "/v1/chat/completions", "openai-model"]);
    provider.gives({ object: "list", data: [], usage: { prompt_tokens: 4, total_tokens: 4 } });
    await at("/openai/v1/embeddings", { model: "openai-model", input: "x" });
    assert.equal(provider.last.url, "/v1/embeddings");
    provider.gives(whole.anthropic);
    const other = await at("/openai/v1/chat/completions", { model: "anthropic-model", ...chat });
    assert.equal(other.json.choices[0].message.content, "Hi");
  });
  await t.test("clients of OpenAI reach an Azure provider", async () => {
    provider.gives(whole.openai);
    const got = await send(`${stack.url}/v1/chat/completions`, { headers: bearer(), body: { model: "azure-model", ...chat } });
    assert.equal(got.status, 200, got.text);
    assert.equal(provider.last.url, `/openai/deployments/azure-model/chat/completions?${version}`);
  });
});

test("Anthropic's lists and files go to Anthropic, by the header that its SDK sends", async () => {
  await stack.manage("PATCH", "upstreams/anthropic", { default: true });
  const headers = { "x-api-key": stack.token, "anthropic-version": "2023-06-01", "anthropic-beta": "files-api-2025-04-14" };
  provider.gives({ data: [], has_more: false });
  for (const where of ["/v1/files?limit=3", "/v1/messages/batches", "/v1/skills"]) {
    const got = await send(stack.url + where, { method: "GET", headers });
    assert.equal(got.status, 200, got.text);
    assert.equal(got.headers["x-sluice-upstream"], "anthropic");
    assert.equal(got.headers["request-id"], got.headers["x-request-id"]);
    assert.equal(provider.last.url, where);
    assert.equal(provider.last.headers["anthropic-beta"], headers["anthropic-beta"]);
  }
  await stack.manage("PATCH", "upstreams/anthropic", { default: false });
});

test("Gemini's uploads come by here, and their addresses lead back here", async () => {
  await stack.manage("PATCH", "upstreams/gemini", { default: true });
  const headers = { "x-goog-api-key": stack.token, "x-goog-upload-protocol": "resumable", "x-goog-upload-command": "start", "x-goog-upload-header-content-length": "9" };
  const theirs = "upload_id=abc&upload_protocol=resumable";
  provider.gives({}, { headers: { "x-goog-upload-url": `https://generativelanguage.googleapis.com/upload/v1beta/files?key=${SECRET}&${theirs}`,
    "x-goog-upload-control-url": "https://elsewhere.example/control", "x-goog-upload-status": "active", "x-goog-upload-chunk-granularity": "262144" } });
  const begun = await send(`${stack.url}/upload/v1beta/files`, { body: { file: { displayName: "it" } }, headers });
  assert.equal(begun.status, 200, begun.text);
  assert.equal(provider.last.url, "/upload/v1beta/files");
  assert.equal(provider.last.headers["x-goog-upload-command"], "start");
  assert.equal(begun.headers["x-goog-upload-url"], `${stack.url}/upload/v1beta/files?${theirs}`);
  assert.equal(begun.headers["x-goog-upload-control-url"], undefined);
  assert.deepEqual([begun.headers["x-goog-upload-status"], begun.headers["x-goog-upload-chunk-granularity"]], ["active", "262144"]);
  assert.doesNotMatch(JSON.stringify(begun.headers), new RegExp(SECRET));

  provider.gives({ file: { name: "files/1" } }, { headers: { "x-goog-upload-status": "final" } });
  const bytes = Buffer.from([0, 255, 1, 2, 0, 10, 13, 34, 92]);
  const done = await send(begun.headers["x-goog-upload-url"], { body: bytes, headers: { "x-goog-api-key": stack.token, "content-type": "image/png",
    "x-goog-upload-offset": "0", "x-goog-upload-command": "upload, finalize" } });
  assert.deepEqual([done.status, done.json.file.name, done.headers["x-goog-upload-status"]], [200, "files/1", "final"]);
  assert.equal(provider.last.url, `/upload/v1beta/files?${theirs}`);
  assert.ok(provider.last.body.equals(bytes));
  await stack.manage("PATCH", "upstreams/gemini", { base_url: `${provider.url}/v1beta` });
  await send(begun.headers["x-goog-upload-url"], { body: bytes, headers: { "x-goog-api-key": stack.token, "content-type": "image/png" } });
  assert.equal(provider.last.url, `/upload/v1beta/files?${theirs}`, "beside a base that names the API");
  await stack.manage("PATCH", "upstreams/gemini", { default: false, base_url: provider.url });
});

// ---- bytes stay bytes ----

const odd = (body) => JSON.stringify({ zebra: [1, { b: null, a: 1e400.toString() }], ...body, "another one": { z: "ü ", a: 12345678901234567890n.toString() } }, null, 3);
const sse = (...events) => events.map(([name, data]) => `${name ? `event: ${name}\r\n` : ""}data:${JSON.stringify(data)}\r\n\r\n`).join("");
const streams = {
  anthropic: sse(["message_start", { type: "message_start", extra: [3, 2], message: whole.anthropic }],
    ["content_block_start", { type: "content_block_start", index: 0, content_block: { type: "text", text: "" } }],
    ["a_new_event", { type: "a_new_event", z: 1 }],
    ["content_block_delta", { type: "content_block_delta", index: 0, delta: { type: "text_delta", text: "Hi" } }],
    ["content_block_stop", { type: "content_block_stop", index: 0 }],
    ["message_delta", { type: "message_delta", delta: { stop_reason: "end_turn", stop_sequence: null }, usage: { output_tokens: 2 } }],
    ["message_stop", { type: "message_stop" }]) + ": the end\r\n\r\n",
  gemini: sse(["", { candidates: [{ content: { parts: [{ text: "H", more: 1 }], role: "model" } }], new: {} }],
    ["", { candidates: [{ finishReason: "STOP", content: { parts: [{ text: "i" }], role: "model" } }], usageMetadata: usage.gemini }]),
  converse: Buffer.concat([eventFrame("messageStart", { role: "assistant", p: "abcd" }),
    eventFrame("contentBlockDelta", { contentBlockIndex: 0, delta: { text: "Hi" }, p: "ab" }),
    eventFrame("aNewEvent", { z: 1 }), eventFrame("contentBlockStop", { contentBlockIndex: 0 }),
    eventFrame("messageStop", { stopReason: "end_turn" }), eventFrame("metadata", { usage: usage.converse, metrics: { latencyMs: 1 } })]),
};
const array = `[${JSON.stringify(whole.gemini)}\n,\r\n${JSON.stringify({ ...whole.gemini, new: 1 })}]\n`;
streams["bedrock-invoke"] = Buffer.concat(["message_start", "content_block_start", "content_block_delta", "content_block_stop", "message_delta", "message_stop"]
  .map((name) => eventFrame("chunk", { bytes: Buffer.from(/data:(.*)\r/.exec(streams.anthropic.split("\r\n\r\n").find((e) => e.startsWith(`event: ${name}\r`)) + "\r")[1])
    .toString("base64"), p: "abcdef" })));
const same = { anthropic: "anthropic", gemini: "gemini", converse: "bedrock", "bedrock-invoke": "bedrock_invoke" };

test("same dialect in and out: bytes", async (t) => {
  for (const [format, protocol] of Object.entries(same)) {
    const model = `${protocol}-model`, d = dialects[format];
    await t.test(`${format}: a request and its answer`, async () => {
      const body = odd(d.body(model, false)), reply = odd(whole[wholeOf[protocol]]);
      provider.gives(reply);
      const got = await ask(format, model, { body });
      assert.equal(got.status, 200);
      assert.equal(provider.last.body.toString(), body);
      assert.equal(got.text, reply);
      const row = await rowOf(got.headers["x-request-id"]);
      assert.deepEqual([row.usage, row.tokens.input, row.tokens.output, row.model, row.stream], ["reported", 3, 2, model, false]);
      assert.equal(got.headers["x-sluice-dropped"], undefined);
    });
    await t.test(`${format}: a stream`, async () => {
      const binary = Buffer.isBuffer(streams[format]), type = binary ? "application/vnd.amazon.eventstream" : "text/event-stream";
      for (const size of [Infinity, 1, 37]) {
        provider.streams(streams[format], { type, size });
        const got = await ask(format, model, { stream: true });
        assert.equal(got.status, 200, got.text);
        assert.equal(got.headers["content-type"], type);
        assert.ok(got.bytes.equals(Buffer.from(streams[format])), got.text);
        assert.equal(got.broken, false);
        const row = await rowOf(got.headers["x-request-id"]);
        assert.deepEqual([row.usage, row.tokens.input, row.tokens.output, row.stream, row.ended_by], ["reported", 3, 2, true, "done"]);
      }
    });
  }
  await t.test("gemini: a stream as one JSON array", async () => {
    provider.streams(array, { type: "application/json; charset=UTF-8", size: 11 });
    const got = await send(`${stack.url}/v1beta/models/gemini-model:streamGenerateContent`,
      { body: dialects.gemini.body(), headers: dialects.gemini.key(stack.token) });
    assert.deepEqual([got.status, provider.last.url], [200, "/v1beta/models/gemini-model:streamGenerateContent"]);
    assert.match(got.headers["content-type"], /^application\/json/);
    assert.equal(got.text, array);
    assert.equal((await rowOf(got.headers["x-request-id"])).tokens.output, 2);
  });
  await t.test("gemini converted: an array where one is asked for, else events", async () => {
    for (const [query, type, read] of [["", /^application\/json/, (text) => JSON.parse(text)],
      ["?alt=sse", /^text\/event-stream/, (text) => text.trim().split("\n\n").map((e) => JSON.parse(e.replace(/^data: /, "")))]]) {
      provider.streams(streams.anthropic, { size: 9 });
      const got = await send(`${stack.url}/v1beta/models/anthropic-model:streamGenerateContent${query}`,
        { body: dialects.gemini.body(), headers: dialects.gemini.key(stack.token) });
      assert.match(got.headers["content-type"], type);
      const all = read(got.text);
      assert.equal(all.flatMap((e) => e.candidates?.[0].content?.parts ?? []).map((p) => p.text ?? "").join(""), "Hi");
      assert.equal(all.at(-1).candidates[0].finishReason, "STOP");
      assert.deepEqual([all.at(-1).usageMetadata.promptTokenCount, all.at(-1).usageMetadata.candidatesTokenCount], [3, 2]);
      assert.equal(provider.last.url, "/v1/messages");
    }
  });
  await t.test("openai: a stream, with usage asked for", async () => {
    const chunks = sse(["", { id: "c", object: "chat.completion.chunk", created: 1, model: "m", new: {}, choices: [{ index: 0, delta: { role: "assistant", content: "Hi" }, finish_reason: null }] }],
      ["", { id: "c", object: "chat.completion.chunk", created: 1, model: "m", choices: [{ index: 0, delta: {}, finish_reason: "stop" }] }],
      ["", { id: "c", object: "chat.completion.chunk", created: 1, model: "m", choices: [], usage: usage.openai }]) + "data: [DONE]\n\n";
    const body = odd({ ...dialects["openai-chat"].body("openai-model", true), stream_options: { z: 1, include_usage: true } });
    for (const size of [Infinity, 1, 37]) {
      provider.streams(chunks, { size });
      const got = await ask("openai-chat", "openai-model", { stream: true, body });
      assert.deepEqual([provider.last.body.toString(), got.text], [body, chunks]);
      assert.equal((await rowOf(got.headers["x-request-id"])).tokens.output, 2);
    }
  });
  await t.test("openai responses: an answer and a stream", async () => {
    const response = { id: "resp_1", object: "response", created_at: 1, status: "completed", model: "m", output: [{ type: "message", id: "msg_1", role: "assistant",
      status: "completed", content: [{ type: "output_text", text: "Hi", annotations: [] }] }], new: 1, usage: { input_tokens: 3, output_tokens: 2, total_tokens: 5 } };
    const events = sse(["response.created", { type: "response.created", response: { ...response, status: "in_progress", output: [], usage: null } }],
      ["response.output_text.delta", { type: "response.output_text.delta", item_id: "msg_1", output_index: 0, content_index: 0, delta: "Hi" }],
      ["response.a_new_event", { type: "response.a_new_event" }], ["response.completed", { type: "response.completed", response }]);
    for (const stream of [false, true]) {
      const body = odd(dialects["openai-responses"].body("openai-model", stream)), reply = stream ? events : odd(response);
      if (stream) provider.streams(reply, { size: 23 });
      else provider.gives(reply);
      const got = await ask("openai-responses", "openai-model", { stream, body });
      assert.deepEqual([provider.last.url, provider.last.body.toString(), got.text], ["/v1/responses", body, reply]);
      const row = await rowOf(got.headers["x-request-id"]);
      assert.deepEqual([row.usage, row.tokens.input, row.tokens.output, row.endpoint], ["reported", 3, 2, "/v1/responses"]);
    }
  });
  await t.test("openai: an answer", async () => {
    const body = odd(dialects["openai-chat"].body("openai-model", false)), reply = odd(whole.openai);
    provider.gives(reply);
    const got = await ask("openai-chat", "openai-model", { body });
    assert.deepEqual([provider.last.body.toString(), got.text], [body, reply]);
  });
});

// ---- credentials ----

test("our token in any form, and never at the provider", async (t) => {
  const sigv4 = { "x-amz-date": "20260101T000000Z", "x-amz-content-sha256": "e3b0", "x-amz-security-token": "FwoG",
    authorization: () => `AWS4-HMAC-SHA256 Credential=${stack.token}/20260101/us-east-1/bedrock/aws4_request, SignedHeaders=host;x-amz-date, Signature=abc` };
  const forms = {
    bearer: () => [bearer(), ""], "x-api-key": () => [{ "x-api-key": stack.token }, ""], "api-key": () => [{ "api-key": stack.token }, ""],
    "x-goog-api-key": () => [{ "x-goog-api-key": stack.token }, ""], "?key=": () => [{}, `key=${stack.token}`],
    sigv4: () => [{ ...sigv4, authorization: sigv4.authorization() }, ""],
    "several, one of them ours": () => [{ authorization: "Bearer sk-ant-other", "x-api-key": stack.token, cookie: `t=${stack.token}` }, ""],
  };
  const own = { openai: ["bearer", "authorization", `Bearer ${SECRET}`], anthropic: ["x-api-key", "x-api-key", SECRET],
    gemini: ["x-goog-api-key", "x-goog-api-key", SECRET], azure: ["api-key", "api-key", SECRET], bedrock: ["bearer", "authorization", `Bearer ${SECRET}`] };
  const client = { openai: "openai-chat", anthropic: "anthropic", gemini: "gemini", azure: "openai-chat", bedrock: "converse" };

  for (const [protocol, [auth]] of Object.entries(own)) {
    await stack.manage("POST", "upstreams", { name: `${protocol}-keyed`, protocol, auth, allow_private: true, base_url: provider.url, models: [`${protocol}-keyed`] });
    await stack.manage("POST", "keys", { upstream: `${protocol}-keyed`, secret: SECRET });
  }
  for (const [form, make] of Object.entries(forms)) {
    await t.test(form, async () => {
      for (const [protocol, [, header, value]] of Object.entries(own)) {
        const [headers, query] = make(), d = dialects[client[protocol]], model = `${protocol}-keyed`, path = d.path(model, false);
        provider.gives(whole[wholeOf[protocol]]);
        const got = await send(stack.url + path + (query ? `${path.includes("?") ? "&" : "?"}${query}` : ""), { body: d.body(model, false), headers });
        assert.equal(got.status, 200, `${protocol}: ${got.text}`);
        const { last } = provider, all = `${last.url} ${JSON.stringify(last.headers)} ${last.body}`;
        assert.ok(!all.includes(stack.token), `${protocol}: ${all}`);
        assert.equal(last.headers[header], value);
        for (const name of ["authorization", "x-api-key", "api-key", "x-goog-api-key", "cookie", "x-amz-date", "x-amz-security-token"])
          if (name !== header) assert.equal(last.headers[name], undefined, `${protocol} ${name}`);
      }
    });
  }
  await t.test("a query's other parameters stay, the token goes", async () => {
    provider.gives(whole.gemini);
    await send(`${stack.url}/v1beta/models/gemini-model:generateContent?a=1&key=${stack.token}&b=2&%24alt=json`, { body: dialects.gemini.body() });
    assert.equal(provider.last.url, "/v1beta/models/gemini-model:generateContent?a=1&b=2&%24alt=json");
  });
  await t.test("two tokens of ours", async () => {
    const { token } = await stack.manage("POST", "tokens", { project_id: "first" });
    const got = await ask("anthropic", "anthropic-model", { headers: bearer(token) });
    assert.deepEqual([got.status, got.json.error.type, got.json.error.sluice_code], [400, "invalid_request_error", "bad_request"]);
  });
});

// ---- headers ----

const general = { "accept-language": "de", traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
  "http-referer": "https://example.org", "x-title": "it", originator: "codex_cli_rs", session_id: "0199", "x-codex-turn": "1",
  "x-claude-code-session": "2", "x-stainless-lang": "js" };
const own = { openai: { "openai-organization": "org-1", "openai-project": "p" }, anthropic: { "anthropic-version": "2023-01-01", "anthropic-beta": "one,two" },
  gemini: { "x-goog-api-client": "gl-node/20", "x-goog-user-project": "p" } };
const never = { cookie: "a=b", "x-forwarded-for": "192.0.2.7", "x-real-ip": "192.0.2.7", forwarded: "for=192.0.2.7", "x-sluice-tag": "feature=x",
  "user-agent": "secret-tool/1", origin: "https://example.org", "proxy-authorization": "Basic abc", "x-odd": "1", te: "trailers" };

test("client headers: which pass", async (t) => {
  const cases = [["openai-chat", "openai"], ["anthropic", "anthropic"], ["gemini", "gemini"], ["converse", "bedrock"], ["openai-chat", "anthropic"],
    ["anthropic", "openai"], ["anthropic", "gemini"], ["gemini", "anthropic"], ["converse", "openai"]];
  for (const [format, protocol] of cases) {
    await t.test(`${format} to ${protocol}`, async () => {
      provider.gives(whole[wholeOf[protocol]]);
      const got = await ask(format, `${protocol}-model`, { headers: { ...general, ...own.openai, ...own.anthropic, ...own.gemini, ...never } });
      assert.equal(got.status, 200, got.text);
      const { headers } = provider.last;
      for (const [name, value] of Object.entries(general)) assert.equal(headers[name], value, name);
      for (const [name, value] of Object.entries(never)) assert.notEqual(headers[name], value, name);
      for (const whose of ["openai", "gemini"])
        for (const [name, value] of Object.entries(own[whose])) assert.equal(headers[name], whose === protocol ? value : undefined, name);
      const straight = format === "anthropic" && protocol === "anthropic";
      assert.equal(headers["anthropic-beta"], straight ? "one,two" : undefined);
      assert.equal(headers["anthropic-version"], straight ? "2023-01-01" : protocol === "anthropic" ? "2023-06-01" : undefined);
      assert.equal(headers["content-type"], "application/json");
      assert.equal(headers.host, new URL(provider.url).host);
    });
  }
});

test("provider headers: which pass, and the request's id where the SDK looks", async (t) => {
  const theirs = { "set-cookie": "a=b", server: "theirs", "x-ratelimit-remaining-requests": "7", "anthropic-ratelimit-requests-remaining": "7",
    "openai-organization": "org-1", "anthropic-organization-id": "o", "x-odd": "1", "retry-after": "3" };
  for (const [format, protocol, name] of [["openai-chat", "openai", "x-request-id"], ["anthropic", "anthropic", "request-id"],
    ["gemini", "gemini", "x-request-id"], ["converse", "bedrock", "x-amzn-requestid"], ["anthropic", "bedrock", "x-amzn-requestid"], ["openai-chat", "anthropic", "request-id"]]) {
    await t.test(`${format} from ${protocol}`, async () => {
      provider.gives(whole[wholeOf[protocol]], { headers: { ...theirs, [name]: "theirs-1" } });
      const { status, headers } = await ask(format, `${protocol}-model`);
      assert.equal(status, 200);
      for (const header of Object.keys(theirs)) if (header !== "retry-after" && header !== "server") assert.equal(headers[header], undefined, header);
      assert.equal(headers["retry-after"], "3");
      assert.match(headers["x-request-id"], /^req_/);
      assert.equal(headers["request-id"], format === "anthropic" ? headers["x-request-id"] : undefined);
      assert.equal(headers["x-amzn-requestid"], format === "converse" ? headers["x-request-id"] : undefined);
      assert.equal(headers["x-sluice-upstream-request-id"], "theirs-1");
      assert.equal(headers["x-sluice-upstream"], protocol);
      assert.equal(headers["x-sluice-model"], `${protocol}-model`);
      assert.equal((await rowOf(headers["x-request-id"])).upstream_request_id, "theirs-1");
    });
  }
});

// ---- errors ----

// How each dialect says it: status and the word its SDK reads.
const openaiSays = (got) => [got.status, got.json.error.type, got.json.error.code];
const said = {
  "openai-responses": openaiSays,
  "openai-chat": (got) => [got.status, got.json.error.type, got.json.error.code],
  anthropic: (got) => [got.status, got.json.type, got.json.error.type],
  gemini: (got) => [got.status, got.json.error.code, got.json.error.status],
  converse: (got) => [got.status, got.headers["x-amzn-errortype"], got.json.__type],
};
const expected = {
  token: { "openai-chat": [401, "invalid_request_error", "invalid_api_key"], anthropic: [401, "error", "authentication_error"],
    gemini: [401, 401, "UNAUTHENTICATED"], converse: [403, "AccessDeniedException", "AccessDeniedException"] },
  model: { "openai-chat": [404, "invalid_request_error", "model_not_found"], anthropic: [404, "error", "not_found_error"],
    gemini: [404, 404, "NOT_FOUND"], converse: [404, "ResourceNotFoundException", "ResourceNotFoundException"] },
  rate: { "openai-chat": [429, "requests", "rate_limit_exceeded"], anthropic: [429, "error", "rate_limit_error"],
    gemini: [429, 429, "RESOURCE_EXHAUSTED"], converse: [429, "ThrottlingException", "ThrottlingException"] },
  budget: { "openai-chat": [429, "insufficient_quota", "insufficient_quota"], anthropic: [402, "error", "billing_error"],
    gemini: [429, 429, "RESOURCE_EXHAUSTED"], converse: [400, "ServiceQuotaExceededException", "ServiceQuotaExceededException"] },
  overloaded: { "openai-chat": [503, "server_error", "server_overloaded"], anthropic: [529, "error", "overloaded_error"],
    gemini: [503, 503, "UNAVAILABLE"], converse: [503, "ServiceUnavailableException", "ServiceUnavailableException"] },
  broke: { "openai-chat": [502, "server_error", "upstream_unreachable"], anthropic: [500, "error", "api_error"],
    gemini: [500, 500, "INTERNAL"], converse: [500, "InternalServerException", "InternalServerException"] },
  credentials: { "openai-chat": [502, "server_error", "upstream_credentials"], anthropic: [500, "error", "api_error"],
    gemini: [500, 500, "INTERNAL"], converse: [500, "InternalServerException", "InternalServerException"] },
  bad: { "openai-chat": [400, "invalid_request_error"], anthropic: [400, "error", "invalid_request_error"],
    gemini: [400, 400, "INVALID_ARGUMENT"], converse: [400, "ValidationException", "ValidationException"] },
  long: { "openai-chat": [400, "invalid_request_error", "context_length_exceeded"], anthropic: [400, "error", "invalid_request_error"],
    gemini: [400, 400, "INVALID_ARGUMENT"], converse: [400, "ValidationException", "ValidationException"] },
};
const check = (kind, format, got) => {
  const want = expected[kind][format === "openai-responses" ? "openai-chat" : format];
  assert.deepEqual(said[format](got).slice(0, want.length), want, got.text);
};

test("our own refusals in each dialect", async (t) => {
  for (const format of Object.keys(said)) {
    const d = dialects[format], model = "openai-model";
    await t.test(format, async () => {
      const bad = await send(stack.url + d.path(model, false), { body: d.body(model, false), headers: d.key("sk-sl-nobody") });
      check("token", format, bad);
      const none = await send(stack.url + d.path(model, false), { body: d.body(model, false), headers: { "anthropic-version": "2023-06-01" } });
      check("token", format, none);
      const unknown = await ask(format, "nobody-has-it");
      check("model", format, unknown);
      assert.match(unknown.text, /nobody-has-it/);
      check("bad", format, await ask(format, model, { body: "{\"messages\": [" }));
      const other = format === "anthropic" ? "openai-model" : "anthropic-model"; // what is converted is looked at
      check("bad", format, await ask(format, other, { body: format === "gemini" ? { contents: 5 } : { model: other, messages: 5, max_tokens: 5 } }));
    });
    await t.test(`${format}: limits`, async () => {
      const made = await stack.manage("POST", "tokens", { project_id: "first" });
      const again = () => send(stack.url + d.path(model, false), { body: d.body(model, false), headers: d.key(made.token) });
      const minute = await stack.manage("POST", "limits", { scope: { token: made.id }, metric: "requests", window: "minute", cap: 1 });
      provider.gives(whole.openai);
      const first = await again();
      assert.equal(first.status, 200, first.text);
      const refused = await again();
      check("rate", format, refused);
      assert.ok(Number(refused.headers["retry-after"]) >= 1 && Number(refused.headers["retry-after"]) <= 60, refused.headers["retry-after"]);
      if (format === "gemini") assert.match(refused.json.error.details[0].retryDelay, /^\d+\.\d{3}s$/);
      for (const { headers: h } of [first, refused]) {
        if (format === "anthropic") {
          assert.deepEqual([h["anthropic-ratelimit-requests-limit"], h["anthropic-ratelimit-requests-remaining"]], ["1", "0"]);
          assert.ok(!Number.isNaN(Date.parse(h["anthropic-ratelimit-requests-reset"])));
          assert.equal(h["x-ratelimit-limit-requests"], undefined);
        } else {
          assert.deepEqual([h["x-ratelimit-limit-requests"], h["x-ratelimit-remaining-requests"]], ["1", "0"]);
        }
      }
      await stack.manage("DELETE", `limits/${minute.id}`);
      await stack.manage("POST", "prices", { model: `${format}-dear`, input: "1", output: "1", request: "1" });
      await stack.manage("PATCH", "upstreams/openai", { models: ["openai-model", "openai/*", ...Object.keys(said).map((f) => `${f}-dear`)] });
      await stack.manage("POST", "limits", { scope: { token: made.id }, metric: "cost", window: "total", cap: "1.5" });
      const dear = () => send(stack.url + d.path(`${format}-dear`, false), { body: d.body(`${format}-dear`, false), headers: d.key(made.token) });
      assert.equal((await dear()).status, 200);
      const spent = await dear();
      check("budget", format, spent);
      assert.equal(spent.headers["retry-after"], undefined);
      assert.equal(spent.headers["x-should-retry"], "false");
    });
  }
});

const failures = { // of a provider, in its own words
  openai: {
    credentials: [401, { error: { message: `Incorrect API key provided: ${SECRET}.`, type: "invalid_request_error", param: null, code: "invalid_api_key" } }],
    rate: [429, { error: { message: "Rate limit reached.", type: "requests", param: null, code: "rate_limit_exceeded" } }],
    broke: [500, { error: { message: "The server had an error.", type: "server_error", param: null, code: null } }],
    overloaded: [503, { error: { message: "The engine is overloaded.", type: "server_error", param: null, code: "server_overloaded" } }],
    bad: [400, { error: { message: "Odd value.", type: "invalid_request_error", param: "x", code: "odd" } }],
    long: [400, { error: { message: "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens. Please reduce the length of the messages.",
      type: "invalid_request_error", param: "messages", code: "context_length_exceeded" } }],
  },
  anthropic: {
    credentials: [401, { type: "error", error: { type: "authentication_error", message: `invalid x-api-key ${SECRET}` } }],
    rate: [429, { type: "error", error: { type: "rate_limit_error", message: "Too many." } }],
    broke: [500, { type: "error", error: { type: "api_error", message: "Internal server error" } }],
    overloaded: [529, { type: "error", error: { type: "overloaded_error", message: "Overloaded" } }],
    bad: [400, { type: "error", error: { type: "invalid_request_error", message: "Odd value." } }],
    long: [400, { type: "error", error: { type: "invalid_request_error", message: "prompt is too long: 9000 tokens > 8192 maximum" } }],
  },
  gemini: {
    credentials: [400, { error: { code: 400, message: "API key not valid. Please pass a valid API key.", status: "INVALID_ARGUMENT",
      details: [{ "@type": "type.googleapis.com/google.rpc.ErrorInfo", reason: "API_KEY_INVALID" }] } }],
    rate: [429, { error: { code: 429, message: "Resource has been exhausted.", status: "RESOURCE_EXHAUSTED" } }],
    broke: [500, { error: { code: 500, message: "An internal error has occurred.", status: "INTERNAL" } }],
    overloaded: [503, { error: { code: 503, message: "The model is overloaded.", status: "UNAVAILABLE" } }],
    bad: [400, { error: { code: 400, message: "Odd value.", status: "INVALID_ARGUMENT" } }],
    long: [400, { error: { code: 400, message: "The input token count (9000) exceeds the maximum number of tokens allowed (8192).", status: "INVALID_ARGUMENT" } }],
  },
  bedrock: {
    credentials: [403, { message: "The security token included in the request is invalid." }, "UnrecognizedClientException"],
    rate: [429, { message: "Too many requests, please wait before trying again." }, "ThrottlingException"],
    broke: [500, { message: "Internal." }, "InternalServerException"],
    overloaded: [503, { message: "Service is unavailable." }, "ServiceUnavailableException"],
    bad: [400, { message: "Odd value." }, "ValidationException"],
    long: [400, { message: "The model returned the following errors: prompt is too long: 9000 tokens > 8192 maximum" }, "ValidationException"],
  },
};

let fresh = 0;
test("a provider's errors in each dialect", async (t) => {
  for (const format of Object.keys(said)) {
    for (const [protocol, kinds] of Object.entries(failures)) {
      await t.test(`${format} from ${protocol}`, async () => {
        for (const [kind, [status, body, type]] of Object.entries(kinds)) {
          provider.gives(body, { status, headers: { ...(kind === "rate" ? { "retry-after": "7" } : {}),
            ...(type ? { "x-amzn-errortype": `${type}:http://internal.amazon.com/coral/` } : {}) } });
          for (const stream of [false, true]) {
            // one of its own: whoever failed so rests
            const name = `${protocol}-${++fresh}`;
            await stack.manage("POST", "upstreams", { name, protocol, auth: "none", allow_private: true, base_url: provider.url, models: [`${name}-model`] });
            const got = await ask(format, `${name}-model`, { stream });
            const own = wholeOf[protocol] === format || (protocol === "openai" && format.startsWith("openai"));
            if (own && (kind === "bad" || kind === "long")) {
              assert.deepEqual([got.status, got.text], [status, JSON.stringify(body)], "its own answer goes through");
              continue;
            }
            check(kind, format, got);
            assert.doesNotMatch(got.text, new RegExp(SECRET));
            if (kind === "rate") assert.equal(got.headers["retry-after"], "7");
            if (kind === "bad") assert.match(got.text, /Odd value/);
            if (kind === "long" && format === "anthropic") assert.match(got.json.error.message, /prompt is too long: 9000 tokens > 8192 maximum/);
          }
        }
      });
    }
  }
});

test("a provider's error in mid-stream, in each dialect", async (t) => {
  const start = streams.anthropic.split("event: content_block_stop")[0];
  const failing = start + sse(["error", { type: "error", error: { type: "overloaded_error", message: "Overloaded now" } }]);
  const text = (bytes) => bytes.toString();
  const last = { "openai-responses": (b) => {
    const event = JSON.parse(/data: (.*)\n\n$/.exec(text(b))[1]);
    return event.response?.error.code ?? event.code ?? event.error?.code;
  }, "openai-chat": (b) => JSON.parse(/data: (.*)\n\n$/.exec(text(b))[1]).error.code,
    anthropic: (b) => (/event: error\r?\ndata: ?(.*)\r?\n\r?\n/.exec(text(b)) ?? [])[1] && JSON.parse(/event: error\r?\ndata: ?(.*)\r?\n\r?\n/.exec(text(b))[1]).error.type,
    gemini: (b) => JSON.parse(/data: (.*)\n\n$/.exec(text(b))[1]).error.status,
    converse: (b) => frames(b).at(-1).headers[":exception-type"], "bedrock-invoke": (b) => frames(b).at(-1).headers[":exception-type"] };
  const want = { "openai-chat": "server_overloaded", anthropic: "overloaded_error", gemini: "UNAVAILABLE", converse: "serviceUnavailableException",
    "bedrock-invoke": "serviceUnavailableException", "openai-responses": "server_error" }; // of the codes that its SDK knows
  for (const format of Object.keys(want)) {
    await t.test(format, async () => {
      provider.streams(failing, { size: 20 });
      const got = await ask(format, "anthropic-model", { stream: true });
      assert.equal(got.status, 200);
      assert.equal(last[format](got.bytes), want[format], got.text);
      assert.match(got.text, /Overloaded now/);
      const row = await rowOf(got.headers["x-request-id"]);
      assert.equal(row.ended_by, "provider");
      assert.equal(row.tokens.input, 3, "what it had reported by then");
    });
  }
  await t.test("gemini, as an array", async () => {
    provider.streams(failing, { size: 20 });
    const got = await send(`${stack.url}/v1beta/models/anthropic-model:streamGenerateContent`,
      { body: dialects.gemini.body(), headers: dialects.gemini.key(stack.token) });
    assert.equal(got.json.at(-1).error.status, "UNAVAILABLE");
  });
});

test("rows know no model in a path, and lists of models need no upstream", async () => {
  const rows = await stack.rows("limit=500"), seen = new Set(rows.map((r) => r.endpoint));
  for (const r of rows) assert.doesNotMatch(r.endpoint, /-model|-keyed|nobody/);
  for (const endpoint of ["/v1beta/models/{model}:generateContent", "/v1beta/models/{model}:streamGenerateContent", "/model/{model}/converse",
    "/model/{model}/converse-stream", "/openai/deployments/{model}/embeddings"]) assert.ok(seen.has(endpoint), [...seen].join("\n"));
});
