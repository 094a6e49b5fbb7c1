// What happens between two dialects besides the words: another provider in the first one's place,
// clients that leave, silence, budgets, figures, and providers that break.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { dialects, eventFrame, hears, Provider, says, send, streamOf } from "./lib/provider.mjs";
import { Stack, sleep, until } from "./lib/stack.mjs";

const upstreams = { "openai-chat": "openai_chat", anthropic: "anthropic", gemini: "gemini", converse: "bedrock", "bedrock-invoke": "bedrock_invoke", openrouter: "openrouter" };
const clients = ["openai-chat", "openai-responses", "anthropic", "gemini", "converse", "bedrock-invoke"];
const HEARTBEAT_MS = 250;
let stack, provider;

before(async () => {
  stack = await Stack.start({ settings: { workers: 1, heartbeat: `${HEARTBEAT_MS}ms`, disconnect: "cancel" }, mock: null });
  stack.command(["project", "add", "--name", "first"]);
  const token = stack.command(["token", "add", "--project", "first", "--json"]);
  stack.token = token.token;
  // whatever is reserved must be given back; see the last test
  stack.watch = await stack.manage("POST", "limits", { scope: { token: token.id }, metric: "cost", window: "total", cap: "1000000" });
  stack.parallel = await stack.manage("POST", "limits", { scope: { token: token.id }, metric: "parallel", cap: 1000, window: "total" });
  provider = await Provider.start();
  for (const [format, protocol] of Object.entries(upstreams))
    await stack.manage("POST", "upstreams", { name: format, protocol, auth: "none", allow_private: true, base_url: provider.url, breaker: "closed",
      models: [`${format}-model`] });
});
after(async () => {
  provider?.stop();
  assert.equal(await stack?.stop(), 0);
});

const rowOf = (id) => until("its row", 10000, async () => (await stack.rows()).find((r) => r.id === id));
const limitOf = async (id) => (await stack.manage("GET", "limits?limit=100")).data.find((l) => l.id === id);
function ask(format, model, { stream = false, headers, body, ...more } = {}) {
  const d = dialects[format];
  return send(stack.url + d.path(model, stream), { body: body ?? d.body(model, stream),
    headers: { ...d.key(stack.token), ...headers }, ...more });
}
// The words and their figures, as few as each provider states.
const figures = { "openai-chat": { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 }, anthropic: { input_tokens: 3, output_tokens: 2 },
  gemini: { promptTokenCount: 3, candidatesTokenCount: 2, totalTokenCount: 5 }, converse: { inputTokens: 3, outputTokens: 2, totalTokens: 5 },
  "bedrock-invoke": { input_tokens: 3, output_tokens: 2 } };
const typeOf = (format) => says[format].type ?? "text/event-stream";
const heardWhole = {
  "openai-chat": (j) => j.choices[0].message.content, "openai-responses": (j) => j.output.flatMap((o) => o.content ?? []).map((c) => c.text).join(""),
  anthropic: (j) => j.content.map((c) => c.text).join(""), gemini: (j) => j.candidates[0].content.parts.map((p) => p.text).join(""),
  converse: (j) => j.output.message.content.map((c) => c.text).join(""),
};
heardWhole["bedrock-invoke"] = heardWhole.anthropic;
// How an upstream of that format talks to a client that it understands without conversion.
const spoken = (from, client) => (from === "openrouter" && client === "anthropic" ? "anthropic"
  : from === "converse" && client === "bedrock-invoke" ? client : from === "bedrock-invoke" && client === "converse" ? client : from);
const formatAt = (url) => (url.includes("/messages") ? "anthropic" : url.includes("/v1beta/") ? "gemini" : url.includes("/converse") ? "converse"
  : url.includes("/invoke") ? "bedrock-invoke" : "openai-chat");

// ---- another provider ----

