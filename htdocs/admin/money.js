/* money.js - decimal strings of US dollars as whole nano-dollars: no binary fraction ever holds money. */

const NANO = 1_000_000_000n;

/* BigInt nano-dollars, or null for what is no amount. */
export function nano(text) {
	const m = /^(-?)(\d+)(?:\.(\d{1,9})\d*)?$/.exec(String(text ?? "").trim());
	if (!m)
		return null;
	const n = BigInt(m[2]) * NANO + BigInt((m[3] ?? "").padEnd(9, "0"));
	return m[1] ? -n : n;
}

export function decimal(n) {
	const a = n < 0n ? -n : n;
	const fraction = String(a % NANO).padStart(9, "0");
	return `${n < 0n ? "-" : ""}${a / NANO}.${fraction}`;
}

/* Rounded for reading: cents from a dollar on, below it two digits that count. */
export function usdNano(n) {
	const a = n < 0n ? -n : n;
	const sign = n < 0n ? "−$" : "$";
	if (a === 0n)
		return "$0.00";
	let places = 2;
	if (a < NANO)
		for (let unit = NANO / 100n; places < 9 && a < unit * 10n; unit /= 10n)
			places++;
	const unit = 10n ** BigInt(9 - places);
	const rounded = (a + unit / 2n) / unit;
	const scale = 10n ** BigInt(places);
	const whole = String(rounded / scale).replace(/\B(?=(\d{3})+$)/g, ",");
	return `${sign}${whole}.${String(rounded % scale).padStart(places, "0")}`;
}

export function usd(text) {
	const n = nano(text);
	return n === null ? "–" : usdNano(n);
}

/* "2.500000000" -> "2.5", for prices a million tokens */
export function plain(text) {
	const n = nano(text);
	return n === null ? "" : decimal(n).replace(/\.?0+$/, "");
}

export function sum(texts) {
	return texts.reduce((total, t) => total + (nano(t) ?? 0n), 0n);
}
