/* routes.js - which upstreams answer for a model, in which order, and what comes instead. */
import { api } from "../api.js";
import { badge, confirm, dialog, field, form, h, later, say, select } from "../dom.js";
import { fieldsOf } from "../fields.js";
import { pagedTable } from "../list.js";
import { changesOf, dialogs, opener, page } from "../page.js";
import { choice, forget, known } from "../pick.js";
import { href } from "../router.js";
import { objectivesHint, strategies } from "../show.js";

/* What most routes leave as it is. */
const more = ["Who may be asked",
	["allowed_upstreams", "Upstreams asked alone", "list", "Patterns of names, parted by commas."],
	["blocked_upstreams", "Upstreams not asked", "list"],
	["regions", "Regions", "list"], ["tenants", "Tenants", "list"],
	["max_cost", "Most that one request may cost, in dollars", "money", "0: no limit."],
	["min_reliability", "Least share of calls that succeeded", "number", "Percent; 0: any.", { max: "100" }],
	"How it is asked",
	["objectives", "Objectives", "list", objectivesHint],
	["affinity", "Keeps to one key", [["none", "no"], ["session", "for a session"],
		["prompt", "for a prompt's beginning, for its cache"]]],
	["affinity_s", "Kept after the last call, in s", "number", undefined, { min: "1" }],
	["affinity_most_s", "Kept after the first, in s", "number", undefined, { min: "1" }],
	["migrate_below_tokens", "Conversations shorter than this move", "number", "Tokens; to a better tier that is free again. 0: none moves."],
	["tries", "Attempts at most", "number", "0: as in the settings.", { max: "16" }],
	["deadline_ms", "No attempt begins later than, in ms", "number", "0: as in the settings."],
	["queue_most", "Requests that may wait", "number", "When all are busy; −1: as in the settings.", { min: "-1" }],
	["queue_wait_ms", "Each waits at most, in ms", "number", "−1: as in the settings.", { min: "-1" }],
	["slow_chars_s", "Streams are left that begin slower than", "number", "Characters a second; 0: none are."],
	["slow_after_ms", "Watched for, in ms", "number"],
	["strict", "Refuses what conversion would lose", [["inherit", "as the upstream says"], ["yes", "yes"], ["no", "no"]]],
	["fetch_media", "Fetches images given by address", [["inherit", "as the upstream says"], ["yes", "yes"], ["no", "no"]]],
	["disconnect", "When the client leaves", "text", "cancel, drain or drain:SECONDS; empty: as the project says."],
	"Changes to requests, and what failures mean",
	["request_rules", "Changes to requests", "lines",
		"One a line: set NAME=JSON, default NAME=JSON, remove NAME, system TEXT, cap max_tokens=N."],
	["failure_rules", "What failures mean", "lines", "One a line: status=529 -> next cool=60"]];
/* A new one begins with what the gateway would take. */
const usual = { queue_most: -1, queue_wait_ms: -1, affinity_s: 300, affinity_most_s: 1800, slow_after_ms: 3000 };

const reasons = [["error", "after errors"], ["context", "when the conversation is too long"],
	["filter", "when its content is refused"], ["price", "when it would cost too much"]];

const words = (list, value) => list.find(([v]) => v === value)?.[1] ?? value;
const text = (value, props) => h("input", { autocomplete: "off", spellcheck: "false", value, ...props });

const targetText = (t) => `${t.upstream_name || t.upstream}${t.model ? ` as ${t.model}` : ""}`;
function targetsText(r) {
	if (!r.targets?.length)
		return h("span", { class: "dim" }, "every upstream that serves it");
	return r.targets.map((t) => (r.strategy === "split" ? `${t.weight} % ` : "") + targetText(t)).join(", ");
}
const fallbacksText = (r) => (r.fallbacks ?? []).map((f) => {
	const [on, ...model] = f.split(" ");
	return `${model.join(" ")} ${words(reasons, on)}`;
}).join(", ");

/* Rows that can be added and taken away; el.values() are those that say something. */
function rowsOf(legend, first, make, more) {
	const box = h("div");
	const add = (value, focus) => {
		const parts = make(value);
		const row = h("div", {}, h("div", { class: "pair" }, parts.map((p) => p.el)), h("button", { type: "button",
			class: "small", onclick: () => { row.remove(); button.focus(); } }, "Remove"));
		row.values = () => Object.fromEntries(parts.map((p) => [p.name, p.control.value.trim()]));
		box.append(row);
		if (focus)
			parts[0].control.focus();
	};
	const button = h("button", { type: "button", class: "small", onclick: () => add(undefined, true) }, more);
	first.forEach((v) => add(v));
	const el = h("fieldset", {}, h("legend", {}, legend), box, button);
	el.values = () => [...box.children].map((row) => row.values());
	return el;
}

function part(name, label, control) {
	const el = field(label, control);
	return { name, control, el };
}