test("the second candidate speaks another dialect", async (t) => {
  const pairs = [["anthropic", "openai-chat"], ["openai-chat", "gemini"], ["gemini", "converse"], ["converse", "anthropic"], ["bedrock-invoke", "anthropic"]];
  for (const [bad, good] of pairs) {
    const model = `shared-${bad}-${good}`;
    for (const format of [bad, good]) {
      const { models } = await stack.manage("GET", `upstreams/${format}`);
      await stack.manage("PATCH", `upstreams/${format}`, { models: [...models, model] });
    }
    await t.test(`${bad}, then ${good}`, async () => {
      let tried = 0;
      provider.answer = (seen, response) => {
        const format = formatAt(seen.url), stream = seen.json.stream || /stream/i.test(seen.url);
        if (upstreams[format].split("_")[0] === upstreams[bad].split("_")[0]) return response.writeHead(500, { "content-type": "application/json" }).end("{\"message\":\"broken\"}");
        const bytes = stream ? streamOf(format, ["Hel", "lo"], figures[format]) : JSON.stringify(says[format].whole("Hello", figures[format]));
        response.writeHead(200, { "content-type": stream ? typeOf(format) : "application/json" }).end(bytes);
      };
      for (const client of clients)
        for (const stream of [false, true]) {
          const got = await ask(client, model, { stream });
          assert.equal(got.status, 200, `${client}: ${got.text}`);
          assert.equal(stream ? hears[client](got.bytes).text : heardWhole[client](got.json), "Hello", client);
          assert.equal(got.headers["x-sluice-upstream"], good);
          const row = await rowOf(got.headers["x-request-id"]);
          assert.equal(row.attempts, Number(got.headers["x-sluice-attempts"]));
          assert.deepEqual([row.ended_by, row.tokens.input, row.tokens.output], ["done", 3, 2], client);
          if (row.attempts === 2) tried++;
        }
      assert.ok(tried >= 3, `the first one was tried ${tried} times`);
    });
  }
  await t.test("a long request is written anew for the second", async () => {
    const text = "a line, ".repeat(50000), bodies = new Map();
    provider.answer = (seen, response) => {
      const format = formatAt(seen.url);
      bodies.set(format, seen.json);
      if (format === "anthropic") return response.writeHead(500, { "content-type": "application/json" }).end("{}");
      response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(says[format].whole("Hello", figures[format])));
    };
    const model = "shared-anthropic-openai-chat", answers = await Promise.all(Array.from({ length: 12 }, () => ask("gemini", model,
      { body: { contents: [{ role: "user", parts: [{ text }] }] } })));
    for (const got of answers) assert.deepEqual([got.status, heardWhole.gemini(got.json)], [200, "Hello"], got.text);
    assert.ok(answers.some((got) => got.headers["x-sluice-attempts"] === "2"));
    assert.deepEqual(bodies.get("anthropic").messages[0].content[0]?.text ?? bodies.get("anthropic").messages[0].content, text);
    assert.equal(bodies.get("openai-chat").messages[0].content, text);
  });
  await t.test("one that cannot express the request makes room for one that can", async () => {
    provider.answer = (seen, response) => {
      const format = formatAt(seen.url);
      response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(says[format].whole("Hello", figures[format])));
    };
    for (let i = 0; i < 4; i++) {
      const got = await ask("openai-chat", "shared-anthropic-openai-chat", { body: { ...dialects["openai-chat"].body("shared-anthropic-openai-chat", false), n: 2 } });
      assert.deepEqual([got.status, got.headers["x-sluice-upstream"], got.headers["x-sluice-attempts"]], [200, "openai-chat", "1"]);
    }
  });
});

// ---- clients that leave ----

