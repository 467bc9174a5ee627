// The packing bench from afar: everything but the bench out of sight, large type, and the whole screen if it may be had.
// What was chosen stays for the next order; the whole screen ends with each page, as browsers have it.
(() => {
  const key = "tallyhub-bench";
  const root = document.documentElement;
  const button = document.querySelector("[data-far]");
  if (!button) return;
  const show = () => {
    const isFar = localStorage.getItem(key) === "far";
    root.toggleAttribute("data-bench-far", isFar);
    button.setAttribute("aria-pressed", String(isFar));
  };
  button.addEventListener("click", () => {
    const isFar = !root.hasAttribute("data-bench-far");
    if (isFar) localStorage.setItem(key, "far");
    else localStorage.removeItem(key);
    show();
    if (isFar && root.requestFullscreen) root.requestFullscreen().catch(() => {});
    else if (!isFar && document.fullscreenElement) document.exitFullscreen();
    const field = document.querySelector("[data-scan-field]");
    if (field) field.focus();
  });
  show();
})();
