// Shows only the fields of the chosen method and the pools of the chosen cluster. Everything is
// there without this file; the server ignores what does not belong to the method.
const form = document.getElementById("parameters");

const update = () => {
  const method = new FormData(form).get("method");
  for (const part of form.querySelectorAll("[data-method]")) {
    part.hidden = part.dataset.method !== method;
  }
  const cluster = form.elements.cluster.value;
  for (const group of form.elements.pool_id.querySelectorAll("optgroup")) {
    group.hidden = group.disabled = cluster !== "" && group.dataset.cluster !== cluster;
  }
  const chosen = form.elements.pool_id.selectedOptions[0];
  if (chosen?.parentElement.disabled) form.elements.pool_id.value = "";
};

form.addEventListener("change", update);
update();
