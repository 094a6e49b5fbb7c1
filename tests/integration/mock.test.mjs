// mock.test.mjs - the mock is believed by the official SDKs: they speak to it directly.  What the
// other tests then see through the gateway was not made up by the gateway's own converters.

import { after, before, describe, test } from "node:test";
import assert from "node:assert/strict";
import crypto from "node:crypto";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { spawn } from "node:child_process";
import { once } from "node:events";
import OpenAI, { AzureOpenAI } from "openai";
import Anthropic from "@anthropic-ai/sdk";
import { GoogleGenAI } from "@google/genai";
import * as bedrock from "@aws-sdk/client-bedrock-runtime";
import { NodeHttpHandler } from "@smithy/node-http-handler";
import { programs } from "./lib/stack.mjs";

const PNG = Buffer.from("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==", "base64");
const SCHEMA = { type: "object", additionalProperties: false, required: ["city", "days"],
  properties: { city: { type: "string" }, days: { type: "integer" } } };
const AWS = { accessKeyId: "AKIDMOCK", secretAccessKey: "the secret of the mock" };

let dir, mock, keys;

async function start(...args) {
  const child = spawn(path.join(programs, "sluice"), ["mock", "--seconds", "300", ...args],
    { stdio: ["ignore", "pipe", "inherit"] });
  let text = "";
  for await (const piece of child.stdout) {
    text += piece;
    const found = /http:\/\/[\d.:]+/.exec(text);
    if (found) return { child, url: found[0] };
  }
  throw new Error("the mock ended at once");
}

const last = async (where) => (await fetch(`${mock.url}/mock/last?path=${where}`)).json();

before(async () => {
  dir = fs.mkdtempSync(path.join(os.tmpdir(), "sluice-mock-"));
  keys = path.join(dir, "keys");
  fs.writeFileSync(keys, "sk-good-key-0001\n");
  const { publicKey, privateKey } = crypto.generateKeyPairSync("rsa", { modulusLength: 2048 });
  fs.writeFileSync(path.join(dir, "jwt.pem"), publicKey.export({ type: "spki", format: "pem" }));
  mock = await start("--keys", keys, "--strict", "1", "--aws", `${AWS.accessKeyId}:${AWS.secretAccessKey}`,
    "--client", "sb-1!b|x:s e/cret", "--jwt-key", path.join(dir, "jwt.pem"));
  mock.privateKey = privateKey;
});

after(async () => {
  mock.child.kill();
  await once(mock.child, "exit");
  fs.rmSync(dir, { recursive: true });
});

const SIGNED = "Let me think about";

// ---- Anthropic ----

