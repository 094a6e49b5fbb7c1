// Answers that fail before their first content are completed by another provider, and the client's bytes
// show nothing of it: every kind of failure, every client's dialect, streams and whole answers.
// SLUICE_LONG=1: 1,000 runs.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { once } from "node:events";
import net from "node:net";
import { dialects, frames, send } from "./lib/provider.mjs";
import { freePort, Stack } from "./lib/stack.mjs";

const RUNS = process.env.SLUICE_LONG ? 1000 : 150;
const AT_ONCE = 8;
const HANG_MS = 400;

// What the first provider does, in the mock's words.
const faults = {
  "status-500": "status=500", "status-503": "status=503", "status-429": "status=429", "status-401": "status=401",
  "status-402": "status=402", "status-403": "status=403", "status-408": "status=408", "status-502": "status=502",
  "status-529": "status=529", refused: "", reset: "",
  "kind-overloaded": "kind=overloaded", "kind-credit": "kind=credit",
  garbage: "garbage", empty: "empty", page: "page", "error-200": "error-200", hang: "hang",
  "hang-head": "hang-stream,after=0", "hang-prelude": "hang-stream,after=1",
  "cut-head": "cut,after=0", "cut-prelude": "cut,after=1",
  "error-first": "stream-error,after=0", "error-prelude": "stream-error,after=1",
  "blank-head": "blank,after=0", "blank-prelude": "blank,after=1",
  "badjson-head": "badjson,after=0",
};
const ofStreams = /-(head|prelude|first)$/; // the others spoil whole answers too
const providers = { chat: "openai_chat", responses: "openai", anthropic: "anthropic", gemini: "gemini", converse: "bedrock", invoke: "bedrock_invoke" };
const clients = Object.keys(dialects);

let stack, resets;
before(async () => {
  // short rests, so that the one that fails is asked in nearly every run
  stack = await Stack.start({ settings: { workers: 1, rest_default: "0s", rest_invalid: "1s", rest_hint_cap: "1s", rest_max: "1s" },
    seed: false });
  stack.command(["project", "add", "--name", "first"]);
  stack.token = stack.command(["token", "add", "--project", "first", "--json"]).token;
  resets = net.createServer((client) => client.once("data", () => client.resetAndDestroy()).on("error", () => {})).listen(0, "127.0.0.1");
  await once(resets, "listening");
  const elsewhere = { refused: `http://127.0.0.1:${await freePort()}`, reset: `http://127.0.0.1:${resets.address().port}` };
  const upstream = (name, protocol, models, more) => stack.manage("POST", "upstreams", { name, protocol, models: [models],
    auth: "none", allow_private: true, base_url: stack.mock.url, ...more });
  for (const [q, protocol] of Object.entries(providers)) await upstream(`good-${q}`, protocol, `talk-*-for-${q}`,
    { extra_headers: ["X-Mock: talk"], priority: 1 });
  for (const [p, protocol] of Object.entries(providers))
    for (const [fault, words] of Object.entries(faults))
      await upstream(`${fault}-${p}`, protocol, `talk-${fault}-at-${p}-for-*`, { breaker_failures: 0,
        base_url: elsewhere[fault] ?? stack.mock.url,
        extra_headers: [`X-Mock: talk,${words}`], ...(words.startsWith("hang") ? { first_byte_timeout_ms: HANG_MS } : {}) });
});
after(async () => {
  resets?.close();
  assert.equal(await stack?.stop(), 0);
});

function* combinations() {
  for (const p of Object.keys(providers))
    for (const q of Object.keys(providers))
      for (const client of clients)
        for (const fault of Object.keys(faults))
          for (const stream of [true, false]) {
            if (!stream && ofStreams.test(fault)) continue;
            // Gemini's first piece is content
            if (p === "gemini" && fault.endsWith("prelude")) continue;
            yield { p, q, client, fault, stream };
          }
}
// The faults in turn, and of each combinations from everywhere.
function chosen() {
  const of = Object.fromEntries(Object.keys(faults).map((f) => [f, []]));
  for (const one of combinations()) of[one.fault].push(one);
  const prime = 101, lists = Object.values(of); // no list's length is a multiple of it
  return Array.from({ length: Math.ceil(RUNS * 1.25) }, (_, i) => {
    const list = lists[i % lists.length];
    return list[(Math.floor(i / lists.length) * prime + i) % list.length];
  });
}

// Ids, times and padding aside.
function plain(client, stream, bytes) {
  const text = stream && ["converse", "bedrock-invoke"].includes(client)
    ? frames(bytes).map((f) => JSON.stringify({ ...f, data: f.data.bytes ? String(Buffer.from(f.data.bytes, "base64")) : f.data })).join("\n")
    : String(bytes);
  return text.replace(/"(created|created_at|completed_at|latencyMs)":\d+/g, '"$1":0').replace(/\\?"p\\?":\\?"[^"]*"/g, '"p":""')
    .replace(/"obfuscation":"[^"]*"/g, '"obfuscation":""').replace(/(\\?"(?:id|item_id|responseId)\\?":\\?")[^"\\]*/g, "$1")
    .replace(/"(x-|:?)request-id":"[^"]*"/g, "");
}

async function run({ p, q, client, fault, stream }) {
  const d = dialects[client], model = `talk-${fault}-at-${p}-for-${q}`;
  const ask = (headers = {}) => send(stack.url + d.path(model, stream), { body: d.body(model, stream),
    headers: { ...d.key(stack.token), ...headers } });
  const what = `${client} ${stream ? "stream" : "whole"}, ${fault} at ${p}, then ${q}`;
  const [got, undisturbed] = await Promise.all([ask(), ask({ "x-upstream-name": `good-${q}` })]);
  assert.equal(undisturbed.status, 200, `${what}: ${undisturbed.text}`);
  assert.equal(got.status, 200, `${what}: ${got.text}`);
  assert.equal(got.headers["x-sluice-upstream"], `good-${q}`, what);
  assert.equal(got.broken, false, what);
  assert.equal(got.headers["content-type"], undisturbed.headers["content-type"], what);
  assert.equal(plain(client, stream, got.bytes), plain(client, stream, undisturbed.bytes), what);
  return Number(got.headers["x-sluice-attempts"]) > 1 ? { fault, client, stream } : null;
}

test(`${RUNS} failures that no client notices`, { timeout: 600000 }, async (t) => {
  const left = chosen(), met = [];
  let over = 0;
  await Promise.all(Array.from({ length: AT_ONCE }, async () => {
    // those that rest just now are passed over, which proves nothing
    while (met.length < RUNS && left.length > 0) {
      const one = await run(left.pop());
      if (one !== null) met.push(one);
      over++;
    }
  }));
  t.diagnostic(`${over} requests, ${met.length} met the one that fails`);
  assert.ok(met.length >= RUNS, `only ${met.length} of ${over} met the one that fails`);
  assert.deepEqual(Object.keys(faults).filter((f) => !met.some((m) => m.fault === f)), []);
  assert.deepEqual(clients.filter((c) => !met.some((m) => m.client === c && m.stream)), []);
});
