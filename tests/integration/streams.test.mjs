// Many streams at once come through whole; a slow reader costs little and hurts nobody.

import assert from "node:assert/strict";
import net from "node:net";
import test from "node:test";
import { SLOW, Stack, sleep } from "./lib/stack.mjs";
import { residentKb, streamHash } from "./lib/streams.mjs";

const LONG = process.env.SLUICE_LONG === "1";
const STREAMS = LONG ? 1000 : 300;
test(`${STREAMS} streams at once through 2 workers, equal byte for byte`, { timeout: 120000 }, async (t) => {
  const stack = await Stack.start({ server: "nginx", settings: { workers: 2, heartbeat: "0" } });
  let watch;
  try {
    const model = "mock:chunks=40,interval=50,bytes=20";
    const direct = await streamHash(stack.mock.url, "sk-direct", model);
    assert.match(direct, /^[0-9a-f]{64}$/);
    let peak = 0;
    watch = setInterval(() => { peak = Math.max(peak, residentKb(stack.workers())); }, 100);
    const all = await Promise.all(Array.from({ length: STREAMS }, () => streamHash(stack.url, stack.token, model)));
    const different = all.filter((h) => h !== direct);
    assert.deepEqual(different.slice(0, 3), [], `${different.length} differ`);
    t.diagnostic(`peak resident ${(peak / 1024).toFixed(1)} MB for both workers together`);
    if (SLOW === 1) assert.ok(peak < 100 * 1024, `${peak} KB`);
  } finally {
    clearInterval(watch);
    await stack.stop();
  }
});

test("a reader of 1 KB/s of a 60 MB answer", { timeout: 60000 }, async (t) => {
  const stack = await Stack.start({ server: "nginx", settings: { workers: 1, heartbeat: "0" } });
  let slow, sip;
  try {
    const model = "mock:chunks=20,interval=50,bytes=20";
    const direct = await streamHash(stack.mock.url, "sk-direct", model);
    await streamHash(stack.url, stack.token, model); // warm
    await Promise.all(Array.from({ length: 100 }, () => streamHash(stack.url, stack.token, model)));
    const [pid] = stack.workers();
    const before = residentKb([pid]);
    const body = JSON.stringify({ model: "mock-big-60m", messages: [{ role: "user", content: "x" }] });
    slow = net.connect({ port: stack.port, host: "127.0.0.1" });
    slow.on("error", () => {});
    slow.write(`POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${stack.token}\r\n`
      + `Content-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
    slow.pause();
    sip = setInterval(() => slow.read(1024), 1000);
    await sleep(2500);
    const held = residentKb([pid]) - before;
    const began = performance.now();
    const all = await Promise.all(Array.from({ length: 100 }, () => streamHash(stack.url, stack.token, model)));
    const took = performance.now() - began;
    assert.ok(all.every((h) => h === direct));
    t.diagnostic(`the worker grew by ${held} KB; 100 other streams of 1 s took ${took.toFixed(0)} ms`);
    if (SLOW === 1) assert.ok(held < 1024, `grew by ${held} KB`);
    assert.ok(took < 10000 * SLOW);
  } finally {
    clearInterval(sip);
    slow?.destroy();
    await stack.stop();
  }
});
