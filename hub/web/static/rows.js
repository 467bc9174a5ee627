// Lists by keyboard. The keys stand in the markup (data-key), on buttons that are pressed for them; here is what these
// buttons do with the row that has the focus.
(() => {
  const rows = () => Array.from(document.querySelectorAll("[data-rows] [data-row]"));
  let last = null; // a button that is pressed takes the focus along: the row it was in stays the one that is meant

  const handle = (row) => row.querySelector("input[type=checkbox]") || row.querySelector("a, button");
  const here = () => (last && last.isConnected ? last : null);

  document.addEventListener("focusin", (event) => {
    const row = event.target.closest("[data-rows] [data-row]");
    if (row) last = row;
  });

  const go = (step) => {
    const list = rows();
    if (!list.length) return;
    const row = list[Math.max(0, Math.min(list.indexOf(here()) + step, list.length - 1))];
    const to = handle(row);
    if (to) to.focus();
    row.scrollIntoView({ block: "nearest" });
  };

  document.addEventListener("click", (event) => {
    const on = (what) => event.target.closest(what);
    if (on("[data-row-step]")) go(Number(on("[data-row-step]").dataset.rowStep));
    else if (on("[data-row-choose]") && here()) {
      const box = here().querySelector("input[type=checkbox]");
      if (box) box.click();
    } else if (on("[data-row-do]") && here()) {
      const act = here().querySelector(on("[data-row-do]").dataset.rowDo);
      if (act) act.click();
    }
  });

  // Enter in a field of a row means the row; on the boxes the arrows lead from row to row, too.
  document.addEventListener("keydown", (event) => {
    const row = event.target.closest("[data-rows] [data-row]");
    if (!row || !event.target.matches("input") || event.ctrlKey || event.metaKey || event.altKey) return;
    const step = event.target.matches("[type=checkbox]") && { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const act = event.key === "Enter" && row.querySelector("[data-row-enter]");
    if (!step && !act) return;
    event.preventDefault();
    if (act) act.click();
    else go(step);
  });
})();
