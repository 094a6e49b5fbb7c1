// stack.mjs - a whole gateway in a temporary folder: state, workers, a mock provider, a real web
// server started from the configurations users get (conf/).  Everything ends with stop().

import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import http from "node:http";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { explainAll } from "./explained.mjs";

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../../..");
export const programs = path.resolve(root, process.env.SLUICE_BUILD ?? "build/release");

// Sanitizers and valgrind cost time and memory: what a test promises is given so much more room.
export const flavour = /(?:^|\/)build\/(san|tsan)$/.exec(programs)?.[1] ?? "";
export const SLOW = Number(process.env.SLUICE_SLOW ?? (flavour === "" ? 1 : 4));
const START_MS = 15000;
const STOP_MS = 8000 * SLOW;

// A report ends the program with a code of its own and is found in the logs by stop().
const sanitizers = {
  ASAN_OPTIONS: "detect_leaks=1:exitcode=99",
  UBSAN_OPTIONS: "print_stacktrace=1",
  TSAN_OPTIONS: "exitcode=99:second_deadlock_stack=1", // nothing is suppressed, libdb included
};
const REPORT = /^.*(?:ERROR: (?:Address|Leak)Sanitizer|LeakSanitizer has encountered|runtime error: |WARNING: ThreadSanitizer|FATAL: ThreadSanitizer)/m;
const agent = new http.Agent({ keepAlive: false, maxSockets: Infinity });

export const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

export async function until(what, ms, probe) {
  const end = Date.now() + ms * SLOW;
  let last;
  while (Date.now() < end) {
    try {
      last = await probe();
      if (last) return last;
    } catch (error) {
      last = error;
    }
    await sleep(20);
  }
  throw new Error(`${what}: not within ${ms * SLOW} ms (${last})`);
}

export async function freePort() {
  const server = net.createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}

