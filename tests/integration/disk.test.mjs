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
const DISK_MB = 192;
const NOBODY = 65534;
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
    assert.ok(refused > 30, `after the first that could not be booked new ones are refused at once: ${refused}`);
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
    // those of the killed worker, too: they were over, so what they cost is known
    const rows = (await stack.rows("limit=500")).filter((r) => r.ended_by === "done");
    const kinds = rows.map((r) => `${r.ended_by} ${r.status} ${r.usage} ${r.cost}`);
    console.log(`after: used ${used}, ran ${ran}, rows ${rows.length}:`, [...new Set(kinds)].join("; "));
    assert.equal(rows.length, ran, "every exchange that ran is booked, once");
    assert.deepEqual([...new Set(rows.map((r) => r.usage))], ["reported"]);
    assert.equal(used, ran, "and counted, once");
  } catch (error) {
    error.message += `\n${stack.logs()}`;
    throw error;
  } finally {
    await stack.stop();
  }
}

function permissions() {
  test("a state folder that is not ours to write: 503, and the log names the path and the remedy",
    { timeout: 60000, skip: !root && "needs root, to become somebody else" }, async (t) => {
      const stack = await Stack.start({ server: "", mock: null, seed: false });
      stack.serving.kill("SIGTERM");
      await until("the workers end", 8000, () => stack.serving.exitCode !== null || stack.serving.signalCode !== null);
      // where nobody can reach them
      fs.chmodSync(stack.dir, 0o755);
      for (const name of ["sluice", "sluice.fcgi"]) {
        fs.copyFileSync(path.join(programs, name), path.join(stack.dir, name));
        fs.chmodSync(path.join(stack.dir, name), 0o755);
      }
      const asNobody = (name, args, env) => {
        const run = spawnSync("setpriv", [`--reuid=${NOBODY}`, `--regid=${NOBODY}`, "--clear-groups",
          path.join(stack.dir, name), ...args], { encoding: "utf8", timeout: 20000, input: "", cwd: stack.dir,
          env: { ...stack.env, ...env } });
        return { out: run.stdout, err: run.stderr, code: run.status };
      };
      const worker = () => asNobody("sluice.fcgi", [], { GATEWAY_INTERFACE: "CGI/1.1", REQUEST_METHOD: "GET",
        REQUEST_URI: "/v1/models", SERVER_PROTOCOL: "HTTP/1.1" });
      const own = (uid) => spawnSync("chown", ["-R", `${uid}:${uid}`, stack.state]);
      // 503 in the dialect for the client; the path and what to do for whoever reads the log
      const unavailable = (file) => {
        const run = worker();
        assert.match(run.out, /^Status: 503/m, run.err);
        assert.match(run.out, /"sluice_code":"store_unavailable"/);
        assert.ok(!run.out.includes(stack.dir), "the client learns no path");
        assert.ok(run.err.includes(file), `${file} is not named: ${run.err}`);
        assert.match(run.err, /must (be|belong)|give it the group|chown|chmod/);
        return run.err;
      };
      try {
        await t.test("all is theirs: it works", () => {
          own(NOBODY);
          assert.match(worker().out, /^Status: 401/m);
          assert.equal(asNobody("sluice", ["check"]).code, 0);
        });
        await t.test("the folder belongs to somebody else", () => {
          own(0);
          fs.chmodSync(stack.state, 0o700);
          t.diagnostic(unavailable(stack.state).trim());
          const run = asNobody("sluice", ["project", "list"]);
          assert.equal(run.code, 1);
          assert.match(run.err, /^sluice: /m);
          assert.ok(run.err.includes(stack.state), run.err);
        });
        await t.test("the folder may be read only", () => {
          own(NOBODY);
          fs.chmodSync(stack.state, 0o500);
          fs.rmSync(path.join(stack.state, "board"));
          t.diagnostic(unavailable(stack.state).trim());
          fs.chmodSync(stack.state, 0o770);
        });
        for (const file of ["master.key", "board", "roster", "gate", "db"])
          await t.test(`${file} belongs to somebody else`, () => {
            own(NOBODY);
            assert.match(worker().out, /^Status: 401/m); // makes what is missing
            const which = path.join(stack.state, file);
            fs.chownSync(which, 0, 0);
            const mode = fs.statSync(which).mode & 0o7777;
            fs.chmodSync(which, mode & 0o7700);
            t.diagnostic(unavailable(which).trim());
            fs.chmodSync(which, mode);
          });
        await t.test("well again", () => {
          own(NOBODY);
          assert.match(worker().out, /^Status: 401/m);
        });
      } finally {
        await stack.stop();
      }
    });
}

function damagedBoard() {
  test("a board that is cut short or full of rubbish is made anew, and a budget stays exact", { timeout: 60000 },
    async (t) => {
      const stack = await Stack.start({ server: "nginx", settings: { workers: 2 } });
      try {
        await stack.manage("POST", "limits", { scope: { token: stack.tokenId }, metric: "requests", window: "total", cap: 10 });
        let ran = 0;
        const spend = async (n) => {
          for (let i = 0; i < n; i++) assert.equal((await ask(stack)).status, 200, `call ${++ran} of 10`);
        };
        await spend(3);
        for (const [what, damage] of [["cut short", (f) => fs.truncateSync(f, 100)],
          ["empty", (f) => fs.truncateSync(f, 0)], ["gone", (f) => fs.rmSync(f)],
          ["rubbish", (f) => fs.writeFileSync(f, Buffer.alloc(fs.statSync(f).size, 0xa5))]])
          await t.test(what, async () => {
            stack.serving.kill("SIGTERM");
            await until("the workers end", 8000, () => stack.serving.exitCode !== null);
            damage(path.join(stack.state, "board"));
            await stack.serve();
            await until("it answers", 5000, async () => (await fetch(`${stack.url}/health`)).ok);
            await spend(1);
            const [limit] = (await stack.manage("GET", "limits")).data;
            assert.deepEqual([limit.used, limit.reserved], [ran, 0]);
          });
        await spend(10 - ran);
        const over = await ask(stack);
        assert.deepEqual([over.status, over.code], [429, "rate_limited"]);
      } catch (error) {
        error.message += `\n${stack.logs()}`;
        throw error;
      } finally {
        await stack.stop();
      }
    });
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
  permissions();
  damagedBoard();
}
