// matrix.test.mjs - each official client to each provider's protocol, through the gateway.  The mock
// plays the providers: it was written from the protocols' descriptions and is believed by the same
// clients (mock.test.mjs), so it is no echo of the converters that are tried here.

import test from "node:test";
import assert from "node:assert/strict";
import crypto from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { Stack, until } from "./lib/stack.mjs";
import { clients, PNG, SCHEMA, TOOLS } from "./lib/clients.mjs";

const KEY = "sk-good-key-0001", AWS = "AKIDMOCK:secret/of+the/mock", CLIENT = { id: "sb-1!b|x", secret: "s/cret" };
const AT_ONCE = 6;

// ---- the providers ----

// Each has a mock of its own that serves nothing else: what came through unconverted is a 404 there.
// model: what the mock is to be; `path`: of the base URL, after the mock's address.  A deployment of SAP
// is one model: what it is to do stands in its address.
const providers = {
  openai: { plays: "openai", path: "/v1", model: "talk-think" },
  openai_chat: { plays: "openai-chat", path: "/v1", model: "talk-think" },
  azure: { plays: "azure", path: "", auth: "api-key", model: "talk-think" },
  openrouter: { plays: "openrouter", path: "/api/v1", model: "talk" },
  anthropic: { plays: "anthropic", path: "/v1", auth: "x-api-key", model: "claude-sonnet-4-5" },
  gemini: { plays: "gemini", path: "/v1beta", auth: "x-goog-api-key", model: "gemini-3-pro" },
  vertex: { plays: "vertex", path: "/v1/projects/p/locations/global", auth: "google-account", model: "gemini-3-pro" },
  bedrock: { plays: "bedrock", path: "", auth: "aws-sigv4", model: "anthropic.claude-sonnet-4-5-v1:0" },
  bedrock_invoke: { plays: "bedrock", path: "", auth: "aws-sigv4", model: "anthropic.claude-sonnet-4-5-v1:0" },
  sap_openai: { plays: "sap", path: "/v2/inference/deployments/", auth: "sap-oauth", model: "talk-think" },
  sap_converse: { plays: "sap", path: "/v2/inference/deployments/", auth: "sap-oauth", model: "anthropic--claude-4.5-sonnet" },
  sap_invoke: { plays: "sap", path: "/v2/inference/deployments/", auth: "sap-oauth", model: "anthropic--claude-4.5-sonnet" },
  sap_gemini: { plays: "sap", path: "/v2/inference/deployments/", auth: "sap-oauth", model: "gemini-3-pro" },
};

// What else a model's name can ask of the mock.
const scripts = { context: "mock:talk,kind=context", broken: "mock:talk,stream-error", cut: "mock:talk,cut",
  slow: "mock:talk,chunks=200,interval=50", bytes: "mock:talk,think,split=1,python" };

// MATRIX="anthropic,gemini/openai,bedrock" runs those clients to those providers alone.
const [who = "", whom = ""] = (process.env.MATRIX ?? "").split("/");
const chosen = (all, list) => all.filter((name) => list === "" || list.split(",").includes(name));
const names = chosen(Object.keys(providers), whom), callers = chosen(clients.map((c) => c.name), who);
const modelOf = (name, script) => (script ? `${scripts[script]},-${name}` : `${providers[name].model}-${name}`);

let stack, privateKey;
const mocks = {};

function secretOf(auth, url) {
  if (auth === "aws-sigv4") return AWS;
  if (auth === "sap-oauth") return JSON.stringify({ clientid: CLIENT.id, clientsecret: CLIENT.secret, url,
    serviceurls: { AI_API_URL: url } });
  if (auth === "google-account") return JSON.stringify({ type: "service_account", client_email: "me@p.iam.gserviceaccount.com",
    private_key_id: "k1", private_key: privateKey, token_uri: `${url}/token` });
  return KEY;
}

async function register(name) {
  const { path: where, auth = "bearer" } = providers[name];
  for (const script of [undefined, ...Object.keys(scripts)]) {
    const upstream = script ? `${name}-${script}` : name, deployment = auth !== "sap-oauth" ? ""
      : encodeURIComponent(script ? scripts[script] : providers[name].model);
    await stack.manage("POST", "upstreams", { name: upstream, protocol: name, auth, allow_private: true,
      base_url: mocks[name].url + where + deployment, models: [modelOf(name, script).replaceAll(",", "?")],
      ...(auth === "aws-sigv4" ? { region: "us-east-1" } : {}) });
    await stack.manage("POST", "keys", { upstream, secret: secretOf(auth, mocks[name].url) });
  }
}

