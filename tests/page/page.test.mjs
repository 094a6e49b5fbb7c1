/*
 * page.test.mjs - the admin page in a real browser, against a made-up management API.
 *
 * CHROMIUM names another browser than Debian's.  Every test has its own server and its own browser
 * context; the browser is shared.
 */
import assert from "node:assert/strict";
import { mkdtemp, readdir, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { chromium } from "playwright-core";
import { MANAGEMENT_TOKEN, PASSWORD, SETUP_CODE, startFake } from "./fake-manage.mjs";

const ADMIN = fileURLToPath(new URL("../../htdocs/admin/", import.meta.url));
const LIMIT_BYTES = 100 * 1024;
const STEP_MS = 8000;   /* for one thing to appear */
const TEST_MS = 120000;

let browser, profile;

before(async () => {
	profile = await mkdtemp(join(tmpdir(), "sluice-page-"));
	browser = await chromium.launch({
		executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
		args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
			"--disable-background-networking", "--disable-component-update", "--disable-sync"],
		env: { ...process.env, HOME: profile, XDG_CONFIG_HOME: profile, XDG_CACHE_HOME: profile },
		timeout: 30000
	});
}, { timeout: 40000 });

after(async () => {
	await browser?.close();
	await rm(profile, { recursive: true, force: true, maxRetries: 3 });
}, { timeout: 20000 });

/*
 * Runs body with a page of a fresh server, and afterwards finds fault with anything that no test
 * may cause: errors in the console, breaches of the content security policy, other hosts.
 */
