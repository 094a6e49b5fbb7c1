// A provider that says, byte for byte, what a test wants; and what clients of every dialect send,
// without any SDK: for tests that look at the bytes.

import { once } from "node:events";
import http from "node:http";
import { crc32 } from "node:zlib";

// answer: what the next requests get.  seen: all that came.
export class Provider {
  seen = [];
  open = 0; // answers that are not at their end
  answer = (request, response) => response.writeHead(500).end();

  static async start() {
    const it = new Provider();
    it.server = http.createServer({ keepAliveTimeout: 60000 }, async (request, response) => {
      const pieces = [];
      try {
        for await (const piece of request) pieces.push(piece);
      } catch {
        return;
      }
      const body = Buffer.concat(pieces);
      const seen = { method: request.method, url: request.url, headers: request.headers, body,
        get json() { return JSON.parse(body); } };
      it.seen.push(seen);
      it.open++;
      response.on("close", () => it.open--);
      try {
        await it.answer(seen, response);
      } catch {
        response.destroy();
      }
    }).listen(0, "127.0.0.1");
    await once(it.server, "listening");
    it.url = `http://127.0.0.1:${it.server.address().port}`;
    return it;
  }

  get last() { return this.seen.at(-1); }

  stop() {
    this.server.closeAllConnections();
    this.server.close();
  }

  // A whole answer.
  gives(body, { status = 200, headers = {} } = {}) {
    const bytes = typeof body === "string" || Buffer.isBuffer(body) ? body : JSON.stringify(body);
    this.answer = (seen, response) => response.writeHead(status, { "content-type": "application/json", ...headers }).end(bytes);
  }

  // A stream.  sizes: of the pieces, a number or a function.  then: instead of a regular end.
  streams(bytes, { type = "text/event-stream", size = Infinity, headers = {}, then = (response) => response.end() } = {}) {
    const next = typeof size === "function" ? size : () => size;
    this.answer = async (seen, response) => {
      const all = Buffer.from(bytes);
      response.writeHead(200, { "content-type": type, ...headers });
      response.flushHeaders();
      for (let at = 0; at < all.length;) {
        const end = Math.min(all.length, at + next());
        response.write(all.subarray(at, end));
        at = end;
      }
      then(response);
    };
  }
}

// ---- AWS event-stream ----

export function frame(headers, payload) {
  const head = Buffer.concat(Object.entries(headers).flatMap(([name, value]) => {
    const size = Buffer.alloc(2);
    size.writeUInt16BE(Buffer.byteLength(value));
    return [Buffer.from([name.length]), Buffer.from(name), Buffer.from([7]), size, Buffer.from(value)];
  }));
  const body = Buffer.from(typeof payload === "string" ? payload : JSON.stringify(payload));
  const all = Buffer.alloc(16 + head.length + body.length);
  all.writeUInt32BE(all.length, 0);
  all.writeUInt32BE(head.length, 4);
  all.writeUInt32BE(crc32(all.subarray(0, 8)), 8);
  head.copy(all, 12);
  body.copy(all, 12 + head.length);
  all.writeUInt32BE(crc32(all.subarray(0, all.length - 4)), all.length - 4);
  return all;
}
export const eventFrame = (type, payload) => frame({ ":event-type": type, ":content-type": "application/json",
  ":message-type": "event" }, payload);