test("a client leaves in mid-stream", async (t) => {
  for (const [client, from] of [["openai-chat", "anthropic"], ["anthropic", "openai-chat"], ["gemini", "converse"], ["converse", "gemini"],
    ["anthropic", "anthropic"], ["converse", "converse"], ["bedrock-invoke", "openai-chat"]]) {
    await t.test(`${client} from ${from}`, async () => {
      const usage = { ...figures[from] }, words = "some forty words of it ".repeat(8);
      provider.answer = (seen, response) => {
        response.writeHead(200, { "content-type": typeOf(from) });
        for (const piece of [...says[from].start(usage), says[from].piece(words)]) response.write(piece);
      };
      const abort = new AbortController();
      let id;
      await ask(client, `${from}-model`, { stream: true, signal: abort.signal, onData: (piece, answer) => {
        id = answer.headers["x-request-id"];
        if (!abort.signal.aborted) setTimeout(() => abort.abort(), 50);
      } }).catch(() => {});
      await until("the provider is let go", 5000, () => provider.open === 0);
      const row = await rowOf(id);
      assert.deepEqual([row.ended_by, row.status, row.usage], ["client", 200, "estimated"]);
      assert.ok(row.tokens.output > 20 && row.tokens.output < 120, `some 46 tokens went by: ${row.tokens.output}`);
      if (from.includes("anthropic")) assert.equal(row.tokens.input, 3, "which it had stated by then");
      else assert.ok(row.tokens.input > 0);
    });
  }
});

// ---- silence ----

test("heartbeats while a provider is silent", async () => {
  const cases = [["openai-chat", "anthropic", true], ["openai-responses", "anthropic", true], ["anthropic", "openai-chat", true], ["gemini", "anthropic", true],
    ["gemini-array", "anthropic", false], ["converse", "anthropic", false], ["anthropic", "anthropic", true], ["gemini", "gemini", true],
    ["openai-chat", "openai-chat", true], ["bedrock-invoke", "bedrock-invoke", false]];
  provider.answer = async (seen, response) => {
    const from = formatAt(seen.url), half = Buffer.from(says[from].piece("lo")), at = half.length >> 1;
    response.writeHead(200, { "content-type": typeOf(from) });
    for (const piece of [...says[from].start(figures[from]), says[from].piece("Hel")]) response.write(piece);
    await sleep(3 * HEARTBEAT_MS);
    response.write(half.subarray(0, at)); // and in the middle of an event
    await sleep(3 * HEARTBEAT_MS);
    response.end(Buffer.concat([half.subarray(at), ...says[from].end(figures[from]).map((p) => Buffer.from(p))]));
  };
  await Promise.all(cases.map(async ([client, from, some]) => {
    const got = client === "gemini-array" ? await send(`${stack.url}/v1beta/models/${from}-model:streamGenerateContent`,
      { body: dialects.gemini.body(), headers: dialects.gemini.key(stack.token) }) : await ask(client, `${from}-model`, { stream: true });
    const heard = hears[client](got.bytes), what = `${client} from ${from}: ${got.text}`;
    assert.deepEqual([heard.text, heard.complete, heard.error ?? undefined], ["Hello", true, undefined], what);
    if (some) assert.ok(heard.pings >= 1 && heard.pings <= 8, `${heard.pings} pings, ${what}`);
    else assert.ok(!heard.pings, what);
  }));
});

