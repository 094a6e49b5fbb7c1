// vault.test.mjs - a conversation with thinking and tools, by clients whose protocol cannot carry what the
// model signed: the mock signs as the providers do, and refuses a history without, or with a false one.

import assert from "node:assert/strict";
import fs from "node:fs";
import { after, before, describe, test } from "node:test";
import OpenAI from "openai";
import Anthropic from "@anthropic-ai/sdk";
import { Stack, until } from "./lib/stack.mjs";
import { WallClock } from "./lib/wallclock.mjs";

const HOUR = 3600_000;
const CLAUDE = "claude-sonnet-4-5", GEMINI = "gemini-3-pro";
const parameters = { type: "object", properties: { city: { type: "string" } }, required: ["city"], additionalProperties: false };
const TOOLS = [{ type: "function", function: { name: "get_weather", description: "Tells the weather.", parameters } }];
const paths = { [CLAUDE]: "/v1/messages", [GEMINI]: `/v1beta/models/${GEMINI}` };

let stack, other;

async function start(settings, env = {}) {
  const s = await Stack.start({ settings, env });
  s.command(["upstream", "add", "--name", "anthropic", "--protocol", "anthropic", "--auth", "x-api-key", "--base-url",
    s.mock.url + "/v1", "--allow-private", "--models", "claude-*"]);
  s.command(["upstream", "add", "--name", "gemini", "--protocol", "gemini", "--auth", "x-goog-api-key", "--base-url",
    s.mock.url + "/v1beta", "--allow-private", "--models", "gemini-*"]);
  for (const upstream of ["anthropic", "gemini"])
    s.command(["key", "add", "--upstream", upstream, "--secret", "sk-provider-secret-0001"]);
  return s;
}

const openai = (token = stack.token, s = stack) => new OpenAI({ baseURL: `${s.url}/v1`, apiKey: token, maxRetries: 0 });

// What a client that knows its own protocol alone keeps of a turn.
const plain = ({ content, tool_calls: calls }) => ({ role: "assistant", content: content ?? null, ...(calls?.length > 0 ? {
  tool_calls: calls.map(({ id, function: { name, arguments: args } }) => ({ id, type: "function", function: { name, arguments: args } })),
} : {}) });

function bodyOf(model, messages) {
  return { model, tools: TOOLS, reasoning_effort: "low", messages: [
    { role: "system", content: "signed?" }, ...messages] };
}

// One turn; streamed by the SDK's own helper.
async function turn(model, messages, { stream = false, client = openai() } = {}) {
  const body = bodyOf(model, messages);
  const made = stream ? await client.chat.completions.stream(body).finalChatCompletion()
    : await client.chat.completions.create(body);
  return plain(made.choices[0].message);
}

const results = (message) => message.tool_calls.map(({ id }) => ({ role: "tool", tool_call_id: id, content: "Rain" }));

// The first turn of a conversation, and what its second one begins with.
async function begun(model, words = "call:1", options = {}) {
  const question = { role: "user", content: `Paris? ${words}` }, answer = await turn(model, [question], options);
  assert.ok(answer.tool_calls, `calls a tool: ${JSON.stringify(answer)}`);
  assert.doesNotMatch(JSON.stringify(answer), /signature/i, "an OpenAI-only client has no signature");
  return [question, answer, ...results(answer)];
}

// The last request that came to the mock.
async function seen(model, s = stack) {
  const last = await (await fetch(`${s.mock.url}/mock/last?path=${paths[model]}`)).json();
  return typeof last.body === "string" ? JSON.parse(last.body) : last.body;
}

before(async () => {
  stack = await start({ workers: 2 });
  other = stack.command(["project", "add", "--name", "second", "--json"]);
  other.token = stack.command(["token", "add", "--project", "second", "--json"]).token;
});
after(async () => {
  assert.equal(await stack?.stop(), 0);
});

