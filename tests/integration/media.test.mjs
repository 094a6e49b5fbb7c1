// Images and documents that a request names by address, for providers that need the bytes: refused with
// what to do, or fetched where the upstream says so; never from inside, never without end.

import assert from "node:assert/strict";
import http from "node:http";
import { once } from "node:events";
import { after, before, test } from "node:test";
import { Provider, dialects, send } from "./lib/provider.mjs";
import { PNG } from "./lib/clients.mjs";
import { Stack, until } from "./lib/stack.mjs";

const SECONDS = 4; // that a media server may take
const PDF = Buffer.from("%PDF-1.4\n" + "x".repeat(3000) + "\n%%EOF\n");
const LONG = Buffer.concat([PNG, Buffer.alloc(90000)]); // three are what body_memory leaves room for
const answers = {
  gemini: { candidates: [{ content: { role: "model", parts: [{ text: "seen" }] }, finishReason: "STOP" }] },
  bedrock: { output: { message: { role: "assistant", content: [{ text: "seen" }] } }, stopReason: "end_turn",
    usage: { inputTokens: 1, outputTokens: 1, totalTokens: 2 } },
  bedrock_invoke: { id: "m", type: "message", role: "assistant", model: "m", content: [{ type: "text", text: "seen" }],
    stop_reason: "end_turn", usage: { input_tokens: 1, output_tokens: 1 } },
  openai_chat: { id: "c", object: "chat.completion", created: 1, model: "m",
    choices: [{ index: 0, message: { role: "assistant", content: "seen" }, finish_reason: "stop" }] },
};

let stack, provider, media, base, asked = [], waiting = [];

// What stands at the addresses.
function serve(request, response) {
  asked.push({ url: request.url, headers: request.headers });
  const give = (type, bytes) => response.writeHead(200, { ...(type ? { "content-type": type } : {}), "content-length": bytes.length }).end(bytes);
  const { pathname } = new URL(request.url, base);
  if (pathname === "/a.png") return give("application/octet-stream", PNG);
  if (pathname === "/a.pdf") return give("application/pdf", PDF);
  if (pathname === "/a.txt") return give("text/plain; charset=utf-8", Buffer.from('Say "Ö"'));
  if (pathname === "/page") return give("text/html", Buffer.from("<html>"));
  if (pathname === "/large") return response.writeHead(200, { "content-type": "image/png", "content-length": 1 << 30 }).write(PNG);
  if (pathname === "/long") return give("image/png", LONG);
  if (pathname === "/moved") return response.writeHead(302, { location: "/a.png" }).end();
  if (pathname === "/hang") return waiting.push(response);
  if (pathname === "/half") {
    response.writeHead(200, { "content-type": "image/png" });
    response.write(LONG);
    return waiting.push(response);
  }
  response.writeHead(404).end();
}

const upstream = (name, protocol, more = {}) => stack.manage("POST", "upstreams", { name, protocol, auth: "none", allow_private: true,
  base_url: `${provider.url}/${protocol}`, models: [name], ...more });

before(async () => {
  stack = await Stack.start({ settings: { workers: 1, body_memory: "1m",
    media_allow_private: "yes", media_fetch_seconds: SECONDS, media_fetch_bytes: "100k" }, mock: null });
  stack.command(["project", "add", "--name", "first"]);
  stack.token = stack.command(["token", "add", "--project", "first", "--json"]).token;
  provider = await Provider.start();
  provider.answer = (seen, response) => response.writeHead(200, { "content-type": "application/json" })
    .end(JSON.stringify(answers[seen.url.split("/")[1]]));
  media = http.createServer(serve).listen(0, "127.0.0.1");
  await once(media, "listening");
  base = `http://127.0.0.1:${media.address().port}`;
  for (const [protocol, model] of [["gemini", "gemini"], ["bedrock", "converse"], ["bedrock_invoke", "invoke"]]) {
    await upstream(`${model}-fetches`, protocol, { fetch_media: true });
    await upstream(`${model}-plain`, protocol);
  }
});
after(async () => {
  media?.closeAllConnections();
  media?.close();
  provider?.stop();
  assert.equal(await stack?.stop(), 0);
});

