// Both workers run under valgrind through exchanges of every kind and many calls of the management
// API, and end on TERM: nothing lost, no byte read that nobody wrote.  SLUICE_LONG=1: 10,000 of them.

import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import test from "node:test";
import { fileURLToPath } from "node:url";
import { Stack, flavour, until } from "../integration/lib/stack.mjs";

const EXCHANGES = process.env.SLUICE_LONG === "1" ? 10000 : 300;
const CLIENTS = 12;
const suppressions = fileURLToPath(new URL("../tools/valgrind.supp", import.meta.url));
const valgrind = ["valgrind", "--leak-check=full", "--errors-for-leak-kinds=definite,indirect",
  "--show-leak-kinds=definite,indirect", "--error-exitcode=9", "--num-callers=24",
  `--suppressions=${suppressions}`, "--log-file={log}/valgrind.%p"];

async function leave(stack) {
  const abort = new AbortController();
  const answer = await stack.chat({ model: "mock:chunks=50,interval=20", stream: true }, { signal: abort.signal });
  const reader = answer.body.getReader();
  await reader.read();
  abort.abort();
  await reader.read().catch(() => {});
  return "left";
}

const whole = async (answer) => {
  const it = await answer;
  await it.arrayBuffer();
  return it.status;
};

// Each kind of exchange, and how it ends.
function kinds(stack) {
  const head = { authorization: `Bearer ${stack.token}` };
  const form = () => {
    const body = new FormData();
    body.set("model", "mock-audio");
    body.set("file", new Blob(["x".repeat(20000)]), "a.wav");
    return body;
  };
  return [
    [200, () => whole(stack.chat())],
    [200, () => whole(stack.chat({ stream: true, model: "mock:chunks=5" }))],
    [200, () => whole(stack.chat({ stream: true, model: "mock:chunks=5", stream_options: { include_usage: true } }))],
    [200, () => whole(stack.chat({ messages: [{ role: "user", content: "long ".repeat(20000) }] }))],
    [200, () => whole(fetch(`${stack.url}/v1/embeddings`, { method: "POST",
      headers: { ...head, "content-type": "application/json" },
      body: JSON.stringify({ model: "mock-embedding", input: ["one", "two"] }) }))],
    [200, () => whole(fetch(`${stack.url}/v1/audio/transcriptions`, { method: "POST", headers: head, body: form() }))],
    [200, () => whole(fetch(`${stack.url}/v1/models`, { headers: head }))],
    [400, () => whole(stack.chat({ model: "mock-error-400" }))],
    [502, () => whole(stack.chat({ model: "mock-garbage" })), 503],
    [401, () => whole(stack.chat({}, { token: "sk-nobody" }))],
    [404, () => whole(stack.chat({ model: "nobody-serves-this" }))],
    [400, () => whole(stack.chat({}, { body: "{\"model\": " }))],
    [429, () => whole(stack.chat({}, { token: stack.spent }))],
    [503, () => whole(stack.chat({ model: "ill" })), 502, 500],
    ["left", () => leave(stack)],
  ];
}

test(`${EXCHANGES} exchanges under valgrind`, { skip: flavour !== "", timeout: 3600000 }, async (t) => {
  const stack = await Stack.start({ server: "nginx", under: valgrind,
    settings: { workers: 1, manage_workers: 1, rest_default: "10ms" } });
  try {
    stack.command(["upstream", "add", "--name", "ill", "--protocol", "openai", "--base-url", `${stack.mock.url}/v1`,
      "--allow-private", "--models", "ill,mock-garbage", "--json"]);
    stack.command(["key", "add", "--upstream", "ill", "--secret", "sk-bad500-0000000000", "--json"]);
    stack.spent = stack.command(["token", "add", "--project", "first", "--label", "spent", "--max-requests", "1",
      "--json"]).token;
    await whole(stack.chat({}, { token: stack.spent }));
    const each = kinds(stack);
    const seen = {};
    const odd = {};
    let next = 0;
    const began = Date.now();
    await Promise.all(Array.from({ length: CLIENTS }, async () => {
      while (next < EXCHANGES) {
        const n = next++;
        const [wanted, run, ...others] = each[n % each.length];
        const got = await run().catch((error) => `${error} ${error.cause ?? ""}`);
        seen[got] = (seen[got] ?? 0) + 1;
        if (got !== wanted && !others.includes(got)) odd[`kind ${n % each.length}`] = got;
        if (n % 50 === 0)
          for (const list of ["projects", "tokens", "upstreams", "keys", "prices", "limits", "requests", "audit",
            "usage", "health"]) await stack.manage("GET", list);
        if (n % 100 === 0) {
          const made = await stack.manage("POST", "tokens", { project_id: stack.project.id, label: `t${n}` });
          await stack.manage("POST", `tokens/${made.id}/revoke`, {});
        }
      }
    }));
    t.diagnostic(`${EXCHANGES} in ${((Date.now() - began) / 1000).toFixed(0)} s: ${JSON.stringify(seen)}`);
    assert.deepEqual(odd, {}, "every exchange ended as it should");

    stack.serving.kill("SIGTERM");
    await until("the workers end", 60000, () => stack.serving.exitCode !== null);
    const reports = fs.readdirSync(stack.log).filter((name) => name.startsWith("valgrind."));
    assert.equal(reports.length, 2, "one worker and one for management, neither of them died on the way");
    for (const name of reports) {
      const text = fs.readFileSync(path.join(stack.log, name), "utf8");
      t.diagnostic(text.split("\n").filter((l) => /in use at exit|definitely|indirectly|ERROR SUMMARY/.test(l))
        .map((l) => l.replace(/^==\d+== +/, "")).join("; "));
      assert.match(text, /ERROR SUMMARY: 0 errors/, text.slice(-12000));
    }
  } finally {
    await stack.stop();
  }
});