for (const model of [CLAUDE, GEMINI])
  describe(model, () => {
    for (const stream of [false, true])
      test(`keeps its signatures over two turns, ${stream ? "streamed" : "whole"}`, async () => {
        const history = await begun(model, "call:2", { stream });
        assert.equal(history[1].tool_calls.length, 2);
        const answer = await turn(model, history, { stream });
        assert.match(answer.content, /\[signed\]/);
        // and a third: both turns have theirs
        const more = [...history, answer, { role: "user", content: "And Rome? call:1" }];
        const again = await turn(model, more, { stream });
        const last = await turn(model, [...more, again, ...results(again)], { stream });
        assert.match(last.content, /\[signed\]/);
        const text = JSON.stringify(await seen(model));
        assert.equal(text.match(model === CLAUDE ? /"thinking":"/g : /"thoughtSignature":"/g).length >= 2, true, text);
      });

    test("keeps them where the second turn comes to another process", async () => {
      const history = await begun(model), before = stack.workers();
      for (const pid of before) process.kill(pid, "SIGTERM");
      await until("new workers", 10000, () => {
        const now = stack.workers();
        return now.length === 2 && now.every((pid) => !before.includes(pid));
      });
      await until("an answer", 10000, async () => (await fetch(`${stack.url}/health`)).ok);
      assert.match((await turn(model, history)).content, /\[signed\]/);
      assert.equal(await stack.cgi(bodyOf(model, history)), 200);
      assert.match(JSON.stringify(await seen(model)), model === CLAUDE ? /"signature":"/ : /"thoughtSignature":"(?!skip)/);
    });

    test("another project gets none of them", async () => {
      const history = await begun(model), answer = await turn(model, history, { client: openai(other.token) });
      assert.match(answer.content, /\[not signed\]/);
      const text = JSON.stringify(await seen(model));
      if (model === CLAUDE) assert.doesNotMatch(text, /"signature"|"thinking":\{"type":"(enabled|adaptive)/, "thinking is off for this turn");
      else assert.match(text, /"thoughtSignature":"skip_thought_signature_validator"/);
    });

    test("a turn of text alone has its own, too", async () => {
      const question = { role: "user", content: "Paris?" }, answer = await turn(model, [question], { stream: true });
      assert.match(answer.content, /Paris/);
      // as clients store it
      const history = [question, { role: "assistant", content: ` ${answer.content.trim()}\n` }, { role: "user", content: "And Rome?" }];
      assert.match((await turn(model, history)).content, model === CLAUDE ? /\[signed\]/ : /Rome/);
      history[1].content += "!"; // not what the model said
      assert.match((await turn(model, history)).content, /\[not signed\]/);
    });
  });

test("a client of Anthropic's keeps what Gemini signed", async () => {
  const client = new Anthropic({ baseURL: stack.url, apiKey: stack.token, maxRetries: 0 });
  const ask = (messages, stream) => {
    const body = { model: GEMINI, max_tokens: 4000, system: "signed?", thinking: { type: "enabled", budget_tokens: 1024 }, messages,
      tools: [{ name: "get_weather", description: "Tells the weather.", input_schema: parameters }] };
    return stream ? client.messages.stream(body).finalMessage() : client.messages.create(body);
  };
  for (const stream of [false, true]) {
    const question = { role: "user", content: "Paris? call:2" }, first = await ask([question], stream);
    const calls = first.content.filter((block) => block.type === "tool_use");
    assert.equal(calls.length, 2);
    assert.doesNotMatch(JSON.stringify(calls), /signature/i);
    const second = await ask([question, { role: "assistant", content: first.content },
      { role: "user", content: calls.map(({ id }) => ({ type: "tool_result", tool_use_id: id, content: "Rain" })) }], stream);
    assert.match(second.content.find((block) => block.type === "text").text, /\[signed\]/);
    assert.match(JSON.stringify(await seen(GEMINI)), /"thoughtSignature":"(?!skip)/);
  }
});

for (const model of [CLAUDE, GEMINI])
  test(`a client of responses that keeps no reasoning: ${model}`, async () => {
    const ask = async (input, stream) => {
      const body = { model, input, store: false, instructions: "signed?", reasoning: { effort: "low" },
        tools: TOOLS.map(({ function: f }) => ({ type: "function", strict: true, ...f })) };
      const made = stream ? await openai().responses.stream(body).finalResponse() : await openai().responses.create(body);
      return made.output.filter((item) => item.type !== "reasoning").map(({ type, call_id, name, arguments: args, content, role }) =>
        (type === "function_call" ? { type, call_id, name, arguments: args } : { type, role, content }));
    };
    for (const stream of [false, true]) {
      const question = { role: "user", content: "Paris? call:1" }, first = await ask([question], stream);
      const call = first.find((item) => item.type === "function_call");
      const second = await ask([question, ...first, { type: "function_call_output", call_id: call.call_id, output: "Rain" }], stream);
      assert.match(JSON.stringify(second), /\[signed\]/);
    }
  });

test("the one asked second gets them as well", async () => {
  stack.command(["upstream", "add", "--name", "broken", "--protocol", "openai", "--base-url", stack.mock.url + "/v1",
    "--allow-private", "--models", "claude-second"]);
  stack.command(["key", "add", "--upstream", "broken", "--secret", "sk-bad503-secret-0001"]);
  const history = await begun("claude-second");
  for (let i = 0; i < 4; i++) assert.match((await turn("claude-second", history)).content, /\[signed\]/);
  const list = await until("rows", 10000, async () => {
    const rows = (await stack.rows()).filter((row) => row.model === "claude-second");
    return rows.length === 5 && rows;
  });
  assert.ok(list.filter((row) => row.attempts === 2).length > 0, JSON.stringify(list.map((row) => row.attempts)));
});

test("what is kept shows in the health, and the log tells nothing of it", async () => {
  const { store } = await stack.manage("GET", "health");
  assert.ok(store.vault_bytes > 1000, String(store.vault_bytes));
  assert.doesNotMatch(stack.logs(), /ignatures/);
});

test("they are kept for vault_hours, and with 0 not at all", async () => {
  const clock = new WallClock();
  const short = await start({ workers: 1, vault_hours: 1 }, clock.env);
  try {
    const client = openai(short.token, short), models = [CLAUDE, GEMINI], histories = [];
    const second = async (i) => (await turn(models[i], histories[i], { client })).content;
    for (const model of models) histories.push(await begun(model, "call:1", { client }));
    for (const i of [0, 1]) assert.match(await second(i), /\[signed\]/);
    clock.step(HOUR + 1000);
    for (const i of [0, 1]) assert.match(await second(i), /\[not signed\]/);
    clock.step(0);
    for (const i of [0, 1]) assert.match(await second(i), /\[signed\]/, "nothing else was amiss");

    fs.writeFileSync(short.config, fs.readFileSync(short.config, "utf8").replace("vault_hours = 1", "vault_hours = 0"));
    const [pid] = short.workers();
    process.kill(pid, "SIGTERM");
    await until("a new worker", 10000, () => short.workers().length === 1 && short.workers()[0] !== pid);
    for (const i of [0, 1]) assert.match(await second(i), /\[not signed\]/, "nor given back");
    assert.match(JSON.stringify(await seen(GEMINI, short)), /"thoughtSignature":"skip_thought_signature_validator"/);
    const { vault_bytes: bytes } = (await short.manage("GET", "health")).store;
    for (const i of [0, 1]) {
      histories[i] = await begun(models[i], "call:1", { client });
      assert.match(await second(i), /\[not signed\]/);
    }
    assert.equal((await short.manage("GET", "health")).store.vault_bytes, bytes);
  } finally {
    assert.equal(await short.stop(), 0);
    clock.close();
  }
});
