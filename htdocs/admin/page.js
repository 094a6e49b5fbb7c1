/* page.js - what all pages are made of: heading, filter bar, dialogs that live in the address. */
import { h } from "./dom.js";
import { href, set } from "./router.js";

export function page(title, actions, ...content) {
	return h("section", { class: "page" },
		h("header", { class: "head" }, h("h1", { tabindex: "-1" }, title),
			h("div", { class: "actions" }, actions)), content);
}

/* A button that opens the dialog of an address parameter. */
export function opener(text, params, props = { class: "primary" }) {
	return h("button", { type: "button", ...props, onclick: () => set(params) }, text);
}

/*
 * Controls that write to the address, and follow it.  names: { project_id: control, … }
 * The page reloads when one of them changes.
 */
export function filters(ctx, controls, reload) {
	const bar = h("form", { class: "filters", role: "search", onsubmit: (e) => e.preventDefault() });
	for (const [name, [label, control]] of Object.entries(controls)) {
		/* what is half typed is not asked for */
		const write = () => control.validity.valid && set({ [name]: control.type === "checkbox"
			? (control.checked ? "1" : null) : control.value.trim() || null }, { replace: true });
		let timer = 0;
		control.addEventListener("change", write);
		if (control.matches("input:not([type=checkbox])"))
			control.addEventListener("input", () => {
				clearTimeout(timer);
				timer = setTimeout(write, 400);
			});
		bar.append(control.type === "checkbox" ? h("label", { class: "tick" }, control, label)
			: h("label", {}, h("span", {}, label), control));
	}
	let last = "";
	const state = (params) => JSON.stringify(Object.keys(controls).map((n) => params[n] ?? ""));
	const follow = (params) => {
		for (const [name, [, control]] of Object.entries(controls)) {
			if (control.type === "checkbox")
				control.checked = params[name] === "1";
			else if (document.activeElement !== control)
				control.value = params[name] ?? "";
		}
		const now = state(params);
		if (now !== last) {
			last = now;
			reload();
		}
	};
	last = state(ctx.params);
	follow(ctx.params);
	ctx.watch(follow);
	return bar;
}

/*
 * Dialogs that are a parameter of the address, such as id=tok_…: opened and closed with it.
 * openers: { name: (value, onclose) -> what dialog() returned }
 */
export function dialogs(ctx, openers) {
	let open = null;
	const sync = (params) => {
		const name = Object.keys(openers).find((n) => params[n]);
		if (open && open.name === name && open.value === params[name])
			return;
		const old = open;
		open = null;
		old?.it.close();
		if (!name)
			return;
		const mine = { name, value: params[name] };
		open = mine;
		mine.it = openers[name](params[name], () => {
			if (open === mine) {
				open = null;
				set({ [name]: null }, { replace: true });
			}
		});
	};
	ctx.signal.addEventListener("abort", () => {
		const old = open;
		open = null;
		old?.it.close();
	});
	sync(ctx.params);
	ctx.watch(sync);
}

/* Where one record is shown, beside the list as it stands; also while the dialog that made it is only
 * just closing, and its parameter in the address yet. */
export const detail = (ctx, name, id) => href(name, { ...ctx.now, new: null, id });

/* Where it is told what was changed of a record, and taken back. */
export const changesOf = (id) => h("a", { href: href("audit", { object: id }) }, "Changes");

/* Runs fn each `ms` while the page is in sight. */
export function every(ctx, ms, fn) {
	const timer = setInterval(() => { if (!document.hidden) fn(); }, ms);
	ctx.signal.addEventListener("abort", () => clearInterval(timer));
}
