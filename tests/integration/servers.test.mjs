// Each way of mounting serves the official OpenAI package: streams, answers, lists, embeddings and
// typed errors, and notices a client that leaves.

import assert from "node:assert/strict";
import test from "node:test";
import OpenAI from "openai";
import { SLOW, Stack, sleep, until } from "./lib/stack.mjs";

// finPropagated: the server tells at once that a client left; elsewhere a heartbeat has to find out.
const ways = [
  { server: "lighttpd-socket", finPropagated: true },
  { server: "lighttpd-spawn", finPropagated: true },
  { server: "lighttpd-cgi", finPropagated: true },
  { server: "apache-proxy-fcgi" },
  { server: "apache-fcgid" },
  { server: "apache-cgid", mount: "/site" },
  { server: "nginx", finPropagated: true },
  { server: "Caddyfile" },
];
const HEARTBEAT_MS = 500;

async function leaves(stack, base, finPropagated) {
  const abort = new AbortController();
  const answer = await fetch(`${base}/v1/chat/completions`, {
    method: "POST",
    headers: { authorization: `Bearer ${stack.token}`, "content-type": "application/json" },
    body: JSON.stringify({ model: "mock-hang-stream", stream: true, messages: [{ role: "user", content: "x" }] }),
    signal: abort.signal,
  });
  const reader = answer.body.getReader();
  await reader.read();
  assert.equal((await stack.mockStats()).open, 1, "the provider is at work");
  const left = Date.now();
  abort.abort();
  await reader.read().catch(() => {});
  await until("the provider's connection closes", 10000, async () => (await stack.mockStats()).open === 0);
  const took = Date.now() - left;
  // nobody but the heartbeat's write tells: Caddy needs more writes than the others
  const most = finPropagated ? 1000 : stack.server === "Caddyfile" ? 8 * HEARTBEAT_MS : 4 * HEARTBEAT_MS;
  assert.ok(took < most * SLOW, `noticed after ${took} ms`);
  const row = await until("its row", 3000, async () =>
    (await stack.rows()).find((r) => r.model === "mock-hang-stream"));
  assert.equal(row.ended_by, "client");
  assert.equal(row.usage, "estimated");
  return took;
}

