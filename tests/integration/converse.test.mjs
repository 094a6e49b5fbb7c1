// Converse as the AWS SDK speaks it: requests that it makes are read, and it accepts the answers and the
// binary streams that we write; messages that its codec writes are ours too.  Without the network: the
// SDK's handler is a function, the conversion is `sluice convert`.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { createRequire } from "node:module";
import path from "node:path";
import { Readable } from "node:stream";
import { test } from "node:test";
import { BedrockRuntimeClient, ConverseCommand, ConverseStreamCommand } from "@aws-sdk/client-bedrock-runtime";
import { programs } from "./lib/stack.mjs";

const require = createRequire(import.meta.resolve("@aws-sdk/client-bedrock-runtime"));
const { EventStreamCodec } = require("@smithy/core/event-streams");
const { HttpResponse } = require("@smithy/core/protocols");
const utf8 = [(bytes) => Buffer.from(bytes).toString(), (text) => Uint8Array.from(Buffer.from(text))];

function convert(kind, from, to, input, ...more) {
  const done = spawnSync(path.join(programs, "sluice"), ["convert", kind, "--from", from, "--to", to, ...more], { input, maxBuffer: 64 << 20 });
  assert.equal(done.status, 0, String(done.stderr));
  return done.stdout;
}

// A client whose provider is answer(request): [status, headers, body].
function client(answer) {
  return new BedrockRuntimeClient({
    region: "us-east-1",
    maxAttempts: 1,
    credentials: { accessKeyId: "AKIDEXAMPLE", secretAccessKey: "secret" },
    requestHandler: {
      async handle(request) {
        const [statusCode, headers, body] = answer(request);
        return { response: new HttpResponse({ statusCode, headers, body: Readable.from(body) }) };
      },
    },
  });
}

const pieces = (bytes, step) => Array.from({ length: Math.ceil(bytes.length / step) }, (_, i) => bytes.subarray(i * step, (i + 1) * step));
const converse = (body) => client(() => [200, { "content-type": "application/json" }, [body]]);
const streaming = (bytes, step = 11) => client(() => [200, { "content-type": "application/vnd.amazon.eventstream" }, pieces(bytes, step)]);

async function gather(bytes) {
  const { stream } = await streaming(bytes).send(new ConverseStreamCommand({ modelId: "m", messages: [] }));
  const events = [];
  for await (const event of stream) events.push(event);
  return events;
}

const chunk = (delta, finish_reason = null, more = {}) => `data: ${JSON.stringify({ id: "chatcmpl-1", object: "chat.completion.chunk", created: 1,
  model: "m", choices: [{ index: 0, delta, finish_reason }], ...more })}\n\n`;

test("the SDK reads our streams", async () => {
  const chat = [chunk({ role: "assistant", content: "" }), chunk({ reasoning_content: "hm" }), chunk({ content: "Hé" }), chunk({ content: "llo" }),
    chunk({ tool_calls: [{ index: 0, id: "call_1", type: "function", function: { name: "f", arguments: "" } }] }),
    chunk({ tool_calls: [{ index: 0, function: { arguments: '{"city":' } }] }), chunk({ tool_calls: [{ index: 0, function: { arguments: '"Oslo"}' } }] }),
    chunk({ tool_calls: [{ index: 1, id: "call_2", type: "function", function: { name: "g", arguments: "" } }] }),
    chunk({}, "tool_calls", { usage: { prompt_tokens: 110, completion_tokens: 20, total_tokens: 130, prompt_tokens_details: { cached_tokens: 100 } } }),
    "data: [DONE]\n\n"].join("");
  const events = await gather(convert("stream", "openai-chat", "converse", chat));
  assert.deepEqual(events[0], { messageStart: { role: "assistant" } });

  const blocks = [];
  for (const { contentBlockStart: start, contentBlockDelta: delta, contentBlockStop: stop } of events) {
    if (start) blocks[start.contentBlockIndex] = { ...start.start.toolUse, input: "" };
    if (delta) {
      const block = (blocks[delta.contentBlockIndex] ??= { text: "", thought: "" });
      if (delta.delta.text !== undefined) block.text += delta.delta.text;
      if (delta.delta.reasoningContent) block.thought += delta.delta.reasoningContent.text;
      if (delta.delta.toolUse) block.input += delta.delta.toolUse.input;
    }
    if (stop) assert.ok(blocks[stop.contentBlockIndex]);
  }
  assert.deepEqual(blocks, [{ text: "", thought: "hm" }, { text: "Héllo", thought: "" },
    { toolUseId: "call_1", name: "f", input: '{"city":"Oslo"}' }, { toolUseId: "call_2", name: "g", input: "{}" }]);
  assert.equal(events.at(-2).messageStop.stopReason, "tool_use");
  const { usage } = events.at(-1).metadata;
  assert.deepEqual([usage.inputTokens, usage.cacheReadInputTokens, usage.outputTokens, usage.totalTokens], [10, 100, 20, 130]);
});

test("the SDK throws on our errors in a stream", async () => {
  const limited = convert("stream", "openai-chat", "converse",
    chunk({ content: "a" }) + 'data: {"error":{"message":"Rate limit reached","type":"requests","code":"rate_limit_exceeded"}}\n\n');
  await assert.rejects(gather(limited), (e) => e.name === "ThrottlingException" && /Rate limit/.test(e.message));
  await assert.rejects(gather(convert("stream", "openai-chat", "converse", chunk({ content: "a" }))), (e) => e.name === "InternalServerException");
});

