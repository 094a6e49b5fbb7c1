/*
 * dom.js - elements by function call.  Text is always text: nothing here parses HTML, and nothing
 * sets a style attribute (the content security policy would refuse it).
 */

function fill(el, props, children) {
	for (const [name, value] of Object.entries(props)) {
		if (value === undefined || value === null || value === false)
			continue;
		if (name.startsWith("on"))
			el.addEventListener(name.slice(2), value);
		else if (name === "value" || name === "checked" || name === "disabled")
			el[name] = value;
		else
			el.setAttribute(name, value === true ? "" : value);
	}
	el.append(...children.flat(3).filter((c) => c !== null && c !== undefined && c !== false));
	return el;
}

/* h("a", { class: "x", onclick: fn }, "text", other) */
export function h(tag, props = {}, ...children) {
	return fill(document.createElement(tag), props, children);
}

export function svg(tag, props = {}, ...children) {
	return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), props, children);
}

let counter = 0;
export function uid(prefix) {
	return `${prefix}-${++counter}`;
}

/* For screen readers only. */
export function hidden(text) {
	return h("span", { class: "sr" }, text);
}

/* One polite live region for the whole page. */
const live = h("div", { class: "toast", role: "status", "aria-live": "polite" });
let liveTimer = 0;
export function toastRegion() {
	return live;
}
export function say(text) {
	live.textContent = text;
	live.classList.add("shown");
	clearTimeout(liveTimer);
	liveTimer = setTimeout(() => {
		live.classList.remove("shown");
		live.textContent = "";
	}, 6000);
}

/* What went wrong, in words, with the request's id and a way to try again. */
export function failure(err, retry) {
	return h("div", { class: "failure", role: "alert" },
		h("p", {}, h("strong", {}, "That did not work. "), err.message),
		err.requestId && h("p", { class: "dim" }, "Request id: ", h("code", {}, err.requestId)),
		retry && h("button", { type: "button", onclick: retry }, "Try again"));
}

export function loading(lines = 3) {
	return h("div", { class: "loading", role: "status" },
		h("span", {}, "Loading…"),
		Array.from({ length: lines }, () => h("div", { class: "bone", "aria-hidden": "true" })));
}

/* Shows `Loading…`, then what fn resolves to, or the failure with its retry button. */
export function later(signal, fn, lines) {
	const box = h("div", { "aria-busy": "true" });
	async function run() {
		box.setAttribute("aria-busy", "true");
		if (box.childElementCount === 0 || box.querySelector(":scope > .failure"))
			box.replaceChildren(loading(lines));
		try {
			const content = await fn();
			if (!signal?.aborted)
				box.replaceChildren(...[content].flat().filter(Boolean));
			/* In a dialog the first control gets the focus, unless the reader has moved it. */
			if (document.activeElement?.matches("dialog h2"))
				box.querySelector("[data-first]")?.focus();
		} catch (err) {
			if (!signal?.aborted)
				box.replaceChildren(failure(err, run));
		}
		box.removeAttribute("aria-busy");
	}
	box.refresh = run;
	run();
	return box;
}

/* A state in words with a mark whose shape, not only colour, tells it. */
const marks = { good: "●", warn: "◐", bad: "▲", off: "○" };
export function badge(kind, text, title) {
	return h("span", { class: `badge ${kind}`, title },
		h("span", { "aria-hidden": "true" }, marks[kind]), " ", text);
}

async function copyText(text) {
	try {
		await navigator.clipboard.writeText(text);
		return true;
	} catch {
		/* plain http: no clipboard there; the old way */
		const area = h("textarea", { class: "sr", "aria-hidden": "true" });
		const host = document.querySelector("dialog[open]") ?? document.body;
		const focused = document.activeElement;
		area.value = text;
		host.append(area);
		area.select();
		const done = document.execCommand("copy");
		area.remove();
		focused?.focus();
		return done;
	}
}

export function copyButton(text, { label = "Copy", what = "", oncopy } = {}) {
	const button = h("button", { type: "button", class: "copy", onclick: async () => {
		const done = await copyText(typeof text === "function" ? text() : text);
		button.textContent = done ? "Copied ✓" : "Select and copy by hand";
		say(done ? `Copied${what && ` ${what}`}.` : "Copying is not allowed here.");
		if (done)
			oncopy?.();
		setTimeout(() => { button.textContent = label; }, 2500);
	} }, label);
	if (what)
		button.setAttribute("aria-label", `${label} ${what}`);
	return button;
}

/*
 * A modal dialog, opened at once.  <dialog> traps the focus and closes on Escape; the focus goes
 * back to where it was.  build(close) returns the content; may(): false keeps it open; signal closes it.
 */
