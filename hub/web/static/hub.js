// What the pages need beyond htmx: the theme switch, messages of failed requests, "/" for searching.
(() => {
  document.addEventListener("click", (event) => {
    const choice = event.target.closest("[data-theme-switch]");
    if (choice) {
      const dark = document.documentElement.dataset.bsTheme !== "dark";
      localStorage.setItem("tallyhub-theme", dark ? "dark" : "light");
      document.documentElement.dataset.bsTheme = dark ? "dark" : "light";
    }
    const dismissed = event.target.closest("[data-dismiss]");
    if (dismissed) dismissed.closest(".alert").remove();
    const all = event.target.closest("[data-check-all]");
    if (all) {
      for (const box of all.closest("form").querySelectorAll("input[type=checkbox][name]")) box.checked = all.checked;
    }
  });

  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input, textarea, select, [contenteditable]");
    if (event.key !== "/" || typing || event.ctrlKey || event.metaKey || event.altKey) return;
    const search = document.querySelector("input[type=search]");
    if (search) {
      event.preventDefault();
      search.focus();
      search.select();
    }
  });

  // In a queue Enter means the row it is pressed in, and the arrows lead from row to row.
  document.addEventListener("keydown", (event) => {
    const row = event.target.closest("[data-rows] [data-row]");
    if (!row || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Enter" && event.target.matches("input")) {
      const match = row.querySelector("button[value^='match:']");
      if (!match) return;
      event.preventDefault();
      match.click();
    }
    const step = { ArrowDown: "nextElementSibling", ArrowUp: "previousElementSibling" }[event.key];
    const next = step && event.target.matches("input[type=checkbox]") && row[step];
    if (next) {
      event.preventDefault();
      next.querySelector("input[type=checkbox]").focus();
    }
  });

  // A button pressed twice is one wish.
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.method !== "post" || form.hasAttribute("hx-post")) return;
    setTimeout(() => {
      for (const button of form.querySelectorAll("button[type=submit], button:not([type])")) button.disabled = true;
    });
  });
  window.addEventListener("pageshow", (event) => {
    if (!event.persisted) return;
    for (const button of document.querySelectorAll("form[method=post] button:disabled")) button.disabled = false;
  });

  const tell = (sentence) => {
    const place = document.getElementById("messages");
    if (!place) return;
    const message = document.createElement("div");
    message.className = "alert alert-danger";
    message.setAttribute("role", "alert");
    message.textContent = sentence;
    place.replaceChildren(message);
  };
  document.addEventListener("htmx:response:error", (event) => {
    const answer = event.detail.ctx && event.detail.ctx.response;
    if (!answer || answer.status === 422) return;
    const plain = (answer.headers.get("Content-Type") || "").startsWith("text/plain");
    tell(plain && event.detail.ctx.text ? event.detail.ctx.text : "The hub could not do this. Try again in a few seconds.");
  });
  document.addEventListener("htmx:error", (event) => {
    const polling = event.detail.ctx && event.detail.ctx.sourceElement && event.detail.ctx.sourceElement.hasAttribute("data-live");
    if (!polling) tell("The hub cannot be reached. Check that it runs, then try again.");
  });
})();
