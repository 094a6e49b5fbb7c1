/* limits.js - caps and budgets: how much is used, held, left, and when they begin anew. */
import { api } from "../api.js";
import { badge, confirm, dialog, facts, field, form, h, later, say, select } from "../dom.js";
import { ago, fullTime } from "../format.js";
import { pagedTable } from "../list.js";
import { plain } from "../money.js";
import { detail, dialogs, filters, opener, page } from "../page.js";
import { choice, chooser, known, nameOf } from "../pick.js";
import { href } from "../router.js";
import { amount, capText, metrics, resets, scopeText, use } from "../show.js";

const windows = [...["minute", "hour", "day", "week", "month", "total"].map((w) => [w, w]),
	["rolling", "the last seconds …"]];
/* Beside the project, in the words of the form. */
const scopes = [["token", "Token", "An id, or “each”."], ["model", "Model", "A pattern, or “each”."],
	["end_user", "End user", "As requests name them, or “each”."], ["tag", "Tag", "As feature=search, feature=*, or “each”."],
	["address", "Address", "An address, a network, or “each”."], ["upstream", "Upstream", "A name, or “each”."],
	["key", "Key", "An id, or “each”."]];
const modes = [["hard", "hard: refuse"], ["soft", "soft: warn"], ["shadow", "shadow: only count"]];