test("a heartbeat before the first word commits the status, and no more", async () => {
  const first = await Stack.start({ settings: { workers: 1, heartbeat: "10s", first_heartbeat: "200ms" }, mock: null });
  const at = (client, model, more) => send(first.url + dialects[client].path(model, true), { body: dialects[client].body(model, true),
    headers: dialects[client].key(first.token), ...more });
  try {
    first.command(["project", "add", "--name", "first"]);
    first.token = first.command(["token", "add", "--project", "first", "--json"]).token;
    for (const format of ["openai-chat", "anthropic", "gemini", "converse"])
      await first.manage("POST", "upstreams", { name: format, protocol: upstreams[format], auth: "none", allow_private: true, base_url: provider.url, breaker: "closed",
        models: [`${format}-model`, ...(["anthropic", "gemini"].includes(format) ? ["shared"] : [])] });
    const late = (then) => {
      provider.answer = async (seen, response) => {
        await sleep(800);
        then(formatAt(seen.url), response);
      };
    };
    const pairs = clients.flatMap((client) => ["openai-chat", "anthropic", "gemini", "converse"].map((from) => [client, from]))
      .filter(([client, from]) => !(from === "converse" && client === "bedrock-invoke"));
    const binary = (client) => client === "converse" || client === "bedrock-invoke";

    late((from, response) => response.writeHead(200, { "content-type": typeOf(from) }).end(streamOf(from, ["Hel", "lo"], figures[from])));
    await Promise.all(pairs.map(async ([client, from]) => {
      const got = await at(client, `${from}-model`), heard = hears[client](got.bytes), what = `${client} from ${from}: ${got.text}`;
      assert.deepEqual([got.status, heard.text, heard.complete, heard.error ?? undefined], [200, "Hello", true, undefined], what);
      if (binary(client)) assert.match(got.headers["content-type"], /eventstream/);
      else assert.ok(heard.pings >= 1, what);
    }));

    late((from, response) => response.writeHead(400, { "content-type": "application/json" }).end(JSON.stringify(from === "converse"
      ? { message: "Odd value." } : { error: { message: "Odd value.", type: "invalid_request_error", status: "INVALID_ARGUMENT", code: from === "gemini" ? 400 : null } })));
    await Promise.all(pairs.map(async ([client, from]) => {
      const got = await at(client, `${from}-model`), what = `${client} from ${from}: ${got.text}`;
      assert.match(got.text, /Odd value/, what);
      assert.equal(got.status, binary(client) ? 400 : 200, what);
      if (!binary(client)) assert.ok(hears[client](got.bytes).error, what);
    }));

    late((from, response) => (from === "anthropic" ? response.writeHead(500, { "content-type": "application/json" }).end("{}")
      : response.writeHead(200, { "content-type": typeOf(from) }).end(streamOf(from, ["Hel", "lo"], figures[from]))));
    await Promise.all([...clients, ...clients].map(async (client) => {
      const got = await at(client, "shared"), heard = hears[client](got.bytes);
      assert.deepEqual([got.status, heard.text, heard.complete], [200, "Hello", true], `${client}: ${got.text}`);
    }));

    late((from, response) => response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(says[from].whole("Hello", figures[from]))));
    await Promise.all(pairs.filter(([client, from]) => client !== from).map(async ([client, from]) => {
      const heard = hears[client]((await at(client, `${from}-model`)).bytes);
      assert.deepEqual([heard.text, heard.complete], ["Hello", true], `${client} from ${from}`);
    }));
  } finally {
    assert.equal(await first.stop(), 0);
  }
});

// ---- budgets ----

