// A scanner types wherever the focus happens to be: what nobody else would take is meant for the field for scans.
// Loaded before the page is read, so that no letter comes too early.
(() => {
  document.addEventListener(
    "keydown",
    (event) => {
      if (event.key.length !== 1 || event.ctrlKey || event.metaKey || event.altKey) return;
      const field = document.querySelector("[data-scan-field]");
      const target = event.target instanceof Element ? event.target : document.documentElement;
      if (!field || target.closest("input, textarea, select, dialog, [contenteditable]")) return;
      if (event.key === " " && target.closest("button, a, summary")) return;
      event.stopPropagation();
      field.focus();
    },
    true,
  );
})();