async function start() {
  const keys = crypto.generateKeyPairSync("rsa", { modulusLength: 2048 });
  privateKey = keys.privateKey.export({ type: "pkcs8", format: "pem" });
  stack = await Stack.start({ settings: { workers: 2 }, mock: null, seed: false });
  const file = (name, text) => {
    fs.writeFileSync(path.join(stack.dir, name), text);
    return path.join(stack.dir, name);
  };
  const demands = ["--strict", "1", "--aws", AWS, "--client", `${CLIENT.id}:${CLIENT.secret}`, "--keys", file("keys", `${KEY}\n`),
    "--jwt-key", file("jwt.pem", keys.publicKey.export({ type: "spki", format: "pem" }))];
  for (const name of names) mocks[name] = await stack.startMock([...demands, "--only", providers[name].plays]);
  const project = await stack.manage("POST", "projects", { name: "first" });
  stack.token = (await stack.manage("POST", "tokens", { project_id: project.id })).token;
  for (const name of names) await register(name);
}

// ---- what is asked, and what must come ----

const HELLO = "Hello é 😀 \"quoted\" \\ back", SYSTEM = "Be brief.";
const said = `You said: ${HELLO} [system: ${SYSTEM}]`;
const typed = (kind, error) => (kind.prototype ? error instanceof kind : kind(error));
const ENDED = /^(stop|end_turn|STOP|completed)$/, CALLED = /^(tool_calls|tool_use|STOP)$/;
const CUT = /^(length|max_tokens|MAX_TOKENS|max_output_tokens)$/;

// Two calls at once, their results, and the answer that names them.
async function roundTrip(client, model, more, tells = "") {
  const wish = { model, text: "call:2 please", tools: true, ...more };
  const first = await client.ask(wish);
  assert.match(first.stop, CALLED);
  assert.deepEqual(first.calls, TOOLS.map(({ name }, i) => ({ name, args: { city: `city-${i + 1} "é"` } })));
  const second = await client.ask({ ...wish, turns: first.turns(["7 C", "noon \"é\""]) });
  assert.equal(second.text, `Results: get_weather=7 C; get_time=noon "é"${tells}`);
  assert.match(second.stop, ENDED);
  return first;
}

const features = {
  async text({ client, model }) {
    const answer = await client.ask({ model, text: HELLO, system: SYSTEM });
    assert.equal(answer.text, said);
    assert.match(answer.stop, ENDED);
  },
  async stream({ client, model }) {
    let pieces = 0;
    const answer = await client.ask({ model, text: HELLO, system: SYSTEM, stream: true, onPiece: (n) => (pieces = n) });
    assert.equal(answer.text, said);
    assert.match(answer.stop, ENDED);
    assert.ok(pieces > 1, `in ${pieces} pieces`);
  },
  "two calls": ({ client, model }) => roundTrip(client, model, {}),
  "two calls, streamed": ({ client, model }) => roundTrip(client, model, { stream: true }),
  async image({ client, model }) {
    assert.equal((await client.ask({ model, text: "see", image: PNG })).text, `You said: see [image image/png ${PNG.length} bytes]`);
  },
  async schema({ client, model }) {
    assert.deepEqual(JSON.parse((await client.ask({ model, text: "x", schema: SCHEMA })).text), { city: "city-1 \"é\"", days: 1 });
  },
  async reasoning({ client, model }) {
    for (const stream of [false, true]) {
      const answer = await client.ask({ model, text: "Hello", reasoning: true, stream });
      assert.match(answer.reasoning, /^Let me think about \d+ characters\.$/);
      assert.equal(answer.text, "You said: Hello");
    }
  },
  // The mock refuses reasoning that comes back altered, and where its protocol wants it, not at all.
  "calls and reasoning": ({ client, model }) => roundTrip(client, model, { reasoning: true, stream: true }),
  "signature kept": ({ client, model }) => roundTrip(client, model, { reasoning: true, system: "signed?" },
    " [signed] [system: signed?]"),
  async usage({ client, model }) {
    for (const stream of [false, true]) {
      const { text, usage } = await client.ask({ model, text: "cache:64 hello", stream });
      assert.equal(usage.cached, 64);
      assert.ok(usage.input > 64 && usage.input < 80, `${usage.input} tokens in`);
      assert.equal(usage.output, Math.ceil(Buffer.byteLength(text) / 4));
    }
  },
  async length({ client, model }) {
    for (const stream of [false, true]) assert.match((await client.ask({ model, text: HELLO, most: 3, stream })).stop, CUT);
  },
  async error({ client, kind, name }) {
    for (const stream of [false, true])
      await assert.rejects(client.ask({ model: modelOf(name, "context"), text: "x", stream }), (error) => {
        assert.ok(typed(kind.bad, error), `${error.constructor.name} ${error.status}: ${error.message}`);
        return true;
      });
  },
  async "error in mid-stream"({ client, name }) {
    let pieces = 0;
    await assert.rejects(client.ask({ model: modelOf(name, "broken"), text: HELLO, stream: true, onPiece: (n) => (pieces = n) }), (error) => {
      assert.doesNotMatch(error.constructor.name, /Assertion|^TypeError|^SyntaxError/);
      return true;
    });
    assert.ok(pieces > 0, "what came before it was told");
  },
  async "cut in mid-stream"({ client, name }) {
    await assert.rejects(client.ask({ model: modelOf(name, "cut"), text: HELLO, stream: true }));
  },
  // and of SAP's Converse as Python writes it
  async "a stream in single bytes"({ client, name }) {
    const wish = { model: modelOf(name, "bytes"), system: SYSTEM, reasoning: true, stream: true };
    const answer = await client.ask({ ...wish, text: HELLO });
    assert.equal(answer.text, said);
    assert.match(answer.reasoning, /^Let me think about \d+ characters\.$/);
    const { calls } = await client.ask({ ...wish, text: "call:2", tools: true });
    assert.deepEqual(calls, TOOLS.map((tool, i) => ({ name: tool.name, args: { city: `city-${i + 1} "é"` } })));
  },
  async cancel({ client, name }) {
    const stop = new AbortController();
    let pieces = 0;
    const asked = client.ask({ model: modelOf(name, "slow"), text: "x", stream: true, signal: stop.signal,
      onPiece: (n) => { if ((pieces = n) === 2) stop.abort(); } });
    await assert.rejects(asked);
    assert.ok(pieces >= 2 && pieces < 100, `${pieces} pieces`);
    cancelled++;
  },
};
let cancelled = 0;

