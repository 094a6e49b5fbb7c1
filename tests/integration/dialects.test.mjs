// Every conversion vector over HTTP, through the running gateway: what arrives at the provider, what
// the client gets, and streams whole, byte by byte and in pieces of random size.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { dialects, Provider, send, upstreamOf } from "./lib/provider.mjs";
import { Stack, until } from "./lib/stack.mjs";
import { bytes, compare, compareStream, formatOf, json, manifest } from "./lib/vectors.mjs";

let stack, provider;

before(async () => {
  stack = await Stack.start({ settings: { workers: 1 }, mock: null });
  stack.command(["project", "add", "--name", "first"]);
  stack.token = stack.command(["token", "add", "--project", "first", "--json"]).token;
  provider = await Provider.start();
});
after(async () => {
  provider?.stop();
  assert.equal(await stack?.stop(), 0);
});

const SAP = "/v2/inference/deployments/d1";

// An upstream for that vector alone.
async function upstreamFor(vector, format, model) {
  const { options = {} } = vector, name = `vector-${vector.id}`;
  await stack.manage("POST", "upstreams", { name, protocol: upstreamOf[format], auth: "none", allow_private: true,
    base_url: provider.url + (format.startsWith("sap") ? SAP : ""), models: [model],
    ...(options.default_max_tokens ? { max_output_tokens: options.default_max_tokens } : {}),
    ...(options.model_thinking ? { thinking: options.model_thinking } : {}) });
  provider.seen.length = 0;
  return name;
}

function ask(vector, format, model, body, stream, headers = {}) {
  const d = dialects[format];
  return send(stack.url + d.path(model, stream), { body,
    headers: { ...d.key(stack.token), ...vector.options?.request_headers, ...headers } });
}

const rowOf = (id) => until("its row", 10000, async () => (await stack.rows()).find((r) => r.id === id));

const kinds = {
  async request(vector) {
    const { options = {} } = vector, model = options.upstream_model ?? "gw", input = { ...json(vector.input), model };
    await upstreamFor(vector, formatOf(vector.to), model);
    provider.gives({ error: { message: "seen", type: "invalid_request_error" } }, { status: 400 });
    const got = await ask(vector, formatOf(vector.from), model, input, input.stream);
    assert.equal(provider.seen.length, 1, got.text);
    const { last } = provider;
    compare(last.json, json(vector.expect), { subset: false });
    assert.equal(last.headers["content-type"], "application/json");
    assert.equal(last.headers["content-length"], String(last.body.length));
    if (options.url) assert.equal(last.url.split("?")[0], options.url);
    const dropped = (got.headers["x-sluice-dropped"] ?? "").split(/,\s*/);
    for (const name of options.dropped ?? []) assert.ok(dropped.includes(name), `${name} is not told as dropped: ${dropped}`);
    assert.equal(got.status, 400, "and its answer comes back in the client's dialect");
    assert.equal(typeof got.json.error.message, "string");
  },
  async reject(vector) {
    const input = json(vector.input), expect = json(vector.expect);
    await upstreamFor(vector, formatOf(vector.to), input.model);
    const got = await ask(vector, formatOf(vector.from), input.model, input, false);
    assert.equal(got.status, expect.status);
    compare(got.json, expect.body, { subset: true });
    assert.equal(provider.seen.length, 0, "nobody was asked");
  },
  async response(vector) {
    const model = vector.options?.client_model ?? "gw", to = formatOf(vector.to);
    await upstreamFor(vector, formatOf(vector.from), model);
    provider.gives(bytes(vector.input));
    const got = await ask(vector, to, model, dialects[to].body(model, false), false);
    assert.equal(got.status, 200, got.text);
    assert.equal(got.headers["content-type"], "application/json");
    compare(got.json, json(vector.expect), { subset: true });
    const row = await rowOf(got.headers["x-request-id"]);
    assert.deepEqual([row.usage, row.status, row.ended_by], ["reported", 200, "done"]);
  },
  async error(vector) {
    const input = json(vector.input), expect = json(vector.expect), to = formatOf(vector.to);
    await upstreamFor(vector, formatOf(vector.from), "gw");
    provider.gives(input.body, { status: input.status, headers: input.headers });
    const got = await ask(vector, to, "gw", dialects[to].body("gw", false), false);
    assert.equal(got.status, expect.status);
    for (const [name, value] of Object.entries(expect.headers ?? {})) assert.equal(got.headers[name], value, name);
    compare(got.json, expect.body, { subset: true });
    assert.doesNotMatch(got.text, /sk-/);
  },
  async stream(vector) {
    const { options = {} } = vector, model = options.client_model ?? "gw", to = formatOf(vector.to), from = formatOf(vector.from);
    const input = bytes(vector.input), expect = bytes(vector.expect);
    const type = vector.input.endsWith(".hex") ? "application/vnd.amazon.eventstream" : "text/event-stream";
    await upstreamFor(vector, from, model);
    const body = { ...dialects[to].body(model, true), ...(options.include_usage ? { stream_options: { include_usage: true } } : {}) };
    for (const [how, size] of [["whole", Infinity], ["bytes", 1], ["random", () => 1 + Math.floor(Math.random() * 60)]]) {
      provider.streams(input, { type, size });
      const got = await ask(vector, to, model, body, true);
      assert.equal(got.status, 200, got.text);
      assert.match(got.headers["content-type"], /^text\/event-stream/);
      try {
        compareStream(got.text, expect, vector.to);
      } catch (e) {
        e.message = `${how}: ${e.message}`;
        throw e;
      }
      assert.equal(got.broken, false);
    }
    if (from.startsWith("sap")) assert.equal(provider.last.url, `${SAP}/invoke-with-response-stream`);
  },
};

for (const vector of manifest) {
  if (vector.kind === "table") continue; // unit tests: tests/unit/wire
  test(`vector ${vector.id}: ${vector.kind} ${vector.from} to ${vector.to}`, async () => {
    try {
      await kinds[vector.kind](vector);
    } finally {
      await stack.manage("PATCH", `upstreams/vector-${vector.id}`, { is_active: false });
    }
  });
}
