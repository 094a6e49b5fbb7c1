// The first run by somebody who can only copy files: the first call of the page, as plain CGI, makes
// the folder, the store, the prices and the code.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import test from "node:test";
import { fileURLToPath } from "node:url";
import { programs } from "./lib/stack.mjs";

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");

test("a beginning without a shell", { timeout: 60000 }, async (t) => {
  const home = fs.mkdtempSync(path.join(os.tmpdir(), "sluice-begin-"));
  const site = path.join(home, "web", "gateway");
  const state = path.join(home, "sluice-state");
  fs.mkdirSync(site, { recursive: true });
  for (const name of ["sluice", "sluice-manage"])
    fs.copyFileSync(path.join(programs, `${name}.fcgi`), path.join(site, `${name}.cgi`));
  fs.copyFileSync(path.join(root, "conf", "prices.json"), path.join(site, "prices.json"));
  fs.writeFileSync(path.join(site, "sluice.conf"), "state_dir = ../../sluice-state\n");
  const call = (program, method, uri, { body = "", token } = {}) => {
    const run = spawnSync(path.join(site, program), [], { encoding: "utf8", timeout: 20000, input: body, cwd: site,
      env: { GATEWAY_INTERFACE: "CGI/1.1", SERVER_PROTOCOL: "HTTP/1.1", REQUEST_METHOD: method, REQUEST_URI: uri,
        REMOTE_ADDR: "127.0.0.1", CONTENT_TYPE: "application/json", CONTENT_LENGTH: String(body.length),
        ...(token && { HTTP_AUTHORIZATION: `Bearer ${token}` }) } });
    const [head, text] = run.stdout.split("\r\n\r\n");
    return { status: Number(/^Status: (\d+)/m.exec(head)?.[1] ?? 200), json: JSON.parse(text), log: run.stderr };
  };
  const manage = (...args) => call("sluice-manage.cgi", ...args);
  try {
    await t.test("the gateway makes nothing", () => {
      assert.equal(call("sluice.cgi", "GET", "/gateway/v1/models").status, 503);
      assert.ok(!fs.existsSync(state));
    });
    await t.test("the page's first call does, for its owner alone", () => {
      const first = manage("GET", "/gateway/manage/session");
      assert.equal(first.status, 401, first.log);
      assert.equal(first.json.initialised, false);
      assert.equal(fs.statSync(state).mode & 0o777, 0o700);
      assert.equal(fs.statSync(path.join(state, "setup.code")).mode & 0o777, 0o600);
    });
    await t.test("the code opens it, once", () => {
      const code = fs.readFileSync(path.join(state, "setup.code"), "utf8").trim();
      const body = JSON.stringify({ code, password: "correct horse battery" });
      const done = manage("POST", "/gateway/manage/setup", { body });
      assert.equal(done.status, 200, done.log);
      assert.ok(!fs.existsSync(path.join(state, "setup.code")));
      assert.equal(manage("POST", "/gateway/manage/setup", { body }).status, 409);
      const prices = manage("GET", "/gateway/manage/prices", { token: done.json.management_token });
      assert.ok(prices.json.data.length > 10, "the prices are there");
      assert.equal(call("sluice.cgi", "GET", "/gateway/v1/models").status, 401);
    });
    await t.test("where a whole path is missing, nothing is made", () => {
      fs.writeFileSync(path.join(site, "sluice.conf"), "state_dir = ../../away/sluice-state\n");
      assert.equal(manage("GET", "/gateway/manage/session").status, 503);
      assert.ok(!fs.existsSync(path.join(home, "away")));
    });
  } finally {
    fs.rmSync(home, { recursive: true, force: true });
  }
});
