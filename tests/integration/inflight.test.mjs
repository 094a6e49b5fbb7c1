// What runs now is seen from any process, and the operator can end it.

import assert from "node:assert/strict";
import test from "node:test";
import { Stack, until } from "./lib/stack.mjs";

const LONG = "mock:chunks=600,interval=50,bytes=20";

async function open(stack, body) {
  const answer = await stack.chat(body);
  const reader = answer.body.getReader();
  const first = await reader.read();
  return { id: answer.headers.get("x-request-id"), reader, text: new TextDecoder().decode(first.value) };
}

async function rest(stream) {
  let text = stream.text;
  for (;;) {
    const { value, done } = await stream.reader.read();
    if (done) return text;
    text += new TextDecoder().decode(value);
  }
}

test("inflight shows what runs and cuts one of it", { timeout: 60000 }, async (t) => {
  const stack = await Stack.start({ server: "nginx", settings: { workers: 2 } });
  try {
    await stack.manage("POST", "prices", { model: "mock*", input: "1", output: "2" });
    const parallel = await stack.manage("POST", "limits",
      { scope: { token: "each" }, metric: "parallel", window: "total", cap: 10 });
    const streams = [];
    for (let i = 0; i < 3; i++) streams.push(await open(stack, { model: LONG, stream: true, user: `user-${i}` }));

    await t.test("each is there with who, what, where and how much", async () => {
      const list = await until("bytes of all", 5000, async () => {
        const now = await stack.manage("GET", "inflight");
        return now.data.length === 3 && now.data.every((r) => r.bytes > 0 && r.output_tokens > 0) && now;
      });
      assert.deepEqual(list.data.map((r) => r.id), streams.map((s) => s.id), "oldest first");
      for (const [i, r] of list.data.entries()) {
        assert.deepEqual([r.project, r.token_id, r.model, r.upstream, r.stream, r.end_user, r.client_gone],
          ["first", stack.tokenId, LONG, "mock", true, `user-${i}`, false]);
        assert.ok(r.age_ms >= 0 && r.key_id.startsWith("key_"));
      }
      const none = await stack.manage("GET", "inflight?limit=1");
      assert.deepEqual([none.data.length, none.total], [1, 3]);
      assert.match(stack.command(["inflight"]), new RegExp(`${streams[0].id}.*mock`));
    });

    await t.test("one is cut: an error event, a row that says so, the others go on", async () => {
      assert.deepEqual(await stack.manage("POST", `inflight/${streams[0].id}/cut`, undefined, 202),
        { id: streams[0].id, cut: true });
      const text = await rest(streams[0]);
      assert.match(text, /"sluice_code":"cut_by_operator"/);
      const row = await until("its row", 5000, async () => (await stack.rows()).find((r) => r.id === streams[0].id));
      assert.deepEqual([row.ended_by, row.code, row.error, row.usage],
        ["client", "cut_by_operator", "cut by the operator", "estimated"]);
      assert.ok(Number(row.cost) > 0, "what was streamed is charged");
      const audit = (await stack.manage("GET", "audit")).data.find((a) => a.action === "request.cut");
      assert.equal(audit?.object, streams[0].id);
      assert.equal((await stack.manage("GET", "inflight")).data.length, 2);
      assert.equal((await stack.mockStats()).open, 2);
    });

    await t.test("by the command; what has ended is not found", async () => {
      stack.command(["inflight", "cut", streams[1].id]);
      assert.match(await rest(streams[1]), /cut_by_operator/);
      await until("it is over", 5000, async () => (await stack.manage("GET", "inflight")).data.length === 1);
      assert.match(stack.command(["inflight", "cut", streams[1].id], { code: 3 }), /No such request runs/);
      assert.match(stack.command(["inflight", "cut", "../x"], { code: 2 }), /no id of a request/);
      await stack.manage("POST", "inflight/req_nonsense/cut", undefined, 404);
    });

    await t.test("one that has had no answer yet gets an error of its own, and no second try", async () => {
      const asked = stack.chat({ model: "mock-hang" });
      const hanging = await until("it hangs", 5000, async () =>
        (await stack.manage("GET", "inflight")).data.find((r) => r.model === "mock-hang"));
      await stack.manage("POST", `inflight/${hanging.id}/cut`, undefined, 202);
      const answer = await asked;
      assert.equal(answer.status, 503);
      assert.equal(answer.headers.get("x-should-retry"), "false");
      assert.equal((await answer.json()).error.sluice_code, "cut_by_operator");
    });

    await stack.manage("POST", `inflight/${streams[2].id}/cut`, undefined, 202);
    await rest(streams[2]);
    await until("all is given back", 5000, async () =>
      (await stack.manage("GET", `limits?token_id=${stack.tokenId}`)).data
        .find((l) => l.id === parallel.id).reserved === 0);
  } finally {
    await stack.stop();
  }
});
