// Small helps for the staff's pages. Everything works without them.
"use strict";
(() => {
  const shout = (text) => {
    const box = document.getElementById("shout");
    if (!box) return;
    box.textContent = text;
    box.hidden = false;
  };
  const announced = new Map();
  const announce = (text) => {
    let box = document.getElementById("announce");
    if (!box) {
      box = document.createElement("div");
      box.id = "announce";
      box.className = "sr";
      box.setAttribute("aria-live", "polite");
      document.body.append(box);
    }
    box.textContent = text;
  };

  // Countdowns tick each second between the server's answers; the server's clock decides what is late.
  const two = (n) => String(n).padStart(2, "0");
  let ahead = 0; // how far the server's clock is ahead of this computer's
  const listen = () => {
    const said = document.querySelector(".timer[data-now]");
    if (said) ahead = Date.parse(said.dataset.now) - Date.now();
  };
  const tick = () => {
    for (const timer of document.querySelectorAll(".timer[data-due]")) {
      const seconds = Math.round((Date.parse(timer.dataset.due) - Date.now() - ahead) / 1000);
      const span = Math.abs(seconds);
      const hours = Math.floor(span / 3600);
      const clock = (hours ? hours + ":" + two(Math.floor(span / 60) % 60) : Math.floor(span / 60)) + ":" + two(span % 60);
      timer.textContent = seconds < 0 ? "−" + clock : clock;
      timer.classList.toggle("timer-soon", seconds >= 0 && seconds <= 300);
      timer.classList.toggle("timer-overdue", seconds < 0);
      const minutes = Math.ceil(seconds / 60);
      if ([10, 5, 2, 1, 0].includes(minutes) && announced.get(timer.dataset.due) !== minutes) {
        announced.set(timer.dataset.due, minutes);
        announce(minutes ? minutes + " minutes until the next update is due" : "The next update is due now");
      }
    }
  };
  setInterval(tick, 1000);
  document.addEventListener("htmx:load", (event) => {
    if (event.target.querySelector(".timer")) listen();
    tick();
  });
  listen();
  tick();

  // Copy with one click; the text stays selectable where the browser refuses.
  const reveal = () => document.querySelectorAll("button.copy[hidden]").forEach((b) => { b.hidden = false; });
  const select = (node) => {
    const range = document.createRange();
    range.selectNodeContents(node);
    const selection = getSelection();
    selection.removeAllRanges();
    selection.addRange(range);
  };
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("button.copy");
    const source = button && document.getElementById(button.dataset.copy);
    if (!source) return;
    const before = button.dataset.label || button.textContent;
    button.dataset.label = before;
    try {
      await navigator.clipboard.writeText(source.textContent);
      button.textContent = document.querySelector("[data-stale]") ? "Copied, but out of date" : "Copied";
    } catch {
      select(source);
      button.textContent = "Press Ctrl+C";
    }
    announce(button.textContent);
    setTimeout(() => { button.textContent = before; }, 2000);
  });
  document.addEventListener("htmx:afterSettle", reveal);
  reveal();

  // The agent's channel and language stay as chosen on this computer.
  for (const input of document.querySelectorAll("input[data-remember]")) {
    try {
      if (localStorage.getItem(input.dataset.remember) === input.value) input.checked = true;
      input.addEventListener("change", () => { localStorage.setItem(input.dataset.remember, input.value); });
    } catch { /* storage may be switched off */ }
    input.addEventListener("change", () => showLanguage());
  }
  function showLanguage() {
    const chosen = document.querySelector('input[name="language"][data-remember]:checked');
    if (!chosen) return;
    for (const part of document.querySelectorAll("[data-language]")) {
      part.hidden = chosen.value !== "all" && part.dataset.language !== chosen.value;
    }
  }
  document.addEventListener("htmx:afterSwap", showLanguage);
  showLanguage();

  // Typed words are not lost by a wrong click.
  let dirty = false;
  document.addEventListener("input", (event) => {
    const form = event.target.form;
    if (form && form.hasAttribute("data-guard")) dirty = true;
  });
  document.addEventListener("submit", (event) => {
    dirty = false;
    const button = event.submitter;
    if (button && event.target.id === "composer") setTimeout(() => { button.disabled = true; }, 0); // a double click is one click
  });
  addEventListener("pageshow", () => { for (const b of document.querySelectorAll("button[form=composer]")) b.disabled = false; });
  document.addEventListener("keydown", (event) => { // Enter in a line never publishes
    if (event.key === "Enter" && event.target.matches("#composer input, .controls input")) event.preventDefault();
  });
  addEventListener("beforeunload", (event) => { if (dirty) event.preventDefault(); });

  // Choosing a time of day chooses "at".
  const at = document.getElementById("next_at");
  if (at) at.addEventListener("input", () => {
    const radio = document.querySelector('input[name="next_update"][value="at"]');
    if (radio) radio.checked = true;
  });
  if (at) for (const radio of document.querySelectorAll('input[name="next_update"]:not([value="at"])')) {
    radio.addEventListener("change", () => { at.value = ""; });
  }

  // Open details stay open when a preview is swapped.
  let open = [];
  document.addEventListener("htmx:beforeSwap", (event) => {
    open = [...event.detail.target.querySelectorAll("details[open][id]")].map((d) => d.id);
  });
  document.addEventListener("htmx:afterSwap", () => {
    for (const id of open) { const d = document.getElementById(id); if (d) d.open = true; }
  });

  let failures = 0;
  document.addEventListener("htmx:responseError", (event) => {
    if (event.detail.xhr.status === 401) shout("You have been signed out. Sign in again in another tab, then go on here: nothing that you typed is lost.");
    else if (++failures >= 2) shout("The server has trouble answering. What you see may be out of date.");
  });
  document.addEventListener("htmx:sendError", () => { if (++failures >= 2) shout("No connection. What you see may be out of date."); });
  document.addEventListener("htmx:afterRequest", (event) => {
    if (event.detail.successful && failures) { failures = 0; const box = document.getElementById("shout"); if (box) box.hidden = true; }
  });
})();