export function dialog(title, build, { onclose, may, wide, signal } = {}) {
	const before = document.activeElement;
	const id = uid("dlg");
	const heading = h("h2", { id, tabindex: "-1" }, title);
	const shut = h("button", { type: "button", class: "plain", "aria-label": "Close" }, "✕");
	const el = h("dialog", { "aria-labelledby": id, class: wide ? "wide" : null });
	let result;
	const close = (value) => {
		result = value;
		el.close();
	};

	shut.addEventListener("click", () => { if (!may || may()) close(); });
	el.append(h("header", {}, heading, shut), h("div", { class: "body" }, build(close)));
	el.addEventListener("cancel", (event) => { if (may && !may()) event.preventDefault(); });
	el.addEventListener("close", () => {
		el.remove();
		if (before?.isConnected)
			before.focus({ preventScroll: true });
		else
			document.querySelector("main")?.focus({ preventScroll: true });
		onclose?.(result);
	});
	signal?.addEventListener("abort", () => close());
	document.body.append(el);
	el.showModal();
	(el.querySelector("[data-first]") ?? heading).focus();
	return { el, close };
}

/* Asks; action(reason) runs before it closes, its error is shown.  Resolves to what action gave,
 * or to null. */
export function confirm(title, text, { yes, danger = true, reason, action }) {
	return new Promise((resolve) => {
		dialog(title, (close) => {
			const why = reason && h("input", { maxlength: "120", id: uid("why"),
				placeholder: "optional" });
			const status = h("div");
			const go = h("button", { type: "submit", class: danger ? "danger" : "primary" }, yes);
			return h("form", { onsubmit: async (event) => {
				event.preventDefault();
				go.disabled = true;
				status.replaceChildren(h("p", { role: "status" }, "Working…"));
				try {
					close(await action(why ? why.value.trim() : "") ?? {});
				} catch (err) {
					status.replaceChildren(failure(err));
					go.disabled = false;
				}
			} },
			h("p", {}, text),
			why && h("label", { for: why.id }, reason), why,
			status,
			h("div", { class: "actions" }, go,
				h("button", { type: "button", "data-first": true, onclick: () => close(null) },
					"Cancel")));
		}, { onclose: (value) => resolve(value ?? null) });
	});
}

/* A labelled control.  hint stands below; the server's objection to `name` is put there, too. */
export function field(label, control, { hint, name } = {}) {
	control.id ||= uid("in");
	if (name)
		control.name = name;
	const about = h("p", { class: "hint", id: `${control.id}-hint` }, hint ?? "");
	const wrong = h("p", { class: "wrong", id: `${control.id}-wrong` });
	control.setAttribute("aria-describedby", `${about.id} ${wrong.id}`);
	const el = control.type === "checkbox"
		? h("div", { class: "field check" }, control, h("label", { for: control.id }, label),
			hint && about, wrong)
		: h("div", { class: "field" }, h("label", { for: control.id }, label), control,
			control.proposals, hint && about, wrong);
	el.control = control;
	el.object = (text) => {
		wrong.textContent = text;
		control.toggleAttribute("aria-invalid", text !== "");
	};
	control.addEventListener("input", () => el.object(""));
	return el;
}

export function select(options, value, props = {}) {
	const el = h("select", props, options.map(([v, text]) => h("option", { value: v }, text)));
	if (value !== undefined && value !== null)
		el.value = value;
	return el;
}

/* The focus cannot go into what is folded away. */
function reveal(control) {
	for (let el = control.closest("details"); el; el = el.parentElement.closest("details"))
		el.open = true;
	control.focus();
}

/*
 * A form whose submit is an async function.  content holds what field() made, at any depth; an
 * error that names one of them is shown beside it.
 */
export function form({ fields: content, submit, label, cancel }) {
	const find = (el) => (el.object ? [el] : [...el.children].flatMap(find));
	const status = h("div");
	const go = h("button", { type: "submit", class: "primary" }, label);
	const el = h("form", { novalidate: true, onsubmit: async (event) => {
		const fields = content.flatMap(find); /* now: a choice may have brought others */
		event.preventDefault();
		const bad = fields.filter((f) => !f.control.validity.valid && !f.control.disabled);
		fields.forEach((f) => f.object(bad.includes(f) ? f.control.validationMessage : ""));
		if (bad.length > 0) {
			reveal(bad[0].control);
			return;
		}
		go.disabled = true;
		status.replaceChildren(h("p", { role: "status" }, "Working…"));
		try {
			await submit();
			status.replaceChildren();
		} catch (err) {
			const at = err.field && fields.find((f) => f.control.name === err.field);
			status.replaceChildren(failure(err));
			if (at) {
				at.object(err.message);
				reveal(at.control);
			}
		}
		go.disabled = false;
	} }, content, status,
	h("div", { class: "actions" }, go,
		cancel && h("button", { type: "button", onclick: () => cancel() }, "Cancel")));
	return el;
}

/* Name and value pairs; those without a value are left out. */
export function facts(pairs) {
	return h("dl", { class: "facts" }, pairs.filter(([, v]) => v !== null && v !== undefined &&
		v !== "").map(([k, v]) => h("div", {}, h("dt", {}, k), h("dd", {}, v))));
}
