// `sluice serve`: a reload drops no stream, TERM drains, a kill leaves nobody behind.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import test from "node:test";
import { Stack, descendants, programs, sleep, until } from "./lib/stack.mjs";
import { streamHash } from "./lib/streams.mjs";

const STREAMS = 10;
const LONG_STREAM = "mock:chunks=30,interval=100,bytes=20"; // 3 s
const HASH = /^[0-9a-f]{64}$/;

const dead = (pid) => {
  try {
    return /^\d+ \(.*\) Z/.test(fs.readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch {
    return true;
  }
};
// A setting stands once in the file.
function setting(stack, name, value) {
  const lines = fs.readFileSync(stack.config, "utf8").split("\n").filter((l) => l !== "" && !l.startsWith(`${name} =`));
  fs.writeFileSync(stack.config, [...lines, `${name} = ${value}`, ""].join("\n"));
}
const startStreams = (stack) => Promise.all(Array.from({ length: STREAMS }, () =>
  streamHash(stack.url, stack.token, LONG_STREAM)));
const underWay = (stack) => until("the streams run", 5000, async () =>
  (await stack.mockStats()).open >= STREAMS);
// nothing stays taken for calls that are over
const nothingReserved = (stack) => until("nothing is reserved", 8000, async () =>
  (await stack.manage("GET", "limits")).data.every((l) => l.reserved === 0 || l.reserved === "0.000000000"));

async function limited(options = {}) {
  const stack = await Stack.start({ server: "nginx", settings: { workers: 2, heartbeat: "0", ...options } });
  for (const [metric, window, cap] of [["cost", "total", "100"], ["requests", "total", 1000], ["parallel", "total", 100]])
    await stack.manage("POST", "limits", { scope: { token: stack.tokenId }, metric, window, cap });
  return stack;
}

test("HUP: new workers, new settings, and every running stream completes", { timeout: 60000 }, async (t) => {
  const stack = await limited();
  try {
    const direct = await streamHash(stack.mock.url, "sk-direct", LONG_STREAM);
    const old = stack.workers();
    assert.equal(old.length, 2);
    const big = { note: "x".repeat(20000) };
    assert.equal((await stack.chat(big)).status, 200);
    const all = startStreams(stack);
    await underWay(stack);
    setting(stack, "body_limit", "10k");
    setting(stack, "workers", "3");
    stack.serving.kill("SIGHUP");
    await t.test("the new settings are in force while the streams run", async () => {
      const fresh = await until("new workers", 3000, () => {
        const now = stack.workers().filter((pid) => !old.includes(pid));
        return now.length === 3 && now;
      });
      await until("the body limit holds", 2500, async () => (await stack.chat(big)).status === 413);
      assert.equal((await stack.chat()).status, 200);
      assert.ok(old.some((pid) => !dead(pid)), "the old ones drain");
      assert.equal(fresh.length, 3);
    });
    await t.test("all streams complete", async () => {
      assert.deepEqual((await all).filter((h) => h !== direct), []);
      await until("the old workers go", 5000, () => old.every(dead));
    });
    await t.test("settings that are wrong change nothing", async () => {
      const kept = fs.readFileSync(stack.config);
      const before = stack.workers();
      setting(stack, "body_limit", "a lot");
      stack.serving.kill("SIGHUP");
      await until("the log says so", 3000, () => /the settings stay as they are: .*body_limit/.test(stack.logs()));
      assert.deepEqual(stack.workers(), before);
      assert.equal((await stack.chat()).status, 200);
      fs.writeFileSync(stack.config, kept);
    });
    await t.test("nine reloads at once", async () => {
      for (let i = 0; i < 9; i++) {
        stack.serving.kill("SIGHUP");
        await sleep(30);
        assert.equal((await stack.chat()).status, 200);
      }
      await until("three workers again", 8000, () => stack.workers().length === 3);
      await nothingReserved(stack);
    });
  } finally {
    assert.equal(await stack.stop(), 0, "everything ended on TERM");
  }
});

test("TERM: running streams complete, then all are gone, and nothing is reserved", { timeout: 60000 }, async () => {
  const stack = await limited();
  try {
    const direct = await streamHash(stack.mock.url, "sk-direct", LONG_STREAM);
    const all = startStreams(stack);
    await underWay(stack);
    const pids = descendants(stack.serving.pid);
    const ended = new Promise((done) => stack.serving.once("exit", (code) => done(code)));
    stack.serving.kill("SIGTERM");
    await sleep(300);
    // a new one is refused by the web server or waits for the next start, but is not lost in silence
    const late = await Promise.race([stack.chat().then((a) => a.status, () => 0), sleep(1500).then(() => "waits")]);
    assert.ok([502, 503, 504, "waits"].includes(late), `a new call got ${late}`);
    assert.deepEqual((await all).filter((h) => h !== direct), []);
    assert.equal(await ended, 0, "serve ends with 0");
    assert.ok(pids.every(dead), "no worker is left");
    assert.ok(!fs.existsSync(path.join(stack.sockets, "gateway.sock")), "the sockets are gone");
    await stack.serve();
    await until("it serves again", 5000, async () => (await stack.chat()).status === 200);
    await nothingReserved(stack);
    const rows = (await stack.rows()).filter((r) => r.model === LONG_STREAM);
    assert.deepEqual([rows.length, rows.every((r) => r.ended_by === "done")], [STREAMS, true]);
  } finally {
    await stack.stop();
  }
});

test("kill -9 of serve leaves no worker, and it starts again on the stale sockets", { timeout: 60000 }, async () => {
  const stack = await limited();
  try {
    const pids = descendants(stack.serving.pid);
    assert.ok(pids.length >= 3);
    stack.serving.kill("SIGKILL");
    await until("the workers go", 5000, () => pids.every(dead));
    await stack.serve();
    await until("it serves again", 5000, async () => (await stack.chat()).status === 200);
    await nothingReserved(stack);
  } finally {
    await stack.stop();
  }
});

test("a second serve on live sockets is refused, and the first does not notice", { timeout: 60000 }, async () => {
  const stack = await limited();
  try {
    const all = startStreams(stack);
    await underWay(stack);
    const second = spawnSync(path.join(programs, "sluice"), ["serve"],
      { env: stack.env, encoding: "utf8", timeout: 10000 });
    assert.equal(second.status, 1, second.stdout + second.stderr);
    assert.match(second.stderr, /^sluice: serve: .*gateway\.sock.*(in use|already|another)/m);
    assert.ok((await all).every((h) => HASH.test(h)));
    assert.equal((await stack.chat()).status, 200, "the socket is still the first one's");
    const wrong = spawnSync(path.join(programs, "sluice"), ["serve", "--workers"], { env: stack.env, encoding: "utf8" });
    assert.equal(wrong.status, 2);
    assert.match(wrong.stderr, /usage: sluice serve/);
  } finally {
    await stack.stop();
  }
});

test("a worker that is killed is replaced", { timeout: 60000 }, async () => {
  const stack = await limited();
  try {
    const [first] = stack.workers();
    process.kill(first, "SIGKILL");
    await until("another takes its place", 3000, () => {
      const now = stack.workers();
      return now.length === 2 && !now.includes(first);
    });
    assert.match(stack.logs(), /died of signal 9/);
    assert.equal((await stack.chat()).status, 200);
  } finally {
    await stack.stop();
  }
});

test("workers that are as many as the cores have one each; others roam", { timeout: 60000 }, async () => {
  const allowed = (pid) => /Cpus_allowed_list:\s*(\S+)/.exec(fs.readFileSync(`/proc/${pid}/status`, "utf8"))[1];
  const cores = Number(spawnSync("nproc", { encoding: "utf8" }).stdout);
  const stack = await Stack.start({ server: "nginx", settings: { workers: cores } });
  try {
    const own = () => stack.workers().map(allowed);
    await until("all are up", 5000, () => stack.workers().length === cores);
    assert.equal(new Set(own()).size, cores, "a core is shared");
    const [first, ...others] = stack.workers();
    const core = allowed(first);
    process.kill(first, "SIGKILL");
    await until("its successor has its core", 5000, () =>
      stack.workers().some((pid) => pid !== first && !others.includes(pid) && allowed(pid) === core));
    setting(stack, "pin_workers", "no");
    stack.serving.kill("SIGHUP");
    await until("they roam", 5000, () => own().length >= cores && own().every((list) => list === allowed(process.pid)));
  } finally {
    await stack.stop();
  }
});
