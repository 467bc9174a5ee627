// The grid of orders: choosing rows by mouse and keys, what is done to the chosen ones, and narrowing down as one types.
(() => {
  const grid = () => document.getElementById("orders");
  const bar = document.getElementById("bulk-bar");
  if (!grid() || !bar) return;

  const chosen = new Set(); // ids of orders on this page
  let isAll = false; // all that fit, not only what is on this page
  let last = null; // the id that was ticked last: where a range begins
  const rows = () => [...grid().querySelectorAll("tr[data-order]")];
  const box = (row) => row.querySelector("[data-tick]");
  const newId = () => {
    const parts = crypto.getRandomValues(new Uint8Array(16));
    parts[6] = (parts[6] & 0x0f) | 0x40;
    parts[8] = (parts[8] & 0x3f) | 0x80;
    const hex = Array.from(parts, (each) => each.toString(16).padStart(2, "0")).join("");
    return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
  };

  // ------------------------------------------------------------ choosing rows

  const show = () => {
    const all = rows();
    for (const row of all) {
      box(row).checked = chosen.has(row.dataset.order);
      row.classList.toggle("is-chosen", chosen.has(row.dataset.order));
    }
    const head = grid().querySelector("[data-tick-all]");
    if (head) {
      head.checked = all.length > 0 && chosen.size === all.length;
      head.indeterminate = chosen.size > 0 && chosen.size < all.length;
    }
    const fits = Number(grid().querySelector("[data-fits]").dataset.fits);
    bar.hidden = chosen.size === 0;
    const count = bar.querySelector("[data-chosen-count]");
    const offer = bar.querySelector("[data-all-that-fit]");
    count.textContent = isAll ? offer.textContent : chosen.size === 1 ? bar.dataset.toldOne : bar.dataset.toldMany.replace("#", chosen.size);
    offer.hidden = isAll || chosen.size < all.length || fits <= all.length;
    for (const each of bar.querySelectorAll("[data-few]")) each.disabled = isAll;
    // Another choice is another wish: the same form sent twice for the same orders is one.
    for (const each of document.querySelectorAll("input[name=once]")) each.value = newId();
  };

  const tick = (row, yes) => {
    chosen[yes ? "add" : "delete"](row.dataset.order);
    isAll = false;
  };

  const tickTo = (row, yes) => {
    const all = rows();
    const from = all.findIndex((each) => each.dataset.order === last);
    const to = all.indexOf(row);
    if (from < 0) tick(row, yes);
    else for (const each of all.slice(Math.min(from, to), Math.max(from, to) + 1)) tick(each, yes);
  };

  const none = () => {
    chosen.clear();
    isAll = false;
    last = null;
  };

  // ------------------------------------------------------------ the row at hand

  let current = null; // its id: the row itself is drawn anew again and again
  const here = () => document.activeElement.closest("tr[data-order]") || (current && document.getElementById(`order-${current}`));
  const step = (by) => {
    const all = rows();
    const at = all.indexOf(here());
    const next = at < 0 ? all[by > 0 ? 0 : all.length - 1] : all[at + by];
    if (!next) return;
    current = next.dataset.order;
    next.querySelector(".row-link").focus();
    next.scrollIntoView({ block: "nearest" });
  };

  document.addEventListener("focusin", (event) => {
    const row = event.target.closest("tr[data-order]");
    if (row) current = row.dataset.order;
  });

  document.addEventListener("keydown", (event) => {
    const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!by || event.ctrlKey || event.metaKey || event.altKey || !event.target.closest("tr[data-order]")) return;
    event.preventDefault();
    step(by);
  });

  // ------------------------------------------------------------ clicks

  document.addEventListener("click", (event) => {
    const on = (what) => event.target.closest(what);
    if (on("[data-tick]")) {
      const row = on("tr[data-order]");
      const yes = event.target.checked;
      if (event.shiftKey) tickTo(row, yes);
      else tick(row, yes);
      last = row.dataset.order;
      show();
    } else if (on("[data-tick-all]")) {
      const yes = event.target.checked;
      for (const row of rows()) tick(row, yes);
      show();
    } else if (on("[data-all-that-fit]")) {
      isAll = true;
      show();
      bar.querySelector("[data-none]").focus();
    } else if (on("[data-none]")) {
      none();
      show();
    } else if (on("[data-step]")) step(Number(on("[data-step]").dataset.step));
    else if (on("[data-toggle-row], [data-toggle-to]") && here()) {
      const row = here();
      if (on("[data-toggle-to]")) tickTo(row, true);
      else tick(row, !chosen.has(row.dataset.order));
      last = row.dataset.order;
      show();
    } else if (on("[data-opens]")) {
      const dialog = document.getElementById(on("[data-opens]").dataset.opens);
      const forAll = on("[data-opens]").hasAttribute("data-for-all");
      dialog.toggleAttribute("data-for-all", forAll);
      for (const each of dialog.querySelectorAll("[data-which]")) each.hidden = (each.dataset.which === "all") !== (forAll || isAll);
      for (const each of dialog.querySelectorAll("button:disabled")) each.disabled = false;
      dialog.showModal();
      const first = dialog.querySelector("select, input:not([type=hidden])");
      if (first) first.focus();
    } else if (on("[data-closes]")) on("dialog").close();
    else if (on("[data-up]")) {
      const line = on("li");
      if (line.previousElementSibling) line.previousElementSibling.before(line);
      on("[data-up]").focus();
    }
    if (event.target.matches("dialog.ask")) event.target.close(); // beside it
  });

  // What a form is about goes along as it is at this moment.
  document.addEventListener("submit", (event) => {
    const form = event.target;
    const place = form.querySelector("[data-chosen]");
    if (place) {
      const dialog = form.closest("dialog");
      const forAll = isAll || (dialog && dialog.hasAttribute("data-for-all"));
      if (form.elements.all) form.elements.all.value = forAll ? "yes" : "";
      place.replaceChildren(
        ...(forAll ? [] : [...chosen]).map((id) => {
          const input = document.createElement("input");
          Object.assign(input, { type: "hidden", name: "order", value: id });
          return input;
        }),
      );
    }
    if (form.matches("[data-download]")) form.closest("dialog").close();
  });

  // ------------------------------------------------------------ drawn anew

  let address = grid().dataset.address;
  document.addEventListener("htmx:after:swap", () => {
    const now = grid();
    if (now.dataset.address !== address) {
      address = now.dataset.address;
      none();
      history.replaceState(history.state, "", address);
      for (const each of document.querySelectorAll("input[name=query]")) each.value = now.dataset.query;
      for (const each of document.querySelectorAll("input[name=back]")) each.value = address;
    }
    // What is not shown any more is not chosen any more.
    const there = new Set(rows().map((row) => row.dataset.order));
    for (const id of [...chosen]) if (!there.has(id)) chosen.delete(id);
    const said = document.getElementById("orders-said");
    const count = now.querySelector("[data-count]").textContent;
    if (said.textContent !== count) said.textContent = count;
    show();
  });
  window.addEventListener("pageshow", () => {
    none();
    show();
  });
})();
