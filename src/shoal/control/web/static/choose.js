// Changes account or region as soon as one is chosen; without this file there is a button for it.
const form = document.getElementById("choose");
form?.addEventListener("change", () => form.requestSubmit());
form?.querySelector("button").classList.add("visually-hidden");
