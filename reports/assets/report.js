"use strict";
(() => {
  const root = document.documentElement;
  const page = document.getElementById("page");
  const off = new Set();
  let shelved = null;

  const all = (selector, within = document) => Array.from(within.querySelectorAll(selector));

  async function inflate(base64) {
    const bytes = Uint8Array.from(atob(base64.trim()), (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).text();
  }

  async function text(id) {
    const block = document.getElementById(id);
    return block.type === "application/gzip" ? inflate(block.textContent) : block.textContent;
  }

  // Theme: remembered where storage is allowed, harmless where it is not.
  function setTheme(name) {
    root.dataset.theme = name;
    const select = document.getElementById("theme");
    if (select) select.value = name;
    try {
      localStorage.setItem("leptonbench-theme", name);
    } catch (error) {
      return;
    }
  }

  function storedTheme() {
    try {
      return localStorage.getItem("leptonbench-theme");
    } catch (error) {
      return null;
    }
  }

  // Sorting: by the exact value, numbers before gaps, rows without numbers last; a third click restores the order.
  function sortKey(row, index) {
    const cell = row.children[index];
    if (!cell || cell.colSpan > 1) return null;
    const data = cell.querySelector("data");
    if (data) return Number(data.value);
    const words = cell.textContent.trim();
    if (index === 0) return words;
    return words === "" || Number.isNaN(Number(words)) ? null : Number(words);
  }

  function compare(one, other, sign) {
    if (one === null || other === null) return (one === null) - (other === null);
    return sign * (typeof one === "string" ? one.localeCompare(other) : one - other);
  }

  function sort(button) {
    const heading = button.closest("th");
    const body = button.closest("table").tBodies[0];
    const rows = Array.from(body.rows);
    rows.forEach((row, place) => {
      row.dataset.place ??= place;
    });
    const next = { ascending: "descending", descending: null }[heading.getAttribute("aria-sort")];
    const order = next === undefined ? "ascending" : next;
    all("th[aria-sort]", heading.parentNode).forEach((other) => other.removeAttribute("aria-sort"));
    const index = Number(button.dataset.sort);
    const sign = order === "descending" ? -1 : 1;
    if (order) heading.setAttribute("aria-sort", order);
    rows.sort((one, other) => {
      const byPlace = one.dataset.place - other.dataset.place;
      return order ? compare(sortKey(one, index), sortKey(other, index), sign) || byPlace : byPlace;
    });
    body.append(...rows);
  }

  // Filters: a chip switched off hides its rows, and fades its points in the charts.
  function traits(row) {
    return {
      backend: row.dataset.b,
      variant: row.dataset.v,
      scenario: row.closest("table").dataset.scenario,
      status: row.className.slice(2),
    };
  }

  function applyFilters() {
    all(".chip[data-axis]").forEach((chip) => {
      chip.setAttribute("aria-pressed", String(!off.has(`${chip.dataset.axis} ${chip.dataset.value}`)));
    });
    const rows = all(".compare tbody tr");
    const gone = new Set();
    rows.forEach((row) => {
      row.hidden = Object.entries(traits(row)).some(([axis, value]) => off.has(`${axis} ${value}`));
      if (row.hidden) gone.add(row.querySelector("a").hash);
    });
    all(".group").forEach((group) => {
      group.hidden = all("tbody tr", group).every((row) => row.hidden);
    });
    all(".shown").forEach((status) => {
      const own = all(".compare tbody tr", status.closest(".part"));
      const kept = own.filter((row) => !row.hidden).length;
      status.textContent = off.size ? status.dataset.text.replace("##", own.length).replace("#", kept) : "";
    });
    all(".pt").forEach((point) => {
      point.classList.toggle("off", gone.has(point.getAttribute("href")));
    });
  }

  function toggle(chip) {
    const key = `${chip.dataset.axis} ${chip.dataset.value}`;
    if (!off.delete(key)) off.add(key);
    applyFilters();
  }

  // Saving: the records exactly as embedded, or one line per quantity.
  function save(words, type, extension) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([words], { type }));
    link.download = `${root.dataset.stem}.${extension}`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }

  function csvField(value) {
    const words = value === null || value === undefined ? "" : String(value);
    return /[",\r\n]/.test(words) ? `"${words.replaceAll('"', '""')}"` : words;
  }

  function toCsv({ records }) {
    const cell = ["workload", "variant", "backend", "device", "scenario", "batch", "threads", "instances"];
    const number = ["value", "unit", "low", "high", "n", "confidence", "provenance", "method", "boundary", "name", "why_null"];
    const lines = [[...cell, "status", "reason", "metric", ...number]];
    for (const record of records) {
      const start = [...cell.map((key) => record.cell[key]), record.status, record.reason?.message];
      const metrics = Object.entries(record.metrics);
      if (!metrics.length) lines.push([...start, ...Array(number.length + 1).fill("")]);
      metrics.forEach(([tag, quantity]) => lines.push([...start, tag, ...number.map((key) => quantity[key])]));
    }
    return lines.map((line) => line.map(csvField).join(",")).join("\r\n") + "\r\n";
  }

  // Language: the other page travels compressed; the one on screen is shelved for the way back.
  async function switchLanguage() {
    const block = document.getElementById("other");
    const next = shelved ?? { html: await text("other"), lang: block.dataset.lang };
    shelved = { html: page.innerHTML, lang: root.lang };
    page.innerHTML = next.html;
    root.lang = next.lang;
    await ready();
  }

  async function unpackDetails() {
    const box = document.getElementById("packed-details");
    if (!box) return;
    box.outerHTML = await inflate(box.dataset.packed);
  }

  function openTarget() {
    const target = location.hash.length > 1 && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!target || target.tagName !== "DETAILS") return;
    target.open = true;
    target.scrollIntoView();
  }

  function printAll() {
    const closed = all("details:not([open])");
    closed.forEach((item) => {
      item.open = true;
    });
    root.classList.add("print-all");
    window.print();
    root.classList.remove("print-all");
    closed.forEach((item) => {
      item.open = false;
    });
  }

  const actions = {
    language: switchLanguage,
    print: () => window.print(),
    "print-all": printAll,
    json: async () => save(await text("records"), "application/json", "json"),
    csv: async () => save(toCsv(JSON.parse(await text("records"))), "text/csv", "csv"),
    reset: () => {
      off.clear();
      applyFilters();
    },
  };

  async function ready() {
    setTheme(root.dataset.theme);
    await unpackDetails();
    applyFilters();
    openTarget();
    root.dataset.ready = "";
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    if (button.dataset.sort) sort(button);
    else if (button.dataset.axis) toggle(button);
    else actions[button.dataset.do]?.();
  });
  document.addEventListener("change", (event) => {
    if (event.target.id === "theme") setTheme(event.target.value);
  });
  window.addEventListener("hashchange", openTarget);

  root.classList.add("scripted");
  if (["auto", "light", "dark"].includes(storedTheme())) root.dataset.theme = storedTheme();
  ready();
})();
