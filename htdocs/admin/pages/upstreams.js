/* upstreams.js - the providers and model servers that can be called. */
import { api } from "../api.js";
import { badge, confirm, dialog, field, form, h, later, say, select } from "../dom.js";
import { ago, list, plural } from "../format.js";
import { pagedTable } from "../list.js";
import { dialogs, opener, page } from "../page.js";
import { forget } from "../pick.js";
import { href } from "../router.js";

const presets = {
	OpenAI: { base_url: "https://api.openai.com/v1" },
	OpenRouter: { base_url: "https://openrouter.ai/api/v1" },
	Groq: { base_url: "https://api.groq.com/openai/v1" },
	Mistral: { base_url: "https://api.mistral.ai/v1" },
	DeepSeek: { base_url: "https://api.deepseek.com/v1" },
	"Local server": { base_url: "http://127.0.0.1:11434/v1", auth: "none", allow_private: true,
		name: "local" },
	Other: { base_url: "", name: "" }
};

const tick = (checked) => h("input", { type: "checkbox", checked });
const text = (value, props) => h("input", { autocomplete: "off", spellcheck: "false", value, ...props });
const whole = (value, min) => h("input", { type: "number", min, step: "1", value, inputmode: "numeric" });

function fields(u = {}) {
	return {
		name: field("Name", text(u.name ?? "", { required: true, maxlength: "63" }), { name: "name" }),
		base_url: field("Base URL", text(u.base_url ?? "", { required: true, type: "url" }),
			{ name: "base_url", hint: "With /v1 where the provider has it." }),
		auth: field("The key is sent as", select([["bearer", "Authorization: Bearer"],
			["x-api-key", "x-api-key"], ["api-key", "api-key"], ["x-goog-api-key", "x-goog-api-key"],
			["query-key", "Query parameter key"], ["template", "As the template says"],
			["aws-sigv4", "AWS signature"], ["sap-oauth", "Token by an SAP service key"],
			["google-account", "Token by a Google service account"],
			["entra-id", "Token by Entra ID"], ["none", "not at all"]],
		u.auth ?? "bearer"), { name: "auth" }),
		auth_template: field("Template", text(u.auth_template ?? ""), { name: "auth_template",
			hint: "header Name: text ${key}, or query name=${key}" }),
		region: field("Region", text(u.region ?? ""), { name: "region", hint: "For AWS signatures." }),
		models: field("Models it serves", text((u.models ?? []).join(", ")), { name: "models",
			hint: "Patterns parted by commas; empty: all." }),
		weight: field("Weight", whole(u.weight ?? 1, "1"), { name: "weight",
			hint: "Its share where several serve a model." }),
		default: field("Takes requests that name no model", tick(u.default), { name: "default" }),
		allow_private: field("May be at a private or loopback address", tick(u.allow_private),
			{ name: "allow_private" })
	};
}

function body(f) {
	const out = {};
	for (const [name, { control }] of Object.entries(f))
		out[name] = control.type === "checkbox" ? control.checked
			: control.type === "number" ? Number(control.value)
				: name === "models" ? list(control.value) : control.value.trim();
	return out;
}

