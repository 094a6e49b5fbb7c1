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
