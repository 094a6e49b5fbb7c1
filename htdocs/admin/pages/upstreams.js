/* upstreams.js - the providers and model servers that can be called. */
import { api } from "../api.js";
import { badge, confirm, dialog, field, form, h, later, say, select } from "../dom.js";
import { fieldsOf } from "../fields.js";
import { ago, minute, plural } from "../format.js";
import { pagedTable } from "../list.js";
import { changesOf, dialogs, opener, page } from "../page.js";
import { choice, forget, known } from "../pick.js";
import { href } from "../router.js";
import { causeText, whatBecame } from "../show.js";

const presets = {
	OpenAI: { base_url: "https://api.openai.com/v1" },
	Anthropic: { base_url: "https://api.anthropic.com", protocol: "anthropic", auth: "x-api-key" },
	Gemini: { base_url: "https://generativelanguage.googleapis.com", protocol: "gemini", auth: "x-goog-api-key" },
	OpenRouter: { base_url: "https://openrouter.ai/api/v1", protocol: "openrouter" },
	Groq: { base_url: "https://api.groq.com/openai/v1" },
	Mistral: { base_url: "https://api.mistral.ai/v1" },
	DeepSeek: { base_url: "https://api.deepseek.com/v1" },
	"Local server": { base_url: "http://127.0.0.1:11434/v1", auth: "none", allow_private: true,
		name: "local" },
	Other: { base_url: "", name: "" }
};
const protocols = [["openai", "OpenAI"], ["openai_chat", "OpenAI, chat alone"], ["azure", "Azure OpenAI"],
	["openrouter", "OpenRouter"], ["anthropic", "Anthropic"], ["gemini", "Gemini"], ["vertex", "Vertex AI"],
	["bedrock", "Bedrock, Converse"], ["bedrock_invoke", "Bedrock, Invoke"], ["sap_openai", "SAP AI Core, OpenAI"],
	["sap_converse", "SAP AI Core, Converse"], ["sap_invoke", "SAP AI Core, Invoke"], ["sap_gemini", "SAP AI Core, Gemini"],
	["http", "Anything else, passed through"]];
const auths = [["bearer", "Authorization: Bearer"],
	["x-api-key", "x-api-key"], ["api-key", "api-key"], ["x-goog-api-key", "x-goog-api-key"],
	["query-key", "Query parameter key"], ["template", "As the template says"],
	["aws-sigv4", "AWS signature"], ["sap-oauth", "Token by an SAP service key"],
	["google-account", "Token by a Google service account"],
	["entra-id", "Token by Entra ID"], ["none", "not at all"]];
const asSettings = "0: as in the settings.";

const base = [["name", "Name", "text", undefined, { required: true, maxlength: "63" }],
	["base_url", "Base URL", "text", "With /v1 where the provider has it.", { required: true, type: "url" }]];
const more = [["models", "Models it serves", "list", "Patterns, or /regex/, parted by commas; empty: all."],
	"More",
	["protocol", "It speaks", protocols], ["auth", "The key is sent as", auths],
	["auth_template", "Template", "text", "header Name: text ${key}, or query name=${key}"],
	["resource_group", "Resource group", "text", "Of SAP AI Core."],
	["token_url", "Where access tokens are fetched", "text", "Empty: as the key says."],
	["default", "Takes requests that name no model", "tick"],
	["allow_private", "May be at a private or loopback address", "tick"],
	"Who it is, and its share",
	["weight", "Weight", "number", "Its share where several serve a model.", { min: "1", max: "1000" }],
	["priority", "Priority", "number", "0 is asked first.", { max: "1000" }],
	["max_parallel", "Calls at once", "number", "0: no limit."],
	["group", "Account", "text", "Upstreams of one account share what is said of it."],
	["region", "Region", "text", "Routes and policies choose by it; for AWS signatures, too."],
	["tenant", "Tenant"], ["tier", "Tier"],
	["tags", "Tags", "list", "name=value; policies choose by them."],
	["price_factor", "Its prices times", "money"],
	"Models",
	["blocked_models", "Models it is not asked for", "list", "Patterns, or /regex/."],
	["aliases", "Its names for models", "lines", "One a line: what clients say=what it says"],
	["discover", "Ask it which models it has", "tick"], ["free_only", "Free models alone", "tick"],
	["max_output_tokens", "Output assumed without a ceiling", "number", "Tokens."],
	["strict", "Refuse what would lose its meaning in conversion", "tick"],
	["fetch_media", "Fetch images given by address for it", "tick"],
	"Failures and health",
	["breaker_failures", "Failures that open its breaker", "number", "0: none do."],
	["breaker_window_s", "Within so many seconds", "number", "0: in a row."],
	["breaker_open_s", "Then open for, in seconds", "number", undefined, { min: "1" }],
	["breaker_successes", "Trials in a row that close it", "number", undefined, { min: "1" }],
	["breaker_probe_s", "Seconds between those", "number", "0: none."],
	["ramp_percent", "First share when back, in percent", "number", undefined, { min: "1", max: "100" }],
	["health_path", "Health is asked at", "text", "Such as /models; empty: not asked."],
	["health_interval_s", "Every so many seconds", "number", undefined, { min: "1" }],
	["health_method", "By", [["HEAD", "HEAD"], ["GET", "GET"]]],
	["failure_rules", "What failures mean", "lines", "One a line: status=529 -> next cool=60"],
	"Connection",
	["connect_timeout_ms", "Connects within, in ms", "number", asSettings],
	["first_byte_timeout_ms", "First byte within, in ms", "number", asSettings],
	["idle_timeout_ms", "Next byte within, in ms", "number", asSettings],
	["total_timeout_ms", "All within, in ms", "number", asSettings],
	["proxy", "Proxy", "text", "http:// or socks5:// address."],
	["ca_file", "Certificates to trust", "text", "A file; empty: the system's."],
	["client_cert", "Our certificate", "text", "A PEM file with its key."],
	["extra_headers", "Headers to send along", "lines", "One a line: Name: value"],
	["forward_headers", "More client headers that pass", "list"]];