export function frames(bytes) {
  const found = [];
  for (let at = 0; at < bytes.length;) {
    const size = bytes.readUInt32BE(at), head = bytes.readUInt32BE(at + 4), all = bytes.subarray(at, at + size), headers = {};
    if (all.length !== size) throw new Error(`a frame of ${size} bytes, ${all.length} there`);
    if (crc32(all.subarray(0, 8)) !== all.readUInt32BE(8)) throw new Error("the prelude's CRC is wrong");
    if (crc32(all.subarray(0, size - 4)) !== all.readUInt32BE(size - 4)) throw new Error("the frame's CRC is wrong");
    for (let h = 12; h < 12 + head;) {
      const nameEnd = h + 1 + all[h], valueAt = nameEnd + 3, valueEnd = valueAt + all.readUInt16BE(nameEnd + 1);
      headers[all.toString("utf8", h + 1, nameEnd)] = all.toString("utf8", valueAt, valueEnd);
      h = valueEnd;
    }
    found.push({ headers, data: JSON.parse(all.subarray(12 + head, size - 4)) });
    at += size;
  }
  return found;
}

// ---- what clients send ----

const hello = "Hello";
export const dialects = {
  "openai-chat": {
    path: () => "/v1/chat/completions",
    body: (model, stream) => ({ model, stream, messages: [{ role: "user", content: hello }] }),
    key: (token) => ({ authorization: `Bearer ${token}` }),
  },
  "openai-responses": {
    path: () => "/v1/responses",
    body: (model, stream) => ({ model, stream, input: hello }),
    key: (token) => ({ authorization: `Bearer ${token}` }),
  },
  anthropic: {
    path: () => "/v1/messages",
    body: (model, stream) => ({ model, stream, max_tokens: 100, messages: [{ role: "user", content: hello }] }),
    key: (token) => ({ "x-api-key": token, "anthropic-version": "2023-06-01" }),
  },
  gemini: {
    path: (model, stream) => `/v1beta/models/${encodeURIComponent(model)}:${stream ? "streamGenerateContent?alt=sse" : "generateContent"}`,
    body: () => ({ contents: [{ role: "user", parts: [{ text: hello }] }] }),
    key: (token) => ({ "x-goog-api-key": token }),
  },
  converse: {
    path: (model, stream) => `/model/${encodeURIComponent(model)}/converse${stream ? "-stream" : ""}`,
    body: () => ({ messages: [{ role: "user", content: [{ text: hello }] }] }),
    key: (token) => ({ authorization: `Bearer ${token}` }),
  },
  "bedrock-invoke": {
    path: (model, stream) => `/model/${encodeURIComponent(model)}/invoke${stream ? "-with-response-stream" : ""}`,
    body: () => ({ anthropic_version: "bedrock-2023-05-31", max_tokens: 100, messages: [{ role: "user", content: hello }] }),
    key: (token) => ({ authorization: `Bearer ${token}` }),
  },
};

// The protocol of the upstream that speaks a format, and its address.
export const upstreamOf = {
  "openai-chat": "openai_chat", "openai-responses": "openai", azure: "azure", openrouter: "openrouter", anthropic: "anthropic",
  gemini: "gemini", converse: "bedrock", "bedrock-invoke": "bedrock_invoke", "sap-converse": "sap_converse", "sap-invoke": "sap_invoke",
};

const agent = new http.Agent({ keepAlive: true, maxSockets: 64 });

// One request, its answer whole, as bytes.  fetch() would decode, add headers, and wait.
export function send(url, { method = "POST", headers = {}, body, signal, onData } = {}) {
  const text = body === undefined || typeof body === "string" || Buffer.isBuffer(body) ? body : JSON.stringify(body);
  return new Promise((done, failed) => {
    const request = http.request(url, { method, agent, signal,
      headers: { ...(text === undefined ? {} : { "content-type": "application/json", "content-length": Buffer.byteLength(text) }), ...headers } },
    (answer) => {
      const pieces = [];
      const finish = (broken) => {
        const bytes = Buffer.concat(pieces);
        done({ status: answer.statusCode, headers: answer.headers, bytes, broken, text: bytes.toString(),
          get json() { return JSON.parse(bytes); } });
      };
      answer.on("data", (piece) => {
        pieces.push(piece);
        onData?.(piece, answer);
      });
      answer.on("end", () => finish(false));
      answer.on("error", () => finish(true));
    });
    request.on("error", failed);
    request.end(text);
  });
}

