// Before anything is painted: light, dark, or (nothing kept) as the system has it.
try {
  const kept = localStorage.getItem("redkite-theme");
  if (kept === "light" || kept === "dark") document.documentElement.dataset.theme = kept;
} catch { /* a browser that keeps nothing shows what the system has */ }
