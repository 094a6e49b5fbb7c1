/* signin.js - the way in: admin password or management token; at first the one-time setup code. */
import { setUp, signIn } from "../api.js";
import { copyButton, failure, field, form, h } from "../dom.js";

export function signInPage({ initialised, note, enter }) {
	const el = h("div", { class: "signin" });
	const show = (what) => {
		el.replaceChildren(what);
		el.querySelector("[data-first]")?.focus();
	};

	function ask() {
		const secret = h("input", { type: "password", required: true, "data-first": true,
			autocomplete: "current-password", spellcheck: "false" });
		const user = h("input", { type: "text", value: "admin", autocomplete: "username",
			class: "sr", tabindex: "-1", "aria-hidden": "true", readonly: true });
		const secretField = field("Admin password", secret);
		const way = (value, text, checked) => h("label", { class: "tick" }, h("input", { type: "radio",
			name: "way", value, checked, onchange: () => {
				secretField.querySelector("label").textContent = text;
				secret.autocomplete = value === "password" ? "current-password" : "off";
			} }), text);
		const ways = h("fieldset", {}, h("legend", {}, "Sign in with"),
			way("password", "Admin password", initialised),
			way("token", "Management token", !initialised));
		if (!initialised)
			secretField.querySelector("label").textContent = "Management token";
		return h("div", {}, h("h1", {}, "Sign in"), note && h("p", { role: "status" }, note),
			form({
				fields: [user, ways, secretField], label: "Sign in",
				submit: async () => {
					const kind = ways.querySelector(":checked").value;
					try {
						await signIn({ [kind]: secret.value });
					} catch (err) {
						if (err.status === 429 && err.retryAfter && !/try again in/i.test(err.message))
							err.message += ` Try again in ${err.retryAfter} s.`;
						secret.select();
						throw err;
					}
					await enter();
				}
			}),
			!initialised && h("p", {}, h("button", { type: "button", class: "link",
				onclick: () => show(begin()) }, "Back to the first set-up")));
	}

	function begin() {
		const code = h("input", { required: true, "data-first": true, autocomplete: "one-time-code",
			spellcheck: "false" });
		const password = h("input", { type: "password", required: true, minlength: "8",
			autocomplete: "new-password" });
		const again = h("input", { type: "password", required: true, autocomplete: "new-password" });
		const fields = [
			field("Setup code", code, { name: "code",
				hint: "It stands in the file setup.code, in the state directory beside the store." }),
			field("New admin password", password, { name: "password", hint: "8 characters or more" }),
			field("The same again", again)];
		again.addEventListener("input", () => again.setCustomValidity(""));
		const check = () => again.setCustomValidity(
			again.value !== "" && again.value !== password.value ? "The two are not the same." : "");
		again.addEventListener("change", check);
		password.addEventListener("change", check);
		return h("div", {}, h("h1", {}, "Welcome"),
			h("p", {}, "This gateway has no admin password yet. Whoever can read its files may set one."),
			form({
				fields, label: "Set password",
				submit: async () => {
					const { management_token: token } = await setUp(code.value.trim(), password.value);
					await signIn({ password: password.value });
					show(token ? made(token) : h("p", {}, "Done."));
					if (!token)
						await enter();
				}
			}),
			h("p", {}, h("button", { type: "button", class: "link", onclick: () => show(ask()) },
				"I have a management token")));
	}

	function made(token) {
		const status = h("div");
		return h("div", {}, h("h1", {}, "Your management token"),
			h("p", {}, "For the command and for scripts. It is shown this once and can do everything; ",
				"keep it like a password."),
			h("div", { class: "secret" }, h("code", { tabindex: "0" }, token),
				copyButton(token, { what: "management token" })),
			status,
			h("div", { class: "actions" }, h("button", { type: "button", class: "primary",
				"data-first": true, onclick: () => enter().catch((err) =>
					status.replaceChildren(failure(err))) }, "Go on to the gateway")));
	}

	show(initialised ? ask() : begin());
	return el;
}
