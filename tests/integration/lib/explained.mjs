// explained.mjs - every decision of a test run can be explained from its record alone: when a stack has
// stopped, rows of what went through it are given to `sluice explain`, and what it says must fit them.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import fs from "node:fs";

const MOST = 50;
const ATTEMPTS_KEPT = 16;
const ENDS = ["rests", "forecast"]; // reasons that end at a time
const ON_THE_WAY = ["rests", "probed", "unpriced", "unsupported", "limit", "full"]; // found behind the plan

// One row and what is said of it.
export function fits(row, why) {
  const said = () => JSON.stringify({ row, why }, null, 1);
  const check = (ok, what) => assert.ok(ok, `${what}: ${ok ? "" : said()}`);

  check(why.request.id === row.id && why.text.includes(row.id), "it is of that request");
  check(!/sk-[\w-]*secret/.test(why.text), "no secret");
  if (row.attempts > 0 || row.upstream_id !== null) check(why.has_record, "a choice has a record");
  if (!why.has_record) return check(/No decision is kept/.test(why.text), "without a record that is said");
  for (const title of ["REQUEST", "OBJECTIVE", "CHOSEN", "THE OTHERS", "ATTEMPTS", "SUMMARY"])
    check(why.text.includes(title), title);

  // attempts
  const tried = why.attempts, last = tried.at(-1);
  check(tried.length === Math.min(row.attempts, ATTEMPTS_KEPT), "as many attempts as the row has");
  if (last && row.attempts <= ATTEMPTS_KEPT) {
    check(last.upstream_id === row.upstream_id && last.key_id === row.key_id, "the row is of the last one asked");
    if (row.code === null && row.ended_by === "done" && row.status < 400)
      check(last.status < 400 && (last.failure === null || /went to the client as it was/.test(why.text)),
        "what went well ended well");
    for (const failed of tried.slice(0, -1)) check(failed.failure !== null, "who was not the last had failed");
    for (const a of tried) check(a.failure === null || /^[a-z_]+$/.test(a.failure), "failures have names");
  }

  // those chosen, and all the others
  const named = (m) => `${m.upstream_id} ${m.key_id} ${m.stage}`;
  const chosen = why.candidates.filter((c) => c.reason === "chosen").map(named);
  const asked = tried.filter((a) => a.upstream_id !== null).map(named);
  assert.deepEqual(new Set(asked), new Set(chosen), said());
  const counted = Object.values(why.counts).reduce((a, b) => a + b, 0);
  check(counted <= why.considered, "no more were kept out than were looked at");
  for (const c of why.candidates) {
    check(c.upstream_id !== null && c.upstream !== "" && c.says !== "" && c.reason !== "?", "each has a reason");
    check(!ENDS.includes(c.reason) || c.until !== null, "what ends, ends at a time");
    if (!["chosen", "next", ...ON_THE_WAY].includes(c.reason))
      check(why.counts[c.reason] > 0 || c.reason === "policy", `${c.reason} is counted`);
  }
  if (tried.length === 0 && row.code === "no_key_available")
    check(counted + why.candidates.length + why.not_told > 0 || why.considered === 0, "why nobody was asked");
}

// How many were explained; null where the state cannot be read, as its test has broken it.
export function explainAll(sluice, env) {
  const run = (...args) => spawnSync(sluice, args, { env, encoding: "utf8", timeout: 60000, maxBuffer: 64 << 20 });
  const list = run("requests", "--limit", String(MOST), "--json");
  assert.ok(!["SIGSEGV", "SIGABRT", "SIGBUS", "SIGFPE"].includes(list.signal), list.stderr);
  if (list.status !== 0) return null;
  const rows = JSON.parse(list.stdout).data;
  if (rows.length === 0) return 0;
  const said = run("explain", "--json", ...rows.map((row) => row.id));
  assert.equal(said.status, 0, said.stderr);
  const whys = said.stdout.trim().split("\n").map((line) => JSON.parse(line));
  assert.equal(whys.length, rows.length);
  rows.forEach((row, i) => fits(row, whys[i]));
  if (process.env.SLUICE_EXPLAINED)
    fs.appendFileSync(process.env.SLUICE_EXPLAINED,
      JSON.stringify({ test: process.argv[1], rows: rows.length, records: whys.filter((w) => w.has_record).length }) + "\n");
  return rows.length;
}