describe("Anthropic", () => {
  const client = (key = "sk-good-key-0001") => new Anthropic({ baseURL: mock.url, apiKey: key, maxRetries: 0 });
  const tools = ["get_weather", "get_time"].map((name) => ({ name, description: name, input_schema:
    { type: "object", properties: { city: { type: "string" }, n: { type: "integer" } }, required: ["city"] } }));
  const ask = (content, more = {}) => ({ model: "claude-test", max_tokens: 4096,
    messages: [{ role: "user", content }], ...more });

  test("text, whole and streamed, with usage", async () => {
    const whole = await client().messages.create(ask("Hello é 😀", { system: "Be brief." }));
    assert.equal(whole.content[0].text, "You said: Hello é 😀 [system: Be brief.]");
    assert.equal(whole.stop_reason, "end_turn");
    const events = [];
    const stream = client().messages.stream(ask("Hello é 😀", { system: "Be brief." }))
      .on("streamEvent", (event) => events.push(event.type));
    const message = await stream.finalMessage();
    assert.deepEqual(message.content[0].text, whole.content[0].text);
    assert.deepEqual(message.usage.output_tokens, whole.usage.output_tokens);
    assert.ok(events.filter((type) => type === "content_block_delta").length > 3, "it came in pieces");
    assert.equal(events.at(-1), "message_stop");
  });

  test("two parallel calls, with thinking, and the signature is checked", async () => {
    for (const streamed of [false, true]) {
      const wish = ask("call:2 please", { tools, thinking: { type: "enabled", budget_tokens: 1024 } });
      const first = streamed ? await client().messages.stream(wish).finalMessage() : await client().messages.create(wish);
      assert.equal(first.stop_reason, "tool_use");
      assert.deepEqual(first.content.map((b) => b.type), ["thinking", "tool_use", "tool_use"]);
      assert.match(first.content[0].thinking, new RegExp(SIGNED));
      assert.deepEqual(first.content[2].input, { city: "city-2 \"é\"", n: 2 });
      assert.ok(first.usage.output_tokens_details.thinking_tokens > 0);
      const history = (content) => ({ ...wish, messages: [...wish.messages, { role: "assistant", content },
        { role: "user", content: first.content.slice(1).map((c, i) => (
          { type: "tool_result", tool_use_id: c.id, content: i === 0 ? "7 C" : [{ type: "text", text: "12:00" }] })) }] });
      const second = await client().messages.create(history(first.content));
      assert.equal(second.content.at(-1).text, "Results: get_weather=7 C; get_time=12:00");
      const altered = structuredClone(first.content);
      altered[0].thinking += "!";
      await assert.rejects(client().messages.create(history(altered)), { status: 400, message: /Invalid `signature`/ });
      await assert.rejects(client().messages.create(history(first.content.slice(1))),
        { status: 400, message: /must start with a thinking block/ });
    }
  });

  test("image, schema, cache, stops", async () => {
    const seen = await client().messages.create(ask([{ type: "text", text: "cache:64 see" },
      { type: "image", source: { type: "base64", media_type: "image/png", data: PNG.toString("base64") },
        cache_control: { type: "ephemeral", ttl: "1h" } }]));
    assert.match(seen.content[0].text, new RegExp(`\\[image image/png ${PNG.length} bytes\\]`));
    assert.equal(seen.usage.cache_read_input_tokens, 64);
    assert.equal(seen.usage.cache_creation.ephemeral_1h_input_tokens, 32);
    const json = await client().messages.create(ask("x", { output_config: { format: { type: "json_schema", schema: SCHEMA } } }));
    assert.deepEqual(Object.keys(JSON.parse(json.content[0].text)), ["city", "days"]);
    assert.equal((await client().messages.create(ask("some long words", { max_tokens: 2 }))).stop_reason, "max_tokens");
    const stopped = await client().messages.create(ask("one END two", { stop_sequences: ["END"] }));
    assert.deepEqual([stopped.stop_reason, stopped.stop_sequence, stopped.content[0].text],
      ["stop_sequence", "END", "You said: one "]);
    assert.equal((await client().messages.create(ask("stop:filter"))).stop_reason, "refusal");
  });

  test("count_tokens, models", async () => {
    const { max_tokens, ...body } = ask("Hello");
    assert.ok((await client().messages.countTokens(body)).input_tokens > 0);
    const models = await client().models.list();
    assert.equal(models.data[0].type, "model");
  });

  test("typed errors, in mid-stream too", async () => {
    await assert.rejects(client("sk-wrong").messages.create(ask("x")), Anthropic.AuthenticationError);
    await assert.rejects(client().messages.create(ask("x", { model: "mock:kind=overloaded" })), { status: 529 });
    await assert.rejects(client().messages.create(ask("x", { model: "mock:kind=rate" })), Anthropic.RateLimitError);
    await assert.rejects(client().messages.create(ask("x", { model: "mock:kind=credit" })), { status: 400, message: /credit balance/ });
    await assert.rejects(client().messages.create(ask("x", { surprise: 1 })), { status: 400, message: /surprise: Extra inputs/ });
    await assert.rejects(client().messages.stream(ask("x", { model: "mock:stream-error" })).finalMessage(),
      (error) => error instanceof Anthropic.APIError && /Overloaded/.test(error.message));
    await assert.rejects(client().messages.stream(ask("x", { model: "mock-cut" })).finalMessage());
  });

  test("what was received can be looked at, keys masked", async () => {
    await client().messages.create(ask("look at me"));
    const seen = await last("/v1/messages");
    assert.equal(seen.headers.authorization, "Bearer sk-g…0001"); // as of its version 1 it sends no x-api-key
    assert.equal(JSON.parse(seen.body).messages[0].content, "look at me");
  });
});

// ---- Gemini ----

