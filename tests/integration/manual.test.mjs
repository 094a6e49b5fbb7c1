// The manual pages and the program say the same: verbs, actions, options, settings, addresses, headers.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import test from "node:test";
import { programs } from "./lib/stack.mjs";

const root = path.resolve(import.meta.dirname, "../..");
const read = (...at) => fs.readFileSync(path.resolve(root, ...at), "utf8");
const pages = { command: read("src/sluice.8"), routing: read("src/sluice-routing.7"),
  settings: fs.readFileSync(path.join(programs, "sluice.conf.5"), "utf8") };
const sluice = (...args) => {
  const run = spawnSync(path.join(programs, "sluice"), args, { encoding: "utf8",
    env: { ...process.env, SLUICE_CONFIG: path.join(root, "conf/sluice.conf") } });
  assert.equal(run.status, 0, `${args.join(" ")}: ${run.stderr}`);
  return run.stdout;
};
const words = (text) => new Set(text.match(/[\w-]+/g));
// The words of a page that stand behind a macro: `.It Cm backup Ar file` has backup behind Cm.
function behind(page, macro) {
  const found = new Set();
  for (const line of page.split("\n").filter((l) => l.startsWith(".")))
    for (const part of line.split(/ (?=(?:Ar|Cm|Fl|Op|Oo|Oc|Pa|Li|Ic|Ns|Ql|No|Xr|Ev)\b)|^\.(?:It )?/))
      if (part.startsWith(`${macro} `))
        for (const word of part.slice(macro.length).match(/[\w./-]+/g) ?? []) found.add(word);
  return found;
}
const missing = (wanted, there) => [...wanted].filter((w) => !there.has(w));
const KINDS = ["project", "token", "upstream", "key", "route", "policy", "limit", "grant", "price"];
const verbs = [...sluice("help").matchAll(/^ {2}(\w+) {2,}/gm)].map((m) => m[1]);
const options = (kind) => [...sluice(kind, "--help").matchAll(/^ {2}--([\w-]+)/gm)].map((m) => m[1]);

test("every verb and every action has its place in sluice(8)", () => {
  assert.ok(verbs.length > 25 && KINDS.every((k) => verbs.includes(k)), verbs.join(" "));
  const heads = words(pages.command.split("\n").filter((l) => l.startsWith(".It Cm")).join("\n"));
  assert.deepEqual(missing(verbs, heads), []);
  const named = behind(pages.command, "Cm");
  for (const kind of KINDS) {
    const actions = /^Actions: (.*)$/m.exec(sluice(kind, "--help"))[1].split(", ");
    assert.ok(actions.includes("list"), kind);
    const together = new Set([...pages.command.matchAll(new RegExp(`\\b${kind} ([\\w-]+)(?: \\| ([\\w-]+))?`, "g"))].flatMap((m) => [m[1], m[2]]));
    assert.deepEqual(actions.filter((a) => !named.has(a) && !together.has(a)), [], `actions of ${kind}`);
  }
});

test("what routes and policies take is in sluice-routing(7)", () => {
  const there = behind(pages.routing, "Fl");
  const documented = new Set([...there].map((o) => o.replace(/^-/, "")));
  const tried = new Set(["model", "as-project", "to-upstream", "input-tokens", "output-tokens", "session"]);
  for (const kind of ["route", "policy"]) {
    const wanted = options(kind).filter((o) => o !== "project-id" && !(kind === "policy" && tried.has(o)));
    assert.ok(wanted.length > 20, kind);
    assert.deepEqual(missing(wanted, documented), [], kind);
  }
  for (const o of tried) assert.ok(pages.command.includes(`-${o}`), o);
  const values = (option) => new RegExp(`^ {2}--${option} .*: ([\\w|-]+)$`, "m").exec(sluice("route", "--help"))[1].split("|");
  assert.ok(values("strategy").length >= 12);
  assert.deepEqual(missing(values("strategy"), behind(pages.routing, "Cm")), []);
  // and nothing that is no more
  const known = new Set(KINDS.flatMap(options).concat(["state"]));
  assert.deepEqual([...documented].filter((o) => !known.has(o)), []);
});

test("every setting is in sluice.conf(5)", () => {
  const settings = Object.keys(JSON.parse(sluice("config", "--json")).settings ?? JSON.parse(sluice("config", "--json")));
  const named = new Set([...pages.settings.matchAll(/^\.It Ic (\w+)$/gm)].map((m) => m[1]));
  assert.ok(named.size > 40);
  assert.deepEqual(missing(named, new Set(settings)), []);
  assert.deepEqual(missing(settings.filter((s) => /^[a-z]+(_[a-z0-9]+)*$/.test(s) && s !== "file"), named), []);
  // those that other pages speak of are there
  for (const page of [pages.command, pages.routing])
    for (const word of behind(page, "Cm"))
      if (/^[a-z]+_[a-z_]+$/.test(word) && !["cost_control", "key_selection", "failure_handling", "key_invalid", "no_credit",
        "rate_limited", "fetch_media", "max_tokens"].includes(word)) assert.ok(named.has(word), word);
});

test("addresses and headers of ours are told", () => {
  const table = read("src/gateway/endpoint.c");
  const own = [...table.matchAll(/ROW\("GET", "(\/[^"]+)", (?!FORWARD)\w+/g)].map((m) => m[1]);
  assert.ok(own.length > 15);
  for (const at of own) {
    const last = at.replace(/\/\*$/, "").split("/").at(-1);
    assert.ok(pages.command.includes(at) || behind(pages.command, "Pa").has(last) || new RegExp(`^\\.(?:It )?Pa .*\\b${last}\\b`, "m").test(pages.command), at);
  }
  for (const dir of ["gateway", "settle"])
    for (const file of fs.readdirSync(path.join(root, "src", dir)).filter((f) => f.endsWith(".c")))
      for (const [, header] of read("src", dir, file).matchAll(/"(x-sluice-[a-z-]+)"/gi))
        assert.ok([pages.command, pages.routing].some((p) => p.toLowerCase().includes(header.toLowerCase())), `${file}: ${header}`);
});

test("the pages are sound, and are installed", () => {
  const made = path.join(programs, "sluice.conf.5");
  const lint = spawnSync("mandoc", ["-T", "lint", "-W", "warning", ...fs.readdirSync(path.join(root, "src"))
    .filter((f) => /\.[1-9]$/.test(f)).map((f) => path.join(root, "src", f)), made], { encoding: "utf8" });
  assert.equal(lint.status, 0, lint.stdout);
  const install = read("Makefile");
  for (const page of fs.readdirSync(path.join(root, "src")).filter((f) => /\.[1-9]$/.test(f)))
    assert.ok(install.includes(`install -m 644 src/${page} `), page);
});
