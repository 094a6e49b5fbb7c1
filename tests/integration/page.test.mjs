// The admin page in a real browser on the real stack: from the setup code to a revoked token.

import assert from "node:assert/strict";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import test, { after, before } from "node:test";
import { chromium } from "playwright-core";
import { SLOW, Stack } from "./lib/stack.mjs";

const STEP_MS = 8000 * SLOW; // for one thing to appear
const PASSWORD = "battery staple horse";
const SECRET = "sk-provider-of-the-page-0001";
const GUESSES = 30; // more wrong passwords than any throttle lets through

let browser, profile;

before(async () => {
  profile = fs.mkdtempSync(path.join(os.tmpdir(), "sluice-page-"));
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
      "--disable-background-networking", "--disable-component-update", "--disable-sync"],
    env: { ...process.env, HOME: profile, XDG_CONFIG_HOME: profile, XDG_CACHE_HOME: profile },
    timeout: 30000,
  });
}, { timeout: 40000 });

after(async () => {
  await browser?.close();
  fs.rmSync(profile, { recursive: true, force: true, maxRetries: 3 });
}, { timeout: 20000 });

// A page that remembers what no page may cause: errors, breaches of its policy, other hosts.
async function openPage() {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 },
    permissions: ["clipboard-read", "clipboard-write"] });
  const page = await context.newPage();
  const faults = [], hosts = new Set(), secrets = [];
  page.setDefaultTimeout(STEP_MS);
  page.on("pageerror", (e) => faults.push(e.stack));
  // Between two documents the browser may ask for the icon as nobody, and refuse that to itself.
  const isIcon = (url) => url.endsWith("/icon.svg");
  page.on("console", (m) => {
    if (isIcon(m.location().url) || /icon\.svg' from origin 'null'/.test(m.text())) return;
    // a refused call is an error to the console, too; only those that a step is about are refused
    if (["error", "warning"].includes(m.type()) && !/status of (401|403|429)/.test(m.text())) faults.push(m.text());
  });
  page.on("request", (r) => hosts.add(new URL(r.url()).host));
  page.on("requestfailed", (r) => {
    if (r.failure()?.errorText !== "net::ERR_ABORTED" && !isIcon(r.url())) faults.push(`${r.url()}: ${r.failure()?.errorText}`);
  });
  page.on("response", async (r) => {
    if (!r.url().includes("/manage/")) return;
    const text = await r.text().catch(() => "");
    if (text.includes(SECRET)) secrets.push(r.url());
  });
  await page.addInitScript(() => addEventListener("securitypolicyviolation", (e) =>
    console.error(`CSP: ${e.violatedDirective} ${e.blockedURI} ${e.sourceFile}:${e.lineNumber}`)));
  return { context, page, faults, hosts, secrets };
}

const dialog = (page, name) => page.getByRole("dialog", { name });

async function signIn(page, password) {
  await page.getByLabel("Admin password", { exact: true }).last().fill(password);
  await page.keyboard.press("Enter");
}

async function firstRun(stack, page) {
  const code = fs.readFileSync(path.join(stack.state, "setup.code"), "utf8").trim();
  await page.getByLabel("Setup code").fill("not-the-code");
  await page.getByLabel("New admin password").fill(PASSWORD);
  await page.getByLabel("The same again").fill(PASSWORD);
  await page.keyboard.press("Enter");
  await page.getByRole("alert").first().waitFor();
  await page.getByLabel("Setup code").fill(code);
  await page.getByRole("button", { name: "Set password" }).click();
  const on = page.getByRole("button", { name: "Go on to the gateway" });
  const navigation = page.getByRole("navigation");
  await on.or(navigation).first().waitFor();
  if (await on.isVisible()) await on.click();
  await navigation.waitFor();
  assert.ok(!fs.existsSync(path.join(stack.state, "setup.code")), "the code is good for one time");
}

async function make(stack, page, admin) {
  await page.goto(`${admin}#/projects?new=1`);
  let d = dialog(page, "New project");
  await d.getByLabel("Name").fill("web shop");
  await page.keyboard.press("Enter");
  await page.getByRole("link", { name: "web shop", exact: true }).waitFor();

  await page.goto(`${admin}#/upstreams?new=1`);
  d = dialog(page, "Add an upstream");
  await d.getByLabel("Provider").selectOption("Other");
  await d.getByLabel("Name", { exact: true }).fill("mock");
  await d.getByLabel("Base URL").fill(`${stack.mock.url}/v1`);
  await d.getByLabel("API key").fill(SECRET);
  await d.getByText("More", { exact: true }).click();
  await d.getByLabel("May be at a private or loopback address").check();
  await d.getByRole("button", { name: "Add upstream" }).click();
  await page.getByRole("link", { name: "mock", exact: true }).waitFor();

  await page.goto(`${admin}#/keys`);
  await page.getByRole("row").filter({ hasText: "mock" }).first().waitFor();

  await page.goto(`${admin}#/tokens?new=1`);
  d = dialog(page, "Mint a token");
  await d.getByLabel("Label").fill("search box");
  await d.getByLabel("Budget in dollars").fill("5");
  await d.getByRole("button", { name: "Mint token" }).click();
  const once = dialog(page, "Your new token");
  await once.getByRole("button", { name: "Copy token" }).click();
  const token = await page.evaluate(() => navigator.clipboard.readText());
  assert.match(token, /^sk-sl-\w{40}$/);
  // the snippet names the address that works
  await once.getByRole("tab", { name: "curl" }).click();
  assert.ok((await once.getByRole("tabpanel").textContent()).includes(new URL("../v1/chat/completions", admin).href));
  await once.getByRole("button", { name: "I have stored it" }).click();
  await page.getByRole("link", { name: "search box" }).waitFor();
  return token;
}

