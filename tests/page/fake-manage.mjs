/*
 * fake-manage.mjs - the page's folder and a made-up management API, for looking at the page and
 * for its tests: no gateway, no store, everything in memory, the same data at each start.
 *
 *   node tests/page/fake-manage.mjs [port] [mount] [delay_ms]      password "correct horse"
 *   FRESH=1: no admin password yet, the setup code is "open-sesame", and nothing is there
 */
import { randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { fileURLToPath } from "node:url";
import { extname, join, normalize } from "node:path";

const HTDOCS = fileURLToPath(new URL("../../htdocs/", import.meta.url));
const TYPES = { ".html": "text/html; charset=utf-8", ".js": "text/javascript", ".css": "text/css",
	".svg": "image/svg+xml", ".json": "application/json" };
const BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/* ---- made-up data ---- */

function generator(seed) {
	let s = seed;
	return () => {
		s = (s * 1664525 + 1013904223) >>> 0;
		return s / 2 ** 32;
	};
}

const word = (random, n) => Array.from({ length: n }, () => BASE62[Math.floor(random() * 62)]).join("");
const iso = (ms) => new Date(ms).toISOString();
const money = (nusd) => {
	const n = BigInt(Math.round(nusd));
	return `${n / 1000000000n}.${String(n % 1000000000n).padStart(9, "0")}`;
};

function makeData(requests) {
	const random = generator(7);
	const pick = (list) => list[Math.floor(random() * list.length)];
	const now = Date.now();
	const id = (prefix) => prefix + word(random, 22);
	const head = (prefix, daysAgo) => ({ id: id(prefix), created_at: iso(now - daysAgo * 86400e3),
		updated_at: iso(now - daysAgo * 43200e3) });

	const projects = ["web shop", "support bot", "research", "nightly reports"].map((name, i) => ({
		...head("prj_", 90 - i * 20), name, is_active: i !== 3, deactivated_at: i === 3
			? iso(now - 5 * 86400e3) : null, allowed_models: i === 1 ? ["gpt-4o-mini", "gpt-4.1*"] : [],
		allowed_origins: [] }));
	const upstreams = [["openai", "https://api.openai.com/v1"], ["groq", "https://api.groq.com/openai/v1"],
		["local", "http://127.0.0.1:11434/v1"]].map(([name, base_url], i) => ({ ...head("up_", 80 - i * 10),
		name, protocol: "openai", base_url, auth: i === 2 ? "none" : "bearer", is_active: i !== 2,
		default: i === 0, allow_private: i === 2, http2: false, models: i === 1 ? ["llama-*"] : [],
		weight: 1, connect_timeout_ms: 0, first_byte_timeout_ms: 0, idle_timeout_ms: 0,
		total_timeout_ms: 0, max_output_tokens: 4096, extra_headers: [],
		forward_headers: [], ca_file: "", client_cert: "" }));
	const keys = ["available", "throttled", "invalid", "disabled", "available"].map((state, i) => {
		const up = upstreams[i < 4 ? 0 : 1];
		return { ...head("key_", 60 - i), upstream: up.id, upstream_name: up.name, project_id: null,
			label: ["main", "second account", "old account", "spare", "groq free tier"][i],
			masked: `sk-proj-…${word(random, 4)}`, is_enabled: state !== "disabled", weight: 1, state,
			rests_until: state === "throttled" ? iso(now + 220e3) : null,
			last_error: { invalid: "401 Incorrect API key provided", throttled:
				"429 Rate limit reached for gpt-4o in organization" }[state] ?? "" };
	});
	const tokens = Array.from({ length: 320 }, (_, i) => ({ ...head("tok_", 50 - i / 8),
		project_id: projects[i % 4].id, label: `${pick(["checkout", "laptop of", "ci", "batch", "app"])} ${i}`,
		masked: `sk-sl-${word(random, 4)}…${word(random, 4)}`, is_active: i % 9 !== 4,
		revoked_at: i % 9 === 4 ? iso(now - 86400e3) : null, revoked_reason: i % 9 === 4 ? "left the team" : "",
		expires_at: i % 5 === 0 ? null : iso(now + (i % 60 - 5) * 86400e3), not_before: null,
		max_requests: i % 4 === 1 ? 5000 : 0, allowed_models: [], request_count: Math.floor(random() * 4000),
		last_used_at: i % 6 === 5 ? null : iso(now - random() * 4 * 86400e3), cost: money(random() * 40e9) }));
	const limits = [
		[{ project: projects[0].id }, "cost", "month", "500.000000000", "311.204000000", "0.840000000"],
		[{ project: projects[1].id }, "cost", "day", "20.000000000", "19.912345678", "0.050000000"],
		[{ token: tokens[0].id }, "requests", "minute", 60, 12, 1],
		[{ token: "each" }, "parallel", "total", 8, null, null],
		[{}, "tokens", "day", 50000000, 50000000, 0]
	].map(([scope, metric, window, cap, used, reserved]) => ({ ...head("lim_", 10), scope, metric, window, cap,
		mode: "hard", is_active: true, used, reserved, remaining: used === null ? null : metric === "cost"
			? money((Number(cap) - Number(used) - Number(reserved)) * 1e9) : cap - used - reserved,
		resets_at: window === "total" ? null : iso(now + { minute: 22e3, day: 5 * 3600e3, month: 9 * 86400e3 }[window]) }));
	const routes = [{ ...head("rt_", 5), name: "chat", model: "gpt-*", is_active: true, strategy: "split", targets:
		[{ upstream: upstreams[0].id, upstream_name: "openai", model: null, weight: 70, priority: 0 },
			{ upstream: upstreams[1].id, upstream_name: "groq", model: "llama-3.3-70b-versatile", weight: 30, priority: 0 }],
	fallbacks: ["error gpt-4o-mini", "context gpt-4.1"], objectives: [], affinity: "none", tries: 0, request_rules: [],
	failure_rules: [] }];
	const policies = [{ ...head("pol_", 3), name: "frugal", type: "cost_control", scope: "project", project_id: projects[0].id,
		scope_name: projects[0].name, is_active: true, priority: 0, max_cost: money(5e7), refuse_unpriced: true }];
	const prices = [["gpt-4o", "2.5", "10"], ["gpt-4o-mini", "0.15", "0.6"], ["gpt-4.1*", "2", "8"],
		["llama-3.3-70b*", "0.59", "0.79"]].map(([model, input, output]) => ({ ...head("prc_", 70), model,
		upstream: null, from: null, input: money(input * 1e9), output: money(output * 1e9),
		cache_read: money(input * 5e8), cache_write_5m: null, cache_write_1h: null, request: money(0),
		is_builtin: true }));

	const failures = [[429, "rate_limited", "the token's limit of 60 requests a minute is reached", "refused"],
		[401, "invalid_token", "no token of ours has this checksum", "refused"],
		[502, "upstream_credentials", "openai refused key second account: 401 Incorrect API key provided", "provider"],
		[504, "upstream_timeout", "no byte from openai within 60 s", "timeout"],
		[200, "", "the client closed the connection after 14 events", "client"],
		[503, "no_key_available", "all 4 keys of openai rest or are disabled; the first is back at 14:32", "refused"]];
	const rows = [];
	let at = now - 4e3;
	for (let i = 0; i < requests; i++) {
		const bad = random() < 0.06 ? pick(failures) : null;
		const up = random() < 0.75 ? upstreams[0] : upstreams[1];
		const model = up === upstreams[1] ? "llama-3.3-70b-versatile"
			: pick(["gpt-4o", "gpt-4o-mini", "gpt-4o-mini", "gpt-4.1", "o4-mini-unpriced"]);
		const input = bad?.[3] === "refused" ? 0 : Math.floor(200 + random() * 6000);
		const output = bad && bad[0] !== 200 ? 0 : Math.floor(20 + random() * 900);
		const cached = Math.floor(input * random() * 0.6);
		const unpriced = model.includes("unpriced");
		const token = tokens[Math.floor(random() ** 2 * 40)];
		rows.push({ id: id("req_"), upstream_request_id: bad ? null : `chatcmpl-${word(random, 12)}`,
			session_id: null, time: iso(at), project_id: token.project_id, token_id: token.id,
			endpoint: "/v1/chat/completions", protocol: "openai", model,
			upstream: bad?.[3] === "refused" ? null : up.name, upstream_model: bad?.[3] === "refused" ? null : model,
			key_id: bad?.[3] === "refused" ? null : keys[up === upstreams[1] ? 4 : 0].id,
			status: bad ? bad[0] : 200, code: bad?.[1] || null, error: bad?.[2] ?? null, stream: random() < 0.7,
			attempts: bad?.[3] === "refused" ? 0 : 1, duration_ms: Math.floor(300 + random() * 9000),
			ttfb_ms: Math.floor(150 + random() * 700), tokens: { input: input - cached, cache_read: cached,
				cache_write: 0, output, reasoning: Math.floor(output / 5) },
			usage: bad?.[3] === "refused" ? "none" : "reported",
			cost: unpriced ? null : money((input - cached) * 2500 + cached * 1250 + output * 10000),
			ended_by: bad?.[3] ?? "done" });
		at -= random() * 16e3;
	}
	const audit = Array.from({ length: 260 }, (_, i) => ({ id: id("chg_"), number: 260 - i, time: iso(now - i * 1700e3),
		actor: i % 3 ? "admin" : "command:root", action: pick(["token.create", "token.revoke", "key.disable",
			"session.create"]), object: pick(tokens).id, address: i % 3 ? "203.0.113.9" : "",
		changes: i % 4 ? [{ field: "label", before: null, after: "search" }] : [], changes_cut: false }));
	return { projects, upstreams, keys, tokens, limits, grants: [], routes, policies, prices, requests: rows, audit };
}

/* ---- the API ---- */

export const PASSWORD = "correct horse";
export const SETUP_CODE = "open-sesame";
export const MANAGEMENT_TOKEN = "sl-manage-0123456789";
const PREFIX = { projects: "prj_", tokens: "tok_", upstreams: "up_", keys: "key_", limits: "lim_", prices: "prc_",
	routes: "rt_", policies: "pol_" };
/* What a POST or PATCH may name; unknown fields are refused by name, as the real one does. */
const FIELDS = {
	projects: "name is_active allowed_models allowed_origins allowed_endpoints allowed_networks api_key",
	tokens: "project_id label duration_minutes expires_at not_before max_requests allowed_models secret secret_sha256 is_active " +
		"allowed_endpoints allowed_methods allowed_networks allowed_origins allowed_params required_headers metadata",
	upstreams: "name protocol base_url auth auth_template region is_active default allow_private http2 models weight " +
		"connect_timeout_ms first_byte_timeout_ms idle_timeout_ms total_timeout_ms " +
		"max_output_tokens extra_headers forward_headers ca_file client_cert resource_group token_url priority max_parallel " +
		"group tenant tier tags price_factor blocked_models aliases discover free_only strict fetch_media breaker_failures " +
		"breaker_window_s breaker_open_s breaker_successes breaker_probe_s ramp_percent health_path health_interval_s health_method " +
		"failure_rules proxy keys_of",
	keys: "upstream secret label weight project_id is_enabled priority max_parallel tags quotas allowed_models blocked_models",
	limits: "scope metric window cap mode is_active timezone",
	routes: "name model is_active project_id targets strategy objectives fallbacks affinity tries request_rules failure_rules " +
		"allowed_upstreams blocked_upstreams regions tenants max_cost min_reliability affinity_s affinity_most_s " +
		"migrate_below_tokens deadline_ms queue_most queue_wait_ms slow_chars_s slow_after_ms strict fetch_media disconnect",
	policies: "name type scope project_id upstream key route is_active priority allowed_upstreams blocked_upstreams " +
		"allowed_models blocked_models blocked_keys allowed_states regions tenants required_tags free_only " +
		"min_reliability max_cost refuse_unpriced failure_rules tries deadline_ms strategy objectives",
	prices: "model upstream from input output cache_read cache_write_5m cache_write_1h request"
};
const REQUIRED = { projects: ["name"], tokens: ["project_id"], upstreams: ["name", "base_url"],
	keys: ["upstream", "secret"], limits: ["metric", "cap"], prices: ["model", "input", "output"],
	routes: ["name", "model"], policies: ["name", "type"] };

class Refusal extends Error {
	constructor(status, code, message, field) {
		super(message);
		Object.assign(this, { status, code, field });
	}
}

/* Starts it; resolves to { url, data, log, close(), fail, delay }.  mount: "/deep/path" */
/* The first key was tried in vain, the second answered, the others tell why not. */
function explanation(data, request) {
	const refused = request.attempts === 0;
	const place = (i) => ({ upstream_id: data.upstreams[0].id, upstream: data.upstreams[0].name, key_id: data.keys[i].id,
		key: `${data.keys[i].masked} (${data.keys[i].label})`, stage: 0, stage_on: "start" });
	const candidate = (i, reason, says, more) => ({ ...place(i), reason, says, until: null, terms: {}, share: 0, ...more });
	if (request.code === "invalid_token")
		return { request, has_record: false, text: "REQUEST" };
	return { request, has_record: true, route_id: data.routes[0].id, route: data.routes[0].name, strategy: "objective",
		affinity: "new", policies: [{ policy_id: data.policies[0].id, policy: "frugal" }], considered: 4,
		counts: { rests: 1, breaker: 1 }, queued_ms: 120, rules: [{ number: 1, rule: "cap max_tokens=7" }, { number: 3, rule: null }], not_told: 0, text: "REQUEST\n  in sentences",
		candidates: [...(refused ? [] : [candidate(0, "chosen", "it was asked", { terms: { score: 0.91, cost: 0.875 }, share: 0.5 }),
			candidate(1, "chosen", "it was asked", { terms: { score: 0.7, cost: 0.5 }, share: 0.5 })]),
		candidate(2, "rests", "it rests: throttled or exhausted", { until: iso(Date.now() + 3e5) }),
		candidate(3, "breaker", "its circuit breaker is open")],
		attempts: refused ? [] : [{ ...place(0), status: 429, failure: "rate_limit", began_ms: 1, took_ms: 80, probe: false },
			{ ...place(1), stage: 1, stage_on: "context", status: 200, failure: null, began_ms: 82, took_ms: 900, probe: true }] };
}

export async function startFake({ port = 0, mount = "", requests = 10000, fresh = false, delay = 0 } = {}) {
	const random = generator(99);
	const data = makeData(fresh ? 0 : requests);
	const sessions = new Map();
	const fake = { data, log: [], delay, fail: null, limitsFail: 0 };
	let initialised = !fresh, wrong = 0;
	if (fresh)
		for (const list of Object.values(data))
			list.length = 0;

	const find = (kind, id) => {
		const r = data[kind].find((x) => x.id === id || x.name === id);
		if (!r)
			throw new Refusal(404, "not_found", `There is no ${kind.slice(0, -1)} ${id}.`);
		return r;
	};
	const wear = (session) => ({ actor: session.actor, csrf: session.csrf, expires_at: session.expires_at,
		initialised, version: "0.1.0" });

	function usage(q) {
		const size = { minute: 60e3, hour: 3600e3, day: 86400e3 }[q.step];
		const field = { project: "project_id", token: "token_id", model: "model", upstream: "upstream",
			key: "key_id" }[q.by];
		if (!size || !field)
			throw new Refusal(400, "bad_request", "by or step is unknown", "by");
		const sums = new Map();
		for (const r of data.requests) {
			const t = Date.parse(r.time);
			if (t < Date.parse(q.from) || t >= Date.parse(q.to))
				continue;
			const from = iso(Math.floor(t / size) * size), key = `${from} ${r[field]}`;
			const s = sums.get(key) ?? { from, value: r[field] ?? "", label: r[field] ?? "", requests: 0, errors: 0,
				tokens: { input: 0, cache_read: 0, cache_write: 0, output: 0, reasoning: 0 }, nusd: 0, unpriced: 0 };
			s.requests++;
			s.errors += r.status >= 400 ? 1 : 0;
			for (const k of Object.keys(s.tokens))
				s.tokens[k] += r.tokens[k];
			if (r.cost === null)
				s.unpriced++;
			else
				s.nusd += Number(r.cost) * 1e9;
			sums.set(key, s);
		}
		const named = { project: "projects", token: "tokens", key: "keys" }[q.by];
		return { data: [...sums.values()].sort((a, b) => a.from < b.from ? -1 : 1).map(({ nusd, ...s }) => ({ ...s,
			label: named ? (data[named].find((r) => r.id === s.value) ?? {}).name ??
				data[named].find((r) => r.id === s.value)?.label ?? "" : s.value, cost: money(nusd) })) };
	}

	function paged(list, q) {
		const from = Number(q.cursor ?? 0), limit = Math.min(Number(q.limit ?? 50), 200);
		return { data: list.slice(from, from + limit), next: from + limit < list.length ? String(from + limit) : null };
	}

	const same = (list, q, names) => list.filter((r) => names.every((n) => q[n] === undefined ||
		String(r[n]) === q[n]));

	function list(kind, q) {
		const all = data[kind];
		switch (kind) {
		case "requests":
			return paged(same(all, q, ["project_id", "token_id", "model"]).filter((r) =>
				(!q.status || (q.status.endsWith("xx") ? `${r.status}`[0] === q.status[0] : `${r.status}` === q.status)) &&
				(q.failed !== "1" || r.status >= 400 || r.code !== null)), q);
		case "limits":
			return paged(all.filter((l) => (!q.project_id || l.scope.project === q.project_id) &&
				(!q.token_id || l.scope.token === q.token_id)), q);
		case "grants":
			return paged(all.filter((g) => !q.limit_id || g.limit === q.limit_id), q);
		case "prices":
			return paged(all.filter((p) => !q.model || p.model === q.model || (p.model.endsWith("*") && q.model.startsWith(p.model.slice(0, -1)))), q);
		default:
			return paged(same(all, q, ["project_id", "is_active", "upstream", "object", "actor", "state"]), q);
		}
	}

	function check(kind, body, creating) {
		const allowed = FIELDS[kind].split(" ");
		for (const name of Object.keys(body))
			if (!allowed.includes(name))
				throw new Refusal(400, "bad_request", `There is no field ${name}.`, name);
		for (const name of creating ? REQUIRED[kind] : [])
			if (body[name] === undefined || body[name] === "")
				throw new Refusal(400, "bad_request", `${name} is needed.`, name);
		if (body.name && data[kind].some((r) => r.name === body.name && creating))
			throw new Refusal(409, "conflict", `The name ${body.name} is taken.`, "name");
	}

	function create(kind, body) {
		check(kind, body, true);
		const r = { id: PREFIX[kind] + word(random, 22), created_at: iso(Date.now()), updated_at: iso(Date.now()) };
		const once = {};
		if (kind === "projects")
			Object.assign(r, { is_active: true, deactivated_at: null, allowed_models: [], allowed_origins: [] }, body);
		else if (kind === "tokens") {
			const { duration_minutes: minutes, ...rest } = body;
			once.token = `sk-sl-${word(random, 40)}`;
			Object.assign(r, { label: "", is_active: true, revoked_at: null, revoked_reason: "", not_before: null,
				expires_at: minutes ? iso(Date.now() + minutes * 60e3) : null, max_requests: 0, allowed_models: [],
				request_count: 0, last_used_at: null, cost: money(0), masked: `${once.token.slice(0, 10)}…${once.token.slice(-4)}` },
			rest, { project_id: find("projects", body.project_id).id });
		} else if (kind === "keys") {
			const { secret, ...rest } = body;
			const up = find("upstreams", body.upstream);
			Object.assign(r, { label: "", project_id: null, is_enabled: true, weight: 1, state: "available", rests_until: null,
				last_error: "", masked: `${secret.slice(0, 3)}…${secret.slice(-4)}` }, rest, { upstream: up.id,
				upstream_name: up.name });
		} else if (kind === "routes" || kind === "policies") {
			Object.assign(r, { is_active: true, scope_name: null }, body, kind === "routes" ? { targets: (body.targets ?? []).map((t) => ({ ...t,
				upstream: find("upstreams", t.upstream).id, upstream_name: find("upstreams", t.upstream).name })) } : {});
		} else if (kind === "limits") {
			if (fake.limitsFail-- > 0)
				throw new Refusal(503, "store_unavailable", "The store cannot be written.");
			const zero = body.metric === "cost" ? money(0) : 0;
			Object.assign(r, { mode: "hard", window: "total", is_active: true, used: zero, reserved: zero,
				remaining: body.cap, resets_at: null }, body);
		} else if (kind === "upstreams") {
			Object.assign(r, { protocol: "openai", auth: "bearer", is_active: true, default: false, models: [], weight: 1 }, body);
		} else {
			Object.assign(r, { upstream: null, from: null, cache_read: null, cache_write_5m: null, cache_write_1h: null,
				request: money(0), is_builtin: false }, body);
		}
		data[kind].push(r); /* lists stand in order of age */
		return { ...r, ...once };
	}

	function answer(method, path, q, body, headers) {
		const cookie = /sluice_session=(\w+)/.exec(headers.cookie ?? "")?.[1];
		const session = sessions.get(cookie);
		if (path === "setup" && method === "POST") {
			if (initialised || body.code !== SETUP_CODE)
				throw new Refusal(403, "forbidden", "The setup code is not right.", "code");
			if ((body.password ?? "").length < 8)
				throw new Refusal(400, "bad_request", "The password needs 8 characters.", "password");
			initialised = true;
			fake.password = body.password;
			return { json: { management_token: MANAGEMENT_TOKEN } };
		}
		if (path === "session" && method === "POST") {
			if (wrong >= 5)
				throw Object.assign(new Refusal(429, "rate_limited", "Too many wrong tries."), { retry: 30 });
			if (body.password !== (fake.password ?? PASSWORD) && body.token !== MANAGEMENT_TOKEN) {
				wrong++;
				throw new Refusal(401, "denied", "That is not right.");
			}
			const name = randomBytes(16).toString("hex");
			const made = { actor: body.token ? "token:made-up" : "admin", csrf: randomBytes(16).toString("hex"),
				expires_at: iso(Date.now() + 12 * 3600e3) };
			sessions.set(name, made);
			return { json: wear(made), headers: { "Set-Cookie":
				`sluice_session=${name}; HttpOnly; SameSite=Strict; Path=${mount}/manage` } };
		}
		if (!session)
			throw new Refusal(401, "missing_token", "Sign in first.");
		if (method !== "GET" && headers["x-csrf-token"] !== session.csrf)
			throw new Refusal(403, "csrf", "The CSRF token is missing or old.");
		if (path === "session") {
			if (method === "DELETE")
				sessions.delete(cookie);
			return method === "GET" ? { json: wear(session) } : { status: 204 };
		}
		if (/^requests\/\w+\/explain$/.test(path))
			return { json: explanation(data, data.requests.find((r) => r.id === path.split("/")[1])) };
		if (path === "usage")
			return { json: usage(q) };
		if (path === "health")
			return { json: { warnings: [], store: { bytes_on_disk: 48231424, bytes_capped: 40231424, store_cap_bytes: 524288000, vault_bytes: 3145728, rows: data.requests.length, rows_unfolded: 12, epoch: 3,
				attached: 4, recoveries: 1, last_recovery_ms: 41, abandoned: 0, schema: 1 }, board: { rows_used: 812,
				rows: 262144, leases: 16384, leases_used: 3, rollbacks: 0, remade_at: iso(Date.now() - 9e8) },
				counts: { exchanges: 10012, refused: 211, failed: 97, attempts: 9804, streams: 7003, bytes_in: 81234567,
					bytes_out: 412345678, client_gone: 41, reaped: 2 }, version: "0.1.0" } };
		const [kind, id, verb] = path.split("/").map(decodeURIComponent);
		if (kind === "tokens" && id === "import") {
			const names = JSON.parse(body.text).map((t) => t.key_alias);
			if (!body.dry_run)
				names.slice(1).forEach((label) => create("tokens", { project_id: data.projects[0].id, label }));
			return { json: { data: names.map((name, i) => ({ row: i + 1, name, masked: "", not_carried: i === 1
				? ["aliases"] : [], ...(i === 0 ? { refused: "its secret is masked" } : { id: "tok_x" }) })),
			dry_run: body.dry_run, read: names.length, imported: names.length - 1, skipped: 0, refused: 1,
			limits: 4, projects_made: ["blue"] } };
		}
		if (path === "keys/import") {
			const told = body.keys.map((k, i) => {
				const masked = `${k.secret.slice(0, 3)}…${k.secret.slice(-4)}`;
				if (k.secret.includes("bad"))
					return { row: i + 1, masked, refused: "Its upstream takes no such key." };
				if (data.keys.some((x) => x.masked === masked))
					return { row: i + 1, masked, skipped: "key_x" };
				return { row: i + 1, masked, id: create("keys", k).id };
			});
			const count = (what) => told.filter((t) => t[what]).length;
			return { json: { data: told, dry_run: false, read: told.length, imported: count("id"), skipped: count("skipped"),
				refused: count("refused") } };
		}
		if (path === "policies/dry-run") {
			const of = (key, rules) => ({ route: null, refused: null, tries: null, deadline_ms: null, policies: [], out: {},
				candidates: [{ upstream: "openai", key: key.id, key_label: key.label, model: body.ask.model, stage: 0,
					failure_rules: rules }] });
			const rules = body.policy.failure_rules ?? [];
			return { json: { without: of(data.keys[0], []), with: body.policy.blocked_models?.includes(body.ask.model)
				? { ...of(data.keys[0], []), refused: "A policy forbids this model.", candidates: [], out: { policy: 4 } }
				: of(data.keys[1], rules), same: false } };
		}
		if (kind === "changes" && verb === "undo") {
			const was = find("audit", id);
			data.audit.unshift({ ...was, id: "chg_undone", number: data.audit[0].number + 1, action: "token.undo",
				changes: was.changes.map((c) => ({ ...c, before: c.after, after: c.before })) });
			return { json: { id: "chg_undone", records: [{ id: was.object, did: "put back", fields: ["label"] }], not_undone: null } };
		}
		if (path === "breakers")
			return { json: { data: data.upstreams.map((u, i) => ({ id: u.id, name: u.name, kind: "upstream", breaker:
				u.breaker === "open" ? "forced_open" : i === 1 ? "open" : "closed", state: "available", cause: i === 1
				? "failures" : null, until: i === 1 ? iso(Date.now() + 90e3) : null })), next: null } };
		if (!data[kind])
			throw new Refusal(404, "not_found", "There is no such path.");
		if (!id)
			return method === "POST" ? { status: 201, json: create(kind, body) } : { json: list(kind, q) };
		const r = find(kind, id);
		if (verb === "history" && kind === "upstreams")
			return { json: { data: [{ time: iso(Date.now() - 30e3), kind: "breaker", scope: "upstream", model: null, from: "open",
				to: "half_open", cause: "time", status: null, until: null, evidence: null }], next: null } };
		if (verb === "history")
			return { json: { data: [{ time: iso(Date.now() - 60e3), kind: "state", scope: "key", model: null, from: "available",
				to: "throttled", cause: "rate_limit", status: 429, until: null, evidence: "slow down" }], next: null } };
		if (kind === "upstreams" && verb === "health")
			return { json: { upstream_id: r.id, is_healthy: false, healthy_count: 1, count: 2, breaker: "half_open",
				last_error: "status 503", checks: [{ time: iso(Date.now() - 9000), is_healthy: false, status: 503, took_ms: 17 },
					{ time: iso(Date.now() - 39000), is_healthy: true, status: 200, took_ms: 12 }] } };
		if (kind === "upstreams" && verb === "models") {
			if (method === "POST")
				r.found = 341;
			return { json: { upstream_id: r.id, listed_at: r.found ? iso(Date.now()) : null, last_error: null,
				count: r.found ?? 0, data: [] } };
		}
		if (method === "GET")
			return { json: r, headers: { ETag: `"${r.updated_at}"` } };
		if (method === "DELETE") {
			data[kind].splice(data[kind].indexOf(r), 1);
			return { status: 204 };
		}
		if (method === "PATCH") {
			check(kind, body, false);
			if (headers["if-match"] && headers["if-match"] !== `"${r.updated_at}"`)
				throw new Refusal(412, "stale", "Somebody else was faster. Load it again.");
			Object.assign(r, body, { updated_at: iso(Date.now()) });
			if (kind === "tokens" && body.is_active)
				r.revoked_at = null;
			return { json: r };
		}
		if (verb === "test")
			return { json: { ok: r.state !== "invalid", verdict: r.state === "invalid" ? "invalid" : "works", status: 200,
				duration_ms: 312, models: 61, message: r.state === "invalid" ? "Its provider does not know this key." : null } };
		if (verb === "breaker")
			return { json: Object.assign(r, { breaker: body.state }) };
		if (verb === "rotate" && kind === "keys")
			return { json: Object.assign(r, { masked: `${body.secret.slice(0, 3)}…${body.secret.slice(-4)}` }) };
		if (verb === "retry")
			return { json: Object.assign(r, { rests_until: null }) };
		if (verb === "revoke" && kind === "keys")
			return { json: Object.assign(r, { is_enabled: false, state: "disabled", disabled_reason: `revoked: ${body.reason}` }) };
		if (verb === "revoke")
			return { json: Object.assign(r, { is_active: false, revoked_at: iso(Date.now()), revoked_reason: body.reason ?? "" }) };
		if (verb === "rotate") {
			const token = `sk-sl-${word(random, 40)}`;
			Object.assign(r, { masked: `${token.slice(0, 10)}…${token.slice(-4)}`,
				old_secret_until: body.grace_minutes > 0 ? iso(Date.now() + body.grace_minutes * 60e3) : null });
			return { json: { ...r, token } };
		}
		if (verb === "revoke-tokens") {
			const mine = data.tokens.filter((t) => t.project_id === r.id && t.is_active);
			mine.forEach((t) => Object.assign(t, { is_active: false, revoked_at: iso(Date.now()) }));
			return { json: { revoked_count: mine.length, already_revoked_count: 0, total_tokens: mine.length } };
		}
		if (verb === "grant" || verb === "reset") {
			const grant = { id: `grt_${word(random, 22)}`, limit: r.id, is_reset: verb === "reset", scope: body.scope ?? {},
				amount: body.amount ?? r.used, until: body.until ?? null, reason: body.reason ?? "", is_active: true };
			data.grants.push(grant);
			return { status: 201, json: grant };
		}
		if (verb === "enable" || verb === "disable")
			return { json: Object.assign(r, { is_enabled: verb === "enable", state: verb === "enable" ? "available" : "disabled",
				disabled_reason: verb === "enable" ? "" : body.reason ?? "" }) };
		throw new Refusal(404, "not_found", "There is no such path.");
	}

	async function serveFile(path, res) {
		const file = normalize(join(HTDOCS, path.endsWith("/") ? `${path}index.html` : path));
		try {
			if (!file.startsWith(HTDOCS))
				throw new Error("outside");
			const bytes = await readFile(file);
			res.writeHead(200, { "Content-Type": TYPES[extname(file)] ?? "application/octet-stream" }).end(bytes);
		} catch {
			res.writeHead(404).end("not here");
		}
	}

	const server = createServer(async (req, res) => {
		const url = new URL(req.url, "http://fake");
		const chunks = [];
		for await (const chunk of req)
			chunks.push(chunk);
		fake.log.push(`${req.method} ${url.pathname}${url.search}`);
		if (!url.pathname.startsWith(`${mount}/`))
			return res.writeHead(404).end();
		const path = url.pathname.slice(mount.length);
		if (!path.startsWith("/manage/"))
			return serveFile(path, res);
		if (fake.delay > 0)
			await new Promise((done) => { setTimeout(done, fake.delay); });
		const requestId = `req_${word(random, 22)}`;
		try {
			const failing = fake.fail?.(req.method, path);
			if (failing)
				throw new Refusal(...failing);
			const text = Buffer.concat(chunks).toString();
			const out = answer(req.method, path.slice(8), Object.fromEntries(url.searchParams),
				text ? JSON.parse(text) : {}, req.headers);
			res.writeHead(out.status ?? 200, { "Content-Type": "application/json", "Cache-Control": "no-store",
				"X-Request-Id": requestId, ...out.headers }).end(out.json && JSON.stringify(out.json));
		} catch (err) {
			if (!(err instanceof Refusal))
				console.error(err);
			const status = err.status ?? 500;
			res.writeHead(status, { "Content-Type": "application/json", "X-Request-Id": requestId }).end(JSON.stringify({
				error: { code: err.code ?? "internal", message: err.message, field: err.field, request_id: requestId,
					retry_after: err.retry }, ...(status === 401 ? { initialised } : {}) }));
		}
	});
	await new Promise((done) => { server.listen(port, "127.0.0.1", done); });
	fake.url = `http://127.0.0.1:${server.address().port}${mount}/admin/`;
	fake.signOutAll = () => sessions.clear();
	fake.close = () => {
		server.closeAllConnections();
		return new Promise((done) => { server.close(done); });
	};
	return fake;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
	const [port = "8090", mount = "", delay = "0"] = process.argv.slice(2);
	const fake = await startFake({ port: Number(port), mount, delay: Number(delay), fresh: process.env.FRESH === "1" });
	console.log(`${fake.url}   password: ${PASSWORD}`);
}
