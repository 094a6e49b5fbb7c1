/* routes.js - which upstreams answer for a model, in which order, and what comes instead. */
import { api } from "../api.js";
import { badge, confirm, dialog, field, form, h, later, say, select } from "../dom.js";
import { pagedTable } from "../list.js";
import { dialogs, opener, page } from "../page.js";
import { choice, forget, known } from "../pick.js";
import { href } from "../router.js";

/* In plain words: what each does with the targets. */
const strategies = [["weighted", "By weight, in turn over all keys"], ["round-robin", "In turn over accounts, then keys"],
	["first", "The first that can be asked"], ["priority", "Tiers by priority, by weight within one"],
	["split", "Percentages of all requests"], ["latency", "The quickest to answer"],
	["least-inflight", "The least busy"], ["sequential", "One key until its quota is spent"],
	["balanced", "Rather the less used"], ["same", "The last one again"], ["random", "By chance"],
	["objective", "The best by objectives"]];
const reasons = [["error", "after errors"], ["context", "when the conversation is too long"],
	["filter", "when its content is refused"], ["price", "when it would cost too much"]];

const words = (list, value) => list.find(([v]) => v === value)?.[1] ?? value;
const lines = (text) => text.split("\n").map((s) => s.trim()).filter(Boolean);
const text = (value, props) => h("input", { autocomplete: "off", spellcheck: "false", value, ...props });
const area = (list) => h("textarea", { rows: "3", spellcheck: "false", value: (list ?? []).join("\n") });

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

function fields(r, ups) {
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
		objectives: field("Objectives", text((r.objectives ?? []).join(", "), { placeholder: "cost=2, reliability=1" }),
			{ name: "objectives", hint: "Shares of cost, reliability, fairness, quality, latency." }),
		affinity: field("Keeps to one key", select([["none", "no"], ["session", "for a session"],
			["prompt", "for a prompt's beginning, for its cache"]], r.affinity ?? "none"), { name: "affinity" }),
		tries: field("Attempts at most", h("input", { type: "number", min: "0", max: "16", value: r.tries ?? 0 }),
			{ name: "tries", hint: "0: as in the settings." }),
		request_rules: field("Changes to requests", area(r.request_rules), { name: "request_rules",
			hint: "One a line: set NAME=JSON, default NAME=JSON, remove NAME, system TEXT, cap max_tokens=N." }),
		failure_rules: field("What failures mean", area(r.failure_rules), { name: "failure_rules",
			hint: "One a line: status=529 -> next cool=60" })
	};
}

function body(f) {
	return { name: f.name.control.value.trim(), model: f.model.control.value.trim(), strategy: f.strategy.control.value,
		targets: f.targets.values().filter((t) => t.upstream).map((t) => ({ upstream: t.upstream, model: t.model || null,
			weight: Number(t.weight), priority: Number(t.priority) })),
		fallbacks: f.fallbacks.values().filter((x) => x.model).map((x) => `${x.on} ${x.model}`),
		objectives: f.objectives.control.value.split(",").map((s) => s.trim()).filter(Boolean),
		affinity: f.affinity.control.value, tries: Number(f.tries.control.value),
		request_rules: lines(f.request_rules.control.value), failure_rules: lines(f.failure_rules.control.value) };
}

const layout = (f) => [h("div", { class: "pair" }, f.name, f.model), f.strategy, f.targets, f.fallbacks,
	h("details", {}, h("summary", {}, "More"), f.objectives, h("div", { class: "pair" }, f.affinity, f.tries),
		f.request_rules, f.failure_rules)];

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
		const f = fields({}, await known("upstreams"));
		return form({ fields: layout(f), label: "Add route", cancel: close, submit: async () => {
			await api.create("routes", body(f));
			say("Route added.");
			close();
			reload();
		} });
	};

	async function details(id, close) {
		const [r, ups] = await Promise.all([api.one("routes", id, ctx.signal), known("upstreams")]);
		const f = fields(r, ups);
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
			} }, "Delete…"))];
	}

	dialogs(ctx, {
		new: (_, onclose) => dialog("Add a route", (close) => later(ctx.signal, () => adding(close)), { onclose, wide: true }),
		id: (id, onclose) => dialog("Route", (close) => later(ctx.signal, () => details(id, close)), { onclose, wide: true })
	});
	return page("Routes", opener("Add a route", { new: 1 }), table);
}