test("a stream that spends its budget ends in each dialect as if at its ceiling", async (t) => {
  const stops = { "openai-chat": "length", "openai-responses": "max_output_tokens", anthropic: "max_tokens", gemini: "MAX_TOKENS", converse: "max_tokens", "bedrock-invoke": "max_tokens" };
  for (const from of ["anthropic", "openai-chat", "gemini", "converse", "bedrock-invoke"])
    await stack.manage("PATCH", `upstreams/${from}`, { max_output_tokens: 32, models: [`${from}-model`, `${from}-spent-*`] });
  for (const client of clients)
    for (const from of client === "anthropic" ? ["anthropic", "openai-chat", "bedrock-invoke"] : client === "openai-responses" ? ["anthropic"] : [client, "anthropic", "openai-chat"].filter((f, i, a) => a.indexOf(f) === i)) {
      await t.test(`${client} from ${from}`, async () => {
        const model = `${from}-spent-${client}`;
        const limit = await stack.manage("POST", "limits", { scope: { model }, metric: "output_tokens", window: "total", stops_streams: true, cap: 200 });
        provider.answer = async (seen, response) => {
          response.writeHead(200, { "content-type": typeOf(from) });
          for (const piece of says[from].start(figures[from])) response.write(piece);
          for (let i = 0; i < 200 && !response.destroyed; i++) {
            response.write(says[from].piece("a few words more, "));
            await sleep(3);
          }
          for (const piece of says[from].end(figures[from])) response.write(piece);
          response.end();
        };
        const d = dialects[client], body = d.body(model, true);
        delete body.max_tokens;
        if (client === "anthropic" || client === "bedrock-invoke") body.max_tokens = 32;
        if (client === "openai-chat") body.stream_options = { include_usage: true };
        const got = await ask(client, model, { stream: true, body });
        assert.equal(got.status, 200, got.text);
        const heard = hears[client](got.bytes), row = await rowOf(got.headers["x-request-id"]);
        assert.deepEqual([heard.stop, heard.complete, heard.error ?? undefined], [stops[client], true, undefined], got.text.slice(-600));
        assert.ok(heard.text.length > 300 && heard.text.length < 2400, `${heard.text.length}`);
        assert.deepEqual([row.ended_by, row.usage, row.status], ["budget", "counted", 200]);
        assert.equal(heard.usage, row.tokens.output);
        await until("the provider is let go", 5000, () => provider.open === 0);
        const now = await limitOf(limit.id);
        assert.deepEqual([now.used, now.reserved], [row.tokens.output, 0]);
      });
    }
});

// ---- what is lost ----

test("strict: what would be lost is refused by its name", async (t) => {
  const cases = [["openai-chat", "anthropic", { logprobs: true }, "logprobs"], ["openai-chat", "converse", { logprobs: true, top_logprobs: 2 }, "logprobs"],
    ["gemini", "anthropic", { generationConfig: { responseLogprobs: true } }, "responseLogprobs"]];
  for (const [client, from, more, field] of cases) {
    await t.test(`${client} to ${from}: ${field}`, async () => {
      const model = `${from}-model`, body = { ...dialects[client].body(model, false), ...more };
      provider.gives(says[from].whole("Hello", figures[from]));
      const loose = await ask(client, model, { body });
      assert.equal(loose.status, 200, loose.text);
      assert.match(loose.headers["x-sluice-dropped"], new RegExp(field));
      const { data } = await stack.manage("GET", "requests?limit=1");
      assert.ok(loose.headers["x-sluice-dropped"].startsWith(data[0].dropped) && data[0].dropped !== "",
        `the request's record tells it too: ${data[0].dropped}`);
      await stack.manage("PATCH", `upstreams/${from}`, { strict: true });
      provider.seen.length = 0;
      const refused = await ask(client, model, { body });
      await stack.manage("PATCH", `upstreams/${from}`, { strict: false });
      assert.equal(refused.status, 400, refused.text);
      assert.match(refused.json.error.message, new RegExp(field));
      if (client === "openai-chat") assert.equal(refused.json.error.param, field);
      assert.equal(refused.json.error.sluice_code, "unsupported");
      assert.equal(provider.seen.length, 0);
      const row = await rowOf(refused.headers["x-request-id"]);
      assert.deepEqual([row.status, row.ended_by, row.cost], [400, "refused", "0.000000000"]);
    });
  }
});

// ---- figures ----

const claudeUsage = { input_tokens: 100, cache_read_input_tokens: 200, cache_creation_input_tokens: 300,
  cache_creation: { ephemeral_5m_input_tokens: 100, ephemeral_1h_input_tokens: 200 }, output_tokens: 50, output_tokens_details: { thinking_tokens: 20 } };
const openaiUsage = { prompt_tokens: 1000, prompt_tokens_details: { cached_tokens: 200 }, completion_tokens: 100,
  completion_tokens_details: { reasoning_tokens: 40 }, total_tokens: 1100 };