describe("Gemini", () => {
  const client = (key = "sk-good-key-0001") => new GoogleGenAI({ apiKey: key,
    httpOptions: { baseUrl: mock.url, retryOptions: { attempts: 1 } } });
  const tools = [{ functionDeclarations: ["get_weather", "get_time"].map((name) => ({ name, description: name,
    parametersJsonSchema: { type: "object", properties: { city: { type: "string" } }, required: ["city"] } })) }];
  const ask = (contents, config = {}, model = "gemini-test") => ({ model, contents, config });
  async function gather(request) {
    const chunks = [];
    for await (const chunk of await client().models.generateContentStream(request)) chunks.push(chunk);
    return chunks;
  }
  const text = (chunks) => chunks.map((chunk) => chunk.text ?? "").join("");

  test("text, whole and streamed, with usage", async () => {
    const whole = await client().models.generateContent(ask("Hello é 😀", { systemInstruction: "Be brief." }));
    assert.equal(whole.text, "You said: Hello é 😀 [system: Be brief.]");
    assert.equal(whole.candidates[0].finishReason, "STOP");
    const chunks = await gather(ask("Hello é 😀", { systemInstruction: "Be brief." }));
    assert.ok(chunks.length > 3);
    assert.equal(text(chunks), whole.text);
    assert.deepEqual(chunks.at(-1).usageMetadata, whole.usageMetadata);
    const usage = whole.usageMetadata;
    assert.equal(usage.totalTokenCount, usage.promptTokenCount + usage.candidatesTokenCount);
  });

  test("a stream without alt=sse is one JSON array in pieces", async () => {
    const answer = await fetch(`${mock.url}/v1beta/models/gemini-test:streamGenerateContent?key=sk-good-key-0001`,
      { method: "POST", body: JSON.stringify({ contents: [{ parts: [{ text: "Hi" }] }] }) });
    const list = JSON.parse(await answer.text());
    assert.equal(list.map((chunk) => chunk.candidates[0].content.parts[0].text).join(""), "You said: Hi");
  });

  test("two parallel calls, with thoughts, and the signature is checked", async () => {
    for (const streamed of [false, true]) {
      const user = { role: "user", parts: [{ text: "call:2 please" }] };
      const config = { tools, thinkingConfig: { includeThoughts: true, thinkingBudget: 1024 } };
      const answers = streamed ? await gather(ask([user], config, "gemini-3-test"))
        : [await client().models.generateContent(ask([user], config, "gemini-3-test"))];
      const parts = answers.flatMap((answer) => answer.candidates[0].content.parts).filter((p) => p.text !== "");
      const calls = parts.filter((p) => p.functionCall);
      assert.deepEqual(calls.map((p) => [p.functionCall.name, p.functionCall.args.city]),
        [["get_weather", "city-1 \"é\""], ["get_time", "city-2 \"é\""]]);
      assert.ok(calls[0].thoughtSignature && !calls[1].thoughtSignature);
      assert.match(parts.filter((p) => p.thought).map((p) => p.text).join(""), new RegExp(SIGNED));
      assert.ok(answers.at(-1).usageMetadata.thoughtsTokenCount > 0);
      const history = (model) => ask([user, { role: "model", parts: model }, { role: "user", parts: [
        { functionResponse: { name: "get_weather", response: { result: "7 C" } } },
        { functionResponse: { name: "get_time", response: { at: 12 } } }] }], config, "gemini-3-test");
      const second = await client().models.generateContent(history(calls));
      assert.equal(second.text, 'Results: get_weather=7 C; get_time={"at":12}');
      const bare = calls.map(({ functionCall }) => ({ functionCall }));
      await assert.rejects(client().models.generateContent(history(bare)), { status: 400, message: /missing a thought_signature/ });
      bare[0].thoughtSignature = "QUJD";
      await assert.rejects(client().models.generateContent(history(bare)), { status: 400, message: /Corrupted/ });
    }
  });

  test("the SDK's own chat keeps what is signed", async () => {
    const chat = client().chats.create({ model: "gemini-3-test", config: { tools } });
    const first = await chat.sendMessage({ message: "call:2" });
    assert.equal(first.functionCalls.length, 2);
    const second = await chat.sendMessage({ message: first.functionCalls.map(({ name }) => (
      { functionResponse: { name, response: { result: "ok" } } })) });
    assert.equal(second.text, "Results: get_weather=ok; get_time=ok");
  });

  test("image, schema, cache, stops", async () => {
    const seen = await client().models.generateContent(ask([{ role: "user", parts: [{ text: "cache:64 see" },
      { inlineData: { mimeType: "image/png", data: PNG.toString("base64") } }] }]));
    assert.match(seen.text, new RegExp(`\\[image image/png ${PNG.length} bytes\\]`));
    assert.equal(seen.usageMetadata.cachedContentTokenCount, 64);
    const json = await client().models.generateContent(ask("x", { responseMimeType: "application/json", responseJsonSchema: SCHEMA }));
    assert.deepEqual(Object.keys(JSON.parse(json.text)), ["city", "days"]);
    assert.equal((await client().models.generateContent(ask("some words", { maxOutputTokens: 2 }))).candidates[0].finishReason, "MAX_TOKENS");
    assert.equal((await client().models.generateContent(ask("stop:filter"))).candidates[0].finishReason, "SAFETY");
    const blocked = await client().models.generateContent(ask("x", {}, "mock:kind=filter"));
    assert.equal(blocked.promptFeedback.blockReason, "PROHIBITED_CONTENT");
  });

  test("countTokens, embeddings, models", async () => {
    assert.ok((await client().models.countTokens({ model: "gemini-test", contents: "Hello" })).totalTokens > 0);
    const made = await client().models.embedContent({ model: "gemini-embed", contents: ["a", "b"], config: { outputDimensionality: 3 } });
    assert.deepEqual(made.embeddings.map((e) => e.values.length), [3, 3]);
    const names = [];
    for await (const model of await client().models.list()) names.push(model.name);
    assert.equal(names[0], "models/gemini-2.5-flash");
  });

  test("typed errors, in mid-stream too", async () => {
    await assert.rejects(client("sk-wrong").models.generateContent(ask("x")), { status: 400, message: /API_KEY_INVALID/ });
    await assert.rejects(client().models.generateContent(ask("x", {}, "mock:kind=day")), { status: 429, message: /PerDay/ });
    await assert.rejects(client().models.generateContent(ask("x", {}, "mock:kind=overloaded")), { status: 503 });
    await assert.rejects(gather(ask("x", {}, "mock:stream-error")), /overloaded/);
  });
});

