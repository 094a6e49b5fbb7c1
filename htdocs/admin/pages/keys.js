/* keys.js - the providers' secrets: masked, on and off, and how each is doing. */
import { api } from "../api.js";
import { confirm, dialog, facts, field, form, h, later, say, select } from "../dom.js";
import { fieldsOf } from "../fields.js";
import { ago, fullTime, milliseconds, number, plural } from "../format.js";
import { pagedTable } from "../list.js";
import { changesOf, detail, dialogs, every, filters, opener, page } from "../page.js";
import { choice, chooser, known, nameOf } from "../pick.js";
import { href } from "../router.js";
import { causeText, keyBadge, quotaText, runsDry, whatBecame } from "../show.js";
import { usd } from "../money.js";

const title = (k) => k.label || k.masked;
const AT_ONCE = 100; /* keys of one call, when many are added */

const usual = [["label", "Label", "text", undefined, { maxlength: "63" }],
	["weight", "Weight", "number", "Its share among the keys of its upstream.", { min: "1", max: "1000" }],
	["priority", "Priority", "number", "0 is used first; others when none before can be.", { max: "1000" }]];
const more = ["Its limits, models and tags",
	["max_parallel", "Calls at once", "number", "0: no limit."],
	["quotas", "What it is known to have", "list", "requests/minute=60, tokens/day=1000000; learned where it is empty."],
	["allowed_models", "Models it is used for alone", "list", "Patterns, or /regex/; empty: all of its upstream."],
	["blocked_models", "Models it is not used for", "list", "Patterns, or /regex/."],
	["tags", "Tags", "list", "name=value, such as region=eu, tier=free; policies choose by them."]];

