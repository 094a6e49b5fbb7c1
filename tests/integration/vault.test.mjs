// vault.test.mjs - a conversation with thinking and tools, by clients whose protocol cannot carry what the
// model signed: the mock signs as the providers do, and refuses a history without, or with a false one.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import OpenAI from "openai";
import Anthropic from "@anthropic-ai/sdk";
import { Stack, until } from "./lib/stack.mjs";

const CLAUDE = "claude-sonnet-4-5", GEMINI = "gemini-3-pro";
const parameters = { type: "object", properties: { city: { type: "string" } }, required: ["city"], additionalProperties: false };
const TOOLS = [{ type: "function", function: { name: "get_weather", description: "Tells the weather.", parameters } }];
const paths = { [CLAUDE]: "/v1/messages", [GEMINI]: `/v1beta/models/${GEMINI}` };

let stack, other;

async function start(settings) {
  const s = await Stack.start({ settings });
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
  });
