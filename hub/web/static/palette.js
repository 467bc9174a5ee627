// The palette (Ctrl K, or the button for it) and the shortcuts of single keys, which elements name in data-key.
(() => {
  const palette = document.getElementById("palette");
  const help = document.getElementById("keys-help");
  const text = document.getElementById("palette-text");
  const store = {
    read: (key) => {
      try {
        return JSON.parse(localStorage.getItem(key));
      } catch {
        return null;
      }
    },
    write: (key, value) => localStorage.setItem(key, JSON.stringify(value)),
  };

  // ------------------------------------------------------------ the palette

  const recentKey = `tallyhub-recent:${palette.dataset.remember}`;
  const part = (id) => document.getElementById(id);
  const hits = () => [...part("palette-found").querySelectorAll("[role=option]")];
  const chosen = () => hits().find((hit) => hit.getAttribute("aria-selected") === "true");

  const choose = (hit) => {
    for (const each of hits()) each.setAttribute("aria-selected", each === hit ? "true" : "false");
    if (hit) {
      text.setAttribute("aria-activedescendant", hit.id);
      hit.scrollIntoView({ block: "nearest" });
    } else text.removeAttribute("aria-activedescendant");
  };

  const showRecent = () => {
    const recent = store.read(recentKey) || [];
    if (!recent.length) return;
    const group = document.createElement("div");
    group.setAttribute("role", "group");
    group.setAttribute("aria-label", palette.dataset.recent);
    const name = document.createElement("div");
    name.className = "palette-group";
    name.textContent = palette.dataset.recent;
    group.append(name);
    recent.forEach(([address, label, more], index) => {
      const hit = document.createElement("a");
      hit.className = "palette-hit";
      hit.setAttribute("role", "option");
      hit.setAttribute("aria-selected", "false");
      hit.id = `recent-${index}`;
      hit.tabIndex = -1;
      hit.href = address;
      for (const [kind, said] of [["palette-name", label], ["palette-more", more]]) {
        const span = document.createElement("span");
        span.className = kind;
        span.textContent = said;
        hit.append(span);
      }
      group.append(hit);
    });
    part("palette-found").prepend(group);
  };

  let asked = null; // what is on its way: aborted by what is typed next
  let wanted = false; // Enter was pressed before the answer came
  const ask = async () => {
    if (asked) asked.abort();
    const mine = (asked = new AbortController());
    const typed = text.value.trim();
    let answer;
    try {
      const got = await fetch(`${palette.dataset.search}?q=${encodeURIComponent(typed)}`, {
        headers: { "HX-Request": "true" },
        signal: mine.signal,
      });
      const elsewhere = got.headers.get("HX-Redirect"); // the session has ended
      if (elsewhere) return location.assign(elsewhere);
      if (!got.ok) throw new Error(got.status);
      answer = new DOMParser().parseFromString(await got.text(), "text/html");
    } catch (error) {
      if (error.name === "AbortError") return;
      part("palette-said").textContent = palette.dataset.away;
      wanted = false;
      return;
    } finally {
      if (asked === mine) asked = null;
    }
    for (const id of ["palette-found", "palette-said"]) part(id).replaceChildren(...answer.getElementById(id).childNodes);
    if (!typed) showRecent();
    choose(hits()[0]);
    if (wanted && chosen()) open(chosen());
    wanted = false;
  };

  const open = (hit) => {
    if (hit.dataset.press) {
      palette.close();
      const control = document.querySelector(hit.dataset.press);
      if (control) control.click();
      return;
    }
    const address = hit.getAttribute("href");
    const said = [...hit.querySelectorAll(".palette-name, .palette-more")].map((each) => each.textContent);
    const others = (store.read(recentKey) || []).filter(([each]) => each !== address);
    store.write(recentKey, [[address, said[0], said[1] || ""], ...others].slice(0, 5));
    location.assign(address);
  };

  const summon = () => {
    if (palette.open) return;
    if (help.open) help.close();
    text.value = "";
    palette.showModal();
    text.focus();
    ask();
  };

  let soon = 0;
  text.addEventListener("input", () => {
    clearTimeout(soon);
    wanted = false;
    soon = setTimeout(() => {
      soon = 0;
      ask();
    }, 80);
  });
  text.addEventListener("keydown", (event) => {
    const all = hits();
    const at = all.indexOf(chosen());
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, PageDown: at + 6, PageUp: at - 6 }[event.key];
    if (to !== undefined && all.length) {
      event.preventDefault();
      const far = event.key.startsWith("Page");
      choose(all[far ? Math.min(Math.max(to, 0), all.length - 1) : (to + all.length) % all.length]);
    } else if (event.key === "Enter" && !event.isComposing) {
      event.preventDefault();
      if (soon) {
        clearTimeout(soon);
        soon = 0;
        wanted = true;
        ask();
      } else if (asked) wanted = true;
      else if (chosen()) open(chosen());
    }
  });
  palette.addEventListener("click", (event) => {
    if (event.target === palette) palette.close(); // beside it
    const hit = event.target.closest("[role=option]");
    if (!hit || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    open(hit);
  });
  help.addEventListener("click", (event) => {
    if (event.target === help) help.close();
  });

  // ------------------------------------------------------------ shortcuts

  const isOff = () => localStorage.getItem("tallyhub-keys") === "off";
  const keys = () => [...document.querySelectorAll("[data-key]")].filter((each) => !each.closest("dialog:not([open])"));

  const listKeys = () => {
    const places = { go: help.querySelector("[data-keys-go]"), here: help.querySelector("[data-keys-here]") };
    for (const place of Object.values(places)) place.replaceChildren();
    const known = new Set();
    for (const each of keys()) {
      if (!each.dataset.keyHelp || known.has(each.dataset.key)) continue;
      known.add(each.dataset.key);
      const line = document.createElement("div");
      const name = document.createElement("dt");
      const how = document.createElement("dd");
      name.textContent = each.dataset.keyHelp;
      for (const key of each.dataset.key.split(" ")) {
        const cap = document.createElement("kbd");
        cap.textContent = key;
        how.append(cap, " ");
      }
      line.append(name, how);
      places[each.dataset.key.startsWith("g ") ? "go" : "here"].append(line);
    }
    for (const place of Object.values(places)) place.closest("section").hidden = !place.childElementCount;
    help.querySelector("[data-keys-on]").checked = !isOff();
  };
  help.querySelector("[data-keys-on]").addEventListener("change", (event) => {
    if (event.target.checked) localStorage.removeItem("tallyhub-keys");
    else localStorage.setItem("tallyhub-keys", "off");
  });

  document.addEventListener("click", (event) => {
    if (event.target.closest("[data-palette]")) summon();
    if (event.target.closest("[data-keys]")) {
      listKeys();
      if (!help.open) help.showModal();
    }
    // Whoever signs out leaves nothing of what they looked at behind.
    if (event.target.closest("[data-forget]")) localStorage.removeItem(recentKey);
  });

  let before = "";
  let late = 0;
  document.addEventListener("keydown", (event) => {
    if ((event.ctrlKey || event.metaKey) && !event.altKey && !event.shiftKey && event.key.toLowerCase() === "k") {
      event.preventDefault();
      if (palette.open) palette.close();
      else summon();
      return;
    }
    const typing = event.target.closest("input:not([type=checkbox], [type=radio]), textarea, select, [contenteditable]");
    if (typing || event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || isOff()) return;
    if (document.querySelector("dialog[open]") || event.key.length !== 1) return;
    const pressed = before ? `${before} ${event.key}` : event.key;
    clearTimeout(late);
    before = "";
    const named = keys();
    const meant = named.find((each) => each.dataset.key === pressed && !each.disabled);
    if (meant) {
      event.preventDefault();
      if (meant.matches("input:not([type=checkbox], [type=radio]), textarea, select")) {
        meant.focus();
        if (meant.select) meant.select();
      } else meant.click();
    } else if (named.some((each) => each.dataset.key.startsWith(`${pressed} `))) {
      before = pressed;
      late = setTimeout(() => (before = ""), 1500);
    } else if (event.key === "/") {
      event.preventDefault();
      summon();
    }
  });
})();
