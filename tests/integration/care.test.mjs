// The store as a whole: backups while it runs, restoring, damage of every file, a dump and its
// loading, two users, two versions of the program, file systems that are not fit.

import assert from "node:assert/strict";
import { execFile, spawnSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import test from "node:test";
import { fileURLToPath } from "node:url";
import { Stack, SLOW, flavour, programs, until } from "./lib/stack.mjs";

const source = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");
const root = process.getuid() === 0;

const json = (text) => JSON.parse(text);

// Ends the workers, as an operator does before a restore.
async function end(stack) {
  stack.serving.kill("SIGTERM");
  await until("the workers end", 8000, () => stack.serving.exitCode !== null || stack.serving.signalCode !== null);
}

async function failing(what, stack, run) {
  try {
    await run();
  } catch (error) {
    error.message = `${what}: ${error.message}\n${stack.logs()}`;
    throw error;
  } finally {
    await stack.stop();
  }
}

function run(program, args, env, input) {
  const done = spawnSync(program, args, { env, input, encoding: "utf8", timeout: 60000 * SLOW });
  return { code: done.status, out: done.stdout, err: done.stderr };
}

// Beside which the callers of this process go on.
function besides(program, args, env) {
  return new Promise((done) => execFile(program, args, { env, encoding: "utf8", timeout: 60000 * SLOW, maxBuffer: 1 << 26 },
    (error, out, err) => done({ code: error === null ? 0 : error.code ?? -1, out, err })));
}

async function besideJson(program, args, env) {
  const told = await besides(program, [...args, "--json"], env);
  assert.equal(told.code, 0, `${args.join(" ")}: ${told.err}`);
  return json(told.out);
}

test("a backup under load is whole; restored, budgets and usage are those of its moment", { timeout: 120000 },
  async (t) => {
    const stack = await Stack.start({ server: "nginx", settings: { workers: 2 } });
    await failing("backup", stack, async () => {
      await stack.manage("POST", "limits", { scope: { token: stack.tokenId }, metric: "requests", window: "total", cap: 100000 });
      let busy = true, ran = 0;
      const callers = Array.from({ length: 6 }, async () => {
        while (busy) if (await stack.ask({ model: "mock-chat" }) === 200) ran++;
      });
      await until("some have run", 10000, () => ran > 50);
      const file = path.join(stack.dir, "one.tar");
      const before = ran;
      const command = (...args) => besideJson(path.join(programs, "sluice"), args, stack.env);
      const made = await command("backup", file);
      const then = ran;
      const checked = await command("verify", file);
      const live = await command("verify");
      await until("it goes on", 5000, () => ran > before + 20);
      busy = false;
      await Promise.all(callers);
      t.diagnostic(`${before} had run, ${made.rows} in the backup, ${then} when it was made; ${made.bytes} bytes`);
      assert.deepEqual([made.ok, made.problems, made.has_master_key], [true, [], false]);
      assert.ok(made.rows >= before && made.rows <= then + 6, `${before} <= ${made.rows} <= ${then}`);
      assert.deepEqual([checked.ok, checked.rows, checked.records], [true, made.rows, made.records]);
      assert.deepEqual([live.ok, live.problems], [true, []]);

      // what any tar shows
      const names = run("tar", ["tf", file]).out.trim().split("\n");
      assert.ok(names.includes("sluice-backup/db/main.db") && names.includes("sluice-backup/README"), names.join(" "));
      assert.ok(!names.some((name) => name.includes("master.key")), names.join(" "));
      assert.equal(fs.statSync(file).mode & 0o777, 0o600);
      const audit = await stack.manage("GET", "audit");
      assert.ok(audit.data.some((e) => e.action === "store.backup"), JSON.stringify(audit.data[0]));

      // nothing is touched while it runs
      const refused = run(path.join(programs, "sluice"), ["restore", file], stack.env);
      assert.equal(refused.code, 3, refused.err);
      assert.match(refused.err, /stop/);
      assert.equal(await stack.ask({ model: "mock-chat" }), 200);

      await end(stack);
      const restored = stack.command(["restore", file, "--json"]);
      assert.ok(fs.existsSync(restored.before));
      assert.ok(!fs.existsSync(path.join(stack.state, "restore.part")));
      await stack.serve();
      await until("it answers", 5000, async () => (await fetch(`${stack.url}/health`)).ok);
      const used = async () => (await stack.manage("GET", "limits")).data[0].used;
      assert.equal(await stack.ask({ model: "mock-chat" }), 200);
      await until("the board is made anew from rows", 5000, async () => (await used()) === made.rows + 1);
      const usage = await stack.manage("GET", "usage?by=token&step=day");
      assert.equal(usage.data.reduce((sum, r) => sum + r.requests, 0), made.rows + 1);
      assert.deepEqual(stack.command(["verify", "--json"]).problems, []);
    });
  });

test("into an empty folder: with its key all works, without it the remedy is said", { timeout: 60000 }, async () => {
  const stack = await Stack.start({ server: "" });
  await failing("move", stack, async () => {
    const [without, withKey] = ["a.tar", "b.tar"].map((name) => path.join(stack.dir, name));
    stack.command(["backup", without]);
    assert.match(stack.command(["backup", withKey, "--with-key"]), /the master key is in it/);
    await end(stack);
    const there = path.join(stack.dir, "elsewhere");
    const env = { SLUICE_STATE_DIR: there };
    assert.match(stack.command(["restore", without], { env, code: 1 }), /backup does not hold it; put back/);
    assert.ok(!fs.existsSync(path.join(there, "db")));
    stack.command(["restore", withKey], { env });
    assert.match(stack.command(["project", "list"], { env }), /first/);
    assert.equal(fs.statSync(path.join(there, "master.key")).mode & 0o777, 0o600);
    fs.truncateSync(withKey, 5000);
    assert.match(stack.command(["verify", withKey], { code: 1 }), /no whole backup: it ends too early/);
    assert.match(stack.command(["restore", withKey], { env, code: 1 }), /no whole backup/);
    assert.match(stack.command(["project", "list"], { env }), /first/);
    assert.match(stack.command(["backup"], { code: 2 }), /usage: sluice backup/);
    assert.match(stack.command(["restore", "/nowhere.tar"], { code: 1 }), /nowhere\.tar: No such file/);
  });
});

test("backups over the API: listed, the newest seven kept, the newest sound one restored", { timeout: 90000 }, async () => {
  const stack = await Stack.start({ server: "nginx" });
  await failing("api", stack, async () => {
    assert.equal(await stack.ask({ model: "mock-chat" }), 200);
    assert.deepEqual((await stack.manage("GET", "backup")).data, []);
    const folder = path.join(stack.state, "backups");
    fs.mkdirSync(folder);
    for (let day = 10; day < 19; day++) fs.writeFileSync(path.join(folder, `sluice-202001${day}T000000Z.tar`), "old");
    fs.writeFileSync(path.join(folder, "mine.tar"), "kept");
    const made = await stack.manage("POST", "backup", {}, 201);
    assert.equal(made.rows, 1);
    const list = (await stack.manage("GET", "backup")).data;
    assert.deepEqual([list.length, list[0].file, list[0].bytes], [7, made.file, made.bytes]);
    assert.ok(fs.existsSync(path.join(folder, "mine.tar")));
    assert.ok(!run("tar", ["tf", path.join(folder, made.file)]).out.includes("master.key"));
    assert.equal((await stack.manage("GET", "audit")).data[0].action, "store.backup");
    const anonymous = await fetch(`${stack.url}/manage/backup`, { method: "POST" });
    assert.equal(anonymous.status, 401);

    // a newer one that is no backup is passed over, and said
    fs.writeFileSync(path.join(folder, "sluice-20990101T000000Z.tar"), "broken");
    stack.command(["project", "add", "--name", "later"]);
    await end(stack);
    const told = run(path.join(programs, "sluice"), ["restore", "--last"], stack.env);
    assert.equal(told.code, 0, told.err);
    assert.match(told.err, /20990101T000000Z\.tar is no whole backup/);
    assert.ok(told.out.includes(made.file), told.out);
    const projects = stack.command(["project", "list", "--json"]).data.map((p) => p.name);
    assert.deepEqual(projects, ["first"]);
    fs.rmSync(folder, { recursive: true });
    assert.match(stack.command(["restore", "--last"], { code: 1 }), /backups holds no backup/);
    assert.match(stack.command(["restore", "--last", "--rebuild"], { code: 2 }), /usage/);
  });
});

// Each kind of damage: what a client gets, what the log says, and that following it heals.
function damages() {
  const db = (state) => path.join(state, "db");
  const rubbish = (file, from, bytes) => {
    const fd = fs.openSync(file, "r+");
    fs.writeSync(fd, Buffer.alloc(bytes, 0xa5), 0, bytes, from);
    fs.closeSync(fd);
  };
  const logs = (state) => fs.readdirSync(db(state)).filter((name) => name.startsWith("log.")).map((name) => path.join(db(state), name));
  const regions = (state) => {
    for (const name of fs.readdirSync(db(state))) if (name.startsWith("__db.0")) fs.rmSync(path.join(db(state), name));
  };
  const kinds = [
    ["the table of records is empty", (s) => fs.truncateSync(path.join(db(s), "main.db"), 0), "restore"],
    ["its first page is rubbish", (s) => rubbish(path.join(db(s), "main.db"), 0, 4096), "restore"],
    ["the log is rubbish", (s) => {
      for (const log of logs(s)) rubbish(log, 28, 64 << 10);
      regions(s);
    }, "restore"],
    ["the log is lost", (s) => {
      for (const log of logs(s)) fs.rmSync(log);
      regions(s);
    }, "rebuild"],
    ["shared memory is rubbish", (s) => rubbish(path.join(db(s), "__db.001"), 0, 4096), "heals"],
    ["shared memory is gone", regions, "heals"],
    ["the board is rubbish", (s) => rubbish(path.join(s, "board"), 0, 65536), "heals"],
    ["the gate is gone", (s) => fs.rmSync(path.join(s, "gate")), "heals"],
    ["the gate is rubbish", (s) => rubbish(path.join(s, "gate"), 0, 4096), "remove"],
  ];

  test("damaged files: healed, or said exactly what to do, and doing it heals", { timeout: 180000 }, async (t) => {
    const stack = await Stack.start({ server: "nginx", settings: { workers: 1 } });
    await failing("damage", stack, async () => {
      for (let i = 0; i < 5; i++) assert.equal(await stack.ask({ model: "mock-chat" }), 200);
      const file = path.join(stack.dir, "good.tar");
      stack.command(["backup", file]);
      for (const [what, damage, remedy] of kinds)
        await t.test(what, async () => {
          await end(stack);
          damage(stack.state);
          const out = path.join(stack.log, "serve.out");
          const said = fs.statSync(out).size;
          stack.serving = stack.run(path.join(programs, "sluice"), ["serve"], { log: "serve.out" });
          if (remedy !== "heals") {
            // one that cannot heal refuses, in its own words, and does not die again and again
            const answer = run(path.join(programs, "sluice"), ["project", "list"], stack.env);
            assert.equal(answer.code, 1, answer.out);
            t.diagnostic(answer.err.trim().split("\n").pop());
            assert.match(answer.err, remedy === "remove" ? /gate: .*stop every sluice.*remove the file/
              : /damaged.*stop sluice, then 'sluice restore FILE' \(or --last\).*--rebuild/);
            await until("the log says it too", 8000, () => {
              const log = fs.readFileSync(out, "utf8").slice(said);
              return remedy === "remove" ? /remove the file/.test(log) : /sluice restore FILE/.test(log);
            });
            assert.ok([502, 503].includes(await stack.ask({ model: "mock-chat" })));
            await end(stack);
            if (remedy === "remove") fs.rmSync(path.join(stack.state, "gate"));
            else if (remedy === "rebuild") stack.command(["restore", "--rebuild"]);
            else stack.command(["restore", file]);
            await stack.serve();
          }
          await until("it answers", 8000, async () => (await stack.ask({ model: "mock-chat" })) === 200);
          assert.deepEqual(stack.command(["verify", "--json"]).problems, []);
        });
    });
  });
}
damages();

test("a dump loaded elsewhere gives the same dump; a token goes on working there", { timeout: 90000 }, async () => {
  const stack = await Stack.start({ server: "nginx" });
  await failing("dump", stack, async () => {
    for (let i = 0; i < 3; i++) assert.equal(await stack.ask({ model: "mock-chat" }), 200);
    const env = { SLUICE_DUMP_PASSPHRASE: "correct horse battery staple" };
    const there = { ...env, SLUICE_STATE_DIR: path.join(stack.dir, "elsewhere") };
    const lines = (text) => text.trim().split("\n");
    const plain = stack.command(["dump"]);
    for (const line of lines(plain)) json(line);
    assert.ok(!plain.includes("scrypt") && !plain.includes(stack.manageToken));
    assert.match(stack.command(["dump", "--secrets", "passphrase"], { code: 2 }), /SLUICE_DUMP_PASSPHRASE/);
    const file = path.join(stack.dir, "all.ndjson");
    stack.command(["dump", file, "--secrets", "passphrase"], { env });
    assert.equal(fs.statSync(file).mode & 0o777, 0o600);
    const before = lines(stack.command(["dump"]));
    const loaded = stack.command(["load", file, "--json"], { env: there });
    assert.equal(loaded.rows, 3);
    const after = lines(stack.command(["dump"], { env: there }));
    assert.deepEqual(after.slice(1), before.slice(1));
    assert.match(stack.command(["load", file], { env: there, code: 3 }), /holds records already/);
    assert.match(stack.command(["load", file], { env: { ...there, SLUICE_DUMP_PASSPHRASE: "no",
      SLUICE_STATE_DIR: path.join(stack.dir, "third") }, code: 1 }), /not the passphrase/);
    // the provider's key is in it, sealed anew: the new store answers with it
    await end(stack);
    fs.writeFileSync(stack.config, `state_dir = ${there.SLUICE_STATE_DIR}\n` +
      `gateway_socket = ${path.join(stack.sockets, "gateway.sock")}\nmanage_socket = ${path.join(stack.sockets, "manage.sock")}\n`);
    await stack.serve();
    await until("the same token works", 8000, async () => (await stack.ask({ model: "mock-chat" })) === 200);
    assert.equal((await stack.rows()).length, 4);
  });
});

test("file systems that are not fit are refused with the reason", { timeout: 60000, skip: flavour !== "" }, async () => {
  const stack = await Stack.start({ server: "", mock: null, seed: false });
  await failing("file systems", stack, async () => {
    await end(stack);
    // statfs() says what it is told to
    const code = path.join(stack.dir, "statfs.c"), shim = path.join(stack.dir, "statfs.so");
    fs.writeFileSync(code, `#include <stdlib.h>\n#include <string.h>\n#include <sys/vfs.h>\n` +
      `int statfs(const char *path, struct statfs *out)\n{ (void)path; memset(out, 0, sizeof *out);\n` +
      `out->f_type = strtol(getenv("TEST_STATFS"), 0, 16); return 0; }\n`);
    assert.equal(run("cc", ["-shared", "-fPIC", "-o", shim, code]).code, 0);
    for (const [type, name, why] of [["6969", "NFS", "shared memory and locks"], ["ff534d42", "CIFS", "shared memory"],
      ["65735546", "FUSE", "shared memory"], ["4d44", "FAT", "files there have no owner"]]) {
      const told = run(path.join(programs, "sluice"), ["project", "list"],
        { ...stack.env, LD_PRELOAD: shim, TEST_STATFS: type });
      assert.equal(told.code, 1, told.err);
      assert.match(told.err, new RegExp(`is on ${name}: ${why}.*choose a state directory on a local disk`));
    }
    const fit = run(path.join(programs, "sluice"), ["project", "list"], { ...stack.env, LD_PRELOAD: shim, TEST_STATFS: "ef53" });
    assert.equal(fit.code, 0, fit.err);
  });
});

test("two users of one group share a store, and either recovers what the other left",
  { timeout: 90000, skip: !root && "needs root, to become two users" }, async () => {
    const dir = fs.mkdtempSync(path.join(os.tmpdir(), "sluice-two-"));
    const group = 64123, users = [64101, 64102];
    try {
      fs.chmodSync(dir, 0o755);
      const program = path.join(dir, "sluice");
      fs.copyFileSync(path.join(programs, "sluice"), program);
      fs.chmodSync(program, 0o755);
      const state = path.join(dir, "state");
      fs.mkdirSync(state);
      fs.chownSync(state, users[0], group);
      fs.chmodSync(state, 0o2770);
      // a key that only its owner may read: each has a copy
      const keys = users.map((uid) => path.join(dir, `key-${uid}`));
      fs.writeFileSync(keys[0], Buffer.alloc(32, 7), { mode: 0o600 });
      fs.writeFileSync(keys[1], Buffer.alloc(32, 7), { mode: 0o600 });
      users.forEach((uid, i) => fs.chownSync(keys[i], uid, group));
      const configs = users.map((uid) => path.join(dir, `${uid}.conf`));
      configs.forEach((file, i) => fs.writeFileSync(file, `state_dir = ${state}\nmaster_key_file = ${keys[i]}\n`));
      const as = (i, args, groups = `--groups=${group}`) => run("setpriv",
        [`--reuid=${users[i]}`, "--regid=65534", groups, program, ...args],
        { PATH: process.env.PATH, SLUICE_CONFIG: configs[i] });
      const works = (i, args) => {
        const told = as(i, args);
        assert.equal(told.code, 0, `user ${i}: ${args.join(" ")}: ${told.err}`);
        return told.out;
      };
      works(0, ["init"]);
      works(1, ["project", "add", "--name", "second"]);
      assert.match(works(0, ["project", "list"]), /second/);
      works(0, ["project", "add", "--name", "first"]);
      // each in turn finds the shared memory gone and recovers, and the other goes on with it
      for (let round = 0; round < 4; round++) {
        const mine = round % 2, other = 1 - mine;
        fs.rmSync(path.join(state, "db", "__db.001"), { force: true }); // as a boot would
        works(mine, ["project", "add", "--name", `round-${round}`]);
        assert.match(works(other, ["project", "list"]), new RegExp(`round-${round}`));
        works(other, ["backup", path.join(state, `by-${other}.tar`)]);
      }
      for (const name of fs.readdirSync(path.join(state, "db"))) {
        const st = fs.statSync(path.join(state, "db", name));
        assert.deepEqual([name, st.gid, st.mode & 0o777], [name, group, 0o660]);
      }
      works(1, ["restore", path.join(state, "by-1.tar")]);
      works(0, ["project", "list"]);
      // somebody who is not of the group gets nothing but a remedy
      const stranger = as(1, ["project", "list"], "--clear-groups");
      assert.equal(stranger.code, 1);
      assert.match(stranger.err, /must be|belong|group/);
    } finally {
      fs.rmSync(dir, { recursive: true, force: true });
    }
  });

// A newer program: this one with a field more in its records, made by the same Makefile.
test("a newer program beside this one: what it writes is kept by the older", { timeout: 300000 * SLOW, skip: flavour !== "" },
  async (t) => {
    const stack = await Stack.start({ server: "nginx", settings: { workers: 1 } });
    await failing("versions", stack, async () => {
      const next = path.join(stack.dir, "next");
      fs.mkdirSync(next);
      for (const name of ["Makefile", "src", "conf"]) fs.cpSync(path.join(source, name), path.join(next, name), { recursive: true });
      const change = (name, from, to) => {
        const file = path.join(next, "src/store", name), text = fs.readFileSync(file, "utf8");
        assert.ok(text.includes(from), `${name} has no ${from}`);
        fs.writeFileSync(file, text.replace(from, to));
      };
      change("records.h", "struct project {\n\tstruct record head;", "struct project {\n\tstruct record head;\n\tchar note[100];");
      change("records.c", "static const struct field project_fields[] = {\n\tHEAD_FIELDS(struct project, \"prj_\"),",
        "static const struct field project_fields[] = {\n\tHEAD_FIELDS(struct project, \"prj_\"),\n" +
        "\t{ 900, \"note\", FIELD_TEXT, 0, AT(project, note), 0, 0, NULL, NULL, \"new\" },");
      change("store-int.h", "#define STORE_SCHEMA_MINOR 0", "#define STORE_SCHEMA_MINOR 7");
      const made = spawnSync("nice", ["make", "-s", "-j2", "-C", next, "CFLAGS=-O0", "O=build/next", "build/next/sluice"],
        { encoding: "utf8", timeout: 280000 });
      assert.equal(made.status, 0, made.stdout + made.stderr);
      const newer = (...args) => besideJson(path.join(next, "build/next/sluice"), args, stack.env);
      const older = (...args) => besideJson(path.join(programs, "sluice"), args, stack.env);

      // the older one's workers serve all the while
      let busy = true, ran = 0;
      const caller = (async () => {
        while (busy) {
          assert.equal(await stack.ask({ model: "mock-chat" }), 200);
          ran++;
        }
      })();
      caller.catch(() => {}); // what fails first is told, not that its end broke this
      assert.equal((await newer("project", "add", "--name", "modern", "--note", "kept by all")).note, "kept by all");
      assert.equal((await older("project", "show", "modern")).note, undefined, "the older program knows no such field");
      for (let i = 0; i < 3; i++) {
        await older("project", "set", "modern", "--allowed-models", `model-${i}`);
        const seen = await newer("project", "show", "modern");
        assert.deepEqual([seen.note, seen.allowed_models], ["kept by all", [`model-${i}`]]);
        await newer("project", "set", "first", "--note", `turn ${i}`);
        assert.equal((await older("project", "show", "first")).name, "first");
      }
      // and the page's calls, which the older workers answer
      const id = (await older("project", "show", "modern")).id;
      await stack.manage("PATCH", `projects/${id}`, { allowed_models: ["x"] });
      assert.equal((await newer("project", "show", "modern")).note, "kept by all");
      // neither a backup nor a dump by the older one loses it
      const file = path.join(stack.dir, "older.tar"), dump = path.join(stack.dir, "older.ndjson");
      stack.command(["backup", file]);
      stack.command(["dump", dump]);
      const there = { SLUICE_STATE_DIR: path.join(stack.dir, "elsewhere") };
      stack.command(["load", dump], { env: there });
      assert.equal(json(run(path.join(next, "build/next/sluice"), ["project", "show", "modern", "--json"],
        { ...stack.env, ...there }).out).note, "kept by all");
      busy = false;
      await caller;
      t.diagnostic(`${ran} exchanges beside it`);
      assert.ok(ran > 0);
      await end(stack);
      stack.command(["restore", file]);
      assert.equal((await newer("project", "show", "modern")).note, "kept by all");
      assert.deepEqual(stack.command(["verify", "--json"]).problems, []);
    });
  });
