// SPDX-License-Identifier: MIT
// The page of `make map`: shows one moment of one VM at a time, and explains the entry under the
// cursor. The drawings and all data are in the page (tools/map.py).

const COLUMNS = 32, WHOLE = 512, EMPTY = 0, TABLE = 1;
const SIZES = ["", "4 KiB", "2 MiB", "1 GiB", "512 GiB"];

const state = { vm: 0, picture: 0, root: 0, gfn: 0, playing: 0, only: null };
const vm = () => data.vms[state.vm];
const picture = () => vm().pictures[state.picture];

const address = (gfn) => "0x" + (BigInt(gfn) * 4096n).toString(16);
const root = (number) => vm().roots.find((r) => r.number === number);
const kindName = (kind) => vm().classes[kind].name;

// ---- The entries ---------------------------------------------------------------------------

const framesOf = (level) => 512 ** (level - 1);

// The entry of `level` for a frame, or null if it is empty.
function entryAt(shown, rootNumber, level, gfn) {
    for (const [r, l, kind, marks, first, count, word] of shown.runs) {
        const size = framesOf(level);
        if (r === rootNumber && l === level && gfn >= first && gfn < first + count * size) {
            const index = Math.floor((gfn - first) / size);
            const offset = kind === TABLE ? 0n : BigInt(index) * BigInt(size) * 4096n;
            return { level, kind, marks, gfn: first + index * size, word: BigInt(word) + offset };
        }
    }
    return null;
}

// The walk to a frame from the top: the entries that point to tables, and the last one.
function walk(shown, rootNumber, gfn) {
    const found = [];
    for (let level = shown.top; level >= 1; level--) {
        const entry = entryAt(shown, rootNumber, level, gfn);
        const size = framesOf(level);
        found.push(entry || { level, kind: EMPTY, marks: 0, gfn: Math.floor(gfn / size) * size });
        if (!entry || entry.kind !== TABLE)
            break;
    }
    return found;
}

const slotAt = (shown, gfn) =>
    shown.slots.find((s) => gfn >= s.base && gfn < s.base + s.pages);
const deviceAt = (shown, gfn) =>
    shown.regions.find((r) => r.first < (gfn + 1) * 4096 && r.last >= gfn * 4096);

function bitsInWords(entry) {
    const kinds = vm().classes[entry.kind].fields, found = [];
    for (const [mask, of, name] of vm().fields) {
        const bits = BigInt(mask);
        if (!(of & kinds))
            continue;
        const low = bits & -bits, value = (entry.word & bits) / low;
        if (bits === low ? value : name.includes("address"))
            found.push(bits === low ? name : `${name} 0x${(entry.word & bits).toString(16)}`);
        else if (bits !== low)
            found.push(`${name}: ${value}`);
    }
    return found;
}

function places(shown, gfn) {
    const slot = slotAt(shown, gfn), device = deviceAt(shown, gfn);
    const of = slot
        ? `Memslot ${slot.id} covers it${slot.attributes ? ` (${slot.attributes})` : ""}.`
        : "No memslot covers it.";
    return of + (device ? ` On the bus, the device “${device.name}” is there.` : "");
}

function previous() {
    return state.picture ? vm().pictures[state.picture - 1] : null;
}

// ---- The entry under the cursor ------------------------------------------------------------

function describe(gfn) {
    const entries = walk(picture(), state.root, gfn), last = entries[entries.length - 1];
    const before = previous() && walk(previous(), state.root, gfn).at(-1);
    return { entries, last, before, kind: vm().classes[last.kind] };
}

// A level of the walk. The bits of the last entry are shown at once.
function detailsOf(entry, open) {
    const bits = element("div", { className: "bits" });
    const words = entry.word === undefined ? [] : bitsInWords(entry);
    bits.append(...words.map((w) => element("span", { textContent: w })));
    const word = entry.word === undefined ? "empty" : "0x" + entry.word.toString(16).padStart(16, "0");
    const head = element("summary", {}, element("span", { className: "faint",
        textContent: `level ${entry.level}, ${SIZES[entry.level]} ` }),
    element("span", { className: "mono", textContent: word }));
    return element("details", { open }, head, bits);
}