// ---- where a protocol cannot, and what happens instead ----

// Each row: whose cells, and what is seen there in place of the feature.  `sees` may be given a wish's
// outcome by asking itself.
const unsigned = ({ client, model }) => roundTrip(client, model, { reasoning: true, system: "signed?" }, " [not signed] [system: signed?]");
const instead = [
  { feature: "signature kept", providers: ["openai", "openai_chat", "azure", "sap_openai", "openrouter"],
    but: [["openai responses", "openai"], ["openai responses", "openrouter"], ["anthropic", "openrouter"]], // passed on as they are
    what: "chat completions have no signatures", sees: unsigned },
];


const insteadOf = (client, provider, feature) => instead.find((row) => row.feature === feature
  && (!row.clients || row.clients.includes(client)) && (!row.providers || row.providers.includes(provider))
  && !row.but?.some(([c, p]) => c === client && p === provider));

// ---- the table ----

const cells = names.flatMap((name) => clients.filter((kind) => callers.includes(kind.name)).flatMap((kind) =>
  Object.keys(features).map((feature) => ({ name, kind, feature, row: insteadOf(kind.name, name, feature), ok: false }))));

async function see(cell) {
  const { name, kind, feature, row } = cell;
  await (row?.sees ?? features[feature])({ client: kind.open(stack.url, stack.token), kind, name, model: modelOf(name) });
  cell.ok = true;
}

test("each client to each provider", { timeout: 240000 }, async (t) => {
  try {
    await start();
    await t.test("cells", { concurrency: AT_ONCE }, (all) => Promise.all(cells.map((cell) => {
      const title = `${cell.kind.name} -> ${cell.name}: ${cell.feature}`;
      return all.test(cell.row ? `${title} (instead: ${cell.row.what})` : title, () => see(cell));
    })));
    for (const name of names)
      for (const kind of callers) {
        const mine = cells.filter((c) => c.name === name && c.kind.name === kind);
        const bad = mine.filter((c) => !c.ok).map((c) => c.feature);
        t.diagnostic(`${kind} -> ${name}: ${mine.length - bad.length} of ${mine.length}${bad.length > 0 ? `, not: ${bad.join("; ")}` : ""}`);
      }
    await t.test("tokens are counted, by the provider or by us", async () => {
      const bad = [];
      for (const kind of clients.filter((c) => c.counts && callers.includes(c.name)))
        for (const name of names) {
          const n = await kind.open(stack.url, stack.token).count({ model: modelOf(name), text: "Twenty-four characters. " })
            .catch((error) => error.message);
          if (!(n >= 3 && n <= 30)) bad.push(`${kind.name} -> ${name}: ${n}`);
        }
      assert.deepEqual(bad, []);
    });
    const stats = (name) => fetch(`${mocks[name].url}/mock/stats`).then((answer) => answer.json());
    await t.test("access tokens were bought once a key, and are bought again when they end", async () => {
      for (const name of names.filter((n) => /oauth|account/.test(providers[n].auth))) {
        const keys = 1 + Object.keys(scripts).length, { tokens_asked: asked } = await stats(name);
        assert.ok(asked <= keys, `${name}: ${asked} times for ${keys} keys`);
        await fetch(`${mocks[name].url}/mock/expire`, { method: "POST" });
        const client = clients[0].open(stack.url, stack.token);
        assert.equal((await client.ask({ model: modelOf(name), text: "x" })).text, "You said: x");
        assert.equal((await stats(name)).tokens_asked, asked + 1, name);
      }
    });
    await t.test("who went away was let go at the provider too", async () => {
      const all = () => Promise.all(names.map(stats));
      await until("no request is open", 10000, async () => (await all()).every((s) => s.open === 0));
      assert.equal((await all()).reduce((sum, s) => sum + s.client_gone, 0), cancelled);
    });
  } finally {
    assert.equal(await stack?.stop(), 0, "nothing is left running");
  }
});
