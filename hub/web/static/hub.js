// What the pages need beyond htmx: light or dark, messages of failed requests, parts that draw themselves anew.
(() => {
  const themes = document.querySelector("[data-theme-choice]");
  if (themes) {
    const kept = localStorage.getItem("tallyhub-theme") || "";
    for (const each of themes.elements) each.checked = each.value === kept;
    themes.addEventListener("change", (event) => {
      if (event.target.value) localStorage.setItem("tallyhub-theme", event.target.value);
      else localStorage.removeItem("tallyhub-theme");
      document.dispatchEvent(new Event("tallyhub:theme"));
    });
  }

  document.addEventListener("click", (event) => {
    const dismissed = event.target.closest("[data-dismiss]");
    if (dismissed) dismissed.closest(".alert").remove();
    const all = event.target.closest("[data-check-all]");
    if (all) {
      for (const box of all.closest("form").querySelectorAll("input[type=checkbox][name]")) box.checked = all.checked;
    }
  });

  // A menu that opens without a script closes with one: by Escape, by a press beside it, by what was chosen, and once
  // the keyboard has left it.
  const openMenus = () => document.querySelectorAll("details[data-menu][open]");
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    for (const menu of openMenus()) {
      menu.open = false;
      if (menu.contains(document.activeElement)) menu.querySelector("summary").focus();
    }
  });
  document.addEventListener("click", (event) => {
    for (const menu of openMenus()) {
      if (!menu.contains(event.target) || event.target.closest("a, button")) menu.open = false;
    }
  });
  document.addEventListener("focusin", (event) => {
    for (const menu of openMenus()) if (!menu.contains(event.target)) menu.open = false;
  });

  // A button pressed twice is one wish.
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.method !== "post" || form.hasAttribute("hx-post") || form.matches("[data-scan], [data-download]")) return;
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

  const messages = document.getElementById("messages");
  const tell = (sentence) => {
    if (!messages) return;
    const message = document.createElement("div");
    message.className = "alert alert-danger";
    message.setAttribute("role", "alert");
    message.textContent = sentence;
    messages.replaceChildren(message);
  };

  // ------------------------------------------------------------ what draws itself anew (m.live)

  const asker = (event) => event.detail.ctx && event.detail.ctx.sourceElement;
  const isLive = (element) => Boolean(element && element.hasAttribute("data-live"));
  const away = document.getElementById("away");
  let seen = new Date(); // what is on the page was true then
  const isAway = (yes) => {
    if (!away) return;
    if (yes && away.hidden) {
      const since = away.querySelector("[data-away-since]");
      since.textContent = seen.toLocaleTimeString(document.documentElement.lang);
      since.dateTime = seen.toISOString();
    }
    if (!yes) seen = new Date();
    away.hidden = !yes;
  };
  const isBusy = (part) => {
    // Text that is being marked, and rows that are ticked where rows have no name of their own, stay as they are.
    const marked = document.getSelection();
    if (marked && !marked.isCollapsed && part.contains(marked.anchorNode)) return true;
    return [...part.querySelectorAll("tr:not([id]) input[type=checkbox]")].some((box) => box.checked !== box.defaultChecked);
  };
  document.addEventListener("htmx:before:request", (event) => {
    const part = asker(event);
    if (isLive(part) && (document.hidden || part.dataset.streamed || isBusy(part))) event.preventDefault();
  });
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) return;
    for (const part of document.querySelectorAll("[data-live]")) part.dispatchEvent(new Event("every"));
  });
  // What a person has opened, typed or ticked is theirs, whatever the hub would draw there.
  htmx.registerExtension("tallyhub", {
    htmx_before_morph_attr: (element, { attrName: name }) => {
      const isOpen = element.matches(".show, .collapse, .collapsing, [data-bs-toggle]");
      const isTheirs =
        (name === "open" && element.matches("details, dialog")) ||
        (name === "value" && element.matches("input") && element.value !== element.defaultValue) ||
        (isOpen && ["class", "style", "aria-expanded", "data-popper-placement"].includes(name));
      return !isTheirs;
    },
  });
  document.addEventListener("htmx:after:swap", (event) => {
    if (isLive(asker(event))) isAway(false);
  });

  // A form that comes back is gone on with where something is wrong with it, since the button that sent it is gone. What
  // it has preserved, secrets as they were typed, learns here that it is wrong.
  const goOn = () => {
    for (const field of document.querySelectorAll("#content [hx-preserve]")) {
      const said = document.getElementById(`${field.id}-wrong`);
      field.classList.toggle("is-invalid", Boolean(said));
      field.setAttribute("aria-describedby", said ? `${field.id}-hint ${said.id}` : `${field.id}-hint`);
      if (said) field.setAttribute("aria-invalid", "true");
      else field.removeAttribute("aria-invalid");
    }
    const wrong = document.querySelector("#content [aria-invalid=true]");
    if (wrong && document.activeElement === document.body) wrong.focus();
  };
  goOn();
  document.addEventListener("htmx:after:swap", (event) => {
    if (!isLive(asker(event))) goOn();
  });

  document.addEventListener("htmx:response:error", (event) => {
    const answer = event.detail.ctx && event.detail.ctx.response;
    if (!answer || answer.status === 422) return;
    if (isLive(asker(event))) return isAway(true);
    const plain = (answer.headers.get("Content-Type") || "").startsWith("text/plain");
    tell(plain && event.detail.ctx.text ? event.detail.ctx.text : messages && messages.dataset.failed);
  });
  document.addEventListener("htmx:error", (event) => {
    if (isLive(asker(event))) isAway(true);
    else if (messages) tell(messages.dataset.unreachable);
  });

  // The filters of a list, folded in, close again: by Escape, or by a click beside them.
  document.addEventListener("click", (event) => {
    const open = document.querySelector(".narrow-more[open]");
    if (open && !open.contains(event.target)) open.open = false;
  });
  document.addEventListener("keydown", (event) => {
    const open = document.querySelector(".narrow-more[open]");
    if (event.key !== "Escape" || !open || document.querySelector("dialog[open]")) return;
    open.open = false;
    open.querySelector("summary").focus();
  });

  // Long work rings here as it goes on, and the part that shows it is asked for then. Where no line is free, or it
  // breaks, the part goes on asking by itself.
  const follow = (part) => {
    const line = new EventSource(part.dataset.stream);
    line.onopen = () => (part.dataset.streamed = "yes");
    line.onmessage = () => {
      delete part.dataset.streamed;
      part.dispatchEvent(new Event("every"));
      if (line.readyState === EventSource.OPEN) part.dataset.streamed = "yes";
    };
    line.addEventListener("over", () => line.close());
    line.onerror = () => delete part.dataset.streamed;
    document.addEventListener("visibilitychange", function hide() {
      if (!document.hidden) return;
      line.close();
      delete part.dataset.streamed;
      document.removeEventListener("visibilitychange", hide);
    });
  };
  for (const part of document.querySelectorAll("[data-stream]")) follow(part);
})();
