/* limits.js - caps and budgets: how much is used, held, left, and when they begin anew. */
import { api } from "../api.js";
import { badge, confirm, dialog, facts, field, form, h, later, say, select } from "../dom.js";
import { ago, fullTime } from "../format.js";
import { pagedTable } from "../list.js";
import { plain } from "../money.js";
import { dialogs, filters, opener, page } from "../page.js";
import { choice, chooser, known, nameOf } from "../pick.js";
import { href } from "../router.js";
import { amount, capText, metrics, resets, scopeText, use } from "../show.js";

const windows = ["minute", "hour", "day", "week", "month", "total"];
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
			{ head: "Limit", cell: (l) => h("a", { href: href("limits", { ...ctx.now, id: l.id }) }, capText(l)) },
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
			window.hidden = metric.value === "parallel";
			cap.querySelector("label").textContent = now.querySelector("label").textContent;
			cap.control.pattern = now.control.pattern;
		} });
		const cap = capField({ metric: "cost" });
		const window = field("In each", select(windows.map((w) => [w, w]), "month"), { name: "window" });
		const mode = field("When it is reached", select(modes, "hard"), { name: "mode" });
		const forProject = field("Project", choice("projects", projects, ctx.now.project_id ?? "",
			[["", "all together"], ["each", "each on its own"]]), { name: "scope" });
		const token = field("Token", h("input", { value: ctx.now.token_id ?? "", autocomplete: "off",
			spellcheck: "false", placeholder: "any" }), { hint: "An id, or “each”." });
		const model = field("Model", h("input", { autocomplete: "off", spellcheck: "false",
			placeholder: "any" }), { hint: "A pattern, or “each”." });
		return form({ fields: [field("What is limited", metric, { name: "metric" }),
			h("div", { class: "pair" }, cap, window), mode,
			h("fieldset", {}, h("legend", {}, "Counted for"), forProject,
				h("div", { class: "pair" }, token, model))],
		label: "Set limit", cancel: close, submit: async () => {
			const scope = {};
			for (const [k, f] of [["project", forProject], ["token", token], ["model", model]])
				if (f.control.value.trim())
					scope[k] = f.control.value.trim();
			const cost = metric.value === "cost";
			await api.create("limits", { scope, metric: metric.value,
				window: metric.value === "parallel" ? "total" : window.control.value,
				cap: cost ? cap.control.value.trim() : Number(cap.control.value), mode: mode.control.value });
			say("Limit set.");
			close();
			reload();
		} });
	}

	async function details(id, close) {
		const l = await api.one("limits", id, ctx.signal);
		const cap = capField(l);
		const mode = field("When it is reached", select(modes, l.mode), { name: "mode" });
		return [facts([["Limit", capText(l)], ["For", scopeText(l.scope)], ["Used", use(l)],
			["Held by requests under way", amount(l, l.reserved)], ["Left", amount(l, l.remaining)],
			["Begins anew", l.resets_at && `${fullTime(l.resets_at)} (${ago(l.resets_at)})`],
			["Id", h("code", {}, l.id)]]),
		form({ fields: [cap, mode], label: "Save", cancel: close, submit: async () => {
			await api.change("limits", l.id, { cap: l.metric === "cost" ? cap.control.value.trim()
				: Number(cap.control.value), mode: mode.control.value }, l.etag);
			say("Saved; what is used stays counted.");
			close();
			reload();
		} }), h("hr"), h("div", { class: "actions" }, h("button", { type: "button", class: "danger",
			onclick: async () => {
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
