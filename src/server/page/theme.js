// Runs before the first paint, so that a chosen dark page never flashes white. The choice is kept by settings.js.
try {
  document.documentElement.dataset.theme = JSON.parse(localStorage.getItem("fathom.settings"))?.theme ?? "system";
} catch {
  document.documentElement.dataset.theme = "system";
}
