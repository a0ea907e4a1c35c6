// Before anything is drawn: that there are scripts, and which theme was chosen here last.
"use strict";
document.documentElement.classList.add("scripted");
try {
  const chosen = localStorage.getItem("xortune-theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
} catch { /* a browser that keeps nothing: the system's theme */ }