function showEntry() {
    const { entries, last, before, kind } = describe(state.gfn), box = $("entry-text");
    const marks = vm().marks.filter((_, i) => last.marks >> i & 1);
    const from = address(state.gfn + root(state.root).bits);
    const list = element("ol", { className: "walk" });
    for (const e of entries)
        list.append(element("li", {}, detailsOf(e, e === last)));
    box.replaceChildren(
        element("div", { className: "what" }, swatch(last.kind), kind.name),
        element("p", { className: "mono", textContent: `GPA ${from}` }),
        element("p", { textContent: kind.meaning }),
        element("p", { className: "faint", textContent: places(picture(), state.gfn) }),
        ...marks.map((m) => element("p", { className: "faint", textContent: m[0].toUpperCase() + m.slice(1) + "." })));
    if (before && before.kind !== last.kind)
        box.append(element("p", { className: "now",
            textContent: `At the moment before: ${vm().classes[before.kind].name}.` }));
    box.append(list);
}

// ---- The maps ------------------------------------------------------------------------------

const map = (number) =>
    document.querySelector(`svg.map[data-vm="${state.vm}"][data-root="${number}"]`);
const blockOf = (gfn) => Math.floor(gfn / WHOLE);
const place = (block) => vm().layout.blocks[block];

function placeCursor() {
    const at = place(blockOf(state.gfn)), cell = state.gfn % WHOLE;
    for (const svg of document.querySelectorAll("svg.map")) {
        const cursor = svg.querySelector(".cursor");
        const mine = svg === map(state.root);
        cursor.classList.toggle("on", mine);
        if (mine && at) {
            cursor.setAttribute("x", at[0] + cell % COLUMNS - 0.5);
            cursor.setAttribute("y", at[1] + Math.floor(cell / COLUMNS) - 0.5);
        }
        svg.setAttribute("aria-label", label(svg));
    }
    if (at)
        placeLens(at, cell);
}

// The block under the cursor, large: a window onto the drawing.
function placeLens([x, y], cell) {
    const lens = $("lens"), cursor = lens.querySelector(".cursor");
    lens.querySelector("use").setAttribute("href", `#p${picture().number}r${state.root}`);
    lens.setAttribute("viewBox", `${x - 0.5} ${y - 0.5} 33 17`);
    cursor.setAttribute("x", x + cell % COLUMNS - 0.2);
    cursor.setAttribute("y", y + Math.floor(cell / COLUMNS) - 0.2);
}

function label(svg) {
    const number = Number(svg.dataset.root), shown = root(number);
    if (number !== state.root || Number(svg.dataset.vm) !== state.vm || !shown)
        return svg.dataset.label;
    const { kind } = describe(state.gfn);
    return `${svg.dataset.label}. At ${address(state.gfn + shown.bits)}: ${kind.name}`;
}

function select(gfn, rootNumber = state.root) {
    state.gfn = gfn;
    state.root = rootNumber;
    placeCursor();
    showEntry();
}

function viewBox(svg, to) {
    const from = svg.getAttribute("viewBox").split(" ").map(Number), start = performance.now();
    svg.dataset.goal = to.join(" ");
    function step(now) {
        const t = calm.matches ? 1 : Math.min((now - start) / 320, 1), ease = t * t * (3 - 2 * t);
        if (svg.dataset.goal !== to.join(" "))
            return;
        svg.setAttribute("viewBox", from.map((f, i) => f + (to[i] - f) * ease).join(" "));
        if (t < 1)
            requestAnimationFrame(step);
    }
    requestAnimationFrame(step);
}

const whole = () => [0, 0, vm().layout.width, vm().layout.height];

// Zooms into the table of level 2 around the cursor, then into its block, then out again.
function zoom(inwards) {
    const svg = map(state.root), at = place(blockOf(state.gfn));
    const depth = Math.max(0, Math.min(2, Number(svg.dataset.depth || 0) + (inwards ? 1 : -1)));
    const box = vm().layout.boxes.find((b) => b[0] === blockOf(state.gfn) >> 9);
    const goals = [whole(), box ? box.slice(1) : whole(), at ? [at[0] - 3, at[1] - 8, 38, 27] : []];
    svg.dataset.depth = goals[depth].length ? depth : 0;
    viewBox(svg, goals[depth].length ? goals[depth] : whole());
}

function focusOn(gfn, rootNumber, depth = 2) {
    select(gfn, rootNumber);
    map(rootNumber).dataset.depth = depth - 1;
    zoom(true);
}

function cellAt(svg, event) {
    const point = new DOMPoint(event.clientX, event.clientY)
        .matrixTransform(svg.getScreenCTM().inverse());
    for (const [block, [x, y]] of Object.entries(vm().layout.blocks)) {
        const column = Math.floor(point.x - x), row = Math.floor(point.y - y);
        if (column >= 0 && column < COLUMNS && row >= 0 && row < WHOLE / COLUMNS)
            return Number(block) * WHOLE + row * COLUMNS + column;
    }
    return null;
}