const reported = { // what each provider says; what the row holds; dollars by the prices below
  "openai-chat": [openaiUsage, { input: 800, cache_read: 200, cache_write: 0, output: 100, reasoning: 40 }, "0.001820000"],
  openrouter: [{ ...openaiUsage, cost: 0.0123 }, { input: 800, cache_read: 200, cache_write: 0, output: 100, reasoning: 40 }, "0.012300000"],
  anthropic: [claudeUsage, { input: 100, cache_read: 200, cache_write: 300, output: 50, reasoning: 20 }, "0.001420000"],
  "bedrock-invoke": [claudeUsage, { input: 100, cache_read: 200, cache_write: 300, output: 50, reasoning: 20 }, "0.001420000"],
  gemini: [{ promptTokenCount: 1000, cachedContentTokenCount: 200, toolUsePromptTokenCount: 50, candidatesTokenCount: 60, thoughtsTokenCount: 40, totalTokenCount: 1150 },
    { input: 850, cache_read: 200, cache_write: 0, output: 100, reasoning: 40 }, "0.001870000"],
  converse: [{ inputTokens: 100, cacheReadInputTokens: 200, cacheWriteInputTokens: 300, outputTokens: 50, totalTokens: 650,
    cacheDetails: [{ ttl: "5m", inputTokens: 100 }, { ttl: "1h", inputTokens: 200 }] },
  { input: 100, cache_read: 200, cache_write: 300, output: 50, reasoning: 0 }, "0.001420000"],
};

test("rows and costs are what the provider reported", async (t) => {
  await stack.manage("POST", "prices", { model: "*-model", input: "1", output: "10", cache_read: "0.1", cache_write_5m: "2", cache_write_1h: "3" });
  for (const [from, [usage, tokens, cost]] of Object.entries(reported))
    for (const client of clients) {
      const words = spoken(from, client);
      if (words !== from || (from === "openrouter" && client === "openai-responses")) continue; // the same dialect
      await t.test(`${from} to ${client}`, async () => {
        for (const stream of [false, true]) {
          if (stream) provider.streams(streamOf(from, ["Hel", "lo"], usage), { type: typeOf(from), size: 50 });
          else provider.gives(says[from].whole("Hello", usage));
          const got = await ask(client, `${from}-model`, { stream });
          assert.equal(got.status, 200, got.text);
          const row = await rowOf(got.headers["x-request-id"]), { input, cache_read, cache_write, output, reasoning } = row.tokens;
          assert.deepEqual([row.usage, { input, cache_read, cache_write, output, reasoning }, row.cost], ["reported", tokens, cost], `stream: ${stream}`);
          if (!stream) assert.equal(got.headers["x-sluice-cost"], cost);
        }
      });
    }
});

test("where nothing is reported it is estimated", async (t) => {
  for (const [from, client] of [["openai-chat", "anthropic"], ["openai-chat", "openai-chat"], ["gemini", "openai-chat"], ["anthropic", "anthropic"], ["converse", "gemini"]]) {
    await t.test(`${from} to ${client}`, async () => {
      const text = "some forty words of it ".repeat(8);
      for (const stream of [false, true]) {
        if (stream) provider.streams(streamOf(from, [text], from === "openai-chat" ? undefined : {}), { type: typeOf(from) });
        else provider.gives(says[from].whole(text, undefined));
        const row = await rowOf((await ask(client, `${from}-model`, { stream })).headers["x-request-id"]);
        assert.ok(["estimated", "counted"].includes(row.usage), `${row.usage} ${stream}`);
        assert.ok(row.tokens.input > 0 && row.tokens.output > 20 && row.tokens.output < 150, `${stream} ${JSON.stringify(row.tokens)}`);
        assert.notEqual(row.cost, "0.000000000");
      }
    });
  }
});

