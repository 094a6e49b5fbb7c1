// Workers are killed with SIGKILL again and again under load; money and leases stay exact.
// SLUICE_LONG=1: a minute of it, every 500 ms; otherwise a few seconds.

import assert from "node:assert/strict";
import http from "node:http";
import test from "node:test";
import { SLOW, Stack, sleep, until } from "./lib/stack.mjs";

const LONG = process.env.SLUICE_LONG === "1";
const SECONDS = LONG ? 60 : 8;
const KILL_EACH_MS = 500;
const CLIENTS = 40;

test(`kill -9 of a random worker for ${SECONDS} s`, { timeout: (SECONDS + 60) * 1000 }, async (t) => {
  const stack = await Stack.start({ server: "nginx", settings: { workers: 4 }, mock: ["--delay-ms", "10"] });
  const agent = new http.Agent({ keepAlive: false });
  const acknowledged = [];
  let failed = 0;
  let stopping = false;
  const ask = () => new Promise((done) => {
    const body = JSON.stringify({ model: "mock-crash", messages: [{ role: "user", content: "x" }] });
    const began = performance.now();
    const request = http.request(`${stack.url}/v1/chat/completions`, { method: "POST", agent,
      headers: { authorization: `Bearer ${stack.token}`, "content-type": "application/json",
        "content-length": Buffer.byteLength(body) } }, (answer) => {
      answer.resume();
      answer.on("end", () => {
        if (answer.statusCode === 200 && answer.complete) acknowledged.push(answer.headers["x-request-id"]);
        else failed++;
        done({ status: answer.statusCode, ms: performance.now() - began });
      });
      answer.on("error", () => { failed++; done({ status: 0, ms: performance.now() - began }); });
    });
    request.on("error", () => { failed++; done({ status: 0, ms: performance.now() - began }); });
    request.end(body);
  });
  try {
    await stack.manage("POST", "prices", { model: "mock-crash", input: "0", output: "0", request: "0.01" });
    const cost = await stack.manage("POST", "limits",
      { scope: { token: "each" }, metric: "cost", window: "total", cap: "1000000" });
    const parallel = await stack.manage("POST", "limits",
      { scope: { token: "each" }, metric: "parallel", window: "total", cap: 1000 });
    const load = Array.from({ length: CLIENTS }, async () => {
      while (!stopping) await ask();
    });
    let kills = 0;
    let slowest = 0;
    const end = Date.now() + SECONDS * 1000;
    while (Date.now() < end) {
      const workers = stack.workers();
      if (workers.length > 0) {
        process.kill(workers[Math.floor(Math.random() * workers.length)], "SIGKILL");
        kills++;
      }
      // a new request is answered within a second, whoever died
      const began = performance.now();
      await until("a new request is answered", 5000, async () => (await ask()).status === 200);
      slowest = Math.max(slowest, performance.now() - began);
      await sleep(Math.max(0, KILL_EACH_MS - (performance.now() - began)));
    }
    stopping = true;
    await Promise.all(load);
    t.diagnostic(`${kills} kills, ${acknowledged.length} acknowledged, ${failed} failed, `
      + `slowest new request ${slowest.toFixed(0)} ms`);
    assert.ok(slowest < 1000 * SLOW, `a new request took ${slowest.toFixed(0)} ms`);
    assert.ok(acknowledged.length > 100 && kills >= SECONDS / SLOW);

    const limits = async () => (await stack.manage("GET", `limits?limit=100&token_id=${stack.tokenId}`)).data;
    await until("no lease stays", 5000, async () =>
      (await limits()).every((l) => Number(l.reserved) === 0));
    const rows = [];
    let cursor = "";
    do {
      const page = await stack.manage("GET", `requests?limit=500${cursor && `&cursor=${cursor}`}`);
      rows.push(...page.data);
      cursor = page.next;
    } while (cursor);
    const ids = rows.map((r) => r.id);
    assert.equal(new Set(ids).size, ids.length, "no exchange is booked twice");
    const booked = new Set(ids);
    const lost = acknowledged.filter((id) => !booked.has(id));
    assert.deepEqual(lost, [], "no acknowledged exchange is lost");
    // board, rows and rollups say the same, to the nano-dollar
    const nano = (usd) => BigInt(usd.replace(".", ""));
    const fromRows = rows.reduce((sum, r) => sum + nano(r.cost ?? "0.000000000"), 0n);
    const used = nano((await limits()).find((l) => l.id === cost.id).used);
    const usage = await stack.manage("GET", "usage?by=token&step=day");
    const fromRollups = usage.data.filter((u) => u.value === stack.tokenId)
      .reduce((sum, u) => sum + nano(u.cost), 0n);
    assert.equal(used, fromRows, "board and rows agree");
    assert.equal(fromRollups, fromRows, "rollups and rows agree");
    const crashed = rows.filter((r) => r.ended_by === "crash");
    assert.ok(crashed.every((r) => r.usage === "estimated" || r.cost === "0.000000000"));
    t.diagnostic(`${rows.length} rows, ${crashed.length} of them settled after a crash`);
    assert.equal((await limits()).find((l) => l.id === parallel.id).reserved, 0);
  } finally {
    stopping = true;
    await stack.stop();
  }
});