// ---- Bedrock ----

describe("Bedrock", () => {
  const client = (credentials = AWS) => new bedrock.BedrockRuntimeClient({ region: "us-east-1", endpoint: mock.url,
    credentials, maxAttempts: 1, requestHandler: new NodeHttpHandler() }); // its own choice is HTTP/2
  const toolConfig = { tools: ["get_weather", "get_time"].map((name) => ({ toolSpec: { name, description: name,
    inputSchema: { json: { type: "object", properties: { city: { type: "string" } } } } } })) };
  const ask = (content, more = {}) => ({ modelId: "anthropic.claude-test-v1:0",
    messages: [{ role: "user", content: typeof content === "string" ? [{ text: content }] : content }], ...more });
  const converse = (input, who) => client(who).send(new bedrock.ConverseCommand(input));
  // A stream put together as its consumer would.
  async function gather(input) {
    const answer = await client().send(new bedrock.ConverseStreamCommand(input));
    const content = [];
    let stopReason, usage, pieces = 0;
    for await (const event of answer.stream) {
      const { contentBlockStart: start, contentBlockDelta: piece } = event;
      if (start) content[start.contentBlockIndex] = { toolUse: { ...start.start.toolUse, input: "" } };
      if (piece) {
        pieces++;
        const { text, toolUse, reasoningContent } = piece.delta, at = piece.contentBlockIndex;
        if (text !== undefined) content[at] = { text: (content[at]?.text ?? "") + text };
        if (toolUse) content[at].toolUse.input += toolUse.input;
        if (reasoningContent) {
          const block = content[at] ??= { reasoningContent: { reasoningText: { text: "" } } };
          block.reasoningContent.reasoningText.text += reasoningContent.text ?? "";
          if (reasoningContent.signature) block.reasoningContent.reasoningText.signature = reasoningContent.signature;
        }
      }
      if (event.messageStop) stopReason = event.messageStop.stopReason;
      if (event.metadata) usage = event.metadata.usage;
    }
    for (const block of content) if (block.toolUse) block.toolUse.input = JSON.parse(block.toolUse.input);
    return { output: { message: { role: "assistant", content } }, stopReason, usage, pieces };
  }

  test("text, whole and streamed, with usage", async () => {
    const input = ask("Hello é 😀", { system: [{ text: "Be brief." }] });
    const whole = await converse(input);
    assert.equal(whole.output.message.content[0].text, "You said: Hello é 😀 [system: Be brief.]");
    assert.equal(whole.stopReason, "end_turn");
    const streamed = await gather(input);
    assert.equal(streamed.output.message.content[0].text, whole.output.message.content[0].text);
    assert.deepEqual(streamed.usage, whole.usage);
    assert.ok(streamed.pieces > 3);
    assert.equal(whole.usage.totalTokens, whole.usage.inputTokens + whole.usage.outputTokens);
  });

  test("two parallel calls, with reasoning, and the signature is checked", async () => {
    for (const how of [converse, gather]) {
      const input = ask("call:2 please", { toolConfig, inferenceConfig: { maxTokens: 4096 },
        additionalModelRequestFields: { thinking: { type: "enabled", budget_tokens: 1024 } } });
      const first = (await how(input)).output.message;
      assert.deepEqual(first.content.map((b) => Object.keys(b)[0]), ["reasoningContent", "toolUse", "toolUse"]);
      assert.match(first.content[0].reasoningContent.reasoningText.text, new RegExp(SIGNED));
      assert.deepEqual(first.content[1].toolUse.input, { city: "city-1 \"é\"" });
      const history = (content) => ({ ...input, messages: [...input.messages, { role: "assistant", content },
        { role: "user", content: first.content.slice(1).map(({ toolUse }, i) => ({ toolResult: {
          toolUseId: toolUse.toolUseId, content: [i === 0 ? { text: "7 C" } : { json: { at: 12 } }] } })) }] });
      const second = await how(history(first.content));
      assert.equal(second.output.message.content.at(-1).text, 'Results: get_weather=7 C; get_time={"at":12}');
      const altered = structuredClone(first.content);
      altered[0].reasoningContent.reasoningText.text += "!";
      await assert.rejects(how(history(altered)), { name: "ValidationException", message: /Invalid `signature`/ });
      await assert.rejects(how(history(first.content.slice(1))), { name: "ValidationException", message: /thinking block/ });
    }
  });

  test("image, schema, cache, count", async () => {
    const seen = await converse(ask([{ text: "cache:64 see" }, { image: { format: "png", source: { bytes: PNG } } },
      { cachePoint: { type: "default" } }]));
    assert.match(seen.output.message.content[0].text, new RegExp(`\\[image image/png ${PNG.length} bytes\\]`));
    assert.deepEqual([seen.usage.cacheReadInputTokens, seen.usage.cacheWriteInputTokens], [64, 32]);
    const json = await converse(ask("x", { outputConfig: { textFormat: { type: "json_schema",
      structure: { jsonSchema: { schema: JSON.stringify(SCHEMA), name: "s" } } } } }));
    assert.deepEqual(Object.keys(JSON.parse(json.output.message.content[0].text)), ["city", "days"]);
    const { modelId, ...rest } = ask("Hello");
    const counted = await client().send(new bedrock.CountTokensCommand({ modelId, input: { converse: rest } }));
    assert.ok(counted.inputTokens > 0);
  });

  test("InvokeModel for Claude, whole and streamed", async () => {
    const body = JSON.stringify({ anthropic_version: "bedrock-2023-05-31", max_tokens: 100,
      messages: [{ role: "user", content: "Hello" }] });
    const input = { modelId: "anthropic.claude-test", body, contentType: "application/json" };
    const whole = await client().send(new bedrock.InvokeModelCommand(input));
    assert.equal(JSON.parse(Buffer.from(whole.body).toString()).content[0].text, "You said: Hello");
    const streamed = await client().send(new bedrock.InvokeModelWithResponseStreamCommand(input));
    const events = [];
    for await (const { chunk } of streamed.body) events.push(JSON.parse(Buffer.from(chunk.bytes).toString()));
    assert.equal(events.filter((e) => e.type === "content_block_delta").map((e) => e.delta.text).join(""), "You said: Hello");
    assert.ok(events.at(-1)["amazon-bedrock-invocationMetrics"]);
    await assert.rejects(client().send(new bedrock.InvokeModelCommand({ ...input, body: body.replace("{", '{"model":"x",') })),
      { name: "ValidationException", message: /model: Extra inputs/ });
  });

  test("signatures are verified", async () => {
    await assert.rejects(converse(ask("x"), { ...AWS, secretAccessKey: "wrong" }),
      (error) => error.$metadata.httpStatusCode === 403 && /does not match/.test(error.message));
    await assert.rejects(converse(ask("x"), { ...AWS, accessKeyId: "AKIDOTHER" }),
      (error) => error.$metadata.httpStatusCode === 403);
    const arn = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-test-v1:0";
    assert.equal((await converse({ ...ask("x"), modelId: arn })).stopReason, "end_turn");
  });

  test("typed errors, in mid-stream too", async () => {
    await assert.rejects(converse({ ...ask("x"), modelId: "mock:kind=rate" }), bedrock.ThrottlingException);
    await assert.rejects(converse({ ...ask("x"), modelId: "mock:kind=overloaded" }), bedrock.ServiceUnavailableException);
    await assert.rejects(converse({ ...ask("x"), modelId: "mock-error-424" }), bedrock.ModelErrorException);
    await assert.rejects(gather({ ...ask("x"), modelId: "mock:stream-error" }), { name: "ServiceUnavailableException" });
    await assert.rejects(converse({ ...ask("x"), messages: [{ role: "assistant", content: [{ text: "x" }] }] }),
      bedrock.ValidationException);
  });
});

