// SPDX-License-Identifier: MIT
// The page of `make trace`: what joins its pictures, which are in the scripts before this one.

function drawAll() {
    drawTime();
    drawCost();
    drawHeat();
    drawLegend();
}

// ---- The legend ----------------------------------------------------------------------------

function drawLegend() {
    const counts = data.groups.map(() => 0), ever = new Set();
    for (const of of shownTracks()) {
        of.cause.forEach((cause) => ever.add(groupOf(cause)));
        for (let i = firstAfter(of, view.from); i < of.begin.length && of.begin[i] < view.to; i++)
            counts[groupOf(of.cause[i])] += of.times[i];
    }
    const focused = [...$("legend-list").querySelectorAll("button")].indexOf(document.activeElement);
    $("legend-list").replaceChildren(...data.groups.map((name, group) => [name, group])
        .filter(([, group]) => ever.has(group))
        .map(([name, group]) => {
            const button = element("button", { onclick: () => only(group) }, swatch(group), name,
                element("span", { className: "count", textContent: counts[group].toLocaleString("en") }));
            button.setAttribute("aria-pressed", view.only === group);
            return element("li", { className: counts[group] ? "" : "zero" }, button);
        }));
    if (focused >= 0)
        $("legend-list").querySelectorAll("button")[focused]?.focus();
}

// Fades all other reasons.
function only(group) {
    view.only = view.only === group ? null : group;
    for (const svg of [time, $("cost")])
        svg.classList.toggle("only", view.only !== null);
    $("only").textContent = view.only === null ? ""
        : `#pictures svg.only .k${view.only} { opacity: 1; }`;
    drawLegend();
}

// ---- Search --------------------------------------------------------------------------------

const UNITS = { ns: 1e-6, "µs": 1e-3, us: 1e-3, ms: 1, s: 1000 };

// The slices whose cause or values match, from the one after the cursor on, track by track.
function* fromCursor() {
    const all = shownTracks().filter((t) => t.vm), start = Math.max(all.indexOf(track()), 0);
    for (let n = 0; n <= all.length; n++) {
        const of = all[(start + n) % all.length], number = data.tracks.indexOf(of);
        const here = of === track() && n === 0;
        const last = of === track() && n === all.length ? view.slice + 1 : of.begin.length;
        for (let i = here ? view.slice + 1 : 0; i < last; i++)
            yield [number, i];
    }
}

function searchCause(text) {
    const sought = text.toLowerCase();
    const matches = data.causes.map((_, i) => inWords(i).toLowerCase().includes(sought));
    let matching = 0;
    for (const of of shownTracks().filter((t) => t.vm))
        of.cause.forEach((cause, i) => matching += matches[cause] ? of.times[i] : 0);
    if (!matching)
        return false;
    for (const [number, i] of fromCursor()) {
        if (matches[data.tracks[number].cause[i]]) {
            select(number, i);
            time.focus();
            say(`${inWords(track().cause[i])}: one of ${many(matching, "slice")} that match “${text}”`);
            return true;
        }
    }
    return false;
}

function searchAddress(text) {
    const frame = Number(BigInt(text) / 4096n);
    const vms = view.vm ? [view.vm] : data.vms.map(([number]) => number);
    const row = vms.map((vm) => rowOf(vm, frame)).find((found) => found !== undefined);
    if (row === undefined)
        return say(`${text}: no fault, device access or logged write is there.`);
    heat.row = row;
    const first = heat.cells[row].findIndex((cell) => amount(cell));
    $("heat").focus();
    selectCell(row, Math.max(first, 0));
}

function searchTime(number, unit) {
    const at = number * UNITS[unit] * data.khz;
    if (!(at <= END))
        return say(`The trace ends at ${inTime(END)}.`);
    const span = Math.min(view.to - view.from, END / 8);
    show(at - span / 2, at + span / 2);
    select(view.track, firstAfter(track(), at));
    time.focus();
    say(`At ${inTime(at)}: ${inWords(track().cause[view.slice])}, ${track().name}`);
}

function search(text) {
    const moment = text.match(/^(\d+(?:\.\d+)?)\s*(ns|µs|us|ms|s)$/);
    if (moment)
        searchTime(Number(moment[1]), moment[2]);
    else if (/^0x[0-9a-f]{1,13}$/i.test(text))
        searchAddress(text);
    else if (!text || !searchCause(text))
        say(`Nothing is called “${text}”. Type a part of a cause, an address as 0xfe000000, or a ` +
            "time as 12.5 ms.");
}

// ---- VMs, start ----------------------------------------------------------------------------

function showVm(number) {
    view.vm = number;
    if (!shownTracks().includes(track()))
        view.track = Math.max(data.tracks.indexOf(shownTracks()[0]), 0);
    view.slice = 0;
    layRows();
    drawAll();
    showEntry();
}

let drawn = innerWidth;
addEventListener("resize", () => {
    if (drawn !== innerWidth)
        requestAnimationFrame(drawAll);
    drawn = innerWidth;
});
showVm(0);