function chat(admin, token, model) {
  return fetch(new URL("../v1/chat/completions", admin), { method: "POST",
    headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
    body: JSON.stringify({ model, stream: true, messages: [{ role: "user", content: "Hello" }] }) });
}

async function seeRequests(page, admin, token) {
  const answer = await chat(admin, token, "mock-chat");
  const text = await answer.text();
  assert.equal(answer.status, 200, text);
  assert.match(text, /data: \[DONE\]\s*$/);
  const id = answer.headers.get("x-request-id");

  await page.goto(`${admin}#/requests`);
  const row = page.locator("tbody tr").filter({ hasText: "mock-chat" });
  await row.first().waitFor();
  const cost = await row.locator("td:nth-child(7) span").getAttribute("title");
  assert.match(cost, /^\$\d+\.\d{9}$/);
  assert.ok(Number(cost.slice(1)) > 0, `it cost ${cost}`);
  assert.match(await row.locator("td:nth-child(6)").textContent(), /^[1-9]/, "tokens came out");
  await row.getByRole("link").click();
  let d = dialog(page, "Request");
  await d.getByText(id).waitFor();
  await d.getByText("reported by the provider").waitFor();
  await d.getByText(cost, { exact: true }).waitFor();
  await page.keyboard.press("Escape");
  await d.waitFor({ state: "detached" });

  const failed = await chat(admin, token, "mock-error-401");
  assert.equal(failed.status, 502);
  await failed.text();
  await page.goto("about:blank");
  await page.goto(`${admin}#/requests?failed=1`);
  const link = page.locator("tbody tr").filter({ hasText: "mock-error-401" });
  await link.first().waitFor();
  assert.equal(await page.locator("tbody tr").filter({ hasText: "mock-chat" }).count(), 0);
  await link.getByRole("link").click();
  d = dialog(page, "Request");
  await d.getByText("The provider refused our key; see Keys.").waitFor();
  await page.keyboard.press("Escape");
  await d.waitFor({ state: "detached" });

  // the key rests for it, and is woken here
  await page.goto(`${admin}#/keys`);
  await page.getByRole("row").filter({ hasText: "mock" }).getByText("401").first().waitFor();
}

async function revoke(page, admin, token) {
  await page.goto(`${admin}#/tokens`);
  await page.getByRole("button", { name: "Revoke search box" }).click();
  const d = dialog(page, "Revoke search box?");
  await d.getByLabel("Reason").fill("laptop lost");
  await d.getByRole("button", { name: "Revoke" }).click();
  await page.getByRole("button", { name: "Reactivate search box" }).waitFor();
  const answer = await chat(admin, token, "mock-chat");
  assert.deepEqual([answer.status, (await answer.json()).error.sluice_code], [401, "token_revoked"]);
}

async function leaveAndGuess(page, admin) {
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.getByRole("heading", { name: "Sign in" }).waitFor();
  const answer = await page.request.get(new URL("../manage/projects", admin).href);
  assert.equal(answer.status(), 401, "the session is over, not only out of sight");
  const throttled = page.getByText(/Too many attempts to sign in; try again in \d+ seconds\.$/);
  for (let i = 0; i < GUESSES && await throttled.count() === 0; i++) {
    await signIn(page, `wrong ${i}`);
    await page.getByRole("alert").first().waitFor();
    await page.getByRole("button", { name: "Sign in" }).and(page.locator(":enabled")).waitFor();
  }
  await throttled.first().waitFor();
  assert.equal(await page.getByRole("navigation").count(), 0);
}

for (const [server, mount] of [["lighttpd-socket", ""], ["apache-cgid", "/site"]]) {
  test(`the page on ${server}${mount && `, below ${mount}`}`, { timeout: 60000 * SLOW }, async (t) => {
    const stack = await Stack.start({ server, seed: false, fresh: true });
    const admin = `${stack.url}${mount}/admin/`;
    const { context, page, faults, hosts, secrets } = await openPage();
    let token;
    const step = (name, body) => t.test(name, async () => {
      try {
        await body();
      } catch (error) {
        error.message += `\n${await page.locator("body").innerText().catch(() => "")}\n${stack.logs()}`;
        throw error;
      }
    });
    try {
      await page.goto(admin);
      await step("first run by the setup code", () => firstRun(stack, page));
      await step("project, upstream, key and token", async () => { token = await make(stack, page, admin); });
      await step("what ran, what it cost, why it failed", () => seeRequests(page, admin, token));
      await step("revoked on the page, refused at the next call", () => revoke(page, admin, token));
      await step("signing out, and guessing", () => leaveAndGuess(page, admin));
      await step("no error, no breach of its policy, no other host, no secret", () => {
        assert.deepEqual(faults, []);
        hosts.delete(""); // about:blank
        assert.deepEqual([...hosts], [new URL(stack.url).host]);
        assert.deepEqual(secrets, []);
      });
    } finally {
      await context.close();
      await stack.stop();
    }
  });
}