// ---- what providers say: an answer in each format, whole, and as the pieces of a stream ----

const data = (value) => `data: ${JSON.stringify(value)}\n\n`;
const named = (value) => `event: ${value.type}\n${data(value)}`;
const invoked = (value) => eventFrame("chunk", { bytes: Buffer.from(JSON.stringify(value)).toString("base64") });
const chunk = (delta, finish = null) => ({ id: "chatcmpl-1", object: "chat.completion.chunk", created: 1, model: "m",
  choices: [{ index: 0, delta, finish_reason: finish }] });
const message = (content, stop, usage) => ({ id: "msg_1", type: "message", role: "assistant", model: "m", content, stop_reason: stop,
  stop_sequence: null, usage });
const block = (delta) => ({ type: "content_block_delta", index: 0, delta: { type: "text_delta", text: delta } });
const claude = (event) => ({
  whole: (text, usage) => message([{ type: "text", text }], "end_turn", usage),
  start: ({ output_tokens, ...usage }) => [event({ type: "message_start", message: message([], null, { ...usage, ...(output_tokens ? { output_tokens: 1 } : {}) }) }),
    event({ type: "content_block_start", index: 0, content_block: { type: "text", text: "" } })],
  piece: (text) => event(block(text)),
  end: (usage) => [event({ type: "content_block_stop", index: 0 }),
    event({ type: "message_delta", delta: { stop_reason: "end_turn", stop_sequence: null }, usage: { output_tokens: usage.output_tokens,
      ...(usage.output_tokens_details ? { output_tokens_details: usage.output_tokens_details } : {}) } }), event({ type: "message_stop" })],
});
const candidate = (text, finish) => ({ candidates: [{ index: 0, ...(finish ? { finishReason: finish } : {}),
  content: { role: "model", parts: [{ text }] } }], modelVersion: "m", responseId: "r" });

export const says = {
  "openai-chat": {
    whole: (text, usage) => ({ id: "chatcmpl-1", object: "chat.completion", created: 1, model: "m", usage,
      choices: [{ index: 0, finish_reason: "stop", message: { role: "assistant", content: text } }] }),
    start: () => [data(chunk({ role: "assistant", content: "" }))],
    piece: (text) => data(chunk({ content: text })),
    end: (usage) => [data(chunk({}, "stop")), ...(usage ? [data({ ...chunk({}), choices: [], usage })] : []), "data: [DONE]\n\n"],
  },
  anthropic: claude(named),
  gemini: {
    whole: (text, usage) => ({ ...candidate(text, "STOP"), usageMetadata: usage }),
    start: () => [],
    piece: (text) => data(candidate(text)),
    end: (usage) => [data({ ...candidate("", "STOP"), usageMetadata: usage })],
  },
  converse: {
    whole: (text, usage) => ({ output: { message: { role: "assistant", content: [{ text }] } }, stopReason: "end_turn", usage, metrics: { latencyMs: 1 } }),
    start: () => [eventFrame("messageStart", { role: "assistant" })],
    piece: (text) => eventFrame("contentBlockDelta", { contentBlockIndex: 0, delta: { text } }),
    end: (usage) => [eventFrame("contentBlockStop", { contentBlockIndex: 0 }), eventFrame("messageStop", { stopReason: "end_turn" }),
      eventFrame("metadata", { usage, metrics: { latencyMs: 1 } })],
    type: "application/vnd.amazon.eventstream",
  },
  "bedrock-invoke": { ...claude(invoked), type: "application/vnd.amazon.eventstream" },
};
says.openrouter = says["openai-chat"];

export function streamOf(format, texts, usage) {
  const it = says[format];
  return Buffer.concat([...it.start(usage ?? {}), ...texts.map(it.piece), ...it.end(usage)].map((piece) => Buffer.from(piece)));
}

