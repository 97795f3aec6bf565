// SPDX-License-Identifier: MIT
// The flame chart of the page of `make trace`: what the exits cost, by reason, by what they led to,
// and by a detail of that; and the same numbers as a table.

const LEVEL = 26;
// The node under the cursor and the one that fills the width, as paths of words.
const cost = { root: null, at: "", top: "", byNumber: false };
const weight = (node) => cost.byNumber ? node.count : node.ticks;

function node(path, words, group, depth, parent) {
    return { path, words, group, depth, parent, ticks: 0, count: 0, longest: null, children: [],
        byWords: new Map() };
}

// The tree of the exits in the part of time that is shown. An exit at its border counts as one, with
// the time that is inside.
function tree() {
    const root = node("", "all exits", null, 0, null);
    root.time = 0;
    for (const of of shownTracks().filter((t) => t.vm)) {
        for (let i = firstAfter(of, view.from); i < of.begin.length && of.begin[i] < view.to; i++) {
            const ticks = Math.min(of.begin[i] + of.ticks[i], view.to) - Math.max(of.begin[i], view.from);
            root.time += ticks;
            if (!isExit(of.cause[i]))
                continue;
            const [group, ...words] = data.causes[of.cause[i]];
            let here = root;
            for (const word of [null, ...words.filter(Boolean)]) {
                if (word !== null) {
                    let below = here.byWords.get(word);
                    if (!below) {
                        below = node(`${here.path}/${word}`, word, group, here.depth + 1, here);
                        here.byWords.set(word, below);
                        here.children.push(below);
                    }
                    here = below;
                }
                here.ticks += ticks;
                here.count += of.times[i];
                if (of.times[i] === 1 && !(here.longest && here.longest.ticks >= of.ticks[i]))
                    here.longest = { ticks: of.ticks[i], track: data.tracks.indexOf(of), slice: i };
            }
        }
    }
    const order = (at) => {
        at.children.sort((a, b) => weight(b) - weight(a) || (a.words < b.words ? -1 : 1));
        at.children.forEach(order);
    };
    order(root);
    return root;
}

function flat(at) {
    return [at, ...at.children.flatMap(flat)];
}
const nodeAt = (path) => flat(cost.root).find((n) => n.path === path);
const percent = (part, whole) => whole ? `${Number((100 * part / whole).toPrecision(3))} %` : "–";
const numbers = (n) => `${many(n.count, "time")}, ${inTime(n.ticks)}, ` +
    `${percent(weight(n), weight(cost.root))} of ${cost.byNumber ? "the exits" : "their time"}`;
const ways = (n) => n.path ? n.path.slice(1).split("/").join(" › ") : n.words;

function place(at, x, width, found, shown) {
    found.push({ node: at, x, width });
    const sum = at.children.reduce((s, n) => s + weight(n), 0);
    let left = x;
    for (const below of at.children) {
        const onWay = shown.startsWith(`${below.path}/`) || shown === below.path;
        const away = shown.startsWith(`${at.path}/`) && shown !== at.path;
        const part = away ? (onWay ? width : 0)
            : sum ? weight(below) / Math.max(weight(at), sum) * width : 0;
        if (part >= 0.4)
            place(below, left, part, found, shown);
        left += part;
    }
    return found;
}

function drawCost() {
    cost.root = tree();
    if (!nodeAt(cost.top))
        cost.top = "";
    if (!nodeAt(cost.at))
        cost.at = cost.top;
    const svg = $("cost"), width = resize(svg, 4 * LEVEL + 2);
    svg.replaceChildren();
    cost.boxes = place(cost.root, 1, width - 2, [], cost.top);
    for (const { node: n, x, width: size } of cost.boxes) {
        const y = n.depth * LEVEL + 1, deep = ["", "", "deeper", "deepest"][n.depth];
        svg.append(shape("rect", { class: n.depth ? `node k k${n.group} ${deep}` : "node ground",
            x, y, width: size, height: LEVEL, rx: 3, "data-path": n.path, "data-group": n.group ?? "" }));
        const letters = Math.floor((size - 12) / 6.7), share = percent(weight(n), weight(cost.root));
        const text = [`${n.words}  ${share}`, n.words].find((t) => t.length <= letters)
            || (letters > 4 ? n.words.slice(0, letters - 1) + "…" : "");
        if (text)
            svg.append(shape("text", { x: x + 6, y: y + 17.5,
                style: n.depth === 1 ? `fill:var(--on${n.group})` : "fill:var(--ink)" }, text));
    }
    svg.append(shape("g", { id: "cost-cursor" }));
    $("cost-of").textContent = `${many(cost.root.count, "exit")}, ${inTime(cost.root.ticks)}: ` +
        `${percent(cost.root.ticks, cost.root.time)} of the vCPUs’ time`;
    placeCostCursor();
    drawTable();
    drawShares();
}

