/* health.js - is the store well, and what is this installation. */
import { api, gatewayURL, manageURL } from "../api.js";
import { badge, copyButton, facts, h, later } from "../dom.js";
import { ago, bytes, fullTime, number } from "../format.js";
import { every, page } from "../page.js";

const words = {
	bytes_on_disk: "On disk", bytes_capped: "Of that, requests and sums", store_cap_bytes: "The most they may take",
	vault_bytes: "Signatures of models",
	rings_used: "Rolling counters in use", repeats_used: "Idempotency keys kept", rows: "Requests on record", rows_unfolded: "Not yet in the sums",
	epoch: "Epoch", attached: "Processes attached", recoveries: "Recoveries",
	last_recovery_ms: "Last recovery took", last_recovery_at: "Last recovery", abandoned: "Threads abandoned",
	schema: "Schema", rows_used: "Counters in use", leases_used: "Requests under way",
	leases: "Room for requests under way", rollbacks: "Sections rolled back", remade_at: "Made",
	exchanges: "Requests", refused: "Refused", failed: "Failed", attempts: "Calls to providers",
	streams: "Streams", client_gone: "Clients that left", reaped: "Settled for dead workers"
};

function show(name, v) {
	if (v === null || v === undefined)
		return null;
	if (name === "version")
		return v;
	if (name.startsWith("bytes") || name.endsWith("_bytes"))
		return bytes(v);
	if (name.endsWith("_ms"))
		return `${number(v)} ms`;
	if (typeof v === "number")
		return number(v);
	if (typeof v === "boolean")
		return v ? "yes" : "no";
	if (typeof v === "string" && /^\d{4}-\d\d-\d\dT/.test(v))
		return `${fullTime(v)} (${ago(v)})`;
	return typeof v === "object" ? JSON.stringify(v) : v;
}

/* Every figure the endpoint gives, also those this page has no word for. */
const table = (o) => facts(Object.entries(o ?? {}).map(([k, v]) =>
	[words[k] ?? k.replaceAll("_", " "), show(k, v)]));

export function healthPage(ctx) {
	const store = later(ctx.signal, async () => {
		const { store: s, board, counts, version, warnings, ...rest } = await api.get("health", {}, ctx.signal);
		return [...(warnings ?? []).map((w) => h("p", { role: "alert" }, badge("bad", "Look after this"), " ", w)),
			h("div", { class: "two" },
			h("section", { class: "panel" }, h("h2", {}, "Store"), table(s)),
			h("section", { class: "panel" }, h("h2", {}, "Board"),
				table({ ...board, rows: undefined, rings: undefined, repeats: undefined,
					"room for counters": board?.rows, "room for rolling counters": board?.rings,
					"room for idempotency keys": board?.repeats }))),
		h("section", { class: "panel" }, h("h2", {}, "Since the board was made"),
			table({ ...counts, version, ...rest }))];
	});
	every(ctx, 10000, () => { if (!store.matches(":focus-within")) store.refresh(); });
	const address = (url, what) => h("span", {}, h("code", {}, url), " ", copyButton(url, { what }));
	return page("Health", null, store, h("section", { class: "panel" }, h("h2", {}, "This installation"),
		facts([
			["Clients call", address(gatewayURL, "address of the gateway")],
			["Management API", address(manageURL.href, "address of the management API")],
			["Described in", h("a", { href: "../openapi.json" }, "openapi.json")],
			["Signed in as", ctx.who.actor],
			["Session ends", ctx.who.expires_at && fullTime(ctx.who.expires_at)]
		])));
}
