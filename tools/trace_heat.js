// SPDX-License-Identifier: MIT
// The heat map of the page of `make trace`: which guest-physical addresses met faults, devices and
// logged writes, and when.

const KINDS = ["faults", "MMIO", "writes"];
const MEANINGS = ["EPT violations and misconfigurations that the MMU handled",
    "accesses to devices", "pages found written while a dirty log is kept"];
const ROWS = 40, LINE = 18, SIDE = 190, TOTALS = 52, BAND = 20;
const heat = { kind: -1, rows: [], cells: [], row: 0, column: 0, columns: 1, shift: 0 };

const touched = { count: data.touched.length / 5 };
["time", "vm", "frame", "kind", "times"].forEach((name, of) => {
    touched[name] = Float64Array.from({ length: touched.count }, (_, i) => data.touched[5 * i + of]);
});
delete data.touched;

const address = (frame) => "0x" + (BigInt(frame) * 4096n).toString(16);
function sizeOf(shift) {
    const kib = 4 * 2 ** shift;
    return kib < 1024 ? `${kib} KiB` : kib < 1 << 20 ? `${kib / 1024} MiB` : `${kib / (1 << 20)} GiB`;
}
// The devices and slots in a part of the addresses, devices first.
function namesIn(row) {
    const first = row.frame * 4096, last = (row.frame + 2 ** heat.shift) * 4096 - 1;
    const found = (data.places[row.vm] || []).filter(([a, b]) => a <= last && b >= first)
        .map(([, , name]) => name);
    const devices = found.filter((name) => !/^slot \d+$/.test(name));
    return [...new Set(devices.length ? devices : found)];
}

// The rows of the chosen VM, the same for each part of time: as fine as there is room for them.
function layRows() {
    const seen = (vm, frame) => vm * 2 ** 40 + frame;
    for (heat.shift = 0; heat.shift < 30; heat.shift++) {
        const keys = new Map(), size = 2 ** heat.shift;
        for (let i = 0; i < touched.count && keys.size <= ROWS; i++) {
            if (view.vm && touched.vm[i] !== view.vm)
                continue;
            const frame = Math.floor(touched.frame[i] / size) * size;
            keys.set(seen(touched.vm[i], frame), { vm: touched.vm[i], frame });
        }
        if (keys.size <= ROWS) {
            heat.rows = [...keys].sort((a, b) => a[0] - b[0]).map(([key, row]) => ({ key, ...row }));
            break;
        }
    }
    heat.index = new Map(heat.rows.map((row, i) => [row.key, i]));
    heat.row = Math.min(heat.row, Math.max(heat.rows.length - 1, 0));
}

function rowOf(vm, frame) {
    const size = 2 ** heat.shift;
    return heat.index.get(vm * 2 ** 40 + Math.floor(frame / size) * size);
}

// cells[row][column] = the numbers of each kind.
function count(columnCount) {
    heat.columns = columnCount;
    heat.cells = heat.rows.map(() => []);
    heat.sums = heat.rows.map(() => [0, 0, 0]);
    for (let i = 0; i < touched.count; i++) {
        if (touched.time[i] < view.from || touched.time[i] > view.to)
            continue;
        const row = rowOf(touched.vm[i], touched.frame[i]);
        if (row === undefined)
            continue;
        const column = Math.min(columnCount - 1, Math.floor((touched.time[i] - view.from) /
            (view.to - view.from) * columnCount));
        const cell = heat.cells[row][column] ||= [0, 0, 0];
        cell[touched.kind[i]] += touched.times[i];
        heat.sums[row][touched.kind[i]] += touched.times[i];
    }
}

const amount = (cell) => !cell ? 0 : heat.kind < 0 ? cell[0] + cell[1] + cell[2] : cell[heat.kind];
const kindsIn = (cell) => KINDS.map((name, i) => cell && cell[i] ? `${cell[i]} ${name}` : "")
    .filter(Boolean).join(", ") || "nothing";

function drawHeat() {
    const svg = $("heat"), groups = new Set(heat.rows.map((r) => r.vm)), bands = view.vm ? 0 : BAND;
    const height = heat.rows.length * LINE + groups.size * bands + 26;
    const width = resize(svg, height), small = width < 560;
    const side = small ? 104 : SIDE, wide = width - side - TOTALS;
    const unit = Math.max(6, Math.floor(wide / 160)), columnCount = Math.max(1, Math.floor(wide / unit));
    count(columnCount);
    const most = Math.max(1, ...heat.cells.flatMap((row) => row.map((c) => amount(c))));
    const found = HEAT_STEPS.map(() => ""), ground = [];
    svg.replaceChildren();
    let y = 4, vm = 0;
    heat.rows.forEach((row, i) => {
        if (row.vm !== vm && bands) {
            svg.append(shape("text", { class: "name", x: 2, y: y + 14 },
                `VM ${row.vm} ${nameOf(row.vm)}`));
            y += bands;
        }
        vm = row.vm;
        row.y = y;
        ground.push(`M${side} ${y}h${columnCount * unit}v${LINE - 2}h${-columnCount * unit}z`);
        heat.cells[i].forEach((cell, column) => {
            const n = amount(cell);
            if (n) {
                const step = Math.min(HEAT_STEPS.length - 1,
                    Math.floor(Math.log(n) / Math.log(most + 1) * HEAT_STEPS.length));
                found[step] += `M${side + column * unit} ${y}h${unit - 1}v${LINE - 2}h${1 - unit}z`;
            }
        });
        const names = namesIn(row).join(", "), room = Math.floor((side - 100) / 6.6);
        svg.append(shape("text", { class: "number", x: 2, y: y + 13 }, address(row.frame)));
        if (!small && names)
            svg.append(shape("text", { class: "name", x: side - 8, y: y + 13, "text-anchor": "end" },
                names.length > room ? names.slice(0, room - 1) + "…" : names));
        svg.append(shape("text", { class: "number", x: width - 2, y: y + 13, "text-anchor": "end" },
            amount(heat.sums[i]).toLocaleString("en")));
        y += LINE;
    });
    svg.prepend(shape("path", { class: "ground", d: ground.join("") }),
        ...found.map((d, step) => shape("path", { class: `h${heat.kind + 1}${step}`, d })));
    for (const [at, anchor] of [[0, "start"], [0.5, "middle"], [1, "end"]]) {
        svg.append(shape("text", { x: side + at * columnCount * unit, y: y + 14, "text-anchor": anchor },
            inTime(view.from + at * (view.to - view.from))));
    }
    svg.append(shape("g", { id: "heat-cursor" }));
    Object.assign(heat, { side, unit });
    heat.column = Math.min(heat.column, columnCount - 1);
    $("heat-of").textContent = heat.rows.length
        ? `rows of ${sizeOf(heat.shift)}, columns of ${inTime((view.to - view.from) / columnCount)}; ` +
            `${kindsIn(heat.sums.reduce((a, b) => a.map((n, i) => n + b[i]), [0, 0, 0]))}`
        : "no event of this trace has an address";
    drawKinds(most);
    placeHeatCursor();
}

