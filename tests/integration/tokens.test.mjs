// What a token may do, seen from outside: lists and conditions through a real web server, another
// secret with its grace over two workers, batches, and keys that came from other gateways.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import fs from "node:fs";
import http from "node:http";
import path from "node:path";
import { after, before, test } from "node:test";
import { Stack, sleep } from "./lib/stack.mjs";

const sha256 = (text) => createHash("sha256").update(text).digest("hex");

let stack;

before(async () => {
  stack = await Stack.start({ settings: { workers: 2 } });
});

after(() => stack?.stop());

// The status and our code of one request.
async function answer(response) {
  const text = await response.text();
  const body = text === "" ? {} : JSON.parse(text);
  return response.status === 200 ? "200" : `${response.status} ${body.error?.sluice_code ?? body.sluice_code}`;
}

const chat = async (token, body = {}, headers = {}) => answer(await stack.chat(body, { token, headers }));

const mint = (more) => stack.manage("POST", "tokens", { project_id: "first", ...more });

// fetch sets its own Origin; a browser's needs a request of ours.
function raw(method, where, headers, body) {
  return new Promise((done, failed) => {
    const request = http.request(stack.url + where, { method, agent: false, headers }, (response) => {
      let text = "";
      response.on("data", (piece) => { text += piece; });
      response.on("end", () => done({ status: response.statusCode, text }));
    });
    request.on("error", failed);
    request.end(body);
  });
}

test("each list refuses what it names, and lets the rest pass", async () => {
  const cases = [
    [{ allowed_endpoints: ["/v1/embeddings"] }, {}, {}, "403 endpoint_not_allowed"],
    [{ allowed_endpoints: ["/v1/chat/*"] }, {}, {}, "200"],
    [{ allowed_methods: ["GET"] }, {}, {}, "403 endpoint_not_allowed"],
    [{ allowed_methods: ["POST"] }, {}, {}, "200"],
    [{ allowed_networks: ["192.0.2.0/24"] }, {}, {}, "403 forbidden"],
    [{ allowed_networks: ["127.0.0.0/8"] }, {}, {}, "200"],
    [{ allowed_params: ["temperature=0*"] }, { temperature: 1 }, {}, "400 param_not_allowed"],
    [{ allowed_params: ["temperature=0*"] }, { temperature: 0.5 }, {}, "200"],
    [{ allowed_params: ["temperature=0*"] }, {}, {}, "200"],
    [{ required_headers: ["X-PROXY-USER-ID: 7"] }, {}, {}, "403 forbidden"],
    [{ required_headers: ["X-PROXY-USER-ID: 7"] }, {}, { "x-proxy-user-id": "8" }, "403 forbidden"],
    [{ required_headers: ["X-PROXY-USER-ID: 7"] }, {}, { "x-proxy-user-id": "7" }, "200"],
    [{ allowed_models: ["mock-1"] }, {}, {}, "403 model_not_allowed"],
    [{ allowed_models: ["gpt-*"] }, {}, {}, "200"],
    [{ not_before: "2999-01-01T00:00:00Z" }, {}, {}, "401 invalid_token"],
  ];

  for (const [lists, body, headers, want] of cases) {
    const { token } = await mint(lists);
    assert.equal(await chat(token, body, headers), want, JSON.stringify([lists, body, headers]));
  }
});

test("a model cannot hide in a body that is not called JSON", async () => {
  const { token } = await mint({ allowed_models: ["mock-1"] });
  const body = JSON.stringify({ model: "gpt-test", messages: [] });
  const sent = await raw("POST", "/v1/chat/completions",
    { authorization: `Bearer ${token}`, "content-type": "text/plain", "content-length": body.length }, body);
  assert.equal(sent.status, 403, sent.text);
  assert.match(sent.text, /model_not_allowed/);
});