function chat(model, content, { escaped = false } = {}) {
  asked = [];
  provider.seen.length = 0;
  let body = JSON.stringify({ model, messages: [{ role: "system", content: "s" }, { role: "user", content: "Hello" },
    { role: "assistant", content: "Hi" }, { role: "user", content }] });
  if (escaped) body = body.replaceAll("/", "\\/"); // as PHP writes it
  return send(stack.url + "/v1/chat/completions", { body, headers: dialects["openai-chat"].key(stack.token) });
}
const image = (where, more = {}) => [{ type: "text", text: "Look" }, { type: "image_url", image_url: { url: base + where, ...more } }];

function refuses(got, status, pattern, param = "messages[3].content[1].image_url.url") {
  assert.equal(got.status, status, got.text);
  assert.match(got.json.error.message, pattern);
  assert.equal(got.json.error.param ?? null, param);
  assert.doesNotMatch(got.text + stack.logs(), /secret/);
  assert.equal(provider.seen.length, 0);
}

test("an address is refused by default, and the place is told", async () => {
  for (const model of ["gemini-plain", "converse-plain", "invoke-plain"])
    refuses(await chat(model, image("/a.png?secret")), 400, /^messages\[3\]\.content\[1\].*send them in base64.*fetch_media/);
  refuses(await chat("gemini-plain", image("/a.png?secret"), { escaped: true }), 400, /^messages\[3\]\.content\[1\]/);
  assert.equal(asked.length, 0);
  const body = { max_tokens: 9, model: "invoke-plain", messages: [{ role: "user", content: [{ type: "image", source: { type: "url", url: base + "/a.png" } }] }] };
  const got = await send(stack.url + "/v1/messages", { body, headers: dialects.anthropic.key(stack.token) });
  assert.equal(got.status, 400, got.text);
  assert.match(got.json.error.message, /^messages\[0\]\.content\[0\]\.source\.url/);
});

test("images and documents arrive as bytes", async () => {
  const png = PNG.toString("base64"), pdf = PDF.toString("base64");
  const content = [...image("/a.png?secret", { detail: "auto" }), { type: "image_url", image_url: { url: base + "/a.pdf" } },
    { type: "image_url", image_url: { url: base + "/moved" } }];
  for (const escaped of [false, true]) {
    assert.equal((await chat("gemini-fetches", content, { escaped })).json.choices[0].message.content, "seen");
    assert.deepEqual(provider.last.json.contents.at(-1).parts.slice(1).map((p) => p.inlineData),
      [{ mimeType: "image/png", data: png }, { mimeType: "application/pdf", data: pdf }, { mimeType: "image/png", data: png }]);
  }
  assert.deepEqual(asked.map((a) => a.url).sort(), ["/a.pdf", "/a.png", "/a.png?secret", "/moved"]);
  for (const { headers } of asked) assert.deepEqual(Object.keys(headers).sort(), ["accept", "accept-encoding", "host", "user-agent"]);

  assert.equal((await chat("converse-fetches", content)).status, 200);
  const [, first, second] = provider.last.json.messages.at(-1).content;
  assert.deepEqual([first.image.format, first.image.source.bytes, second.document.format, second.document.source.bytes], ["png", png, "pdf", pdf]);

  assert.equal((await chat("invoke-fetches", content)).status, 200);
  assert.deepEqual(provider.last.json.messages.at(-1).content.slice(1, 3).map((p) => [p.type, p.source.media_type, p.source.data]),
    [["image", "image/png", png], ["document", "application/pdf", pdf]]);
});

