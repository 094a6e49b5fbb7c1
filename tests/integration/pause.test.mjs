// When all that could be asked have failed for now, the request waits a moment and tries them again: not
// while another key is free, nor after the first byte, nor where the fault is the caller's own.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { dialects, hears, Provider, says, send, streamOf } from "./lib/provider.mjs";
import { Stack, until } from "./lib/stack.mjs";

const WAIT_MS = 300, figures = { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 };
const d = dialects["openai-chat"];
const down = (response, headers = {}) => response.writeHead(500, { "content-type": "application/json", ...headers }).end('{"error":{"message":"down"}}');
let stack, one, two, times;

before(async () => {
  stack = await Stack.start({ mock: null, settings: { workers: 1, retry_waits: 2, retry_wait: `${WAIT_MS}ms`, queue_wait: "5s",
    first_heartbeat: "100ms", heartbeat: "100ms" } });
  stack.command(["project", "add", "--name", "first"]);
  stack.token = stack.command(["token", "add", "--project", "first", "--json"]).token;
  one = await Provider.start();
  two = await Provider.start();
});
after(async () => {
  one?.stop();
  two?.stop();
  assert.equal(await stack?.stop(), 0);
});

// Each has an upstream of its own, as those that failed may rest.
async function model(name, { pair = false, ...more } = {}) {
  const add = (at, url, priority) => stack.manage("POST", "upstreams", { name: at, base_url: url, priority, protocol: "openai_chat",
    auth: "none", allow_private: true, breaker_failures: 0, models: [name], ...more });
  await add(name, one.url, 0);
  if (pair) await add(`${name}-two`, two.url, 1);
  return name;
}
// Fails so often, then answers.
function fails(times_, { stream = false, headers } = {}) {
  times = [];
  one.answer = (seen, response) => {
    times.push(performance.now());
    if (times.length <= times_) return down(response, headers);
    if (!stream) return response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(says["openai-chat"].whole("Hi", figures)));
    return response.writeHead(200, { "content-type": "text/event-stream" }).end(streamOf("openai-chat", ["Hi"], figures));
  };
}
const ask = (name, stream = false, more = {}) => send(stack.url + d.path(name, stream), { body: d.body(name, stream), headers: d.key(stack.token), ...more });
const rowOf = (id) => until("its row", 10000, async () => (await stack.rows()).find((r) => r.id === id));
const gaps = () => times.slice(1).map((ms, i) => ms - times[i]);

test("one that fails for a moment is asked again, later each time", async () => {
  const name = await model("passing");
  fails(2);
  const got = await ask(name);
  assert.deepEqual([got.status, got.headers["x-sluice-attempts"]], [200, "3"], got.text);
  const [first, second] = gaps();
  assert.ok(first >= WAIT_MS / 2 - 5 && second >= WAIT_MS - 5, `${first}, ${second}`);
  assert.equal((await rowOf(got.headers["x-request-id"])).attempts, 3);
  const why = await stack.manage("GET", `requests/${got.headers["x-request-id"]}/explain`);
  assert.deepEqual(why.attempts.map((a) => a.status), [500, 500, 200]);

  fails(2, { stream: true });
  const stream = await ask(name, true), heard = hears["openai-chat"](stream.bytes);
  assert.deepEqual([stream.status, heard.text, heard.complete, times.length], [200, "Hi", true, 3]);
  assert.ok(heard.pings > 0, "it hears that somebody is at it");
});

test("it ends after so many waits", async () => {
  const name = await model("lasting");
  fails(Infinity);
  const got = await ask(name);
  assert.ok(got.status >= 500, got.text);
  assert.deepEqual([got.headers["x-sluice-attempts"], times.length], ["3", 3]);
  await stack.manage("POST", "routes", { name: "once", model: name, strategy: "first", targets: [{ upstream: name, model: name }], tries: 2 });
  fails(Infinity);
  assert.equal((await ask(name)).headers["x-sluice-attempts"], "2", "a route's tries hold");
});

test("a key that rests is asked when its time has come, or not at all where that is too late", async () => {
  const rests = await model("resting"), long = await model("long");
  one.answer = (seen, response) => {
    times.push(performance.now());
    if (times.length > 1) return response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(says["openai-chat"].whole("Hi", figures)));
    return response.writeHead(429, { "retry-after": seen.json.model === "long" ? "60" : "1" }).end('{"error":{"message":"slower"}}');
  };
  times = [];
  assert.equal((await ask(rests)).status, 200);
  assert.deepEqual([times.length, gaps()[0] >= 995], [2, true], String(gaps()));
  times = [];
  const late = await ask(long);
  assert.deepEqual([late.status, times.length], [429, 1], late.text);
  assert.ok(Number(late.headers["retry-after"]) > 50, "the client is told when");
});

test("never on the caller's own fault, nor after the first byte, nor by a rule", async () => {
  const wrong = await model("wrong");
  one.answer = (seen, response) => {
    times.push(0);
    response.writeHead(400, { "content-type": "application/json" }).end('{"error":{"message":"no number","type":"invalid_request_error"}}');
  };
  times = [];
  assert.deepEqual([(await ask(wrong)).status, times.length], [400, 1]);

  const cut = await model("cut");
  one.answer = (seen, response) => {
    times.push(0);
    response.writeHead(200, { "content-type": "text/event-stream" });
    response.write(says["openai-chat"].piece("a"), () => setTimeout(() => response.destroy(), 50));
  };
  times = [];
  const half = await ask(cut, true);
  assert.deepEqual([hears["openai-chat"](half.bytes).text, times.length], ["a", 1]);

  const ruled = await model("ruled", { failure_rules: ["status=500 -> stop"] });
  fails(1);
  assert.deepEqual([(await ask(ruled)).status >= 500, times.length], [true, 1]);
});

test("another that is free is asked first", async () => {
  const name = await model("paired", { pair: true });
  const order = [];
  one.answer = (seen, response) => {
    order.push("one");
    down(response);
  };
  two.answer = (seen, response) => {
    order.push("two");
    return order.length < 4 ? down(response) : response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(says["openai-chat"].whole("Hi", figures)));
  };
  assert.equal((await ask(name)).status, 200);
  assert.deepEqual(order, ["one", "two", "one", "two"]);
});

test("who leaves meanwhile is not asked for any more", async () => {
  const name = await model("left"), leaving = new AbortController();
  fails(Infinity);
  const gone = fetch(stack.url + d.path(name), { method: "POST", signal: leaving.signal, body: JSON.stringify(d.body(name, true)),
    headers: { ...d.key(stack.token), "content-type": "application/json" } }).then((r) => r.text());
  await until("its first attempt", 5000, () => times.length > 0);
  leaving.abort();
  await assert.rejects(gone);
  const row = await until("its row", 10000, async () => (await stack.rows()).find((r) => r.model === name));
  assert.equal(row.ended_by, "client");
  assert.ok(times.length <= 2, `${times.length}`);
  assert.equal((await stack.manage("GET", "limits")).data.every((l) => l.reserved === 0), true);
});
