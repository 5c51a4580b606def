"use strict";
const theme = document.getElementById("theme");
theme.hidden = false;
theme.addEventListener("click", () => {
  const root = document.documentElement;
  const isDark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = isDark ? "light" : "dark";
});
const only = document.getElementById("only");
if (only) {
  only.hidden = false;
  only.querySelector("input").addEventListener("change", (event) => {
    document.getElementById("measures").classList.toggle("hide-alike", event.target.checked);
  });
}
document.documentElement.dataset.ready = "";
