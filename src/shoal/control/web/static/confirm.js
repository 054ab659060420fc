// Shows a confirmation that is a page of its own as a dialog over the page that led to it.
// Without this file the link simply goes to that page.
for (const link of document.querySelectorAll("a[data-dialog]")) {
  link.addEventListener("click", async (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    try {
      const answer = await fetch(link.href, { headers: { Accept: "text/html" } });
      if (!answer.ok) throw new Error(answer.statusText);
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const content = page.querySelector("[data-dialog-content]");
      if (!content) throw new Error("signed out");
      const dialog = document.createElement("dialog");
      dialog.setAttribute("aria-labelledby", "dialog-title");
      dialog.append(document.adoptNode(content));
      dialog.querySelector("[data-cancel]")?.addEventListener("click", (cancel) => {
        cancel.preventDefault();
        dialog.close();
      });
      dialog.addEventListener("close", () => {
        dialog.remove();
        link.focus();
      });
      document.body.append(dialog);
      dialog.showModal();
    } catch {
      location.assign(link.href);
    }
  });
}