function fields(r, ups, projects) {
	const targets = rowsOf("Who is asked; nobody named: every upstream that serves the model", r.targets ?? [],
		(t = {}) => [part("upstream", "Upstream", choice("upstreams", ups, t.upstream ?? ups.data[0]?.id)),
			part("model", "Its name of the model", text(t.model ?? "", { placeholder: "the same" })),
			part("weight", "Weight", h("input", { type: "number", min: "0", max: "1000", value: t.weight ?? 1 })),
			part("priority", "Priority", h("input", { type: "number", min: "0", max: "1000", value: t.priority ?? 0 }))],
		"Add an upstream");
	const fallbacks = rowsOf("Another model instead", (r.fallbacks ?? []).map((f) => f.split(" ")),
		([on = "error", ...model] = []) => [part("on", "When", select(reasons, on)),
			part("model", "Model", text(model.join(" ")))], "Add a model");
	return {
		name: field("Name", text(r.name ?? "", { required: true, maxlength: "63", "data-first": true }), { name: "name" }),
		model: field("Model that clients ask for", text(r.model ?? "", { required: true, maxlength: "127" }),
			{ name: "model", hint: "A name, a pattern such as gpt-*, or /regex/." }),
		strategy: field("Who of them comes first", select(strategies, r.strategy ?? "weighted"), { name: "strategy",
			hint: "Those behind come when it fails. For percentages the weights sum up to 100." }),
		targets, fallbacks,
		project_id: field("For project", choice("projects", projects, r.project_id ?? "", [["", "all projects"]]),
			{ name: "project_id" }),
		more: fieldsOf(more, r, usual)
	};
}

/* Of what routes seldom have, only what was changed. */
function body(f) {
	return { name: f.name.control.value.trim(), model: f.model.control.value.trim(), strategy: f.strategy.control.value,
		project_id: f.project_id.control.value || null,
		targets: f.targets.values().filter((t) => t.upstream).map((t) => ({ upstream: t.upstream, model: t.model || null,
			weight: Number(t.weight), priority: Number(t.priority) })),
		fallbacks: f.fallbacks.values().filter((x) => x.model).map((x) => `${x.on} ${x.model}`),
		...f.more.changed() };
}

const layout = (f) => [h("div", { class: "pair" }, f.name, f.model), h("div", { class: "pair" }, f.strategy, f.project_id),
	f.targets, f.fallbacks, ...f.more.layout];

export function routesPage(ctx) {
	const reload = () => {
		forget("routes");
		return table.reload();
	};
	const table = pagedTable({
		signal: ctx.signal, caption: "Routes",
		load: (cursor, signal) => api.get("routes", { cursor, limit: 100 }, signal),
		empty: ["No route: each model goes to every upstream that serves it. ", opener("Add a route", { new: 1 })],
		rowClass: (r) => (r.is_active ? null : "off"),
		columns: [
			{ head: "Name", cell: (r) => h("a", { href: href("routes", { id: r.id }) }, r.name) },
			{ head: "Model", cell: (r) => h("code", {}, r.model) },
			{ head: "State", more: true, cell: (r) => (r.is_active ? badge("good", "Active") : badge("off", "Inactive")) },
			{ head: "How", more: true, cell: (r) => words(strategies, r.strategy) },
			{ head: "Goes to", grow: true, cell: targetsText },
			{ head: "Instead", more: "wide", cell: (r) => fallbacksText(r) || "–" }
		]
	});

	const adding = async (close) => {
		const f = fields({}, ...await Promise.all([known("upstreams"), known("projects")]));
		return form({ fields: layout(f), label: "Add route", cancel: close, submit: async () => {
			await api.create("routes", body(f));
			say("Route added.");
			close();
			reload();
		} });
	};

	async function details(id, close) {
		const [r, ...lists] = await Promise.all([api.one("routes", id, ctx.signal), known("upstreams"), known("projects")]);
		const f = fields(r, ...lists);
		return [form({ fields: layout(f), label: "Save", cancel: close, submit: async () => {
			await api.change("routes", r.id, body(f), r.etag);
			say("Saved. The next request goes by it.");
			close();
			reload();
		} }), h("hr"), h("div", { class: "actions" },
			h("button", { type: "button", onclick: async () => {
				await api.change("routes", r.id, { is_active: !r.is_active });
				close();
				reload();
			} }, r.is_active ? "Deactivate" : "Activate"),
			h("button", { type: "button", class: "danger", onclick: async () => {
				if (await confirm(`Delete ${r.name}?`, "Its model goes to every upstream that serves it again.",
					{ yes: "Delete", action: () => api.remove("routes", r.id) })) {
					close();
					reload();
				}
			} }, "Delete…"), changesOf(r.id))];
	}

	dialogs(ctx, {
		new: (_, onclose) => dialog("Add a route", (close) => later(ctx.signal, () => adding(close)), { onclose, wide: true }),
		id: (id, onclose) => dialog("Route", (close) => later(ctx.signal, () => details(id, close)), { onclose, wide: true })
	});
	return page("Routes", opener("Add a route", { new: 1 }), table);
}