// ---- Moments -------------------------------------------------------------------------------

function showPicture(index) {
    state.picture = index;
    for (const g of document.querySelectorAll("svg.map .picture"))
        g.classList.toggle("on", Number(g.dataset.p) === picture().number);
    $("moments").querySelectorAll("button").forEach((b, i) => {
        b.setAttribute("aria-current", i === index);
        if (i === index)
            b.scrollIntoView({ block: "nearest", inline: "nearest" });
    });
    $("said").textContent = `Moment ${index + 1} of ${vm().pictures.length}: ${picture().label}`;
    showChanges();
    showCounters();
    showLegend();
    select(state.gfn);
}

function step(by) {
    const count = vm().pictures.length;
    showPicture((state.picture + by + count) % count);
}

function play(on) {
    clearInterval(state.playing);
    state.playing = on ? setInterval(tick, 2000) : 0;
    $("play").textContent = on ? "❚❚ Pause" : "▶ Play";
    $("play").setAttribute("aria-pressed", Boolean(on));
}

// Stops at the end; a play from there begins anew.
function tick() {
    step(1);
    followChange();
    if (state.picture === vm().pictures.length - 1)
        play(false);
}

function followChange() {
    const first = picture().changes.find((c) => c.kind !== TABLE && c.before !== TABLE);
    if (first && place(blockOf(first.gfn)))
        select(first.gfn, first.root);
}

function showChanges() {
    const list = $("change-list"), shown = picture();
    list.replaceChildren(...shown.facts.map((f) =>
        element("li", { className: "fact", textContent: f })));
    for (const c of shown.changes.slice(0, 40)) {
        const where = `${address(c.gfn + root(c.root).bits)}`;
        const how = c.before === c.kind ? `${kindName(c.kind)}, changed`
            : `${kindName(c.before)} → ${kindName(c.kind)}`;
        const many = c.count > 1 ? `${c.count} × ${SIZES[c.level]}` : SIZES[c.level];
        const button = element("button", { onclick: () => focusOn(c.gfn, c.root) }, swatch(c.kind),
            element("span", { textContent: `${many} from ` },
                element("code", { textContent: where }), `: ${how}`));
        list.append(element("li", {}, button));
    }
    const rest = shown.changes.length - 40;
    if (rest > 0)
        list.append(element("li", { className: "faint fact", textContent: `and ${rest} more` }));
    if (!list.children.length)
        list.append(element("li", { className: "faint fact",
            textContent: state.picture ? "Nothing." : "This is the first picture." }));
}

function showCounters() {
    const list = $("counter-list"), before = previous();
    list.replaceChildren();
    for (const [name, value] of Object.entries(picture().counters)) {
        const more = before ? value - before.counters[name] : 0;
        list.append(element("dt", { textContent: name }), element("dd", { textContent: value }),
            element("dd", { className: more ? "up" : "",
                textContent: more ? (more > 0 ? "+" : "−") + Math.abs(more) : "" }));
    }
}

// ---- The legend ----------------------------------------------------------------------------

function showLegend() {
    const counts = {}, ever = new Set();
    for (const [, , kind, , , count] of picture().runs)
        counts[kind] = (counts[kind] || 0) + count;
    for (const p of vm().pictures)
        p.runs.forEach((run) => ever.add(run[2]));
    $("legend-list").replaceChildren(...Object.entries(vm().classes)
        .filter(([kind]) => ever.has(Number(kind)))
        .map(([kind, c]) => {
            const button = element("button", { title: c.meaning, onclick: () => only(kind) },
                swatch(kind), c.name,
                element("span", { className: "count", textContent: counts[kind] || 0 }));
            button.setAttribute("aria-pressed", state.only === kind);
            return element("li", { className: counts[kind] ? "" : "zero" }, button);
        }));
}

function only(kind) {
    state.only = state.only === kind ? null : kind;
    document.querySelectorAll("svg.map").forEach((s) =>
        s.classList.toggle("only", state.only !== null));
    $("only").textContent = state.only === null ? "" : `svg.only .k${kind} { opacity: 1; }`;
    const index = [...$("legend-list").querySelectorAll("button")]
        .indexOf(document.activeElement);
    showLegend();
    $("legend-list").querySelectorAll("button")[index]?.focus();
}

// ---- Search --------------------------------------------------------------------------------