/* A new one begins with what the gateway would take. */
const usual = { weight: 1, price_factor: "1", max_output_tokens: 4096, breaker_failures: 5, breaker_open_s: 30,
	breaker_successes: 1, ramp_percent: 10, health_interval_s: 30 };

/* u.now: how its breaker stands, where that is known. */
function stateBadge(u) {
	const { breaker, state, until, cause } = u.now ?? {};
	const till = until ? ` until ${minute(until)}` : "";
	if (!u.is_active)
		return badge("off", "Inactive");
	if (breaker === "forced_open")
		return badge("off", "Breaker open by hand");
	if (breaker === "open" || breaker === "half_open")
		return badge(breaker === "open" ? "bad" : "warn", breaker === "open" ? `Breaker open${till}` : "Breaker lets one try",
			causeText(cause));
	return ["throttled", "exhausted"].includes(state) ? badge("warn", `Resting${till}`, causeText(cause)) : badge("good", "Active");
}

export function upstreamsPage(ctx) {
	const reload = () => {
		forget("upstreams");
		return table.reload();
	};

	async function toggle(u) {
		const done = await confirm(`${u.is_active ? "Deactivate" : "Activate"} ${u.name}?`,
			u.is_active ? "No new request is sent to it. Requests under way go on."
				: "It takes its share of the requests again.",
			{ yes: u.is_active ? "Deactivate" : "Activate", danger: u.is_active,
				action: () => api.change("upstreams", u.id, { is_active: !u.is_active }) });
		if (done) {
			say(`${u.name} is ${u.is_active ? "inactive" : "active"} now.`);
			forget("upstreams");
			table.put(done);
		}
	}

	const table = pagedTable({
		signal: ctx.signal, caption: "Upstreams",
		load: async (cursor, signal) => {
			const [ups, open] = await Promise.all([api.get("upstreams", { cursor, limit: 100 }, signal),
				api.get("breakers", {}, signal).catch(() => ({ data: [] }))]);
			const of = new Map(open.data.map((b) => [b.id, b]));
			return { ...ups, data: ups.data.map((u) => ({ ...u, now: of.get(u.id) })) };
		},
		empty: ["No upstream yet. ", opener("Add the first one", { new: 1 })],
		rowClass: (u) => (u.is_active ? null : "off"),
		columns: [
			{ head: "Name", cell: (u) => h("a", { href: href("upstreams", { id: u.id }) }, u.name) },
			{ head: "State", cell: (u) => [stateBadge(u), u.default && h("span", { class: "dim" }, " default")] },
			{ head: "Base URL", grow: true, cell: (u) => h("code", {}, u.base_url) },
			{ head: "Models", more: true, cell: (u) => (u.models?.length > 0 ? u.models.join(", ") : "all") },
			{ head: "Weight", num: true, more: "wide", cell: (u) => String(u.weight ?? 1) },
			{ head: "", cell: (u) => h("span", { class: "rowacts" },
				h("a", { href: href("keys", { upstream: u.id }) }, "Keys",
					h("span", { class: "sr" }, ` of ${u.name}`)),
				h("button", { type: "button", class: "small", onclick: () => toggle(u),
					"aria-label": `${u.is_active ? "Deactivate" : "Activate"} ${u.name}` },
				u.is_active ? "Deactivate" : "Activate")) }
		]
	});

	function adding(close) {
		const f = fieldsOf([...base, ...more], {}, usual);
		const key = field("API key", h("input", { type: "password", autocomplete: "off",
			spellcheck: "false" }), { name: "secret", hint: "It is sealed at once. More can be added under Keys." });
		const pick = select([["", "choose…"], ...Object.keys(presets).map((n) => [n, n])], "",
			{ "data-first": true, onchange: () => {
				const p = presets[pick.value] ?? {};
				f.el("name").control.value = p.name ?? pick.value.toLowerCase();
				f.el("base_url").control.value = p.base_url ?? "";
				f.el("protocol").control.value = p.protocol ?? "openai";
				f.el("auth").control.value = p.auth ?? "bearer";
				f.el("allow_private").control.checked = p.allow_private ?? false;
				key.hidden = p.auth === "none";
			} });
		let made = null; /* so that a second try after a refused key does not add the upstream again */
		return form({ fields: [field("Provider", pick), ...f.layout.slice(0, 2), key, ...f.layout.slice(2)],
			label: "Add upstream", cancel: close, submit: async () => {
				made ??= await api.create("upstreams", f.changed());
				reload();
				const secret = key.hidden ? "" : key.control.value.trim();
				if (secret) {
					await api.create("keys", { upstream: made.id, secret });
					forget("keys");
				}
				say(`Upstream ${made.name ?? ""} added.`);
				close();
			} });
	}

	/* One line: how it is, and what it was found to have. */
	function state(u) {
		async function ask(event) {
			event.currentTarget.disabled = true;
			try {
				const found = await api.act("upstreams", u.id, "models/refresh");
				say(`${plural(found.count, "model")} found.`);
			} catch (error) {
				say(error.message);
			}
			box.refresh();
		}
		const box = later(ctx.signal, async () => {
			const [health, models, past] = await Promise.all(["health", "models", "history"]
				.map((what) => api.get(`upstreams/${encodeURIComponent(u.id)}/${what}`, {}, ctx.signal)));
			const last = health.checks[0];
			return h("div", {}, h("p", { class: "hint" },
				last ? badge(last.is_healthy ? "good" : "bad", last.is_healthy ? "Healthy" : "Not healthy") : null,
				last ? ` ${ago(last.time)}, ${last.took_ms} ms; ${health.healthy_count} of ${health.count} checks were good. `
					: "Its health is not checked. ",
				health.breaker === "closed" ? "" : `Its breaker is ${health.breaker.replaceAll("_", " ")}. `,
				models.listed_at ? `${plural(models.count, "model")} found ${ago(models.listed_at)}. `
					: "It was not asked for its models. ",
				models.last_error ? `${models.last_error}. ` : "",
				h("button", { type: "button", class: "small", onclick: ask }, "Ask for its models")), whatBecame(past));
		}, 1);
		return box;
	}

	/* Its breaker: how it stands, and by hand. */
	function breaker(u) {
		const by = field("Its circuit breaker", select([["auto", "goes by its failures"], ["open", "is open: it is not asked"],
			["closed", "is closed whatever happens"]], u.breaker ?? "auto", { onchange: async () => {
			by.object("");
			try {
				const now = await api.act("upstreams", u.id, "breaker", { state: by.control.value });
				u.breaker = now.breaker;
				say(`The breaker of ${u.name} ${by.control.selectedOptions[0].text}.`);
				reload();
			} catch (err) {
				by.control.value = u.breaker;
				by.object(err.message);
			}
		} }), { name: "breaker", hint: "Takes effect at once." });
		return by;
	}

	async function editing(id, close) {
		const u = await api.one("upstreams", id, ctx.signal);
		const ups = await known("upstreams");
		const f = fieldsOf([...base, ...more], u, usual);
		const lender = field("Uses the keys of, besides its own", choice("upstreams", { ...ups, data: ups.data.filter((o) =>
			o.id !== u.id) }, u.keys_of ?? "", [["", "nobody"]]), { name: "keys_of" });
		return [form({ fields: [...f.layout, lender], label: "Save", cancel: close, submit: async () => {
			const changed = { ...f.changed(), ...(lender.control.value === (u.keys_of ?? "") ? {}
				: { keys_of: lender.control.value || null }) };
			if (Object.keys(changed).length > 0)
				await api.change("upstreams", u.id, changed, u.etag);
			say("Saved.");
			close();
			reload();
		} }), h("hr"), state(u), breaker(u), h("div", { class: "actions" },
			h("button", { type: "button", onclick: () => { close(); toggle(u); } },
				u.is_active ? "Deactivate…" : "Activate…"),
			h("button", { type: "button", class: "danger", onclick: async () => {
				const done = await confirm(`Delete ${u.name}?`, "Its keys can no longer be used. " +
					"What was booked stays.", { yes: "Delete", action: () => api.remove("upstreams", u.id) });
				if (done) {
					close();
					reload();
				}
			} }, "Delete…"), changesOf(u.id))];
	}

	dialogs(ctx, {
		new: (_, onclose) => dialog("Add an upstream", adding, { onclose }),
		id: (id, onclose) => dialog("Upstream", (close) => later(ctx.signal, () => editing(id, close)),
			{ onclose })
	});
	return page("Upstreams", opener("Add an upstream", { new: 1 }), table);
}
