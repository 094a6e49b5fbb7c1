/* audit.js - who changed what, and when; and taking it back. */
import { api } from "../api.js";
import { confirm, dialog, facts, h, say } from "../dom.js";
import { fullTime, plural, when } from "../format.js";
import { pagedTable } from "../list.js";
import { filters, page } from "../page.js";
import { href } from "../router.js";

const places = { prj: "projects", tok: "tokens", up: "upstreams", key: "keys", lim: "limits", prc: "prices", rt: "routes", pol: "policies",
	req: "requests" };

function object(id) {
	const place = places[/^([a-z]+)_/.exec(id ?? "")?.[1]];
	return place ? h("a", { href: href(place, { id }) }, h("code", {}, id)) : h("code", {}, id || "–");
}

const value = (v) => (v === null || v === "" ? "–" : Array.isArray(v) ? v.join(", ") || "–" : String(v));

function change(c) {
	const name = c.record_id ? `${c.field} of ${c.record_id}` : c.field;
	return c.is_secret ? `${name}: changed` : `${name}: ${value(c.before)} → ${value(c.after)}${c.is_cut ? " …" : ""}`;
}

/* The row keeps its height; all of it stands in the title. */
function changes(e) {
	const lines = (e.changes ?? []).map(change);
	if (e.changes_cut)
		lines.push("and more");
	return lines.length ? h("span", { title: lines.join("\n") }, lines.join("; ")) : h("span", { class: "dim" }, "–");
}

export function auditPage(ctx) {
	const reload = () => table.reload();

	async function undo(e) {
		const done = await confirm(`Take back ${e.action}?`, "Each field gets the value it had before, and what was made goes "
			+ "again. What somebody changed since is not touched: then nothing is done, and it is named.",
		{ yes: "Take it back", action: () => api.act("changes", e.id, "undo") });
		if (done) {
			say(`Taken back: ${plural(done.records.length, "record")}.`
				+ (done.not_undone?.length ? ` Secrets are not kept, and stay: ${done.not_undone}.` : ""));
			reload();
		}
	}

	const details = (e) => dialog("Change", (close) => [facts([["What", e.action], ["Who", e.actor], ["Time", fullTime(e.time)],
		["On", object(e.object)], ["From", e.address], ["Id", h("code", {}, e.id)]]),
	h("ul", { class: "feed" }, (e.changes ?? []).map((c) => h("li", {}, change(c))), e.changes_cut && h("li", {}, "and more")),
	(e.changes ?? []).length > 0 && h("div", { class: "actions" }, h("button", { type: "button", class: "danger", "data-first": true,
		onclick: () => { close(); undo(e); } }, "Take it back…"))].filter(Boolean));

	const table = pagedTable({
		signal: ctx.signal, caption: "Changes, newest first",
		load: (cursor, signal) => api.get("audit", { cursor, limit: 100, object: ctx.now.object, actor: ctx.now.actor }, signal),
		empty: "Nothing was changed yet.",
		columns: [
			{ head: "Time", cell: (e) => h("span", { title: fullTime(e.time) }, when(e.time)) },
			{ head: "Who", cell: (e) => e.actor },
			{ head: "What", cell: (e) => h("button", { type: "button", class: "link", onclick: () => details(e) }, e.action) },
			{ head: "On", cell: (e) => object(e.object) },
			{ head: "Changes", more: true, grow: true, cell: changes },
			{ head: "From", more: "wide", cell: (e) => e.address || "–" },
			{ head: "No.", num: true, more: "wide", cell: (e) => String(e.number) }
		]
	});
	const text = (value, placeholder) => h("input", { type: "search", autocomplete: "off", spellcheck: "false", placeholder,
		value: value ?? "" });
	return page("Audit", null, filters(ctx, { object: ["On", text(ctx.params.object, "id of a record")],
		actor: ["Who", text(ctx.params.actor, "admin")] }, reload), table);
}