test("between formats of one kin only the addresses change", async () => {
  const source = (where) => ({ type: "url", url: base + where });
  const messages = [{ role: "user", content: [{ type: "image", source: source("/a.png"), unknown: 1.0 }, { type: "document", source: source("/a.txt") },
    { type: "text", text: base + "/a.png" }] }, { role: "assistant", content: [{ type: "tool_use", id: "t", name: "f", input: {} }] },
    { role: "user", content: [{ type: "tool_result", tool_use_id: "t", content: [{ type: "image", source: source("/a.png") }] }] }];
  asked = [];
  const got = await send(stack.url + "/v1/messages", { body: { max_tokens: 9, model: "invoke-fetches", messages },
    headers: dialects.anthropic.key(stack.token) });
  assert.equal(got.status, 200, got.text);
  const png = { type: "base64", media_type: "image/png", data: PNG.toString("base64") };
  messages[0].content[0].source = messages[2].content[0].content[0].source = png;
  messages[0].content[1].source = { type: "text", media_type: "text/plain", data: 'Say "Ö"' };
  assert.deepEqual(provider.last.json.messages, messages);
  assert.equal(asked.length, 2, "each address once");
});

test("a document's address is fetched for OpenAI's chat, which takes images' alone", async () => {
  await upstream("chat-fetches", "openai_chat", { fetch_media: true });
  asked = [];
  const part = (type, where) => ({ type, source: { type: "url", url: base + where } });
  const got = await send(stack.url + "/v1/messages", { headers: dialects.anthropic.key(stack.token), body: { max_tokens: 9, model: "chat-fetches",
    messages: [{ role: "user", content: [part("document", "/a.pdf"), part("image", "/a.png")] }] } });
  assert.equal(got.status, 200, got.text);
  const [file, picture] = provider.last.json.messages.at(-1).content;
  assert.equal(file.file.file_data, `data:application/pdf;base64,${PDF.toString("base64")}`);
  assert.equal(picture.image_url.url, base + "/a.png");
  assert.deepEqual(asked.map((a) => a.url), ["/a.pdf"]);
});

test("what cannot be had is told with its place and its host alone", async () => {
  refuses(await chat("gemini-fetches", image("/gone?secret")), 400, /^messages\[3\]\.content\[1\].*: 127\.0\.0\.1 answered with status 404/);
  refuses(await chat("converse-fetches", image("/page")), 400, /'text\/html'/);
  refuses(await chat("gemini-fetches", image("/large")), 400, /more than the 102400 bytes/);
  refuses(await chat("gemini-fetches", image("/hang?secret")), 400, new RegExp(`not give all within ${SECONDS}000 ms`));
  const many = Array.from({ length: 21 }, (_, i) => image(`/a.png?${i}`)[1]);
  refuses(await chat("gemini-fetches", many), 400, /At most 20/, null);
  assert.equal(asked.length, 0);
  refuses(await chat("gemini-fetches", many.map(() => image("/a.png")[1])), 400, /At most 20/, null);
  refuses(await chat("gemini-fetches", Array(3).fill(image("/long")[1])), 400, /more than the 204800 bytes/, null);
  assert.equal(asked.length, 1);
});

test("who can be told the address is asked instead, and a later candidate fetches", async () => {
  await upstream("shared-openai", "openai_chat", { models: ["both"] });
  await upstream("shared-gemini", "gemini", { models: ["both"], weight: 1000 });
  const got = await chat("both", image("/a.png"));
  assert.equal(got.headers["x-sluice-upstream"], "shared-openai", got.text);
  assert.equal(provider.last.json.messages.at(-1).content[1].image_url.url, base + "/a.png");

  const usual = provider.answer;
  provider.answer = (seen, response) => seen.url.startsWith("/openai") ? response.writeHead(503).end() : usual(seen, response);
  for (const [model, where, good] of [["later", "/a.png", true], ["later-gone", "/gone", false]]) {
    await upstream(`${model}-openai`, "openai_chat", { models: [model], weight: 1000 });
    await upstream(`${model}-gemini`, "gemini", { models: [model], fetch_media: true });
    await upstream(`${model}-plain`, "bedrock", { models: [model] });
    const later = await chat(model, image(where));
    assert.deepEqual(asked.map((a) => a.url), [where]);
    assert.match(provider.seen[0].url, /^\/openai_chat/);
    if (good) {
      assert.equal(later.headers["x-sluice-upstream"], "later-gemini", later.text);
      assert.equal(provider.last.json.contents.at(-1).parts[1].inlineData.data, PNG.toString("base64"));
    } else {
      assert.equal(later.status, 400, later.text); // of the last that could not be asked
      assert.match(later.json.error.message, /^messages\[3\]\.content\[1\]/);
      assert.equal(provider.seen.length, 1);
    }
  }
  provider.answer = usual;
});

