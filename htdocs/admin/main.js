/* main.js - signs in, draws the frame, and puts the page of the address into it. */
import { ApiError, onSignedOut, session, signOut } from "./api.js";
import { failure, h, loading, say, svg, toastRegion } from "./dom.js";
import { href, parse } from "./router.js";
import { signInPage } from "./pages/signin.js";

/* name: title, icon; its module pages/name.js is loaded when it is first shown */
const pages = {
	overview: ["Overview", "M3 12h4v8H3zM10 4h4v16h-4zM17 9h4v11h-4z"],
	requests: ["Requests", "M4 5h16v2.5H4zM4 10.8h16v2.5H4zM4 16.5h10v2.5H4z"],
	projects: ["Projects", "M3 5h7l2 3h9v11H3z"],
	tokens: ["Tokens", "M8 7a5 5 0 1 0 4.6 7H15v3h3v-3h3v-4h-8.4A5 5 0 0 0 8 7zm0 3a2 2 0 1 1 0 4 2 2 0 0 1 0-4z"],
	limits: ["Limits", "M12 4a9 9 0 0 0-9 9c0 2.5 1 5 3 7h12c2-2 3-4.5 3-7a9 9 0 0 0-9-9zm-1 11 5-6-3 7z"],
	upstreams: ["Upstreams", "M12 3l6 6h-4v6h-4V9H6zM4 18h16v3H4z"],
	keys: ["Keys", "M6 10V8a6 6 0 0 1 12 0v2h2v11H4V10zm3 0h6V8a3 3 0 0 0-6 0z"],
	routes: ["Routes", "M4 11h6l5-6h5v3h-4l-4 4.5 4 4.5h4v3h-5l-5-6H4z"],
	policies: ["Policies", "M12 2l8 3v7c0 5-3.5 8-8 10-4.5-2-8-5-8-10V5zm-1.5 13 6-6L15 7.500l-4.500 4.500L8.500 10 7 11.500z"],
	prices: ["Prices", "M3 3h9l9 9-9 9-9-9zm4 3a1.5 1.5 0 1 0 .1 0z"],
	audit: ["Audit", "M5 3h11l4 4v14H5zm3 7v2h9v-2zm0 4v2h9v-2z"],
	health: ["Health", "M3 11h4l3-7 4 14 3-7h4v2.5h-3L14 22 10 9l-1.5 4.5H3z"]
};
const groups = [["overview", "requests"], ["projects", "tokens", "limits"],
	["upstreams", "keys", "routes", "policies", "prices"], ["audit", "health"]];

let frame = null;   /* the elements of the signed-in frame, or null */
let current = null; /* { name, watchers, abort } of the page shown */
let who = null;

/* ---- theme ---- */

const themes = ["system", "light", "dark"];
function themeButton() {
	const button = h("button", { type: "button", class: "plain small", onclick: () => {
		const next = themes[(themes.indexOf(now()) + 1) % 3];
		if (next === "system")
			delete document.documentElement.dataset.theme;
		else
			document.documentElement.dataset.theme = next;
		try {
			localStorage.setItem("sluice-theme", next);
		} catch {
			/* not kept then */
		}
		label();
	} });
	const now = () => document.documentElement.dataset.theme ?? "system";
	const label = () => {
		button.textContent = `${{ system: "◑", light: "☀", dark: "☾" }[now()]} ${now()}`;
		button.setAttribute("aria-label", `Colours: ${now()}. Change.`);
	};
	label();
	return button;
}

const logo = () => h("span", { class: "logo" }, h("img", { src: "icon.svg", alt: "", width: "24",
	height: "24" }), "sluice");

/* ---- frame ---- */