// ---- what a client of each dialect makes of a stream: {text, stop, usage, error, pings} ----

const lines = (bytes) => String(bytes).split("\n\n").filter((e) => e !== "").map((e) => ({ name: /^event: (.*)$/m.exec(e)?.[1] ?? "",
  data: /^data: ?(.*)$/m.exec(e)?.[1], comment: /^:/.test(e) }));
function hearClaude(list) {
  const of = (type) => list.filter((e) => e.type === type);
  return { text: of("content_block_delta").map((e) => e.delta.text ?? "").join(""), stop: of("message_delta")[0]?.delta.stop_reason,
    usage: of("message_delta")[0]?.usage.output_tokens, error: of("error")[0]?.error, pings: of("ping").length, complete: list.at(-1)?.type === "message_stop" };
}
const hearGemini = (list) => ({ text: list.flatMap((e) => e.candidates?.[0]?.content?.parts ?? []).map((p) => p.text ?? "").join(""),
  stop: list.findLast((e) => e.candidates?.[0]?.finishReason)?.candidates[0].finishReason,
  usage: list.findLast((e) => e.usageMetadata)?.usageMetadata.candidatesTokenCount, error: list.at(-1)?.error, complete: !list.at(-1)?.error });
export const hears = {
  "openai-chat": (bytes) => {
    const all = lines(bytes), list = all.filter((e) => e.data && e.data !== "[DONE]").map((e) => JSON.parse(e.data));
    return { text: list.map((e) => e.choices?.[0]?.delta?.content ?? "").join(""), stop: list.findLast((e) => e.choices?.[0]?.finish_reason)?.choices[0].finish_reason,
      usage: list.findLast((e) => e.usage)?.usage.completion_tokens, error: list.at(-1)?.error, pings: all.filter((e) => e.comment).length,
      complete: all.at(-1)?.data === "[DONE]" };
  },
  "openai-responses": (bytes) => {
    const all = lines(bytes), list = all.filter((e) => e.data).map((e) => JSON.parse(e.data)), last = list.at(-1);
    return { text: list.filter((e) => e.type === "response.output_text.delta").map((e) => e.delta).join(""),
      stop: last?.response?.incomplete_details?.reason ?? last?.response?.status, usage: last?.response?.usage?.output_tokens,
      error: last?.type === "error" ? last.error ?? last : last?.response?.error, pings: all.filter((e) => e.comment).length,
      complete: ["response.completed", "response.incomplete"].includes(last?.type) };
  },
  anthropic: (bytes) => hearClaude(lines(bytes).filter((e) => e.data).map((e) => JSON.parse(e.data))),
  gemini: (bytes) => {
    const all = lines(bytes);
    return { ...hearGemini(all.filter((e) => e.data).map((e) => JSON.parse(e.data))), pings: all.filter((e) => e.comment).length };
  },
  "gemini-array": (bytes) => hearGemini(JSON.parse(bytes)),
  converse: (bytes) => {
    const list = frames(bytes), of = (type) => list.filter((f) => f.headers[":event-type"] === type).map((f) => f.data);
    const failed = list.find((f) => f.headers[":message-type"] !== "event");
    return { text: of("contentBlockDelta").map((d) => d.delta.text ?? "").join(""), stop: of("messageStop")[0]?.stopReason,
      usage: of("metadata")[0]?.usage.outputTokens, error: failed && { type: failed.headers[":exception-type"], ...failed.data },
      complete: list.at(-1)?.headers[":event-type"] === "metadata" };
  },
  "bedrock-invoke": (bytes) => {
    const list = frames(bytes), failed = list.find((f) => f.headers[":message-type"] !== "event");
    return { ...hearClaude(list.filter((f) => f.data.bytes).map((f) => JSON.parse(Buffer.from(f.data.bytes, "base64")))),
      ...(failed ? { error: { type: failed.headers[":exception-type"], ...failed.data } } : {}) };
  },
};
