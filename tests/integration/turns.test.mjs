// Who waits together: turns by weight whatever is scarce, over workers and CGI processes, for streams and
// short calls, beside projects whose clients leave.
//
// SLUICE_LONG=1: each a minute.

import assert from "node:assert/strict";
import test from "node:test";
import { Provider } from "./lib/provider.mjs";
import { SLOW, sleep, Stack, until } from "./lib/stack.mjs";

const LONG = process.env.SLUICE_LONG === "1";
const SECONDS = LONG ? 60 : 2;
const CAP = 2;
const WEIGHTS = [1, 2, 5];
const EACH = 5; // requests for each of its weight that a project always has open: all run dry at once
const body = (model) => ({ model, messages: [{ role: "user", content: "x" }] });

test("those who wait together have turns by weight", { timeout: (LONG ? 600_000 : 120_000) * SLOW }, async (t) => {
  const stack = await Stack.start({ server: "nginx", settings: { workers: 3, queue_wait: "60s" } });
  const waiting = async () => (await stack.manage("GET", "inflight")).data.filter((r) => r.state === "waiting");
  const settled = () => until("nothing runs", 20000, async () =>
    (await stack.manage("GET", "inflight")).data.length === 0);
  const caps = async (upstream, key) => {
    await stack.manage("PATCH", `upstreams/${stack.upstream.id}`, { max_parallel: upstream });
    await stack.manage("PATCH", `keys/${stack.key.id}`, { max_parallel: key });
  };
  const tokens = WEIGHTS.map((weight, i) => {
    stack.command(["project", "add", "--name", `weight-${i}`, "--weight", String(weight), "--json"]);
    return stack.command(["token", "add", "--project", `weight-${i}`, "--json"]).token;
  });

  // call(project, which of its clients): a status.  Turns of each project, from when all wait until nobody comes.
  async function shares(t, call) {
    const done = WEIGHTS.map(() => []);
    const others = [];
    const end = Date.now() + SECONDS * 1000 + 500;
    const worker = async (project, which) => {
      while (Date.now() < end) {
        const status = await call(project, which);
        if (status === 200) done[project].push(Date.now());
        else if (status !== "left") others.push(status);
      }
    };
    await Promise.all(WEIGHTS.flatMap((_, i) => Array.from({ length: EACH * WEIGHTS[i] }, (_, k) => worker(i, k))));
    const turns = done.map((times) => times.filter((at) => at >= end - SECONDS * 1000 && at < end).length);
    const total = turns.reduce((a, b) => a + b, 0);
    t.diagnostic(`turns ${turns} of ${total}`);
    assert.deepEqual(others, []);
    await settled();
    return { turns, total };
  }
  // Turns are apart by one of each project at most; answers come out of their order by CAP.
  function inShare({ turns, total }) {
    const slack = LONG ? 0 : 1 + CAP;
    turns.forEach((n, i) => assert.ok(Math.abs(n - total * WEIGHTS[i] / 8) <= 0.05 * total * WEIGHTS[i] / 8 + slack,
      `weight ${WEIGHTS[i]}: ${n} turns, not ${total * WEIGHTS[i] / 8}`));
  }

  try {
    await t.test("where a key is scarce, and its upstream is not", async (t) => {
      await caps(10, CAP);
      inShare(await shares(t, (i) => stack.ask(body("mock:delay=10"), tokens[i])));
    });

    await t.test("where a limit of the upstream is", async (t) => {
      await caps(0, 0);
      const limit = await stack.manage("POST", "limits",
        { scope: { upstream: stack.upstream.id }, metric: "parallel", cap: CAP });
      inShare(await shares(t, (i) => stack.ask(body("mock:delay=50"), tokens[i])));
      await stack.manage("DELETE", `limits/${limit.id}`);
    });

    await t.test("over workers and CGI processes", async (t) => {
      await caps(CAP, 0);
      // of each project some come by each way: a CGI process may be slow to start, so others wait meanwhile
      const result = await shares(t, (i, k) => (k < 2 ? stack.cgi : stack.ask).call(stack,
        body("mock:delay=100"), tokens[i]));
      inShare(result);
    });

    await t.test("streams and short calls", async (t) => {
      await caps(4, 0);
      // half of each project's are streams of 20 events; a turn is a turn
      const stream = async (i) => {
        const answer = await stack.chat({ model: "mock:chunks=20,interval=10", stream: true }, { token: tokens[i] });
        const text = await answer.text();
        assert.ok(answer.status !== 200 || text.includes("[DONE]"));
        return answer.status;
      };
      inShare(await shares(t, (i, k) => k % 2 === 0 ? stream(i) : stack.ask(body("mock:delay=50"), tokens[i])));
    });

    await t.test("a project whose clients leave costs the others nothing", async (t) => {
      await caps(CAP, 0);
      let left = 0;
      const { turns, total } = await shares(t, async (i, k) => {
        if (i !== 2) return stack.ask(body("mock:delay=50"), tokens[i]);
        if (k > 5) return (await sleep(500), "left");
        const leaver = new AbortController();
        const asked = stack.chat(body("mock:delay=50"), { token: tokens[i], signal: leaver.signal })
          .then(async (answer) => (await answer.text(), answer.status), () => "left");
        await sleep(20 + 2 * k);
        leaver.abort();
        left += (await asked) === "left";
        return "left";
      });
      t.diagnostic(`${left} left`);
      assert.ok(left > SECONDS * 5, String(left));
      const two = turns[0] + turns[1];
      assert.ok(Math.abs(turns[1] - two * 2 / 3) <= 0.05 * two * 2 / 3 + 1 + CAP, `${turns}`);
      assert.ok(total > SECONDS * CAP * 20 * 0.2, `the upstream is kept busy: ${total}`);
    });

    await t.test("who waits for a model that rests holds nobody up", async () => {
      const provider = await Provider.start();
      const words = { id: "x", object: "chat.completion", created: 1, model: "well",
        choices: [{ index: 0, message: { role: "assistant", content: "Hi" }, finish_reason: "stop" }],
        usage: { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 } };
      provider.gives({ error: { message: "Rate limit reached for sick", type: "requests",
        code: "rate_limit_exceeded" } }, { status: 429, headers: { "retry-after": "40" } });
      try {
        stack.command(["upstream", "add", "--name", "two", "--protocol", "openai", "--base-url", provider.url + "/v1",
          "--allow-private", "--models", "sick,well", "--max-parallel", "4"]);
        stack.command(["key", "add", "--upstream", "two", "--secret", "sk-provider-secret-0002"]);
        assert.equal((await stack.chat({ model: "sick" })).status, 429);
        provider.gives(words);
        const leaver = new AbortController();
        const waits = stack.chat({ model: "sick" }, { signal: leaver.signal }).catch(() => null);
        await until("it waits", 5000, async () => (await waiting()).length === 1);
        for (let i = 0; i < 10; i++) assert.equal((await stack.chat({ model: "well" })).status, 200);
        assert.equal((await waiting()).length, 1, "it waits all the same");
        leaver.abort();
        await waits;
      } finally {
        provider.stop();
      }
    });
  } finally {
    await stack.stop();
  }
});