const HEAT_STEPS = [0, 1, 2, 3, 4];

function drawKinds(most) {
    const focused = [...$("kinds").children].indexOf(document.activeElement);
    $("kinds").replaceChildren(...["all", ...KINDS].map((name, i) => {
        const button = element("button", { textContent: name, title: MEANINGS[i - 1] || "all of them",
            onclick: () => { heat.kind = i - 1; drawHeat(); } });
        button.setAttribute("aria-pressed", heat.kind === i - 1);
        return button;
    }));
    const scale = element("span", { className: "scale", title: "from few to many in one cell" }, "1",
        ...HEAT_STEPS.map((step) => element("span", { className: `swatch sw h${heat.kind + 1}${step}` })),
        String(most));
    $("kinds").append(scale);
    if (focused >= 0)
        $("kinds").children[focused].focus();
}

function cellText(i, column) {
    const row = heat.rows[i], part = (view.to - view.from) / heat.columns;
    const from = view.from + column * part, names = namesIn(row).join(", ");
    return `VM ${row.vm}, ${address(row.frame)} to ${address(row.frame + 2 ** heat.shift)}` +
        `${names ? ` (${names})` : ""}, ${inTime(from)} to ${inTime(from + part)}: ` +
        kindsIn(heat.cells[i][column]);
}

function placeHeatCursor() {
    const row = heat.rows[heat.row];
    $("heat-cursor").replaceChildren();
    if (!row)
        return $("heat").setAttribute("aria-label", "Heat map of addresses: empty");
    const box = { x: heat.side + heat.column * heat.unit - 1.5, y: row.y - 1.5, rx: 2,
        width: heat.unit + 2, height: LINE + 1 };
    $("heat-cursor").append(shape("rect", { class: "chosen-halo", ...box }),
        shape("rect", { class: "chosen", ...box }));
    $("heat").setAttribute("aria-label",
        `Heat map of addresses. ${cellText(heat.row, heat.column)}`);
}

function selectCell(row, column) {
    heat.row = Math.max(0, Math.min(row, heat.rows.length - 1));
    heat.column = Math.max(0, Math.min(column, heat.columns - 1));
    placeHeatCursor();
    if (heat.rows.length)
        say(cellText(heat.row, heat.column));
}

// To the next cell in this row, or the ones below or above, in which something happened.
function nextCell(by) {
    for (let row = heat.row, column = heat.column + by; row >= 0 && row < heat.rows.length; row += by) {
        for (; column >= 0 && column < heat.columns; column += by) {
            if (amount(heat.cells[row][column]))
                return selectCell(row, column);
        }
        column = by > 0 ? 0 : heat.columns - 1;
    }
    say(`Nothing ${by > 0 ? "after" : "before"} this cell.`);
}

function showCell() {
    const part = (view.to - view.from) / heat.columns, from = view.from + heat.column * part;
    show(from - part, from + 2 * part);
    selectCell(heat.row, heat.columns / 2 | 0);
}

partKeys.push(["#heat", {
    ArrowLeft: () => selectCell(heat.row, heat.column - 1),
    ArrowRight: () => selectCell(heat.row, heat.column + 1),
    ArrowUp: () => selectCell(heat.row - 1, heat.column),
    ArrowDown: () => selectCell(heat.row + 1, heat.column),
    Home: () => selectCell(heat.row, 0),
    End: () => selectCell(heat.row, heat.columns - 1),
    n: () => nextCell(1),
    N: () => nextCell(-1),
    Enter: () => showCell(),
    "+": () => showCell(),
    Escape: () => zoomTime(3),
    "-": () => zoomTime(3),
}]);

function cellOf(event) {
    const box = $("heat").getBoundingClientRect(), y = event.clientY - box.top;
    const row = heat.rows.findIndex((r) => y >= r.y && y < r.y + LINE);
    const column = Math.floor((event.clientX - box.left - heat.side) / heat.unit);
    return row >= 0 && column >= 0 && column < heat.columns ? [row, column] : null;
}

$("heat").addEventListener("pointermove", (event) => {
    const found = cellOf(event);
    if (!found)
        return tip();
    const [head, text] = cellText(...found).split(/: (?=[^:]*$)/);
    tip(event, text, head);
});
$("heat").addEventListener("pointerleave", () => tip());
$("heat").addEventListener("click", (event) => {
    const found = cellOf(event);
    if (found)
        selectCell(...found);
});
