// Says what is wrong with a policy document while it is being typed, by asking the server, which
// is the only place that knows the rules. The form is checked again when it is sent.
const WAIT_MS = 250;

for (const area of document.querySelectorAll("textarea[data-check]")) {
  const told = document.getElementById(`${area.id}-told`);
  const token = area.form.elements.csrf.value;
  let timer = 0;
  let asked = 0;

  const show = (problems) => {
    area.setAttribute("aria-invalid", String(problems.length > 0));
    told.className = problems.length ? "wrong" : "hint";
    told.textContent = problems.length
      ? problems.map((one) => `${one.where}: ${one.message}`).join("\n")
      : "The document is well formed.";
  };

  const check = async () => {
    const mine = ++asked;
    const body = new URLSearchParams({ document: area.value, kind: area.dataset.check });
    try {
      const answer = await fetch("/console/access/policies/check", {
        method: "POST",
        headers: { "X-CSRF-Token": token },
        body,
      });
      if (answer.ok && mine === asked) show(await answer.json());
    } catch {
      // Offline for a moment: the next key tries again, and the server checks what is sent.
    }
  };

  area.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(check, WAIT_MS);
  });
}