function buildFrame() {
	const links = {};
	const main = h("main", { id: "main", tabindex: "-1" });
	const menu = h("button", { type: "button", class: "menu", "aria-expanded": "false",
		"aria-controls": "nav", onclick: () => toggle(!nav.classList.contains("open")) }, "Menu");
	const nav = h("nav", { id: "nav", "aria-label": "Pages" }, groups.map((names) => h("ul", {},
		names.map((name) => {
			const [title, path] = pages[name];
			links[name] = h("a", { href: href(name) },
				svg("svg", { viewBox: "0 0 24 24", width: 16, height: 16, "aria-hidden": "true" },
					svg("path", { d: path, "fill-rule": "evenodd" })), title);
			return h("li", {}, links[name]);
		}))),
	h("div", { class: "me" },
		h("p", { class: "dim" }, "Signed in as ", h("strong", {}, who.actor)),
		h("div", { class: "actions" }, themeButton(), h("button", { type: "button",
			class: "plain small", onclick: leave }, "Sign out")),
		h("p", { class: "dim" }, `sluice ${who.version ?? ""}`)));
	function toggle(open) {
		nav.classList.toggle("open", open);
		menu.setAttribute("aria-expanded", String(open));
	}
	nav.addEventListener("click", (event) => { if (event.target.closest("a")) toggle(false); });
	nav.addEventListener("keydown", (event) => {
		if (event.key === "Escape" && nav.classList.contains("open")) {
			toggle(false);
			menu.focus();
		}
	});
	const skip = h("button", { type: "button", class: "skip", onclick: () => main.focus() },
		"Skip to content");
	document.body.replaceChildren(skip, h("div", { class: "side" },
		h("div", { class: "brand" }, h("a", { href: href("overview"), "aria-label": "sluice, overview" },
			logo()), menu), nav), main, toastRegion());
	return { main, links, toggle };
}

async function leave() {
	try {
		await signOut();
		who = null;
		askWho();
		say("Signed out.");
	} catch (err) {
		say(err.message);
	}
}

/* ---- the page of the address ---- */

function show() {
	if (!frame)
		return;
	const { page: wanted, params } = parse();
	const name = pages[wanted] ? wanted : "overview";

	if (current?.name === name) {
		current.watchers.forEach((fn) => fn(params));
		return;
	}
	const first = current === null;
	current?.abort.abort();
	current = { name, watchers: [], abort: new AbortController() };
	const mine = current;
	frame.toggle(false);
	for (const [n, link] of Object.entries(frame.links))
		if (n === name)
			link.setAttribute("aria-current", "page");
		else
			link.removeAttribute("aria-current");
	document.title = `${pages[name][0]} – sluice`;
	const ctx = { params, signal: mine.abort.signal, watch: (fn) => mine.watchers.push(fn), who,
		get now() { return parse().params; } };
	scrollTo(0, 0);
	frame.main.replaceChildren(loading(6));
	import(`./pages/${name}.js`).then((module) => {
		if (current !== mine)
			return;
		ctx.params = parse().params;
		frame.main.replaceChildren(module[`${name}Page`](ctx));
		if (!first)
			frame.main.querySelector("h1")?.focus({ preventScroll: true });
	}).catch((err) => {
		console.error(err);
		if (current === mine)
			frame.main.replaceChildren(failure(err, () => location.reload()));
	});
}

function tearDown() {
	current?.abort.abort();
	current = null;
	frame = null;
	document.querySelectorAll("dialog").forEach((d) => d.close());
}

/* ---- who is it ---- */

function bare(...content) {
	document.body.replaceChildren(h("main", { class: "bare", id: "main", tabindex: "-1" },
		h("div", { class: "card" }, logo(), content), h("div", { class: "corner" }, themeButton())),
	toastRegion());
}

function enter(session) {
	who = session;
	frame = buildFrame();
	show();
}

/* A session may have ended while the page stood open: ask again, the address stays. */
onSignedOut((err) => {
	if (!frame)
		return;
	tearDown();
	ask(err, "Your session has ended. Sign in again to go on.");
});

function ask(err, note) {
	document.title = "Sign in – sluice";
	bare(signInPage({ initialised: err.initialised !== false, note, enter: async () => {
		try {
			enter(await session());
		} catch (problem) {
			bare(failure(problem, askWho));
		}
	} }));
	document.querySelector("[data-first]")?.focus();
}

async function askWho() {
	tearDown();
	bare(loading(2));
	try {
		enter(await session());
	} catch (err) {
		if (err instanceof ApiError && err.status === 401)
			ask(err);
		else
			bare(failure(err, askWho));
	}
}

addEventListener("hashchange", show);
askWho();
