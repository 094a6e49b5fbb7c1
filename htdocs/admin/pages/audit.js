/* audit.js - who changed what, and when. */
import { api } from "../api.js";
import { h } from "../dom.js";
import { fullTime, when } from "../format.js";
import { pagedTable } from "../list.js";
import { page } from "../page.js";
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
	return page("Audit", null, pagedTable({
		signal: ctx.signal, caption: "Changes, newest first",
		load: (cursor, signal) => api.get("audit", { cursor, limit: 100 }, signal),
		empty: "Nothing was changed yet.",
		columns: [
			{ head: "Time", cell: (e) => h("span", { title: fullTime(e.time) }, when(e.time)) },
			{ head: "Who", cell: (e) => e.actor },
			{ head: "What", cell: (e) => e.action },
			{ head: "On", cell: (e) => object(e.object) },
			{ head: "Changes", more: true, grow: true, cell: changes },
			{ head: "From", more: true, cell: (e) => e.address || "–" },
			{ head: "No.", num: true, more: true, cell: (e) => String(e.number) }
		]
	}));
}