test("a whole answer where a stream was asked for", async (t) => {
  for (const from of ["openai-chat", "anthropic", "gemini", "converse", "bedrock-invoke"])
    for (const client of clients) {
      const words = spoken(from, client), same = words === client;
      await t.test(`${from} to ${client}`, async () => {
        provider.gives(says[words].whole("Hello", figures[words]));
        const got = await ask(client, `${from}-model`, { stream: true });
        assert.equal(got.status, 200);
        if (same) {
          assert.equal(got.text, JSON.stringify(says[words].whole("Hello", figures[words])), "as it is");
        } else {
          const heard = hears[client](got.bytes);
          assert.deepEqual([heard.text, heard.complete, heard.error ?? undefined], ["Hello", true, undefined], got.text);
        }
        const row = await rowOf(got.headers["x-request-id"]);
        assert.deepEqual([row.usage, row.tokens.input, row.tokens.output, row.ended_by], ["reported", 3, 2, "done"]);
      });
    }
});

// ---- providers that break ----

test("answers that are broken", async (t) => {
  const crossing = [["openai-chat", "anthropic"], ["anthropic", "openai-chat"], ["gemini", "converse"], ["converse", "gemini"],
    ["bedrock-invoke", "openai-chat"], ["openai-responses", "anthropic"], ["openai-chat", "bedrock-invoke"]];
  const kind = (client, error) => (client.startsWith("openai") ? error.type ?? error.code : client === "gemini" ? error.status : error.type);
  const broke = { "openai-chat": "server_error", "openai-responses": "server_error", anthropic: "api_error", gemini: "INTERNAL", converse: "internalServerException", "bedrock-invoke": "internalServerException" };

  for (const [client, from] of crossing) {
    await t.test(`${client} from ${from}: no JSON, no answer, an error in a 200`, async () => {
      for (const body of ["<html>Welcome</html>", "{\"half\": ", "[]", "", "{}", "null", "\u0000\u0001"]) {
        provider.gives(body);
        for (const stream of [false, true]) {
          const got = await ask(client, `${from}-model`, { stream });
          const row = await rowOf(got.headers["x-request-id"]);
          assert.equal(row.ended_by, "provider", `${body} ${stream} ${got.text}`);
          if (!stream) assert.ok(got.status >= 500, `${body}: ${got.status} ${got.text}`);
          else if (got.status === 200) assert.ok(hears[client](got.bytes).error, `${body}: ${got.text}`);
          assert.doesNotMatch(got.text, /Welcome/);
        }
      }
    });
    await t.test(`${client} from ${from}: a stream that is cut`, async () => {
      const all = streamOf(from, ["Hel", "lo"], figures[from]);
      const ends = { "the connection breaks": (response) => setTimeout(() => response.destroy(), 30), "it ends early": (response) => response.end() };
      for (const [how, then] of Object.entries(ends)) {
        provider.streams(all.subarray(0, all.length * 0.55), { type: typeOf(from), then });
        const got = await ask(client, `${from}-model`, { stream: true }), heard = hears[client](got.bytes);
        assert.ok(heard.error && !heard.complete, `${how}: ${got.text}`);
        assert.equal(kind(client, heard.error), broke[client], `${how}: ${got.text}`);
        const row = await rowOf(got.headers["x-request-id"]);
        assert.deepEqual([row.ended_by, row.status], ["provider", 200], how);
      }
    });
  }
  await t.test("a stream where none was asked for", async () => {
    for (const [client, from] of crossing) {
      provider.streams(streamOf(from, ["Hel", "lo"], figures[from]), { type: typeOf(from) });
      const got = await ask(client, `${from}-model`);
      assert.ok(got.status >= 500, `${client} from ${from}: ${got.status} ${got.text}`);
      assert.equal(got.headers["content-type"], "application/json");
      assert.ok(got.json);
    }
  });
  await t.test("a stream of the same dialect that ends early", async () => {
    for (const format of ["anthropic", "gemini", "converse", "bedrock-invoke"]) {
      const begun = Buffer.concat([...says[format].start(figures[format]), says[format].piece("Hel")].map((p) => Buffer.from(p)));
      provider.streams(begun, { type: typeOf(format), size: 31 });
      const got = await ask(format, `${format}-model`, { stream: true }), heard = hears[format](got.bytes);
      assert.ok(got.bytes.subarray(0, begun.length).equals(begun), format);
      assert.deepEqual([heard.text, kind(format, heard.error)], ["Hel", broke[format]], got.text);
      const row = await rowOf(got.headers["x-request-id"]);
      assert.deepEqual([row.ended_by, row.code, row.usage], ["provider", "upstream_unreachable", "estimated"], format);
    }
  });
  await t.test("a frame whose checksum is wrong", async () => {
    for (const [client, from] of [["openai-chat", "converse"], ["anthropic", "bedrock-invoke"], ["gemini", "converse"]]) {
      const all = streamOf(from, ["Hel", "lo"], figures[from]);
      all[all.length >> 1] ^= 1;
      provider.streams(all, { type: typeOf(from), size: 64 });
      const got = await ask(client, `${from}-model`, { stream: true }), heard = hears[client](got.bytes);
      // before anything was shown it is an error of its own, no stream
      assert.ok(got.status >= 500 || (heard.error && !heard.complete), got.text);
      assert.equal((await rowOf(got.headers["x-request-id"])).ended_by, "provider");
    }
  });
  await t.test("a frame that never ends", async () => {
    const filler = Buffer.alloc(1 << 20, "a");
    const endless = (head) => (seen, response) => {
      response.writeHead(200, { "content-type": head === "binary" ? "application/vnd.amazon.eventstream" : "text/event-stream" });
      response.write(head === "binary" ? Buffer.concat([Buffer.from("7fffffff0000000000000000", "hex")]) : head);
      let left = 40;
      const more = () => {
        while (!response.destroyed && left-- > 0) if (!response.write(filler)) return response.once("drain", more);
        response.end();
      };
      more();
    };
    for (const [client, from, head] of [["openai-chat", "anthropic", "event: content_block_delta\ndata: {\"type\":\""], ["anthropic", "openai-chat", "data: {\"id\":\""],
      ["openai-chat", "gemini", "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\""], ["anthropic", "converse", "binary"]]) {
      provider.answer = endless(head);
      const got = await ask(client, `${from}-model`, { stream: true });
      assert.ok(got.status >= 500 || hears[client](got.bytes).error, `${client}: ${got.status} ${got.text.slice(0, 300)}`);
      assert.ok(got.bytes.length < 10000, `${got.bytes.length} bytes`);
      assert.equal((await rowOf(got.headers["x-request-id"])).ended_by, "provider");
      await until("the provider is let go", 10000, () => provider.open === 0);
    }
  });
});

// ---- size ----

test("30 MB of many messages", async () => {
  const text = "a line of text with \"quotes\" and ümlauts, ".repeat(40), messages = [];
  for (let size = 0; size < 30 << 20; size += text.length + 60)
    messages.push({ role: messages.length % 2 === 0 ? "user" : "assistant", content: text });
  for (const [client, from, count] of [["openai-chat", "anthropic", (j) => j.messages.length], ["anthropic", "gemini", (j) => j.contents.length]]) {
    const body = { ...dialects[client].body(`${from}-model`, false), messages };
    provider.gives(says[from].whole("Hello", figures[from]));
    const got = await ask(client, `${from}-model`, { body });
    assert.equal(got.status, 200, got.text);
    assert.equal(count(provider.last.json), messages.length);
    assert.equal(heardWhole[client](got.json), "Hello");
  }
});

test("nothing stays reserved", async () => {
  assert.equal((await stack.manage("GET", "inflight")).data.length, 0);
  assert.equal(Number((await limitOf(stack.watch.id)).reserved), 0);
  assert.equal(Number((await limitOf(stack.parallel.id)).reserved), 0);
});
