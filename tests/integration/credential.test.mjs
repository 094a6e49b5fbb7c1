// How keys reach a provider: access tokens that are bought and shared, refused and renewed; templates
// and queries for interfaces that are no model at all.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { once } from "node:events";
import http from "node:http";
import test from "node:test";
import { Stack, sleep, until } from "./lib/stack.mjs";

// A token endpoint and a provider in one: what it gives, and what it takes, is scripted by `play`.
async function endpoint() {
  const play = { life: 3600, delay: 0, status: 200, body: null, hang: false, fetched: [], calls: [], good: new Set() };
  const server = http.createServer(async (request, reply) => {
    let body = "";
    for await (const piece of request) body += piece;
    if (request.url.includes("/oauth/token")) {
      play.fetched.push({ url: request.url, body: new URLSearchParams(body), at: Date.now() });
      if (play.hang) return;
      await sleep(play.delay);
      if (play.status !== 200) {
        reply.writeHead(play.status, { "content-type": "application/json" })
          .end(play.body ?? '{"error":"invalid_client","error_description":"Bad credentials of secret-of-app"}');
        return;
      }
      const token = `bought-${play.fetched.length}`;
      play.good.add(token);
      reply.writeHead(200, { "content-type": "application/json" })
        .end(play.body ?? JSON.stringify({ access_token: token, token_type: "bearer", expires_in: play.life }));
      return;
    }
    play.calls.push({ method: request.method, url: request.url, headers: request.headers, body });
    const token = request.headers.authorization?.replace("Bearer ", "") ?? "";
    if (token.startsWith("bought-") && !play.good.has(token)) {
      reply.writeHead(401, { "content-type": "application/json" }).end('{"error":{"message":"expired"}}');
      return;
    }
    reply.writeHead(200, { "content-type": "application/json" });
    reply.end(JSON.stringify({ id: "x", object: "chat.completion", model: "m", choices: [{ index: 0,
      message: { role: "assistant", content: "Hi" }, finish_reason: "stop" }],
    usage: { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 } }));
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  play.url = `http://127.0.0.1:${server.address().port}`;
  play.stop = () => {
    server.closeAllConnections();
    server.close();
  };
  return play;
}

const serviceKey = (url) => JSON.stringify({ clientid: "sb-1234!b5|aicore!b6", clientsecret: "secret-of-app==",
  url, identityzoneid: "zone", serviceurls: { AI_API_URL: url } }, null, 2);

test("access tokens", { timeout: 180000 }, async (t) => {
  const stack = await Stack.start({ server: "nginx", settings: { workers: 8 } });
  const api = await endpoint();
  let n = 0;
  // An upstream of its own, with a key that buys tokens.
  const add = (more = [], secret = serviceKey(api.url)) => {
    const model = `m${++n}`;
    stack.command(["upstream", "add", "--name", model, "--base-url", `${api.url}/v1`, "--allow-private",
      "--models", model, "--auth", "sap-oauth", ...more]);
    const key = stack.command(["key", "add", "--upstream", model, "--secret", "-", "--json"], { input: secret });
    Object.assign(api, { life: 3600, delay: 0, status: 200, body: null, hang: false, fetched: [], calls: [] });
    return { model, key };
  };
  const ask = (model) => stack.ask({ model, messages: [{ role: "user", content: "x" }] });
  try {
    await t.test("eight workers and CGI processes share one that is fetched once", async () => {
      const { model } = add(["--resource-group", "team"]);
      api.delay = 400;
      const all = await Promise.all([...Array.from({ length: 40 }, () => ask(model)),
        ...Array.from({ length: 8 }, () => stack.cgi({ model, messages: [{ role: "user", content: "x" }] }))]);
      assert.deepEqual(all.filter((s) => s !== 200), []);
      assert.equal(api.fetched.length, 1);
      assert.equal(api.calls.length, 48);
      const { body } = api.fetched[0];
      assert.deepEqual([body.get("grant_type"), body.get("client_id"), body.get("client_secret")],
        ["client_credentials", "sb-1234!b5|aicore!b6", "secret-of-app=="]);
      for (const call of api.calls) {
        assert.equal(call.headers.authorization, "Bearer bought-1");
        assert.equal(call.headers["ai-resource-group"], "team");
      }
    });
  } finally {
    api.stop();
    assert.equal(await stack.stop(), 0);
  }
});