test("others go on while a media server hangs, and too many are told to come back", async () => {
  waiting = [];
  const hung = Array.from({ length: 30 }, (_, i) => chat("gemini-fetches", image(`/hang?${i}`)));
  await until("as many as may are waiting", 5000, () => waiting.length === 16);
  const others = await Promise.all(Array.from({ length: 20 }, () => chat("gemini-plain", "Hello")));
  assert.ok(others.every((o) => o.status === 200));
  assert.equal(waiting.length, 16);
  for (const response of waiting) response.writeHead(200, { "content-type": "image/png" }).end(PNG);
  const all = await Promise.all(hung);
  assert.deepEqual([200, 503].map((status) => all.filter((a) => a.status === status).length), [16, 14]);
  const refused = all.find((a) => a.status === 503);
  assert.match(refused.json.error.message, /fetches too many/);
  assert.ok(Number(refused.headers["retry-after"]) >= 1);
});

test("all that is fetched is held within a ceiling, and let go", async () => {
  for (const many of [6, 1, 2]) {
    waiting = [];
    const all = Array.from({ length: many }, (_, i) => chat("gemini-fetches", image(`/half?${i}`)));
    await until("all were asked", 5000, () => waiting.length === many);
    await until("some found no room", 5000, () => many < 6 || waiting.filter((w) => w.destroyed).length > 0);
    for (const response of waiting) response.end();
    const got = (await Promise.all(all)).map((a) => a.status);
    if (many === 6) assert.ok(got.includes(503) && got.every((s) => s === 200 || s === 503), `${got}`);
    else assert.ok(got.every((s) => s === 200), `${got}`);
  }
});

test("a candidate that waits for a media server holds no other candidate up", async () => {
  const usual = provider.answer;
  waiting = [];
  provider.answer = (seen, response) => seen.url.startsWith("/openai") ? response.writeHead(503).end() : usual(seen, response);
  for (const model of ["first", "second"]) {
    await upstream(`${model}-openai`, "openai_chat", { models: [model], weight: 1000 });
    await upstream(`${model}-gemini`, "gemini", { models: [model], fetch_media: true });
  }
  const hung = chat("first", image("/hang"));
  await until("it waits", 5000, () => waiting.length === 1);
  assert.equal((await chat("second", image("/a.png"))).status, 200);
  assert.equal(waiting[0].destroyed, false);
  waiting[0].writeHead(200, { "content-type": "image/png" }).end(PNG);
  assert.equal((await hung).status, 200);
  provider.answer = usual;
});

test("addresses inside are refused unless the operator allows them", async () => {
  const closed = await Stack.start({ settings: { workers: 1 }, mock: null });
  try {
    closed.command(["project", "add", "--name", "first"]);
    const { token } = closed.command(["token", "add", "--project", "first", "--json"]);
    await closed.manage("POST", "upstreams", { name: "g", protocol: "gemini", auth: "none", allow_private: true, fetch_media: true,
      base_url: provider.url + "/gemini", models: ["g"] });
    asked = [];
    for (const host of [base, base.replace("127.0.0.1", "localhost"), base.replace("127.0.0.1", "[::ffff:127.0.0.1]"), "http://169.254.169.254"]) {
      const got = await send(closed.url + "/v1/chat/completions", { headers: dialects["openai-chat"].key(token),
        body: { model: "g", messages: [{ role: "user", content: [{ type: "image_url", image_url: { url: `${host}/a.png` } }] }] } });
      assert.equal(got.status, 400, got.text);
      assert.match(got.json.error.message, /has no public address/);
    }
    assert.equal(asked.length, 0);
  } finally {
    assert.equal(await closed.stop(), 0);
  }
});