// ---- OpenAI, Azure ----

const openaiTools = (flat) => ["get_weather", "get_time"].map((name) => {
  const f = { name, description: name, parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] } };
  return flat ? { type: "function", strict: false, ...f } : { type: "function", function: f };
});

for (const [name, make] of [
  ["OpenAI", (key) => new OpenAI({ baseURL: `${mock.url}/v1`, apiKey: key, maxRetries: 0 })],
  ["Azure", (key) => new AzureOpenAI({ endpoint: mock.url, apiKey: key, apiVersion: "2024-10-21", deployment: "talk-dep", maxRetries: 0 })],
]) describe(name, () => {
  const client = (key = "sk-good-key-0001") => make(key);
  const ask = (content, more = {}) => ({ model: "talk-think", messages: [{ role: "user", content }], ...more });
  const chat = (body, who) => client(who).chat.completions.create(body);

  test("text, whole and streamed, with usage", async () => {
    const body = ask("Hello é 😀");
    body.messages.unshift({ role: "system", content: "Be brief." });
    const whole = await chat(body);
    assert.equal(whole.choices[0].message.content, "You said: Hello é 😀 [system: Be brief.]");
    const stream = client().chat.completions.stream({ ...body, stream_options: { include_usage: true } });
    let pieces = 0;
    stream.on("content", () => pieces++);
    const made = await stream.finalChatCompletion();
    assert.equal(made.choices[0].message.content, whole.choices[0].message.content);
    assert.deepEqual(made.usage, whole.usage);
    assert.ok(pieces > 3);
  });

  test("two parallel calls", async () => {
    const wish = ask("call:2 please", { tools: openaiTools(false), reasoning_effort: "low" });
    for (const streamed of [false, true]) {
      const first = streamed ? await client().chat.completions.stream(wish).finalChatCompletion() : await chat(wish);
      const { message, finish_reason } = first.choices[0];
      assert.equal(finish_reason, "tool_calls");
      assert.deepEqual(message.tool_calls.map((c) => [c.function.name, JSON.parse(c.function.arguments).city]),
        [["get_weather", "city-1 \"é\""], ["get_time", "city-2 \"é\""]]);
      const results = message.tool_calls.map((c, i) => ({ role: "tool", tool_call_id: c.id, content: i === 0 ? "7 C" : "12:00" }));
      const second = await chat({ ...wish, messages: [...wish.messages, message, ...results] });
      assert.equal(second.choices[0].message.content, "Results: get_weather=7 C; get_time=12:00");
      assert.ok(second.usage.completion_tokens_details.reasoning_tokens > 0);
      await assert.rejects(chat({ ...wish, messages: [...wish.messages, message, results[0]] }),
        { status: 400, message: /did not have response messages/ });
    }
  });

  test("image, schema, cache, stops", async () => {
    const seen = await chat(ask([{ type: "text", text: "cache:64 see" },
      { type: "image_url", image_url: { url: `data:image/png;base64,${PNG.toString("base64")}` } }]));
    assert.match(seen.choices[0].message.content, new RegExp(`\\[image image/png ${PNG.length} bytes\\]`));
    assert.equal(seen.usage.prompt_tokens_details.cached_tokens, 64);
    const json = await chat(ask("x", { response_format: { type: "json_schema", json_schema: { name: "s", strict: true, schema: SCHEMA } } }));
    assert.deepEqual(Object.keys(JSON.parse(json.choices[0].message.content)), ["city", "days"]);
    assert.equal((await chat(ask("some long words", { max_tokens: 2 }))).choices[0].finish_reason, "length");
    assert.equal((await chat(ask("stop:filter"))).choices[0].finish_reason, "content_filter");
  });

  test("typed errors, in mid-stream too", async () => {
    await assert.rejects(chat(ask("x"), "sk-wrong"), OpenAI.AuthenticationError);
    await assert.rejects(chat(ask("x", { surprise: 1 })), { status: 400, message: /surprise/ });
    const failing = async (word, more = {}) => client().chat.completions.create(ask("x", more), { headers: { "x-mock": word } });
    await assert.rejects(failing("kind=rate"), OpenAI.RateLimitError);
    await assert.rejects(failing("kind=overloaded"), { status: 503 });
    await assert.rejects(async () => {
      for await (const chunk of await failing("stream-error", { stream: true })) assert.ok(chunk);
    }, OpenAI.APIError);
  });
});

