/*
 * api.js - calls of the management API.  It lies beside the page's folder, at {mount}/manage/,
 * found from this module's own address, so that the page works below any mount.
 */

const TIMEOUT_MS = 30000;
export const manageURL = new URL("../manage/", import.meta.url);
export const gatewayURL = new URL("../v1", import.meta.url).href;
export const mountURL = new URL("..", import.meta.url).href.replace(/\/$/, "");

export class ApiError extends Error {
	constructor(status, message, { code = "", field, requestId = "", retryAfter, initialised } = {}) {
		super(message);
		Object.assign(this, { status, code, field, requestId, retryAfter, initialised });
	}
}

let csrf = "";
let signedOut = () => {};

/* fn is called when a call finds that nobody is signed in (any more). */
export function onSignedOut(fn) {
	signedOut = fn;
}

function query(params) {
	const q = new URLSearchParams();
	for (const [k, v] of Object.entries(params ?? {}))
		if (v !== undefined && v !== null && v !== "")
			q.set(k, v);
	return q.size > 0 ? `?${q}` : "";
}

function toError(res, body) {
	const e = body?.error ?? {};
	const fallback = `The web server answered ${res.status} without saying why. Is sluice-manage running?`;
	return new ApiError(res.status, e.message || fallback, {
		code: e.code,
		field: e.field,
		requestId: e.request_id || res.headers.get("X-Request-Id") || "",
		retryAfter: e.retry_after ?? body?.retry_after ?? (Number(res.headers.get("Retry-After")) ||
			undefined),
		initialised: body?.initialised
	});
}

async function send(method, path, { params, body, signal, etag } = {}) {
	const headers = { Accept: "application/json" };
	const timeout = AbortSignal.timeout(TIMEOUT_MS);
	let res;

	if (body !== undefined)
		headers["Content-Type"] = "application/json";
	if (method !== "GET" && csrf)
		headers["X-CSRF-Token"] = csrf;
	if (etag)
		headers["If-Match"] = etag;
	try {
		res = await fetch(new URL(path + query(params), manageURL), {
			method, headers, credentials: "same-origin", cache: "no-store",
			body: body === undefined ? undefined : JSON.stringify(body),
			signal: signal ? AbortSignal.any([signal, timeout]) : timeout
		});
		const text = await res.text();
		let json = null;
		try {
			json = text === "" ? {} : JSON.parse(text);
		} catch {
			/* an error page of the web server */
		}
		if (!res.ok || json === null)
			throw toError(res, json);
		return { json, etag: res.headers.get("ETag") };
	} catch (err) {
		if (err instanceof ApiError)
			throw err;
		if (timeout.aborted)
			throw new ApiError(0, `No answer within ${TIMEOUT_MS / 1000} seconds.`);
		if (signal?.aborted)
			throw new ApiError(0, "Cancelled.");
		throw new ApiError(0, "The gateway cannot be reached. Is the network up, and the web server?");
	}
}

async function call(method, path, options = {}) {
	try {
		return await send(method, path, options);
	} catch (err) {
		/* Another tab may have signed in meanwhile: its session has another CSRF token. */
		if (err.status === 403 && /csrf/i.test(err.code + err.message) && !options.again) {
			const old = csrf;
			await session();
			if (csrf !== old)
				return call(method, path, { ...options, again: true });
		}
		if (err.status === 401)
			signedOut(err);
		throw err;
	}
}

const part = encodeURIComponent;

export const api = {
	get: async (path, params, signal) => (await call("GET", path, { params, signal })).json,
	one: async (kind, id, signal) => {
		const { json, etag } = await call("GET", `${kind}/${part(id)}`, { signal });
		return Object.assign(json, { etag });
	},
	create: async (kind, body) => (await call("POST", kind, { body })).json,
	change: async (kind, id, body, etag) =>
		(await call("PATCH", `${kind}/${part(id)}`, { body, etag })).json,
	remove: async (kind, id) => (await call("DELETE", `${kind}/${part(id)}`)).json,
	act: async (kind, id, verb, body = {}) =>
		(await call("POST", `${kind}/${part(id)}/${verb}`, { body })).json
};

/* ---- the session: these do not report signedOut, they are the way in ---- */

export async function session() {
	const { json } = await send("GET", "session");
	csrf = json.csrf ?? "";
	return json;
}

export async function signIn(credentials) {
	const { json } = await send("POST", "session", { body: credentials });
	csrf = json.csrf ?? "";
	return json;
}

export async function signOut() {
	await send("DELETE", "session");
	csrf = "";
}

export async function setUp(code, password) {
	return (await send("POST", "setup", { body: { code, password } })).json;
}
