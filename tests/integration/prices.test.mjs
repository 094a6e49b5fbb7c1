// What a request costs by tier and step, prices that come late, lists from elsewhere, and bills.

import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import http from "node:http";
import path from "node:path";
import test from "node:test";
import { Stack, programs, until } from "./lib/stack.mjs";

const REFUSED = 3;
const nano = (money) => BigInt(money.replace(".", "")); // nine places each

function run(stack, args, input) {
  const got = spawnSync(path.join(programs, "sluice"), args,
    { env: stack.env, input, encoding: "utf8", timeout: 60000 });
  return { code: got.status, out: got.stdout, err: got.stderr };
}

// The same without standing in the way of what else this process does.
async function later(stack, args) {
  const child = spawn(path.join(programs, "sluice"), args, { env: stack.env, stdio: ["ignore", "ignore", "pipe"] });
  let err = "";
  child.stderr.on("data", (piece) => (err += piece));
  const [code] = await once(child, "close");
  return { code, err };
}

// Answers what the request's `metadata` says, in the tier it says.
async function provider() {
  const server = http.createServer(async (request, answer) => {
    let text = "";
    for await (const piece of request) text += piece;
    const { model, stream, metadata = {} } = JSON.parse(text);
    const usage = JSON.parse(metadata.usage ?? '{"prompt_tokens":10,"completion_tokens":5}');
    const body = { id: "x", object: "chat.completion", model, service_tier: metadata.tier, choices:
      [{ index: 0, message: { role: "assistant", content: "hi" }, finish_reason: "stop" }], usage };
    if (stream) {
      answer.writeHead(200, { "content-type": "text/event-stream" });
      answer.write(`data: ${JSON.stringify({ ...body, usage: null,
        choices: [{ index: 0, delta: { content: "hi" } }] })}\n\n`);
      answer.end(`data: ${JSON.stringify({ ...body, choices: [] })}\n\ndata: [DONE]\n\n`);
    } else {
      answer.writeHead(200, { "content-type": "application/json" });
      answer.end(JSON.stringify(body));
    }
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  return server;
}

test("prices", { timeout: 240000 }, async (t) => {
  const own = await provider();
  const stack = await Stack.start({ settings: { workers: 2 } });
  const row = async (answer) => stack.manage("GET", `requests/${answer.headers.get("x-request-id")}`);
  const price = (body) => stack.manage("POST", "prices", body);
  const chat = async (body, options) => {
    const answer = await stack.chat(body, options);
    answer.text = await answer.text();
    return answer;
  };
  const limitOf = async (id) => (await stack.manage("GET", "limits?limit=100")).data.find((l) => l.id === id);
  try {
    stack.command(["upstream", "add", "--name", "own", "--base-url", `http://127.0.0.1:${own.address().port}/v1`,
      "--allow-private", "--auth", "none", "--models", "own-*", "--price-factor", "1.5", "--json"]);

    await t.test("tier, step, audio, reasoning and the upstream's factor, whole and streamed", async () => {
      const base = { model: "own-*", input: "1", output: "10" };
      await price({ ...base, reasoning: "20", audio_input: "4", audio_output: "40", request: "0.001" });
      await price({ ...base, tier: "flex", input: "0.5", output: "5" });
      await price({ ...base, above_tokens: 1000, input: "2", output: "15" });
      const cases = [
        [{}, "0.001590000", "10 in, 5 out, a fee, times 1.5"], // (0.00001 + 0.00005 + 0.001) * 1.5
        [{ tier: "flex" }, "0.000045000", "another tier has no fee"],
        [{ tier: "default" }, "0.001590000", "a tier without a price is the plain one"],
        [{ usage: '{"prompt_tokens":1001,"completion_tokens":2}' }, "0.003048000", "above the step all is dearer"],
        [{ usage: '{"prompt_tokens":1000,"completion_tokens":2}' }, "0.003030000", "at the step it is not"],
        [{ usage: '{"prompt_tokens":10,"completion_tokens":10,"prompt_tokens_details":{"audio_tokens":4},' +
          '"completion_tokens_details":{"audio_tokens":3,"reasoning_tokens":2}}' },
        // (6*1 + 4*4 + 5*10 + 2*20 + 3*40) / 1e6 + 0.001, times 1.5
        "0.001848000", "parts at their own prices"],
      ];
      for (const [metadata, want, why] of cases)
        for (const stream of [false, true]) {
          const answer = await chat({ model: "own-a", metadata, stream });
          assert.equal(answer.status, 200, answer.text);
          const booked = await row(answer);
          assert.equal(booked.cost, want, `${why}, ${stream ? "streamed" : "whole"}`);
          assert.deepEqual([booked.tier, booked.cost_stated], [metadata.tier ?? null, false]);
        }
    });

    await t.test("images are priced by the piece, reserved before they are made", async () => {
      await price({ model: "own-paint", input: "0", output: "0", image: "0.04" });
      const paint = (n) => fetch(`${stack.url}/v1/images/generations`, { method: "POST",
        headers: { authorization: `Bearer ${stack.token}`, "content-type": "application/json" },
        body: JSON.stringify({ model: "own-paint", prompt: "a sluice", n, metadata: { usage: "null" } }) });
      const made = await paint(3);
      assert.equal(made.status, 200, await made.text());
      assert.equal((await row(made)).cost, "0.180000000", "three, times 1.5");
      const cap = await stack.manage("POST", "limits",
        { scope: { model: "own-paint" }, metric: "cost", window: "total", cap: "0.3" });
      const refused = await paint(3);
      assert.equal(refused.status, 429, "0.18 are spent, 0.18 more would be too much");
      await refused.text();
      const one = await paint(2);
      assert.equal(one.status, 200, await one.text());
      assert.equal((await limitOf(cap.id)).used, "0.300000000");
    });

    await t.test("what a provider says it costs goes before our prices, and stays", async () => {
      const answer = await chat({ model: "own-b",
        metadata: { usage: '{"prompt_tokens":10,"completion_tokens":5,"cost":0.125}' } });
      const booked = await row(answer);
      assert.deepEqual([booked.cost, booked.cost_stated], ["0.125000000", true]);
    });

    await t.test("an unknown price is in its own bucket, and refused where a project says so", async () => {
      assert.equal((await row(await chat({}))).cost, null);
      const day = (await stack.manage("GET", "usage?by=model&step=day")).data.find((u) => u.value === "gpt-test");
      assert.deepEqual([day.unpriced, day.cost], [1, "0.000000000"]);
      const project = await stack.manage("POST", "projects", { name: "strict", refuse_unpriced: true });
      const token = await stack.manage("POST", "tokens", { project_id: project.id });
      const refused = await chat({}, { token: token.token });
      const { error } = JSON.parse(refused.text);
      assert.deepEqual([refused.status, error.sluice_code], [403, "model_not_allowed"]);
      assert.match(error.message, /gpt-test.*sluice price add/);
      assert.equal((await chat({ model: "mock-a" }, { token: token.token })).status, 200);
      assert.equal((await chat({ model: "own-a" }, { token: token.token })).status, 200);
    });

    const limit = await stack.manage("POST", "limits",
      { scope: { token: stack.tokenId, model: "gpt-*" }, metric: "cost", window: "total", cap: "1000" });
    const rolling = await stack.manage("POST", "limits",
      { scope: { project: stack.project.id }, metric: "cost", window: "rolling", window_s: 86400, cap: "1000" });

    await t.test("reprice: dry first, then rows, sums, counters and audit; the second run changes nothing", async () => {
      for (let i = 0; i < 8; i++) assert.equal((await chat({})).status, 200);
      const used = async () => [(await limitOf(limit.id)).used, (await limitOf(rolling.id)).used].map(nano);
      const asked = async () => (await stack.rows("limit=500")).filter((r) => r.model === "gpt-test" && r.status === 200);
      assert.ok((await asked()).every((r) => r.cost === null));
      const before = await used();
      const late = await price({ model: "gpt-test", input: "0", output: "0", request: "0.5" });

      const words = ["reprice", "--from", "2020-01-01", "--json"];
      const dry = stack.command([...words, "--dry-run"]);
      assert.deepEqual([dry.changed, dry.data[0].model, dry.data[0].after], [9, "gpt-test", "4.500000000"]);
      assert.equal(dry.stated, 1, "what a provider stated is not ours to change");
      assert.ok((await asked()).every((r) => r.cost === null), "a dry run writes nothing");
      assert.deepEqual(await used(), before);

      const done = stack.command(words);
      assert.deepEqual([done.changed, done.total.difference], [9, "4.500000000"]);
      assert.deepEqual((await asked()).map((r) => r.cost), Array(9).fill("0.500000000"));
      const day = (await stack.manage("GET", "usage?by=model&step=day")).data.find((u) => u.value === "gpt-test");
      assert.deepEqual([day.unpriced, day.cost], [0, "4.500000000"]);
      const after = await used();
      assert.equal(after[0] - before[0], 4500000000n, "the counter of the token and model");
      assert.equal(after[1] - before[1], 4500000000n, "the rolling counter of the project");

      assert.equal(stack.command(words).changed, 0);
      assert.deepEqual(await used(), after);
      const audit = (await stack.manage("GET", "audit?action=reprice")).data;
      assert.deepEqual(audit.map((a) => a.object), ["9 rows"]);

      await stack.manage("PATCH", `prices/${late.id}`, { request: "0.2" });
      assert.equal(stack.command([...words, "--to", "2020-01-02"]).changed, 0, "not of that time");
      assert.equal(stack.command(words).total.difference, "-2.700000000");
      assert.equal((await used())[0] - before[0], 1800000000n, "cheaper too");
      await stack.manage("DELETE", `prices/${late.id}`);
      assert.equal(stack.command(words).changed, 0, "a cost that was known is not forgotten");
    });

    await t.test("reprice under load: rows, sums and counters agree", async () => {
      const counted = await stack.manage("POST", "limits",
        { scope: { model: "mock-load" }, metric: "cost", window: "total", cap: "1000" });
      const dear = await price({ model: "mock-load", input: "0", output: "0", request: "0.000000003" });
      const body = { model: "mock-load", messages: [{ role: "user", content: "one" }] };
      let go = true, passed = 0;
      const others = new Set();
      const load = Promise.all(Array.from({ length: 6 }, async () => {
        while (go) {
          const status = await stack.ask(body);
          if (status === 200) passed++;
          else others.add(status);
        }
      }));
      for (let i = 1; i <= 4 || passed < 60; i++) {
        await stack.manage("PATCH", `prices/${dear.id}`, { request: i % 2 === 0 ? "0.000000003" : "0.000000007" });
        const done = await later(stack, ["reprice", "--from", "2020-01-01", "--json"]);
        assert.equal(done.code, 0, done.err);
      }
      go = false;
      await load;
      await stack.manage("PATCH", `prices/${dear.id}`, { request: "0.000000003" });
      assert.deepEqual([...others], [], "nothing failed");
      await until("nothing stays reserved", 5000, async () => nano((await limitOf(counted.id)).reserved) === 0n);
      run(stack, ["reprice", "--from", "2020-01-01"]);
      const day = (await stack.manage("GET", "usage?by=model&step=day")).data.find((u) => u.value === "mock-load");
      assert.equal(day.requests, passed);
      assert.equal(nano(day.cost), 3n * BigInt(passed), "every row has the price that holds");
      assert.equal(nano((await limitOf(counted.id)).used), 3n * BigInt(passed), "and the board says the same");
    });

    await t.test("killed in mid-write: rows and sums agree, an import is there whole or not at all", async () => {
      const dear = await price({ model: "mock-kill", input: "0", output: "0", request: "0.000000001" });
      const body = { model: "mock-kill", messages: [{ role: "user", content: "one" }] };
      for (let i = 0; i < 10; i++)
        assert.ok((await Promise.all(Array.from({ length: 20 }, () => stack.ask(body)))).every((s) => s === 200));
      const file = path.join(stack.dir, "many.json");
      fs.writeFileSync(file, JSON.stringify({ prices: Array.from({ length: 3000 },
        (_, i) => ({ model: `many-${i}`, input: "1", output: "2" })) }));
      const state = async () => {
        const rows = (await stack.rows("limit=500&model=mock-kill")).map((r) => nano(r.cost));
        const day = (await stack.manage("GET", "usage?by=model&step=day")).data.find((u) => u.value === "mock-kill");
        assert.equal(rows.length, 200);
        assert.equal(rows.reduce((a, b) => a + b, 0n), nano(day.cost), "rows and sums");
        assert.equal(day.unpriced, 0);
        return nano(day.cost);
      };
      for (let i = 0; i < 12; i++) {
        await stack.manage("PATCH", `prices/${dear.id}`, { request: `0.00000000${2 + i % 7}` });
        const words = i % 2 === 0 ? ["reprice", "--from", "2020-01-01"] : ["price", "import", file];
        const child = spawn(path.join(programs, "sluice"), words, { env: stack.env, stdio: "ignore" });
        await Promise.race([once(child, "close"), new Promise((done) => setTimeout(done, 25 + i * 6))]);
        child.kill("SIGKILL");
        await state();
        const there = (await stack.manage("GET", "prices?limit=500&model=many-7")).data.length
          + (await stack.manage("GET", "prices?limit=500&model=many-2999")).data.length;
        assert.ok(there === 0 || there === 2, "all of the list or none");
      }
      const last = nano((await stack.manage("GET", `prices/${dear.id}`)).request);
      assert.equal(run(stack, ["reprice", "--from", "2020-01-01"]).code, 0);
      assert.equal(await state(), 200n * last);
      assert.equal(run(stack, ["price", "import", file]).code, 0);
      assert.equal(stack.command(["price", "import", file, "--json"]).same, 3000);
    });

    await t.test("price import: the community's shape, dry, dated, and whole or not at all", async () => {
      const file = path.join(stack.dir, "community.json");
      const model = (input) => JSON.stringify({
        sample_spec: { input_cost_per_token: "text" },
        "somebody/gpt-new": { litellm_provider: "somebody", mode: "chat", input_cost_per_token: input,
          output_cost_per_token: 6e-7, output_cost_per_token_above_200k_tokens: 9e-7, input_cost_per_pixel: 1 },
      });
      fs.writeFileSync(file, model(1.5e-7));
      const dry = stack.command(["price", "import", file, "--dry-run", "--json"]);
      assert.deepEqual([dry.added, dry.dry_run, dry.ignored_members], [4, true, [{ name: "input_cost_per_pixel", count: 1 }]]);
      assert.equal((await stack.manage("GET", "prices?model=gpt-new")).data.length, 0);
      assert.match(stack.command(["price", "import", file]), /\+ gpt-new .*input 0\.15.*output 0\.6/);
      const rows = (await stack.manage("GET", "prices?model=gpt-new")).data;
      assert.deepEqual(rows.map((r) => [r.above_tokens, r.input, r.output]).sort((a, b) => a[0] - b[0]),
        [[0, "0.150000000", "0.600000000"], [200000, "0.150000000", "0.900000000"]]);
      assert.equal(stack.command(["price", "import", file, "--json"]).changed, 0);
      fs.writeFileSync(file, model(3e-7));
      assert.match(stack.command(["price", "import", file, "--from", "2030-01-01", "--provider", "somebody"]),
        /~ gpt-new|\+ gpt-new/);
      const dated = (await stack.manage("GET", "prices?model=gpt-new")).data;
      assert.deepEqual(dated.filter((r) => r.from !== null).map((r) => r.input), ["0.300000000", "0.300000000"]);
      assert.equal(dated.length, 4, "what held before stays");
      fs.writeFileSync(file, model("oops"));
      const refused = run(stack, ["price", "import", file]);
      assert.equal(refused.code, REFUSED);
      assert.match(refused.err, /somebody\/gpt-new.*input_cost_per_token/);
      assert.equal(run(stack, ["price", "import", file, "--nonsense"]).code, 2);
      fs.writeFileSync(file, Buffer.alloc((64 << 20) + 1, " "));
      assert.match(run(stack, ["price", "import", file]).err, /too large/);
    });

    await t.test("reconcile: a bill that agrees, one that does not, and what is no bill", async () => {
      const usage = (await stack.manage("GET", "usage?by=key&step=day")).data.filter((u) => u.value === stack.key.id);
      const day = usage[0].from.slice(0, 10);
      const cost = Number(usage[0].cost);
      const bill = path.join(stack.dir, "bill.csv");
      const reconcile = (text, ...words) => {
        fs.writeFileSync(bill, text);
        const got = run(stack, ["reconcile", bill, "--json", ...words]);
        return { ...got, json: got.out === "" ? null : JSON.parse(got.out) };
      };
      assert.ok(cost > 1, `${cost}`);
      const good = reconcile(`\uFEFFDate;API key ID;Amount (USD)\r\n${day};${stack.key.id};"$${cost}"\r\n`,
        "--cost-column", "amount usd");
      assert.equal(good.code, 0, good.err + good.out);
      assert.deepEqual([good.json.agrees, good.json.by, good.json.compared], [true, "key", 1]);

      const half = `date,key,cost\n${day},${stack.key.masked},${cost / 4}\n${day}T10:00:00Z,${stack.key.id},${cost / 4}\n`;
      const bad = reconcile(half);
      assert.equal(bad.code, REFUSED);
      assert.equal(bad.json.data.length, 1);
      assert.equal(nano(bad.json.data[0].ours) - nano(bad.json.data[0].billed), nano(bad.json.data[0].difference));
      assert.match(bad.json.data[0].name, new RegExp(stack.key.id));
      assert.equal(reconcile(half, "--tolerance", "150").code, 0, "within the tolerance");
      assert.equal(reconcile(half, "--threshold", "1000").code, 0, "below the threshold");
      assert.equal(reconcile(`date,key,cost\n${day},${stack.key.id},${cost}\n${day},sk-nobody,7\n`).json.data[0].why,
        "not booked here");

      const models = reconcile(`day\tmodel\ttotal_cost\ttokens\n${day}\tgpt-test\t1.80\t99\n`, "--by", "model");
      assert.equal(models.code, REFUSED, "other models were booked and not billed");
      assert.ok(models.json.data.every((l) => l.name !== "gpt-test"));
      assert.ok(models.json.data.some((l) => l.name === "own-b" && l.why === "not on the bill"));

      for (const [text, why] of [["", /empty/], ["a,b\n1,2\n", /no column that is the day/],
        ["date,cost\nyesterday,1\n", /'yesterday' is no day/], [`date,cost\n${day},1e999\n`, /no amount/],
        [`date,cost\n${day},NaN\n`, /no amount/], ["date,cost\n", /bills nothing/],
        [`date,cost\n"${day},1\n`, /no day/], ["date,cost\n" + ",".repeat(5000) + "\n", /too long/]]) {
        const got = reconcile(text);
        assert.equal(got.code, REFUSED, text.slice(0, 40));
        assert.match(got.err, why);
      }
      assert.equal(run(stack, ["reconcile", path.join(stack.dir, "none.csv")]).code, 1);
      assert.equal(run(stack, ["reconcile"]).code, 2);
    });
  } finally {
    own.close();
    assert.equal(await stack.stop(), 0, "everything ended on TERM");
  }
});
