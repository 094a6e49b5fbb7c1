/* keys.js - the providers' secrets: masked, on and off, and how each is doing. */
import { api } from "../api.js";
import { confirm, dialog, facts, field, form, h, later, say } from "../dom.js";
import { ago, fullTime, milliseconds, number, plural, when } from "../format.js";
import { pagedTable } from "../list.js";
import { detail, dialogs, every, filters, opener, page } from "../page.js";
import { choice, chooser, known, nameOf } from "../pick.js";
import { href } from "../router.js";
import { causeText, keyBadge, quotaText, runsDry } from "../show.js";
import { usd } from "../money.js";

const title = (k) => k.label || k.masked;

export function keysPage(ctx) {
	const upstream = chooser("upstreams", ctx.params.upstream, "All upstreams");
	const reload = () => table.reload();

	async function toggle(k) {
		const off = k.is_enabled;
		const done = await confirm(`${off ? "Disable" : "Enable"} ${title(k)}?`,
			off ? "No new request uses it." : "It is tried again with the next request.",
			{ yes: off ? "Disable" : "Enable", danger: off, reason: off && "Why",
				action: (reason) => api.act("keys", k.id, off ? "disable" : "enable", off && reason ? { reason } : {}) });
		if (done) {
			say(`Key ${off ? "disabled" : "enabled"}.`);
			table.put(done);
		}
	}

	const table = pagedTable({
		signal: ctx.signal, caption: "Keys",
		load: (cursor, signal) => api.get("keys", { cursor, limit: 100, upstream: ctx.now.upstream },
			signal),
		empty: ["No key here. ", opener("Add one", { new: 1 })],
		rowClass: (k) => (k.is_enabled ? null : "off"),
		columns: [
			{ head: "Key", cell: (k) => h("a", { href: detail(ctx, "keys", k.id) }, title(k)) },
			{ head: "Secret", more: true, cell: (k) => h("code", {}, k.masked) },
			{ head: "Upstream", cell: (k) => k.upstream_name || nameOf("upstreams", k.upstream) },
			{ head: "State", cell: keyBadge },
			{ head: "Runs dry", more: true, cell: runsDry },
			{ head: "Last trouble", grow: true, cell: (k) => h("span", { title: k.last_error }, k.last_error || "–") },
			{ head: "For project", more: true, cell: (k) => (k.project_id
				? nameOf("projects", k.project_id) : "all") },
			{ head: "Weight", num: true, more: true, cell: (k) => String(k.weight ?? 1) },
			{ head: "", cell: (k) => h("button", { type: "button", class: "small",
				onclick: () => toggle(k), "aria-label": `${k.is_enabled ? "Disable" : "Enable"} ${title(k)}` },
			k.is_enabled ? "Disable" : "Enable") }
		]
	});

	const weightField = (value) => field("Weight", h("input", { type: "number", min: "1", max: "1000",
		step: "1", value }), { name: "weight", hint: "Its share among the keys of its upstream." });
	const labelField = (value) => field("Label", h("input", { maxlength: "63", autocomplete: "off",
		value }), { name: "label" });

	async function adding(close) {
		const [ups, projects] = await Promise.all([known("upstreams"), known("projects")]);
		if (ups.data.length === 0)
			return h("div", {}, h("p", {}, "A key belongs to an upstream, and there is none yet."),
				h("a", { class: "button primary", href: href("upstreams", { new: 1 }) }, "Add an upstream"));
		const up = field("Upstream", choice("upstreams", ups, ctx.now.upstream || ups.data[0].id),
			{ name: "upstream" });
		const secret = field("Secret", h("textarea", { required: true, rows: "3", spellcheck: "false",
			autocomplete: "off", "data-first": true }), { name: "secret",
			hint: "One on each line. They are sealed at once and never shown again." });
		const label = labelField("");
		const weight = weightField("1");
		const project = field("For project", choice("projects", projects, "", [["", "all projects"]]),
			{ name: "project_id" });
		return form({ fields: [up, secret, label, h("div", { class: "pair" }, weight, project)],
			label: "Add", cancel: close, submit: async () => {
				const pasted = secret.control.value.trim(); /* a service key is one JSON document */
				const secrets = pasted.startsWith("{") ? [pasted]
					: pasted.split("\n").map((s) => s.trim()).filter(Boolean);
				const name = label.control.value.trim();
				let done = 0;
				try {
					for (const s of secrets) {
						const body = { upstream: up.control.value, secret: s,
							weight: Number(weight.control.value) };
						if (name)
							body.label = secrets.length > 1 ? `${name} ${done + 1}` : name;
						if (project.control.value)
							body.project_id = project.control.value;
						await api.create("keys", body);
						done++;
					}
				} finally {
					/* Those that are in must not be added again by a second try. */
					secret.control.value = secrets.slice(done).join("\n");
					reload();
				}
				say(`${plural(done, "key")} added.`);
				close();
			} });
	}

	/* What its provider says when it is asked once. */
	function tester(k) {
		const out = h("p", { role: "status" });
		const button = h("button", { type: "button", onclick: async () => {
			button.disabled = true;
			out.textContent = "Asking its provider…";
			try {
				const t = await api.act("keys", k.id, "test", {});
				out.textContent = t.ok ? `It works: ${milliseconds(t.duration_ms)}${t.models ? `, ${plural(t.models, "model")}` : ""}.`
					: `It does not work: ${t.message ?? t.verdict}`;
			} catch (err) {
				out.textContent = err.message;
			}
			button.disabled = false;
		} }, "Test");
		return [button, out];
	}

	const event = (e) => h("li", {}, h("span", { title: fullTime(e.time) }, when(e.time)), ` ${e.kind === "breaker" ? "breaker " : ""}`,
		e.kind !== "quota" && (e.from === e.to ? e.to : `${e.from} → ${e.to}`), e.model && ` at ${e.model}`, e.cause && `, ${causeText(e.cause)}`,
		e.status && ` (HTTP ${e.status})`, e.evidence && h("span", { class: "dim" }, ` ${e.evidence}`));

	async function details(id, close) {
		const [k, past] = await Promise.all([api.one("keys", id, ctx.signal),
			api.get(`keys/${encodeURIComponent(id)}/history`, {}, ctx.signal).catch(() => ({ data: [] }))]);
		const [test, tested] = tester(k);
		const label = labelField(k.label ?? ""), weight = weightField(String(k.weight ?? 1));
		return [facts([["State", keyBadge(k)], ["Because of", causeText(k.cause)], ["Why it is off", k.disabled_reason],
			["Rests until", k.rests_until && `${fullTime(k.rests_until)} (${ago(k.rests_until)})`],
			["Runs dry at", k.runs_dry_at && runsDry(k)],
			["Quotas left", !k.forecast?.length ? null : h("div", {}, k.forecast.map((q) => h("div", {}, quotaText(q))))],
			["Last trouble", k.last_error], ["Secret", h("code", {}, k.masked)],
			["Upstream", k.upstream_name || nameOf("upstreams", k.upstream)],
			["For project", k.project_id ? nameOf("projects", k.project_id) : "all"],
			["Share", k.share_percent < 100 ? `${k.share_percent} % of its usual one, and climbing` : null],
			["Booked", k.counters && `${plural(k.counters.requests, "request")}, ${number(k.counters.errors)} failed, ${usd(k.counters.cost)}`],
			["Last success", k.ok_at && ago(k.ok_at)],
			["Id", h("code", {}, k.id)], ["Added", fullTime(k.created_at)]]),
		h("div", { class: "actions" }, test, k.rests_until && h("button", { type: "button", onclick: async () => {
			table.put(await api.act("keys", k.id, "retry", {}));
			say("The next request finds out.");
			close();
		} }, "Try again now")), tested,
		past.data.length > 0 && h("details", {}, h("summary", {}, "What became of it"), h("ul", { class: "feed" }, past.data.map(event))),
		form({ fields: [label, weight], label: "Save", cancel: close, submit: async () => {
			await api.change("keys", k.id, { label: label.control.value.trim(),
				weight: Number(weight.control.value) }, k.etag);
			say("Saved.");
			close();
			reload();
		} }), h("hr"), h("div", { class: "actions" },
			h("button", { type: "button", onclick: () => { close(); toggle(k); } },
				k.is_enabled ? "Disable…" : "Enable…"),
			h("button", { type: "button", class: "danger", onclick: async () => {
				const done = await confirm(`Revoke ${title(k)}?`, "Its secret is forgotten; id and history stay.",
					{ yes: "Revoke", reason: "Why", action: (reason) => api.act("keys", k.id, "revoke", reason ? { reason } : {}) });
				if (done) {
					close();
					table.put(done);
				}
			} }, "Revoke…"),
			h("button", { type: "button", class: "danger", onclick: async () => {
				const done = await confirm(`Delete ${title(k)}?`, "The sealed secret is removed for good.",
					{ yes: "Delete", action: () => api.remove("keys", k.id) });
				if (done) {
					close();
					say("Key deleted.");
					reload();
				}
			} }, "Delete…"))];
	}

	dialogs(ctx, {
		new: (_, onclose) => dialog("Add keys", (close) => later(ctx.signal, () => adding(close)), { onclose }),
		id: (id, onclose) => dialog("Key", (close) => later(ctx.signal, () => details(id, close)), { onclose })
	});
	every(ctx, 15000, () => {
		if (!table.matches(":hover, :focus-within") && table.rows().length <= 100 && scrollY === 0)
			reload();
	});
	return page("Keys", opener("Add keys", { new: 1 }),
		filters(ctx, { upstream: ["Upstream", upstream] }, reload), table);
}
