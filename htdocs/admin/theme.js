/* Runs before the first paint, so that a chosen theme does not flash in the other colours. */
try {
	const theme = localStorage.getItem("sluice-theme");
	if (theme === "light" || theme === "dark")
		document.documentElement.dataset.theme = theme;
} catch {
	/* no storage allowed: the system's theme it is */
}
