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

  // A scanner types wherever the focus happens to be: what nobody else would take is meant for the field for scans,
  // also while the browser has not given it the focus yet.
  document.addEventListener(
    "keydown",
    (event) => {
      const field = document.querySelector("[data-scan-field]");
      const taken = event.target.closest("input, textarea, select, button, a, summary, dialog, [contenteditable]");
      if (!field || taken || event.key.length !== 1 || event.ctrlKey || event.metaKey || event.altKey) return;
      event.stopPropagation();
      field.focus();
    },
    true,
  );

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
    if (form.method !== "post" || form.hasAttribute("hx-post") || form.hasAttribute("data-scan")) return;
    setTimeout(() => {
      for (const button of form.querySelectorAll("button[type=submit], button:not([type])")) button.disabled = true;
    });
  });
  window.addEventListener("pageshow", (event) => {
    if (!event.persisted) return;
    for (const button of document.querySelectorAll("form[method=post] button:disabled")) button.disabled = false;
  });

  // Scanning while packing: a scan is kept here until the hub has answered it, in the order they were made, so that a
  // scanner that is faster than the line, or a line that breaks, loses none. Each has an id: sent twice, it counts once.
  const scanner = document.querySelector("form[data-scan]");
  if (scanner) {
    const key = `tallyhub-scans:${scanner.action}`;
    const field = scanner.elements.code;
    const waiting = JSON.parse(localStorage.getItem(key) || "[]");
    const newId = () => {
      const parts = crypto.getRandomValues(new Uint8Array(16));
      parts[6] = (parts[6] & 0x0f) | 0x40;
      parts[8] = (parts[8] & 0x3f) | 0x80;
      const hex = Array.from(parts, (each) => each.toString(16).padStart(2, "0")).join("");
      return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
    };
    const keep = (isLate) => {
      if (waiting.length) localStorage.setItem(key, JSON.stringify(waiting));
      else localStorage.removeItem(key);
      const told = scanner.querySelector("[data-scan-waiting]");
      told.hidden = !isLate;
      told.querySelector("[data-scan-count]").textContent = waiting.length;
    };
    const show = (text) => {
      const place = document.querySelector(scanner.dataset.scan);
      const answer = new DOMParser().parseFromString(text, "text/html").querySelector(scanner.dataset.scan);
      if (!place || !answer) return false;
      place.replaceWith(document.adoptNode(answer));
      const said = answer.querySelector("[data-sound]");
      const sound = said && document.getElementById(`sound-${said.dataset.sound}`);
      if (sound) {
        sound.currentTime = 0;
        sound.play().catch(() => {});
      }
      return true;
    };
    let busy = false;
    const send = async () => {
      if (busy) return;
      busy = true;
      while (waiting.length) {
        const form = new FormData(scanner);
        form.set("code", waiting[0].code);
        form.set("once", waiting[0].once);
        let answer;
        try {
          answer = await fetch(scanner.action, { method: "POST", body: form, headers: { "HX-Request": "true" } });
        } catch {
          answer = null;
        }
        if (!answer || answer.status >= 500) {
          keep(true);
          setTimeout(send, 2000);
          break;
        }
        const elsewhere = answer.headers.get("HX-Redirect");
        const text = await answer.text();
        waiting.shift();
        keep(false);
        if (elsewhere) {
          localStorage.removeItem(key);
          location.assign(elsewhere);
          return;
        }
        if (!show(text)) {
          location.reload();
          return;
        }
      }
      busy = false;
    };
    scanner.addEventListener("submit", (event) => {
      event.preventDefault();
      event.stopPropagation();
      waiting.push({ code: field.value, once: newId() });
      field.value = "";
      field.focus();
      keep(false);
      send();
    });
    if (waiting.length) send();
  }

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
