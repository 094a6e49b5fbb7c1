// Active health checks: asked for at their interval by one of all processes, kept with their latency, and
// told to the breaker, which opens and closes by them.

import assert from "node:assert/strict";
import test from "node:test";
import { Provider } from "./lib/provider.mjs";
import { SLOW, Stack, sleep, until } from "./lib/stack.mjs";

const answer = (who) => ({ id: "x", object: "chat.completion", model: "m", choices: [{ index: 0,
  message: { role: "assistant", content: who }, finish_reason: "stop" }],
usage: { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 } });

test("health checks", { timeout: 120000 }, async (t) => {
  const stack = await Stack.start({ settings: { workers: 3 } });
  const [one, two] = [await Provider.start(), await Provider.start()];
  const state = { status: 200, calls: 0 };
  const serve = (who) => (request, response) => {
    if (request.url.endsWith("/ping")) return response.writeHead(who === "one" ? state.status : 204).end();
    if (who === "one") state.calls++;
    if (who === "one" && state.status >= 500) return response.writeHead(state.status).end();
    return response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(answer(who)));
  };
  one.answer = serve("one");
  two.answer = serve("two");
  t.after(async () => {
    one.stop();
    two.stop();
    await stack.stop();
  });
  const health = () => stack.manage("GET", "upstreams/one/health");
  const checks = () => one.seen.filter((request) => request.url.endsWith("/ping"));

  await t.test("nobody is asked without a path", async () => {
    stack.command(["upstream", "add", "--name", "one", "--base-url", one.url + "/v1", "--allow-private",
      "--models", "both", "--breaker-failures", "2", "--breaker-open-s", "1", "--json"]);
    stack.command(["key", "add", "--upstream", "one", "--secret", "sk-0123456789", "--json"]);
    stack.command(["upstream", "add", "--name", "two", "--base-url", two.url + "/v1", "--allow-private",
      "--models", "both", "--json"]);
    stack.command(["key", "add", "--upstream", "two", "--secret", "sk-9876543210", "--json"]);
    const none = await health();
    assert.equal(none.is_healthy, null);
    assert.deepEqual(none.checks, []);
  });

  await t.test("three workers ask as often as one", async () => {
    await stack.manage("PATCH", "upstreams/one", { health_path: "/ping", health_interval_s: 1 });
    const began = Date.now();
    const found = await until("four checks", 15000, async () => {
      const h = await health();
      return h.count >= 4 && h;
    });
    const seconds = (Date.now() - began) / 1000;
    assert.ok(checks().length <= Math.floor(seconds) + 2, `${checks().length} in ${seconds} s`);
    assert.equal(found.is_healthy, true);
    assert.equal(found.last_error, null);
    assert.equal(found.healthy_count, found.count);
    for (const check of found.checks) {
      assert.equal(check.status, 200);
      assert.ok(check.took_ms >= 0 && check.took_ms < 5000 * SLOW);
    }
    assert.ok(found.checks[0].time > found.checks[1].time);
    assert.equal(checks()[0].method, "HEAD");
    assert.equal(checks()[0].headers.authorization, "Bearer sk-0123456789");
  });

  await t.test("any answer below 500 is one", async () => {
    state.status = 404;
    await stack.manage("PATCH", "upstreams/one", { health_method: "GET" });
    await until("a check by GET", 10000, async () => (await health()).checks[0].status === 404);
    assert.equal((await health()).is_healthy, true);
    assert.equal(one.last.method, "GET");
  });

  await t.test("failures open the breaker without a client, and success closes it", async () => {
    state.status = 503;
    await until("failures", 15000, async () => {
      const h = await health();
      return h.checks[0].status === 503 && h.checks[1].status === 503;
    });
    const sick = await health();
    assert.equal(sick.is_healthy, false);
    assert.equal(sick.last_error, "status 503");
    // no request has failed: the checks alone have opened it
    assert.equal(state.calls, 0);
    await until("it opens", 15000, async () => (await health()).breaker !== "closed");
    for (let i = 0; i < 6; i++) {
      const reply = await stack.chat({ model: "both" });
      assert.equal(reply.status, 200);
      assert.equal((await reply.json()).choices[0].message.content, "two");
    }
    const asked = checks().length;
    await sleep(2500);
    assert.ok(checks().length > asked, "an open breaker is checked on");
    state.status = 200;
    const calls = state.calls;
    await until("a check closes it", 40000, async () => (await health()).breaker === "closed");
    assert.equal(state.calls, calls);
    assert.equal((await health()).is_healthy, true);
    await until("it is asked again", 20000, async () => {
      const reply = await stack.chat({ model: "both" });
      return (await reply.json()).choices[0].message.content === "one";
    });
  });

  await t.test("who does not answer is told of", async () => {
    await stack.manage("PATCH", "upstreams/one", { base_url: "http://127.0.0.1:1/v1" });
    const h = await until("a failure", 15000, async () => {
      const found = await health();
      return found.checks[0].status === null && found;
    });
    assert.equal(h.is_healthy, false);
    assert.match(h.last_error, /refused|connect/i);
    assert.ok(h.count <= 64);
  });
});