const layout = (f) => [f.name, f.base_url, f.models, h("details", {}, h("summary", {}, "More"),
	f.auth, f.auth_template, f.region, f.weight, f.default, f.allow_private)];

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
		load: (cursor, signal) => api.get("upstreams", { cursor, limit: 100 }, signal),
		empty: ["No upstream yet. ", opener("Add the first one", { new: 1 })],
		rowClass: (u) => (u.is_active ? null : "off"),
		columns: [
			{ head: "Name", cell: (u) => h("a", { href: href("upstreams", { id: u.id }) }, u.name) },
			{ head: "State", cell: (u) => [u.is_active ? badge("good", "Active") : badge("off", "Inactive"),
				u.default && h("span", { class: "dim" }, " default")] },
			{ head: "Base URL", cell: (u) => h("code", {}, u.base_url) },
			{ head: "Models", more: true, cell: (u) => (u.models?.length > 0 ? u.models.join(", ") : "all") },
			{ head: "Weight", num: true, more: true, cell: (u) => String(u.weight ?? 1) },
			{ head: "", cell: (u) => h("span", { class: "rowacts" },
				h("a", { href: href("keys", { upstream: u.id }) }, "Keys",
					h("span", { class: "sr" }, ` of ${u.name}`)),
				h("button", { type: "button", class: "small", onclick: () => toggle(u),
					"aria-label": `${u.is_active ? "Deactivate" : "Activate"} ${u.name}` },
				u.is_active ? "Deactivate" : "Activate")) }
		]
	});

	function adding(close) {
		const f = fields();
		const key = field("API key", h("input", { type: "password", autocomplete: "off",
			spellcheck: "false" }), { name: "secret", hint: "It is sealed at once. More can be added under Keys." });
		const pick = select([["", "choose…"], ...Object.keys(presets).map((n) => [n, n])], "",
			{ "data-first": true, onchange: () => {
				const p = presets[pick.value] ?? {};
				f.name.control.value = p.name ?? pick.value.toLowerCase();
				f.base_url.control.value = p.base_url ?? "";
				f.auth.control.value = p.auth ?? "bearer";
				f.allow_private.control.checked = p.allow_private ?? false;
				key.hidden = p.auth === "none";
			} });
		let made = null; /* so that a second try after a refused key does not add the upstream again */
		return form({ fields: [field("Provider", pick), ...layout(f).slice(0, 2), key, ...layout(f).slice(2)],
			label: "Add upstream", cancel: close, submit: async () => {
				made ??= await api.create("upstreams", { ...body(f), protocol: "openai" });
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
			const [health, models] = await Promise.all(["health", "models"]
				.map((what) => api.get(`upstreams/${encodeURIComponent(u.id)}/${what}`, {}, ctx.signal)));
			const last = health.checks[0];
			return h("p", { class: "hint" },
				last ? badge(last.is_healthy ? "good" : "bad", last.is_healthy ? "Healthy" : "Not healthy") : null,
				last ? ` ${ago(last.time)}, ${last.took_ms} ms; ${health.healthy_count} of ${health.count} checks were good. `
					: "Its health is not checked. ",
				health.breaker === "closed" ? "" : `Its breaker is ${health.breaker.replaceAll("_", " ")}. `,
				models.listed_at ? `${plural(models.count, "model")} found ${ago(models.listed_at)}. `
					: "It was not asked for its models. ",
				models.last_error ? `${models.last_error}. ` : "",
				h("button", { type: "button", class: "small", onclick: ask }, "Ask for its models"));
		}, 1);
		return box;
	}

	async function editing(id, close) {
		const u = await api.one("upstreams", id, ctx.signal);
		const f = fields(u);
		return [form({ fields: layout(f), label: "Save", cancel: close, submit: async () => {
			const now = body(f), changed = {};
			for (const [k, v] of Object.entries(now))
				if (JSON.stringify(v) !== JSON.stringify(u[k] ?? (Array.isArray(v) ? [] : undefined)))
					changed[k] = v;
			await api.change("upstreams", u.id, changed, u.etag);
			say("Saved.");
			close();
			reload();
		} }), h("hr"), state(u), h("div", { class: "actions" },
			h("button", { type: "button", onclick: () => { close(); toggle(u); } },
				u.is_active ? "Deactivate…" : "Activate…"),
			h("button", { type: "button", class: "danger", onclick: async () => {
				const done = await confirm(`Delete ${u.name}?`, "Its keys can no longer be used. " +
					"What was booked stays.", { yes: "Delete", action: () => api.remove("upstreams", u.id) });
				if (done) {
					close();
					reload();
				}
			} }, "Delete…"))];
	}

	dialogs(ctx, {
		new: (_, onclose) => dialog("Add an upstream", adding, { onclose }),
		id: (id, onclose) => dialog("Upstream", (close) => later(ctx.signal, () => editing(id, close)),
			{ onclose })
	});
	return page("Upstreams", opener("Add an upstream", { new: 1 }), table);
}