describe("Responses", () => {
  const client = () => new OpenAI({ baseURL: `${mock.url}/v1`, apiKey: "sk-good-key-0001", maxRetries: 0 });
  const ask = (input, more = {}) => ({ model: "talk", input, ...more });

  test("text, whole and streamed", async () => {
    const whole = await client().responses.create(ask("Hello é", { instructions: "Be brief." }));
    assert.equal(whole.output_text, "You said: Hello é [system: Be brief.]");
    const made = await client().responses.stream(ask("Hello é", { instructions: "Be brief." })).finalResponse();
    assert.equal(made.output_text, whole.output_text);
    assert.deepEqual(made.usage, whole.usage);
  });

  test("two parallel calls; reasoning is sealed and must come back", async () => {
    const wish = ask("call:2", { tools: openaiTools(true), reasoning: { effort: "low", summary: "auto" },
      include: ["reasoning.encrypted_content"], store: false });
    for (const streamed of [false, true]) {
      const first = streamed ? await client().responses.stream(wish).finalResponse() : await client().responses.create(wish);
      assert.deepEqual(first.output.map((item) => item.type), ["reasoning", "function_call", "function_call"]);
      assert.match(first.output[0].summary[0].text, new RegExp(SIGNED));
      assert.equal(JSON.parse(first.output[1].arguments).city, "city-1 \"é\"");
      const history = (items) => ({ ...wish, input: [{ role: "user", content: "call:2" }, ...items,
        ...first.output.slice(1).map((c) => ({ type: "function_call_output", call_id: c.call_id, output: "ok" }))] });
      const second = await client().responses.create(history(first.output));
      assert.equal(second.output_text, "Results: get_weather=ok; get_time=ok");
      await assert.rejects(client().responses.create(history(first.output.slice(1))), { status: 400, message: /without its required 'reasoning'/ });
      const altered = structuredClone(first.output);
      altered[0].encrypted_content = "QUJD";
      await assert.rejects(client().responses.create(history(altered)), { status: 400, message: /could not be verified/ });
    }
  });

  test("image, schema, errors", async () => {
    const seen = await client().responses.create(ask([{ role: "user", content: [{ type: "input_text", text: "see" },
      { type: "input_image", image_url: `data:image/png;base64,${PNG.toString("base64")}`, detail: "auto" }] }]));
    assert.match(seen.output_text, new RegExp(`\\[image image/png ${PNG.length} bytes\\]`));
    const json = await client().responses.create(ask("x", { text: { format: { type: "json_schema", name: "s", schema: SCHEMA } } }));
    assert.deepEqual(Object.keys(JSON.parse(json.output_text)), ["city", "days"]);
    const cut = await client().responses.create(ask("some long words", { max_output_tokens: 2 }));
    assert.equal(cut.incomplete_details.reason, "max_output_tokens");
    await assert.rejects(async () => {
      for await (const event of await client().responses.create(ask("x", { stream: true }), { headers: { "x-mock": "stream-error" } }))
        assert.ok(event);
    }, /had an error/);
  });
});

