// SPDX-License-Identifier: MIT
// What the pages of `make map` and `make trace` have in common: themes, keys, help, tooltips, search.
// The script of the page follows in the same element; it defines search() and showVm().
"use strict";

const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const calm = matchMedia("(prefers-reduced-motion: reduce)");

function element(tag, properties, ...children) {
    const made = Object.assign(document.createElement(tag), properties);
    made.append(...children);
    return made;
}
const swatch = (kind) => element("span", { className: `swatch sw k${kind}`, ariaHidden: "true" });

function theme() {
    const dark = document.documentElement.dataset.theme
        ? document.documentElement.dataset.theme === "dark"
        : matchMedia("(prefers-color-scheme: dark)").matches;
    document.documentElement.dataset.theme = dark ? "light" : "dark";
    $("theme").setAttribute("aria-pressed", !dark);
}

// What a search or a step has found, for eyes and for ears.
function say(text) {
    $("said").textContent = $("status").textContent = text;
}

// A tooltip beside the pointer; without a text it vanishes.
function tip(event, head, text) {
    const box = $("tip");
    box.classList.toggle("on", Boolean(head));
    if (!head)
        return;
    box.replaceChildren(element("b", { textContent: head }), text);
    box.style.left = `${Math.max(8, Math.min(event.clientX + 14, innerWidth - box.offsetWidth - 8))}px`;
    box.style.top = `${Math.min(event.clientY + 16, innerHeight - box.offsetHeight - 8)}px`;
}

// ---- Keys ----------------------------------------------------------------------------------

const pageKeys = {
    t: () => theme(),
    "/": () => { $("search").focus(); $("search").select(); },
    "?": () => $("help").showModal(),
};
// The keys of a part of the page: those of elements that match a selector.
const partKeys = [];

function onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, select"))
        return;
    const part = partKeys.find(([selector]) => event.target.matches(selector));
    const action = (part && part[1][event.key]) || pageKeys[event.key];
    if (action) {
        event.preventDefault();
        action();
    }
}

$("vm").addEventListener("change", (event) => showVm(Number(event.target.value)));
$("theme").addEventListener("click", theme);
$("show-help").addEventListener("click", () => $("help").showModal());
$("find").addEventListener("submit", (event) => {
    event.preventDefault();
    $("search").select(); // what is typed next replaces it
    search($("search").value.trim());
});
document.addEventListener("keydown", onKey);