test("kill -9 in the middle of streams: each is charged once, by estimate", { timeout: 60000 }, async (t) => {
  const STREAMS = 40;
  const stack = await Stack.start({ server: "nginx", settings: { workers: 3 } });
  const nano = (usd) => BigInt(usd.replace(".", ""));
  try {
    await stack.manage("POST", "prices", { model: "mock*", input: "1", output: "10", request: "0.001" });
    const cost = await stack.manage("POST", "limits",
      { scope: { token: "each" }, metric: "cost", window: "total", cap: "1000000" });
    const parallel = await stack.manage("POST", "limits",
      { scope: { token: "each" }, metric: "parallel", window: "total", cap: 1000 });
    const streams = await Promise.all(Array.from({ length: STREAMS }, async () => {
      const answer = await stack.chat({ model: "mock:chunks=1000,interval=20,bytes=20", stream: true });
      const reader = answer.body.getReader();
      let bytes = (await reader.read()).value.length;
      (async () => {
        try {
          for (;;) {
            const { value, done } = await reader.read();
            if (done) return;
            bytes += value.length;
          }
        } catch { /* its worker died */ }
      })();
      return { id: answer.headers.get("x-request-id"), bytes: () => bytes };
    }));
    await sleep(500);
    for (const pid of stack.workers()) process.kill(pid, "SIGKILL");
    const died = Date.now();
    const limits = async () => (await stack.manage("GET", `limits?limit=100&token_id=${stack.tokenId}`)).data;
    await until("nothing is held any more", 10000, async () => (await limits()).every((l) => Number(l.reserved) === 0));
    t.diagnostic(`${STREAMS} leases given back ${Date.now() - died} ms after their workers died`);
    const rows = (await stack.manage("GET", "requests?limit=500")).data;
    assert.equal(rows.length, STREAMS, "none is lost, none is there twice");
    for (const { id, bytes } of streams) {
      const row = rows.find((r) => r.id === id);
      assert.deepEqual([row?.ended_by, row?.usage, row?.status], ["crash", "estimated", 0], id);
      // each event of some 250 bytes has 20 characters of text: what the client saw is in the estimate
      assert.ok(row.tokens.output * 4 >= (bytes() / 400) * 20, `${row.tokens.output} tokens, ${bytes()} bytes`);
      assert.ok(nano(row.cost) > nano("0.001000000"));
    }
    const sum = rows.reduce((all, r) => all + nano(r.cost), 0n);
    assert.equal(nano((await limits()).find((l) => l.id === cost.id).used), sum, "board and rows agree");
    assert.equal((await limits()).find((l) => l.id === parallel.id).used, 0);
    assert.deepEqual((await stack.manage("GET", "inflight")).data, []);
  } finally {
    await stack.stop();
  }
});