// ---- who has no SDK here: SAP, token endpoints, Google's platform, a plain API ----

const post = (where, body, headers = {}) => fetch(mock.url + where, { method: "POST", headers,
  body: typeof body === "string" || body instanceof URLSearchParams ? body : JSON.stringify(body) });
const CLIENT = { client_id: "sb-1!b|x", client_secret: "s e/cret" };
const form = (fields) => new URLSearchParams(fields);

describe("SAP AI Core", () => {
  const converse = { messages: [{ role: "user", content: [{ text: "It's fine" }] }] };
  let bearer;
  const token = async () => (await (await post("/oauth/token", form({ grant_type: "client_credentials", ...CLIENT }))).json()).access_token;
  const headers = () => ({ authorization: `Bearer ${bearer}`, "ai-resource-group": "default" });
  const lines = async (answer) => (await answer.text()).split("\n\n").filter(Boolean).map((line) => line.replace(/^data: /, ""));

  test("tokens: by form or Basic, counted, expiring", async () => {
    const asked = (await (await fetch(`${mock.url}/mock/stats`)).json()).tokens_asked;
    assert.equal((await post("/oauth/token", form({ grant_type: "client_credentials", client_id: "x", client_secret: "y" }))).status, 401);
    const basic = Buffer.from(`${CLIENT.client_id}:${CLIENT.client_secret}`).toString("base64");
    const answer = await post("/oauth/token", form({ grant_type: "client_credentials" }), { authorization: `Basic ${basic}` });
    assert.equal((await answer.json()).token_type, "bearer");
    bearer = await token();
    assert.equal((await (await fetch(`${mock.url}/mock/stats`)).json()).tokens_asked, asked + 3);
    assert.equal((await post("/v2/inference/deployments/d1/converse", converse, headers())).status, 200);
    assert.equal((await post("/v2/inference/deployments/d1/converse", converse, { authorization: `Bearer ${bearer}` })).status, 403);
    await post("/mock/expire", "");
    assert.equal((await post("/v2/inference/deployments/d1/converse", converse, headers())).status, 401);
    bearer = await token();
  });

  test("deployments are listed", async () => {
    const answer = await fetch(`${mock.url}/v2/lm/deployments?scenarioId=foundation-models&status=RUNNING`, { headers: headers() });
    const list = await answer.json();
    assert.equal(list.count, 3);
    assert.equal(list.resources[0].details.resources.backendDetails.model.name, "anthropic--claude-4.5-sonnet");
    assert.equal((await post(new URL(list.resources[0].deploymentUrl).pathname + "/converse", converse, headers())).status, 200);
  });

  test("streams are lines of text, as JSON or as Python writes it, or frames when asked", async () => {
    const stream = (accept = {}) => post("/v2/inference/deployments/d1/converse-stream", converse, { ...headers(), ...accept });
    const plain = await lines(await stream());
    const text = (list) => list.map((e) => e.contentBlockDelta?.delta.text ?? "").join("");
    assert.equal(text(plain.map((line) => JSON.parse(line))), "You said: It's fine");
    const python = await lines(await stream({ "x-mock": "python" }));
    assert.equal(python[0], "{'messageStart': {'role': 'assistant'}}");
    assert.ok(python.some((line) => /'text': "[^"]*'/.test(line)), "an apostrophe is in double quotes");
    const both = { messages: [{ role: "user", content: [{ text: 'It\'s "é"' }] }] };
    const escaped = await lines(await post("/v2/inference/deployments/d1/converse-stream", both, { ...headers(), "x-mock": "python" }));
    assert.ok(escaped.some((line) => line.includes(`'text': '\\'s "é"'`)), "both quotes: a backslash");
    const frames = await stream({ accept: "application/vnd.amazon.eventstream" });
    assert.equal(frames.headers.get("content-type"), "application/vnd.amazon.eventstream");
    const invoke = await lines(await post("/v2/inference/deployments/d1/invoke-with-response-stream",
      { anthropic_version: "bedrock-2023-05-31", max_tokens: 9, messages: [{ role: "user", content: "Hi" }] }, headers()));
    assert.equal(JSON.parse(invoke[0]).type, "message_start");
  });

  test("GPT and Gemini deployments", async () => {
    const gpt = await post("/v2/inference/deployments/d2/chat/completions?api-version=2024-12-01-preview",
      { messages: [{ role: "user", content: "Hi" }] }, headers());
    assert.equal((await gpt.json()).choices[0].message.content, "You said: Hi");
    const gemini = await post("/v2/inference/deployments/d3/models/gemini-2.5-flash:generateContent",
      { contents: [{ parts: [{ text: "Hi" }] }] }, headers());
    assert.equal((await gemini.json()).candidates[0].content.parts[0].text, "You said: Hi");
  });
});

describe("Google's platform and Entra ID", () => {
  const b64 = (value) => Buffer.from(value).toString("base64url");
  function assertion(key = mock.privateKey, more = {}) {
    const now = Math.floor(Date.now() / 1000);
    const head = `${b64('{"alg":"RS256","typ":"JWT"}')}.${b64(JSON.stringify({ iss: "me@x.iam", scope: "s", aud: `${mock.url}/token`,
      iat: now, exp: now + 3600, ...more }))}`;
    return `${head}.${crypto.sign("RSA-SHA256", Buffer.from(head), key).toString("base64url")}`;
  }
  const google = (jwt) => post("/token", form({ grant_type: "urn:ietf:params:oauth:grant-type:jwt-bearer", assertion: jwt }));

  test("an assertion is verified; the token opens the platform's paths", async () => {
    const given = await (await google(assertion())).json();
    const other = crypto.generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey;
    assert.equal((await google(assertion(other))).status, 400);
    assert.equal((await google(assertion(undefined, { exp: 1 }))).status, 400);
    const base = "/v1/projects/p/locations/global/publishers";
    const headers = { authorization: `Bearer ${given.access_token}` };
    const gemini = () => post(`${base}/google/models/gemini-2.5-flash:generateContent`, { contents: [{ parts: [{ text: "Hi" }] }] }, headers);
    assert.equal((await (await gemini()).json()).candidates[0].content.parts[0].text, "You said: Hi");
    const claude = await post(`${base}/anthropic/models/claude-x:rawPredict`, { anthropic_version: "vertex-2023-10-16",
      max_tokens: 9, messages: [{ role: "user", content: "Hi" }] }, headers);
    assert.equal((await claude.json()).content[0].text, "You said: Hi");
    headers.authorization = "Bearer other";
    assert.equal((await gemini()).status, 401);
  });

  test("Entra ID's token opens Azure", async () => {
    const given = await (await post("/tenant-1/oauth2/v2.0/token", form({ grant_type: "client_credentials", ...CLIENT,
      scope: "https://cognitiveservices.azure.com/.default" }))).json();
    const answer = await post("/openai/deployments/dep/chat/completions?api-version=2024-10-21",
      { messages: [{ role: "user", content: "Hi" }] }, { authorization: `Bearer ${given.access_token}` });
    assert.equal(answer.status, 200);
  });
});

test("an API that is no model's", async () => {
  assert.equal((await fetch(`${mock.url}/plain/weather`)).status, 401);
  for (const [query, headers] of [["?token=sk-good-key-0001", {}], ["", { "x-plain-token": "sk-good-key-0001" }],
    ["", { authorization: "Token sk-good-key-0001" }]]) {
    const answer = await (await post(`/plain/weather${query}`, { a: 1 }, headers)).json();
    assert.deepEqual([answer.ok, answer.key, answer.body], [true, "0001", { a: 1 }]);
  }
});

test("big answers, and answers that never come", { timeout: 30000 }, async () => {
  const client = new Anthropic({ baseURL: mock.url, apiKey: "sk-good-key-0001", maxRetries: 0 });
  const body = (model) => ({ model, max_tokens: 99, messages: [{ role: "user", content: "Hello" }] });
  assert.equal((await client.messages.create(body("mock-big-1m"))).content[0].text.length, 1024 * 1024);
  assert.equal((await client.messages.stream(body("mock-big-100k")).finalMessage()).content[0].text.length, 100 * 1024);
  for (const model of ["mock-hang", "mock-hang-stream"]) {
    const stop = new AbortController(), stream = client.messages.stream(body(model), { signal: stop.signal });
    if (model === "mock-hang") setTimeout(() => stop.abort(), 100);
    else stream.on("streamEvent", (event) => { if (event.type === "content_block_start") stop.abort(); });
    await assert.rejects(stream.finalMessage(), Anthropic.APIUserAbortError);
  }
});

test("any split of a stream is the same stream", async () => {
  const client = new Anthropic({ baseURL: mock.url, apiKey: "sk-good-key-0001", maxRetries: 0 });
  const body = { model: "m", max_tokens: 99, messages: [{ role: "user", content: "Hello é 😀" }] };
  const text = async (split) => (await client.messages.stream(body, { headers: { "x-mock": split } }).finalMessage()).content[0].text;
  assert.equal(await text("split=1"), await text("split=100000"));
});