export function limitsPage(ctx) {
	const project = chooser("projects", ctx.params.project_id, "All projects");
	const reload = () => table.reload();
	const table = pagedTable({
		signal: ctx.signal, caption: "Limits",
		load: (cursor, signal) => api.get("limits", { cursor, limit: 100,
			project_id: ctx.now.project_id, token_id: ctx.now.token_id }, signal),
		empty: ["No limit here. ", opener("Set one", { new: 1 })],
		rowClass: (l) => (l.is_active === false ? "off" : null),
		columns: [
			{ head: "Limit", cell: (l) => h("a", { href: detail(ctx, "limits", l.id) }, capText(l)) },
			{ head: "For", cell: (l) => scopeText(l.scope) },
			{ head: "Used", cell: use },
			{ head: "Left", num: true, cell: (l) => amount(l, l.remaining) },
			{ head: "Anew", cell: resets },
			{ head: "Mode", more: true, cell: (l) => [l.mode, l.is_active === false &&
				[" ", badge("off", "off")]] }
		]
	});

	const capField = (l) => {
		const cost = l.metric === "cost";
		return field(cost ? "At most, in dollars" : "At most", h("input", { required: true,
			inputmode: "decimal", autocomplete: "off", pattern: cost ? "\\d+(\\.\\d{1,9})?" : "\\d+",
			value: l.cap === undefined ? "" : cost ? plain(l.cap) : String(l.cap) }), { name: "cap" });
	};

	async function adding(close) {
		const projects = await known("projects");
		const metric = select(metrics, "cost", { "data-first": true, onchange: () => {
			const now = capField({ metric: metric.value });
			fit();
			cap.querySelector("label").textContent = now.querySelector("label").textContent;
			cap.control.pattern = now.control.pattern;
		} });
		const cap = capField({ metric: "cost" });
		const seconds = field("Seconds", h("input", { inputmode: "numeric", pattern: "[1-9]\\d*", value: "3600" }),
			{ name: "window_s" });
		seconds.hidden = true;
		const fit = () => {
			const kind = metric.value === "parallel" ? "" : window.control.value;
			window.hidden = metric.value === "parallel";
			seconds.hidden = kind !== "rolling";
			zone.hidden = !["day", "week", "month"].includes(kind);
		};
		const window = field("In each", select(windows, "month", { onchange: fit }), { name: "window" });
		const zone = field("Time zone", h("input", { autocomplete: "off", spellcheck: "false", placeholder: "UTC" }),
			{ name: "timezone", hint: "Where its days begin, as Europe/Berlin." });
		const mode = field("When it is reached", select(modes, "hard"), { name: "mode" });
		const forProject = field("Project", choice("projects", projects, ctx.now.project_id ?? "",
			[["", "all together"], ["each", "each on its own"]]), { name: "scope" });
		const others = scopes.map(([k, label, hint]) => [k, field(label, h("input", { autocomplete: "off",
			spellcheck: "false", placeholder: "any", value: k === "token" ? ctx.now.token_id ?? "" : "" }), { hint })]);
		return form({ fields: [field("What is limited", metric, { name: "metric" }),
			h("div", { class: "pair" }, cap, window), seconds, zone, mode,
			h("fieldset", {}, h("legend", {}, "Counted for"), forProject,
				h("div", { class: "pair" }, others[0][1], others[1][1]),
				h("details", {}, h("summary", {}, "End user, tag, address, upstream, key"),
					others.slice(2).map(([, f]) => f)))],
		label: "Set limit", cancel: close, submit: async () => {
			const scope = {};
			for (const [k, f] of [["project", forProject], ...others])
				if (f.control.value.trim())
					scope[k] = f.control.value.trim();
			const cost = metric.value === "cost", kind = window.control.value;
			const body = { scope, metric: metric.value,
				window: metric.value === "parallel" ? "total" : kind === "rolling"
					? `rolling:${seconds.control.value.trim()}` : kind,
				cap: cost ? cap.control.value.trim() : Number(cap.control.value), mode: mode.control.value };
			if (!zone.hidden && metric.value !== "parallel" && zone.control.value.trim())
				body.timezone = zone.control.value.trim();
			await api.create("limits", body);
			say("Limit set.");
			close();
			reload();
		} });
	}

	/* More for a time, and what is used counted no more; where each has a counter, of the one named. */
	function changes(l, close) {
		const each = Object.entries(l.scope ?? {}).filter(([k, v]) => v === "each" || (k === "tag" && /[*?]/.test(v)));
		const whose = each.map(([k]) => [k, field(scopes.find(([n]) => n === k)?.[1] ?? "Project",
			h("input", { autocomplete: "off", spellcheck: "false" }))]);
		const scope = () => Object.fromEntries(whose.map(([k, f]) => [k, f.control.value.trim()]).filter(([, v]) => v));
		const more = field(l.metric === "cost" ? "More, in dollars" : "More", h("input", { required: true,
			inputmode: "decimal", autocomplete: "off" }), { name: "amount" });
		const until = field("Until", h("input", { type: "datetime-local" }), { name: "until", hint: "Empty: for ever." });
		const reason = field("Reason", h("input", { maxlength: "127", autocomplete: "off" }), { name: "reason" });
		const given = () => ({ scope: scope(), reason: reason.control.value.trim() });
		const told = (text) => {
			say(text);
			close();
			reload();
		};
		return h("details", {}, h("summary", {}, "Grant or reset…"), form({
			fields: [...whose.map(([, f]) => f), h("div", { class: "pair" }, more, until), reason],
			label: "Grant", submit: async () => {
				await api.act("limits", l.id, "grant", { ...given(),
					amount: l.metric === "cost" ? more.control.value.trim() : Number(more.control.value),
					until: until.control.value ? new Date(until.control.value).toISOString() : null });
				told("Granted.");
			} }), l.metric !== "parallel" && h("div", { class: "actions" }, h("button", { type: "button", class: "danger",
			onclick: async () => {
				const done = await confirm("Reset this limit?", "What is used in this window counts no more.",
					{ yes: "Reset", action: () => api.act("limits", l.id, "reset", given()) });
				if (done)
					told("Reset.");
			} }, "Reset…")));
	}

	/* Grants and resets that hold, each to be taken back. */
	async function grants(l) {
		const { data } = await api.get("grants", { limit_id: l.id, is_active: true, limit: 50 }, ctx.signal);
		const list = h("ul", { class: "feed" }, data.map((g) => {
			const row = h("li", {}, g.is_reset ? "reset of " : "granted ", amount(l, g.amount), " for ", scopeText(g.scope),
				g.until ? [" until ", h("span", { title: fullTime(g.until) }, fullTime(g.until))] : "",
				g.reason && ` (${g.reason}) `, " ", h("button", { type: "button", class: "small", onclick: async () => {
					await api.remove("grants", g.id);
					row.remove();
					say("Taken back.");
					reload();
				} }, "Take back"));
			return row;
		}));
		return data.length > 0 && list;
	}

	async function details(id, close) {
		const l = await api.one("limits", id, ctx.signal);
		const cap = capField(l);
		const mode = field("When it is reached", select(modes, l.mode), { name: "mode" });
		return [facts([["Limit", capText(l)], ["For", scopeText(l.scope)], ["Used", use(l)],
			[l.metric === "parallel" ? "Running now" : "Held by requests under way", amount(l, l.reserved)],
			["Granted on top", Number(l.granted) > 0 ? amount(l, l.granted) : null], ["Left", amount(l, l.remaining)],
			["Begins anew", l.resets_at && `${fullTime(l.resets_at)} (${ago(l.resets_at)})`],
			["Id", h("code", {}, l.id)]]),
		form({ fields: [cap, mode], label: "Save", cancel: close, submit: async () => {
			await api.change("limits", l.id, { cap: l.metric === "cost" ? cap.control.value.trim()
				: Number(cap.control.value), mode: mode.control.value }, l.etag);
			say("Saved; what is used stays counted.");
			close();
			reload();
		} }), await grants(l), changes(l, close), h("hr"),
		h("div", { class: "actions" }, h("button", { type: "button", class: "danger", onclick: async () => {
				const done = await confirm("Delete this limit?", `Nothing stops at ${capText(l)} any more.`,
					{ yes: "Delete", action: () => api.remove("limits", l.id) });
				if (done) {
					close();
					say("Limit deleted.");
					reload();
				}
			} }, "Delete…"))];
	}

	dialogs(ctx, {
		new: (_, onclose) => dialog("Set a limit", (close) => later(ctx.signal, () => adding(close)), { onclose }),
		id: (id, onclose) => dialog("Limit", (close) => later(ctx.signal, () => details(id, close)), { onclose })
	});
	const only = ctx.params.token_id && h("p", {}, "Only those of token ", nameOf("tokens", ctx.params.token_id),
		". ", h("a", { href: href("limits"), onclick: () => only.remove() }, "Show all"));
	let token = ctx.params.token_id;
	ctx.watch((params) => {
		if (params.token_id !== token) {
			token = params.token_id;
			reload();
		}
	});
	return page("Limits", opener("Set a limit", { new: 1 }),
		filters(ctx, { project_id: ["Project", project] }, reload), only ?? "", table);
}
