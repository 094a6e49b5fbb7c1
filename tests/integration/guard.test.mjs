// A stream that goes beyond what its budgets hold is ended as if the model had reached its ceiling.

import assert from "node:assert/strict";
import test from "node:test";
import OpenAI from "openai";
import { Stack, until } from "./lib/stack.mjs";

const ASSUMED = 32; // tokens of output reserved for a request that states no ceiling
const PIECE = 120; // tokens that one look at the count may miss: GUARD_PIECE bytes of events, and more

const events = (text) => text.split("\n\n").map((e) => /^data: (.*)$/m.exec(e)?.[1]).filter(Boolean);
const rowOf = (stack, id) => until("its row", 10000, async () => (await stack.rows()).find((r) => r.id === id));

test("the mid-stream budget guard", { timeout: 120000 }, async (t) => {
  const stack = await Stack.start({ server: "nginx", settings: { workers: 2 } });
  const limitOf = async (id) => (await stack.manage("GET", "limits?limit=100")).data.find((l) => l.id === id);
  const limit = (model, more) => stack.manage("POST", "limits",
    { scope: { model }, metric: "output_tokens", window: "total", stops_streams: true, ...more });
  const stream = async (model, body = {}) => {
    const answer = await stack.chat({ model, stream: true, ...body });
    assert.equal(answer.status, 200);
    return { id: answer.headers.get("x-request-id"), text: await answer.text() };
  };
  try {
    await stack.manage("POST", "prices", { model: "mock*", input: "0", output: "10" });
    await stack.manage("PATCH", "upstreams/mock", { max_output_tokens: ASSUMED });

    await t.test("tokens: it ends near the cap, with a finish reason, usage and [DONE]", async () => {
      const model = "mock:chunks=400,interval=5,bytes=20"; // some 2,000 tokens
      const { id: limitId } = await limit(model, { cap: 500 });
      const { id, text } = await stream(model, { stream_options: { include_usage: true } });
      const all = events(text);
      assert.equal(all.at(-1), "[DONE]");
      const usage = JSON.parse(all.at(-2)), last = JSON.parse(all.at(-3));
      assert.equal(last.choices[0].finish_reason, "length");
      assert.equal(last.id, JSON.parse(all[0]).id, "the same answer's id");
      assert.deepEqual(usage.choices, []);
      const row = await rowOf(stack, id);
      assert.deepEqual([row.ended_by, row.usage, row.status, row.code], ["budget", "counted", 200, null]);
      assert.equal(row.tokens.output, usage.usage.completion_tokens);
      assert.ok(row.tokens.output > 500 - PIECE && row.tokens.output < 500 + PIECE, `${row.tokens.output} tokens`);
      t.diagnostic(`cap 500, stopped at ${row.tokens.output}`);
      await until("the provider is let go", 5000, async () => (await stack.mockStats()).open === 0);
      const after = await limitOf(limitId);
      assert.deepEqual([after.used, after.reserved], [row.tokens.output, 0]);
      assert.equal((await stack.chat({ model })).status, 429, "and the budget is spent");
    });

    await t.test("cost, and the SDK takes it for a complete answer", async () => {
      const model = "mock:chunks=400,interval=4,bytes=20";
      // 10 dollars a million tokens: 0.003 is 300 tokens
      const { id: limitId } = await limit(model, { metric: "cost", cap: "0.003" });
      const client = new OpenAI({ apiKey: stack.token, baseURL: `${stack.url}/v1`, maxRetries: 0 });
      const done = await client.chat.completions
        .stream({ model, messages: [{ role: "user", content: "x" }] }).finalChatCompletion();
      assert.equal(done.choices[0].finish_reason, "length");
      assert.ok(done.choices[0].message.content.length > 200 * 4);
      const after = await limitOf(limitId);
      const row = (await stack.rows()).find((r) => r.model === model);
      assert.equal(row.ended_by, "budget");
      assert.equal(after.used, row.cost);
      assert.ok(Number(after.used) < 0.003 + PIECE * 0.00001, after.used);
      assert.equal(Number(after.reserved), 0);
    });

    await t.test("many at once share what there is", async () => {
      const model = "mock:chunks=400,interval=6,bytes=20";
      const { id: limitId } = await limit(model, { cap: 3000 });
      const many = await Promise.all(Array.from({ length: 8 }, () => stream(model)));
      assert.ok(many.every(({ text }) => events(text).at(-1) === "[DONE]"));
      const rows = (await stack.rows()).filter((r) => r.model === model);
      const sum = rows.reduce((all, r) => all + r.tokens.output, 0);
      assert.ok(rows.every((r) => r.ended_by === "budget"), rows.map((r) => r.ended_by).join());
      assert.ok(sum > 3000 - 8 * PIECE && sum < 3000 + 8 * PIECE, `${sum} tokens of 3000`);
      t.diagnostic(`8 streams, cap 3000, used ${sum}`);
      assert.deepEqual((await limitOf(limitId)).reserved, 0);
    });

    await t.test("with room enough it never shows", async () => {
      const model = "mock:chunks=300,interval=3,bytes=20";
      const { id: limitId } = await limit(model, { cap: 100000 });
      const { id, text } = await stream(model);
      assert.equal(events(text).filter((e) => e.includes('"finish_reason":"length"')).length, 0);
      const row = await rowOf(stack, id);
      assert.deepEqual([row.ended_by, row.usage, row.tokens.output], ["done", "reported", 300]);
      const after = await limitOf(limitId);
      assert.deepEqual([after.used, after.reserved], [300, 0]);
    });

    await t.test("without stops_streams an answer goes on beyond", async () => {
      const model = "mock:chunks=200,interval=2,bytes=20";
      await limit(model, { cap: 100, stops_streams: false });
      const row = await rowOf(stack, (await stream(model)).id);
      assert.deepEqual([row.ended_by, row.tokens.output], ["done", 200]);
    });

    await t.test("responses end as incomplete", async () => {
      const model = "mock:chunks=400,interval=7,bytes=20";
      await limit(model, { cap: 200 });
      const client = new OpenAI({ apiKey: stack.token, baseURL: `${stack.url}/v1`, maxRetries: 0 });
      let last, before;
      for await (const event of await client.responses.create({ model, input: "x", stream: true })) {
        before = last;
        last = event;
      }
      assert.equal(last.type, "response.incomplete");
      assert.equal(last.response.incomplete_details.reason, "max_output_tokens");
      assert.equal(last.sequence_number, before.sequence_number + 1);
    });
  } finally {
    await stack.stop();
  }
});