export function keysPage(ctx) {
	const upstream = chooser("upstreams", ctx.params.upstream, "All upstreams");
	const state = select([["", "any"], ["troubled", "in trouble"], ["available", "available"], ["throttled", "resting"],
		["exhausted", "used up"], ["recovering", "coming back"], ["invalid", "refused by provider"], ["disabled", "disabled"]],
	ctx.params.state);
	const search = h("input", { type: "search", placeholder: "label or id", value: ctx.params.q ?? "" });
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
		load: (cursor, signal) => api.get("keys", { cursor, limit: 100, upstream: ctx.now.upstream, state: ctx.now.state, q: ctx.now.q },
			signal),
		empty: ["No such key. ", opener("Add one", { new: 1 })],
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
		const project = field("For project", choice("projects", projects, "", [["", "all projects"]]),
			{ name: "project_id" });
		const rest = fieldsOf([...usual, ...more], {}, { weight: 1 });
		const bar = h("div", { role: "status" });
		return form({ fields: [up, secret, ...rest.layout.slice(0, 2), project, ...rest.layout.slice(2), bar],
			label: "Add", cancel: close, submit: async () => {
				const pasted = secret.control.value.trim(); /* a service key is one JSON document */
				const secrets = pasted.startsWith("{") ? [pasted]
					: [...new Set(pasted.split("\n").map((s) => s.trim()).filter(Boolean))];
				const same = { ...rest.changed(), upstream: up.control.value, ...(project.control.value
					? { project_id: project.control.value } : {}) };
				const keys = secrets.map((s, i) => ({ ...same, secret: s, ...(same.label && secrets.length > 1
					? { label: `${same.label} ${i + 1}` } : {}) }));
				if (keys.length === 1)
					await api.create("keys", keys[0]);
				const told = keys.length > 1 ? await addMany(keys, bar, (left) => {
					secret.control.value = left.map((k) => k.secret).join("\n"); /* a second try is about these */
				}) : { imported: 1, skipped: 0, refused: [] };
				reload();
				if (told.refused.length > 0) {
					bar.replaceChildren(h("p", {}, `${plural(told.imported, "key")} added, `,
						h("strong", {}, `${told.refused.length} not taken`), "; they stand above."),
					h("ul", { class: "feed" }, told.refused.slice(0, 20).map((r) => h("li", {}, `${r.masked}: ${r.refused}`))));
					return;
				}
				say(`${plural(told.imported, "key")} added${told.skipped > 0 ? `, ${told.skipped} were here already` : ""}.`);
				close();
			} });
	}

	/* In calls of not too many, so that it can be told how far it is.  left(keys): what is not in yet. */
	async function addMany(keys, bar, left) {
		const meter = h("progress", { max: String(keys.length), value: 0 }), text = h("p", {});
		const told = { imported: 0, skipped: 0, refused: [] }, not_taken = [];
		bar.replaceChildren(text, meter);
		for (let at = 0; at < keys.length; at += AT_ONCE) {
			text.textContent = `${number(at)} of ${number(keys.length)} keys…`;
			meter.value = at;
			const some = keys.slice(at, at + AT_ONCE);
			try {
				const got = await api.create("keys/import", { keys: some });
				told.imported += got.imported;
				told.skipped += got.skipped;
				for (const r of got.data.filter((row) => row.refused)) {
					told.refused.push(r);
					not_taken.push(some[r.row - 1]);
				}
			} catch (err) {
				left([...not_taken, ...keys.slice(at)]);
				bar.replaceChildren();
				reload();
				throw err;
			}
		}
		left(not_taken);
		bar.replaceChildren();
		return told;
	}

	/* Its id, counters and history stay. */
	function rotating(k) {
		const secret = field("New secret", h("textarea", { required: true, rows: "3", spellcheck: "false", autocomplete: "off",
			"data-first": true }), { name: "secret", hint: "It is sealed at once and used from the next request on." });
		dialog(`Another secret for ${title(k)}`, (close) => form({ fields: [secret], label: "Replace", cancel: close,
			submit: async () => {
				table.put(await api.act("keys", k.id, "rotate", { secret: secret.control.value.trim() }));
				say("Replaced. Its id, counters and history stay.");
				close();
			} }));
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

	async function details(id, close) {
		const [k, past] = await Promise.all([api.one("keys", id, ctx.signal),
			api.get(`keys/${encodeURIComponent(id)}/history`, {}, ctx.signal).catch(() => ({ data: [] }))]);
		const [test, tested] = tester(k);
		const projects = await known("projects");
		const f = fieldsOf([...usual, ...more], k);
		const project = field("For project", choice("projects", projects, k.project_id ?? "", [["", "all projects"]]),
			{ name: "project_id" });
		return [facts([["State", keyBadge(k)], ["Because of", causeText(k.cause)], ["Why it is off", k.disabled_reason],
			["Rests until", k.rests_until && `${fullTime(k.rests_until)} (${ago(k.rests_until)})`],
			["Runs dry at", k.runs_dry_at && runsDry(k)],
			["Quotas left", !k.forecast?.length ? null : h("div", {}, k.forecast.map((q) => h("div", {}, quotaText(q))))],
			["Last trouble", k.last_error], ["Secret", h("code", {}, k.masked)],
			["Upstream", k.upstream_name || nameOf("upstreams", k.upstream)],
			["For project", k.project_id ? nameOf("projects", k.project_id) : "all"],
			["Share", k.share_percent < 100 ? `${k.share_percent} % of its usual one, and climbing` : null],
			["Breaker", k.breaker === "closed" ? null : k.breaker?.replaceAll("_", " ")],
			["Now", k.inflight > 0 ? plural(k.inflight, "call") : null],
			["Lately", (k.success_percent ?? null) === null ? null : `${k.success_percent} % succeeded`
				+ (k.ttft_ms ? `, first content after ${milliseconds(k.ttft_ms)}` : "")],
			["Booked", k.counters && `${plural(k.counters.requests, "request")}, ${number(k.counters.errors)} failed, ${usd(k.counters.cost)}`],
			["Last success", k.ok_at && ago(k.ok_at)],
			["Id", h("code", {}, k.id)], ["Added", fullTime(k.created_at)]]),
		h("div", { class: "actions" }, test, k.rests_until && h("button", { type: "button", onclick: async () => {
			table.put(await api.act("keys", k.id, "retry", {}));
			say("The next request finds out.");
			close();
		} }, "Try again now")), tested,
		whatBecame(past),
		form({ fields: [...f.layout.slice(0, 2), project, ...f.layout.slice(2)], label: "Save", cancel: close, submit: async () => {
			const changed = { ...f.changed(), ...(project.control.value === (k.project_id ?? "") ? {}
				: { project_id: project.control.value || null }) };
			if (Object.keys(changed).length > 0)
				await api.change("keys", k.id, changed, k.etag);
			say("Saved.");
			close();
			reload();
		} }), h("hr"), h("div", { class: "actions" },
			h("button", { type: "button", onclick: () => { close(); toggle(k); } },
				k.is_enabled ? "Disable…" : "Enable…"),
			h("button", { type: "button", onclick: () => { close(); rotating(k); } }, "Another secret…"),
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
			} }, "Delete…"), changesOf(k.id))];
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
		filters(ctx, { q: ["Search", search], upstream: ["Upstream", upstream], state: ["State", state] }, reload), table);
}