test("origins of project and token are both asked", async () => {
  await stack.manage("POST", "projects", { name: "pages", allowed_origins: ["https://a.example", "https://b.example"] });
  const { token } = await stack.manage("POST", "tokens", { project_id: "pages", allowed_origins: ["https://a.example"] });
  const from = async (origin) => (await raw("GET", "/v1/models",
    { authorization: `Bearer ${token}`, ...(origin ? { origin } : {}) })).status;
  assert.deepEqual([await from("https://a.example"), await from("https://b.example"),
    await from("https://c.example"), await from("")], [200, 403, 403, 200]);
  await stack.manage("POST", "tokens", { project_id: "pages", allowed_origins: ["https://c.example"] }, 400);
});

test("another secret: both work in the grace, on every worker; without one the old is gone", async () => {
  const old = await mint({ label: "rotated" });
  const once = async (token) => (await Promise.all(Array.from({ length: 8 }, () => chat(token))));
  const only = (all, want) => assert.deepEqual(new Set(all), new Set([want]));

  only(await once(old.token), "200");
  const next = await stack.manage("POST", `tokens/${old.id}/rotate`, { grace_minutes: 5 });
  assert.notEqual(next.token, old.token);
  assert.equal(next.id, old.id);
  assert.ok(Date.parse(next.old_secret_until) > Date.now());
  only(await once(old.token), "200");
  only(await once(next.token), "200");
  const last = await stack.manage("POST", `tokens/${old.id}/rotate`, {});
  only(await once(old.token), "401 invalid_token");
  only(await once(next.token), "401 invalid_token");
  only(await once(last.token), "200");

  // One identity all along: the rows of both secrets are the same token's.
  const rows = await stack.rows(`token_id=${old.id}&limit=100`);
  assert.equal(rows.filter((row) => row.status === 200).length, 32);
});

test("revoked with a reason, which the client is told, and taken back", async () => {
  const { id, token } = await mint({});
  await stack.manage("POST", `tokens/${id}/revoke`, { reason: "found in a repository" });
  const refused = await stack.chat({}, { token });
  assert.equal(refused.status, 401);
  assert.match(await refused.text(), /found in a repository/);
  stack.command(["token", "activate", id]);
  assert.equal(await chat(token), "200");
});

test("a batch by the command: each works, all are revoked, and cleaned away when it is time", async () => {
  const lines = stack.command(["token", "mint", "--project", "first", "--count", "25", "--label", "seat-{n}"])
    .trim().split("\n").map((line) => JSON.parse(line));
  assert.equal(lines.length, 25);
  assert.deepEqual(lines.map((t) => t.label), lines.map((_, i) => `seat-${i + 1}`));
  assert.deepEqual(await Promise.all([lines[0], lines[24]].map((t) => chat(t.token))), ["200", "200"]);

  const csv = stack.command(["token", "mint", "--project", "first", "--count", "2", "--label", "=a,\"b\"", "--csv"]);
  assert.match(csv, /^id,token,label,project_id,expires_at\ntok_\w+,sk-sl-\w{40},"'=a,""b""",prj_\w+,\n/);

  const counted = stack.command(["token", "revoke-many", "--label", "seat-*", "--dry-run", "--yes", "--json"]);
  assert.equal(counted.revoked_count, 25);
  assert.equal(await chat(lines[3].token), "200");
  stack.command(["token", "revoke-many", "--label", "seat-*", "--reason", "term over", "--yes"]);
  assert.equal(await chat(lines[3].token), "401 token_revoked");

  const clean = stack.command(["token", "cleanup", "--days", "1", "--json"]);
  assert.deepEqual([clean.dry_run, clean.deleted_count], [true, 0]);
  assert.match(stack.command(["token", "list", "--search", "SEAT-25"]), /seat-25/);
});

function importFile(name, text, args, code = 0) {
  const file = path.join(stack.dir, name);
  fs.writeFileSync(file, text);
  return stack.command(["token", "import", file, ...args], { code });
}