function placeCostCursor() {
    const box = cost.boxes.find((b) => b.node.path === cost.at), at = nodeAt(cost.at);
    $("cost-cursor").replaceChildren();
    if (box) {
        $("cost-cursor").append(shape("rect", { class: "chosen", x: box.x + 1, rx: 3,
            y: box.node.depth * LEVEL + 2, width: Math.max(box.width - 2, 2), height: LEVEL - 2 }));
    }
    $("cost").setAttribute("aria-label", `Cost of exits by cause. ${ways(at)}: ${numbers(at)}`);
}

function selectCost(n) {
    if (!n)
        return;
    cost.at = n.path;
    placeCostCursor();
    say(`${ways(n)}: ${numbers(n)}`);
}

function beside(n, by) {
    const all = n.parent ? n.parent.children : [n];
    return all[all.indexOf(n) + by];
}

function zoomCost(inwards) {
    cost.top = inwards ? cost.at : (nodeAt(cost.top).parent || { path: "" }).path;
    drawCost();
    selectCost(nodeAt(inwards ? cost.at : cost.top));
}

// To the longest exit of a cause, in the timeline.
function goToLongest(n) {
    if (!n.longest)
        return;
    select(n.longest.track, n.longest.slice);
    say(`${ways(n)}: the longest one, ${inTime(n.longest.ticks)}`);
}

function drawTable() {
    if (!$("table").open)
        return;
    $("rows").replaceChildren(...flat(cost.root).map((n) => element("tr", { className: `d${n.depth}` },
        element("th", { scope: "row" }, ...(n.depth === 1 ? [swatch(n.group)] : []),
            element("button", { textContent: n.words, onclick: () => goToLongest(n),
                title: "Go to the longest one" })),
        ...[n.count.toLocaleString("en"), inTime(n.ticks), percent(weight(n), weight(cost.root)),
            n.count ? inTime(n.ticks / n.count) : "–", n.longest ? inTime(n.longest.ticks) : "–"]
            .map((textContent) => element("td", { textContent })))));
}

// What each vCPU did with its time.
function drawShares() {
    const list = $("shares");
    list.replaceChildren();
    for (const of of shownTracks().filter((t) => t.vm)) {
        const sums = [0, 0, 0];
        for (let i = firstAfter(of, view.from); i < of.begin.length && of.begin[i] < view.to; i++) {
            const kind = [GUEST, HALTED].indexOf(groupOf(of.cause[i]));
            sums[kind < 0 ? 2 : kind] += Math.min(of.begin[i] + of.ticks[i], view.to)
                - Math.max(of.begin[i], view.from);
        }
        const all = sums.reduce((a, b) => a + b);
        list.append(element("dt", { textContent: of.name }), element("dd", { textContent: "" }),
            element("dd", { textContent: inTime(all) }));
        ["guest", "halted", "hypervisor"].forEach((name, i) => {
            if (sums[i])
                list.append(element("dt", { className: "faint part", textContent: name }),
                    element("dd", { textContent: inTime(sums[i]) }),
                    element("dd", { textContent: percent(sums[i], all) }));
        });
    }
}

function byNumber() {
    cost.byNumber = !cost.byNumber;
    $("weight").setAttribute("aria-pressed", cost.byNumber);
    drawCost();
}

partKeys.push(["#cost", {
    ArrowLeft: () => selectCost(beside(nodeAt(cost.at), -1)),
    ArrowRight: () => selectCost(beside(nodeAt(cost.at), 1)),
    ArrowUp: () => selectCost(nodeAt(cost.at).parent),
    ArrowDown: () => selectCost(nodeAt(cost.at).children[0]),
    Enter: () => zoomCost(true),
    "+": () => zoomCost(true),
    Escape: () => zoomCost(false),
    "-": () => zoomCost(false),
    n: () => goToLongest(nodeAt(cost.at)),
}]);
pageKeys.w = () => byNumber();
$("weight").addEventListener("click", byNumber);
$("table").addEventListener("toggle", drawTable);
$("cost").addEventListener("pointermove", (event) => {
    const n = event.target.dataset.path === undefined ? null : nodeAt(event.target.dataset.path);
    tip(n && event, n && ways(n), n && numbers(n));
});
$("cost").addEventListener("pointerleave", () => tip());
$("cost").addEventListener("click", (event) => {
    const path = event.target.dataset.path;
    if (path !== undefined) {
        cost.at = path;
        zoomCost(path !== cost.top);
    }
});
