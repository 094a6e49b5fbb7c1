/*
 * router.js - all state of the page is in the address: #/tokens?project_id=prj_…&id=tok_…
 * Pages read it, and change it by set(); back and forward then work by themselves.
 */

export function parse(hash = location.hash) {
	const [path, query = ""] = hash.replace(/^#\/?/, "").split("?");
	return { page: path || "overview", params: Object.fromEntries(new URLSearchParams(query)) };
}

export function href(page, params = {}) {
	const q = new URLSearchParams();
	for (const [k, v] of Object.entries(params))
		if (v !== undefined && v !== null && v !== "")
			q.set(k, v);
	return `#/${page}${q.size > 0 ? `?${q}` : ""}`;
}

/* Changes some parameters of the present page; null removes one. */
export function set(changes, { replace = false } = {}) {
	const { page, params } = parse();
	const to = href(page, { ...params, ...changes });
	if (to === location.hash)
		return;
	if (replace) {
		history.replaceState(null, "", to);
		dispatchEvent(new HashChangeEvent("hashchange"));
	} else {
		location.hash = to;
	}
}

export function go(page, params) {
	location.hash = href(page, params);
}
