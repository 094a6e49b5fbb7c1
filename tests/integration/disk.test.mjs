// The disk below the store: full, not ours to write, damaged.  Network file systems and dying disks
// cannot be made here and stay untested.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import test from "node:test";
import { fileURLToPath } from "node:url";
import { Stack, programs, sleep, until } from "./lib/stack.mjs";

const INSIDE = process.env.SLUICE_TEST_DISK; // a small file system, seen by this process alone
const DISK_MB = 96;
const root = process.getuid() === 0;
const canMount = root && spawnSync("unshare", ["-m", "mount", "-t", "tmpfs", "none", "/mnt"]).status === 0;

async function ask(stack, stream = false) {
  try {
    const answer = await stack.chat({ model: "mock-chat", stream }, { signal: AbortSignal.timeout(15000) });
    const text = await answer.text();
    return { status: answer.status, text,
      code: answer.status === 200 ? "" : JSON.parse(text).error.sluice_code };
  } catch (error) {
    return { status: 0, text: String(error), code: "broken" };
  }
}

function fill(file) {
  const fd = fs.openSync(file, "w");
  let piece = Buffer.alloc(1 << 20);
  for (;;)
    try {
      fs.writeSync(fd, piece);
    } catch (error) {
      if (error.code !== "ENOSPC") throw error;
      if (piece.length === 1) break;
      piece = piece.subarray(0, piece.length >> 1);
    }
  fs.closeSync(fd);
}

// Runs in a mount namespace of its own.
async function fullDisk() {
  const stack = await Stack.start({ server: "nginx", state: path.join(INSIDE, "state"), settings: { workers: 2 } });
  const limit = await stack.manage("POST", "limits",
    { scope: { token: stack.tokenId }, metric: "requests", window: "total", cap: 100000 });
  await stack.manage("POST", "limits", { scope: { token: stack.tokenId }, metric: "cost", window: "total", cap: "1000" });
  try {
    for (let i = 0; i < 3; i++) assert.equal((await ask(stack)).status, 200);
    const before = stack.workers();
    const filler = path.join(INSIDE, "filler");
    fill(filler);
    let ran = 3, refused = 0;
    const began = Date.now();
    // enough to get past the room that log and tables still have
    for (let i = 0; i < 300 && Date.now() - began < 5000; i++) {
      const many = await Promise.all([ask(stack), ask(stack, true), ask(stack)]);
      for (const { status, code, text } of many) {
        if (status === 200) ran++;
        else refused++;
        assert.ok(status === 200 || (status === 503 && code === "store_unavailable"), `${status} ${code} ${text}`);
      }
      if (refused > 30) break;
    }
    const during = stack.workers();
    console.log(`full: ${ran} ran, ${refused} refused, workers ${before} then ${during}`);
    assert.deepEqual(during, before, "no worker died");
    assert.match(fs.readFileSync(path.join(stack.log, "serve.out"), "utf8"),
      /finished exchanges cannot be booked now: .*the disk of .* is full.*free some space/);
    const change = await fetch(`${stack.url}/manage/projects`, { method: "POST", body: JSON.stringify({ name: "no" }),
      headers: { authorization: `Bearer ${stack.manageToken}`, "content-type": "application/json" } });
    assert.deepEqual([change.status, (await change.json()).error.code], [503, "store_unavailable"]);
    const check = stack.command(["check"], { code: 1 });
    assert.match(check, /^FAILED +disk .*full.*free some space/m);

    // a worker that dies now: its successor may have to wait for room, but does not die again and again
    process.kill(before[0], "SIGKILL");
    await sleep(300);
    for (let i = 0; i < 4; i++) {
      const { status, code, text } = await ask(stack);
      if (status === 200) ran++;
      assert.ok(status === 200 || (status === 503 && code === "store_unavailable"), `${status} ${code} ${text}`);
    }
    const died = fs.readFileSync(path.join(stack.log, "serve.out"), "utf8").match(/died of signal|ended with code/g) ?? [];
    console.log(`killed one: ${died.length} deaths`);
    assert.ok(died.length <= 3, `${died.length} deaths:\n${stack.logs()}`);
    fs.unlinkSync(filler);
    await until("it works again", 10000, async () => (await ask(stack)).status === 200 && ++ran);
    const own = async () => (await stack.manage("GET", "limits")).data;
    await until("all is booked, nothing stays reserved", 15000, async () =>
      (await own()).every((l) => Number(l.reserved) === 0));
    const used = (await own()).find((l) => l.id === limit.id).used;
    // those of the killed worker are booked as what they are, with the usage seen so far
    const rows = (await stack.rows("limit=500")).filter((r) => r.ended_by === "done" || r.ended_by === "crash");
    const kinds = rows.map((r) => `${r.ended_by} ${r.status} ${r.usage} ${r.cost}`);
    console.log(`after: used ${used}, ran ${ran}, rows ${rows.length}:`, [...new Set(kinds)].join("; "));
    assert.equal(rows.length, ran, "every exchange that ran is booked, once");
    assert.ok(rows.every((r) => Number(r.cost) > 0), "none for nothing");
    assert.equal(used, ran, "and counted, once");
  } catch (error) {
    error.message += `\n${stack.logs()}`;
    throw error;
  } finally {
    await stack.stop();
  }
}

if (INSIDE !== undefined) {
  await fullDisk();
} else {
  test("a full disk: answered or refused clearly, and booked once there is room",
    { timeout: 90000, skip: !canMount && "needs root and the right to mount" }, (t) => {
      const dir = fs.mkdtempSync(path.join(os.tmpdir(), "sluice-disk-"));
      const { NODE_TEST_CONTEXT: _, ...env } = process.env;
      const run = spawnSync("unshare", ["-m", "sh", "-c",
        `mount -t tmpfs -o size=${DISK_MB}m none "$SLUICE_TEST_DISK" && exec "$0" "$1"`, process.execPath,
        fileURLToPath(import.meta.url)], { encoding: "utf8", timeout: 80000, env: { ...env, SLUICE_TEST_DISK: dir } });
      fs.rmSync(dir, { recursive: true, force: true });
      t.diagnostic(run.stdout.trim());
      assert.equal(run.status, 0, run.stdout + run.stderr);
    });
}