for (const { server, mount = "", finPropagated } of ways) {
  test(`${server}: the openai package works`, { timeout: 60000 }, async (t) => {
    const stack = await Stack.start({ server, mock: ["--interval-ms", "30"],
      settings: { heartbeat: `${HEARTBEAT_MS}ms`, metrics_addresses: "127.0.0.0/8" } });
    try {
      const base = stack.url + mount;
      const client = new OpenAI({ apiKey: stack.token, baseURL: `${base}/v1`, maxRetries: 0 });

      await t.test("streams, event by event", async () => {
        const times = [];
        let text = "";
        const stream = await client.chat.completions.create({
          model: "mock:chunks=10,interval=60", stream: true, messages: [{ role: "user", content: "Hi" }] });
        for await (const chunk of stream) {
          times.push(Date.now());
          text += chunk.choices[0]?.delta?.content ?? "";
          assert.equal(chunk.usage ?? null, null, "the extra usage chunk is hidden");
        }
        assert.ok(text.length > 0);
        assert.ok(times.at(-1) - times[0] > 300, `events are spread over ${times.at(-1) - times[0]} ms`);
      });
      await t.test("carries the paths of the other protocols, escaped ones as they are", async () => {
        const post = (where, body) => fetch(base + where, { method: "POST", body: JSON.stringify(body),
          headers: { authorization: `Bearer ${stack.token}`, "content-type": "application/json" } });
        const messages = [{ role: "user", content: "Hi" }];
        for (const [where, body] of [
          ["/v1/messages", { model: "mock-plain", max_tokens: 9, messages }],
          ["/v1beta/models/mock-plain:generateContent", { contents: [{ parts: [{ text: "Hi" }] }] }],
          ["/openai/deployments/mock-plain/chat/completions?api-version=2024-10-21", { messages }],
          ["/model/mock-plain%2Fof%3A0/converse", { messages: [{ role: "user", content: [{ text: "Hi" }] }] }],
        ]) {
          const answer = await post(where, body), text = await answer.text();
          assert.equal(answer.status, 200, `${where}: ${text}`);
          assert.match(text, /Hello from the mock/, where);
        }
        assert.ok((await post("/upload/v1beta/files", {})).headers.has("x-request-id"), "the gateway answered");
      });
      await t.test("shows usage in a stream to who asks", async () => {
        let usage = null;
        const stream = await client.chat.completions.create({ model: "mock:chunks=3", stream: true,
          stream_options: { include_usage: true }, messages: [{ role: "user", content: "Hi" }] });
        for await (const chunk of stream) usage = chunk.usage ?? usage;
        assert.equal(usage.completion_tokens, 3);
      });
      await t.test("answers whole, and tells cost and upstream", async () => {
        const { data, response } = await client.chat.completions
          .create({ model: "mock-plain", messages: [{ role: "user", content: "Hi" }] }).withResponse();
        assert.ok(data.choices[0].message.content);
        assert.equal(response.headers.get("x-sluice-upstream"), "mock");
        assert.match(response.headers.get("x-request-id"), /^req_/);
        assert.match(response.headers.get("x-sluice-cost"), /^0\.\d{9}$/);
        const row = await until("its row", 2000, async () =>
          (await stack.rows()).find((r) => r.id === response.headers.get("x-request-id")));
        assert.equal(row.tokens.input, data.usage.prompt_tokens);
        assert.equal(row.cost, response.headers.get("x-sluice-cost"));
        assert.equal(row.ended_by, "done");
      });
      await t.test("lists models", async () => {
        const names = [];
        for await (const model of client.models.list()) names.push(model.id);
        assert.deepEqual(names, ["gpt-test"]);
        assert.equal((await client.models.retrieve("gpt-test")).id, "gpt-test");
      });
      await t.test("embeds", async () => {
        const list = await client.embeddings.create({ model: "mock-embedding", input: ["one", "two"] });
        assert.equal(list.data.length, 2);
        assert.ok(list.data[0].embedding.length > 0);
      });
      await t.test("gives typed errors", async () => {
        const wrong = new OpenAI({ apiKey: "sk-nobody", baseURL: `${base}/v1`, maxRetries: 0 });
        const ask = (c, model) => c.chat.completions.create({ model, messages: [{ role: "user", content: "x" }] });
        await assert.rejects(ask(wrong, "gpt-test"), (e) => e instanceof OpenAI.AuthenticationError
          && e.status === 401 && e.code === "invalid_api_key");
        await assert.rejects(ask(client, "nobody-serves-this"), (e) => e instanceof OpenAI.NotFoundError
          && e.code === "model_not_found" && /nobody-serves-this/.test(e.message));
        await assert.rejects(ask(client, "mock-error-429"), (e) => e instanceof OpenAI.RateLimitError
          && Number(e.headers.get("retry-after")) > 0 && Number(e.headers.get("retry-after")) <= 7);
        // the key rests now as its provider said; a new one makes the pool live again
        stack.command(["key", "enable", stack.key.id, "--yes"]);
      });
      await t.test("shows metrics to who the settings name", async () => {
        const text = await (await fetch(`${base}/metrics`)).text();
        assert.match(text, /^sluice_requests_total [1-9]/m);
        assert.match(text, /^sluice_inflight \d+$/m);
      });
      await t.test("takes a path below the mount that is not known to it", async () => {
        const answer = await fetch(`${base}/v1/something/new?a=b%20c`, {
          headers: { authorization: `Bearer ${stack.token}` } });
        const echo = await answer.json();
        assert.equal(answer.status, 200);
        assert.deepEqual([echo.path, decodeURIComponent(echo.query)], ["/v1/something/new", "a=b c"]);
      });
      await t.test("notices a client that leaves", async (u) => {
        u.diagnostic(`noticed after ${await leaves(stack, base, finPropagated)} ms`);
      });
      if (mount !== "") {
        await t.test("shows the page below its mount", async () => {
          assert.match(await (await fetch(`${base}/admin/`)).text(), /<html/i);
          const answer = await fetch(`${base}/manage/session`);
          assert.equal(answer.status, 401);
          for (const file of ["sluice.conf", "setup.code"])
            assert.ok([403, 404].includes((await fetch(`${base}/${file}`)).status), `${file} is not shown`);
        });
      }
      await sleep(0);
    } finally {
      assert.equal(await stack.stop(), 0, "everything ended on TERM");
    }
  });
}