test("we read the messages that the SDK's codec writes", () => {
  const codec = new EventStreamCodec(...utf8);
  const string = (value) => ({ type: "string", value });
  const event = (name, payload) => Buffer.from(codec.encode({
    headers: { ":event-type": string(name), ":content-type": string("application/json"), ":message-type": string("event"),
      trace: { type: "long", value: { bytes: new Uint8Array(8) } }, when: { type: "timestamp", value: new Date(0) } },
    body: Buffer.from(JSON.stringify(payload)) }));
  const out = String(convert("stream", "converse", "openai-chat", Buffer.concat([event("messageStart", { role: "assistant" }),
    event("contentBlockDelta", { contentBlockIndex: 0, delta: { text: "Héllo" } }), event("contentBlockStop", { contentBlockIndex: 0 }),
    event("messageStop", { stopReason: "end_turn" }), event("metadata", { usage: { inputTokens: 1, outputTokens: 2, totalTokens: 3 } })])));
  assert.match(out, /"content":"Héllo"/);
  assert.match(out, /"finish_reason":"stop"/);
  assert.match(out, /\[DONE\]/);

  // and it ours, to the byte
  const [first] = gatherMessages(codec, convert("stream", "sap-converse", "converse", "data: {'messageStart': {'role': 'assistant'}}\n\n"));
  assert.deepEqual(Object.fromEntries(Object.entries(first.headers).map(([name, { value }]) => [name, value])),
    { ":event-type": "messageStart", ":content-type": "application/json", ":message-type": "event" });
  assert.deepEqual(JSON.parse(utf8[0](first.body)), { role: "assistant" });
});

function gatherMessages(codec, bytes) {
  const messages = [];
  for (let at = 0; at < bytes.length;) {
    const length = bytes.readUInt32BE(at);
    messages.push(codec.decode(Uint8Array.from(bytes.subarray(at, at + length))));
    at += length;
  }
  return messages;
}

test("the SDK reads our whole answers", async () => {
  const answer = convert("response", "openai-chat", "converse", JSON.stringify({ id: "chatcmpl-1", object: "chat.completion", created: 1, model: "m",
    choices: [{ index: 0, finish_reason: "tool_calls", message: { role: "assistant", content: "7 C", reasoning_content: "hm",
      tool_calls: [{ id: "call_1", type: "function", function: { name: "f", arguments: '{"n": 12345678901234567}' } }] } }],
    usage: { prompt_tokens: 30, completion_tokens: 12, total_tokens: 42 } }));
  const got = await converse(answer).send(new ConverseCommand({ modelId: "m", messages: [] }));
  assert.equal(got.stopReason, "tool_use");
  assert.equal(got.usage.totalTokens, 42);
  const kinds = got.output.message.content.map((block) => Object.keys(block).find((key) => block[key] !== undefined));
  assert.deepEqual(kinds.sort(), ["reasoningContent", "text", "toolUse"]);
  assert.match(String(answer), /12345678901234567/); // not as a double
});

test("the SDK's requests are read whole", async () => {
  let body, sent;
  const spy = client((request) => {
    sent = request;
    body = typeof request.body === "string" ? request.body : Buffer.from(request.body).toString();
    return [200, { "content-type": "application/json" }, ['{"output":{"message":{"role":"assistant","content":[]}},"stopReason":"end_turn"}']];
  });
  await spy.send(new ConverseCommand({
    modelId: "anthropic.claude-3-haiku-20240307-v1:0",
    system: [{ text: "Be brief." }, { cachePoint: { type: "default" } }],
    messages: [
      { role: "user", content: [{ text: "See" }, { image: { format: "png", source: { bytes: Buffer.from("iVBORw0KGgo=", "base64") } } },
        { document: { format: "pdf", name: "a", source: { bytes: Buffer.from("%PDF-") } } }] },
      { role: "assistant", content: [{ reasoningContent: { reasoningText: { text: "r", signature: "s" } } },
        { toolUse: { toolUseId: "t1", name: "f", input: { city: "Oslo" } } }] },
      { role: "user", content: [{ toolResult: { toolUseId: "t1", content: [{ json: { t: 7 } }], status: "success" } }] }],
    inferenceConfig: { maxTokens: 128, temperature: 0.5, stopSequences: ["X"] },
    toolConfig: { tools: [{ toolSpec: { name: "f", description: "d", inputSchema: { json: { type: "object" } } } }], toolChoice: { auto: {} } },
    additionalModelRequestFields: { top_k: 5 },
  }));
  assert.equal(sent.path, "/model/anthropic.claude-3-haiku-20240307-v1%3A0/converse");
  const chat = JSON.parse(convert("request", "converse", "openai-chat", body, "--upstream-model", "gpt"));
  assert.deepEqual(chat.messages.map((m) => m.role), ["system", "user", "assistant", "tool"]);
  assert.equal(chat.messages[1].content[1].image_url.url, "data:image/png;base64,iVBORw0KGgo=");
  assert.equal(chat.messages[2].tool_calls[0].function.arguments, '{"city":"Oslo"}');
  assert.equal(chat.messages[3].content, '{"t":7}');
  assert.equal(chat.tools[0].function.name, "f");
});