function pageTest(name, options, body) {
	test(name, { timeout: TEST_MS }, async () => {
		const fake = await startFake(options.server);
		const context = await browser.newContext({ viewport: { width: 1280, height: 800 },
			permissions: ["clipboard-read", "clipboard-write"], ...options.context });
		const page = await context.newPage();
		const faults = [], hosts = new Set();
		page.setDefaultTimeout(STEP_MS);
		page.on("pageerror", (err) => faults.push(err.stack));
		/* A refused call is an error to the console, too; that one is no fault of the page. */
		page.on("console", (m) => {
			/* Between two documents the browser may ask for the icon as nobody, and refuse that. */
			if (/icon\.svg' from origin 'null'/.test(m.text()))
				return;
			if (m.type() === "error" && !m.text().startsWith("Failed to load resource"))
				faults.push(m.text());
		});
		page.on("request", (r) => hosts.add(new URL(r.url()).host));
		await page.addInitScript(() => addEventListener("securitypolicyviolation", (e) =>
			console.error(`CSP: ${e.violatedDirective} ${e.blockedURI} ${e.sourceFile}:${e.lineNumber}`)));
		try {
			await body(page, fake);
			assert.deepEqual(faults, []);
			hosts.delete(""); /* about:blank */
			assert.deepEqual([...hosts], [new URL(fake.url).host]);
		} finally {
			await context.close();
			await fake.close();
		}
	});
}

async function signIn(page, fake, hash = "") {
	await page.goto(fake.url + hash);
	await page.getByLabel("Admin password", { exact: true }).last().fill(PASSWORD);
	await page.keyboard.press("Enter");
	await page.getByRole("navigation").waitFor();
}

const dialog = (page, name) => page.getByRole("dialog", { name });
const tabTo = async (page, locator, most = 60) => {
	for (let i = 0; i < most; i++) {
		if (await locator.evaluate((el) => el === document.activeElement).catch(() => false))
			return;
		await page.keyboard.press("Tab");
	}
	assert.fail(`the Tab key does not come to ${locator}`);
};

pageTest("a wrong password is refused in words, with the request's id, and throttled", {}, async (page, fake) => {
	await page.goto(fake.url);
	for (let i = 0; i < 5; i++) {
		await page.locator("input[type=password]").fill("wrong");
		await page.keyboard.press("Enter");
		await page.getByRole("alert").getByText("That is not right.").first().waitFor();
		await page.getByRole("button", { name: "Sign in" }).and(page.locator(":enabled")).waitFor();
	}
	assert.match(await page.locator(".failure code").textContent(), /^req_/);
	await page.keyboard.press("Enter");
	await page.getByText("Try again in 30 s.").waitFor();
});

pageTest("a management token signs in, too, and signing out ends it", {}, async (page, fake) => {
	await page.goto(fake.url);
	await page.getByLabel("Management token").check();
	await page.locator("input[type=password]").fill(MANAGEMENT_TOKEN);
	await page.keyboard.press("Enter");
	await page.getByRole("heading", { name: "Overview" }).waitFor();
	await page.getByRole("button", { name: "Sign out" }).click();
	await page.getByRole("heading", { name: "Sign in" }).waitFor();
	assert.ok(fake.log.includes("DELETE /manage/session"));
});

pageTest("a fresh gateway asks for the setup code and shows the management token once",
	{ server: { fresh: true } }, async (page, fake) => {
		await page.goto(fake.url);
		await page.getByLabel("Setup code").fill(SETUP_CODE);
		await page.getByLabel("New admin password").fill("a long password");
		await page.getByLabel("The same again").fill("another one");
		await page.keyboard.press("Enter");
		await page.getByText("The two are not the same.").waitFor();
		await page.getByLabel("The same again").fill("a long password");
		await page.keyboard.press("Enter");
		await page.getByText(MANAGEMENT_TOKEN).waitFor();
		await page.getByRole("button", { name: "Go on to the gateway" }).click();
		await page.getByRole("heading", { name: "First steps" }).waitFor();
		assert.equal(await page.getByText(MANAGEMENT_TOKEN).count(), 0);
	});

pageTest("minting a token shows its secret once, with snippets for this gateway, and sets its limits", {},
	async (page, fake) => {
		await signIn(page, fake, "#/tokens");
		await page.getByRole("button", { name: "Mint a token" }).click();
		const d = dialog(page, "Mint a token");
		await d.getByLabel("Label").fill("for the test");
		await d.getByLabel("Valid for").selectOption({ label: "7 days" });
		await d.getByLabel("Requests a minute").fill("30");
		await d.getByLabel("At once").fill("4");
		await d.getByLabel("Budget in dollars").fill("12.50");
		await d.getByLabel("Requests in its life").fill("1000");
		await d.getByRole("button", { name: "Mint token" }).click();

		const once = dialog(page, "Your new token");
		const secret = await once.locator("#new-token").textContent();
		assert.match(secret, /^sk-sl-\w{40}$/);
		const made = fake.data.tokens.at(-1);
		assert.equal(made.label, "for the test");
		assert.equal(made.max_requests, 1000);
		assert.deepEqual(fake.data.limits.filter((l) => l.scope.token === made.id).map((l) =>
			[l.metric, l.window, l.cap]).sort(), [["cost", "month", "12.50"], ["parallel", "total", 4],
			["requests", "minute", 30]]);

		const base = new URL("../v1", fake.url).href;
		for (const [client, wants] of [["curl", `${base}/chat/completions`], ["Python", `base_url="${base}"`],
			["Node", `baseURL: "${base}"`], ["Claude Code", `ANTHROPIC_BASE_URL='${base.slice(0, -3)}'`]]) {
			await once.getByRole("tab", { name: client }).click();
			const text = await once.getByRole("tabpanel").textContent();
			assert.ok(text.includes(wants) && text.includes(secret), text);
		}
		/* Not copied yet: the first Escape only warns. */
		await page.keyboard.press("Escape");
		await once.getByText("cannot be shown again").waitFor();
		await once.getByRole("button", { name: "Copy token" }).click();
		assert.equal(await page.evaluate(() => navigator.clipboard.readText()), secret);
		await once.getByRole("button", { name: "I have stored it" }).click();
		await page.getByRole("link", { name: "for the test" }).waitFor();
		assert.ok(!(await page.content()).includes(secret));
	});

pageTest("a limit that could not be set is named, and can be set again", {}, async (page, fake) => {
	await signIn(page, fake, "#/tokens?new=1");
	fake.limitsFail = 1;
	const d = dialog(page, "Mint a token");
	await d.getByLabel("Budget in dollars").fill("5");
	await d.getByRole("button", { name: "Mint token" }).click();
	await page.getByText("$5 a month").waitFor();
	await page.getByRole("button", { name: "Try again" }).click();
	await page.getByText("All limits are set now.").waitFor();
	assert.equal(fake.data.limits.filter((l) => l.scope.token === fake.data.tokens.at(-1).id).length, 1);
});

pageTest("revoking asks first, takes a reason, and shows in the list", {}, async (page, fake) => {
	const token = fake.data.tokens.find((t) => t.is_active);
	await signIn(page, fake, "#/tokens");
	await page.getByRole("button", { name: `Revoke ${token.label}`, exact: true }).click();
	const d = dialog(page, `Revoke ${token.label}?`);
	await d.getByLabel("Reason").fill("laptop lost");
	await page.keyboard.press("Enter");
	await page.getByRole("button", { name: `Reactivate ${token.label}`, exact: true }).waitFor();
	assert.equal(token.revoked_reason, "laptop lost");
	assert.equal(token.is_active, false);
});

pageTest("a token gets another secret, shown once, and is narrowed line by line", {}, async (page, fake) => {
	const token = fake.data.tokens.find((t) => t.is_active);
	await signIn(page, fake, `#/tokens?id=${token.id}`);
	const d = dialog(page, "Token");
	await d.getByText("Change", { exact: true }).click();
	await d.getByLabel("Client networks").fill("10.0.0.0/8\n\n 192.0.2.7 ");
	await d.getByLabel("Headers to repeat").fill("X-PROXY-USER-ID: 12");
	await d.getByRole("button", { name: "Save" }).click();
	await page.getByText("Saved.").waitFor();
	assert.deepEqual(token.allowed_networks, ["10.0.0.0/8", "192.0.2.7"]);
	assert.deepEqual(token.required_headers, ["X-PROXY-USER-ID: 12"]);
	assert.deepEqual(token.allowed_methods, []);

	await page.getByRole("link", { name: token.label, exact: true }).click();
	await dialog(page, "Token").getByRole("button", { name: "New secret…" }).click();
	const ask = dialog(page, `New secret for ${token.label}`);
	await ask.getByLabel("The old secret ends").selectOption("60");
	await ask.getByRole("button", { name: "Make a new secret" }).click();
	const secret = await dialog(page, "Your new token").locator("#new-token").textContent();
	assert.match(secret, /^sk-sl-\w{40}$/);
	assert.ok(Date.parse(token.old_secret_until) - Date.now() > 59 * 60e3);
	await dialog(page, "Your new token").getByRole("button", { name: "Copy token" }).click();
	await dialog(page, "Your new token").getByRole("button", { name: "I have stored it" }).click();
	assert.equal(await page.getByText(secret).count(), 0);
});

pageTest("keys of another gateway: told first, then taken over", {}, async (page, fake) => {
	await signIn(page, fake, "#/tokens");
	await page.getByRole("button", { name: "Import…" }).click();
	const d = dialog(page, "Import tokens");
	const before = fake.data.tokens.length;
	await d.getByRole("button", { name: "Import", exact: true }).click();
	assert.equal(await d.getByLabel("File").evaluate((el) => el.validity.valueMissing), true);
	await d.getByLabel("File").setInputFiles({ name: "keys.json", mimeType: "application/json",
		buffer: Buffer.from(JSON.stringify([{ key_alias: "one" }, { key_alias: "two" }])) });
	await d.getByRole("button", { name: "Import", exact: true }).click();
	await d.getByText("It would take over").waitFor();
	await d.getByText("Row 1 “one”: not taken, its secret is masked").waitFor();
	await d.getByText("Row 2 “two”: not carried over: aliases").waitFor();
	assert.equal(fake.data.tokens.length, before);
	await d.getByLabel("Only tell what it would do").uncheck();
	await d.getByRole("button", { name: "Import", exact: true }).click();
	await d.getByText("Taken over:").waitFor();
	assert.equal(fake.data.tokens.length, before + 1);
});

pageTest("projects, upstreams and keys are made; a name that is taken is shown at its field", {},
	async (page, fake) => {
		await signIn(page, fake, "#/projects?new=1");
		let d = dialog(page, "New project");
		await d.getByLabel("Name").fill("web shop");
		await page.keyboard.press("Enter");
		await d.locator(".wrong").getByText("The name web shop is taken.").waitFor();
		await d.getByLabel("Name").fill("fresh one");
		await page.keyboard.press("Enter");
		await page.getByRole("link", { name: "fresh one", exact: true }).waitFor();

		await page.goto(`${fake.url}#/upstreams?new=1`);
		d = dialog(page, "Add an upstream");
		await d.getByLabel("Provider").selectOption("Mistral");
		assert.equal(await d.getByLabel("Base URL").inputValue(), "https://api.mistral.ai/v1");
		await d.getByLabel("API key").fill("sk-secret-of-mistral-1234");
		await d.getByRole("button", { name: "Add upstream" }).click();
		await page.getByRole("link", { name: "mistral", exact: true }).waitFor();

		await page.getByRole("link", { name: "mistral", exact: true }).click();
		d = dialog(page, "Upstream");
		await d.getByText("Not healthy").waitFor();
		await d.getByText("17 ms; 1 of 2 checks were good. Its breaker is half open. It was not asked for its models.").waitFor();
		await d.getByRole("button", { name: "Ask for its models" }).click();
		await d.getByText("341 models found").waitFor();

		await page.goto(`${fake.url}#/keys?new=1`);
		d = dialog(page, "Add keys");
		await d.getByLabel("Secret").fill("sk-first-1111\nsk-second-2222\n");
		await d.getByLabel("Label").fill("pool");
		await d.getByRole("button", { name: "Add", exact: true }).click();
		await page.getByRole("link", { name: "pool 2" }).waitFor();
		assert.ok(!(await page.content()).includes("sk-secret-of-mistral"));
		assert.ok(!(await page.content()).includes("sk-first-1111"));
		await page.getByText("Resting until").waitFor();
		await page.getByRole("row").filter({ hasText: "old account" }).getByText("Incorrect API key").waitFor();
	});

pageTest("a key is tested, tried again, and taken out of use with a reason", {}, async (page, fake) => {
	await signIn(page, fake, `#/keys?id=${fake.data.keys[1].id}`);
	const d = dialog(page, "Key");
	await d.getByText("Resting until").waitFor();
	await d.getByRole("button", { name: "Test" }).click();
	await d.getByText("It works: 312 ms, 61 models.").waitFor();
	await d.getByText("What became of it").click();
	await d.getByText("available → throttled, rate limit (HTTP 429)").waitFor();
	await d.getByRole("button", { name: "Try again now" }).click();
	await page.getByText("The next request finds out.").waitFor();
	const row = page.getByRole("row").filter({ hasText: "second account" });
	await row.getByRole("button", { name: "Disable" }).click();
	await dialog(page, "Disable second account?").getByLabel("Why").fill("unpaid");
	await page.getByRole("button", { name: "Disable", exact: true }).click();
	await row.getByText("Disabled").waitFor();
	assert.equal(fake.data.keys[1].disabled_reason, "unpaid");
});

pageTest("a route is made and changed by the keyboard, and a policy bound to a project", {}, async (page, fake) => {
	await signIn(page, fake, "#/routes");
	await page.getByText("70 % openai, 30 % groq as llama-3.3-70b-versatile").waitFor();
	await page.getByRole("button", { name: "Add a route" }).press("Enter");
	let d = dialog(page, "Add a route");
	await d.getByLabel("Name", { exact: true }).fill("quick");
	await page.keyboard.press("Tab");
	await page.keyboard.type("claude-*");
	await tabTo(page, d.getByRole("button", { name: "Add an upstream" }));
	await page.keyboard.press("Enter");
	await d.getByLabel("Upstream", { exact: true }).selectOption("groq");
	await d.getByLabel("Who of them comes first").selectOption("The quickest to answer");
	await tabTo(page, d.getByRole("button", { name: "Add a model" }));
	await page.keyboard.press("Enter");
	await d.getByLabel("Model", { exact: true }).fill("gpt-4o-mini");
	await page.keyboard.press("Enter");
	await page.getByRole("link", { name: "quick" }).waitFor();
	const made = fake.data.routes.at(-1);
	assert.deepEqual([made.model, made.strategy, made.targets[0].upstream_name, made.fallbacks],
		["claude-*", "latency", "groq", ["error gpt-4o-mini"]]);

	await page.goto(`${fake.url}#/policies?new=1`);
	d = dialog(page, "Add a policy");
	await d.getByLabel("Name", { exact: true }).fill("frugal too");
	await d.getByLabel("It decides").selectOption("What a request may cost");
	await d.getByLabel("It binds").selectOption("one project");
	await d.getByLabel("Which project").selectOption("research");
	await d.getByLabel("Most that one request may cost").fill("0.25");
	await d.getByRole("button", { name: "Add policy" }).click();
	await page.getByRole("link", { name: "frugal too" }).waitFor();
	const policy = fake.data.policies.at(-1);
	assert.deepEqual([policy.type, policy.scope, policy.project_id, policy.max_cost],
		["cost_control", "project", fake.data.projects[2].id, "0.25"]);
});

pageTest("keys by the thousand: how far it is, and what was not taken stays to be mended", {}, async (page, fake) => {
	await signIn(page, fake, "#/keys?new=1");
	const d = dialog(page, "Add keys");
	const secrets = Array.from({ length: 1000 }, (_, i) => `sk-of-many-${String(i).padStart(4, "0")}`);
	secrets[700] = "sk-bad-one-0700";
	await d.getByLabel("Secret").evaluate((el, text) => { el.value = text; }, secrets.join("\n")); /* typing so much takes long */
	await d.getByLabel("Label").fill("many");
	await d.getByText("Its limits, models and tags").click();
	await d.getByLabel("Calls at once").fill("3");
	fake.delay = 100;
	await d.getByRole("button", { name: "Add", exact: true }).click();
	await d.getByText(/^[1-9]00 of 1,000 keys…$/).waitFor();
	await d.getByText("1 not taken").waitFor();
	await d.getByText("Its upstream takes no such key.").waitFor();
	assert.equal(await d.getByLabel("Secret").inputValue(), "sk-bad-one-0700");
	assert.equal(fake.log.filter((l) => l === "POST /manage/keys/import").length, 10);
	const made = fake.data.keys.filter((k) => k.label.startsWith("many "));
	assert.deepEqual([made.length, made.at(-1).label, made[0].max_parallel], [999, "many 1000", 3]);
	fake.delay = 0;
	await d.getByLabel("Secret").fill("sk-good-now-0700");
	await d.getByRole("button", { name: "Add", exact: true }).click();
	await d.waitFor({ state: "detached" });
});

pageTest("a key has limits of its own and takes another secret; only what was changed is sent", {}, async (page, fake) => {
	const key = fake.data.keys[0];
	await signIn(page, fake, `#/keys?id=${key.id}`);
	let d = dialog(page, "Key");
	await d.getByText("Its limits, models and tags").click();
	await d.getByLabel("What it is known to have").fill("requests/minute=60, tokens/day=1000000");
	await d.getByLabel("Models it is not used for").fill("/^o[0-9]/");
	const sent = page.waitForRequest((r) => r.method() === "PATCH");
	await d.getByRole("button", { name: "Save" }).click();
	assert.deepEqual((await sent).postDataJSON(), { quotas: ["requests/minute=60", "tokens/day=1000000"],
		blocked_models: ["/^o[0-9]/"] });
	await d.waitFor({ state: "detached" });
	await page.getByRole("link", { name: "main", exact: true }).click();
	d = dialog(page, "Key");
	await d.getByRole("button", { name: "Another secret…" }).click();
	await dialog(page, "Another secret for main").getByLabel("New secret").fill("sk-another-9999");
	await page.getByRole("button", { name: "Replace" }).click();
	await page.getByRole("row").filter({ hasText: "main" }).getByText("sk-…9999").waitFor();
	assert.equal(fake.data.keys[0].id, key.id);
});

pageTest("a breaker is opened by hand, and shows; an upstream's rarer fields are there to be set", {}, async (page, fake) => {
	await signIn(page, fake, "#/upstreams");
	await page.getByRole("row").filter({ hasText: "groq" }).getByText(/Breaker open until \d\d:\d\d/).waitFor();
	await page.getByRole("link", { name: "openai", exact: true }).click();
	const d = dialog(page, "Upstream");
	await d.getByLabel("Its circuit breaker").selectOption("is open: it is not asked");
	await page.getByText("The breaker of openai is open: it is not asked.").waitFor();
	await page.getByRole("row").filter({ hasText: "openai" }).getByText("Breaker open by hand").waitFor();
	await d.getByText("What became of it").click();
	await d.getByText("breaker open → half open, time").waitFor();
	await d.getByText("Who it is, and its share").click();
	await d.getByLabel("Account").fill("team a");
	await d.getByText("Failures and health").click();
	await d.getByLabel("Health is asked at").fill("/models");
	await d.getByText("Models", { exact: true }).click();
	await d.getByLabel("Its names for models").fill("fast=gpt-4o-mini\nslow=gpt-4.1");
	const sent = page.waitForRequest((r) => r.method() === "PATCH");
	await d.getByRole("button", { name: "Save" }).click();
	assert.deepEqual((await sent).postDataJSON(), { group: "team a", aliases: ["fast=gpt-4o-mini", "slow=gpt-4.1"],
		health_path: "/models" });
});

pageTest("a policy is tried on a request before it is added", {}, async (page, fake) => {
	await signIn(page, fake, "#/policies?new=1");
	const d = dialog(page, "Add a policy");
	const had = fake.data.policies.length;
	await d.getByLabel("Models not asked for").fill("gpt-4o");
	await d.getByText("Try it on a request").click();
	await d.getByLabel("Model that is asked for").fill("gpt-4o");
	await page.keyboard.press("Enter");
	await d.getByText("A policy forbids this model.").waitFor();
	await d.getByText("Kept out: 4 keys by policy.").waitFor();
	await d.getByText("openai, main, gpt-4o").waitFor();
	await d.getByLabel("It decides").selectOption("What happens after failures");
	await d.getByLabel("What failures mean").fill("status=529 -> stop");
	await d.getByRole("button", { name: "What would change?" }).click();
	await d.getByText("openai, second account, gpt-4o").waitFor();
	await d.getByRole("listitem").getByText("status=529 -> stop").waitFor();
	/* what counts for a whole request goes by no upstream */
	assert.equal(await d.getByLabel("Attempts at most").count(), 1);
	await d.getByLabel("It binds").selectOption("one upstream");
	await d.getByLabel("Which upstream").waitFor();
	assert.equal(await d.getByLabel("Attempts at most").count(), 0);
	assert.equal(await d.getByLabel("What failures mean").inputValue(), "status=529 -> stop");
	assert.equal(fake.data.policies.length, had);
});

pageTest("a change is looked at, taken back by the keyboard, and the undo stands above it", {}, async (page, fake) => {
	const entry = fake.data.audit.find((e) => e.changes.length > 0);
	await signIn(page, fake, `#/audit?object=${entry.object}`);
	await page.getByRole("button", { name: entry.action }).first().waitFor();
	assert.ok(fake.log.some((l) => l.includes(`object=${entry.object}`)));
	await page.getByRole("button", { name: entry.action }).first().press("Enter");
	const d = dialog(page, "Change");
	await d.getByText("label: – → search").waitFor();
	await tabTo(page, d.getByRole("button", { name: "Take it back…" }));
	await page.keyboard.press("Enter");
	const sure = dialog(page, `Take back ${entry.action}?`);
	await tabTo(page, sure.getByRole("button", { name: "Take it back" }));
	await page.keyboard.press("Enter");
	await page.getByText("Taken back: 1 record.").waitFor();
	await page.getByRole("button", { name: "token.undo" }).waitFor();
	assert.ok(fake.log.some((l) => /^POST \/manage\/changes\/chg_\w+\/undo$/.test(l)));
	/* from a record to what was changed of it */
	await page.goto(`${fake.url}#/routes?id=${fake.data.routes[0].id}`);
	await dialog(page, "Route").getByRole("link", { name: "Changes" }).click();
	await page.waitForURL(/#\/audit\?object=rt_/);
});

pageTest("keys are found by state and by what they are called", {}, async (page, fake) => {
	await signIn(page, fake, "#/keys");
	await page.getByRole("link", { name: "main", exact: true }).waitFor();
	await page.getByLabel("State").selectOption("refused by provider");
	await page.getByRole("link", { name: "main", exact: true }).waitFor({ state: "detached" });
	await page.getByRole("link", { name: "old account" }).waitFor();
	await page.getByLabel("Search").fill("old");
	await page.waitForURL(/q=old/);
	assert.ok(fake.log.some((l) => l.includes("state=invalid") && l.includes("q=old")));
});

pageTest("a rolling limit on each end user is set, granted more, reset, and both are taken back", {},
	async (page, fake) => {
		await signIn(page, fake, "#/limits?new=1");
		let d = dialog(page, "Set a limit");
		await d.getByLabel("What is limited").selectOption("requests");
		await d.getByLabel("At most").fill("7");
		await d.getByLabel("Time zone").waitFor();
		await d.getByLabel("In each").selectOption("rolling");
		assert.equal(await d.getByLabel("Time zone").isVisible(), false);
		await d.getByLabel("Seconds").fill("90");
		await d.getByText("End user, tag, address").click();
		await d.getByLabel("End user").fill("each");
		await d.getByRole("button", { name: "Set limit" }).click();
		const link = page.getByRole("link", { name: "7 requests within 90 s" });
		await link.waitFor();
		const made = fake.data.limits.at(-1);
		assert.deepEqual([made.window, made.scope, made.cap], ["rolling:90", { end_user: "each" }, 7]);

		await link.click();
		d = dialog(page, "Limit");
		await d.getByText("Grant or reset…").click();
		await d.getByLabel("End user").fill("ann");
		await d.getByLabel("More").fill("3");
		await d.getByLabel("Reason").fill("a fair");
		await d.getByRole("button", { name: "Grant", exact: true }).click();
		await page.getByText("Granted.").waitFor();
		await link.click();
		d = dialog(page, "Limit");
		await d.getByText("granted 3 for end user ann").waitFor();
		await d.getByText("Grant or reset…").click();
		await d.getByLabel("End user").fill("ann");
		await d.getByRole("button", { name: "Reset…" }).click();
		await dialog(page, "Reset this limit?").getByRole("button", { name: "Reset", exact: true }).click();
		await page.getByText("Reset.", { exact: true }).waitFor();
		assert.deepEqual(fake.data.grants.map((g) => [g.is_reset, g.amount, g.scope, g.reason]),
			[[false, 3, { end_user: "ann" }, "a fair"], [true, 0, { end_user: "ann" }, ""]]);
		await link.click();
		d = dialog(page, "Limit");
		await d.getByRole("button", { name: "Take back" }).first().click();
		await d.getByText("granted 3").waitFor({ state: "detached" });
		assert.equal(fake.data.grants.length, 1);
	});

pageTest("failed requests are found, and say why", {}, async (page, fake) => {
	const row = fake.data.requests.find((r) => r.code === "upstream_credentials");
	await signIn(page, fake, "#/requests");
	await page.getByLabel("Failed only").check();
	await page.waitForURL(/failed=1/);
	const link = page.getByRole("row").filter({ hasText: row.error }).first();
	await link.waitFor();
	for (const status of await page.locator("tbody tr:not(.spacer) td:nth-child(4)").allTextContents())
		assert.ok(!/●/.test(status), `${status} among the failed`);
	await link.getByRole("link").click();
	const d = dialog(page, "Request");
	await d.getByText("The provider refused our key; see Keys.").waitFor();
	await d.getByText(/^req_/).waitFor();
	await page.keyboard.press("Escape");
	await d.waitFor({ state: "detached" });
	assert.ok(!page.url().includes("id="));
	assert.ok(page.url().includes("failed=1"), "the filter stays when a dialog closes");
	await page.getByLabel("Status").fill("504");
	await page.waitForURL(/status=504/);
	await page.getByText("no byte from openai").first().waitFor();
});

for (const [what, context] of [["", {}],
	["360 pixels wide, in the dark: ", { viewport: { width: 360, height: 740 }, colorScheme: "dark" }]])
	pageTest(`${what}a request tells why it went where it went, and why nowhere else`, { context }, async (page, fake) => {
		const request = fake.data.requests.find((r) => r.attempts > 0 && r.status === 200);
		await page.goto(`${fake.url}#/requests?id=${request.id}`);
		await page.getByLabel("Admin password", { exact: true }).last().fill(PASSWORD);
		await page.keyboard.press("Enter");
		const d = dialog(page, "Request");
		await d.getByText("Why it went there").click();
		await d.getByRole("heading", { name: "Attempts" }).waitFor();
		const tried = await d.locator("ol.feed li").allTextContents();
		assert.match(tried[0], /429.*began after 1 ms, took 80 ms: rate limit/);
		assert.match(tried[1], /fallback 1 \(on a context too long\).*200.*it was a probe/);
		const others = (await d.locator("ul.feed li").allTextContents()).join("\n");
		assert.match(others, /it was asked.*share of turns 50 %, score 0\.91, cost 0\.88/);
		assert.match(others, /it rests: throttled or exhausted.*until /);
		assert.match(others, /its circuit breaker is open/);
		for (const text of ["objective", "frugal", "cap max_tokens=7; rule 3", "4 keys looked at, 1 rests, 1 breaker", "120 ms"])
			await d.getByText(text, { exact: true }).waitFor();
		assert.ok(await page.evaluate(() => {
			const body = document.querySelector("dialog .body");
			return document.documentElement.scrollWidth <= innerWidth && body.scrollWidth <= body.clientWidth;
		}), "nothing is cut off sideways");
		if (process.env.SHOTS)
			await page.screenshot({ path: join(process.env.SHOTS, `explain${context.viewport?.width ?? ""}.png`) });
		await d.getByRole("button", { name: /the explanation/ }).click();
		assert.equal(await page.evaluate(() => navigator.clipboard.readText()), "REQUEST\n  in sentences");
		await page.keyboard.press("Escape");
		await d.waitFor({ state: "detached" });
		const refused = fake.data.requests.find((r) => r.code === "invalid_token");
		await page.goto(`${fake.url}#/requests?id=${refused.id}`);
		await dialog(page, "Request").getByText("Why it went there").click();
		await page.getByText(/No decision is kept/).waitFor();
	});

pageTest("10,000 rows scroll with few of them in the document, and all can be reached", {}, async (page, fake) => {
	await signIn(page, fake, "#/requests");
	await page.locator("tbody tr").nth(20).waitFor();
	const last = page.getByText("10,000 shown", { exact: true });
	const began = Date.now();
	while (!await last.isVisible()) {
		assert.ok(Date.now() - began < 100000, "it takes too long");
		await page.evaluate(() => scrollTo(0, document.body.scrollHeight));
		await page.waitForTimeout(15);
	}
	assert.ok(await page.locator("tbody tr").count() < 160);
	await page.evaluate(() => scrollTo(0, document.body.scrollHeight));
	await page.locator("tr[aria-rowindex='10001']").waitFor();
	await page.evaluate(() => scrollTo(0, document.body.scrollHeight / 2));
	await page.waitForTimeout(200);
	const indices = await page.locator("tbody tr:not(.spacer)").evaluateAll((rows) =>
		rows.map((r) => Number(r.getAttribute("aria-rowindex"))));
	assert.ok(indices.length > 20 && indices.every((v, i) => i === 0 || v === indices[i - 1] + 1), `${indices}`);
	/* and what is in sight is filled, not a gap */
	assert.ok(await page.evaluate(() => document.elementFromPoint(600, 400).closest("tr[aria-rowindex]") !== null));
});

pageTest("the chart tells its values to the keyboard, to assistive technology, and as a table", {},
	async (page, fake) => {
		await signIn(page, fake);
		const chart = page.getByRole("slider");
		await chart.waitFor();
		await tabTo(page, chart);
		assert.match(await chart.getAttribute("aria-label"), /Requests by model/);
		await page.keyboard.press("End");
		assert.equal(await chart.getAttribute("aria-valuenow"), "23");
		const text = await chart.getAttribute("aria-valuetext");
		assert.match(text, /: \d+; gpt-4o/);
		await page.keyboard.press("ArrowLeft");
		assert.notEqual(await chart.getAttribute("aria-valuetext"), text);
		await page.getByText("The same as a table").click();
		await page.locator("table.small tbody tr").nth(23).waitFor();
		assert.equal(await page.locator("table.small tbody tr").count(), 24);

		const since = (Math.floor(Date.now() / 3600e3) - 23) * 3600e3;
		const rows = fake.data.requests.filter((r) => Date.parse(r.time) >= since);
		const tile = page.getByRole("button", { name: /^Requests/ });
		assert.ok((await tile.textContent()).includes(rows.length.toLocaleString("en-US")));
		const nusd = rows.reduce((t, r) => t + (r.cost ? BigInt(r.cost.replace(".", "")) : 0n), 0n);
		const cost = page.getByRole("button", { name: /^Cost/ });
		assert.equal(BigInt((await cost.getAttribute("title")).replace(/[$.]/g, "")), nusd, "to the last digit");
		await cost.click();
		await page.waitForURL(/of=cost/);
		await page.getByRole("heading", { name: "Cost by model" }).waitFor();
		assert.match(await page.getByRole("slider").getAttribute("aria-valuetext"), /\$/);
	});

pageTest("the keyboard alone signs in, mints and revokes", {}, async (page, fake) => {
	const key = (k) => page.keyboard.press(k);
	await page.goto(fake.url);
	const password = page.locator("input[type=password]");
	await password.waitFor();
	assert.ok(await password.evaluate((el) => el === document.activeElement), "the first field has the focus");
	await page.keyboard.type(PASSWORD);
	await key("Enter");
	const tokens = page.getByRole("link", { name: "Tokens", exact: true });
	await tokens.waitFor();
	await tabTo(page, tokens);
	await key("Enter");
	const open = page.getByRole("button", { name: "Mint a token" });
	await open.waitFor();
	await tabTo(page, open);
	assert.notEqual(await open.evaluate((el) => getComputedStyle(el).outlineStyle), "none", "the focus is seen");
	await key("Enter");
	const label = dialog(page, "Mint a token").getByLabel("Label");
	await label.waitFor();
	await page.keyboard.type("by keyboard");
	for (let i = 0; i < 25; i++) {
		await key("Tab");
		assert.ok(await page.evaluate(() => document.activeElement === document.body ||
			document.activeElement.closest("dialog") !== null), "the dialog keeps the focus");
	}
	await tabTo(page, label);
	await key("Enter");
	await dialog(page, "Your new token").waitFor();
	const copy = page.getByRole("button", { name: "Copy token" });
	await tabTo(page, copy);
	await key("Enter");
	await page.getByText("Copied token.").waitFor();
	await key("Escape");
	assert.equal(fake.data.tokens.at(-1).label, "by keyboard");
	const revoke = page.getByRole("button", { name: "Revoke by keyboard" });
	await revoke.waitFor();
	await tabTo(page, revoke);
	await key("ArrowDown");
	await key("ArrowUp");
	assert.ok(await revoke.evaluate((el) => el === document.activeElement), "arrows go from row to row");
	await key("Enter");
	const sure = dialog(page, "Revoke by keyboard?");
	await sure.waitFor();
	await key("Escape");
	await sure.waitFor({ state: "detached" });
	assert.ok(await revoke.evaluate((el) => el === document.activeElement), "the focus comes back");
	await key("Enter");
	await tabTo(page, sure.getByRole("button", { name: "Revoke" }));
	await key("Enter");
	await page.getByRole("button", { name: "Reactivate by keyboard" }).waitFor();
});

pageTest("an error is readable, carries the request's id, and can be tried again", {}, async (page, fake) => {
	fake.fail = (_, path) => path === "/manage/projects" && [503, "store_unavailable", "The store is being recovered."];
	await signIn(page, fake, "#/projects");
	await page.getByText("The store is being recovered.").waitFor();
	assert.match(await page.locator(".failure code").textContent(), /^req_/);
	fake.fail = null;
	await page.getByRole("button", { name: "Try again" }).click();
	await page.getByRole("link", { name: "web shop", exact: true }).waitFor();
});

pageTest("a session that ends asks again and comes back to the same place", {}, async (page, fake) => {
	await signIn(page, fake, "#/requests?failed=1");
	await page.getByText("Why it failed").first().waitFor();
	fake.signOutAll();
	await page.getByLabel("Status").fill("429");
	await page.getByText("Your session has ended.").waitFor();
	await page.locator("input[type=password]").fill(PASSWORD);
	await page.keyboard.press("Enter");
	await page.getByRole("heading", { name: "Requests" }).waitFor();
	assert.match(page.url(), /failed=1.*status=429/);
});

pageTest("works below a sub-path, and asks nobody above it", { server: { mount: "/some/where" } },
	async (page, fake) => {
		await signIn(page, fake);
		await page.getByRole("slider").waitFor();
		for (const name of ["Requests", "Projects", "Tokens", "Limits", "Upstreams", "Keys", "Prices", "Audit", "Health"]) {
			await page.getByRole("link", { name, exact: true }).first().click();
			await page.getByRole("heading", { name, level: 1 }).waitFor();
			await page.locator("main .rows tbody tr:not(.spacer), main .facts").first().waitFor();
		}
		assert.deepEqual(fake.log.filter((l) => !/^\w+ \/some\/where\//.test(l)), []);
		await page.getByText(new URL("../v1", fake.url).href).waitFor();
	});

pageTest("slow answers show that they are awaited; leaving a page drops what it waits for",
	{ server: { delay: 700 } }, async (page, fake) => {
		await page.goto(fake.url);
		await page.getByText("Loading…").first().waitFor();
		await page.locator("input[type=password]").fill(PASSWORD);
		await page.keyboard.press("Enter");
		await page.getByRole("link", { name: "Audit", exact: true }).click();
		await page.locator("main .bone").first().waitFor();
		await page.getByRole("link", { name: "Prices", exact: true }).click();
		await page.getByRole("link", { name: "gpt-4o", exact: true }).waitFor();
		assert.equal(await page.getByText("session.create").count(), 0);
	});

pageTest("360 pixels wide: nothing is cut off sideways, the menu opens and closes",
	{ context: { viewport: { width: 360, height: 740 } } }, async (page, fake) => {
		await signIn(page, fake).catch(() => {}); /* the navigation is folded away */
		const menu = page.getByRole("button", { name: "Menu" });
		await menu.waitFor();
		for (const name of ["Overview", "Requests", "Tokens", "Limits", "Upstreams", "Keys", "Prices", "Health"]) {
			await menu.click();
			await page.getByRole("link", { name, exact: true }).first().click();
			await page.getByRole("heading", { name, level: 1 }).waitFor();
			await page.locator("main .rows tbody tr:not(.spacer), main .facts, main .tile").first().waitFor();
			assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), name);
		}
		await page.goto(`${fake.url}#/tokens?new=1`);
		await dialog(page, "Mint a token").getByLabel("Label").waitFor();
		assert.ok(await page.evaluate(() => document.querySelector("dialog").getBoundingClientRect().width <= innerWidth));
	});

pageTest("the theme follows the system, and a choice outlives a reload", { context: { colorScheme: "dark" } },
	async (page, fake) => {
		const background = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
		await signIn(page, fake);
		const dark = await background();
		await page.getByRole("button", { name: /^Colours: system/ }).click();
		const light = await background();
		assert.notEqual(light, dark);
		await page.reload();
		await page.getByRole("button", { name: /^Colours: light/ }).waitFor();
		assert.equal(await background(), light);
	});

pageTest("amounts are exact: no binary fraction touches them", {}, async (page, fake) => {
	await page.goto(fake.url);
	const got = await page.evaluate(async () => {
		const m = await import("./money.js");
		return {
			exact: m.decimal(m.nano("9007199254.740993001") + m.nano("0.1") + m.nano("0.2")),
			shown: ["0", "0.000000001", "0.0042", "0.999999", "1.005", "1234567.891", "-3.5", "1e3"].map(m.usd),
			plain: ["2.500000000", "10.000000000", "0.000000000"].map(m.plain)
		};
	});
	assert.deepEqual(got, {
		exact: "9007199255.040993001",
		shown: ["$0.00", "$0.000000001", "$0.0042", "$1.00", "$1.01", "$1,234,567.89", "−$3.50", "–"],
		plain: ["2.5", "10", "0"]
	});
});

test("the page is small, says nothing of other hosts, and builds no HTML from text", async () => {
	const files = (await readdir(ADMIN, { recursive: true, withFileTypes: true })).filter((f) => f.isFile());
	let total = 0, packed = 0;
	for (const f of files) {
		const path = join(f.parentPath ?? f.path, f.name);
		const text = await readFile(path, "utf8");
		total += (await stat(path)).size;
		packed += gzipSync(text).length;
		assert.doesNotMatch(text, /innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function/, path);
		assert.doesNotMatch(text, /(src|href|from|url\()\s*=?\s*["'(]?(https?:)?\/\//, path);
	}
	assert.ok(packed < LIMIT_BYTES, `${total} bytes, ${packed} packed`);
});

pageTest("whatever page comes first, its files weigh less than 100 KB, unpacked", {}, async (page, fake) => {
	const bytes = new Map();
	page.on("response", async (r) => {
		const { pathname } = new URL(r.url());
		if (pathname.startsWith("/admin/"))
			bytes.set(pathname, (await r.body().catch(() => "")).length);
	});
	await signIn(page, fake, "#/audit");
	for (const name of await readdir(join(ADMIN, "pages"))) {
		bytes.clear();
		await page.goto("about:blank");
		await page.goto(`${fake.url}#/${name.replace(".js", "")}`);
		await page.waitForLoadState("networkidle");
		const sum = [...bytes.values()].reduce((a, b) => a + b, 0);
		assert.ok(sum > 30000 && sum < LIMIT_BYTES, `${name}: ${sum} bytes`);
	}
});
