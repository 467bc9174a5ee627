// A button that copies the text of another element, and says so.
(() => {
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    const source = document.querySelector(button.dataset.copy);
    const label = button.querySelector("[data-copied]");
    try {
      await navigator.clipboard.writeText(source.textContent);
    } catch {
      // Without https a browser lets no page copy: select it, so that the next keys do.
      getSelection().selectAllChildren(source);
      return;
    }
    label.textContent = label.dataset.copied;
  });
})();