test("keys of LiteLLM go on, with what is left of their budget", async () => {
  const keys = { keys: [
    { token: sha256("sk-litellm-one"), key_name: "sk-...lone", key_alias: "one", spend: 1.5, max_budget: 5,
      models: ["gpt-test"], rpm_limit: 2, team_alias: "blue", guardrails: ["pii"] },
    { token: sha256("sk-litellm-two"), key_alias: "two", spend: 7, max_budget: 5, models: [], team_alias: "blue" },
    { token: sha256("sk-litellm-three"), key_alias: "three", models: [], blocked: true, team_alias: "blue" },
  ] };
  const dry = importFile("litellm.json", JSON.stringify(keys), ["--from", "litellm", "--dry-run"]);
  assert.match(dry, /3 of 3 tokens would be imported/);
  assert.equal(await chat("sk-litellm-one"), "401 invalid_token");
  const told = importFile("litellm.json", JSON.stringify(keys), ["--from", "litellm"]);
  assert.match(told, /row 1 'one': not carried over: guardrails/);
  assert.match(told, /projects made: blue/);

  const left = 60000 - (Date.now() % 60000); // what goes by the minute must not see one end
  if (left < 10000) await sleep(left + 100);
  await stack.manage("POST", "prices", { model: "gpt-test", input: "1", output: "1" });
  assert.equal(await chat("sk-litellm-one"), "200");
  assert.equal(await chat("sk-litellm-one"), "200");
  assert.equal(await chat("sk-litellm-one"), "429 rate_limited"); // 2 a minute, as there
  assert.equal(await chat("sk-litellm-one", { model: "mock-1" }), "403 model_not_allowed");
  assert.match(await chat("sk-litellm-two"), /^(429|400) (budget_exceeded|exceeds_limit)$/); // spent there
  assert.equal(await chat("sk-litellm-three"), "401 token_revoked");
  assert.match(importFile("litellm.json", JSON.stringify(keys), ["--from", "litellm"]), /0 of 3 .* 3 were here already/);
});

test("tokens of new-api go on, quota as dollars", async () => {
  const key = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKL";
  const table = `id,key,status,name,expired_time,remain_quota,unlimited_quota,model_limits_enabled,model_limits,allow_ips,group
1,${key},1,shop,-1,1000000,0,1,"gpt-test,gpt-4o",,default
2,zzzz${key.slice(4)},2,off,-1,0,1,0,,,default
`;
  importFile("new-api.csv", table, ["--from", "new-api", "--project", "first"]);
  assert.equal(await chat(`sk-${key}`), "200");
  assert.equal(await chat(`sk-${key}`, { model: "mock-1" }), "403 model_not_allowed");
  assert.equal(await chat(`sk-zzzz${key.slice(4)}`), "401 token_revoked");
  const [token] = (await stack.manage("GET", "tokens?q=shop")).data;
  const { data: limits } = await stack.manage("GET", `limits?token_id=${token.id}`);
  assert.deepEqual(limits.map((l) => [l.metric, l.window, l.cap]), [["cost", "total", "2.000000000"]]);
});

test("tokens of llm-proxy go on, with the requests they have left", async () => {
  const rows = [
    { id: "u-1", token: "sk-AAAAAAAAAAAAAAAAAAAAAA", project_id: "p-1", is_active: true, max_requests: 10, request_count: 8,
      expires_at: "2099-01-01T00:00:00Z" },
    { id: "u-2", token: "sk-ABCD***WXYZ", project_id: "p-1", is_active: true },
  ];
  const told = importFile("llm-proxy.ndjson", rows.map((row) => JSON.stringify(row)).join("\n"),
    ["--from", "llm-proxy"], 3);
  assert.match(told, /row 2 'u-2': not taken: its secret is masked/);
  const asked = [];
  for (let i = 0; i < 3; i++) asked.push(await chat("sk-AAAAAAAAAAAAAAAAAAAAAA"));
  assert.deepEqual(asked, ["200", "200", "429 rate_limited"]);
});
