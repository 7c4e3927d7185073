/* Two comforts; every page is complete without them. */
"use strict";

/* An open page stays true: while it is looked at, it fetches itself and shows what has changed. */
const every = document.querySelector('meta[name="refresh-seconds"]');
if (every) {
  setInterval(async () => {
    const main = document.getElementById("main");
    if (document.hidden || main.contains(document.activeElement) || String(getSelection())) return;
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
      if (!answer.ok) return;
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      const found = fresh.getElementById("main");
      if (found && found.innerHTML !== main.innerHTML) {
        main.replaceChildren(...found.childNodes);
        document.title = fresh.title;
      }
    } catch {
      /* No connection just now: what is shown stays, with the time that it is from. */
    }
  }, Number(every.content) * 1000);
}

/* The browser knows its time zone better than we can guess it. */
const zone = document.querySelector("select[data-guess]");
if (zone) {
  const own = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if ([...zone.options].some((option) => option.value === own)) zone.value = own;
}
