// Light, dark, or as the system has it. Not a module: it runs before the first paint, so that nothing flashes.

(function () {
  const CHOICES = ["system", "light", "dark"];
  const KEY = "fleetgw.theme";
  const root = document.documentElement;

  function chosen() {
    try {
      const kept = localStorage.getItem(KEY);
      return CHOICES.includes(kept) ? kept : "system";
    } catch {
      return "system"; // storage may be forbidden
    }
  }

  function apply(choice) {
    root.dataset.theme = choice;
    const button = document.getElementById("theme");
    if (button) {
      const name = { system: "Auto", light: "Light", dark: "Dark" }[choice];
      button.textContent = name;
      button.setAttribute("aria-label", `Colours: ${name}`);
      button.title = "Change: as the system has them, light, or dark";
    }
  }

  apply(chosen());
  document.addEventListener("DOMContentLoaded", () => {
    apply(chosen());
    document.getElementById("theme").addEventListener("click", () => {
      const next = CHOICES[(CHOICES.indexOf(root.dataset.theme) + 1) % CHOICES.length];
      apply(next);
      try {
        localStorage.setItem(KEY, next);
      } catch {
        // the choice then lasts as long as the page
      }
    });
  });
})();