// What somebody may type: an address, which may have stolen bits; the name of a device; a slot.
function find(text) {
    const shown = picture(), slot = text.match(/^slot\s*(\d+)$/i);
    const device = shown.regions.find((r) => r.name.toLowerCase() === text.toLowerCase());
    if (device)
        return { gfn: Math.floor(device.first / 4096), root: state.root };
    if (slot) {
        const it = shown.slots.find((s) => s.id === Number(slot[1]));
        return it && { gfn: it.base, root: state.root };
    }
    if (!/^(0x)?[0-9a-f]+$/i.test(text))
        return null;
    const frame = Number(BigInt(text.startsWith("0x") ? text : "0x" + text) / 4096n);
    const owner = vm().roots.filter((r) => r.shown && frame >= r.bits)
        .sort((a, b) => b.bits - a.bits)[0];
    return owner && { gfn: frame - owner.bits, root: owner.number };
}

function search(text) {
    const found = find(text);
    if (!found) {
        say(`Nothing is called “${text}”. Type an address, a device or “slot 1”.`);
    } else if (!place(blockOf(found.gfn))) {
        const where = places(picture(), found.gfn);
        say(`${address(found.gfn)}: nothing is mapped there, in any picture. ${where}`);
    } else {
        focusOn(found.gfn, found.root);
        map(found.root).focus();
        say(label(map(found.root)));
    }
}

// ---- Keys ----------------------------------------------------------------------------------

// The next block in the order of addresses.
function otherBlock(by) {
    const blocks = Object.keys(vm().layout.blocks).map(Number);
    const next = blocks[blocks.indexOf(blockOf(state.gfn)) + by];
    if (next !== undefined)
        select(next * WHOLE + (by > 0 ? 0 : WHOLE - 1));
}

function moveCursor(by) {
    const next = state.gfn + by;
    if (next >= 0 && blockOf(next) === blockOf(state.gfn))
        select(next);
    else
        otherBlock(Math.sign(by));
    if (map(state.root).dataset.depth === "2") {
        map(state.root).dataset.depth = 1;
        zoom(true);
    }
}

partKeys.push(["svg.map", {
    ArrowLeft: () => moveCursor(-1),
    ArrowRight: () => moveCursor(1),
    ArrowUp: () => moveCursor(-COLUMNS),
    ArrowDown: () => moveCursor(COLUMNS),
    PageUp: () => otherBlock(-1),
    PageDown: () => otherBlock(1),
    Enter: () => zoom(true),
    "+": () => zoom(true),
    Escape: () => zoom(false),
    "-": () => zoom(false),
}]);
Object.assign(pageKeys, {
    ",": () => step(-1),
    ".": () => step(1),
    p: () => play(!state.playing),
    c: () => followChange(),
});

// ---- VMs, start ----------------------------------------------------------------------------

function showVm(index) {
    play(false);
    state.vm = index;
    for (const figure of document.querySelectorAll("#maps figure"))
        figure.hidden = Number(figure.dataset.vm) !== index;
    $("moments").replaceChildren(...vm().pictures.map((p, i) => element("li", {},
        element("button", { onclick: () => { play(false); showPicture(i); followChange(); } },
            element("b", { textContent: i + 1 }), " ", p.label))));
    state.root = vm().roots.find((r) => r.shown).number;
    const page = vm().pictures.flatMap((p) => p.runs)
        .find((run) => run[0] === state.root && run[2] !== TABLE);
    state.gfn = page ? page[4] : (Number(Object.keys(vm().layout.blocks)[0]) || 0) * WHOLE;
    $("play").disabled = vm().pictures.length < 2;
    showPicture(0);
}

function onPointer(svg, event) {
    const gfn = cellAt(svg, event);
    if (gfn === null)
        return tip();
    const number = Number(svg.dataset.root), entry = walk(picture(), number, gfn).at(-1);
    tip(event, kindName(entry.kind),
        `${address(gfn + root(number).bits)} – ${places(picture(), gfn)}`);
}

for (const svg of document.querySelectorAll("svg.map")) {
    svg.addEventListener("pointermove", (event) => onPointer(svg, event));
    svg.addEventListener("pointerleave", () => tip());
    svg.addEventListener("focus", () => select(state.gfn, Number(svg.dataset.root)));
    svg.addEventListener("click", (event) => {
        const gfn = cellAt(svg, event);
        if (gfn !== null) {
            select(gfn, Number(svg.dataset.root));
            zoom(true);
        } else {
            zoom(false);
        }
    });
}
$("play").addEventListener("click", () => play(!state.playing));
showVm(0);
