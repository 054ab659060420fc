// Changes the region as soon as one is chosen; without this file there is a button for it.
const choice = document.getElementById("region-choice");
choice?.addEventListener("change", () => choice.form.requestSubmit());
if (choice) choice.form.querySelector("button").classList.add("visually-hidden");