function alive(pid) {
  try {
    process.kill(pid, 0);
    return !/^\d+ \(.*\) Z/.test(fs.readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch {
    return false;
  }
}

// Children of a process, theirs too.
export function descendants(pid) {
  let list;
  try {
    list = fs.readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim();
  } catch {
    return [];
  }
  const children = list === "" ? [] : list.split(" ").map(Number);
  return children.concat(children.flatMap(descendants));
}

// The first sanitizer's report in any log, with what follows it.
function sanitizerReport(folder) {
  if (!folder || !fs.existsSync(folder)) return "";
  for (const name of fs.readdirSync(folder)) {
    const file = path.join(folder, name);
    if (!fs.statSync(file).isFile()) continue;
    const text = fs.readFileSync(file, "utf8");
    const found = REPORT.exec(text);
    if (found) return `${name}: ${text.slice(found.index, found.index + 8000)}`;
  }
  return "";
}

export class Stack {
  // server: a file of conf/ without its ending, or "" for none.  settings: lines for sluice.conf.
  // fresh: no admin password yet, so that the page asks for the setup code.  state: a folder for it.
  // under: a command that `sluice serve` starts its workers under; {log} in it is the logs' folder.
  static async start({ server = "lighttpd-socket", settings = {}, mock = [], env = {}, seed = true,
    fresh = false, state, under } = {}) {
    const stack = new Stack();
    try {
      await stack.#start(server, settings, mock, env, seed, fresh, state, under);
    } catch (error) {
      const logs = stack.logs();
      await stack.stop();
      error.message += `\n${logs}`;
      throw error;
    }
    return stack;
  }

  children = [];

  async #start(server, settings, mock, env, seed, fresh, state, under) {
    this.dir = fs.mkdtempSync(path.join(os.tmpdir(), "sluice-test-"));
    this.state = state ?? path.join(this.dir, "state");
    this.log = path.join(this.dir, "log");
    this.sockets = path.join(this.state, "run");
    this.config = path.join(this.dir, "sluice.conf");
    fs.mkdirSync(this.log);
    // tests that count attempts say themselves whether they are made again
    const lines = { state_dir: this.state, retry_waits: 0, ...settings };
    fs.writeFileSync(this.config, Object.entries(lines).map(([k, v]) => `${k} = ${v}\n`).join(""));
    this.adminPassword = "correct horse battery";
    this.env = { ...(flavour === "" ? {} : sanitizers), ...process.env, ...env, SLUICE_CONFIG: this.config };
    const init = this.command(["init", "--json"],
      { env: { SLUICE_ADMIN_PASSWORD: fresh ? "" : this.adminPassword } });
    this.manageToken = init.management_token;
    fs.mkdirSync(this.sockets, { recursive: true });
    if (mock !== null) this.mock = await this.startMock(mock);
    if (seed && this.mock) this.seed();
    this.server = server;
    this.programs = under ? this.#wrap(under) : programs;
    if (["", "lighttpd-socket", "apache-proxy-fcgi", "nginx", "Caddyfile"].includes(server)) await this.serve();
    if (server !== "") await this.startServer(server);
  }

  // `sluice serve` takes the workers of the folder it is in: scripts with their names.
  #wrap(command) {
    const folder = path.join(this.dir, "programs");
    const words = command.map((word) => `'${word.replace("{log}", this.log)}'`).join(" ");
    fs.mkdirSync(folder);
    fs.copyFileSync(path.join(programs, "sluice"), path.join(folder, "sluice"));
    for (const name of ["sluice.fcgi", "sluice-manage.fcgi"])
      fs.writeFileSync(path.join(folder, name), `#!/bin/sh\nexec ${words} '${path.join(programs, name)}'\n`,
        { mode: 0o755 });
    return folder;
  }

  // What a person would type; an object when the command speaks JSON.
  command(args, { env = {}, input, code = 0 } = {}) {
    this.slept = true;
    const run = spawnSync(path.join(programs, "sluice"), args, {
      env: { ...this.env, ...env },
      input,
      encoding: "utf8",
      timeout: 20000 * SLOW,
    });
    if (run.status !== code)
      throw new Error(`sluice ${args.join(" ")}: code ${run.status}, not ${code}\n${run.stdout}${run.stderr}`);
    return args.includes("--json") ? JSON.parse(run.stdout) : run.stdout + run.stderr;
  }

  // A project, an upstream that is the mock, a key and a token.
  seed() {
    this.project = this.command(["project", "add", "--name", "first", "--json"]);
    this.upstream = this.command(["upstream", "add", "--name", "mock", "--protocol", "openai", "--base-url",
      this.mock.url + "/v1", "--allow-private", "--default", "--models", "gpt-test,mock*", "--json"]);
    this.key = this.command(["key", "add", "--upstream", "mock", "--secret", "sk-provider-secret-0001", "--json"]);
    const token = this.command(["token", "add", "--project", "first", "--label", "test", "--json"]);
    this.token = token.token;
    this.tokenId = token.id;
  }

  run(program, args, options = {}) {
    const out = fs.openSync(path.join(this.log, options.log ?? path.basename(program) + ".out"), "a");
    const child = spawn(program, args, { env: this.env, stdio: ["ignore", out, out], cwd: this.dir, ...options });
    fs.closeSync(out);
    child.unref();
    this.children.push(child);
    return child;
  }

  async startMock(args = []) {
    const log = fs.openSync(path.join(this.log, "mock.out"), "a");
    const child = spawn(path.join(programs, "sluice"),
      ["mock", "--listen", "127.0.0.1:0", "--seconds", String(900 * SLOW), ...args],
      { env: this.env, stdio: ["ignore", "pipe", log], cwd: this.dir });
    fs.closeSync(log);
    this.children.push(child);
    let text = "";
    for await (const piece of child.stdout) {
      text += piece;
      const found = /http:\/\/[\d.:]+/.exec(text);
      if (found) return { child, url: found[0] };
    }
    throw new Error("the mock ended at once");
  }

  async mockStats() {
    return (await fetch(this.mock.url + "/mock/stats")).json();
  }

  async serve() {
    this.serving = this.run(path.join(this.programs, "sluice"), ["serve"], { log: "serve.out" });
    await until("serve", START_MS, () => fs.existsSync(path.join(this.sockets, "gateway.sock"))
      && fs.existsSync(path.join(this.sockets, "manage.sock")));
  }

  workers() {
    return descendants(this.serving.pid).filter((pid) => {
      try {
        return alive(pid) && fs.readFileSync(`/proc/${pid}/comm`, "utf8").trim() === "sluice.fcgi";
      } catch {
        return false;
      }
    });
  }

  configure(name, extra = {}) {
    const file = fs.existsSync(path.join(root, "conf", name)) ? name : name + ".conf";
    const values = {
      PORT: this.port, HTDOCS: path.join(root, "htdocs"), SOCKETS: this.sockets, LOG: this.log,
      PROGRAMS: programs, CONFIG: this.config, SITE: path.join(this.dir, "site"), ...extra,
    };
    const text = fs.readFileSync(path.join(root, "conf", file), "utf8")
      .replace(/@([A-Z]+)@/g, (all, key) => values[key] ?? all);
    // started by root, nginx would give its workers to a user who may not use the sockets
    const head = name === "nginx" && process.getuid() === 0 ? "user root;\n" : "";
    const to = path.join(this.dir, file);
    fs.writeFileSync(to, head + text);
    return to;
  }

  // The shared-hosting user's folder: programs, page and .htaccess below a sub-path.
  makeSite() {
    const site = path.join(this.dir, "site");
    fs.mkdirSync(site);
    for (const name of ["sluice", "sluice-manage"]) {
      fs.copyFileSync(path.join(programs, `${name}.fcgi`), path.join(site, `${name}.cgi`));
      fs.chmodSync(path.join(site, `${name}.cgi`), 0o755);
    }
    fs.copyFileSync(this.config, path.join(site, "sluice.conf"));
    fs.cpSync(path.join(root, "htdocs", "admin"), path.join(site, "admin"), { recursive: true });
    fs.copyFileSync(path.join(root, "conf", "htaccess-cgi"), path.join(site, ".htaccess"));
  }

  async startServer(name) {
    this.port = await freePort();
    this.url = `http://127.0.0.1:${this.port}`;
    if (name === "apache-cgid") this.makeSite();
    const file = this.configure(name);
    if (name.startsWith("lighttpd")) this.web = this.run("lighttpd", ["-D", "-f", file]);
    else if (name.startsWith("apache")) this.web = this.run("apache2", ["-DFOREGROUND", "-f", file]);
    else if (name === "nginx") this.web = this.run("nginx", ["-c", file]);
    else this.web = this.run("caddy", ["run", "--config", file, "--adapter", "caddyfile"],
      { env: { ...this.env, HOME: this.dir, XDG_DATA_HOME: this.dir, XDG_CONFIG_HOME: this.dir } });
    await until(`${name} answers`, START_MS, async () => (await fetch(this.url + "/health")).ok);
  }

  // While a command ran nothing was read: connections that the server closed are not yet known to be.
  async #awake() {
    if (this.slept) await sleep(10);
    this.slept = false;
  }

  // One call of the management API, as the page or a script makes it.
  async manage(method, where, body, expect = undefined) {
    await this.#awake();
    const answer = await fetch(`${this.url}/manage/${where}`, {
      method,
      headers: { authorization: `Bearer ${this.manageToken}`, "content-type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    const text = await answer.text();
    if (expect === undefined ? !answer.ok : answer.status !== expect)
      throw new Error(`${method} ${where}: ${answer.status} ${text}`);
    return text === "" ? null : JSON.parse(text);
  }

  async chat(body = {}, { token = this.token, headers = {}, ...options } = {}) {
    await this.#awake();
    return fetch(`${this.url}/v1/chat/completions`, {
      method: "POST",
      headers: { authorization: `Bearer ${token}`, "content-type": "application/json", ...headers },
      body: JSON.stringify({ model: "gpt-test", messages: [{ role: "user", content: "Hello" }], ...body }),
      ...options,
    });
  }

  // The same on a connection of its own, for many at once; its status, 0 when it broke.
  ask(body, token = this.token) {
    const text = JSON.stringify(body);
    return new Promise((done) => {
      const request = http.request(`${this.url}/v1/chat/completions`, { method: "POST", agent,
        headers: { authorization: `Bearer ${token}`, "content-type": "application/json",
          "content-length": Buffer.byteLength(text) } }, (answer) => {
        answer.resume();
        answer.on("end", () => done(answer.statusCode));
        answer.on("error", () => done(0));
      });
      request.on("error", () => done(0));
      request.end(text);
    });
  }

  // The same through a CGI process of its own, as a web server would start it.  started: told its pid.
  cgi(body, token = this.token, started = () => {}) {
    const text = JSON.stringify(body);
    return new Promise((done) => {
      const child = spawn(path.join(programs, "sluice.fcgi"), [], {
        stdio: ["pipe", "pipe", "ignore"],
        env: { ...this.env, GATEWAY_INTERFACE: "CGI/1.1", REQUEST_METHOD: "POST",
          REQUEST_URI: "/v1/chat/completions", CONTENT_TYPE: "application/json", QUERY_STRING: "",
          CONTENT_LENGTH: String(Buffer.byteLength(text)), HTTP_AUTHORIZATION: `Bearer ${token}`,
          SERVER_PROTOCOL: "HTTP/1.1", REMOTE_ADDR: "127.0.0.1" } });
      let out = "";
      started(child.pid);
      child.stdout.on("data", (piece) => (out += piece));
      child.on("close", () => done(Number(/^Status: (\d+)/m.exec(out)?.[1] ?? 0)));
      child.stdin.on("error", () => {});
      child.stdin.end(text);
    });
  }

  rows(query = "limit=100") {
    return this.manage("GET", `requests?${query}`).then((list) => list.data);
  }

  logs() {
    if (!this.log || !fs.existsSync(this.log)) return "";
    return fs.readdirSync(this.log)
      .filter((name) => fs.statSync(path.join(this.log, name)).isFile())
      .map((name) => `--- ${name}\n${fs.readFileSync(path.join(this.log, name), "utf8").slice(-3000)}`)
      .join("\n");
  }

  // Ends what was started, by id, and tells what would not go.  Throws a sanitizer's report, or what
  // `sluice explain` cannot say of the requests that came through.
  async stop({ keep = Boolean(process.env.SLUICE_KEEP) } = {}) {
    const pids = this.children.map((child) => child.pid).filter(Boolean);
    const all = [...new Set(pids.concat(pids.flatMap(descendants)))];
    for (const pid of pids.reverse()) if (alive(pid)) process.kill(pid, "SIGTERM");
    const end = Date.now() + STOP_MS;
    while (all.some(alive) && Date.now() < end) await sleep(20);
    const left = all.filter(alive);
    for (const pid of left) {
      try {
        process.kill(pid, "SIGKILL");
      } catch { /* it went just now */ }
    }
    const report = sanitizerReport(this.log);
    let unsaid;
    try {
      if (report === "" && !keep && fs.existsSync(this.config ?? "")) // what is kept stays as it was left
        this.explained = explainAll(path.join(programs, "sluice"), this.env);
    } catch (error) {
      unsaid = error;
    }
    if (this.dir && !keep) fs.rmSync(this.dir, { recursive: true, force: true });
    if (report !== "") throw new Error(`a sanitizer reports in ${report}`);
    if (unsaid) throw unsaid;
    return left.length;
  }
}
