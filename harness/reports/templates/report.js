"use strict";
// A click on a heading sorts by it, a second click reverses the order. Cells without a value are last in both orders.
document.querySelectorAll("table.sortable").forEach((table) => {
  const row = table.tHead.rows[table.tHead.rows.length - 1];
  const body = table.tBodies[0];
  Array.from(row.cells).forEach((heading, column) => {
    heading.querySelector("button").addEventListener("click", () => {
      const down = heading.getAttribute("aria-sort") === "ascending";
      const key = (line) => line.cells[column].dataset.key;
      const lines = Array.from(body.rows);
      const known = lines.filter((line) => key(line) !== undefined);
      const numbers = known.every((line) => !Number.isNaN(Number(key(line))));
      known.sort((a, b) => (numbers ? Number(key(a)) - Number(key(b)) : key(a).localeCompare(key(b))) * (down ? -1 : 1));
      Array.from(row.cells).forEach((other) => other.setAttribute("aria-sort", "none"));
      heading.setAttribute("aria-sort", down ? "descending" : "ascending");
      body.append(...known, ...lines.filter((line) => key(line) === undefined));
    });
  });
});
// In MLflow's viewer (a sandboxed frame), links to places in the page do nothing by themselves.
document.querySelectorAll("nav a").forEach((link) => {
  link.addEventListener("click", (event) => {
    event.preventDefault();
    document.querySelector(link.getAttribute("href")).scrollIntoView();
  });
});
window.addEventListener("beforeprint", () => {
  document.querySelectorAll("details").forEach((details) => { details.open = true; });
});
